package scaffold

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/modfile"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

var update = flag.Bool("update", false, "write golden files")

// tree writes the files into a new folder and returns it.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contents are the files below dir, by name.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		if d.IsDir() {
			m[filepath.ToSlash(rel)+"/"] = ""
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			m[filepath.ToSlash(rel)] = "link"
			return nil
		}
		b, err := os.ReadFile(p)
		m[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// program is the smallest repository that can be released.
func program() map[string]string {
	return map[string]string{
		"go.mod":  "module example.com/tool\n\ngo 1.26.8\n",
		"main.go": "package main\n\nfunc main() {}\n",
	}
}

// TestGolden runs Init on the repository in each archive of testdata and compares what it wrote and said.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) < 8 {
		t.Fatalf("have %d archives: %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			in, want := map[string]string{}, map[string]string{}
			var inputs []txtar.File
			for _, f := range ar.Files {
				if rest, ok := strings.CutPrefix(f.Name, "in/"); ok {
					in[rest] = string(f.Data)
					inputs = append(inputs, f)
				} else {
					want[f.Name] = string(f.Data)
				}
			}
			o := Options{Dir: tree(t, in)}
			all := false
			for line := range strings.Lines(string(ar.Comment)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				switch key {
				case "remote":
					o.Remote = value
				case "version":
					o.Version = value
				case "go":
					o.GoVersion = value
				case "store":
					o.Store = value
				case "goreleaser":
					o.GoReleaser = filepath.Join(o.Dir, value)
				case "all":
					all = true
				}
			}
			r, err := Init(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{"want/notes": lines(r.Notes), "want/next": lines(r.Next)}
			var said []string
			for _, f := range r.Files {
				said = append(said, strings.TrimSpace(f.Path+" "+f.Skipped))
				if f.Skipped == "" && (all || f.Path == config.FileName || strings.HasSuffix(f.Path, "go.mod")) {
					b, err := os.ReadFile(filepath.Join(o.Dir, filepath.FromSlash(f.Path)))
					if err != nil {
						t.Fatal(err)
					}
					got["want/"+f.Path] = string(b)
				}
			}
			got["want/files"] = lines(said)
			for name, data := range in {
				b, err := os.ReadFile(filepath.Join(o.Dir, filepath.FromSlash(name)))
				if err != nil || string(b) != data {
					t.Errorf("%s of the repository was changed: %v", name, err)
				}
			}
			if *update {
				ar.Files = inputs
				for _, k := range sortedKeys(got) {
					ar.Files = append(ar.Files, txtar.File{Name: k, Data: []byte(got[k])})
				}
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, k := range sortedKeys(got) {
				if got[k] != want[k] {
					t.Errorf("%s:\n%s\nwant:\n%s", k, got[k], want[k])
				}
				delete(want, k)
			}
			for k := range want {
				t.Errorf("%s was not written", k)
			}
		})
	}
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		edit  func(*Options)
		want  string
	}{
		{"no go.mod", map[string]string{"main.go": "package main\nfunc main() {}"}, nil, "no go.mod"},
		{"platform", map[string]string{"platform.yaml": "version: 1\n"}, nil, "a platform needs none: take ci/ from a component"},
		{"library", map[string]string{"go.mod": "module example.com/lib\n", "lib.go": "package lib"}, nil, "no main package"},
		{"broken go.mod", map[string]string{"go.mod": "modul x\n"}, nil, "go.mod"},
		{"huge go.mod", map[string]string{"go.mod": strings.Repeat("// x\n", 300_000)}, nil, "more than"},
		{"no such folder", nil, func(o *Options) { o.Dir = filepath.Join(o.Dir, "none") }, "opening the repository"},
		{"odd version", program(), func(o *Options) { o.Version = "v1.2" }, "not a version"},
		{"version with more in it", program(), func(o *Options) { o.Version = "v1.2.3\nreplace a => b" }, "not a version"},
		{"major version", program(), func(o *Options) { o.Version = "v2.0.0" }, "not a version"},
		{"replace with a line break", program(), func(o *Options) { o.Replace = "../a\nexclude b" }, "replace"},
		{"no such goreleaser file", program(), func(o *Options) { o.GoReleaser = filepath.Join(o.Dir, "none.yml") }, "opening the GoReleaser"},
		{"goreleaser is a folder", program(), func(o *Options) { o.GoReleaser = o.Dir }, "not a regular file"},
		{"goreleaser is a list", with(program(), "g.yml", "- a\n"), func(o *Options) { o.GoReleaser = filepath.Join(o.Dir, "g.yml") }, "g.yml:1:1: it is not a mapping"},
		{"goreleaser is not YAML", with(program(), "g.yml", "a: [\n"), func(o *Options) { o.GoReleaser = filepath.Join(o.Dir, "g.yml") }, "g.yml:1:1: not YAML: "},
		{"goreleaser is empty", with(program(), "g.yml", ""), func(o *Options) { o.GoReleaser = filepath.Join(o.Dir, "g.yml") }, "empty"},
		{"goreleaser is huge", with(program(), "g.yml", "a: "+strings.Repeat("x", maxFileSize)), func(o *Options) { o.GoReleaser = filepath.Join(o.Dir, "g.yml") }, "more than"},
		{"goreleaser is a bomb", with(program(), "g.yml", bomb()), func(o *Options) { o.GoReleaser = filepath.Join(o.Dir, "g.yml") }, "g.yml:2:5: the file has more than 50000 values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Dir: tree(t, tt.files)}
			dir := o.Dir
			before := contents(t, dir)
			if tt.edit != nil {
				tt.edit(&o)
			}
			_, err := Init(t.Context(), o)
			if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v (code %d), want a usage error with %q", err, fault.CodeOf(err), tt.want)
			}
			if after := contents(t, dir); !reflect.DeepEqual(before, after) {
				t.Errorf("files were left behind: %v", sortedKeys(after))
			}
		})
	}
}

