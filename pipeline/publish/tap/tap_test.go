package tap_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/githubtest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/tap"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// The files of a release in a tap, a bucket and a fork of winget's repository.
var (
	homebrewFiles = []string{"Casks/hello.rb", "Formula/hello.rb"}
	scoopFiles    = []string{"bucket/hello.json"}
	wingetFiles   = []string{
		"manifests/e/Example/hello/1.2.3/Example.hello.installer.yaml",
		"manifests/e/Example/hello/1.2.3/Example.hello.locale.en-US.yaml",
		"manifests/e/Example/hello/1.2.3/Example.hello.yaml",
	}
)

// rig is GitHub, a release and what stands between them.
type rig struct {
	t      *testing.T
	hub    *hub
	faults *fixture.Faults
	url    string
	token  string
	o      tap.Options
	dry    []string // what a dry run tells
	base   http.RoundTripper
}

// newRig has a tap, a bucket, and winget's repository with a fork, each with a commit.
func newRig(t *testing.T, o tap.Options) *rig {
	t.Helper()
	r := &rig{t: t, hub: newHub(t), faults: &fixture.Faults{}, token: githubtest.Token, o: o}
	r.url = r.faults.Serve(t, "github", r.hub)
	if r.o.Kind == "" {
		r.o.Kind = tap.Homebrew
	}
	if r.o.Owner == "" {
		r.o.Owner, r.o.Repo = "example", "homebrew-tap"
	}
	r.o.API, r.o.Committer, r.o.Email = r.url, "The Hello Authors", "hello@example.com"
	return r
}

func (r *rig) destination(dry bool) *tap.Destination {
	r.t.Helper()
	w := wire.Options{
		Destination: "tap", Base: r.base, Backoff: time.Millisecond,
		Sleep:       func(context.Context, time.Duration) error { return nil },
		Credentials: []wire.Credential{{Host: strings.TrimPrefix(r.url, "http://"), Value: func() string { return "Bearer " + r.token }}},
		Simulate:    tap.Simulate,
	}
	if dry {
		w.DryRun = func(req wire.Request) { r.dry = append(r.dry, req.Method+" "+strings.TrimPrefix(req.URL, r.url)) }
	}
	o := r.o
	o.Transport = wire.New(w)
	d, err := tap.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *rig) publish(ctx context.Context, dry bool) (publish.Result, error) {
	target := publish.Target{Name: "tap", Wave: publish.Managers, Destination: r.destination(dry)}
	return publish.Run(ctx, []publish.Target{target}, publish.Options{
		DryRun: dry, Pause: func(context.Context, int) error { return nil },
	})
}

