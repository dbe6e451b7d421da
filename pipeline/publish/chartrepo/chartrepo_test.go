package chartrepo_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/chartrepo"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// stand is a git repository behind faults.
type stand struct {
	*gittest.Repo
	faults *fixture.Faults
	url    string
	token  string
	work   string                       // for what is temporary; empty once everything is over
	site   atomic.Pointer[http.Handler] // instead of the branch's; nil is that
	change func(*chartrepo.Options)
}

func newStand(t testing.TB) *stand {
	t.Helper()
	s := &stand{Repo: gittest.New(t), faults: &fixture.Faults{}, token: gittest.Token, work: t.TempDir()}
	s.url = s.faults.Serve(t, "git", s)
	t.Cleanup(func() {
		if left, err := os.ReadDir(s.work); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	})
	return s
}

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if site := s.site.Load(); site != nil && strings.HasPrefix(r.URL.Path, "/pages/") {
		(*site).ServeHTTP(w, r)
		return
	}
	s.Repo.ServeHTTP(w, r)
}

func (s *stand) serves(site http.Handler) { s.site.Store(&site) }

// pushes are the requests so far that would change the branch.
func (s *stand) pushes() int {
	n := 0
	for _, r := range s.faults.Seen() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL, "/git-receive-pack") {
			n++
		}
	}
	return n
}

func (s *stand) destination(t testing.TB, rel publish.Release) *chartrepo.Destination {
	t.Helper()
	o := chartrepo.Options{
		Release: rel, Remote: s.url + "/repo.git", URL: s.url + "/pages", Transport: wire.New(wire.Options{Backoff: time.Millisecond}),
		Committer: "Example", Email: "example@example.com", Token: func() string { return s.token }, Path: os.Getenv("PATH"), Dir: s.work,
	}
	if s.change != nil {
		s.change(&o)
	}
	d, err := chartrepo.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *stand) publish(t testing.TB, rel publish.Release, o publish.Options) (publish.Result, error) {
	t.Helper()
	return s.run(t.Context(), t, rel, o)
}

func (s *stand) run(ctx context.Context, t testing.TB, rel publish.Release, o publish.Options) (publish.Result, error) {
	t.Helper()
	o.Pause = func(ctx context.Context, _ int) error { return ctx.Err() }
	return publish.Run(ctx, []publish.Target{{Name: "charts", Wave: publish.Indexes, Destination: s.destination(t, rel)}}, o)
}

// theirs is an index that somebody else keeps.
const theirs = `# by hand
apiVersion: v1
entries:
  hello:
  - apiVersion: v2
    created: "2025-05-05T05:05:05.123456789Z"
    digest: 1111111111111111111111111111111111111111111111111111111111111111
    name: hello
    annotations: {kept: "1"} # to the letter
    urls: ["https://example.com/hello-2.0.0.tgz"]
    version: 2.0.0
  - {apiVersion: v2, name: hello, version: 1.0.0, digest: "2222222222222222222222222222222222222222222222222222222222222222", urls: [hello-1.0.0.tgz]}
  zebra:
  - name: zebra
    version: v0.1
generated: "2025-05-05T05:05:05.123456789Z"
serverInfo: {}
`

