package deb_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // what dpkg keeps
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/deb"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// entry is a file of a tar.
type entry struct {
	header  tar.Header
	content string
}

// read reads a deb with nothing of ours: its control files and its data.
func read(t testing.TB, b []byte) (control, data []entry) {
	t.Helper()
	rest, ok := bytes.CutPrefix(b, []byte("!<arch>\n"))
	if !ok {
		t.Fatal("no ar archive")
	}
	var names []string
	for len(rest) > 0 {
		h := string(rest[:60])
		if h[58:] != "`\n" || h[28:40] != "0     0     " || h[40:48] != "100644  " {
			t.Errorf("a header %q", h)
		}
		if at, err := strconv.ParseInt(strings.TrimSpace(h[16:28]), 10, 64); err != nil || at != 1772323198 {
			t.Errorf("a time %s", h[16:28])
		}
		size, err := strconv.Atoi(strings.TrimSpace(h[48:58]))
		if err != nil {
			t.Fatal(err)
		}
		name, content := strings.TrimSpace(h[:16]), rest[60:60+size]
		names = append(names, name)
		rest = rest[60+size:]
		if size%2 == 1 {
			if rest[0] != '\n' {
				t.Errorf("%s is padded with %q", name, rest[0])
			}
			rest = rest[1:]
		}
		switch name {
		case "debian-binary":
			if string(content) != "2.0\n" {
				t.Errorf("debian-binary is %q", content)
			}
		case "control.tar.gz":
			control = untar(t, content)
		case "data.tar.gz":
			data = untar(t, content)
		}
	}
	if got := strings.Join(names, " "); got != "debian-binary control.tar.gz data.tar.gz" {
		t.Errorf("the members are %s", got)
	}
	return control, data
}

func untar(t testing.TB, b []byte) (all []entry) {
	t.Helper()
	if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}; !bytes.Equal(b[:10], want) {
		t.Errorf("the header of gzip is % x", b[:10])
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{*h, string(content)})
	}
}

// listing is what is in a deb: control files with their text, data with sizes, and the text of what is made for it.
func listing(t testing.TB, b []byte) string {
	t.Helper()
	var out strings.Builder
	control, data := read(t, b)
	for _, e := range control {
		fmt.Fprintf(&out, "=== %s %04o\n%s", e.header.Name, e.header.Mode, e.content)
	}
	out.WriteString("=== data\n")
	var texts strings.Builder
	for _, e := range data {
		h := e.header
		fmt.Fprintf(&out, "%s %04o %d/%d %s/%s %s %8d %s\n", string(h.Typeflag), h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.UTC().Format(time.RFC3339), h.Size, h.Name)
		switch {
		case strings.HasSuffix(h.Name, ".gz"):
			zr, err := gzip.NewReader(strings.NewReader(e.content))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(zr)
			if err != nil {
				t.Fatal(err)
			}
			if zr.Name != "" || !zr.ModTime.IsZero() || e.content[8] != 2 {
				t.Errorf("%s is not compressed as by gzip -9n: %+v", h.Name, zr.Header)
			}
			e.content = string(plain)
			fallthrough
		case strings.HasSuffix(h.Name, "/copyright"), strings.Contains(h.Name, "/lintian/"):
			fmt.Fprintf(&texts, "=== %s\n%s", h.Name, e.content)
		}
	}
	return out.String() + texts.String()
}

func TestGolden(t *testing.T) {
	p := packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(100_000)))
	p.Depends, p.Recommends = []string{"ca-certificates", "git (>= 1:2.30) | mercurial"}, []string{"less"}
	p.Suggests, p.Conflicts, p.Provides, p.Replaces = []string{"vim"}, []string{"other"}, []string{"thing"}, []string{"old"}
	b := packagetest.Bytes(t, deb.Write, p)
	packagetest.Golden(t, "full", b, listing(t, b))

	least := packagetest.Package(t, "1.2.4-snapshot.5.g0123456789ab", packagetest.Files(packagetest.Program(1000)))
	packagetest.Least(&least)
	least.Maintainer = "Tool Authors"
	least.Platform = artifact.Platform{OS: "linux", Arch: "arm"}
	b = packagetest.Bytes(t, deb.Write, least)
	packagetest.Golden(t, "least", b, listing(t, b))
}

