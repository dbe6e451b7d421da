package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/registry"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// stand is a registry behind faults.
type stand struct {
	*registrytest.Registry
	faults *fixture.Faults
	host   string
}

func newStand(t testing.TB, o registrytest.Options) *stand {
	t.Helper()
	s := &stand{Registry: registrytest.New(o), faults: &fixture.Faults{}}
	s.host = strings.TrimPrefix(s.faults.Serve(t, "registry", s), "http://")
	return s
}

// open writes a release of the version, signed, and opens it. Its two repositories share a layer.
func open(t testing.TB, version string) publish.Release {
	t.Helper()
	return releasetest.Signed(t, verifytest.Options{Version: version, Edit: hub(version), EditManifest: func(r *manifest.Release) {
		im := r.Images[0]
		if r.Version.IsStable() {
			r.Images[0].Floating = []string{"latest-alpine", "latest", major(version), minor(version)}
		}
		im.Repository = "ghcr.io/example/copy"
		r.Images = append(r.Images, im)
	}})
}

func major(v string) string { return strings.SplitN(v, ".", 2)[0] }
func minor(v string) string { return strings.Join(strings.SplitN(v, ".", 3)[:2], ".") }

type setting struct {
	auth   authn.Authenticator
	dryRun func(wire.Request)
	base   http.RoundTripper
}

func (s *stand) destination(t testing.TB, rel publish.Release, o setting) *registry.Destination {
	t.Helper()
	d, err := registry.New(registry.Options{
		Release: rel, Host: s.host, Auth: o.auth,
		Transport: wire.New(wire.Options{
			Destination: s.host, Backoff: time.Millisecond, DryRun: o.dryRun, Simulate: registry.Simulate, Base: o.base,
			Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		}),
		Repositories: func(repository string) []string { return []string{strings.Replace(repository, "ghcr.io", s.host, 1)} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *stand) publish(t testing.TB, rel publish.Release, o setting) (publish.Result, error) {
	t.Helper()
	return publish.Run(t.Context(), []publish.Target{{Name: "registry", Wave: publish.Registries, Destination: s.destination(t, rel, o)}}, publish.Options{
		DryRun: o.dryRun != nil,
		Pause:  func(ctx context.Context, _ int) error { return ctx.Err() },
	})
}

func TestPublish(t *testing.T) {
	rel := open(t, "1.2.3")
	for name, o := range map[string]registrytest.Options{
		"lists referrers": {Referrers: true}, "lists them in pages": {Referrers: true, Page: 1}, "keeps no lists": {}, "mounts nothing": {NoMount: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, o)
			if _, err := s.publish(t, rel, setting{}); err != nil {
				t.Fatal(err)
			}
			state := s.State()
			im := rel.Manifest.Images[0]
			for _, want := range []string{
				"example/hello tag 1.2.3-alpine " + string(im.Digest), "example/hello tag latest " + string(im.Digest),
				"example/copy tag 1.2.3-alpine", "example/charts/hello tag 1.2.3 ", "example/charts/hello tag artifacthub.io ",
				"example/hello tag sha256-" + im.Digest.Hex() + ".sig",
			} {
				if !strings.Contains(state, want) {
					t.Errorf("there is no %q in\n%s", want, state)
				}
			}
			if lists := strings.Contains(state, "tag sha256-"+im.Digest.Hex()+" "); lists == o.Referrers {
				t.Errorf("a list of referrers under a tag: %v", lists)
			}
			s.faults.Forget()
			result, err := s.publish(t, rel, setting{})
			if err != nil || result.Changed || len(fixture.Changes(s.faults.Seen())) > 0 {
				t.Errorf("a second time: changed %v, %v, %q", result.Changed, err, fixture.Changes(s.faults.Seen()))
			}
		})
	}
}

// A blob is sent to a registry once; other repositories mount it.
func TestBlobsAreSentOnce(t *testing.T) {
	s := newStand(t, registrytest.Options{Referrers: true})
	if _, err := s.publish(t, open(t, "1.2.3"), setting{}); err != nil {
		t.Fatal(err)
	}
	sent, mounted := map[string]int{}, 0
	for _, r := range s.faults.Seen() {
		if r.Method == http.MethodPut && strings.Contains(r.URL, "/blobs/uploads/") {
			_, digest, _ := strings.Cut(r.URL, "digest=")
			sent[digest]++
		}
		if r.Method == http.MethodPost && strings.Contains(r.URL, "mount=") && r.Status == http.StatusCreated {
			mounted++
		}
	}
	for digest, n := range sent {
		if n != 1 {
			t.Errorf("%s was sent %d times", digest, n)
		}
	}
	if mounted == 0 || len(sent) == 0 {
		t.Errorf("%d blobs were mounted and %d sent", mounted, len(sent))
	}
}

func TestDryRun(t *testing.T) {
	rel := open(t, "1.2.3")
	for _, o := range []registrytest.Options{{Referrers: true}, {}} {
		s := newStand(t, o)
		var told []string
		empty := s.State()
		if _, err := s.publish(t, rel, setting{dryRun: func(r wire.Request) { told = append(told, r.Method+" "+strings.TrimPrefix(r.URL, "http://"+s.host)) }}); err != nil {
			t.Fatal(err)
		}
		if s.State() != empty || len(fixture.Changes(s.faults.Seen())) > 0 {
			t.Fatalf("a dry run changed something: %s", s.State())
		}
		s.faults.Forget()
		if _, err := s.publish(t, rel, setting{}); err != nil {
			t.Fatal(err)
		}
		if got, want := normal(told), normal(fixture.Changes(s.faults.Seen())); !slices.Equal(got, want) {
			t.Errorf("a dry run tells of %d requests and the real one makes %d:\n%s", len(got), len(want), differ(got, want))
		}
	}
}

// differ is what only one of two sorted lists has.
func differ(a, b []string) string {
	count := map[string]int{}
	for _, s := range a {
		count[s]--
	}
	for _, s := range b {
		count[s]++
	}
	var out []string
	for s, n := range count {
		if n != 0 {
			out = append(out, fmt.Sprintf("%+d %s", n, s))
		}
	}
	return strings.Join(out, "\n")
}

// normal sorts requests, without the names of upload sessions and the form in which a URL is escaped.
func normal(requests []string) []string {
	var out []string
	for _, r := range requests {
		path, query, _ := strings.Cut(r, "?")
		if i := strings.Index(path, "/blobs/uploads/"); i >= 0 {
			path = path[:i+len("/blobs/uploads/")]
		}
		out = append(out, path+"?"+strings.ReplaceAll(strings.ReplaceAll(query, "%3A", ":"), "%2F", "/"))
	}
	slices.Sort(out)
	return out
}

// A name that other bytes have is refused before anything is sent.
func TestTaken(t *testing.T) {
	s := newStand(t, registrytest.Options{Referrers: true})
	if _, err := s.publish(t, open(t, "1.2.3"), setting{}); err != nil {
		t.Fatal(err)
	}
	before := s.State()
	s.faults.Forget()
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, verifytest.Options{Version: "1.2.3", EditDocument: func(kind string, b []byte) []byte {
		if kind == "index" {
			return []byte(strings.Replace(string(b), "{", `{"annotations":{"other":"bytes"},`, 1))
		}
		return b
	}}); err != nil {
		t.Fatal(err)
	}
	other, err := publish.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.publish(t, other, setting{}); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "1.2.3-alpine is taken") {
		t.Errorf("other bytes under the same name: %v", err)
	}
	if s.State() != before || len(fixture.Changes(s.faults.Seen())) > 0 {
		t.Errorf("something was changed: %q", fixture.Changes(s.faults.Seen()))
	}
}

