// Package nfpmtest has what the tests of the writers of debs, rpms and apks share: a package with something of
// everything, what no writer may accept, and the proof that nothing but the package decides the bytes.
package nfpmtest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Write is a writer under test.
type Write func(io.Writer, format.Package) error

// MIT is the text of a licence.
const MIT = `MIT License

Copyright (c) 2023-2026 The Tool Authors
Copyright 2024 Example Works

Permission is hereby granted, free of charge, to any person obtaining a copy of this software.

.text that begins with a dot
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND.
`

// Manual is a manual page that no checker complains about.
const Manual = `.TH TOOL 1 "2026-02-28" "tool 1.2.3" "User Commands"
.SH NAME
tool \- show what a package is like
.SH SYNOPSIS
.B tool
.RB [ \-\-version ]
.SH DESCRIPTION
.B tool
prints its version.
`

// Service is a unit that is enabled.
const Service = `[Unit]
Description=Tool
Documentation=man:tool(1)

[Service]
ExecStart=/usr/bin/tool serve
DynamicUser=yes
ProtectSystem=strict
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
`

// Template is a unit that nobody enables by its own name.
const Template = `[Unit]
Description=Tool for %i
Documentation=man:tool(1)

[Service]
ExecStart=/usr/bin/tool serve %i
DynamicUser=yes
ProtectSystem=strict
`

// Files are a program and something of every role.
func Files(program archive.File) []format.File {
	text := func(role format.Role, name, content string) format.File {
		return format.File{File: archive.Bytes(name, []byte(content)), Role: role}
	}
	program.Name = "usr/bin/tool"
	return []format.File{
		{File: program, Role: format.Program},
		text(format.License, "usr/share/doc/tool/LICENSE", MIT),
		text(format.License, "usr/share/doc/tool/NOTICE", "Tool, by its authors.\n"),
		text(format.Document, "usr/share/doc/tool/README.md", "# Tool\n"),
		text(format.Manual, "usr/share/man/man1/tool.1", Manual),
		text(format.Completion, "usr/share/bash-completion/completions/tool", "complete -W --version tool\n"),
		text(format.Unit, "usr/lib/systemd/system/tool.service", Service),
		text(format.Unit, "usr/lib/systemd/system/tool@.service", Template),
		text(format.Config, "etc/tool/tool.conf", "# nothing yet\n"),
		text(format.Data, "usr/share/tool/words.txt", "one\ntwo\n"),
	}
}

// Package is a package with the given files.
func Package(t testing.TB, v string, files []format.File) format.Package {
	t.Helper()
	parsed, err := version.Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	return format.Package{
		Meta: format.Meta{
			Name: "tool", Version: parsed, Time: time.Date(2026, 2, 28, 23, 59, 58, 0, time.UTC),
			Title: "Tool", Summary: "The example that has everything.",
			Description: "Tool is made for tests. This sentence is long enough that it has to be wrapped at the end of a line of the\ndescription.\n\n.dot files are read, too. It has\n\n- points of a list that are\n  continued\n- and others\n",
			Homepage:    "https://tool.example.org/", Repository: "https://git.example.org/tool", License: "MIT",
			Vendor: "Tool Authors", Maintainer: "Tool Authors <tool@tool.example.org>",
		},
		Platform: artifact.Platform{OS: "linux", Arch: "amd64"},
		Files:    files,
		Section:  "utils",
		Changes:  "## 1.2.3\n\n### Features\n\n- add a switch that does something which takes a long line to explain, longer than any changelog has\n- **cli**: print\n  more\n\n### Fixes\n\n* no crash on *bad* input\n",
	}
}

// Program stands in for a program: the same bytes on every machine, half of which compress.
func Program(size int) archive.File {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b[:size/2])
	for i := size / 2; i < size; i++ {
		b[i] = "a program has instructions and data "[i%36] + byte(i/8192)
	}
	return archive.Bytes("program", b).WithExec()
}

// Bytes is what the writer writes.
func Bytes(t testing.TB, write Write, p format.Package) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Golden compares a package and what an independent reader finds in it with the files of testdata. A change of the digest
// is a change of every release that is rebuilt: it belongs into the changelog.
func Golden(t *testing.T, name string, b []byte, listing string) {
	t.Helper()
	got := fmt.Sprintf("%s\n%s", artifact.Sum(b), listing)
	golden := filepath.Join("testdata", name+".golden")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s changed; with -update, if that is meant:\n%s", golden, got)
	}
}

