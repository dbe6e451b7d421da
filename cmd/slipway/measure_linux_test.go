package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	masterminds "github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	semver "github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

var (
	measured = flag.String("measure", "", "measure a platform with the programs ci and slipway in this `folder`")
	versions = flag.Int("versions", 500, "tags of each component, and releases of the platform")
	runs     = flag.Int("runs", 3, "runs of each measurement, of which the median is said")
	peer     = flag.String("peer", "", "do once, in this process, what is measured: ranges, masterminds or helm, of the file in -of")
	of       = flag.String("of", "", "`file` of -peer")
)

const measuredComponents = 200

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tagsOf are versions of which each tenth begins a line, as the measured platform and its components have them.
func tagsOf(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("1.%d.%d", i/10, i%10))
	}
	return all
}

// TestMeasurePeer chooses the highest of many versions, for TestMeasure.
func TestMeasurePeer(t *testing.T) {
	if *peer == "" {
		t.Skip("nothing is to be measured: -peer")
	}
	if *peer == "helm" {
		index, err := repo.LoadIndexFile(*of)
		must(t, err)
		for i := range measuredComponents {
			_, err := index.Get(fmt.Sprintf("c%03d", i), ">=1.0.0, <2.0.0")
			must(t, err)
		}
		return
	}
	b, err := os.ReadFile(*of)
	must(t, err)
	best := ""
	switch *peer {
	case "ranges":
		within, err := platform.ParseRange(">=1.0.0 <2.0.0")
		must(t, err)
		var highest semver.Version
		for tag := range strings.Lines(string(b)) {
			if v, err := semver.Parse(strings.TrimSpace(tag)); err == nil && within.Has(v) && (best == "" || v.Compare(highest) > 0) {
				highest, best = v, v.String()
			}
		}
	case "masterminds":
		within, err := masterminds.NewConstraint(">=1.0.0, <2.0.0")
		must(t, err)
		var highest *masterminds.Version
		for tag := range strings.Lines(string(b)) {
			if v, err := masterminds.NewVersion(strings.TrimSpace(tag)); err == nil && within.Check(v) && (highest == nil || v.GreaterThan(highest)) {
				highest, best = v, v.String()
			}
		}
	}
	if best == "" {
		t.Fatal("nothing is chosen")
	}
}

