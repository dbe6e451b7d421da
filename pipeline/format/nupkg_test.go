package format_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

func TestNupkgVersion(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"1.2.3", "1.2.3", ""},
		{"0.0.0", "0.0.0", ""},
		{"1.2.3+build.5", "1.2.3", ""},
		{"1.2.3-rc.1", "1.2.3-rc-0001", ""},
		{"1.2.3-rc.0", "1.2.3-rc-0000", ""},
		{"1.2.3-rc.10+build", "1.2.3-rc-0010", ""},
		{"1.2.3-rc.12345", "1.2.3-rc-12345", ""},
		{"1.2.3-rc1", "1.2.3-rc1", ""},
		{"1.2.3-RC.1", "1.2.3-rc-0001", ""},
		{"1.2.3-alpha.beta.1", "1.2.3-alpha-beta-0001", ""},
		{"1.2.3-nightly.20240229", "1.2.3-nightly-20240229", ""},
		{"1.2.4-snapshot.7.gfcba98765432", "1.2.4-snapshot-0007-gfcba9", ""},
		{"1.2.4-snapshot.12345678.gfcba98765432", "1.2.4-snapshot-12345678-gf", ""},
		{"2147483647.0.0", "2147483647.0.0", ""},
		{"2147483648.0.0", "", "version 2147483648.0.0 has a number above 2147483647, where NuGet's end"},
		{"1.2.3-1", "", "prerelease 1 of version 1.2.3-1 does not begin with a letter, as NuGet requires"},
		{"1.2.3--", "", "prerelease - of version 1.2.3-- does not begin with a letter, as NuGet requires"},
		{"1.2.3-rc.1.and.more.than.that", "", "prerelease rc.1.and.more.than.that of version 1.2.3-rc.1.and.more.than.that is 26 characters as NuGet writes it; old feeds take 20"},
		{"1.2.4-snapshot.1234567890.gfcba98765432", "", "prerelease snapshot.1234567890.gfcba98765432 of version 1.2.4-snapshot.1234567890.gfcba98765432 is 33 characters as NuGet writes it; old feeds take 20"},
		{"1.2.4-snapshot.7.gfcba98765432.dirty", "", "prerelease snapshot.7.gfcba98765432.dirty of version 1.2.4-snapshot.7.gfcba98765432.dirty is 33 characters as NuGet writes it; old feeds take 20"},
	} {
		got, err := format.Nupkg.Version(parse(t, tt.in))
		if got != tt.want || fmt.Sprint(err) != cmp.Or(tt.err, "<nil>") {
			t.Errorf("%s is written %q, %v, want %q, %s", tt.in, got, err, tt.want, tt.err)
		}
	}
	if _, err := format.Nupkg.Version(version.Version{}); err == nil {
		t.Error("no version is written as one")
	}
}

