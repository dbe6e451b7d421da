package scaffold

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"github.com/slipway-build/slipway/pipeline/fixture"
)

// old is an early version of a library that the pipeline needs in a later one. The test serves it from a folder of its
// own, so that no network decides what it shows.
const (
	oldPath    = "github.com/spf13/cobra"
	oldVersion = "v0.0.1"
)

// TestNestedModule shows with the Go command that the pipeline's dependencies do not move those of the product, and
// that they would if the pipeline were a package of the product's module.
func TestNestedModule(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the Go command many times")
	}
	slipway, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	needed := required(t, filepath.Join(slipway, "go.mod"))
	if needed == "" || needed == oldVersion {
		t.Fatalf("the pipeline needs %s at %q, which shows nothing", oldPath, needed)
	}
	for _, workspace := range []bool{false, true} {
		name := "alone"
		if workspace {
			name = "in a workspace"
		}
		t.Run(name, func(t *testing.T) {
			files := map[string]string{
				"go.mod":  "module example.com/product\n\ngo 1.26.0\n\nrequire " + oldPath + " " + oldVersion + "\n",
				"main.go": "package main\n\nimport \"" + oldPath + "\"\n\nfunc main() { println(cobra.Age) }\n",
			}
			product := tree(t, files)
			outer, inner := productCommand(t), pipelineCommand(t)
			outer.run(product, "mod", "tidy")
			if workspace {
				if err := os.WriteFile(filepath.Join(product, "go.work"), []byte("go 1.26.0\n\nuse .\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Init(t.Context(), Options{Dir: product, Replace: slipway})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.HasPrefix(r.Next[0], "GOWORK=off go "); got != workspace {
				t.Errorf("next is %q", r.Next[0])
			}
			if workspace {
				inner.env = append(inner.env, "GOWORK=off")
			}
			ci := filepath.Join(product, "ci")
			inner.pipelineLoads(ci)
			if got := inner.versionOf(ci); got != needed {
				t.Errorf("the pipeline is built with %s %s, want %s", oldPath, got, needed)
			}
			if got := outer.versionOf(product); got != oldVersion {
				t.Errorf("the product is built with %s %s now, want %s", oldPath, got, oldVersion)
			}
			if got := outer.run(product, "list", "./..."); got != "example.com/product" {
				t.Errorf("packages of the product: %s", got)
			}
			bin := filepath.Join(t.TempDir(), "product")
			outer.run(product, "build", "-o", bin, ".")
			if info := outer.run(product, "version", "-m", bin); !strings.Contains(info, oldPath+"\t"+oldVersion) || strings.Contains(info, modulePath) {
				t.Errorf("the product's binary has:\n%s", info)
			}
		})
	}

	t.Run("as one module", func(t *testing.T) {
		g := productCommand(t)
		g.env = append(g.env, "GOFLAGS=-mod=mod")
		one := tree(t, map[string]string{
			"go.mod": "module example.com/product\n\ngo 1.26.0\n\nrequire " + oldPath + " " + oldVersion + "\n\nrequire " + modulePath +
				" v0.0.0\n\nreplace " + modulePath + " => " + filepath.ToSlash(slipway) + "\n",
			"main.go":    "package main\n\nimport \"" + oldPath + "\"\n\nfunc main() { println(cobra.Age) }\n",
			"ci/main.go": "package main\n\nimport _ \"" + modulePath + "/pipeline/release/fault\"\n\nfunc main() {}\n",
		})
		g.run(one, "list", "-deps", "./ci")
		if got := required(t, filepath.Join(one, "go.mod")); got != needed {
			t.Errorf("a pipeline in the product's module leaves %s at %s: the nested module would not be needed", oldPath, got)
		}
	})
}

// required is the version that the go.mod file requires of the library.
func required(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := modfile.Parse(name, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Require {
		if r.Mod.Path == oldPath {
			return r.Mod.Version
		}
	}
	return ""
}

// goCommand runs the Go command with the modules of a test.
type goCommand struct {
	t   *testing.T
	env []string
}

// productCommand has a module cache of its own, so that the made-up old version does not get into the machine's.
func productCommand(t *testing.T) goCommand {
	return goCommand{t, []string{"GOPROXY=" + proxies(t), "GOMODCACHE=" + filepath.Join(t.TempDir(), "mod"), "GOFLAGS=-modcacherw -trimpath"}}
}

// pipelineCommand has what the tests of this repository are compiled from.
func pipelineCommand(t *testing.T) goCommand {
	return goCommand{t, []string{"GOPROXY=" + machine(t), "GOFLAGS=-mod=mod"}}
}

func (g goCommand) run(dir string, args ...string) string {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PWD="+dir, "GOSUMDB=off", "GOPRIVATE=", "GONOPROXY=none", "GOTOOLCHAIN=local", "GOWORK=")
	cmd.Env = append(cmd.Env, g.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g goCommand) versionOf(dir string) string {
	g.t.Helper()
	return g.run(dir, "list", "-m", "-f", "{{.Version}}", oldPath)
}

// pipelineLoads has the Go command resolve the pipeline, by its go.mod and go.sum alone, and compile it in the full run.
func (g goCommand) pipelineLoads(ci string) {
	g.t.Helper()
	deps := g.run(ci, "list", "-deps", ".")
	for _, want := range []string{modulePath + "/pipeline/cli", oldPath, "example.com/product/ci"} {
		if !strings.Contains("\n"+deps+"\n", "\n"+want+"\n") {
			g.t.Errorf("the pipeline does not have the package %s", want)
		}
	}
	if strings.Contains("\n"+deps+"\n", "\nexample.com/product\n") {
		g.t.Error("the pipeline has the product in it")
	}
	if fixture.Full {
		g.run(ci, "build", "-trimpath", "-o", os.DevNull, ".")
	}
}

// proxies are a folder with the old version in the layout of a module proxy (https://go.dev/ref/mod#goproxy-protocol)
// and then what this machine has, from which the pipeline is compiled.
func proxies(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "proxy")
	at := filepath.Join(dir, filepath.FromSlash(oldPath), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	goMod := "module " + oldPath + "\n"
	info, err := json.Marshal(map[string]string{"Version": oldVersion, "Time": "2015-01-01T00:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string]string{"go.mod": goMod, "cobra.go": "package cobra\n\n// Age is what a later version has not.\nconst Age = \"old\"\n"} {
		w, err := z.Create(oldPath + "@" + oldVersion + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for ending, data := range map[string][]byte{".info": info, ".mod": []byte(goMod), ".zip": b.Bytes()} {
		if err := os.WriteFile(filepath.Join(at, oldVersion+ending), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return fileURL(dir) + "," + machine(t)
}

// machine is where this machine has modules: the folder of its cache that has the layout of a proxy and, for what only
// another module graph than this repository's asks for, its proxy.
func machine(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, proxy, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return fileURL(filepath.Join(cache, "cache", "download")) + "," + strings.TrimSpace(proxy)
}

func fileURL(dir string) string {
	if runtime.GOOS == "windows" {
		return "file:///" + filepath.ToSlash(dir)
	}
	return "file://" + dir
}
