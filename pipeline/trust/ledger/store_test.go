package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

// writer has this program be another process that adds to the ledger in a folder.
const writer = "SLIPWAY_TEST_LEDGER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writer); dir != "" {
		if err := addMany(ledger.OpenFolder(dir), "process-"+os.Getenv(writer+"_NAME"), many); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const many = 10

func addMany(s ledger.Store, name string, n int) error {
	for i := range n {
		e := entry(i)
		e.Name = name
		if err := s.Append(context.Background(), e); err != nil {
			return err
		}
	}
	return nil
}

// complete tells whether each writer's entries are all there, in its order.
func complete(t *testing.T, l ledger.Ledger, writers, each int) {
	t.Helper()
	if len(l.Entries) != writers*each {
		t.Errorf("%d entries, want %d", len(l.Entries), writers*each)
	}
	next := map[string]int{}
	for _, e := range l.Entries {
		if want := fmt.Sprintf("1.2.%d", next[e.Name]); e.Version != want {
			t.Errorf("%s has %s where %s is to be", e.Name, e.Version, want)
		}
		next[e.Name]++
	}
	if len(next) != writers {
		t.Errorf("%d writers, want %d", len(next), writers)
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "releases", "history")
	s := ledger.OpenFolder(dir)
	if l, err := s.Read(t.Context()); err != nil || len(l.Entries) != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("reading makes a folder")
	}
	for i := range 3 {
		must(t, s.Append(t.Context(), entry(i)))
	}
	l, err := s.Read(t.Context())
	must(t, err)
	if want := build(t, entry(0), entry(1), entry(2)); string(l.Encode()) != string(want.Encode()) {
		t.Errorf("the ledger is\n%s", l.Encode())
	}
	if e := entry(3); s.Append(t.Context(), ledger.Entry{Name: e.Name}) == nil {
		t.Error("an entry without anything gets in")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ctx, entry(3)); fault.CodeOf(err) != fault.Transient || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Read(ctx); fault.CodeOf(err) != fault.Transient {
		t.Error(err)
	}
	if again, _ := s.Read(t.Context()); again.Head() != l.Head() {
		t.Error("what is refused leaves something behind")
	}
}

// Several processes and several goroutines at once, while somebody reads.
func TestFolderAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writer+"="+dir, fmt.Sprintf("%s_NAME=%d", writer, i))
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("another process: %v", err)
			}
		})
		wg.Go(func() {
			if err := addMany(ledger.OpenFolder(dir), fmt.Sprintf("goroutine-%d", i), many); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var last ledger.Ledger
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		l, err := ledger.OpenFolder(dir).Read(t.Context())
		must(t, err)
		must(t, l.Extends(last.Head()))
		last = l
	}
	complete(t, last, 6, many)
}

// Who waits for another ends with its context, and finds the ledger as it was.
func TestFolderIsHeld(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, ledger.FileName+".lock")
	unlock, err := filelock.Lock(t.Context(), name, 0)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := ledger.OpenFolder(dir)
	if err := s.Append(ctx, entry(0)); fault.CodeOf(err) != fault.Transient || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := ledger.Lock(t.Context(), name, 20*time.Millisecond); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), name+": another process has held it") {
		t.Error(err)
	}
	if l, err := s.Read(t.Context()); err != nil || len(l.Entries) != 0 {
		t.Errorf("%d entries, %v", len(l.Entries), err)
	}
	must(t, unlock())
	must(t, s.Append(t.Context(), entry(0)))
}

// What the end of a process has cut was never acknowledged, and the next one goes on from there.
func TestTornLine(t *testing.T) {
	for _, torn := range []string{`{"sch`, strings.TrimSuffix(lines(build(t, entry(9)))[0], "\n"), "\x00\x00\x00"} {
		dir := t.TempDir()
		name := filepath.Join(dir, ledger.FileName)
		must(t, os.WriteFile(name, []byte(string(build(t, entry(0)).Encode())+torn), 0o644))
		s := ledger.OpenFolder(dir)
		if l, err := s.Read(t.Context()); err != nil || len(l.Entries) != 1 {
			t.Errorf("%.20q: %v", torn, err)
		}
		must(t, s.Append(t.Context(), entry(1)))
		b, err := os.ReadFile(name)
		must(t, err)
		if want := build(t, entry(0), entry(1)).Encode(); string(b) != string(want) {
			t.Errorf("%.20q: the file is\n%s", torn, b)
		}
	}
}