func TestPublish(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	s := newStand(t)
	s.Commit("gh-pages", map[string]string{"index.yaml": theirs, "index.html": "<html>"})
	if _, err := s.publish(t, rel, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	got, _ := s.File("gh-pages", "index.yaml")
	for _, want := range []string{"# by hand", `annotations: {kept: "1"} # to the letter`, "version: v0.1", "serverInfo: {}", `generated: "2026-03-14T15:09:26Z"`, `created: "2026-03-14T15:09:26Z"`} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	if log := s.Log("gh-pages"); len(log) != 2 || log[0] != "Example <example@example.com> 2026-03-14T15:09:26Z hello 1.2.3" && log[0] != "Example <example@example.com> 2026-03-14T15:09:26+00:00 hello 1.2.3" {
		t.Errorf("the history is %q", log)
	}
	var index struct {
		Entries map[string][]struct {
			Version, Digest string
			URLs            []string
		}
	}
	if err := helmyaml.Unmarshal([]byte(got), &index); err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, v := range index.Entries["hello"] {
		versions = append(versions, v.Version)
		if chart, _ := s.File("gh-pages", "hello-1.2.3.tgz"); v.Version == "1.2.3" && (v.Digest != artifact.Sum([]byte(chart)).Hex() || !slices.Equal(v.URLs, []string{"hello-1.2.3.tgz"})) {
			t.Errorf("the index has %+v", v)
		}
	}
	if !slices.Equal(versions, []string{"2.0.0", "1.2.3", "1.0.0"}) {
		t.Errorf("versions are %q", versions)
	}
	before, pushes := s.State(), s.pushes()
	if result, err := s.publish(t, rel, publish.Options{}); err != nil || result.Changed || s.State() != before || s.pushes() != pushes || pushes != 1 {
		t.Errorf("a second time: %v, %v, %d pushes", result.Changed, err, s.pushes())
	}
	// A flip alone looks, too.
	if err := s.destination(t, rel).Flip(t.Context()); err != nil || s.State() != before || s.pushes() != pushes {
		t.Errorf("a second flip: %v", err)
	}
	items, err := s.destination(t, rel).Look(t.Context(), publish.Read)
	if err != nil || items[0].State != publish.Same {
		t.Errorf("through its site: %v, %v", items, err)
	}
}

// A branch that is not there is made, without anything else in it, and what Artifact Hub reads comes with it.
func TestNewBranch(t *testing.T) {
	s := newStand(t)
	if _, err := s.publish(t, releasetest.Open(t, verifytest.Options{}), publish.Options{}); err != nil {
		t.Fatal(err)
	}
	if log := s.Log("gh-pages"); len(log) != 1 {
		t.Errorf("the history is %q", log)
	}
	if hub, ok := s.File("gh-pages", "artifacthub-repo.yml"); !ok || !strings.Contains(hub, "owners") {
		t.Errorf("artifacthub-repo.yml is %q", hub)
	}
}

// A version of a chart is one chart for good.
func TestTaken(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	f, _ := rel.File(rel.Manifest.Charts[0].Path)
	digest := f.Digest.Hex()
	for name, files := range map[string]map[string]string{
		"in the index":  {"index.yaml": strings.Replace(theirs, "version: 2.0.0", "version: 1.2.3", 1)},
		"as a file":     {"hello-1.2.3.tgz": "other bytes"},
		"as nothing":    {"hello-1.2.3.tgz": ""},
		"at last":       {"index.yaml": "apiVersion: v1\nentries:\n  hello:\n  - {name: hello, version: 1.2.3, digest: " + digest + "}\n  - {name: hello, version: 1.2.3, digest: abc}\n"},
		"without bytes": {"index.yaml": "apiVersion: v1\nentries:\n  hello:\n  - {name: hello, version: 1.2.3}\n"},
	} {
		s := newStand(t)
		s.Commit("gh-pages", files)
		before := s.State()
		if _, err := s.publish(t, rel, publish.Options{}); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "hello 1.2.3 is taken") || s.State() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for name, c := range map[string]struct {
		spoil func(*stand)
		code  fault.Code
	}{
		"a wrong token":  {func(s *stand) { s.token = "canary" }, fault.Credentials},
		"no token":       {func(s *stand) { s.token = "" }, fault.Credentials},
		"nobody answers": {func(s *stand) { s.change = func(o *chartrepo.Options) { o.Remote = "http://127.0.0.1:1/repo.git" } }, fault.Transient},
		"no index":       {func(s *stand) { s.Commit("gh-pages", map[string]string{"index.yaml": "- a list\n"}) }, fault.Usage},
		"no YAML":        {func(s *stand) { s.Commit("gh-pages", map[string]string{"index.yaml": "{{{"}) }, fault.Usage},
		"too large":      {func(s *stand) { s.Commit("gh-pages", map[string]string{"index.yaml": strings.Repeat("#", 50<<20)}) }, fault.Usage},
		"a private one": {func(s *stand) {
			s.MakePrivate()
			s.token = "canary"
		}, fault.Credentials},
		"ends like it": {func(s *stand) { s.Commit("refs/heads/gh-pages", map[string]string{"x": "y"}) }, fault.Usage},
		"a folder":     {func(s *stand) { s.Commit("gh-pages", map[string]string{"index.yaml/x": "x"}) }, fault.Usage},
		"below a file": {func(s *stand) {
			s.Commit("gh-pages", map[string]string{"a": "x"})
			s.change = func(o *chartrepo.Options) { o.Folder = "a/b" }
		}, fault.Usage},
		"no repository":      {func(s *stand) { s.change = func(o *chartrepo.Options) { o.Remote = s.url + "/none.git" } }, fault.Usage},
		"no file":            {func(s *stand) { s.change = func(o *chartrepo.Options) { o.Remote = s.URL() + "/none" } }, fault.Usage},
		"no git":             {func(s *stand) { s.change = func(o *chartrepo.Options) { o.Path = t.TempDir() + ":." } }, fault.Git},
		"a protected branch": {func(s *stand) { s.Refuse("GH006: Protected branch update failed for refs/heads/gh-pages.") }, fault.Policy},
	} {
		s := newStand(t)
		c.spoil(s)
		before := s.State()
		_, err := s.publish(t, rel, publish.Options{})
		if c.code != fault.Policy && !strings.Contains(fmt.Sprint(err), "nothing was ") { // a hook is asked by nothing but a push
			t.Errorf("%s: seen only when it was too late: %v", name, err)
		}
		secret := base64.StdEncoding.EncodeToString([]byte("x-access-token:canary"))
		if fault.CodeOf(err) != c.code || s.State() != before || strings.Contains(fmt.Sprint(err), "canary") || strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%s: %d, %v", name, fault.CodeOf(err), err)
		}
	}
}