// TestMeasure says how long commands about a large platform take, and how much memory they have at most, for .ci/bench.
func TestMeasure(t *testing.T) {
	if *measured == "" {
		t.Skip("nothing is to be measured: -measure")
	}
	programs, err := filepath.Abs(*measured)
	must(t, err)
	dir, home := t.TempDir(), t.TempDir()
	key, err := sign.Generate(sign.Ed25519)
	must(t, err)
	edge := filepath.Join(dir, "edge")
	must(t, os.MkdirAll(filepath.Join(edge, "risks"), 0o755))
	must(t, os.MkdirAll(filepath.Join(edge, "advisories"), 0o755))
	must(t, os.WriteFile(filepath.Join(edge, "edge.pub"), key.Public().PEM(), 0o600))
	text := "version: 1\nname: edge\nsupport: {minor: 600, major: 600}\ncomponents:\n"
	for i := range measuredComponents {
		text += measuredComponent(t, dir, fmt.Sprintf("c%03d", i), key)
	}
	must(t, os.WriteFile(filepath.Join(edge, "platform.yaml"), []byte(text), 0o600))
	for i := range 40 {
		risk := fmt.Sprintf("version: 1\nname: Risk%03d\nfrom: \"<1.%d.0\"\nto: \"=1.%[2]d.0\"\nmessage: x\nsince: 2026-01-01\n", i, i+1)
		must(t, os.WriteFile(filepath.Join(edge, "risks", fmt.Sprintf("%03d.yaml", i)), []byte(risk), 0o600))
		advisory := fmt.Sprintf("version: 1\nid: EDGE-%03d\naffected: \">=1.%d.0 <1.%[2]d.5\"\nfixed: [1.%[2]d.5]\npublished: 2026-01-01\ndue: 2026-02-01\n", i, i)
		must(t, os.WriteFile(filepath.Join(edge, "advisories", fmt.Sprintf("%03d.yaml", i)), []byte(advisory), 0o600))
	}
	gittest.Git(t, edge, "init", "--quiet", "--initial-branch=main", "--template=", ".")
	gittest.Git(t, edge, "add", "--all")
	gittest.Git(t, edge, "commit", "--quiet", "-m", "edge")

	run := func(what string, count int, program string, args ...string) {
		t.Helper()
		var took, cpu []time.Duration
		var most int
		for range count {
			cmd := exec.Command(program, args...)
			cmd.Dir, cmd.Env = edge, append(gittest.Environ(t), "HOME="+home, "XDG_CACHE_HOME="+home)
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			began, ended := time.Now(), make(chan error, 1)
			must(t, cmd.Start())
			go func() { ended <- cmd.Wait() }()
			for waits := true; waits; {
				select {
				case err := <-ended:
					if waits = false; err != nil {
						t.Fatalf("%s: %v\n%.2000s", what, err, out.String())
					}
				case <-time.After(time.Millisecond): // what the system says at the end has this process in it, which it was until exec
					most = max(most, peak(cmd.Process.Pid))
				}
			}
			took, cpu = append(took, time.Since(began)), append(cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		slices.Sort(took)
		slices.Sort(cpu)
		fmt.Printf("measured %d %-24s %8.3f s %8.3f s of CPU %5d MiB\n", *versions, what, took[len(took)/2].Seconds(), cpu[len(cpu)/2].Seconds(), most>>10)
	}
	ci, slipway := filepath.Join(programs, "ci"), filepath.Join(programs, "slipway")
	run("lock, the first", 1, ci, "platform", "lock")
	run("lock, nothing new", *runs, ci, "platform", "lock")
	run("lock --channel staging", *runs, ci, "platform", "lock", "--channel", "staging")
	run("plan", *runs, ci, "platform", "plan")

	// The releases of the platform.
	b, err := os.ReadFile(filepath.Join(edge, "platform.lock"))
	must(t, err)
	lock, err := platform.ParseLock("platform.lock", b)
	must(t, err)
	def, err := platform.Parse("platform.yaml", []byte(text))
	must(t, err)
	releases, all := filepath.Join(dir, "releases"), tagsOf(*versions)
	for i, v := range all {
		parsed, err := semver.Parse(v)
		must(t, err)
		is := def.Compose(lock)
		is.Version = parsed
		is.Upgrades = &composition.Upgrades{From: fmt.Sprintf(">=1.%d.0", max(0, i/10-3))}
		measuredRelease(t, releases, verifytest.Options{Name: "edge", Version: v, Bare: true}, key, &is)
	}
	private, err := key.PEM(nil)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "edge.key"), private, 0o600))
	run("lifecycle, the first", 1, ci, "platform", "lifecycle", "--releases", releases, "--public-key", "edge.pub", "--key", filepath.Join(dir, "edge.key"))
	run("lifecycle, nothing new", *runs, ci, "platform", "lifecycle", "--releases", releases, "--public-key", "edge.pub", "--key", filepath.Join(dir, "edge.key"))
	first, last := filepath.Join(releases, "edge", all[0]), filepath.Join(releases, "edge", all[len(all)-1])
	run("diff", *runs, slipway, "platform", "diff", first, last, "--key", "edge.pub")
	run("graph", *runs, slipway, "platform", "graph", "lifecycle.json", "--key", "edge.pub")
	run("graph --check", *runs, slipway, "platform", "graph", "lifecycle.json", "--key", "edge.pub", "--check")
	run("support", *runs, slipway, "support", "lifecycle.json", "--key", "edge.pub", "--fresh", "10000")
	run("upgrade", *runs, slipway, "upgrade", "lifecycle.json", "--key", "edge.pub", "--fresh", "10000", "--from", all[0])
	measureServe(t, slipway, releases, edge)

	// Peers choose from as many tags.
	var lines, index strings.Builder
	index.WriteString("apiVersion: v1\nentries:\n")
	for i := range measuredComponents {
		fmt.Fprintf(&index, "  c%03d:\n", i)
		for _, v := range all {
			fmt.Fprintln(&lines, v)
			fmt.Fprintf(&index, "  - {apiVersion: v2, name: c%03d, version: %s, created: \"2026-01-01T00:00:00Z\", digest: %064d, urls: [\"https://releases.example.com/c%03[1]d-%[2]s.tgz\"]}\n", i, v, 0)
		}
	}
	listed, indexed := filepath.Join(dir, "tags"), filepath.Join(dir, "index.yaml")
	must(t, os.WriteFile(listed, []byte(lines.String()), 0o600))
	must(t, os.WriteFile(indexed, []byte(index.String()), 0o600))
	self, err := os.Executable()
	must(t, err)
	run("choose, ranges", *runs, self, "-test.run", "^TestMeasurePeer$", "-peer", "ranges", "-of", listed)
	run("choose, Masterminds", *runs, self, "-test.run", "^TestMeasurePeer$", "-peer", "masterminds", "-of", listed)
	run("choose, Helm's index", 1, self, "-test.run", "^TestMeasurePeer$", "-peer", "helm", "-of", indexed)
}

