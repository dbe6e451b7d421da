package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// site serves the files of a release below /r/, and remembers what it was asked for.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked []string
	// answer, if set, may answer in the place of the files.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newSite(t *testing.T, files map[string][]byte) *site {
	t.Helper()
	s := &site{files: files}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	// Whatever is fetched goes away again, also after an error.
	room := t.TempDir()
	t.Setenv("TMPDIR", room)
	t.Setenv("TMP", room)
	t.Cleanup(func() {
		if left, err := os.ReadDir(room); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Path)
	if r.Header.Get("Authorization") != "" || r.Method != http.MethodGet {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if s.answer != nil && s.answer(w, r) {
		return
	}
	b, ok := s.files[strings.TrimPrefix(r.URL.Path, "/r/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(b)
}

// TestURL fetches a signed release, exactly what it consists of, each file once.
func TestURL(t *testing.T) {
	f := signed(t, "1.2.3")
	s := newSite(t, f.files)
	for _, address := range []string{s.URL + "/r", s.URL + "/r/", s.URL + "/r/release.json"} {
		s.asked = nil
		o := keys(ours())
		o.Verifier = "slipway 0.0.0"
		report, err := verify.URL(t.Context(), address, o)
		must(t, err)
		local := f.passed(o)
		if !reflect.DeepEqual(report.Release, local.Release) {
			t.Errorf("%s: the release from the URL is another one than that from the folder", address)
		}
		report.Release, local.Release = nil, nil // of which there is only an address below
		if got, want := fmt.Sprint(report), fmt.Sprint(local); got != want {
			t.Errorf("%s: from the URL\n%s\nfrom the folder\n%s", address, got, want)
		}
		want := []string{}
		for _, p := range slices.Sorted(maps.Keys(f.files)) {
			if !slices.Contains([]string{"report.html", "build.log", "timings.json"}, p) {
				want = append(want, "/r/"+p)
			}
		}
		slices.Sort(s.asked)
		if !slices.Equal(s.asked, want) {
			t.Errorf("%s: asked for\n%s\nwant\n%s", address, strings.Join(s.asked, "\n"), strings.Join(want, "\n"))
		}
	}
	s.asked = nil
	_, err := verify.URL(t.Context(), s.URL+"/r/", verify.Options{AllowUnsigned: true})
	must(t, err)
	if slices.ContainsFunc(s.asked, func(p string) bool { return isSignature(strings.TrimPrefix(p, "/r/")) }) {
		t.Errorf("signatures were fetched that nobody wants: %v", s.asked)
	}
}

// TestServe checks what the serve command serves.
func TestServe(t *testing.T) {
	root := t.TempDir()
	_, err := verifytest.Write(filepath.Join(root, "hello", "1.2.3"), verifytest.Options{})
	must(t, err)
	server := httptest.NewServer(serve.New(serve.Options{Root: root}).Handler())
	defer server.Close()
	address := server.URL + "/releases/hello/1.2.3/"
	report, err := verify.URL(t.Context(), address, verify.Options{})
	for n := 0; err != nil && fault.CodeOf(err) == fault.Transient && n < 20; n++ { // it has not read the folder yet
		report, err = verify.URL(t.Context(), address, verify.Options{})
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, failures(report))
	}
	damaged := filepath.Join(root, "hello", "1.2.3", filepath.FromSlash(linuxArchive))
	b, err := os.ReadFile(damaged)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(damaged, b, 0o644))
	// The server does not send what is not as the manifest says.
	report, err = verify.URL(t.Context(), address, verify.Options{})
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "the server says 500") || report.Verdict == verify.Pass {
		t.Errorf("%v\n%s", err, failures(report))
	}
}

// An address where there is no release is a mistake of who gave it, and no release that was tampered with.
func TestURLOfNothing(t *testing.T) {
	report, err := verify.URL(t.Context(), newSite(t, map[string][]byte{}).URL+"/r/", keys(ours()))
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "/r/: there is no release.json here, nor in files/ below") || len(report.Rows) > 0 {
		t.Errorf("%v, %d rows", err, len(report.Rows))
	}
}

