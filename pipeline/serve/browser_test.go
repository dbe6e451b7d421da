package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture/browsertest"
	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Names as long as they may be.
const (
	longComponent = "payments-gateway-for-the-northern-region"
	longName      = "payments-gateway-of-the-northern-region-with-a-long-long-name"
	longVersion   = "1.2.3-rc.1+build.5"
)

// whole writes a release that has all that a release can have.
func whole(t testing.TB, root, name, version string, o verifytest.Options) {
	t.Helper()
	o.Version, o.Downloads = version, true
	o.EditManifest = func(r *manifest.Release) { r.Name = name } // which is longer than a package's may be
	_, err := verifytest.Write(filepath.Join(root, name, version), o)
	must(t, err)
}

// TestBrowserFolder reads all pages of a folder of releases.
func TestBrowserFolder(t *testing.T) {
	b := browsertest.Start(t)
	root := judged(t)
	whole(t, root, longName, "1.2.2", verifytest.Options{Time: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)})
	whole(t, root, longName, longVersion, verifytest.Options{
		Time:          time.Date(2026, 1, 6, 23, 59, 59, 0, time.UTC),
		Unpublishable: []string{"the tree of the commit was changed", "the base gcr.io/distroless/static-debian12:nonroot is a stand-in"},
		Signing:       &manifest.Signing{Identity: "https://github.com/example/hello/.github/workflows/release.yml@refs/tags/*", Issuer: "https://token.actions.githubusercontent.com"},
		Edit: func(files map[string][]byte) {
			files["notes.md"] = []byte("### Changes\n\n- **Añadido**: 日本語 and עברית, `--flag` and [a link](https://example.com/a)\n- A line that goes on for longer than the page is wide, which it does on every screen that there is, or so it seems to those who read it\n\n```\nslipway verify --key PUBLIC_KEY https://releases.example.com/releases/" + longName + "/" + longVersion + "/\n```\n")
		},
	})
	pages := map[string]string{
		"folder-home":             "/",
		"folder-release":          "/releases/hello/1.10.0/",
		"folder-prerelease":       "/releases/hello/2.0.0-rc.1/",
		"folder-unpublishable":    "/releases/world/0.1.0/",
		"folder-whole":            "/releases/" + longName + "/1.2.2/",
		"folder-long":             "/releases/" + longName + "/1.2.3-rc.1+build.5/",
		"folder-not-found":        "/releases/hello/9.9.9/",
		"folder-not-found-at-all": "/none",
	}
	reading(t, b, serving(t, root, serve.Options{}), pages)

	broken := judged(t)
	must(t, os.WriteFile(filepath.Join(broken, "ledger.jsonl"), []byte("no ledger\n"), 0o644))
	reading(t, b, serving(t, broken, serve.Options{}), map[string]string{"broken-ledger-home": "/", "broken-ledger-release": "/releases/hello/1.10.0/"})
	reading(t, b, serving(t, t.TempDir(), serve.Options{}), map[string]string{"empty-home": "/"})

	many := t.TempDir()
	for i := range 104 {
		write(t, filepath.Join(many, fmt.Sprint(i)), verifytest.Options{Version: fmt.Sprintf("1.%d.0", i)})
	}
	reading(t, b, serving(t, many, serve.Options{}), map[string]string{"many-home": "/", "many-last": "/?page=2", "many-found": "/?q=1.10", "many-none": "/?q=2.0.0"})
}

