package chartrepo_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/getter"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/chartrepo"
	"github.com/slipway-build/slipway/pipeline/publish/publishtest"
	"github.com/slipway-build/slipway/pipeline/publish/publishtest/gittest"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/verify/verifytest"
)

func open(t testing.TB, o verifytest.Options) publish.Release {
	t.Helper()
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, o); err != nil {
		t.Fatal(err)
	}
	rel, err := publish.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// stand is a git repository behind faults.
type stand struct {
	*gittest.Repo
	faults *publishtest.Faults
	url    string
	token  string
	change func(*chartrepo.Options)
}

func newStand(t testing.TB) *stand {
	t.Helper()
	s := &stand{Repo: gittest.New(t), faults: &publishtest.Faults{}, token: gittest.Token}
	s.url = s.faults.Serve(t, "git", s)
	return s
}

func (s *stand) destination(t testing.TB, rel publish.Release) *chartrepo.Destination {
	t.Helper()
	o := chartrepo.Options{
		Release: rel, Remote: s.url + "/repo.git", URL: s.url + "/pages", Transport: wire.New(wire.Options{Backoff: time.Millisecond}),
		Committer: "Example", Email: "example@example.com", Token: func() string { return s.token }, Path: os.Getenv("PATH"), Dir: t.TempDir(),
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
	o.Pause = func(ctx context.Context, _ int) error { return ctx.Err() }
	return publish.Run(t.Context(), []publish.Target{{Name: "charts", Wave: publish.Indexes, Destination: s.destination(t, rel)}}, o)
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
	rel := open(t, verifytest.Options{})
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
	// Helm reads it, and pulls the chart.
	file := filepath.Join(t.TempDir(), "index.yaml")
	if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
	index, err := repo.LoadIndexFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, v := range index.Entries["hello"] {
		versions = append(versions, v.Version)
	}
	if !slices.Equal(versions, []string{"2.0.0", "1.2.3", "1.0.0"}) {
		t.Errorf("versions are %q", versions)
	}
	chart, err := repo.FindChartInRepoURL(s.url+"/pages", "hello", "1.2.3", "", "", "", getter.Providers{{Schemes: []string{"http"}, New: getter.NewHTTPGetter}})
	if err != nil || chart != s.url+"/pages/hello-1.2.3.tgz" {
		t.Errorf("helm finds %s, %v", chart, err)
	}
	before := s.State()
	if result, err := s.publish(t, rel, publish.Options{}); err != nil || result.Changed || s.State() != before {
		t.Errorf("a second time: %v, %v", result.Changed, err)
	}
	items, err := s.destination(t, rel).Look(t.Context(), publish.Read)
	if err != nil || items[0].State != publish.Same {
		t.Errorf("through its site: %v, %v", items, err)
	}
}

// A branch that is not there is made, without anything else in it, and what Artifact Hub reads comes with it.
func TestNewBranch(t *testing.T) {
	s := newStand(t)
	if _, err := s.publish(t, open(t, verifytest.Options{}), publish.Options{}); err != nil {
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
	rel := open(t, verifytest.Options{})
	for name, files := range map[string]map[string]string{
		"in the index":  {"index.yaml": strings.Replace(theirs, "version: 2.0.0", "version: 1.2.3", 1)},
		"as a file":     {"hello-1.2.3.tgz": "other bytes"},
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
	rel := open(t, verifytest.Options{})
	for name, c := range map[string]struct {
		spoil func(*stand)
		code  fault.Code
	}{
		"a wrong token":  {func(s *stand) { s.token = "canary" }, fault.Credentials},
		"no token":       {func(s *stand) { s.token = "" }, fault.Credentials},
		"nobody answers": {func(s *stand) { s.change = func(o *chartrepo.Options) { o.Remote = "http://127.0.0.1:1/repo.git" } }, fault.Transient},
		"no index":       {func(s *stand) { s.Commit("gh-pages", map[string]string{"index.yaml": "- a list\n"}) }, fault.Usage},
		"no YAML":        {func(s *stand) { s.Commit("gh-pages", map[string]string{"index.yaml": "{{{"}) }, fault.Usage},
	} {
		s := newStand(t)
		c.spoil(s)
		before := s.State()
		_, err := s.publish(t, rel, publish.Options{})
		secret := base64.StdEncoding.EncodeToString([]byte("x-access-token:canary"))
		if fault.CodeOf(err) != c.code || s.State() != before || strings.Contains(fmt.Sprint(err), "canary") || strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%s: %d, %v", name, fault.CodeOf(err), err)
		}
	}
	for _, o := range []chartrepo.Options{{Remote: "-u"}, {Remote: "ext::sh -c x"}, {Remote: "https://example.com", Branch: "-x"}, {Remote: "https://example.com", Folder: "../x"}, {Remote: "http://example.com"}} {
		o.Release = rel
		if _, err := chartrepo.New(o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q %q %q: %v", o.Remote, o.Branch, o.Folder, err)
		}
	}
}

func TestDryRun(t *testing.T) {
	s := newStand(t)
	var told []wire.Request
	s.change = func(o *chartrepo.Options) {
		o.Destination, o.DryRun = "charts", func(r wire.Request) { told = append(told, r) }
	}
	before := s.State()
	if _, err := s.publish(t, open(t, verifytest.Options{}), publish.Options{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Method != chartrepo.Push || told[0].URL != s.url+"/repo.git gh-pages" || told[0].Size == 0 || s.State() != before {
		t.Errorf("told %v", told)
	}
}

// Two releases that rewrite one index lose nothing of each other.
func TestManyAtOnce(t *testing.T) {
	s := newStand(t)
	s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
	var rels []publish.Release
	for i := range 4 {
		rels = append(rels, open(t, verifytest.Options{Version: fmt.Sprintf("1.2.%d", i)}))
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
	rel := open(t, verifytest.Options{})
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
	step := publishtest.Stride(26)
	for k, f := range []publishtest.Fault{publishtest.BadGateway, publishtest.BadAfter, publishtest.TooMany, publishtest.Reset, publishtest.Lost, publishtest.Cut, publishtest.Unauthorized} {
		for i := 1 + 2*k%step; i <= n; i += step {
			s := make()
			s.faults.Set(publishtest.Nth(i, f))
			_, err := s.publish(t, rel, publish.Options{Rounds: 1})
			if code := fault.CodeOf(err); err != nil && code != fault.Transient && code != fault.Credentials {
				t.Errorf("%s at request %d: %v", f, i, err)
			}
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
