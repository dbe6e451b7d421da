package inspect_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// tool runs a program of Debian, or skips the test where it is not installed.
func tool(t *testing.T, pkg, dir, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed; it is in the package %s", name, pkg)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+fmt.Sprint(commitTime.Unix()), "TZ=UTC", "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// plant writes files into a folder: a link begins with ->, a folder ends in a slash.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		to, isLink := strings.CutPrefix(body, "->")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		case isLink:
			must(t, os.Symlink(to, p))
		case strings.Contains(name, "bin/"):
			must(t, os.WriteFile(p, []byte(body), 0o755))
			must(t, os.Chmod(p, 0o755))
		default:
			must(t, os.WriteFile(p, []byte(body), 0o644))
			must(t, os.Chmod(p, 0o644))
		}
	}
	must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(p, 0o755)
		}
		switch {
		case err != nil:
		case e.Type()&fs.ModeSymlink != 0:
			tool(t, "coreutils", dir, "touch", "-h", "-d", commitTime.Format(time.RFC3339), p)
		default:
			err = os.Chtimes(p, commitTime, commitTime)
		}
		return err
	}))
}

// compare holds entries of one part against the tree that they were made from.
func compare(t *testing.T, dir string, f inspect.Facts, part string) {
	t.Helper()
	left := map[string]inspect.Entry{}
	for _, e := range f.Entries {
		if e.Part == part {
			left[e.Name] = e
		}
	}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		must(t, err)
		name, err := filepath.Rel(dir, p)
		must(t, err)
		info, err := d.Info()
		must(t, err)
		e, ok := left[name]
		delete(left, name)
		if !ok {
			if d.IsDir() && f.Format == inspect.RPM {
				return nil // an rpm has no folders that it does not own
			}
			t.Errorf("%q is missing", name)
			return nil
		}
		if e.Type == inspect.HardLink {
			other, err := os.Stat(filepath.Join(dir, e.Link))
			must(t, err)
			if !os.SameFile(info, other) {
				t.Errorf("%q is no hard link to %q", name, e.Link)
			}
			return nil
		}
		if e.Mode != info.Mode() {
			t.Errorf("%q has the mode %s, want %s", name, e.Mode, info.Mode())
		}
		switch {
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			must(t, err)
			if e.Link != to || e.Type != inspect.Symlink {
				t.Errorf("%q is a %s to %q, want %q", name, e.Type, e.Link, to)
			}
		default:
			d, size, err := artifact.SumFile(p)
			must(t, err)
			if e.Digest != d || e.Size != size || e.Type != inspect.File || !e.ModTime.Equal(commitTime) {
				t.Errorf("%q: %s of %d bytes, %s, at %s; want %s of %d", name, e.Type, e.Size, e.Digest, e.ModTime, d, size)
			}
		}
		return nil
	}))
	for name := range left {
		t.Errorf("%q is no file of the tree", name)
	}
}

// noise does not compress; pattern does.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return string(b)
}

func pattern(n int) string {
	return strings.Repeat("the quick brown fox jumps over the lazy dog\n", n/44+1)[:n]
}

// keepSample writes what a tool made into testdata with -update.
func keepSample(t *testing.T, name, made string) {
	t.Helper()
	if !*update || samples[name] == "" {
		return
	}
	b, err := os.ReadFile(made)
	must(t, err)
	must(t, os.WriteFile(filepath.Join("testdata", name), b, 0o644))
}

func openFile(t *testing.T, format, name string) inspect.Facts {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	f, err := open(t, format, b)
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(name), err)
	}
	return f
}

func programs(big bool) map[string]string {
	files := map[string]string{
		"usr/bin/hello": "#!/bin/sh\necho hello\n", "usr/bin/hi": "->hello", "usr/share/doc/hello/README": pattern(3000),
		"usr/share/doc/hello/empty": "", "etc/hello.conf": "greeting=hello\n", "usr/share/doc/hello/naïve.md": "#\n",
	}
	if big {
		files["usr/bin/big"] = pattern(3_000_000) + noise(2_000_000) + pattern(7)
	}
	return files
}

func TestDpkg(t *testing.T) {
	for _, compression := range []string{"xz", "gzip", "zstd", "none"} {
		for _, big := range []bool{false, true} {
			t.Run(fmt.Sprint(compression, big), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "tree")
				plant(t, dir, programs(big))
				var sums strings.Builder
				for _, name := range []string{"usr/bin/hello", "usr/share/doc/hello/README", "usr/share/doc/hello/empty", "usr/share/doc/hello/naïve.md", "usr/bin/big"} {
					if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
						fmt.Fprintf(&sums, "%s  %s\n", md5Of(b), name)
					}
				}
				meta := filepath.Join(filepath.Dir(dir), "meta")
				plant(t, dir, map[string]string{"DEBIAN/control": control, "DEBIAN/conffiles": "/etc/hello.conf\n", "DEBIAN/md5sums": sums.String()})
				out := filepath.Join(t.TempDir(), "a.deb")
				tool(t, "dpkg", dir, "dpkg-deb", "--root-owner-group", "-Z"+compression, "--build", dir, out)
				must(t, os.Rename(filepath.Join(dir, "DEBIAN"), meta))
				must(t, os.Chtimes(dir, commitTime, commitTime))
				f := openFile(t, inspect.Deb, out)
				compare(t, dir, f, "data")
				compare(t, meta, f, "control")
				if f.Name != "hello" || f.Version != "1.2.3~rc.1" || f.Architecture != "amd64" {
					t.Errorf("it is %s %s %s", f.Name, f.Version, f.Architecture)
				}
				if !big {
					keepSample(t, "hello-"+compression+".deb", out)
				}
			})
		}
	}
}

