package lifecycle

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// The folders beside platform.yaml that facts are written down in, one file for each.
const (
	RisksDir      = "risks"
	AdvisoriesDir = "advisories"
)

type riskFile struct {
	Version int            `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Name    string         `yaml:"name" required:"true" doc:"Name of the risk: a word or several, written as one." example:"MulticastSkew"`
	From    platform.Range `yaml:"from" required:"true" doc:"Releases that the upgrade begins at." example:">=2.1.0 <2.2.0"`
	To      platform.Range `yaml:"to" required:"true" doc:"Releases that it ends at. Both ends are ranges, so that no later release is forgotten." example:">=2.2.2 <2.2.3"`
	Message string         `yaml:"message" required:"true" doc:"What happens, in one line."`
	URL     string         `yaml:"url" doc:"Where more is said."`
	Since   Date           `yaml:"since" required:"true" doc:"Day on which it became known." example:"2026-05-04"`
}

type advisoryFile struct {
	Version         int            `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	ID              string         `yaml:"id" required:"true" doc:"Name of the advisory." example:"EDGE-2026-003"`
	Vulnerabilities []string       `yaml:"vulnerabilities" doc:"Their names elsewhere." example:"CVE-2026-12345"`
	Affected        platform.Range `yaml:"affected" required:"true" doc:"Releases that have it." example:">=2.0.0 <2.1.4"`
	Fixed           []string       `yaml:"fixed" doc:"Of each line the first release without it." example:"2.1.4"`
	Published       Date           `yaml:"published" required:"true" doc:"Day of the advisory."`
	Due             Date           `yaml:"due" required:"true" doc:"Last day by which who has it must have upgraded."`

	Changes map[string]Changes `yaml:"changes" doc:"What its fix may change, by component. A release that fixes it may change nothing else."`
}

// Changes are what the fix of an advisory changes in a component.
type Changes struct {
	Packages []FixedPackage `yaml:"packages" doc:"Packages that are replaced by a version with the fix."`
	Paths    []string       `yaml:"paths" doc:"Files in its repository that are changed. A * stands for part of a name, and ** for any number of folders." example:"internal/mux/**"`
}

// FixedPackage is a package that a fix replaces.
type FixedPackage struct {
	PURL  string `yaml:"purl" required:"true" doc:"Package URL without a version; pkg:golang/stdlib is Go itself." example:"pkg:golang/golang.org/x/net"`
	Fixed string `yaml:"fixed" required:"true" doc:"First version with the fix, in the words of its ecosystem." example:"0.34.1"`
}

// maxChanges bounds the packages, and the paths, that an advisory names in a component.
const maxChanges = 1000

// ParseRisk reads a file of RisksDir. name is what errors call it.
func ParseRisk(name string, b []byte) (Risk, error) {
	var f riskFile
	where, err := yamldoc.Decode(name, b, &f)
	r := Risk{f.Name, Range{f.From}, Range{f.To}, f.Message, f.URL, f.Since}
	return r, checked(where, err, r.check)
}

// ParseAdvisory reads a file of AdvisoriesDir. name is what errors call it.
func ParseAdvisory(name string, b []byte) (Advisory, error) {
	var f advisoryFile
	where, err := yamldoc.Decode(name, b, &f)
	a := Advisory{ID: f.ID, Vulnerabilities: f.Vulnerabilities, Affected: Range{f.Affected}, Published: f.Published, Due: f.Due, Changes: f.Changes}
	if err == nil {
		err = checkChanges(where, f.Changes)
	}
	return a, checked(where, err, func() error {
		for _, s := range f.Fixed {
			v, err := version.Parse(s)
			if err != nil {
				return err
			}
			a.Fixed = append(a.Fixed, v)
		}
		slices.SortFunc(a.Fixed, version.Version.Compare)
		return a.check()
	})
}

// checkChanges looks at what does not need a component to be known wrong.
func checkChanges(where yamldoc.Positions, changes map[string]Changes) error {
	bad := yamldoc.NewProblems(where)
	for _, component := range slices.Sorted(maps.Keys(changes)) {
		c, key := changes[component], "changes."+component
		if !artifact.IsName(component) {
			bad.At(key, "%.60q is not the name of a component", component)
		}
		if len(c.Packages) > maxChanges || len(c.Paths) > maxChanges {
			bad.At(key, "it names more than %d packages or paths", maxChanges)
			continue
		}
		for i, p := range c.Packages {
			rest, ok := strings.CutPrefix(p.PURL, "pkg:")
			if typ, name, _ := strings.Cut(rest, "/"); !ok || typ == "" || name == "" || strings.ContainsAny(rest, "@?# ") {
				bad.At(fmt.Sprintf("%s.packages[%d].purl", key, i), "%.80q is not the URL of a package without a version, such as pkg:golang/golang.org/x/net", p.PURL)
			}
		}
		for i, p := range c.Paths {
			if err := checkGlob(p); err != nil {
				bad.At(fmt.Sprintf("%s.paths[%d]", key, i), "%.80q %w", p, err)
			}
		}
	}
	return bad.Err()
}

func checkGlob(glob string) error {
	if strings.Trim(glob, "*/") == "" {
		return errors.New("has every file; name those that the fix changes")
	}
	if !fs.ValidPath(glob) {
		return errors.New("is not a path in the repository")
	}
	for part := range strings.SplitSeq(glob, "/") {
		if part != "**" && strings.Contains(part, "**") {
			return errors.New("has a ** beside something else; it stands for whole folders")
		}
		if _, err := path.Match(part, ""); err != nil {
			return errors.New("is not a pattern")
		}
	}
	return nil
}