// Names that move go to the highest version that they speak of, in whatever order versions come.
func TestMovingNames(t *testing.T) {
	s := newStand(t, registrytest.Options{Referrers: true, Page: 2})
	digests := map[string]string{}
	for _, v := range []string{"1.2.8", "2.0.0", "1.2.9", "2.1.0-rc.1"} {
		rel := open(t, v)
		digests[v] = string(rel.Manifest.Images[0].Digest)
		if _, err := s.publish(t, rel, setting{}); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
	}
	for name, v := range map[string]string{
		"latest": "2.0.0", "latest-alpine": "2.0.0", "2": "2.0.0", "2.0": "2.0.0", "1": "1.2.9", "1.2": "1.2.9", "2.1.0-rc.1-alpine": "2.1.0-rc.1",
	} {
		if got := s.Tag("example/hello", name); got != digests[v] {
			t.Errorf("%s is %s and not that of %s", name, got, v)
		}
	}
}

// Artifact Hub's metadata go with the highest version of the chart, which is not that of the release where it has one of its own.
func TestHubOfOwnVersion(t *testing.T) {
	s := newStand(t, registrytest.Options{Referrers: true})
	hub := ""
	for _, step := range []struct {
		version, chart string
		moves          bool
	}{{"1.2.3", "10.0.0", true}, {"1.2.4", "10.0.1", true}, {"20.0.0", "10.0.0-1", false}} {
		rel := releasetest.Open(t, verifytest.Options{
			Version: step.version,
			Edit: func(files map[string][]byte) {
				files["charts/artifacthub-repo.yml"] = []byte("owners:\n  - name: example\n    email: " + step.chart + "@example.com\n")
			},
			EditManifest: func(r *manifest.Release) {
				r.Requires = []string{manifest.ChartVersions}
				r.Charts[0].Version = step.chart
			},
		})
		if _, err := s.publish(t, rel, setting{}); err != nil {
			t.Fatalf("%s: %v", step.version, err)
		}
		was := hub
		if hub = s.Tag("example/charts/hello", "artifacthub.io"); (hub != was) != step.moves {
			t.Errorf("with chart %s of release %s the metadata move: %t", step.chart, step.version, hub != was)
		}
	}
}

