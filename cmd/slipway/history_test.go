package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

var history = flag.Bool("history", false, "reproduce a history of five releases with pipelines of two versions; it takes some minutes")

// earlierGo is an earlier release of Go than the one that compiles everything else.
const earlierGo = "1.26.7"

// earlierPipeline is the commit of this repository whose pipeline makes the older releases: the last that wrote plans of the
// first format, and had its packages elsewhere.
const earlierPipeline = "0a03cd737ae0bc70ed4868f4ea66137444c4fb1c"

const pipelineModule = "github.com/slipway-build/slipway"

// times is a history: a repository whose releases were made with pipelines, Go releases and bases of their time.
type times struct {
	t        *testing.T
	dir      string
	repo     string
	releases string
	proxy    string // a module proxy with the versions of the pipeline
	registry string // host:port
	key      sign.Key
	env      []string
	old, new string            // versions of the pipeline
	tools    map[string]string // compiled pipelines by version; "" is the one that is pinned now
	sums     map[string][]byte // go.sum by version of the pipeline
}

func (h *times) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *times) run(dir string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, h.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (h *times) write(name, text string) {
	h.t.Helper()
	name = filepath.Join(h.repo, filepath.FromSlash(name))
	h.must(os.MkdirAll(filepath.Dir(name), 0o755))
	h.must(os.WriteFile(name, []byte(text), 0o644))
}

// today writes this very tree to a folder.
func (h *times) today() string {
	h.t.Helper()
	tree := filepath.Join(h.dir, "today")
	top, err := filepath.Abs("../..")
	h.must(err)
	files := strings.Fields(h.run(top, "git", "ls-files", "--cached", "--others", "--exclude-standard"))
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(top, f))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and that not committed yet
		}
		h.must(err)
		h.must(os.MkdirAll(filepath.Dir(filepath.Join(tree, f)), 0o755))
		h.must(os.WriteFile(filepath.Join(tree, f), b, 0o644))
	}
	return tree
}

// checkout writes the tree of a commit of this repository to a folder. Where the history does not go back to it, the test is
// skipped.
func (h *times) checkout(commit string) string {
	h.t.Helper()
	cmd := exec.Command("git", "cat-file", "-e", commit+"^{commit}")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Skipf("the history does not go back to %.12s, whose pipeline makes the older releases; git fetch --unshallow: %s", commit, out)
	}
	tree := filepath.Join(h.dir, "checkout")
	h.must(os.Mkdir(tree, 0o755))
	packed := tree + ".tar"
	h.run("../..", "git", "archive", "--output", packed, commit)
	h.run(tree, "tar", "-xf", packed)
	h.must(os.Remove(packed))
	return tree
}

// pipeline puts a tree of this repository where the Go command finds modules, and returns the version's name. It ends in a
// digest: the user's module cache, in which it comes to be for a while, must never see two modules under one name.
func (h *times) pipeline(version, tree string) string {
	h.t.Helper()
	sum, err := dirhash.HashDir(tree, "", dirhash.Hash1)
	h.must(err)
	version += "-test." + artifact.Sum([]byte(sum)).Short()
	h.t.Cleanup(func() {
		cache := h.run(".", "go", "env", "GOMODCACHE")
		for _, pattern := range []string{pipelineModule + "@" + version, "cache/download/" + pipelineModule + "/@v/" + version + ".*"} {
			found, err := filepath.Glob(filepath.Join(cache, filepath.FromSlash(pattern)))
			h.must(err)
			for _, name := range found {
				h.must(filepath.WalkDir(name, func(name string, e fs.DirEntry, err error) error {
					if err == nil && e.IsDir() {
						err = os.Chmod(name, 0o755)
					}
					return err
				}))
				h.must(os.RemoveAll(name))
			}
		}
	})
	at := filepath.Join(h.proxy, pipelineModule, "@v")
	h.must(os.MkdirAll(at, 0o755))
	var zip bytes.Buffer
	h.must(modzip.CreateFromDir(&zip, module.Version{Path: pipelineModule, Version: version}, tree))
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	h.must(err)
	h.sums[version], err = os.ReadFile(filepath.Join(tree, "go.sum"))
	h.must(err)
	h.must(os.WriteFile(filepath.Join(at, version+".zip"), zip.Bytes(), 0o644))
	h.must(os.WriteFile(filepath.Join(at, version+".mod"), mod, 0o644))
	h.must(os.WriteFile(filepath.Join(at, version+".info"), fmt.Appendf(nil, `{"Version":%q,"Time":"2026-01-02T03:04:05Z"}`, version), 0o644))
	h.must(os.RemoveAll(tree))
	return version
}