// checked is err, or else what check finds, with the place of the file.
func checked(where yamldoc.Positions, err error, check func() error) error {
	if err == nil {
		if err = check(); err != nil {
			err = fmt.Errorf("%s: %w", where.At(""), err)
		}
	}
	return fault.New(fault.Usage, err)
}

// Facts are what a lifecycle is made of.
type Facts struct {
	Platform   platform.Platform
	AsOf       Date
	Releases   []Release // without Until and Withdrawn, in any order
	Risks      []Risk
	Advisories []Advisory
}

// Next is the lifecycle behind another one, whose file has the digest prev; behind none where before is nil. It only adds: a release that
// is gone or another one by now is a fault.Mismatch, and support that ends earlier than was promised a fault.Policy. It reports whether
// anything is new but the day, which is news enough to be written down: what nobody confirms becomes too old to call a release current.
func Next(before *Lifecycle, prev artifact.Digest, f Facts) (next Lifecycle, news bool, err error) {
	next = Lifecycle{Name: f.Platform.Name, Serial: 1, AsOf: f.AsOf, Releases: slices.Clone(f.Releases), Risks: slices.Clone(f.Risks), Advisories: slices.Clone(f.Advisories)}
	slices.SortFunc(next.Releases, func(a, b Release) int { return a.Version.Compare(b.Version) })
	for i := range next.Releases { // a release that was named before it was made may never have come
		r := &next.Releases[i]
		r.To = slices.DeleteFunc(slices.Clone(r.To), func(to version.Version) bool {
			_, ok := next.Release(to)
			return !ok || to.Compare(r.Version) <= 0
		})
		slices.SortFunc(r.To, version.Version.Compare)
		r.To = slices.Compact(r.To)
	}
	slices.SortFunc(next.Risks, func(a, b Risk) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(next.Advisories, func(a, b Advisory) int { return cmp.Compare(a.ID, b.ID) })
	if err := next.support(f.Platform); err != nil {
		return next, false, fault.New(fault.Usage, err)
	}
	if before != nil {
		if err := next.follows(*before); err != nil {
			return next, false, err
		}
		confirmed := *before
		confirmed.AsOf = next.AsOf
		next.Serial, next.Prev = before.Serial, before.Prev
		a, errA := confirmed.Encode()
		b, errB := next.Encode()
		same := errA == nil && errB == nil && string(a) == string(b)
		if same && before.AsOf == f.AsOf {
			return *before, false, nil
		}
		news = !same
		next.Serial, next.Prev = before.Serial+1, prev
	}
	return next, news || before == nil, fault.New(fault.Usage, next.check())
}

// support says until when each release is supported, and which are withdrawn.
func (l *Lifecycle) support(p platform.Platform) error {
	first := map[string]Date{} // of a line, and of a major version
	major := func(v version.Version) string { return fmt.Sprint(v.Major()) }
	for _, r := range l.Releases {
		for _, of := range []string{Line(r.Version), major(r.Version)} {
			if at, ok := first[of]; !ok || r.Date.Before(at) {
				first[of] = r.Date
			}
		}
	}
	for i := range l.Releases {
		r := &l.Releases[i]
		r.Until = first[Line(r.Version)].AddMonths(p.Support.Minor)
		if end := first[major(r.Version)].AddMonths(p.Support.Major); end.Before(r.Until) {
			r.Until = end
		}
		if s, ok := p.Support.Extended[Line(r.Version)]; ok {
			end, err := ParseDate(s)
			if err != nil {
				return fmt.Errorf("%s: %w", p.At("support.extended."+Line(r.Version)), err)
			}
			if r.Until.Before(end) {
				r.Until = end
			}
		}
		r.Until = Later(r.Until, r.Date)
		r.Withdrawn = p.Withdrawn[r.Version.String()]
	}
	for v := range p.Withdrawn {
		if !slices.ContainsFunc(l.Releases, func(r Release) bool { return r.Version.String() == v }) {
			return fmt.Errorf("%s: %s is withdrawn, and is no release", p.At("withdrawn"), v)
		}
	}
	return nil
}

// follows says what was promised before and is no longer there.
func (l Lifecycle) follows(before Lifecycle) error {
	if before.Name != l.Name {
		return fault.Errorf(fault.Usage, "the lifecycle before is that of %s, and this is %s", before.Name, l.Name)
	}
	if l.AsOf.Before(before.AsOf) {
		return fault.Errorf(fault.Git, "the lifecycle before is of %s, and this commit of %s: take a later one", before.AsOf, l.AsOf)
	}
	var gone, shorter []error
	for _, was := range before.Releases {
		r, ok := l.Release(was.Version)
		switch {
		case !ok:
			gone = append(gone, fmt.Errorf("release %s is gone: nothing that was published is removed", was.Version))
		case r.Manifest != was.Manifest:
			gone = append(gone, fmt.Errorf("release %s was %s and is %s", was.Version, was.Manifest.Short(), r.Manifest.Short()))
		case r.Until.Before(was.Until):
			shorter = append(shorter, fmt.Errorf("%s was to be supported until %s, and is now until %s: a promise is not taken back; extend line %s", was.Version, was.Until, r.Until, Line(was.Version)))
		}
	}
	if len(gone) > 0 {
		return fault.New(fault.Mismatch, errors.Join(gone...))
	}
	return fault.New(fault.Policy, errors.Join(shorter...))
}
