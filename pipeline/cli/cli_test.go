package cli_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-build/slipway/pipeline/cli"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ci": func() {
			limitFileSize()
			os.Exit(cli.Main(os.Args[1:]))
		},
	})
}

// sources is the variable that names a folder with trees of real projects. Those of its folders that are called as folders of years.txtar
// are laid over them, without the files that are there; the modules that they need must be in the module cache.
const sources = "SLIPWAY_TEST_SOURCES"

// layOver copies the trees of sources into a script's folder.
func layOver(dir string) error {
	from := os.Getenv(sources)
	if _, err := os.Stat(filepath.Join(dir, "begin.sh")); from == "" || err != nil {
		return nil
	}
	for _, name := range []string{"httpbin", "echo", "whoami", "sys"} {
		for _, stands := range []string{"go.mod", "main.go", "app.go", "LICENSE", "cmd/go-httpbin/main.go", "mountinfo/go.mod", "mountinfo/cmd/mountinfo/main.go", "user/go.mod", "user/cmd/user/main.go"} {
			if err := os.Remove(filepath.Join(dir, name, stands)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(from, name))); err != nil {
			return err
		}
	}
	return nil
}

// doc FILE NAME holds a file to one below docs/, which is written with -update.
func doc(ts *testscript.TestScript, _ bool, args []string) {
	got, name := ts.ReadFile(args[0]), filepath.Join(ts.Getenv("TOP"), "docs", args[1])
	if *update {
		ts.Check(os.WriteFile(name, []byte(got), 0o644))
	}
	want, err := os.ReadFile(name)
	ts.Check(err)
	if got != string(want) {
		ts.Fatalf("%s is not what docs/%s says; run the test with -update if that is right\n%s", args[0], args[1], got)
	}
}

// condition is what scripts ask for in brackets.
func condition(name string) (bool, error) {
	switch name {
	case "dagger":
		return os.Getenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST") != "", nil
	case "full":
		return fixture.Full, nil
	case "real":
		return os.Getenv(sources) != "", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// TestScripts runs the command line against real git, the real Go command and a real registry in this process.
func TestScripts(t *testing.T) {
	fixture.SkipRace(t)
	goEnv := settings(t)
	sigstore := keylesstest.New(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Condition:           condition,
		Setup: func(env *testscript.Env) error {
			reg := httptest.NewServer(registry.New(registry.Logger(discard)))
			env.Defer(reg.Close)
			env.Setenv("REGISTRY", strings.TrimPrefix(reg.URL, "http://"))
			for k, v := range goEnv {
				env.Setenv(k, v)
			}
			for k, v := range map[string]string{"FULCIO": sigstore.FulcioURL, "REKOR": sigstore.RekorURL, "ISSUER": sigstore.IssuerURL} {
				env.Setenv(k, v)
			}
			for name, b := range map[string][]byte{"trusted_root.json": sigstore.TrustedRoot(), "signing_config.json": sigstore.SigningConfig(2)} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), b, 0o644); err != nil {
					return err
				}
			}
			if err := layOver(env.WorkDir); err != nil {
				return err
			}
			top, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			env.Setenv("TOP", top)
			home := filepath.Join(env.WorkDir, ".home")
			if err := os.Mkdir(home, 0o755); err != nil {
				return err
			}
			for k, v := range map[string]string{
				"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_NOSYSTEM": "1",
				"SLIPWAY_CACHE":   filepath.Join(env.WorkDir, ".cache"),
				"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_AUTHOR_DATE": "2024-02-29T12:00:01Z",
				"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_COMMITTER_DATE": "2024-02-29T12:00:01Z",
				"GOVERSION": strings.TrimPrefix(runtime.Version(), "go"),
				"CLOSED":    closedAddress(),
			} {
				env.Setenv(k, v)
			}
			for _, name := range []string{"_EXPERIMENTAL_DAGGER_RUNNER_HOST", "_EXPERIMENTAL_DAGGER_CLI_BIN", "SSL_CERT_FILE"} {
				if v, ok := os.LookupEnv(name); ok {
					env.Setenv(name, v)
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"gitinit":   gitInit,
			"pushbase":  pushBase,
			"locked":    locked,
			"same":      same,
			"jsonlines": jsonLines,
			"absent":    absent,
			"doc":       doc,
			"workflow":  func(ts *testscript.TestScript, _ bool, args []string) { workflow(ts, sigstore, args) },
		},
	})
}