// measuredComponent makes a repository with its tags and the release of the highest one, and says so as platform.yaml does.
func measuredComponent(t *testing.T, dir, name string, key sign.Key) string {
	at := filepath.Join(dir, name)
	must(t, os.Mkdir(at, 0o755))
	gittest.Git(t, at, "init", "--quiet", "--initial-branch=main", "--template=", ".")
	gittest.Git(t, at, "commit", "--quiet", "--allow-empty", "-m", "one")
	commit := gittest.Git(t, at, "rev-parse", "HEAD")
	refs := "# pack-refs with: peeled fully-peeled sorted \n"
	all := tagsOf(*versions)
	for _, v := range slices.Sorted(slices.Values(all)) {
		refs += commit + " refs/tags/v" + v + "\n"
	}
	must(t, os.WriteFile(filepath.Join(at, ".git", "packed-refs"), []byte(refs), 0o600))
	last := all[len(all)-1]
	measuredRelease(t, filepath.Join(dir, "components"), verifytest.Options{Name: name, Version: last, Commit: commit, Bare: true}, key, nil)
	return fmt.Sprintf("  %s: {repository: ../%s, constraint: \">=1.0.0 <2.0.0\", pin: %s, releases: ../components, key: edge.pub}\n", name, name, last)
}

func measuredRelease(t *testing.T, root string, o verifytest.Options, key sign.Key, is *composition.Platform) {
	if is != nil {
		text, err := is.Encode()
		must(t, err)
		o.Edit = func(files map[string][]byte) { files[composition.FileName] = text }
		o.EditManifest = func(r *manifest.Release) {
			for _, c := range is.Components {
				if in, published := c.Input(); published {
					r.Inputs = append(r.Inputs, manifest.Input(in))
				}
			}
		}
	}
	at := filepath.Join(root, o.Name, o.Version)
	_, err := verifytest.Write(at, o)
	must(t, err)
	_, err = sign.Release(t.Context(), at, sign.Options{Signer: key})
	must(t, err)
}

// peak is the most memory that a process has had, in KiB; 0 for one that has ended.
func peak(pid int) (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); err == nil && ok {
		_, _ = fmt.Sscan(after, &kib)
	}
	return kib
}

// measureServe says when a server is ready, and how long the graph takes whom four ask at once.
func measureServe(t *testing.T, program, releases, edge string) {
	cmd := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--root", releases, "--lifecycle", filepath.Join(edge, "lifecycle.json"), "--lifecycle-key", filepath.Join(edge, "edge.pub"))
	out, err := cmd.StdoutPipe()
	must(t, err)
	began := time.Now()
	must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	said, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	_, at, _ := strings.Cut(strings.TrimSpace(said), " on ")
	for ; ; time.Sleep(5 * time.Millisecond) {
		if res, err := http.Get(at + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(began) > time.Minute {
			t.Fatal("it is not ready after a minute")
		}
	}
	ready := time.Since(began)
	var size int64
	var times []time.Duration
	var mu sync.Mutex
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	for range 4 {
		wg.Go(func() {
			for range 500 {
				asked := time.Now()
				res, err := client.Get(at + "/v1/graph?channel=stable")
				if err != nil {
					t.Error(err)
					return
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK {
					t.Error(res.Status, err)
					return
				}
				mu.Lock()
				times, size = append(times, time.Since(asked)), n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(times)
	if len(times) < 100 {
		t.Fatal("the graph is not answered")
	}
	fmt.Printf("measured %d %-24s %8.3f s  %5d MiB\n", *versions, "serve, ready", ready.Seconds(), peak(cmd.Process.Pid)>>10)
	fmt.Printf("measured %d %-24s %8.2f ms p50, %.2f ms p99, %d bytes\n", *versions, "/v1/graph", float64(times[len(times)/2].Microseconds())/1e3, float64(times[len(times)*99/100].Microseconds())/1e3, size)
}
