package rpm_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/rpm"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// header reads a header of rpm and what follows it: the values by tag
// (https://rpm.org/docs/latest/manual/format_header.html).
func header(t testing.TB, b []byte) (map[int][]string, []byte) {
	t.Helper()
	if !bytes.Equal(b[:4], []byte{0x8e, 0xad, 0xe8, 1}) {
		t.Fatalf("no header but % x", b[:4])
	}
	count, size := int(binary.BigEndian.Uint32(b[8:])), int(binary.BigEndian.Uint32(b[12:]))
	index, store := b[16:16+16*count], b[16+16*count:16+16*count+size]
	tags := map[int][]string{}
	for ; len(index) > 0; index = index[16:] {
		field := func(i int) int { return int(binary.BigEndian.Uint32(index[4*i:])) }
		tag, kind, value, n := field(0), field(1), store[field(2):], field(3)
		for i := range n {
			switch kind {
			case 3:
				tags[tag] = append(tags[tag], strconv.Itoa(int(binary.BigEndian.Uint16(value[2*i:]))))
			case 4:
				tags[tag] = append(tags[tag], strconv.FormatUint(uint64(binary.BigEndian.Uint32(value[4*i:])), 10))
			case 6, 8, 9:
				text, rest, _ := bytes.Cut(value, []byte{0})
				tags[tag] = append(tags[tag], string(text))
				value = rest
			case 7:
				tags[tag] = []string{fmt.Sprintf("%x", value[:n])}
			}
		}
	}
	return tags, b[16+16*count+size:]
}

// The tags that the tests look at (https://rpm.org/docs/latest/manual/tags.html).
const (
	tagName = 1000 + iota
	tagVersion
	tagRelease
	_
	tagSummary
	tagDescription
	tagBuildTime
	tagBuildHost
)

const (
	tagPayloadDigest    = 5092
	tagPayloadDigestAlt = 5097
	tagBaseNames        = 1117
	tagDirNames         = 1118
	tagDirIndexes       = 1116
	tagSizes            = 1028
	tagModes            = 1030
	tagTimes            = 1034
	tagDigests          = 1035
	tagFlags            = 1037
	tagUsers            = 1039
	tagGroups           = 1040
)

// told are the tags that a listing has, less those of the files.
var told = []struct {
	tag  int
	name string
}{
	{tagName, "name"},
	{tagVersion, "version"},
	{tagRelease, "release"},
	{1022, "arch"},
	{1021, "os"},
	{tagSummary, "summary"},
	{tagDescription, "description"},
	{1014, "license"},
	{1020, "url"},
	{1011, "vendor"},
	{1015, "packager"},
	{1016, "group"},
	{tagBuildTime, "buildtime"},
	{tagBuildHost, "buildhost"},
	{1044, "sourcerpm"},
	{1125, "compressor"},
	{1049, "requires"},
	{1050, "requires version"},
	{1047, "provides"},
	{1113, "provides version"},
	{1090, "obsoletes"},
	{1054, "conflicts"},
	{5046, "recommends"},
	{5049, "suggests"},
	{1024, "post"},
	{1025, "preun"},
	{1026, "postun"},
	{1080, "changelog time"},
	{1081, "changelog name"},
	{1082, "changelog text"},
}

