package dagger_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/engine/dagger"
	"github.com/slipway-build/slipway/pipeline/build/engine/host"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// TestMain lets the program of this test stand in for the SDK's: it notes what it sees, and ends.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "session" {
		if err := os.WriteFile(os.Getenv("DAGGER_SEEN"), []byte(strings.Join(os.Environ(), "\n")), 0o600); err != nil {
			panic(err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestEnvironment starts the SDK's program: it sees where its engine is and what its user wishes, and no secret, also where the
// caller names a smaller environment than the process has.
func TestEnvironment(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(t.TempDir(), "seen")
	shown := map[string]string{
		"DAGGER_SEEN": seen, "DOCKER_HOST": "tcp://127.0.0.1:1", "DO_NOT_TRACK": "1", "_EXPERIMENTAL_DAGGER_RUNNER_HOST": "tcp://127.0.0.1:1",
	}
	for name, value := range shown {
		t.Setenv(name, value)
	}
	t.Setenv("_EXPERIMENTAL_DAGGER_CLI_BIN", self)
	for _, name := range []string{"GITHUB_TOKEN", "SLIPWAY_KEY", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "canary")
	}
	if _, err := dagger.New(t.Context(), dagger.Options{Log: io.Discard}); fault.CodeOf(err) != fault.Transient {
		t.Fatalf("an engine that cannot be started: %v", err)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "canary") {
		t.Errorf("the SDK's program sees a secret:\n%s", b)
	}
	lines := strings.Split(string(b), "\n")
	for name, value := range shown {
		if !slices.Contains(lines, name+"="+value) {
			t.Errorf("the SDK's program does not see %s=%s", name, value)
		}
	}
}

var program = map[string]string{
	"go.mod":       "module example.com/tool\n\ngo 1.26\n",
	"main.go":      "package main\n\nimport \"os\"\n\nvar version string\n\nfunc main() { os.Stdout.WriteString(version) }\n",
	"main_test.go": "package main\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) {}\n",
}

func tree(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSameBytes compiles with a real Dagger engine and with the host, and compares.
func TestSameBytes(t *testing.T) {
	if os.Getenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST") == "" {
		t.Skip("no Dagger engine: _EXPERIMENTAL_DAGGER_RUNNER_HOST names none")
	}
	if testing.Short() {
		t.Skip("it compiles")
	}
	ctx := t.Context()
	release := strings.TrimPrefix(runtime.Version(), "go")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	const canary = "canary-that-nobody-may-see"
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("machine example.com login somebody password "+canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, runsOn := range []string{"linux-amd64", "linux-arm64"} {
		tc, err := engine.FetchToolchain(ctx, engine.ToolchainSource{GoCommand: goCommand, Environ: os.Environ(), Release: release, Host: runsOn})
		if err != nil {
			t.Fatal(err)
		}
		sums[runsOn] = tc.Sum
	}
	d, err := dagger.New(ctx, dagger.Options{
		Toolchain: plan.Toolchain{Version: release, Sums: sums}, Environ: append(os.Environ(), "NETRC="+netrc), Cache: filepath.Join(cache, "slipway", "toolchains"), Log: &syncBuilder{b: &log},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	defer d.Close()
	h, err := host.New(ctx, host.Options{Go: release, Environ: os.Environ(), Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	source := tree(t, program)
	for _, pl := range []artifact.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm", Variant: "v7"}, {OS: "windows", Arch: "386"}} {
		b := plan.Binary{
			Name: "tool", Platform: pl, Path: pl.Exe("tool"), Dir: ".", Package: ".", Env: append(pl.Env(), "CGO_ENABLED=0"),
			Flags: []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w -buildid= -X 'main.version=it is 1'"},
		}
		var sums []artifact.Digest
		for _, e := range []engine.Engine{d, h} {
			out := filepath.Join(t.TempDir(), b.Path)
			if err := e.Compile(ctx, source, b, out); err != nil {
				t.Fatalf("%s for %s: %v", e.Info().Name, pl, err)
			}
			sum, _, err := artifact.SumFile(out)
			if err != nil {
				t.Fatal(err)
			}
			sums = append(sums, sum)
		}
		if sums[0] != sums[1] {
			t.Errorf("%s: dagger gives %s and host %s", pl, sums[0], sums[1])
		}
	}

	if strings.Contains(log.String(), canary) {
		t.Error("the log has the password of the netrc")
	}

	var said strings.Builder
	if err := d.Test(ctx, source, plan.Test{Packages: []string{"./..."}}, &said); err != nil || !strings.Contains(said.String(), "ok ") {
		t.Errorf("tests that pass: %v\n%s", err, said.String())
	}
	broken := tree(t, map[string]string{"go.mod": program["go.mod"], "main.go": "package main\n\nfunc main() { nowhere() }\n"})
	linux := artifact.Platform{OS: "linux", Arch: "amd64"}
	err = d.Compile(ctx, broken, plan.Binary{Name: "tool", Platform: linux, Path: "tool", Dir: ".", Package: ".", Env: linux.Env()}, filepath.Join(t.TempDir(), "tool"))
	var f *engine.Failure
	if !errors.As(err, &f) || fault.CodeOf(err) != fault.Build || !strings.Contains(f.Output(), "undefined: nowhere") {
		t.Errorf("a mistake in the program: %v", err)
	}
}

type syncBuilder struct {
	mu sync.Mutex
	b  *strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