func TestOptions(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	const good = "https://example.com/charts.git"
	for _, o := range []chartrepo.Options{
		{},
		{Remote: "-u"},
		{Remote: "--upload-pack=x"},
		{Remote: "ext::sh -c x"},
		{Remote: "fd::17"},
		{Remote: "ssh://-oProxyCommand=x/y"},
		{Remote: "-oProxyCommand=x:y"},
		{Remote: "host:-x"},
		{Remote: "http://example.com"},
		{Remote: "ftp://example.com/x"},
		{Remote: "https://example.com/a b"},
		{Remote: "https://user:canary@example.com/x"},
		{Remote: "file://host"},
		{Remote: "/tmp/x"},
		{Remote: good, Branch: "-x"},
		{Remote: good, Branch: "a..b"},
		{Remote: good, Branch: "a:b"},
		{Remote: good, Branch: "*"},
		{Remote: good, Branch: "a/"},
		{Remote: good, Branch: "a.lock/b"},
		{Remote: good, Branch: "a@{1}"},
		{Remote: good, Folder: "../x"},
		{Remote: good, Folder: "/x"},
		{Remote: good, Folder: "a/.GIT"},
	} {
		o.Release = rel
		if _, err := chartrepo.New(o); fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q %q %q: %v", o.Remote, o.Branch, o.Folder, err)
		}
	}
	for _, o := range []chartrepo.Options{
		{Remote: good},
		{Remote: "http://127.0.0.1:1/x"},
		{Remote: "http://[::1]:1/x"},
		{Remote: "https://[2001:db8::1]/x"},
		{Remote: "ssh://git@example.com:22/x"},
		{Remote: "git@example.com:owner/x.git"},
		{Remote: "example.com:/owner/x.git"},
		{Remote: "file:///tmp/x"},
		{Remote: good, Branch: "release/v1.x", Folder: "."},
		{Remote: good, Folder: "stable/charts"},
	} {
		o.Release = rel
		if _, err := chartrepo.New(o); err != nil {
			t.Errorf("%q %q %q: %v", o.Remote, o.Branch, o.Folder, err)
		}
	}
	// What is in dist/ is not what the manifest lists.
	if err := os.WriteFile(rel.Path(rel.Manifest.Charts[0].Path), []byte("other bytes"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := chartrepo.New(chartrepo.Options{Release: rel, Remote: good}); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "not the file that the manifest lists") {
		t.Errorf("another chart: %v", err)
	}
}

