package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// stored is a world with a release store, and what publishes to it.
type stored struct {
	*world
	store *store.Store
	key   sign.Key
	url   string
}

func newStored(t *testing.T) *stored {
	t.Helper()
	key, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	s := &stored{key: key, url: "file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "releases.git"))}
	s.world = newWorld(t, s.dist(t, "1.2.3", ""))
	remote := strings.TrimPrefix(s.url, "file://")
	if out, err := exec.CommandContext(t.Context(), "git", "init", "--quiet", "--bare", "--template=", remote).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	private, err := key.PEM(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "STORE_KEY="+string(private))
	if s.store, err = store.Open(store.Options{Remote: remote, Environ: s.env, Dir: t.TempDir(), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	rules := `version: 1
components:
  hello: {key: keys/release.pub}
stages:
  - {name: snapshot, overwrite: always, current: newest, tags: [snapshot], writers: ["` + string(key.Public().Fingerprint()) + `"]}
  - {name: staging, from: [snapshot, outside], overwrite: if-needed, leaves: [snapshot], tags: [staging]}
  - {name: production, from: [staging], leaves: [staging, snapshot], current: stable, tags: [production, latest, "{major}", "{major}.{minor}"]}
`
	if err := s.store.Init(t.Context(), []byte(rules), map[string][]byte{"release.pub": key.Public().PEM()}); err != nil {
		t.Fatal(err)
	}
	to, err := os.ReadFile(filepath.Join(s.dir, "to.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	served := s.faults.Serve(t, "shelf", http.FileServer(http.Dir(s.shelf)))
	config := helloConfig + "environment: {store: " + s.url + ", enter: snapshot, key: STORE_KEY, url: " + served + "}\npublish:\n" + regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSpace(string(to)), "  ") + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, "slipway.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// dist is a release of the version that the key has signed, of a commit or the usual one.
func (s *stored) dist(t *testing.T, version, commit string) string {
	t.Helper()
	dir := t.TempDir()
	_, err := verifytest.Write(dir, verifytest.Options{Version: version, Commit: commit, EditManifest: func(r *manifest.Release) {
		r.Repository = "https://github.com/example/hello"
		if r.Version.IsStable() {
			r.Images[0].Floating = []string{"latest-alpine", "latest", "1", "1.2"}
		}
	}})
	if err == nil {
		_, err = sign.Release(t.Context(), dir, sign.Options{Signer: s.key})
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// take puts another release into dist.
func (s *stored) take(dist string) {
	s.t.Helper()
	to := filepath.Join(s.dir, "dist")
	if err := os.RemoveAll(to); err != nil {
		s.t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(dist)); err != nil {
		s.t.Fatal(err)
	}
}

// ci runs the command line and wants an exit code.
func (s *stored) ci(code int, args ...string) string {
	s.t.Helper()
	cmd, out := s.command(args...)
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		s.t.Fatalf("ci %q: %v\n%s", args, err, out)
	}
	return out.String()
}

// rules changes the rules of the store.
func (s *stored) rules(change ...string) {
	s.t.Helper()
	work := s.t.TempDir()
	git := func(args ...string) {
		s.t.Helper()
		cmd := exec.CommandContext(s.t.Context(), "git", append([]string{"-c", "user.name=Example", "-c", "user.email=example@example.com"}, args...)...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	git("clone", "--quiet", "--branch", "main", s.url, ".")
	name := filepath.Join(work, environment.RulesFile)
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, []byte(strings.NewReplacer(change...).Replace(string(b))), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	git("commit", "--quiet", "--all", "--message", "rules")
	git("push", "--quiet")
}

func (s *stored) ask(kind environment.Kind, version, to string) {
	s.t.Helper()
	r, err := s.store.Ask(s.t.Context(), environment.Request{Kind: kind, To: to, Why: "a test", Items: []environment.Item{{Component: "hello", Version: version}}}, nil)
	if err != nil || r.Refused() {
		s.t.Fatalf("%+v, %v", r.Outcomes, err)
	}
}

// latest is the tag of what GitHub calls the latest release.
func (s *stored) latest() string {
	s.t.Helper()
	res, err := http.Get(s.urls["github"] + "/repos/example/hello/releases/latest")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var r struct {
		Tag string `json:"tag_name"`
	}
	if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
		s.t.Fatal(err)
	}
	return r.Tag
}

func (s *stored) wants(text string, parts ...string) {
	s.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			s.t.Errorf("there is no %q in\n%s", part, text)
		}
	}
}

// A project with a store: its releases enter as they are published, and names follow the store and nothing else.
func TestStore(t *testing.T) {
	fixture.SkipRace(t)
	s := newStored(t)
	images := s.registries[0]
	tag := func(name string) string { return images.Tag("example/hello", name) }

	s.wants(s.ci(0, "publish", "--dry-run"), "hello 1.2.3 would be added to snapshot")
	// A store that takes nothing leaves a release that is published, and the same command goes on from there.
	hook := filepath.Join(strings.TrimPrefix(s.url, "file://"), "hooks", "pre-receive")
	if err := errors.Join(os.MkdirAll(filepath.Dir(hook), 0o700), os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd, text := s.command("publish")
	if err := cmd.Run(); err == nil || !strings.Contains(text.String(), "the release is published and is not in snapshot of the store; the same command adds it") {
		t.Errorf("%v\n%s", err, text)
	}
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	out := s.ci(0, "publish")
	s.wants(out, "hello 1.2.3: published already", "hello 1.2.3: outside -> snapshot (line 1)",
		"charts, homebrew, scoop: left to the reconcile command", "winget, chocolatey, snap, announce: not before production has this version")
	if tag("1.2.3-alpine") == "" || tag("latest") != "" || tag("latest-alpine") != "" || s.hello.Latest() != "" || len(s.posts.list) > 0 || len(s.tap.Log("main")) > 1 {
		t.Errorf("what moves has moved: %s, %q, %q", images.State(), s.hello.Latest(), s.posts.list)
	}
	if out := s.ci(0, "publish"); strings.Contains(out, "line") {
		t.Error(out)
	}
	s.wants(s.ci(0, "publish", "--status"), "hello 1.2.3")

	// The names follow.
	out = s.ci(5, "reconcile", "--check")
	s.wants(out, s.hosts[0]+"/example/hello:snapshot-alpine is missing and should be "+tag("1.2.3-alpine")[7:19]+": hello 1.2.3 in snapshot (line 1)", "names are not where the store says; the reconcile command moves them")
	if tag("snapshot-alpine") != "" {
		t.Error("a check moves something")
	}
	s.wants(s.ci(0, "reconcile"), s.hosts[0]+"/example/hello:snapshot-alpine: nothing -> ", s.hosts[1]+"/mirror/hello:snapshot-alpine: nothing -> ",
		"hello in production: no version is the current one; charts, taps and buckets keep what they have")
	quiet := func(want string) {
		t.Helper()
		for _, args := range [][]string{{"reconcile"}, {"reconcile", "--check"}} {
			if out := s.ci(0, args...); out != want {
				t.Errorf("%q says %s", args, out)
			}
		}
	}
	quiet("slipway: hello in production: no version is the current one; charts, taps and buckets keep what they have\n")
	if tag("snapshot-alpine") != tag("1.2.3-alpine") || tag("latest") != "" {
		t.Error(images.State())
	}
	s.ask(environment.Promote, "1.2.3", "staging")
	s.ask(environment.Promote, "1.2.3", "production")
	s.wants(s.ci(5, "reconcile", "--check"), "example/homebrew-tap/Formula/hello.rb is missing and should be ", "hello 1.2.3 is missing and should be ")
	s.wants(s.ci(0, "reconcile"), "example/homebrew-tap/Formula/hello.rb -> hello 1.2.3 in production (line 3)", "example/scoop-bucket/bucket/hello.json -> hello 1.2.3 in production (line 3)",
		"hello 1.2.3 -> hello 1.2.3 in production (line 3)")
	quiet("")
	formula := func() string {
		text, _ := s.tap.File("main", "Formula/hello.rb")
		return text
	}
	if !strings.Contains(formula(), "1.2.3") || !strings.Contains(s.pages.State(), "hello-1.2.3.tgz") || s.latest() != "v1.2.3" {
		t.Errorf("%s\n%s\n%s", formula(), s.pages.State(), s.latest())
	}
	for _, name := range []string{"latest-alpine", "production-alpine", "1-alpine", "1.2-alpine", "staging-alpine"} {
		if tag(name) != tag("1.2.3-alpine") {
			t.Errorf("%s is %q", name, tag(name))
		}
	}
	// What offers a version to everybody has waited for that.
	out = s.ci(0, "publish")
	if len(s.posts.list) != 1 || strings.Contains(out, "not before") || strings.Contains(out, "line") {
		t.Errorf("%q\n%s", s.posts.list, out)
	}

	// Indexes of packages are of what is current, and signed.
	site := t.TempDir()
	if err := os.Symlink(s.shelf, filepath.Join(site, "releases")); err != nil {
		t.Fatal(err)
	}
	packages := []string{"reconcile", "--packages", site, "--packages-key", "env:STORE_KEY"}
	s.wants(s.ci(5, append(packages, "--check")...), site+": packages of production: there are none, and should be production as of line 3", "names are not where the store says")
	s.wants(s.ci(0, packages...), site+": packages of snapshot -> snapshot as of line 3", site+": packages of production -> production as of line 3")
	for _, more := range [][]string{nil, {"--check"}} {
		if out := s.ci(0, append(packages, more...)...); out != "" {
			t.Error(out)
		}
	}
	if b, err := os.ReadFile(filepath.Join(site, "dists/production/main/binary-arm64/Packages")); err != nil || !strings.Contains(string(b), "Filename: releases/hello/1.2.3/packages/hello_1.2.3_arm64.deb\n") {
		t.Errorf("%v %s", err, b)
	}
	s.wants(s.ci(2, "reconcile", "--packages", site), "there is no key to sign with")
	other := t.TempDir() // with nothing, where they are brought from the places of the release
	if err := os.Mkdir(filepath.Join(other, "releases"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "RSA_KEY="+string(rsatest.PEM(t, "packages")))
	s.ci(0, "reconcile", "--packages", other, "--packages-key", "env:STORE_KEY", "--packages-key", "env:RSA_KEY", "--fetch")
	if _, err := os.Readlink(filepath.Join(other, "apk/production/x86_64/hello-1.2.3-r0.apk")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"dists/production/InRelease", "rpm/production/repodata/repomd.xml.asc"} {
		want, err := os.ReadFile(filepath.Join(site, name))
		if got, gotErr := os.ReadFile(filepath.Join(other, name)); err != nil || gotErr != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %v\n%s", name, err, gotErr, got)
		}
	}

	// For apk it takes a key of RSA, by itself or as a second one; the same is in a bucket.
	at := s.urls["bucket"] + "/bucket/site"
	if err := fs.WalkDir(os.DirFS(s.shelf), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(s.shelf, name))
		s.bucket.Put("site/releases/"+name, b, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{site, at} {
		second := []string{"reconcile", "--packages", place, "--packages-key", "env:STORE_KEY", "--packages-key", "env:RSA_KEY"}
		s.wants(s.ci(5, append(second, "--check")...), place+": packages of production: ")
		s.wants(s.ci(0, second...), place+": packages of production -> production as of line 3")
		if out := s.ci(0, second...); out != "" {
			t.Error(out)
		}
	}
	for _, name := range []string{"dists/production/InRelease", "rpm/production/repodata/repomd.xml.asc", "apk/production/x86_64/APKINDEX.tar.gz", "apk/production/aarch64/hello-1.2.3-r0.apk"} {
		want, err := os.ReadFile(filepath.Join(site, name))
		if got, _ := s.bucket.Get("site/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	s.wants(s.ci(0, "reconcile", "--packages", at, "--packages-key", "env:RSA_KEY"), "packages of production -> production as of line 3")
	for want, args := range map[string][]string{
		"a bucket sends nobody on to where a release is":                {at, "--packages-key", "env:RSA_KEY", "--fetch"},
		"a second key of packages is one of RSA, for apk":               {at, "--packages-key", "env:RSA_KEY", "--packages-key", "env:STORE_KEY"},
		"environment variable NO_KEY with the private key is not set":   {at, "--packages-key", "env:RSA_KEY", "--packages-key", "env:NO_KEY"},
		"a bucket is https, the host of its service, its name and a pr": {strings.Replace(at, "http://", "http://key:secret@", 1), "--packages-key", "env:RSA_KEY"},
		`bucket "": `:            {s.urls["bucket"], "--packages-key", "env:RSA_KEY"},
		"is not https":           {"http://s3.example.com/bucket", "--packages-key", "env:RSA_KEY"},
		"has no folder releases": {t.TempDir(), "--packages-key", "env:RSA_KEY"},
		"/bucket/elsewhere has no releases/: name a bucket and a prefix": {s.urls["bucket"] + "/bucket/elsewhere", "--packages-key", "env:RSA_KEY"},
		"make the bucket, or name":                                       {s.urls["bucket"] + "/other", "--packages-key", "env:RSA_KEY"},
	} {
		code := 2
		if strings.Contains(want, "is not set") {
			code = int(fault.Credentials)
		}
		out := s.ci(code, append([]string{"reconcile", "--packages"}, args...)...)
		if s.wants(out, want); strings.Contains(out, "key:secret") {
			t.Error(out)
		}
	}

	// What the rules refuse is not published.
	s.take(s.dist(t, "1.2.3", strings.Repeat("b", 40)))
	before := s.state()
	s.wants(s.ci(7, "publish", "--environment", "production"), "production does not take hello 1.2.3", "overwrite: production has other bytes under 1.2.3 and is never changed; give it another version")
	s.wants(s.ci(2, "publish", "--environment", "productoin"), `there is no environment "productoin"; did you mean "production"?`)
	if s.state() != before {
		t.Error("what was refused was published")
	}

	// Where an environment is entered by pull request it is proposed, again by the same branch.
	s.rules("name: production, ", "name: production, enter: pull-request, approvals: {count: 1}, ")
	s.take(s.dist(t, "1.2.4-rc.1", ""))
	s.wants(s.ci(9, "publish", "--environment", "production"), "production does not take hello 1.2.4-rc.1: from: production takes what comes from staging")
	s.rules("from: [staging], ", "from: [staging, outside], ")
	s.wants(s.ci(0, "publish", "--environment", "production", "--dry-run"), "hello 1.2.4-rc.1 would be proposed for production")
	for range 2 {
		s.wants(s.ci(0, "publish", "--environment", "production"), "branch promote/production/hello-1.2.4-rc.1 proposes it for production: open a pull request of it")
	}
	s.rules("from: [staging, outside], ", "from: [staging], ", "enter: pull-request, approvals: {count: 1}, ", "")

	// A rollback takes the names back.
	s.take(s.dist(t, "1.2.4-rc.1", ""))
	s.wants(s.ci(0, "publish", "--environment", "staging"), "hello 1.2.4-rc.1: outside -> staging (line 4)")
	s.ci(0, "reconcile")
	if tag("staging-alpine") != tag("1.2.4-rc.1-alpine") || tag("latest-alpine") != tag("1.2.3-alpine") {
		t.Error(images.State())
	}
	s.ask(environment.Rollback, "1.2.3", "staging")
	s.wants(s.ci(0, "reconcile"), fmt.Sprintf("%s/example/hello:staging-alpine: %s -> %s: hello 1.2.3 in staging, pinned by a rollback (line ", s.hosts[0], tag("1.2.4-rc.1-alpine")[7:19], tag("1.2.3-alpine")[7:19]))

	// So does the tap, and what GitHub calls the latest, whatever is higher.
	first := formula()
	s.take(s.dist(t, "2.0.0", ""))
	s.ci(0, "publish", "--environment", "staging")
	s.ask(environment.Promote, "2.0.0", "production")
	s.ci(0, "reconcile")
	if !strings.Contains(formula(), "2.0.0") || s.latest() != "v2.0.0" {
		t.Errorf("%s\n%s", formula(), s.latest())
	}
	s.ask(environment.Rollback, "1.2.3", "production")
	s.wants(s.ci(5, "reconcile", "--check"), "example/homebrew-tap/Formula/hello.rb: it is of 2.0.0, and should be hello 1.2.3 in production, pinned by a rollback",
		"latest release of example/hello: it is v2.0.0, and should be hello 1.2.3 in production, pinned by a rollback")
	s.ci(0, "reconcile")
	if formula() != first || s.latest() != "v1.2.3" || !strings.Contains(s.pages.State(), "hello-2.0.0.tgz") {
		t.Errorf("%s\n%s\n%s", formula(), s.latest(), s.pages.State())
	}
	quiet("")

	// A place that gives something else than the store and the manifest say is not believed, and tags follow all the same.
	s.ask(environment.Release, "", "production")
	for _, c := range []struct{ file, want string }{
		{"packages/homebrew/Formula/hello.rb", "hello.rb has other bytes than release.json says"},
		{"release.json", "release.json there is "},
	} {
		if err := os.WriteFile(filepath.Join(s.shelf, "hello", "2.0.0", filepath.FromSlash(c.file)), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.wants(s.ci(5, "reconcile"), c.want)
	}
	if formula() != first || tag("latest-alpine") != tag("2.0.0-alpine") {
		t.Errorf("%s\n%s", formula(), images.State())
	}

	// Without a slipway.yaml it is about all that the store has, at the repositories that releases name, which nobody reaches here.
	empty := t.TempDir()
	cmd, text = s.command("reconcile", "--check")
	cmd.Dir = empty
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 2 || !strings.Contains(text.String(), "no store is named") {
		t.Error(text)
	}
}

// stands is all that follows the store.
func (s *stored) stands() string {
	s.t.Helper()
	var tags []string
	for _, r := range s.registries {
		for line := range strings.Lines(r.State()) {
			if strings.Contains(line, " tag ") {
				tags = append(tags, line)
			}
		}
	}
	formula, _ := s.tap.File("main", "Formula/hello.rb")
	cask, _ := s.tap.File("main", "Casks/hello.rb")
	index, _ := s.pages.File("gh-pages", "index.yaml")
	return strings.Join(tags, "") + formula + cask + index + s.latest()
}

// A reconciling that is killed anywhere ends, when it is run again, where one clean run ends; so do two at once.
func TestReconcileKilled(t *testing.T) {
	fixture.SkipRace(t)
	if !fixture.Full {
		t.Skip("kills many processes; what they do is stopped at each request every day, in publish/names")
	}
	s := newStored(t)
	for _, v := range []string{"1.2.3", "2.0.0"} {
		s.take(s.dist(t, v, ""))
		s.ci(0, "publish", "--environment", "staging")
		s.ask(environment.Promote, v, "production")
	}
	s.ci(0, "reconcile")
	above := s.stands()
	s.ask(environment.Rollback, "1.2.3", "production")
	s.faults.Forget()
	s.ci(0, "reconcile")
	below, n := s.stands(), len(s.faults.Seen())
	if above == below {
		t.Fatal("a rollback changes nothing")
	}
	rolled := true
	turn := func() (want string) {
		rolled = !rolled
		if rolled {
			s.ask(environment.Rollback, "1.2.3", "production")
			return below
		}
		s.ask(environment.Release, "", "production")
		return above
	}
	points, step := 0, fixture.Stride(n/4)
	for k, how := range []fixture.Fault{fixture.Kill, fixture.KillAfter} {
		for i := 1 + k*step/2; i <= n; i += step {
			want := turn()
			s.faults.Forget()
			cmd, _ := s.command("reconcile")
			var once sync.Once
			s.faults.Kill = func() { once.Do(func() { _ = cmd.Process.Kill() }) }
			s.faults.Set(fixture.Nth(i, how))
			err := cmd.Run()
			s.faults.Set(nil)
			if err != nil && cmd.ProcessState.ExitCode() != -1 {
				t.Errorf("%s %d: %v", how, i, err)
			}
			s.ci(0, "reconcile")
			if difference := firstDifference(s.stands(), want); difference != "" {
				t.Errorf("%s %d: %s", how, i, difference)
			}
			points++
		}
	}
	t.Logf("%d requests, killed at %d points", n, points)
	want := turn()
	var both [2]*exec.Cmd
	for i := range both {
		both[i], _ = s.command("reconcile")
		if err := both[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range both {
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 6 {
			t.Error(err)
		}
	}
	if out := s.ci(0, "reconcile"); out != "" || s.stands() != want {
		t.Errorf("after two at once: %s%s", out, firstDifference(s.stands(), want))
	}
}
