package cli_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/buckettest"
	"github.com/slipway-build/slipway/pipeline/fixture/githubtest"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/nugettest"
	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/snaptest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// world is everything that a release goes to, on this machine: real git, OCI registries in process, and what stands in
// for the rest.
type world struct {
	t          testing.TB
	faults     *fixture.Faults
	registries []*registrytest.Registry
	hosts      []string
	hub        *githubtest.Hub
	hello, tap *githubtest.Repo
	pages      *gittest.Repo
	feed       *nugettest.Feed
	store      *snaptest.Store
	bucket     *buckettest.Bucket
	shelf      string // a folder
	posts      *posts
	dir        string // of the repository, with dist/
	env        []string
	urls       map[string]string // by the service
}

// posts are what a webhook got.
type posts struct {
	mu   sync.Mutex
	list []string
}

func (p *posts) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, string(b))
}

const helloConfig = `version: 1
project:
  name: hello
  repository: https://github.com/example/hello
  vendor: Example
binaries:
  - name: hello
    main: .
`

// releaseOf writes a signed release of the version to dir.
func releaseOf(t testing.TB, dir, version string, edit func(map[string][]byte)) {
	t.Helper()
	_, err := verifytest.Write(dir, verifytest.Options{Version: version, Edit: edit, EditManifest: func(r *manifest.Release) {
		r.Repository = "https://github.com/example/hello"
		if r.Version.IsStable() {
			major, rest, _ := strings.Cut(version, ".")
			minor, _, _ := strings.Cut(rest, ".")
			r.Images[0].Floating = []string{"latest-alpine", "latest", major, major + "." + minor}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	releasetest.Sign(t, dir)
}

// origin is whose release is published.
type origin struct {
	owner, name string
	tags        map[string]string // commits by tag
	config      string            // slipway.yaml
}

// hello is the project of package verifytest.
func hello() origin {
	p := origin{owner: "example", name: "hello", tags: map[string]string{}, config: helloConfig}
	for _, v := range []string{"v1.2.2", "v1.2.3", "v1.2.4-rc.1", "v2.0.0"} {
		p.tags[v] = "0123456789abcdef0123456789abcdef01234567"
	}
	return p
}

// newWorld is a world that nothing was published to. The release in dist, a folder, is the one to publish there.
func newWorld(t testing.TB, dist string) *world { return newWorldOf(t, hello(), dist) }

func newWorldOf(t testing.TB, p origin, dist string) *world {
	t.Helper()
	w := &world{t: t, faults: &fixture.Faults{}, dir: t.TempDir(), shelf: t.TempDir(), posts: &posts{}, urls: map[string]string{}}
	for i, o := range []registrytest.Options{{Referrers: true}, {User: "robot", Password: "registry-canary", Private: true}} {
		r := registrytest.New(o)
		w.registries = append(w.registries, r)
		w.hosts = append(w.hosts, strings.TrimPrefix(w.faults.Serve(t, fmt.Sprintf("registry %d", i+1), r), "http://"))
	}
	w.hub = githubtest.New()
	w.hello = w.hub.Add(p.owner+"/"+p.name, map[string]string{"README.md": "# Hello\n"})
	for tag, commit := range p.tags {
		w.hello.Tag(tag, commit)
	}
	w.tap = w.hub.Add("example/homebrew-tap", map[string]string{"README.md": "# Tap\n"})
	w.hub.Add("example/scoop-bucket", map[string]string{"README.md": "# Bucket\n"})
	w.hub.Add("microsoft/winget-pkgs", map[string]string{"README.md": "# Packages\n"}).Fork("example/winget-pkgs")
	serve := func(service string, h http.Handler) string {
		w.urls[service] = w.faults.Serve(t, service, h)
		return w.urls[service]
	}
	github := serve("github", w.hub)
	w.pages = gittest.New(t)
	w.pages.Commit("gh-pages", map[string]string{"index.yaml": "apiVersion: v1\nentries: {}\ngenerated: \"2025-01-01T00:00:00Z\"\n"})
	pages := serve("git", w.pages)
	w.feed = &nugettest.Feed{Key: "nuget-canary"}
	feed := serve("nuget", w.feed)
	w.store = &snaptest.Store{Name: p.name}
	store := serve("snap", http.HandlerFunc(w.snaps))
	w.bucket = buckettest.New(buckettest.Options{AccessKey: "access", SecretKey: "bucket-canary"})
	bucket := serve("bucket", w.bucket)
	webhook := serve("webhook", w.posts)

	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("slipway.yaml", p.config)
	write("to.yaml", fmt.Sprintf(`registries:
  ghcr.io/%[9]s: [%[1]s/%[9]s, %[2]s/mirror]
github: {api: %[3]s}
charts: {git: %[4]s/repo.git, url: %[4]s/pages}
homebrew: {repository: https://github.com/example/homebrew-tap, api: %[3]s}
scoop: {repository: https://github.com/example/scoop-bucket, api: %[3]s}
winget: {repository: https://github.com/example/winget-pkgs, api: %[3]s}
chocolatey: {push: %[5]s}
snap: {channels: [latest/stable], api: %[6]s}
folder: %[7]s
bucket: {endpoint: %[8]s, bucket: bucket, prefix: releases}
announce:
  - {kind: generic, url: WEBHOOK}
`, w.hosts[0], w.hosts[1], github, pages, feed, store, w.shelf, bucket, p.owner))
	if err := os.CopyFS(filepath.Join(w.dir, "dist"), os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GITHUB_TOKEN=" + githubtest.Token, "CHOCOLATEY_API_KEY=nuget-canary", "SNAPCRAFT_STORE_CREDENTIALS=" + w.store.Credentials(),
		"AWS_ACCESS_KEY_ID=access", "AWS_SECRET_ACCESS_KEY=bucket-canary", "WEBHOOK=" + webhook + "/hook-canary",
		"SLIPWAY_REGISTRY_" + strings.NewReplacer(".", "_", ":", "_").Replace(w.hosts[1]) + "=robot:registry-canary",
	}
	return w
}

// snaps are all hosts of the Snap Store at one address.
func (w *world) snaps(rw http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/unscanned-upload/":
		r.Header.Del("Authorization")
		w.store.UploadHandler().ServeHTTP(rw, r)
	case r.URL.Path == "/api/v2/tokens/refresh":
		w.store.LoginHandler().ServeHTTP(rw, r)
	case strings.HasPrefix(r.URL.Path, "/v2/snaps/") || strings.HasPrefix(r.URL.Path, "/download/"):
		r.Header.Del("Authorization")
		w.store.PublicHandler().ServeHTTP(rw, r)
	default:
		w.store.ServeHTTP(rw, r)
	}
}

// command is the command line in the world, as a process of its own.
func (w *world) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), exe)
	cmd.Args, cmd.Dir, cmd.Env = append([]string{"ci"}, args...), w.dir, w.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// publish runs publish in the world and returns its exit code and all that it printed.
func (w *world) publish(args ...string) (int, string) {
	w.t.Helper()
	cmd, out := w.command(append([]string{"publish", "--destinations", "to.yaml"}, args...)...)
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// must runs publish and wants it to succeed.
func (w *world) must(args ...string) string {
	w.t.Helper()
	code, out := w.publish(args...)
	if code != 0 {
		w.t.Fatalf("publish %q: exit %d\n%s", args, code, out)
	}
	return out
}

// state is all that the remotes have, but for announcements, which nobody can look at.
func (w *world) state() string {
	w.t.Helper()
	var b strings.Builder
	for i, r := range w.registries {
		fmt.Fprintf(&b, "== registry %d\n%s", i+1, r.State())
	}
	fmt.Fprintf(&b, "== github\n%s== git\n%s== nuget\n%s== snap\n%s== bucket\n%s== folder\n", w.hub.State(), w.pages.State(), w.feed.State(), w.store.State(), w.bucket.State())
	fmt.Fprint(&b, folderState(w.t, w.shelf))
	return b.String()
}

func folderState(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		lines = append(lines, fmt.Sprintf("%s %x", rel, content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// changed are the requests that change something; those that only ask, though by POST, are left out.
func changed(seen []fixture.Seen) []fixture.Seen {
	return slices.DeleteFunc(slices.Clone(seen), func(s fixture.Seen) bool {
		return !s.Changes() || strings.HasSuffix(s.URL, "/git-upload-pack")
	})
}

func TestPublish(t *testing.T) {
	dist := filepath.Join(t.TempDir(), "dist")
	releaseOf(t, dist, "1.2.3", nil)
	w := newWorld(t, dist)
	empty := w.state()
	if out := w.must("--dry-run", "--verbose"); w.state() != empty || !strings.Contains(out, "charts: GIT PUSH ") || !strings.Contains(out, "github: POST ") {
		t.Fatalf("a dry run changed something, or told of nothing:\n%s", out)
	}
	planned := w.must("--dry-run")
	for _, want := range []string{"hello 1.2.3: a dry run, which changed nothing", "0 of ", "publish  hello 1.2.3", "publish  release v1.2.3"} {
		if !strings.Contains(planned, want) || strings.Contains(planned, "PUSH") {
			t.Errorf("a dry run ends with no %q:\n%s", want, planned)
		}
	}
	out := w.must()
	for _, want := range []string{"hello 1.2.3: published (12 destinations)", "\n  docker pull ", "\n  helm install hello oci://", "\n  brew install ", "\n  snap install hello --channel "} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	state := w.state()
	for _, want := range []string{
		"example/hello tag 1.2.3-alpine", "mirror/charts/hello tag 1.2.3", "example/hello tag latest",
		"release v1.2.3", "hello-1.2.3.tgz", "releases/1.2.3/release.json", "hello/1.2.3/release.json",
	} {
		if !strings.Contains(state, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if index, _ := w.pages.File("gh-pages", "index.yaml"); !strings.Contains(index, "version: 1.2.3") {
		t.Errorf("the index of charts is\n%s", index)
	}
	if len(w.posts.list) != 1 || !strings.Contains(w.posts.list[0], `"version":"1.2.3"`) {
		t.Errorf("announced: %q", w.posts.list)
	}
	w.faults.Forget()
	if out := w.must(); !strings.Contains(out, "published already, nothing to do") || len(changed(w.faults.Seen())) > 1 || len(w.posts.list) != 1 {
		t.Errorf("a second time:\n%s\n%v", out, changed(w.faults.Seen()))
	}

	// What was done is told, and no secret with it.
	var receipts publish.Receipts
	b, err := os.ReadFile(filepath.Join(w.dir, "dist", filepath.FromSlash(publish.ReceiptsName)))
	if err == nil {
		err = json.Unmarshal(b, &receipts)
	}
	if err != nil || len(receipts.Destinations) != 12 || receipts.Version != "1.2.3" {
		t.Errorf("receipts of %d destinations, %v", len(receipts.Destinations), err)
	}
	journal, err := os.ReadFile(filepath.Join(w.dir, "dist", filepath.FromSlash(publish.JournalName)))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"canary", w.store.Credentials()} {
		if strings.Contains(out+string(b)+string(journal), secret) {
			t.Errorf("%.20s is told", secret)
		}
	}
	// The folder is still a release, for whoever verifies it.
	cmd, said := w.command("verify", "--allow-unsigned", filepath.Join(w.dir, "dist"))
	cmd.Dir = t.TempDir()
	if err := cmd.Run(); err != nil {
		t.Errorf("verify afterwards: %v\n%s", err, said)
	}
	if out := w.must("--status", "--deep"); !strings.Contains(out, "same") {
		t.Errorf("status says\n%s", out)
	}
	// On another machine, where nobody knows what was done, the remotes tell.
	if err := os.RemoveAll(filepath.Join(w.dir, "dist", publish.Dir)); err != nil {
		t.Fatal(err)
	}
	w.env = slices.DeleteFunc(w.env, func(s string) bool { return strings.HasPrefix(s, "WEBHOOK=") })
	if code, out := w.publish(); code != int(fault.Credentials) || !strings.Contains(out, "WEBHOOK") {
		t.Errorf("without a secret: exit %d\n%s", code, out)
	}
}

var distFlag = flag.String("dist", "", "publish this dist/ to everything on loopback, and look at it with the tools of others")

// TestPublishDist publishes a real release to everything on this machine, twice, and reads it with the tools that people
// use. A tool that is missing is named.
func TestPublishDist(t *testing.T) {
	if *distFlag == "" {
		t.Skip("no release is named with -dist")
	}
	rel, err := publish.Open(*distFlag)
	if err != nil {
		t.Fatal(err)
	}
	m := rel.Manifest
	config, err := os.ReadFile("../../slipway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, origin{owner: "slipway-build", name: "slipway", tags: map[string]string{m.Tag: m.Commit}, config: string(config)}, *distFlag)
	args := []string{}
	if len(m.Unpublishable) > 0 {
		args = append(args, "--allow-unpublishable")
	}
	start := time.Now()
	t.Logf("%s", w.must(args...))
	t.Logf("published in %s with %d requests, %d of which change something", time.Since(start).Round(time.Millisecond), len(w.faults.Seen()), len(changed(w.faults.Seen())))
	w.faults.Forget()
	start = time.Now()
	out := w.must(args...)
	t.Logf("and again in %s with %d requests", time.Since(start).Round(time.Millisecond), len(w.faults.Seen()))
	t.Logf("%s", out)
	if !strings.Contains(out, "nothing to do") {
		t.Errorf("a second time:\n%s", out)
	}

	tool := func(name string, args ...string) string {
		t.Helper()
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("not looked at with %s, which is not here", name)
			return ""
		}
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "HOME="+t.TempDir())
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v\n%s", name, args, err, b)
		}
		return string(b)
	}
	found := 0
	for _, im := range m.Images {
		for _, tag := range im.Tags {
			ref := w.hosts[0] + strings.TrimPrefix(im.Repository, "ghcr.io") + ":" + tag
			raw := tool("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref)
			if raw != "" && artifact.Sum([]byte(raw)) != im.Digest {
				t.Errorf("skopeo sees %s at %s", artifact.Sum([]byte(raw)), ref)
			}
			tool("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "docker://"+ref, "dir:"+t.TempDir())
			found++
		}
	}
	for _, c := range m.Charts {
		repository := "oci://" + w.hosts[0] + strings.TrimPrefix(c.Repository, "ghcr.io")
		tool("helm", "pull", "--plain-http", repository, "--version", c.Version)
		tool("helm", "template", "--kube-version", "1.34.0", "--plain-http", c.Name, repository, "--version", c.Version)
		pages := w.urls["git"] + "/pages"
		tool("helm", "pull", c.Name, "--repo", pages, "--version", c.Version)
		tool("helm", "template", "--kube-version", "1.34.0", c.Name, c.Name, "--repo", pages, "--version", c.Version)
	}
	t.Logf("%d tags looked at; the chart repository's history: %q", found, w.pages.Log("gh-pages"))
	t.Logf("the tap's history: %q", w.tap.Log("main"))
	for _, f := range m.Files {
		if f.Kind != artifact.Archive && f.Kind != artifact.Package {
			continue
		}
		name := strings.ReplaceAll(path.Base(f.Path), "~", ".")
		for _, address := range []string{
			w.urls["github"] + "/slipway-build/slipway/releases/download/" + m.Tag + "/" + name,
		} {
			res, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || artifact.Sum(b) != f.Digest {
				t.Errorf("%s: %d bytes, %v", address, len(b), err)
			}
		}
		b, err := os.ReadFile(filepath.Join(w.shelf, m.Name, m.Version.String(), filepath.FromSlash(f.Path)))
		if err != nil || artifact.Sum(b) != f.Digest {
			t.Errorf("%s in the folder: %v", f.Path, err)
		}
	}
}

// Other bytes under a name that is taken are refused before anything is changed, at whichever destination.
func TestPublishTaken(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "dist"), filepath.Join(t.TempDir(), "dist")
	releaseOf(t, one, "1.2.3", nil)
	releaseOf(t, two, "1.2.3", func(files map[string][]byte) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if strings.HasPrefix(name, "sbom/") {
				files[name] = append(slices.Clone(files[name]), '\n')
			}
		}
	})
	w := newWorld(t, one)
	w.must()
	before := w.state()
	if err := os.RemoveAll(filepath.Join(w.dir, "dist")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(w.dir, "dist"), os.DirFS(two)); err != nil {
		t.Fatal(err)
	}
	w.faults.Forget()
	code, out := w.publish()
	if code != int(fault.Conflict) || !strings.Contains(out, "nothing was changed anywhere") || w.state() != before {
		t.Errorf("exit %d\n%s", code, out)
	}
	if c := changed(w.faults.Seen()); len(c) > 0 {
		t.Errorf("requests that change something: %v", c)
	}
}

// What was checked once is hashed afterwards, but not where somebody else is believed since: a key was revoked.
func TestPublishRevoked(t *testing.T) {
	dist := filepath.Join(t.TempDir(), "dist")
	releaseOf(t, dist, "1.2.3", nil)
	ours, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), dist, sign.Options{Signer: ours}); err != nil {
		t.Fatal(err)
	}
	p := hello()
	p.config += "signing: {key: ours.pub}\n"
	w := newWorldOf(t, p, dist)
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("ours.pub", string(ours.Public().PEM()))
	w.must()
	put("slipway.yaml", p.config+"trust: [{key: ours.pub, revoked: 2026-03-01, reason: stolen}]\n")
	w.faults.Forget()
	code, out := w.publish()
	if code != int(fault.Mismatch) || !strings.Contains(out, "was revoked on 2026-03-01: stolen") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if c := changed(w.faults.Seen()); len(c) > 0 {
		t.Errorf("requests that change something: %v", c)
	}
}

// A destination that is down keeps everything from being public, and the next run does what is left.
func TestPublishOneIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes once for each destination")
	}
	dist := filepath.Join(t.TempDir(), "dist")
	releaseOf(t, dist, "1.2.3", nil)
	clean := newWorld(t, dist)
	clean.must()
	want := clean.state()
	// Those where something is staged fail then; the others when they are looked at.
	stages, others := []string{"registry 1", "registry 2", "github", "bucket"}, []string{"git", "nuget", "snap"}
	if !fixture.Full { // one of each kind
		stages, others = stages[2:], others[:1]
	}
	for _, down := range slices.Concat(stages, others) {
		w := newWorld(t, dist)
		w.faults.Set(func(_ int, service string, r *http.Request) fixture.Fault {
			reads := r.Method == http.MethodGet || r.Method == http.MethodHead
			if service == down && !(reads && slices.Contains(stages, down)) {
				return fixture.Unauthorized // for good, so that nobody waits
			}
			return fixture.None
		})
		code, out := w.publish()
		if code != int(fault.Credentials) && code != int(fault.Transient) {
			t.Errorf("%s is down: exit %d\n%s", down, code, out)
		}
		for _, public := range []string{" tag 1.2.3", "draft=false", "formula", "release.json sha256", "hello/1.2.3/release.json"} {
			if strings.Contains(w.state(), public) {
				t.Errorf("%s is down, and there is %q", down, public)
			}
		}
		// The others are staged, where it was not known before.
		if staged := strings.Contains(w.state(), "releases/1.2.3/archives/") || strings.Contains(w.state(), " manifest sha256"); staged != slices.Contains(stages, down) {
			t.Errorf("%s is down, and something else is staged: %v", down, staged)
		}
		w.faults.Set(nil)
		w.must()
		if w.state() != want {
			t.Errorf("%s was down: another state than after a clean run", down)
		}
	}
}

