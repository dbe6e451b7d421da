package reproduce_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// rawManifest is a manifest as it is.
type rawManifest []byte

func (r rawManifest) RawManifest() ([]byte, error)        { return r, nil }
func (r rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// TestReferrers reads signatures of images over HTTP, from registries that keep lists of referrers and from those that refuse to.
func TestReferrers(t *testing.T) {
	key, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		lists  bool
		page   int // referrers on each page of a list; 0 is all
		status int // of what is said to who asks for a list; 0 is as the registry says
		code   fault.Code
		says   string
	}{
		{name: "lists", lists: true},
		{name: "lists in pages", lists: true, page: 1},
		{name: "no lists"},
		{name: "a bad request", status: http.StatusBadRequest},
		{name: "no such method", status: http.StatusMethodNotAllowed},
		{name: "not acceptable", status: http.StatusNotAcceptable},
		{name: "for members alone", status: http.StatusForbidden, code: fault.Credentials, says: "the server says 403"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := registrytest.New(registrytest.Options{Referrers: tt.lists, Page: tt.page})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.status != 0 && strings.Contains(r.URL.Path, "/referrers/") && r.Header.Get("User-Agent") == "slipway" {
					w.WriteHeader(tt.status)
					return
				}
				inner.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			index, err := random.Index(64, 1, 2)
			if err != nil {
				t.Fatal(err)
			}
			index = mutate.IndexMediaType(index, types.OCIImageIndex)
			tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/example/tool:1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.WriteIndex(tag, index); err != nil {
				t.Fatal(err)
			}
			b, err := index.RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			objects, err := signature.SignImage(key, signature.Image{
				Repository: tag.Context().Name(), Digest: artifact.Sum(b), MediaType: signature.IndexMediaType, Size: int64(len(b)),
				Version: "1.2.3", Tags: []string{"1.2.3"},
			})
			if err != nil {
				t.Fatal(err)
			}
			o := verify.Options{Keys: []signature.PublicKey{key.Public()}, Repository: reproduce.Repository}
			image := "oci://" + tag.Name()
			if _, err := verify.Image(t.Context(), image, o); tt.code == 0 && fault.CodeOf(err) != fault.Mismatch {
				t.Errorf("before it is signed: %v", err)
			}
			bundle := objects[1]
			for _, b := range bundle.Blobs {
				if err := remote.WriteLayer(tag.Context(), static.NewLayer(b, "application/octet-stream")); err != nil {
					t.Fatal(err)
				}
			}
			for i := range tt.page * 9 { // what else is attached to it, and stands on pages of its own
				other := bytes.Replace(bundle.Manifest, []byte(signature.BundleMediaType), fmt.Appendf(nil, "application/vnd.example.%d", i), 1)
				ref := tag.Context().Digest(string(artifact.Sum(other)))
				if err := remote.Put(ref, rawManifest(other)); err != nil {
					t.Fatal(err)
				}
			}
			ref, err := name.NewDigest(bundle.Name)
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Put(ref, rawManifest(bundle.Manifest)); err != nil {
				t.Fatal(err)
			}
			report, err := verify.Image(t.Context(), image, o)
			if fault.CodeOf(err) != tt.code || (err == nil) != (report.Verdict == verify.Pass) || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v, code %d: %+v", err, fault.CodeOf(err), report.Rows)
			}
			if err == nil && !strings.Contains(report.Rows[0].Detail+report.Rows[1].Detail+report.Rows[2].Detail, "in a bundle that refers to it") {
				t.Errorf("got %+v", report.Rows)
			}
		})
	}
}
