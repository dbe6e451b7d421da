package githubrelease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/githubtest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/githubrelease"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// commit is what the releases of verifytest are made from.
const commit = "0123456789abcdef0123456789abcdef01234567"

// rig is GitHub, on a host for each of its parts, a release, and what stands between them.
type rig struct {
	t      *testing.T
	hub    *githubtest.Hub
	repo   *githubtest.Repo
	faults *fixture.Faults
	hosts  githubtest.Hosts
	token  string
	o      githubrelease.Options
	dry    []string // what a dry run tells
	slept  []time.Duration
	sleep  func() // called where the transport waits
	base   http.RoundTripper
}

func newRig(t *testing.T, rel publish.Release) *rig {
	t.Helper()
	r := &rig{t: t, hub: githubtest.New(), faults: &fixture.Faults{}, token: githubtest.Token}
	r.repo = r.hub.Add("example/hello", map[string]string{"README.md": "# Hello\n"})
	r.hosts = githubtest.Hosts{
		API: r.faults.Serve(t, "api", r.hub), Uploads: r.faults.Serve(t, "uploads", r.hub),
		Site: r.faults.Serve(t, "site", r.hub), Storage: r.faults.Serve(t, "storage", r.hub),
	}
	r.hub.SetHosts(r.hosts)
	if tag := rel.Manifest.Tag; tag != "" {
		r.repo.Tag(tag, rel.Manifest.Commit)
	}
	r.o = githubrelease.Options{Release: rel, API: r.hosts.API, Uploads: r.hosts.Uploads, Owner: "example", Repo: "hello"}
	t.Cleanup(func() {
		if leaks := r.hub.Leaks(); len(leaks) > 0 {
			t.Errorf("the token went elsewhere: %q", leaks)
		}
	})
	return r
}

// release writes a release with signatures, of which nobody here asks whether they hold.
func release(t *testing.T, o verifytest.Options) publish.Release {
	t.Helper()
	dir := t.TempDir()
	m, err := verifytest.Write(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "SHA256SUMS.sigstore.json", "{}")
	write(t, dir, "release.json.sigstore.json", "{ }")
	if m.Provenance != "" {
		write(t, dir, "attestations/hello_"+m.Version.String()+".intoto.jsonl", "{}\n")
	}
	return open(t, dir)
}

