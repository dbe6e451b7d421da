package serve_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, dir string, o verifytest.Options) manifest.Release {
	t.Helper()
	o.Bare = true
	r, err := verifytest.Write(dir, o)
	must(t, err)
	return r
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// serving returns the handler of a server that has read its folder, and reads it again all the time.
func serving(t testing.TB, root string, o serve.Options) http.Handler {
	t.Helper()
	o.Root = root
	if o.Rescan == 0 {
		o.Rescan = time.Millisecond
	}
	h := serve.New(o).Handler()
	eventually(t, "the first scan", func() bool { return get(h, "/readyz").Code == http.StatusOK })
	return h
}

func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	return do(h, http.MethodGet, target, header...)
}

func do(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := newRequest(target, header...)
	r.Method = method
	return record(h, r)
}

func newRequest(target string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update if that is meant. Got:\n%s", file, got)
	}
}

// shelves writes several releases of two products, one of them broken.
func shelves(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }
	write(t, filepath.Join(root, "hello", "1.9.0"), verifytest.Options{Version: "1.9.0", Time: day(1)})
	write(t, filepath.Join(root, "hello", "1.10.0"), verifytest.Options{Version: "1.10.0", Time: day(2)})
	write(t, filepath.Join(root, "hello", "2.0.0-rc.1"), verifytest.Options{Version: "2.0.0-rc.1", Time: day(3)})
	write(t, filepath.Join(root, "world", "0.1.0"), verifytest.Options{
		Name: "world", Version: "0.1.0", Time: day(4), Unpublishable: []string{"stand-in bases"},
	})
	broken := filepath.Join(root, "world", "0.2.0")
	write(t, broken, verifytest.Options{Name: "world", Version: "0.2.0"})
	must(t, os.Truncate(filepath.Join(broken, manifest.ChecksumsName), 0))
	must(t, os.MkdirAll(filepath.Join(root, ".1.11.0-in-progress"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, ".1.11.0-in-progress", manifest.FileName), nil, 0o644))
	must(t, os.MkdirAll(filepath.Join(root, "lost+found"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "README"), nil, 0o644))
	return root
}

func TestGolden(t *testing.T) {
	h := serving(t, shelves(t), serve.Options{})
	for path, name := range map[string]string{
		"/":                           "home.html",
		"/releases/hello/1.10.0/":     "release.html",
		"/releases/hello/2.0.0-rc.1/": "prerelease.html",
		"/releases/world/0.1.0/":      "unpublishable.html",
		"/releases.json":              "releases.json",
		"/charts/index.yaml":          "index.yaml",
	} {
		w := get(h, path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		golden(t, name, w.Body.Bytes())
	}
}

func TestRoutes(t *testing.T) {
	h := serving(t, shelves(t), serve.Options{})
	for _, tt := range []struct {
		method, target string
		code           int
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"POST", "/", 405},
		{"PUT", "/releases/hello/1.10.0/files/release.json", 405},
		{"DELETE", "/charts/index.yaml", 405},
		{"OPTIONS", "/healthz", 405},
		{"CONNECT", "/", 405},
		{"GET", "/healthz", 200},
		{"GET", "/readyz", 200},
		{"GET", "/metrics", 200},
		{"GET", "/robots.txt", 200},
		{"GET", "/favicon.ico", 404},
		{"GET", "/releases.json", 200},
		{"GET", "/releases", 404},
		{"GET", "/releases/", 404},
		{"GET", "/releases/hello/", 404},
		{"GET", "/releases/hello/1.10.0", 308},
		{"GET", "/releases/hello/1.10.0/", 200},
		{"GET", "/releases/hello/v1.10.0/", 404},
		{"GET", "/releases/hello/1.10.0/x", 404},
		{"GET", "/releases/hello/3.0.0/", 404},
		{"GET", "/releases/world/0.2.0/", 404},
		{"GET", "/releases/world/0.2.0/files/release.json", 404},
		{"GET", "/releases/hello/1.10.0/files/", 404},
		{"GET", "/releases/hello/1.10.0/files/release.json", 200},
		{"HEAD", "/releases/hello/1.10.0/files/SHA256SUMS", 200},
		{"GET", "/releases/hello/1.10.0/files/images/index.json", 200},
		{"GET", "/releases/hello/1.10.0/files/images", 404},
		{"GET", "/releases/hello/1.10.0/files/build.log", 404},
		{"GET", "/releases/hello/1.10.0/files/report.html", 404},
		{"GET", "/releases/hello/1.10.0/files/../1.9.0/release.json", 400},
		{"GET", "/releases/hello/1.10.0/files/%2e%2e/1.9.0/release.json", 400},
		{"GET", "/releases/hello/1.10.0/files/%2E%2E%2Frelease.json", 400},
		{"GET", "/releases/hello/1.10.0/files/..%5crelease.json", 400},
		{"GET", "/releases/hello/1.10.0/files/%00", 400},
		{"GET", "/releases/hello/1.10.0/files/%ff", 400},
		{"GET", "/releases//hello/1.10.0/", 400},
		{"GET", "/./", 400},
		{"GET", "/releases/hello/1.10.0/files/%252e%252e/release.json", 404},
		{"GET", "/charts/", 404},
		{"GET", "/charts/index.yaml", 200},
		{"GET", "/charts/index.yaml/", 404},
		{"GET", "/charts/hello-1.10.0.tgz", 200},
		{"GET", "/charts/hello-0.0.0.tgz", 404},
		{"GET", "/charts/x/hello-1.10.0.tgz", 404},
		{"GET", "/?utm_source=x", 200},
		{"GET", "/?q=" + strings.Repeat("x", 2048), 414},
		{"GET", "/" + strings.Repeat("x", 2048), 414},
		{"GET", "/healthz?" + strings.Repeat("x", 2048), 414},
	} {
		w := do(h, tt.method, tt.target)
		if w.Code != tt.code {
			t.Errorf("%s %.80s: %d, want %d", tt.method, tt.target, w.Code, tt.code)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %.80s: %s is %q, want %q", tt.method, tt.target, name, got, want)
			}
		}
		if !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none';") {
			t.Errorf("%s %.80s: no policy", tt.method, tt.target)
		}
		if w.Code == 405 && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %.80s: Allow is %q", tt.method, tt.target, w.Header().Get("Allow"))
		}
		if w.Code >= 400 && w.Header().Get("Cache-Control") != "no-store" && !strings.HasPrefix(tt.target, "/healthz") {
			t.Errorf("%s %.80s: an error may be cached: %q", tt.method, tt.target, w.Header().Get("Cache-Control"))
		}
		if tt.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("%s %s has a body", tt.method, tt.target)
		}
	}
	if got := get(h, "/releases/hello/1.10.0").Header().Get("Location"); got != "1.10.0/" {
		t.Errorf("redirected to %q", got)
	}
	if got := get(h, "/robots.txt").Body.String(); got != "User-agent: *\nDisallow: /\n" {
		t.Errorf("robots.txt is %q", got)
	}
}

