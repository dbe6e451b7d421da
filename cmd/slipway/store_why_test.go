package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// Where a stage has writers, why answers for one of them; a dry run answers as well, and does nothing.
func TestWhyBy(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, value := range map[string]string{
		"HOME": dir, "XDG_CACHE_HOME": filepath.Join(dir, ".cache"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.DevNull, "SLIPWAY_STORE": "releases.git",
	} {
		t.Setenv(name, value)
	}
	key, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := string(key.Public().Fingerprint())
	rules := fmt.Sprintf("version: 1\ncomponents:\n  hello: {key: keys/release.pub}\nstages:\n  - {name: beta}\n  - {name: live, writers: [%q]}\n  - {name: open, from: [beta], enter: pull-request}\n", fingerprint)
	for name, b := range map[string][]byte{"release.pub": key.Public().PEM(), "environment.yaml": []byte(rules)} {
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
	for _, step := range []struct {
		args string
		code int
		want string
	}{
		{"store init --rules environment.yaml --public-key release.pub", 0, ""},
		{"add hello 1.2.3 --from dist --to beta", 0, ""},
		{"why hello 1.2.3 --to live", 9, "refused  writers    nobody who signed asks"},
		{"why hello 1.2.3 --to live --by " + fingerprint, 0, "ok  writers    " + fingerprint + " asks"},
		{"why hello 1.2.3 --to open", 0, "ok  entry      beta has this release, with the same entry"},
		{"promote hello 1.2.3 --to live --dry-run", 9, "promote hello 1.2.3 to live is refused: writers"},
		{"promote hello 1.2.3 --to open --dry-run", 0, "hello 1.2.3: beta -> open (not done)"},
		{"promote hello 1.2.3 --to open --dry-run --json", 0, `{"refused":false,"moves":[{"component":"hello","version":"1.2.3",`},
		{"hold hello 1.2.3 --why x --environment open --json", 0, `{"line":2,"refused":false,"moves":[{"component":"hello","version":"1.2.3","to":"open"}],"rules":[]}`},
		{"promote hello 1.2.3 --to live --json", 9, `{"refused":true,"moves":[{"component":"hello","version":"1.2.3","to":"live"}],"rules":[{"rule":"writers","ok":false,`},
		{"store check", 0, "2 lines, 1 entries"},
	} {
		var out bytes.Buffer
		if code := run(strings.Fields(step.args), &out, &out); code != step.code || !strings.Contains(out.String(), step.want) {
			t.Fatalf("%s: %d, and not %d with %q\n%s", step.args, code, step.code, step.want, out.String())
		}
	}
}