func open(t *testing.T, dir string) publish.Release {
	t.Helper()
	rel, err := publish.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) destination(dry bool) *githubrelease.Destination {
	r.t.Helper()
	var mu sync.Mutex
	show := func(at string) wire.Credential {
		return wire.Credential{Host: strings.TrimPrefix(at, "http://"), Value: func() string {
			if r.token == "" {
				return ""
			}
			return "Bearer " + r.token
		}}
	}
	w := wire.Options{
		Destination: "github", Base: r.base, Backoff: time.Millisecond, Credentials: []wire.Credential{show(r.hosts.API), show(r.hosts.Uploads)},
		Simulate: githubrelease.Simulate, Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		Sleep: func(ctx context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			if r.slept = append(r.slept, d); r.sleep != nil {
				r.sleep()
			}
			return ctx.Err()
		},
	}
	if dry {
		w.DryRun = func(req wire.Request) { r.dry = append(r.dry, r.told(req.Method+" "+req.URL)) }
	}
	o := r.o
	o.Transport = wire.New(w)
	d, err := githubrelease.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

var number = regexp.MustCompile(`/releases/(assets/)?\d+`)

// told is a request without hosts and numbers.
func (r *rig) told(request string) string {
	for _, host := range []string{r.hosts.API, r.hosts.Uploads} {
		request = strings.Replace(request, host, "", 1)
	}
	return number.ReplaceAllString(request, "/releases/${1}N")
}

func (r *rig) publish(ctx context.Context, dry bool) (publish.Result, error) {
	target := publish.Target{Name: "github", Wave: publish.Releases, Destination: r.destination(dry)}
	return publish.Run(ctx, []publish.Target{target}, publish.Options{DryRun: dry, Pause: func(context.Context, int) error { return nil }})
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

// fails publishes, which has to end with a code and words, and without any change.
func (r *rig) fails(code fault.Code, words ...string) {
	r.t.Helper()
	before := r.hub.State()
	r.faults.Forget()
	_, err := r.publish(r.t.Context(), false)
	if fault.CodeOf(err) != code {
		r.t.Fatalf("want exit %d, got %d: %v", code, fault.CodeOf(err), err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("%q is not in: %v", w, err)
		}
	}
	if r.hub.State() != before || len(r.changes()) > 0 {
		r.t.Errorf("something was changed: %q", r.changes())
	}
}

// changes are the requests so far that change something.
func (r *rig) changes() []string {
	var out []string
	for _, s := range r.faults.Seen() {
		if s.Changes() {
			out = append(out, r.told(s.Method+" "+s.URL))
		}
	}
	return out
}

func (r *rig) has(lines ...string) {
	r.t.Helper()
	state := r.hub.State()
	for _, l := range lines {
		if !strings.Contains(state, l) {
			r.t.Errorf("%q is not in\n%s", l, state)
		}
	}
}

func TestPublish(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{}))
	r.repo.Set(func(repo *githubtest.Repo) { repo.Immutable, repo.Discussions = true, []string{"News"} })
	r.o.Discussion, r.o.Title = "News", "Hello 1.2.3"
	result := r.run()
	r.has(`release v1.2.3 target=`+commit+` name="Hello 1.2.3" draft=false prerelease=false latest=true immutable=true discussion="News"`,
		"asset hello_1.2.3_linux_amd64.tar.gz", "asset install.sh", "asset SHA256SUMS.sigstore.json", "asset hello_1.2.3.intoto.jsonl", "asset hello-1.2.3.tgz")
	for _, unwanted := range []string{"starter", "hello.rb", "report.html", "artifacthub-repo.yml", "hello.exe", "index.json", "notes.md"} {
		if strings.Contains(r.hub.State(), unwanted) {
			t.Errorf("%s is in the release", unwanted)
		}
	}
	items := result.Outcomes[0].Items
	for _, it := range items {
		if it.State != publish.Same {
			t.Errorf("%s is %s: %s", it.Name, it.State, it.Detail)
		}
	}
	if last := items[len(items)-1]; last.Name != "release v1.2.3" || last.URL != r.hosts.Site+"/example/hello/releases/tag/v1.2.3" {
		t.Errorf("%+v", last)
	}
	// Again, nothing is left to do, nor asked about leave to do it.
	r.faults.Forget()
	state := r.hub.State()
	if again := r.run(); again.Changed || len(r.changes()) > 0 || len(r.faults.Seen()) > 5 || r.hub.State() != state {
		t.Errorf("again: changed %v, %q, %d requests", again.Changed, r.changes(), len(r.faults.Seen()))
	}
	r.token = ""
	if again := r.run(); again.Changed {
		t.Error("without a token, something was done")
	}
}

// What is public is read as everybody reads it, without a token.
func TestStatus(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	r.run()
	for _, private := range []bool{false, true} {
		r.repo.Set(func(repo *githubtest.Repo) { repo.Private = private })
		r.faults.Forget()
		items, err := r.destination(false).Look(t.Context(), publish.Read)
		if err != nil {
			t.Fatal(err)
		}
		downloads := 0
		for _, s := range r.faults.Seen() {
			if s.Service == map[bool]string{false: "site", true: "storage"}[private] {
				downloads++
			}
		}
		if downloads != len(items)-1 {
			t.Errorf("private %v: %d downloads for %d items", private, downloads, len(items))
		}
	}
}

func TestDryRun(t *testing.T) {
	for name, before := range map[string]func(*githubtest.Repo){
		"nothing there":     func(*githubtest.Repo) {},
		"a broken upload":   func(repo *githubtest.Repo) { repo.Draft("v1.2.3", "x", nil); repo.Starter("v1.2.3", "SHA256SUMS") },
		"public, but empty": func(repo *githubtest.Repo) { repo.Publish("v1.2.3", false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, release(t, verifytest.Options{Bare: true}))
			before(r.repo)
			state := r.hub.State()
			if _, err := r.publish(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if r.hub.State() != state || len(r.changes()) > 0 {
				t.Fatalf("a dry run changed something: %q", r.changes())
			}
			r.run()
			real := r.changes()
			slices.Sort(real)
			slices.Sort(r.dry)
			if !slices.Equal(real, r.dry) || len(real) == 0 {
				t.Errorf("told\n%s\nand did\n%s", strings.Join(r.dry, "\n"), strings.Join(real, "\n"))
			}
		})
	}
}

