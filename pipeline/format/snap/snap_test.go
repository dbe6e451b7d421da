package snap_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/fixture/memorytest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/snap"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const unit = `[Unit]
Description=Tool

[Service]
# what a snap has no word for is left out
Type=notify
User=tool
ExecStart=/usr/bin/tool serve -addr :8080
Restart=on-failure

[Install]
WantedBy=multi-user.target
`

func file(role format.Role, name, text string) format.File {
	return format.File{File: archive.Bytes(name, []byte(text)), Role: role}
}

func parse(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// example is a package with everything that a snap can have.
func example(t testing.TB) format.Package {
	return format.Package{
		Meta: format.Meta{
			Name: "tool", Version: parse(t, "1.2.3"), Time: time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), Title: "The Tool",
			Summary: `Does "things": one & more`, Description: "Tool does things.\n\n  - one\n  - more: 'quoted' \\ # no comment\n",
			Homepage: "https://example.org/~tool", Repository: "https://git.example.org/tool", License: "MIT OR Apache-2.0",
			Vendor: "Example", Maintainer: "Example <tool@example.org>",
		},
		Platform: artifact.Platform{OS: "linux", Arch: "amd64"},
		Files: []format.File{
			file(format.Program, "usr/bin/tool", strings.Repeat("\x7fELF the tool ", 9000)),
			file(format.Program, "usr/bin/tool-helper", "\x7fELF the helper"),
			file(format.License, "usr/share/doc/tool/LICENSE", "Permission is hereby granted.\n"),
			file(format.Document, "usr/share/doc/tool/README.md", "# Tool\n"),
			file(format.Manual, "usr/share/man/man1/tool.1", ".TH tool 1\n"),
			file(format.Completion, "usr/share/bash-completion/completions/tool", "complete -C tool tool\n"),
			file(format.Completion, "usr/share/zsh/vendor-completions/_tool", "#compdef tool\n"),
			file(format.Unit, "usr/lib/systemd/system/tool.service", unit),
			file(format.Config, "etc/tool.conf", "key = value\n"),
			file(format.Data, "usr/share/tool/data", ""),
		},
		Plugs: []string{"network", "network-bind", "home"},
	}
}

func write(t testing.TB, p format.Package, o snap.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := snap.Write(&b, p, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func yamlOf(t testing.TB, p format.Package, o snap.Options) string {
	t.Helper()
	b, err := snap.YAML(p, o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s changed; with -update, if that is meant:\n got %s\nwant %s", file, got, want)
	}
}

// variant is a snap that is compared with what it was.
type variant struct {
	p format.Package
	o snap.Options
}

func variants(t testing.TB) map[string]variant {
	least := example(t)
	least.Version, least.Platform = parse(t, "1.12.3-snapshot.123.gabcdef012345"), artifact.Platform{OS: "linux", Arch: "arm", Variant: "v7"}
	least.Confine, least.Plugs = "classic", nil
	least.Title, least.License, least.Homepage, least.Repository, least.Description = "", "LicenseRef-Own", "", "", "One line."
	return map[string]variant{
		"xz":    {p: example(t)},
		"zstd":  {example(t), snap.Options{Compression: squashfs.Zstd}},
		"least": {least, snap.Options{NoServices: true}},
	}
}

// The digests hold on every architecture; see the test of the same name in package squashfs.
func TestGolden(t *testing.T) {
	var digests strings.Builder
	for _, name := range []string{"least", "xz", "zstd"} {
		v := variants(t)[name]
		b := write(t, v.p, v.o)
		fmt.Fprintf(&digests, "%s %s\n", artifact.Sum(b), name)
		golden(t, name+".yaml.golden", yamlOf(t, v.p, v.o))
	}
	golden(t, "digests.golden", digests.String())
}

func TestIndependence(t *testing.T) {
	want := write(t, example(t), snap.Options{})
	t.Setenv("TZ", "Pacific/Kiritimati")
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := example(t)
	p.Time = p.Time.In(time.FixedZone("", 3600)).Add(time.Millisecond)
	for i, j := 0, len(p.Files)-1; i < j; i, j = i+1, j-1 {
		p.Files[i], p.Files[j] = p.Files[j], p.Files[i]
	}
	if !bytes.Equal(write(t, p, snap.Options{Compression: squashfs.XZ}), want) {
		t.Error("the snap differs")
	}
}

// fields is snap.yaml as snapd reads it.
type fields struct {
	Name, Version, Title, Summary, Description, License, Base, Grade, Confinement string

	Architectures []string
	Links         map[string][]string
	Apps          map[string]struct {
		Command, Completer, Daemon string
		InstallMode                string `yaml:"install-mode"`
		Plugs                      []string
	}
}

func decode(t testing.TB, s string) fields {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(s))
	d.KnownFields(true)
	var f fields
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%v in\n%s", err, s)
	}
	return f
}

func TestYAML(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*format.Package, *snap.Options)
		check  func(fields) bool
	}{
		{"stable", func(*format.Package, *snap.Options) {}, func(f fields) bool {
			return f.Grade == "stable" && f.Confinement == "strict" && f.Base == "bare" && f.Version == "1.2.3" && f.Architectures[0] == "amd64"
		}},
		{"prerelease", func(p *format.Package, _ *snap.Options) { p.Version = parse(t, "1.2.3-rc.1") }, func(f fields) bool {
			return f.Grade == "devel" && f.Version == "1.2.3-rc.1"
		}},
		{"devmode", func(p *format.Package, _ *snap.Options) { p.Confine = "devmode" }, func(f fields) bool {
			return f.Grade == "devel" && f.Confinement == "devmode"
		}},
		{"service", func(*format.Package, *snap.Options) {}, func(f fields) bool {
			a := f.Apps["daemon"]
			return len(f.Apps) == 3 && a.Command == "usr/bin/tool serve -addr :8080" && a.Daemon == "simple" && a.InstallMode == "disable" &&
				f.Apps["tool"].Daemon == "" && f.Apps["tool"].Command == "usr/bin/tool" && len(a.Plugs) == 3
		}},
		{"service of another name", func(p *format.Package, _ *snap.Options) {
			p.Files[7].File = archive.Bytes("usr/lib/systemd/system/toold.service", []byte("[Service]\nType=oneshot\nExecStart=/usr/bin/tool"))
		}, func(f fields) bool {
			return f.Apps["toold"].Daemon == "oneshot" && f.Apps["toold"].Command == "usr/bin/tool"
		}},
		{"no service", func(_ *format.Package, o *snap.Options) { o.NoServices = true }, func(f fields) bool { return len(f.Apps) == 2 }},
		{"no completer", func(*format.Package, *snap.Options) {}, func(f fields) bool { return f.Apps["tool"].Completer == "" }},
		{"links", func(*format.Package, *snap.Options) {}, func(f fields) bool {
			return f.Links["website"][0] == "https://example.org/%7Etool" && f.Links["source-code"][0] == "https://git.example.org/tool"
		}},
		{"no licence of SPDX", func(p *format.Package, _ *snap.Options) { p.License = "LicenseRef-Own" }, func(f fields) bool { return f.License == "" }},
		{"text", func(*format.Package, *snap.Options) {}, func(f fields) bool {
			p := example(t)
			return f.Summary == p.Summary && f.Description == strings.TrimSpace(p.Description) && f.Title == p.Title && f.License == p.License
		}},
		{"words of YAML", func(p *format.Package, _ *snap.Options) {
			p.Name, p.Title = "null", "yes"
			p.Files = []format.File{file(format.Program, "usr/bin/0x1", "x")}
		}, func(f fields) bool {
			return f.Name == "null" && f.Title == "yes" && f.Apps["0x1"].Command == "usr/bin/0x1"
		}},
	} {
		p, o := example(t), snap.Options{}
		c.change(&p, &o)
		s := yamlOf(t, p, o)
		if !c.check(decode(t, s)) {
			t.Errorf("%s:\n%s", c.what, s)
		}
	}
}

// FuzzYAML has any text come back as it was, or refused.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{
		"plain", "", " ", "\n", "a\nb", "a\n\n\n  b\n c", "- a\n- b", "a: b\n# c", "'\"\\", "\u2028\n\ufeff", "\x00", "é\n日本語", "|\n>", "---\n...", "a \nb\t\nc",
		"\u0085\n", "\ufffe", "%\n@", "\xff", "\r\n", "a\n\u00a0b", "!!int 1\n", "\U0010ffff\n\U0001f600",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, summary, description string) {
		p := example(t)
		p.Summary, p.Description, p.Title = summary, description, summary
		b, err := snap.YAML(p, snap.Options{})
		if err != nil {
			if !strings.ContainsFunc(summary+description, unicode.IsControl) && utf8.ValidString(summary) && utf8.ValidString(description) &&
				summary != "" && strings.TrimSpace(description) != "" && len(summary) <= 40 && len(description) <= 4096 {
				t.Errorf("%q and %q are refused: %v", summary, description, err)
			}
			return
		}
		got := decode(t, string(b))
		if got.Summary != summary || got.Title != summary || got.Description != strings.TrimSpace(description) {
			t.Errorf("%q and %q come back as %q and %q from\n%s", summary, description, got.Summary, got.Description, b)
		}
	})
}

func TestRefused(t *testing.T) {
	program := func(names ...string) func(*format.Package) {
		return func(p *format.Package) {
			p.Files = nil
			for _, n := range names {
				p.Files = append(p.Files, file(format.Program, n, "x"))
			}
		}
	}
	service := func(name, text string) func(*format.Package) {
		return func(p *format.Package) { p.Files[7] = file(format.Unit, name, text) }
	}
	const service1 = "usr/lib/systemd/system/tool.service"
	for want, change := range map[string]func(*format.Package){
		`name of the snap "t"`:                      func(p *format.Package) { p.Name = "t" },
		`name of the snap "my_tool"`:                func(p *format.Package) { p.Name = "my_tool" },
		`name of the snap "my.tool"`:                func(p *format.Package) { p.Name = "my.tool" },
		`name of the snap "my--tool"`:               func(p *format.Package) { p.Name = "my--tool" },
		`name of the snap "-tool"`:                  func(p *format.Package) { p.Name = "-tool" },
		`name of the snap "123"`:                    func(p *format.Package) { p.Name = "123" },
		`2 to 40 lower-case`:                        func(p *format.Package) { p.Name = strings.Repeat("n", 41) },
		"version of the snap":                       func(p *format.Package) { p.Version = version.Version{} },
		"no name for the platform linux/mips":       func(p *format.Package) { p.Platform.Arch = "mips" },
		"no name for the platform linux/amd64/v3":   func(p *format.Package) { p.Platform.Variant = "v3" },
		"no name for the platform darwin":           func(p *format.Package) { p.Platform.OS = "darwin" },
		"title of the snap: it is longer than 40":   func(p *format.Package) { p.Title = strings.Repeat("é", 41) },
		"summary of the snap: it is longer than 78": func(p *format.Package) { p.Summary = strings.Repeat("é", 79) },
		"summary of the snap: it is empty":          func(p *format.Package) { p.Summary = "" },
		"summary of the snap: it has the control":   func(p *format.Package) { p.Summary = "a\nb" },
		"summary of the snap: it is not UTF-8":      func(p *format.Package) { p.Summary = "\xff" },
		"description of the snap: it is empty":      func(p *format.Package) { p.Description = " \n" },
		"description of the snap: it is longer":     func(p *format.Package) { p.Description = strings.Repeat("d", 4097) },
		"license of the snap: it has the control":   func(p *format.Package) { p.License = "MIT\n" },
		"homepage":            func(p *format.Package) { p.Homepage = "javascript:alert(1)" },
		"repository":          func(p *format.Package) { p.Repository = "git@example.org:tool" },
		`confinement "loose"`: func(p *format.Package) { p.Confine = "loose" },
		"has no plugs; remove network, network-bind": func(p *format.Package) { p.Confine = "classic" },
		`plug "Home"`:                             func(p *format.Package) { p.Plugs = []string{"Home"} },
		"plug home is named twice":                func(p *format.Package) { p.Plugs = []string{"home", "home"} },
		"has no program":                          program(),
		`usr/bin/my_tool: an app`:                 program("usr/bin/my_tool"),
		`usr/sbin/tool: the snap has an app tool`: program("usr/bin/tool", "usr/sbin/tool"),
		`program "usr/my bin/tool"`:               program("usr/my bin/tool"),
		`program "usr/bin+/tool"`:                 program("usr/bin+/tool"),
		"meta/hooks/install: snapd keeps": func(p *format.Package) {
			p.Files = append(p.Files, file(format.Data, "meta/hooks/install", "x"))
		},
		`"usr/bin/tool" is named twice`: func(p *format.Package) {
			p.Files = append(p.Files, file(format.Data, "usr/bin/tool", "x"))
		},
		"between 1970 and 2106":           func(p *format.Package) { p.Time = time.Time{} },
		"tool.timer: snapd has services":  service("usr/lib/systemd/system/tool.timer", "[Timer]"),
		"tool.service: it has no ExecSta": service(service1, "[Unit]\nExecStart=/usr/bin/tool\n[Service]\n"),
		`refuses a character of the comm`: service(service1, "[Service]\nExecStart=/usr/bin/tool --config=/etc/tool.conf"),
		`it starts "usr/bin/other"`:       service(service1, "[Service]\nExecStart=/usr/bin/other"),
		`services of type "dbus"`:         service(service1, "[Service]\nType=dbus\nExecStart=/usr/bin/tool"),
		`more than one command`:           service(service1, "[Service]\nType=oneshot\nExecStart=/usr/bin/tool a\nExecStart=/usr/bin/tool b"),
		`larger than 65536 bytes`:         service(service1, strings.Repeat("#\n", 40000)),
	} {
		p := example(t)
		change(&p)
		var b bytes.Buffer
		if err := snap.Write(&b, p, snap.Options{}); err == nil || !strings.Contains(err.Error(), want) || b.Len() > 0 {
			t.Errorf("want %q: %v, and %d bytes are written", want, err, b.Len())
		}
	}
	for want, o := range map[string]snap.Options{
		`compression "gzip"`: {Compression: "gzip"},
	} {
		if err := snap.Write(&bytes.Buffer{}, example(t), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if err := snap.Write(full{}, example(t), snap.Options{}); !errors.Is(err, errFull) {
		t.Errorf("on a full disk: %v", err)
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

// output runs a tool of Debian, or skips the test where it is not installed.
func output(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("install %s to run this test", pkg)
	}
	cmd := exec.Command(p, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func unsquash(t *testing.T, b []byte) (file, root string) {
	t.Helper()
	dir := t.TempDir()
	file, root = filepath.Join(dir, "tool.snap"), filepath.Join(dir, "root")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, "squashfs-tools", "unsquashfs", "-strict-errors", "-no-progress", "-d", root, file)
	return file, root
}

// The files of a snap are the package's, less what nothing reads in a snap.
func TestUnsquashfs(t *testing.T) {
	v := variants(t)["zstd"]
	b := write(t, v.p, v.o)
	if len(b)%4096 != 0 {
		t.Errorf("%d bytes are no whole pages", len(b))
	}
	file, root := unsquash(t, b)
	for _, f := range v.p.Files {
		got, err := os.ReadFile(filepath.Join(root, f.Name))
		switch {
		case f.Role == format.Manual || f.Role == format.Unit || f.Role == format.Completion:
			if err == nil {
				t.Errorf("%s is in the snap", f.Name)
			}
		case err != nil:
			t.Error(err)
		default:
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if _, err := want.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("%s has other bytes", f.Name)
			}
		}
	}
	golden(t, "listing.golden", output(t, "squashfs-tools", "unsquashfs", "-lln", file))
	stat := output(t, "squashfs-tools", "unsquashfs", "-s", file)
	for _, want := range []string{"Thu Feb 29 23:59:59 2024", "Compression zstd", "Number of fragments 0", "Xattrs are not stored", "Number of ids 1\n"} {
		if !strings.Contains(stat, want) {
			t.Errorf("unsquashfs does not say %q:\n%s", want, stat)
		}
	}
	small := example(t)
	small.Files = small.Files[1:2]
	if b := write(t, small, snap.Options{}); len(b) != 16384 {
		t.Errorf("a small snap has %d bytes", len(b))
	}
}

// snapd's own check of a folder, before it packs it, of every architecture; and what it says of the file.
func TestSnapd(t *testing.T) {
	platforms := []string{"linux/386", "linux/amd64", "linux/arm", "linux/arm64", "linux/ppc64le", "linux/riscv64", "linux/s390x"}
	for _, s := range platforms {
		platform, err := artifact.ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		p := example(t)
		p.Platform = platform
		_, root := unsquash(t, write(t, p, snap.Options{}))
		output(t, "snapd", "snap", "pack", "--check-skeleton", root)
	}
	for name, v := range variants(t) {
		file, root := unsquash(t, write(t, v.p, v.o))
		output(t, "snapd", "snap", "pack", "--check-skeleton", root)
		info := output(t, "snapd", "snap", "info", "--verbose", file)
		version, err := format.Snap.Version(v.p.Version)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"tool", fmt.Sprintf("%q", v.p.Summary), version} {
			if !strings.Contains(info, want) {
				t.Errorf("%s: snap info does not say %q:\n%s", name, want, info)
			}
		}
	}
}

// Whatever name this package takes, snapd takes.
func TestSnapdAgrees(t *testing.T) {
	if testing.Short() {
		t.Skip("starts snapd's tool many times")
	}
	for _, name := range []string{"ab", "a1", "1a", "a-b", "x" + strings.Repeat("1", 39), "null", "a--b", "A", "-a", "a-", "11"} {
		p := example(t)
		p.Name = name
		b, err := snap.YAML(p, snap.Options{})
		if err != nil {
			continue
		}
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "meta"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "usr", "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		for file, mode := range map[string]os.FileMode{"meta/snap.yaml": 0o644, "usr/bin/tool": 0o755, "usr/bin/tool-helper": 0o755} {
			if err := os.WriteFile(filepath.Join(dir, file), b, mode); err != nil {
				t.Fatal(err)
			}
		}
		output(t, "snapd", "snap", "pack", "--check-skeleton", dir)
	}
}

// By zstd, since xz takes a minute for it; only the compressor is another.
func TestMemory(t *testing.T) {
	memorytest.Bound(t, func(program string) error {
		f, err := archive.Disk("usr/bin/tool", program)
		if err != nil {
			return err
		}
		p := example(t)
		p.Files[0].File = f
		return snap.Write(io.Discard, p, snap.Options{Compression: squashfs.Zstd})
	})
}
