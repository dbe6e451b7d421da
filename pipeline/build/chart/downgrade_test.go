package chart

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// TestDowngrade refuses a repository that sends on from https to plain http.
func TestDowngrade(t *testing.T) {
	plain := newRepository(t, dbIndex, dbFiles(t))
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
	}))
	t.Cleanup(secure.Close)
	for repository, want := range map[string]fault.Code{plain.URL + "/charts": fault.OK, secure.URL + "/charts": fault.Mismatch} {
		dir := filepath.Join(t.TempDir(), "app")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte("apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{name: db, version: '^1', repository: "+repository+"}]\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		asked := len(plain.asked)
		_, err := Resolve(t.Context(), dir, secure.Client())
		if fault.CodeOf(err) != want || (len(plain.asked) > asked) != (want == fault.OK) {
			t.Errorf("%s: %v, and %q was asked for", repository, err, plain.asked[asked:])
		}
	}
}