// TestURLFaults has a server that does not have, or does not send, what the release promises.
func TestURLFaults(t *testing.T) {
	base := signed(t, "1.2.3").files
	change := func(edit func(files map[string][]byte)) map[string][]byte {
		files := maps.Clone(base)
		edit(files)
		return files
	}
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"no manifest", change(func(f map[string][]byte) { f[manifest.FileName] = []byte("[") }), "FAIL manifest release.json reading manifest"},
		{"a large manifest", change(func(f map[string][]byte) { f[manifest.FileName] = bytes.Repeat([]byte(" "), 17<<20) }), "FAIL manifest release.json 16777217 bytes"},
		{"a file missing", change(func(f map[string][]byte) { delete(f, linuxArchive) }), "FAIL archive " + linuxArchive + " missing"},
		{"a byte more", change(func(f map[string][]byte) { f[linuxArchive] = append(bytes.Clone(f[linuxArchive]), 0, 0, 0) }), "FAIL archive " + linuxArchive + " "},
		{"a byte less", change(func(f map[string][]byte) { f[linuxArchive] = f[linuxArchive][1:] }), "FAIL archive " + linuxArchive + " "},
		{"no checksums", change(func(f map[string][]byte) { delete(f, manifest.ChecksumsName) }), "FAIL checksums SHA256SUMS missing"},
		{"no signature", change(func(f map[string][]byte) { delete(f, signature.ManifestBundle) }), "FAIL signature release.json.sigstore.json missing"},
		{"no signatures of images", change(func(f map[string][]byte) {
			maps.DeleteFunc(f, func(p string, _ []byte) bool { return strings.HasPrefix(p, "signatures/") })
		}), "FAIL signature ghcr.io/example/hello@sha256:"},
		{"a signature of an image missing", change(func(f map[string][]byte) {
			for p := range f {
				if strings.HasPrefix(p, "signatures/blobs/") {
					delete(f, p)
				}
			}
		}), "FAIL signature signatures "},
		{"an index that is none", change(func(f map[string][]byte) { f["signatures/index.json"] = []byte("{") }), "FAIL signature signatures "},
		{"an index with digests that are none", change(func(f map[string][]byte) {
			f["signatures/index.json"] = bytes.ReplaceAll(f["signatures/index.json"], []byte("sha256:"), []byte("sha256:../"))
		}), "FAIL signature signatures "},
		{"an index of giants", change(func(f map[string][]byte) {
			f["signatures/index.json"] = bytes.ReplaceAll(f["signatures/index.json"], []byte(`"size":`), []byte(`"size":999999`))
		}), "FAIL signature signatures "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			report, err := verify.URL(t.Context(), newSite(t, tt.files).URL+"/r/", keys(ours()))
			if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(failures(report), tt.want) {
				t.Errorf("%v, code %d; no row %q in\n%s", err, fault.CodeOf(err), tt.want, failures(report))
			}
		})
	}
}

// TestURLServers has servers that fail, or lead elsewhere.
func TestURLServers(t *testing.T) {
	files := signed(t, "1.2.3").files
	only := func(p string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/r/"+p {
				return false
			}
			answer(w, r)
			return true
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	to := func(location string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}
	}
	var calls atomic.Int32
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		code   fault.Code
		want   string
	}{
		{"an error", only(linuxArchive, status(500)), fault.Transient, linuxArchive + ": the server says 500"},
		{"an error at once", only(manifest.FileName, status(502)), fault.Transient, "release.json: the server says 502"},
		{"an error that passes", only(linuxArchive, func(w http.ResponseWriter, _ *http.Request) {
			if calls.Add(1) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write(files[linuxArchive])
		}), fault.OK, ""},
		{"cut off", only(linuxArchive, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("x"))
		}), fault.Transient, linuxArchive + ": unexpected EOF"},
		{"credentials", only(linuxArchive, status(401)), fault.Credentials, "a release is fetched without credentials"},
		{"gone", only(linuxArchive, status(410)), fault.Mismatch, "1 of "},
		{"endless", only(manifest.FileName, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
					return
				}
			}
		}), fault.Mismatch, "1 of 1"},
		{"a redirect", only(linuxArchive, to("/r/moved")), fault.Mismatch, "1 of "},
		{"redirects without end", only(linuxArchive, to("/r/"+linuxArchive)), fault.Mismatch, "it redirects more than 5 times"},
		{"a redirect to another protocol", only(linuxArchive, to("file:///etc/passwd")), fault.Mismatch, "it redirects from http to file"},
		{"a redirect with a user", only(linuxArchive, to("http://me:secret@127.0.0.1:1/")), fault.Mismatch, "it redirects to a URL with a user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, files)
			s.answer = tt.answer
			_, err := verify.URL(t.Context(), s.URL+"/r/", keys(ours()))
			if fault.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, code %d; want %d and %q", err, fault.CodeOf(err), tt.code, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is told: %v", err)
			}
		})
	}
}