func TestTag(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	other := strings.Repeat("f", 40)
	r := newRig(t, rel)
	r.repo.Tag("v1.2.3", "")
	r.fails(fault.Git, "git push origin v1.2.3")
	r.repo.Tag("v1.2.3", other)
	r.fails(fault.Git, other, commit)
	r.repo.AnnotatedTag("v1.2.3", other)
	r.fails(fault.Git, other, commit)
	r.repo.AnnotatedTag("v1.2.3", commit)
	r.run()
	// One that moves between the draft and its publication is not published.
	r = newRig(t, rel)
	d := r.destination(false)
	if err := d.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.repo.Tag("v1.2.3", other)
	if err := d.Flip(t.Context()); fault.CodeOf(err) != fault.Git {
		t.Error(err)
	}
	r.has("draft=true")
}

func TestCredentials(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	for _, token := range []string{"", "wrong", githubtest.Reader} {
		r.token = token
		r.fails(fault.Credentials)
	}
	r.token = ""
	r.repo.Set(func(repo *githubtest.Repo) { repo.Private = true })
	r.fails(fault.Credentials, "may not see it")
	r.token = githubtest.Token
	r.repo.Set(func(repo *githubtest.Repo) { repo.Archived = true })
	r.fails(fault.Policy, "archived")
	r.repo.Set(func(repo *githubtest.Repo) { repo.Archived = false })
	r.hub.Move("example/hello", "example/other")
	r.fails(fault.Usage, "example/other")
	// An app's token does not tell what it may do.
	r.o.Repo, r.token = "other", githubtest.App
	r.run()
}

// Other bytes under a name are a conflict, and nothing is changed, whatever the state of the release that has them.
func TestConflict(t *testing.T) {
	const name = "hello_1.2.3_linux_amd64.tar.gz"
	rel := release(t, verifytest.Options{Bare: true})
	size := func() string {
		f, _ := rel.File("archives/" + name)
		return strings.Repeat("x", int(f.Size))
	}()
	for _, content := range []string{"short", size} {
		for _, digests := range []bool{true, false} {
			r := newRig(t, rel)
			r.repo.Set(func(repo *githubtest.Repo) { repo.NoDigests = !digests })
			r.repo.Draft("v1.2.3", "by hand", map[string]string{name: content})
			r.fails(fault.Conflict, name, "delete that draft", "nothing was changed anywhere")
			r.repo.Release("v1.2.3", false, nil)
			r.fails(fault.Conflict, name)
		}
	}
	// Of a release without digests the bytes are read, and are found to be right.
	r := newRig(t, rel)
	r.repo.Set(func(repo *githubtest.Repo) { repo.NoDigests, repo.NoImmutable = true, true })
	r.run()
	if again := r.run(); again.Changed {
		t.Error("without digests, everything was put again")
	}
}

// A release that is immutable is never added to.
func TestImmutable(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	r.repo.Set(func(repo *githubtest.Repo) { repo.Immutable = true })
	r.run()
	r.repo.Release("v1.2.3", false, map[string]string{"SHA256SUMS": ""})
	r.fails(fault.Conflict, "SHA256SUMS", "does not allow changes to it")
	r.repo.Starter("v1.2.3", "SHA256SUMS")
	r.fails(fault.Conflict, "SHA256SUMS")
	if err := r.destination(false).Flip(t.Context()); fault.CodeOf(err) != fault.Conflict {
		t.Error(err)
	}
}

// The tag of an immutable release that was deleted is used up.
func TestUsedTag(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	r.repo.Set(func(repo *githubtest.Repo) { repo.Immutable = true })
	r.run()
	for n := 1; ; n++ {
		if res := r.do(http.MethodDelete, fmt.Sprintf("/repos/example/hello/releases/%d", n)); res == http.StatusNoContent {
			break
		} else if n > 100 {
			t.Fatal("there is no release")
		}
	}
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "another version") {
		t.Error(err)
	}
}