// A candidate moves nothing that people follow, and a backport only what is its own.
func TestPublishOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes four releases")
	}
	dist := func(version string) string {
		dir := filepath.Join(t.TempDir(), "dist")
		releaseOf(t, dir, version, nil)
		return dir
	}
	w := newWorld(t, dist("1.2.2"))
	w.must()
	digests := map[string]string{"1.2.2": w.registries[0].Tag("example/hello", "1.2.2-alpine")}
	for _, v := range []string{"2.0.0", "1.2.3", "1.2.4-rc.1"} {
		if err := os.RemoveAll(filepath.Join(w.dir, "dist")); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(w.dir, "dist"), os.DirFS(dist(v))); err != nil {
			t.Fatal(err)
		}
		w.must()
		digests[v] = w.registries[0].Tag("example/hello", v+"-alpine")
	}
	for tag, v := range map[string]string{"latest": "2.0.0", "latest-alpine": "2.0.0", "2": "2.0.0", "1": "1.2.3", "1.2": "1.2.3", "1.2.4-rc.1-alpine": "1.2.4-rc.1"} {
		for i, repo := range []string{"example/hello", "mirror/hello"} {
			if got := w.registries[i].Tag(repo, tag); got == "" || got != digests[v] {
				t.Errorf("%s:%s is %s and not that of %s", repo, tag, got, v)
			}
		}
	}
	formula, _ := w.tap.File("main", "Formula/hello.rb")
	if !strings.Contains(formula, "2.0.0") || strings.Contains(formula, "1.2.3") {
		t.Errorf("the tap has\n%s", formula)
	}
	if got := w.hello.Latest(); got != "v2.0.0" {
		t.Errorf("the latest release on GitHub is %s", got)
	}
	index, _ := w.pages.File("gh-pages", "index.yaml")
	for _, v := range []string{"1.2.2", "1.2.3", "1.2.4-rc.1", "2.0.0"} {
		if !strings.Contains(index, "version: "+v) {
			t.Errorf("the index of charts has no %s", v)
		}
	}
}

