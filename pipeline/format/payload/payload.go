// Package payload holds what debs, rpms and apks have in common: which packages are refused, which files are in one and in
// which order, and the texts that are made of what the package says of itself.
package payload

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Names are a package's architecture and version in the words of its format.
type Names struct{ Arch, Version string }

// Check refuses a package that the format has no names for, and what would leave its field or its place.
func Check(f format.Format, p format.Package) (Names, error) {
	if err := check(p); err != nil {
		return Names{}, err
	}
	arch, ok := f.Arch(p.Platform)
	if !ok {
		return Names{}, fmt.Errorf("package %s: %s has no name for %s; leave the platform out", p.Name, f.Name, p.Platform)
	}
	version, err := f.Version(p.Version)
	if err != nil {
		return Names{}, fmt.Errorf("package %s: %w", p.Name, err)
	}
	return Names{arch, version}, nil
}

// check refuses what would leave its field or its place.
func check(p format.Package) error {
	if !isName(p.Name) {
		return fmt.Errorf("package %.60q: a name is of at least two lower-case letters and digits, with . _ + and - between", p.Name)
	}
	type field struct{ name, value string }
	fields := []field{
		{"title", p.Title},
		{"summary", p.Summary},
		{"homepage", p.Homepage},
		{"repository", p.Repository},
		{"license", p.License},
		{"vendor", p.Vendor},
		{"maintainer", p.Maintainer},
		{"section", p.Section},
	}
	for _, rs := range []struct {
		name   string
		values []string
	}{
		{"depends", p.Depends},
		{"recommends", p.Recommends},
		{"suggests", p.Suggests},
		{"conflicts", p.Conflicts},
		{"provides", p.Provides},
		{"replaces", p.Replaces},
	} {
		for i, v := range rs.values {
			f := field{fmt.Sprintf("%s[%d]", rs.name, i), v}
			if strings.TrimSpace(v) == "" {
				return fmt.Errorf("package %s: %s is empty", p.Name, f.name)
			}
			fields = append(fields, f)
		}
	}
	for _, f := range fields {
		if !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, unicode.IsControl) {
			return fmt.Errorf("package %s: %s %.60q is not one line of text", p.Name, f.name, f.value)
		}
	}
	for _, f := range []field{{"description", p.Description}, {"changes", p.Changes}} {
		if !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }) {
			return fmt.Errorf("package %s: %s has bytes that are not text", p.Name, f.name)
		}
	}
	for _, f := range []field{{"summary", p.Summary}, {"description", p.Description}, {"maintainer", p.Maintainer}} {
		if strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("package %s: it has no %s", p.Name, f.name)
		}
	}
	if sec := p.Time.Unix(); sec < 0 || sec > math.MaxUint32 {
		return fmt.Errorf("package %s: time %s is not between 1970 and 2106", p.Name, p.Time.UTC().Format(time.RFC3339))
	}
	if len(p.Files) == 0 {
		return fmt.Errorf("package %s: it has no files", p.Name)
	}
	names := make([]string, len(p.Files))
	for i, f := range p.Files {
		names[i] = f.Name
	}
	if err := artifact.CheckPaths(names); err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	return nil
}

// isName reports whether rpm and apk take the name, and deb where there is no _ in it.
func isName(s string) bool {
	if len(s) < 2 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		alphanumeric := s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9'
		if !alphanumeric && (i == 0 || i == len(s)-1 || !strings.Contains("._+-", s[i:i+1])) {
			return false
		}
	}
	return true
}
