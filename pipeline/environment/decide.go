package environment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// RequestSchema names the format of a request, with its major version.
const RequestSchema = "slipway.request/v1"

var requestFormat = canonjson.Format{Schema: RequestSchema}

// Bounds of a request.
const (
	MaxRequest = 256 << 10
	maxAhead   = 5 * time.Minute // that a clock may be ahead of the combiner's
	maxExpiry  = 24 * time.Hour
)

// Request is what somebody asks of a store. It says nothing that is known only once it is decided.
type Request struct {
	Schema   string   `json:"schema"`
	Minor    int      `json:"minor,omitempty"`
	Requires []string `json:"requires,omitempty"`

	At      time.Time `json:"at"`
	Expires time.Time `json:"expires"`
	Nonce   string    `json:"nonce"` // which makes two like requests two
	Kind    Kind      `json:"kind"`
	By      Identity  `json:"by"`
	Why     string    `json:"why,omitempty"`
	To      string    `json:"to,omitempty"` // stage
	Replace bool      `json:"replace,omitempty"`
	Items   []Item    `json:"items,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Report  *Report   `json:"report,omitempty"`
	Entries []Entry   `json:"entries,omitempty"` // of Add: one for each item
	Store   string    `json:"store,omitempty"`   // the id of the one that it is for; a store that was made before there were ids has none

	Unknown canonjson.Unknown `json:"-"`
}

// Item is a version that a request is about. Of an approval or a report the bytes are named too, so that it dies with them.
type Item struct {
	Component string          `json:"component"`
	Version   string          `json:"version,omitempty"`
	Manifest  artifact.Digest `json:"manifest,omitempty"`
}

// Encode is the file of a request.
func (q Request) Encode() ([]byte, error) {
	q.Schema, q.Minor, q.Requires, q.Unknown = RequestSchema, requestFormat.Minor, nil, nil
	b, err := canonjson.Encode(q)
	if err == nil && len(b) > MaxRequest {
		err = fault.Errorf(fault.Usage, "the request has %d bytes, and at most %d are read: ask for fewer versions at once", len(b), MaxRequest)
	}
	return b, err
}

// Untold is the id of a request that is only decided, and that nobody asks for.
const Untold = "00000000000000000000000000000000"

// ID is the name of the request whose file that is: the same request asked for twice is one.
func ID(file []byte) string { return artifact.Sum(file).Hex()[:32] }

// ParseRequest reads the file of a request.
func ParseRequest(b []byte) (Request, error) {
	var q Request
	if err := decode(requestFormat, b, MaxRequest, &q, &q.Unknown, canonjson.Encode); err != nil {
		return Request{}, fault.New(codeOf(err), fmt.Errorf("reading request: %w", err))
	}
	return q, nil
}

// Answer is what became of a request.
type Answer struct {
	Line     Line // to append; its kind is Refused where the rules refuse it
	Nothing  bool // there is nothing to do
	Code     fault.Code
	Outcomes []Outcome
	Entries  []Entry // that are new
}

// Refused reports whether the rules refuse the request.
func (a Answer) Refused() bool { return a.Code != fault.OK }

// Decide is what the rules say of a request at a time. Whoever calls it has held q.By to a signature, which goes into the line. It
// changes nothing. An error is a request that cannot be meant, a fault.Usage; what is refused is an answer, with the outcome of
// every rule.
func Decide(s *State, r Rules, rules string, id string, q Request, now time.Time) (Answer, error) {
	d := decision{s: s, r: r, q: q, now: now.UTC().Truncate(time.Second)}
	d.Line = Line{
		Time: d.now, Kind: q.Kind, Request: id, Rules: rules, By: q.By, Why: q.Why,
		Until: q.Until, Report: q.Report,
	}
	if err := d.decide(); err != nil {
		return Answer{}, err
	}
	slices.SortStableFunc(d.Outcomes, func(a, b Outcome) int { return cmp.Compare(a.Component, b.Component) })
	d.Line.Decision = d.Outcomes
	refuses := func(o Outcome) bool { return !o.OK }
	if !slices.ContainsFunc(d.Outcomes, refuses) {
		d.Nothing = len(d.Line.Moves) == 0
		return d.Answer, nil
	}
	d.Code = fault.Policy
	if slices.ContainsFunc(d.Outcomes, func(o Outcome) bool { return refuses(o) && o.Rule == "overwrite" }) {
		d.Code = fault.Conflict
	}
	d.Line.Kind, d.Line.Report, d.Line.Until, d.Line.Moves, d.Entries = Refused, nil, time.Time{}, d.asked, nil
	return d.Answer, nil
}

// decision is a request on its way to an answer.
type decision struct {
	Answer
	s     *State
	r     Rules
	q     Request
	now   time.Time
	asked []Move // for a line that says what was refused
	// unseen says that of entries no more is known than what a line has of them.
	unseen bool
}

func (d *decision) say(component, rule string, ok bool, fix, detail string, args ...any) {
	if ok {
		fix = ""
	}
	d.Outcomes = append(d.Outcomes, Outcome{Component: component, Rule: rule, OK: ok, Detail: fmt.Sprintf(detail, args...), Fix: fix})
}

func (d *decision) decide() error {
	q := d.q
	if brings := q.Kind == Add || q.Kind == Merge; brings != (len(q.Entries) > 0) || brings && len(q.Entries) != len(q.Items) {
		return fault.Errorf(fault.Usage, "%s with %d entries for %d versions", q.Kind, len(q.Entries), len(q.Items))
	}
	if len(q.Items) > maxMoves || len(q.Items) == 0 && q.Kind != Freeze && q.Kind != Thaw {
		return fault.Errorf(fault.Usage, "%s of %d versions: name between 1 and %d", q.Kind, len(q.Items), maxMoves)
	}
	if q.To != "" {
		if _, err := d.r.Stage(q.To); err != nil {
			return err
		}
	}
	switch {
	case q.Kind == Evidence && q.Report == nil:
		return fault.Errorf(fault.Usage, "%s without a report", q.Kind)
	case q.Kind != Evidence && q.Report != nil:
		return fault.Errorf(fault.Usage, "%s with a report", q.Kind)
	case q.Kind != Hold && q.Kind != Freeze && !q.Until.IsZero():
		return fault.Errorf(fault.Usage, "%s has no end", q.Kind)
	case !q.Until.IsZero() && !q.Until.After(d.now):
		return fault.Errorf(fault.Usage, "%s until %s, which is past", q.Kind, q.Until.Format(time.RFC3339))
	}
	if err := q.By.check(); err != nil {
		return fault.New(fault.Usage, err)
	}
	switch {
	case q.At.After(d.now.Add(maxAhead)):
		d.say("", "request", false, "set the clock that asked for it", "it is of %s, which is to come", q.At.Format(time.RFC3339))
	case !q.Expires.After(d.now), q.Expires.Sub(q.At) > maxExpiry:
		d.say("", "request", false, "ask again", "it was good until %s", q.Expires.Format(time.RFC3339))
	}
	d.writers()
	needsWhy := slices.Contains([]Kind{Withdraw, Rollback, Hold, Freeze}, q.Kind) || q.Replace
	if needsWhy && q.Why == "" {
		return fault.Errorf(fault.Usage, "%s needs a reason: say --why", q.Kind)
	}
	switch q.Kind {
	case Freeze, Thaw:
		if q.To == "" {
			return fault.Errorf(fault.Usage, "%s of which environment? name it with --environment", q.Kind)
		}
		_, frozen := d.s.Frozen(q.To, d.now)
		d.asked = []Move{{To: q.To}}
		if q.Kind == Freeze || frozen {
			d.Line.Moves = d.asked
		}
		return nil
	case Add, Promote, Demote, Merge, Withdraw, Restore, Rollback, Release, Hold, Approve, Evidence:
	default:
		return fault.Errorf(fault.Usage, "%.40q is not something to ask for", q.Kind)
	}
	for i, it := range q.Items {
		if _, err := d.r.Component(it.Component); err != nil {
			return err
		}
		if it.Version != "" || q.Kind != Hold && q.Kind != Release {
			if _, err := parseVersion(it.Version); err != nil {
				return fault.New(fault.Usage, err)
			}
		}
		m := Move{Component: it.Component, Version: it.Version, To: q.To}
		var err error
		switch q.Kind {
		case Add:
			err = d.add(m, q.Entries[i])
		case Promote:
			err = d.promote(m)
		case Demote:
			err = d.demote(m)
		case Merge:
			err = d.merge(m, q.Entries[i])
		default:
			err = d.mark(m, it.Manifest)
		}
		if err != nil {
			return err
		}
		d.asked = append(d.asked, Move{Component: it.Component, Version: it.Version, To: q.To})
	}
	return nil
}

// writers asks whether the request is by one who may ask for something in each stage that it changes.
func (d *decision) writers() {
	for _, stage := range d.r.Stages {
		changed := stage.Name == d.q.To
		switch d.q.Kind {
		case Approve, Evidence, Merge: // of these the host of the store says who may merge
			return
		case Hold, Release:
			changed = changed || d.q.To == ""
		case Withdraw, Restore, Demote:
			changed = changed || slices.ContainsFunc(d.q.Items, func(it Item) bool {
				_, ok := d.s.Held(stage.Name, it.Component, it.Version)
				return ok
			})
		}
		if changed && len(stage.Writers) > 0 {
			d.say("", "writers", among(stage.Writers, d.q.By), "have one of those ask who may: "+strings.Join(stage.Writers, ", "), "%s asks to change %s", d.q.By, stage.Name)
		}
	}
}

// add has a release come in from outside.
func (d *decision) add(m Move, e Entry) error {
	if e.Component != m.Component || e.Version != m.Version {
		return fault.Errorf(fault.Usage, "the entry is of %s %s and the request of %s %s", e.Component, e.Version, m.Component, m.Version)
	}
	m.From, m.Commit, m.Manifest = Outside, e.Commit, e.Manifest
	if d.unseen {
		d.enter(m)
		return nil
	}
	file, err := e.Encode()
	if err != nil {
		return err
	}
	m.Entry = artifact.Sum(file)
	c := d.r.Components[m.Component]
	same := c.Key != "" && e.Signed.Key == c.Key || c.Identity != "" && matches(c.Identity, e.Signed.Identity) && (c.Issuer == "" || c.Issuer == e.Signed.Issuer)
	d.say(m.Component, "signed", same, fmt.Sprintf("have it signed by %s, or name the signer in %s", cmp.Or(c.Key, c.Identity), RulesFile), "by %s", e.Signed)
	d.say(m.Component, "policies", len(e.Unpublishable) == 0, "build a release that may be published", "%s", cmp.Or(strings.Join(e.Unpublishable, "; "), "it may be published"))
	if d.enter(m) {
		d.Entries = append(d.Entries, e)
	}
	return nil
}

// among reports whether somebody is one of those that rules name, by fingerprint or as a workflow.
func among(all []string, by Identity) bool {
	return slices.ContainsFunc(all, func(of string) bool { return of == by.Key || by.Identity != "" && matches(of, by.Identity) })
}

// matches reports whether an identity is the one of a pattern, in which a * at its end stands for the rest of the name.
func matches(pattern, identity string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(identity, prefix) && len(identity) > len(prefix)
	}
	return identity == pattern
}

// promote has a version go on from the stage that is nearest to where it goes.
func (d *decision) promote(m Move) error {
	if m.To == "" {
		return fault.Errorf(fault.Usage, "promote %s %s to which environment? name it with --to", m.Component, m.Version)
	}
	h, ok := d.s.Nearest(d.r, m.To, m.Component, m.Version)
	if !ok {
		return fault.Errorf(fault.Usage, "%s %s is in no environment before %s: add it first, with the URL of its release", m.Component, m.Version, m.To)
	}
	m.From, m.Commit, m.Manifest, m.Entry = h.Stage, h.Commit, h.Manifest, h.Entry
	d.enter(m)
	return nil
}

// merge has a version enter as a pull request brought it: from the stage that has these very bytes, or else from outside.
func (d *decision) merge(m Move, e Entry) error {
	if m.To == "" {
		return fault.Errorf(fault.Usage, "%s %s %s into which environment?", Merge, m.Component, m.Version)
	}
	h, ok := d.s.Having(d.r, m.To, e)
	if !ok {
		return d.add(m, e)
	}
	m.From, m.Commit, m.Manifest, m.Entry = h.Stage, h.Commit, h.Manifest, h.Entry
	if d.unseen {
		d.enter(m)
		return nil
	}
	file, err := e.Encode()
	if err != nil {
		return err
	}
	same := artifact.Sum(file) == h.Entry && e.Component == m.Component && e.Version == m.Version
	if d.enter(m) || !same {
		d.say(m.Component, "entry", same, fmt.Sprintf("copy the file that %s has", h.Stage), "%s has this release, %s", h.Stage, map[bool]string{true: "with the same entry", false: "and says something else of it"}[same])
	}
	return nil
}

// demote has a version go back to the stage that is named, from the next one that has it.
func (d *decision) demote(m Move) error {
	names := d.r.StageNames()
	to := slices.Index(names, m.To)
	if to < 0 {
		return fault.Errorf(fault.Usage, "demote %s %s to which environment? name it with --to", m.Component, m.Version)
	}
	for _, name := range names[to+1:] {
		h, ok := d.s.Held(name, m.Component, m.Version)
		if !ok {
			continue
		}
		stage, _ := d.r.Stage(name)
		d.say(m.Component, "overwrite", stage.Overwrite != "never", fmt.Sprintf("withdraw it: what is in %s stays", name), "%s is %s, which it would leave", name, changeable(stage))
		m.From, m.Commit, m.Manifest, m.Entry, m.Left = name, h.Commit, h.Manifest, h.Entry, []string{name}
		if there, taken := d.s.Held(m.To, m.Component, m.Version); !taken || there.Manifest != m.Manifest {
			if d.r.Stages[to].Enter == "pull-request" {
				d.say(m.Component, "enter", false, "promote it again", "%s is entered by pull request", m.To)
			}
			d.room(m, d.r.Stages[to], taken)
		}
		d.Line.Moves = append(d.Line.Moves, m)
		return nil
	}
	if _, ok := d.s.Held(m.To, m.Component, m.Version); ok {
		return nil
	}
	return fault.Errorf(fault.Usage, "%s %s is in no environment after %s", m.Component, m.Version, m.To)
}

func changeable(s Stage) string {
	return map[string]string{"always": "overwritten at any time", "if-needed": "overwritten where there is a reason", "never": "never changed"}[s.Overwrite]
}

// enter asks every rule of the stage that a version would enter. It reports whether there is anything to do.
func (d *decision) enter(m Move) bool {
	stage, _ := d.r.Stage(m.To)
	there, taken := d.s.Held(m.To, m.Component, m.Version)
	if taken && there.Manifest == m.Manifest {
		return false
	}
	if byPull := d.q.Kind == Merge; byPull && stage.Enter == "commit" || !byPull && stage.Enter == "pull-request" {
		fix := "say --pull-request"
		if byPull {
			fix = "promote it"
		}
		d.say(m.Component, "enter", false, fix, "%s is entered by %s", m.To, map[bool]string{false: "pull request", true: "a command"}[byPull])
	}
	d.accepts(m, stage)
	d.say(m.Component, "from", slices.Contains(stage.From, m.From), fmt.Sprintf("promote it to %s first", stage.From[0]), "%s takes what comes from %s, and this comes from %s", m.To, strings.Join(stage.From, " or "), m.From)
	d.overwrite(m, stage, taken)
	if v, _ := version.Parse(m.Version); stage.Candidate == "same-commit" && kindOf(v) == "stable" {
		d.candidate(m, v)
	}
	if w := d.s.find(m.Component, m.Version).withdrawn; w != nil {
		d.say(m.Component, "withdrawn", false, fmt.Sprintf("slipway restore %s %s", m.Component, m.Version), "it was withdrawn in line %d: %s", w.Line, w.Why)
	}
	d.hold(m)
	d.freeze(m, stage)
	d.soak(m, stage)
	d.approvals(m, stage)
	for _, name := range stage.Leaves {
		if h, ok := d.s.Held(name, m.Component, m.Version); ok && h.Manifest == m.Manifest {
			m.Left = append(m.Left, name)
		}
	}
	d.Line.Moves = append(d.Line.Moves, m)
	return true
}

// room asks what a stage says of any version that would be in it from now on, also of one that comes back.
func (d *decision) room(m Move, stage Stage, taken bool) {
	d.accepts(m, stage)
	d.overwrite(m, stage, taken)
	d.hold(m)
	d.freeze(m, stage)
}

func (d *decision) accepts(m Move, stage Stage) {
	if len(stage.Accepts) == 0 {
		return
	}
	v, _ := version.Parse(m.Version)
	kind := kindOf(v)
	what := kind
	if kind == "stable" {
		what += " version"
	}
	d.say(m.Component, "accepts", slices.Contains(stage.Accepts, kind), "promote a version of another kind", "%s is a %s, and %s takes %s", m.Version, what, m.To, strings.Join(stage.Accepts, " and "))
}

func (d *decision) hold(m Move) {
	if stop, ok := d.s.stopped(m, d.now); ok {
		d.say(m.Component, "hold", false, stop.release(), "%s holds it since line %d: %s", stop.By, stop.Line, stop.Why)
	}
}

var versionKinds = []string{"snapshot", "candidate", "stable"}

func kindOf(v version.Version) string {
	switch {
	case v.IsSnapshot():
		return "snapshot"
	case v.IsPrerelease():
		return "candidate"
	}
	return "stable"
}

func (d *decision) overwrite(m Move, stage Stage, taken bool) {
	ok, fix := true, ""
	detail := fmt.Sprintf("%s has no %s", m.To, m.Version)
	if taken {
		detail = fmt.Sprintf("%s has other bytes under %s and is %s", m.To, m.Version, changeable(stage))
		switch stage.Overwrite {
		case "never":
			ok, fix = false, "give it another version"
		case "if-needed":
			ok, fix = d.q.Replace && d.q.Why != "" || d.q.Kind == Merge, "say --replace --why, or give it another version"
		}
	}
	d.say(m.Component, "overwrite", ok, fix, "%s", detail)
}

// candidate looks for a prerelease of the same numbers that was made of the same commit, was in a stage before and may be used.
func (d *decision) candidate(m Move, v version.Version) {
	names := d.r.StageNames()
	before := names[:slices.Index(names, m.To)]
	found := ""
	if c := d.s.components[m.Component]; c != nil {
		for name, h := range c.versions {
			if h.withdrawn != nil || kindOf(h.version) != "candidate" || h.version.Major() != v.Major() || h.version.Minor() != v.Minor() || h.version.Patch() != v.Patch() {
				continue
			}
			for s := range h.seen {
				if s.commit == m.Commit && slices.Contains(before, s.stage) {
					found = max(found, name)
				}
			}
		}
	}
	if found == "" {
		d.say(m.Component, "candidate", false, fmt.Sprintf("release a candidate of %s from commit %.12s first", m.Version, m.Commit), "no candidate of %s was made of commit %.12s", m.Version, m.Commit)
		return
	}
	d.say(m.Component, "candidate", true, "", "%s was made of the same commit", found)
}

func (d *decision) freeze(m Move, stage Stage) {
	if stop, ok := d.s.Frozen(m.To, d.now); ok {
		d.say(m.Component, "freeze", false, fmt.Sprintf("slipway freeze --environment %s --release", m.To), "%s froze %s in line %d: %s", stop.By, m.To, stop.Line, stop.Why)
		return
	}
	if len(stage.Freeze) == 0 {
		return
	}
	at := stage.open(d.now)
	switch {
	case at.IsZero():
		d.say(m.Component, "freeze", false, "change the windows in "+RulesFile, "nothing enters %s at any time of the week", m.To)
	case at.After(d.now):
		d.say(m.Component, "freeze", false, "wait until "+at.Format(minutes), "nothing enters %s at this time of the week", m.To)
	default:
		d.say(m.Component, "freeze", true, "", "no window of %s is now", m.To)
	}
}

const minutes = "2006-01-02 15:04 UTC"

// soak looks at what was seen of these very bytes.
func (d *decision) soak(m Move, stage Stage) {
	if stage.Soak.In != "" {
		need := time.Duration(stage.Soak.For)
		h, ok := d.s.Held(stage.Soak.In, m.Component, m.Version)
		switch been := d.now.Sub(h.Entered); {
		case !ok || h.Manifest != m.Manifest:
			d.say(m.Component, "soak", false, fmt.Sprintf("slipway promote %s %s --to %s", m.Component, m.Version, stage.Soak.In), "these bytes are not in %s", stage.Soak.In)
		default:
			d.say(m.Component, "soak", been >= need, "wait until "+h.Entered.Add(need).Format(minutes), "%d of %d hours in %s", int(been.Hours()), int(need.Hours()), stage.Soak.In)
		}
	}
	reports := d.s.find(m.Component, m.Version).reports
	count := func(kind string) (good, bad []string) {
		for r, ok := range reports {
			switch {
			case r.manifest != m.Manifest || r.kind != kind || r.by == Identity{}:
			case ok:
				good = append(good, r.by.String())
			default:
				bad = append(bad, r.by.String())
			}
		}
		slices.Sort(bad)
		return good, bad
	}
	ask := func(kind string, n int) {
		good, bad := count(kind)
		fix := fmt.Sprintf("slipway record %s %s --kind %s", m.Component, m.Version, kind)
		if len(bad) > 0 {
			d.say(m.Component, "soak", false, "find out why", "%s: %s says that it failed", kind, bad[0])
			return
		}
		if n > 0 {
			d.say(m.Component, "soak", len(good) >= n, fix, "%s: %d of %d reports", kind, len(good), n)
		}
	}
	ask("rebuilt", stage.Soak.Rebuilt)
	for _, kind := range stage.Soak.Evidence {
		ask(kind, 1)
	}
}

func (d *decision) approvals(m Move, stage Stage) {
	need := stage.Approvals
	if need.Count == 0 {
		return
	}
	n := 0
	if d.q.Kind == Merge && slices.Contains(need.Of, ByPull) {
		n++ // whoever merged it agreed to it
	}
	for a := range d.s.find(m.Component, m.Version).approvals {
		if a.manifest != m.Manifest || a.stage != m.To || a.by == (Identity{}) || a.by == d.q.By {
			continue
		}
		if len(need.Of) == 0 || among(need.Of, a.by) {
			n++
		}
	}
	d.say(m.Component, "approvals", n >= need.Count, fmt.Sprintf("slipway approve %s %s --to %s", m.Component, m.Version, m.To), "%d of %d", n, need.Count)
}

// mark is about a version where it is: a tombstone, a name, a hold, an agreement or a report.
func (d *decision) mark(m Move, manifest artifact.Digest) error {
	h := d.s.find(m.Component, m.Version)
	if m.Version != "" && h.version.IsZero() {
		return fault.Errorf(fault.Usage, "%s %s was never in an environment", m.Component, m.Version)
	}
	if slices.Contains([]Kind{Rollback, Approve}, d.q.Kind) && m.To == "" {
		return fault.Errorf(fault.Usage, "%s %s %s in which environment? name it", d.q.Kind, m.Component, m.Version)
	}
	switch d.q.Kind {
	case Withdraw:
		if h.withdrawn != nil {
			return nil
		}
		m.To = ""
	case Restore:
		if h.withdrawn == nil {
			return nil
		}
		m.To = ""
	case Rollback:
		i := slices.IndexFunc(d.s.View(d.r, m.To, m.Component), func(v Seen) bool { return v.Version == m.Version })
		if i < 0 {
			return fault.Errorf(fault.Usage, "%s %s is not seen in %s", m.Component, m.Version, m.To)
		}
		if h.withdrawn != nil {
			d.say(m.Component, "withdrawn", false, fmt.Sprintf("slipway restore %s %s", m.Component, m.Version), "it was withdrawn in line %d: %s", h.withdrawn.Line, h.withdrawn.Why)
		}
		if now, pinned, _ := d.s.Current(d.r, m.To, m.Component); pinned && now.Version == m.Version {
			return nil
		}
	case Release:
		c := d.s.components[m.Component]
		if c == nil {
			return nil
		}
		_, held := c.held[[2]string{m.Version, m.To}]
		if _, pinned := c.pinned[m.To]; !held && (!pinned || m.Version != "") {
			return nil
		}
	case Approve, Evidence:
		if d.q.By == (Identity{}) {
			return fault.Errorf(fault.Usage, "%s %s %s needs a signature: name your key with --key", d.q.Kind, m.Component, m.Version)
		}
		known := false
		for s := range h.seen {
			known = known || s.manifest == manifest
		}
		if !known {
			return fault.Errorf(fault.Usage, "%s %s never had the bytes %s", m.Component, m.Version, manifest.Short())
		}
		m.Manifest = manifest
		if d.q.Kind == Evidence {
			m.To = ""
			if good, there := h.reports[report{manifest, d.q.Report.Kind, d.q.By}]; there && good == d.q.Report.Good {
				return nil
			}
		} else if _, there := h.approvals[approval{manifest, m.To, d.q.By}]; there {
			return nil
		}
	}
	d.Line.Moves = append(d.Line.Moves, m)
	return nil
}

// Expired are the lines that take out of a stage what is beyond the number of versions that it keeps: those that entered first, and
// never what is current in an environment that sees it there.
func Expired(s *State, r Rules, stage string) []Move {
	rule, err := r.Stage(stage)
	if err != nil || rule.Keep == 0 || rule.Overwrite == "never" {
		return nil
	}
	var all []Move
	names := r.StageNames()
	for _, component := range s.Components() {
		if len(s.stages[stage][component]) <= rule.Keep {
			continue
		}
		kept := map[string]bool{}
		for _, name := range names[:slices.Index(names, stage)+1] {
			if current, _, ok := s.Current(r, name, component); ok && current.Stage == stage {
				kept[current.Version] = true
			}
		}
		var held []Held
		for _, h := range s.stages[stage][component] {
			held = append(held, h)
		}
		slices.SortFunc(held, func(a, b Held) int { return cmp.Compare(b.Line, a.Line) })
		for i, h := range held {
			if i >= rule.Keep && !kept[h.Version] {
				all = append(all, Move{Component: component, Version: h.Version, From: stage, Left: []string{stage}})
			}
		}
	}
	return all
}
