package branch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// git as a person runs it.
var environ, do, bare = gittest.Environ, gittest.Git, gittest.Bare

func options(t testing.TB, remote string) branch.Options {
	return branch.Options{Remote: remote, Branch: "log", Environ: environ(t), Dir: t.TempDir(), Author: "Example <example@example.com>"}
}

const file = "days/log.txt"

var at = time.Unix(1700000000, 0)

// add puts a line at the end of the file.
func add(ctx context.Context, l *branch.Log, line string) error {
	return l.Append(ctx, func(t branch.Tip) (branch.Change, error) {
		have, err := t.File(ctx, file, 1<<20)
		if err == nil {
			err = t.Grown(ctx, file, have)
		}
		return branch.Change{Files: map[string][]byte{file: append(have, line+"\n"...), "head": []byte(line)}, Message: line, Time: at}, err
	})
}

func lines(t testing.TB, l *branch.Log) []string {
	t.Helper()
	var have []byte
	must(t, l.Read(t.Context(), func(tip branch.Tip) (err error) {
		if have, err = tip.File(t.Context(), file, 1<<20); err != nil {
			return err
		}
		return tip.Grown(t.Context(), file, have)
	}))
	return strings.Split(strings.TrimSuffix(string(have), "\n"), "\n")
}

// Writers at once, each with a clone of its own but for two that share one, of a branch that is not there yet: each line is
// there once, in its writer's order, one commit each.
func TestAtOnce(t *testing.T) {
	repo := bare(t)
	const writers, each = 4, 3
	shared := branch.Open(options(t, repo))
	var wg sync.WaitGroup
	for i := range writers {
		l := shared
		if i > 1 {
			l = branch.Open(options(t, repo))
		}
		wg.Go(func() {
			for n := range each {
				if err := add(t.Context(), l, fmt.Sprintf("%d %d", i, n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	have := lines(t, branch.Open(options(t, repo)))
	next := map[string]int{}
	for _, line := range have {
		writer, n, _ := strings.Cut(line, " ")
		if n != fmt.Sprint(next[writer]) {
			t.Errorf("writer %s has %s where %d is to be", writer, n, next[writer])
		}
		next[writer]++
	}
	if len(have) != writers*each || len(next) != writers {
		t.Errorf("the log is %q", have)
	}
	if n := do(t, repo, "rev-list", "--count", "--first-parent", "log"); n != fmt.Sprint(writers*each) {
		t.Errorf("%s commits", n)
	}
	if head := do(t, repo, "show", "log:head"); head != have[len(have)-1] {
		t.Errorf("beside the log stands %q", head)
	}
}

// Two who do the very same in the same second have both done it.
func TestSame(t *testing.T) {
	repo := bare(t)
	var wg sync.WaitGroup
	for range 3 {
		l := branch.Open(options(t, repo))
		wg.Go(func() {
			if err := add(t.Context(), l, "same"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if have := lines(t, branch.Open(options(t, repo))); len(have) != 3 {
		t.Errorf("the log is %q", have)
	}
}

// The answer to a push is lost and the commit got in: it is not added once more.
func TestLostAnswer(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that loses an answer is a script")
	}
	real, err := exec.LookPath("git")
	must(t, err)
	repo, bin := bare(t), t.TempDir()
	script := "#!/bin/sh\n'" + real + "' \"$@\" || exit\ncase \" $* \" in *' push '*) echo 'fatal: the remote end hung up unexpectedly' >&2; exit 128;; esac\n"
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	o := options(t, repo)
	o.Environ = append(o.Environ, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	l := branch.Open(o)
	for _, line := range []string{"one", "two"} {
		must(t, add(t.Context(), l, line))
	}
	if have := lines(t, branch.Open(options(t, repo))); !slices.Equal(have, []string{"one", "two"}) {
		t.Errorf("the log is %q", have)
	}
}

// What was taken away or replaced is noticed by who saw it, and by who sees it for the first time.
func TestRewritten(t *testing.T) {
	repo := bare(t)
	o := options(t, repo)
	l := branch.Open(o)
	for _, line := range []string{"one", "two", "three"} {
		must(t, add(t.Context(), l, line))
	}
	three := do(t, repo, "rev-parse", "log")
	refused := func(l *branch.Log, want ...string) {
		t.Helper()
		err := add(t.Context(), l, "four")
		if fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%d, %v", fault.CodeOf(err), err)
		}
		for _, w := range want {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%v, want %q", err, w)
			}
		}
	}
	do(t, repo, "update-ref", "refs/heads/log", three+"~1")
	refused(l, "the branch was rewritten", three)
	refused(branch.Open(o), "the branch was rewritten", three)
	do(t, repo, "update-ref", "-d", "refs/heads/log")
	refused(l, "the branch is gone", three)

	two := do(t, repo, "commit-tree", "-p", three, "-m", "x", three+"~1^{tree}")
	do(t, repo, "update-ref", "refs/heads/log", two)
	refused(branch.Open(options(t, repo)), "commit "+two+" changes or removes entries that its parent "+three+" has: "+file+" only grows")
	do(t, repo, "update-ref", "refs/heads/log", three)
	must(t, add(t.Context(), l, "four"))
}

// What a caller refuses leaves no trace.
func TestCallerRefuses(t *testing.T) {
	repo := bare(t)
	l := branch.Open(options(t, repo))
	no := errors.New("no")
	if err := l.Append(t.Context(), func(branch.Tip) (branch.Change, error) { return branch.Change{}, no }); !errors.Is(err, no) ||
		!strings.HasPrefix(err.Error(), "branch \"log\" of "+repo+": ") {
		t.Error(err)
	}
	if refs := do(t, repo, "for-each-ref"); refs != "" {
		t.Errorf("there is %s", refs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := add(ctx, l, "x"); fault.CodeOf(err) != fault.Transient || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestClone(t *testing.T) {
	repo := bare(t)
	g, err := git.New(git.Remote(environ(t), repo), t.TempDir(), branch.Needs)
	must(t, err)
	open := func(name string) *branch.Clone {
		t.Helper()
		c := &branch.Clone{Git: g, Dir: filepath.Join(t.TempDir(), "git"), Remote: repo, Branch: name, Shallow: true, Author: "Example", Email: "example@example.com"}
		must(t, c.Init(t.Context()))
		must(t, c.Fetch(t.Context()))
		return c
	}
	commit := func(c *branch.Clone, files map[string][]byte) string {
		t.Helper()
		id, err := c.Commit(t.Context(), branch.Change{Files: files, Message: "m", Time: at})
		must(t, err)
		return id
	}
	one, other := open("main"), open("main")
	first := commit(one, map[string][]byte{"a/b": []byte("1"), "empty": nil})
	if one.Head() != "" {
		t.Error("a commit that was not pushed is the head")
	}
	if got, want := do(t, one.Dir, "cat-file", "commit", first), fmt.Sprintf("tree %s\nauthor Example <example@example.com> %[2]d +0000\ncommitter Example <example@example.com> %[2]d +0000\n\nm\n",
		strings.TrimSpace(do(t, one.Dir, "rev-parse", first+"^{tree}")), at.Unix()); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("the commit is\n%s\nand should be\n%s", got, want)
	}
	odd := map[string][]byte{"with space": []byte("1\n"), `quote"and\slash`: []byte("a\x00b"), "ünï": []byte("mark :1\n"), "new\nline": nil}
	strange := open("strange")
	strange.Author, strange.Email = "\"Example\n<inc>.\"", "<example@example.com>"
	id := commit(strange, odd)
	for name, content := range odd {
		if got := do(t, strange.Dir, "cat-file", "blob", id+":"+name); strings.TrimSpace(got) != strings.TrimSpace(string(content)) {
			t.Errorf("%q has %q", name, got)
		}
	}
	if got := do(t, strange.Dir, "log", "-1", "--format=%an <%ae>", id); strings.TrimSpace(got) != "Exampleinc <example@example.com>" {
		t.Errorf("the author is %q", got)
	}
	for _, dry := range []bool{true, false} {
		if behind, err := one.Push(t.Context(), first, dry); behind || err != nil {
			t.Fatal(behind, err)
		}
		if _, err := other.Look(t.Context()); err != nil {
			t.Error(err)
		}
		if at, _ := other.Look(t.Context()); (at == first) == dry {
			t.Errorf("dry %v: the branch is at %q", dry, at)
		}
	}
	if behind, err := other.Push(t.Context(), commit(other, map[string][]byte{"x": nil}), false); !behind || fault.CodeOf(err) != fault.Transient {
		t.Errorf("a push behind another: %v, %v", behind, err)
	}
	must(t, other.Fetch(t.Context()))
	if b, err := other.File(t.Context(), "a/b", 1); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := other.File(t.Context(), "empty", 1); err != nil || b == nil || len(b) != 0 {
		t.Errorf("an empty file is %q, %v", b, err)
	}
	if b, err := other.File(t.Context(), "none", 1); err != nil || b != nil {
		t.Errorf("no file is %q, %v", b, err)
	}
	for name, limit := range map[string]int64{"a": 10, "a/b": 0} {
		if _, err := other.File(t.Context(), name, limit); !errors.Is(err, branch.ErrUnfit) || fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, files := range []map[string][]byte{{"a": nil}, {"a/b/c": nil}} {
		if _, err := other.Commit(t.Context(), branch.Change{Files: files, Time: at}); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), `"a/b" of branch main is in the way`) {
			t.Errorf("%v", err)
		}
	}
	if again := commit(open("other"), map[string][]byte{"a/b": []byte("1"), "empty": nil}); again != first {
		t.Errorf("the same change is commit %s, and was %s", again, first)
	}
	do(t, repo, "update-ref", "refs/heads/refs/heads/deep", first)
	c := &branch.Clone{Git: g, Dir: filepath.Join(t.TempDir(), "git"), Remote: repo, Branch: "deep"}
	must(t, c.Init(t.Context()))
	if err := c.Fetch(t.Context()); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "make the branch first") {
		t.Error(err)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"main", "release/v1.x", "_x"} {
		if err := branch.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-x", "a..b", "a:b", "a/", "/a", "a.", "a.lock/b", "a b", "a@{1}", "*"} {
		if err := branch.CheckName(name); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A password is in nothing that is said, and in no argument.
func TestPassword(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that writes down its arguments is a script")
	}
	real, err := exec.LookPath("git")
	must(t, err)
	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho \"$@\" >>'"+log+"'\nexec '"+real+"' \"$@\"\n"), 0o755))
	o := options(t, "http://me:s3cret@127.0.0.1:1/x")
	o.Environ = append(o.Environ, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	err = branch.Open(o).Read(t.Context(), func(branch.Tip) error { return nil })
	if fault.CodeOf(err) != fault.Transient || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	if b, err := os.ReadFile(log); err != nil || bytes.Contains(b, []byte("s3cret")) || !bytes.Contains(b, []byte("ls-remote")) {
		t.Errorf("git was run as\n%s, %v", b, err)
	}
}

// Several branches move together or not at all, and what is on them is read in bulk.
func TestGroup(t *testing.T) {
	t.Run("path", func(t *testing.T) {
		repo := bare(t)
		testGroup(t, repo, repo)
	})
	t.Run("http", func(t *testing.T) {
		served := serve(t)
		testGroup(t, served.Dir, served.url)
		for _, want := range []string{"ls-refs", "fetch", "receive-pack"} {
			if served.ours[want] == 0 {
				t.Errorf("no %s without git: %v", want, served.ours)
			}
		}
		if served.git["receive-pack"] > 0 || served.git["ls-refs"] > 0 {
			t.Errorf("git asked for %v", served.git)
		}
	})
	t.Run("http with a proxy for git", func(t *testing.T) {
		served := serve(t)
		testGroup(t, served.Dir, served.url, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.proxy", "GIT_CONFIG_VALUE_0=")
		if len(served.ours) > 0 || served.git["receive-pack"] == 0 {
			t.Errorf("asked without git for %v, with git for %v", served.ours, served.git)
		}
	})
}

// served is a repository behind a server, with what was asked for there, by git and by this program.
type served struct {
	*gittest.Repo
	url, host string
	mu        sync.Mutex
	git, ours map[string]int
}

func serve(t *testing.T) *served {
	s := &served{Repo: gittest.New(t), git: map[string]int{}, ours: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.host = strings.TrimPrefix(server.URL, "http://")
	s.url = strings.Replace(server.URL, "http://", "http://writer:"+gittest.Token+"@", 1) + "/repo.git"
	return s
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	asked := strings.TrimPrefix(filepath.Base(r.URL.Path), "git-")
	if _, command, ok := strings.Cut(string(body), "command="); ok {
		asked, _, _ = strings.Cut(command, "\n")
	}
	s.mu.Lock()
	if r.UserAgent() == "git/slipway" {
		s.ours[asked]++
	} else {
		s.git[asked]++
	}
	s.mu.Unlock()
	s.Repo.ServeHTTP(w, r)
}

func testGroup(t *testing.T, repo, remote string, more ...string) {
	g, err := git.New(git.Remote(append(environ(t), more...), remote), t.TempDir(), branch.Needs)
	must(t, err)
	open := func() *branch.Group {
		return &branch.Group{Git: g, Dir: filepath.Join(t.TempDir(), "git"), Remote: remote, Branches: []string{"log", "staging"}, Author: "Example", Email: "example@example.com"}
	}
	locked := func(g *branch.Group, f func()) {
		t.Helper()
		must(t, g.Locked(t.Context(), func() error {
			must(t, g.Fetch(t.Context()))
			f()
			return nil
		}))
	}
	change := func(content string) branch.Change {
		return branch.Change{Files: map[string][]byte{"a/b": []byte(content), "gone": nil}, Message: "m", Time: at}
	}
	one, other := open(), open()
	locked(one, func() {
		ids, err := one.Commit(t.Context(), []branch.Commit{{"", change("1")}, {"", change("2")}})
		must(t, err)
		locked(other, func() {}) // before there is anything
		if behind, err := one.Push(t.Context(), map[string]string{"log": ids[0], "staging": ids[1]}); behind || err != nil {
			t.Fatal(behind, err)
		}
		if one.Head("log") != ids[0] {
			t.Error("what was pushed is not the head")
		}
		if has, err := one.Has(t.Context(), "log", ids[0]); !has || err != nil {
			t.Error(has, err)
		}
		if has, err := one.Has(t.Context(), "log", ids[1]); has || err != nil {
			t.Error(has, err)
		}
	})
	// The other one knows nothing of that, and would take both further. Nothing of it moves.
	ids, err := other.Commit(t.Context(), []branch.Commit{{"", change("3")}})
	must(t, err)
	before := do(t, repo, "for-each-ref")
	if behind, err := other.Push(t.Context(), map[string]string{"log": ids[0]}); !behind || fault.CodeOf(err) != fault.Transient || do(t, repo, "for-each-ref") != before {
		t.Errorf("%v, %v\n%s", behind, err, do(t, repo, "for-each-ref"))
	}
	locked(other, func() {
		ids, err := other.Commit(t.Context(), []branch.Commit{
			{other.Head("log"), branch.Change{Files: map[string][]byte{"c": []byte("4")}, Gone: []string{"gone", "never"}, Message: "m", Time: at}},
		})
		must(t, err)
		if behind, err := other.Push(t.Context(), map[string]string{"log": ids[0]}); behind || err != nil {
			t.Fatal(behind, err)
		}
		files, err := other.Files(t.Context(), other.Head("log"), "")
		must(t, err)
		var got []string
		must(t, other.Read(t.Context(), files, 1, func(b branch.Blob, content []byte) error {
			got = append(got, b.Path+"="+string(content))
			return nil
		}))
		if strings.Join(got, " ") != "a/b=1 c=4" {
			t.Errorf("%q", got)
		}
		if err := other.Read(t.Context(), files, 0, nil); fault.CodeOf(err) != fault.Mismatch {
			t.Error(err)
		}
		if b, err := other.File(t.Context(), other.Head("staging"), "a/b", 10); err != nil || string(b) != "2" {
			t.Errorf("%q, %v", b, err)
		}
	})
	// One branch is ahead, the other one not: neither moves.
	locked(one, func() {
		ids, err := one.Commit(t.Context(), []branch.Commit{{one.Head("log"), change("5")}, {one.Head("staging"), change("6")}})
		must(t, err)
		do(t, repo, "update-ref", "refs/heads/staging", one.Head("log"))
		before := do(t, repo, "for-each-ref")
		if behind, err := one.Push(t.Context(), map[string]string{"log": ids[0], "staging": ids[1]}); !behind || do(t, repo, "for-each-ref") != before {
			t.Errorf("%v, %v\n%s", behind, err, do(t, repo, "for-each-ref"))
		}
	})
	// What the remote said is used once, and not by who comes later.
	must(t, one.Locked(t.Context(), func() error { return one.Look(t.Context()) }))
	later := do(t, repo, "commit-tree", "staging^{tree}", "-p", "staging", "-m", "later")
	do(t, repo, "update-ref", "refs/heads/staging", later)
	locked(one, func() {
		if one.Head("staging") != later {
			t.Errorf("staging is at %s and not %s", one.Head("staging"), later)
		}
	})
	// What is no plain file is refused.
	link := strings.TrimSpace(do(t, repo, "rev-parse", "log:c"))
	tree := filepath.Join(t.TempDir(), "tree")
	must(t, os.WriteFile(tree, fmt.Appendf(nil, "120000 blob %s\tlink\n", link), 0o600))
	in, err := os.Open(tree)
	must(t, err)
	defer in.Close()
	cmd := exec.Command("git", "mktree")
	cmd.Dir, cmd.Stdin, cmd.Env = repo, in, environ(t)
	made, err := cmd.Output()
	must(t, err)
	do(t, repo, "update-ref", "refs/heads/log", do(t, repo, "commit-tree", strings.TrimSpace(string(made)), "-m", "x"))
	locked(one, func() {
		if _, err := one.Files(t.Context(), one.Head("log"), ""); fault.CodeOf(err) != fault.Mismatch {
			t.Error(err)
		}
	})
}

// Refs that are no branches move each by itself: with git over a path, and without it over HTTP. A server that is out of order
// for this program alone does no harm, nor does one that knows nothing of the protocol's second version.
func TestPushRefs(t *testing.T) {
	for _, way := range []string{"path", "http", "http with a helper", "an old server", "out of order"} {
		t.Run(way, func(t *testing.T) {
			served := serve(t)
			remote, env := served.url, environ(t)
			switch way {
			case "http with a helper":
				if runtime.GOOS == "windows" {
					t.Skip("the helper is a script")
				}
				served.MakePrivate()
				remote = strings.Replace(remote, "writer:"+gittest.Token+"@", "", 1)
				helper := filepath.Join(t.TempDir(), "helper")
				must(t, os.WriteFile(helper, []byte("#!/bin/sh\necho "+gittest.Token+"\n"), 0o755))
				env = append(env, "GIT_ASKPASS="+helper)
				defer func() {
					if len(served.git) > 0 {
						t.Errorf("git asked for %v", served.git)
					}
				}()
			case "path":
				remote = served.Dir
			case "an old server":
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.UserAgent() == "git/slipway" && strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
						w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
						io.WriteString(w, "0000") // to a question that was not one
						return
					}
					served.ServeHTTP(w, r)
				}))
				t.Cleanup(server.Close)
				remote = strings.Replace(server.URL, "http://", "http://writer:"+gittest.Token+"@", 1) + "/repo.git"
			case "out of order":
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.UserAgent() == "git/slipway" {
						if strings.HasSuffix(r.URL.Path, "/git-receive-pack") { // which has arrived all the same
							served.ServeHTTP(httptest.NewRecorder(), r)
						}
						http.Error(w, "out of order", http.StatusBadGateway)
						return
					}
					served.ServeHTTP(w, r)
				}))
				t.Cleanup(server.Close)
				remote = strings.Replace(server.URL, "http://", "http://writer:"+gittest.Token+"@", 1) + "/repo.git"
			}
			g, err := git.New(git.Remote(env, remote), t.TempDir(), branch.Needs)
			must(t, err)
			group := branch.Group{Git: g, Dir: filepath.Join(t.TempDir(), "git"), Remote: remote, Watch: []string{"refs/x/"}}
			a, b := []byte("a"), []byte("b")
			must(t, group.Locked(t.Context(), func() error {
				left, said, err := group.PushRefs(t.Context(), []branch.Ref{{Name: "refs/x/1", To: branch.BlobID(a)}, {Name: "refs/x/2", To: branch.BlobID(b)}}, a, b)
				if len(left) > 0 || said != nil || err != nil || group.Watched()["refs/x/2"] != branch.BlobID(b) {
					t.Error(left, said, err, group.Watched())
				}
				must(t, group.Fetch(t.Context()))
				must(t, group.Fetch(t.Context())) // for which another question is asked
				if len(group.Watched()) != 2 {
					t.Error(group.Watched())
				}
				left, said, err = group.PushRefs(t.Context(), []branch.Ref{{Name: "refs/x/1", From: branch.BlobID(b)}, {Name: "refs/x/2", From: branch.BlobID(b)}})
				if len(left) != 1 || left[0].Name != "refs/x/1" || said == nil || err != nil || len(group.Watched()) != 1 {
					t.Error(left, said, err, group.Watched())
				}
				return nil
			}))
			if got := do(t, served.Dir, "for-each-ref", "--format=%(refname) %(objectname)"); got != "refs/x/1 "+branch.BlobID(a) {
				t.Error(got)
			}
		})
	}
}

// A helper that names somebody whom the server does not let in is git's to complain of.
func TestWrongHelper(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the helper is a script")
	}
	served := serve(t)
	served.MakePrivate()
	helper := filepath.Join(t.TempDir(), "helper")
	must(t, os.WriteFile(helper, []byte("#!/bin/sh\necho wrong\n"), 0o755))
	remote := strings.Replace(served.url, "writer:"+gittest.Token+"@", "", 1)
	g, err := git.New(git.Remote(append(environ(t), "GIT_ASKPASS="+helper), remote), t.TempDir(), branch.Needs)
	must(t, err)
	group := branch.Group{Git: g, Dir: filepath.Join(t.TempDir(), "git"), Remote: remote}
	if err := group.Locked(t.Context(), func() error { return group.Fetch(t.Context()) }); fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "Authentication failed") {
		t.Error(err)
	}
}