// pin has the repository use a version of the pipeline.
func (h *times) pin(version string) {
	h.t.Helper()
	at := filepath.Join(h.proxy, pipelineModule, "@v", version)
	mod, err := os.ReadFile(at + ".mod")
	h.must(err)
	text := strings.Replace(string(mod), "module "+pipelineModule+"\n", "module example.com/hello/ci\n", 1) +
		"\nrequire " + pipelineModule + " " + version + "\n\ntoolchain " + runtime.Version() + "\n"
	zip, err := dirhash.HashZip(at+".zip", dirhash.Hash1)
	h.must(err)
	modSum, err := goModSum(mod)
	h.must(err)
	h.write("ci/go.mod", text)
	h.write("ci/go.sum", fmt.Sprintf("%s%s %s %s\n%s %s/go.mod %s\n", h.sums[version], pipelineModule, version, zip, pipelineModule, version, modSum))
	h.write("ci/main.go", "// Command ci releases hello.\npackage main\n\nimport (\n\t\"os\"\n\n\t\""+pipelineModule+"/pipeline/cli\"\n)\n\nfunc main() { os.Exit(cli.Main(os.Args[1:])) }\n")
	if h.tools[version] == "" {
		h.tools[version] = filepath.Join(h.dir, "ci-"+version)
		h.run(filepath.Join(h.repo, "ci"), "go", "build", "-o", h.tools[version], ".")
	}
	h.tools[""] = h.tools[version]
}

// base pushes what the tag of the base points at from now on.
func (h *times) base(text string) {
	h.t.Helper()
	var layer bytes.Buffer
	body := "ID=alpine\nVERSION_ID=" + text + "\n"
	tw := tar.NewWriter(&layer)
	h.must(tw.WriteHeader(&tar.Header{Name: "etc/os-release", Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}))
	_, err := tw.Write([]byte(body))
	h.must(err)
	h.must(tw.Close())
	im, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer))
	h.must(err)
	cfg, err := im.ConfigFile()
	h.must(err)
	cfg.OS, cfg.Architecture = "linux", "amd64"
	im, err = mutate.ConfigFile(im, cfg)
	h.must(err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: mutate.MediaType(im, types.OCIManifestSchema1), Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: "linux", Architecture: "amd64"},
	}})
	ref, err := name.ParseReference(h.registry + "/alpine:3.22")
	h.must(err)
	h.must(remote.WriteIndex(ref, mutate.IndexMediaType(index, types.OCIImageIndex)))
}

// release commits what changed, and makes and publishes a release of it as its owner did then.
func (h *times) release(version string) {
	h.t.Helper()
	h.run(h.repo, "git", "add", "--all")
	h.run(h.repo, "git", "commit", "--quiet", "--message", "feat: "+version)
	h.run(h.repo, "git", "tag", "v"+version)
	start := time.Now()
	h.run(h.repo, h.tools[""], "build", "--engine", "host")
	h.t.Logf("built %s in %.1f s", version, time.Since(start).Seconds())
	_, err := sign.Release(h.t.Context(), filepath.Join(h.repo, "dist"), sign.Options{Signer: h.key})
	h.must(err)
	h.run(h.repo, h.tools[""], "publish", "--destinations", filepath.Join(h.dir, "destinations.yaml"))
	h.must(os.RemoveAll(filepath.Join(h.repo, "dist")))
}

