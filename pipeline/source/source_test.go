package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

func TestReadTags(t *testing.T) {
	t.Parallel()
	// Every case has three commits; a line of tags belongs to each.
	for _, tt := range []struct {
		name        string
		tags        [3]string
		ref, prefix string
		version     string // ... stands for the commit
		tag, last   string
		commits     int
		why         string
		since       string // looked at where it is said
	}{
		{name: "no tag", version: "0.0.1-snapshot.3.g...", commits: 3, why: "no version tag is in the history of this commit, which has 3 commits"},
		{name: "tag with v", tags: [3]string{2: "v1.2.3"}, version: "1.2.3", tag: "v1.2.3", last: "v1.2.3", why: "tag v1.2.3 is on this commit"},
		{name: "tag without v", tags: [3]string{2: "1.2.3"}, version: "1.2.3", tag: "1.2.3", last: "1.2.3"},
		{name: "candidate", tags: [3]string{2: "v1.2.3-rc.1"}, version: "1.2.3-rc.1", tag: "v1.2.3-rc.1", last: "v1.2.3-rc.1"},
		{name: "metadata", tags: [3]string{2: "v1.2.3+x.1"}, version: "1.2.3+x.1", tag: "v1.2.3+x.1", last: "v1.2.3+x.1"},
		{
			name: "other tags are ignored", tags: [3]string{2: "nightly v1 v1.2 release-1.2.3 v01.2.3 cli/v9.9.9"},
			version: "0.0.1-snapshot.3.g...", commits: 3,
		},
		{
			name: "snapshot", tags: [3]string{0: "v1.2.3"}, version: "1.2.4-snapshot.2.g...", last: "v1.2.3", commits: 2,
			why: "no version tag is on this commit, which is 2 commits after v1.2.3",
		},
		{
			name: "snapshot after a candidate", tags: [3]string{"v1.2.3", "v1.3.0-rc.1", ""},
			version: "1.3.0-snapshot.1.g...", last: "v1.3.0-rc.1", commits: 1, why: "1 commit after",
		},
		{
			name: "the highest in history counts, not the nearest", tags: [3]string{"v2.0.0", "v1.9.0", ""},
			version: "2.0.1-snapshot.2.g...", last: "v2.0.0", commits: 2,
		},
		{
			name: "highest of several", tags: [3]string{2: "v1.2.3-rc.2 v1.2.3 v1.2.3-rc.10"}, version: "1.2.3", tag: "v1.2.3", last: "v1.2.3",
			why: "tag v1.2.3 is the highest of 3 version tags on this commit",
		},
		{
			name: "the ref decides", tags: [3]string{2: "v1.2.3-rc.2 v1.2.3"}, ref: "refs/tags/v1.2.3-rc.2",
			version: "1.2.3-rc.2", tag: "v1.2.3-rc.2", last: "v1.2.3-rc.2", why: "what the run was started for",
		},
		{
			name: "the short ref decides", tags: [3]string{2: "v1.2.3-rc.2 v1.2.3"}, ref: "v1.2.3-rc.2",
			version: "1.2.3-rc.2", tag: "v1.2.3-rc.2", last: "v1.2.3-rc.2",
		},
		{
			name: "a branch ref is ignored", tags: [3]string{2: "v1.2.3-rc.2 v1.2.3"}, ref: "refs/heads/v1.2.3-rc.2",
			version: "1.2.3", tag: "v1.2.3", last: "v1.2.3",
		},
		{name: "a pull request is ignored", tags: [3]string{2: "v1.2.3"}, ref: "refs/pull/7/merge", version: "1.2.3", tag: "v1.2.3", last: "v1.2.3"},
		{name: "a short branch is ignored", tags: [3]string{2: "v1.2.3"}, ref: "main", version: "1.2.3", tag: "v1.2.3", last: "v1.2.3"},
		{
			name: "a hostile branch is data", tags: [3]string{2: "v1.2.3"}, ref: `refs/heads/zzz";echo${IFS}hello;#`,
			version: "1.2.3", tag: "v1.2.3", last: "v1.2.3",
		},
		{name: "with v before without", tags: [3]string{2: "1.2.3 v1.2.3"}, version: "1.2.3", tag: "v1.2.3", last: "v1.2.3"},
		{name: "without v by ref", tags: [3]string{2: "1.2.3 v1.2.3"}, ref: "1.2.3", version: "1.2.3", tag: "1.2.3", last: "1.2.3"},
		{
			name: "metadata breaks the tie", tags: [3]string{2: "v1.2.3+a v1.2.3+b v1.2.3"},
			version: "1.2.3+b", tag: "v1.2.3+b", last: "v1.2.3+b",
		},
		{
			name: "prefix", tags: [3]string{2: "cli/v1.2.3 v9.9.9 api/v3.0.0"}, prefix: "cli/",
			version: "1.2.3", tag: "cli/v1.2.3", last: "cli/v1.2.3",
		},
		{
			name: "prefix and ref", tags: [3]string{2: "cli/v1.2.3 cli/v1.2.3-rc.1"}, prefix: "cli/", ref: "refs/tags/cli/v1.2.3-rc.1",
			version: "1.2.3-rc.1", tag: "cli/v1.2.3-rc.1", last: "cli/v1.2.3-rc.1",
		},
		{
			name: "another product's ref", tags: [3]string{0: "cli/v1.2.3", 2: "api/v3.0.0"}, prefix: "cli/", ref: "refs/tags/api/v3.0.0",
			version: "1.2.4-snapshot.2.g...", last: "cli/v1.2.3", commits: 2,
		},
		{
			name: "another product's ref, where this one has no prefix", tags: [3]string{0: "v1.2.3", 2: "api/v3.0.0"}, ref: "refs/tags/api/v3.0.0",
			version: "1.2.4-snapshot.2.g...", last: "v1.2.3", commits: 2,
		},
		{
			name: "a prefix that begins another", tags: [3]string{"tool/v1.0.0", "tool/cli/v2.0.0 tool-cli/v4.0.0", "tool/v1.1.0"}, prefix: "tool/",
			version: "1.1.0", tag: "tool/v1.1.0", last: "tool/v1.1.0", since: "tool/v1.0.0",
		},
		{
			name: "a prefix that another begins", tags: [3]string{"tool/cli/v2.0.0", "tool/v3.0.0", "tool/cli/v2.1.0 tool/v1.1.0"}, prefix: "tool/cli/",
			version: "2.1.0", tag: "tool/cli/v2.1.0", last: "tool/cli/v2.1.0", since: "tool/cli/v2.0.0",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRepo(t)
			for i, tags := range tt.tags {
				g.commit(fmt.Sprint("commit ", i))
				for n, tag := range strings.Fields(tags) {
					if n%2 == 0 {
						g.git("tag", tag)
					} else {
						g.git("tag", "--annotate", "--message", "annotated", tag)
					}
				}
			}
			s := g.read(source.Options{Ref: tt.ref, TagPrefix: tt.prefix})
			head := g.git("rev-parse", "HEAD")
			if want := strings.Replace(tt.version, "...", head[:12], 1); s.Version.String() != want {
				t.Errorf("version %s, want %s", s.Version, want)
			}
			if s.Tag != tt.tag || s.Last != tt.last || s.Commits != tt.commits {
				t.Errorf("tag %q, last %q, %d commits; want %q, %q, %d", s.Tag, s.Last, s.Commits, tt.tag, tt.last, tt.commits)
			}
			if tt.since != "" && s.Since != tt.since {
				t.Errorf("the notes start from %q, want %q", s.Since, tt.since)
			}
			if !strings.Contains(s.Why, tt.why) || s.Why == "" {
				t.Errorf("why: %q, want %q", s.Why, tt.why)
			}
			if s.Commit != head || s.Tree != g.git("rev-parse", "HEAD^{tree}") || s.Root != g.dir || s.Dirty {
				t.Errorf("%+v", s)
			}
			if want := time.Unix(commitTime, 0).UTC(); s.Time != want {
				t.Errorf("time %v, want %v", s.Time, want)
			}
		})
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	head := func(dir string) string {
		t.Helper()
		id, err := source.Head(t.Context(), dir)
		if err != nil {
			t.Error(err)
		}
		return id
	}
	if got := head(t.TempDir()); got != "" {
		t.Errorf("in no repository %q is checked out", got)
	}
	g := newRepo(t)
	if got := head(g.dir); got != "" {
		t.Errorf("without a commit %q is checked out", got)
	}
	one := g.commit("one")
	two := g.commit("two")
	if got := head(g.dir); got != two {
		t.Errorf("%q is checked out, want %s", got, two)
	}
	g.git("checkout", "--quiet", "HEAD~1")
	if got := head(g.dir); got != one {
		t.Errorf("%q is checked out, want %s", got, one)
	}
	shallow := filepath.Join(t.TempDir(), "shallow")
	g.git("clone", "--quiet", "--depth", "1", "file://"+g.dir, shallow)
	if got := head(shallow); got != one {
		t.Errorf("in a shallow clone %q is checked out, want %s", got, one)
	}
	below := filepath.Join(shallow, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if root, err := source.Root(t.Context(), below); err != nil || !sameFile(t, root, shallow) {
		t.Errorf("the root of a shallow clone is %q, %v", root, err)
	}
	if _, err := source.Head(t.Context(), filepath.Join(g.dir, "nowhere")); err == nil {
		t.Error("a folder that is not there has a commit")
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}

func TestReadHistory(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.commit("one")
	g.git("tag", "v1.0.0")
	g.git("tag", "1.0.0")
	g.commit("two")
	g.git("tag", "v1.1.0-rc.1")
	g.git("checkout", "--quiet", "-b", "next")
	g.commit("three")
	g.git("tag", "--annotate", "--message", "m", "v2.0.0")
	g.git("tag", "--annotate", "--message", "m", "v2.0.1", "v2.0.0")
	g.git("checkout", "--quiet", "main")
	g.commit("four")

	s := g.read(source.Options{})
	if got, want := fmt.Sprint(s.Released), "[1.0.0 1.1.0-rc.1 2.0.0 2.0.1]"; got != want {
		t.Errorf("released %s, want %s", got, want)
	}
	var names []string
	for _, tag := range s.History {
		names = append(names, tag.Name)
	}
	if got, want := strings.Join(names, " "), "1.0.0 v1.0.0 v1.1.0-rc.1"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	if s.Stable() != "v1.0.0" || s.Last != "v1.1.0-rc.1" || s.Commits != 1 {
		t.Errorf("stable %s, last %s, %d commits", s.Stable(), s.Last, s.Commits)
	}

	// A tag of a tag names its commit.
	g.git("checkout", "--quiet", "next")
	if s := g.read(source.Options{}); s.Tag != "v2.0.1" {
		t.Errorf("tag %q, want v2.0.1", s.Tag)
	}
	if (source.Source{}).Stable() != "" {
		t.Error("no history has a stable tag")
	}
}

func TestSourceJSON(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.commit("one")
	g.git("tag", "v1.0.0")
	s := g.read(source.Options{})
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"commit": s.Commit, "tree": s.Tree, "time": "2023-11-14T22:13:20Z", "tag": "v1.0.0", "version": "1.0.0"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		setUp func(*gitRepo) source.Options
		words []string
	}{
		{"no repository", func(g *gitRepo) source.Options {
			return source.Options{Dir: g.TempDir()}
		}, []string{"not in a git repository", "git init"}},
		{"no folder", func(g *gitRepo) source.Options {
			return source.Options{Dir: filepath.Join(g.dir, "missing")}
		}, []string{"missing"}},
		{"a file", func(g *gitRepo) source.Options {
			g.write("f", "")
			return source.Options{Dir: g.path("f")}
		}, []string{"not a folder"}},
		{"bare", func(g *gitRepo) source.Options {
			return source.Options{Dir: newRepo(g.TB, "--bare").dir}
		}, []string{"work tree", "not bare"}},
		{"in .git", func(g *gitRepo) source.Options {
			return source.Options{Dir: g.path(".git")}
		}, []string{"outside .git"}},
		{"no commits", func(*gitRepo) source.Options { return source.Options{} }, []string{"no commits yet", "git commit"}},
		{"shallow", func(g *gitRepo) source.Options {
			g.commit("one")
			g.commit("two")
			dir := filepath.Join(g.TempDir(), "clone")
			g.git("clone", "--quiet", "--depth=1", "file://"+filepath.ToSlash(g.dir), dir)
			return source.Options{Dir: dir}
		}, []string{"shallow clone", "git fetch --unshallow --tags"}},
		{"changed file", func(g *gitRepo) source.Options {
			g.write("f", "one")
			g.commit("one")
			g.write("f", "two")
			return source.Options{}
		}, []string{"(f)", "git stash -u", "--dirty"}},
		{"staged file", func(g *gitRepo) source.Options {
			g.commit("one")
			g.write("f", "two")
			g.git("add", "f")
			return source.Options{}
		}, []string{"(f)"}},
		{"deleted file", func(g *gitRepo) source.Options {
			g.write("f", "one")
			g.commit("one")
			if err := os.Remove(g.path("f")); err != nil {
				g.Fatal(err)
			}
			return source.Options{}
		}, []string{"(f)"}},
		{"renamed file", func(g *gitRepo) source.Options {
			g.write("f", "one")
			g.commit("one")
			g.git("mv", "f", "g h")
			return source.Options{}
		}, []string{"(f, g h)"}},
		{"untracked files", func(g *gitRepo) source.Options {
			g.commit("one")
			// The configuration can hide untracked files from git status; it must not here.
			g.git("config", "status.showUntrackedFiles", "no")
			for _, f := range []string{"d/a", "d/b c", "d/ü", "e", "f\ng"} {
				g.write(f, "")
			}
			return source.Options{}
		}, []string{"(d/a, d/b c, d/ü and 2 more)"}},
		{"untracked file with a line break", func(g *gitRepo) source.Options {
			g.commit("one")
			g.write("f\ng", "")
			return source.Options{}
		}, []string{`("f\ng")`}},
		{"conflict", func(g *gitRepo) source.Options {
			conflict(g)
			return source.Options{}
		}, []string{"(f)"}},
		{"tag elsewhere", func(g *gitRepo) source.Options {
			g.commit("one")
			g.git("tag", "v1.0.0")
			g.commit("two")
			return source.Options{Ref: "refs/tags/v1.0.0"}
		}, []string{"v1.0.0", "HEAD~1", "HEAD"}},
		{"tag without version elsewhere", func(g *gitRepo) source.Options {
			g.commit("one")
			g.git("tag", "nightly")
			g.commit("two")
			return source.Options{Ref: "refs/tags/nightly"}
		}, []string{"nightly", "HEAD~1", "HEAD"}},
		{"tag without version", func(g *gitRepo) source.Options {
			g.commit("one")
			g.git("tag", "v1.0.0")
			g.git("tag", "nightly")
			return source.Options{Ref: "refs/tags/nightly"}
		}, []string{"nightly", "no version", " v1.2.3"}},
		{"tag of the project without version", func(g *gitRepo) source.Options {
			g.commit("one")
			g.git("tag", "cli/v1.2")
			return source.Options{Ref: "refs/tags/cli/v1.2", TagPrefix: "cli/"}
		}, []string{"cli/v1.2", "no version", " cli/v1.2.3"}},
		{"tag not there", func(g *gitRepo) source.Options {
			g.commit("one")
			return source.Options{Ref: "v1.0.0"}
		}, []string{"v1.0.0", "git fetch --tags"}},
		{"ref like an option", func(g *gitRepo) source.Options {
			return source.Options{Ref: "--upload-pack=x"}
		}, []string{`"--upload-pack=x"`, "hyphen"}},
		{"tag like an option", func(g *gitRepo) source.Options {
			return source.Options{Ref: "refs/tags/-x"}
		}, []string{`"-x"`, "hyphen"}},
		{"ref with a transport", func(g *gitRepo) source.Options {
			return source.Options{Ref: "ext::sh -c x"}
		}, []string{"ext::"}},
		{"ref with a line break", func(g *gitRepo) source.Options {
			return source.Options{Ref: "refs/heads/a\nb"}
		}, []string{`a\nb`, "control characters"}},
		{"long ref", func(g *gitRepo) source.Options {
			return source.Options{Ref: strings.Repeat("a", 2000)}
		}, []string{"1024"}},
		{"prefix like an option", func(g *gitRepo) source.Options {
			return source.Options{TagPrefix: "-x"}
		}, []string{`prefix "-x"`}},
		{"prefix with a transport", func(g *gitRepo) source.Options {
			return source.Options{TagPrefix: "a/ext::b"}
		}, []string{"ext::"}},
		{"prefix with a control character", func(g *gitRepo) source.Options {
			return source.Options{TagPrefix: "a\x7f"}
		}, []string{"control characters"}},
		{"time before 1970", func(g *gitRepo) source.Options {
			odd(g, "-1000 +0000")
			return source.Options{}
		}, []string{"HEAD", "1970", "git commit --amend --no-edit"}},
		{"time after 9999", func(g *gitRepo) source.Options {
			odd(g, "253402300800 +0000")
			return source.Options{}
		}, []string{"HEAD", "9999"}},
		{"no time", func(g *gitRepo) source.Options {
			odd(g, "now")
			return source.Options{}
		}, []string{"HEAD", "1970"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRepo(t)
			o := tt.setUp(g)
			if o.Dir == "" {
				o.Dir = g.dir
			}
			_, err := source.Read(t.Context(), o)
			words := tt.words
			for i, w := range words {
				if strings.HasPrefix(w, "HEAD") {
					words[i] = g.git("rev-parse", w)
				}
			}
			refused(t, err, words...)
		})
	}
}

// odd checks out a commit with the committer time, which git itself would not write.
func odd(g *gitRepo, when string) {
	g.Helper()
	id := g.commit("one")
	text := g.git("cat-file", "commit", id)
	text = strings.Replace(text, "committer Test <test@example.com> "+commitDate, "committer Test <test@example.com> "+when, 1) + "\n"
	id = g.gitIn(text, "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
	g.git("update-ref", "refs/heads/main", id)
}

func conflict(g *gitRepo) {
	g.write("f", "base")
	g.commit("base")
	g.git("checkout", "--quiet", "-b", "other")
	g.write("f", "theirs")
	g.commit("theirs")
	g.git("checkout", "--quiet", "main")
	g.write("f", "ours")
	g.commit("ours")
	cmd := exec.Command("git", "merge", "other")
	cmd.Dir = g.dir
	if cmd.Run() == nil {
		g.Fatal("no conflict")
	}
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	odd(g, "0 +0000")
	if s := g.read(source.Options{}); !s.Time.Equal(time.Unix(0, 0)) {
		t.Errorf("time %v", s.Time)
	}
}

func TestIgnoredFilesAreNotDirty(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write(".gitignore", "dist/\n")
	g.commit("one")
	g.write("dist/x", "")
	g.read(source.Options{})
}

func TestAllowDirty(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("f", "one")
	g.commit("one")
	g.git("tag", "v1.0.0")
	if s := g.read(source.Options{AllowDirty: true}); s.Dirty || strings.Contains(s.Why, "changes") {
		t.Errorf("a clean tree is dirty: %s", s.Why)
	}
	g.write("f", "two")
	s := g.read(source.Options{AllowDirty: true})
	if !s.Dirty || s.Version.String() != "1.0.0" || !strings.Contains(s.Why, "uncommitted changes") {
		t.Errorf("%+v", s)
	}
}

// TestPlaces reads from below the root, with a detached HEAD, from a second work tree and from a SHA-256 repository.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			g := newRepo(t, "--object-format="+format)
			g.write("a dir/b/f", "one")
			g.commit("one")
			g.git("tag", "v1.0.0")
			two := g.commit("two")

			s := g.read(source.Options{Dir: g.path("a dir/b")})
			if s.Root != g.dir || s.Commit != two || s.Version.String() != "1.0.1-snapshot.1.g"+two[:12] {
				t.Errorf("below the root: %+v", s)
			}

			linked := filepath.Join(g.TempDir(), "linked tree")
			g.git("worktree", "add", "--quiet", "--detach", linked, "v1.0.0")
			s = g.read(source.Options{Dir: linked})
			if s.Tag != "v1.0.0" || filepath.Base(s.Root) != "linked tree" {
				t.Errorf("in a linked work tree: %+v", s)
			}
			out := t.TempDir()
			if err := s.Export(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, out); !reflect.DeepEqual(got, []string{"644 a dir/b/f one"}) {
				t.Errorf("exported %q", got)
			}

			g.git("checkout", "--quiet", "--detach", "v1.0.0")
			if s := g.read(source.Options{Ref: "v1.0.0"}); s.Tag != "v1.0.0" {
				t.Errorf("detached: %+v", s)
			}
		})
	}
}