func TestDownload(t *testing.T) {
	root := t.TempDir()
	payload := []byte(strings.Repeat("0123456789", 20_000))
	r := write(t, root, verifytest.Options{Payload: payload})
	h := serving(t, root, serve.Options{})
	const target = "/releases/hello/1.2.3/files/archives/hello_1.2.3_linux_amd64.tar.gz"
	tag := `"` + string(artifact.Sum(payload)) + `"`

	w := get(h, target)
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), payload) {
		t.Fatalf("%d with %d bytes", w.Code, w.Body.Len())
	}
	for name, want := range map[string]string{
		"ETag":                tag,
		"Content-Type":        "application/gzip",
		"Content-Length":      "200000",
		"Content-Disposition": "attachment; filename=hello_1.2.3_linux_amd64.tar.gz",
		"Cache-Control":       "public, max-age=31536000, immutable",
		"Accept-Ranges":       "bytes",
		"Last-Modified":       "Sat, 14 Mar 2026 15:09:26 GMT",
		"Repr-Digest":         "sha-256=:" + base64Of(t, artifact.Sum(payload)) + ":",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}

	for _, tt := range []struct {
		name   string
		header []string
		code   int
		body   string
	}{
		{"matching tag", []string{"If-None-Match", tag}, 304, ""},
		{"matching tag among others", []string{"If-None-Match", `"x", ` + tag}, 304, ""},
		{"another tag", []string{"If-None-Match", `"sha256:00"`}, 200, string(payload)},
		{"precondition", []string{"If-Match", `"sha256:00"`}, 412, ""},
		{"range", []string{"Range", "bytes=10-19"}, 206, "0123456789"},
		{"suffix", []string{"Range", "bytes=-3"}, 206, "789"},
		{"open range", []string{"Range", "bytes=199998-"}, 206, "89"},
		{"range past the end", []string{"Range", "bytes=199998-999999999999999"}, 206, "89"},
		{"range if unchanged", []string{"Range", "bytes=0-0", "If-Range", tag}, 206, "0"},
		{"range if unchanged, and it is not", []string{"Range", "bytes=0-0", "If-Range", `"sha256:00"`}, 200, string(payload)},
		{"range outside", []string{"Range", "bytes=200000-"}, 416, "invalid range: failed to overlap\n"},
		{"no number", []string{"Range", "bytes=99999999999999999999999999-"}, 416, "invalid range\n"},
		{"no range", []string{"Range", "bytes=9-1"}, 416, "invalid range\n"},
		{"nine ranges", []string{"Range", "bytes=" + strings.Repeat("0-0,", 8) + "0-0"}, 416, "too many ranges at once\n"},
		{"ranges that are more than the file", []string{"Range", "bytes=0-,0-,0-"}, 200, string(payload)},
	} {
		w := get(h, target, tt.header...)
		if w.Code != tt.code || w.Body.String() != tt.body {
			t.Errorf("%s: %d %.60q, want %d %.60q", tt.name, w.Code, w.Body, tt.code, tt.body)
		}
		if w.Code >= 400 {
			for _, name := range []string{"ETag", "Repr-Digest", "Content-Disposition"} {
				if got := w.Header().Get(name); got != "" {
					t.Errorf("%s: an error goes with %s %q", tt.name, name, got)
				}
			}
		}
	}
	if w := get(h, target, "Range", "bytes=0-1,4-5,8-9"); w.Code != 206 || !strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/byteranges") {
		t.Errorf("three ranges: %d %s", w.Code, w.Header().Get("Content-Type"))
	}

	// Everything that the manifest lists comes as it lists it, and so do the two that list.
	for _, f := range r.Files {
		if w := get(h, "/releases/hello/1.2.3/files/"+f.Path); artifact.Sum(w.Body.Bytes()) != f.Digest {
			t.Errorf("%s: %d, and other bytes", f.Path, w.Code)
		}
	}
	for _, name := range []string{manifest.FileName, manifest.ChecksumsName} {
		want, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		if w := get(h, "/releases/hello/1.2.3/files/"+name); !bytes.Equal(w.Body.Bytes(), want) || w.Header().Get("ETag") != `"`+string(artifact.Sum(want))+`"` {
			t.Errorf("%s: %d %s", name, w.Code, w.Header())
		}
	}
}

