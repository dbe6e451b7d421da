package assemble_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/assemble"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// pipelineSource is the pipeline of a component, which asks this test binary for the release. As every pipeline it has the words
// github.com/slipway-build/slipway/pipeline/cli.
const pipelineSource = `package main

import (
	"os"
	"os/exec"
)

func main() {
	cmd := exec.Command(WRITER, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "SLIPWAY_TEST_PIPELINE=1")
	if cmd.Run() != nil {
		os.Exit(1)
	}
}

// github.com/slipway-build/slipway/pipeline/cli
`

// workVariable has this binary build a platform, as JSON of work says, and be killed.
const workVariable = "SLIPWAY_TEST_PLATFORM"

type work struct{ Dir string }

func TestMain(m *testing.M) {
	if os.Getenv("SLIPWAY_TEST_PIPELINE") != "" {
		if err := pipeline(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "slipway:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// pipeline is what the pipeline of each component does: it writes a release of the commit, or what the file behave says.
func pipeline(args []string) error {
	f := flag.NewFlagSet("build", flag.ExitOnError)
	out, tag, config := f.String("out", "", ""), f.String("tag", "", ""), f.String("config", "slipway.yaml", "")
	f.String("progress", "", "")
	f.String("engine", "", "")
	_ = f.Parse(args) // it ends the process
	for _, kv := range os.Environ() {
		if strings.Contains(kv, "hunter2") {
			return fmt.Errorf("a secret is here: %s", kv)
		}
	}
	b, err := os.ReadFile(*config)
	if err != nil {
		return err
	}
	_, name, _ := strings.Cut(string(b), "name: ")
	name, _, _ = strings.Cut(name, "\n")
	id, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return err
	}
	o := verifytest.Options{Name: name, Commit: strings.TrimSpace(string(id)), Bare: true}
	o.Version = (*tag)[strings.LastIndex(*tag, "v")+1:]
	if *tag == "" {
		o.Version = "0.0.1-snapshot.1.g" + o.Commit[:12]
	}
	behave, _ := os.ReadFile("behave")
	switch strings.TrimSpace(string(behave)) {
	case "fail":
		return errors.New("it does not compile")
	case "another name":
		o.Name = "another"
	case "another version":
		o.Version = "9.9.9"
	case "another commit":
		o.Commit = strings.Repeat("ab", 20)
	case "nothing":
		return nil
	}
	_, err = verifytest.Write(*out, o)
	return err
}

// world is a platform: gateway and web need proto, gateway and proto are of one repository, and web of another.
type world struct {
	t   *testing.T
	dir string
	key sign.Key
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("it compiles pipelines")
	}
	w := &world{t: t, dir: t.TempDir()}
	var err error
	w.key, err = sign.Generate(sign.Ed25519)
	w.must(err)
	w.write("acme.pub", string(w.key.Public().PEM()))
	w.must(os.MkdirAll(filepath.Join(w.dir, "releases"), 0o755))
	writer, err := os.Executable()
	w.must(err)
	for _, repo := range []string{"mono", "web"} {
		w.write(repo+"/ci/main.go", strings.Replace(pipelineSource, "WRITER", strconv.Quote(writer), 1))
		w.write(repo+"/ci/go.mod", "module example.com/ci\n\ngo "+strings.TrimPrefix(runtime.Version(), "go")+"\n")
		w.git(repo, "init", "--quiet", "--initial-branch=main", "--template=", ".")
	}
	w.write("mono/services/gateway/slipway.yaml", "version: 1\nproject:\n  tagPrefix: gateway/\n  name: gateway\n")
	w.write("mono/proto/slipway.yaml", "version: 1\nproject:\n  tagPrefix: proto/\n  name: proto\n")
	w.write("web/slipway.yaml", "version: 1\nproject:\n  name: web\n")
	w.commit("mono", "gateway/v1.4.2", "proto/v0.9.3")
	w.commit("web", "v3.0.0")
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	name = filepath.Join(w.dir, filepath.FromSlash(name))
	w.must(os.MkdirAll(filepath.Dir(name), 0o755))
	w.must(os.WriteFile(name, []byte(text), 0o600))
}

func (w *world) git(repo string, args ...string) string {
	w.t.Helper()
	return gittest.Git(w.t, filepath.Join(w.dir, repo), args...)
}

func (w *world) commit(repo string, tags ...string) string {
	w.t.Helper()
	w.git(repo, "add", "--all")
	w.git(repo, "commit", "--quiet", "--allow-empty", "-m", "feat: more")
	for _, tag := range tags {
		w.git(repo, "tag", "-f", tag)
	}
	return w.git(repo, "rev-parse", "HEAD")
}

// release publishes a component.
func (w *world) release(name, v, commit string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "releases", name, v)
	_, err := verifytest.Write(dir, verifytest.Options{Name: name, Version: v, Commit: commit, Bare: true})
	w.must(err)
	_, err = sign.Release(w.t.Context(), dir, sign.Options{Signer: w.key})
	w.must(err)
}