func with(files map[string]string, name, data string) map[string]string {
	files[name] = data
	return files
}

// bomb is a file whose merged mappings double with every line.
func bomb() string {
	b := "m0: &m0 {a: 1}\n"
	for i := 1; i < 24; i++ {
		b += fmt.Sprintf("m%d: &m%d\n  <<: [*m%d, *m%d]\n", i, i, i-1, i-1)
	}
	return b + "builds:\n  - *m23\n"
}

// TestNothingOverwritten runs Init twice, and beside files of the user's.
func TestNothingOverwritten(t *testing.T) {
	dir := tree(t, with(program(), ".github/workflows/release.yml", "mine"))
	o := Options{Dir: dir, Version: "v1.0.0"}
	if _, err := Init(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	first := contents(t, dir)
	if first[".github/workflows/release.yml"] != "mine" || first["slipway.yaml"] == "" {
		t.Fatalf("have %v", first)
	}
	o.Version = "v1.0.1"
	r, err := Init(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Files {
		if f.Skipped == "" {
			t.Errorf("%s was written again", f.Path)
		}
	}
	if !reflect.DeepEqual(first, contents(t, dir)) {
		t.Error("a second run changed files")
	}
}

// stopping is a context that ends after some looks at it.
type stopping struct {
	context.Context
	left int
}

func (s *stopping) Err() error {
	if s.left--; s.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestAllOrNothing stops Init at every place where it can be stopped.
func TestAllOrNothing(t *testing.T) {
	stopped := 0
	for n := 0; ; n++ {
		dir := tree(t, program())
		before := contents(t, dir)
		_, err := Init(&stopping{context.Background(), n}, Options{Dir: dir, Version: "v1.0.0"})
		if err == nil {
			break
		}
		stopped++
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if after := contents(t, dir); !reflect.DeepEqual(before, after) {
			t.Fatalf("stopped at %d, these are left: %v", n, sortedKeys(after))
		}
	}
	if stopped < 7 {
		t.Errorf("stopped only %d times", stopped)
	}
}

// TestObstacles puts things in the way of what is written.
func TestObstacles(t *testing.T) {
	outside := t.TempDir()
	tests := map[string]func(t *testing.T, dir string){
		"a file for a folder": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, ".github"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"a link out of the repository": func(t *testing.T, dir string) {
			if err := os.Symlink(outside, filepath.Join(dir, ".github")); err != nil {
				t.Skip(err)
			}
		},
	}
	for name, obstruct := range tests {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, program())
			obstruct(t, dir)
			before := contents(t, dir)
			_, err := Init(t.Context(), Options{Dir: dir, Version: "v1.0.0"})
			if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "release.yml") {
				t.Errorf("error %v", err)
			}
			if after := contents(t, dir); !reflect.DeepEqual(before, after) {
				t.Errorf("these are left: %v", sortedKeys(after))
			}
			if left := contents(t, outside); len(left) > 0 {
				t.Errorf("files were written outside: %v", left)
			}
		})
	}
}

