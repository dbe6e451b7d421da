package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// TestEnvironmentsPage runs docs/environments.md: what it shows is what happens, but for times and digests.
func TestEnvironmentsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/environments.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for name, value := range map[string]string{
		"HOME": dir, "XDG_CACHE_HOME": filepath.Join(dir, ".cache"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.DevNull, "SLIPWAY_STORE": "",
	} {
		t.Setenv(name, value)
	}
	key := func(name string) sign.Key {
		t.Helper()
		k, err := sign.Generate(sign.Ed25519)
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
		return k
	}
	release, lead := key("release"), key("lead")
	names := map[string]string{}
	for _, name := range []string{"a", "b", "c", "ci"} {
		names[string(key(name).Public().Fingerprint())] = "sha256:" + strings.ToUpper(name)
	}
	rules := ""
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(block[1], "version: 1\n") {
			if _, err := environment.ParseRules("page", []byte(block[1])); err != nil {
				t.Error(err)
			}
			if rules == "" { // the first are those of the story
				rules = strings.Replace(block[1], "sha256:LEAD", string(lead.Public().Fingerprint()), 1)
			}
		}
	}
	if err := os.WriteFile("environment.yaml", []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("b", 40)
	for name, o := range map[string]verifytest.Options{"1.2.3-rc.1": {Version: "1.2.3-rc.1"}, "1.2.3": {Version: "1.2.3"}, "1.2.4-rc.1": {Version: "1.2.4-rc.1"}, "other": {Version: "1.2.3", Commit: other}} {
		at := filepath.Join("dist", name)
		if _, err := verifytest.Write(at, o); err != nil {
			t.Fatal(err)
		}
		if _, err := sign.Release(t.Context(), at, sign.Options{Signer: release}); err != nil {
			t.Fatal(err)
		}
	}
	commands := 0
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```").FindAllStringSubmatch(string(page), -1) {
		for _, step := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1)[1:] {
			line, want, _ := strings.Cut(step, "\n")
			commands++
			got := shell(t, line)
			names[string(release.Public().Fingerprint())], names[other[:12]], names[dir] = "sha256:RELEASE", "OTHER", "/home/you"
			for old, text := range names {
				got = strings.ReplaceAll(got, old, text)
			}
			got = regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(got, "sha256:...")
			got = regexp.MustCompile(`until \d{4}-\d\d-\d\d`).ReplaceAllString(got, "until 2026-08-29")
			got = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`).ReplaceAllString(got, "2026-03-02 10:15")
			got = regexp.MustCompile(`(?m) +$`).ReplaceAllString(got, "")
			if got != want {
				t.Fatalf("%s prints\n%s\nand the page has\n%s", line, got, want)
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands were run", commands)
	}
}

// shell runs one line of a page: a command with what it prints, and its exit code in brackets if that is not 0.
func shell(t *testing.T, line string) string {
	t.Helper()
	var args []string
	for _, m := range regexp.MustCompile(`"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		args = append(args, m[1]+m[2])
	}
	var out bytes.Buffer
	code := 0
	switch args[0] {
	case "export":
		name, value, _ := strings.Cut(args[1], "=")
		t.Setenv(name, value)
	case "slipway":
		code = run(args[1:], &out, &out)
	default:
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out.String())
		}
	}
	if code != 0 {
		fmt.Fprintf(&out, "[%d]\n", code)
	}
	return out.String()
}