// TestURLRedirect follows a redirect to another host, and none from https to http.
func TestURLRedirect(t *testing.T) {
	files := signed(t, "1.2.3").files
	plain := newSite(t, files)
	var target atomic.Value
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.Load().(string)+r.URL.Path, http.StatusFound)
	}))
	defer secure.Close()
	transport := http.DefaultTransport.(*http.Transport)
	before := transport.TLSClientConfig
	transport.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	defer func() { transport.TLSClientConfig = before }()
	target.Store(plain.URL)
	_, err := verify.URL(t.Context(), secure.URL+"/r/", keys(ours()))
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "it redirects from https to http") || len(plain.asked) > 0 {
		t.Errorf("%v, and asked for %v", err, plain.asked)
	}
	other := httptest.NewTLSServer(http.HandlerFunc(plain.serve))
	defer other.Close()
	target.Store(other.URL)
	_, err = verify.URL(t.Context(), secure.URL+"/r/", keys(ours()))
	must(t, err)
	front := httptest.NewServer(http.RedirectHandler(other.URL+"/r/release.json", http.StatusMovedPermanently))
	defer front.Close()
	if _, err = verify.URL(t.Context(), front.URL, keys(ours())); fault.CodeOf(err) != fault.Mismatch { // every file is the manifest
		t.Errorf("%v", err)
	}
}

// TestURLAnnounced asks for nothing of a release that announces more than any has.
func TestURLAnnounced(t *testing.T) {
	f := unsigned(t, nil)
	f.rel.Files[0].Size = verify.MaxDownload - 10
	f.write()
	s := newSite(t, f.files)
	_, err := verify.URL(t.Context(), s.URL+"/r/", verify.Options{})
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "it announces more than") || len(s.asked) != 1 {
		t.Errorf("%v after %v", err, s.asked)
	}
}

// TestURLNames escapes what a path may not have as it is.
func TestURLNames(t *testing.T) {
	f := unsigned(t, nil)
	f.rename(linuxArchive, "archives/100% #1 +ä;é.tar.gz")
	f.seal()
	report, err := verify.URL(t.Context(), newSite(t, f.files).URL+"/r/", verify.Options{})
	if got := failures(report); fault.CodeOf(err) != fault.Mismatch || strings.Contains(got, "missing") || !strings.Contains(got, "FAIL sbom") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestURLUsage(t *testing.T) {
	for _, address := range []string{
		"ftp://example.com/r/", "file:///etc", "http://", "https:///r", "http://me:secret@example.com/", "http://me:secret@exa mple.com/",
		"https://example.com/r/?token=secret", "https://example.com/#secret", "http://%zz/",
	} {
		_, err := verify.URL(t.Context(), address, verify.Options{})
		if fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v, code %d", address, err, fault.CodeOf(err))
		}
		if err != nil && strings.Contains(address, "me:secret") && strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is told: %v", err)
		}
	}
	for s, want := range map[string]bool{"dist": false, "/a/b": false, "https://example.com": true, "HTTP://x": true, `C:\dist`: false} {
		if verify.IsURL(s) != want {
			t.Errorf("%s is a URL: %t", s, !want)
		}
	}
}

// TestURLUnreachable says that it may work later.
func TestURLUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := verify.URL(t.Context(), gone.URL, verify.Options{})
	if fault.CodeOf(err) != fault.Transient || strings.Count(err.Error(), gone.URL) != 1 {
		t.Errorf("%v, code %d", err, fault.CodeOf(err))
	}
}