// run publishes, and fails the test where that fails.
func (r *rig) run() publish.Result {
	r.t.Helper()
	result, err := r.publish(r.t.Context(), false)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// released publishes another release with the same options.
func (r *rig) released(rel publish.Release) *rig {
	r.t.Helper()
	other := *r
	other.o.Release = rel
	other.run()
	r.faults.Forget()
	return r
}

// changes are the requests that changed something, or tried to.
func (r *rig) changes() []string {
	var all []string
	for _, s := range r.faults.Seen() {
		if s.Changes() {
			all = append(all, s.Method+" "+s.URL)
		}
	}
	return all
}

func (r *rig) look(depth publish.Depth) []publish.Item {
	r.t.Helper()
	items, err := r.destination(false).Look(r.t.Context(), depth)
	if err != nil {
		r.t.Fatal(err)
	}
	return items
}

// states are how the items stand, in their order.
func states(items []publish.Item) string {
	var all []string
	for _, it := range items {
		all = append(all, string(it.State))
	}
	return strings.Join(all, " ")
}

// content is what the release has for a path in the repository.
func (r *rig) content(at string) string {
	r.t.Helper()
	for _, rec := range r.o.Release.Manifest.Recipes {
		if strings.HasSuffix(rec.Path, "/"+strings.TrimPrefix(at, "bucket/")) {
			b, err := os.ReadFile(r.o.Release.Path(rec.Path))
			if err != nil {
				r.t.Fatal(err)
			}
			return string(b)
		}
	}
	r.t.Fatalf("no recipe is for %s", at)
	return ""
}

// holds checks that a branch has the files of the release.
func (r *rig) holds(repo, branch string, files []string) {
	r.t.Helper()
	for _, at := range files {
		if got, ok := r.hub.repos[repo].File(branch, at); !ok || got != r.content(at) {
			r.t.Errorf("%s of %s has not the release's %s but %.200q", branch, repo, at, got)
		}
	}
}

// The first release into a tap that has none.
func TestPublish(t *testing.T) {
	for _, test := range []struct {
		kind  tap.Kind
		repo  string
		main  string // its default branch
		files []string
	}{
		{tap.Homebrew, "homebrew-tap", "main", homebrewFiles},
		{tap.Scoop, "scoop-bucket", "main", scoopFiles},
		{tap.Winget, "winget-pkgs", "master", wingetFiles},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{}), Kind: test.kind, Owner: "example", Repo: test.repo})
			before := r.hub.repos["example/"+test.repo].Tip(test.main)
			var names []string
			for _, it := range r.look(publish.Listed) {
				names = append(names, strings.TrimPrefix(it.Name, "example/"+test.repo+"/"))
				if it.State != publish.Missing || it.Phase != publish.Flip || it.Digest == "" || !strings.HasSuffix(it.URL, "/example/"+test.repo+"/blob/"+test.main+"/"+names[len(names)-1]) {
					t.Errorf("before: %+v", it)
				}
			}
			if !slices.Equal(names, test.files) {
				t.Errorf("items %q, want %q", names, test.files)
			}
			r.faults.Forget()
			if result := r.run(); !result.Changed {
				t.Error("nothing changed")
			}
			base := "/repos/example/" + test.repo + "/git/"
			if got, want := r.changes(), []string{"POST " + base + "trees", "POST " + base + "commits", "PATCH " + base + "refs/heads/" + test.main}; !slices.Equal(got, want) {
				t.Errorf("changing requests %q, want %q", got, want)
			}
			r.holds("example/"+test.repo, test.main, test.files)
			if readme, _ := r.hub.repos["example/"+test.repo].File(test.main, "README.md"); readme != "# Here\n" {
				t.Errorf("README.md is %q", readme)
			}
			c := r.hub.commit("example/"+test.repo, test.main)
			if c.Message != "hello 1.2.3" || fmt.Sprint(c.Author) != "{The Hello Authors hello@example.com 2026-03-14T15:09:26Z}" || c.Committer != c.Author ||
				!slices.Equal(c.parents(), []string{before}) {
				t.Errorf("commit %+v", c)
			}
			if got := states(r.look(publish.Read)); strings.Trim(got, "same ") != "" {
				t.Errorf("read back: %s", got)
			}

			r.faults.Forget()
			if result := r.run(); result.Changed || len(r.changes()) > 0 {
				t.Errorf("the second run changes %q", r.changes())
			}
		})
	}
}

func TestFolder(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, test := range []struct {
		kind   tap.Kind
		folder string
		want   string
	}{
		{tap.Scoop, "", "bucket/hello.json"},
		{tap.Scoop, ".", "hello.json"},
		{tap.Scoop, "manifests/cli", "manifests/cli/hello.json"},
		{tap.Homebrew, "", "Casks/hello.rb"},
		{tap.Homebrew, "brew", "brew/Casks/hello.rb"},
		{tap.Winget, "pkgs", "pkgs/" + wingetFiles[0]},
	} {
		r := newRig(t, tap.Options{Release: rel, Kind: test.kind, Folder: test.folder})
		r.run()
		if _, ok := r.hub.repos["example/homebrew-tap"].File("main", test.want); !ok {
			t.Errorf("%s in %q: no %s", test.kind, test.folder, test.want)
		}
	}
}

