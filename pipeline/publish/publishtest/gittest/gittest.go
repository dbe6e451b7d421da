// Package gittest serves real git repositories over HTTP for tests, with git's own http-backend
// (https://git-scm.com/docs/git-http-backend), and a branch of one as a site, as GitHub Pages does.
package gittest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Token is the password of who may push.
const Token = "write"

// Repo is a bare repository.
type Repo struct {
	t   testing.TB
	Dir string
	// Private asks for the token to read, too.
	Private bool
}

// New makes an empty repository.
func New(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{t: t, Dir: filepath.Join(t.TempDir(), "repo.git")}
	r.git("", "init", "--quiet", "--bare", r.Dir)
	r.git("", "--git-dir", r.Dir, "config", "http.receivepack", "true")
	return r
}

// environment is one in which a commit of the same content has the same id.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Somebody", "GIT_AUTHOR_EMAIL=somebody@example.com", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
		"GIT_COMMITTER_NAME=Somebody", "GIT_COMMITTER_EMAIL=somebody@example.com", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z",
	}
}

func (r *Repo) git(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = environment()
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %q: %v: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// Head is the commit of a branch; "" for none.
func (r *Repo) Head(branch string) string {
	out, err := exec.Command("git", "--git-dir", r.Dir, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// Commit commits files to a branch from another hand.
func (r *Repo) Commit(branch string, files map[string]string) {
	r.t.Helper()
	index := filepath.Join(r.t.TempDir(), "index")
	at := r.Head(branch)
	run := func(stdin string, args ...string) string {
		cmd := exec.Command("git", append([]string{"--git-dir", r.Dir}, args...)...)
		cmd.Env = append(environment(), "GIT_INDEX_FILE="+index)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			r.t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if at != "" {
		run("", "read-tree", at)
	}
	names := []string{}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		id := run(files[name], "hash-object", "-w", "--stdin")
		run("", "update-index", "--add", "--cacheinfo", "100644,"+id+","+name)
	}
	args := []string{"commit-tree", run("", "write-tree"), "-m", "by hand"}
	if at != "" {
		args = append(args, "-p", at)
	}
	run("", "update-ref", "refs/heads/"+branch, run("", args...))
}

// File is the content of a file of a branch.
func (r *Repo) File(branch, name string) (string, bool) {
	out, err := exec.Command("git", "--git-dir", r.Dir, "cat-file", "blob", "refs/heads/"+branch+":"+name).Output()
	return string(out), err == nil
}

// Log are the subjects of the commits of a branch, newest first.
func (r *Repo) Log(branch string) []string {
	r.t.Helper()
	if r.Head(branch) == "" {
		return nil
	}
	return strings.Split(r.git("", "--git-dir", r.Dir, "log", "--format=%an <%ae> %cI %s", "refs/heads/"+branch), "\n")
}

// State are all refs with their commits and trees.
func (r *Repo) State() string {
	r.t.Helper()
	var b strings.Builder
	refs := r.git("", "--git-dir", r.Dir, "for-each-ref", "--format=%(refname) %(objectname)")
	for line := range strings.Lines(refs) {
		ref, _, _ := strings.Cut(line, " ")
		fmt.Fprintf(&b, "%s\n%s\n", strings.TrimSpace(line), r.git("", "--git-dir", r.Dir, "ls-tree", "-r", ref))
	}
	return b.String()
}

// ServeHTTP serves the repository at /repo.git, and the branch gh-pages as a site at /pages/.
func (r *Repo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if name, ok := strings.CutPrefix(req.URL.Path, "/pages/"); ok {
		content, found := r.File("gh-pages", name)
		if !found {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write([]byte(content))
		return
	}
	_, password, _ := req.BasicAuth()
	pushes := strings.HasSuffix(req.URL.Path, "/git-receive-pack") || req.URL.Query().Get("service") == "git-receive-pack"
	if (pushes || r.Private) && password != Token {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: append(environment(), "GIT_PROJECT_ROOT="+filepath.Dir(r.Dir), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=somebody",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"),
	}).ServeHTTP(w, req)
}
