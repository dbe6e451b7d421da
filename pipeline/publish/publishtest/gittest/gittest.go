// Package gittest serves real git repositories over HTTP for tests, with git's own http-backend
// (https://git-scm.com/docs/git-http-backend), and a branch of one as a site, as GitHub Pages does.
package gittest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// Token is the password of who may push.
const Token = "write"

// Repo is a bare repository.
type Repo struct {
	t   testing.TB
	Dir string

	backend string // git's program for CGI
	private atomic.Bool
}

// New makes an empty repository.
func New(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{t: t, Dir: filepath.Join(t.TempDir(), "repo.git")}
	r.git("", nil, "init", "--quiet", "--bare", "--template=", r.Dir)
	r.git("", nil, "config", "http.receivepack", "true")
	r.backend = filepath.Join(r.git("", nil, "--exec-path"), "git-http-backend")
	return r
}

// URL is that of the repository without HTTP.
func (r *Repo) URL() string { return "file://" + filepath.ToSlash(r.Dir) }

// MakePrivate has the token be asked for to read, too.
func (r *Repo) MakePrivate() { r.private.Store(true) }

// Refuse has every push be refused with the words, as that to a protected branch is.
func (r *Repo) Refuse(words string) {
	r.t.Helper()
	hook := filepath.Join(r.Dir, "hooks", "pre-receive")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho '"+words+"' >&2\nexit 1\n"), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// environment is one in which nothing is configured, and a commit of the same content has the same id.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "LC_ALL=C",
		"GIT_AUTHOR_NAME=Somebody", "GIT_AUTHOR_EMAIL=somebody@example.com", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z",
		"GIT_COMMITTER_NAME=Somebody", "GIT_COMMITTER_EMAIL=somebody@example.com", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z",
		// Who runs the tests need not own the repository, in a container for one.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}
}

// try runs git in the repository.
func (r *Repo) try(stdin string, env []string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"--git-dir", r.Dir}, args...)...)
	cmd.Env = append(environment(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %q: %w: %s", args, err, stderr.String())
	}
	return string(out), nil
}

// git is try for what cannot fail, without the end of the line.
func (r *Repo) git(stdin string, env []string, args ...string) string {
	r.t.Helper()
	out, err := r.try(stdin, env, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// Head is the commit of a branch; "" for none.
func (r *Repo) Head(branch string) string {
	out, err := r.try("", nil, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// Commit commits files to a branch from another hand, also while the repository is served. The branch is made if it is
// not there. The same files on the same branch are the same commit.
func (r *Repo) Commit(branch string, files map[string]string) {
	r.t.Helper()
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(r.t.TempDir(), "index")}
	args := []string{"-m", "by hand"}
	if at := r.Head(branch); at != "" {
		r.git("", env, "read-tree", at)
		args = append(args, "-p", at)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		id := r.git(files[name], env, "hash-object", "-w", "--stdin")
		r.git("", env, "update-index", "--add", "--cacheinfo", "100644,"+id+","+name)
	}
	args = append([]string{"commit-tree", r.git("", env, "write-tree")}, args...)
	r.git("", env, "update-ref", "refs/heads/"+branch, r.git("", env, args...))
}

// File is the content of a file of a branch, and whether there is one.
func (r *Repo) File(branch, name string) (string, bool) {
	out, err := r.try("", nil, "cat-file", "blob", "refs/heads/"+branch+":"+name)
	return out, err == nil
}

// Log are the commits of a branch, newest first: author, time of the commit and subject.
func (r *Repo) Log(branch string) []string {
	r.t.Helper()
	if r.Head(branch) == "" {
		return nil
	}
	return strings.Split(r.git("", nil, "log", "--format=%an <%ae> %cI %s", "refs/heads/"+branch), "\n")
}

// State are all refs with their commits and trees, in the order of their names.
func (r *Repo) State() string {
	r.t.Helper()
	var b strings.Builder
	refs := r.git("", nil, "for-each-ref", "--format=%(refname) %(objectname)")
	for line := range strings.Lines(refs) {
		ref, _, _ := strings.Cut(line, " ")
		fmt.Fprintf(&b, "%s\n%s\n", strings.TrimSpace(line), r.git("", nil, "ls-tree", "-r", ref))
	}
	return b.String()
}

// maxPush bounds a request, in bytes.
const maxPush = 128 << 20

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
	if (pushes || r.private.Load()) && password != Token {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	// CGI wants to know how long a body is, and git sends a large one in chunks.
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxPush))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req = req.Clone(req.Context())
	req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	(&cgi.Handler{
		Path: r.backend, Stderr: io.Discard,
		Env: append(environment(), "GIT_PROJECT_ROOT="+filepath.Dir(r.Dir), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=somebody"),
	}).ServeHTTP(w, req)
}
