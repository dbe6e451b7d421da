package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/admit"
	"github.com/slipway-build/slipway/pipeline/environment/pull"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// entering is what a release store is to a publishing: it decides what the names that move stand for, and gets the release.
type entering struct {
	store  *store.Store
	stage  string // that the release enters; "" for none
	public bool   // the release is in the environment that is for everybody
	owner  string // that environment
	pull   bool   // the stage is entered by pull request
	signer signature.Signer
	ask    *environment.Request // nil where nothing is to be asked for
}

// enters is the environment that a publishing adds the release to, "" for none, and whether names follow a store. A set of destinations
// or a file that is named on the command line has nothing to do with a store unless an environment is named as well; where neither is
// named, the set of the environment's name is taken if there is one.
func (c *publishChoices) enters(cfg config.Config) (stage string, follows bool) {
	follows = c.environment != "" || cfg.Environment.Store != "" && c.destinations == ""
	if stage = c.environment; stage == "" && follows && c.to == "" {
		stage = cfg.Environment.Enter
	}
	if _, ok := cfg.Destinations[stage]; ok && c.to == "" && c.destinations == "" {
		c.to = stage
	}
	return stage, follows
}

// prepareEntering reads the store and asks its rules whether they would take the release. Nothing is changed: a release that they refuse
// is not published either.
func (s *shipment) prepareEntering(ctx context.Context, stage string) error {
	e := &entering{stage: stage}
	var err error
	if e.store, err = s.app.openStore("", &s.config, nil); err != nil {
		return err
	}
	if key := s.config.Environment.Key; key != "" && stage != "" && !s.choices.status {
		source := sign.Source{Key: "env:" + key, LookupEnv: s.app.lookupEnv}
		if e.signer, err = source.Open(); err != nil {
			return err
		}
	}
	s.entering = e
	if stage != "" {
		s.where = append(s.where, s.app.storeRemote("", &s.config)) // who may not publish there may not enter it either
	}
	return s.tracker.Run("release store", "publish", func() (string, error) {
		var view store.View
		if err := e.store.Read(ctx, func(v store.View) error {
			view = v
			return e.look(v, s.config.Environment.Public, s)
		}); err != nil {
			return "", err
		}
		if stage == "" || s.choices.status {
			return "", nil
		}
		if e.ask == nil {
			return "it has the release", nil
		}
		entry, err := s.entry(ctx, view)
		if err != nil {
			return "", err
		}
		e.ask.Entries = []environment.Entry{entry}
		return "", e.allowed(ctx)
	})
}

// look finds out how the release stands in the store.
func (e *entering) look(v store.View, owner string, s *shipment) error {
	m := s.rel.Manifest
	if _, err := v.Rules.Component(m.Name); err != nil {
		return err
	}
	all := v.Rules.StageNames()
	e.owner = all[len(all)-1]
	if owner != "" {
		e.owner = owner
	}
	has := func(stage string) bool {
		return slices.ContainsFunc(v.State.View(v.Rules, stage, m.Name), func(seen environment.Seen) bool {
			return seen.Version == m.Version.String() && seen.Manifest == s.rel.Digest && seen.Withdrawn == nil
		})
	}
	for _, stage := range []string{e.owner, e.stage} {
		if stage == "" {
			continue
		}
		if _, err := v.Rules.Stage(stage); err != nil {
			return err
		}
	}
	e.public = has(e.owner)
	if e.stage != "" && !has(e.stage) {
		e.ask = &environment.Request{Kind: environment.Add, To: e.stage, Items: []environment.Item{{Component: m.Name, Version: m.Version.String()}}}
		e.pull = e.ask.ByPull(v.Rules)
	}
	return nil
}

// entry is the release as the store has it, after a look at who signed it.
func (s *shipment) entry(ctx context.Context, v store.View) (environment.Entry, error) {
	m := s.rel.Manifest
	places, err := s.places()
	if err != nil {
		return environment.Entry{}, err
	}
	c, err := v.Rules.Component(m.Name)
	if err != nil {
		return environment.Entry{}, err
	}
	by, err := admit.By(c, v.Keys, s.choices.trustedRoot)
	if err != nil {
		return environment.Entry{}, err
	}
	e, err := admit.Entry(ctx, s.rel.Dir, m.Name, m.Version.String(), by)
	e.Places = places
	return e, err
}

// places are the URLs at which the whole release will be.
func (s *shipment) places() ([]string, error) {
	m := s.rel.Manifest
	below := func(base string, names ...string) string {
		u, err := url.Parse(base)
		if err != nil {
			return base // it was read as a URL before
		}
		return u.JoinPath(append(names, "/")...).String()
	}
	var all []string
	if base := s.config.Environment.URL; base != "" {
		all = append(all, below(base, m.Name, m.Version.String()))
	}
	if repo := s.to.GitHub.RepositoryOf(s.config.Project); repo != "" && m.Tag != "" {
		all = append(all, strings.TrimSuffix(repo, ".git")+"/releases/download/"+github.Escape(m.Tag)+"/")
	}
	if s.to.Bucket.URL != "" {
		all = append(all, below(s.to.Bucket.URL, m.Version.String()))
	}
	if s.to.Folder != "" && len(all) == 0 {
		root, err := filepath.Abs(string(s.to.Folder))
		if err != nil {
			return nil, fault.New(fault.Usage, err)
		}
		all = append(all, (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(root, m.Name, m.Version.String())) + "/"}).String())
	}
	if len(all) == 0 {
		return nil, fault.Errorf(fault.Usage, "%s would have no place that the store can name: add a bucket with its url, a release on GitHub or a folder to the destinations, or environment.url to slipway.yaml", m.Version)
	}
	return all, nil
}

