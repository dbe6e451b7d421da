// Package environments shows what a release store says: for each environment a Helm repository, a registry, downloads and an install
// script, an interface for programs, and pages for people. It answers from memory, by a state that is replaced as a whole
// whenever the store moves on; when the store cannot be read it goes on with the last one, and says since when.
//
// It knows no connections: what it returns is an Answer, which the server that it is part of sends. The bytes of releases are
// those that the server has; what it does not have is where the entry says.
package environments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/internal/together"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Options say what is shown.
type Options struct {
	Store *store.Store // which nobody else reads from
	Index *index.Index // of the store, nil for none; nobody else reads from it either

	// Every is the time from one look at the store to the next; a second where it is zero.
	Every time.Duration

	// Hostnames are environments by the host at whose root they are shown too, in lower case and without a port.
	Hostnames map[string]string

	Packages string // folder with indexes of packages, which were signed; "" for none

	Folder bool             // there is a list of releases at /releases, too
	Style  string           // of the pages, as CSS
	Now    func() time.Time // the clock; time.Now where it is nil
	Log    *slog.Logger
}

// Shelf has releases with their bytes.
type Shelf interface {
	// Find is the release with that very manifest, nil where it is not here.
	Find(component, version string, manifest artifact.Digest) Release
	// Mark changes whenever a release has come or gone.
	Mark() int64
}

// Release is a release whose bytes are here.
type Release interface {
	Charts() []Chart
	// File is the path of a file, named by its path or, with flat, by the last part of that; "" for none.
	File(name string, flat bool) (string, error)
	// Blob is the path of the file with these bytes in a layout of images or signatures, "" for none.
	Blob(d artifact.Digest) (string, error)
	// Text is what a file of at most limit bytes has.
	Text(ctx context.Context, path string, limit int64) ([]byte, error)
	// Script is the path and the digest of the install script, "" for none.
	Script() (string, artifact.Digest)
	// Recipes are those that go to a publisher of that name: the paths of their files by where they are in a repository of recipes.
	Recipes(goes string) map[string]string
	// Differences are what differs from an earlier release, and what is the same.
	Differences(ctx context.Context, before Release) (all []Difference, same []string, err error)
}

// Chart is a chart of a release.
type Chart struct {
	Name, Version, Path string
	Digest              artifact.Digest // of the archive
	Created             time.Time
	Metadata            any // of its Chart.yaml, for JSON
}

// Row is a difference. Before is "" for what is new, After for what is gone.
type Row struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Difference is what differs in one respect.
type Difference struct {
	Title string `json:"title"`
	Rows  []Row  `json:"rows"`
	More  int    `json:"more,omitempty"` // that are not listed
}

// Answer is what is to be sent.
type Answer struct {
	Code     int // 0 for 200
	Kind     string
	Body     []byte
	ETag     string // with its quotes; "" for that of the body
	Location string
	Header   map[string]string // besides
	Volatile bool              // nobody may keep it
	Packed   *Packed           // the Body for who takes it compressed; nil for what is not sent again
	Script   bool              // it is a page with the script of this room

	Write func(io.Writer) error // writes what is sent in place of Body

	Release Release // in place of Body: its File, or its page where that is ""
	File    string
}

// status is an answer for people who asked for something that cannot be had.
type status struct {
	code int
	text string
}

func (s status) Error() string { return s.text }

// Code is the HTTP status of an error of this room, 500 for any other.
func Code(err error) int {
	var s status
	if errors.As(err, &s) {
		return s.code
	}
	return http.StatusInternalServerError
}

var (
	errNotFound = status{http.StatusNotFound, "there is nothing here"}
	errStarting = status{http.StatusServiceUnavailable, "the release store is being read; try again"}
)

// Site shows a store.
type Site struct {
	o     Options
	shelf Shelf
	state atomic.Pointer[state]
	lines lines

	signed  signed
	recipes recipes

	mu      sync.Mutex
	changed chan struct{} // closed when the state is replaced
	problem error         // of the last look
	since   time.Time     // when looking first failed, zero while it does not
	looks   int64
	failed  int64
	watched int // who is told of changes
}

// New is a site. Nothing is looked at before Run.
func New(o Options, shelf Shelf) *Site {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Site{
		o: o, shelf: shelf, changed: make(chan struct{}), signed: signed{reading: make(chan struct{}, indexReaders)},
		recipes: recipes{busy: make(chan struct{}, 1), changes: map[string]*changes{}, made: map[[2]string]*tap{}},
	}
}

