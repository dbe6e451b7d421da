package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
)

// recipe is a file of a release that is in the folder.
func (tm *team) recipe(r manifest.Release, format string) string {
	tm.t.Helper()
	for _, made := range r.Recipes {
		if made.Format == format {
			b, err := os.ReadFile(filepath.Join(tm.root, r.Name, r.Version.String(), filepath.FromSlash(made.Path)))
			must(tm.t, err)
			return string(b)
		}
	}
	tm.t.Fatalf("no %s", format)
	return ""
}

// TestRecipes has git clone and fetch the tap and the bucket of an environment, as brew and scoop do it.
func TestRecipes(t *testing.T) {
	tm := newTeam(t)
	tm.whole = true
	first := tm.add("hello", "1.0.0", "production", true)
	second := tm.add("hello", "1.1.0", "production", true)
	tm.add("hello", "1.2.0-rc.1", "staging", true)
	tm.ask(environment.Rollback, "hello", "1.0.0", "production")
	tm.ask(environment.Freeze, "", "", "staging")
	s, h := tm.serving(serve.Options{Hostnames: map[string]string{"127.0.0.1": "production"}})
	server := httptest.NewServer(h)
	defer server.Close()

	dir := t.TempDir()
	tap := filepath.Join(dir, "tap")
	git(t, dir, "clone", "--quiet", "--origin=origin", "--template=", "--config", "core.fsmonitor=false", server.URL+"/environments/production/tap.git", tap)
	is := func(dir, name, want string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s has %q, %v, and the release %q", name, b, err, want)
		}
	}
	log := func(dir string) string { return git(t, dir, "log", "--format=%s|%b|%aI") }
	is(tap, "Formula/hello.rb", tm.recipe(first, "formula"))
	type moves struct {
		Moves []struct {
			Line int
			Time string
		}
	}
	times := map[int]string{}
	for _, l := range answer[moves](t, h, "/api/v1/moves").Moves {
		times[l.Line] = strings.Replace(l.Time, "Z", "+00:00", 1)
	}
	history := fmt.Sprintf(`hello 1.0.0|rollback in line 4: because of <rollback>
|%s
hello 1.1.0|add in line 2: because of <add>
|%s
hello 1.0.0|add in line 1: because of <add>
|%s`, times[4], times[2], times[1])
	if got := log(tap); got != history {
		t.Errorf("%s\nand not\n%s", got, history)
	}
	git(t, tap, "fsck", "--strict")

	// The same at the root of a host and with another git's protocol, and by another server.
	other := filepath.Join(dir, "other")
	git(t, dir, "-c", "protocol.version=0", "clone", "--quiet", server.URL+"/tap.git", other)
	_, again := tm.serving(serve.Options{})
	refs := get(again, "/environments/production/tap.git/info/refs?service=git-upload-pack", "Git-Protocol", "version=1")
	for _, want := range []string{git(t, tap, "rev-parse", "HEAD"), git(t, other, "rev-parse", "HEAD")} {
		wants(t, refs, http.StatusOK, want+" refs/heads/main")
	}
	bucket := filepath.Join(dir, "bucket")
	if got := git(t, dir, "ls-remote", "--symref", server.URL+"/scoop.git", "HEAD"); !strings.HasPrefix(got, "ref: refs/heads/main\tHEAD\n") {
		t.Error(got)
	}
	git(t, dir, "clone", "--quiet", server.URL+"/scoop.git", bucket)
	is(bucket, "bucket/hello.json", tm.recipe(first, "scoop"))
	if got := git(t, bucket, "ls-files"); got != "bucket/hello.json" {
		t.Error(got)
	}

	// What comes after that is fetched, and goes where it is withdrawn.
	tm.ask(environment.Release, "hello", "", "production")
	world := tm.add("world", "2.0.0", "production", true)
	s.Look(t.Context())
	git(t, tap, "fetch", "--tags", "--force", "--quiet", "origin", "refs/heads/main:refs/remotes/origin/main")
	git(t, tap, "rebase", "--quiet", "origin/main")
	is(tap, "Formula/hello.rb", tm.recipe(second, "formula"))
	is(tap, "Formula/world.rb", tm.recipe(world, "formula"))
	tm.ask(environment.Withdraw, "world", "2.0.0", "")
	s.Look(t.Context())
	git(t, tap, "pull", "--quiet", "--ff-only")
	if got := git(t, tap, "ls-files", "Formula"); got != "Formula/hello.rb" {
		t.Error(got)
	}
	if got, _, _ := strings.Cut(log(tap), "|"); got != "world has no current version" {
		t.Error(got)
	}

	// A release that is not here has no commit, until it comes.
	before := git(t, tap, "rev-parse", "HEAD")
	tm.add("hello", "1.3.0", "production", false)
	s.Look(t.Context())
	git(t, tap, "pull", "--quiet", "--ff-only")
	if got := git(t, tap, "rev-parse", "HEAD"); got != before {
		t.Error(log(tap))
	}
	must(t, os.CopyFS(filepath.Join(tm.root, "hello", "1.3.0"), os.DirFS(tm.elsewhere)))
	eventually(t, "a release that comes later", func() bool {
		git(t, tap, "pull", "--quiet", "--ff-only")
		return git(t, tap, "rev-parse", "HEAD~1") == before
	})

	// What is current when the rules are others is what the history has.
	staging := filepath.Join(dir, "staging")
	git(t, dir, "clone", "--quiet", server.URL+"/environments/staging/tap.git", staging)
	if got, _, _ := strings.Cut(log(staging), "|"); got != "hello 1.3.0" {
		t.Error(got)
	}
	if got := git(t, staging, "rev-list", "--count", "HEAD"); got != "6" {
		t.Error(log(staging))
	}
	snapshot := get(h, "/environments/snapshot/")
	wants(t, snapshot, http.StatusOK, "brew tap hello/snapshot http://example.com/environments/snapshot/tap.git\nbrew install hello/snapshot/hello", "scoop bucket add snapshot http://example.com/environments/snapshot/scoop.git\nscoop install snapshot/hello")
}

