package apk_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // what apk keeps
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/apk"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

type entry struct {
	header  tar.Header
	content string
}

// read reads an apk with nothing of ours: what .PKGINFO says, and the files.
func read(t testing.TB, b []byte) (info string, files []entry) {
	t.Helper()
	in := bytes.NewReader(b)
	zr, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	zr.Multistream(false)
	control, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	data := b[len(b)-in.Len():]
	empty := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	if !bytes.Equal(b[:10], empty) || !bytes.Equal(data[:10], empty) {
		t.Errorf("the headers of gzip are % x and % x", b[:10], data[:10])
	}
	// A block of zeros would end the tar that both streams are together.
	if len(control)%512 != 0 || bytes.Equal(control[len(control)-512:], make([]byte, 512)) {
		t.Errorf("the first stream has %d bytes, or an end", len(control))
	}
	if _, err := zr.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	// As tar sees it: one archive in all streams.
	whole, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(whole); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(time.Unix(1772323198, 0)) {
			t.Errorf("%s is of %s", h.Name, h.ModTime)
		}
		if h.Name == ".PKGINFO" {
			info = string(content)
			continue
		}
		if h.Typeflag == tar.TypeReg {
			if got := fmt.Sprintf("%x", sha1.Sum(content)); h.PAXRecords["APK-TOOLS.checksum.SHA1"] != got { //nolint:gosec // what apk keeps
				t.Errorf("%s has the digest %s, not %s", h.Name, h.PAXRecords["APK-TOOLS.checksum.SHA1"], got)
			}
		}
		files = append(files, entry{*h, string(content)})
	}
	if want := fmt.Sprintf("\ndatahash = %x\n", sha256.Sum256(data)); !strings.HasSuffix(info, want) {
		t.Errorf(".PKGINFO does not end in %q:\n%s", want, info)
	}
	if plain, err := io.ReadAll(whole); err != nil || len(bytes.Trim(plain, "\x00")) > 0 {
		t.Errorf("%d bytes follow the end: %v", len(plain), err)
	}
	return info, files
}

func listing(t testing.TB, b []byte) string {
	t.Helper()
	info, files := read(t, b)
	out := "=== .PKGINFO\n" + info + "=== data\n"
	for _, e := range files {
		h := e.header
		out += fmt.Sprintf("%c %04o %d/%d %s/%s %s %8d %s\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.UTC().Format(time.RFC3339), h.Size, h.Name)
	}
	return out
}

func TestGolden(t *testing.T) {
	p := packagetest.Package(t, "1.2.3-rc.1", packagetest.Files(packagetest.Program(100_000)))
	p.Depends, p.Recommends = []string{"ca-certificates", "git>=2.30"}, []string{"less"}
	p.Suggests, p.Conflicts, p.Provides, p.Replaces = []string{"vim"}, []string{"other"}, []string{"thing=1"}, []string{"old"}
	b := packagetest.Bytes(t, apk.Write, p)
	packagetest.Golden(t, "full", b, listing(t, b))

	least := packagetest.Package(t, "1.2.4-snapshot.5.g0123456789ab", packagetest.Files(packagetest.Program(1000)))
	packagetest.Least(&least)
	least.Maintainer = "Tool Authors"
	least.Platform = artifact.Platform{OS: "linux", Arch: "arm"}
	b = packagetest.Bytes(t, apk.Write, least)
	packagetest.Golden(t, "least", b, listing(t, b))

	least.Files = packagetest.Files(packagetest.Program(3<<20 + 123))[:1] // several blocks of the compressor
	b = packagetest.Bytes(t, apk.Write, least)
	packagetest.Golden(t, "blocks", b, listing(t, b))
}

func TestMemory(t *testing.T) { packagetest.Memory(t, apk.Write) }

func TestIndependence(t *testing.T) { packagetest.Independent(t, apk.Write) }

func TestRefusals(t *testing.T) {
	packagetest.Refused(t, apk.Write, map[string]func(*format.Package){
		"package tool: apk has no name for linux/arm/v5; leave the platform out": func(p *format.Package) {
			p.Platform = artifact.Platform{OS: "linux", Arch: "arm", Variant: "v5"}
		},
		`package tool: version 1.2.3-dev.1: apk has no prerelease "dev.1"; it knows alpha, beta, pre and rc, and numbers after them, as in rc.1`: func(p *format.Package) {
			p.Version = packagetest.Package(t, "1.2.3-dev.1", nil).Version
		},
		`package tool: "git >= 2" is not a relation of apk, such as name or name>=1.2`: func(p *format.Package) { p.Depends = []string{"git >= 2"} },
		"package tool: usr/share/licenses/tool/LICENSE is in it twice": func(p *format.Package) {
			p.Files = append(p.Files, format.File{File: archive.Bytes("usr/share/licenses/tool/LICENSE", nil), Role: format.License})
		},
	})
}

// A package is installed into an empty root, upgraded and deleted.
func TestInstall(t *testing.T) {
	tool := packagetest.Tool(t, "apk", "apk-tools")
	if os.Geteuid() != 0 || runtime.GOARCH != "amd64" {
		t.Skip("apk --root needs root on amd64")
	}
	root := t.TempDir()
	run := func(args ...string) string {
		return packagetest.Run(t, tool, append([]string{"--root", root, "--arch", "x86_64", "--no-network", "--allow-untrusted"}, args...)...)
	}
	t.Log(run("add", "--initdb", packagetest.Real(t, format.APK, apk.Write, "1.2.3-rc.1")))
	t.Log(run("add", packagetest.Real(t, format.APK, apk.Write, "1.2.3")))
	if out := packagetest.Run(t, filepath.Join(root, "usr/bin/tool")); out != "tool 1.2.3\n" {
		t.Errorf("the upgraded program prints %q", out)
	}
	t.Log(run("info", "-a", "tool"))
	if out := run("audit", "--packages"); out != "" {
		t.Errorf("apk audit says\n%s", out)
	}
	t.Log(run("del", "tool"))
	if _, err := os.Stat(filepath.Join(root, "usr/bin/tool")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program is left: %v", err)
	}
}
