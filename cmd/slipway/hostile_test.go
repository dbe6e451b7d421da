package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/fixture/canarytest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

const odd = "\u202e\x1b[2J\u009b31m\nslipway: PASS\n::error::forged"

// fit fails where something was printed that a terminal obeys, or a line that a name made.
func fit(t *testing.T, args []string) (code int) {
	t.Helper()
	var stdout, stderr strings.Builder
	code = run(args, &stdout, &stderr)
	printed := stdout.String() + stderr.String()
	if !utf8.ValidString(printed) {
		t.Errorf("%q: bytes that are no UTF-8 are printed: %q", args, printed)
	}
	for line := range strings.Lines(printed) {
		if plain := strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " "); cmdline.Line(plain) != plain {
			t.Errorf("%q: a terminal obeys %q", args, line)
		}
		if strings.HasPrefix(line, "slipway: PASS") || strings.HasPrefix(line, "::error::forged") {
			t.Errorf("%q: a name has a line of its own: %q", args, printed)
		}
	}
	return code
}

// TestOddNames has every command print names from a release and from a repository, which are only shown.
func TestOddNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file has such a name there")
	}
	quoted, err := json.Marshal(odd)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "tag", "repository", "commit", "tree", "path", "digest", "kind", "format", "distro", "schema", "what"} {
		t.Run(key, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "releases", "x")
			if _, err := verifytest.Write(dir, verifytest.Options{EditManifest: func(r *manifest.Release) { r.Repository = "https://example.com/hello" }}); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "release.json")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := regexp.MustCompile(`("`+key+`": ?"[^"]*)"`).ReplaceAll(b, append([]byte("$1"), quoted[1:]...))
			if key == "what" {
				text = append([]byte(`{`+string(quoted)+`: 1,`), b[1:]...)
			}
			if bytes.Equal(text, b) {
				t.Fatalf("there is no %s", key)
			}
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"verify", dir},
				{"verify", "--json", dir},
				{"reproduce", "--repository", "nowhere", "--engine", "host", "--vary", "none", dir},
				{"reproduce", "--all", "--from", filepath.Dir(dir), "--repository", "nowhere", "--engine", "host", "--vary", "none", "--json"},
				{"version", "--check", "--from", filepath.Dir(dir)},
			} {
				if code := fit(t, args); code == 0 || code == 1 {
					t.Errorf("%q: exit %d", args, code)
				}
			}
		})
	}
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, verifytest.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, odd[:strings.IndexByte(odd, ':')]+"\xff"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fit(t, []string{"verify", "--allow-unsigned", dir})
	fit(t, []string{"verify", odd})
	fit(t, []string{"serve", "--root", odd})
	fit(t, []string{"reproduce", odd})
}

// oddRepository is a repository of a program with odd names.
func oddRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/tool\n\ngo 1.26.0\n", "main.go": "package main\n\nfunc main() {}\n",
		"cmd/" + odd + "/main.go":                 "package main\n\nfunc main() {}\n",
		"charts/\u202e\nslipway: PASS/Chart.yaml": "apiVersion: v2\nname: x\nversion: 0.0.0\n",
		"deep\nslipway: PASS/go.mod":              "what\n",
		".goreleaser.yaml":                        "version: 2\nproject_name: \"x\\u202ey\\nslipway: PASS\"\nbuilds: [{id: \"a\\u202e\", main: \"\\u202e[2J\", \"odd\\u202e\\e[2J\\nslipway: PASS\": 1}]\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"remote", "add", "origin", "https://example.com/" + odd[:20] + "/x"}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

func TestOddRepository(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file has such a name there")
	}
	fit(t, []string{"init", "--dir", oddRepository(t)})
	dir := oddRepository(t)
	fit(t, []string{"init", "--dir", dir, "--from-goreleaser", filepath.Join(dir, ".goreleaser.yaml")})
}

// TestCanary runs the commands that look at a clone where its own configuration names programs, with secrets in the environment.
// The rest of what reproduce does is in the test of the pipeline's vendor command.
func TestCanary(t *testing.T) {
	canary := canarytest.New(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/tool\n\ngo 1.26.0\n", "main.go": "package main\n\nfunc main() {}\n", ".gitattributes": "* filter=evil\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "begin"}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	out, err := exec.Command("git", "-C", dir, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	release := t.TempDir()
	if _, err := verifytest.Write(release, verifytest.Options{EditManifest: func(r *manifest.Release) { r.Commit = strings.TrimSpace(string(out)) }}); err != nil {
		t.Fatal(err)
	}
	canary.Poison(dir, "go.mod", "main.go")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "slipway") // the name under which the test binary is the program
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init"},
		{"verify", release},
		{"version"},
		{"reproduce", "--repository", dir, "--engine", "host", "--vary", "none", release},
		{"reproduce", "--engine", "host", "--vary", "none", release},
		{"reproduce", "v1.2.3"},
	} {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, canary.Environ(append(os.Environ(), "HOME="+t.TempDir(), "XDG_CACHE_HOME="+t.TempDir()))
		said, _ := cmd.CombinedOutput()
		canary.Check(fmt.Sprintf("slipway %q: %s", args, said))
	}
}