// TestLeftovers has Init clean up after a run that was killed while it wrote.
func TestLeftovers(t *testing.T) {
	dir := tree(t, with(program(), "slipway.yaml"+temporary, "half"))
	if _, err := Init(t.Context(), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	for name := range contents(t, dir) {
		if strings.HasSuffix(name, temporary) {
			t.Errorf("%s is left", name)
		}
	}
}

func TestLock(t *testing.T) {
	pins, err := Pins()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range images.Names() {
		d, _ := images.ByName(name)
		base, ok := pins.Bases[d.Name]
		if !ok || base.Image != d.Base {
			t.Errorf("%s is pinned as %q, its base is %q", d.Name, base.Image, d.Base)
		}
		for _, p := range d.Platforms {
			if !slices.Contains(base.Platforms, p) {
				t.Errorf("the pin of %s has no %s", d.Name, p)
			}
		}
	}
	resolved := config.Lock{Version: 1, Go: config.Toolchain{Version: "1.26.9"}}
	var asked config.Config
	tests := []struct {
		name    string
		resolve func(context.Context, config.Config) (config.Lock, error)
		want    string // Go release
		note    string
	}{
		{"none", nil, "1.26.8", ""},
		{"resolved", func(_ context.Context, c config.Config) (config.Lock, error) {
			asked = c
			return resolved, nil
		}, "1.26.9", ""},
		{"unreachable", func(context.Context, config.Config) (config.Lock, error) {
			return config.Lock{}, errors.New("asking docker.io: no route to host")
		}, "1.26.8", "no route to host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, with(program(), "Dockerfile", "FROM ubuntu\nCOPY tool /usr/bin/tool\n"))
			r, err := Init(t.Context(), Options{Dir: dir, Version: "v1.0.0", Remote: "https://github.com/acme/tool", Lock: tt.resolve})
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, config.LockFileName))
			if err != nil {
				t.Fatal(err)
			}
			lock, err := config.ParseLock(config.LockFileName, b)
			if err != nil || lock.Go.Version != tt.want {
				t.Errorf("Go %q, want %q: %v", lock.Go.Version, tt.want, err)
			}
			if tt.want == pins.Go.Version && (len(lock.Bases) != 1 || lock.Bases["ubuntu"].Digest != pins.Bases["ubuntu"].Digest || len(lock.Go.Sums) == 0) {
				t.Errorf("bases %v", lock.Bases)
			}
			if all := lines(r.Notes); !strings.Contains(all, tt.note) || strings.Contains(all, "resolving the lock") != (tt.note != "") {
				t.Errorf("notes:\n%s", all)
			}
			if again := strings.Contains(lines(r.Next), "lock"+"\n"); again == (tt.want == "1.26.9") {
				t.Errorf("next:\n%s", lines(r.Next))
			}
		})
	}
	if len(asked.Binaries) != 1 || asked.Binaries[0].Name != "tool" {
		t.Errorf("the lock was asked for %+v", asked)
	}
}