func TestMemory(t *testing.T) { packagetest.Memory(t, deb.Write) }

func TestIndependence(t *testing.T) { packagetest.Independent(t, deb.Write) }

func TestRefusals(t *testing.T) {
	add := func(name string, role format.Role) func(*format.Package) {
		return func(p *format.Package) {
			p.Files = append(p.Files, format.File{File: archive.Bytes(name, []byte("x")), Role: role})
		}
	}
	packagetest.Refused(t, deb.Write, map[string]func(*format.Package){
		`package "my_tool": the name of a deb has no underscore; write a hyphen (https://www.debian.org/doc/debian-policy/ch-controlfields.html#source)`: func(p *format.Package) { p.Name = "my_tool" },
		"package tool: deb has no name for windows/amd64; leave the platform out": func(p *format.Package) {
			p.Platform = artifact.Platform{OS: "windows", Arch: "amd64"}
		},
		"package tool: deb has no name for linux/amd64/v3; leave the platform out": func(p *format.Package) { p.Platform.Variant = "v3" },
		`package tool: version 1.2.3-rc10: package managers do not sort "rc10" as SemVer does; separate words and numbers by dots, as in rc.1`: func(p *format.Package) {
			p.Version = packagetest.Package(t, "1.2.3-rc10", nil).Version
		},
		"package tool: usr/share/doc/tool/copyright is in it twice":                                                     add("usr/share/doc/tool/copyright", format.Document),
		`package tool: "usr/lib/systemd/system/$(id).service" is not the name of a systemd unit, such as tool.service`:  add("usr/lib/systemd/system/$(id).service", format.Unit),
		`package tool: "usr/lib/systemd/system/tool's.service" is not the name of a systemd unit, such as tool.service`: add("usr/lib/systemd/system/tool's.service", format.Unit),
		`package tool: "usr/lib/systemd/system/-rf.service" is not the name of a systemd unit, such as tool.service`:    add("usr/lib/systemd/system/-rf.service", format.Unit),
		`package tool: "usr/lib/systemd/system/tool.service.d" is not the name of a systemd unit, such as tool.service`: add("usr/lib/systemd/system/tool.service.d", format.Unit),
	})
}

// The digests in a package are those of its files, and sizes are rounded up.
func TestControl(t *testing.T) {
	control, data := read(t, packagetest.Bytes(t, deb.Write, packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(100_001)))))
	texts := map[string]string{}
	for _, e := range control {
		texts[e.header.Name] = e.content
	}
	var sums strings.Builder
	size := int64(0)
	seen := map[string]bool{"./": true}
	for _, e := range data {
		if e.header.Typeflag == tar.TypeDir {
			size++
		} else {
			size += (e.header.Size + 1023) / 1024
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum([]byte(e.content)), strings.TrimPrefix(e.header.Name, "./")) //nolint:gosec // what dpkg keeps
		}
		if dir := filepath.ToSlash(filepath.Dir(strings.TrimSuffix(e.header.Name, "/"))); dir != "." && !seen["./"+dir+"/"] {
			t.Errorf("%s comes before its folder", e.header.Name)
		}
		seen[e.header.Name] = true
	}
	if texts["./md5sums"] != sums.String() {
		t.Errorf("md5sums is\n%swant\n%s", texts["./md5sums"], sums.String())
	}
	if want := fmt.Sprintf("\nInstalled-Size: %d\n", size); !strings.Contains(texts["./control"], want) {
		t.Errorf("control has no %q:\n%s", want, texts["./control"])
	}
}

// apache looks like the licence.
var apache = "                                 Apache License\n                           Version 2.0, January 2004\n\n" +
	strings.Repeat("   TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION\n", 200) + "   Copyright [yyyy] [name of copyright owner]\n"