// TestRecipesAskedWrongly asks for what git does not ask for.
func TestRecipesAskedWrongly(t *testing.T) {
	tm := newTeam(t)
	tm.add("hello", "1.0.0", "production", true)
	_, h := tm.serving(serve.Options{})
	const at = "/environments/production/tap.git/"
	for _, tt := range []struct {
		method, target, body, encoding string
		want                           int
	}{
		{"GET", at + "info/refs?service=git-upload-pack", "", "", 200},
		{"GET", at + "info/refs", "", "", 403},
		{"GET", at + "info/refs?service=git-receive-pack", "", "", 403},
		{"HEAD", at + "info/refs?service=git-upload-pack", "", "", 405},
		{"POST", at + "info/refs?service=git-upload-pack", "", "", 405},
		{"GET", at + "git-upload-pack", "", "", 405},
		{"POST", at + "git-upload-pack", "0000", "", 200},
		{"POST", at + "git-upload-pack", "nothing", "", 400},
		{"POST", at + "git-upload-pack", "0000", "gzip", 400},
		{"POST", at + "git-upload-pack", "0000", "br", 415},
		{"POST", at + "git-upload-pack", strings.Repeat("0000", 1<<18+1), "", 413},
		{"PUT", at + "git-upload-pack", "0000", "", 405},
		{"POST", at + "git-receive-pack", "0000", "", 405},
		{"GET", at + "HEAD", "", "", 404},
		{"GET", at, "", "", 404},
		{"GET", "/environments/production/tap.git", "", "", 404},
		{"GET", "/environments/production/winget.git/info/refs?service=git-upload-pack", "", "", 404},
		{"GET", "/environments/elsewhere/tap.git/info/refs?service=git-upload-pack", "", "", 404},
	} {
		r := newRequest(tt.target)
		r.Method, r.Body = tt.method, http.NoBody
		if tt.body != "" {
			r = httptest.NewRequest(tt.method, tt.target, strings.NewReader(tt.body))
		}
		if tt.encoding != "" {
			r.Header.Set("Content-Encoding", tt.encoding)
		}
		if w := record(h, r); w.Code != tt.want {
			t.Errorf("%s %s %.20q: %d %s", tt.method, tt.target, tt.body, w.Code, w.Body)
		}
	}
}
