package source_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/source"
)

func TestSince(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		tags  [4]string // of the commits 0, 1, 2 and 3
		ref   string
		since string
		want  string // messages of Changes
	}{
		{name: "first release", tags: [4]string{3: "v1.0.0"}, want: "3 2 1 0"},
		{name: "nothing tagged", want: "3 2 1 0"},
		{name: "stable after stable", tags: [4]string{1: "v1.0.0", 3: "v1.1.0"}, since: "v1.0.0", want: "3 2"},
		{name: "stable after its candidates", tags: [4]string{"v1.0.0", "v1.1.0-rc.1", "v1.1.0-rc.2", "v1.1.0"}, since: "v1.0.0", want: "3 2 1"},
		{name: "candidate after candidate", tags: [4]string{"v1.0.0", "v1.1.0-rc.1", "", "v1.1.0-rc.2"}, since: "v1.1.0-rc.1", want: "3 2"},
		{name: "candidate after stable", tags: [4]string{"v1.0.0-rc.1", "v1.0.0", "", "v1.1.0-rc.1"}, since: "v1.0.0", want: "3 2"},
		{name: "snapshot", tags: [4]string{"v1.0.0", "", "v1.1.0-rc.1", ""}, since: "v1.1.0-rc.1", want: "3"},
		{name: "a higher version in history is none to start from", tags: [4]string{"v1.0.0", "v2.0.0", "", "v1.0.1"}, since: "v1.0.0", want: "3 2 1"},
		{name: "a promoted commit", tags: [4]string{"v1.0.0", "", "", "v1.1.0-rc.1 v1.1.0"}, since: "v1.0.0", want: "3 2 1"},
		{name: "its candidate again", tags: [4]string{"v1.0.0", "", "", "v1.1.0-rc.1 v1.1.0"}, ref: "v1.1.0-rc.1", since: "v1.0.0", want: "3 2 1"},
		{name: "two candidates on one commit", tags: [4]string{3: "v1.0.0-rc.1 v1.0.0-rc.2"}, since: "v1.0.0-rc.1"},
		{name: "metadata", tags: [4]string{"v1.0.0", "v1.1.0+k1", "", "v1.1.0+k2"}, since: "v1.1.0+k1", want: "3 2"},
		{name: "one version under two names", tags: [4]string{1: "1.0.0", 3: "v1.0.0"}, want: "3 2 1 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRepo(t)
			for i, tags := range tt.tags {
				g.commit(fmt.Sprint(i))
				for _, tag := range strings.Fields(tags) {
					g.git("tag", tag)
				}
			}
			s := g.read(source.Options{Ref: tt.ref})
			var got []string
			for _, c := range s.Changes {
				got = append(got, c.Message)
			}
			if s.Since != tt.since || strings.Join(got, " ") != tt.want {
				t.Errorf("since %q: %q; want since %q: %s", s.Since, got, tt.since, tt.want)
			}
			b, err := json.Marshal(s)
			if err != nil || bytes.Contains(bytes.ToLower(b), []byte("change")) || bytes.Contains(bytes.ToLower(b), []byte("since")) {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
}

// TestAuthors has names from the commit's own .mailmap, whatever the work tree and the configuration say.
func TestAuthors(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write(".mailmap", "Ada Example <ada@example.com> <test@example.com>\n")
	g.write(".gitignore", "other\n")
	one := g.commit("one")
	g.write("f", "")
	g.git("add", "--all")
	g.git("-c", "user.name=Ümit \"x\" <y", "-c", "user.email=umit@example.com", "commit", "--quiet", "--message", "two")
	two := g.git("rev-parse", "HEAD")
	other := filepath.Join(t.TempDir(), "mailmap")
	if err := os.WriteFile(other, []byte("Somebody Else <test@example.com>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.git("config", "mailmap.file", other)
	check := func(g *gitRepo, o source.Options, when string) {
		t.Helper()
		s := g.read(o)
		want := []source.Change{{Commit: two, Author: "Ümit \"x\" y", Message: "two"}, {Commit: one, Author: "Ada Example", Message: "one"}}
		if fmt.Sprint(s.Changes) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", when, s.Changes, want)
		}
	}
	check(g, source.Options{}, "as committed")
	linked := filepath.Join(t.TempDir(), "linked")
	g.git("worktree", "add", "--quiet", "--detach", linked)
	check(g.at(linked), source.Options{}, "in a linked work tree")
	g.write(".mailmap", "Somebody Else <test@example.com>\n")
	check(g, source.Options{AllowDirty: true}, "with a changed .mailmap")
	g.git("update-index", "--skip-worktree", ".mailmap")
	check(g, source.Options{}, "with a .mailmap that git overlooks")
	log, err := source.Log(t.Context(), g.dir, "", "HEAD~1")
	if err != nil || len(log) != 1 || log[0].Author != "Ada Example" {
		t.Errorf("the log: %v, %v", log, err)
	}
}

func TestBlob(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("CHANGELOG.md", "text\n")
	g.write("empty", "")
	g.write("dir/a b ü.md", "deep")
	links := map[string]string{
		"link": "dir/a b ü.md", "dir/up": "../CHANGELOG.md", "out": "../../outside", "absolute": "/etc/hostname", "dangling": "nowhere",
		"loop": "loop",
	}
	for name, target := range links {
		if err := os.Symlink(target, g.path(name)); err != nil {
			t.Skip(err)
		}
	}
	g.commit("one")
	clean := g.read(source.Options{})
	g.write("new", "new")
	dirty := g.read(source.Options{AllowDirty: true})
	for _, tt := range []struct {
		name  string
		limit int64
		want  any // text, nil for no file, or error
	}{
		{"CHANGELOG.md", 100, "text\n"},
		{"CHANGELOG.md", 5, "text\n"},
		{"CHANGELOG.md", 4, errorWith("has 5 bytes, more than 4")},
		{"empty", 0, ""},
		{"dir/a b ü.md", 100, "deep"},
		{"none", 100, nil},
		{"none/none", 100, nil},
		{"CHANGELOG.md/none", 100, nil},
		{"dir", 100, errorWith("not a file")},
		{"link", 100, "deep"},
		{"dir/up", 100, "text\n"},
		{"dangling", 100, nil},
		{"out", 100, errorWith("leads out of the source")},
		{"absolute", 100, errorWith("leads out of the source")},
		{"../outside", 100, errorWith("rename")},
		{"/etc/hostname", 100, errorWith("absolute")},
		{".git/config", 100, errorWith(".git")},
		{"a\nb", 100, errorWith("control characters")},
		{"", 100, errorWith("empty")},
	} {
		for state, s := range map[string]source.Source{"clean": clean, "dirty": dirty} {
			got, err := s.Blob(t.Context(), tt.name, tt.limit)
			switch want := tt.want.(type) {
			case errorWith:
				refused(t, err, string(want))
			case nil:
				if got != nil || err != nil {
					t.Errorf("%s, %s: %q, %v, want nothing", tt.name, state, got, err)
				}
			default:
				if got == nil || string(got) != want || err != nil {
					t.Errorf("%s, %s: %q, %v, want %q", tt.name, state, got, err, want)
				}
			}
		}
	}
	for _, s := range []source.Source{clean, dirty} {
		if b, err := s.Blob(t.Context(), "loop", 100); b != nil || err == nil {
			t.Errorf("a loop: %q, %v", b, err)
		}
	}
	for s, want := range map[*source.Source]string{&clean: "", &dirty: "new"} {
		if b, err := s.Blob(t.Context(), "new", 100); string(b) != want || err != nil {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	g.write("CHANGELOG.md", "changed")
	if b, _ := clean.Blob(t.Context(), "CHANGELOG.md", 100); string(b) != "text\n" {
		t.Errorf("the commit has %q", b)
	}
	if b, _ := dirty.Blob(t.Context(), "CHANGELOG.md", 100); string(b) != "changed" {
		t.Errorf("the work tree has %q", b)
	}
}

// What is in folders below, and what another folder that begins alike has, is not in the list.
func TestList(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	for _, name := range []string{"a/b/2.yaml", "a/b/1 ü.yaml", "a/b/c/3.yaml", "a/bc/4.yaml", "a/b*/5.yaml", "b/6.yaml", "file"} {
		g.write(name, "text")
	}
	g.commit("one")
	clean := g.read(source.Options{})
	g.write("a/b/new.yaml", "text")
	dirty := g.read(source.Options{AllowDirty: true})
	listed := []string{"a/b/1 ü.yaml", "a/b/2.yaml"}
	for dir, want := range map[string][]string{"a/b": listed, "a/b*": {"a/b*/5.yaml"}, "a": nil, "none": nil, "file": nil, "file/none": nil} {
		if got, err := clean.List(t.Context(), dir); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: %q, %v, want %q", dir, got, err, want)
		}
		if dir == "a/b" {
			want = append(slices.Clone(want), "a/b/new.yaml")
		}
		if got, err := dirty.List(t.Context(), dir); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s of the work tree: %q, %v, want %q", dir, got, err, want)
		}
	}
	for _, s := range []source.Source{clean, dirty} {
		_, err := s.List(t.Context(), "../a")
		refused(t, err, "rename")
	}
}

type errorWith string
