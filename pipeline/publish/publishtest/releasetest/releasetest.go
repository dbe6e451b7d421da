// Package releasetest is a fixture: the small whole releases of package verifytest, opened to be published.
package releasetest

import (
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/verify/verifytest"
)

// Open writes a release to a folder of the test's and opens it.
func Open(t testing.TB, o verifytest.Options) publish.Release {
	t.Helper()
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, o); err != nil {
		t.Fatal(err)
	}
	rel, err := publish.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// Signed is Open of a release that is signed.
func Signed(t testing.TB, o verifytest.Options) publish.Release {
	t.Helper()
	rel := Open(t, o)
	Sign(t, rel.Dir)
	return rel
}

// Sign signs the release in a folder with a new key.
func Sign(t testing.TB, dir string) {
	t.Helper()
	key, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: key}); err != nil {
		t.Fatal(err)
	}
}
