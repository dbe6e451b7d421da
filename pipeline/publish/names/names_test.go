package names_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/publish/names"
	"github.com/slipway-build/slipway/pipeline/publish/registry"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const stages = `version: 1
components:
  hello: {key: keys/lead.pub}
  other: {key: keys/lead.pub}
stages:
  - {name: snapshot, overwrite: always, current: newest, tags: [snapshot]}
  - {name: staging, overwrite: if-needed, leaves: [snapshot], tags: [staging, "staging-{major}"]}
  - {name: production, leaves: [staging, snapshot], current: stable, tags: [production, latest, "{major}", "{major}.{minor}"]}
`

// few has fewer tags.
var few = strings.NewReplacer(", tags: [snapshot]", "", `, tags: [staging, "staging-{major}"]`, "", `, "{major}.{minor}"`, "").Replace(stages)

// team is a release store without git, whose images are in a registry behind faults.
type team struct {
	t      testing.TB
	rules  environment.Rules
	state  *environment.State
	images *registrytest.Registry
	faults *fixture.Faults
	host   string
	files  map[artifact.Digest]environment.Entry
}

func newTeam(t testing.TB, rules string) *team {
	t.Helper()
	tm := &team{t: t, state: &environment.State{}, files: map[artifact.Digest]environment.Entry{}}
	var err error
	if tm.rules, err = environment.ParseRules(environment.RulesFile, []byte(rules)); err != nil {
		t.Fatal(err)
	}
	for name, c := range tm.rules.Components {
		c.Key = "sha256:lead"
		tm.rules.Components[name] = c
	}
	tm.serve(func(h http.Handler) http.Handler { return h })
	return tm
}

// serve has a new registry, with what stands in front of it.
func (tm *team) serve(front func(http.Handler) http.Handler) {
	tm.images, tm.faults = registrytest.New(registrytest.Options{Page: 2}), &fixture.Faults{}
	tm.host = strings.TrimPrefix(tm.faults.Serve(tm.t, "registry", front(tm.images)), "http://")
}

