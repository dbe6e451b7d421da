package reproduce_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pipelineSource is a pipeline that is compiled in a second, also where its whole standard library has to be: it asks this
// test binary, WRITER, for the release. What depends on how it was compiled, the clock, it does itself.
const pipelineSource = `// Command ci is a pipeline for tests; as every pipeline it could call github.com/slipway-build/slipway/pipeline/cli.
package main

import (
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func main() {
	cmd := exec.Command(WRITER, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "SLIPWAY_TEST_YEAR="+strconv.Itoa(time.Now().Year()))
	err := cmd.Run()
	if cmd.ProcessState == nil {
		println("slipway:", err.Error())
		os.Exit(int(fault.Bug))
	}
	if cmd.ProcessState.ExitCode() == 100 { // what hangs is to be this process, which is the one that is interrupted
		time.Sleep(time.Hour)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
`

// year is a variable that the pipeline of all projects sets for writeRelease, and nobody else.
const year = "SLIPWAY_TEST_YEAR"

// writeRelease writes the release that the tests of receivers read, for the pipeline, and returns its exit code. It knows
// the flags that every pipeline knows, and how to fail.
func writeRelease(args []string) int {
	f := flag.NewFlagSet("build", flag.ExitOnError)
	out, tag, since := f.String("out", "dist", ""), f.String("tag", "", ""), f.String("since", "", "")
	f.String("progress", "", "")
	f.String("engine", "auto", "")
	f.String("bases", "locked", "")
	f.Bool("no-cache", false, "")
	fail := func(code int, err error) int {
		fmt.Fprintln(os.Stderr, "slipway:", err)
		return code
	}
	_ = f.Parse(args) // it ends the process
	behave, err := os.ReadFile("behave")
	if err != nil {
		return fail(3, err)
	}
	text := strings.TrimSpace(string(behave))
	if after, ok := strings.CutPrefix(text, "after "); ok && os.Getenv("HOME") != "" {
		// It misbehaves where a rebuild has another time zone, and not where the release was made.
		if os.Getenv("TZ") == "" {
			text = ""
		} else {
			text = after
		}
	}
	source, err := exec.Command("git", "show", "-s", "--format=%H %T %ct", "HEAD").Output()
	if err != nil {
		return fail(3, err)
	}
	var o verifytest.Options
	var sec int64
	if _, err := fmt.Sscan(string(source), &o.Commit, &o.Tree, &sec); err != nil {
		return fail(3, err)
	}
	o.Version, o.Time = strings.TrimPrefix(*tag, "v"), time.Unix(sec, 0).UTC()
	o.EditManifest = func(r *manifest.Release) { r.Since = *since }
	o.Downloads = true
	switch text {
	case "base is gone":
		fmt.Fprintln(os.Stderr, "slipway: base docker.io/library/alpine:3.22@sha256:5291 is nowhere to be had; tried\nslipway: cache: not there")
		return 6
	case "hang":
		if _, err := os.Stat(os.Getenv("HANGS")); err != nil { // the first time
			if err := os.WriteFile(os.Getenv("HANGS"), nil, 0o644); err != nil {
				return fail(4, err)
			}
			return 100
		}
	case "clock":
		o.Edit = func(files map[string][]byte) {
			for p := range files {
				if strings.HasPrefix(p, "sbom/") && strings.HasSuffix(p, ".cdx.json") {
					files[p] = []byte(strings.Replace(string(files[p]), `"serialNumber": "urn:uuid:`, `"serialNumber": "urn:uuid:`+os.Getenv(year), 1))
				}
			}
		}
	}
	if _, err := verifytest.Write(*out, o); err != nil {
		return fail(4, err)
	}
	switch text {
	case "no blobs":
		err = os.RemoveAll(*out + "/images/blobs")
	case "forge": // what is published becomes what is built, which is something else
		o.Edit = func(files map[string][]byte) {
			b := files["binaries/hello_linux_amd64/hello"]
			files["binaries/hello_linux_amd64/hello"] = append(b, 0)
		}
		published := os.Getenv("PUBLISHED")
		_, err = verifytest.Write(*out, o)
		err = errors.Join(err, os.CopyFS(published+".new", os.DirFS(*out)), os.Rename(published, published+".old"), os.Rename(published+".new", published))
	}
	if err != nil {
		return fail(4, err)
	}
	return 0
}