// What a tap has of an older release gives way; what it has of a newer one stays.
func TestVersions(t *testing.T) {
	for _, test := range []struct {
		there, release string
		state          publish.State
		detail         string
	}{
		{"1.2.2", "1.2.3", publish.Movable, "it is of 1.2.2"},
		{"2.0.0", "1.2.9", publish.Kept, "it is of 2.0.0, which is newer"},
		{"1.2.3-rc.1", "1.2.3", publish.Movable, "it is of 1.2.3-rc.1"},
		{"1.10.0", "1.9.0", publish.Kept, "it is of 1.10.0, which is newer"},
	} {
		for kind, files := range map[tap.Kind][]string{tap.Homebrew: homebrewFiles, tap.Scoop: scoopFiles} {
			t.Run(fmt.Sprintf("%s in a %s tap with %s", test.release, kind, test.there), func(t *testing.T) {
				r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{Version: test.release}), Kind: kind})
				older, there := &rig{t: t, o: tap.Options{Release: releasetest.Open(t, verifytest.Options{Version: test.there})}}, map[string]string{}
				for _, at := range files {
					there[at] = older.content(at)
				}
				r.hub.repos["example/homebrew-tap"].Commit("main", there)
				before := r.hub.State()
				for _, depth := range []publish.Depth{publish.Listed, publish.Read} {
					for _, it := range r.look(depth) {
						if it.State != test.state || it.Detail != test.detail {
							t.Errorf("%+v", it)
						}
					}
				}
				r.faults.Forget()
				r.run()
				if test.state == publish.Kept {
					if r.hub.State() != before || len(r.changes()) > 0 {
						t.Errorf("asked for %q", r.changes())
					}
					return
				}
				r.holds("example/homebrew-tap", "main", files)
			})
		}
	}
}

// Versions of winget live side by side, in whatever order they come.
func TestWingetBackport(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{}), Kind: tap.Winget})
	r.released(releasetest.Open(t, verifytest.Options{Version: "2.0.0"}))
	r.run()
	r.holds("example/homebrew-tap", "main", wingetFiles)
	if _, ok := r.hub.repos["example/homebrew-tap"].File("main", strings.ReplaceAll(wingetFiles[0], "1.2.3", "2.0.0")); !ok {
		t.Error("2.0.0 is gone")
	}
}

// One file of two is older; the other was put there by an earlier run, or by hand.
func TestOneOfTwo(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
	r.hub.repos["example/homebrew-tap"].Commit("main", map[string]string{"Formula/hello.rb": r.content("Formula/hello.rb")})
	if got := states(r.look(publish.Listed)); got != "missing same" {
		t.Error(got)
	}
	r.run()
	r.holds("example/homebrew-tap", "main", homebrewFiles)
}

func TestPrerelease(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Version: "1.3.0-rc.1"})
	r := newRig(t, tap.Options{Release: rel})
	if result := r.run(); result.Changed || len(result.Outcomes[0].Items) > 0 || len(r.faults.Seen()) > 0 {
		t.Errorf("%+v, asked for %v", result, r.faults.Seen())
	}

	for _, test := range []struct {
		version string
		kind    tap.Kind
		want    bool
	}{
		{"1.2.3", tap.Homebrew, true},
		{"1.2.3", tap.Winget, true},
		{"1.2.3-rc.1", tap.Homebrew, false},
		{"1.2.3", "debian", false},
	} {
		m := rel.Manifest
		var err error
		if m.Version, err = version.Parse(test.version); err != nil {
			t.Fatal(err)
		}
		if got := tap.Applies(m, test.kind); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
	}
	stable, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if tap.Applies(manifest.Release{Version: stable}, tap.Homebrew) {
		t.Error("a release without recipes applies")
	}
}

