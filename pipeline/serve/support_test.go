package serve_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/browsertest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// today is the day of the clock, as it is where a test reads lifecycles.
func today() lifecycle.Date { return lifecycle.DateOf(time.Now()) }

func versionOf(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	must(t, err)
	return v
}

func rangeOf(t testing.TB, s string) lifecycle.Range {
	t.Helper()
	r, err := platform.ParseRange(s)
	must(t, err)
	return lifecycle.Range{Range: r}
}

// signedLife writes a lifecycle with its signature, and returns what serve is to read.
func signedLife(t testing.TB, l lifecycle.Lifecycle) serve.Options {
	t.Helper()
	key, err := sign.Generate(sign.Ed25519)
	must(t, err)
	file := filepath.Join(t.TempDir(), lifecycle.FileName)
	writeLife(t, file, key, l)
	return serve.Options{Lifecycle: file, LifecycleKeys: []signature.PublicKey{key.Public()}}
}

// writeLife writes a lifecycle with its signature, and returns its digest.
func writeLife(t testing.TB, file string, key sign.Key, l lifecycle.Lifecycle) artifact.Digest {
	t.Helper()
	b, err := l.Encode()
	must(t, err)
	bundle, err := signature.SignBlob(key, b)
	must(t, err)
	signed, err := bundle.Encode()
	must(t, err)
	must(t, os.WriteFile(file, b, 0o600))
	must(t, os.WriteFile(file+signature.Suffix, signed, 0o600))
	return artifact.Sum(b)
}

// edge is a platform with releases that stand in every way, of which some are served, and its lifecycle.
func edge(t testing.TB) (root string, l lifecycle.Lifecycle) {
	t.Helper()
	root = t.TempDir()
	day := today()
	l = lifecycle.Lifecycle{Name: "edge", Serial: 1, AsOf: day}
	for n, r := range []struct {
		version     string
		ago, until  int // days
		gateway, no string
	}{
		{"1.9.0", -900, -100, "1.2.0", ""},
		{"2.0.0", -500, 30, "1.4.0", ""},
		{"2.0.1", -400, 30, "1.4.1", ""},
		{"2.1.0", -300, 200, "1.4.2", ""},
		{"2.1.1", -200, 200, "1.4.3", ""},
		{"2.2.0", -100, 300, "1.5.0", "it loses its peers"},
		{"2.2.1", -20, 300, "1.5.1", ""},
	} {
		sum := artifact.Sum([]byte(r.version))
		if n > 0 {
			dir := filepath.Join(root, r.version)
			write(t, dir, verifytest.Options{Name: "edge", Version: r.version, Edit: func(files map[string][]byte) {
				p := composition.Platform{Schema: composition.Schema, Name: "edge", Version: versionOf(t, r.version), Channel: "stable", Components: []composition.Component{
					{Name: "gateway", Version: r.gateway, Tag: "v" + r.gateway, Commit: strings.Repeat("a", 40), Manifest: artifact.Sum([]byte(r.gateway)), Signer: "sha256:" + strings.Repeat("c", 64), Repository: "https://github.com/acme/gateway", Releases: "https://releases.acme.example"},
					{Name: "proto", Version: "0.9.3", Tag: "v0.9.3", Commit: strings.Repeat("b", 40), Manifest: artifact.Sum([]byte("proto")), Signer: "sha256:" + strings.Repeat("c", 64), Repository: "https://github.com/acme/proto", Releases: "https://releases.acme.example"},
				}}
				b, err := p.Encode()
				must(t, err)
				files[composition.FileName] = b
			}})
			b, err := os.ReadFile(filepath.Join(dir, "release.json"))
			must(t, err)
			sum = artifact.Sum(b)
		}
		l.Releases = append(l.Releases, lifecycle.Release{Version: versionOf(t, r.version), Manifest: sum, Date: day.AddDays(r.ago), Until: day.AddDays(r.until), Withdrawn: r.no})
	}
	l.Risks = []lifecycle.Risk{{
		Name: "MulticastSkew", From: rangeOf(t, ">=2.0.0 <2.0.1"), To: rangeOf(t, ">=2.2.1 <2.2.2"), Since: day.AddDays(-10),
		Message: "Gateways lose their peers until all nodes run 2.2 <b>.", URL: "https://acme.example/risks/MulticastSkew",
	}}
	l.Advisories = []lifecycle.Advisory{
		{ID: "EDGE-2026-001", Vulnerabilities: []string{"CVE-2026-12345"}, Affected: rangeOf(t, ">=2.0.0 <2.1.1"), Fixed: []version.Version{versionOf(t, "2.0.1"), versionOf(t, "2.1.1")}, Published: day.AddDays(-220), Due: day.AddDays(-150)},
		{ID: "EDGE-2026-002", Vulnerabilities: []string{"CVE-2026-23456"}, Affected: rangeOf(t, ">=2.1.0 <2.2.1"), Fixed: []version.Version{versionOf(t, "2.2.1")}, Published: day.AddDays(-20), Due: day.AddDays(20)},
	}
	return root, l
}