// newTimes makes five releases: code, Go release, base and pipeline change between them.
func newTimes(t *testing.T) *times {
	h := &times{t: t, dir: t.TempDir(), tools: map[string]string{}, sums: map[string][]byte{}}
	h.repo, h.releases, h.proxy = filepath.Join(h.dir, "repo"), filepath.Join(h.dir, "releases"), filepath.Join(h.dir, "proxy")
	for _, d := range []string{h.repo, h.releases, h.proxy} {
		h.must(os.MkdirAll(d, 0o755))
	}
	registry := httptest.NewServer(registrytest.New(registrytest.Options{}))
	t.Cleanup(registry.Close)
	h.registry = strings.TrimPrefix(registry.URL, "http://")
	h.env = os.Environ()
	said := h.run(".", "go", "env", "GOPROXY")
	for _, kv := range []string{
		"GOPROXY=file://" + filepath.ToSlash(h.proxy) + "," + said, "GONOSUMDB=" + pipelineModule, "GOFLAGS=-trimpath", "CGO_ENABLED=0", "GOWORK=off", "GOTOOLCHAIN=auto",
		"SLIPWAY_CACHE=" + filepath.Join(h.dir, "cache"), "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com",
	} {
		key, value, _ := strings.Cut(kv, "=")
		t.Setenv(key, value) // for the reproduction, which takes it from the environment
		h.env = append(h.env, kv)
	}
	var err error
	h.key, err = sign.Generate(sign.Ed25519)
	h.must(err)
	h.must(os.WriteFile(filepath.Join(h.dir, "destinations.yaml"), fmt.Appendf(nil, "github: {release: none}\nfolder: %s\n", h.releases), 0o644))

	h.old = h.pipeline("v0.1.0", h.checkout(earlierPipeline))
	h.new = h.pipeline("v0.2.0", h.today())

	config := func(goVersion string) {
		h.write("slipway.yaml", fmt.Sprintf(`version: 1
go: %s
project: {name: hello, repository: https://example.com/owner/hello, license: Apache-2.0}
binaries:
  - {name: hello, main: ., targets: [linux/amd64, windows/amd64], vars: {main.version: "{{ .Version }}"}}
images: [{repository: %s/owner/hello, distros: [alpine]}]
bases: {alpine: %[2]s/alpine:3.22}
charts: [{path: charts/hello}]
signing: {key: hello.pub}
`, goVersion, h.registry))
		h.run(h.repo, h.tools[""], "lock")
	}
	h.run(h.repo, "git", "init", "--quiet", "--initial-branch=main")
	h.write(".gitignore", "/dist/\n")
	h.write("hello.pub", string(h.key.Public().PEM()))
	h.write("LICENSE", "Apache License 2.0\n")
	h.write("go.mod", "module example.com/owner/hello\n\ngo 1.26.0\n")
	h.write("main.go", "// Command hello greets.\npackage main\n\nvar version string\n\nfunc main() { println(\"hello\", version) }\n")
	h.write("charts/hello/Chart.yaml", "apiVersion: v2\nname: hello\ndescription: greets\nversion: 0.0.0\n")
	h.write("charts/hello/values.yaml", "greeting: hello\n")
	h.write("charts/hello/templates/configmap.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  greeting: {{ .Values.greeting | quote }}\n")
	h.pin(h.old)
	h.base("3.22.0")
	config(earlierGo)
	h.release("1.0.0")

	h.write("main.go", "// Command hello greets.\npackage main\n\nimport \"fmt\"\n\nvar version string\n\nfunc main() { fmt.Println(\"hello\", version) }\n")
	h.release("1.0.1")

	config(strings.TrimPrefix(runtime.Version(), "go"))
	h.release("1.1.0")

	h.base("3.22.1")
	config(strings.TrimPrefix(runtime.Version(), "go"))
	h.release("1.2.0")

	h.pin(h.new)
	h.release("2.0.0-rc.1")
	return h
}

