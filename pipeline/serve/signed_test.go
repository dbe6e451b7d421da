package serve_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Who receives a release from a server verifies it with the project's key, also one that was signed while it was served.
func TestServesSignatures(t *testing.T) {
	key, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "hello")
	if _, err := verifytest.Write(dir, verifytest.Options{Downloads: true}); err != nil {
		t.Fatal(err)
	}
	s := serve.New(serve.Options{Root: root})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	at := server.URL + "/releases/hello/1.2.3/"
	o := verify.Options{Keys: []signature.PublicKey{key.Public()}}
	if report, err := verify.URL(t.Context(), at, o); err == nil || report.Count(verify.Fail) == 0 {
		t.Fatalf("a release without signatures passes: %v", err)
	}
	if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: key}); err != nil {
		t.Fatal(err)
	}
	// The folder is looked at again after a while; another server looks at once.
	s = serve.New(serve.Options{Root: root})
	again := httptest.NewServer(s.Handler())
	t.Cleanup(again.Close)
	report, err := verify.URL(t.Context(), again.URL+"/releases/hello/1.2.3/", o)
	if err != nil {
		for _, r := range report.Rows {
			if r.Verdict != verify.Pass {
				t.Errorf("%+v", r)
			}
		}
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "signatures", "oci-layout"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := verify.URL(t.Context(), again.URL+"/releases/hello/1.2.3/", o); err == nil {
		t.Error("a changed signature passes")
	}
}

// An install script knows no folders: it finds the archive and the signed checksums side by side.
func TestDownloadIsFlat(t *testing.T) {
	root := t.TempDir()
	if _, err := verifytest.Write(filepath.Join(root, "hello"), verifytest.Options{Downloads: true}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(serve.New(serve.Options{Root: root}).Handler())
	t.Cleanup(server.Close)
	for name, want := range map[string]int{
		"hello_1.2.3_linux_amd64.tar.gz": http.StatusOK, "SHA256SUMS": http.StatusOK, "checksums.txt": http.StatusOK, "release.json": http.StatusOK,
		"hello":                       http.StatusNotFound, // the program of several platforms
		"gone.tar.gz":                 http.StatusNotFound,
		"archives/hello_1.2.3.tar.gz": http.StatusNotFound,
	} {
		got := http.StatusServiceUnavailable // while the folder is read for the first time
		for range 500 {
			resp, err := server.Client().Get(server.URL + "/releases/hello/1.2.3/download/" + name)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got = resp.StatusCode; got != http.StatusServiceUnavailable {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