// image puts an image into the registry, by digest alone or under a name.
func (tm *team) image(repo, content, name string) artifact.Digest {
	tm.t.Helper()
	b := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"is":%q}}`, content)
	req, err := http.NewRequestWithContext(tm.t.Context(), http.MethodPut, "http://"+tm.host+"/v2/"+repo+"/manifests/"+cmp.Or(name, string(artifact.Sum([]byte(b)))), strings.NewReader(b))
	if err != nil {
		tm.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tm.t.Fatal(err)
	}
	said, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		tm.t.Fatalf("%s: %s", res.Status, said)
	}
	return artifact.Sum([]byte(b))
}

// ask has the rules decide, and wants them to allow it.
func (tm *team) ask(q environment.Request) {
	tm.t.Helper()
	now := time.Date(2026, 3, 2, 10, tm.state.Count, 0, 0, time.UTC)
	q.At, q.Expires = now, now.Add(time.Minute)
	a, err := environment.Decide(tm.state, tm.rules, strings.Repeat("a", 40), fmt.Sprintf("%032x", tm.state.Count+1), q, now)
	if err != nil || a.Refused() || a.Nothing {
		tm.t.Fatalf("%+v: %+v, %v", q, a.Outcomes, err)
	}
	if _, err := tm.state.Append(a.Line); err != nil {
		tm.t.Fatal(err)
	}
}

// add has a version enter, whose image is made on alpine, the default, and ubi. The image itself is put into the registry.
func (tm *team) add(component, v, to string) {
	tm.t.Helper()
	e := environment.Entry{
		Component: component, Version: v, Commit: strings.Repeat("c", 40), Manifest: artifact.Sum([]byte(component + v)),
		Signed: environment.Identity{Key: "sha256:lead"}, Places: []string{"https://releases.example.com/" + v + "/"},
	}
	for _, distro := range []string{"alpine", "ubi"} {
		e.Images = append(e.Images, environment.Image{
			Repository: "ghcr.io/example/" + component, Distro: distro, Default: distro == "alpine", Digest: tm.image("example/"+component, v+" "+distro, ""),
		})
	}
	b, err := e.Encode()
	if err != nil {
		tm.t.Fatal(err)
	}
	tm.files[artifact.Sum(b)] = e
	tm.ask(environment.Request{Kind: environment.Add, To: to, Items: []environment.Item{{Component: component, Version: v}}, Entries: []environment.Entry{e}})
}

func (tm *team) mark(kind environment.Kind, v, to string) {
	tm.t.Helper()
	tm.ask(environment.Request{Kind: kind, To: to, Why: "a test", Items: []environment.Item{{Component: "hello", Version: v}}})
}

// options are those of one who reconciles. Base may be nil.
func (tm *team) options(base http.RoundTripper) names.Options {
	host := tm.host
	return names.Options{
		Read: func(_ context.Context, f func(names.Store) error) error {
			return f(names.Store{State: tm.state, Rules: tm.rules, Entry: func(s environment.Seen) (environment.Entry, error) { return tm.files[s.Entry], nil }})
		},
		Repositories: func(_, repository string) []string { return []string{strings.Replace(repository, "ghcr.io", host, 1)} },
		Open: func(ctx context.Context, repository string) (names.Registry, error) {
			t := wire.New(wire.Options{
				Destination: host, Base: base, Backoff: time.Millisecond, Simulate: registry.Simulate,
				Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
			})
			return registry.OpenTags(ctx, repository, nil, t, true)
		},
		Pause: func(ctx context.Context, _ int) error { return ctx.Err() },
	}
}

func (tm *team) reconcile() names.Result {
	tm.t.Helper()
	r, err := names.Reconcile(tm.t.Context(), tm.options(nil))
	if err != nil {
		tm.t.Fatal(err)
	}
	return r
}

// tags are the names of a repository, each with the version that it stands for, those of ubi left out: they are held to those of
// alpine.
func (tm *team) tags(component string) string {
	tm.t.Helper()
	is := map[string]string{}
	for line := range strings.Lines(tm.images.State()) {
		f := strings.Fields(line)
		if f[0] != "example/"+component || f[1] != "tag" {
			continue
		}
		_, text, _ := strings.Cut(tm.images.Document(f[0], f[3]), `"is":"`)
		is[f[2]], _, _ = strings.Cut(text, `"`)
	}
	var all []string
	for _, tag := range slices.Sorted(maps.Keys(is)) {
		v, distro, _ := strings.Cut(is[tag], " ")
		if distro == "ubi" {
			if plain, ok := strings.CutSuffix(tag, "-ubi"); !ok || is[plain] != v+" alpine" {
				tm.t.Errorf("%s is %s", tag, is[tag])
			}
			continue
		}
		if is[tag+"-ubi"] == "" && !strings.HasSuffix(tag, "-alpine") {
			tm.t.Errorf("%s has no -ubi", tag)
		}
		if plain, ok := strings.CutSuffix(tag, "-alpine"); ok {
			if is[plain] != is[tag] {
				tm.t.Errorf("%s is %s and %s %s", tag, is[tag], plain, is[plain])
			}
			continue
		}
		all = append(all, tag+"="+v)
	}
	return strings.Join(all, " ")
}