func TestUnpublishableIsNotKept(t *testing.T) {
	h := serving(t, shelves(t), serve.Options{})
	w := get(h, "/releases/world/0.1.0/files/release.json")
	if got := w.Header().Get("Cache-Control"); w.Code != 200 || got != "no-cache" {
		t.Errorf("%d, Cache-Control %q, want no-cache", w.Code, got)
	}
}

func TestDocumentsAreValidated(t *testing.T) {
	h := serving(t, shelves(t), serve.Options{})
	for _, target := range []string{"/", "/releases.json", "/charts/index.yaml", "/releases/hello/1.9.0/"} {
		w := get(h, target)
		tag := w.Header().Get("ETag")
		if want := `"` + string(artifact.Sum(w.Body.Bytes())) + `"`; tag != want {
			t.Errorf("%s: ETag %s, want %s", target, tag, want)
		}
		if w := get(h, target, "If-None-Match", tag); w.Code != http.StatusNotModified {
			t.Errorf("%s: %d, want 304", target, w.Code)
		}
	}
}

// TestDamage changes a release while it is served: nothing is sent under a digest that may not be its own.
func TestDamage(t *testing.T) {
	const archive = "archives/hello_1.2.3_linux_amd64.tar.gz"
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, root, file string)
		want   int
	}{
		{"shorter", func(t *testing.T, _, file string) { must(t, os.Truncate(file, 3)) }, 500},
		{"longer", func(t *testing.T, _, file string) { must(t, os.Truncate(file, 300)) }, 500},
		{"gone", func(t *testing.T, _, file string) { must(t, os.Remove(file)) }, 500},
		{"a folder", func(t *testing.T, _, file string) {
			must(t, os.Remove(file))
			must(t, os.Mkdir(file, 0o755))
		}, 500},
		{"a link", func(t *testing.T, _, file string) {
			must(t, os.Rename(file, file+".moved"))
			must(t, os.Symlink(filepath.Base(file)+".moved", file))
		}, 500},
		{"a folder that leads outside", func(t *testing.T, root, file string) {
			outside := t.TempDir()
			must(t, os.Rename(filepath.Dir(file), filepath.Join(outside, "archives")))
			must(t, os.Symlink(filepath.Join(outside, "archives"), filepath.Dir(file)))
		}, 500},
		{"other bytes", func(t *testing.T, _, file string) { flip(t, file, 5) }, 500},
		{"the release replaced", func(t *testing.T, root, _ string) {
			write(t, root+".new", verifytest.Options{Payload: []byte("27 other bytes are in this.")})
			must(t, os.Rename(root, root+".old"))
			must(t, os.Rename(root+".new", root))
		}, 200},
		{"the release gone", func(t *testing.T, root, _ string) { must(t, os.RemoveAll(root)) }, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			dist := filepath.Join(root, "1.2.3")
			write(t, dist, verifytest.Options{})
			h := serving(t, root, serve.Options{Rescan: time.Hour})
			target := "/releases/hello/1.2.3/files/" + archive
			w := get(h, target)
			if w.Code != http.StatusOK {
				t.Fatalf("before the damage: %d", w.Code)
			}
			tag := w.Header().Get("ETag")
			tt.damage(t, dist, filepath.Join(dist, filepath.FromSlash(archive)))
			for _, header := range [][]string{nil, {"Range", "bytes=0-9"}, {"If-None-Match", `"x"`}} {
				w = get(h, target, header...)
				if tt.want == http.StatusOK {
					if w.Header().Get("ETag") == tag || header == nil && w.Body.String() != "27 other bytes are in this." {
						t.Errorf("%d %q with ETag %q", w.Code, w.Body, tag)
					}
				} else if w.Code != tt.want || w.Header().Get("ETag") != "" {
					t.Errorf("%q: %d %q with ETag %q, want %d", header, w.Code, w.Body, w.Header().Get("ETag"), tt.want)
				}
			}
			damaged := 0
			if tt.want == http.StatusInternalServerError {
				damaged = 1
				if body := get(h, "/releases/hello/1.2.3/").Body.String(); !strings.Contains(body, "damaged") {
					t.Error("the page says nothing of it")
				}
			}
			if text := get(h, "/metrics").Body.String(); !strings.Contains(text, fmt.Sprintf("slipway_damaged_files %d\n", damaged)) {
				t.Errorf("want %d damaged files in:\n%s", damaged, text)
			}
		})
	}
}

