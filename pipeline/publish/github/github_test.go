package github_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/github"
	"github.com/slipway-build/slipway/pipeline/publish/publishtest"
	"github.com/slipway-build/slipway/pipeline/publish/publishtest/githubtest"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/sign"
	"github.com/slipway-build/slipway/pipeline/verify/verifytest"
)

var every = flag.Bool("every", false, "try each fault at every request, which takes minutes")

// commit is that of the releases of package verifytest.
const commit = "0123456789abcdef0123456789abcdef01234567"

func open(t testing.TB, version string, edit func(map[string][]byte)) publish.Release {
	t.Helper()
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, verifytest.Options{Version: version, Edit: edit}); err != nil {
		t.Fatal(err)
	}
	key, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: key}); err != nil {
		t.Fatal(err)
	}
	rel, err := publish.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// stand is GitHub behind faults, with the repository example/hello.
type stand struct {
	*githubtest.Hub
	repo   *githubtest.Repo
	faults *publishtest.Faults
	url    string
	token  string
	waited []time.Duration
}

func newStand(t testing.TB, tags ...string) *stand {
	t.Helper()
	s := &stand{Hub: githubtest.New(), faults: &publishtest.Faults{}, token: githubtest.Token}
	s.repo = s.Add("example/hello", map[string]string{"README.md": "# Hello\n"})
	s.repo.Set(func(r *githubtest.Repo) { r.Discussions = []string{"Announcements"} })
	for _, tag := range tags {
		s.repo.Tag(tag, commit)
	}
	s.url = s.faults.Serve(t, "github", s)
	return s
}

func (s *stand) destination(t testing.TB, rel publish.Release, dryRun func(wire.Request)) *github.Destination {
	t.Helper()
	tr := wire.New(wire.Options{
		Destination: "github", Backoff: time.Millisecond, DryRun: dryRun, Simulate: github.Simulate,
		Sleep:       func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		Credentials: []wire.Credential{{Host: strings.TrimPrefix(s.url, "http://"), Value: func() string { return "Bearer " + s.token }}},
	})
	d, err := github.New(github.Options{Release: rel, Transport: tr, API: s.url, Owner: "example", Repo: "hello", Discussion: "Announcements"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *stand) publish(t testing.TB, rel publish.Release, dryRun func(wire.Request)) (publish.Result, error) {
	t.Helper()
	return publish.Run(t.Context(), []publish.Target{{Name: "github", Wave: publish.Releases, Destination: s.destination(t, rel, dryRun)}}, publish.Options{
		DryRun: dryRun != nil,
		Pause:  func(ctx context.Context, _ int) error { return ctx.Err() },
	})
}

func changes(seen []publishtest.Seen) []string {
	var out []string
	for _, s := range seen {
		if s.Changes() {
			out = append(out, s.Method+" "+s.URL)
		}
	}
	return out
}

func TestPublish(t *testing.T) {
	for name, set := range map[string]func(*githubtest.Repo){
		"mutable": func(*githubtest.Repo) {}, "immutable": func(r *githubtest.Repo) { r.Immutable = true }, "without digests": func(r *githubtest.Repo) { r.NoDigests = true },
	} {
		t.Run(name, func(t *testing.T) {
			rel := open(t, "1.2.3", nil)
			s := newStand(t, "v1.2.3")
			s.repo.Set(set)
			if _, err := s.publish(t, rel, nil); err != nil {
				t.Fatal(err)
			}
			state := s.State()
			for _, want := range []string{
				`name="v1.2.3" draft=false prerelease=false latest=true`, `discussion="Announcements"`,
				"asset hello_1.2.3_linux_amd64.tar.gz ", "asset SHA256SUMS ", "asset release.json ", "asset SHA256SUMS.sigstore.json ",
				"asset hello_1.2.3.intoto.jsonl ", "asset install.sh ",
			} {
				if !strings.Contains(state, want) {
					t.Errorf("there is no %q in\n%s", want, state)
				}
			}
			for _, unwanted := range []string{"asset hello ", "asset hello.rb", "asset report.html", "asset index.json", "asset oci-layout"} {
				if strings.Contains(state, unwanted) {
					t.Errorf("there is %q", unwanted)
				}
			}
			s.faults.Forget()
			if result, err := s.publish(t, rel, nil); err != nil || result.Changed || len(changes(s.faults.Seen())) > 0 {
				t.Errorf("a second time: %v, %v, %q", result.Changed, err, changes(s.faults.Seen()))
			}
		})
	}
}

var ids = regexp.MustCompile(`/releases/\d+`)

func TestDryRun(t *testing.T) {
	rel := open(t, "1.2.3", nil)
	s := newStand(t, "v1.2.3")
	before := s.State()
	var told []string
	if _, err := s.publish(t, rel, func(r wire.Request) { told = append(told, r.Method+" "+strings.TrimPrefix(r.URL, s.url)) }); err != nil {
		t.Fatal(err)
	}
	if s.State() != before || len(changes(s.faults.Seen())) > 0 {
		t.Fatal("a dry run changed something")
	}
	s.faults.Forget()
	if _, err := s.publish(t, rel, nil); err != nil {
		t.Fatal(err)
	}
	normal := func(list []string) string {
		var out []string
		for _, l := range list {
			out = append(out, ids.ReplaceAllString(strings.ReplaceAll(l, "%2B", "+"), "/releases/ID"))
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	}
	if got, want := normal(told), normal(changes(s.faults.Seen())); got != want {
		t.Errorf("a dry run tells of\n%s\nand the real one makes\n%s", got, want)
	}
}

// A tag that is not there, or is elsewhere, is refused before anything is made.
func TestTag(t *testing.T) {
	rel := open(t, "1.2.3", nil)
	s := newStand(t)
	if _, err := s.publish(t, rel, nil); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), "git push origin v1.2.3") {
		t.Errorf("without a tag: %v", err)
	}
	s.repo.Tag("v1.2.3", strings.Repeat("f", 40))
	if _, err := s.publish(t, rel, nil); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), commit) || !strings.Contains(err.Error(), strings.Repeat("f", 40)) {
		t.Errorf("a tag that moved: %v", err)
	}
	if len(changes(s.faults.Seen())) > 0 {
		t.Error("something was changed")
	}
}

