package admit_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/admit"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// A release enters from a folder and from a server, by the digest of its manifest, if it is whole, of the component, and signed by
// whom the store names.
func TestEntry(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := sign.Generate(sign.Ed25519)
	must(err)
	stranger, err := sign.Generate(sign.Ed25519)
	must(err)
	dir := t.TempDir()
	rel, err := verifytest.Write(dir, verifytest.Options{})
	must(err)
	_, err = sign.Release(t.Context(), dir, sign.Options{Signer: key})
	must(err)
	digest, _, err := artifact.SumFile(filepath.Join(dir, "release.json"))
	must(err)
	by := func(k sign.Key) admit.Signer {
		return admit.Signer{Key: k.Public(), Name: environment.Identity{Key: string(k.Public().Fingerprint())}}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	v := rel.Version.String()
	for _, place := range []string{dir, server.URL + "/"} {
		e, err := admit.Entry(t.Context(), place, rel.Name, v, by(key))
		must(err)
		if e.Manifest != digest || e.Commit != rel.Commit || len(e.Images) != len(rel.Images) || e.Images[0].Digest != rel.Images[0].Digest {
			t.Errorf("%+v", e)
		}
		if _, err := e.Encode(); err != nil {
			t.Error(err)
		}
		for what, c := range map[string]struct {
			name, version string
			by            admit.Signer
			code          fault.Code
			want          string
		}{
			"signed by a stranger": {rel.Name, v, by(stranger), fault.Policy, "is whole and not signed by sha256:"},
			"another component":    {"other", v, by(key), fault.Mismatch, "is a release of " + rel.Name + ", and not of other"},
			"another version":      {rel.Name, "9.9.9", by(key), fault.Mismatch, "9.9.9"},
		} {
			if _, err := admit.Entry(t.Context(), place, c.name, c.version, c.by); fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %d, %v", what, fault.CodeOf(err), err)
			}
		}
	}
	must(os.WriteFile(filepath.Join(dir, filepath.FromSlash(rel.Archives[0].Path)), []byte("x"), 0o600))
	if _, err := admit.Entry(t.Context(), dir, rel.Name, v, by(key)); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("a damaged archive: %v", err)
	}
}