// TestAnyCommit reads a commit that is not checked out as it reads one that is, in a changed work tree and in a bare repository.
func TestAnyCommit(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	// What looks like a pointer of Git LFS is one by the attributes of its own commit.
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 0\n"
	g.write(".gitattributes", "*.dat filter=lfs\n")
	g.write("a.dat", pointer)
	g.write("f", "one")
	one := g.commit("one")
	g.git("tag", "v1.0.0")
	want := g.read(source.Options{})
	g.write(".gitattributes", "")
	g.write("f", "two")
	two := g.commit("two")
	g.git("tag", "v1.1.0")
	g.git("branch", "side", one)
	g.write("f", "three")
	bare := filepath.Join(t.TempDir(), "bare.git")
	g.git("clone", "--quiet", "--bare", ".", bare)
	for _, dir := range []string{g.dir, g.path(".git"), bare} {
		for _, rev := range []string{one, "v1.0.0", "side", "refs/tags/v1.0.0"} {
			s := g.read(source.Options{Dir: dir, Commit: rev})
			if s.Commit != one || s.Tree != want.Tree || s.Time != want.Time || s.Tag != "v1.0.0" || s.Dirty || s.Why != want.Why || len(s.Released) != 2 || !reflect.DeepEqual(s.Changes, want.Changes) {
				t.Errorf("%s in %s: %+v", rev, dir, s)
			}
		}
		for rev, want := range map[string][]string{
			"v1.0.0": {"644 .gitattributes *.dat filter=lfs\n", "644 a.dat ", "644 f one"},
			"main":   {"644 .gitattributes ", "644 a.dat " + pointer, "644 f two"},
		} {
			s, err := source.Find(t.Context(), dir, rev)
			if err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			if err := s.Export(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, out); !reflect.DeepEqual(got, want) {
				t.Errorf("%s in %s is %q, want %q", rev, dir, got, want)
			}
			if b, err := s.Blob(t.Context(), "f", 10); err != nil || !strings.HasSuffix(want[2], string(b)) {
				t.Errorf("%s in %s: f is %q, %v", rev, dir, b, err)
			}
		}
		if log, err := source.Log(t.Context(), dir, "v1.0.0", "v1.1.0"); err != nil || len(log) != 1 || log[0].Commit != two {
			t.Errorf("the log in %s is %q, %v", dir, log, err)
		}
		for _, bad := range []string{"v9.9.9", "-x", "ext::x", strings.Repeat("1", 40)} {
			if _, err := source.Read(t.Context(), source.Options{Dir: dir, Commit: bad}); fault.CodeOf(err) != fault.Git {
				t.Errorf("%s in %s: %v", bad, dir, err)
			}
		}
	}
	_, err := source.Read(t.Context(), source.Options{Dir: bare})
	refused(t, err, "is not in a work tree")
}