// A version is published by a workflow, a release that is not for publishing by nobody, and anything to this machine.
func TestPublishPolicies(t *testing.T) {
	dist := filepath.Join(t.TempDir(), "dist")
	releaseOf(t, dist, "1.2.3", nil)
	w := newWorld(t, dist)
	far := "registries: {ghcr.io/example: [registry.example.com/example]}\ngithub: {release: none}\n"
	if err := os.WriteFile(filepath.Join(w.dir, "to.yaml"), []byte(far), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := w.publish(); code != int(fault.Policy) || !strings.Contains(out, "policy ci: ") {
		t.Errorf("by a person: exit %d\n%s", code, out)
	}
	unpublishable := filepath.Join(t.TempDir(), "dist")
	if _, err := verifytest.Write(unpublishable, verifytest.Options{
		Unpublishable: []string{"it was built from a dirty tree"},
		EditManifest:  func(r *manifest.Release) { r.Repository = "https://github.com/example/hello" },
	}); err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, unpublishable)
	if code, out := w.publish(); code != int(fault.Policy) || !strings.Contains(out, "dirty tree") || len(changed(w.faults.Seen())) > 0 {
		t.Errorf("from a dirty tree: exit %d\n%s", code, out)
	}
	w.must("--allow-unpublishable")
}

