package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// TestCurrent moves a release in a real store, and reads what was signed of it from a server that is then made to lie.
func TestCurrent(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, value := range map[string]string{
		"HOME": dir, "XDG_CACHE_HOME": filepath.Join(dir, ".cache"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.DevNull, "SLIPWAY_STORE": "store.git",
	} {
		t.Setenv(name, value)
	}
	var release sign.Key
	for _, name := range []string{"release", "root", "ci"} {
		k, err := sign.Generate(sign.ECDSA)
		if err != nil {
			t.Fatal(err)
		}
		private, err := k.PEM(nil)
		if err != nil {
			t.Fatal(err)
		}
		for file, b := range map[string][]byte{name + ".key": private, name + ".pub": k.Public().PEM()} {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if name == "release" {
			release = k
		}
	}
	if _, err := verifytest.Write("dist", verifytest.Options{Version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), "dist", sign.Options{Signer: release}); err != nil {
		t.Fatal(err)
	}
	rules := "version: 1\ncomponents:\n  hello: {key: keys/release.pub}\nstages:\n  - {name: staging}\n  - {name: production, current: stable}\n"
	if err := os.WriteFile("environment.yaml", []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	// says runs a line, and wants its exit code and a part of what it prints.
	says := func(line string, code fault.Code, want string) string {
		t.Helper()
		got := shell(t, line)
		exit := fault.OK
		if text := strings.TrimSuffix(got, "]\n"); text != got {
			exit = fault.Code(text[len(text)-1] - '0')
		}
		if exit != code || !strings.Contains(got, want) {
			t.Errorf("%s: %s; want exit %d and %q", line, got, code, want)
		}
		return got
	}
	shell(t, "git init --quiet --bare store.git")
	says("slipway store init --rules environment.yaml --public-key release.pub", 0, "the store is made")
	says("slipway current hello --environment staging", fault.Usage, "make one with slipway store root")
	says("slipway store root", fault.Usage, "make one with slipway store root")
	says("slipway store sign", fault.Usage, "sign with what?")
	says("slipway store sign --key ci.key", fault.Usage, "make one with slipway store root")
	says("slipway store root --offline root.pub --online none.pub", fault.Usage, "none.pub")
	says("slipway store root --offline root.pub --online ci.pub --sign ci.key", fault.Credentials, "is not one of the offline keys")
	says("slipway store root --sign root.key --write root.json", 0, "")
	says("slipway store root --json", 0, `"draft":{"version":1,`)
	says("slipway add hello 1.2.3 --from dist --to staging", 0, "line 1")
	says("slipway store sign --key release.key", fault.Credentials, "none of the keys is one that root version 1 names")
	says("slipway store sign --key ci.key", 0, "the index of line 1 is signed: root, targets, env-staging, env-production, snapshot, timestamp")
	says("slipway current hello", fault.Usage, "name an --environment")
	says("slipway current hello --environment staging", fault.Usage, "there is no root to begin with")
	says("slipway current hello --environment staging --root root.json", 0, "1.2.3\nmanifest  sha256:")
	says("slipway current hello --environment production", fault.Usage, "the index has no component hello in an environment production")
	shell(t, "git clone --quiet --branch metadata store.git old")
	says("slipway promote hello 1.2.3 --to production", 0, "staging -> production")
	says("slipway store sign --key ci.key --json", 0, `"signed":["env-staging","env-production","snapshot","timestamp"]`)

	shell(t, "git clone --quiet --branch metadata store.git copy")
	lie := func(http.ResponseWriter, *http.Request) bool { return false }
	files := http.FileServer(http.Dir("copy"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lie(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	current := "slipway current hello --environment production --from " + server.URL
	var row struct {
		Version, Manifest string
		Places            []string
		Log               struct{ Count int }
	}
	if err := json.Unmarshal([]byte(says(current+" --root root.json --json", 0, "")), &row); err != nil || row.Version != "1.2.3" || row.Log.Count != 2 || len(row.Places) != 1 {
		t.Errorf("%+v, %v", row, err)
	}
	says(current, 0, "1.2.3")
	lie = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/timestamp.json") {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	}
	says(current, fault.Transient, "502")
	lie = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/targets/") {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}
	says(current, fault.Transient, "does not exist")
	lie = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/targets/") {
			w.Write([]byte(`{"schema":"slipway.index/v1"}`))
			return true
		}
		return false
	}
	says(current, fault.Mismatch, "signed for")
	// A mirror that has all that was ever signed, and what others have signed for a store of theirs.
	shell(t, "git init --quiet --bare other.git")
	for _, name := range []string{"root", "ci"} {
		k, err := sign.Generate(sign.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		private, err := k.PEM(nil)
		if err != nil {
			t.Fatal(err)
		}
		for file, b := range map[string][]byte{"other-" + name + ".key": private, "other-" + name + ".pub": k.Public().PEM()} {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	says("slipway store init --store other.git --rules environment.yaml --public-key release.pub", 0, "")
	says("slipway add hello 1.2.3 --store other.git --from dist --to production", 0, "line 1")
	says("slipway store root --store other.git --offline other-root.pub --online other-ci.pub --sign other-root.key", 0, "")
	for range 2 { // so that no number is one that was seen
		says("slipway store sign --store other.git --key other-ci.key", 0, "is signed")
		says(`slipway hold hello --store other.git --environment production --why x`, 0, "hold")
	}
	says("slipway store sign --store other.git --key other-ci.key", 0, "is signed")
	shell(t, "git clone --quiet --branch metadata other.git theirs")
	// from serves what has the name of a role, "" for all, from another set: the newest file of it there, under whatever number is asked for.
	from := func(dir, role string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, role) {
				return false
			}
			name := dir + r.URL.Path
			if found, _ := filepath.Glob(filepath.Join(dir, "metadata", "*"+role)); role != "" && len(found) > 0 {
				name = found[len(found)-1]
			}
			http.ServeFile(w, r, name)
			return true
		}
	}
	endless := func(suffix string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for n := 0; strings.HasSuffix(r.URL.Path, suffix); n++ {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return true
				}
				if n > 1<<10 {
					t.Errorf("%s is read without an end", r.URL.Path)
					return true
				}
			}
			return false
		}
	}
	for _, attack := range []struct {
		lie  func(http.ResponseWriter, *http.Request) bool
		want string
	}{
		{from("old", ""), "version 2, and 3 was seen before"}, // replay
		{from("old", "timestamp.json"), "version 2, and 3 was seen before"},
		{from("theirs", ""), "0 signatures that count"}, // wrong keys
		{from("theirs", "timestamp.json"), "0 signatures that count"},
		{endless("timestamp.json"), "more than"},
		{endless("2.root.json"), "more than"},
	} {
		lie = attack.lie
		says(current, fault.Mismatch, attack.want)
	}
	lie = func(http.ResponseWriter, *http.Request) bool { return false }
	says(current, 0, "1.2.3")
	// Whoever begins with that mirror, and has the root, takes in no role of another set either.
	says("slipway store root --write again.json", 0, "")
	for i, lies := range []func(http.ResponseWriter, *http.Request) bool{
		from("old", ".snapshot.json"), from("old", ".env-production.json"), from("theirs", ".snapshot.json"), from("theirs", ".env-production.json"), from("theirs", ".targets.json"),
	} {
		lie = lies
		t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "fresh", strconv.Itoa(i)))
		says(current+" --root again.json", fault.Mismatch, "slipway: ")
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, ".cache"))
	lie = func(http.ResponseWriter, *http.Request) bool { return false }
	defer func() { now = time.Now }()
	now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	says(current, fault.Mismatch, "this machine's clock is wrong")
	now = func() time.Time { return time.Now().Add(-time.Hour) }
	says(current, fault.Transient, "set the clock")
	now = time.Now
	says(current, 0, "1.2.3")
	server.Close()
	says(current, fault.Transient, "refused")
	says("slipway current hello --environment production --from none --root root.json", fault.Usage, "opening the index")
	says("slipway current hello --environment production --from ftp://example.org", fault.Usage, "not at a URL")
	says("slipway current hello --environment production --from copy --root environment.yaml", fault.Mismatch, "the root to begin with")
	says(`slipway withdraw hello 1.2.3 --why "it leaks"`, 0, "withdraw")
	says("slipway store sign --key ci.key", 0, "line 3")
	says("slipway current hello --environment production", fault.Usage, "production has no current version of hello")
}
