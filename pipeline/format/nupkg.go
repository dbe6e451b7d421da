package format

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Nupkg is the format of Chocolatey packages. One package serves all of Windows and carries no program: it fetches the
// release's own zips. Chocolatey knows 32 and 64 bits, and arm64 runs the program of amd64 by emulation
// (https://docs.chocolatey.org/en-us/create/functions/install-chocolateyzippackage/).
//
// Versions are written so that every feed and client takes them and sorts them as SemVer does, old ones included. Those
// refuse a prerelease with dots or of more than 20 characters, want a letter first and compare what is left as text,
// letter case aside (https://learn.microsoft.com/nuget/concepts/package-versioning#semantic-versioning-200). So the
// identifiers of a prerelease are joined by a hyphen, which sorts before letters and digits, and numbers among them
// get zeros in front up to four digits: 1.2.3-rc.1 becomes 1.2.3-rc-0001. The order is SemVer's wherever identifiers
// are numbers up to 9999, or of one length, and words of lower-case letters and digits that begin with a letter. Upper
// case becomes lower case. The commit at the end of a snapshot is shortened to what fits: 1.2.4-snapshot-0007-gfcba9.
// Build metadata, which has no precedence, is left out, as NuGet itself does to tell packages apart.
//
// What cannot be written: a prerelease that is longer or begins with a digit or hyphen, and numbers above 2^31-1 in
// front of it.
var Nupkg = Format{
	Name: "nupkg", Ending: ".nupkg", Offered: true, Goes: "chocolatey", Arch: windows, Version: nupkgVersion,
	Path: func(n Names) string { return "packages/" + n.Name + "." + n.Version + ".nupkg" },
	Choose: func(p artifact.Platform) string {
		if p.OS == "windows" && (p.Arch == "386" || p.Arch == "amd64") {
			return p.String()
		}
		return ""
	},
	Inner: &Inner{Script: "tools/chocolateyinstall.ps1", Sums: func(name string) bool {
		ext := strings.ToLower(path.Ext(name))
		return ext == ".ps1" || ext == ".psm1" || path.Base(name) == "VERIFICATION.txt"
	}},
}

const (
	maxNupkgID         = 100
	maxNupkgPrerelease = 20
)

var nupkgID = regexp.MustCompile(`^\w+([.-]\w+)*$`)

// CheckNupkgID says why a name may not be the id of a package: words of letters, digits and _ with single . or -
// between, 100 characters at most (https://learn.microsoft.com/nuget/reference/errors-and-warnings/nu5017). Only ASCII
// is accepted, since an id is part of URLs, paths and scripts.
func CheckNupkgID(id string) error {
	if len(id) > maxNupkgID || !nupkgID.MatchString(id) {
		return fmt.Errorf("package name %.120q is not an id for NuGet: up to %d letters, digits and _ with single . or - between", id, maxNupkgID)
	}
	return nil
}

func nupkgVersion(v version.Version) (string, error) {
	if v.IsZero() {
		return "", errors.New("version is not set")
	}
	if max(v.Major(), v.Minor(), v.Patch()) > math.MaxInt32 {
		return "", fmt.Errorf("version %s has a number above %d, where NuGet's end", v, math.MaxInt32)
	}
	core := fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch())
	if !v.IsPrerelease() {
		return core, nil
	}
	ids := strings.Split(strings.ToLower(v.Prerelease()), ".")
	for i, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 64); err == nil {
			ids[i] = fmt.Sprintf("%04d", n)
		}
	}
	pre := strings.Join(ids, "-")
	if pre[0] < 'a' || pre[0] > 'z' {
		return "", fmt.Errorf("prerelease %s of version %s does not begin with a letter, as NuGet requires", v.Prerelease(), v)
	}
	if len(pre) > maxNupkgPrerelease && v.IsSnapshot() && len(ids) == 3 && len(ids[0]+ids[1])+len("--g0") <= maxNupkgPrerelease {
		pre = pre[:maxNupkgPrerelease]
	}
	if len(pre) > maxNupkgPrerelease {
		return "", fmt.Errorf("prerelease %s of version %s is %d characters as NuGet writes it; old feeds take %d", v.Prerelease(), v, len(pre), maxNupkgPrerelease)
	}
	return core + "-" + pre, nil
}

