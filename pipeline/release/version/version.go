// Package version holds release versions: what a tag says, what an untagged commit is called, which names a release
// may move, and which version comes next.
//
// Versions follow Semantic Versioning 2.0.0 (https://semver.org/spec/v2.0.0.html). Everything here is a pure function
// of its arguments; package source reads the tags and the commits from git.
package version

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// MaxLen is the length in bytes of the longest version that Parse accepts. It is the length of the longest OCI tag
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
const MaxLen = 128

// Version is an immutable semantic version. Versions are equal under == when their strings are equal. The zero value
// is not a version: IsZero tells it, its String is empty, and it does not marshal.
type Version struct{ v semver.Version }

// Parse reads a version in the strict form of SemVer 2.0.0, optionally with a leading v. Numbers, those in the
// prerelease included, end at 2^63-1, so that every version has a next one and numeric identifiers of any two versions
// compare as numbers.
func Parse(s string) (Version, error) {
	if len(s) > MaxLen {
		return Version{}, fmt.Errorf("version %.40q... is longer than %d bytes", s, MaxLen)
	}
	parsed, err := semver.StrictNewVersion(strings.TrimPrefix(s, "v"))
	if err == nil {
		err = checkNumbers(parsed)
	}
	if err != nil {
		return Version{}, fmt.Errorf("version %q is not SemVer such as 1.2.3 or 1.2.3-rc.1: %w", s, err)
	}
	return Version{*parsed}, nil
}

var errNumber = errors.New("number above 2^63-1")

func checkNumbers(v *semver.Version) error {
	if max(v.Major(), v.Minor(), v.Patch()) > math.MaxInt64 {
		return errNumber
	}
	for id := range strings.SplitSeq(v.Prerelease(), ".") {
		if _, err := strconv.ParseInt(id, 10, 64); errors.Is(err, strconv.ErrRange) {
			return errNumber
		}
	}
	return nil
}

// of builds a version from parts that are known to be valid, or as good as: what Parse would refuse comes out zero.
func of(major, minor, patch uint64, pre string) Version {
	v, err := Parse(semver.New(major, minor, patch, pre, "").String())
	if err != nil {
		return Version{}
	}
	return v
}

// IsZero reports whether v is the zero value.
func (v Version) IsZero() bool { return v == Version{} }

// String is the version without a leading v.
func (v Version) String() string {
	if v.IsZero() {
		return ""
	}
	return v.v.String()
}

// Major is the first number.
func (v Version) Major() uint64 { return v.v.Major() }

// Minor is the second number.
func (v Version) Minor() uint64 { return v.v.Minor() }

// Patch is the third number.
func (v Version) Patch() uint64 { return v.v.Patch() }

// Prerelease is what stands between - and +, "" for a stable version.
func (v Version) Prerelease() string { return v.v.Prerelease() }

// Metadata is what stands after +, "" where there is none.
func (v Version) Metadata() string { return v.v.Metadata() }

// IsPrerelease reports whether v is a candidate, a snapshot or any other prerelease.
func (v Version) IsPrerelease() bool { return v.Prerelease() != "" }

// IsSnapshot reports whether v has the form that Snapshot gives to untagged commits.
func (v Version) IsSnapshot() bool { return strings.HasPrefix(v.Prerelease(), snapshotPrefix) }

// IsStable reports whether v is a version and not a prerelease.
func (v Version) IsStable() bool { return !v.IsZero() && !v.IsPrerelease() }

// Compare orders versions by SemVer precedence (https://semver.org/spec/v2.0.0.html#spec-item-11). Build metadata,
// which has no precedence, only breaks ties, bytewise, so that sorting has one result. The zero value comes first.
func (v Version) Compare(o Version) int {
	if v.IsZero() || o.IsZero() {
		return cmp.Compare(len(v.String()), len(o.String()))
	}
	if c := v.v.Compare(&o.v); c != 0 {
		return c
	}
	return strings.Compare(v.Metadata(), o.Metadata())
}

// OCITag is the version as an OCI tag, which cannot contain +: it becomes _, as Helm has it
// (https://helm.sh/docs/topics/registries/#oci-feature-deprecation-and-behavior-changes-with-v380).
func (v Version) OCITag() string { return strings.ReplaceAll(v.String(), "+", "_") }

// MarshalText writes String and refuses the zero value.
func (v Version) MarshalText() ([]byte, error) {
	if v.IsZero() {
		return nil, errors.New("version is not set")
	}
	return []byte(v.String()), nil
}

// UnmarshalText reads what Parse accepts.
func (v *Version) UnmarshalText(b []byte) error {
	parsed, err := Parse(string(b))
	if err == nil {
		*v = parsed
	}
	return err
}

// Highest is the highest version of vs by Compare; false where there is none.
func Highest(vs []Version) (Version, bool) {
	var top Version
	for _, v := range vs {
		if v.Compare(top) > 0 {
			top = v
		}
	}
	return top, !top.IsZero()
}

func highestStable(vs []Version) Version {
	var top Version
	for _, v := range vs {
		if v.IsStable() && v.Compare(top) > 0 {
			top = v
		}
	}
	return top
}

func (v Version) core() Version { return of(v.Major(), v.Minor(), v.Patch(), "") }

const snapshotPrefix = "snapshot."

// Snapshot names a commit that has no version tag: <next>-snapshot.<commits>.g<first 12 digits of commit>.
//
// last is the highest version in the commit's history and commits the number of commits since; commit is the object
// name in lower-case hexadecimal. <next> is the next patch after a stable version and 0.0.1 where last is zero. After
// a prerelease such as 1.3.0-rc.1 it is the version that the prerelease announces: 1.3.0-snapshot.4.g... sorts after
// 1.3.0-rc.1 and before 1.3.0. Where that would sort below last (1.3.0-zeta.1, or another snapshot), <next> is the
// patch after. So a snapshot is always above last, and below any stable version that can follow it save in that case.
// The g keeps a name of digits from being a number, which must not begin with 0.
//
// The result is zero where commit is not hexadecimal.
func Snapshot(last Version, commits int, commit string) Version {
	if commit == "" || strings.Trim(commit, "0123456789abcdef") != "" {
		return Version{}
	}
	pre := fmt.Sprintf("%s%d.g%s", snapshotPrefix, max(commits, 0), commit[:min(12, len(commit))])
	if last.IsPrerelease() {
		if v := of(last.Major(), last.Minor(), last.Patch(), pre); v.Compare(last) > 0 {
			return v
		}
	}
	return of(last.Major(), last.Minor(), last.Patch()+1, pre)
}