func TestCredentials(t *testing.T) {
	rel := open(t, "1.2.3", nil)
	for name, spoil := range map[string]func(*stand){
		"a wrong token": func(s *stand) { s.token = "canary" },
		"may only read": func(s *stand) { s.repo.Set(func(r *githubtest.Repo) { r.ReadOnly = true }) },
	} {
		s := newStand(t, "v1.2.3")
		spoil(s)
		_, err := s.publish(t, rel, nil)
		if fault.CodeOf(err) != fault.Credentials || strings.Contains(fmt.Sprint(err), "canary") || len(changes(s.faults.Seen())) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Other bytes under a name of the release are never replaced, and a release that is public and immutable never added to.
func TestTaken(t *testing.T) {
	one, two := open(t, "1.2.3", nil), open(t, "1.2.3", func(files map[string][]byte) {
		for name, b := range files {
			if strings.HasSuffix(name, "linux_amd64.tar.gz") {
				files[name] = append(slices.Clone(b), 0)
			}
		}
	})
	for name, set := range map[string]func(*githubtest.Repo){
		"mutable": func(*githubtest.Repo) {}, "immutable": func(r *githubtest.Repo) { r.Immutable = true }, "without digests": func(r *githubtest.Repo) { r.NoDigests = true },
	} {
		s := newStand(t, "v1.2.3")
		s.repo.Set(set)
		if _, err := s.publish(t, one, nil); err != nil {
			t.Fatal(err)
		}
		before := s.State()
		s.faults.Forget()
		if _, err := s.publish(t, two, nil); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %v", name, err)
		}
		if s.State() != before || len(changes(s.faults.Seen())) > 0 {
			t.Errorf("%s: something was changed: %q", name, changes(s.faults.Seen()))
		}
	}
	s := newStand(t, "v1.2.3")
	s.repo.Set(func(r *githubtest.Repo) { r.Immutable = true })
	d := s.destination(t, one, nil)
	if err := d.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Flip(t.Context()); err != nil {
		t.Fatal(err)
	}
	more := open(t, "1.2.3", func(files map[string][]byte) { files["archives/more.tar.gz"] = []byte("more") })
	if _, err := s.publish(t, more, nil); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "immutable") {
		t.Errorf("an asset more: %v", err)
	}
}

// A draft that somebody wrote before is completed, with its words.
func TestDraftOfAPerson(t *testing.T) {
	rel := open(t, "1.2.3", nil)
	s := newStand(t, "v1.2.3")
	s.repo.Draft("v1.2.3", "Written by hand.", nil)
	if _, err := s.publish(t, rel, nil); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(s.State(), " release v1.2.3 target="); n != 1 {
		t.Errorf("%d releases of the tag", n)
	}
	for _, r := range s.faults.Seen() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL, "/releases") {
			t.Error("another draft was made")
		}
	}
	s = newStand(t, "v1.2.3")
	s.repo.Draft("v1.2.3", "Written by hand.", map[string]string{"SHA256SUMS": "of something else"})
	if _, err := s.publish(t, rel, nil); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a draft with other bytes: %v", err)
	}
}