// A file that is not what it should be is told of and left as it is.
func TestFolderRefuses(t *testing.T) {
	l := build(t, entry(0), entry(1), entry(2))
	text := string(l.Encode())
	for _, tt := range []struct{ name, text, want string }{
		{"notes", "# my ledger", "ledger.jsonl:1: the line has no end"},
		{"changed", strings.Replace(text, `"passed":12`, `"passed":13`, 1), "ledger.jsonl:2: prev is"},
		{"large", strings.Repeat("x", 17<<20), "more than 16777216 bytes"},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, ledger.FileName)
		must(t, os.WriteFile(name, []byte(tt.text), 0o644))
		s := ledger.OpenFolder(dir)
		_, err := s.Read(t.Context())
		for _, err := range []error{err, s.Append(t.Context(), entry(3))} {
			if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %.300v", tt.name, err)
			}
		}
		if b, _ := os.ReadFile(name); string(b) != tt.text {
			t.Errorf("%s: the file was changed", tt.name)
		}
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, ledger.FileName), 0o755))
	s := ledger.OpenFolder(dir)
	_, err := s.Read(t.Context())
	for _, err := range []error{err, s.Append(t.Context(), entry(0))} {
		if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("a folder: %v", err)
		}
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	if err := ledger.OpenFolder(file).Append(t.Context(), entry(0)); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a file for a folder: %v", err)
	}
}

// git as a person runs it.
var environ, git, bare = gittest.Environ, gittest.GitIn, gittest.Bare

func options(t testing.TB, remote string) ledger.BranchOptions {
	return ledger.BranchOptions{Remote: remote, Branch: "reproduced", Environ: environ(t), Dir: t.TempDir(), Author: "Example <example@example.com>"}
}

// commit puts files on a branch of a bare repository, with the parents, whatever is there.
func commit(t testing.TB, repo, branch string, files map[string]string, parents ...string) string {
	t.Helper()
	var tree strings.Builder
	for name, text := range files {
		fmt.Fprintf(&tree, "100644 blob %s\t%s\n", git(t, repo, text, "hash-object", "-w", "--stdin"), name)
	}
	args := []string{"commit-tree", "-m", "x", git(t, repo, tree.String(), "mktree")}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	id := git(t, repo, "", args...)
	git(t, repo, "", "update-ref", "refs/heads/"+branch, id)
	return id
}