// project is a repository with a pipeline of its own, and the releases that it made.
type project struct {
	t        *testing.T
	repo     string
	releases string
}

// tool is the pipeline of all projects, compiled once.
var tool string

func TestMain(m *testing.M) {
	if os.Getenv(year) != "" {
		os.Exit(writeRelease(os.Args[2:]))
	}
	dir, err := os.MkdirTemp("", "reproduce-*")
	if err != nil {
		panic(err)
	}
	tool = filepath.Join(dir, "pipeline")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// root is the top of this module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	must(t, err)
	return dir
}

func newProject(t *testing.T) *project {
	t.Helper()
	if testing.Short() {
		t.Skip("it compiles a pipeline")
	}
	dir := t.TempDir()
	p := &project{t: t, repo: filepath.Join(dir, "repo"), releases: filepath.Join(dir, "releases")}
	must(t, os.MkdirAll(p.releases, 0o755))
	writer, err := os.Executable()
	must(t, err)
	p.write("ci/main.go", strings.Replace(pipelineSource, "WRITER", strconv.Quote(writer), 1))
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	must(t, err)
	// The pipeline's own go.mod pins everything, this tree included: as one of a released version would its proxy's.
	text := strings.Replace(string(mod), "module github.com/slipway-build/slipway\n", "module example.com/hello/ci\n", 1) +
		"\nrequire github.com/slipway-build/slipway v0.0.0\n\nreplace github.com/slipway-build/slipway => " + root(t) + "\n\ntoolchain " + runtime.Version() + "\n"
	p.write("ci/go.mod", text)
	sums, err := os.ReadFile(filepath.Join(root(t), "go.sum"))
	must(t, err)
	p.write("ci/go.sum", string(sums))
	p.write("behave", "\n")
	p.git("init", "--quiet", "--initial-branch=main")
	p.commit("one")
	return p
}

func (p *project) write(name, text string) {
	p.t.Helper()
	name = filepath.Join(p.repo, name)
	must(p.t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(p.t, os.WriteFile(name, []byte(text), 0o644))
}

func (p *project) git(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", p.repo, "-c", "user.name=Test", "-c", "user.email=test@example.com"}, args...)...)
	if args[0] == "init" {
		cmd = exec.Command("git", "init", "--quiet", "--initial-branch=main", p.repo)
	}
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (p *project) commit(message string) string {
	p.t.Helper()
	p.git("add", "--all")
	p.git("commit", "--quiet", "--message", message)
	return p.git("rev-parse", "HEAD")
}

// release tags the commit and has its pipeline build it, as its owner would.
func (p *project) release(version string) string {
	p.t.Helper()
	p.git("tag", "v"+version)
	if _, err := os.Stat(tool); err != nil {
		// As a rebuild compiles it, which then finds it compiled.
		cmd := exec.Command("go", "build", "-C", filepath.Join(p.repo, "ci"), "-buildvcs=false", "-trimpath", "-o", tool, ".")
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Fatalf("compiling the pipeline: %v\n%s", err, out)
		}
	}
	out := filepath.Join(p.releases, "hello", version)
	cmd := exec.Command(tool, "build", "--out", out, "--tag", "v"+version)
	cmd.Dir, cmd.Env = p.repo, append(os.Environ(), "TZ=")
	if said, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("building %s: %v\n%s", version, err, said)
	}
	return out
}

// options reproduce with everything different but the caches, which would have all be compiled anew.
func (p *project) options(release string) reproduce.Options {
	vary := slices.DeleteFunc(reproduce.Variations(), func(name string) bool { return name == "cache" || name == "modules" || name == "clock" })
	return reproduce.Options{
		Release: release, From: p.releases, Repository: p.repo, Engine: "host", Vary: vary, Work: filepath.Join(p.t.TempDir(), "work"),
		Environ: append(os.Environ(), "TZ="), Tool: "slipway test",
	}
}