// Names go where the store says: forward, back with a rollback, and never to what was withdrawn.
func TestFollows(t *testing.T) {
	tm := newTeam(t, stages)
	add := func(v, to string) func() { return func() { tm.add("hello", v, to) } }
	mark := func(kind environment.Kind, v, to string) func() { return func() { tm.mark(kind, v, to) } }
	for _, step := range []struct {
		what string
		do   func()
		want string
		left string
	}{
		{"a snapshot", add("1.2.1-snapshot.1.g0123456789ab", "snapshot"), "snapshot=1.2.1-snapshot.1.g0123456789ab", ""},
		{"a newer one that is lower", add("1.0.1-snapshot.9.g0123456789ab", "snapshot"), "snapshot=1.0.1-snapshot.9.g0123456789ab", ""},
		{"a candidate", add("1.2.0-rc.1", "staging"), "snapshot=1.2.0-rc.1 staging=1.2.0-rc.1 staging-1=1.2.0-rc.1", ""},
		{"a release", add("1.2.0", "production"), "1=1.2.0 1.2=1.2.0 latest=1.2.0 production=1.2.0 snapshot=1.2.0 staging=1.2.0 staging-1=1.2.0", ""},
		{"the next", add("2.0.0", "production"), "1=1.2.0 1.2=1.2.0 2=2.0.0 2.0=2.0.0 latest=2.0.0 production=2.0.0 snapshot=2.0.0 staging=2.0.0 staging-1=1.2.0 staging-2=2.0.0", ""},
		{"a backport", add("1.2.1", "production"), "1=1.2.1 1.2=1.2.1 2=2.0.0 2.0=2.0.0 latest=2.0.0 production=2.0.0 snapshot=1.2.1 staging=2.0.0 staging-1=1.2.1 staging-2=2.0.0", ""},
		{"a candidate among releases", add("2.1.0-rc.1", "production"), "1=1.2.1 1.2=1.2.1 2=2.0.0 2.0=2.0.0 latest=2.0.0 production=2.0.0 snapshot=2.1.0-rc.1 staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1", ""},
		{"a rollback", mark(environment.Rollback, "1.2.0", "production"), "1=1.2.0 1.2=1.2.0 2=2.0.0 2.0=2.0.0 latest=1.2.0 production=1.2.0 snapshot=2.1.0-rc.1 staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1", ""},
		{"what comes after a rollback", add("2.0.1", "production"), "1=1.2.0 1.2=1.2.0 2=2.0.1 2.0=2.0.1 latest=1.2.0 production=1.2.0 snapshot=2.0.1 staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1", ""},
		{"the end of a rollback", mark(environment.Release, "", "production"), "1=1.2.1 1.2=1.2.1 2=2.0.1 2.0=2.0.1 latest=2.0.1 production=2.0.1 snapshot=2.0.1 staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1", ""},
		{"a version withdrawn", mark(environment.Withdraw, "2.0.1", ""), "1=1.2.1 1.2=1.2.1 2=2.0.0 2.0=2.0.0 latest=2.0.0 production=2.0.0 snapshot=2.1.0-rc.1 staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1", ""},
		{
			"a line withdrawn", mark(environment.Withdraw, "2.0.0", ""), "1=1.2.1 1.2=1.2.1 2=2.0.0 2.0=2.0.0 latest=1.2.1 production=1.2.1 snapshot=2.1.0-rc.1 staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1",
			"hello in production: no version is the current one for 2, 2.0; what has these names keeps them",
		},
		{
			"all withdrawn", func() {
				for _, v := range []string{"1.2.0", "1.2.1", "2.1.0-rc.1", "1.2.0-rc.1"} {
					tm.mark(environment.Withdraw, v, "")
				}
			}, "1=1.2.1 1.2=1.2.1 2=2.0.0 2.0=2.0.0 latest=1.2.1 production=1.2.1 snapshot=1.0.1-snapshot.9.g0123456789ab staging=2.1.0-rc.1 staging-1=1.2.1 staging-2=2.1.0-rc.1",
			"hello in staging: no version is the current one for staging, staging-2, staging-1; what has these names keeps them\n" +
				"hello in production: no version is the current one for production, latest, 2, 1, 2.1, 2.0, 1.2; what has these names keeps them",
		},
		{
			"one restored", mark(environment.Restore, "1.2.0", ""), "1=1.2.0 1.2=1.2.0 2=2.0.0 2.0=2.0.0 latest=1.2.0 production=1.2.0 snapshot=1.2.0 staging=1.2.0 staging-1=1.2.0 staging-2=2.1.0-rc.1",
			"hello in staging: no version is the current one for staging-2; what has these names keeps them\n" +
				"hello in production: no version is the current one for 2, 2.1, 2.0; what has these names keeps them",
		},
	} {
		step.do()
		r := tm.reconcile()
		if got := tm.tags("hello"); got != step.want {
			t.Fatalf("%s: the names are\n%s\nand not\n%s", step.what, got, step.want)
		}
		if got := strings.Join(r.Left, "\n"); got != step.left {
			t.Errorf("%s: it says\n%s\nand not\n%s", step.what, got, step.left)
		}
		tm.faults.Forget()
		if r := tm.reconcile(); len(r.Names) > 0 || len(fixture.Changes(tm.faults.Seen())) > 0 {
			t.Errorf("%s: a second time moves %v", step.what, r.Names)
		}
	}
}