// patience bounds one look at a store that does not answer.
const patience = 30 * time.Second

// Run follows the store until ctx is done.
func (s *Site) Run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.Look(ctx)
		t.Reset(s.o.Every)
	}
}

// Look reads the store, and replaces the state if it has moved on.
func (s *Site) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.o.Store.Read(ctx, func(v store.View) error {
		last := s.state.Load()
		if last != nil && last.Digest == v.State.Digest && last.rulesCommit == v.RulesCommit {
			return nil
		}
		next, err := s.take(ctx, v, last)
		if err == nil {
			s.replace(next)
		}
		return err
	})
	s.note(ctx, err)
	if err == nil {
		s.follow(ctx)
	}
}

// note keeps how a look went, and says it once.
func (s *Site) note(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	was := s.problem
	s.problem = err
	switch {
	case err != nil:
		s.failed++
		if s.since.IsZero() {
			s.since = s.o.Now()
		}
		if was == nil || was.Error() != err.Error() {
			s.o.Log.LogAttrs(ctx, slog.LevelWarn, "the release store cannot be read", slog.String("error", err.Error()))
		}
	case was != nil:
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "the release store can be read again", slog.Time("since", s.since))
		s.since = time.Time{}
	}
}

// Gone is since when the store cannot be read, zero where it can.
func (s *Site) Gone() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since
}

// Ready says why nothing can be shown, nil if it can.
func (s *Site) Ready() error {
	if s.state.Load() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.problem != nil {
			return errors.New("the release store cannot be read")
		}
		return errors.New("the release store has not been read yet")
	}
	return nil
}

// Mark changes whenever what is shown may have changed.
func (s *Site) Mark() any { return [2]any{s.state.Load(), s.shelf.Mark()} }

// Metric is a number for who watches the server.
type Metric struct {
	Name, Kind, Help, Labels string
	Value                    float64
}

// Metrics are what there is to watch.
func (s *Site) Metrics() []Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines, versions int
	if st := s.state.Load(); st != nil {
		lines, versions = st.Count, st.versions
	}
	gone := 0.0
	if !s.since.IsZero() {
		gone = s.o.Now().Sub(s.since).Seconds()
	}
	return []Metric{
		{"slipway_store_lines", "gauge", "Lines of the release store's log.", "", float64(lines)},
		{"slipway_store_versions", "gauge", "Versions that are in an environment.", "", float64(versions)},
		{"slipway_store_unreachable_seconds", "gauge", "Time since the release store could be read; 0 while it can.", "", gone},
		{"slipway_store_looks_total", "counter", "Times that the release store was looked at.", `{result="ok"}`, float64(s.looks - s.failed)},
		{"slipway_store_looks_total", "counter", "", `{result="error"}`, float64(s.failed)},
		{"slipway_event_streams", "gauge", "Streams of events that are open.", "", float64(s.watched)},
	}
}