func TestCurrentFolder(t *testing.T) {
	g := newRepo(t)
	g.commit("one")
	t.Chdir(g.dir)
	if s, err := source.Read(t.Context(), source.Options{}); err != nil || s.Root != g.dir {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSurroundings reads as a hook would, with variables that point at another repository, and with a configuration
// that names programs.
func TestSurroundings(t *testing.T) {
	other := newRepo(t)
	other.write("other", "")
	other.commit("other")
	g := newRepo(t)
	g.write("f", "one")
	one := g.commit("one")
	text := strings.Replace(g.git("cat-file", "commit", one), "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n -----END PGP SIGNATURE-----\n\n", 1)
	one = g.gitIn(text, "hash-object", "-t", "commit", "-w", "--stdin")
	g.git("update-ref", "refs/heads/main", one)
	ran := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n: > '"+ran+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.git("config", "core.fsmonitor", program)
	g.git("config", "log.showSignature", "true")
	g.git("config", "gpg.program", program)
	g.git("config", "color.ui", "always")
	g.git("config", "status.branch", "true")
	g.git("config", "status.showStash", "true")
	g.git("config", "status.short", "true")
	if err := os.Mkdir(g.path(".git/hooks"), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	for _, hook := range []string{"post-index-change", "reference-transaction", "fsmonitor-watchman"} {
		if err := os.Symlink(program, g.path(".git/hooks/"+hook)); err != nil {
			t.Fatal(err)
		}
	}
	// A racy index makes git status want to write it anew.
	if err := os.Chtimes(g.path("f"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"GIT_DIR": other.path(".git"), "GIT_WORK_TREE": other.dir, "GIT_INDEX_FILE": other.path(".git/index"), "GIT_PREFIX": "x/",
		"GIT_OBJECT_DIRECTORY": other.path(".git/objects"), "GIT_NAMESPACE": "n", "GIT_TRACE": "1", "LC_ALL": "de_DE.UTF-8",
		"GIT_EXTERNAL_DIFF": program, "GIT_LITERAL_PATHSPECS": "1", "LANGUAGE": "de",
	} {
		t.Setenv(k, v)
	}
	s, err := source.Read(t.Context(), source.Options{Dir: g.dir})
	if err != nil {
		t.Fatal(err)
	}
	if s.Commit != one || s.Root != g.dir {
		t.Errorf("reads %s in %s, want %s", s.Commit, s.Root, one)
	}
	if _, err := source.Log(t.Context(), g.dir, "", "HEAD"); err != nil {
		t.Error(err)
	}
	if err := s.Export(t.Context(), t.TempDir()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the configuration was run")
	}
	_, err = source.Read(t.Context(), source.Options{Dir: t.TempDir()})
	refused(t, err, "not in a git repository")
}

// TestHostileConfiguration reads a clone, with a submodule, whose configuration names programs that a status would run.
func TestHostileConfiguration(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are scripts")
	}
	t.Parallel()
	below := newRepo(t)
	below.write(".gitattributes", "*.txt filter=evil\n")
	below.write("a.txt", "one")
	below.commit("one")
	g := newRepo(t)
	g.write(".gitattributes", "*.txt filter=evil\n")
	g.write("b.txt", "one")
	g.git("submodule", "--quiet", "add", below.dir, "sub")
	g.commit("one")
	ran := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $1 >>'"+ran+"'\ncat\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*gitRepo{g, g.at(g.path("sub"))} {
		r.git("config", "filter.evil.clean", program+" clean")
		r.git("config", "filter.evil.smudge", program+" smudge")
		r.git("config", "filter.evil.required", "true")
		r.git("config", "core.fsmonitor", program+" fsmonitor")
	}
	later := time.Now().Add(time.Hour) // so that git reads the files again
	for _, p := range []string{"b.txt", "sub/a.txt"} {
		if err := os.Chtimes(g.path(p), later, later); err != nil {
			t.Fatal(err)
		}
	}
	s := g.read(source.Options{})
	if _, err := s.Blob(t.Context(), "b.txt", 10); err != nil {
		t.Error(err)
	}
	if err := s.Export(t.Context(), t.TempDir()); err != nil {
		t.Error(err)
	}
	g.write("sub/a.txt", "two")
	if err := g.read(source.Options{AllowDirty: true}).Export(t.Context(), t.TempDir()); err != nil {
		t.Error(err)
	}
	_, err := source.Read(t.Context(), source.Options{Dir: g.dir})
	refused(t, err, "uncommitted changes (sub/a.txt)", "are not run (filter.evil.clean, filter.evil.smudge)")
	if b, err := os.ReadFile(ran); err == nil {
		t.Errorf("these ran: %q", b)
	}
	// The test sees them.
	g.git("status")
	if _, err := os.Stat(ran); err != nil {
		t.Error("a filter does not run where nobody keeps it from that")
	}
}

// TestReplaceRefs reads what was committed and not what a replace ref puts in its place.
// A clone that lacks the commit it is at fetches it when that is asked for, and not by a program of its own choice.
func TestHeadOfHostileClone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a script")
	}
	t.Parallel()
	g := newRepo(t)
	g.write("f", "one")
	one := g.commit("one")
	if err := os.Remove(g.path(".git/objects/" + one[:2] + "/" + one[2:])); err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n: > '"+ran+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"core.repositoryFormatVersion": "1", "extensions.partialClone": "origin", "remote.origin.promisor": "true",
		"remote.origin.url": "ssh://127.0.0.1:1/x", "core.sshCommand": program,
	} {
		g.git("config", key, value)
	}
	if head, err := source.Head(t.Context(), g.dir); err == nil && head != "" {
		t.Errorf("the commit that is not there is %s", head)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the configuration was run")
	}
}

