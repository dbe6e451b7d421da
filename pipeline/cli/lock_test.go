package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func TestWantedGo(t *testing.T) {
	running := strings.TrimPrefix(runtime.Version(), "go")
	for _, tt := range []struct {
		name, goMod, config, locked, want string
		code                              fault.Code
	}{
		{name: "slipway.yaml decides", goMod: "go 1.20\n\ntoolchain go1.21.3\n", config: "1.22.4", want: "1.22.4"},
		{name: "the toolchain line", goMod: "go 1.20\n\ntoolchain go1.21.3\n", locked: "1.22.4", want: "1.21.3"},
		{name: "toolchain default is none", goMod: "go 1.20\n\ntoolchain default\n", locked: "1.22.4", want: "1.22.4"},
		{name: "what is locked, if new enough", goMod: "go 1.22.0\n", locked: "1.22.4", want: "1.22.4"},
		{name: "what is locked is too old", goMod: "go 1.23\n", locked: "1.22.4", want: running},
		{name: "nothing is locked", goMod: "go 1.20\n", want: running},
		{name: "no go.mod", locked: "1.22.4", want: "1.22.4"},
		{name: "nothing is new enough", goMod: "go 1.999.0\n", locked: "1.22.4", code: fault.Usage},
		{name: "no go.mod that anyone reads", goMod: "go [\n", code: fault.Usage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.goMod != "" {
				if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/tool\n\n"+tt.goMod), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cfg := config.Config{Go: tt.config, Binaries: []config.Binary{{Name: "tool"}}}
			got, err := wantedGo(cfg, config.Toolchain{Version: tt.locked}, dir)
			if got != tt.want || fault.CodeOf(err) != tt.code {
				t.Errorf("%q, %v; want %q and exit %d", got, err, tt.want, tt.code)
			}
		})
	}
}

// TestWantedGoOfModules: of a repository with several modules those count that the project's programs are in.
func TestWantedGoOfModules(t *testing.T) {
	root := t.TempDir()
	for dir, goMod := range map[string]string{
		".": "go 1.21.0\n\ntoolchain go1.25.1\n", "a": "go 1.22.0\n", "b": "go 1.20\n\ntoolchain go1.23.1\n", "c": "go 1.24.0\n", "d": "go 1.20\n",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, dir, "go.mod"), "module example.com/tool\n\n"+goMod)
	}
	for _, tt := range []struct{ dirs, locked, want string }{
		{".", "1.22.4", "1.25.1"},
		{"", "1.22.4", "1.25.1"},
		{"a", "1.22.4", "1.22.4"},
		{"b", "1.22.4", "1.23.1"},
		{"a b", "1.22.4", "1.23.1"},
		{"a .", "1.22.4", "1.25.1"},
		{"d", "1.22.4", "1.22.4"},
		{"d", "1.20.9", strings.TrimPrefix(runtime.Version(), "go")},   // the tests need more
		{"b c", "1.22.4", strings.TrimPrefix(runtime.Version(), "go")}, // what b names is too old for c
	} {
		var cfg config.Config
		for _, dir := range strings.Fields(tt.dirs) {
			cfg.Binaries = append(cfg.Binaries, config.Binary{Dir: dir})
		}
		if got, err := wantedGo(cfg, config.Toolchain{Version: tt.locked}, root); got != tt.want || err != nil {
			t.Errorf("programs in %s: %q, %v; want %q", tt.dirs, got, err, tt.want)
		}
	}
}
