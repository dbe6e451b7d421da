package source_test

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/source"
)

// TestExportSome writes what is picked and refuses what Export refuses.
func TestExportSome(t *testing.T) {
	t.Parallel()
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000001\nsize 3\n"
	licence := func(p string) bool { return strings.HasPrefix(p, "LICENSE") || p == "docs" || path.Dir(p) == "docs" }
	for _, tt := range []struct {
		name    string
		files   map[string]string
		links   map[string]string
		want    []string
		refused string
	}{
		{
			name: "files", files: map[string]string{"LICENSE": "x", "docs/a.md": "a", "docs/deep/b.md": "b", "main.go": "m", "fixture.bin": pointer, ".gitattributes": "*.go text\n"},
			want: []string{"644 LICENSE x", "644 docs/a.md a"},
		},
		{
			name: "a link on the way", files: map[string]string{"pages/a.md": "a", "main.go": "m"}, links: map[string]string{"docs": "pages"},
			want: []string{"link docs pages", "644 main.go m", "644 pages/a.md a"},
		},
		{
			name: "a link elsewhere", files: map[string]string{"LICENSE": "x", "main.go": "m"}, links: map[string]string{"l": "main.go"},
			want: []string{"644 LICENSE x", "link l main.go"},
		},
		{name: "a link out", files: map[string]string{"main.go": "m"}, links: map[string]string{"l": "../x"}, refused: "leads out of the source"},
		{name: "Git LFS", files: map[string]string{".gitattributes": "# lfs\n*.bin filter=lfs -text\n", "a.bin": pointer}, refused: "not in this clone"},
		{name: "Git LFS in a folder", files: map[string]string{"a/.gitattributes": strings.Repeat("#", 70_000) + "\n*.bin filter=lfs\n", "a/a.bin": pointer}, refused: "not in this clone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newRepo(t)
			for name, text := range tt.files {
				g.write(name, text)
			}
			for name, target := range tt.links {
				link(t, target, g.path(name))
			}
			g.commit("one")
			for _, dirty := range []bool{false, true} {
				s := g.read(source.Options{})
				s.Dirty = dirty
				out := t.TempDir()
				err := s.ExportSome(t.Context(), out, licence)
				if tt.refused != "" {
					refused(t, err, tt.refused)
					continue
				}
				must(t, err)
				want(t, tree(t, out), tt.want...)
				if !dirty {
					_, err = os.Stat(out + "/main.go")
					if written := err == nil; written != (tt.name == "a link on the way") {
						t.Errorf("main.go is written: %v", written)
					}
				}
			}
		})
	}
}