// allowed asks the rules, as the store will.
func (e *entering) allowed(ctx context.Context) error {
	q := *e.ask
	if e.signer != nil {
		q.By = environment.Identity{Key: string(e.signer.Public().Fingerprint())}
	}
	a, err := e.store.Try(ctx, q)
	if err != nil || e.pull && a.Passing() {
		return err
	}
	return e.refused(a)
}

// refused says what refuses the release, and what would change that.
func (e *entering) refused(a environment.Answer) error {
	if !a.Refused() {
		return nil
	}
	it := e.ask.Items[0]
	var why []string
	for _, o := range a.Outcomes {
		if !o.OK {
			why = append(why, fmt.Sprintf("%s: %s; %s", o.Rule, o.Detail, o.Fix))
		}
	}
	return fault.Errorf(a.Code, "%s does not take %s %s: %s", e.stage, it.Component, it.Version, strings.Join(why, "\n"))
}

// enter adds the release to the store.
func (s *shipment) enter(ctx context.Context) error {
	e := s.entering
	if e == nil || e.ask == nil {
		return nil
	}
	it := e.ask.Items[0]
	if s.choices.dryRun {
		would := map[bool]string{false: "added to", true: "proposed for"}[e.pull]
		_, err := fmt.Fprintf(s.app.stdout, "%s %s would be %s %s\n", it.Component, it.Version, would, e.stage)
		return err
	}
	if e.pull {
		return s.propose(ctx)
	}
	r, err := e.store.Ask(ctx, *e.ask, e.signer)
	if err == nil {
		err = e.refused(r.Answer)
	}
	if err != nil {
		return fmt.Errorf("%w\nthe release is published and is not in %s of the store; the same command adds it", err, e.stage)
	}
	if r.Nothing {
		return nil
	}
	_, err = fmt.Fprintf(s.app.stdout, "%s %s: %s -> %s (line %d)\n", it.Component, it.Version, environment.Outside, e.stage, r.Line)
	return err
}

// propose has the release enter the stage by pull request.
func (s *shipment) propose(ctx context.Context) error {
	e := s.entering
	it, page := e.ask.Items[0], ""
	r := pull.Request{Title: fmt.Sprintf("add %s %s to %s", it.Component, it.Version, e.stage)}
	p, err := e.store.Propose(ctx, *e.ask, func(branch, into string) []string {
		return r.Options(e.store.Remote(), branch, into, s.app.getenv)
	})
	switch {
	case err != nil:
	case p.Branch == "":
		err = e.refused(p.Answer)
	default:
		r.Branch, r.Into, r.Said = p.Branch, p.Onto, p.Said
		page, err = pull.Open(ctx, e.store.Remote(), r, s.app.getenv)
	}
	if err != nil {
		return fmt.Errorf("%w\nthe release is published and is not proposed for %s of the store; the same command proposes it", err, e.stage)
	}
	if p.Branch != "" {
		_, err = fmt.Fprintf(s.app.stdout, "branch %s proposes it for %s: %s\n", p.Branch, p.Onto, cmp.Or(page, "open a pull request of it"))
	}
	return err
}

// follow is when a store has a say in a destination.
type follow int

// What a destination has to do with a store.
const (
	apart    follow = iota // what it has is named by its version
	current                // it has the current version of an environment; the reconcile command sees to that
	everyone               // it offers a version to everybody
)

// waits reports whether the store keeps a release from a destination, now or always.
func (s *shipment) waits(f follow) bool {
	e := s.entering
	return e != nil && (f == current || f == everyone && !e.public)
}

// printWaiting says what was left to the store, of what the configuration names.
func (s *shipment) printWaiting() {
	if s.entering == nil {
		return
	}
	left := map[follow][]string{}
	for _, place := range s.to.Destinations(s.config.Project, nil) {
		for _, d := range destinations {
			if d.key == place.Kind && s.waits(d.follow) && !slices.Contains(left[d.follow], d.key) {
				left[d.follow] = append(left[d.follow], d.key)
			}
		}
	}
	if names := left[current]; len(names) > 0 {
		fmt.Fprintf(s.app.stdout, "%s: left to the reconcile command, which takes there what is the current version of %s\n", words.Line(strings.Join(names, ", ")), s.entering.owner)
	}
	if names := left[everyone]; len(names) > 0 {
		fmt.Fprintf(s.app.stdout, "%s: not before %s has this version; the same command publishes there then\n", words.Line(strings.Join(names, ", ")), s.entering.owner)
	}
}