// flip turns over a bit of a file, whose time of modification stays.
func flip(t testing.TB, name string, bit int64) {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, bit/8)
	must(t, err)
	b[0] ^= 1 << (bit % 8)
	_, err = f.WriteAt(b, bit/8)
	must(t, errors.Join(err, f.Close(), os.Chtimes(name, info.ModTime(), info.ModTime())))
}

// TestBitFlips turns over a bit here and there in a folder that is served. Whatever is sent is what it is said to be.
func TestBitFlips(t *testing.T) {
	root := t.TempDir()
	r := write(t, root, verifytest.Options{Payload: bytes.Repeat([]byte("more than is sent from memory"), 3000)})
	h := serving(t, root, serve.Options{Rescan: time.Hour})
	chance := rand.New(rand.NewPCG(1, 2)) // the same each time
	sent, refused := 0, 0
	ask := func(f artifact.File) {
		w := get(h, "/releases/hello/1.2.3/files/"+f.Path)
		switch {
		case w.Code == http.StatusOK && artifact.Sum(w.Body.Bytes()) == f.Digest && w.Header().Get("ETag") == `"`+string(f.Digest)+`"`:
			sent++
		case w.Code == http.StatusInternalServerError && w.Header().Get("ETag") == "":
			refused++
		default:
			t.Fatalf("%s: %d with ETag %s has the digest %s", f.Path, w.Code, w.Header().Get("ETag"), artifact.Sum(w.Body.Bytes()))
		}
	}
	const flips = 1000
	for range flips {
		f := r.Files[chance.IntN(len(r.Files))]
		name, bit := filepath.Join(root, filepath.FromSlash(f.Path)), chance.Int64N(f.Size*8)
		flip(t, name, bit)
		ask(f)
		ask(r.Files[chance.IntN(len(r.Files))])
		flip(t, name, bit)
		ask(f)
	}
	if refused < flips || sent < flips {
		t.Errorf("%d were sent and %d refused", sent, refused)
	}
}

// A file that has settled is read once. What changes it afterwards is seen all the same.
func TestSettled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no time of a file is out of the reach of programs here")
	}
	defer serve.Grain(50 * time.Millisecond)()
	root := t.TempDir()
	r := write(t, root, verifytest.Options{Payload: bytes.Repeat([]byte("more than is sent from memory"), 3000)})
	s := serve.New(serve.Options{Root: root, Rescan: time.Hour, CheckRate: 1 << 40, CheckPause: time.Hour})
	h := s.Handler()
	for _, f := range []artifact.File{
		r.Files[slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Size > 80_000 })],
		r.Files[slices.IndexFunc(r.Files, func(f artifact.File) bool { return f.Size < 1000 })],
	} {
		name, target := filepath.Join(root, filepath.FromSlash(f.Path)), "/releases/hello/1.2.3/files/"+f.Path
		ask := func(when string, want int) {
			t.Helper()
			for range 2 {
				w := get(h, target)
				if w.Code != want || want == http.StatusOK && artifact.Sum(w.Body.Bytes()) != f.Digest {
					t.Errorf("%s, %s: %d with %d bytes, want %d", f.Path, when, w.Code, w.Body.Len(), want)
				}
			}
		}
		settle := func() { time.Sleep(60 * time.Millisecond) }
		settle()
		ask("at first", http.StatusOK)
		flip(t, name, 9)
		ask("damaged", http.StatusInternalServerError)
		settle()
		ask("damaged for a while", http.StatusInternalServerError)
		flip(t, name, 9)
		ask("repaired", http.StatusOK)
		settle()
		ask("repaired for a while", http.StatusOK)

		// A disk that loses a bit changes no time. Whoever reads everything finds it.
		flip(t, name, 9)
		settle()
		must(t, s.Trust("hello/1.2.3", f.Path))
		s.Patrol(t.Context())
		ask("lost and found", http.StatusInternalServerError)
		flip(t, name, 9)
		settle()
		s.Patrol(t.Context())
		ask("repaired at last", http.StatusOK)
	}
	if text := get(h, "/metrics").Body.String(); !strings.Contains(text, "slipway_damaged_files 0\n") || strings.Contains(text, "slipway_check_bytes_total 0\n") {
		t.Errorf("after the repair:\n%s", text)
	}
}

