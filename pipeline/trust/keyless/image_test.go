package keyless_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/ephemeral"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

func image(version string) signature.Image {
	return signature.Image{
		Repository: "ghcr.io/example/tool", Digest: artifact.Sum([]byte("index")), MediaType: signature.IndexMediaType, Size: 5,
		Version: version, Tags: []string{version, version + "-alpine"},
	}
}

func fetch(o signature.Object) signature.Fetch {
	return func(d artifact.Digest, size int64) ([]byte, error) {
		i := slices.IndexFunc(o.Blobs, func(b []byte) bool { return artifact.Sum(b) == d })
		if i < 0 {
			return nil, fmt.Errorf("no blob %s", d)
		}
		return o.Blobs[i], nil
	}
}

func signImage(t testing.TB, s *keylesstest.Sigstore, im signature.Image) []signature.Object {
	t.Helper()
	signer, err := ephemeral.New(ephemeral.Options{Fulcio: s.FulcioURL, Rekor: s.RekorURL, LookupEnv: s.GitHub(keylesstest.Release()), Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := signer.SignImage(t.Context(), im)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestImages(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	im, newer := image("1.2.3"), image("1.2.4")
	moved := im
	moved.Repository = "ghcr.io/example/other"
	objects := signImage(t, s, im)
	if len(objects) != 2 || objects[0].Name != im.Repository+":"+signature.ClassicTag(im.Digest) || objects[1].ArtifactType != signature.BundleMediaType {
		t.Fatalf("got %+v", objects)
	}
	for i, verify := range []func([]byte, signature.Fetch, signature.Image) (keyless.Claims, error){v.Classic, v.Referrer} {
		o := objects[i]
		claims, err := verify(o.Manifest, fetch(o), im)
		want(t, err, "")
		if claims.Identity != keylesstest.Release().Identity() || claims.Commit != keylesstest.Release().Commit || claims.Time.IsZero() {
			t.Errorf("got %+v", claims)
		}
		_, err = verify(o.Manifest, fetch(o), newer)
		want(t, err, `the signature is for version "1.2.3" and not for "1.2.4"`)
		_, err = verify(o.Manifest, fetch(o), moved)
		want(t, err, "the signature is for an image in")
		larger := im
		larger.Size++
		if _, err = verify(o.Manifest, fetch(o), larger); i == 1 {
			want(t, err, "it is a referrer of")
		}
		_, err = verify(objects[1-i].Manifest, fetch(objects[1-i]), im)
		want(t, err, "reading signature")
	}
	stranger := v
	stranger.Policy.Issuer = "https://accounts.example.org"
	_, err := stranger.Classic(objects[0].Manifest, fetch(objects[0]), im)
	want(t, err, "vouched for by")
	_, err = stranger.Referrer(objects[1].Manifest, fetch(objects[1]), im)
	want(t, err, "vouched for by")
}

// TestClassicTampering changes the annotations of the classic form.
func TestClassicTampering(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	im := image("1.2.3")
	good, other := signImage(t, s, im)[0], signImage(t, s, im)[0]
	annotations := func(o signature.Object) map[string]string {
		var m struct {
			Layers []struct{ Annotations map[string]string }
		}
		if err := json.Unmarshal(o.Manifest, &m); err != nil {
			t.Fatal(err)
		}
		return m.Layers[0].Annotations
	}
	a, b := annotations(good), annotations(other)
	edit := func(name, to string) map[string]string { return map[string]string{name: to} }
	const cert, bundle = keyless.CertificateAnnotation, keyless.BundleAnnotation
	for _, tt := range []struct {
		name  string
		edits map[string]string
		says  string
	}{
		{"nothing", nil, ""},
		{"another chain", edit(keyless.ChainAnnotation, "x"), ""}, // the root has its own
		{"no certificate", edit(cert, ""), "without a certificate"},
		{"no entry", edit(bundle, ""), "without a transparency log"},
		{"two certificates", edit(cert, a[cert]+b[cert]), "there is not one whole certificate"},
		{"a key for a certificate", edit(cert, strings.ReplaceAll(a[cert], "CERTIFICATE", "PUBLIC KEY")), "there is not one whole certificate"},
		{"another certificate", edit(cert, b[cert]), "the signature was not made by key"},
		{"another signature", edit(signature.SignatureAnnotation, b[signature.SignatureAnnotation]), "the signature was not made by key"},
		{"another entry", edit(bundle, b[bundle]), "about another signature"},
		{"no JSON", edit(bundle, "{"), "reading the log's entry"},
		{"an unknown key", edit(bundle, `{"x":1}`), "reading the log's entry"},
		{"no log", edit(bundle, strings.ReplaceAll(a[bundle], `"logID":"`, `"logID":"x`)), "its id, place or time cannot be right"},
		{"another time", edit(bundle, strings.ReplaceAll(a[bundle], `"integratedTime":1`, `"integratedTime":2`)), "with this time and place"},
		{"no promise", edit(bundle, strings.Replace(a[bundle], `"SignedEntryTimestamp":"`, `"SignedEntryTimestamp":"","x":"`, 1)), "reading the log's entry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			manifest := string(good.Manifest)
			for name, to := range tt.edits {
				was, _ := json.Marshal(a[name])
				now, _ := json.Marshal(to)
				if !strings.Contains(manifest, string(was)) {
					t.Fatalf("the manifest does not have %s", was)
				}
				manifest = strings.ReplaceAll(manifest, string(was), string(now))
			}
			_, err := v.Classic([]byte(manifest), fetch(good), im)
			want(t, err, tt.says)
		})
	}
}