func TestRpmbuild(t *testing.T) {
	for compression, payload := range map[string]string{"gzip": "w9.gzdio", "xz": "w2.xzdio", "zstd": "w3.zstdio"} {
		for _, big := range []bool{false, true} {
			t.Run(fmt.Sprint(compression, big), func(t *testing.T) {
				dir := t.TempDir()
				tree := filepath.Join(dir, "tree")
				plant(t, tree, programs(big))
				must(t, os.Link(filepath.Join(tree, "etc/hello.conf"), filepath.Join(tree, "etc/hello.same")))
				more := ""
				if big {
					more = "/usr/bin/big\n"
				}
				spec := `Name: hello
Version: 1.2.3~rc.1
Release: 1
Summary: says hello
License: MIT
BuildArch: noarch
AutoReqProv: no
%global _binary_payload ` + payload + `
%global __os_install_post %{nil}
%global use_source_date_epoch_as_buildtime 1
%global _buildhost localhost
%global _build_id_links none
%description
It says it.
%install
cp -a ` + tree + `/. %{buildroot}
%files
%config /etc/hello.conf
/etc/hello.same
/usr/bin/hello
/usr/bin/hi
%dir /usr/share/doc/hello
/usr/share/doc/hello/*
` + more
				must(t, os.WriteFile(filepath.Join(dir, "hello.spec"), []byte(spec), 0o644))
				tool(t, "rpm", dir, "rpmbuild", "-bb", "--define", "_topdir "+dir, "--define", "debug_package %{nil}", "hello.spec")
				out := filepath.Join(dir, "RPMS/noarch/hello-1.2.3~rc.1-1.noarch.rpm")
				f := openFile(t, inspect.RPM, out)
				compare(t, tree, f, "")
				if f.Name != "hello" || f.Version != "1.2.3~rc.1-1" || f.Architecture != "noarch" {
					t.Errorf("it is %s %s %s", f.Name, f.Version, f.Architecture)
				}
				if !big {
					keepSample(t, "hello-"+compression+".rpm", out)
				}
			})
		}
	}
}

const snapYAML = "name: hello\nversion: 1.2.3\nsummary: says hello\ndescription: |\n  It says it.\nbase: bare\ngrade: stable\nconfinement: strict\narchitectures: [amd64, arm64]\napps:\n  hello:\n    command: bin/hello\n"

func TestMksquashfs(t *testing.T) {
	many := map[string]string{"meta/snap.yaml": snapYAML}
	for i := range 3000 {
		many[fmt.Sprintf("many/a-rather-long-name-of-a-file-%04d", i)] = fmt.Sprint(i)
	}
	small := map[string]string{"meta/snap.yaml": snapYAML, "bin/hello": "#!/bin/sh\necho hello\n", "bin/hi": "->hello", "share/doc/naïve": pattern(200_000), "share/empty": "", "share/folder/": ""}
	for i := range 400 {
		small[fmt.Sprintf("many/file-with-a-name-%04d", i)] = ""
	}
	big := map[string]string{
		"meta/snap.yaml": snapYAML, "bin/hello": pattern(3_000_000) + noise(2_000_000) + pattern(77), "bin/even": noise(1 << 20), "bin/one": noise(1<<20 + 1),
		"bin/holes": strings.Repeat("\x00", 2_000_000) + noise(5), "bin/same": noise(1 << 20), "bin/zero": strings.Repeat("\x00", 1<<20),
	}
	deep := map[string]string{"meta/snap.yaml": snapYAML}
	for i := range 40 {
		deep[strings.Repeat("d/", i)+"file"] = noise(i * 1000)
	}
	type layout struct {
		name  string
		files map[string]string
		args  []string
		keep  string
	}
	var all []layout
	for _, c := range []string{"xz", "zstd", "gzip"} {
		all = append(all,
			layout{"small", small, []string{"-comp", c}, "hello-" + c + ".snap"},
			layout{"many", many, []string{"-comp", c}, ""},
			layout{"big", big, []string{"-comp", c, "-b", "1M"}, ""},
			layout{"bare", big, []string{"-comp", c, "-no-fragments", "-no-xattrs", "-b", "128K"}, ""},
			layout{"deep", deep, []string{"-comp", c, "-always-use-fragments", "-b", "4K", "-no-exports"}, ""},
		)
	}
	all = append(all,
		layout{"plain", map[string]string{"meta/snap.yaml": snapYAML, "a/b": "b", "a/c/d": "d", "a/c/e": "->d"}, []string{"-comp", "gzip", "-noI", "-noD", "-noF", "-noId"}, "plain.snap"},
		layout{"level", small, []string{"-comp", "zstd", "-Xcompression-level", "22"}, ""},
		layout{"dict", small, []string{"-comp", "xz", "-Xdict-size", "50%", "-nopad"}, ""},
	)
	for _, l := range all {
		t.Run(l.name+l.args[1], func(t *testing.T) {
			if !fixture.Full && l.keep == "" {
				t.Skip("packs large trees")
			}
			dir := filepath.Join(t.TempDir(), "tree")
			plant(t, dir, l.files)
			if l.name == "big" {
				must(t, os.Link(filepath.Join(dir, "bin/hello"), filepath.Join(dir, "bin/hello2")))
				must(t, os.Chtimes(filepath.Join(dir, "bin"), commitTime, commitTime))
			}
			out := filepath.Join(t.TempDir(), "a.snap")
			tool(t, "squashfs-tools", dir, "mksquashfs", append([]string{dir, out, "-noappend", "-all-root", "-no-progress", "-quiet"}, l.args...)...)
			f := openFile(t, inspect.Snap, out)
			compare(t, dir, f, "")
			if f.Name != "hello" || f.Version != "1.2.3" || f.Architecture != "amd64 arm64" || f.Fields["snap.apps.hello.command"] != "bin/hello" {
				t.Errorf("it is %s %s %s", f.Name, f.Version, f.Architecture)
			}
			if l.keep != "" {
				keepSample(t, l.keep, out)
			}
		})
	}
}

