package gittest_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish/publishtest/gittest"
)

// git runs a client with nothing configured.
func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A client of git reads without a token and pushes with one, more than goes into a request without chunks.
func TestServe(t *testing.T) {
	r := gittest.New(t)
	r.Commit("gh-pages", map[string]string{"index.html": "hello"})
	s := httptest.NewServer(r)
	defer s.Close()
	dir := filepath.Join(t.TempDir(), "clone")
	if out, err := git(t, ".", "clone", "--branch=gh-pages", s.URL+"/repo.git", dir); err != nil {
		t.Fatal(err, out)
	}
	noise, sum := []byte{}, sha256.Sum256(nil)
	for range 3 << 20 / len(sum) {
		noise = append(noise, sum[:]...)
		sum = sha256.Sum256(sum[:])
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"add", "large"}, {"commit", "--message=large"}} {
		if out, err := git(t, dir, args...); err != nil {
			t.Fatal(err, out)
		}
	}
	before := r.State()
	for _, user := range []string{"", "x:wrong@"} {
		if out, err := git(t, dir, "push", strings.Replace(s.URL, "http://", "http://"+user, 1)+"/repo.git", "gh-pages"); err == nil || r.State() != before {
			t.Errorf("%q may push: %s", user, out)
		}
	}
	to := strings.Replace(s.URL, "http://", "http://x:"+gittest.Token+"@", 1) + "/repo.git"
	if out, err := git(t, dir, "push", to, "gh-pages"); err != nil {
		t.Fatal(err, out)
	}
	if got, ok := r.File("gh-pages", "large"); !ok || got != string(noise) {
		t.Error("what was pushed is not there")
	}
	for name, status := range map[string]int{"index.html": http.StatusOK, "large": http.StatusOK, "no": http.StatusNotFound, "../config": http.StatusNotFound} {
		res, err := http.Get(s.URL + "/pages/" + name)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
}

func TestPrivate(t *testing.T) {
	r := gittest.New(t)
	r.MakePrivate()
	s := httptest.NewServer(r)
	defer s.Close()
	if out, err := git(t, ".", "ls-remote", s.URL+"/repo.git"); err == nil {
		t.Errorf("it is read without a token: %s", out)
	}
	if out, err := git(t, ".", "ls-remote", strings.Replace(s.URL, "http://", "http://x:"+gittest.Token+"@", 1)+"/repo.git"); err != nil {
		t.Errorf("it is not read with a token: %s", out)
	}
}

// The same commits end in the same state, in any repository.
func TestState(t *testing.T) {
	states := map[string]bool{}
	for range 2 {
		r := gittest.New(t)
		r.Commit("b", map[string]string{"1": "a", "2/3": "b"})
		r.Commit("b", map[string]string{"1": "c"})
		r.Commit("a", map[string]string{"1": "a"})
		states[r.State()] = true
		if log := r.Log("b"); len(log) != 2 || r.Head("c") != "" {
			t.Errorf("the history is %q", log)
		}
	}
	if len(states) != 1 {
		t.Errorf("states are %v", states)
	}
}

func TestRefuse(t *testing.T) {
	r := gittest.New(t)
	r.Commit("a", map[string]string{"1": "a"})
	r.Refuse("no & never")
	dir := filepath.Join(t.TempDir(), "clone")
	if out, err := git(t, ".", "clone", "--quiet", "--branch=a", r.URL(), dir); err != nil {
		t.Fatal(err, out)
	}
	if out, err := git(t, dir, "push", r.URL(), "HEAD:b"); err == nil || !strings.Contains(out, "no & never") {
		t.Errorf("%v: %s", err, out)
	}
}