// What is not an older release of the same stays, and nothing else is changed either.
func TestConflict(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, test := range []struct {
		name   string
		kind   tap.Kind
		there  map[string]string
		detail string
	}{
		{"formula of the same version", tap.Homebrew, map[string]string{"Formula/hello.rb": "class Hello < Formula\n  version \"1.2.3\"\nend\n"}, "it is of 1.2.3 and has other bytes"},
		{"formula of another class", tap.Homebrew, map[string]string{"Formula/hello.rb": "class Hell < Formula\n  version \"1.0.0\"\nend\n"}, `what is there is "Hell" and not "Hello"`},
		{"something else", tap.Homebrew, map[string]string{"Casks/hello.rb": "puts 1\n"}, "what is there is not a cask recipe that this release could follow: it does not begin as one"},
		{"folder", tap.Homebrew, map[string]string{"Casks/hello.rb/x": ""}, ""},
		{"large file", tap.Homebrew, map[string]string{"Casks/hello.rb": strings.Repeat("#", 1<<20+1)}, "it has more than 1048576 bytes"},
		{"manifest of the same version", tap.Scoop, map[string]string{scoopFiles[0]: `{"version": "1.2.3", "url": ""}`}, "it is of 1.2.3 and has other bytes"},
		{"version of winget", tap.Winget, map[string]string{wingetFiles[2]: "PackageVersion: 1.2.2\n"}, "it has other bytes, and what is in the folder of a version never changes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, tap.Options{Release: rel, Kind: test.kind})
			r.hub.repos["example/homebrew-tap"].Commit("main", test.there)
			before := r.hub.State()
			for _, depth := range []publish.Depth{publish.Listed, publish.Read} {
				items := r.look(depth)
				i := slices.IndexFunc(items, func(it publish.Item) bool { return it.State == publish.Different })
				if i < 0 || !strings.HasPrefix(items[i].Detail, test.detail) {
					t.Errorf("%+v", items)
				}
			}
			if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Conflict {
				t.Error(err)
			}
			if err := r.destination(false).Flip(t.Context()); fault.CodeOf(err) != fault.Conflict {
				t.Errorf("flip: %v", err)
			}
			if got := r.changes(); len(got) > 0 || r.hub.State() != before {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

// before calls f once, before the first request that matches gets to GitHub.
func (r *rig) before(method, suffix string, f func()) {
	done := false
	r.faults.Set(func(_ int, _ string, req *http.Request) fixture.Fault {
		if !done && req.Method == method && strings.HasSuffix(req.URL.Path, suffix) {
			done = true
			f()
		}
		return fixture.None
	})
}

// Somebody commits between the look and the update.
func TestMoved(t *testing.T) {
	for _, at := range []struct{ method, suffix string }{{"POST", "/git/trees"}, {"POST", "/git/commits"}, {"PATCH", "/git/refs/heads/main"}} {
		r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
		from := r.hub.repos["example/homebrew-tap"].Tip("main")
		var to string
		move := func() {
			to = r.hub.repos["example/homebrew-tap"].Commit("main", map[string]string{"Formula/other.rb": "class Other < Formula\nend\n"})
		}
		r.before(at.method, at.suffix, move)
		err := r.destination(false).Flip(t.Context())
		if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), from[:12]) || !strings.Contains(err.Error(), to[:12]) {
			t.Errorf("before %s: %v", at.suffix, err)
		}
		if got := r.hub.repos["example/homebrew-tap"].Tip("main"); got != to {
			t.Errorf("before %s: the branch is at %s", at.suffix, got)
		}

		r = newRig(t, r.o)
		r.before(at.method, at.suffix, move)
		r.run()
		r.holds("example/homebrew-tap", "main", homebrewFiles)
		if c := r.hub.commit("example/homebrew-tap", "main"); !slices.Equal(c.parents(), []string{to}) {
			t.Errorf("before %s: the parents are %q, want %s", at.suffix, c.parents(), to)
		}
		if _, ok := r.hub.repos["example/homebrew-tap"].File("main", "Formula/other.rb"); !ok {
			t.Errorf("before %s: the other commit is lost", at.suffix)
		}
	}
}

// Somebody publishes a newer release between the look and the update: it stays.
func TestOvertaken(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
	other := *r
	other.o.Release = releasetest.Open(t, verifytest.Options{Version: "1.3.0"})
	r.before("PATCH", "/git/refs/heads/main", func() { other.run() })
	result := r.run()
	if got := states(result.Outcomes[0].Items); got != "kept kept" {
		t.Error(got)
	}
	other.holds("example/homebrew-tap", "main", homebrewFiles)
}

// A tap and a bucket in one repository, published side by side.
func TestTogether(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	r := newRig(t, tap.Options{Release: rel})
	bucket := *r
	bucket.o.Kind = tap.Scoop
	_, err := publish.Run(t.Context(), []publish.Target{
		{Name: "tap", Wave: publish.Managers, Destination: r.destination(false)},
		{Name: "bucket", Wave: publish.Managers, Destination: bucket.destination(false)},
	}, publish.Options{Pause: func(context.Context, int) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	r.holds("example/homebrew-tap", "main", slices.Concat(homebrewFiles, scoopFiles))
}

func TestBranch(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{}), Branch: "release/next"})
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "no branch release/next") {
		t.Error(err)
	}
	r.hub.repos["example/homebrew-tap"].Branch("release/next", r.hub.repos["example/homebrew-tap"].Tip("main"))
	r.run()
	r.holds("example/homebrew-tap", "release/next", homebrewFiles)
	if _, ok := r.hub.repos["example/homebrew-tap"].File("main", homebrewFiles[0]); ok {
		t.Error("it is on main too")
	}
}