func TestBranch(t *testing.T) {
	repo := bare(t)
	s := ledger.OpenBranch(options(t, "file://"+filepath.ToSlash(repo)))
	if l, err := s.Read(t.Context()); err != nil || len(l.Entries) != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	must(t, s.Append(t.Context(), entry(0)))
	must(t, s.Append(t.Context(), failed(1, "x")))
	log := git(t, repo, "", "log", "--format=%an <%ae> %cI %cn %s", "reproduced")
	want := "Example <example@example.com> 2026-03-15T14:09:26+00:00 Example reproduced: hello 1.2.1 FAIL\n" +
		"Example <example@example.com> 2026-03-14T14:09:26+00:00 Example reproduced: hello 1.2.0 PASS"
	if log = strings.ReplaceAll(log, "Z ", "+00:00 "); log != want {
		t.Errorf("the history is\n%s", log)
	}
	if files := git(t, repo, "", "ls-tree", "-r", "--name-only", "reproduced"); files != ledger.FileName {
		t.Errorf("the branch has %q", files)
	}
	want = string(build(t, entry(0), failed(1, "x")).Encode())
	if got := git(t, repo, "", "show", "reproduced:"+ledger.FileName) + "\n"; got != want {
		t.Errorf("the ledger is\n%s", got)
	}
	// Another store sees the same, by a path too.
	rel, err := filepath.Rel(mustGetwd(t), repo)
	must(t, err)
	for _, remote := range []string{repo, rel} {
		if l, err := ledger.OpenBranch(options(t, remote)).Read(t.Context()); err != nil || string(l.Encode()) != want {
			t.Errorf("%s: %v", remote, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Append(ctx, entry(3)); fault.CodeOf(err) != fault.Transient || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func mustGetwd(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	must(t, err)
	return dir
}

// What else is on the branch stays, and commits that leave the ledger alone are fine.
func TestBranchKeepsOthers(t *testing.T) {
	repo := bare(t)
	first := commit(t, repo, "reproduced", map[string]string{"README": "r", "zz": "z"})
	s := ledger.OpenBranch(options(t, repo))
	must(t, s.Append(t.Context(), entry(0)))
	text := string(build(t, entry(0)).Encode())
	commit(t, repo, "reproduced", map[string]string{"README": "another", ledger.FileName: text}, git(t, repo, "", "rev-parse", "reproduced"))
	must(t, s.Append(t.Context(), entry(1)))
	if files := git(t, repo, "", "ls-tree", "-r", "--name-only", "reproduced"); files != "README\nledger.jsonl\nzz" && files != "README\nledger.jsonl" {
		t.Errorf("the branch has %q", files)
	}
	if got := git(t, repo, "", "show", "reproduced:README"); got != "another" {
		t.Errorf("README is %q", got)
	}
	if oldest := git(t, repo, "", "rev-list", "--max-parents=0", "reproduced"); oldest != first {
		t.Errorf("the history begins with %s", oldest)
	}
}

// Several writers at once, each with a clone of its own, of a branch that is not there yet. One of the goroutines shares
// its store.
func TestBranchAtOnce(t *testing.T) {
	repo := bare(t)
	const writers, each = 4, 3
	shared := ledger.OpenBranch(options(t, repo))
	var wg sync.WaitGroup
	for i := range writers {
		s := shared
		if i > 1 {
			s = ledger.OpenBranch(options(t, repo))
		}
		wg.Go(func() {
			if err := addMany(s, fmt.Sprintf("writer-%d", i), each); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l, err := ledger.OpenBranch(options(t, repo)).Read(t.Context())
	must(t, err)
	complete(t, l, writers, each)
	if n := git(t, repo, "", "rev-list", "--count", "--first-parent", "reproduced"); n != fmt.Sprint(writers*each) {
		t.Errorf("%s commits", n)
	}
}

// Two who say the very same in the same second have both said it.
func TestBranchSameEntry(t *testing.T) {
	repo := bare(t)
	var wg sync.WaitGroup
	for range 3 {
		s := ledger.OpenBranch(options(t, repo))
		wg.Go(func() {
			if err := s.Append(t.Context(), entry(0)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if l, err := ledger.OpenBranch(options(t, repo)).Read(t.Context()); err != nil || len(l.Entries) != 3 {
		t.Errorf("%d entries, %v", len(l.Entries), err)
	}
}

// A history in which something was taken away or changed is found by who sees it for the first time, and the commit
// that did it is named.
func TestRewrittenHistory(t *testing.T) {
	file := func(l ledger.Ledger) map[string]string {
		return map[string]string{ledger.FileName: string(l.Encode())}
	}
	two, three := build(t, entry(0), entry(1)), build(t, entry(0), entry(1), entry(2))
	nice := entry(1)
	nice.Passed = 100
	other := build(t, entry(0), nice)
	longer, err := other.Append(entry(5))
	must(t, err)
	for _, tt := range []struct {
		name   string
		states []map[string]string
		bad    int // index of the commit to be named; -1 for none
	}{
		{"grows", []map[string]string{file(two), file(three)}, -1},
		{"stays", []map[string]string{{"x": "y"}, file(two), file(two), {ledger.FileName: string(two.Encode()), "x": "y"}, file(three)}, -1},
		{"dropped", []map[string]string{file(three), file(two)}, 1},
		{"dropped and added again", []map[string]string{file(three), file(two), file(three)}, 1},
		{"changed", []map[string]string{file(two), file(other)}, 1},
		{"changed and gone on", []map[string]string{file(two), file(other), file(longer), file(longer)}, 1},
		{"changed and back", []map[string]string{file(two), file(other), file(three)}, 2},
		{"removed", []map[string]string{file(two), {"x": "y"}}, 1},
		{"removed and begun anew", []map[string]string{file(two), {"x": "y"}, file(build(t, entry(7)))}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			repo := bare(t)
			var commits, parents []string
			for _, files := range tt.states {
				parents = []string{commit(t, repo, "reproduced", files, parents...)}
				commits = append(commits, parents...)
			}
			s := ledger.OpenBranch(options(t, repo))
			_, err := s.Read(t.Context())
			if tt.bad < 0 {
				must(t, err)
				must(t, s.Append(t.Context(), entry(8)))
				return
			}
			for _, err := range []error{err, s.Append(t.Context(), entry(8))} {
				want := fmt.Sprintf("commit %s changes or removes entries that its parent %s has", commits[tt.bad], commits[tt.bad-1])
				if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
			}
			if at := git(t, repo, "", "rev-parse", "reproduced"); at != commits[len(commits)-1] {
				t.Error("something was pushed")
			}
		})
	}
}

// A history that was replaced by force is found by who saw the one before, also in another process.
func TestForcePush(t *testing.T) {
	repo := bare(t)
	o := options(t, repo)
	s := ledger.OpenBranch(o)
	for i := range 3 {
		must(t, s.Append(t.Context(), entry(i)))
	}
	before := git(t, repo, "", "rev-parse", "reproduced")
	rewritten := func(name, want string) {
		t.Helper()
		_, err := s.Read(t.Context())
		_, later := ledger.OpenBranch(o).Read(t.Context())
		for _, err := range []error{err, later, s.Append(t.Context(), entry(4))} {
			if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), before) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	git(t, repo, "", "update-ref", "refs/heads/reproduced", before+"~1")
	rewritten("an entry dropped", "the branch was rewritten: it was at commit")
	commit(t, repo, "reproduced", map[string]string{ledger.FileName: string(build(t, entry(0), entry(1), entry(5), entry(6)).Encode())})
	rewritten("an entry replaced", "the branch was rewritten: it was at commit")
	git(t, repo, "", "update-ref", "-d", "refs/heads/reproduced")
	rewritten("no branch", "the branch is gone")

	// Another history with all entries takes nothing away.
	commit(t, repo, "reproduced", map[string]string{ledger.FileName: string(build(t, entry(0), entry(1), entry(2), entry(3)).Encode())})
	must(t, s.Append(t.Context(), entry(4)))
	if l, err := ledger.OpenBranch(o).Read(t.Context()); err != nil || len(l.Entries) != 5 {
		t.Errorf("%d entries, %v", len(l.Entries), err)
	}
}

func TestBranchRefuses(t *testing.T) {
	repo := bare(t)
	commit(t, repo, "broken", map[string]string{ledger.FileName: "x\n"})
	linked := git(t, repo, "", "hash-object", "-w", "--stdin")
	tree := git(t, repo, "120000 blob "+linked+"\t"+ledger.FileName+"\n", "mktree")
	git(t, repo, "", "update-ref", "refs/heads/link", git(t, repo, "", "commit-tree", "-m", "x", tree))
	for _, tt := range []struct {
		name string
		edit func(*ledger.BranchOptions)
		code fault.Code
		want string
	}{
		{"no repository", func(o *ledger.BranchOptions) { o.Remote = filepath.Join(repo, "none") }, fault.Usage, "name the URL that the repository has now"},
		{"no branch", func(o *ledger.BranchOptions) { o.Branch = "" }, fault.Usage, "not the name of a branch"},
		{"an option", func(o *ledger.BranchOptions) { o.Branch = "-x" }, fault.Usage, "not the name of a branch"},
		{"dots", func(o *ledger.BranchOptions) { o.Branch = "a..b" }, fault.Usage, "not the name of a branch"},
		{"a refspec", func(o *ledger.BranchOptions) { o.Branch = "a:b" }, fault.Usage, "not the name of a branch"},
		{"an option for a remote", func(o *ledger.BranchOptions) { o.Remote = "--upload-pack=x" }, fault.Usage, "not the URL"},
		{"a program for a remote", func(o *ledger.BranchOptions) { o.Remote = "ext::sh -c x" }, fault.Usage, "runs a program"},
		{"another protocol", func(o *ledger.BranchOptions) { o.Remote = "git://example.com/x" }, fault.Usage, "https://host/path"},
		{"not secret", func(o *ledger.BranchOptions) { o.Remote = "http://me:s3cret@example.com/x" }, fault.Usage, "example.com is not https"},
		{"not a URL", func(o *ledger.BranchOptions) { o.Remote = "https://me:s3cret/x@example.com" }, fault.Usage, "not a URL"},
		{"two lines", func(o *ledger.BranchOptions) { o.Remote = "https://me:s3cret@example.com/\n" }, fault.Usage, "not the URL"},
		{"nobody there", func(o *ledger.BranchOptions) { o.Remote = "http://me:s3cret@127.0.0.1:1/x" }, fault.Transient, "running git ls-remote"},
		{"nobody there, escaped", func(o *ledger.BranchOptions) { o.Remote = "http://s3cret%40s3cret@127.0.0.1:1/x?token=s3cret" }, fault.Transient, "running git ls-remote"},
		{"no author", func(o *ledger.BranchOptions) { o.Author = "" }, fault.Usage, "name <address>"},
		{"an author of two lines", func(o *ledger.BranchOptions) { o.Author = "a\nb <c>" }, fault.Usage, "name <address>"},
		{"no folder", func(o *ledger.BranchOptions) { o.Dir = "" }, fault.Usage, "a folder to work in"},
		{"no git", func(o *ledger.BranchOptions) { o.Environ = []string{"PATH=" + o.Dir} }, fault.Git, "git is not in PATH"},
		{"a broken ledger", func(o *ledger.BranchOptions) { o.Branch = "broken" }, fault.Mismatch, "ledger.jsonl:1: reading entry"},
		{"a link", func(o *ledger.BranchOptions) { o.Branch = "link" }, fault.Mismatch, "is not a file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t, repo)
			tt.edit(&o)
			s := ledger.OpenBranch(o)
			_, err := s.Read(t.Context())
			for _, err := range []error{err, s.Append(t.Context(), entry(0))} {
				if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %d and %q", err, tt.code, tt.want)
				}
				if strings.Contains(err.Error(), "s3cret") {
					t.Errorf("a password is shown: %v", err)
				}
			}
		})
	}
}

// A push that the remote refuses for good is not tried again, and a hook of this side or a variable that a hook of
// another repository left around does not change what is done.
func TestBranchHooks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("hooks are scripts")
	}
	repo := bare(t)
	git(t, repo, "", "config", "core.hooksPath", filepath.Join(repo, "hooks"))
	must(t, os.Mkdir(filepath.Join(repo, "hooks"), 0o755))
	hook := filepath.Join(repo, "hooks", "pre-receive")
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\necho 'GH006: Protected branch update failed' >&2\nexit 1\n"), 0o755))
	o, home := options(t, repo), t.TempDir()
	trap := filepath.Join(home, "trap")
	must(t, os.WriteFile(filepath.Join(home, "pre-push"), []byte("#!/bin/sh\ntouch '"+trap+"'\nexit 1\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[core]\n\thooksPath = "+home+"\n[push]\n\tgpgSign = true\n\tfollowTags = true\n[user]\n\tname = Nobody\n"), 0o644))
	o.Environ = append(
		os.Environ(), "HOME="+home, "GIT_DIR="+home, "GIT_INDEX_FILE="+trap, "GIT_AUTHOR_DATE=nonsense", "GIT_TRACE="+trap,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=commit.gpgSign", "GIT_CONFIG_VALUE_0=true",
	)
	s := ledger.OpenBranch(o)
	if err := s.Append(t.Context(), entry(0)); fault.CodeOf(err) != fault.Policy || !strings.Contains(err.Error(), "GH006") {
		t.Errorf("a protected branch: %v", err)
	}
	must(t, os.Remove(hook))
	must(t, s.Append(t.Context(), entry(0)))
	if _, err := os.Stat(trap); err == nil {
		t.Error("a hook ran, or git traced")
	}
	if who := git(t, repo, "", "log", "--format=%an %cn", "reproduced"); who != "Example Example" {
		t.Errorf("the commit is by %s", who)
	}
}

// The answer to a push is lost and the entry got in: it is not added once more.
func TestBranchLostAnswer(t *testing.T) {
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
	s := ledger.OpenBranch(o)
	must(t, s.Append(t.Context(), entry(0)))
	must(t, s.Append(t.Context(), entry(1)))
	if l, err := s.Read(t.Context()); err != nil || len(l.Entries) != 2 {
		t.Errorf("%d entries, %v", len(l.Entries), err)
	}
}

// Nobody who lists processes sees a password.
func TestPasswordIsNoArgument(t *testing.T) {
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
	if _, err := ledger.OpenBranch(o).Read(t.Context()); fault.CodeOf(err) != fault.Transient {
		t.Error(err)
	}
	f, err := os.Open(log)
	must(t, err)
	defer f.Close()
	asked := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		asked = asked || strings.Contains(sc.Text(), "ls-remote")
		if strings.Contains(sc.Text(), "s3cret") {
			t.Errorf("git %s", sc.Text())
		}
	}
	if !asked {
		t.Error("git was not asked")
	}
}