// TestOwnPipeline holds what is written into repositories to what this repository does itself.
func TestOwnPipeline(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Module.Mod.Path != modulePath || m.Go.Version != pipelineGo {
		t.Errorf("go.mod says %s and go %s, the scaffold %s and go %s", m.Module.Mod.Path, m.Go.Version, modulePath, pipelineGo)
	}
	own, err := os.ReadFile("../../ci/main.go")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this repository has no ci/main.go yet")
	} else if err != nil {
		t.Fatal(err)
	}
	code := func(s string) string {
		_, s, _ = strings.Cut(s, "package main")
		return strings.Join(strings.Fields(s), " ")
	}
	if got, want := code(pipelineMain("ci")), code(string(own)); got != want {
		t.Errorf("init writes\n%s\nthis repository has\n%s", got, want)
	}
}

// step is one of a workflow or an action.
type step struct {
	Uses, Run, If, Shell string
	With, Env            map[string]string
}

// actionsWorkflow is a workflow, as far as the tests look at it.
type actionsWorkflow struct {
	On struct {
		Push struct{ Tags []string }
	}
	Permissions map[string]string
	Env         map[string]string
	Concurrency concurrency
	Jobs        map[string]struct {
		If          string
		RunsOn      string `yaml:"runs-on"`
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Needs       any
		Environment string
		Concurrency concurrency
		Steps       []step
	}
}

type concurrency struct {
	Group  string
	Cancel string `yaml:"cancel-in-progress"`
}

