package proposal_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform/proposal"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// environ is the environment of a git that commits as somebody, whatever this machine has.
func environ(t testing.TB) []string {
	t.Helper()
	return append(os.Environ(), "HOME="+t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, environ(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repo is a repository with a file, a link and a branch beside main.
func repo(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "--quiet", "--initial-branch=main")
	for name, content := range map[string]string{"a/file": "one\n", "other": "x\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "--quiet", "-m", "one")
	git(t, dir, "branch", "next")
	return dir
}

func edit(read func(string) ([]byte, error)) (map[string][]byte, string, error) {
	b, err := read("a/file")
	if err != nil {
		return nil, "", err
	}
	return map[string][]byte{"a/file": append(b, "two\n"...), "new": []byte("new\n")}, "what differs:\n  a/file", nil
}

func TestProposal(t *testing.T) {
	at := repo(t)
	c := proposal.Change{Remote: at, Branch: "bases-1", Title: "bases 1", Environ: environ(t), Edit: edit}
	p, err := proposal.Make(t.Context(), t.TempDir(), c)
	if err != nil || p.Commit == "" || p.Onto != "main" || p.Was {
		t.Fatalf("%+v, %v", p, err)
	}
	patch, err := p.Patch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clone := t.TempDir()
	git(t, clone, "clone", "--quiet", at, "x")
	if err := os.WriteFile(filepath.Join(clone, "p"), patch, 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, filepath.Join(clone, "x"), "am", "--quiet", "../p")
	if got := git(t, filepath.Join(clone, "x"), "log", "-1", "--format=%B"); got != "bases 1\n\nwhat differs:\n  a/file" {
		t.Errorf("the patch says %q", got)
	}
	if got := git(t, at, "branch", "--format=%(refname:short)"); got != "main\nnext" {
		t.Errorf("before it is pushed there are %q", got)
	}
	if err := p.Push(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := git(t, at, "diff", "--stat=80", "main", "bases-1"); !strings.Contains(got, "2 files changed, 2 insertions(+)") {
		t.Errorf("the branch changes %s", got)
	}
	if got := git(t, at, "status", "--porcelain"); got != "" {
		t.Errorf("the work tree has changed: %s", got)
	}

	// What people have made of the branch stays, also where it came between.
	git(t, at, "branch", "--force", "bases-1", "next")
	before := git(t, at, "rev-parse", "bases-1")
	late, err := proposal.Make(t.Context(), t.TempDir(), proposal.Change{Remote: at, Branch: "bases-2", Title: "x", Environ: environ(t), Edit: edit})
	if err != nil {
		t.Fatal(err)
	}
	git(t, at, "branch", "bases-2", "main")
	if err := late.Push(t.Context()); err == nil {
		t.Error("a branch that came between is overwritten")
	}
	again, err := proposal.Make(t.Context(), t.TempDir(), c)
	if err != nil || !again.Was {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := again.Push(t.Context()); err != nil || git(t, at, "rev-parse", "bases-1") != before {
		t.Errorf("a branch that was there has moved, %v", err)
	}

	c.Onto, c.Branch = "next", "bases-3"
	c.Edit = func(func(string) ([]byte, error)) (map[string][]byte, string, error) { return nil, "", nil }
	if p, err := proposal.Make(t.Context(), t.TempDir(), c); err != nil || p.Commit != "" || p.Onto != "next" {
		t.Errorf("nothing to change: %+v, %v", p, err)
	}
}

func TestRefused(t *testing.T) {
	at := repo(t)
	reads := func(name string) func(func(string) ([]byte, error)) (map[string][]byte, string, error) {
		return func(read func(string) ([]byte, error)) (map[string][]byte, string, error) {
			_, err := read(name)
			return nil, "", err
		}
	}
	for _, tt := range []struct {
		want string
		edit func(c *proposal.Change)
	}{
		{"begins with a -", func(c *proposal.Change) { c.Remote = "--upload-pack=x" }},
		{"begins with a -", func(c *proposal.Change) { c.Onto = "-x" }},
		{"cloning", func(c *proposal.Change) { c.Onto = "none" }},
		{"cloning", func(c *proposal.Change) { c.Remote = "https://127.0.0.1:1/x" }},
		{"is not an ordinary file", func(c *proposal.Change) { c.Edit = reads("link") }},
		{"is not an ordinary file", func(c *proposal.Change) { c.Edit = reads("a") }},
		{"file does not exist", func(c *proposal.Change) { c.Edit = reads("none") }},
		{"file does not exist", func(c *proposal.Change) { c.Edit = reads(":(glob)**") }},
	} {
		c := proposal.Change{Remote: at, Branch: "b", Title: "x", Environ: environ(t), Edit: edit}
		tt.edit(&c)
		if _, err := proposal.Make(t.Context(), t.TempDir(), c); err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) == fault.OK {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	if _, err := proposal.Make(t.Context(), t.TempDir(), proposal.Change{Remote: at, Branch: "b", Environ: environ(t), Edit: reads("none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not that the file is missing", err)
	}
}
