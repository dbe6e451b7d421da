package dagger_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/build/engine/dagger"
	"github.com/slipway-build/slipway/pipeline/fixture/moduletest"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// api stands in for an engine: it says yes to every query, but for the first compile, which lacks a module.
type api struct {
	mu      sync.Mutex
	queries []string
	lacked  bool
}

// Parts of a query: two that are no names of fields, and one that keeps a step from the network.
var (
	quoted    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	arguments = regexp.MustCompile(`\([^()]*\)`)
	offline   = regexp.MustCompile(`withEnvVariable\((name:\s*"GOPROXY",\s*value:\s*"off"|value:\s*"off",\s*name:\s*"GOPROXY")`) // in either order
)

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var in struct{ Query string }
	user, _, _ := r.BasicAuth()
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || user != "word" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a.queries = append(a.queries, in.Query)
	_, path, _ := strings.Cut(quoted.ReplaceAllString(in.Query, ""), "{")
	if strings.Contains(in.Query, `"build","-o"`) && !a.lacked {
		a.lacked = true
		fmt.Fprint(w, `{"errors":[{"message":"exit code: 1","extensions":{"_type":"EXEC_ERROR","cmd":["go"],"exitCode":1,"stdout":"","stderr":"main.go:3:8: example.com/dep@v1.0.0: module lookup disabled by GOPROXY=off"}}]}`)
		return
	}
	names := strings.FieldsFunc(arguments.ReplaceAllString(path, ""), func(r rune) bool { return strings.ContainsRune("{} \n", r) })
	id := fmt.Sprintf("id-%d", len(a.queries))
	if m := regexp.MustCompile(`slipway-(netrc|gonoproxy)`).FindString(in.Query); m != "" {
		id = "secret-" + m
	}
	var value any = map[string]any{}
	switch leaf := names[len(names)-1]; leaf {
	case "defaultPlatform":
		value = "linux/amd64"
	case "stdout":
		value = "ok"
	default:
		value = id
	}
	for i, name := range slices.Backward(names) {
		if name != "..." && name != "on" && (i == 0 || names[i-1] != "on") { // a fragment, such as "... on Container"
			value = map[string]any{name: value}
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": value})
}

// TestSteps has modules fetched by steps that get what opens a private proxy, and compiles and tests without it.
func TestSteps(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a proxy's folder has another address there")
	}
	a := &api{}
	s := httptest.NewServer(a)
	defer s.Close()
	dir := t.TempDir()
	sums := strings.Fields(moduletest.Module(t, dir, "golang.org/toolchain", "v0.0.1-go1.26.8.linux-amd64", map[string]string{"go.mod": "module golang.org/toolchain\n", "bin/go": "x"}))
	netrc := filepath.Join(dir, "netrc")
	if err := os.WriteFile(netrc, []byte("machine proxy.example.com login me password canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	_, environ := standIn(t, `DAGGER_PARAMS={"port":`+port+`,"session_token":"word"}`, "NETRC="+netrc, "GONOPROXY=me:canary@proxy.example.com",
		"GOPROXY=file://"+filepath.ToSlash(dir), "GOSUMDB=off", "GOMODCACHE="+moduletest.Cache(t))
	e, err := dagger.New(t.Context(), dagger.Options{
		Toolchain: plan.Toolchain{Version: "1.26.8", Sums: map[string]string{"linux-amd64": sums[2]}}, Environ: environ, Cache: t.TempDir(), Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err, a.queries)
	}
	source := tree(t, program)
	linux := artifact.Platform{OS: "linux", Arch: "amd64"}
	if err := e.Compile(t.Context(), source, plan.Binary{Name: "tool", Platform: linux, Path: "tool", Dir: ".", Package: "."}, filepath.Join(t.TempDir(), "tool")); err != nil {
		t.Error(err)
	}
	if err := e.Test(t.Context(), source, plan.Test{Packages: []string{"./..."}}, io.Discard); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	var steps []string
	for _, q := range a.queries {
		args := regexp.MustCompile(`withExec\(args:\s*\["[^"]*","([a-z]*)`).FindStringSubmatch(q)
		if args == nil || strings.Contains(q, "export") {
			continue
		}
		steps = append(steps, args[1])
		fetches := args[1] == "list" || args[1] == "mod"
		for _, secret := range []string{"secret-slipway-netrc", "secret-slipway-gonoproxy"} {
			if strings.Contains(q, secret) != fetches {
				t.Errorf("%s: it has %s: %v", args[1], secret, !fetches)
			}
		}
		if alone := offline.MatchString(q) && strings.Contains(q, `"none"`); alone != (args[1] == "build") {
			t.Errorf("%s: it goes without a network: %v", args[1], alone)
		}
	}
	if got := strings.Join(steps, " "); got != "build list build mod test" {
		t.Errorf("steps %s\n%s", got, strings.Join(a.queries, "\n"))
	}
}
