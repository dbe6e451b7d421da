package host_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/engine/host"
	"github.com/slipway-build/slipway/pipeline/fixture/canarytest"
	"github.com/slipway-build/slipway/pipeline/fixture/moduletest"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var program = map[string]string{
	"go.mod":       "module example.com/tool\n\ngo 1.26\n",
	"main.go":      "package main\n\nvar version string\n\nfunc main() { println(version) }\n",
	"main_test.go": "package main\n\nimport \"testing\"\n\nfunc TestIt(t *testing.T) {}\n",
}

func binary(platform artifact.Platform) plan.Binary {
	return plan.Binary{
		Name: "tool", Platform: platform, Path: "tool", Dir: ".", Package: ".",
		Flags: []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w -buildid= -X 'main.version=it is 1'"},
		Env:   append(platform.Env(), "CGO_ENABLED=0"),
	}
}

func newEngine(t *testing.T, more ...string) *host.Engine {
	t.Helper()
	e, err := host.New(t.Context(), host.Options{Go: strings.TrimPrefix(runtime.Version(), "go"), Environ: append(os.Environ(), more...), Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestScrubbed compiles in the most different surroundings that a user can have, and gets the same bytes.
func TestScrubbed(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	here := artifact.Platform{OS: "linux", Arch: "amd64"}
	compile := func(e *host.Engine) artifact.Digest {
		out := filepath.Join(t.TempDir(), "tool")
		if err := e.Compile(t.Context(), tree(t, program), binary(here), out); err != nil {
			t.Fatal(err)
		}
		d, _, err := artifact.SumFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	plain := compile(newEngine(t))
	odd := compile(newEngine(t, "GOFLAGS=-tags=odd -ldflags=-X=main.version=stolen", "GOAMD64=v3", "GOEXPERIMENT=nodwarf5",
		"GOOS=plan9", "GOARCH=arm", "CGO_ENABLED=1", "GOWORK=/nowhere/go.work", "TZ=Pacific/Kiritimati", "LC_ALL=tr_TR.UTF-8", "SECRET=canary"))
	if plain != odd {
		t.Error("the surroundings reached the binary")
	}
}

func TestFailures(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	e := newEngine(t)
	linux := artifact.Platform{OS: "linux", Arch: "amd64"}
	out := filepath.Join(t.TempDir(), "tool")

	err := e.Compile(t.Context(), tree(t, map[string]string{"go.mod": program["go.mod"], "main.go": "package main\n\nfunc main() { nowhere() }\n"}), binary(linux), out)
	var f *engine.Failure
	if !errors.As(err, &f) || fault.CodeOf(err) != fault.Build || !strings.Contains(f.Output(), "main.go:3:15: undefined: nowhere") {
		t.Errorf("a mistake in the program: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a program with a mistake gave a binary")
	}

	cgo := binary(linux)
	cgo.Builder = "example.com/builder@sha256:" + strings.Repeat("0", 64)
	if err := e.Compile(t.Context(), tree(t, program), cgo, out); fault.CodeOf(err) != fault.Build || !strings.Contains(err.Error(), "--engine dagger") {
		t.Errorf("cgo: %v", err)
	}

	var said strings.Builder
	if err := e.Test(t.Context(), tree(t, program), plan.Test{Packages: []string{"./..."}}, &said); err != nil || !strings.HasPrefix(said.String(), "ok ") {
		t.Errorf("tests that pass: %v\n%s", err, said.String())
	}

	if _, err := host.New(t.Context(), host.Options{Go: "1.26.999", Environ: append(os.Environ(), "GOPROXY=off"), Log: io.Discard}); err == nil {
		t.Error("a release that does not exist was found")
	}
}

// TestFetched: a Go command that fetches the release first says so, and that is no part of the release's name.
func TestFetched(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the Go command of this test is a shell script")
	}
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "#!/bin/sh\nif [ \"$2\" != GOVERSION ]; then exec '" + real + "' \"$@\"; fi\n" +
		"echo 'go: downloading go1.26.7 (linux/amd64)' >&2\necho go1.26.7\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := host.New(t.Context(), host.Options{Go: "1.26.7", Environ: os.Environ(), Log: io.Discard}); err != nil {
		t.Error(err)
	}
	if _, err := host.New(t.Context(), host.Options{Go: "1.26.6", Environ: os.Environ(), Log: io.Discard}); fault.CodeOf(err) != fault.Build {
		t.Errorf("another release than the one that was asked for: %v", err)
	}
}

// TestPrivateModule needs a module from a proxy that asks for a password. The Go command alone has it, where it fetches: no compiler and no test sees
// where it lies, an agent, or the home of the user.
func TestPrivateModule(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	canary := canarytest.New(t)
	dir := t.TempDir()
	sums := moduletest.Proxy(t, dir)
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "canary-password" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
	}))
	defer proxy.Close()
	roots, netrc := filepath.Join(dir, "roots.pem"), filepath.Join(dir, "canary-netrc")
	must(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw}), 0o644))
	must(t, os.WriteFile(netrc, []byte("machine "+proxy.Listener.Addr().String()+" login me password canary-password\n"), 0o600))
	source := tree(t, map[string]string{
		"go.mod": program["go.mod"] + moduletest.Require, "go.sum": sums, "main.go": moduletest.Use,
		"main_test.go": `package main

import (
	"os"
	"strings"
	"testing"
)

func TestEnvironment(t *testing.T) {
	for _, kv := range os.Environ() {
		if strings.Contains(kv, "canary-") {
			t.Errorf("a test sees %s", kv)
		}
	}
	home, err := os.UserHomeDir()
	if _, statErr := os.Stat(home); err != nil || statErr != nil || !strings.Contains(home, "slipway-home-") {
		t.Errorf("a test has the home %s: %v, %v", home, err, statErr)
	}
}
`,
	})
	cache := goCache(t)
	environ := canary.Environ(os.Environ())
	for _, kv := range environ {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			t.Setenv("PATH", path) // in which the Go command is looked up
		}
	}
	for _, way := range []string{"compile", "test"} {
		more := []string{
			"NETRC=" + netrc, "SSL_CERT_FILE=" + roots, "GOPROXY=" + proxy.URL, "GOSUMDB=off", "GOTOOLCHAIN=local", "GOMODCACHE=" + moduletest.Cache(t), "GOCACHE=" + cache,
		}
		e, err := host.New(t.Context(), host.Options{Go: strings.TrimPrefix(runtime.Version(), "go"), Environ: append(environ, more...), Log: io.Discard})
		must(t, err)
		var said strings.Builder
		if way == "compile" {
			err = e.Compile(t.Context(), source, binary(artifact.Platform{OS: "linux", Arch: "amd64"}), filepath.Join(t.TempDir(), "tool"))
		} else {
			err = e.Test(t.Context(), source, plan.Test{Packages: []string{"./..."}}, &said)
		}
		if f := (*engine.Failure)(nil); errors.As(err, &f) {
			said.WriteString(f.Output())
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", way, err, said.String())
		}
		canary.Check(way)
		must(t, e.Close())
	}
	e, err := host.New(t.Context(), host.Options{
		Go: strings.TrimPrefix(runtime.Version(), "go"), Log: io.Discard,
		Environ: append(environ, "NETRC="+os.DevNull, "SSL_CERT_FILE="+roots, "GOPROXY="+proxy.URL, "GOSUMDB=off", "GOTOOLCHAIN=local", "GOMODCACHE="+moduletest.Cache(t), "GOCACHE="+cache),
	})
	must(t, err)
	defer e.Close()
	err = e.Compile(t.Context(), source, binary(artifact.Platform{OS: "linux", Arch: "amd64"}), filepath.Join(t.TempDir(), "tool"))
	if f := (*engine.Failure)(nil); !errors.As(err, &f) || fault.CodeOf(err) != fault.Build || !strings.Contains(f.Output(), "401 Unauthorized") {
		t.Errorf("without the password: %v", err)
	}
}

// goCache is the build cache of this test.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}