// A file that changes while it is sent is cut off, so that nobody takes it for whole.
func TestChangedWhileSent(t *testing.T) {
	r, payload := run(t, serve.Options{})
	_, body := r.request(t)
	flip(t, filepath.Join(r.root, "archives", "hello_1.2.3_linux_amd64.tar.gz"), int64(len(payload)*8-1))
	n, err := io.CopyN(io.Discard, body, int64(len(payload)))
	if err == nil {
		t.Errorf("all %d bytes were sent", n)
	}
}

// Everything is read in the background as fast as is allowed.
func TestCheckRate(t *testing.T) {
	root := t.TempDir()
	write(t, root, verifytest.Options{Payload: make([]byte, 300_000)})
	var out lines
	flip(t, filepath.Join(root, "charts", "hello-1.2.3.tgz"), 100)
	s := serve.New(serve.Options{Root: root, Log: slog.NewJSONHandler(&out, nil), CheckRate: 2_000_000, CheckPause: time.Hour})
	start := time.Now()
	s.Patrol(t.Context())
	if took := time.Since(start); took < 150*time.Millisecond {
		t.Errorf("300,000 bytes at 2,000,000 a second took %s", took)
	}
	s.Patrol(t.Context())
	if n := strings.Count(out.b.String(), `"path":"charts/hello-1.2.3.tgz"`); n != 1 {
		t.Errorf("the damage is told of %d times:\n%s", n, out.b.String())
	}
	if text := get(s.Handler(), "/metrics").Body.String(); !strings.Contains(text, "slipway_damaged_files 1\n") || !strings.Contains(text, "slipway_check_rounds_total 2\n") {
		t.Errorf("the metrics are\n%s", text)
	}
}

// Who comes first after a quiet time sees what is there.
func TestFirstVisitor(t *testing.T) {
	for _, dir := range []string{"", "hello"} {
		root := t.TempDir()
		at := func(version string) string { return filepath.Join(root, dir, version) }
		write(t, at("1.0.0"), verifytest.Options{Version: "1.0.0"})
		h := serving(t, root, serve.Options{Rescan: time.Hour})
		quiet := func() { time.Sleep(30 * time.Millisecond) }
		quiet()
		write(t, at(".new"), verifytest.Options{Version: "1.1.0"})
		quiet()
		must(t, os.Rename(at(".new"), at("1.1.0")))
		if body := get(h, "/").Body.String(); !strings.Contains(body, "1.1.0") || !strings.Contains(body, "1.0.0") {
			t.Errorf("%q: what was added is not there:\n%s", dir, body)
		}
		quiet()
		must(t, os.RemoveAll(at("1.0.0")))
		if got := list(t, h).Releases; len(got) != 1 || got[0].Version != "1.1.0" {
			t.Errorf("%q: what was taken away is there: %+v", dir, got)
		}
		quiet()
		tell(t, root, verdict(t, at("1.1.0"), "hello", "1.1.0", ledger.Pass, ""))
		if body := get(h, "/releases/hello/1.1.0/").Body.String(); !strings.Contains(body, "PASS: rebuilt") {
			t.Errorf("%q: what was found out is not there", dir)
		}
	}
}

func TestLayouts(t *testing.T) {
	for _, dir := range []string{".", "1.2.3", "hello/1.2.3", "any/thing"} {
		root := t.TempDir()
		write(t, filepath.Join(root, dir), verifytest.Options{})
		if w := get(serving(t, root, serve.Options{}), "/releases/hello/1.2.3/"); w.Code != http.StatusOK {
			t.Errorf("%s: %d", dir, w.Code)
		}
	}
	root := t.TempDir()
	write(t, filepath.Join(root, "a/b/c"), verifytest.Options{})
	if w := get(serving(t, root, serve.Options{}), "/releases/hello/1.2.3/"); w.Code != http.StatusNotFound {
		t.Errorf("a release deeper than the bound: %d", w.Code)
	}
}

type listing struct {
	Releases []struct {
		Name, Version, Path     string
		Prerelease              bool
		Unpublishable, Problems []string
	}
	Broken []struct{ Folder, Error string }
}

func list(t testing.TB, h http.Handler) listing {
	t.Helper()
	var l listing
	must(t, json.Unmarshal(get(h, "/releases.json").Body.Bytes(), &l))
	return l
}