func TestRefused(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, test := range []struct {
		name string
		edit func(r *rig)
		code fault.Code
		want string
	}{
		{"wrong token", func(r *rig) { r.token = "wrong" }, fault.Credentials, "401"},
		{"token that may only read", func(r *rig) { r.token = githubtest.Reader }, fault.Credentials, "may not push to example/homebrew-tap"},
		{"no repository", func(r *rig) { r.o.Repo = "homebrew-none" }, fault.Usage, "no repository example/homebrew-none"},
		{"archived repository", func(r *rig) {
			r.hub.repos["example/homebrew-tap"].Set(func(repo *githubtest.Repo) { repo.Archived = true })
		}, fault.Usage, "archived"},
		{
			"repository with another name", func(r *rig) { r.hub.Move("example/homebrew-tap", "example/homebrew-tools") },
			fault.Usage, `example/homebrew-tap is called "example/homebrew-tools" now`,
		},
		{"empty repository", func(r *rig) { r.o.Repo = "empty" }, fault.Usage, "has no branch main"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, tap.Options{Release: rel})
			test.edit(r)
			before := r.hub.State()
			_, err := r.publish(t.Context(), false)
			if fault.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "Bearer") {
				t.Errorf("%v", err)
			}
			if got := r.changes(); len(got) > 0 || r.hub.State() != before {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

// An app's token is told that it may not push, whatever it may.
func TestApp(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
	r.token = githubtest.App
	r.run()
	r.holds("example/homebrew-tap", "main", homebrewFiles)
}

// A branch that takes pull requests alone takes one.
func TestProtected(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
	r.hub.repos["example/homebrew-tap"].Protect("main")
	before := r.hub.repos["example/homebrew-tap"].Tip("main")
	_, err := r.publish(t.Context(), false)
	if fault.CodeOf(err) != fault.Policy || !strings.Contains(err.Error(), "pullRequest: always") {
		t.Error(err)
	}
	r.o.PullRequest = true
	result := r.run()
	if r.hub.repos["example/homebrew-tap"].Tip("main") != before {
		t.Error("main moved")
	}
	if it := result.Outcomes[0].Items[0]; it.State != publish.Same || !strings.HasPrefix(it.Detail, "proposed in http") {
		t.Errorf("%+v", it)
	}
	r.holds("example/homebrew-tap", "slipway/homebrew-hello-1.2.3", homebrewFiles)
}

// refuse answers the first so many requests that match.
func (r *rig) refuse(method, suffix string, status int, body string, times int) {
	r.hub.Instead(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != method || !strings.HasSuffix(req.URL.Path, suffix) || times == 0 {
			return false
		}
		times--
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	})
}

// Ways to say no to an update that is no race.
func TestRules(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		code   fault.Code
	}{
		{422, `{"message":"Repository rule violations found\n\nChanges must be made through a pull request."}`, fault.Policy},
		{422, `{"message":"Required status check \"test\" is expected."}`, fault.Policy},
		{409, `{"message":"Protected branch update failed for refs/heads/main."}`, fault.Policy},
		{403, `{"message":"Protected branch"}`, fault.Policy},
		{403, `{"message":"Resource not accessible by personal access token"}`, fault.Credentials},
		{422, `{"message":"Update is not a fast forward"}`, fault.Transient},
		{404, `{"message":"Not Found"}`, fault.Usage},
		{500, ``, fault.Transient},
	} {
		r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
		r.refuse("PATCH", "/git/refs/heads/main", test.status, test.body, 1)
		if err := r.destination(false).Flip(t.Context()); fault.CodeOf(err) != test.code {
			t.Errorf("%d %s: %v", test.status, test.body, err)
		}
	}
}