func TestInfoZip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	plant(t, dir, programs(true))
	for _, args := range [][]string{{"-X"}, {}, {"-0"}, {"-fd"}} {
		if slices.Contains(args, "-fd") {
			// zip stores links, and stores nothing with its size behind it.
			must(t, os.Remove(filepath.Join(dir, "usr/bin/hi")))
			must(t, os.Chtimes(filepath.Join(dir, "usr/bin"), commitTime, commitTime))
		}
		out := filepath.Join(t.TempDir(), "a.zip")
		tool(t, "zip", dir, "zip", append(append([]string{"-q", "-r", "-y"}, args...), out, ".")...)
		f := openFile(t, inspect.Zip, out)
		f.Entries = append(f.Entries, inspect.Entry{Name: ".", Type: inspect.Folder, Mode: fs.ModeDir | 0o755})
		compare(t, dir, f, "")
	}
	small := filepath.Join(t.TempDir(), "tree")
	plant(t, small, programs(false))
	out := filepath.Join(t.TempDir(), "a.zip")
	tool(t, "zip", small, "zip", "-q", "-r", "-y", "-X", out, ".")
	keepSample(t, "hello.zip", out)
}

func TestGnuTar(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	plant(t, dir, programs(true))
	must(t, os.Link(filepath.Join(dir, "etc/hello.conf"), filepath.Join(dir, "etc/hello.same")))
	must(t, os.Chtimes(filepath.Join(dir, "etc"), commitTime, commitTime))
	for _, format := range []string{"gnu", "pax", "ustar"} {
		out := filepath.Join(t.TempDir(), "a.tar.gz")
		tool(t, "tar", dir, "tar", "--format="+format, "--sort=name", "-czf", out, ".")
		compare(t, dir, openFile(t, inspect.TarGz, out), "")
	}
}

// A Go program for each way that build information is stored.
func TestGoBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles programs for other systems")
	}
	dir := t.TempDir()
	plant(t, dir, map[string]string{"go.mod": "module example.com/hello\n\ngo 1.26\n", "main.go": "package main\n\nvar version string\n\nfunc main() { println(version) }\n"})
	platforms := []string{"linux/amd64", "windows/amd64", "darwin/arm64"} // ELF, PE and Mach-O
	if fixture.Full {
		// Other word sizes and byte orders, and other forms; a standard library for each.
		platforms = append(platforms, "linux/s390x", "linux/386", "linux/mips", "freebsd/arm64", "plan9/amd64", "aix/ppc64")
	}
	for _, platform := range platforms {
		system, arch, _ := strings.Cut(platform, "/")
		out := filepath.Join(dir, system+arch)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid= -X main.version=1.2.3", "-o", out, ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOFLAGS=", "GOTOOLCHAIN=local", "GOWORK=off")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", platform, err, b)
		}
		b, err := os.ReadFile(out)
		must(t, err)
		f, err := open(t, inspect.Binary, b)
		if err != nil {
			t.Errorf("%s: %v", platform, err)
			continue
		}
		if f.Architecture != platform || f.Name != "example.com/hello" || f.Fields["go.-ldflags"] == "" && f.Fields["go.-trimpath"] != "true" {
			t.Errorf("%s: %s", platform, dump(f))
		}
		// The build information of one platform in the header of another.
		if other := bytes.ReplaceAll(b, []byte("build\tGOARCH="+arch), []byte("build\tGOARCH="+strings.Repeat("x", len(arch)))); bytes.Equal(b, other) {
			t.Errorf("%s: its build information was not found", platform)
		} else if _, err := open(t, inspect.Binary, other); err == nil {
			t.Errorf("%s: another architecture is taken", platform)
		}
	}
}