// A clone in which thousands of commits are made has few packs, and nothing of those who ended long ago before they were done.
func TestGroupPacks(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "remote.git")
	do(t, ".", "init", "--quiet", "--bare", "--template=", repo)
	g, err := git.New(git.Remote(environ(t), repo), t.TempDir(), branch.Needs)
	must(t, err)
	group := branch.Group{Git: g, Dir: filepath.Join(t.TempDir(), "git"), Remote: repo, Branches: []string{"log"}, Author: "Example", Email: "example@example.com"}
	commit := ""
	must(t, group.Locked(t.Context(), func() error {
		must(t, group.Fetch(t.Context()))
		for name, age := range map[string]time.Duration{"fast_import_crash_1": 48, "objects/pack/tmp_pack_old": 48, "objects/pack/tmp_pack_new": 1} {
			name, when := filepath.Join(group.Dir, name), time.Now().Add(-age*time.Hour)
			must(t, os.WriteFile(name, nil, 0o600))
			must(t, os.Chtimes(name, when, when))
		}
		for i := range 60 {
			ids, err := group.Commit(t.Context(), []branch.Commit{{Onto: commit, Change: branch.Change{Files: map[string][]byte{"a": []byte(strconv.Itoa(i))}, Message: "m", Time: at}}})
			must(t, err)
			commit = ids[0]
		}
		return nil
	}))
	packs, err := filepath.Glob(filepath.Join(group.Dir, "objects", "pack", "*.pack"))
	must(t, err)
	if len(packs) > 10 {
		t.Errorf("%d packs", len(packs))
	}
	left, err := filepath.Glob(filepath.Join(group.Dir, "objects", "pack", "tmp_*"))
	must(t, err)
	crash, err := filepath.Glob(filepath.Join(group.Dir, "fast_import_crash_*"))
	must(t, err)
	if len(left) != 1 || filepath.Base(left[0]) != "tmp_pack_new" || len(crash) > 0 {
		t.Errorf("%q and %q are left", left, crash)
	}
	must(t, group.Locked(t.Context(), func() error {
		_, err := group.Push(t.Context(), map[string]string{"log": commit})
		return err
	}))
	if n := do(t, repo, "rev-list", "--count", "log"); strings.TrimSpace(n) != "60" {
		t.Errorf("%s commits", n)
	}
}