// What a dry run tells is what a run does then, and it does nothing itself.
func TestDryRun(t *testing.T) {
	for name, o := range configurations(t) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			before := r.hub.State()
			if _, err := r.publish(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if got := r.changes(); len(got) > 0 || r.hub.State() != before {
				t.Errorf("asked for %q", got)
			}
			r.run()
			if got := r.changes(); !slices.Equal(got, r.dry) || len(got) < 3 {
				t.Errorf("told %q, did %q", r.dry, got)
			}
		})
	}
}

// configurations are the ways of publishing.
func configurations(t *testing.T) map[string]tap.Options {
	rel := releasetest.Open(t, verifytest.Options{})
	return map[string]tap.Options{
		"tap":          {Release: rel},
		"bucket":       {Release: rel, Kind: tap.Scoop, Repo: "scoop-bucket", Owner: "example"},
		"pull request": {Release: rel, PullRequest: true},
		"fork":         {Release: rel, Kind: tap.Winget, Owner: "example", Repo: "winget-pkgs", PullRequest: true, Upstream: "microsoft/winget-pkgs"},
		"stale fork":   {Release: rel, Kind: tap.Winget, Owner: "stale", Repo: "winget-pkgs", PullRequest: true, Upstream: "microsoft/winget-pkgs"},
	}
}