// listening has a handler listen for the test. A stream of events is cut off, if the browser has not ended it.
func listening(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// reading reads pages, by the names of their screenshots.
func reading(t *testing.T, b *browsertest.Browser, h http.Handler, pages map[string]string) {
	t.Helper()
	server := listening(t, h)
	for name, at := range pages {
		want := http.StatusOK
		switch {
		case strings.Contains(name, "not-found"):
			want = http.StatusNotFound
		case strings.Contains(name, "bad-request"):
			want = http.StatusBadRequest
		}
		if w := get(h, at); w.Code != want {
			t.Errorf("%s: %d", at, w.Code)
		}
		t.Run(name, func(t *testing.T) { b.Read(t, name, server.URL+at) })
	}
}

// busy is a store that has much: fifty components, of which some are held, pinned, withdrawn or gone on, and an environment in which
// nothing is.
func busy(t testing.TB) *team {
	t.Helper()
	names := []string{"hello", longComponent}
	for _, first := range []string{"account", "billing", "catalog", "checkout", "edge", "identity", "ledger", "mail", "metrics", "search"} {
		for _, second := range []string{"api", "worker", "web", "cron", "proxy"} {
			names = append(names, first+"-"+second)
		}
	}
	tm := newTeamOf(t, names[:50]...)
	q := environment.Request{Kind: environment.Add, To: "production", Why: "the first of all"}
	for i, name := range names[2:50] {
		v := fmt.Sprintf("%d.%d.%d", i%3, i*7%13, i*5%11)
		q.Items = append(q.Items, environment.Item{Component: name, Version: v})
		q.Entries = append(q.Entries, environment.Entry{
			Component: name, Version: v, Commit: strings.Repeat("c", 40), Manifest: artifact.Sum([]byte(name)), Signed: environment.Identity{Key: string(tm.key.Public().Fingerprint())},
			Places: []string{"https://releases.example.com/releases/" + name + "/" + v + "/files/"},
		})
	}
	if r, err := tm.store.Ask(t.Context(), q, nil); err != nil || r.Refused() {
		t.Fatal(r.Outcomes, err)
	}
	tm.whole = true
	tm.add("hello", "1.0.0", "production", true)
	tm.add("hello", "1.1.0", "production", true)
	tm.add("hello", "1.2.0-rc.1", "staging", false)
	tm.add("hello", "1.3.0-dev.1+abc", "snapshot", true)
	tm.whole = false // no package has so long a name
	tm.add(longComponent, "1.2.2", "production", true)
	tm.add(longComponent, longVersion, "staging", true)
	tm.ask(environment.Rollback, "hello", "1.0.0", "production")
	tm.ask(environment.Add, "checkout-api", "1.4.0", "staging", entry(tm, "checkout-api", "1.4.0"))
	tm.ask(environment.Add, "checkout-api", "1.4.1", "staging", entry(tm, "checkout-api", "1.4.1"))
	tm.ask(environment.Withdraw, "checkout-api", "1.4.0", "")
	tm.ask(environment.Promote, "checkout-api", "1.4.1", "production")
	for _, q := range []environment.Request{{To: "staging", Until: time.Date(2999, 12, 31, 23, 59, 0, 0, time.UTC)}, {To: "production"}} {
		q = environment.Request{
			Kind: environment.Freeze, To: q.To, Until: q.Until,
			Why: "Año nuevo 🎉: nobody is there who could mend what breaks, and whoever thinks that it cannot wait asks in #release-managers first",
		}
		if r, err := tm.store.Ask(t.Context(), q, tm.key); err != nil || r.Refused() {
			t.Fatal(r.Outcomes, err)
		}
	}
	tm.ask(environment.Hold, longComponent, longVersion, "production")
	tm.ask(environment.Freeze, "", "", "snapshot")
	tm.ask(environment.Thaw, "", "", "snapshot")
	return tm
}

// entry is that of a release whose bytes are elsewhere.
func entry(tm *team, name, version string) environment.Entry {
	return environment.Entry{
		Component: name, Version: version, Commit: strings.Repeat("d", 40), Manifest: artifact.Sum([]byte(name + version)), Signed: environment.Identity{Key: string(tm.key.Public().Fingerprint())},
		Places: []string{"https://releases.example.com/releases/" + name + "/" + version + "/files/"},
	}
}

// TestBrowserStore reads all pages of a release store.
func TestBrowserStore(t *testing.T) {
	b := browsertest.Start(t)
	tm := busy(t)
	s, h := tm.serving(serve.Options{})
	reading(t, b, h, map[string]string{
		"store-home":                   "/",
		"store-found":                  "/?q=api",
		"store-none":                   "/?q=nothing",
		"store-component":              "/c/hello",
		"store-component-withdrawn":    "/c/checkout-api",
		"store-component-long":         "/c/" + longComponent,
		"store-version":                "/c/hello/1.1.0/why",
		"store-version-refused":        "/c/hello/1.3.0-dev.1+abc/why",
		"store-version-allowed":        "/c/hello/1.2.0-rc.1/why",
		"store-version-withdrawn":      "/c/checkout-api/1.4.0/why",
		"store-version-long":           "/c/" + longComponent + "/" + longVersion + "/why",
		"store-difference":             "/c/hello/1.0.0...1.1.0",
		"store-difference-elsewhere":   "/c/checkout-api/1.4.0...1.4.1",
		"store-timeline":               "/timeline",
		"store-environment":            "/environments/snapshot/",
		"store-environment-production": "/environments/production/",
		"store-releases":               "/releases",
		"store-release":                "/environments/production/releases/hello/1.1.0/",
		"store-not-found":              "/c/none",
		"store-bad-request":            "/timeline?after=x",
	})

	must(t, os.Rename(tm.remote, tm.remote+".gone"))
	s.Look(t.Context())
	reading(t, b, h, map[string]string{"unreachable-home": "/?q=hello", "unreachable-timeline": "/timeline"})

	// All that an environment can have to offer: indexes of packages, and one that is signed.
	packed := newTeam(t)
	packed.apk = rsatest.Key(t, "packages")
	_, dir := packagedBy(packed)
	st, writer := packed.indexed()
	var v store.View
	must(t, st.Read(t.Context(), func(now store.View) error { v = now; return nil }))
	offline, err := sign.Generate(sign.Ed25519)
	must(t, err)
	_, err = writer.Draft(t.Context(), v, index.Plan{Offline: []signature.PublicKey{offline.Public()}, Online: []signature.PublicKey{packed.key.Public()}})
	must(t, err)
	_, err = writer.Sign(t.Context(), "", offline)
	must(t, err)
	_, err = writer.Update(t.Context(), st, packed.key)
	must(t, err)
	o := serve.Options{Packages: dir}
	o.Store, o.Index = packed.indexed()
	_, h = packed.serving(o)
	wants(t, get(h, "/environments/production/"), http.StatusOK, "/etc/apk/keys", "deb [signed-by=", "Its signed index")
	reading(t, b, h, map[string]string{"store-environment-packages": "/environments/production/"})

	empty := newTeam(t)
	_, h = empty.serving(serve.Options{})
	reading(t, b, h, map[string]string{"empty-store": "/", "empty-timeline": "/timeline", "empty-environment": "/environments/production/"})
}

var top = regexp.MustCompile(`,\d+,`)

// TestBrowserLive has a store move on while pages of it are read, which show that without being loaded again, and leave the reader
// where they are.
func TestBrowserLive(t *testing.T) {
	b := browsertest.Start(t)
	tm := busy(t)
	tm.ask(environment.Thaw, "", "", "staging")
	s, h := tm.serving(serve.Options{})
	server := listening(t, h)
	minor := 1
	for _, c := range []struct{ name, at, focus, shows string }{
		{"home", "/", `a[href="c/mail-web"]`, `"account-api".length && document.querySelector('a[href="c/account-api"]').closest("tr").innerText.includes(V)`},
		{"home, scrolled aside", "/", `.wide`, `document.querySelector('a[href="c/account-api"]').closest("tr").innerText.includes(V)`},
		{"timeline", "/timeline", `#line-2 a`, `document.querySelector("ol").innerText.includes("account-api " + V)`},
		{"environment", "/environments/staging/", `textarea`, `document.querySelector("main").innerText.includes("account-api " + V)`},
		{"component", "/c/account-api", `main a`, `document.querySelector("main").innerText.includes(V)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := b.Page(t)
			p.Desk()
			p.Go(server.URL + c.at)
			// What would be lost: the focus, where the page and the table are scrolled to, and what a reload forgets.
			p.Eval(`window.stays = 1; document.querySelector("body").style.setProperty("width", "600px"); { const e = document.querySelector(`+browsertest.Quote(c.focus)+`); e.scrollIntoView({block: "center"}); e.focus({preventScroll: true});
				const w = document.querySelector(".wide"); if (w) w.scrollLeft = 40; }`, nil)
			const where = `JSON.stringify([stays, document.activeElement.outerHTML.slice(0, 80), Math.round(document.activeElement.getBoundingClientRect().top), (document.querySelector(".wide") || {}).scrollLeft, getSelection().toString()])`
			var before, after, line string
			p.Eval(where, &before)
			p.Troubles() // of the style that the policy does not let in
			version := fmt.Sprintf("9.%d.0", minor)
			minor++
			tm.ask(environment.Add, "account-api", version, "staging", entry(tm, "account-api", version))
			s.Look(t.Context())
			p.Wait("the move is shown", strings.ReplaceAll(c.shows, "V)", browsertest.Quote(version)+")"))
			p.Eval(where, &after)
			if c.at == "/c/account-api" { // where the new one is above the first
				before, after = top.ReplaceAllString(before, ","), top.ReplaceAllString(after, ",")
			}
			if after != before {
				t.Errorf("before the move: %s\nand after it:    %s", before, after)
			}
			p.Eval(`document.querySelector("#state").innerText`, &line)
			if want := fmt.Sprintf("As of line %d of the log", tm.lines(t)); !strings.Contains(line, want) {
				t.Errorf("the page says %q and not %q", line, want)
			}
			for _, trouble := range p.Troubles() {
				t.Error(trouble)
			}
		})
	}
}

// TestBrowserSearch types into the search of a store and of a folder, and goes where Enter leads.
func TestBrowserSearch(t *testing.T) {
	b := browsertest.Start(t)
	_, site := busy(t).serving(serve.Options{})
	root := t.TempDir()
	for i := range 21 {
		write(t, filepath.Join(root, fmt.Sprint(i)), verifytest.Options{Version: fmt.Sprintf("1.%d.0", i)})
	}
	for name, c := range map[string]struct {
		h             http.Handler
		typed, is, no string
	}{
		"store":  {site, "MAIL", "mail-web", "search-web"},
		"folder": {serving(t, root, serve.Options{}), "Hello 1.7", "1.7.0", "1.8.0"},
	} {
		t.Run(name, func(t *testing.T) {
			server := listening(t, c.h)
			p := b.Page(t)
			p.Desk()
			p.Go(server.URL + "/")
			p.Eval(`document.querySelector("input").focus()`, nil)
			p.Call("Input.insertText", map[string]string{"text": c.typed}, nil)
			p.Press("Enter", false)
			p.Loaded()
			var text, query string
			p.Eval(`document.querySelector("main").innerText`, &text)
			if p.Eval(`document.querySelector("input").value`, &query); query != c.typed || !strings.Contains(text, c.is) || strings.Contains(text, c.no) {
				t.Errorf("%q was asked for: %s", query, text)
			}
			for _, trouble := range p.Troubles() {
				t.Error(trouble)
			}
		})
	}
}

// lines is how many the log has.
func (tm *team) lines(t testing.TB) int {
	t.Helper()
	_, h := tm.serving(serve.Options{})
	return answer[struct{ Log struct{ Line int } }](t, h, "/api/v1/environments").Log.Line
}
