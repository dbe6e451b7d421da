package reproduce

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// TestFindPipeline takes the pipeline that is nearest to the configuration, and no program that is none.
func TestFindPipeline(t *testing.T) {
	src := t.TempDir()
	for name, text := range map[string]string{
		"ci/main.go":           `import "example.com/pipeline/cli"`,
		"ci/go.mod":            "module ci\n",
		"a/slipway-ci/main.go": `import "example.com/pipeline/cli"`,
		"a/b/ci/main.go":       "package lint\n",
	} {
		name = filepath.Join(src, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		config, named string
		dir, pkg      string
		own           bool
	}{
		{"", "", "ci", ".", true},
		{"slipway.yaml", "", "ci", ".", true},
		{"other/slipway.yaml", "", "ci", ".", true},
		{"a/slipway.yaml", "", "", "./a/slipway-ci", false},
		{"a/b/slipway.yaml", "", "", "./a/slipway-ci", false},
		{"a/b/slipway.yaml", "ci", "ci", ".", true},
		{"", "a/b/ci", "", "./a/b/ci", false}, // who names it knows
	} {
		dir, pkg, own, err := findPipeline(src, tt.config, tt.named)
		if err != nil || dir != filepath.Join(src, tt.dir) || pkg != tt.pkg || own != tt.own {
			t.Errorf("configuration %q, named %q: %s in %s, own %v, %v; want %s in %s", tt.config, tt.named, pkg, dir, own, err, tt.pkg, tt.dir)
		}
	}
	if _, _, _, err := findPipeline(filepath.Join(src, "a", "b"), "slipway.yaml", ""); err == nil {
		t.Error("a program that is no pipeline was taken for one")
	}
}

// TestFindTag finds the release of one of several projects by its tag, and refuses one that several have.
func TestFindTag(t *testing.T) {
	from := t.TempDir()
	for _, name := range []string{"tool", "cli"} {
		if _, err := verifytest.Write(filepath.Join(from, name, "1.2.3"), verifytest.Options{Name: name, Version: "1.2.3", Bare: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, want, err string }{
		{"tool/v1.2.3", "tool", ""},
		{"cli/1.2.3", "cli", ""},
		{"v1.2.3", "", "has 1.2.3 of 2 projects; name its tag"},
		{"api/v1.2.3", "", "there is no release api/v1.2.3"},
		{"cli/v1.2.4", "", "there is no release cli/v1.2.4"},
		{"cli/dist", "", "no such folder"},
		{"./cli/1.2.3", "", "no such folder"},
	} {
		r := &run{o: Options{Release: tt.name, From: from, Verify: verify.Options{AllowUnsigned: true}}}
		p, err := r.find(t.Context())
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil || p.rel.Name != tt.want {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, p.rel.Name, err, tt.want, tt.err)
		}
	}
	const page = "https://github.com/example/repo/releases/download/"
	for address, want := range map[string]bool{page + "tool%2Fv1.2.3/": true, page + "tool/v1.2.3/": true, page + "v1.2.3/": false, page + "big-tool%2Fv1.2.3/": false} {
		if got := (Listed{Version: "1.2.3", URL: address}).tagged("tool/v1.2.3"); got != want {
			t.Errorf("%s has the tag: %v", address, got)
		}
	}
}
