package environments

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Bounds on what may be asked.
const (
	maxLimit  = 200 // things on a page of a list, which is 50 where nobody says
	usual     = 50
	maxText   = 200 // bytes of a parameter
	maxEvents = 256 // streams of events
)

// parameter is what may stand behind the ? of an address.
type parameter struct {
	name     string
	doc      string
	required bool
	number   bool
	enum     []string
}

// operation is an address below /api/v1/. The same table answers requests and describes them, see openAPI.
type operation struct {
	name       string
	doc        string
	parameters []parameter
	result     any // of which type the answer is
	answer     func(s *Site, ctx context.Context, st *state, q url.Values) (any, error)
	fresh      bool // the answer depends on the time, too
}

var (
	limitOf = parameter{name: "limit", doc: fmt.Sprintf("How many to list, from 1 to %d; %d where it is not there.", maxLimit, usual), number: true}
	afterOf = parameter{name: "after", doc: "Where to go on: next of the page before. What is there all the while is listed once, whatever moves meanwhile."}
	whose   = parameter{name: "component", doc: "Name of a component.", required: true}
)

// operations are all addresses. It is set below since the one that describes them needs them.
var operations []operation

func init() {
	operations = []operation{
		{name: "environments", doc: "The environments, and the version of each component that is the current one in each.", result: listing{}, answer: (*Site).environments},
		{name: "releases", doc: "Versions by component, the highest first.", result: releases{}, answer: (*Site).releases, parameters: []parameter{
			{name: "environment", doc: "List what the readers of this environment see; without it, what any of them sees."},
			{name: "component", doc: "List this component alone."},
			{name: "q", doc: "List what has this text in its name and version."},
			{name: "state", doc: "List what is so in the environment, or without one in any.", enum: []string{"current", "pinned", "withdrawn"}},
			afterOf, limitOf,
		}},
		{name: "moves", doc: "Lines of the log, the last one first.", result: moves{}, answer: (*Site).moves, parameters: []parameter{afterOf, limitOf}},
		{name: "why", doc: "What the rules say of a version that would enter an environment now, asked for by nobody in particular.", result: decision{}, answer: (*Site).why, fresh: true, parameters: []parameter{
			whose, {name: "version", doc: "Version of it.", required: true}, {name: "to", doc: "Environment that it would enter.", required: true},
		}},
		{name: "diff", doc: "What differs between two versions of a component.", result: comparison{}, answer: (*Site).diff, parameters: []parameter{
			whose, {name: "from", doc: "The earlier version.", required: true}, {name: "to", doc: "The later version.", required: true},
		}},
		{name: "openapi.json", doc: "This description.", result: map[string]any{}, answer: func(*Site, context.Context, *state, url.Values) (any, error) { return openAPI(), nil }},
	}
}

// failure is what goes with any status but 200.
type failure struct {
	Error string `json:"error"`
}

// API answers what is asked of the interface for programs, below /api/v1/. Events are not here; see Events.
func (s *Site) API(ctx context.Context, r Request) (Answer, error) {
	a, err := s.api(ctx, r)
	if code := Code(err); err != nil && code < http.StatusInternalServerError {
		b, _ := json.Marshal(failure{err.Error()}) // a string alone
		return Answer{Code: code, Kind: "application/json", Body: append(b, '\n'), Volatile: true}, nil
	}
	return a, err
}

func (s *Site) api(ctx context.Context, r Request) (Answer, error) {
	i := slices.IndexFunc(operations, func(o operation) bool { return o.name == r.Path })
	if i < 0 {
		return Answer{}, status{http.StatusNotFound, "there is nothing here; see openapi.json"}
	}
	o, st := operations[i], s.state.Load()
	if st == nil {
		return Answer{}, errStarting
	}
	if err := o.check(r.Query); err != nil {
		return Answer{}, err
	}
	result, err := o.answer(s, ctx, st, r.Query)
	if err != nil {
		return Answer{}, err
	}
	b, err := json.Marshal(result)
	a := Answer{Kind: "application/json", Body: append(b, '\n'), Volatile: o.fresh}
	if !o.fresh {
		a.ETag = st.etag(s)
	}
	return a, err
}