func TestReplaceRefs(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("f", "one")
	one := g.commit("one")
	blob := g.git("rev-parse", "HEAD:f")
	g.git("replace", blob, g.gitIn("evil", "hash-object", "-w", "--stdin"))
	tree1 := g.git("--no-replace-objects", "rev-parse", one+"^{tree}")
	g.write("f", "two")
	two := g.commit("two")
	g.git("replace", one, two)
	g.git("--no-replace-objects", "checkout", "--quiet", "--force", one)

	s := g.read(source.Options{})
	if s.Commit != one || s.Tree != tree1 {
		t.Errorf("reads %s with tree %s, want %s with %s", s.Commit, s.Tree, one, tree1)
	}
	out := t.TempDir()
	if err := s.Export(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, out); !reflect.DeepEqual(got, []string{"644 f one"}) {
		t.Errorf("exported %q", got)
	}
}

func TestGitItself(t *testing.T) {
	g := newRepo(t)
	g.commit("one")
	t.Run("missing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := source.Read(t.Context(), source.Options{Dir: g.dir})
		refused(t, err, "git is not in PATH", "install git 2.25")
	})
	for _, tt := range []struct{ says, want string }{
		{"git version 2.24.9", `"2.24.9"`},
		{"git version 1.99.0 (Apple Git-1)", "install git 2.25"},
		{"something else", "install git 2.25"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("needs a script")
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\necho '"+tt.says+"'\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
			_, err := source.Read(t.Context(), source.Options{Dir: g.dir})
			refused(t, err, tt.want)
		})
	}
	t.Run("complaint", func(t *testing.T) {
		broken := newRepo(t)
		broken.write(".git/config", "[core\n")
		_, err := source.Read(t.Context(), source.Options{Dir: broken.dir})
		refused(t, err, "running git", "bad config line 1")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := source.Read(ctx, source.Options{Dir: g.dir}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestVerifyTag(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	one := g.commit("one")
	g.git("tag", "--annotate", "--message", "m", "v1.0.0")
	two := g.commit("two")
	g.git("branch", "v2.0.0")
	ctx := t.Context()
	if err := source.VerifyTag(ctx, g.dir, "v1.0.0", one); err != nil {
		t.Error(err)
	}
	if err := source.VerifyTag(ctx, g.dir, "refs/tags/v1.0.0", one); err != nil {
		t.Error(err)
	}
	refused(t, source.VerifyTag(ctx, g.dir, "v1.0.0", two), "v1.0.0", one, two)
	g.git("tag", "--force", "v1.0.0")
	refused(t, source.VerifyTag(ctx, g.dir, "v1.0.0", one), "v1.0.0", one, two)
	refused(t, source.VerifyTag(ctx, g.dir, "v2.0.0", two), "v2.0.0", "git fetch --tags")
	refused(t, source.VerifyTag(ctx, g.dir, "-d", two), "hyphen")
	refused(t, source.VerifyTag(ctx, g.dir, "v1.0.0", "HEAD"), "not a full object name")
	g.git("tag", "blob", g.gitIn("x", "hash-object", "-w", "--stdin"))
	refused(t, source.VerifyTag(ctx, g.dir, "blob", two), "blob")
}

// A tag of something that is no commit names no version of this one, and gets in nobody's way.
func TestTagOfBlob(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.git("tag", "v9.0.0", g.gitIn("x", "hash-object", "-w", "--stdin"))
	id := g.commit("one")
	if s := g.read(source.Options{}); s.Version.String() != "0.0.1-snapshot.1.g"+id[:12] {
		t.Errorf("version %s", s.Version)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	one := g.commit("feat: one")
	g.git("tag", "v1.0.0")
	// A branch of the tag's name does not stand in its way.
	g.git("branch", "v1.0.0")
	two := g.commit("fix: two\n\nbody ü\n\nBREAKING CHANGE: all")
	g.git("branch", "--force", "v1.0.0")
	three := g.commit("three")
	ctx := t.Context()
	first := source.Change{Commit: one, Author: "Test", Message: "feat: one"}
	second := source.Change{Commit: two, Author: "Test", Message: "fix: two\n\nbody ü\n\nBREAKING CHANGE: all"}
	third := source.Change{Commit: three, Author: "Test", Message: "three"}
	for _, tt := range []struct {
		from, to string
		want     []source.Change
	}{
		{"v1.0.0", "HEAD", []source.Change{third, second}},
		{"", two, []source.Change{second, first}},
		{"refs/tags/v1.0.0", "main", []source.Change{third, second}},
		{three, three, nil},
		{"HEAD", "v1.0.0", nil},
	} {
		got, err := source.Log(ctx, g.dir, tt.from, tt.to)
		if err != nil {
			t.Errorf("Log(%q, %q): %v", tt.from, tt.to, err)
		} else if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Log(%q, %q) = %q, want %q", tt.from, tt.to, got, tt.want)
		}
	}
	for _, bad := range []string{"missing", "--all", "", "ext::x", strings.Repeat("0", 40), "HEAD~9"} {
		if _, err := source.Log(ctx, g.dir, "", bad); fault.CodeOf(err) != fault.Git {
			t.Errorf("Log to %q: %v", bad, err)
		}
		if _, err := source.Log(ctx, g.dir, bad, "HEAD"); bad != "" && fault.CodeOf(err) != fault.Git {
			t.Errorf("Log from %q: %v", bad, err)
		}
	}
}

// TestHostileBranch has the branch checked out; its name is never looked at.
func TestHostileBranch(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.commit("one")
	g.git("tag", "v1.0.0")
	g.git("checkout", "--quiet", "-b", `zzz";echo${IFS}hello;#`)
	if s := g.read(source.Options{}); s.Tag != "v1.0.0" {
		t.Errorf("%+v", s)
	}
}
