package rpm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/payload"
)

// relation is one as a header has it.
type relation struct {
	name, version string
	sense         uint32
}

// The senses of a relation (https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmds.h).
const (
	senseLess, senseGreater, senseEqual        = 1 << 1, 1 << 2, 1 << 3
	senseInterpreter                           = 1 << 8
	sensePost, sensePreRemove, sensePostRemove = 1 << 10, 1 << 11, 1 << 12
	senseRPM                                   = 1 << 24
)

var comparisons = map[string]uint32{
	"<": senseLess, "<=": senseLess | senseEqual, "=": senseEqual, ">=": senseGreater | senseEqual, ">": senseGreater,
}

// rich reports whether a relation is an expression of several, which rpm parses when it installs
// (https://rpm-software-management.github.io/rpm/manual/boolean_dependencies.html).
func rich(r string) bool { return strings.HasPrefix(r, "(") && strings.HasSuffix(r, ")") }

// parse reads a relation as people write it: name, name >= 1.2, or a rich one.
func parse(r string) (relation, bool) {
	words := strings.Fields(r)
	switch {
	case rich(r):
		return relation{name: r}, true
	case len(words) == 1 && !strings.ContainsAny(r, "<=>"):
		return relation{name: words[0]}, true
	case len(words) == 3:
		sense, ok := comparisons[words[1]]
		return relation{words[0], words[2], sense}, ok
	}
	return relation{}, false
}

// relations are those of the package: what it says itself, what rpmbuild adds, and what its scripts need.
func relations(p format.Package, names payload.Names, scripts []relation) ([]value, error) {
	said := [][]string{p.Depends, p.Recommends, p.Suggests, p.Conflicts, p.Replaces, p.Provides}
	lists := make([][]relation, len(said))
	for i, of := range said {
		for _, r := range of {
			one, ok := parse(r)
			if !ok {
				return nil, fmt.Errorf("package %s: %q is not a relation of rpm, such as name or name >= 1.2", p.Name, r)
			}
			if !slices.Contains(lists[i], one) {
				lists[i] = append(lists[i], one)
			}
		}
	}
	requires := slices.Concat(features(p, names), scripts, lists[0])
	slices.SortStableFunc(requires, func(a, b relation) int { return cmp.Compare(a.name, b.name) }) // as rpmbuild does
	provides := lists[5]
	if self := (relation{p.Name, full(names), senseEqual}); !slices.Contains(provides, self) {
		provides = append(provides, self)
	}
	return slices.Concat(
		related(tagRequireName, tagRequireVersion, tagRequireSense, requires),
		related(tagRecommendName, tagRecommendVersion, tagRecommendSense, lists[1]),
		related(tagSuggestName, tagSuggestVersion, tagSuggestSense, lists[2]),
		related(tagConflictName, tagConflictVersion, tagConflictSense, lists[3]),
		related(tagObsoleteName, tagObsoleteVersion, tagObsoleteSense, lists[4]),
		related(tagProvideName, tagProvideVersion, tagProvideSense, provides),
	), nil
}

// related is a list of relations in its three tags; nothing where it is empty.
func related(name, version, sense int, all []relation) []value {
	if len(all) == 0 {
		return nil
	}
	var names, versions []string
	var senses []uint32
	for _, r := range all {
		names, versions, senses = append(names, r.name), append(versions, r.version), append(senses, r.sense)
	}
	return []value{texts(name, names...), texts(version, versions...), numbers(sense, senses...)}
}

// features are those of rpm that the package depends on, each with the version that first had it. rpmbuild finds them out
// itself.
func features(p format.Package, names payload.Names) []relation {
	feature := func(name, version string) relation {
		return relation{"rpmlib(" + name + ")", version, senseRPM | senseLess | senseEqual}
	}
	all := []relation{
		feature("CompressedFileNames", "3.0.4-1"), feature("FileDigests", "4.6.0-1"), feature("PayloadFilesHavePrefix", "4.0-1"),
	}
	if strings.Contains(names.Version, "~") {
		all = append(all, feature("TildeInVersions", "4.10.0-1"))
	}
	if slices.ContainsFunc(slices.Concat(p.Depends, p.Recommends, p.Suggests, p.Conflicts), rich) {
		all = append(all, feature("RichDependencies", "4.12.0-1"))
	}
	return all
}
