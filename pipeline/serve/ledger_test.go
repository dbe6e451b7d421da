package serve_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

// verdict is one over the release.json in dir.
func verdict(t testing.TB, dir, name, version string, v ledger.Verdict, why string) ledger.Entry {
	t.Helper()
	d, _, err := artifact.SumFile(filepath.Join(dir, manifest.FileName))
	must(t, err)
	e := ledger.Entry{
		Time: time.Date(2026, 2, 1, 4, 30, 0, 0, time.UTC), Name: name, Version: version, Commit: strings.Repeat("0123456789", 4), Manifest: d,
		Rebuilt: d, Verdict: v, Passed: 21, Engine: "host", Host: "linux/amd64", Tool: "slipway 1.2.3", Rebuilder: string(artifact.Sum([]byte("key"))),
	}
	if v != ledger.Pass {
		e.Passed, e.Why, e.Rebuilt = 20, why, ""
	}
	if v == ledger.Fail {
		e.Failed = 1
	}
	return e
}

func tell(t testing.TB, root string, entries ...ledger.Entry) {
	t.Helper()
	for i, e := range entries {
		e.Time = e.Time.AddDate(0, 0, i)
		must(t, ledger.OpenFolder(root).Append(t.Context(), e))
	}
}

// judged are the shelves with a ledger that has every kind of verdict.
func judged(t testing.TB) string {
	t.Helper()
	root := shelves(t)
	dir := func(name, version string) string { return filepath.Join(root, name, version) }
	unsigned := verdict(t, dir("hello", "1.10.0"), "hello", "1.10.0", ledger.Skip, "the mirror of the modules did not answer")
	unsigned.Rebuilder, unsigned.Engine = "", ""
	another := verdict(t, dir("hello", "1.9.0"), "world", "0.1.0", ledger.Pass, "")
	tell(
		t, root,
		verdict(t, dir("hello", "1.10.0"), "hello", "1.10.0", ledger.Fail, "archives/hello_1.10.0_linux_amd64.tar.gz: hello: byte 1024 is 0x3c and was 0x3e <b>"),
		unsigned,
		verdict(t, dir("hello", "1.10.0"), "hello", "1.10.0", ledger.Pass, ""),
		verdict(t, dir("hello", "1.9.0"), "hello", "1.9.0", ledger.Fail, "the commit builds another hello.exe: byte 7 differs"),
		another,
		verdict(t, dir("hello", "1.9.0"), "gone", "3.0.0", ledger.Skip, "its commit is not in the repository"),
	)
	return root
}