func parseWorkflow(t *testing.T, text string) actionsWorkflow {
	t.Helper()
	var w actionsWorkflow
	if err := yaml.Unmarshal([]byte(text), &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// checkPins wants every action to be named by a commit, with its version behind it.
func checkPins(t *testing.T, text string, least int) {
	t.Helper()
	pinned := regexp.MustCompile(`(?m)uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	if got, want := len(pinned.FindAllString(text, -1)), strings.Count(text, "uses:"); got != want || want < least {
		t.Errorf("%d of %d actions are pinned", got, want)
	}
}

// TestWorkflow holds the workflow to what a workflow that releases must be.
func TestWorkflow(t *testing.T) {
	for _, prefix := range []string{"", "cli/", "a'b*"} {
		text := string(workflow(releaseWorkflow, settings{Folder: "ci", TagPrefix: prefix, Workspace: true}))
		w := parseWorkflow(t, text)
		if w.Permissions == nil || len(w.Permissions) > 0 || w.Env["GOWORK"] != "off" {
			t.Errorf("permissions %v, env %v", w.Permissions, w.Env)
		}
		// One release of a repository is published at a time, whatever its tag, and no run of a tag is ended by another.
		if c := w.Jobs["publish"].Concurrency; c != (concurrency{"publish", "false"}) {
			t.Errorf("concurrency of publishing %v", c)
		}
		if c := w.Concurrency; c != (concurrency{"release-${{ github.head_ref || github.run_id }}", "true"}) {
			t.Errorf("concurrency %v", c)
		}
		for _, tag := range w.On.Push.Tags {
			if plainPrefix.MatchString(prefix) != strings.HasPrefix(tag, prefix) && prefix != "" {
				t.Errorf("tag pattern %q for the prefix %q", tag, prefix)
			}
		}
		// Only what publishes may write, and only what signs and publishes has an identity and secrets.
		may := map[string]map[string]string{
			"sign":    {"contents": "read", "id-token": "write"},
			"publish": {"contents": "write", "packages": "write", "id-token": "write"},
		}
		// Each job waits for the one before: nothing is signed or published that two runners did not build alike.
		needs := map[string]string{"check": "<nil>", "build": "<nil>", "rebuild": "build", "sign": "rebuild", "publish": "[rebuild sign]"}
		environments := map[string]string{"sign": "signing", "publish": "release"}
		commands := map[string]bool{}
		for name, job := range w.Jobs {
			want := may[name]
			if want == nil {
				want = map[string]string{"contents": "read"}
			}
			if !reflect.DeepEqual(job.Permissions, want) || job.Timeout == 0 {
				t.Errorf("%s may %v, for %d minutes", name, job.Permissions, job.Timeout)
			}
			if got := fmt.Sprint(job.Needs); got != needs[name] || job.Environment != environments[name] {
				t.Errorf("%s needs %s, in the environment %q", name, got, job.Environment)
			}
			for _, s := range job.Steps {
				if len(s.Env) > 0 && may[name] == nil {
					t.Errorf("%s has %v in its environment", name, s.Env)
				}
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s puts a value into a command: %s", name, s.Run)
				}
				if strings.HasPrefix(s.Uses, "actions/checkout@") && (s.With["fetch-depth"] != "0" || s.With["persist-credentials"] != "false") {
					t.Errorf("%s checks out with %v", name, s.With)
				}
				// Without dist/.gitignore git sees what comes back, and nothing is published from a tree that has changes.
				if s.With["path"] == "dist/" && (s.With["include-hidden-files"] != "true" || s.With["if-no-files-found"] != "error") {
					t.Errorf("%s uploads dist/ with %v", name, s.With)
				}
				if command, ok := strings.CutPrefix(s.Run, "go run -C ci . "); ok {
					commands[command] = true
				}
			}
		}
		if len(w.Jobs) != 5 || !reflect.DeepEqual(commands, map[string]bool{"check": true, "build": true, "verify --allow-unsigned": true, "publish": true}) {
			t.Errorf("%d jobs, commands %v", len(w.Jobs), commands)
		}
		again := w.Jobs["rebuild"].Steps
		if last := again[len(again)-1].Run; again[0].With["path"] != "again" || last != `diff -u "$RUNNER_TEMP/first/SHA256SUMS" again/dist/SHA256SUMS` {
			t.Errorf("the second build ends with %q", last)
		}
		// What was done is kept whatever became of it, and the next attempt begins with it.
		steps := w.Jobs["publish"].Steps
		last, before := steps[len(steps)-1], steps[len(steps)-3]
		if last.If != "always()" || last.With["path"] != "dist/publish/" || before.If != "github.run_attempt > 1" || before.With["name"] != last.With["name"] {
			t.Errorf("publish begins with %v and ends with %v", before, last)
		}
		checkPins(t, text, 14)
		if strings.Contains(text, "pull_request_target") {
			t.Error("the code of a pull request runs with the secrets of the repository")
		}
	}
}

// TestStoreWorkflow: a pull request into a store starts a job that may only read and has nothing of the pull request but its number; what
// writes runs after it was merged.
func TestStoreWorkflow(t *testing.T) {
	text := string(workflow(storeWorkflow, settings{Version: "v1.2.3"}))
	checkPins(t, text, 4)
	w := parseWorkflow(t, text)
	check, follow := w.Jobs["check"], w.Jobs["follow"]
	if len(w.Jobs) != 2 || !reflect.DeepEqual(check.Permissions, map[string]string{"contents": "read"}) || w.Permissions == nil || len(w.Permissions) > 0 {
		t.Errorf("%+v", w)
	}
	if !strings.Contains(follow.If, "pull_request.merged") || follow.Concurrency.Group == "" || follow.Permissions["contents"] != "write" {
		t.Errorf("%+v", follow)
	}
	for _, s := range slices.Concat(check.Steps, follow.Steps) {
		if strings.Contains(s.Run, "${{") || s.With["ref"] != "" || strings.HasPrefix(s.Uses, "actions/checkout") && s.With["persist-credentials"] != "false" {
			t.Errorf("%+v", s)
		}
	}
	for _, secret := range []string{"head_ref", "head.sha", "head.ref", "pull_request.title", "pull_request.body"} {
		if strings.Contains(text, secret) {
			t.Errorf("it has %s", secret)
		}
	}
	before, after, _ := strings.Cut(text, "  follow:")
	if strings.Contains(before, "secrets.") || strings.Count(after, "secrets.") != 2 {
		t.Errorf("secrets are not those of one step:\n%s", text)
	}
	runs := ""
	for _, s := range follow.Steps {
		runs += s.Run + "\n"
	}
	if combine, reconcile := strings.Index(runs, " combine --once --auto"), strings.Index(runs, " reconcile"); combine < 0 || reconcile < combine {
		t.Errorf("it runs\n%s", runs)
	}
	// Keys are named where there are some, and the index is signed again by each run.
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	_, options, _ := strings.Cut(runs, " combine")
	options, _, _ = strings.Cut(options, "\n")
	for env, want := range map[string]string{"": "--once --auto", "INDEX_KEY=a b": "--once --auto --index-key env:INDEX_KEY", "STORE_KEY=x": "--once --auto --key env:STORE_KEY"} {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", "echo"+options)
		cmd.Env = []string{"STORE_KEY=", "INDEX_KEY=", env}
		if out, err := cmd.Output(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("with %q it runs combine %s: %v", env, out, err)
		}
	}
}

// A project in a store publishes main as a snapshot and tags as candidates, and no other project does.
func TestStoreProject(t *testing.T) {
	for _, in := range []bool{false, true} {
		text := string(workflow(releaseWorkflow, settings{Folder: "ci", Store: in}))
		for _, part := range []string{"branches: [main]", "publish --environment", "'staging' || 'snapshot'", "secrets.STORE_TOKEN"} {
			if strings.Contains(text, part) != in {
				t.Errorf("with a store %t, it has %q: %t", in, part, !in)
			}
		}
	}
	if _, err := Init(t.Context(), Options{Dir: t.TempDir(), Store: "--upload-pack=x"}); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "is not the URL of a git repository") {
		t.Error(err)
	}
}

// TestOwnWorkflow: this repository is released as init says, with its pipeline a package of the one module.
func TestOwnWorkflow(t *testing.T) {
	own, err := os.ReadFile("../../.github/workflows/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	checkPins(t, string(own), 12)
	goVersion := regexp.MustCompile(`go-version: \S+`).FindString(string(own))
	text := strings.NewReplacer(
		"go-version-file: ci/go.mod", goVersion, "go-version-file: again/ci/go.mod", goVersion,
		"go run -C ci .", "go run ./ci", "go run -C again/ci .", "go run -C again ./ci",
	).Replace(string(workflow(releaseWorkflow, settings{Folder: "ci"})))
	want, got := parseWorkflow(t, text), parseWorkflow(t, string(own))
	delete(want.Jobs, "check") // ci.yml is there for pull requests
	for name, job := range want.Jobs {
		if job.If == "github.event_name == 'push'" {
			job.If = ""
			want.Jobs[name] = job
		}
	}
	if !reflect.DeepEqual(got.Jobs, want.Jobs) || !reflect.DeepEqual(got.On.Push, want.On.Push) || got.Concurrency != (concurrency{}) ||
		got.Permissions == nil || len(got.Permissions) > 0 {
		t.Errorf(".github/workflows/release.yml is\n%+v\nand init writes\n%+v", got, want)
	}
}

// TestOwnReproduction: this repository's releases are built again as init says.
func TestOwnReproduction(t *testing.T) {
	own, err := os.ReadFile("../../.github/workflows/reproduce.yml")
	if err != nil {
		t.Fatal(err)
	}
	goVersion := regexp.MustCompile(`go-version: \S+`).FindString(string(own))
	want := strings.NewReplacer(
		"go-version-file: ci/go.mod", goVersion, "go build -C ci -o", "go build -o", "github.com/slipway-build/slipway/cmd/slipway\n", "./cmd/slipway\n",
	).Replace(string(workflow(reproduceWorkflow, settings{Folder: "ci"})))
	if string(own) != want {
		t.Errorf(".github/workflows/reproduce.yml is not what init writes:\n%s", want)
	}
}

// action is action.yml.
func action(t *testing.T) (text string, inputs map[string]struct{ Description, Default string }, steps []step) {
	t.Helper()
	b, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Inputs map[string]struct{ Description, Default string }
		Runs   struct {
			Using string
			Steps []step
		}
	}
	if err := yaml.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 2 {
		t.Fatalf("it is %s, of %d steps", a.Runs.Using, len(a.Runs.Steps))
	}
	return string(b), a.Inputs, a.Runs.Steps
}

// TestAction holds the composite action to what it says.
func TestAction(t *testing.T) {
	text, inputs, steps := action(t)
	checkPins(t, text, 1)
	if uses := steps[0].Uses; !strings.Contains(string(workflow(releaseWorkflow, settings{Folder: "ci"})), uses+" ") {
		t.Errorf("it uses %s, and the workflow another one", uses)
	}
	for name, in := range inputs {
		if in.Description == "" || !strings.Contains(text, "inputs."+name) {
			t.Errorf("input %s is not described or not used", name)
		}
	}
	for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if _, ok := inputs[m[1]]; !ok {
			t.Errorf("there is no input %s", m[1])
		}
	}
	if strings.Contains(steps[1].Run, "${{") {
		t.Errorf("it puts a value into a command: %s", steps[1].Run)
	}
}

// TestActionScript runs what the action runs, with a Go command that tells what it was asked.
func TestActionScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	_, inputs, steps := action(t)
	bin := t.TempDir()
	tell := "#!" + bash + "\nprintf '%s\\n' \"$@\"\nexit \"${GO_EXIT:-0}\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(tell), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		with map[string]string
		want []string
		fail bool
	}{
		{"default", nil, []string{"run", "-C", "./ci", ".", "build"}, false},
		{"arguments", map[string]string{"args": "--targets linux/amd64\n  --dirty\n"}, []string{"run", "-C", "./ci", ".", "build", "--targets", "linux/amd64", "--dirty"}, false},
		{"folder", map[string]string{"command": "publish", "folder": "tools/release it"}, []string{"run", "-C", "./tools/release it", ".", "publish"}, false},
		{"version", map[string]string{"version": "v1.2.3", "args": "--json"}, []string{"run", modulePath + "/ci@v1.2.3", "build", "--json"}, false},
		{
			"hostile",
			map[string]string{"command": "$(touch stolen)", "args": "; touch stolen `touch stolen` * \\"},
			[]string{"run", "-C", "./ci", ".", "$(touch stolen)", ";", "touch", "stolen", "`touch", "stolen`", "*", "\\"},
			false,
		},
		{"failure", map[string]string{"command": "verify"}, []string{"run", "-C", "./ci", ".", "verify"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, output := t.TempDir(), filepath.Join(t.TempDir(), "output")
			// As the runner calls it (https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#defaultsrunshell).
			cmd := exec.Command(bash, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", steps[1].Run)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH"), "GITHUB_OUTPUT=" + output}
			if tt.fail {
				cmd.Env = append(cmd.Env, "GO_EXIT=1")
			}
			for name, value := range steps[1].Env {
				if input := regexp.MustCompile(`^\$\{\{ inputs\.(\S+) \}\}$`).FindStringSubmatch(value); input != nil {
					value = inputs[input[1]].Default
					if with, ok := tt.with[input[1]]; ok {
						value = with
					}
				}
				cmd.Env = append(cmd.Env, name+"="+value)
			}
			out, err := cmd.CombinedOutput()
			if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, tt.want) || (err != nil) != tt.fail {
				t.Errorf("%q, %v\nwant %q", got, err, tt.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it left %v", left)
			}
			said, err := os.ReadFile(output)
			if physical, _ := filepath.EvalSymlinks(dir); err != nil || string(said) != "dist="+dir+"/dist\n" && string(said) != "dist="+physical+"/dist\n" {
				t.Errorf("it says %q", said)
			}
		})
	}
}

func TestPipelineModule(t *testing.T) {
	tests := []struct {
		version, replace string
		want             []string
	}{
		{"v1.2.3", "", []string{"require github.com/slipway-build/slipway v1.2.3"}},
		{"", "", nil},
		{"", "../..", []string{"require github.com/slipway-build/slipway v0.0.0-00010101000000-000000000000", "replace github.com/slipway-build/slipway => ../.."}},
		{"v1.2.3", "a folder", []string{"require github.com/slipway-build/slipway v1.2.3", `replace github.com/slipway-build/slipway => "./a folder"`}},
	}
	for _, tt := range tests {
		b, err := pipelineModule("example.com/x/ci", tt.version, tt.replace)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "re") {
				got = append(got, line)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q %q: %q, want %q", tt.version, tt.replace, got, tt.want)
		}
		if _, err := modfile.Parse("go.mod", b, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestScalar reads back what is written.
func TestScalar(t *testing.T) {
	for _, s := range []string{
		"a", "null", "true", "No", "1.20", "0x1f", "~", "", " a", "a ", "a: b", "a:", "a #b", "#a", "- a", "-", "it's", `say "hi"`, "{{ .X }}", "[a]", "{a}",
		"a, b", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "a\nb", "tab\there", "ü", "\u2028", "\x1b", "https://a.example/b?c=d#e", "./a", "a\\b", "'", "2026-01-01", "=", "<<",
	} {
		var got struct{ K string }
		var n yaml.Node
		if err := yaml.Unmarshal([]byte("k: "+scalar(s)+"\n"), &n); err != nil {
			t.Errorf("%q as %s: %v", s, scalar(s), err)
			continue
		}
		if err := n.Decode(&got); err != nil || got.K != s {
			t.Errorf("%q as %s is %q: %v", s, scalar(s), got.K, err)
		}
	}
}

// TestEncode reads back a configuration that has everything.
func TestEncode(t *testing.T) {
	const text = `version: 1
project: {name: a, title: "A: b", description: "x # y", repository: "https://h.example/a/b", homepage: "https://h.example", license: MIT, vendor: V, tagPrefix: p/, licenseFiles: [L]}
go: 1.26.8
binaries:
  - {name: a, main: ., targets: [linux/amd64, linux/arm/v7, linux/arm64, darwin/arm64, windows/amd64], vars: {main.v: "{{ .Version }}"}, ldflags: [-s], tags: [x], env: {GOEXPERIMENT: jsonv2}}
  - {name: b, main: ./cmd/b, dir: cmd, add: [linux/arm/v6], exclude: [windows/386], builder: "h.example/x@sha256:0000000000000000000000000000000000000000000000000000000000000000"}
archives: {name: "{{ .Project }}", folder: "{{ .Version }}", files: [README.md, docs]}
images:
  - {repository: ghcr.io/a/b, binary: b, distros: [ubi, alpine], default: alpine, exclude: [linux/386], title: T, description: D, path: /b, entrypoint: [/b, "-x y"], cmd: ["true"], env: {A: "1"}, ports: ["80"], volumes: [/v], workdir: /w, files: {/etc/a: b}, labels: {l: "{{ .Tag }}"}}
charts:
  - {path: charts/a, repository: ghcr.io/a/charts, annotations: {k: v}}
packages:
  - {name: a, formats: [deb, snap], binaries: [b], maintainer: "A: B <a@b.example>", summary: S, description: "D\nE", section: net, manuals: ["man/*.1"], completions: {bash: a.bash, zsh: _a}, units: [a.service], files: {/etc/a: b}, depends: {deb: ["cc (>= 1)", dd], rpm: [e]}, test: [version, "-x, y"], snap: {name: s, confinement: classic, plugs: [home], services: none, compression: zstd}, nupkg: {id: A, tags: [t]}, winget: {id: A.B}}
  - {name: b}
download: "https://h.example/{{ .Tag }}"
notes: {changelog: NEWS.md, from: changelog}
signing: {identity: "https://h.example/w@refs/tags/*", issuer: "https://i.example"}
filters: [lfs]
`
	want, err := config.Parse("want", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	encoded := encode(want)
	got, err := config.Parse("want", encoded)
	if err != nil {
		t.Fatalf("%v in\n%s", err, encoded)
	}
	for i := range reflect.TypeFor[config.Config]().NumField() {
		f := reflect.TypeFor[config.Config]().Field(i)
		if !f.IsExported() || f.Name == "Bases" || f.Name == "Mirrors" || f.Name == "Hub" || f.Name == "Test" { // init never has these
			continue
		}
		g, w := reflect.ValueOf(got).Field(i).Interface(), reflect.ValueOf(want).Field(i).Interface()
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s: %+v, want %+v", f.Name, g, w)
		}
	}
	if !bytes.Equal(encoded, encode(got)) {
		t.Error("encoding again gives other bytes")
	}
}
