package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// newStoreHere makes a store in a folder of its own, with the release hello 1.2.3 in dist, the key that signed it as release.key, and rules
// in which %q is the fingerprint of that key.
func newStoreHere(t *testing.T, stages string) (fingerprint string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, value := range map[string]string{
		"HOME": dir, "XDG_CACHE_HOME": filepath.Join(dir, ".cache"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.DevNull, "SLIPWAY_STORE": "releases.git",
		"GITHUB_TOKEN": "",
	} {
		t.Setenv(name, value)
	}
	key, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.PEM(nil)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint = string(key.Public().Fingerprint())
	rules := "version: 1\ncomponents:\n  hello: {key: keys/release.pub}\nstages:\n" + strings.ReplaceAll(stages, "%q", `"`+fingerprint+`"`)
	for name, b := range map[string][]byte{"release.key": private, "release.pub": key.Public().PEM(), "environment.yaml": []byte(rules)} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := verifytest.Write("dist", verifytest.Options{Version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), "dist", sign.Options{Signer: key}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "init", "--quiet", "--bare", "releases.git").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return fingerprint
}

// step is a command with what it exits with and some of what it prints.
type step struct {
	args string
	code int
	want string
}

func (s step) run(t *testing.T) {
	t.Helper()
	var out bytes.Buffer
	if code := run(strings.Fields(s.args), &out, &out); code != s.code || !strings.Contains(out.String(), s.want) || s.want == "" && out.Len() > 0 {
		t.Fatalf("%s: %d, and not %d with %q\n%s", s.args, code, s.code, s.want, out.String())
	}
}

// Where a stage has writers, why answers for one of them; a dry run answers as well, and does nothing.
func TestWhyBy(t *testing.T) {
	fingerprint := newStoreHere(t, "  - {name: beta}\n  - {name: live, writers: [%q]}\n  - {name: open, from: [beta], enter: pull-request}\n")
	for _, s := range []step{
		{"store init --rules environment.yaml --public-key release.pub", 0, "the store is made"},
		{"add hello 1.2.3 --from dist --to beta", 0, "outside -> beta (line 1)"},
		{"why hello 1.2.3 --to live", 9, "refused  writers    nobody who signed asks"},
		{"why hello 1.2.3 --to live --by " + fingerprint, 0, "ok  writers    " + fingerprint + " asks"},
		{"why hello 1.2.3 --to open", 0, "ok  entry      beta has this release, with the same entry"},
		{"promote hello 1.2.3 --to live --dry-run", 9, "promote hello 1.2.3 to live is refused: writers"},
		{"promote hello 1.2.3 --to open --dry-run", 0, "hello 1.2.3: beta -> open (not done)"},
		{"promote hello 1.2.3 --to open --json", 0, `"rule":"entry","ok":true,"detail":"beta has this release, with the same entry"}],"branch":"promote/open/hello-1.2.3"}`},
		{"store check --environment open", 2, "check which pull request into open?"},
		{"promote hello 1.2.3 --to open --dry-run --json", 0, `{"refused":false,"moves":[{"component":"hello","version":"1.2.3",`},
		{"hold hello 1.2.3 --why x --environment open --json", 0, `{"line":2,"refused":false,"moves":[{"component":"hello","version":"1.2.3","to":"open"}],"rules":[]}`},
		{"promote hello 1.2.3 --to live --json", 9, `{"refused":true,"moves":[{"component":"hello","version":"1.2.3","to":"live"}],"rules":[{"rule":"writers","ok":false,`},
		{"store check", 0, "2 lines, 1 entry and"},
	} {
		s.run(t)
	}
}

// What the rules promote by themselves is promoted by a schedule, or proposed once; and what the store is at is signed in the same run.
func TestCombineAuto(t *testing.T) {
	newStoreHere(t, "  - {name: next}\n  - {name: beta, from: [next], auto: promote}\n  - {name: live, from: [beta], enter: pull-request, auto: promote}\n")
	for _, s := range []step{
		{"store init --rules environment.yaml --public-key release.pub", 0, "the store is made"},
		{"combine --auto", 2, "--auto needs --once"},
		{"combine --once --auto", 0, ""},
		{"add hello 1.2.3 --from dist --to next", 0, "outside -> next (line 1)"},
		{"combine --once --auto --key release.key", 0, "hello 1.2.3: next -> beta (line 2)"},
		{"combine --once --auto", 0, "branch promote/live/hello-1.2.3 proposes it for live: open a pull request of it"},
		{"combine --once --index-key release.key", 2, "slipway store root"},
		{"store check --environment live --pull-request promote/live/hello-1.2.3", 0, "ok  entry"},
		{"store check", 0, "2 lines, 2 entries and 1 signature hold"},
		{"store repair --from-line 2", 9, "line 2 is of "},
		{"store repair --from-line 3", 2, "the log has 2 lines, and none with number 3"},
	} {
		s.run(t)
	}
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("git", append([]string{"-C", "releases.git"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	ci, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ci.PEM(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"ci.key": private, "ci.pub": ci.Public().PEM()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is in the way of a proposal keeps nobody from knowing what the store is at.
	git("branch", "--quiet", "kept", "promote/live/hello-1.2.3")
	git("branch", "--quiet", "--force", "promote/live/hello-1.2.3", "log")
	for _, s := range []step{
		{"store root --offline release.pub --online ci.pub", 0, "lacks"},
		{"store root --sign release.key", 0, "signed; slipway store sign"},
		{"combine --once --auto --index-key ci.key", 7, "the index of line 2 is signed"},
	} {
		s.run(t)
	}
	git("branch", "--quiet", "--force", "promote/live/hello-1.2.3", "kept")
	git("fetch", "--quiet", ".", "promote/live/hello-1.2.3:live")
	for _, s := range []step{
		{"combine --once --auto", 0, "1 line"},
		{"combine --once --auto", 0, ""},
		{"environments --environment live", 0, "hello      live         1.2.3    live"},
		{"why hello 1.2.3 --to live", 0, "hello 1.2.3 is in live"},
		{"environments --moves 1", 0, "merge hello 1.2.3: beta -> live"},
		{"environments --moves 9 --environment next", 0, "add hello 1.2.3: outside -> next"},
		{"environments --moves 9 --json", 0, `"n":3,`},
		{"environments --moves 9 --component none", 2, "there is no component"},
		{"environments --moves -1", 2, "say how many"},
	} {
		s.run(t)
	}
}

// A release that a pull request brings from a folder is looked at there, and waits where the folder is not; what is no entry is named.
func TestPullRequestFromOutside(t *testing.T) {
	newStoreHere(t, "  - {name: live, enter: pull-request}\n")
	for _, s := range []step{
		{"store init --rules environment.yaml --public-key release.pub", 0, "the store is made"},
		{"add hello 1.2.3 --from dist --to live", 0, "branch promote/live/hello-1.2.3 proposes it"},
		{"store check --environment live --pull-request promote/live/hello-1.2.3", 0, "ok  signed"},
	} {
		s.run(t)
	}
	if err := os.Rename("dist", "elsewhere"); err != nil {
		t.Fatal(err)
	}
	step{"store check --environment live --pull-request promote/live/hello-1.2.3", 6, "no such file"}.run(t)
	for _, line := range []string{
		"clone --quiet --branch promote/live/hello-1.2.3 releases.git work", "-C work mv entries/hello/1.2.3.json entries/hello/1.2.4.json",
		"-C work -c user.name=x -c user.email=x@example.com commit --quiet --message x", "-C work push --quiet",
	} {
		if out, err := exec.Command("git", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	step{"store check --environment live --pull-request promote/live/hello-1.2.3", 9, `"entries/hello/1.2.4.json" is the entry of hello 1.2.3; change the pull request`}.run(t)
	// Merged all the same, it is put back by a pull request of its own.
	if out, err := exec.Command("git", "-C", "work", "push", "--quiet", "origin", "HEAD:live").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	step{"combine --once", 0, "1 line"}.run(t)
	step{"store check", 5, "slipway store repair puts the branch back"}.run(t)
	for range 2 {
		step{"store repair", 0, ": 1 file put back; open a pull request of it into live"}.run(t)
	}
}
