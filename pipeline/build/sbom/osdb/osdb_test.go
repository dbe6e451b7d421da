package osdb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var update = flag.Bool("update", false, "write golden files")

// entry is a file of a layer: name, and content, "-> target" for a link, "=> target" for a hard link. A name that ends in
// a slash is a folder.
type entry struct{ name, content string }

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(e.content))}
		soft, isSoft := strings.CutPrefix(e.content, "-> ")
		hard, isHard := strings.CutPrefix(e.content, "=> ")
		switch {
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag, h.Size = tar.TypeDir, 0
		case isSoft:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, soft, 0
		case isHard:
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, hard, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, e.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(b []byte) Layer {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

const (
	apkOne  = "C:Q1x\nP:musl\nV:1.2.5-r10\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:ssl_client\nV:1.37.0-r19\nA:x86_64\nL:GPL-2.0-only\no:busybox\n\n"
	apkTwo  = "P:zlib\nV:1.3.1-r2\nA:x86_64\nL:Zlib\n"
	dpkgOne = `Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.39-0ubuntu8.6
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library
 Version: 9

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0-1

Package: libgcc-s1
Status: install ok triggers-pending
Architecture: amd64
Source: gcc-14 (14.2.0-4ubuntu2~24.04)
Version: 1:14.2.0-4ubuntu2~24.04
`
	tzdata  = "Package: tzdata\nVersion: 2025b-0+deb12u2\nArchitecture: all\n"
	release = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME=\"Alpine Linux v3.22\"\n"
)

// short is a Base in lines that a table can have.
func short(b Base) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s|%s|%s\n", b.Distribution.ID, b.Distribution.Version, b.Distribution.Title)
	for _, d := range b.Databases {
		fmt.Fprintf(&out, "%s %s %d %s\n", d.Path, d.Format, d.Packages, d.Problem)
	}
	for _, p := range b.Packages {
		fmt.Fprintf(&out, "%s %s %s %s src=%s/%s %s %s\n", p.Type, p.Name, p.Version, p.Arch, p.Source, p.SourceVersion, p.License, p.Vendor)
	}
	var lines []string
	for line := range strings.SplitSeq(out.String(), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

func TestRead(t *testing.T) {
	const (
		musl    = "apk musl 1.2.5-r10 x86_64 src=musl/1.2.5-r10 MIT\napk ssl_client 1.37.0-r19 x86_64 src=busybox/1.37.0-r19 GPL-2.0-only\n"
		zlib    = "apk zlib 1.3.1-r2 x86_64 src=/ Zlib\n"
		alpine  = "alpine|3.22.1|Alpine Linux v3.22\n"
		nothing = "||\n"
	)
	rpmdb, err := os.ReadFile(filepath.Join("testdata", "rpmdb.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	const rpms = "rpm bash 5.1.8-9.el9 x86_64 src=bash/5.1.8-9.el9 GPLv3+ Red Hat, Inc.\n"
	for name, test := range map[string]struct {
		layers [][]entry
		want   string
	}{
		"nothing": {nil, nothing},
		"alpine":  {[][]entry{{{"etc/os-release", "-> ../usr/lib/os-release"}, {"usr/lib/os-release", release}, {"lib/apk/db/installed", apkOne}}}, alpine + "lib/apk/db/installed apk 2\n" + musl},
		"usr merged": {
			[][]entry{{{"usr/lib/apk/db/installed", apkOne}, {"lib", "-> usr/lib"}}},
			nothing + "lib/apk/db/installed apk 2\n" + musl,
		},
		"written through a link": {
			[][]entry{{{"usr/lib/", ""}, {"lib", "-> /usr/lib"}}, {{"lib/apk/db/installed", apkTwo}}},
			nothing + "lib/apk/db/installed apk 1\n" + zlib,
		},
		"link replaced by a folder": {
			[][]entry{{{"usr/lib/apk/db/installed", apkOne}, {"lib", "-> usr/lib"}}, {{"lib/", ""}, {"lib/apk/db/installed", apkTwo}}},
			nothing + "lib/apk/db/installed apk 1\nusr/lib/apk/db/installed apk 2\n" + musl + zlib,
		},
		"upper layer wins": {
			[][]entry{{{"lib/apk/db/installed", apkOne}}, {{"./lib/apk/db/installed", apkTwo}}},
			nothing + "lib/apk/db/installed apk 1\n" + zlib,
		},
		"folder replaced by a file": {[][]entry{{{"lib/apk/db/installed", apkOne}}, {{"lib", "a file"}}}, nothing},
		"whiteout":                  {[][]entry{{{"lib/apk/db/installed", apkOne}}, {{"lib/apk/db/.wh.installed", ""}}}, nothing},
		"whiteout of a folder above": {
			[][]entry{{{"lib/apk/db/installed", apkOne}, {"etc/os-release", release}}, {{".wh.lib", ""}}},
			alpine,
		},
		"whiteout and file of one layer": {
			[][]entry{{{"lib/apk/db/installed", apkOne}}, {{"lib/apk/db/installed", apkTwo}, {"lib/apk/.wh.db", ""}}},
			nothing + "lib/apk/db/installed apk 1\n" + zlib,
		},
		"whiteout of nothing": {[][]entry{{{"lib/.wh.x", ""}, {"lib/apk/db/installed", apkTwo}}}, nothing + "lib/apk/db/installed apk 1\n" + zlib},
		"opaque": {
			[][]entry{{{"var/lib/dpkg/status.d/base", tzdata}}, {{"var/lib/dpkg/status.d/tz", tzdata}, {"var/lib/dpkg/.wh..wh..opq", ""}}},
			nothing + "var/lib/dpkg/status.d dpkg 1\ndeb tzdata 2025b-0+deb12u2 all src=/\n",
		},
		"opaque hides the lower one":       {[][]entry{{{"var/lib/dpkg/status", dpkgOne}}, {{"var/lib/.wh..wh..opq", ""}}}, nothing},
		"bookkeeping of aufs is no answer": {[][]entry{{{"lib/apk/db/installed", apkTwo}}, {{"lib/.wh..wh.plnk", ""}}}, nothing + "lib/apk/db/installed apk 1\n" + zlib},
		"dpkg": {
			[][]entry{{{"var/lib/dpkg/status", dpkgOne}}},
			nothing + "var/lib/dpkg/status dpkg 2\ndeb libc6 2.39-0ubuntu8.6 amd64 src=glibc/2.39-0ubuntu8.6\n" +
				"deb libgcc-s1 1:14.2.0-4ubuntu2~24.04 amd64 src=gcc-14/14.2.0-4ubuntu2~24.04\n",
		},
		"dpkg by a hard link": {
			[][]entry{{{"var/lib/dpkg/status-old/status", "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"}, {"var/lib/dpkg/status", "=> var/lib/dpkg/status-old/status"}}},
			nothing + "var/lib/dpkg/status dpkg 1\ndeb a 1 all src=/\n",
		},
		"dpkg by a hard link to something else": {
			[][]entry{{{"x", "Package: a\n"}, {"var/lib/dpkg/status", "=> x"}}},
			nothing + "var/lib/dpkg/status dpkg 0 it is not a file whose content could be read\n",
		},
		"dpkg by a link that leads nowhere": {[][]entry{{{"var/lib/dpkg/status", "-> nowhere"}}}, nothing},
		"dpkg by a loop":                    {[][]entry{{{"var/lib/dpkg/status", "-> status"}, {"var/lib/rpm", "-> ../lib/rpm"}}}, nothing},
		"distroless": {
			[][]entry{{{"var/lib/dpkg/status.d/tzdata", tzdata}, {"var/lib/dpkg/status.d/tzdata.md5sums", "0 usr\n"}}, {{"var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"}}},
			nothing + "var/lib/dpkg/status.d dpkg 2\ndeb base-files 12.4 amd64 src=/\ndeb tzdata 2025b-0+deb12u2 all src=/\n",
		},
		"distroless with something strange": {
			[][]entry{{{"var/lib/dpkg/status.d/tzdata", tzdata}, {"var/lib/dpkg/status.d/empty", ""}}},
			nothing + "var/lib/dpkg/status.d dpkg 1 empty: it has no package\ndeb tzdata 2025b-0+deb12u2 all src=/\n",
		},
		"rpm": {
			[][]entry{{{"usr/lib/sysimage/rpm/rpmdb.sqlite", string(rpmdb)}, {"var/lib/rpm", "-> ../../usr/lib/sysimage/rpm"}, {"usr/lib/sysimage/rpm/rpmdb.sqlite-wal", ""}}},
			nothing + "usr/lib/sysimage/rpm/rpmdb.sqlite rpm 20\n" + rpms,
		},
		"rpm with a log": {
			[][]entry{{{"var/lib/rpm/rpmdb.sqlite", string(rpmdb)}, {"var/lib/rpm/rpmdb.sqlite-wal", "frames"}}},
			nothing + "var/lib/rpm/rpmdb.sqlite rpm 20 its write-ahead log has changes that were not read\n" + rpms,
		},
		"rpm of old": {
			[][]entry{{{"var/lib/rpm/Packages", "bdb"}}, {{"usr/lib/sysimage/rpm/Packages.db", "RpmP"}}},
			nothing + "usr/lib/sysimage/rpm/Packages.db rpm 0 it is an ndb, the format of SUSE, which is not read\n" +
				"var/lib/rpm/Packages rpm 0 it is a Berkeley DB, the format of rpm before 4.16, which is not read\n",
		},
		"rpm cut short": {
			[][]entry{{{"var/lib/rpm/rpmdb.sqlite", string(rpmdb[:1024])}}},
			nothing + "var/lib/rpm/rpmdb.sqlite rpm 0 it is not a whole sqlite database\n",
		},
		"apk that is none": {
			[][]entry{{{"lib/apk/db/installed", "P:a\nV:1\nnonsense\n"}}},
			nothing + "lib/apk/db/installed apk 0 line \"nonsense\" is not of an apk database\n",
		},
		"apk with a name that obeys": {
			[][]entry{{{"lib/apk/db/installed", "P:a\x1b[2J\nV:1\n"}}},
			nothing + "lib/apk/db/installed apk 0 package \"a\\x1b[2J\": \"a\\x1b[2J\" is not text that a package has\n",
		},
		"a database that is a folder": {[][]entry{{{"lib/apk/db/installed/", ""}}}, nothing},
		"out of the root": {
			[][]entry{{{"../../lib/apk/db/installed", apkTwo}, {"etc/os-release", "-> ../../../../../usr/lib/os-release"}, {"usr/lib/os-release", release}}},
			alpine + "lib/apk/db/installed apk 1\n" + zlib,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for form, compress := range map[string]func(testing.TB, []byte) []byte{
				"tar": func(_ testing.TB, b []byte) []byte { return b }, "gzip": gzipped, "zstd": zstandard,
			} {
				var layers []Layer
				for _, l := range test.layers {
					layers = append(layers, layerOf(compress(t, tarOf(t, l...))))
				}
				b, err := Read(t.Context(), layers)
				if err != nil {
					t.Fatalf("%s: %v", form, err)
				}
				if strings.HasPrefix(name, "rpm") && len(b.Packages) == 20 { // the first is enough for a table
					b.Packages = b.Packages[:1]
				}
				if got := short(b); got != test.want {
					t.Errorf("%s:\n%s\nwant\n%s", form, got, test.want)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	files := func(n int) []entry {
		var out []entry
		for i := range n {
			out = append(out, entry{fmt.Sprintf("f%d", i), "0123456789"})
		}
		return out
	}
	broken := errors.New("no registry")
	for name, test := range map[string]struct {
		layer  Layer
		bounds bounds
		want   string
	}{
		"no layer":       {func(context.Context) (io.ReadCloser, error) { return nil, broken }, standard, "reading layer 1 of 1: no registry"},
		"cut short":      {layerOf(tarOf(t, files(3)...)[:515]), standard, "unexpected EOF"},
		"gzip cut short": {layerOf(gzipped(t, tarOf(t, files(3)...))[:40]), standard, "EOF"},
		"no archive":     {layerOf(bytes.Repeat([]byte("x"), 2048)), standard, "invalid tar header"},
		"too many":       {layerOf(tarOf(t, files(3)...)), bounds{1 << 20, 2, 1 << 20, 100}, "more than 2 files"},
		"too many folders": {
			layerOf(tarOf(t, entry{"a/b/c/d", ""})), bounds{1 << 20, 3, 1 << 20, 100}, "more than 3 files",
		},
		"too large": {layerOf(zstandard(t, tarOf(t, files(3)...))), bounds{1024, 20, 1 << 20, 100}, "larger unpacked"},
		"database too large": {
			layerOf(tarOf(t, entry{"lib/apk/db/installed", apkOne})), bounds{1 << 20, 20, 20, 100}, "databases of the image have more than 20 bytes",
		},
		"too much work of links": {
			layerOf(tarOf(t, entry{"a", "-> " + strings.Repeat("./", 200)}, entry{"a/b", ""})), bounds{1 << 20, 20, 20, 100}, "links and whiteouts",
		},
		"too much work of whiteouts": {
			layerOf(tarOf(t, append(files(60), entry{".wh..wh..opq", ""}, entry{".wh..wh..opq", ""})...)), bounds{1 << 20, 100, 20, 100}, "links and whiteouts",
		},
		"too deep":      {layerOf(tarOf(t, entry{strings.Repeat("d/", 300) + "f", ""})), standard, "folders deep"},
		"name too long": {layerOf(tarOf(t, entry{strings.Repeat("long/", 900) + "f", ""})), standard, "more than 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpack(t.Context(), []Layer{test.layer}, test.bounds)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, []Layer{layerOf(tarOf(t, files(1)...))}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

func TestRelease(t *testing.T) {
	for in, want := range map[string]Distribution{
		"ID=\"rhel\"\nVERSION_ID=\"9.6\"\nPRETTY_NAME=\"Red Hat Enterprise Linux 9.6 (Plow)\"": {"rhel", "9.6", "Red Hat Enterprise Linux 9.6 (Plow)"},
		"ID='debian'\n# VERSION_ID=1\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\n":                      {"debian", "", `a "b" $c`},
		"ID=Bad Name\nVERSION_ID=\"open\nPRETTY_NAME='it's'":                                   {},
		"ID=UPPER\nPRETTY_NAME=\"a\"b":                                                         {},
		"ID=\nVERSION_ID=a\\ b\n":                                                              {},
		"VERSION_ID=24.04 \nID=ubuntu":                                                         {"ubuntu", "24.04", ""},
	} {
		if got := parseRelease([]byte(in)); got != want {
			t.Errorf("%q gives %+v, want %+v", in, got, want)
		}
	}
}

func TestParsersRefuse(t *testing.T) {
	for name, test := range map[string]struct {
		parse func([]byte) ([]Package, error)
		in    string
		want  string
	}{
		"dpkg without a status":  {parseDpkg, "Package: a\nVersion: 1\n", "not three words"},
		"dpkg that is none":      {parseDpkg, "Package\n", "not of a control file"},
		"two packages":           {parseControl, tzdata + "\n" + tzdata, "more than one"},
		"apk, too many":          {parseApk, strings.Repeat("P:a\n\n", maxPackages+1), "more than 100000"},
		"dpkg, too many":         {parseDpkg, strings.Repeat("Package: a\nStatus: install ok installed\n\n", maxPackages+1), "more than 100000"},
		"sqlite with UTF-16":     {parseRPM, "SQLite format 3\x00\x02\x00\x01\x01" + strings.Repeat("\x00", 36) + "\x00\x00\x00\x02" + strings.Repeat("\x00", 452), "text encoding 2"},
		"sqlite of odd pages":    {parseRPM, "SQLite format 3\x00\x03\x00" + strings.Repeat("\x00", 750), "not a whole"},
		"sqlite of nothing else": {parseRPM, "SQLite format 3\x00", "not a whole"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := test.parse([]byte(test.in)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	for _, p := range []Package{{Name: "a"}, {Version: "1"}, {Name: "a b", Version: "1"}, {Name: "a", Version: "\xff"}, {Name: "a", Version: "1", License: strings.Repeat("x", maxField+1)}} {
		if err := check([]Package{p}); err == nil {
			t.Errorf("%.60v is taken for a package", p)
		}
	}
}

// needs skips a test where a program is not there, and where tests are to be quick.
func needs(t *testing.T, debian string, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("slow")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not here; install %s", p, debian)
		}
	}
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, stderr.Bytes())
	}
	return string(out)
}

// The packages of this machine, as dpkg tells them.
func TestDpkgAgrees(t *testing.T) {
	needs(t, "dpkg", "dpkg-query")
	status, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		t.Skip(err)
	}
	b, err := Read(t.Context(), []Layer{layerOf(tarOf(t, entry{dpkgPlace, string(status)}))})
	if err != nil || b.Databases[0].Problem != "" {
		t.Fatal(err, b.Databases)
	}
	var want []string
	for line := range strings.Lines(run(t, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n")) {
		if rest, ok := strings.CutPrefix(line, "installed "); ok {
			want = append(want, strings.TrimSpace(rest))
		}
	}
	var got []string
	for _, p := range b.Packages {
		if p.Source == "" { // dpkg-query says what is not written
			p.Source, p.SourceVersion = p.Name, p.Version
		}
		got = append(got, strings.Join([]string{p.Name, p.Version, p.Arch, p.Source, p.SourceVersion}, " "))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("dpkg has %d packages and this %d", len(want), len(got))
	}
}
