package cli_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/canarytest"
	"github.com/slipway-build/slipway/pipeline/fixture/moduletest"
	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// clone is a clone of a project, with the program and the environment that commands are run in.
type clone struct {
	t    testing.TB
	dir  string
	env  []string
	prog string
}

func (c *clone) write(name, text string) {
	c.t.Helper()
	name = filepath.Join(c.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clone) git(args ...string) {
	c.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", c.dir, "-c", "user.name=A", "-c", "user.email=a@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// run runs the pipeline and wants an exit code.
func (c *clone) run(want int, args ...string) (stdout, stderr string) {
	c.t.Helper()
	code, stdout, stderr := c.do(args...)
	if code != want {
		c.t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	return stdout, stderr
}

func (c *clone) do(args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	cmd := exec.Command(c.prog, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// newClone is a clone with one commit, of version 1.2.3. The programs that it is compiled with are those of this machine.
func newClone(t testing.TB, files map[string]string) *clone {
	t.Helper()
	c := &clone{t: t, dir: filepath.Join(t.TempDir(), "clone")}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c.write(name, files[name])
	}
	c.git("init", "--quiet", "--initial-branch=main")
	c.git("add", "--all")
	c.git("commit", "--quiet", "--message", "feat: begin")
	c.git("tag", "v1.2.3")
	c.env = []string{
		"HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "SLIPWAY_CACHE=" + t.TempDir(), "TMPDIR=" + os.TempDir(),
	}
	return c
}

// standIn is a pipeline that says that it built what was published, unless it sees a secret. Its name is in it as in one that calls
// slipway/pipeline/cli.
const standIn = `package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	for _, kv := range os.Environ() {
		if strings.Contains(kv, "canary-") {
			fmt.Println("the pipeline sees", kv)
			os.Exit(1)
		}
	}
	out := os.Args[slices.Index(os.Args, "--out")+1]
	if err := os.CopyFS(out, os.DirFS(os.Getenv("PUBLISHED"))); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
`

// TestCanary runs every command in a clone whose own configuration names programs, with secrets in the environment. Not one of the
// programs runs, and no child sees a secret: not git, not the Go command and with it compilers and tests, not the pipeline
// of another commit, and not the program of the Dagger SDK. Of an agent, a netrc and the home of the user no child sees more than it
// is entitled to: where the Go command fetches a module it sees all, and where it compiles or tests nothing.
func TestCanary(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles")
	}
	fixture.SkipRace(t)
	canary := canarytest.New(t)
	version := strings.TrimPrefix(runtime.Version(), "go")
	sum := "h1:" + strings.Repeat("A", 43) + "="
	proxy := t.TempDir()
	c := newClone(t, map[string]string{
		"go.mod": "module example.com/tool\n\ngo 1.26\n" + moduletest.Require, "go.sum": moduletest.Proxy(t, proxy),
		"main.go": moduletest.Use,
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
	if home := os.Getenv("HOME"); !strings.Contains(home, "slipway-home-") {
		t.Errorf("a test has the home %s", home)
	}
}
`,
		"LICENSE": "All rights given.\n", "notes.md": "notes\n", "notes.txt": "notes\n", "data.bin": "data\n",
		".gitattributes":               "*.txt filter=evil\n*.bin filter=lfs\n",
		"charts/tool/Chart.yaml":       "apiVersion: v2\nname: tool\ndescription: tool\nversion: 0.0.0\n",
		"charts/tool/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		"ci/go.mod":                    "module example.com/tool/ci\n\ngo 1.26\n\ntoolchain " + runtime.Version() + "\n",
		"ci/main.go":                   "// Command ci stands in for github.com/slipway-build/slipway/pipeline/cli.\n" + standIn,
		"slipway.yaml":                 "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: ., targets: [linux/amd64]}]\ncharts: [{path: charts/tool}]\nimages: [{repository: registry.example.com/tool, distros: [distroless]}]\nbases: {distroless: \"127.0.0.1:1/static:nonroot\"}\n",
		"unlocked/slipway.yaml":        "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: .}]\n",
		"slipway.lock": "version: 1\ngo:\n  version: " + version + "\n  sums:\n    linux-amd64: " + sum + "\n    linux-arm64: " + sum + "\nbases:\n  distroless:\n    image: 127.0.0.1:1/static:nonroot\n    digest: sha256:" +
			strings.Repeat("a", 64) + "\n    platforms: [linux/amd64]\n",
	})
	c.prog = ciProgram(t)
	for name, value := range settings(t) {
		c.env = append(c.env, name+"="+value)
	}
	dist := filepath.Join(c.dir, "dist")
	c.env = append(canary.Environ(c.env), "PUBLISHED="+dist, "GOSUMDB=off", "GOPROXY=file://"+proxy+",off", "GOMODCACHE="+moduletest.Cache(t), "_EXPERIMENTAL_DAGGER_CLI_BIN=dagger")
	sources := []string{"go.mod", "main.go", "notes.md", "notes.txt", "data.bin", "LICENSE", "slipway.yaml"}
	if n := canary.Poison(c.dir, sources...); n < 20 {
		t.Fatalf("the clone names %d programs", n)
	}

	// The watch sees both: git by itself runs filters, and sees what there is.
	naive := exec.Command(filepath.SplitList(strings.TrimPrefix(c.env[slices.IndexFunc(c.env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })], "PATH="))[0]+"/git", "status")
	naive.Dir, naive.Env = c.dir, c.env
	_ = naive.Run()
	ran := canary.Ran()
	if leaks, _ := canary.Saw(); !slices.Contains(ran, "filter.evil.clean") || !slices.Contains(leaks, "git status: GITHUB_TOKEN") {
		t.Fatalf("nothing is seen: %q ran, and there are the leaks %q", ran, leaks)
	}

	elsewhere := t.TempDir()
	if err := os.Mkdir(filepath.Join(elsewhere, "shelf"), 0o755); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(elsewhere, "tool.key")
	to := filepath.Join(elsewhere, "destinations.yaml")
	pages := filepath.Join(elsewhere, "pages.git")
	c.git("init", "--quiet", "--bare", "--initial-branch=gh-pages", pages)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	images := httptest.NewServer(registry.New(registry.Logger(discard)))
	defer images.Close()
	write(to, "github: {release: none}\nregistries: {registry.example.com: ["+strings.TrimPrefix(images.URL, "http://")+"]}\nfolder: "+filepath.Join(elsewhere, "shelf")+"\ncharts: {git: file://"+pages+", url: http://127.0.0.1:1/charts}\n")
	for _, tt := range []struct {
		exit int
		args []string
	}{
		{0, []string{"plan"}},
		{0, []string{"plan", "--commit", "v1.2.3"}},
		{0, []string{"version"}},
		{0, []string{"version", "next"}},
		{0, []string{"check"}},
		{0, []string{"lock", "--check", "go"}},
		{0, []string{"doctor"}},
		{0, []string{"test", "--engine", "host"}},
		{6, []string{"build", "--engine", "dagger"}},
		{0, []string{"build", "--standalone"}},
		{0, []string{"build", "--standalone", "--force"}},
		{0, []string{"keygen", "--private", key, filepath.Join(elsewhere, "tool.pub")}},
		{0, []string{"sign", "--key", key, "--allow-unpublishable"}},
		{0, []string{"verify", "--allow-unpublishable", "--key", filepath.Join(elsewhere, "tool.pub")}},
		{0, []string{"publish", "--destinations", to, "--allow-unpublishable"}},
		{0, []string{"publish", "--destinations", to, "--allow-unpublishable", "--status"}},
		{0, []string{"vendor", "--repository", ".", "--pass", "PUBLISHED", "--allow-unpublishable", "--allow-unsigned", "--out", filepath.Join(elsewhere, "bundle"), "--work", filepath.Join(elsewhere, "work"), "dist"}},
		{0, []string{"init", "--offline"}},
		{6, []string{"lock", "--config", "unlocked/slipway.yaml", "go"}}, // it fetches a toolchain, and there is no network
	} {
		canary.Touch(c.dir, sources...)
		code, stdout, stderr := c.do(tt.args...)
		if code != tt.exit && (code != 6 || tt.args[0] != "vendor") { // whether the toolchain is in the module cache makes no difference here
			t.Fatalf("%q: exit %d, want %d\n%s%s", tt.args, code, tt.exit, stdout, stderr)
		}
		canary.Check("ci " + strings.Join(tt.args, " "))
	}
}

// odd are names that a terminal obeys, that are a line of their own, or that are no text.
var odd = map[string]string{
	"escape": "\x1b]0;owned\a\x1b[2J", "direction": "\u202etxt.exe", "line": "a\nslipway: PASS", "command": "a\n::error::forged", "bytes": "bad\xff\u009b31m",
}

// fit fails where something was printed that a terminal obeys, or a line that a name made.
func fit(t testing.TB, what, printed string) {
	t.Helper()
	if !utf8.ValidString(printed) {
		t.Errorf("%s: bytes that are no UTF-8 are printed: %q", what, printed)
	}
	if i := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && r != '\t' && words.IsObeyed(r) }); i >= 0 {
		t.Errorf("%s: a terminal obeys %q", what, printed[max(0, i-60):min(len(printed), i+20)])
	}
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "slipway: PASS") || strings.HasPrefix(line, "::error::forged") || strings.HasPrefix(line, "goroutine ") {
			t.Errorf("%s: a name has a line of its own: %q", what, printed)
		}
	}
}

// TestOddNames has every command print names from a repository and from a registry, which are only shown.
func TestOddNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file has such a name there")
	}
	c := newClone(t, map[string]string{
		"go.mod": "module example.com/tool\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n", "LICENSE": "x\n",
		"slipway.yaml": "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: ., targets: [linux/amd64]}]\n",
		"slipway.lock": "version: 1\ngo: {version: " + strings.TrimPrefix(runtime.Version(), "go") + "}\n",
	})
	c.prog = ciProgram(t)
	for name, value := range settings(t) {
		c.env = append(c.env, name+"="+value)
	}
	run := func(want int, args ...string) {
		t.Helper()
		for _, progress := range []string{"plain", "json", "github"} {
			stdout, stderr := c.run(want, append([]string{"--progress", progress}, args...)...)
			fit(t, fmt.Sprintf("%q", args), stdout+stderr)
		}
	}
	for what, name := range odd {
		c.write(name, "x")
		c.write("sub/"+name+".md", what)
	}
	run(3, "plan")
	run(3, "check")
	run(0, "plan", "--dirty")
	c.git("add", "--all")
	c.git("-c", "user.name="+odd["escape"]+odd["direction"], "commit", "--quiet", "--message", "feat: "+odd["escape"]+odd["direction"]+"\n\nBREAKING CHANGE: "+odd["direction"])
	c.git("branch", odd["direction"])
	c.git("tag", "v"+odd["direction"])
	c.git("tag", odd["direction"]+"/v1.3.0")
	c.git("tag", "v1.3.0")
	for _, args := range [][]string{{"plan"}, {"plan", "--json"}, {"check"}, {"version"}, {"version", "next"}, {"version", "--json"}, {"doctor"}, {"plan", "--commit", odd["direction"]}} {
		run(0, args...)
	}
	run(3, "plan", "--tag", "v"+odd["direction"])
	run(3, "plan", "--tag", odd["escape"])
	run(3, "plan", "--commit", odd["direction"]+"x")
	if !testing.Short() {
		run(0, "build", "--standalone", "--force")
	}

	// A registry says what it likes.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic realm=\"\u202e\"")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, odd["direction"]+"\nslipway: PASS\u009b")
	}))
	defer server.Close()
	const plain = "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: ., targets: [linux/amd64]}]\n"
	host := strings.TrimPrefix(server.URL, "http://")
	c.write("slipway.yaml", plain+"images: [{repository: example.com/tool, distros: [alpine]}]\nbases: {alpine: \""+host+"/x:1\"}\n")
	run(8, "lock", "alpine")

	// The configuration says what it likes.
	for _, text := range []string{
		strings.Replace(plain, "name: tool}", `name: tool, description: "x\e]0;owned\a\u202e"}`, 1),
		strings.Replace(plain, "name: tool}", `name: tool, title: "a\nslipway: PASS"}`, 1),
		strings.Replace(plain, "name: tool}", `name: tool, tagPrefix: "\u202e/"}`, 1),
		strings.Replace(plain, "name: tool}", `name: tool, repository: "https://example.com/\u202e\u009b31m/x"}`, 1),
		strings.Replace(plain, "main: .", `main: "nowhere\u202e"`, 1),
		strings.Replace(plain, "main: .", `main: "a\nslipway: PASS"`, 1),
		strings.Replace(plain, "main: .", `main: nowhere, vars: {"a\u202e\n.b": x}`, 1),
		strings.Replace(plain, "name: tool,", `name: "to\u202eol\nslipway: PASS",`, 1),
		plain + `"down\u202e\e[2J\nslipway: PASS": x` + "\n",
		plain + `archives: {files: ["\u202e\e[2J"]}` + "\n",
		plain + `download: "https://example.com/{{ .Nothing\u202e }}"` + "\n",
		plain + "charts: [{path: \"a\\u202e\"}]\n",
	} {
		c.write("slipway.yaml", text)
		for _, command := range []string{"plan", "check"} {
			code, stdout, stderr := c.do("--dirty", command)
			if code != 0 && code != 2 {
				t.Errorf("%s: exit %d: %s", text, code, stderr)
			}
			fit(t, text, stdout+stderr)
		}
	}
}

// TestFilters has the filter of a clone's own configuration run where slipway.yaml names it, and is that of Git LFS.
func TestFilters(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are scripts")
	}
	const text = "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: ., targets: [linux/amd64]}]\n"
	c := newClone(t, map[string]string{
		"go.mod": "module example.com/tool\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n", "LICENSE": "x\n",
		"data.bin": "pointer\n", ".gitattributes": "*.bin filter=lfs\n", "slipway.yaml": text,
		"slipway.lock": "version: 1\ngo: {version: " + strings.TrimPrefix(runtime.Version(), "go") + "}\n",
	})
	c.prog = ciProgram(t)
	bin := t.TempDir()
	for name, script := range map[string]string{"git-lfs": "echo pointer", "evil": "echo pointer; : >'" + bin + "/ran'"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.env = append(c.env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	c.write("data.bin", "smudged\n") // as long as what is committed: git takes another length for a change without asking the filter
	for _, tt := range []struct {
		clean, config string
		exit          int
		says          string
	}{
		{"git-lfs clean -- %f", text, 3, "uncommitted changes (data.bin)"},
		{"git-lfs clean -- %f", text, 3, "name Git LFS in slipway.yaml, filters: [lfs]"},
		{"git-lfs clean -- %f", text + "filters: [lfs]\n", 0, ""},
		{"evil", text + "filters: [lfs]\n", 3, "filter.lfs.clean"},
		{"git-lfs clean -- %f", text + "filters: [evil]\n", 2, `filters[0]: "evil"`},
	} {
		c.git("config", "filter.lfs.clean", tt.clean)
		c.write("slipway.yaml", tt.config)
		c.git("-c", "filter.lfs.clean=cat", "add", "slipway.yaml")
		c.git("-c", "filter.lfs.clean=cat", "commit", "--quiet", "--allow-empty", "--message", "another")
		if _, stderr := c.run(tt.exit, "plan"); !strings.Contains(stderr, tt.says) {
			t.Errorf("%s with %q: %s", tt.clean, tt.config, stderr)
		}
		if _, err := os.Stat(filepath.Join(bin, "ran")); err == nil {
			t.Errorf("%s ran", tt.clean)
		}
	}
}

// TestNoFiles refuses what a clone has in the place of a file and what has no end.
func TestNoFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such devices")
	}
	for _, name := range []string{"slipway.yaml", "slipway.lock", "go.mod"} {
		c := newClone(t, map[string]string{
			"go.mod": "module example.com/tool\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n",
			"slipway.yaml": "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: ., targets: [linux/amd64]}]\n", "slipway.lock": "version: 1\n",
		})
		c.prog = ciProgram(t)
		c.env = append(c.env, "PATH="+os.Getenv("PATH"))
		for _, err := range []error{os.Remove(filepath.Join(c.dir, name)), os.Symlink("/dev/zero", filepath.Join(c.dir, name))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, stderr := c.run(2, "lock", "go"); !strings.Contains(stderr, name+" is not a file") {
			t.Errorf("%s: %s", name, stderr)
		}
	}
}