// The licence of a package is in its copyright file, unless every Debian has the text.
func TestCopyright(t *testing.T) {
	gpl := "                    GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007\n\n Copyright (C) 2007 Free Software Foundation, Inc. <https://fsf.org/>\n" +
		strings.Repeat(" Everyone is permitted to copy.\n", 1100)
	text := func(license string, files ...string) string {
		p := packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(10))[:1])
		p.License = license
		for i := 0; i < len(files); i += 2 {
			p.Files = append(p.Files, format.File{File: archive.Bytes("usr/share/doc/tool/"+files[i], []byte(files[i+1])), Role: format.License})
		}
		_, data := read(t, packagetest.Bytes(t, deb.Write, p))
		out := ""
		for _, e := range data {
			if strings.HasSuffix(e.header.Name, "/copyright") {
				_, out, _ = strings.Cut(e.content, "Files: *\n")
			} else if strings.Contains(e.header.Name, "LICENSE") {
				t.Errorf("%s is in the package besides the copyright file", e.header.Name)
			}
		}
		return out
	}
	for _, tt := range []struct{ got, want string }{
		{
			text("Apache-2.0", "LICENSE", apache),
			"Copyright: 2026 Tool Authors\nLicense: Apache-2.0\n On Debian systems, the full text is in\n /usr/share/common-licenses/Apache-2.0.\n",
		},
		{
			text("GPL-3.0-or-later", "COPYING", gpl),
			"Copyright: 2026 Tool Authors\nLicense: GPL-3+\n On Debian systems, the full text is in\n /usr/share/common-licenses/GPL-3.\n",
		},
		{
			text("MIT OR Apache-2.0", "LICENSE-APACHE", apache, "LICENSE-MIT", "\xff\fMIT\n\n(c) 2020 Somebody\n"),
			"Copyright: 2020 Somebody\nLicense: Expat or Apache-2.0\n On Debian systems, the full text is in\n /usr/share/common-licenses/Apache-2.0.\n .\n ?MIT\n .\n (c) 2020 Somebody\n",
		},
		{
			text("(MIT OR Apache-2.0) AND BSD-3-Clause"),
			"Copyright: 2026 Tool Authors\nLicense: other\n The project states its licence as (MIT OR Apache-2.0) AND BSD-3-Clause.\n",
		},
		{
			text("Apache-2.0", "LICENSE", "See the Apache License Version 2.0.\n"),
			"Copyright: 2026 Tool Authors\nLicense: Apache-2.0\n See the Apache License Version 2.0.\n",
		},
		{text(""), "Copyright: 2026 Tool Authors\nLicense: unknown\n The project states its licence as none.\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("copyright is\n%s\nwant\n%s", tt.got, tt.want)
		}
	}
}

func TestDpkgDeb(t *testing.T) {
	dpkg := packagetest.Tool(t, "dpkg-deb", "dpkg")
	path := packagetest.Real(t, format.Deb, deb.Write, "1.2.3-rc.1")
	info := packagetest.Run(t, dpkg, "-I", path)
	for _, want := range []string{" Package: tool\n", " Version: 1.2.3~rc.1\n", " Architecture: amd64\n", " Description: example that has everything\n"} {
		if !strings.Contains(info, want) {
			t.Errorf("dpkg-deb -I has no %q:\n%s", want, info)
		}
	}
	contents := packagetest.Run(t, dpkg, "-c", path)
	for _, want := range []string{"./usr/bin/tool\n", "./usr/share/man/man1/tool.1.gz\n", "./etc/tool/tool.conf\n"} {
		if !strings.Contains(contents, want) {
			t.Errorf("dpkg-deb -c has no %q:\n%s", want, contents)
		}
	}
	t.Logf("\n%s%s", info, contents)
}