// What is in the branch is there for users once the site shows it, and not before.
func TestSite(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	s := newStand(t)
	s.serves(http.NotFoundHandler())
	if _, err := s.publish(t, rel, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	look := func(want publish.State, detail string) {
		t.Helper()
		items, err := s.destination(t, rel).Look(t.Context(), publish.Read)
		if err != nil || len(items) != 1 || items[0].State != want || !strings.Contains(items[0].Detail, detail) ||
			items[0].URL != s.url+"/pages/hello-1.2.3.tgz" {
			t.Errorf("%v, %v", items, err)
		}
	}
	look(publish.Missing, "its site does not show it yet")
	before := s.State()
	if err := s.destination(t, rel).Flip(t.Context()); err != nil || s.State() != before {
		t.Errorf("a flip that waits for the site: %v", err)
	}
	s.serves(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".tgz") {
			fmt.Fprint(w, "other bytes")
			return
		}
		s.Repo.ServeHTTP(w, r)
	}))
	look(publish.Different, "hello-1.2.3.tgz has other bytes")
	s.serves(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	if _, err := s.destination(t, rel).Look(t.Context(), publish.Read); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), s.url+"/pages") {
		t.Errorf("a page for an index: %v", err)
	}
	s.site.Store(nil)
	look(publish.Same, "")
	// A site that is not there yet holds up nobody.
	s = newStand(t)
	s.serves(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	look(publish.Missing, "")
}

// Where nothing but a file is missing, nothing but the file is put.
func TestIndexStays(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	f, _ := rel.File(rel.Manifest.Charts[0].Path)
	s := newStand(t)
	index := "{apiVersion: v1, entries: {hello: [{name: hello, version: 1.2.3, digest: 'sha256:" + strings.ToUpper(f.Digest.Hex()) + "'}]}}"
	s.Commit("gh-pages", map[string]string{"index.yaml": index})
	if _, err := s.publish(t, rel, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.File("gh-pages", "index.yaml"); got != index {
		t.Errorf("the index became\n%s", got)
	}
	if _, ok := s.File("gh-pages", "hello-1.2.3.tgz"); !ok {
		t.Error("there is no chart")
	}
}

// In a folder of the branch, beside whatever else is there; over a file, with a configuration of git that would do harm.
func TestFolderAndConfiguration(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	home, trap := t.TempDir(), filepath.Join(t.TempDir(), "trap")
	config := "[core]\n\thooksPath = " + home + "\n[user]\n\tname = Nobody\n[url \"file:///nowhere\"]\n\tinsteadOf = file://\n[push]\n\tgpgSign = true\n"
	for name, text := range map[string]string{".gitconfig": config, "pre-push": "#!/bin/sh\ntouch '" + trap + "'\n"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := newStand(t)
	s.change = func(o *chartrepo.Options) {
		o.Remote, o.Branch, o.Folder, o.Env = s.Repo.URL(), "site/v1", "helm/charts", []string{"HOME=" + home}
	}
	s.Commit("site/v1", map[string]string{"helm/README": "r", "helm/charts/index.yaml": theirs, "index.yaml": "another one"})
	s.Commit("other/site/v1", map[string]string{"x": "y"})
	other := s.Head("other/site/v1")
	if _, err := s.publish(t, rel, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"helm/README": "r", "index.yaml": "another one", "helm/charts/index.yaml": "version: 1.2.3", "helm/charts/hello-1.2.3.tgz": "\x1f\x8b",
	} {
		if got, _ := s.File("site/v1", name); !strings.Contains(got, want) {
			t.Errorf("%s is %.200q", name, got)
		}
	}
	if log := s.Log("site/v1"); len(log) != 2 || !strings.HasPrefix(log[0], "Example <example@example.com>") ||
		s.Head("other/site/v1") != other || s.Head("gh-pages") != "" {
		t.Errorf("the history is %q", log)
	}
	if _, err := os.Stat(trap); err == nil {
		t.Error("a hook ran")
	}
}

// Nobody who lists processes sees the token.
func TestTokenIsNoArgument(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that writes down its arguments is a script")
	}
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$@\" >>'" + log + "'\nexec '" + real + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s := newStand(t)
	s.MakePrivate()
	s.change = func(o *chartrepo.Options) { o.Path = dir + string(filepath.ListSeparator) + o.Path }
	if _, err := s.publish(t, releasetest.Open(t, verifytest.Options{}), publish.Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	secret := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + gittest.Token))
	for _, line := range strings.Split(string(b), "\n") {
		if words := strings.Fields(line); slices.Contains(words, gittest.Token) || strings.Contains(line, secret) || strings.Contains(line, "Authorization") {
			t.Errorf("git %s", line)
		}
		if strings.Contains(line, " push ") && (strings.Contains(line, "--force") || strings.Contains(line, " +")) {
			t.Errorf("a push by force: git %s", line)
		}
	}
	if !regexp.MustCompile(`-c core.hooksPath=/dev/null .* push --porcelain -- `).Match(b) {
		t.Errorf("git was run as\n%s", b)
	}
}