// What somebody moved by hand is found, told with the line of the log that says otherwise, and put right.
func TestDrift(t *testing.T) {
	tm := newTeam(t, stages)
	tm.add("hello", "1.2.0", "production")
	tm.add("hello", "1.3.0", "production")
	tm.add("other", "0.1.0", "snapshot")
	tm.mark(environment.Withdraw, "1.3.0", "")
	tm.reconcile()
	tm.image("example/hello", "stranger", "latest")
	drifted := tm.images.State()
	o := tm.options(nil)
	o.Check = true
	r, err := names.Reconcile(t.Context(), o)
	if err != nil || len(r.Names) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	n := r.Names[0]
	if n.Name != tm.host+"/example/hello:latest" || n.Component != "hello" || n.Version != "1.2.0" || n.Environment != "production" || n.Line != 4 || n.Pinned {
		t.Errorf("%+v", n)
	}
	if text := n.Drift(); text != fmt.Sprintf("%s/example/hello:latest is %s and should be %s: hello 1.2.0 in production (line 4)", tm.host, n.Is.Short(), n.ShouldBe.Short()) {
		t.Error(text)
	}
	if tm.images.State() != drifted {
		t.Error("a check moves something")
	}
	tm.mark(environment.Rollback, "1.2.0", "production")
	tm.mark(environment.Restore, "1.3.0", "")
	n.Line, n.Pinned = 5, true
	if r := tm.reconcile(); len(r.Names) == 0 || !slices.Contains(r.Names, n) || !strings.Contains(tm.tags("hello"), "latest=1.2.0") {
		t.Errorf("%+v", r)
	}
	// One component alone is followed where that is asked for.
	tm.image("example/hello", "stranger", "latest")
	o = tm.options(nil)
	o.Component = "other"
	if r, err := names.Reconcile(t.Context(), o); err != nil || len(r.Names) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	o.Component = "othr"
	if _, err := names.Reconcile(t.Context(), o); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), `did you mean "other"?`) {
		t.Error(err)
	}
}

// What cannot be moved is told, with the way out, and keeps nothing else from being moved.
func TestRefused(t *testing.T) {
	tm := newTeam(t, stages)
	tm.add("hello", "1.2.0", "production")
	tm.add("other", "0.1.0", "production")
	lacking := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/example/hello/") {
				http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	tm.serve(lacking)
	for _, distro := range []string{"alpine", "ubi"} {
		tm.image("example/other", "0.1.0 "+distro, "")
	}
	r, err := names.Reconcile(t.Context(), tm.options(nil))
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "/example/hello:latest: the registry does not have sha256:") ||
		!strings.Contains(err.Error(), "which hello 1.2.0 in production is made of (line 1 of the log): publish that release to this registry, or withdraw it") {
		t.Error(err)
	}
	if got := tm.tags("other"); !strings.Contains(got, "latest=0.1.0") || len(r.Names) != 21 {
		t.Errorf("%d names were moved: %s", len(r.Names), got)
	}
	for what, rules := range map[string]string{
		"a name of a version":   `"1.2.{major}"`,
		"a name of a signature": `"sha256-x"`,
	} {
		tm := newTeam(t, strings.Replace(stages, "tags: [snapshot]", "tags: ["+rules+"]", 1))
		tm.add("hello", "1.2.0", "snapshot")
		if _, err := names.Reconcile(t.Context(), tm.options(nil)); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", what, err)
		}
	}
	tm = newTeam(t, strings.Replace(stages, "tags: [snapshot]", "tags: [latest]", 1))
	tm.add("hello", "1.2.0", "production")
	tm.reconcile() // both mean the same
	tm.add("hello", "1.3.0-rc.1", "snapshot")
	tm.add("hello", "1.2.1", "staging")
	r, err = names.Reconcile(t.Context(), tm.options(nil))
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "/example/hello:latest is a name of hello in snapshot and of hello in production") {
		t.Error(err)
	}
	if got := tm.tags("hello"); !strings.Contains(got, "latest=1.2.0") || !strings.Contains(got, "staging=1.2.1") || len(r.Names) != 6 {
		t.Errorf("%d names were moved: %s", len(r.Names), got)
	}
}