// TestSecondList has a release whose second list of checksums is not that of its manifest: it keeps only itself out.
func TestSecondList(t *testing.T) {
	for name, plant := range map[string]func(file string) error{
		"missing": os.Remove,
		"other":   func(file string) error { return os.WriteFile(file, []byte("x"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, verifytest.Options{Downloads: true})
			if w := get(serving(t, root, serve.Options{}), "/releases/hello/1.2.3/files/"+manifest.DownloadsName); w.Code != http.StatusOK {
				t.Fatalf("as it is: %d", w.Code)
			}
			must(t, plant(filepath.Join(root, manifest.DownloadsName)))
			h := serving(t, root, serve.Options{})
			l := list(t, h)
			if len(l.Releases) != 1 || len(l.Releases[0].Problems) != 1 || !strings.Contains(l.Releases[0].Problems[0], "checksums.txt is not served") {
				t.Errorf("want a release with a problem: %+v", l)
			}
			if w := get(h, "/releases/hello/1.2.3/files/"+manifest.DownloadsName); w.Code != http.StatusNotFound {
				t.Errorf("the list: %d", w.Code)
			}
			if w := get(h, "/releases/hello/1.2.3/"); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "files/"+manifest.DownloadsName) {
				t.Errorf("the page leads to it: %d", w.Code)
			}
		})
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options verifytest.Options
		plant   func(t *testing.T, dir string)
		want    string
	}{
		{
			"empty manifest",
			verifytest.Options{},
			func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, manifest.FileName), 0)) },
			"reading manifest",
		},
		{
			"giant manifest",
			verifytest.Options{},
			func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, manifest.FileName), 17<<20)) },
			"more than 16777216 bytes",
		},
		{
			"manifest is a link",
			verifytest.Options{},
			func(t *testing.T, dir string) {
				name := filepath.Join(dir, manifest.FileName)
				must(t, os.Rename(name, name+".moved"))
				must(t, os.Symlink(manifest.FileName+".moved", name))
			},
			"release.json is not a regular file",
		},
		{
			"no checksums",
			verifytest.Options{},
			func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, manifest.ChecksumsName))) },
			"SHA256SUMS: no such file",
		},
		{
			"other checksums",
			verifytest.Options{},
			func(t *testing.T, dir string) {
				must(t, os.WriteFile(filepath.Join(dir, manifest.ChecksumsName), nil, 0o644))
			},
			"SHA256SUMS does not say what release.json says",
		},
		{
			"a name with a separator",
			verifytest.Options{EditManifest: func(r *manifest.Release) { r.Name = "a/b" }},
			func(*testing.T, string) {}, `"a/b" cannot stand in a path`,
		},
		{
			"a name that leaves the folder",
			verifytest.Options{EditManifest: func(r *manifest.Release) { r.Name = ".." }},
			func(*testing.T, string) {}, `".." cannot stand in a path`,
		},
		{
			"a name of control characters",
			verifytest.Options{EditManifest: func(r *manifest.Release) { r.Name = "a\nb" }},
			func(*testing.T, string) {}, `"a\nb" cannot stand in a path`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "good"), verifytest.Options{Version: "2.0.0"})
			write(t, filepath.Join(root, "bad"), tt.options)
			tt.plant(t, filepath.Join(root, "bad"))
			h := serving(t, root, serve.Options{})
			l := list(t, h)
			if len(l.Releases) != 1 || len(l.Broken) != 1 || l.Broken[0].Folder != "bad" || !strings.Contains(l.Broken[0].Error, tt.want) {
				t.Errorf("want one broken release that says %q: %+v", tt.want, l)
			}
			if strings.Contains(get(h, "/releases.json").Body.String(), root) {
				t.Error("a path of the machine is shown")
			}
		})
	}
}

func TestSameReleaseTwice(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), verifytest.Options{})
	write(t, filepath.Join(root, "b"), verifytest.Options{Payload: []byte("another")})
	l := list(t, serving(t, root, serve.Options{}))
	if len(l.Releases) != 1 || len(l.Broken) != 1 || l.Broken[0].Error != "is hello 1.2.3, as is a" {
		t.Errorf("%+v", l)
	}
}

func TestTooMany(t *testing.T) {
	if testing.Short() {
		t.Skip("many folders")
	}
	root := t.TempDir()
	for i := range 1005 {
		dir := filepath.Join(root, fmt.Sprint(i))
		must(t, os.Mkdir(dir, 0o755))
		for _, name := range []string{manifest.FileName, manifest.ChecksumsName} {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
		}
	}
	l := list(t, serving(t, root, serve.Options{}))
	if n := len(l.Broken); n != 1000 {
		t.Errorf("%d folders are told of", n)
	}

	defer serve.Entries(100)()
	root = t.TempDir()
	for i := range 105 {
		must(t, os.Mkdir(filepath.Join(root, fmt.Sprint(i)), 0o755))
	}
	l = list(t, serving(t, root, serve.Options{}))
	if len(l.Broken) == 0 || !strings.Contains(l.Broken[0].Error, "more than 100 entries") {
		t.Errorf("%+v", l)
	}
}

func TestRescan(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, "releases")
	write(t, filepath.Join(root, "a"), verifytest.Options{Version: "1.0.0"})
	h := serving(t, root, serve.Options{})
	count := func() int { return len(list(t, h).Releases) }
	if count() != 1 {
		t.Fatal("the first release is not there")
	}
	write(t, filepath.Join(root, ".b"), verifytest.Options{Version: "1.1.0"})
	must(t, os.Rename(filepath.Join(root, ".b"), filepath.Join(root, "b")))
	eventually(t, "the second release", func() bool { return count() == 2 })
	must(t, os.RemoveAll(filepath.Join(root, "a")))
	eventually(t, "its end", func() bool { return count() == 1 })

	must(t, os.Rename(root, root+".away"))
	eventually(t, "the end of readiness", func() bool { return get(h, "/readyz").Code == http.StatusServiceUnavailable })
	if get(h, "/healthz").Code != http.StatusOK || count() != 1 {
		t.Error("what was read is not served any more")
	}
	if strings.Contains(get(h, "/readyz").Body.String(), parent) {
		t.Error("a path of the machine is shown")
	}
	must(t, os.Rename(root+".away", root))
	eventually(t, "readiness", func() bool { return get(h, "/readyz").Code == http.StatusOK })
}

