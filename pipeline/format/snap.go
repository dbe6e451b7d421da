package format

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Snap is the format of snapd (https://snapcraft.io/docs/snap-format). Its files are named as snap pack names them.
//
// A snap has no instruction sets, so a platform with one above its architecture's lowest has no name here: snapd would
// install it where it cannot run. Any of arm, v6 and v7 is armhf.
//
// snapd numbers what it installs and never sorts versions. A version that it accepts, of at most 32 characters, is
// written as it is. Of one that is longer, or ends in a hyphen, the first 19 characters are kept, and after a ~, which
// no SemVer has, come the first 12 digits of the SHA-256 of the whole.
var Snap = Format{
	Name: "snap", Carries: true, Ending: ".snap", Goes: "snap", Arch: snapArch, Version: snapVersion, Unfit: unsnapped,
	Path: func(n Names) string { return "packages/" + n.Name + "_" + n.Version + "_" + n.Arch + ".snap" },
}

var snapApp = regexp.MustCompile(`^[a-zA-Z0-9](?:-?[a-zA-Z0-9])*$`)

// maxSnapTitle is the longest title in the Snap Store, in characters.
const maxSnapTitle = 40

func unsnapped(f Facts) string {
	if f.ID == "" && SnapName(f.Name) == "" {
		return "its name is not one for a snap; set snap.name"
	}
	if len([]rune(f.Title)) > maxSnapTitle {
		return fmt.Sprintf("the title is longer than %d characters; set project.title", maxSnapTitle)
	}
	for _, b := range f.Programs {
		if !snapApp.MatchString(b) {
			return b + " cannot be the name of an app; those are letters, digits and single hyphens"
		}
	}
	return ""
}

var hyphens = regexp.MustCompile(`[^a-z0-9]+`)

// SnapName is a name as the Snap Store takes it, with at least one letter; "" where none of it is left.
func SnapName(s string) string {
	s = hyphens.ReplaceAllString(strings.ToLower(s), "-")
	s = strings.Trim(s[:min(len(s), 40)], "-")
	if len(s) < 2 || !strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz") {
		return ""
	}
	return s
}

// snapArches are snapd's names, each with the variants that everything of that name can run; "" always is one
// (https://github.com/canonical/snapd/blob/master/arch/arch.go).
var snapArches = map[string]struct {
	name     string
	variants []string
}{
	"386":     {"i386", []string{"sse2", "softfloat"}},
	"amd64":   {"amd64", []string{"v1"}},
	"arm":     {"armhf", []string{"v6", "v7"}},
	"arm64":   {"arm64", []string{"v8.0"}},
	"ppc64le": {"ppc64el", []string{"power8"}},
	"riscv64": {"riscv64", []string{"rva20u64"}},
	"s390x":   {"s390x", nil},
}

func snapArch(p artifact.Platform) (string, bool) {
	a, ok := snapArches[p.Arch]
	if !ok || p.OS != "linux" || p.Variant != "" && !slices.Contains(a.variants, p.Variant) {
		return "", false
	}
	return a.name, true
}

// snapVersions is the grammar of snapd (https://github.com/canonical/snapd/blob/master/snap/validate.go).
var snapVersions = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9:.+~-]{0,30}[a-zA-Z0-9+~])?$`)

func snapVersion(v version.Version) (string, error) {
	if v.IsZero() {
		return "", errors.New("version of the snap is not set")
	}
	s := v.String()
	if snapVersions.MatchString(s) {
		return s, nil
	}
	const digits = 12
	sum := sha256.Sum256([]byte(s))
	s = s[:min(len(s), 32-1-digits)] + "~" + hex.EncodeToString(sum[:])[:digits]
	if !snapVersions.MatchString(s) {
		return "", fmt.Errorf("version %s cannot be written as a snap's", v)
	}
	return s, nil
}
