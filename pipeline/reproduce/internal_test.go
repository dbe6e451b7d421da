package reproduce

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// TestOverlay finds the clock of the Go release that compiles this, and sets it ahead.
func TestOverlay(t *testing.T) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSpace(string(out))
	dir := t.TempDir()
	name, err := overlay(dir, root, years)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &doc); err != nil || len(doc.Replace) != 1 {
		t.Fatalf("%s: %v", b, err)
	}
	for _, file := range doc.Replace {
		b, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(b, []byte("\n\tsec += 94608000\n")) {
			t.Errorf("the clock is as it was: %v", err)
		}
	}
	if _, err := overlay(dir, t.TempDir(), years); err != errClock {
		t.Errorf("a Go release without a clock: %v", err)
	}
}

// TestDiffer: everything is other than it was here, whatever it was.
func TestDiffer(t *testing.T) {
	all, err := choose(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, here := range []map[string]string{
		{"HOME": "/home/me"},
		{"HOME": "/home/me", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"},
	} {
		p, said := differ(all, "/work", func(name string) string { return here[name] }, false)
		if p.Zone == here["TZ"] || p.Locale == here["LC_ALL"] || p.Home == here["HOME"] || p.clock != years || p.GoCache == "" || p.Modules == "" || p.CPUs <= 1 {
			t.Errorf("%v: %+v", here, p)
		}
		if runtime.GOOS != "windows" && p.Umask != "077" {
			t.Errorf("umask %q", p.Umask)
		}
		for _, v := range said {
			if v.Is == "" {
				t.Errorf("nothing is said of %s", v.Name)
			}
		}
	}
	if p, _ := differ(all, "/work", func(string) string { return "" }, true); p.clock != days {
		t.Error("certificates of servers would have expired")
	}
	if p, _ := differ(nil, "/work", func(string) string { return "x" }, false); p.Home != "x" || p.Zone != "x" || p.Umask != "" || p.clock != 0 || p.GoCache != "" {
		t.Errorf("nothing was to be different: %+v", p)
	}
}

// TestFlags: a release that was narrowed is built again as it was, and one of a dirty tree not at all.
func TestFlags(t *testing.T) {
	amd, _ := artifact.ParsePlatform("linux/amd64")
	rel := manifest.Release{Tag: "v1.2.3", Since: "v1.2.2", Binaries: []manifest.Binary{{Platform: amd}, {Platform: amd}}}
	flags := func(o Options, why ...string) (string, error) {
		r := run{o: o}
		m := rel
		m.Unpublishable = why
		f, err := r.flags(published{rel: m}, "src", "out")
		return strings.Join(f, " "), err
	}
	for want, o := range map[string]Options{
		"build --progress plain --out out --tag v1.2.3 --since v1.2.2 --engine host":              {Engine: "host"},
		"build --progress plain --out out --tag v1.2.3 --since v1.2.2 --engine host --no-cache":   {Engine: "host", Vary: []string{}},
		"build --progress plain --out out --tag v1.2.3 --since v1.2.2 --engine dagger --no-cache": {Engine: "dagger"},
	} {
		if got, err := flags(o); err != nil || got != want {
			t.Errorf("%q, want %q (%v)", got, want, err)
		}
	}
	got, err := flags(Options{}, "its images stand on stand-in bases", "it was narrowed to some of its targets")
	if want := " --bases stand-in --targets linux/amd64"; err != nil || !strings.HasSuffix(got, want) {
		t.Errorf("%q, want %q at the end (%v)", got, want, err)
	}
	if _, err := flags(Options{}, "it was built from a dirty tree"); err == nil {
		t.Error("no commit has a dirty tree")
	}
}

// TestGitHubReleases reads a list of releases in pages, and of them those that slipway made and everybody sees.
func TestGitHubReleases(t *testing.T) {
	type asset struct {
		Name string `json:"name"`
		URL  string `json:"browser_download_url"`
	}
	type release struct {
		Tag    string  `json:"tag_name"`
		Draft  bool    `json:"draft"`
		Assets []asset `json:"assets"`
	}
	var all []release
	var site string
	var tokens []string
	busy := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		switch {
		case r.URL.Path != "/api/v3/repos/owner/tool/releases":
			http.NotFound(w, r)
		case busy:
			busy = false
			w.WriteHeader(http.StatusBadGateway)
		default:
			var page []release
			if r.URL.Query().Get("page") == "2" {
				page = all[100:]
			} else {
				page = all[:100]
				w.Header().Set("Link", "<http://"+r.Host+r.URL.Path+`?per_page=100&page=2>; rel="next"`)
			}
			_ = json.NewEncoder(w).Encode(page)
		}
	}))
	defer server.Close()
	site = server.URL + "/owner/tool/releases/download/"
	for i := range 98 {
		all = append(all, release{Tag: "nightly-" + string(rune('a'+i%26)), Assets: []asset{{"tool.tar.gz", site + "x"}}})
	}
	all = append(all,
		release{Tag: "v1.10.0", Assets: []asset{{"tool.tar.gz", site + "v1.10.0/tool.tar.gz"}, {"release.json", site + "v1.10.0/release.json"}}},
		release{Tag: "v1.9.0", Draft: true, Assets: []asset{{"release.json", site + "v1.9.0/release.json"}}},
		release{Tag: "cli/v1.2.0", Assets: []asset{{"release.json", site + "cli/v1.2.0/release.json"}}},
	)
	env := func(name string) string {
		return map[string]string{"GITHUB_TOKEN": "t0ken", "GITHUB_SERVER_URL": server.URL, "GITHUB_API_URL": server.URL + "/api/v3"}[name]
	}
	list, err := Releases(t.Context(), server.URL+"/owner/tool", env)
	if err != nil {
		t.Fatal(err)
	}
	want := []Listed{{Version: "1.2.0", URL: site + "cli/v1.2.0/"}, {Version: "1.10.0", URL: site + "v1.10.0/"}}
	if !slices.Equal(list, want) {
		t.Errorf("%+v, want %+v", list, want)
	}
	if tokens[0] != "" || tokens[len(tokens)-1] != "Bearer t0ken" {
		t.Errorf("the token went out as %q: to the API alone it should", tokens)
	}
	if _, err := Releases(t.Context(), server.URL+"/owner/none", env); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a repository that is not there: %v", err)
	}
	for remote, page := range map[string]string{
		"git@github.com:owner/tool.git": "https://github.com/owner/tool", "https://user:pw@github.com/owner/tool": "https://github.com/owner/tool",
		"ssh://git@github.com/owner/tool.git": "https://github.com/owner/tool", "/srv/git/tool.git": "", "https://git.example.com:8443/o/t": "https://git.example.com:8443/o/t",
	} {
		if got := fromGit(remote); got != page {
			t.Errorf("%s is at %q, want %q", remote, got, page)
		}
	}
}

