package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"slipway": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// dist writes a release: dist DIR [VERSION [WHY-UNPUBLISHABLE]].
			"dist": func(ts *testscript.TestScript, _ bool, args []string) {
				var o verifytest.Options
				if len(args) > 1 {
					o.Version = args[1]
				}
				o.Unpublishable = args[min(2, len(args)):]
				_, err := verifytest.Write(ts.MkAbs(args[0]), o)
				ts.Check(err)
			},
			// exits runs a program and wants its exit code: exits CODE PROGRAM ARG...
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				code := 0
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					var exit *exec.ExitError
					if !errors.As(err, &exit) {
						ts.Fatalf("%v", err)
					}
					code = exit.ExitCode()
				}
				if fmt.Sprint(code) != args[0] {
					ts.Fatalf("exit %d, want %s", code, args[0])
				}
			},
		},
	})
}

// TestServe runs the program as a container does: it serves, is asked whether it is ready, and ends at a signal.
func TestServe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no process can be sent a signal here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "slipway") // the name under which the test binary is the program
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if _, err := verifytest.Write(root, verifytest.Options{}); err != nil {
		t.Fatal(err)
	}
	serve := exec.CommandContext(t.Context(), program, "serve", "--root", root, "--listen", "127.0.0.1:0", "--access-log")
	var accessLog strings.Builder
	serve.Stderr = &accessLog
	stdout, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(line)
	if address == "" {
		t.Fatalf("%q names no address", line)
	}
	check := func() (int, string) {
		out, err := exec.CommandContext(t.Context(), program, "serve", "--ready", address).CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), string(out)
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0, string(out)
	}
	for code := -1; code != 0; code, _ = check() { // the first may come before the folder has been read
	}
	resp, err := http.Get(address + "/releases/hello/1.2.3/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the release: %d", resp.StatusCode)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Errorf("the end: %v\n%s", err, accessLog.String())
	}
	if !strings.Contains(accessLog.String(), `"path":"/releases/hello/1.2.3/","status":200`) {
		t.Errorf("the access log: %s", accessLog.String())
	}
	if code, out := check(); code != int(fault.Transient) || !strings.HasPrefix(out, "slipway: asking "+address+"/readyz: ") {
		t.Errorf("after the end: %d %s", code, out)
	}
}