// ErrNoWindows tells that a release has nothing for package managers of Windows to fetch. Such a release has no
// packages for them.
var ErrNoWindows = errors.New("the release has no zip for Windows that the package could fetch")

// Windows returns what package managers of Windows fetch: for each of the architectures 386, amd64 and arm64 at most
// one zip, sorted by platform, all its fields checked. Of several instruction sets it takes the first by platform,
// which is the one that most machines run. It returns ErrNoWindows where there is none.
func Windows(r Recipe) ([]Download, error) {
	var out []Download
	for _, d := range r.Downloads {
		if d.Platform.OS != "windows" || !slices.Contains([]string{"386", "amd64", "arm64"}, d.Platform.Arch) {
			continue
		}
		u, err := CheckURL(d.URL)
		if err != nil {
			return nil, fmt.Errorf("download for %s: %w", d.Platform, err)
		}
		if !strings.EqualFold(path.Ext(u.Path), ".zip") {
			continue
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("download for %s: URL %.200q has more than a path; package managers name the file after it", d.Platform, d.URL)
		}
		if _, err := artifact.ParseDigest(string(d.Digest)); err != nil {
			return nil, fmt.Errorf("download for %s: %w", d.Platform, err)
		}
		if d.Folder != "" {
			if err := artifact.CheckPath(d.Folder); err != nil {
				return nil, fmt.Errorf("download for %s: %w", d.Platform, err)
			}
		}
		if len(d.Programs) == 0 {
			return nil, fmt.Errorf("download for %s has no programs", d.Platform)
		}
		if err := artifact.CheckPaths(d.Programs); err != nil {
			return nil, fmt.Errorf("download for %s: %w", d.Platform, err)
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Download) int { return a.Platform.Compare(b.Platform) })
	out = slices.CompactFunc(out, func(a, b Download) bool { return a.Platform.Base() == b.Platform.Base() })
	if len(out) == 0 {
		return nil, ErrNoWindows
	}
	return out, nil
}

// CheckURL reads a URL that goes into a package or manifest: absolute, http or https, in the characters of RFC 3986 and
// nothing else, and without a user or password, which would be published with it.
func CheckURL(s string) (*url.URL, error) {
	const maxURL = 2048
	if len(s) > maxURL {
		return nil, fmt.Errorf("URL %.40q... is longer than %d bytes", s, maxURL)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("URL %.200q is not http(s)://host/path", s)
	}
	if u.User != nil {
		return nil, fmt.Errorf("URL of %s carries a user or password, which everyone would read; remove it", u.Host)
	}
	if i := strings.IndexFunc(s, notURL); i >= 0 {
		return nil, fmt.Errorf("URL %.200q has characters that must be percent-encoded", s)
	}
	return u, nil
}

// notURL tells what RFC 3986 has no place for.
func notURL(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r)
}

// Plain is text as every format of Windows can hold it: UTF-8, lines that end in LF, no control characters but tab and
// LF. What is not text becomes U+FFFD; the line ends of Unicode become LF.
func Plain(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, string(utf8.RuneError)), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return r
		case r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			return '\n'
		case r == '\ufeff' || unicode.IsControl(r):
			return -1
		case unicode.Is(unicode.Noncharacter_Code_Point, r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// Line is Plain text on one line: all white space becomes single spaces.
func Line(s string) string { return strings.Join(strings.Fields(Plain(s)), " ") }

// Cut shortens text to n UTF-16 code units, in which Windows counts: at the last white space that leaves at least half
// of it, else in the middle of a word, with … for what is missing.
func Cut(s string, n int) string {
	units, end, space := 0, -1, 0
	for i, r := range s {
		if units <= n-1 {
			end = i
			if unicode.IsSpace(r) {
				space = i
			}
		}
		units++
		if r > 0xffff {
			units++
		}
	}
	if units <= n || end < 0 {
		return s
	}
	if space >= end/2 {
		end = space
	}
	return strings.TrimRightFunc(s[:end], unicode.IsSpace) + "…"
}