func TestLedgerGolden(t *testing.T) {
	h := serving(t, judged(t), serve.Options{})
	for path, name := range map[string]string{
		"/":                           "ledger-home.html",
		"/releases/hello/1.10.0/":     "ledger-release.html",
		"/releases/hello/2.0.0-rc.1/": "ledger-none.html",
		"/releases/world/0.1.0/":      "ledger-another.html",
		"/releases.json":              "ledger-releases.json",
	} {
		w := get(h, path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		golden(t, name, w.Body.Bytes())
	}
}

// told is the listing with what it has of the ledger.
type told struct {
	Releases []struct {
		Name, Version string
		Reproduced    *struct {
			Verdict, Why string
			Another      bool
			Time         time.Time
			Passed       int
		}
	}
	Ledger *struct {
		Count         int
		Digest, Error string
	}
}

func telling(t testing.TB, h http.Handler) told {
	t.Helper()
	var l told
	must(t, json.Unmarshal(get(h, "/releases.json").Body.Bytes(), &l))
	return l
}

func TestLedgerFile(t *testing.T) {
	root := judged(t)
	h := serving(t, root, serve.Options{})
	want, err := os.ReadFile(filepath.Join(root, ledger.FileName))
	must(t, err)
	w := get(h, "/ledger.jsonl")
	if w.Code != http.StatusOK || w.Body.String() != string(want) || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %s", w.Code, w.Header())
	}
	if w := get(h, "/ledger.jsonl", "If-None-Match", w.Header().Get("ETag")); w.Code != http.StatusNotModified {
		t.Errorf("%d, want 304", w.Code)
	}
	for _, target := range []string{"/ledger.jsonl.lock", "/ledger.jsonl/", "/ledger"} {
		if w := get(h, target); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	l, err := ledger.Parse(want)
	must(t, err)
	if got := telling(t, h).Ledger; got == nil || got.Count != 6 || got.Digest != string(l.Head().Digest) || got.Error != "" {
		t.Errorf("%+v", got)
	}
	if w := get(serving(t, shelves(t), serve.Options{}), "/ledger.jsonl"); w.Code != http.StatusNotFound {
		t.Errorf("no ledger: %d", w.Code)
	}
}

func TestLedgerIsReadAgain(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a")
	write(t, dir, verifytest.Options{})
	h := serving(t, root, serve.Options{})
	page := func(text string) func() bool {
		return func() bool {
			home, page := get(h, "/").Body.String(), get(h, "/releases/hello/1.2.3/").Body.String()
			return strings.Contains(home, text) && strings.Contains(page, text)
		}
	}
	if page("rebuilt")() || telling(t, h).Ledger != nil {
		t.Error("something is told without a ledger")
	}
	e := verdict(t, dir, "hello", "1.2.3", ledger.Pass, "")
	tell(t, root, e)
	eventually(t, "the verdict", page("PASS: rebuilt"))
	// A line that is being written is not there yet.
	name := filepath.Join(root, ledger.FileName)
	whole, err := os.ReadFile(name)
	must(t, err)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0o644)
	must(t, err)
	_, err = f.WriteString(`{"schema":"slip`)
	must(t, errors.Join(err, f.Close()))
	for range 20 {
		if got := telling(t, h); got.Ledger == nil || got.Ledger.Count != 1 || got.Ledger.Error != "" {
			t.Fatalf("%+v", got.Ledger)
		}
		time.Sleep(time.Millisecond)
	}
	if got := get(h, "/ledger.jsonl").Body.String(); got != string(whole) {
		t.Errorf("the ledger is %q", got)
	}
	tell(t, root, verdict(t, dir, "hello", "1.2.3", ledger.Fail, "all is different"))
	eventually(t, "another verdict", page("FAIL: rebuilt"))
	eventually(t, "its reason", page("all is different"))

	// Another release under the same version was never looked at.
	write(t, filepath.Join(root, ".b"), verifytest.Options{Payload: []byte("other bytes")})
	must(t, os.Rename(dir, filepath.Join(root, ".a")))
	must(t, os.Rename(filepath.Join(root, ".b"), dir))
	eventually(t, "the warning", page("another release.json was rebuilt"))
	if page(": rebuilt, ")() {
		t.Error("a verdict over another release.json is shown as one over this")
	}
	if got := telling(t, h).Releases[0].Reproduced; got == nil || got.Verdict != "" || !got.Another || !strings.Contains(got.Why, "another release.json") {
		t.Errorf("%+v", got)
	}
	// Both are shown where both were looked at, whatever the order.
	tell(t, root, verdict(t, dir, "hello", "1.2.3", ledger.Pass, ""))
	eventually(t, "the verdict over the new one", page("PASS: rebuilt"))
	if page("another release.json was rebuilt")() {
		t.Error("the warning stays")
	}
	tell(t, root, e)
	eventually(t, "the warning again", page("another release.json was rebuilt"))
	if got := telling(t, h).Releases[0].Reproduced; got == nil || got.Verdict != "PASS" || !got.Another {
		t.Errorf("%+v", got)
	}
	must(t, os.Remove(name))
	eventually(t, "the end of the ledger", func() bool { return telling(t, h).Ledger == nil && get(h, "/ledger.jsonl").Code == http.StatusNotFound })
}