// registryOf answers as a registry that has the images and the signatures of a release, and that wants a token of everybody.
func registryOf(t *testing.T, dist string) *httptest.Server {
	t.Helper()
	tags := map[string]string{}
	for _, layout := range []string{"images", "signatures"} {
		b, err := os.ReadFile(filepath.Join(dist, layout, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		var index struct {
			Manifests []struct {
				Digest      string
				Annotations map[string]string
			}
		}
		if err := json.Unmarshal(b, &index); err != nil {
			t.Fatal(err)
		}
		for _, m := range index.Manifests {
			tags[m.Annotations["org.opencontainers.image.ref.name"]] = m.Digest
		}
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			fmt.Fprint(w, `{"token":"anybody"}`)
			return
		}
		if r.Header.Get("Authorization") != "Bearer anybody" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		dir, at := path.Split(strings.TrimPrefix(r.URL.Path, "/v2/"))
		name, kind := path.Split(strings.TrimSuffix(dir, "/"))
		digest := at
		if kind == "manifests" && !strings.Contains(at, ":") {
			digest = tags["ghcr.io/"+strings.TrimSuffix(name, "/")+":"+at]
		}
		for _, layout := range []string{"images", "signatures"} {
			if b, err := os.ReadFile(filepath.Join(dist, layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))); err == nil && digest != "" {
				_, _ = w.Write(b)
				return
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestVerifyImage verifies an image and a chart by their addresses in a registry.
func TestVerifyImage(t *testing.T) {
	dist := filepath.Join(t.TempDir(), "dist")
	if _, err := verifytest.Write(dist, verifytest.Options{}); err != nil {
		t.Fatal(err)
	}
	key, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), dist, sign.Options{Signer: key}); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(public, key.Public().PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "oci://" + strings.TrimPrefix(registryOf(t, dist).URL, "http://") + "/example/"
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{at + "hello:1.2.3-alpine", 0, "as key " + string(key.Public().Fingerprint()) + " signed it, and this is a copy of it"},
		{at + "charts/hello:1.2.3", 0, "is ghcr.io/example/charts/hello 1.2.3"},
		{"--want 1.2.4 " + at + "hello:1.2.3-alpine", 5, "1.2.4 is asked for"},
		{at + "hello:9.9.9", 2, "has nothing of this name"},
	} {
		var out strings.Builder
		if code := run(append([]string{"verify", "--key", public}, strings.Fields(tt.args)...), &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit %d, want %d and %q\n%s", tt.args, code, tt.code, tt.want, out.String())
		}
	}
}

func TestCheckReady(t *testing.T) {
	answer := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" && r.URL.Path != "/prefix/readyz" {
			t.Errorf("asked for %s", r.URL)
		}
		if answer == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(answer)
		fmt.Fprint(w, "because\x1b[2J")
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	for _, tt := range []struct {
		address string
		answer  int
		want    fault.Code
	}{
		{server.URL, 200, fault.OK},
		{server.URL + "/", 200, fault.OK},
		{server.URL + "/readyz", 200, fault.OK},
		{server.URL + "/prefix/", 200, fault.OK},
		{server.URL, 503, fault.Transient},
		{server.URL, 302, fault.Transient},
		{"127.0.0.1:8080", 200, fault.Usage},
		{"ftp://127.0.0.1", 200, fault.Usage},
		{"http://", 200, fault.Usage},
		{"http://%zz", 200, fault.Usage},
	} {
		answer = tt.answer
		err := checkReady(t.Context(), tt.address)
		if got := fault.CodeOf(err); got != tt.want {
			t.Errorf("%s answering %d: %v, code %d, want %d", tt.address, tt.answer, err, got, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q reaches the terminal as it is", err)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		mine, other string
		want        bool
	}{{"1.2.3", "1.10.0", true}, {"1.10.0", "1.10.0", false}, {"2.0.0", "1.10.0", false}, {"1.10.0-rc.1", "1.10.0", true}, {"devel", "1.0.0", false}, {"1.0.0", "", false}} {
		if got := (build{Version: tt.mine}).older(tt.other); got != tt.want {
			t.Errorf("%s is older than %q: %v", tt.mine, tt.other, got)
		}
	}
}

func TestNewest(t *testing.T) {
	dir := t.TempDir()
	for _, r := range [][2]string{{"slipway", "1.2.3"}, {"slipway", "1.10.0"}, {"slipway", "2.0.0-rc.1"}, {"hello", "3.0.0"}} {
		if _, err := verifytest.Write(filepath.Join(dir, r[0], r[1]), verifytest.Options{Name: r[0], Version: r[1]}); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { version = "" }()
	for mine, want := range map[string]string{"": "the newest release is 1.10.0\n", "1.10.0": "the newest release is 1.10.0\n", "1.9.0": "1.10.0 is there: " + filepath.Join(dir, "slipway", "1.10.0") + "\n"} {
		version = mine
		var stdout, stderr strings.Builder
		if code := run([]string{"version", "--check", "--from", dir}, &stdout, &stderr); code != 0 || !strings.HasSuffix(stdout.String(), want) {
			t.Errorf("%q: exit %d, %s%s", mine, code, stdout.String(), stderr.String())
		}
	}
	var stdout, stderr strings.Builder
	if run([]string{"version", "--check", "--json", "--from", dir}, &stdout, &stderr); !strings.Contains(stdout.String(), `"newest": "1.10.0"`) || !strings.Contains(stdout.String(), `"version": "`) {
		t.Errorf("%s%s", stdout.String(), stderr.String())
	}
}

// TestCommands holds the list of commands that the other program names to those that there are.
func TestCommands(t *testing.T) {
	var names []string
	for _, cmd := range newRoot().Commands() {
		names = append(names, cmd.Name())
	}
	if !slices.Equal(names, cmdline.Tool) {
		t.Errorf("the commands are %q and cmdline.Tool has %q", names, cmdline.Tool)
	}
}

// A verdict that cannot be written anywhere still decides the exit code.
func TestFullOutput(t *testing.T) {
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, verifytest.Options{}); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	if code := run([]string{"verify", "--allow-unsigned", dir}, full{}, &stderr); code != int(fault.Transient) {
		t.Errorf("exit %d where nothing could be printed: %s", code, stderr.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", dir}, {"verify", "--json", dir}} {
		if code := run(args, full{}, &stderr); code != int(fault.Mismatch) {
			t.Errorf("%q: exit %d where nothing could be printed: %s", args, code, stderr.String())
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}

func TestThisBuild(t *testing.T) {
	installed := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}}
	clone := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}
	for _, tt := range []struct {
		name            string
		version, commit string
		info            *debug.BuildInfo
		want            string
	}{
		{"a release", "1.2.3", "def", clone, "1.2.3 (def, go1.26.0)"},
		{"go install", "", "", installed, "1.2.3 (unknown commit, go1.26.0)"},
		{"a clone", "", "", clone, "devel (abc, go1.26.0)"},
		{"nothing", "", "", nil, "devel (unknown commit, unknown Go)"},
	} {
		version, commit = tt.version, tt.commit
		if got := thisBuild(tt.info).String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	version, commit = "", ""
}

// TestExamples holds every command to having one, and to its flags being in it as they are.
func TestExamples(t *testing.T) {
	root := newRoot()
	for _, cmd := range append(root.Commands(), root) {
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no description", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			args := strings.Fields(line)
			found, rest, err := root.Find(args[1:])
			if err != nil || args[0] != "slipway" {
				t.Errorf("%s: %q is no command: %v", cmd.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", cmd.CommandPath(), line, err)
			}
		}
	}
}