// verdict reproduces and wants a verdict, with words that are somewhere in the report.
func (p *project) verdict(o reproduce.Options, want reproduce.Verdict, words ...string) reproduce.Report {
	p.t.Helper()
	var log bytes.Buffer
	o.Log = &log
	r, err := reproduce.Run(p.t.Context(), o)
	var text bytes.Buffer
	must(p.t, r.WriteText(&text))
	if r.Verdict != want || (err == nil) != (want == reproduce.Pass) || err != nil && fault.CodeOf(err) != fault.Mismatch {
		p.t.Fatalf("%s: %s, want %s: %v\n%s%s", o.Release, r.Verdict, want, err, text.String(), log.String())
	}
	for _, w := range words {
		if !strings.Contains(text.String(), w) {
			p.t.Errorf("%s: the report does not say %q\n%s", o.Release, w, text.String())
		}
	}
	return r
}

// TestFind finds one release in every place that there is, and reproduces it.
func TestFind(t *testing.T) {
	p := newProject(t)
	dist := p.release("1.2.3")
	server := httptest.NewServer(serve.New(serve.Options{Root: p.releases}).Handler())
	defer server.Close()
	for n := 0; n < 50; n++ { // it reads the folder when it is first asked
		if list, err := reproduce.Releases(t.Context(), server.URL, os.Getenv); err == nil && len(list) == 1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	here := p.options(dist)
	byVersion := p.options("v1.2.3")
	byServer := p.options("1.2.3")
	byServer.From = server.URL
	byURL := p.options(server.URL + "/releases/hello/1.2.3/")
	github := httptest.NewServer(onGitHub(t, dist, "/owner/hello", "v1.2.3"))
	defer github.Close()
	byPage := p.options(github.URL + "/owner/hello/releases/tag/v1.2.3")
	byHub := p.options("v1.2.3")
	byHub.From = github.URL + "/owner/hello"
	for name, o := range map[string]reproduce.Options{"page": byPage, "repository on GitHub": byHub} {
		p.verdict(o, reproduce.Pass, "by its digest in release.json: this place does not offer it", "ghcr.io/example/hello:1.2.3-alpine")
		if o.Release != "v1.2.3" {
			continue
		}
		o.Release = "v1.2.4"
		if _, err := reproduce.Run(t.Context(), o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: a release that is not there: %v", name, err)
		}
	}
	known := here
	known.Known = func(name, version string, d artifact.Digest) bool {
		return name == "hello" && version == "1.2.3" && d != ""
	}
	if _, err := reproduce.Run(t.Context(), known); !errors.Is(err, reproduce.ErrKnown) {
		t.Errorf("one that was reproduced before: %v", err)
	}
	for name, o := range map[string]reproduce.Options{"folder": here, "version": byVersion, "server": byServer, "URL": byURL} {
		r := p.verdict(o, reproduce.Pass, "tag v1.2.3", "made different: path")
		if name == "folder" {
			inAllForms(t, r)
		}
		if r.Compared() < 40 {
			t.Errorf("%s: %d artifacts were compared", name, r.Compared())
		}
		if r.Manifest == "" || r.Manifest != r.Rebuilt {
			t.Errorf("%s: release.json is %q and %q", name, r.Manifest, r.Rebuilt)
		}
	}
	for release, words := range map[string]string{
		"v9.9.9": "there is no release 9.9.9", "nonsense": "neither a folder nor a URL nor a version", "./nowhere": "no such folder", "": "no release is named",
	} {
		if _, err := reproduce.Run(t.Context(), p.options(release)); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", release, err)
		}
	}
}

// onGitHub has what people download of a release, without folders, and a list of releases.
func onGitHub(t *testing.T, dist, repo, tag string) http.Handler {
	t.Helper()
	m, err := manifest.Load(filepath.Join(dist, manifest.FileName))
	must(t, err)
	assets := map[string]string{manifest.FileName: manifest.FileName}
	for _, name := range m.ListNames() {
		assets[name] = name
	}
	for _, f := range m.Files {
		if format.Offered(m, f) {
			assets[path.Base(f.Path)] = f.Path
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		download := repo + "/releases/download/" + tag + "/"
		name, ok := strings.CutPrefix(r.URL.Path, download)
		switch file := assets[name]; {
		case ok && file != "":
			http.ServeFile(w, r, filepath.Join(dist, filepath.FromSlash(file)))
		case r.URL.Path == "/api/v3/repos"+repo+"/releases":
			fmt.Fprintf(w, `[{"tag_name": %q, "assets": [{"name": "release.json", "browser_download_url": "http://%s%srelease.json"}]}]`, tag, r.Host, download)
		default:
			http.NotFound(w, r)
		}
	})
}