// etag is that of whatever is made of a state: the log and the rules are all that decides it, besides since when the store is gone
// and what bytes are here.
func (st *state) etag(s *Site) string {
	return `"` + st.Digest.Hex()[:min(32, len(st.Digest.Hex()))] + "-" + st.rulesCommit[:12] + "-" + strconv.FormatInt(max(0, s.Gone().Unix()), 36) + "-" + strconv.FormatInt(s.shelf.Mark(), 36) + `"`
}

// check refuses what the address does not know, by name.
func (o operation) check(q url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		i := slices.IndexFunc(o.parameters, func(p parameter) bool { return p.name == name })
		if i < 0 {
			return bad("there is no parameter %.40q", name)
		}
		p, text := o.parameters[i], q[name][0]
		if len(q[name]) > 1 {
			return bad("%s is there twice", name)
		}
		most := maxText
		if name == "after" {
			most = maxCursor
		}
		if len(text) > most || !utf8.ValidString(text) {
			return bad("%s has more than %d bytes, or is not text", name, most)
		}
		if p.number {
			if n, err := strconv.Atoi(text); err != nil || n < 1 || n > maxLimit || strconv.Itoa(n) != text {
				return bad("%s is %.40q, and not a number from 1 to %d", name, text, maxLimit)
			}
		}
		if p.enum != nil && !slices.Contains(p.enum, text) {
			return bad("%s is %.40q, and none of %s", name, text, strings.Join(p.enum, ", "))
		}
	}
	for _, p := range o.parameters {
		if p.required && q.Get(p.name) == "" {
			return bad("%s is missing", p.name)
		}
	}
	return nil
}

