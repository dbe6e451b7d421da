package platform

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Range is a set of versions: comparators that all hold, as in ">=1.4.0 <2.0.0". The zero value has every version.
//
// Libraries differ in whether a candidate is in a range. Here it is if its three numbers are: 2.0.0-rc.1 is no more in "<2.0.0" than
// 2.0.0 is, and ">=1.4.0" has 1.4.0-rc.1.
type Range struct{ all []comparator }

type comparator struct {
	op string
	of version.Version
}

const maxComparators = 8

// comparators are what a range is made of. There is no other way to write one: "^1.2", "1.x" and "||" mean different things to
// different tools.
var comparators = regexp.MustCompile(`^(=|>=|<=|>|<)([0-9].*)$`)

// ParseRange reads a range of at least one comparator. Between two of them is one space.
func ParseRange(s string) (Range, error) {
	var r Range
	for part := range strings.SplitSeq(s, " ") {
		m := comparators.FindStringSubmatch(part)
		if m == nil {
			return Range{}, fmt.Errorf("range %.80q is not comparators such as \">=1.4.0 <2.0.0\", with one of = > >= < <= before each version", s)
		}
		v, err := version.Parse(m[2])
		if err == nil && (v.IsPrerelease() || v.Metadata() != "") {
			err = fmt.Errorf("version %s has more than three numbers, by which alone a range decides", v)
		}
		if err != nil {
			return Range{}, fmt.Errorf("range %.80q: %w", s, err)
		}
		if r.all = append(r.all, comparator{m[1], v}); len(r.all) > maxComparators {
			return Range{}, fmt.Errorf("range %.80q has more than %d comparators", s, maxComparators)
		}
	}
	return r, nil
}

// Has reports whether a version is in the range.
func (r Range) Has(v version.Version) bool {
	for _, c := range r.all {
		if !c.holds(compareNumbers(v, c.of)) {
			return false
		}
	}
	return true
}

// holds tells of the order of a version and that of the comparator whether it is meant.
func (c comparator) holds(order int) bool {
	switch c.op {
	case "=":
		return order == 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	case "<":
		return order < 0
	}
	return order <= 0
}

// compareNumbers is the order of two versions by their three numbers.
func compareNumbers(a, b version.Version) int {
	return cmp.Or(cmp.Compare(a.Major(), b.Major()), cmp.Compare(a.Minor(), b.Minor()), cmp.Compare(a.Patch(), b.Patch()))
}

// IsZero reports whether nothing was said of the versions.
func (r Range) IsZero() bool { return len(r.all) == 0 }

// String is the range as ParseRange reads it, "" for the zero value.
func (r Range) String() string {
	var parts []string
	for _, c := range r.all {
		parts = append(parts, c.op+c.of.String())
	}
	return strings.Join(parts, " ")
}

// UnmarshalText is ParseRange.
func (r *Range) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRange(string(b))
	return err
}
