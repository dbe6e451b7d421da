package serve_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/sign"
	"github.com/slipway-build/slipway/pipeline/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
	"github.com/slipway-build/slipway/pipeline/verify/verifytest"
)

// Who receives a release from a server verifies it with the project's key, also one that was signed while it was served.
func TestServesSignatures(t *testing.T) {
	key, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	dir := filepath.Join(root, "hello")
	if _, err := verifytest.Write(dir, verifytest.Options{}); err != nil {
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