func TestCredentials(t *testing.T) {
	rel := open(t, "1.2.3")
	s := newStand(t, registrytest.Options{User: "robot", Password: "secret", Private: true})
	if _, err := s.publish(t, rel, setting{auth: &authn.Basic{Username: "robot", Password: "wrong"}}); fault.CodeOf(err) != fault.Credentials || strings.Contains(err.Error(), "wrong") && strings.Contains(err.Error(), "robot:wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := s.publish(t, rel, setting{auth: &authn.Basic{Username: "robot", Password: "secret"}}); err != nil {
		t.Errorf("the right password: %v", err)
	}
	s.Expire()
	if _, err := s.publish(t, rel, setting{auth: &authn.Basic{Username: "robot", Password: "secret"}}); fault.CodeOf(err) != fault.Credentials {
		t.Errorf("tokens that are not good any more: %v (%d)", err, fault.CodeOf(err))
	}
}

// What a registry lost after it was staged is found when it is read back, and sent again.
func TestLostBlob(t *testing.T) {
	rel := open(t, "1.2.3")
	s := newStand(t, registrytest.Options{Referrers: true})
	d := s.destination(t, rel, setting{})
	if err := d.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := s.State()
	var lost string
	for line := range strings.Lines(whole) {
		if strings.HasPrefix(line, "example/hello blob") {
			lost = strings.Fields(line)[2]
		}
	}
	s.Drop("example/hello", lost)
	items, err := d.Look(t.Context(), publish.Read)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(items, func(it publish.Item) bool { return it.Phase == publish.Stage && it.State == publish.Missing }) {
		t.Fatalf("%s was lost and nobody noticed", lost)
	}
	if err := d.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.State() != whole {
		t.Error("it was not sent again")
	}
}

// A registry that answers with what is no digest is not believed, and nothing is sent to it.
func TestMalformedDigest(t *testing.T) {
	rel := open(t, "1.2.3")
	for _, bad := range []string{"sha256:../../etc/passwd", "sha512:" + strings.Repeat("a", 128), "sha256:" + strings.Repeat("A", 64), "x"} {
		s := newStand(t, registrytest.Options{Referrers: true})
		inner := s.Registry
		s.host = strings.TrimPrefix(s.faults.Serve(t, "registry", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Docker-Content-Digest", bad)
				return
			}
			inner.ServeHTTP(w, r)
		})), "http://")
		_, err := s.publish(t, rel, setting{})
		if fault.CodeOf(err) != fault.Transient || !strings.Contains(fmt.Sprint(err), "lower-case hex digits") || len(fixture.Changes(s.faults.Seen())) > 0 {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
}

// A registry that forgot an upload gets another one, and one that forgets them all is given up.
func TestForgottenUploads(t *testing.T) {
	rel := open(t, "1.2.3")
	for _, c := range []struct {
		forgets int
		code    fault.Code
	}{{2, fault.OK}, {1 << 30, fault.Transient}} {
		s := newStand(t, registrytest.Options{Referrers: true})
		inner, puts := s.Registry, atomic.Int64{}
		s.host = strings.TrimPrefix(s.faults.Serve(t, "registry", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/") && puts.Add(1) <= int64(c.forgets) {
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(`{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}`))
				return
			}
			inner.ServeHTTP(w, r)
		})), "http://")
		_, err := s.publish(t, rel, setting{})
		if fault.CodeOf(err) != c.code || puts.Load() > 2000 {
			t.Errorf("%d uploads are forgotten: %v after %d", c.forgets, err, puts.Load())
		}
	}
}

// Whatever happens to any one request, the same command again ends where a clean run does.
func TestEveryFault(t *testing.T) {
	rel := open(t, "1.2.3")
	for _, o := range []registrytest.Options{{Referrers: true}, {}} {
		clean := newStand(t, o)
		if _, err := clean.publish(t, rel, setting{}); err != nil {
			t.Fatal(err)
		}
		n := len(clean.faults.Seen())
		want := clean.State()
		for _, f := range []fixture.Fault{
			fixture.BadGateway, fixture.BadAfter, fixture.TooMany, fixture.Unavailable, fixture.Reset,
			fixture.Lost, fixture.Cut, fixture.Unauthorized,
		} {
			step := fixture.Stride(43)
			for i := 1; i <= n; i += step {
				s := newStand(t, o)
				s.faults.Set(fixture.Nth(i, f))
				_, err := s.publish(t, rel, setting{})
				if err == nil && s.State() != want {
					t.Fatalf("%s at request %d: it succeeded with another state", f, i)
				}
				if err != nil && fault.CodeOf(err) != fault.Transient && fault.CodeOf(err) != fault.Credentials {
					t.Errorf("%s at request %d: %v", f, i, err)
				}
				s.faults.Set(nil)
				if _, err := s.publish(t, rel, setting{}); err != nil {
					t.Fatalf("%s at request %d, and again: %v", f, i, err)
				}
				if s.State() != want {
					t.Fatalf("%s at request %d, and again: another state", f, i)
				}
			}
		}
		t.Logf("%d requests, each with 8 faults", n)
	}
}