// recorder is a journal in memory.
type recorder struct{ lines []string }

func (r *recorder) Begin(q wire.Request) (func(string), error) {
	r.lines = append(r.lines, "begin "+q.String())
	return func(outcome string) { r.lines = append(r.lines, "end "+outcome) }, nil
}

// moved has somebody push to the branch at each of the first pushes, after it was looked at and before it arrives.
func (s *stand) moved(times int) {
	pushed := 0
	s.faults.Set(func(_ int, _ string, r *http.Request) fixture.Fault {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") && pushed < times {
			pushed++
			index, _ := s.File("gh-pages", "index.yaml")
			added := fmt.Sprintf("  other%d: [{name: other%[1]d, version: 1.0.0}]\n  zebra:\n", pushed)
			s.Commit("gh-pages", map[string]string{"index.yaml": strings.Replace(index, "  zebra:\n", added, 1)})
		}
		return fixture.None
	})
}

// A branch that moves between the look and the push is looked at again, not for ever, and whatever came in between stays.
func TestMoved(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, c := range []struct {
		times int
		code  fault.Code
	}{{4, fault.OK}, {5, fault.Transient}} {
		s := newStand(t)
		journal := &recorder{}
		s.change = func(o *chartrepo.Options) { o.Recorder = journal }
		s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
		s.moved(c.times)
		_, err := s.publish(t, rel, publish.Options{Rounds: 1})
		if fault.CodeOf(err) != c.code {
			t.Errorf("moved %d times: %v", c.times, err)
		}
		s.faults.Set(nil)
		if len(journal.lines) < 4 || !strings.HasPrefix(journal.lines[0], "begin "+chartrepo.Push+" "+s.url+"/repo.git gh-pages (") ||
			journal.lines[1] != "end refused: the branch had moved" {
			t.Errorf("the journal has %q", journal.lines)
		}
		if _, err := s.publish(t, rel, publish.Options{}); err != nil {
			t.Errorf("again: %v", err)
		}
		if last := journal.lines[len(journal.lines)-1]; last != "end pushed" {
			t.Errorf("the journal ends in %q", last)
		}
		index, _ := s.File("gh-pages", "index.yaml")
		for i := 1; i <= c.times; i++ {
			if !strings.Contains(index, fmt.Sprintf("name: other%d", i)) {
				t.Errorf("the entry of somebody else is lost in\n%s", index)
			}
		}
		if log := s.Log("gh-pages"); len(log) != c.times+2 || strings.Count(index, "version: 1.2.3") != 1 {
			t.Errorf("the history is %q", log)
		}
	}
	// While it is tried whether a push is let in, too.
	s := newStand(t)
	s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
	once := sync.OnceFunc(func() { s.Commit("gh-pages", map[string]string{"x": "y"}) })
	s.faults.Set(func(_ int, _ string, r *http.Request) fixture.Fault {
		if r.URL.Query().Get("service") == "git-receive-pack" {
			once()
		}
		return fixture.None
	})
	if items, err := s.destination(t, rel).Look(t.Context(), publish.Listed); err != nil || items[0].State != publish.Missing || len(s.Log("gh-pages")) != 2 {
		t.Errorf("%v, %v", items, err)
	}
}

// The version is taken after the preflight saw that it was free.
func TestTakenMeanwhile(t *testing.T) {
	s := newStand(t)
	s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
	s.faults.Set(func(_ int, _ string, r *http.Request) fixture.Fault {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			s.Commit("gh-pages", map[string]string{"hello-1.2.3.tgz": "other bytes"})
		}
		return fixture.None
	})
	_, err := s.publish(t, releasetest.Open(t, verifytest.Options{}), publish.Options{})
	if got, _ := s.File("gh-pages", "hello-1.2.3.tgz"); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "taken meanwhile") || got != "other bytes" {
		t.Errorf("%v", err)
	}
}