func (s *Site) replace(next *state) {
	s.state.Store(next)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// state is what a store was at. It is never changed but for what is made of it when it is first asked for.
type state struct {
	*environment.State
	rules       environment.Rules
	rulesCommit string
	head        string // commit of the log
	entries     map[artifact.Digest]*environment.Entry
	blobs       map[string]artifact.Digest // of the entries, by the name that git gives their bytes
	components  []string
	versions    int // that are in a stage

	views map[string]*view // by stage
	made  sync.Map         // *made by what it is
}

// take makes a state of what the store is at.
func (s *Site) take(ctx context.Context, v store.View, last *state) (*state, error) {
	n := &state{
		State: v.State.Snapshot(), rules: v.Rules, rulesCommit: v.RulesCommit, head: s.o.Store.LogHead(),
		entries: map[artifact.Digest]*environment.Entry{}, blobs: map[string]artifact.Digest{}, views: map[string]*view{},
	}
	known := func(blob string) bool {
		if last == nil || last.blobs[blob] == "" {
			return false
		}
		d := last.blobs[blob]
		n.blobs[blob], n.entries[d] = d, last.entries[d]
		return true
	}
	var files [][]byte
	err := s.o.Store.Entries(ctx, known, func(blob string, file []byte) error {
		n.blobs[blob] = artifact.Sum(file)
		files = append(files, file)
		return nil
	})
	if err == nil {
		err = n.parse(files)
	}
	if err != nil {
		return nil, err
	}
	for _, stage := range v.Rules.Stages {
		n.views[stage.Name] = &view{state: n, stage: stage}
		for _, h := range n.In(stage.Name) {
			n.versions++
			if n.entries[h.Entry] == nil {
				return nil, fault.Errorf(fault.Mismatch, "no stage has the entry %s of %s %s: run slipway store check", h.Entry.Short(), h.Component, h.Version)
			}
		}
	}
	n.components = n.Components()
	for _, host := range s.o.Hostnames {
		if n.views[host] == nil {
			return nil, fault.Errorf(fault.Usage, "--hostname %s: the store has no such environment; it has %s", host, strings.Join(v.Rules.StageNames(), ", "))
		}
	}
	return n, nil
}

// parse adds entries, which are read by as many at once as there are processors: of all that is done before the first answer it
// takes the longest.
func (st *state) parse(files [][]byte) error {
	entries, errs := make([]environment.Entry, len(files)), make([]error, len(files))
	together.Each(len(files), func(i int) { entries[i], errs[i] = environment.ParseEntry(files[i]) })
	for i := range files {
		if errs[i] != nil {
			return errs[i]
		}
		st.entries[artifact.Sum(files[i])] = &entries[i]
	}
	return nil
}

// made is a document that is made once.
type made struct {
	once   sync.Once
	answer Answer
	err    error
}

// once makes an answer when it is first asked for. Where it has to do with bytes that are here it is made anew when these change.
func (s *Site) once(st *state, what string, make func() (Answer, error)) (Answer, error) {
	key := [2]any{what, s.shelf.Mark()}
	kept, ok := st.made.Load(key)
	if !ok {
		kept, _ = st.made.LoadOrStore(key, &made{})
	}
	m := kept.(*made)
	m.once.Do(func() {
		if m.answer, m.err = make(); m.err == nil {
			m.answer.ETag, m.answer.Packed = `"`+string(artifact.Sum(m.answer.Body))+`"`, new(Packed)
		}
	})
	return m.answer, m.err
}

// view is what the readers of an environment see.
type view struct {
	state *state
	stage environment.Stage

	once         sync.Once
	components   []*shown
	byName       map[string]*shown
	repositories map[string]*repository
}

// shown is what they see of a component.
type shown struct {
	Name     string
	Versions []environment.Seen // the highest first
	Current  *environment.Seen  // nil for none
	Pinned   bool
}

// look makes the view when it is first asked for.
func (v *view) look() *view {
	v.once.Do(func() {
		v.byName = map[string]*shown{}
		for _, name := range v.state.components {
			c := &shown{Name: name, Versions: v.state.View(v.state.rules, v.stage.Name, name)}
			if len(c.Versions) == 0 {
				continue
			}
			if current, pinned, ok := v.state.Current(v.state.rules, v.stage.Name, name); ok {
				c.Current, c.Pinned = &current, pinned
			}
			v.components, v.byName[name] = append(v.components, c), c
		}
		v.repositories = repositories(v)
	})
	return v
}

// version is one that is seen, and its entry.
func (v *view) version(component, version string) (environment.Seen, *environment.Entry, bool) {
	c := v.look().byName[component]
	if c == nil {
		return environment.Seen{}, nil, false
	}
	i := slices.IndexFunc(c.Versions, func(s environment.Seen) bool { return s.Version == version })
	if i < 0 {
		return environment.Seen{}, nil, false
	}
	return c.Versions[i], v.state.entries[c.Versions[i].Entry], true
}

// ordered are the versions that may be used, the current one first.
func (c *shown) ordered() []environment.Seen {
	var all []environment.Seen
	if c.Current != nil {
		all = append(all, *c.Current)
	}
	for _, v := range c.Versions {
		if v.Withdrawn == nil && (c.Current == nil || v.Version != c.Current.Version) {
			all = append(all, v)
		}
	}
	return all
}

// stage is the view of an environment.
func (s *Site) stage(name string) (*state, *view, error) {
	st := s.state.Load()
	if st == nil {
		return nil, nil, errStarting
	}
	v := st.views[name]
	if v == nil {
		return nil, nil, status{http.StatusNotFound, fmt.Sprintf("there is no environment %.60q; there is %s", name, strings.Join(st.rules.StageNames(), ", "))}
	}
	return st, v.look(), nil
}