// A ledger that is broken says so and nothing else, and keeps no release from being served.
func TestBrokenLedger(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, file string)
		want   string
		served bool
	}{
		{"changed", func(t *testing.T, file string) {
			b, err := os.ReadFile(file)
			must(t, err)
			must(t, os.WriteFile(file, []byte(strings.Replace(string(b), "byte 1024", "byte 1025", 1)), 0o644))
		}, "ledger.jsonl:2: prev is sha256:", true},
		{"something else", func(t *testing.T, file string) { must(t, os.WriteFile(file, []byte("<script>"), 0o644)) }, "ledger.jsonl:1: the line has no end", true},
		{"large", func(t *testing.T, file string) { must(t, os.Truncate(file, 17<<20)) }, "larger than 16777216 bytes", false},
		{"a link", func(t *testing.T, file string) {
			must(t, os.Rename(file, file+".moved"))
			must(t, os.Symlink(filepath.Base(file)+".moved", file))
		}, "ledger.jsonl is not a regular file", false},
		{"a folder", func(t *testing.T, file string) {
			must(t, os.Remove(file))
			must(t, os.Mkdir(file, 0o755))
		}, "ledger.jsonl is not a regular file", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := judged(t)
			file := filepath.Join(root, ledger.FileName)
			tt.damage(t, file)
			h := serving(t, root, serve.Options{})
			for _, target := range []string{"/", "/releases/hello/1.10.0/"} {
				body := get(h, target).Body.String()
				if !strings.Contains(body, "The ledger is broken") || !strings.Contains(body, tt.want) || strings.Contains(body, ": rebuilt") || strings.Contains(body, "<script") {
					t.Errorf("%s:\n%s", target, body)
				}
			}
			got := telling(t, h)
			if got.Ledger == nil || !strings.Contains(got.Ledger.Error, tt.want) || got.Ledger.Count != 0 || strings.Contains(got.Ledger.Error, root) {
				t.Errorf("%+v", got.Ledger)
			}
			if len(got.Releases) != 4 || got.Releases[1].Reproduced != nil {
				t.Errorf("%+v", got.Releases)
			}
			w := get(h, "/ledger.jsonl")
			if (w.Code == http.StatusOK) != tt.served {
				t.Errorf("/ledger.jsonl: %d", w.Code)
			}
			if want, err := os.ReadFile(file); tt.served && (err != nil || w.Body.String() != string(want)) {
				t.Errorf("/ledger.jsonl is %q", w.Body)
			}
		})
	}
}

// Beside one release.json a ledger would be a file that the release does not list.
func TestNoLedgerInRelease(t *testing.T) {
	root := t.TempDir()
	write(t, root, verifytest.Options{})
	tell(t, root, verdict(t, root, "hello", "1.2.3", ledger.Pass, ""))
	h := serving(t, root, serve.Options{})
	if w := get(h, "/ledger.jsonl"); w.Code != http.StatusNotFound || telling(t, h).Ledger != nil || strings.Contains(get(h, "/").Body.String(), "rebuilt") {
		t.Errorf("%d", w.Code)
	}
}

// What a ledger has room for is text, however much of it there is.
func TestLedgerScript(t *testing.T) {
	const script = `"'><script>alert(1)</script><img src=x onerror=alert(2)>`
	root := t.TempDir()
	dir := filepath.Join(root, "a")
	write(t, dir, verifytest.Options{})
	var l ledger.Ledger
	for range 250 {
		e := verdict(t, dir, "hello", "1.2.3", ledger.Fail, script)
		e.Engine, e.Host, e.Tool, e.Rebuilder = script, script, script, strings.ReplaceAll(script, " ", "/")
		var err error
		l, err = l.Append(e)
		must(t, err)
	}
	must(t, os.WriteFile(filepath.Join(root, ledger.FileName), l.Encode(), 0o644))
	h := serving(t, root, serve.Options{})
	for _, target := range []string{"/", "/releases/hello/1.2.3/"} {
		body := get(h, target).Body.String()
		if !strings.Contains(body, "&lt;script&gt;alert(1)") {
			t.Errorf("%s has not the text", target)
		}
		for _, live := range []string{"<script", "<img", "onerror=alert(2)>"} {
			if strings.Contains(body, live) {
				t.Errorf("%s has a live %s", target, live)
			}
		}
	}
	if body := get(h, "/releases/hello/1.2.3/").Body.String(); strings.Count(body, ">FAIL</span>") != 200 || !strings.Contains(body, "50 earlier verdicts in") {
		t.Errorf("%d verdicts", strings.Count(body, ">FAIL</span>"))
	}
}