func TestNotReadable(t *testing.T) {
	h := serve.New(serve.Options{Root: filepath.Join(t.TempDir(), "none")}).Handler()
	for _, target := range []string{"/", "/releases.json", "/charts/index.yaml", "/readyz", "/releases/hello/1.2.3/"} {
		if w := get(h, target); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", target, w.Code, w.Header())
		}
	}
	if w := get(h, "/healthz"); w.Code != http.StatusOK {
		t.Errorf("/healthz: %d", w.Code)
	}
}

func TestEmpty(t *testing.T) {
	h := serving(t, t.TempDir(), serve.Options{})
	if w := get(h, "/"); !strings.Contains(w.Body.String(), "No release is here yet") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := get(h, "/releases.json").Body.String(); got != "{\n  \"releases\": [],\n  \"broken\": []\n}\n" {
		t.Errorf("releases.json is %s", got)
	}
}

func TestMetrics(t *testing.T) {
	h := serving(t, shelves(t), serve.Options{Version: "1.2.3", Commit: "quote\" backslash\\ newline\n"})
	get(h, "/")
	sent := get(h, "/releases/hello/1.10.0/files/archives/hello_1.10.0_linux_arm64.tar.gz").Body.Len()
	get(h, "/etc/passwd")
	get(h, "/"+strings.Repeat("x", 3000))
	do(h, "BREW", "/")
	text := get(h, "/metrics").Body.String()
	for _, want := range []string{
		`slipway_build_info{version="1.2.3",commit="quote\" backslash\\ newline\n",goversion="go`,
		`slipway_http_requests_total{route="home",code="200"} 1`,
		`slipway_http_requests_total{route="home",code="405"} 1`,
		`slipway_http_requests_total{route="file",code="200"} 1`,
		`slipway_http_requests_total{route="other",code="404"} 1`,
		`slipway_http_requests_total{route="other",code="414"} 1`,
		fmt.Sprintf(`slipway_http_response_bytes_total{route="file"} %d`, sent),
		`slipway_http_requests_in_flight 1`,
		`slipway_http_request_duration_seconds_bucket{route="file",le="+Inf"} 1`,
		`slipway_http_request_duration_seconds_count{route="file"} 1`,
		`slipway_releases 4`,
		`slipway_broken_releases 1`,
		`slipway_scans_total{result="error"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	// The format of the whole: every sample belongs to the family that was declared last.
	family := ""
	for line := range strings.Lines(text) {
		if f, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, _, _ = strings.Cut(f, " ")
			continue
		}
		if !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, family) || family == "" && !strings.HasPrefix(line, "# ") {
			t.Errorf("%q is not of %q", line, family)
		}
	}
	for _, leak := range []string{"passwd", "BREW", "xxx"} {
		if strings.Contains(text, leak) {
			t.Errorf("a client put %q into the metrics", leak)
		}
	}
}

func TestHistogramIsCumulative(t *testing.T) {
	h := serving(t, t.TempDir(), serve.Options{})
	for range 5 {
		get(h, "/")
	}
	last, seen := int64(-1), 0
	for line := range strings.Lines(get(h, "/metrics").Body.String()) {
		if !strings.HasPrefix(line, `slipway_http_request_duration_seconds_bucket{route="home"`) {
			continue
		}
		var n int64
		_, err := fmt.Sscan(line[strings.LastIndex(line, " "):], &n)
		must(t, err)
		if n < last {
			t.Errorf("%d follows %d", n, last)
		}
		last = n
		seen++
	}
	if last != 5 || seen != 10 {
		t.Errorf("%d buckets, the last with %d", seen, last)
	}
}

func FuzzRequest(f *testing.F) {
	root := f.TempDir()
	r := write(f, root, verifytest.Options{})
	digests := map[string]artifact.Digest{}
	for _, file := range r.Files {
		digests["/releases/hello/1.2.3/files/"+file.Path] = file.Digest
	}
	h := serving(f, root, serve.Options{Rescan: time.Hour})
	for _, path := range []string{
		"/", "/releases/hello/1.2.3/", "/releases/hello/1.2.3/files/release.json", "/charts/hello-1.2.3.tgz", "/charts/index.yaml",
		"/releases/hello/1.2.3/files/%2e%2e/%2e%2e/etc/passwd", "//", "/%00", "/releases/..%2f..%2fetc/passwd", "/releases/hello/1.2.3/files/build.log",
		"/releases/hello/1.2.3/files/images/oci-layout", "*", "/releases/hello/1.2.3/files/./release.json", "/?x=%zz",
	} {
		f.Add(path, "bytes=0-1,3-")
		f.Add(path, "")
	}
	f.Fuzz(func(t *testing.T, target, ranges string) {
		r, err := http.NewRequest(http.MethodGet, "http://example.com", http.NoBody)
		must(t, err)
		u, err := r.URL.Parse(target)
		if err != nil {
			t.Skip("not an address")
		}
		r.URL = u
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%q: %d %s", target, w.Code, w.Body)
		}
		if w.Code != http.StatusOK || !strings.Contains(u.Path, "/files/") {
			return
		}
		switch want, ok := digests[u.Path]; {
		case ok && artifact.Sum(w.Body.Bytes()) != want:
			t.Errorf("%q: other bytes than the manifest lists", target)
		case !ok && u.Path != "/releases/hello/1.2.3/files/release.json" && u.Path != "/releases/hello/1.2.3/files/SHA256SUMS":
			t.Errorf("%q: served, and not in the manifest", target)
		}
	})
}

func BenchmarkDownload(b *testing.B) {
	root := b.TempDir()
	payload := make([]byte, 64<<20)
	write(b, root, verifytest.Options{Payload: payload})
	server := httptest.NewServer(serving(b, root, serve.Options{}))
	defer server.Close()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		resp, err := http.Get(server.URL + "/releases/hello/1.2.3/files/archives/hello_1.2.3_linux_amd64.tar.gz")
		must(b, err)
		n, err := io.Copy(io.Discard, resp.Body)
		must(b, err)
		must(b, resp.Body.Close())
		if n != int64(len(payload)) {
			b.Fatalf("%d bytes", n)
		}
	}
}

// Many releases are on pages of a hundred, of which each has what the one before has not; what somebody looks for is found
// on one, and the highest stable version has an address of its own.
func TestMany(t *testing.T) {
	root := t.TempDir()
	for i := range 105 {
		write(t, filepath.Join(root, fmt.Sprint(i)), verifytest.Options{Version: fmt.Sprintf("1.0.%d", i), Bare: true})
	}
	write(t, filepath.Join(root, "next"), verifytest.Options{Version: "2.0.0-rc.1", Bare: true})
	h := serving(t, root, serve.Options{})
	if n := len(list(t, h).Releases); n != 106 {
		t.Fatalf("%d releases are listed", n)
	}
	links := regexp.MustCompile(`href="releases/hello/([^"/]+)/"`)
	versions := func(address string) (all []string, next string) {
		body := get(h, address).Body.String()
		for _, m := range links.FindAllStringSubmatch(body, -1) {
			all = append(all, m[1])
		}
		if m := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(body); m != nil {
			next = "/" + html.UnescapeString(m[1])
		}
		return all, next
	}
	var all []string
	for at := "/"; at != ""; {
		some, next := versions(at)
		if len(some) == 0 || len(some) > 100 {
			t.Fatalf("%s lists %d releases", at, len(some))
		}
		all, at = append(all, some...), next
	}
	if len(all) != 106 || all[0] != "2.0.0-rc.1" || all[1] != "1.0.104" || all[105] != "1.0.0" || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 106 {
		t.Errorf("the pages list %d releases: %q", len(all), all)
	}
	if some, next := versions("/?q=1.0.10"); !slices.Equal(some, []string{"1.0.104", "1.0.103", "1.0.102", "1.0.101", "1.0.100", "1.0.10"}) || next != "" {
		t.Errorf("1.0.10 finds %q and goes on at %q", some, next)
	}
	if some, next := versions("/?q=1.0"); len(some) != 100 || next != "/?page=2&q=1.0" {
		t.Errorf("1.0 finds %d on a page and goes on at %q", len(some), next)
	}
	if body := get(h, "/?q=%3Cb%3E").Body.String(); !strings.Contains(body, "No release has that") || strings.Contains(body, "<b>") {
		t.Errorf("what is in no version: %s", body)
	}
	for _, at := range []string{"/?page=3", "/?page=0", "/?page=x"} {
		if code := get(h, at).Code; code != http.StatusNotFound {
			t.Errorf("%s: %d", at, code)
		}
	}
	for at, want := range map[string]string{
		"/latest":                             "releases/hello/1.0.104/",
		"/latest/SHA256SUMS":                  "../releases/hello/1.0.104/download/SHA256SUMS",
		"/releases/hello/latest":              "../../releases/hello/1.0.104/",
		"/releases/hello/latest/":             "../../../releases/hello/1.0.104/",
		"/releases/hello/latest/release.json": "../../../releases/hello/1.0.104/download/release.json",
	} {
		res := get(h, at)
		if res.Code != http.StatusFound || res.Header().Get("Location") != want || res.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d to %s, want %s", at, res.Code, res.Header().Get("Location"), want)
		}
	}
	for _, at := range []string{"/latest/a/b", "/latestx", "/releases/other/latest"} {
		if code := get(h, at).Code; code != http.StatusNotFound {
			t.Errorf("%s: %d", at, code)
		}
	}
	// Each is read when it is asked for, whatever was read before.
	for _, v := range all {
		if code := get(h, "/releases/hello/"+v+"/files/SHA256SUMS").Code; code != http.StatusOK {
			t.Errorf("%s: %d", v, code)
		}
	}
}
