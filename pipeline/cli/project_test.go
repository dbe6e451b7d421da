package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

func TestDistOf(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"repo/a", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct{ root, file, want string }{
		{"repo", "repo/slipway.yaml", "repo/dist"},
		{"repo", "repo/other.yaml", "repo/dist"},
		{"repo", "repo/a/slipway.yaml", "repo/a/dist"},
		{"repo", "elsewhere/slipway.yaml", "repo/dist"},
		{"repo/a", "repo/slipway.yaml", "repo/a/dist"},
	}
	if err := os.Symlink(filepath.Join(dir, "repo"), filepath.Join(dir, "link")); err == nil {
		cases = append(cases, struct{ root, file, want string }{"repo", "link/a/slipway.yaml", "link/a/dist"})
	}
	for _, tt := range cases {
		at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
		if got := distOf(at(tt.root), at(tt.file)); got != at(tt.want) {
			t.Errorf("the release of %s in %s is in %s, want %s", tt.file, tt.root, got, tt.want)
		}
	}
}

// TestOf holds a release to the project by everything that tells projects apart, and by nothing else.
func TestOf(t *testing.T) {
	p := config.Project{Name: "tool", Repository: "https://github.com/example/tool", TagPrefix: "tool/"}
	v, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		edit func(*manifest.Release, *config.Project)
		want bool
	}{
		{"as it was built", func(*manifest.Release, *config.Project) {}, true},
		{"a snapshot", func(r *manifest.Release, _ *config.Project) { r.Tag = "" }, true},
		{"a tag without v", func(r *manifest.Release, _ *config.Project) { r.Tag = "tool/1.2.3" }, true},
		{"the repository written in another way", func(r *manifest.Release, _ *config.Project) { r.Repository = "https://GitHub.com/Example/tool.git" }, true},
		{"no repository is known", func(r *manifest.Release, _ *config.Project) { r.Repository = "" }, true},
		{"no repository is named", func(_ *manifest.Release, p *config.Project) { p.Repository = "" }, true},
		{"another name", func(r *manifest.Release, _ *config.Project) { r.Name = "too" }, false},
		{"another repository", func(r *manifest.Release, _ *config.Project) { r.Repository += "s" }, false},
		{"a tag of the project at the root", func(r *manifest.Release, _ *config.Project) { r.Tag = "v1.2.3" }, false},
		{"a longer prefix", func(r *manifest.Release, _ *config.Project) { r.Tag = "tool/cli/v1.2.3" }, false},
		{"a shorter prefix", func(r *manifest.Release, p *config.Project) { p.TagPrefix = "tool/cli/" }, false},
		{"no prefix", func(r *manifest.Release, p *config.Project) { p.TagPrefix = "" }, false},
	} {
		rel, project := manifest.Release{Name: "tool", Repository: p.Repository, Tag: "tool/v1.2.3", Version: v}, p
		tt.edit(&rel, &project)
		if err := (finished{dir: "dist", file: "slipway.yaml"}).of(rel, project); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