func parse(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// oldVersion is what NuGet 2 and the feeds of its time take for a version.
var oldVersion = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([a-zA-Z][0-9a-zA-Z-]{0,19}))?$`)

// oldCompare orders versions as they do: numbers, then no prerelease last, then prereleases as text without case.
func oldCompare(t testing.TB, a, b string) int {
	t.Helper()
	x, y := oldVersion.FindStringSubmatch(a), oldVersion.FindStringSubmatch(b)
	if x == nil || y == nil {
		t.Fatalf("%q or %q is no version for NuGet 2", a, b)
	}
	for i := 1; i <= 3; i++ {
		m, err1 := strconv.ParseInt(x[i], 10, 32)
		n, err2 := strconv.ParseInt(y[i], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if c := cmp.Compare(m, n); c != 0 {
			return c
		}
	}
	if (x[4] == "") != (y[4] == "") {
		return cmp.Compare(len(y[4]), len(x[4]))
	}
	return strings.Compare(strings.ToUpper(x[4]), strings.ToUpper(y[4]))
}

// In the domain that Nupkg names, old feeds sort as SemVer does, and no two versions become one.
func TestNupkgOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	words := []string{"a", "b", "al", "alpha", "alphab", "alpha1", "rc", "rc1", "rc10", "rcz", "snapshot", "z9"}
	numbers := []int{0, 1, 2, 9, 10, 11, 99, 100, 999, 1000, 9999}
	random := func() version.Version {
		s := fmt.Sprintf("1.%d.%d", r.IntN(2), numbers[r.IntN(5)])
		if r.IntN(6) > 0 {
			s += "-" + words[r.IntN(len(words))]
			for range r.IntN(4) {
				if r.IntN(2) == 0 {
					s += "." + words[r.IntN(len(words))]
				} else {
					s += "." + strconv.Itoa(numbers[r.IntN(len(numbers))])
				}
			}
		}
		return parse(t, s)
	}
	tried := 0
	for range 40_000 {
		a, b := random(), random()
		x, err1 := format.Nupkg.Version(a)
		y, err2 := format.Nupkg.Version(b)
		if err1 != nil || err2 != nil {
			continue
		}
		tried++
		if got, want := oldCompare(t, x, y), a.Compare(b); got != want {
			t.Fatalf("%s and %s are written %s and %s, which compare as %d, want %d", a, b, x, y, got, want)
		}
	}
	if tried < 10_000 {
		t.Errorf("%d pairs could be written, too few to say anything", tried)
	}
}

// The life of a project, in order.
func TestNupkgSequence(t *testing.T) {
	seq := []string{
		"1.2.3", "1.2.4-beta.2", "1.2.4-beta.11", "1.2.4-rc.9", "1.2.4-rc.10", "1.2.4-snapshot.9.gfcba98765432",
		"1.2.4-snapshot.10.g012345678901", "1.2.4-snapshot.9999.g012345678901", "1.2.4", "1.10.0",
	}
	last := ""
	for _, s := range seq {
		got, err := format.Nupkg.Version(parse(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if last != "" && oldCompare(t, last, got) >= 0 {
			t.Errorf("%s does not come after %s", got, last)
		}
		last = got
	}
}

func FuzzNupkgVersion(f *testing.F) {
	for _, s := range []string{"1.2.3", "1.2.3-rc.1", "1.2.4-snapshot.7.gfcba98765432", "1.2.3--", "0.0.0-9223372036854775807"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := version.Parse(s)
		if err != nil {
			return
		}
		got, err := format.Nupkg.Version(v)
		if err != nil {
			return
		}
		if m := oldVersion.FindStringSubmatch(got); m == nil || (m[4] == "") != v.IsStable() {
			t.Errorf("%s is written %s", v, got)
		}
	})
}

func TestNupkgFormat(t *testing.T) {
	var served []string
	for _, p := range artifact.Platforms() {
		if format.Nupkg.Choose(p) != "" {
			served = append(served, p.String())
		}
	}
	if got := strings.Join(served, " "); got != "windows/386 windows/386/softfloat windows/386/sse2 windows/amd64 windows/amd64/v1 windows/amd64/v2 windows/amd64/v3 windows/amd64/v4" {
		t.Errorf("packages serve %s", got)
	}
	if got := format.Nupkg.Path(format.Names{Name: "tool", Version: "1.2.3-rc-0001"}); got != "packages/tool.1.2.3-rc-0001.nupkg" {
		t.Errorf("the file is %s", got)
	}
	for _, id := range []string{"tool", "t", "tool.core", "tool-cli_2", strings.Repeat("a", 100)} {
		if err := format.CheckNupkgID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".tool", "tool-", "a..b", "a b", "a/b", "tööl", "a'b", "a\n", strings.Repeat("a", 101)} {
		if err := format.CheckNupkgID(id); err == nil {
			t.Errorf("%q is an id", id)
		}
	}
}

func TestWindows(t *testing.T) {
	digest := artifact.Sum([]byte("zip"))
	zip := func(platform string) format.Download {
		p, err := artifact.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		return format.Download{Platform: p, URL: "https://example.org/" + p.Slug() + ".zip", Digest: digest, Programs: []string{"tool.exe"}}
	}
	var all []format.Download
	for _, p := range []string{"windows/arm64", "windows/amd64/v3", "windows/amd64/v1", "windows/386/sse2", "linux/amd64", "darwin/arm64"} {
		all = append(all, zip(p))
	}
	tarball := zip("windows/amd64")
	tarball.URL = "https://example.org/tool.tar.gz"
	got, err := format.Windows(format.Recipe{Downloads: append(all, tarball)})
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range got {
		platforms = append(platforms, d.Platform.String())
	}
	if want := []string{"windows/386/sse2", "windows/amd64/v1", "windows/arm64"}; !slices.Equal(platforms, want) {
		t.Errorf("the downloads are for %v, want %v", platforms, want)
	}
	for _, none := range [][]format.Download{nil, {zip("linux/amd64")}, {tarball}} {
		if _, err := format.Windows(format.Recipe{Downloads: none}); !errors.Is(err, format.ErrNoWindows) {
			t.Errorf("%v: %v", none, err)
		}
	}
	for want, change := range map[string]func(*format.Download){
		`download for windows/amd64: URL "ftp://example.org/a.zip" is not http(s)://host/path`:                                          func(d *format.Download) { d.URL = "ftp://example.org/a.zip" },
		`download for windows/amd64: URL "https://example.org/a.zip?a=b" has more than a path; package managers name the file after it`: func(d *format.Download) { d.URL = "https://example.org/a.zip?a=b" },
		`download for windows/amd64: digest "" is not sha256:<64 lower-case hex digits>`:                                                func(d *format.Download) { d.Digest = "" },
		`download for windows/amd64: path "../up" leaves its folder`:                                                                    func(d *format.Download) { d.Folder = "../up" },
		`download for windows/amd64 has no programs`:                                                                                    func(d *format.Download) { d.Programs = nil },
		`download for windows/amd64: path "a\\b.exe" has a backslash; separate with /`:                                                  func(d *format.Download) { d.Programs = []string{`a\b.exe`} },
		`download for windows/amd64: URL of example.org carries a user or password, which everyone would read; remove it`:               func(d *format.Download) { d.URL = "https://me:secret@example.org/a.zip" },
		`download for windows/amd64: URL "https://example.org/ä.zip" has characters that must be percent-encoded`:                       func(d *format.Download) { d.URL = "https://example.org/ä.zip" },
		`download for windows/amd64: URL "https://example.org/a'b\"c.zip" has characters that must be percent-encoded`:                  func(d *format.Download) { d.URL = `https://example.org/a'b"c.zip` },
		`download for windows/amd64: URL "https://example.org/aaaaaaaaaaaaaaaaaaaa"... is longer than 2048 bytes`:                       func(d *format.Download) { d.URL = "https://example.org/" + strings.Repeat("a", 2048) },
	} {
		d := zip("windows/amd64")
		change(&d)
		if _, err := format.Windows(format.Recipe{Downloads: []format.Download{d}}); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "a\r\nb\rc\u0085d\u2028e", "\x00\x1b[31m\x7f\u009b\ufeff", "\xff\xfe", "\uffff\U0001fffe", "😀 text"} {
		f.Add(s, 5)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		p := format.Plain(s)
		if !utf8.ValidString(p) || format.Plain(p) != p {
			t.Errorf("Plain(%q) = %q", s, p)
		}
		if i := strings.IndexFunc(p, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 }); i >= 0 {
			t.Errorf("Plain(%q) = %q has a control character", s, p)
		}
		if l := format.Line(s); strings.ContainsAny(l, "\t\r\n") || format.Line(l) != l {
			t.Errorf("Line(%q) = %q", s, l)
		}
		if n < 1 || n > 100 {
			return
		}
		c := format.Cut(p, n)
		if length := len(utf16.Encode([]rune(c))); length > n || !utf8.ValidString(c) {
			t.Errorf("Cut(%q, %d) = %q of %d units", p, n, c, length)
		}
		if len(utf16.Encode([]rune(p))) <= n && c != p {
			t.Errorf("Cut(%q, %d) = %q", p, n, c)
		}
		if head, cut := strings.CutSuffix(c, "…"); c != p && (!cut || !strings.HasPrefix(p, head)) {
			t.Errorf("Cut(%q, %d) = %q", p, n, c)
		}
	})
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 5, "short"},
		{"a few words", 11, "a few words"},
		{"a few words", 10, "a few…"},
		{"a few words", 7, "a few…"},
		{"a longerword", 8, "a longe…"},
		{"😀😀😀", 6, "😀😀😀"},
		{"😀😀😀", 5, "😀😀…"},
		{"😀😀😀", 4, "😀…"},
		{"one\n\ntwo three", 9, "one\n\ntwo…"},
		{"one\n\ntwo three", 7, "one…"},
	} {
		if got := format.Cut(tt.in, tt.n); got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}