// TestGitHubRateLimit: what GitHub refuses for a while is no matter of credentials, however it says so.
func TestGitHubRateLimit(t *testing.T) {
	for name, refuse := range map[string]func(http.ResponseWriter){
		"in its header": func(w http.ResponseWriter) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", "1700003600")
			w.WriteHeader(http.StatusForbidden)
		},
		"in words": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message":"API rate limit exceeded for 192.0.2.1."}`))
		},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v3/repos/owner/tool/releases" {
				http.NotFound(w, r)
				return
			}
			refuse(w)
		}))
		env := func(name string) string {
			return map[string]string{"GITHUB_SERVER_URL": server.URL, "GITHUB_API_URL": server.URL + "/api/v3"}[name]
		}
		_, err := Releases(t.Context(), server.URL+"/owner/tool", env)
		server.Close()
		if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "GITHUB_TOKEN") ||
			strings.Contains(err.Error(), "2023-11-14 23:13:20 UTC") != (name == "in its header") {
			t.Errorf("%s: exit %d, %v", name, fault.CodeOf(err), err)
		}
	}
}

// TestTries asks again where that may help, and nowhere else.
func TestTries(t *testing.T) {
	answers := []int{}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		code := answers[min(asked, len(answers)-1)]
		asked++
		w.WriteHeader(code)
		_, _ = w.Write([]byte("text"))
	}))
	defer server.Close()
	for _, tt := range []struct {
		answers []int
		asked   int
		code    fault.Code
	}{
		{[]int{200}, 1, fault.OK},
		{[]int{429, 200}, 2, fault.OK},
		{[]int{500, 503, 200}, 3, fault.OK},
		{[]int{502}, 3, fault.Transient},
		{[]int{403}, 1, fault.Credentials},
		{[]int{404}, 1, fault.Usage},
		{[]int{413}, 1, fault.Transient},
		{[]int{429}, 3, fault.Transient},
	} {
		answers, asked = tt.answers, 0
		start := time.Now()
		_, err := get(t.Context(), server.URL, 10, nil)
		if fault.CodeOf(err) != tt.code || asked != tt.asked {
			t.Errorf("%v: %d requests in %s, %v", tt.answers, asked, time.Since(start), err)
		}
	}
	answers = []int{200}
	if _, err := get(t.Context(), server.URL, 3, nil); fault.CodeOf(err) != fault.Transient || strings.Contains(err.Error(), "server says") {
		t.Errorf("more than was to be read: %v", err)
	}
}

// FuzzBundle reads bundle.json: nothing in it leads out of the folder.
func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"schema":"slipway.bundle/v1","name":"x","version":"1.0.0","commit":"1111111111111111111111111111111111111111","platforms":["linux/amd64"],"files":[{"path":"a/b","size":1,"digest":"sha256:` + strings.Repeat("a", 64) + `"}]}`))
	f.Add([]byte(`{"files":[{"path":"../x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseBundle(b)
		if err != nil {
			return
		}
		for _, file := range got.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) {
				t.Errorf("%q leads out of the bundle", file.Path)
			}
		}
	})
}

// What this machine knows of components goes where the pipeline of a clone looks, which has no folder of releases beside it.
func TestComponents(t *testing.T) {
	files, rel, err := verifytest.Files(verifytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cache, to := t.TempDir(), filepath.Join(t.TempDir(), "blobs", "sha256")
	chart, d := files[rel.Charts[0].Path], artifact.Sum(files[manifest.FileName])
	for _, b := range [][]byte{files[manifest.FileName], chart, []byte("nobody's")} {
		name := filepath.Join(cache, "blobs", "sha256", artifact.Sum(b).Hex())
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	r := run{o: Options{Environ: []string{"SLIPWAY_CACHE=" + cache}}}
	r.p.rel.Inputs = []artifact.Input{{Kind: "base", Name: "x", Digest: string(artifact.Sum([]byte("nobody's")))}, {Kind: "component", Name: "hello@1.2.3", Digest: string(d)}}
	if err := r.components(to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadDir(to)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if b, err := os.ReadFile(filepath.Join(to, artifact.Sum(chart).Hex())); err != nil || !bytes.Equal(b, chart) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
