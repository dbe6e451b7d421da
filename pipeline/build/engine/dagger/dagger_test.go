package dagger_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/engine/dagger"
	"github.com/slipway-build/slipway/pipeline/build/engine/host"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// TestMain lets the program of this test stand in for the SDK's. It notes what it sees and ends; or it has another program listen at an
// address, notes that, and obeys nothing, as the SDK's does while it looks for an engine.
func TestMain(m *testing.M) {
	note := func(text string) {
		if err := os.WriteFile(os.Getenv("DAGGER_SEEN"), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
	switch {
	case len(os.Args) == 2 && os.Args[1] == "session" && os.Getenv("DAGGER_PARAMS") != "":
		fmt.Println(os.Getenv("DAGGER_PARAMS"))
		_, _ = io.Copy(io.Discard, os.Stdin)
	case len(os.Args) == 2 && os.Args[1] == "session" && os.Getenv("DAGGER_HANGS") != "":
		signal.Ignore(os.Interrupt)
		_ = exec.Command(os.Args[0], "listen").Run()
	case len(os.Args) == 2 && os.Args[1] == "session":
		note(strings.Join(os.Environ(), "\n"))
		fmt.Fprintln(os.Stderr, "no engine of that kind")
		os.Exit(1)
	case len(os.Args) == 2 && os.Args[1] == "listen":
		signal.Ignore(os.Interrupt)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		note(l.Addr().String())
		time.Sleep(time.Minute)
	default:
		os.Exit(m.Run())
	}
}

// standIn lets this program stand in, and returns the file that it notes something in and an environment.
func standIn(t *testing.T, more ...string) (seen string, environ []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen = filepath.Join(t.TempDir(), "seen")
	environ = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "_EXPERIMENTAL_DAGGER_") }) // of a real one
	return seen, append(environ, append(more, "DAGGER_SEEN="+seen, "_EXPERIMENTAL_DAGGER_CLI_BIN="+self)...)
}

// TestEnvironment starts the SDK's program: it sees where its engine is and what its user wishes, and no secret.
func TestEnvironment(t *testing.T) {
	shown := []string{"DOCKER_HOST=tcp://127.0.0.1:1", "DO_NOT_TRACK=1", "_EXPERIMENTAL_DAGGER_RUNNER_HOST=tcp://127.0.0.1:1"}
	seen, environ := standIn(t, append(shown, "GITHUB_TOKEN=canary", "SLIPWAY_KEY=canary", "AWS_SECRET_ACCESS_KEY=canary", "NETRC=canary")...)
	_, err := dagger.New(t.Context(), dagger.Options{Environ: environ, Log: io.Discard})
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "tcp://127.0.0.1:1, which _EXPERIMENTAL_DAGGER_RUNNER_HOST names: no engine of that kind") {
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
	for _, kv := range shown {
		if !slices.Contains(lines, kv) {
			t.Errorf("the SDK's program does not see %s", kv)
		}
	}
}

// TestNoAnswer waits for an engine that never answers: until the time is over, or until it is interrupted. Neither leaves anything running.
func TestNoAnswer(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no groups of processes")
	}
	for _, wait := range []time.Duration{3 * time.Second, time.Hour} {
		seen, environ := standIn(t, "DAGGER_HANGS=1", "_EXPERIMENTAL_DAGGER_RUNNER_HOST=tcp://127.0.0.1:1")
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		listens := make(chan string, 1)
		go func() {
			for ctx.Err() == nil {
				if b, err := os.ReadFile(seen); err == nil && len(b) > 0 {
					listens <- string(b)
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if wait == time.Hour {
				interrupt()
			}
		}()
		_, err := dagger.New(ctx, dagger.Options{Environ: environ, Log: io.Discard, Wait: wait})
		if wait == time.Hour && !errors.Is(err, context.Canceled) ||
			wait < time.Hour && (fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "tcp://127.0.0.1:1, which _EXPERIMENTAL_DAGGER_RUNNER_HOST names: it did not answer within 3s")) {
			t.Errorf("after %v: %v", wait, err)
		}
		select {
		case at := <-listens:
			for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // for which the machine has time
				conn, err := net.DialTimeout("tcp", at, time.Second)
				if err != nil {
					break
				}
				conn.Close()
				if time.Now().After(until) {
					t.Fatalf("after %v: what the program started runs on, at %s", wait, at)
				}
			}
		default:
			t.Errorf("after %v: the program started nothing", wait)
		}
	}
}