// TestSupport reads what a server says of a platform, as pages, as data, and with the files of its releases.
func TestSupport(t *testing.T) {
	root, l := edge(t)
	write(t, filepath.Join(root, "hello"), verifytest.Options{})
	h := serving(t, root, signedLife(t, l))

	for v, want := range map[string]string{"2.0.0": "overdue", "2.0.1": "", "2.1.0": "overdue", "2.1.1": "due", "2.2.0": "due, withdrawn", "2.2.1": ""} {
		for _, name := range []string{"release.json", "SHA256SUMS"} {
			w := get(h, "/releases/edge/"+v+"/files/"+name)
			if got := w.Header().Get("Slipway-Standing"); w.Code != http.StatusOK || got != want {
				t.Errorf("%s of %s: %d, %q, not %q", name, v, w.Code, got, want)
			}
		}
	}
	if w := get(h, "/releases/hello/1.2.3/files/release.json"); w.Code != http.StatusOK || w.Header()["Slipway-Standing"] != nil {
		t.Errorf("a release of another project: %d, %v", w.Code, w.Header())
	}

	var said struct {
		Name, AsOf, At string
		Serial         int
		Lines          []struct{ Version, State, Until, Newest, Due string }
		Releases       []struct{ Version, State, Date, Withdrawn string }
	}
	must(t, json.Unmarshal(get(h, "/v1/support.json").Body.Bytes(), &said))
	var lines []string
	for _, l := range said.Lines {
		lines = append(lines, l.Version+" "+l.State)
	}
	if got := strings.Join(lines, ", "); got != "2.2.1 current, 2.1.1 due, 2.0.1 current, 1.9.0 ended" || said.Name != "edge" || said.Serial != 1 || said.At != today().String() {
		t.Errorf("%s: %+v", got, said)
	}
	if len(said.Releases) != 7 || said.Releases[1].Withdrawn != "it loses its peers" || said.Releases[1].Date != today().AddDays(-100).String() {
		t.Errorf("%+v", said.Releases)
	}

	page := func(p string, has ...string) {
		t.Helper()
		w := get(h, p)
		for _, text := range has {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: %d, without %s", p, w.Code, text)
			}
		}
	}
	page("/", `<a href="platforms/">`)
	page("/platforms/edge/", "<desc", "2.0 from "+l.Releases[1].Date.String()+" until "+l.Releases[1].Until.String()+", current", "EDGE-2026-002, due "+l.Advisories[1].Due.String(),
		`May be upgraded as far as <a href="2.2.1">`, "<title>2.1.1 to 2.2.1</title>", "until all nodes run 2.2 &lt;b&gt;.", "CVE-2026-12345")
	page("/platforms/edge/2.1.1", "gateway", "1.4.3", `<a href="2.1.0">2.1.0</a></h2>`, "gateway: 1.4.2 -&gt; 1.4.3", "The same in both: proto.", "EDGE-2026-002", `<a href="2.2.1">2.2.1</a>`, "Not 2.2.0: withdrawn")
	if strings.Contains(get(h, "/platforms/edge/2.1.1").Body.String(), `<span>2.1</span><a href="2.1.1">`) {
		t.Error("a release is an upgrade to itself")
	}
	page("/platforms/edge/2.0.0", "Not 2.2.1: MulticastSkew", "EDGE-2026-001")
	page("/platforms/edge/1.9.0", "This release is not served here", "There are none.")
	for p, code := range map[string]int{"/platforms/": 302, "/platforms/edge": 302, "/platforms/other/": 404, "/platforms/edge/9.9.9": 404, "/platforms/edge/2.1": 404, "/platforms/edge/2.1.1/": 404} {
		if w := get(h, p); w.Code != code || code == 302 && w.Header().Get("Location") != "edge/" {
			t.Errorf("%s: %d, %v", p, w.Code, w.Header())
		}
	}

	// A release whose manifest is another's is not the one that is known.
	for i := range l.Releases {
		l.Releases[i].Manifest = artifact.Sum([]byte("another"))
	}
	h = serving(t, root, signedLife(t, l))
	if got := get(h, "/releases/edge/2.0.0/files/release.json").Header().Get("Slipway-Standing"); got != "" {
		t.Errorf("another release: %q", got)
	}
	page("/platforms/edge/2.0.0", "This release is not served here")

	// What nobody has confirmed for long makes no release current.
	l.AsOf = today().AddDays(-15)
	h = serving(t, root, signedLife(t, l))
	page("/platforms/edge/", "no release is called current", ">unknown</span>")

	// Without a signature there is nothing to say, and files go on being there.
	o := signedLife(t, l)
	must(t, os.Remove(o.Lifecycle+signature.Suffix))
	h = serving(t, root, o)
	for p, code := range map[string]int{"/platforms/edge/": 503, "/platforms/": 503, "/v1/support.json": 503, "/releases/edge/2.0.0/files/release.json": 200} {
		if w := get(h, p); w.Code != code {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	if w := get(serving(t, root, serve.Options{}), "/platforms/edge/"); w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}

// TestSupportReady has a release be withdrawn whose files were ready to be sent without net/http.
func TestSupportReady(t *testing.T) {
	key, err := sign.Generate(sign.Ed25519)
	must(t, err)
	file := filepath.Join(t.TempDir(), lifecycle.FileName)
	w := newTwins(t, serve.Options{Lifecycle: file, LifecycleKeys: []signature.PublicKey{key.Public()}})
	b, err := os.ReadFile(filepath.Join(w.root, "release.json"))
	must(t, err)
	l := lifecycle.Lifecycle{Name: "hello", Serial: 1, AsOf: today(), Releases: []lifecycle.Release{
		{Version: versionOf(t, "1.2.3"), Manifest: artifact.Sum(b), Date: today(), Until: today().AddDays(9)},
	}}
	l.Prev = writeLife(t, file, key, l)
	const request = "GET " + smallFile + " HTTP/1.1\r\nHost: x\r\n\r\n"
	for range 3 {
		if got := ask(t, w.here, request); !strings.HasPrefix(got, "HTTP/1.1 200 ") || strings.Contains(got, "Slipway-Standing") {
			t.Fatal(got)
		}
	}
	l.Serial, l.Releases[0].Withdrawn = 2, "it loses its peers"
	writeLife(t, file, key, l)
	for _, socket := range []string{w.here, w.there} {
		if got := ask(t, socket, request); !strings.Contains(got, "\r\nSlipway-Standing: due, withdrawn\r\n") {
			t.Error(got)
		}
	}
}

// TestBrowserPlatform reads the pages of a platform.
func TestBrowserPlatform(t *testing.T) {
	b := browsertest.Start(t)
	root, l := edge(t)
	reading(t, b, serving(t, root, signedLife(t, l)), map[string]string{
		"platform": "/platforms/edge/", "platform-release": "/platforms/edge/2.1.1", "platform-withdrawn": "/platforms/edge/2.2.0", "platform-not-served": "/platforms/edge/1.9.0", "platform-home": "/",
	})
}

// BenchmarkSupport asks for the pages of a platform of 5,000 releases.
func BenchmarkSupport(b *testing.B) {
	l := lifecycle.Lifecycle{Name: "edge", Serial: 1, AsOf: today()}
	for i := range 5000 {
		v := fmt.Sprintf("%d.%d.%d", i/1000, i/50%20, i%50)
		l.Releases = append(l.Releases, lifecycle.Release{Version: versionOf(b, v), Manifest: artifact.Sum([]byte(v)), Date: l.AsOf.AddDays(i/5 - 1000), Until: l.AsOf.AddDays(i/5 - 500)})
	}
	h := serving(b, b.TempDir(), signedLife(b, l))
	for _, p := range []string{"/platforms/edge/", "/platforms/edge/2.10.0", "/v1/support.json", "/v1/graph?channel=stable-2.1"} {
		b.Run(strings.ReplaceAll(p[1:], "/", "-"), func(b *testing.B) {
			for b.Loop() {
				if w := get(h, p); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