// settings are those of the Go command that a script needs to compile without a network.
func settings(t *testing.T) map[string]string {
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	m["GOPROXY"], m["GOTOOLCHAIN"], m["GOFLAGS"] = "off", "local", ""
	m["PATH"] = filepath.Join(m["GOROOT"], "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	delete(m, "GOROOT")
	return m
}

// closedAddress is an address on loopback at which nothing listens.
func closedAddress() string {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	return strings.TrimPrefix(s.URL, "http://")
}

// exits CODE COMMAND... runs a command and holds it to an exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [argument]...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// gitInit DIR [TAG]... makes the folder a repository with one commit and the tags.
func gitInit(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	git := func(args ...string) {
		ts.Check(ts.Exec("git", append([]string{"-C", dir}, args...)...))
	}
	git("init", "--quiet", "--initial-branch=main")
	git("add", "--all")
	git("commit", "--quiet", "--message", "feat: begin")
	for _, tag := range args[1:] {
		git("tag", tag)
	}
}

// pushBase REPOSITORY:TAG SEED pushes an index of two platforms to the registry.
func pushBase(ts *testscript.TestScript, _ bool, args []string) {
	seed, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	index := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for i, platform := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "unknown", Architecture: "unknown"}} {
		img, err := random.Image(1000, 1, random.WithSource(randSource(seed+int64(i))))
		ts.Check(err)
		config, err := img.ConfigFile()
		ts.Check(err)
		config.OS, config.Architecture = platform.OS, platform.Architecture
		config.Config.Env = []string{"PATH=/bin"}
		img, err = mutate.ConfigFile(img, config)
		ts.Check(err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	ref, err := name.ParseReference(ts.Getenv("REGISTRY") + "/" + args[0])
	ts.Check(err)
	ts.Check(remote.WriteIndex(ref, index))
}

// locked writes slipway.lock for the running Go release into the current folder. The checksums are made up, since only
// a container's toolchain is held to them.
func locked(ts *testscript.TestScript, _ bool, _ []string) {
	lock := "version: 1\ngo:\n  version: " + ts.Getenv("GOVERSION") + "\n  sums:\n"
	hosts := []string{"linux-amd64", "linux-arm64"}
	if here := runtime.GOOS + "-" + runtime.GOARCH; !slices.Contains(hosts, here) {
		hosts = append(hosts, here)
	}
	for _, host := range hosts {
		lock += "    " + host + ": h1:" + strings.Repeat("A", 43) + "=\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs("slipway.lock"), []byte(lock), 0o644))
}

// same A B compares two files byte for byte, whatever they are.
func same(ts *testscript.TestScript, neg bool, args []string) {
	a, b := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	if (a == b) == neg {
		ts.Fatalf("%s and %s: same is %v", args[0], args[1], a == b)
	}
}

// jsonLines FILE holds every line of a file to be a JSON object.
func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	if text == "" {
		ts.Fatalf("%s is empty", args[0])
	}
	for line := range strings.SplitSeq(text, "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			ts.Fatalf("%s: %q: %v", args[0], line, err)
		}
	}
}

// TestKilled kills a build in the middle and runs it again.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	dir := t.TempDir()
	project(t, dir)
	build := func(more ...string) *exec.Cmd {
		cmd := exec.Command(ciProgram(t), append([]string{"build", "--engine", "host", "--bases", "stand-in"}, more...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SLIPWAY_CACHE="+t.TempDir())
		return cmd
	}
	killed := build("--no-cache") // which takes long enough
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	stage := waitFor(t, filepath.Join(dir, ".slipway-*", "tree", "go.mod"))
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if _, err := os.Stat(filepath.Join(dir, "dist")); err == nil {
		t.Fatal("a killed build left a dist/")
	}
	if out, err := build().CombinedOutput(); err != nil {
		t.Fatalf("the next build: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "dist", "release.json")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(stage); err == nil {
		t.Errorf("the next build left %s of the killed one", stage)
	}
}

// TestDiskFull fills the disk at each of several sizes: a limit on the size of files has the same effect on a writer.
func TestDiskFull(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("it compiles, and needs a limit that Windows has not")
	}
	dir := t.TempDir()
	project(t, dir)
	cache := t.TempDir()
	build := func(limit string) (string, error) {
		cmd := exec.Command(ciProgram(t), "build", "--engine", "host", "--bases", "stand-in", "--force")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SLIPWAY_CACHE="+cache, "SLIPWAY_TEST_FILE_LIMIT="+limit)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := build(""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "dist", "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"100", "5000", "200000", "700000"} {
		out, err := build(limit)
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || exit.ExitCode() != 4 {
			t.Errorf("with files of %s bytes at most: %v, want exit 4\n%s", limit, err, out)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".slipway-*")); len(left) > 0 {
			t.Errorf("with files of %s bytes at most: %v is left", limit, left)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "dist", "SHA256SUMS")); err == nil && string(got) != string(sums) {
			t.Errorf("with files of %s bytes at most: half a release is left", limit)
		}
	}
	if out, err := build(""); err != nil {
		t.Fatalf("with the limit gone: %v\n%s", err, out)
	}
	again, err := os.ReadFile(filepath.Join(dir, "dist", "SHA256SUMS"))
	if err != nil || string(again) != string(sums) {
		t.Errorf("with the limit gone the release is another one: %v", err)
	}
}

// ciProgram is the test binary under the name that makes it the command.
func ciProgram(t *testing.T) string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "ci")
	if err := os.Symlink(exe, name); err != nil {
		t.Skip(err)
	}
	return name
}

// project writes a small project and commits it.
func project(t *testing.T, dir string) {
	for name, text := range map[string]string{
		"go.mod":       "module example.com/tool\n\ngo 1.26\n",
		"main.go":      "package main\n\nfunc main() { println(\"hello\") }\n",
		"LICENSE":      "All rights given.\n",
		"slipway.yaml": "version: 1\nproject: {name: tool}\nbinaries:\n  - {name: tool, main: ., targets: [linux/amd64, linux/arm64]}\nimages:\n  - {repository: example.com/tool, distros: [alpine]}\n",
		"slipway.lock": "version: 1\ngo: {version: " + strings.TrimPrefix(runtime.Version(), "go") + "}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "begin"}, {"tag", "v1.0.0"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

// waitFor waits for a file and returns the folder two levels above it.
func waitFor(t *testing.T, pattern string) string {
	for range 600 {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return filepath.Dir(filepath.Dir(found[0]))
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s never came", pattern)
	return ""
}

// workflow DIR REF makes what follows run as the release workflow of example/tool, started for the commit of DIR.
func workflow(ts *testscript.TestScript, s *keylesstest.Sigstore, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: workflow dir ref")
	}
	out, err := exec.Command("git", "-C", ts.MkAbs(args[0]), "rev-parse", "HEAD").Output()
	ts.Check(err)
	w := keylesstest.Release()
	w.Ref, w.Commit = args[1], strings.TrimSpace(string(out))
	env := s.GitHub(w)
	for _, name := range []string{"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"} {
		v, _ := env(name)
		ts.Setenv(name, v)
	}
}