var program = map[string]string{
	"go.mod":  "module example.com/tool\n\ngo 1.26\n",
	"main.go": "package main\n\nimport \"os\"\n\nvar version string\n\nfunc main() { os.Stdout.WriteString(version) }\n",
	// The netrc of whoever runs the pipeline is where it is fetched with, and nowhere else.
	"main_test.go": "package main\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestIt(t *testing.T) {\n" +
		"\tif _, err := os.Stat(\"/run/secrets/netrc\"); err == nil || os.Getenv(\"NETRC\") != \"\" {\n\t\tt.Error(\"a test sees the netrc\")\n\t}\n}\n",
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
	defer func() {
		if strings.Contains(log.String(), canary) {
			t.Error("the log has the password of the netrc")
		}
	}()
	h, err := host.New(ctx, host.Options{Go: release, Environ: os.Environ(), Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
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

// TestBaker needs an engine, and no image from any registry: its image has one program, a static one, that is compiled here.
func TestBaker(t *testing.T) {
	if os.Getenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST") == "" {
		t.Skip("no Dagger engine: set _EXPERIMENTAL_DAGGER_RUNNER_HOST")
	}
	b, err := dagger.NewBaker(t.Context(), dagger.Options{Environ: os.Environ(), Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !strings.HasPrefix(b.Name(), "dagger v") {
		t.Errorf("it calls itself %q", b.Name())
	}
	dir := t.TempDir()
	image := imageOf(t, dir, runtime.GOARCH)
	out := filepath.Join(dir, "out.tar")
	job := engine.Bake{Image: image, Platform: "linux/" + runtime.GOARCH, Steps: []engine.Step{
		{Name: "write", Args: []string{"/tool", "write", "/made", "one"}, User: "0:0", Unique: true},
		{Name: "write", Args: []string{"/tool", "write", "/more", "two"}, User: "0:0"},
	}}
	if err := b.Bake(t.Context(), job, out); err != nil {
		t.Fatal(err)
	}
	if got := contentsOf(t, out); got["made"] != "one" || got["more"] != "two" || got["tool"] == "" {
		t.Errorf("the image has %d files, and not what the steps wrote", len(got))
	}
	for want, steps := range map[string][]engine.Step{
		"fail: exit status 3": {{Name: "fail", Args: []string{"/tool", "fail"}}},
		"own: exit status 4":  {{Name: "own", Args: []string{"/tool", "write", "/denied", "x"}}}, // as the image's own user
	} {
		none := filepath.Join(dir, "none.tar")
		err := b.Bake(t.Context(), engine.Bake{Image: image, Platform: job.Platform, Steps: steps}, none)
		var f *engine.Failure
		if !errors.As(err, &f) || fault.CodeOf(err) != fault.Build || err.Error() != want || !strings.Contains(f.Printed, "said\n") {
			t.Errorf("%v, want %s; %+v", err, want, f)
		}
		if _, err := os.Stat(none); err == nil {
			t.Error("a step that fails leaves an image")
		}
	}
	foreign := "s390x"
	job = engine.Bake{Image: imageOf(t, dir, foreign), Platform: "linux/" + foreign, Steps: job.Steps}
	if err := b.Bake(t.Context(), job, ""); err == nil {
		t.Log("the engine emulates " + foreign)
	} else if fault.CodeOf(err) != fault.Build || !strings.Contains(err.Error(), "runs no programs of linux/"+foreign) {
		t.Errorf("another machine: %v", err)
	}
}

// imageOf is an OCI archive with a program that does what its arguments say.
func imageOf(t *testing.T, dir, arch string) string {
	t.Helper()
	source := filepath.Join(dir, "tool.go")
	text := `package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("said")
	if os.Args[1] == "fail" {
		os.Exit(3)
	}
	if os.WriteFile(os.Args[2], []byte(os.Args[3]), 0o644) != nil {
		os.Exit(4)
	}
}
`
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "tool"), source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "tool"))
	if err != nil {
		t.Fatal(err)
	}
	layer := tarOf(t, map[string]string{"tool": string(program), "etc/passwd": "root:x:0:0::/:/\nuser:x:7:7::/:/\n", "etc/group": "root:x:0:\nuser:x:7:\n"})
	files := map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}
	add := func(content, media string) string {
		d := artifact.Sum([]byte(content))
		files["blobs/sha256/"+d.Hex()] = content
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, media, d, len(content))
	}
	of := add(layer, "application/vnd.oci.image.layer.v1.tar")
	config := add(fmt.Sprintf(`{"os":"linux","architecture":%q,"config":{"User":"7"},"rootfs":{"type":"layers","diff_ids":[%q]}}`, arch, artifact.Sum([]byte(layer))), "application/vnd.oci.image.config.v1+json")
	manifest := add(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":`+config+`,"layers":[`+of+`]}`, "application/vnd.oci.image.manifest.v1+json")
	files["index.json"] = `{"schemaVersion":2,"manifests":[` + manifest + `]}`
	name := filepath.Join(dir, arch+".tar")
	if err := os.WriteFile(name, []byte(tarOf(t, files)), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func tarOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// contentsOf are all files of the layers of an OCI archive.
func contentsOf(t *testing.T, name string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for outer := tar.NewReader(bytes.NewReader(b)); ; {
		_, err := outer.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		blob, err := io.ReadAll(outer)
		if err != nil {
			t.Fatal(err)
		}
		var plain io.Reader = bytes.NewReader(blob)
		if z, err := gzip.NewReader(bytes.NewReader(blob)); err == nil {
			plain = z
		}
		for inner := tar.NewReader(plain); ; {
			h, err := inner.Next()
			if err != nil {
				break // it is no layer, or the end of one
			}
			content, err := io.ReadAll(inner)
			if err != nil {
				t.Fatal(err)
			}
			out[h.Name] = string(content)
		}
	}
}