// Independent holds a writer to its promise: nothing but the package decides the bytes.
func Independent(t *testing.T, write Write) {
	// Above a megabyte the library compresses several blocks at once.
	program := Program(3<<20 + 17)
	p := Package(t, "1.2.3-rc.1", Files(program))
	want := Bytes(t, write, p)
	same := func(what string, p format.Package) {
		t.Helper()
		if !bytes.Equal(Bytes(t, write, p), want) {
			t.Errorf("%s: the package differs", what)
		}
	}
	same("again", p)

	other := p
	other.Files = slices.Clone(p.Files)
	slices.Reverse(other.Files)
	same("files in another order", other)

	other = p
	other.Time = p.Time.In(time.FixedZone("Kiritimati", 14*3600)).Add(999_999_999)
	same("another zone, and nanoseconds", other)

	dir := filepath.Join(t.TempDir(), "a [b]{c,d} *?")
	if runtime.GOOS == "windows" {
		dir = filepath.Join(t.TempDir(), "a [b]{c,d}")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	other.Files = nil
	for i, f := range p.Files {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.txt", i))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		disk, err := archive.Disk(f.Name, path)
		if err != nil {
			t.Fatal(err)
		}
		other.Files = append(other.Files, format.File{File: disk, Role: f.Role})
	}
	same("files on disk of other modes and times", other)

	t.Setenv("SOURCE_DATE_EPOCH", "1")
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("LC_ALL", "tr_TR.UTF-8")
	t.Setenv("TMPDIR", t.TempDir())
	same("another environment", p)
	zone := time.Local
	time.Local = time.FixedZone("Nepal", 5*3600+45*60)
	defer func() { time.Local = zone }()
	same("another local time", p)
	restore := umask(0o077)
	same("another umask", p)
	restore()

	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	same("one CPU", p)
	runtime.GOMAXPROCS(7)
	same("seven CPUs", p)

	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("files are left in the temporary folder: %v, %v", left, err)
	}
}