// The latest is the highest stable version, whatever comes after it.
func TestLatest(t *testing.T) {
	s := newStand(t, "v1.2.8", "v2.0.0", "v1.2.9", "v2.1.0-rc.1")
	for _, v := range []struct{ version, latest string }{{"1.2.8", "v1.2.8"}, {"2.0.0", "v2.0.0"}, {"1.2.9", "v2.0.0"}, {"2.1.0-rc.1", "v2.0.0"}} {
		if _, err := s.publish(t, open(t, v.version, nil), nil); err != nil {
			t.Fatal(err)
		}
		if got := s.repo.Latest(); got != v.latest {
			t.Errorf("after %s the latest is %s", v.version, got)
		}
	}
	if !strings.Contains(s.State(), `name="v2.1.0-rc.1" draft=false prerelease=true`) {
		t.Error("a candidate is no prerelease")
	}
}

// An upload that breaks off leaves an asset that is none. It is removed and made again.
func TestStarter(t *testing.T) {
	rel := open(t, "1.2.3", nil)
	clean := newStand(t, "v1.2.3")
	if _, err := clean.publish(t, rel, nil); err != nil {
		t.Fatal(err)
	}
	s := newStand(t, "v1.2.3")
	s.repo.Set(func(r *githubtest.Repo) { r.Break = 3 })
	if err := s.destination(t, rel, nil).Stage(t.Context()); fault.CodeOf(err) != fault.Transient {
		t.Fatal(err)
	}
	if !strings.Contains(s.State(), " starter ") {
		t.Fatal("nothing broke off")
	}
	if _, err := s.publish(t, rel, nil); err != nil {
		t.Fatal(err)
	}
	if s.State() != clean.State() {
		t.Error("another state than after a clean run")
	}
}

// Whatever happens to any one request, the same command again ends where a clean run does.
func TestEveryFault(t *testing.T) {
	rel := open(t, "1.2.3", nil)
	clean := newStand(t, "v1.2.3")
	if _, err := clean.publish(t, rel, nil); err != nil {
		t.Fatal(err)
	}
	n, want := len(clean.faults.Seen()), clean.State()
	for _, f := range []publishtest.Fault{
		publishtest.BadGateway, publishtest.BadAfter, publishtest.TooMany, publishtest.Unavailable, publishtest.Reset,
		publishtest.Lost, publishtest.Cut, publishtest.Unauthorized,
	} {
		step := 5
		if testing.Short() {
			step = 23
		}
		if *every {
			step = 1
		}
		for i := 1; i <= n; i += step {
			s := newStand(t, "v1.2.3")
			s.faults.Set(publishtest.Nth(i, f))
			_, err := s.publish(t, rel, nil)
			if err == nil && s.State() != want {
				t.Fatalf("%s at request %d: it succeeded with another state:\n%s", f, i, s.State())
			}
			if code := fault.CodeOf(err); err != nil && code != fault.Transient && code != fault.Credentials {
				t.Errorf("%s at request %d: %v", f, i, err)
			}
			s.faults.Set(nil)
			if _, err := s.publish(t, rel, nil); err != nil {
				t.Fatalf("%s at request %d, and again: %v", f, i, err)
			}
			if s.State() != want {
				t.Fatalf("%s at request %d, and again: another state:\n%s\nwant\n%s", f, i, s.State(), want)
			}
		}
	}
	t.Logf("%d requests, each with 8 faults", n)
}

func TestAssets(t *testing.T) {
	for name, c := range map[string]struct {
		add  string
		want string
	}{
		"two of one name":  {"packages/x/hello_1.2.3_linux_amd64.tar.gz", "would both be hello_1.2.3_linux_amd64.tar.gz on GitHub"},
		"renamed to one":   {"archives/hello~1.2.3_linux_amd64.tar.gz", ""},
		"without a folder": {"archives/SHA256SUMS", "would both be SHA256SUMS on GitHub"},
	} {
		rel := open(t, "1.2.3", func(files map[string][]byte) { files[c.add] = []byte("x") })
		_, err := github.New(github.Options{Release: rel, Transport: wire.New(wire.Options{}), Owner: "example", Repo: "hello"})
		if c.want == "" && err != nil || c.want != "" && (fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