// TestVerdicts has everything go wrong that can, and wants a clear verdict that is no PASS.
func TestVerdicts(t *testing.T) {
	p := newProject(t)
	dist := p.release("1.0.0")
	copied := func(t *testing.T) string {
		to := filepath.Join(t.TempDir(), "dist")
		must(t, os.CopyFS(to, os.DirFS(dist)))
		return to
	}
	edit := func(t *testing.T, dir, pattern string, change func([]byte) []byte) string {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		must(t, err)
		if len(found) == 0 {
			t.Fatalf("no file is called %s", pattern)
		}
		b, err := os.ReadFile(found[0])
		must(t, err)
		must(t, os.WriteFile(found[0], change(b), 0o644))
		rel, err := filepath.Rel(dir, found[0])
		must(t, err)
		return filepath.ToSlash(rel)
	}

	t.Run("a byte of a binary", func(t *testing.T) {
		dir := copied(t)
		name := edit(t, dir, "binaries/*linux_amd64/*", func(b []byte) []byte {
			return bytes.Replace(b, []byte("example.com/hello"), []byte("examqle.com/hello"), 1)
		})
		r := p.verdict(p.options(dir), reproduce.Fail, name, `build info says path "examqle.com/hello" instead of "example.com/hello"`)
		if r.Count(reproduce.Fail) != 2 { // by its digest in the manifest, and by its bytes
			t.Errorf("%d rows failed", r.Count(reproduce.Fail))
		}
	})
	t.Run("a tampered manifest", func(t *testing.T) {
		dir := copied(t)
		reforge(t, dir, func(files map[string][]byte, m *manifest.Release) {
			for i, f := range m.Files {
				if strings.HasPrefix(f.Path, "archives/") {
					b := append(files[f.Path], 0)
					files[f.Path] = b
					m.Files[i].Size, m.Files[i].Digest = int64(len(b)), artifact.Sum(b)
					return
				}
			}
		})
		p.verdict(p.options(dir), reproduce.Fail, "archives/", "1 zero after the end only in the published")
	})
	t.Run("a file more, one less, one renamed", func(t *testing.T) {
		dir := copied(t)
		reforge(t, dir, func(files map[string][]byte, m *manifest.Release) {
			files["packages/more.deb"] = []byte("more")
			m.Files = append(m.Files, artifact.File{Path: "packages/more.deb", Kind: artifact.Package, Size: 4, Digest: artifact.Sum([]byte("more"))})
			for i, f := range m.Files {
				if f.Path == m.Notes {
					m.Files[i].Path = "renamed.md"
					files["renamed.md"] = files[f.Path]
					delete(files, f.Path)
					m.Notes = "renamed.md"
				}
			}
			for i, f := range m.Files {
				if f.Kind == artifact.Recipe && strings.HasSuffix(f.Path, ".rb") {
					delete(files, f.Path)
					m.Files = slices.Delete(m.Files, i, i+1)
					m.Recipes = slices.DeleteFunc(m.Recipes, func(r manifest.Recipe) bool { return r.Path == f.Path })
					break
				}
			}
		})
		p.verdict(p.options(dir), reproduce.Fail, "packages/more.deb", "published, and not built", "renamed.md", "under another name", "built from the commit, and not published")
	})
	t.Run("an extra tag", func(t *testing.T) {
		dir := copied(t)
		reforge(t, dir, func(_ map[string][]byte, m *manifest.Release) {
			m.Images[0].Tags = append(m.Images[0].Tags, "extra")
		})
		p.verdict(p.options(dir), reproduce.Fail, ":extra", "which the commit does not give")
	})
	t.Run("missing from the folder", func(t *testing.T) {
		dir := copied(t)
		must(t, os.RemoveAll(filepath.Join(dir, "charts")))
		p.verdict(p.options(dir), reproduce.Fail, "missing from what was published")
	})
	t.Run("no manifest", func(t *testing.T) {
		dir := copied(t)
		edit(t, dir, "release.json", func([]byte) []byte { return []byte("{}") })
		p.verdict(p.options(dir), reproduce.Fail, "release.json")
	})
	t.Run("a moved tag", func(t *testing.T) {
		p := newProject(t)
		dist := p.release("1.0.0")
		p.write("more.txt", "more\n")
		at := p.commit("two")
		p.git("tag", "--force", "v1.0.0")
		p.verdict(p.options(dist), reproduce.Fail, "the tag was moved", at)
		p.git("tag", "--delete", "v1.0.0")
		p.verdict(p.options(dist), reproduce.Fail, "has no such tag")
	})
	t.Run("a commit that is gone", func(t *testing.T) {
		p := newProject(t)
		dist := p.release("1.0.0")
		p.git("tag", "--delete", "v1.0.0")
		p.git("commit", "--quiet", "--amend", "--message", "other")
		p.git("reflog", "expire", "--expire=now", "--all")
		p.git("gc", "--quiet", "--prune=now")
		p.verdict(p.options(dist), reproduce.Fail, "has no commit")
	})
	t.Run("a vanished base", func(t *testing.T) {
		p := newProject(t)
		p.write("behave", "after base is gone\n")
		p.commit("two")
		dist := p.release("1.0.0")
		p.verdict(p.options(dist), reproduce.Skip, "exit status 6", "is nowhere to be had")
	})
	t.Run("changed by its own pipeline", func(t *testing.T) {
		p := newProject(t)
		p.write("behave", "after forge\n")
		p.commit("two")
		dist := p.release("1.0.0")
		o := p.options(dist)
		o.Environ, o.Pass = append(o.Environ, "PUBLISHED="+dist), []string{"PUBLISHED"}
		p.verdict(o, reproduce.Fail, "binaries/hello_linux_amd64/hello")
	})
	t.Run("nothing behind what the pipeline says", func(t *testing.T) {
		p := newProject(t)
		p.write("behave", "after no blobs\n")
		p.commit("two")
		p.verdict(p.options(p.release("1.0.0")), reproduce.Skip, "is not a whole release", "missing")
	})
	t.Run("another repository than that of the place", func(t *testing.T) {
		server := httptest.NewServer(onGitHub(t, dist, "/owner/hello", "v1.0.0"))
		defer server.Close()
		o := p.options(server.URL + "/owner/hello/releases/tag/v1.0.0")
		o.Repository = ""
		p.verdict(o, reproduce.Fail, "and says that it is of https://example.com/hello")
		o.Release = server.URL + "/owner/hello/releases/download/v1.0.0/"
		o.Verify.Version = "2.0.0"
		o.Repository = p.repo
		p.verdict(o, reproduce.Fail, "2.0.0 is asked for")
	})
	t.Run("a repository that is a program", func(t *testing.T) {
		dir := copied(t)
		reforge(t, dir, func(_ map[string][]byte, m *manifest.Release) { m.Repository = "ext::touch hacked" })
		o := p.options(dir)
		o.Repository = ""
		p.verdict(o, reproduce.Fail, "is cloned only if --repository names it")
	})
	t.Run("a link out of the folder", func(t *testing.T) {
		dir := copied(t)
		secret := filepath.Join(t.TempDir(), "secret")
		must(t, os.WriteFile(secret, []byte("machine example.com password hunter2\n"), 0o600))
		must(t, os.Remove(filepath.Join(dir, "notes.md")))
		must(t, os.Symlink(secret, filepath.Join(dir, "notes.md")))
		r := p.verdict(p.options(dir), reproduce.Fail, "a symbolic link", "missing from what was published")
		if b, err := json.Marshal(r); err != nil || bytes.Contains(b, []byte("hunter2")) {
			t.Errorf("a file that a link leads to is in the report: %v", err)
		}
	})
	t.Run("no repository", func(t *testing.T) {
		o := p.options(dist)
		o.Repository = filepath.Join(t.TempDir(), "nowhere")
		p.verdict(o, reproduce.Skip, "cloning")
	})
	t.Run("an earlier release under the name of this one", func(t *testing.T) {
		o := p.options("1.0.1")
		o.From = t.TempDir()
		must(t, os.CopyFS(filepath.Join(o.From, "hello", "1.0.1"), os.DirFS(dist)))
		if _, err := reproduce.Run(t.Context(), o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("the folder's name was believed: %v", err)
		}
	})
	t.Run("the clock", func(t *testing.T) {
		p := newProject(t)
		p.write("behave", "clock\n")
		p.commit("two")
		o := p.options(p.release("1.0.0"))
		o.Vary = []string{"clock"}
		p.verdict(o, reproduce.Fail, "sbom/", "serialNumber")
	})
}