// read reads an rpm with nothing of ours: the values of its header, and its payload as contents by name.
func read(t testing.TB, b []byte) (map[int][]string, map[string]string) {
	t.Helper()
	if !bytes.Equal(b[:4], []byte{0xed, 0xab, 0xee, 0xdb}) {
		t.Fatal("no lead")
	}
	signature, rest := header(t, b[96:])
	rest = rest[(8-(len(b)-len(rest))%8)%8:]
	tags, payload := header(t, rest)
	if got := fmt.Sprintf("%x", sha256.Sum256(rest[:len(rest)-len(payload)])); signature[273][0] != got {
		t.Errorf("the digest of the header is %s, not %s", signature[273], got)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(payload)); tags[tagPayloadDigest][0] != got {
		t.Errorf("the digest of the payload is %s, not %s", tags[tagPayloadDigest], got)
	}
	zr, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := []string{signature[1000][0], signature[1007][0]}, []string{strconv.Itoa(len(rest)), strconv.Itoa(len(plain))}; !slices.Equal(got, want) {
		t.Errorf("the sizes are %v, not %v", got, want)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(plain)); tags[tagPayloadDigestAlt][0] != got {
		t.Errorf("the digest of the archive is %s, not %s", tags[tagPayloadDigestAlt], got)
	}
	contents := map[string]string{}
	for {
		field := func(i int) int {
			n, err := strconv.ParseUint(string(plain[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		if string(plain[:6]) != "070701" {
			t.Fatalf("no entry of cpio but %q", plain[:6])
		}
		size, length := field(6), field(11)
		start := (110 + length + 3) &^ 3
		name := string(plain[110 : 110+length-1])
		if name == "TRAILER!!!" {
			return tags, contents
		}
		if !strings.HasPrefix(name, "./") || field(5) != 1772323198 {
			t.Fatalf("the payload has %s of %d", name, field(5))
		}
		contents[name[1:]] = string(plain[start : start+size])
		plain = plain[(start+size+3)&^3:]
	}
}

func listing(t testing.TB, b []byte) string {
	t.Helper()
	tags, contents := read(t, b)
	var out strings.Builder
	for _, w := range told {
		if v, ok := tags[w.tag]; ok {
			fmt.Fprintf(&out, "%s: %s\n", w.name, strings.Join(v, " | "))
		}
	}
	flags := map[string]string{"0": "", "2": " doc", "17": " config noreplace", "128": " license"}
	for i, base := range tags[tagBaseNames] {
		dir, err := strconv.Atoi(tags[tagDirIndexes][i])
		if err != nil {
			t.Fatal(err)
		}
		name := tags[tagDirNames][dir] + base
		mode, _ := strconv.Atoi(tags[tagModes][i])
		sec, _ := strconv.ParseInt(tags[tagTimes][i], 10, 64)
		kind, ok := flags[tags[tagFlags][i]]
		if !ok {
			t.Errorf("%s has flags %s", name, tags[tagFlags][i])
		}
		fmt.Fprintf(&out, "%06o %s/%s %s %8s %s%s\n", mode, tags[tagUsers][i], tags[tagGroups][i], time.Unix(sec, 0).UTC().Format(time.RFC3339), tags[tagSizes][i], name, kind)
		content, ok := contents[name]
		if !ok {
			t.Errorf("%s is in the header and not in the payload", name)
		}
		delete(contents, name)
		if mode&0o100000 != 0 && tags[tagDigests][i] != fmt.Sprintf("%x", sha256.Sum256([]byte(content))) {
			t.Errorf("%s has another digest", name)
		}
	}
	if len(contents) > 0 {
		t.Errorf("%d files are in the payload and not in the header", len(contents))
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	p := packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(100_000)))
	p.Depends, p.Recommends = []string{"ca-certificates", "git >= 2.30", "(a or b)"}, []string{"less"}
	p.Suggests, p.Conflicts, p.Provides, p.Replaces = []string{"vim"}, []string{"other < 2"}, []string{"thing = 1"}, []string{"old"}
	b := packagetest.Bytes(t, rpm.Write, p)
	packagetest.Golden(t, "full", b, listing(t, b))

	least := packagetest.Package(t, "1.2.4-snapshot.5.g0123456789ab", packagetest.Files(packagetest.Program(1000)))
	packagetest.Least(&least)
	least.Maintainer = "Tool Authors"
	least.Platform = artifact.Platform{OS: "linux", Arch: "arm"}
	b = packagetest.Bytes(t, rpm.Write, least)
	packagetest.Golden(t, "least", b, listing(t, b))
}

func TestMemory(t *testing.T) { packagetest.Memory(t, rpm.Write) }

func TestIndependence(t *testing.T) { packagetest.Independent(t, rpm.Write) }

func TestRefusals(t *testing.T) {
	packagetest.Refused(t, rpm.Write, map[string]func(*format.Package){
		"package tool: rpm has no name for darwin/arm64; leave the platform out": func(p *format.Package) {
			p.Platform = artifact.Platform{OS: "darwin", Arch: "arm64"}
		},
		"package tool: version 1.2.3-1: rpm sorts words before numbers, and SemVer numbers before words; write a word and then numbers, as in rc.1": func(p *format.Package) {
			p.Version = packagetest.Package(t, "1.2.3-1", nil).Version
		},
		`package tool: "a b" is not a relation of rpm, such as name or name >= 1.2`:    func(p *format.Package) { p.Depends = []string{"a b"} },
		`package tool: "a => 1" is not a relation of rpm, such as name or name >= 1.2`: func(p *format.Package) { p.Conflicts = []string{"a => 1"} },
		`package tool: "a>=1" is not a relation of rpm, such as name or name >= 1.2`:   func(p *format.Package) { p.Replaces = []string{"a>=1"} },
		"package tool: usr/share/licenses/tool/LICENSE is in it twice": func(p *format.Package) {
			p.Files = append(p.Files, format.File{File: archive.Bytes("usr/share/licenses/tool/LICENSE", nil), Role: format.License})
		},
		`package tool: "usr/lib/systemd/system/a b.service" is not the name of a systemd unit, such as tool.service`: func(p *format.Package) {
			p.Files = append(p.Files, format.File{File: archive.Bytes("usr/lib/systemd/system/a b.service", nil), Role: format.Unit})
		},
	})
}

func TestRPM(t *testing.T) {
	tool := packagetest.Tool(t, "rpm", "rpm")
	path := packagetest.Real(t, format.RPM, rpm.Write, "1.2.3-rc.1")
	out := packagetest.Run(t, tool, "-qpil", "--scripts", "--changelog", "--provides", path)
	t.Logf("\n%s", out)
	for _, want := range []string{
		"Version     : 1.2.3~rc.1\n", "Release     : 1\n", "Architecture: x86_64\n", "Build Host  : localhost\n", "\n/usr/bin/tool\n",
		"\n/usr/share/licenses/tool/LICENSE\n", "\ntool = 1.2.3~rc.1-1\n", "postinstall scriptlet (using /bin/sh):\n",
		"* Sat Feb 28 2026 Tool Authors <tool@tool.example.org> - 1.2.3~rc.1-1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("rpm -qpil has no %q", want)
		}
	}
	if out := packagetest.Run(t, tool, "-Kv", "--nosignature", path); strings.Contains(out, "BAD") || strings.Contains(out, "NOT OK") {
		t.Errorf("rpm -K says\n%s", out)
	} else {
		t.Log(out)
	}
	for flag, want := range map[string]string{"-qpd": "/usr/share/doc/tool/README.md\n/usr/share/man/man1/tool.1.gz\n", "-qpc": "/etc/tool/tool.conf\n", "-qpL": "/usr/share/licenses/tool/LICENSE\n/usr/share/licenses/tool/NOTICE\n"} {
		if got := packagetest.Run(t, tool, flag, path); got != want {
			t.Errorf("rpm %s says\n%swant\n%s", flag, got, want)
		}
	}
}

// What rpm2cpio and cpio unpack is what was packed.
func TestCpio(t *testing.T) {
	convert, cpio := packagetest.Tool(t, "rpm2cpio", "rpm2cpio"), packagetest.Tool(t, "cpio", "cpio")
	var archived bytes.Buffer
	c := exec.Command(convert, packagetest.Real(t, format.RPM, rpm.Write, "1.2.3"))
	c.Stdout = &archived
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c = exec.Command(cpio, "--extract", "--make-directories", "--no-absolute-filenames", "--verbose")
	c.Dir, c.Stdin = dir, &archived
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
	if b, err := os.ReadFile(filepath.Join(dir, "usr/lib/systemd/system/tool.service")); err != nil || string(b) != packagetest.Service {
		t.Errorf("the unit is %q: %v", b, err)
	}
	if runtime.GOARCH == "amd64" && runtime.GOOS == "linux" {
		if out := packagetest.Run(t, filepath.Join(dir, "usr/bin/tool")); out != "tool 1.2.3\n" {
			t.Errorf("the program prints %q", out)
		}
	}
}

// A package is installed into an empty root, upgraded and erased, with its scripts.
func TestInstall(t *testing.T) {
	tool := packagetest.Tool(t, "rpm", "rpm")
	if os.Geteuid() != 0 || runtime.GOARCH != "amd64" {
		t.Skip("rpm --root needs root on amd64")
	}
	root := t.TempDir()
	run := func(args ...string) string {
		return packagetest.Run(t, tool, append([]string{"--root", root, "--nodeps", "--noscripts"}, args...)...)
	}
	conf := filepath.Join(root, "etc/tool/tool.conf")
	run("--install", packagetest.Real(t, format.RPM, rpm.Write, "1.2.3-rc.1"))
	if err := os.WriteFile(conf, []byte("changed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("--upgrade", packagetest.Real(t, format.RPM, rpm.Write, "1.2.3"))
	if out := packagetest.Run(t, filepath.Join(root, "usr/bin/tool")); out != "tool 1.2.3\n" {
		t.Errorf("the upgraded program prints %q", out)
	}
	if b, err := os.ReadFile(conf); err != nil || string(b) != "changed\n" {
		t.Errorf("the changed configuration is %q: %v", b, err)
	}
	out, _ := exec.Command(tool, "--root", root, "--verify", "--nodeps", "--noscripts", "tool").CombinedOutput()
	if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); len(lines) != 1 || !strings.HasSuffix(lines[0], " c /etc/tool/tool.conf") {
		t.Errorf("rpm --verify says\n%s", out)
	}
	run("--erase", "tool")
	for _, name := range []string{"usr/bin/tool", "usr/share/doc/tool", "usr/share/licenses/tool", "usr/share/tool"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

// The scriptlets succeed where there is no systemd, in all that rpm calls them for.
func TestScripts(t *testing.T) {
	shell := packagetest.Tool(t, "dash", "dash")
	tags, _ := read(t, packagetest.Bytes(t, rpm.Write, packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(10)))))
	for tag, counts := range map[int][]string{1024: {"1", "2"}, 1025: {"0", "1"}, 1026: {"0", "1"}} {
		for _, n := range counts {
			c := exec.Command(shell, "-eu", "-c", tags[tag][0], "scriptlet", n)
			c.Env = []string{"PATH=/nowhere"}
			if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("scriptlet %d with %s: %v %s", tag, n, err, out)
			}
		}
	}
}

func TestRpmlint(t *testing.T) {
	tool := packagetest.Tool(t, "rpmlint", "rpmlint")
	for name, change := range map[string]func(*format.Package){"full": func(*format.Package) {}, "least": packagetest.Least} {
		path := packagetest.Real(t, format.RPM, rpm.Write, "1.2.3", change)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		read(t, b) // rpmlint unpacks it, and where a name were absolute, to the root of this machine
		out, err := exec.Command(tool, path).CombinedOutput()
		t.Logf("rpmlint of %s: %v\n%s", name, err, out)
		found := regexp.MustCompile(`(?m)^\S+: E: (\S+)`).FindAllStringSubmatch(string(out), -1)
		found = slices.DeleteFunc(found, func(m []string) bool {
			// Go programs are static, and signatures are beside the packages: both on purpose.
			return m[1] == "statically-linked-binary" || m[1] == "no-signature"
		})
		if len(found) > 0 {
			t.Errorf("rpmlint finds in %s %v", name, found)
		}
	}
}