// What Artifact Hub reads is that of the newest release.
func TestHub(t *testing.T) {
	for version, want := range map[string]bool{"3.0.0": true, "1.2.3": false, "3.0.0-rc.1": false} {
		s := newStand(t)
		s.Commit("gh-pages", map[string]string{"index.yaml": theirs, "artifacthub-repo.yml": "old"})
		if _, err := s.publish(t, releasetest.Open(t, verifytest.Options{Version: version}), publish.Options{}); err != nil {
			t.Fatal(err)
		}
		if hub, _ := s.File("gh-pages", "artifacthub-repo.yml"); (hub != "old") != want {
			t.Errorf("%s: artifacthub-repo.yml is %q", version, hub)
		}
	}
}

func TestDryRun(t *testing.T) {
	s := newStand(t)
	var told []wire.Request
	s.change = func(o *chartrepo.Options) {
		o.Destination, o.DryRun = "charts", func(r wire.Request) { told = append(told, r) }
	}
	before, rel, journal := s.State(), releasetest.Open(t, verifytest.Options{}), &recorder{}
	if _, err := s.publish(t, rel, publish.Options{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	s.change = func(o *chartrepo.Options) { o.Destination, o.Recorder = "charts", journal }
	if s.State() != before || s.pushes() != 0 {
		t.Error("a dry run pushed")
	}
	if _, err := s.publish(t, rel, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"begin " + told[0].String(), "end pushed"}; !slices.Equal(journal.lines, want) {
		t.Errorf("done was %q, and told %q", journal.lines, want)
	}
	if len(told) != 1 || told[0].Method != chartrepo.Push || told[0].URL != s.url+"/repo.git gh-pages" || told[0].Size == 0 {
		t.Errorf("told %v", told)
	}
}

// Two releases that rewrite one index lose nothing of each other.
func TestManyAtOnce(t *testing.T) {
	s := newStand(t)
	s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
	var rels []publish.Release
	for i := range 4 {
		rels = append(rels, releasetest.Open(t, verifytest.Options{Version: fmt.Sprintf("1.2.%d", i)}))
	}
	var wg sync.WaitGroup
	for _, rel := range rels {
		d := s.destination(t, rel)
		wg.Go(func() {
			for { // as a person would who is told that the same command goes on
				err := d.Flip(t.Context())
				if err == nil {
					return
				}
				if fault.CodeOf(err) != fault.Transient {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	index, _ := s.File("gh-pages", "index.yaml")
	for _, want := range []string{"version: 1.2.0", "version: 1.2.1", "version: 1.2.2", "version: 1.2.3", "version: 2.0.0", "version: 1.0.0", "name: zebra"} {
		if !strings.Contains(index, want) {
			t.Errorf("%s is lost in\n%s", want, index)
		}
	}
	if log := s.Log("gh-pages"); len(log) != 5 {
		t.Errorf("the history is %q", log)
	}
}

// Whatever happens to any one request of git, the same command again ends where a clean run does.
func TestEveryFault(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	make := func() *stand {
		s := newStand(t)
		s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
		return s
	}
	clean := make()
	if _, err := clean.publish(t, rel, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	n, want := len(clean.faults.Seen()), clean.State()
	step := fixture.Stride(26)
	for f := fixture.Kill; f <= fixture.Unauthorized; f++ {
		for i := 1 + 2*int(f)%step; i <= n; i += step {
			s := make()
			ctx, cancel := context.WithCancel(t.Context())
			s.faults.Kill = cancel
			s.faults.Set(fixture.Nth(i, f))
			_, err := s.run(ctx, t, rel, publish.Options{Rounds: 1})
			if code := fault.CodeOf(err); err != nil && code != fault.Transient && code != fault.Credentials && ctx.Err() == nil {
				t.Errorf("%s at request %d: %v", f, i, err)
			}
			cancel()
			s.faults.Set(nil)
			if _, err := s.publish(t, rel, publish.Options{}); err != nil {
				t.Fatalf("%s at request %d, and again: %v", f, i, err)
			}
			if s.State() != want {
				t.Fatalf("%s at request %d, and again: another state:\n%s", f, i, s.State())
			}
		}
	}
	t.Logf("%d requests", n)
}