// reforge changes files and manifest of a release, and makes all of it fit again as a forger would.
func reforge(t *testing.T, dir string, change func(files map[string][]byte, m *manifest.Release)) {
	t.Helper()
	m, err := manifest.Load(filepath.Join(dir, manifest.FileName))
	must(t, err)
	files := map[string][]byte{}
	for _, f := range m.Files {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		must(t, err)
		files[f.Path] = b
	}
	change(files, &m)
	must(t, os.RemoveAll(dir))
	slices.SortFunc(m.Files, func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	raw, err := m.Encode()
	must(t, err)
	files[manifest.FileName] = raw
	for _, l := range m.Lists(artifact.Sum(raw)) {
		files[l.Name] = l.Content
	}
	for name, b := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, b, 0o644))
	}
}

// TestSigned holds a release to who signed it, and then rebuilds it.
func TestSigned(t *testing.T) {
	p := newProject(t)
	dist := p.release("1.2.3")
	ours, err := sign.Generate(sign.Ed25519)
	must(t, err)
	_, err = sign.Release(t.Context(), dist, sign.Options{Signer: ours})
	must(t, err)
	theirs, err := sign.Generate(sign.Ed25519)
	must(t, err)

	o := p.options(dist)
	o.Verify.Keys = []signature.PublicKey{ours.Public()}
	r := p.verdict(o, reproduce.Pass, "may differ: SHA256SUMS.sigstore.json", "may differ: attestations/", "key "+string(ours.Public().Fingerprint()))
	if len(r.Permitted) < 4 {
		t.Errorf("permitted: %v", r.Permitted)
	}
	o.Verify.Keys = []signature.PublicKey{theirs.Public()}
	p.verdict(o, reproduce.Fail, "signature")
	o.Verify.Keys = nil
	p.verdict(o, reproduce.Skip, "no key to check it with")

	t.Run("verdicts", func(t *testing.T) {
		dir := t.TempDir()
		var keys []signature.PublicKey
		for range 2 {
			k, err := sign.Generate(sign.ECDSA)
			must(t, err)
			keys = append(keys, k.Public())
			_, err = reproduce.Attest(r, k, dir)
			must(t, err)
		}
		check := func(want int, believed []signature.PublicKey) error {
			verdicts, err := verify.ReadVerdicts([]string{dir})
			must(t, err)
			_, err = verify.Dist(t.Context(), dist, verify.Options{
				Keys: []signature.PublicKey{ours.Public()}, Rebuilders: verify.Rebuilders{Want: want, Keys: believed, Verdicts: verdicts},
			})
			return err
		}
		// Somebody else's broken file lies in the same folder.
		must(t, os.WriteFile(filepath.Join(dir, "junk"+verify.VerdictSuffix), []byte("{"), 0o600))
		must(t, check(2, keys))
		must(t, check(1, keys[:1]))
		if err := check(2, keys[:1]); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("one rebuilder passed for two: %v", err)
		}
		if err := check(1, []signature.PublicKey{theirs.Public()}); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("a rebuilder whom nobody believes counted: %v", err)
		}
		failed := r
		failed.Verdict = reproduce.Fail
		if _, err := reproduce.Attest(failed, theirs, dir); err == nil {
			t.Error("a verdict was signed over bytes that nobody compared")
		}
		failed.Rows = append(slices.Clone(r.Rows), reproduce.Row{Path: "x", Verdict: reproduce.Fail, Published: r.Manifest, Rebuilt: r.Manifest})
		_, err := reproduce.Attest(failed, theirs, dir)
		must(t, err)
		must(t, check(2, keys)) // not believed
		if err := check(2, append(keys, theirs.Public())); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("a rebuilder who is believed got other bytes, and it passed: %v", err)
		}
		skipped := r
		skipped.Verdict = reproduce.Skip
		if _, err := reproduce.Attest(skipped, ours, dir); err == nil {
			t.Error("there is a verdict over what was not rebuilt")
		}
	})
}