func (w *world) options(channel platform.Channel) assemble.Options {
	w.t.Helper()
	return optionsOf(w.t, w.dir, channel)
}

func optionsOf(t *testing.T, dir string, channel platform.Channel) assemble.Options {
	t.Helper()
	p, err := platform.Parse("platform.yaml", []byte(`version: 1
name: edge
components:
  gateway: {repository: mono, tagPrefix: gateway/, pin: 1.4.2, releases: releases, key: acme.pub, needs: {proto: ">=0.9.0"}}
  proto: {repository: mono, tagPrefix: proto/, pin: 0.9.3, releases: releases, key: acme.pub}
  web: {repository: web, pin: 3.0.0, releases: releases, key: acme.pub, needs: {proto: ">=0.9.0"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	o := assemble.Options{Out: filepath.Join(dir, "built"), Engine: "host", Options: resolve.Options{
		Platform: p, Dir: dir, Channel: channel,
		Environ: append(gittest.Environ(t, os.Environ()...), "GITHUB_TOKEN=hunter2", "SLIPWAY_KEY=hunter2", "AWS_SECRET_ACCESS_KEY=hunter2"),
	}}
	if o.Before, err = resolve.Lock(t.Context(), o.Options); err != nil {
		t.Fatal(err)
	}
	return o
}

// run is how all components stand after a run, and what was begun.
func run(t *testing.T, o assemble.Options) (states string, steps []string) {
	t.Helper()
	o.Step = func(component, what string) {
		if what == "cloning" {
			steps = append(steps, component)
		}
	}
	all, err := assemble.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range all {
		line := c.Name + " " + string(c.State)
		if c.After != "" {
			line += " after " + c.After
		}
		if c.Err != nil {
			line += ": " + c.Err.Error()
		}
		if c.State == assemble.Built {
			if _, err := os.Stat(filepath.Join(c.Dist, "release.json")); err != nil {
				t.Error(err)
			}
			line += " " + c.Version
		}
		lines = append(lines, line)
	}
	left, err := filepath.Glob(filepath.Join(o.Out, ".work-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
	return strings.Join(lines, "\n"), steps
}

// What is published is left alone, what is missing is built once, and what cannot be built keeps nothing else from it but what needs it.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.write("web/behave", "fail")
	w.commit("web", "v3.0.0")
	o := w.options(platform.Stable)
	got, steps := run(t, o)
	want := "proto built 0.9.3\ngateway built 1.4.2\nweb failed: building: exit status 1: it does not compile; all that its pipeline said is in " + filepath.Join(o.Out, "web.log")
	if got != want || strings.Join(steps, " ") != "proto gateway web" {
		t.Errorf("%q, want %q; %q", got, want, steps)
	}
	// It looks first, and so does nothing again; what was damaged, or is of another commit, is built anew.
	w.must(os.WriteFile(filepath.Join(o.Out, "gateway", "SHA256SUMS"), nil, 0o600))
	w.must(os.Remove(filepath.Join(w.dir, "web", "behave")))
	w.commit("web", "v3.0.0")
	o = w.options(platform.Stable)
	if got, steps := run(t, o); got != "proto built 0.9.3\ngateway built 1.4.2\nweb built 3.0.0" || strings.Join(steps, " ") != "gateway web" {
		t.Errorf("%q, %q", got, steps)
	}
	// What is published meanwhile is not built, and is found although the lock does not have it.
	w.must(os.RemoveAll(o.Out))
	w.release("proto", "0.9.3", o.Before.Components["proto"].Commit)
	if got, steps := run(t, o); got != "proto published\ngateway built 1.4.2\nweb built 3.0.0" || strings.Join(steps, " ") != "gateway web" {
		t.Errorf("%q, %q", got, steps)
	}
	// Channel dev has snapshots, whatever is tagged.
	got, _ = run(t, w.options(platform.Dev))
	for _, name := range []string{"proto", "gateway", "web"} {
		if !strings.Contains(got, name+" built 0.0.1-snapshot.1.g") {
			t.Errorf("%q has no snapshot of %s", got, name)
		}
	}
}

// A pipeline that ends well and has written another release than was asked for has built nothing.
func TestOtherThanAsked(t *testing.T) {
	w := newWorld(t)
	for behave, want := range map[string]string{
		"another name":    "what it wrote is not what was asked for: it is a release of another",
		"another version": "what it wrote is not what was asked for: it is release 9.9.9",
		"another commit":  "what it wrote is not what was asked for: it is a release of commit abababababab",
		"nothing":         "what it wrote is not what was asked for: ",
	} {
		w.write("mono/behave", behave)
		w.commit("mono", "gateway/v1.4.2", "proto/v0.9.3")
		o := w.options(platform.Stable)
		got, _ := run(t, o)
		if !strings.Contains(got, want) || !strings.Contains(got, "gateway skipped after proto\nweb skipped after proto") {
			t.Errorf("%s: %q, want %q", behave, got, want)
		}
		if _, err := os.Stat(filepath.Join(o.Out, "proto")); err == nil {
			t.Errorf("%s: it is there", behave)
		}
	}
	w.must(os.Remove(filepath.Join(w.dir, "mono", "behave")))
	w.must(os.Remove(filepath.Join(w.dir, "mono", "proto", "slipway.yaml")))
	w.commit("mono", "gateway/v1.4.2", "proto/v0.9.3")
	if got, _ := run(t, w.options(platform.Stable)); !strings.HasPrefix(got, `proto failed: no slipway.yaml in the commit is of a project proto with tagPrefix "proto/"`) {
		t.Error(got)
	}
}

// Whenever it is killed, before or after any git or Go command that it runs, the same call ends as one that nobody kills.
func TestKilled(t *testing.T) {
	if text := os.Getenv(workVariable); text != "" {
		var j work
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		run(t, optionsOf(t, j.Dir, platform.Stable))
		return
	}
	fixture.SkipRace(t)
	if runtime.GOOS == "windows" {
		t.Skip("what kills is a script")
	}
	w := newWorld(t)
	points := 0
	for _, when := range []string{"before", "after"} {
		for at, ended := 1, false; !ended; at += fixture.Stride(6) {
			w.must(os.RemoveAll(filepath.Join(w.dir, "built")))
			bin := t.TempDir()
			for _, name := range []string{"git", "go"} {
				real, err := exec.LookPath(name)
				w.must(err)
				script := fmt.Sprintf("#!/bin/sh\nn=$(cat '%[1]s/n' 2>/dev/null || echo 0); n=$((n+1)); echo $n > '%[1]s/n'\n"+
					"[ $n != %[2]d ] || [ %[3]s != before ] || { kill -9 $PPID; exit 1; }\n'%[4]s' \"$@\"; r=$?\n"+
					"[ $n != %[2]d ] || [ %[3]s != after ] || kill -9 $PPID\nexit $r\n", bin, at, when, real)
				w.must(os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
			}
			text, err := json.Marshal(work{w.dir})
			w.must(err)
			cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
			cmd.Env = append(os.Environ(), workVariable+"="+string(text), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if ended = err == nil; !ended {
				if cmd.ProcessState.ExitCode() != -1 {
					t.Fatalf("%s command %d: %v\n%s", when, at, err, out)
				}
				points++
			}
			if got, _ := run(t, w.options(platform.Stable)); got != "proto built 0.9.3\ngateway built 1.4.2\nweb built 3.0.0" {
				t.Fatalf("killed %s command %d: %q", when, at, got)
			}
		}
	}
	if points < 4 {
		t.Errorf("it was killed %d times", points)
	}
	t.Logf("killed %d times", points)
}