// do makes a request with the token.
func (r *rig) do(method, at string) int {
	r.t.Helper()
	req, err := http.NewRequest(method, r.hosts.API+at, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// A person's draft is gone on with: its words and its own assets stay.
func TestPersonsDraft(t *testing.T) {
	rel := release(t, verifytest.Options{})
	r := newRig(t, rel)
	r.o.Title = "Hello"
	r.repo.Draft("v1.2.3", "Written by hand.", map[string]string{"manual.pdf": "pdf"})
	r.run()
	r.has(`name="v1.2.3" draft=false`, "asset manual.pdf", fmt.Sprintf("body=%x", sum("Written by hand.")))
	if strings.Count(r.hub.State(), " release v1.2.3 target=") != 1 {
		t.Error(r.hub.State())
	}
	// One without words gets those of the release.
	clean := newRig(t, rel)
	clean.run()
	r = newRig(t, rel)
	r.repo.Draft("v1.2.3", "", nil)
	r.run()
	body := regexp.MustCompile(`body=\S+`)
	if body.FindString(r.hub.State()) != body.FindString(clean.hub.State()) {
		t.Error(r.hub.State())
	}
}

// What a person made public is completed, but not before everything else is staged.
func TestPublicWithoutAssets(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	r.repo.Publish("v1.2.3", false)
	state := r.hub.State()
	d := r.destination(false)
	items, err := d.Look(t.Context(), publish.Listed)
	if err != nil || items[0].Phase != publish.Flip || items[0].State != publish.Missing {
		t.Fatal(items, err)
	}
	if err := d.Stage(t.Context()); err != nil || r.hub.State() != state {
		t.Fatal(err, r.hub.State())
	}
	r.run()
	r.has("asset SHA256SUMS")
	if again := r.run(); again.Changed {
		t.Error("again something was done")
	}
}

// Two drafts are what a lost answer leaves. One is removed, if it is ours and empty.
func TestTwoDrafts(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	clean := newRig(t, rel)
	clean.run()
	mark := "<!-- slipway " + string(rel.Digest) + " -->\n\n\n"
	r := newRig(t, rel)
	if err := r.destination(false).Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.repo.Draft("v1.2.3", mark, nil)
	r.run()
	if r.hub.State() != clean.hub.State() {
		t.Errorf("got\n%s\nwant\n%s", r.hub.State(), clean.hub.State())
	}
	// What has something, or is not ours, stays.
	r = newRig(t, rel)
	r.repo.Draft("v1.2.3", "by hand", nil)
	r.repo.Draft("v1.2.3", mark, nil)
	r.repo.Draft("v1.2.3", mark, map[string]string{"x": "x"})
	r.repo.Draft("v1.2.4", mark, nil)
	r.run()
	if n := strings.Count(r.hub.State(), "draft=true"); n != 3 {
		t.Errorf("%d drafts in\n%s", n, r.hub.State())
	}
}

// A list that does not have the draft yet makes no second one in the same run.
func TestLateList(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	r.hub.Instead(func(w http.ResponseWriter, req *http.Request) bool {
		late := req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/releases")
		if late {
			_, _ = io.WriteString(w, "[]")
		}
		return late
	})
	r.run()
	if n := strings.Count(r.hub.State(), " release v1.2.3 target="); n != 1 {
		t.Errorf("%d releases", n)
	}
}

// Who signs again makes other signatures, of which the first stays.
func TestSignedAgain(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	r := newRig(t, rel)
	r.run()
	state := r.hub.State()
	write(t, rel.Dir, "SHA256SUMS.sigstore.json", `{"other":1}`)
	result := r.run()
	if result.Changed || r.hub.State() != state {
		t.Error("a signature was replaced")
	}
	if !slices.ContainsFunc(result.Outcomes[0].Items, func(it publish.Item) bool { return it.State == publish.Kept && it.Name == "SHA256SUMS.sigstore.json" }) {
		t.Error(result.Outcomes[0].Items)
	}
}

// Broken uploads leave assets that are removed and made again (faults 22).
func TestStarters(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	clean := newRig(t, rel)
	clean.run()
	r := newRig(t, rel)
	r.repo.Set(func(repo *githubtest.Repo) { repo.Break = 3 })
	r.run()
	if deleted := strings.Count(strings.Join(r.changes(), "\n"), "DELETE"); deleted != 3 || r.hub.State() != clean.hub.State() {
		t.Errorf("%d deleted, and\n%s\nwant\n%s", deleted, r.hub.State(), clean.hub.State())
	}
	// A draft that has lost something is not made public.
	r = newRig(t, rel)
	d := r.destination(false)
	if err := d.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.repo.Release("v1.2.3", true, map[string]string{"release.json": ""})
	if err := d.Flip(t.Context()); fault.CodeOf(err) != fault.Transient || !strings.Contains(r.hub.State(), "draft=true") {
		t.Error(err)
	}
	r.repo.Release("v1.2.3", true, map[string]string{"release.json": "other"})
	if err := d.Flip(t.Context()); fault.CodeOf(err) != fault.Conflict || !strings.Contains(r.hub.State(), "draft=true") {
		t.Error(err)
	}
}

// A name that is taken by the same bytes meanwhile is as good as an upload (faults 23 and 24).
func TestTakenMeanwhile(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	clean := newRig(t, rel)
	clean.run()
	sums, err := os.ReadFile(rel.Path("SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{string(sums), "other"} {
		r := newRig(t, rel)
		var once sync.Once
		r.hub.Instead(func(_ http.ResponseWriter, req *http.Request) bool {
			if req.URL.Query().Get("name") == "SHA256SUMS" {
				once.Do(func() { r.repo.Release("v1.2.3", true, map[string]string{"SHA256SUMS": content}) })
			}
			return false
		})
		_, err := r.publish(t.Context(), false)
		if content == "other" {
			if fault.CodeOf(err) != fault.Conflict || !strings.Contains(r.hub.State(), "draft=true") {
				t.Errorf("%v\n%s", err, r.hub.State())
			}
			continue
		}
		kind := regexp.MustCompile(` (application|text)/\S+( charset=utf-8)?`) // the other upload told another
		if got, want := kind.ReplaceAllString(r.hub.State(), ""), kind.ReplaceAllString(clean.hub.State(), ""); err != nil || got != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
}

// Only the highest stable version of the project is called the latest.
func TestLatest(t *testing.T) {
	for name, c := range map[string]struct {
		version, tag string
		before       []string
		latest       string
	}{
		"the first":             {"1.2.3", "v1.2.3", nil, "v1.2.3"},
		"the highest":           {"1.2.3", "v1.2.3", []string{"v1.2.2", "v1.0.0", "words"}, "v1.2.3"},
		"a backport":            {"1.2.9", "v1.2.9", []string{"v1.2.8", "v2.0.0"}, "v2.0.0"},
		"a candidate":           {"2.0.0-rc.1", "v2.0.0-rc.1", []string{"v1.0.0"}, "v1.0.0"},
		"before a candidate":    {"1.2.3", "v1.2.3", []string{"v2.0.0-rc.1", "v1.0.0"}, "v1.2.3"},
		"without a v":           {"1.2.9", "1.2.9", []string{"v2.0.0"}, "v2.0.0"},
		"another project's":     {"1.2.3", "cli/v1.2.3", []string{"v2.0.0", "api/v3.0.0"}, "cli/v1.2.3"},
		"a backport of several": {"1.2.3", "cli/v1.2.3", []string{"cli/v2.0.0", "v0.1.0"}, "v0.1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, release(t, verifytest.Options{Bare: true, Version: c.version, EditManifest: func(m *manifest.Release) { m.Tag = c.tag }}))
			for _, tag := range c.before {
				r.repo.Publish(tag, strings.Contains(tag, "-"))
			}
			r.run()
			if got := r.repo.Latest(); got != c.latest {
				t.Errorf("the latest is %s and not %s", got, c.latest)
			}
			r.has(fmt.Sprintf("release %s target=%s name=%q draft=false prerelease=%v", c.tag, commit, c.tag, strings.Contains(c.version, "-")))
		})
	}
}

func TestVersions(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	for i := range 120 { // more than a page
		r.repo.Publish(fmt.Sprintf("v0.%d.0", i), i%2 == 0)
	}
	r.repo.Draft("v3.0.0", "", nil)
	all, err := r.destination(false).Versions(t.Context())
	if err != nil || len(all) != 120 {
		t.Errorf("%d versions, %v", len(all), err)
	}
	r.run()
	if r.repo.Latest() != "v1.2.3" {
		t.Error(r.repo.Latest())
	}
}

func TestDiscussion(t *testing.T) {
	r := newRig(t, release(t, verifytest.Options{Bare: true}))
	r.o.Discussion = "News"
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), `"News"`) {
		t.Error(err)
	}
	r.has("draft=true")
}

// Limits are waited for as GitHub asks, and end in a code that says to come back (faults 26).
func TestLimits(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	clean := newRig(t, rel)
	clean.run()
	r := newRig(t, rel)
	r.hub.Quota(10, 1_700_000_030)
	r.sleep = r.hub.NoQuota
	r.run()
	if len(r.slept) == 0 || r.slept[0] != 31*time.Second || r.hub.State() != clean.hub.State() {
		t.Errorf("slept %v", r.slept)
	}
	r = newRig(t, rel)
	r.hub.Quota(10, 1_700_003_600)
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "until 2023-11-14 23:13:20 UTC") ||
		!strings.Contains(err.Error(), "GITHUB_TOKEN") {
		t.Error(err)
	}
	r.hub.NoQuota()
	r.run()
	if r.hub.State() != clean.hub.State() {
		t.Error(r.hub.State())
	}
	// The secondary limit, with and without a time to wait for.
	for _, after := range []string{"60", ""} {
		r = newRig(t, rel)
		var mu sync.Mutex
		uploads := 0
		r.hub.Instead(func(w http.ResponseWriter, req *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasSuffix(req.URL.Path, "/assets") || req.Method != http.MethodPost {
				return false
			}
			if uploads++; uploads != 3 {
				return false
			}
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`)
			return true
		})
		r.run()
		if waited := slices.Contains(r.slept, time.Minute); waited != (after != "") || r.hub.State() != clean.hub.State() {
			t.Errorf("slept %v", r.slept)
		}
	}
}

// A file that changed since the release was opened is not uploaded.
func TestChangedFile(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	r := newRig(t, rel)
	d := r.destination(false)
	write(t, rel.Dir, "archives/hello_1.2.3_linux_amd64.tar.gz", "other")
	if err := d.Stage(t.Context()); fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
	if strings.Contains(r.hub.State(), "asset hello_1.2.3_linux_amd64.tar.gz") {
		t.Error("it was uploaded")
	}
}

func TestNew(t *testing.T) {
	good := githubrelease.Options{Release: release(t, verifytest.Options{Bare: true}), Transport: wire.New(wire.Options{}), Owner: "example", Repo: "hello"}
	if _, err := githubrelease.New(good); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*githubrelease.Options){
		"no tag":      func(o *githubrelease.Options) { o.Release.Manifest.Tag = "" },
		"another tag": func(o *githubrelease.Options) { o.Release.Manifest.Tag = "v1.2.4" },
		"owner":       func(o *githubrelease.Options) { o.Owner = "a/b" },
		"no repo":     func(o *githubrelease.Options) { o.Repo = "" },
		"dots":        func(o *githubrelease.Options) { o.Repo = ".." },
		"in the open": func(o *githubrelease.Options) { o.API = "http://github.example.com/api/v3" },
		"a user":      func(o *githubrelease.Options) { o.Uploads = "https://me@github.example.com/" },
		"no host":     func(o *githubrelease.Options) { o.API = "/api" },
	} {
		o := good
		edit(&o)
		if _, err := githubrelease.New(o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever happens to any one request, the same command again ends where a clean run ends (faults 28 and 29): one that
// begins with nothing, and one that finds what a bad one left.
func TestEveryFault(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	nothing := func(*rig) {}
	leftovers := func(r *rig) {
		r.repo.Set(func(repo *githubtest.Repo) { repo.Break = 2 })
		if err := r.destination(false).Stage(r.t.Context()); fault.CodeOf(err) != fault.Transient {
			r.t.Fatal(err)
		}
		r.repo.Draft("v1.2.3", "<!-- slipway "+string(rel.Digest)+" -->", nil)
		r.faults.Forget()
	}
	clean := newRig(t, rel)
	clean.run()
	want := clean.hub.State()
	for name, before := range map[string]func(*rig){"nothing there": nothing, "leftovers": leftovers} {
		counted := newRig(t, rel)
		before(counted)
		counted.run()
		n := len(counted.faults.Seen())
		t.Logf("%s: %d requests", name, n)
		step := fixture.Stride(3)
		for k, f := range []fixture.Fault{
			fixture.Kill, fixture.KillAfter, fixture.BadGateway, fixture.BadAfter, fixture.TooMany, fixture.Unavailable,
			fixture.Reset, fixture.Lost, fixture.Cut, fixture.Unauthorized,
		} {
			t.Run(name+", "+f.String(), func(t *testing.T) {
				for i := 1 + k%step; i <= n; i += step {
					r := newRig(t, rel)
					before(r)
					r.oneFault(i, f, want)
				}
			})
		}
	}
}

// oneFault publishes with a fault at the request with the number, and again without.
func (r *rig) oneFault(i int, f fixture.Fault, want string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	r.faults.Kill = cancel
	r.faults.Set(func(k int, _ string, _ *http.Request) fixture.Fault {
		switch {
		case k == i:
			return f
		case k > i && (f == fixture.Kill || f == fixture.KillAfter):
			return fixture.Kill
		}
		return fixture.None
	})
	_, err := r.publish(ctx, false)
	if code := fault.CodeOf(err); err != nil && code != fault.Transient && code != fault.Credentials && !errors.Is(err, context.Canceled) {
		r.t.Errorf("request %d: %v", i, err)
	}
	state := r.hub.State()
	if public := strings.Contains(state, "draft=false"); (err == nil || public) && state != want {
		r.t.Fatalf("request %d: %v, and what is public is not the release:\n%s", i, err, state)
	}
	r.faults.Set(nil)
	r.run()
	if got := r.hub.State(); got != want {
		r.t.Fatalf("request %d, %v: got\n%s\nwant\n%s", i, r.faults.Seen()[i-1], got, want)
	}
}

// FuzzLook has GitHub answer anything about releases and assets.
func FuzzLook(f *testing.F) {
	dir := f.TempDir()
	if _, err := verifytest.Write(dir, verifytest.Options{Bare: true}); err != nil {
		f.Fatal(err)
	}
	rel, err := publish.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	sums, err := rel.Hash("SHA256SUMS")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"id":1,"tag_name":"v1.2.3"}`, fmt.Sprintf(`[{"id":2,"name":"SHA256SUMS","state":"uploaded","size":%d,"digest":%q}]`, sums.Size, sums.Digest))
	f.Add(`{"id":1,"tag_name":"v1.2.3","immutable":true}`, `[{"id":-1,"name":"SHA256SUMS","state":"starter","size":-5,"digest":"sha256:../.."}]`)
	f.Add(`{}`, `[null]`)
	f.Fuzz(func(t *testing.T, public, assets string) {
		base := answers(func(req *http.Request) string {
			switch at := req.URL.Path; {
			case at == "/repos/example/hello":
				return `{"full_name":"example/hello","html_url":"https://github.com/example/hello","permissions":{"push":true}}`
			case strings.Contains(at, "/git/ref/"):
				return `{"object":{"type":"commit","sha":"` + commit + `"}}`
			case strings.Contains(at, "/releases/tags/"):
				return public
			case strings.HasSuffix(at, "/releases"):
				return "[]"
			case strings.HasSuffix(at, "/assets"):
				return assets
			}
			return "bytes"
		})
		d, err := githubrelease.New(githubrelease.Options{
			Release: rel, Owner: "example", Repo: "hello", Transport: wire.New(wire.Options{Base: base, Sleep: func(context.Context, time.Duration) error { return nil }}),
		})
		if err != nil {
			t.Fatal(err)
		}
		items, err := d.Look(t.Context(), publish.Listed)
		for _, it := range items {
			if it.State == publish.Same && it.Digest != "" && !strings.Contains(assets, it.Digest.Hex()) {
				t.Errorf("%s is the same without having its digest: %q", it.Name, assets)
			}
		}
		if err == nil && len(items) == 0 {
			t.Error("neither items nor an error")
		}
	})
}

// answers is a remote that answers 200.
type answers func(*http.Request) string

func (f answers) RoundTrip(req *http.Request) (*http.Response, error) {
	res := wire.Answer(http.StatusOK, f(req))
	res.Request = req
	return res, nil
}
