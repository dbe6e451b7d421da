package source_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// TestMain gives git a configuration of its own, so that this machine's has no say.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "source-test")
	if err != nil {
		panic(err)
	}
	config := "[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n" +
		"[protocol \"file\"]\n\tallow = always\n[commit]\n\tgpgSign = false\n[gc]\n\tauto = 0\n"
	name := filepath.Join(dir, "gitconfig")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		panic(err)
	}
	for k, v := range map[string]string{"HOME": dir, "XDG_CONFIG_HOME": dir, "GIT_CONFIG_GLOBAL": name, "GIT_CONFIG_NOSYSTEM": "1"} {
		os.Setenv(k, v)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// gitRepo is a repository in a temporary folder.
type gitRepo struct {
	testing.TB
	dir string
}

// commitTime is the time of every commit, in seconds since 1970, with a zone that is not UTC.
const (
	commitTime = 1700000000
	commitDate = "1700000000 +0200"
)

func newRepo(t testing.TB, init ...string) *gitRepo {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := &gitRepo{t, dir}
	g.git(append([]string{"init", "--quiet"}, init...)...)
	return g
}

// at is the same test in another folder.
func (g *gitRepo) at(dir string) *gitRepo { return &gitRepo{g.TB, dir} }

func (g *gitRepo) git(args ...string) string { g.Helper(); return g.gitIn("", args...) }

// gitIn runs git with something on its standard input.
func (g *gitRepo) gitIn(in string, args ...string) string {
	g.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+commitDate, "GIT_COMMITTER_DATE="+commitDate)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *gitRepo) path(p string) string { return filepath.Join(g.dir, filepath.FromSlash(p)) }

func (g *gitRepo) write(p, text string) {
	g.Helper()
	if err := os.MkdirAll(filepath.Dir(g.path(p)), 0o777); err != nil {
		g.Fatal(err)
	}
	if err := os.WriteFile(g.path(p), []byte(text), 0o666); err != nil {
		g.Fatal(err)
	}
}

// commit commits everything there is and returns the commit's name.
func (g *gitRepo) commit(message string) string {
	g.Helper()
	g.git("add", "--all")
	g.git("commit", "--quiet", "--allow-empty", "--message", message)
	return g.git("rev-parse", "HEAD")
}

func (g *gitRepo) read(o source.Options) source.Source {
	g.Helper()
	if o.Dir == "" {
		o.Dir = g.dir
	}
	s, err := source.Read(context.Background(), o)
	if err != nil {
		g.Fatal(err)
	}
	return s
}

// refused holds an error to the exit code for git and to the words that name the thing and the way out.
func refused(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	if fault.CodeOf(err) != fault.Git {
		t.Errorf("exit code %d: %v", fault.CodeOf(err), err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error has several lines: %v", err)
	}
}

// tree lists what is in dir: "<mode> <path> <contents>", a symbolic link as "link <path> <target>".
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		rel = filepath.ToSlash(rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if info.Mode().Perm() != 0o755 {
				out = append(out, fmt.Sprintf("%o %s/", info.Mode().Perm(), rel))
			}
			return nil
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			out = append(out, "link "+rel+" "+target)
			return err
		}
		b, err := os.ReadFile(p)
		out = append(out, fmt.Sprintf("%o %s %s", info.Mode().Perm(), rel, b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
