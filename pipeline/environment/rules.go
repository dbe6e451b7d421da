// Package environment says what is in which environment and who may move it on, as values: the rules of a release store, its
// log, the state that the log comes to, and the decision about a request. Nothing here reads a clock, a repository or a network,
// so a store can be checked by anybody from its log alone, and a move that is refused today is explained in the same words as
// it was then.
//
// The rules that are the default are those of the proposal that asked for snapshot, staging and production
// (https://github.com/elastic/package-registry/issues/86).
package environment

import (
	"cmp"
	_ "embed" // the default rules
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// RulesFile is the name of the rules, at the root of the branch that people change by pull request.
const RulesFile = "environment.yaml"

// Default are the rules of a new store.
//
//go:embed default.yaml
var Default []byte

// Outside is where a version comes from that is in no stage.
const Outside = "outside"

// Bounds of what rules may say.
const (
	maxStages     = 8
	maxComponents = 1000
	maxWindows    = 50
)

// Rules are environment.yaml.
type Rules struct {
	Version    int                  `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Components map[string]Component `yaml:"components" doc:"What may be added, by name: that of the project in its release.json."`
	Stages     []Stage              `yaml:"stages" required:"true" doc:"The environments, the first one first."`
}

// Component is what a release store has versions of.
type Component struct {
	Repository string `yaml:"repository" doc:"URL of the source." example:"https://github.com/owner/tool"`
	Key        string `yaml:"key" doc:"Public key that its releases are signed with, a path beside the rules." example:"keys/tool.pub"`
	Identity   string `yaml:"identity" doc:"Workflow that signs its releases, in place of a key. A * stands for the rest of the name." example:"https://github.com/owner/tool/.github/workflows/release.yml@refs/tags/*"`
	Issuer     string `yaml:"issuer" doc:"Who says who the workflow is. Default: GitHub Actions."`
}

// Stage is an environment and what it asks of a version.
type Stage struct {
	Name      string    `yaml:"name" required:"true" doc:"Lower-case letters, digits and -."`
	From      []string  `yaml:"from" doc:"Where a version may come from: names of stages, and outside. Default: outside for the first stage, every stage before and outside for others."`
	Enter     string    `yaml:"enter" enum:"commit,pull-request,either" doc:"How a version enters: by a command at once, by a pull request against the branch of the stage, or by either. Default: commit."`
	Overwrite string    `yaml:"overwrite" enum:"always,if-needed,never" doc:"Whether other bytes may take the place of a version that is there. if-needed asks for --replace and a reason. Default: never."`
	Leaves    []string  `yaml:"leaves" doc:"Stages that a version leaves as it enters this one."`
	Current   string    `yaml:"current" enum:"newest,semver,stable" doc:"Which version is the current one: the one that came in last, the highest, or the highest that is not a prerelease. Default: semver."`
	Keep      int       `yaml:"keep" doc:"How many versions of a component stay; older ones expire. Default: all."`
	Accepts   []string  `yaml:"accepts" doc:"Kinds of versions: snapshot, candidate, stable. Default: any."`
	Candidate string    `yaml:"candidate" enum:"none,same-commit" doc:"Whether a stable version needs a candidate that was made of the same commit and was in the stage before. Default: none."`
	Soak      Soak      `yaml:"soak" doc:"What must have been seen of these very bytes in another stage."`
	Approvals Approvals `yaml:"approvals" doc:"Who must have agreed to these very bytes."`
	Writers   []string  `yaml:"writers" doc:"Fingerprints of keys, or identities of workflows, that may ask for something here. Default: whoever may push to the store."`
	Freeze    []Window  `yaml:"freeze" doc:"Times of the week in which nothing enters, in UTC."`
	Tags      []string  `yaml:"tags" doc:"Moving tags of images that stand for the current version, as words with {major} or {major}.{minor} in them. Each distro has its own, behind a -." example:"latest"`
	Auto      string    `yaml:"auto" enum:"none,promote" doc:"Whether slipway combine --auto promotes the highest version of each component that every rule allows; into a stage that is entered by pull request, by opening one. Default: none."`
	Trusted   []string  `yaml:"trusted" doc:"Whose releases auto promotes: fingerprints of keys, or identities of workflows. Default: all."`
}

// Soak is the evidence that a stage asks for.
type Soak struct {
	In       string   `yaml:"in" doc:"Stage to have been in."`
	For      Duration `yaml:"for" doc:"How long, in hours or days." example:"72h"`
	Rebuilt  int      `yaml:"rebuilt" doc:"By how many different keys it must have been rebuilt with the same bytes."`
	Evidence []string `yaml:"evidence" doc:"Kinds of signed reports that must be there and good." example:"tests"`
}

// Approvals are the agreements that a stage asks for.
type Approvals struct {
	Count int      `yaml:"count" doc:"How many."`
	Of    []string `yaml:"of" doc:"Fingerprints of keys, or identities of workflows, that may approve; pull-request counts whoever merged one. Default: any that is not the requester's."`
}

// ByPull in Approvals.Of counts a merge as an approval.
const ByPull = "pull-request"

// Window is a time of the week.
type Window struct {
	Days  []string `yaml:"days" doc:"Mon, Tue, Wed, Thu, Fri, Sat, Sun. Default: every day."`
	From  Clock    `yaml:"from" doc:"First minute." example:"16:00"`
	Until Clock    `yaml:"until" doc:"Last minute. Default: 23:59." example:"23:59"`
}

// Duration is a length of time that rules name, in whole hours or days.
type Duration time.Duration

var durations = regexp.MustCompile(`^([0-9]{1,4})([hd])$`)

// UnmarshalText reads 72h or 3d.
func (d *Duration) UnmarshalText(b []byte) error {
	m := durations.FindSubmatch(b)
	if m == nil {
		return fmt.Errorf("%.40q is not a time such as 72h or 3d", b)
	}
	n, _ := strconv.Atoi(string(m[1]))
	if string(m[2]) == "d" {
		n *= 24
	}
	*d = Duration(time.Duration(n) * time.Hour)
	return nil
}

// Clock is a minute of the day, counted from 1 so that the zero value is none.
type Clock int

var clocks = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// UnmarshalText reads 16:00.
func (c *Clock) UnmarshalText(b []byte) error {
	m := clocks.FindSubmatch(b)
	if m == nil {
		return fmt.Errorf("%.40q is not a time such as 16:00", b)
	}
	hour, _ := strconv.Atoi(string(m[1]))
	minute, _ := strconv.Atoi(string(m[2]))
	*c = Clock(60*hour + minute + 1)
	return nil
}

// movingTag is a tag (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests) with numbers of the
// version in it.
var movingTag = regexp.MustCompile(`^(?:[A-Za-z0-9_]|\{major\}|\{minor\})(?:[A-Za-z0-9_.-]|\{major\}|\{minor\}){0,60}$`)

// branches are those that a store has besides the ones of its stages.
var branches = []string{"main", "log", "metadata"}

// proposals are what the names of branches for pull requests begin with.
var proposals = []string{"promote", "repair"}

// CheckName refuses what cannot be the name of a stage or a component.
func CheckName(name string) error {
	if !artifact.IsName(name) {
		return fault.Errorf(fault.Usage, "%.80q is not a name: lower-case letters, digits and - between them, at most 40", name)
	}
	return nil
}

var days = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} // as time.Weekday counts

// ParseRules reads rules. An error is a fault.Usage and has a line for each mistake with its place.
func ParseRules(file string, b []byte) (Rules, error) {
	var r Rules
	where, err := yamldoc.Decode(file, b, &r)
	if err != nil {
		return Rules{}, fault.New(fault.Usage, err)
	}
	p := yamldoc.NewProblems(where)
	if len(r.Components) > maxComponents {
		p.At("components", "%d components; at most %d are read", len(r.Components), maxComponents)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Components)) {
		at, c := "components."+name, r.Components[name]
		if CheckName(name) != nil {
			p.At(at, "%.60q is not a name: lower-case letters, digits and -", name)
		}
		if (c.Key == "") == (c.Identity == "") {
			p.At(at, "say who signs its releases: key or identity, and not both")
		}
	}
	if len(r.Stages) > maxStages {
		p.At("stages", "%d stages; at most %d are read", len(r.Stages), maxStages)
	}
	all := r.StageNames()
	for i := range r.Stages {
		r.Stages[i].check(p, fmt.Sprintf("stages[%d]", i), i, all)
	}
	if err := p.Err(); err != nil {
		return Rules{}, fault.New(fault.Usage, err)
	}
	return r, nil
}

// check finds what a stage cannot mean, and gives it its defaults.
func (s *Stage) check(p *yamldoc.Problems, at string, i int, all []string) {
	if CheckName(s.Name) != nil || s.Name == Outside {
		p.At(at+".name", "%.60q is not the name of a stage: lower-case letters, digits and -, and not %s", s.Name, Outside)
	} else if slices.Contains(branches, s.Name) {
		p.At(at+".name", "a stage cannot be called %s, which is the name of another branch of the store", s.Name)
	} else if slices.Index(all, s.Name) < i {
		p.At(at+".name", "there is another stage %s", s.Name)
	}
	known := func(key, name string, may []string) {
		if !slices.Contains(may, name) {
			p.At(key, "%.60q is not a stage before this one%s", name, yamldoc.DidYouMean(name, may))
		}
	}
	before := all[:i]
	for j, from := range s.From {
		known(fmt.Sprintf("%s.from[%d]", at, j), from, append(slices.Clone(before), Outside))
	}
	for j, leaves := range s.Leaves {
		known(fmt.Sprintf("%s.leaves[%d]", at, j), leaves, before)
	}
	if s.Soak.In != "" {
		known(at+".soak.in", s.Soak.In, before)
	} else if s.Soak.For != 0 {
		p.At(at+".soak", "for needs in, the stage to have been in for that long")
	}
	for j, kind := range s.Accepts {
		if !slices.Contains(versionKinds, kind) {
			p.At(fmt.Sprintf("%s.accepts[%d]", at, j), "%.40q is none of %s", kind, strings.Join(versionKinds, ", "))
		}
	}
	if s.Keep < 0 || s.Soak.Rebuilt < 0 || s.Approvals.Count < 0 {
		p.At(at, "a count is less than nothing")
	}
	if len(s.Freeze) > maxWindows {
		p.At(at+".freeze", "%d windows; at most %d are read", len(s.Freeze), maxWindows)
	}
	for j, w := range s.Freeze {
		for k, day := range w.Days {
			if !slices.Contains(days, day) {
				p.At(fmt.Sprintf("%s.freeze[%d].days[%d]", at, j, k), "%.20q is none of %s", day, strings.Join(days, ", "))
			}
		}
		if w.Until != 0 && w.Until < w.From {
			p.At(fmt.Sprintf("%s.freeze[%d]", at, j), "it ends before it begins; write one window until 23:59 and one from 00:00 of the next day")
		}
	}
	if len(s.From) == 0 {
		s.From = append(slices.Clone(before), Outside)
	}
	for j, tag := range s.Tags {
		if !movingTag.MatchString(tag) {
			p.At(fmt.Sprintf("%s.tags[%d]", at, j), "%.60q is not a tag: letters, digits, . and -, with {major} and {minor}", tag)
		}
	}
	if s.Auto == "promote" && i == 0 {
		p.At(at+".auto", "nothing is promoted into the first stage")
	}
	if s.Candidate == "same-commit" && i == 0 {
		p.At(at+".candidate", "no stage is before the first one")
	}
	for _, name := range proposals {
		if s.Enter == "pull-request" && slices.Contains(all, name) {
			p.At(at+".enter", "what is proposed has branches %s/..., which git does not have beside one that is called %[1]s: give that stage another name", name)
		}
	}
	s.Enter, s.Overwrite = cmp.Or(s.Enter, "commit"), cmp.Or(s.Overwrite, "never")
	s.Current, s.Candidate, s.Auto = cmp.Or(s.Current, "semver"), cmp.Or(s.Candidate, "none"), cmp.Or(s.Auto, "none")
}

// StageNames are the names of the stages, the first one first.
func (r Rules) StageNames() []string {
	all := make([]string, len(r.Stages))
	for i, s := range r.Stages {
		all[i] = s.Name
	}
	return all
}

// Stage is the stage of that name; the error, a fault.Usage, names the nearest one.
func (r Rules) Stage(name string) (Stage, error) {
	all := r.StageNames()
	if i := slices.Index(all, name); i >= 0 {
		return r.Stages[i], nil
	}
	return Stage{}, fault.Errorf(fault.Usage, "there is no environment %.60q%s; there is %s", name, yamldoc.DidYouMean(name, all), strings.Join(all, ", "))
}

// Component is the component of that name; the error, a fault.Usage, names the nearest one.
func (r Rules) Component(name string) (Component, error) {
	if c, ok := r.Components[name]; ok {
		return c, nil
	}
	all := slices.Sorted(maps.Keys(r.Components))
	return Component{}, fault.Errorf(fault.Usage, "there is no component %.60q%s; add it under components in %s", name, yamldoc.DidYouMean(name, all), RulesFile)
}

// during reports whether a time, in UTC, is within the window.
func (w Window) during(t time.Time) bool {
	t = t.UTC()
	minute := Clock(60*t.Hour() + t.Minute() + 1)
	return (len(w.Days) == 0 || slices.Contains(w.Days, days[t.Weekday()])) && minute >= w.From && (w.Until == 0 || minute <= w.Until)
}

// open is the first minute from t on, in UTC, in which no window of the stage is; zero where there is none within eight days, which
// is every week.
func (s Stage) open(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Minute)
	for end := t.Add(8 * 24 * time.Hour); t.Before(end); t = t.Add(time.Minute) {
		if !slices.ContainsFunc(s.Freeze, func(w Window) bool { return w.during(t) }) {
			return t
		}
	}
	return time.Time{}
}