// TestInterrupted ends a reproduction in the middle and goes on.
func TestInterrupted(t *testing.T) {
	p := newProject(t)
	p.write("behave", "after hang\n")
	p.commit("two")
	o := p.options(p.release("1.0.0"))
	hangs := filepath.Join(t.TempDir(), "hangs")
	o.Environ, o.Pass = append(o.Environ, "HANGS="+hangs), []string{"HANGS"}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(hangs); err == nil {
				stop()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	r, err := reproduce.Run(ctx, o)
	if fault.CodeOf(err) != fault.Transient || r.Verdict != "" {
		t.Fatalf("interrupted: %q, %v", r.Verdict, err)
	}
	left := func() (names []string) {
		must(t, filepath.WalkDir(o.Work, func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && filepath.Ext(name) != ".lock" {
				names = append(names, name)
			}
			return err
		}))
		return names
	}
	// What the build has seen is no clean place any more.
	if files := left(); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	p.verdict(o, reproduce.Pass)
	if files := left(); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// inAllForms writes a report in its forms.
func inAllForms(t *testing.T, r reproduce.Report) {
	t.Helper()
	b, err := json.Marshal(r)
	must(t, err)
	var again reproduce.Report
	must(t, json.Unmarshal(b, &again))
	if fmt.Sprint(again) != fmt.Sprint(r) {
		t.Error("the report changed in JSON")
	}
	html, err := r.HTML()
	must(t, err)
	for _, want := range []string{"<svg", "reproduced: ", "hello</bdi> 1.2.3", "PASS"} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("the page has no %q", want)
		}
	}
	hostile := r
	hostile.Name = "<script>alert(1)</script>"
	hostile.Rows = append(slices.Clone(r.Rows), reproduce.Row{Path: "\x1b[2J\u202e<img src=x>", Kind: "binary", Verdict: reproduce.Fail})
	html, err = hostile.HTML()
	must(t, err)
	if bytes.Contains(html, []byte("<script>")) || bytes.Contains(html, []byte("<img")) || bytes.ContainsAny(html, "\x1b\u202e") {
		t.Error("a name of a release is markup")
	}
	var text bytes.Buffer
	must(t, hostile.WriteText(&text))
	if strings.Contains(text.String(), "\x1b") {
		t.Error("a path reaches the terminal as it is")
	}
}