// A publishing that is killed anywhere ends, when it is run again, where one clean run ends.
func TestPublishKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills many processes")
	}
	dist := filepath.Join(t.TempDir(), "dist")
	releaseOf(t, dist, "1.2.3", nil)
	clean := newWorld(t, dist)
	clean.must()
	want, n := clean.state(), len(clean.faults.Seen())
	step := fixture.Stride(n / 3)
	var different atomic.Int64
	t.Run("at", func(t *testing.T) {
		for k, how := range []fixture.Fault{fixture.Kill, fixture.KillAfter} {
			for i := 1 + k*step/2; i <= n; i += step {
				t.Run(fmt.Sprintf("%s %d", how, i), func(t *testing.T) {
					t.Parallel()
					if difference := killAt(t, dist, how, i, want); difference != "" {
						different.Add(1)
						t.Errorf("of %d requests: another state:\n%s", n, difference)
					}
				})
			}
		}
	})
	t.Logf("%d requests, killed at every %d of them before and after: %d differences", n, step, different.Load())
}

// killAt kills a publishing at a request, runs it again and returns how the end differs from the state that is wanted.
func killAt(t *testing.T, dist string, how fixture.Fault, i int, want string) string {
	w := newWorld(t, dist)
	cmd, out := w.command("publish", "--destinations", "to.yaml")
	var once sync.Once
	w.faults.Kill = func() { once.Do(func() { _ = cmd.Process.Kill() }) }
	w.faults.Set(fixture.Nth(i, how))
	// The order of requests is not that of the clean run, so this one may have fewer and get to its end.
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("%v\n%s", err, out)
	}
	w.faults.Set(nil)
	// Half of the time on another machine, which has the release and knows nothing else.
	elsewhere := i%2 == 0
	if elsewhere {
		if err := os.RemoveAll(filepath.Join(w.dir, "dist", publish.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	w.must()
	if n := len(w.posts.list); n > 1 && !elsewhere {
		t.Errorf("announced %d times", n)
	}
	return firstDifference(w.state(), want)
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		switch {
		case i >= len(x):
			return "missing " + y[i]
		case i >= len(y):
			return "too much " + x[i]
		case x[i] != y[i]:
			return x[i] + "\ninstead of\n" + y[i]
		}
	}
	return ""
}