// Of every request of a run, each fault: the run after it ends where one clean run ends.
func TestFaults(t *testing.T) {
	before := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{Version: "1.2.2"})})
	old := map[string]string{}
	for _, at := range homebrewFiles {
		old[at] = before.content(at)
	}
	all := configurations(t)
	delete(all, "bucket") // in which nothing is done otherwise than in a tap
	delete(all, "fork")   // for which a stale one is asked the same, and more
	for name, o := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rigged := func() *rig {
				r := newRig(t, o)
				r.hub.repos["example/homebrew-tap"].Commit("main", old)
				return r
			}
			clean := rigged()
			clean.run()
			want, requests := clean.hub.State(), clean.faults.Seen()
			if len(requests) < 10 {
				t.Fatalf("a run makes %d requests", len(requests))
			}
			t.Logf("a run makes %d requests", len(requests))
			obeyed := []fixture.Fault{fixture.KillAfter, fixture.BadAfter, fixture.Lost}
			for f := fixture.Kill; f <= fixture.Unauthorized; f++ {
				for i, request := range requests {
					n := i + 1
					if (n+int(f))%fixture.Stride(3) != 0 {
						continue
					}
					if slices.Contains(obeyed, f) && !request.Changes() {
						continue // as if it never got there
					}
					r := rigged()
					ctx, cancel := context.WithCancel(t.Context())
					r.faults.Kill = cancel
					r.faults.Set(fixture.Nth(n, f))
					_, first := r.publish(ctx, false)
					killed := ctx.Err() != nil
					cancel()
					if code := fault.CodeOf(first); first != nil && !killed && code != fault.Transient && code != fault.Credentials {
						t.Errorf("%s at request %d: %v", f, n, first)
					}
					r.faults.Set(nil)
					if _, err := r.publish(t.Context(), false); err != nil {
						t.Errorf("%s at request %d: the next run: %v", f, n, err)
					}
					if got := r.hub.State(); got != want {
						t.Errorf("%s at request %d:\n%s\nwant\n%s", f, n, got, want)
					}
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	good := tap.Options{Release: rel, Kind: tap.Homebrew, Owner: "example", Repo: "homebrew-tap", Committer: "A", Email: "a@example.com"}
	for _, test := range []struct {
		name string
		edit func(o *tap.Options)
		want string
	}{
		{"kind", func(o *tap.Options) { o.Kind = "debian" }, "debian"},
		{"owner", func(o *tap.Options) { o.Owner = "a/b" }, "a/b/homebrew-tap"},
		{"repository", func(o *tap.Options) { o.Repo = ".." }, "example/.."},
		{"branch", func(o *tap.Options) { o.Branch = "a..b" }, "a..b"},
		{"folder", func(o *tap.Options) { o.Folder = "../x" }, "leaves its folder"},
		{"committer", func(o *tap.Options) { o.Committer = "" }, "not the name or the address"},
		{"address", func(o *tap.Options) { o.Email = "a\nb" }, "not the name or the address"},
		{"upstream", func(o *tap.Options) { o.PullRequest, o.Upstream = true, "microsoft" }, "microsoft"},
		{"API", func(o *tap.Options) { o.API = "http://api.example.com" }, "not at https"},
		{"API with a user", func(o *tap.Options) { o.API = "https://secret@api.example.com" }, "not at https"},
	} {
		o := good
		o.Transport = wire.New(wire.Options{})
		test.edit(&o)
		if _, err := tap.New(o); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	good.Transport = wire.New(wire.Options{})
	if _, err := tap.New(good); err != nil {
		t.Error(err)
	}
}

// What is on disk is what the manifest says, and the release after it can read it, or it does not leave.
func TestFiles(t *testing.T) {
	const formula = "packages/homebrew/Formula/hello.rb"
	for _, test := range []struct{ name, content, want string }{
		{"unreadable", "puts 1\n", "does not begin as one"},
		{"another version", "class Hello < Formula\n  version \"1.2.2\"\nend\n", "is of 1.2.2 and the release 1.2.3"},
		{"no text", "\xff", "UTF-8"},
	} {
		rel := releasetest.Open(t, verifytest.Options{Edit: func(files map[string][]byte) { files[formula] = []byte(test.content) }})
		_, err := tap.New(tap.Options{Release: rel, Kind: tap.Homebrew, Owner: "a", Repo: "b", Committer: "A", Email: "a@b", Transport: wire.New(wire.Options{})})
		if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	rel := releasetest.Open(t, verifytest.Options{})
	if err := os.WriteFile(rel.Path(formula), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := tap.New(tap.Options{Release: rel, Kind: tap.Homebrew, Owner: "a", Repo: "b", Committer: "A", Email: "a@b", Transport: wire.New(wire.Options{})})
	if fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
}

// answers is a GitHub that says one thing of each path.
type answers map[string]string

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	body, ok := a[req.Method+" "+strings.TrimPrefix(req.URL.Path, "/repos/a/b")]
	res := wire.Answer(http.StatusOK, body)
	if req.Method == http.MethodPost {
		res = wire.Answer(http.StatusCreated, body)
	}
	if !ok {
		res = wire.Answer(http.StatusNotFound, "")
	}
	res.Request = req
	return res, nil
}

// Whatever GitHub says is checked before it is used.
func TestAnswers(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	id := strings.Repeat("1", 40)
	ref := `{"ref":"refs/heads/main","object":{"sha":"` + id + `"}}`
	for _, test := range []struct {
		name, path, body string
		code             fault.Code
		want             string
	}{
		{"all is well", "", "", fault.OK, ""},
		{"no JSON", "GET ", "<html>", fault.Transient, "not what the API says"},
		{"too much", "GET ", strings.Repeat(" ", 8<<20+1), fault.Transient, "more than"},
		{"another repository", "GET ", `{"full_name":"c/d","default_branch":"main"}`, fault.Usage, `called "c/d" now`},
		{"no default branch", "GET ", `{"full_name":"A/B","default_branch":"../x"}`, fault.Transient, "default branch"},
		{"another branch", "GET /git/ref/heads/main", `{"ref":"refs/heads/mainly","object":{"sha":"` + id + `"}}`, fault.Transient, "answers with"},
		{"no commit", "GET /git/ref/heads/main", `{"ref":"refs/heads/main","object":{"sha":"?ref=x"}}`, fault.Transient, "answers with"},
		{"no contents", "GET /contents/bucket/hello.json", `{"type":"file","encoding":"base64","content":"*"}`, fault.Transient, "base64"},
		{"no tree", "GET /git/commits/" + id, `{"tree":{"sha":"x"}}`, fault.Transient, "the tree of"},
		{"no name of a tree", "POST /git/trees", `{"sha":""}`, fault.Transient, "calls what it made"},
		{"no name of a commit", "POST /git/commits", `{"sha":"` + id + `\n"}`, fault.Transient, "calls what it made"},
	} {
		a := answers{
			"GET ": `{"full_name":"A/B","default_branch":"main","html_url":"javascript:x","permissions":{"push":true}}`, "GET /git/ref/heads/main": ref,
			"GET /git/commits/" + id: `{"tree":{"sha":"` + id + `"}}`, "POST /git/trees": `{"sha":"` + id + `"}`,
			"POST /git/commits": `{"sha":"` + id + `"}`, "PATCH /git/refs/heads/main": "{}",
		}
		if test.path != "" {
			a[test.path] = test.body
		}
		d, err := tap.New(tap.Options{
			Release: rel, Kind: tap.Scoop, Owner: "a", Repo: "b", Committer: "A", Email: "a@b",
			Transport: wire.New(wire.Options{Base: a, Sleep: func(context.Context, time.Duration) error { return nil }}),
		})
		if err != nil {
			t.Fatal(err)
		}
		if items, err := d.Look(t.Context(), publish.Listed); err == nil && items[0].URL != "" {
			t.Errorf("%s: %+v", test.name, items)
		}
		if err := d.Flip(t.Context()); fault.CodeOf(err) != test.code || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// A rate limit is no matter of credentials, at whichever request it comes.
func TestRateLimit(t *testing.T) {
	for _, at := range []string{"/repos/example/homebrew-tap", "/installation/repositories", "/git/ref/heads/main", "/git/refs/heads/main"} {
		r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{})})
		r.token = githubtest.App
		r.hub.Instead(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, at) {
				return false
			}
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message":"API rate limit exceeded for installation ID 1."}`)
			return true
		})
		if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "GITHUB_TOKEN") {
			t.Errorf("%s: exit %d, %v", at, fault.CodeOf(err), err)
		}
	}
}