// TestURLCancelled ends at once, and leaves nothing behind.
func TestURLCancelled(t *testing.T) {
	s := newSite(t, signed(t, "1.2.3").files)
	ctx, stop := context.WithCancel(t.Context())
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if path.Base(r.URL.Path) == manifest.FileName {
			return false
		}
		stop()
		<-r.Context().Done()
		return true
	}
	start := time.Now()
	_, err := verify.URL(ctx, s.URL+"/r/", verify.Options{})
	if err == nil || ctx.Err() == nil || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// FuzzURL has a server answer anything as the index of signatures and the documents that it names.
func FuzzURL(f *testing.F) {
	files := signed(f, "1.2.3").files
	f.Add([]byte(`{"manifests":[{"digest":"sha256:","size":-1}]}`), []byte(`{"layers":[{}]}`))
	f.Add(files["signatures/index.json"], []byte(`{"config":{"digest":"x"}}`))
	f.Fuzz(func(t *testing.T, index, document []byte) {
		var asked atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			p := strings.TrimPrefix(r.URL.Path, "/")
			switch {
			case p == "signatures/index.json":
				_, _ = w.Write(index)
			case strings.HasPrefix(p, "signatures/blobs/"):
				_, _ = w.Write(document)
			case files[p] != nil:
				_, _ = w.Write(files[p])
			default:
				http.NotFound(w, r)
			}
		}))
		defer server.Close()
		report, err := verify.URL(t.Context(), server.URL, keys(ours()))
		if fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%v, code %d\n%s", err, fault.CodeOf(err), failures(report))
		}
	})
}

// TestGitHub checks a release where GitHub has it: without folders, and without what people do not download.
func TestGitHub(t *testing.T) {
	f := signed(t, "1.2.3")
	m, err := manifest.Decode(bytes.NewReader(f.files[manifest.FileName]))
	must(t, err)
	assets := map[string][]byte{}
	offer := func(p string) { assets["/owner/hello/releases/download/v1.2.3/"+path.Base(p)] = f.files[p] }
	for _, l := range m.Files {
		if format.Offered(m, l) {
			offer(l.Path)
		}
	}
	for p := range f.files {
		if p == manifest.FileName || p == manifest.ChecksumsName || p == manifest.DownloadsName || isSignature(p) && !strings.HasPrefix(p, signature.LayoutDir+"/") {
			offer(p)
		}
	}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		b, ok := assets[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	defer server.Close()
	address := server.URL + "/owner/hello/releases/tag/v1.2.3" // as a browser has it
	report, err := verify.URL(t.Context(), address, keys(ours()))
	if err != nil {
		t.Fatalf("%v\n%s", err, failures(report))
	}
	if n := int(asked.Load()); n != len(assets) {
		t.Errorf("%d requests for %d files", n, len(assets))
	}
	if report.Count(verify.Pass) < 30 {
		t.Errorf("only %d checks", report.Count(verify.Pass))
	}

	// What people do download must be there.
	for name := range assets {
		if strings.HasSuffix(name, ".deb") {
			delete(assets, name)
			break
		}
	}
	report, err = verify.URL(t.Context(), address, keys(ours()))
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(failures(report), ".deb") {
		t.Errorf("a package is missing: %v\n%s", err, failures(report))
	}
}

// TestFetch fetches again only what is not there as it should be.
func TestFetch(t *testing.T) {
	f := signed(t, "1.2.3")
	s := newSite(t, f.files)
	dir := t.TempDir()
	_, err := verify.Fetch(t.Context(), s.URL+"/r/", dir, keys(ours()))
	must(t, err)
	s.asked = nil
	changed := filepath.Join(dir, "install.sh")
	for p := range f.files {
		if strings.HasSuffix(p, ".deb") {
			changed = filepath.Join(dir, filepath.FromSlash(p))
			break
		}
	}
	b, err := os.ReadFile(changed)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(changed, b, 0o600))
	fetched, err := verify.Fetch(t.Context(), s.URL+"/r/", dir, keys(ours()))
	must(t, err)
	debs := 0
	for _, p := range s.asked {
		if strings.HasSuffix(p, ".deb") {
			debs++
		}
		if strings.HasPrefix(p, "/r/archives/") {
			t.Errorf("%s was there already", p)
		}
	}
	if debs != 1 || fetched.Downloads {
		t.Errorf("%d packages were fetched again: %v", debs, s.asked)
	}
	_, err = verify.Dist(t.Context(), dir, keys(ours()))
	must(t, err)
}
