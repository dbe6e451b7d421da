package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Toolchain is a Go release laid out on disk.
type Toolchain struct {
	Dir string // GOROOT, with executable bits; empty where it was not laid out
	Sum string // h1: of its module
}

// ToolchainSource says where a toolchain comes from and where it goes.
type ToolchainSource struct {
	GoCommand string   // the Go command that fetches it
	Environ   []string // of the process
	Release   string   // such as 1.26.8
	Host      string   // what it will run on, such as linux-amd64
	Sum       string   // h1: that the lock has for it; empty where it has none
	Cache     string   // folder that keeps the laid-out toolchain; empty to lay out none
}

// FetchToolchain has the Go command fetch golang.org/toolchain, which it checks against the checksum database, holds
// the checksum to the lock and lays the files out once, for any host: the module cache keeps them without executable
// bits, and a container needs them with.
func FetchToolchain(ctx context.Context, s ToolchainSource) (Toolchain, error) {
	module := "golang.org/toolchain@v0.0.1-go" + s.Release + "." + s.Host
	var got struct{ Dir, Sum, Error string }
	cmd := exec.CommandContext(ctx, s.GoCommand, "mod", "download", "-json", module)
	cmd.Dir = os.TempDir()
	cmd.Env = append(gocommand.Fetching(s.Environ), "GO111MODULE=on")
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil || got.Error != "" || err != nil {
		why := strings.TrimSpace(got.Error)
		if why == "" {
			why = fmt.Sprint(gocommand.Said(cmp.Or(err, jsonErr)))
		}
		return Toolchain{}, NewFailure("toolchain "+module, why, fmt.Errorf("fetching it: %s", why))
	}
	if s.Sum != "" && got.Sum != s.Sum {
		return Toolchain{}, fault.Errorf(fault.Mismatch, "toolchain %s: its checksum is %s and the lock has %s", module, got.Sum, s.Sum)
	}
	if s.Cache == "" {
		return Toolchain{Sum: got.Sum}, nil
	}
	tc := Toolchain{Dir: filepath.Join(s.Cache, "go"+s.Release+"."+s.Host), Sum: got.Sum}
	if _, err := os.Stat(tc.Dir); err == nil {
		return tc, nil
	}
	if err := os.MkdirAll(s.Cache, 0o755); err != nil {
		return Toolchain{}, err
	}
	tmp, err := os.MkdirTemp(s.Cache, ".toolchain-*")
	if err != nil {
		return Toolchain{}, err
	}
	defer os.RemoveAll(tmp)
	if err := layOut(got.Dir, filepath.Join(tmp, "go")); err != nil {
		return Toolchain{}, fmt.Errorf("laying out %s: %w", module, err)
	}
	// Another process may have been quicker; what it laid out is the same.
	if err := os.Rename(filepath.Join(tmp, "go"), tc.Dir); err != nil {
		if _, statErr := os.Stat(tc.Dir); statErr != nil {
			return Toolchain{}, err
		}
	}
	return tc, nil
}

// layOut copies a toolchain out of the module cache. The programs of a toolchain are all in bin and pkg/tool. The
// tests of the toolchain itself are left out: nothing is built from them, and they are a third of the files.
func layOut(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			if d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		}
		if strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		mode := fs.FileMode(0o644)
		if slash := filepath.ToSlash(rel); strings.HasPrefix(slash, "bin/") || strings.HasPrefix(slash, "pkg/tool/") {
			mode = 0o755
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, b, mode); err != nil {
			return err
		}
		return os.Chmod(target, mode) // whatever the umask
	})
}
