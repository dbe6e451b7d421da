package source_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// TestClone clones a commit that a tag leads to, one that only its name leads to, and none that is not there.
func TestClone(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("a.txt", "one\r\n")
	first := g.commit("one")
	g.git("tag", "v1.0.0")
	g.write("a.txt", "two\n")
	second := g.commit("two")
	g.git("tag", "v1.1.0")
	g.git("tag", "cli/v1.1.0")

	dir := filepath.Join(t.TempDir(), "with a space", "src")
	must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	must(t, source.Clone(t.Context(), g.dir, dir, first))
	b, err := os.ReadFile(filepath.Join(dir, "a.txt"))
	must(t, err)
	if string(b) != "one\r\n" {
		t.Errorf("the work tree has %q", b)
	}
	at, err := source.TagCommit(t.Context(), dir, "v1.1.0")
	must(t, err)
	if at != second {
		t.Errorf("the tag names %s, want %s", at, second)
	}
	if at, err := source.TagCommit(t.Context(), dir, "v9.9.9"); err != nil || at != "" {
		t.Errorf("a tag that is not there names %q, %v", at, err)
	}
	tags, err := source.TagsAt(t.Context(), dir, second)
	must(t, err)
	if !slices.Equal(tags, []string{"cli/v1.1.0", "v1.1.0"}) {
		t.Errorf("tags of the commit: %q", tags)
	}
	tree, err := source.TreeOf(t.Context(), dir, first)
	must(t, err)
	if want := strings.TrimSpace(g.git("rev-parse", first+"^{tree}")); tree != want {
		t.Errorf("its tree is %s, want %s", tree, want)
	}
	remote, err := source.Remote(t.Context(), dir, "origin")
	must(t, err)
	if remote != g.dir {
		t.Errorf("its origin is %q", remote)
	}
	if remote, err := source.Remote(t.Context(), dir, "nowhere"); err != nil || remote != "" {
		t.Errorf("a remote that is not there is %q, %v", remote, err)
	}

	for name, tt := range map[string]struct {
		remote, commit, words string
		code                  fault.Code
	}{
		"another commit":  {g.dir, strings.Repeat("1", 40), "it has no commit 1111", fault.Git},
		"no name":         {g.dir, "v1.0.0", "is not a full object name", fault.Git},
		"no repository":   {filepath.Join(t.TempDir(), "nowhere"), first, "cloning ", fault.Git},
		"an option":       {"--upload-pack=touch hacked", first, "neither a URL nor a path", fault.Usage},
		"another program": {"ext::sh -c touch% hacked", first, "cloning ext::", fault.Git},
	} {
		err := source.Clone(t.Context(), tt.remote, filepath.Join(t.TempDir(), "src"), tt.commit)
		if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat("hacked"); err == nil {
		t.Error("a program that the remote names was run")
	}
	err = source.Clone(t.Context(), "https://user:secret@127.0.0.1:1/x.git", filepath.Join(t.TempDir(), "src"), first)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in %v", err)
	}
}

// TestBundle keeps a commit with its history in a file, from which it is cloned with its tags.
func TestBundle(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("a.txt", "one\n")
	g.commit("one")
	g.git("tag", "v1.0.0")
	g.write("a.txt", "two\n")
	second := g.commit("two")
	g.git("tag", "-a", "-m", "second", "v1.1.0")
	g.write("a.txt", "three\n")
	third := g.commit("three")
	g.git("tag", "v2.0.0")

	src := filepath.Join(t.TempDir(), "src")
	must(t, source.Clone(t.Context(), g.dir, src, second))
	name := filepath.Join(t.TempDir(), "source.bundle")
	must(t, source.Bundle(t.Context(), src, name, second, "v1.1.0"))
	again := filepath.Join(t.TempDir(), "again")
	must(t, source.Clone(t.Context(), name, again, second))
	for tag, want := range map[string]bool{"v1.0.0": true, "v1.1.0": true, "v2.0.0": false} {
		at, err := source.TagCommit(t.Context(), again, tag)
		must(t, err)
		if (at != "") != want {
			t.Errorf("%s is there: %v", tag, !want)
		}
	}
	if there, err := source.Has(t.Context(), again, third); err != nil || there {
		t.Errorf("the bundle has what came later: %v", err)
	}
	if err := source.Bundle(t.Context(), src, name, second, "v2.0.0"); fault.CodeOf(err) != fault.Git {
		t.Errorf("a tag that is not in the history: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