func bad(format string, args ...any) error {
	return status{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func limit(q url.Values) int {
	if n, err := strconv.Atoi(q.Get("limit")); err == nil {
		return n
	}
	return usual
}

// position is how far the log goes that an answer is of.
type position struct {
	Line   int             `json:"line"`
	Digest artifact.Digest `json:"digest"`
	Time   time.Time       `json:"time"`
	Rules  string          `json:"rules"` // commit
}

func (st *state) position() position {
	return position{st.Count, st.Digest, st.Time, st.rulesCommit}
}

type listing struct {
	Log              position `json:"log"`
	UnreachableSince string   `json:"unreachableSince,omitempty"` // time since which the store cannot be read
	Environments     []stage  `json:"environments"`
}

type stage struct {
	Name      string    `json:"name"`
	From      []string  `json:"from"`
	Overwrite string    `json:"overwrite"`
	Frozen    *stop     `json:"frozen,omitempty"`
	Versions  int       `json:"versions"` // that its readers see
	Current   []current `json:"current"`
}

type stop struct {
	By    string `json:"by"`
	Why   string `json:"why,omitempty"`
	Until string `json:"until,omitempty"` // time; it is not there for one that somebody has to end
	Line  int    `json:"line"`
}

func stopOf(s environment.Stop) *stop {
	out := &stop{s.By.String(), s.Why, "", s.Line}
	if !s.Until.IsZero() {
		out.Until = stamp(s.Until)
	}
	return out
}

type current struct {
	Component string    `json:"component"`
	Version   string    `json:"version"`
	In        string    `json:"in"` // the environment itself, or one further on
	Entered   time.Time `json:"entered"`
	Line      int       `json:"line"`
	Pinned    bool      `json:"pinned,omitempty"`
}

func (s *Site) environments(_ context.Context, st *state, _ url.Values) (any, error) {
	out := listing{Log: st.position()}
	if gone := s.Gone(); !gone.IsZero() {
		out.UnreachableSince = stamp(gone)
	}
	for _, rule := range st.rules.Stages {
		v := st.views[rule.Name].look()
		e := stage{Name: rule.Name, From: rule.From, Overwrite: rule.Overwrite, Current: []current{}}
		if frozen, ok := st.Frozen(rule.Name, s.o.Now()); ok {
			e.Frozen = stopOf(frozen)
		}
		for _, c := range v.components {
			e.Versions += len(c.Versions)
			if now := c.Current; now != nil {
				e.Current = append(e.Current, current{c.Name, now.Version, now.Stage, now.Entered, now.Line, c.Pinned})
			}
		}
		out.Environments = append(out.Environments, e)
	}
	return out, nil
}

type releases struct {
	Log      position `json:"log"`
	Releases []listed `json:"releases"`
	Next     string   `json:"next,omitempty"` // after of the next page
}

// listed is a version.
type listed struct {
	Component string          `json:"component"`
	Version   string          `json:"version"`
	In        string          `json:"in"` // the furthest environment that has it itself
	Entered   time.Time       `json:"entered"`
	Line      int             `json:"line"`
	Commit    string          `json:"commit"`
	Manifest  artifact.Digest `json:"manifest"`
	CurrentIn []string        `json:"currentIn"` // environments
	PinnedIn  []string        `json:"pinnedIn"`
	Withdrawn *stop           `json:"withdrawn,omitempty"`
	Places    []string        `json:"places"`
	Images    []image         `json:"images"`
	Charts    []chart         `json:"charts"`
}

type image struct {
	Repository string          `json:"repository"`
	Distro     string          `json:"distro"`
	Default    bool            `json:"default,omitempty"`
	Digest     artifact.Digest `json:"digest"`
}

type chart struct {
	Repository string          `json:"repository"`
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Digest     artifact.Digest `json:"digest"`
}

// listedOf is a version as the interface and the pages show it.
func (st *state) listedOf(seen environment.Seen) listed {
	e := st.entries[seen.Entry]
	out := listed{
		Component: seen.Component, Version: seen.Version, In: seen.Stage, Entered: seen.Entered, Line: seen.Line, Commit: seen.Commit, Manifest: seen.Manifest,
		CurrentIn: []string{}, PinnedIn: []string{}, Places: e.Places, Images: []image{}, Charts: []chart{},
	}
	for _, rule := range st.rules.Stages {
		if c := st.views[rule.Name].look().byName[seen.Component]; c != nil && c.Current != nil && c.Current.Version == seen.Version {
			out.CurrentIn = append(out.CurrentIn, rule.Name)
			if c.Pinned {
				out.PinnedIn = append(out.PinnedIn, rule.Name)
			}
		}
	}
	if seen.Withdrawn != nil {
		out.Withdrawn = stopOf(*seen.Withdrawn)
	}
	for _, im := range e.Images {
		out.Images = append(out.Images, image(im))
	}
	for _, c := range e.Charts {
		out.Charts = append(out.Charts, chart(c))
	}
	return out
}

// union is the view that sees whatever is in any environment.
func (st *state) union() *view { return st.views[st.rules.Stages[0].Name].look() }

func (s *Site) releases(_ context.Context, st *state, q url.Values) (any, error) {
	v := st.union()
	if name := q.Get("environment"); name != "" {
		var err error
		if _, v, err = s.stage(name); err != nil {
			return nil, bad("environment: %v", err)
		}
		if v.state != st { // which has moved on since
			v = st.views[name].look()
		}
	}
	if name := q.Get("component"); name != "" && !slices.Contains(st.components, name) {
		return nil, bad("component: there is no %.60q", name)
	}
	from, err := st.cursor("releases", q.Get("after"))
	if err != nil {
		return nil, err
	}
	begun := cursor{list: "releases", line: st.Count, digest: st.Digest}
	if from.list != "" {
		begun = from
	}
	out := releases{Log: st.position(), Releases: []listed{}}
	after, _ := version.Parse(from.last[1])
	for _, c := range v.components {
		if name := q.Get("component"); name != "" && name != c.Name || c.Name < from.last[0] {
			continue
		}
		for _, seen := range c.Versions {
			if c.Name == from.last[0] && !behind(seen.Version, after, from.last[1]) {
				continue
			}
			if text := q.Get("q"); text != "" && !strings.Contains(c.Name+" "+seen.Version, text) {
				continue
			}
			is := st.listedOf(seen)
			if !is.so(q.Get("state"), q.Get("environment")) {
				continue
			}
			if len(out.Releases) == limit(q) {
				last := out.Releases[len(out.Releases)-1]
				begun.last = [2]string{last.Component, last.Version}
				out.Next = begun.String()
				return out, nil
			}
			out.Releases = append(out.Releases, is)
		}
	}
	return out, nil
}

// behind reports whether a version comes after another one in a list.
func behind(text string, last version.Version, lastText string) bool {
	v, _ := version.Parse(text) // which was looked at when it was added
	return cmp.Or(last.Compare(v), cmp.Compare(text, lastText)) > 0
}

// so reports whether a version is in a state, in an environment or, for "", in any.
func (l listed) so(state, env string) bool {
	in := func(all []string) bool { return slices.Contains(all, env) || env == "" && len(all) > 0 }
	switch state {
	case "current":
		return in(l.CurrentIn)
	case "pinned":
		return in(l.PinnedIn)
	case "withdrawn":
		return l.Withdrawn != nil
	}
	return true
}

type moves struct {
	Log   position `json:"log"`
	Moves []line   `json:"moves"`
	Next  string   `json:"next,omitempty"` // after of the next page
}

// line is one of the log.
type line struct {
	Line    int       `json:"line"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	By      string    `json:"by"`
	Why     string    `json:"why,omitempty"`
	Request string    `json:"request"`
	Rules   string    `json:"rules,omitempty"` // commit
	Moves   []move    `json:"moves"`
	Until   string    `json:"until,omitempty"` // time
	Report  *report   `json:"report,omitempty"`
}

type report struct {
	Kind string `json:"kind"`
	Good bool   `json:"good"`
}

type move struct {
	Component string          `json:"component,omitempty"`
	Version   string          `json:"version,omitempty"`
	From      string          `json:"from,omitempty"`
	To        string          `json:"to,omitempty"`
	Left      []string        `json:"left,omitempty"`
	Manifest  artifact.Digest `json:"manifest,omitempty"`
}

func lineOf(l environment.Line) line {
	out := line{Line: l.N, Time: l.Time, Kind: string(l.Kind), By: l.By.String(), Why: l.Why, Request: l.Request, Rules: l.Rules, Moves: []move{}}
	if !l.Until.IsZero() {
		out.Until = stamp(l.Until)
	}
	if l.Report != nil {
		out.Report = &report{l.Report.Kind, l.Report.Good}
	}
	for _, m := range l.Moves {
		out.Moves = append(out.Moves, move{m.Component, m.Version, m.From, m.To, m.Left, m.Manifest})
	}
	return out
}

func (s *Site) moves(ctx context.Context, st *state, q url.Values) (any, error) {
	from, err := st.cursor("moves", q.Get("after"))
	if err != nil {
		return nil, err
	}
	n := st.Count + 1
	if from.list != "" {
		n = from.line
	}
	all, err := s.before(ctx, st, n, limit(q))
	if err != nil {
		return nil, err
	}
	out := moves{Log: st.position(), Moves: []line{}}
	for _, l := range all {
		out.Moves = append(out.Moves, lineOf(l))
	}
	if last := n - len(all); len(all) > 0 && last > 1 {
		out.Next = cursor{list: "moves", line: last, digest: st.At(last)}.String()
	}
	return out, nil
}

type decision struct {
	Log       position  `json:"log"`
	Component string    `json:"component"`
	Version   string    `json:"version"`
	To        string    `json:"to"`
	Allowed   bool      `json:"allowed"`
	There     bool      `json:"there,omitempty"` // it is in there already
	Rules     []outcome `json:"rules"`
}

type outcome struct {
	Rule   string `json:"rule"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what would change it
}

func (s *Site) why(_ context.Context, st *state, q url.Values) (any, error) {
	if _, err := st.rules.Stage(q.Get("to")); err != nil {
		return nil, bad("to: %v", err)
	}
	return s.decide(st, q.Get("component"), q.Get("version"), q.Get("to"))
}

// decide asks the rules about a promotion.
func (s *Site) decide(st *state, component, version, to string) (decision, error) {
	now := s.o.Now().UTC().Truncate(time.Second)
	q := environment.Request{
		At: now, Expires: now.Add(time.Minute), Kind: environment.Promote, To: to,
		Items: []environment.Item{{Component: component, Version: version}},
	}
	a, err := environment.Foresee(st.State, st.rules, st.rulesCommit, q, now, func(h environment.Held, _ string) (environment.Entry, error) {
		return *st.entries[h.Entry], nil
	})
	if fault.CodeOf(err) == fault.Usage {
		return decision{}, status{http.StatusNotFound, err.Error()}
	}
	if err != nil {
		return decision{}, err
	}
	out := decision{Log: st.position(), Component: component, Version: version, To: to, Allowed: !a.Refused() && !a.Nothing, There: a.Nothing, Rules: []outcome{}}
	for _, o := range a.Outcomes {
		out.Rules = append(out.Rules, outcome{o.Rule, o.OK, o.Detail, o.Fix})
	}
	return out, nil
}

type comparison struct {
	Log         position     `json:"log"`
	Component   string       `json:"component"`
	From        string       `json:"from"`
	To          string       `json:"to"`
	Differences []Difference `json:"differences"`
	Same        []string     `json:"same"`
	Here        bool         `json:"here"` // the bytes of both are here, so that more than their entries was compared
}

func (s *Site) diff(ctx context.Context, st *state, q url.Values) (any, error) {
	return s.compare(ctx, st, q.Get("component"), q.Get("from"), q.Get("to"))
}

// compare says what differs between two versions: by their entries, and by their bytes where these are here.
func (s *Site) compare(ctx context.Context, st *state, component, from, to string) (comparison, error) {
	out := comparison{Log: st.position(), Component: component, From: from, To: to, Differences: []Difference{}, Same: []string{}}
	before, e, ok := st.union().version(component, from)
	after, f, ok2 := st.union().version(component, to)
	if !ok || !ok2 {
		missing := from
		if ok {
			missing = to
		}
		return out, status{http.StatusNotFound, fmt.Sprintf("%.60s %.60s is in no environment", component, missing)}
	}
	add := func(title string, a, b map[string]string) {
		d := Difference{Title: title, Rows: []Row{}}
		for _, name := range slices.Sorted(maps.Keys(union(a, b))) {
			if a[name] != b[name] {
				d.Rows = append(d.Rows, Row{name, a[name], b[name]})
			}
		}
		if len(d.Rows) > 0 {
			out.Differences = append(out.Differences, d)
		} else {
			out.Same = append(out.Same, strings.ToLower(title))
		}
	}
	add("Source", map[string]string{"commit": e.Commit, "signed by": e.Signed.String()}, map[string]string{"commit": f.Commit, "signed by": f.Signed.String()})
	add("Digests", digests(e), digests(f))
	a, b := s.shelf.Find(component, from, before.Manifest), s.shelf.Find(component, to, after.Manifest)
	if a == nil || b == nil {
		return out, nil
	}
	more, same, err := b.Differences(ctx, a)
	out.Differences, out.Same, out.Here = append(out.Differences, more...), append(out.Same, same...), true
	return out, err
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// digests are those that an entry names, by what has them.
func digests(e *environment.Entry) map[string]string {
	all := map[string]string{"release.json": e.Manifest.Short()}
	for _, im := range e.Images {
		all["image "+im.Repository+" "+im.Distro] = im.Digest.Short()
	}
	for _, c := range e.Charts {
		all["chart "+c.Repository] = c.Digest.Short()
	}
	return all
}

// event is what a stream of events says: how far the log goes.
type event struct {
	Line   int             `json:"line"`
	Digest artifact.Digest `json:"digest"`
}

// Events calls send with a piece of a stream of events (https://html.spec.whatwg.org/multipage/server-sent-events.html) at its
// beginning, whenever the store has moved on, and now and then so that a client that is gone is noticed. It ends with ctx, with an
// error of send, or with an error before anything was sent where there are too many streams.
func (s *Site) Events(ctx context.Context, beat time.Duration, send func([]byte) error) error {
	if s.state.Load() == nil {
		return errStarting
	}
	s.mu.Lock()
	full := s.watched >= maxEvents
	if !full {
		s.watched++
	}
	s.mu.Unlock()
	if full {
		return status{http.StatusServiceUnavailable, "too many streams of events at once; try again"}
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watched--
	}()
	t := time.NewTicker(beat)
	defer t.Stop()
	said := position{}
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		text := ": still here\n\n"
		if at := s.state.Load().position(); at != said {
			b, err := json.Marshal(event{at.Line, at.Digest})
			if err != nil {
				return err
			}
			said, text = at, fmt.Sprintf("id: %d\nevent: state\ndata: %s\n\n", at.Line, b)
		}
		if err := send([]byte(text)); err != nil {
			return nil // who is gone is told nothing
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-t.C:
		}
	}
}