// A registry that lies is not believed, and not asked for ever.
func TestLies(t *testing.T) {
	for name, c := range map[string]struct {
		front func(http.Handler) http.Handler
		want  string
	}{
		"it takes a name and does not keep it": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "sha256:") {
					w.WriteHeader(http.StatusCreated)
					return
				}
				h.ServeHTTP(w, r)
			})
		}, "does not stay where it was put"},
		"it says that a name stands for what it does not give for it": {func(h http.Handler) http.Handler {
			put := map[string]artifact.Digest{}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "sha256:"):
					b, _ := io.ReadAll(r.Body)
					put[r.URL.Path] = artifact.Sum(b)
					w.WriteHeader(http.StatusCreated)
				case r.Method == http.MethodHead && put[r.URL.Path] != "":
					w.Header().Set("Docker-Content-Digest", string(put[r.URL.Path]))
				default:
					h.ServeHTTP(w, r)
				}
			})
		}, "does not stay where it was put"},
		"it gives other bytes for a digest": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "sha256:") {
					w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
					fmt.Fprint(w, "{}")
					return
				}
				h.ServeHTTP(w, r)
			})
		}, "gives other bytes for sha256:"},
		"it answers with what is no digest": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					w.Header().Set("Docker-Content-Digest", "sha256:../../x")
					return
				}
				h.ServeHTTP(w, r)
			})
		}, "answers for"},
	} {
		t.Run(name, func(t *testing.T) {
			tm := newTeam(t, strings.Replace(stages, `, "{major}", "{major}.{minor}"`, "", 1))
			tm.serve(c.front)
			tm.add("hello", "1.2.0", "production")
			_, err := names.Reconcile(t.Context(), tm.options(nil))
			if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			if n := len(tm.faults.Seen()); n > 300 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Killed at any request, before the registry obeys and after, the next run ends where one without an end in between does.
func TestKilled(t *testing.T) {
	fixture.SkipRace(t)
	tm := newTeam(t, few)
	fill := func() {
		for _, v := range []string{"1.2.0", "2.0.0"} {
			for _, distro := range []string{"alpine", "ubi"} {
				tm.image("example/hello", v+" "+distro, "")
			}
		}
		for _, tag := range []string{"latest", "latest-alpine", "1"} { // as they were before
			tm.image("example/hello", "1.2.0 alpine", tag)
		}
		tm.faults.Forget()
	}
	tm.add("hello", "1.2.0", "production")
	tm.add("hello", "2.0.0", "production")
	again := func() { tm.serve(func(h http.Handler) http.Handler { return h }); fill() }
	again()
	tm.reconcile()
	want, requests := tm.images.State(), len(tm.faults.Seen())
	points := 0
	for n := 1; n <= requests; n += fixture.Stride(1) {
		for _, f := range []fixture.Fault{fixture.Kill, fixture.KillAfter} {
			again()
			ctx, kill := context.WithCancel(t.Context())
			tm.faults.Kill = kill
			tm.faults.Set(fixture.Nth(n, f))
			if _, err := names.Reconcile(ctx, tm.options(nil)); err == nil && n < requests {
				t.Errorf("%s at %d: it was not killed", f, n)
			}
			kill()
			tm.faults.Set(nil)
			tm.reconcile()
			if got := tm.images.State(); got != want {
				t.Fatalf("%s at %d: the registry has\n%s\nand not\n%s", f, n, got, want)
			}
			points++
		}
	}
	for n := 1; n <= requests; n += 2 * fixture.Stride(1) {
		for f := fixture.BadGateway; f < fixture.Unauthorized; f++ {
			again()
			tm.faults.Set(fixture.Nth(n, f))
			tm.reconcile()
			if got := tm.images.State(); got != want {
				t.Fatalf("%s at %d: the registry has\n%s\nand not\n%s", f, n, got, want)
			}
		}
	}
	t.Logf("%d requests, killed at %d points", requests, points)
}

// Two reconcile at once, and the store moves on meanwhile: whoever is held up with what the store said before writes it over the
// names, and takes it back.
func TestTwo(t *testing.T) {
	fixture.Interleave(t, 8, 20, func(t *testing.T) fixture.Rivals {
		tm := newTeam(t, few)
		build := func() *environment.State {
			tm.state = &environment.State{}
			tm.add("hello", "1.2.0", "production")
			tm.add("hello", "2.0.0", "production")
			return tm.state
		}
		older, newer := build(), build()
		tm.mark(environment.Rollback, "1.2.0", "production")
		var now atomic.Pointer[environment.State]
		now.Store(older)
		reconcile := func(turn *fixture.Turn) error {
			o := tm.options(turn.Base(registrytest.Where))
			o.Read = func(_ context.Context, f func(names.Store) error) error {
				defer turn.Next("store", false)()
				return f(names.Store{State: now.Load(), Rules: tm.rules, Entry: func(s environment.Seen) (environment.Entry, error) { return tm.files[s.Entry], nil }})
			}
			_, err := names.Reconcile(t.Context(), o)
			return err
		}
		return fixture.Rivals{
			Publish: [2]func(*fixture.Turn) error{reconcile, func(turn *fixture.Turn) error {
				done := turn.Next("store", true)
				now.Store(newer)
				done()
				return reconcile(turn)
			}},
			Back: func() (back []string) {
				for _, want := range strings.Fields("latest=1.2.0 production=1.2.0 1=1.2.0 2=2.0.0") {
					if !slices.Contains(strings.Fields(tm.tags("hello")), want) {
						back = append(back, want)
					}
				}
				return back
			},
		}
	})
}