// TestFullDisk reproduces on a disk that becomes full: one of a few megabytes, in a mount namespace of its own.
func TestFullDisk(t *testing.T) {
	const inside = "SLIPWAY_TEST_FULL_DISK"
	if at := os.Getenv(inside); at != "" {
		repo, dist, _ := strings.Cut(at, "\n")
		r, err := reproduce.Run(t.Context(), reproduce.Options{
			Release: dist, Repository: repo, Engine: "host", Vary: []string{"path", "tz"}, Work: filepath.Join(os.Getenv("TMPDIR"), "work"), Environ: os.Environ(),
		})
		fmt.Printf("verdict %s, exit %d: %s\n", r.Verdict, fault.CodeOf(err), r.First())
		return
	}
	without := []string{"--user", "--map-root-user", "--mount"}
	if err := exec.Command("unshare", append(without, "true")...).Run(); err != nil {
		t.Skipf("no mount namespace can be made here: %v", err)
	}
	p := newProject(t)
	dist := p.release("1.0.0")
	room := t.TempDir()
	for _, size := range []string{"64k", "2m"} { // for the clone, for the pipeline
		cmd := exec.Command("unshare", append(without, "sh", "-c",
			`mount -t tmpfs -o size=`+size+` none "$0" && exec "$1" -test.run='^TestFullDisk$'`, room, os.Args[0])...)
		cmd.Env = append(os.Environ(), inside+"="+p.repo+"\n"+dist, "TMPDIR="+room)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "verdict SKIP, exit 5: ") && !strings.Contains(string(out), "verdict , exit ") {
			t.Errorf("with %s: %v\n%s", size, err, out)
		}
		t.Logf("%s: %s", size, out)
		if !strings.Contains(strings.ToLower(string(out)), "no space left") && !strings.Contains(string(out), "disk full") {
			t.Errorf("with %s the reason is not said:\n%s", size, out)
		}
	}
}