// Refused holds a writer to errors that name the thing, for what no format can write, and for more that is given: by the
// error, what to do to a good package.
func Refused(t *testing.T, write Write, more map[string]func(*format.Package)) {
	t.Helper()
	file := func(name string, role format.Role) format.File {
		return format.File{File: archive.Bytes(name, []byte("x")), Role: role}
	}
	table := map[string]func(*format.Package){
		`package "": a name is of at least two lower-case letters and digits, with . _ + and - between`:        func(p *format.Package) { p.Name = "" },
		`package "a tool": a name is of at least two lower-case letters and digits, with . _ + and - between`:  func(p *format.Package) { p.Name = "a tool" },
		`package "Tool": a name is of at least two lower-case letters and digits, with . _ + and - between`:    func(p *format.Package) { p.Name = "Tool" },
		`package "../tool": a name is of at least two lower-case letters and digits, with . _ + and - between`: func(p *format.Package) { p.Name = "../tool" },
		`package "tool\n": a name is of at least two lower-case letters and digits, with . _ + and - between`:  func(p *format.Package) { p.Name = "tool\n" },
		`package tool: version is not set`:                                       func(p *format.Package) { p.Version = version.Version{} },
		`package tool: time 0001-01-01T00:00:00Z is not between 1970 and 2106`:   func(p *format.Package) { p.Time = time.Time{} },
		`package tool: time 2106-02-07T06:28:16Z is not between 1970 and 2106`:   func(p *format.Package) { p.Time = time.Unix(1<<32, 0) },
		`package tool: summary "a\nb" is not one line of text`:                   func(p *format.Package) { p.Summary = "a\nb" },
		`package tool: title "a\r" is not one line of text`:                      func(p *format.Package) { p.Title = "a\r" },
		`package tool: homepage "https://x\nDepends: y" is not one line of text`: func(p *format.Package) { p.Homepage = "https://x\nDepends: y" },
		`package tool: license "MIT\x00" is not one line of text`:                func(p *format.Package) { p.License = "MIT\x00" },
		`package tool: vendor "\xff" is not one line of text`:                    func(p *format.Package) { p.Vendor = "\xff" },
		`package tool: maintainer "a\n" is not one line of text`:                 func(p *format.Package) { p.Maintainer = "a\n" },
		`package tool: depends[1] "a\nb" is not one line of text`:                func(p *format.Package) { p.Depends = []string{"c", "a\nb"} },
		`package tool: provides[0] is empty`:                                     func(p *format.Package) { p.Provides = []string{" "} },
		`package tool: description has bytes that are not text`:                  func(p *format.Package) { p.Description = "a\x1b[31m" },
		`package tool: changes has bytes that are not text`:                      func(p *format.Package) { p.Changes = "\xff" },
		`package tool: it has no description`:                                    func(p *format.Package) { p.Description = " \n" },
		`package tool: it has no summary`:                                        func(p *format.Package) { p.Summary = "" },
		`package tool: it has no maintainer`:                                     func(p *format.Package) { p.Maintainer = "" },
		`package tool: it has no files`:                                          func(p *format.Package) { p.Files = nil },
		`package tool: path "usr/bin/tool" is named twice`:                       func(p *format.Package) { p.Files = append(p.Files, p.Files[0]) },
		`package tool: path "/etc/x" is absolute; it must be relative`:           func(p *format.Package) { p.Files = append(p.Files, file("/etc/x", format.Data)) },
		`package tool: path "../x" leaves its folder`:                            func(p *format.Package) { p.Files = append(p.Files, file("../x", format.Data)) },
		`package tool: path "usr" is a file and a folder of "usr/bin/tool"`:      func(p *format.Package) { p.Files = append(p.Files, file("usr", format.Data)) },
		`packing usr/share/man/man1/big.1: it has 4.2 MB; a text has at most 4.2 MB`: func(p *format.Package) {
			p.Files = append(p.Files, format.File{File: archive.Bytes("usr/share/man/man1/big.1", make([]byte, 4<<20+1)), Role: format.Manual})
		},
	}
	for want, change := range more {
		table[want] = change
	}
	for want, change := range table {
		p := Package(t, "1.2.3", Files(Program(100)))
		change(&p)
		var b bytes.Buffer
		if err := write(&b, p); err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
		if b.Len() > 0 {
			t.Errorf("%d bytes were written before %s", b.Len(), want)
		}
	}
	// A file that is gone, or has another size than it had, is an error too.
	dir := t.TempDir()
	for what, spoil := range map[string]func(string) error{
		"gone":  os.Remove,
		"grown": func(path string) error { return os.WriteFile(path, []byte("more than before"), 0o600) },
	} {
		path := filepath.Join(dir, what)
		if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := archive.Disk("usr/bin/tool", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		err = write(&b, Package(t, "1.2.3", []format.File{{File: f, Role: format.Program}}))
		if err == nil || !strings.HasPrefix(err.Error(), "packing usr/bin/tool: ") || b.Len() > 0 {
			t.Errorf("a file that is %s: %v, %d bytes", what, err, b.Len())
		}
	}
	full := errors.New("no space left on device")
	if err := write(failing{full}, Package(t, "1.2.3", Files(Program(100)))); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Tool is the path of a program of the machine; the test is skipped where there is none, or tests are to be short.
func Tool(t *testing.T, name, from string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs " + name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("install " + from)
	}
	return path
}

// Least leaves a package no more than a program and what is obligatory.
func Least(p *format.Package) {
	p.Files = p.Files[:1]
	p.Title, p.Homepage, p.Repository, p.License, p.Vendor, p.Section, p.Changes = "", "", "", "", "", "", ""
	p.Description = p.Summary
}

// Run runs a tool and returns what it prints.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Real is a package with a real program, compiled statically for linux/amd64, as a file on disk; changed as is given.
func Real(t *testing.T, f format.Format, write Write, v string, changes ...func(*format.Package)) string {
	t.Helper()
	dir := t.TempDir()
	source := "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"tool " + v + "\") }\n"
	for name, content := range map[string]string{"main.go": source, "go.mod": "module example.org/tool\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", "tool")
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := archive.Disk("tool", filepath.Join(dir, "tool"))
	if err != nil {
		t.Fatal(err)
	}
	p := Package(t, v, Files(program))
	for _, change := range changes {
		change(&p)
	}
	written, err := f.Version(p.Version)
	if err != nil {
		t.Fatal(err)
	}
	arch, _ := f.Arch(p.Platform)
	path := filepath.Join(dir, f.File(p.Name, written, arch))
	if err := os.WriteFile(path, Bytes(t, write, p), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