// A package is installed into an empty root, configured, upgraded, removed and purged.
func TestInstall(t *testing.T) {
	dpkg := packagetest.Tool(t, "dpkg", "dpkg")
	if os.Geteuid() != 0 || runtime.GOARCH != "amd64" {
		t.Skip("dpkg --root needs root on amd64")
	}
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// The scratch root has no shell: the scripts run outside, and are told the root.
	run := func(args ...string) {
		t.Log(packagetest.Run(t, dpkg, append([]string{"--root=" + root, "--force-script-chrootless", "--log=" + filepath.Join(root, "log")}, args...)...))
	}
	run("--install", packagetest.Real(t, format.Deb, deb.Write, "1.2.3-rc.1"))
	if out := packagetest.Run(t, filepath.Join(root, "usr/bin/tool")); out != "tool 1.2.3-rc.1\n" {
		t.Errorf("the installed program prints %q", out)
	}
	run("--verify", "tool")
	enabled := filepath.Join(root, "etc/systemd/system/multi-user.target.wants/tool.service")
	if _, err := exec.LookPath("deb-systemd-helper"); err == nil {
		if _, err := os.Lstat(enabled); err != nil {
			t.Errorf("the unit is not enabled: %v", err)
		}
	}
	conf := filepath.Join(root, "etc/tool/tool.conf")
	if err := os.WriteFile(conf, []byte("changed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("--install", packagetest.Real(t, format.Deb, deb.Write, "1.2.3"))
	if out := packagetest.Run(t, filepath.Join(root, "usr/bin/tool")); out != "tool 1.2.3\n" {
		t.Errorf("the upgraded program prints %q", out)
	}
	if b, err := os.ReadFile(conf); err != nil || string(b) != "changed\n" {
		t.Errorf("the changed configuration is %q: %v", b, err)
	}
	run("--remove", "tool")
	if _, err := os.Stat(filepath.Join(root, "usr/bin/tool")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program is left: %v", err)
	}
	run("--purge", "tool")
	for _, path := range []string{conf, enabled} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// The scripts succeed where there is nothing of systemd, in all that dpkg calls them for.
func TestScripts(t *testing.T) {
	shell := packagetest.Tool(t, "dash", "dash")
	control, _ := read(t, packagetest.Bytes(t, deb.Write, packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(10)))))
	run := 0
	for _, e := range control {
		for _, args := range map[string][][]string{
			"./postinst": {{"configure"}, {"configure", "1.2.2"}, {"abort-upgrade", "1.2.2"}, {"triggered", "x"}},
			"./prerm":    {{"remove"}, {"upgrade", "1.2.4"}, {"failed-upgrade", "1.2.2"}},
			"./postrm":   {{"remove"}, {"purge"}, {"upgrade", "1.2.4"}, {"disappear", "other", "1"}},
		}[e.header.Name] {
			c := exec.Command(shell, append([]string{"-c", e.content, e.header.Name}, args...)...)
			c.Env = []string{"PATH=/nowhere"}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s %v: %v %s", e.header.Name, args, err, out)
			}
			run++
		}
	}
	if run != 11 {
		t.Errorf("%d scripts were run", run)
	}
}

func TestLintian(t *testing.T) {
	lintian := packagetest.Tool(t, "lintian", "lintian")
	for name, change := range map[string]func(*format.Package){
		"full":  func(*format.Package) {},
		"least": packagetest.Least,
		"apache": func(p *format.Package) {
			p.License = "Apache-2.0"
			p.Files[1].File = archive.Bytes(p.Files[1].Name, []byte(apache))
		},
	} {
		path := packagetest.Real(t, format.Deb, deb.Write, "1.2.3", change)
		out, err := exec.Command(lintian, "--allow-root", "--no-cfg", "--display-info", "--pedantic", path).CombinedOutput()
		t.Logf("lintian of %s: %v\n%s", name, err, out)
		if found := regexp.MustCompile(`(?m)^[EW]: .*$`).FindAll(out, -1); len(found) > 0 {
			t.Errorf("lintian finds in %s\n%s", name, bytes.Join(found, []byte("\n")))
		}
	}
}