// TestHistory reproduces five releases of other times with the tool of today, from their commits alone, and keeps a ledger.
func TestHistory(t *testing.T) {
	if !*history {
		t.Skip("it is run with -history")
	}
	h := newTimes(t)
	server := httptest.NewServer(serve.New(serve.Options{Root: h.releases}).Handler())
	defer server.Close()
	for n := 0; ; n++ { // it reads the folder when it is first asked
		if list, err := reproduce.Releases(t.Context(), server.URL, os.Getenv); err == nil && len(list) == 5 {
			break
		} else if n == 100 {
			t.Fatalf("%d releases: %v", len(list), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	public := filepath.Join(h.dir, "hello.pub")
	h.must(os.WriteFile(public, h.key.Public().PEM(), 0o644))
	all := []string{
		"reproduce", "--all", "--from", server.URL, "--repository", h.repo, "--engine", "host", "--key", public, "--ledger", h.releases, "--json",
		// Other caches, and another clock, would have the Go command compile a thousand packages again; .ci/repro has them.
		"--vary", "path,tz,locale,umask,home,cpus", "--work", filepath.Join(h.dir, "work"),
	}
	var stdout, stderr bytes.Buffer
	start := time.Now()
	code := run(all, &stdout, &stderr)
	took := time.Since(start)
	var reports []reproduce.Report
	if err := json.Unmarshal(stdout.Bytes(), &reports); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	gos, manifests := map[string]bool{}, map[string]bool{}
	for _, r := range reports {
		gos[r.Go], manifests[string(r.Manifest)] = true, true
		if r.Verdict != reproduce.Pass {
			var text bytes.Buffer
			h.must(r.WriteText(&text))
			t.Error(text.String())
			continue
		}
		t.Logf("%s %s: %s, %d artifacts, Go %s, built in %.1f s", r.Name, r.Version, r.Verdict, r.Compared(), r.Go, r.Build)
	}
	if code != 0 || len(reports) != 5 || len(gos) != 2 || len(manifests) != 5 {
		t.Fatalf("exit %d, %d reports, Go releases %v\n%s", code, len(reports), gos, stderr.String())
	}
	t.Logf("five releases in %.1f s", took.Seconds())

	// Once more there is nothing to do, and the ledger says why.
	stdout.Reset()
	stderr.Reset()
	if code := run(all, &stdout, &stderr); code != 0 || strings.TrimSpace(stdout.String()) != "[]" {
		t.Errorf("again: exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
	book, err := ledger.OpenFolder(h.releases).Read(t.Context())
	h.must(err)
	if n := len(book.Latest()); n != 5 {
		t.Errorf("the ledger has %d releases", n)
	}

	h.image()
	h.bundle(server.URL, public)
}

// image reproduces what a registry has under a name, without any manifest of ours.
func (h *times) image() {
	h.t.Helper()
	h.run(h.repo, "git", "checkout", "--quiet", "v1.1.0")
	h.run(h.repo, h.tools[h.old], "build", "--engine", "host")
	_, err := sign.Release(h.t.Context(), filepath.Join(h.repo, "dist"), sign.Options{Signer: h.key})
	h.must(err)
	to := filepath.Join(h.dir, "registry.yaml")
	h.must(os.WriteFile(to, fmt.Appendf(nil, "github: {release: none}\nregistries: {%s/owner: [%[1]s/owner]}\n", h.registry), 0o644))
	h.run(h.repo, h.tools[h.old], "publish", "--destinations", to)
	h.must(os.RemoveAll(filepath.Join(h.repo, "dist")))
	h.run(h.repo, "git", "checkout", "--quiet", "main")
	var stdout, stderr bytes.Buffer
	if code := run([]string{
		"reproduce", "--repository", h.repo, "--engine", "host", "--vary", "tz,path", "--work", filepath.Join(h.dir, "work"), "oci://" + h.registry + "/owner/hello:1.1.0-alpine",
	}, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "PASS: owner/hello 1.1.0") {
		h.t.Errorf("the image: exit %d\n%s%s", code, stdout.String(), stderr.String())
	}

	// The registry is asked beside the folder, and is found out when it has something else under the name.
	folder := []string{
		"reproduce", "--registries", "--repository", h.repo, "--engine", "host", "--vary", "tz", "--key", filepath.Join(h.dir, "hello.pub"),
		"--work", filepath.Join(h.dir, "work"), filepath.Join(h.releases, "hello", "1.1.0"),
	}
	other, err := name.ParseReference(h.registry + "/owner/hello:1.1.0-alpine")
	h.must(err)
	h.must(remote.WriteIndex(other, mutate.IndexMediaType(empty.Index, types.OCIImageIndex)))
	stdout.Reset()
	if code := run(folder, &stdout, &stderr); code != 5 || !strings.Contains(stdout.String(), "the registry has other bytes") {
		h.t.Errorf("with another image in its registry: exit %d\n%s", code, stdout.String())
	}
}

// bundle keeps the oldest release with its Go release and its bases, and reproduces it where there is no network.
func (h *times) bundle(server, public string) {
	h.t.Helper()
	at := filepath.Join(h.dir, "hello.bundle")
	start := time.Now()
	h.t.Log(h.run(h.repo, h.tools[h.new], "vendor", "--from", server, "--repository", h.repo, "--key", public, "--out", at, "--work", filepath.Join(h.dir, "work"), "v1.0.0"))
	h.t.Logf("kept in %.1f s", time.Since(start).Seconds())
	tool := filepath.Join(h.dir, "slipway")
	h.run(".", "go", "build", "-o", tool, ".")
	args := []string{tool, "reproduce", "--bundle", at, "--key", public, "--vary", "path,tz,locale,umask,home,cpus,modules", "--work", filepath.Join(h.dir, "work")}
	without := []string{"unshare", "--user", "--map-root-user", "--net"}
	if err := exec.Command(without[0], append(without[1:], "true")...).Run(); err != nil {
		h.t.Log("no network namespace can be made here, so the bundle is reproduced with proxies that lead nowhere")
		without = []string{"env", "HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1"}
	}
	start = time.Now()
	out := h.run(h.dir, append(without, args...)...)
	if !strings.Contains(out, "PASS: hello 1.0.0") {
		h.t.Errorf("without a network:\n%s", out)
	}
	h.t.Logf("reproduced without a network in %.1f s", time.Since(start).Seconds())
}

// goModSum is what go.sum has for a go.mod.
func goModSum(b []byte) (string, error) {
	dir, err := os.MkdirTemp("", "gomod")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), b, 0o644); err != nil {
		return "", err
	}
	return dirhash.HashDir(dir, "", dirhash.Hash1)
}
