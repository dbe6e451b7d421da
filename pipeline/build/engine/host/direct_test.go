package host_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/engine/host"
	"github.com/slipway-build/slipway/pipeline/fixture/moduletest"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// TestDirectModule needs a module that GOPRIVATE has come from its repository, which only the user's settings of git lead to.
func TestDirectModule(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	dir := t.TempDir()
	repository := filepath.Join(dir, "dep")
	must(t, os.Mkdir(repository, 0o755))
	must(t, os.WriteFile(filepath.Join(repository, "go.mod"), []byte("module private.example/dep.git\n\ngo 1.21\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(repository, "dep.go"), []byte("package dep\n\nconst Word = \"fetched\"\n"), 0o644))
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x"}, {"tag", "v1.0.0"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = repository
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	home := t.TempDir()
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[url \"file:///"+strings.TrimPrefix(filepath.ToSlash(repository), "/")+"\"]\n\tinsteadOf = https://private.example/dep\n"), 0o644))
	source := tree(t, map[string]string{
		"go.mod":  program["go.mod"] + "require private.example/dep.git v1.0.0\n",
		"main.go": strings.ReplaceAll(moduletest.Use, "example.com/dep", "private.example/dep.git"),
	})
	environ := append(os.Environ(), "HOME="+home, "USERPROFILE="+home, "GOPRIVATE=private.example", "GOPROXY=off", "GOTOOLCHAIN=local", "GOCACHE="+goCache(t))
	get := exec.Command("go", "mod", "tidy")
	get.Dir, get.Env = source, append(environ, "GOMODCACHE="+moduletest.Cache(t), "GOFLAGS=-modcacherw")
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	e, err := host.New(t.Context(), host.Options{
		Go: strings.TrimPrefix(runtime.Version(), "go"), Log: io.Discard, Environ: append(environ, "GOMODCACHE="+moduletest.Cache(t)),
	})
	must(t, err)
	defer e.Close()
	err = e.Compile(t.Context(), source, binary(artifact.Platform{OS: "linux", Arch: "amd64"}), filepath.Join(t.TempDir(), "tool"))
	if f := (*engine.Failure)(nil); errors.As(err, &f) {
		t.Fatalf("%v\n%s", err, f.Output())
	}
	must(t, err)
}

// TestUnneededModule requires a module that is not to be had and that nothing here needs, as of another platform.
func TestUnneededModule(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	dir := t.TempDir()
	sums := moduletest.Proxy(t, dir) + moduletest.Module(t, dir, "example.com/other", "v1.0.0", map[string]string{"go.mod": "module example.com/other\n\ngo 1.21\n"})
	must(t, os.Remove(filepath.Join(dir, "example.com", "other", "@v", "v1.0.0.zip")))
	files := map[string]string{
		"go.mod": program["go.mod"] + moduletest.Require + "require example.com/other v1.0.0\n", "go.sum": sums, "main.go": moduletest.Use, "main_test.go": program["main_test.go"],
	}
	e := newEngine(t, "GOPROXY=file:///"+strings.TrimPrefix(filepath.ToSlash(dir), "/"), "GOSUMDB=off", "GOTOOLCHAIN=local", "GOMODCACHE="+moduletest.Cache(t), "GOCACHE="+goCache(t))
	source, every := tree(t, files), plan.Test{Packages: []string{"./..."}}
	must(t, e.Compile(t.Context(), source, binary(artifact.Platform{OS: "linux", Arch: "amd64"}), filepath.Join(t.TempDir(), "tool")))
	var said strings.Builder
	if err := e.Test(t.Context(), source, every, &said); err != nil || !strings.HasPrefix(said.String(), "ok ") {
		t.Errorf("%v\n%s", err, said.String())
	}
	files["other_test.go"] = "package main\n\nimport _ \"example.com/other\"\n"
	if err := e.Test(t.Context(), tree(t, files), every, &said); err == nil || !strings.Contains(err.Error(), "modules of the tests") {
		t.Errorf("of a module that a test needs: %v", err)
	}
}
