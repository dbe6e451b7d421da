package ephemeral_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// cosigns are the cosign binaries to try: those that SLIPWAY_COSIGN lists, else the one in PATH.
func cosigns(t *testing.T) []string {
	if testing.Short() {
		t.Skip("slow")
	}
	if list := os.Getenv("SLIPWAY_COSIGN"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("cosign")
	if err != nil {
		t.Skip("cosign is not in PATH; install it with: go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.1")
	}
	return []string{path}
}

// tool is one cosign that believes the services of a test.
type tool struct {
	path, major string
	dir         string // home and working directory
	root        string
	env         []string
}

func newTool(t *testing.T, path string, s *keylesstest.Sigstore) tool {
	c := tool{path: path, dir: t.TempDir()}
	c.root = c.write(t, "root.json", s.TrustedRoot())
	rekor, ctlog, authority := s.PublicKeys()
	// Where it does not take a trusted root, it takes these.
	c.env = []string{
		"SIGSTORE_ROOT_FILE=" + c.write(t, "root.pem", authority), "SIGSTORE_REKOR_PUBLIC_KEY=" + c.write(t, "rekor.pub", rekor),
		"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=" + c.write(t, "ctlog.pub", ctlog),
	}
	out, err := c.run(t, "version", "--json")
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	var v struct{ GitVersion string }
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &v); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	c.major, _, _ = strings.Cut(v.GitVersion, ".")
	t.Logf("%s is cosign %s", path, v.GitVersion)
	return c
}

func (c tool) write(t *testing.T, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(c.dir, name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// run returns what cosign says.
func (c tool) run(t *testing.T, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.dir
	// No proxy answers: whatever cosign wants to fetch from elsewhere is missing at once.
	cmd.Env = append([]string{"HOME=" + c.dir, "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1"}, c.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// accepts checks what cosign does, and that it has the reason that the caller expects.
func (c tool) accepts(t *testing.T, ok bool, says string, args ...string) {
	t.Helper()
	out, err := c.run(t, args...)
	if (err == nil) != ok || !strings.Contains(out, says) {
		t.Errorf("cosign %s: accepted is %t, want %t, and it should say %q:\n%s", strings.Join(args, " "), err == nil, ok, says, out)
	}
	t.Logf("cosign %s\n%s", strings.Join(args, " "), out)
}

func who(s *keylesstest.Sigstore) []string {
	return []string{"--certificate-identity", keylesstest.Release().Identity(), "--certificate-oidc-issuer", s.IssuerURL}
}

func TestCosignVerifiesBlobs(t *testing.T) {
	for _, path := range cosigns(t) {
		s := keylesstest.New(t)
		c := newTool(t, path, s)
		t.Run(c.major, func(t *testing.T) {
			signer := newSigner(t, options(s))
			b, err := signer.SignBlob(t.Context(), content)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := b.Encode()
			if err != nil {
				t.Fatal(err)
			}
			bundle, blob, changed := c.write(t, "b.json", raw), c.write(t, "blob", content), c.write(t, "changed", content[1:])
			stranger := c.write(t, "stranger.json", keylesstest.New(t).TrustedRoot())
			args := func(root, blob string, who ...string) []string {
				return append([]string{"verify-blob", "--new-bundle-format", "--trusted-root", root, "--bundle", bundle, blob}, who...)
			}
			c.accepts(t, true, "Verified OK", args(c.root, blob, who(s)...)...)
			c.accepts(t, false, "could not verify message", args(c.root, changed, who(s)...)...)
			c.accepts(t, false, "failed to verify log inclusion", args(stranger, blob, who(s)...)...)
			c.accepts(t, false, "expected SAN value", args(c.root, blob, "--certificate-identity", "https://github.com/x", "--certificate-oidc-issuer", s.IssuerURL)...)
			c.accepts(t, false, "expected issuer value", args(c.root, blob, "--certificate-identity", keylesstest.Release().Identity(), "--certificate-oidc-issuer", "https://x")...)

			statement := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"blob","digest":{"sha256":"` + artifact.Sum(content).Hex() +
				`"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`
			if b, err = signer.SignStatement(t.Context(), []byte(statement)); err != nil {
				t.Fatal(err)
			}
			if raw, err = b.Encode(); err != nil {
				t.Fatal(err)
			}
			bundle = c.write(t, "b.intoto.jsonl", append(raw, '\n'))
			args = func(root, blob string, who ...string) []string {
				return append([]string{"verify-blob-attestation", "--new-bundle-format", "--type", "slsaprovenance1", "--trusted-root", root, "--bundle", bundle, blob}, who...)
			}
			c.accepts(t, true, "Verified OK", args(c.root, blob, who(s)...)...)
			c.accepts(t, false, "does not match any digest in statement", args(c.root, changed, who(s)...)...)
			c.accepts(t, false, "failed to verify log inclusion", args(stranger, blob, who(s)...)...)
		})
	}
}

// push puts an index into a registry of its own.
func push(t *testing.T) (signature.Image, name.Reference) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	index, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	ref, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/example/tool:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return signature.Image{
		Repository: ref.Context().Name(), Digest: artifact.Sum(raw), MediaType: signature.IndexMediaType, Size: int64(len(raw)),
		Version: "1.2.3", Tags: []string{"1.2.3"},
	}, ref
}

// raw is a manifest as it is.
type raw []byte

func (r raw) RawManifest() ([]byte, error)        { return r, nil }
func (r raw) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func publish(t *testing.T, o signature.Object) {
	t.Helper()
	ref, err := name.ParseReference(o.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range o.Blobs {
		if err := remote.WriteLayer(ref.Context(), static.NewLayer(b, "application/octet-stream")); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.Put(ref, raw(o.Manifest)); err != nil {
		t.Fatal(err)
	}
}

func TestCosignVerifiesImages(t *testing.T) {
	for _, path := range cosigns(t) {
		s := keylesstest.New(t)
		c := newTool(t, path, s)
		for i, form := range []string{"classic", "referrer", "both"} {
			t.Run(c.major+"/"+form, func(t *testing.T) {
				im, ref := push(t)
				objects, err := newSigner(t, options(s)).SignImage(t.Context(), im)
				if err != nil {
					t.Fatal(err)
				}
				if form != "both" {
					objects = objects[i : i+1]
				}
				args := func(who ...string) []string {
					a := []string{"verify"}
					if form != "classic" {
						a = append(a, "--new-bundle-format", "--trusted-root", c.root)
					} else {
						a = append(a, "--offline")
					}
					if form == "classic" && c.major == "v3" {
						// The third cosign looks for bundles of itself, finds none and takes the classic form.
						a = append(a, "--trusted-root", c.root)
					}
					return append(append(a, who...), ref.Name())
				}
				c.accepts(t, false, "no ", args(who(s)...)...) // no signatures found, or no valid bundles exist
				for _, o := range objects {
					publish(t, o)
				}
				c.accepts(t, true, string(im.Digest), args(who(s)...)...)
				c.accepts(t, false, "no matching", args("--certificate-identity", "https://github.com/x", "--certificate-oidc-issuer", s.IssuerURL)...)
				c.accepts(t, false, "no matching", args("--certificate-identity", keylesstest.Release().Identity(), "--certificate-oidc-issuer", "https://x")...)
			})
		}
	}
}

// TestCosignSigns reads what cosign signs with the same services.
func TestCosignSigns(t *testing.T) {
	for _, path := range cosigns(t) {
		s := keylesstest.New(t)
		c := newTool(t, path, s)
		v := verifier(t, s)
		token := s.Token(keylesstest.Release())
		services := []string{"--yes", "--fulcio-url", s.FulcioURL, "--rekor-url", s.RekorURL, "--identity-token", token, "--oidc-issuer", s.IssuerURL}
		if c.major == "v3" {
			services = append(services, "--use-signing-config=false", "--trusted-root", c.root)
		}
		t.Run(c.major, func(t *testing.T) {
			blob := c.write(t, "blob", content)
			ways := [][]string{services}
			if c.major == "v3" {
				// With such a file it speaks to the services through the library of Sigstore.
				ways = append(ways, []string{"--yes", "--identity-token", token, "--trusted-root", c.root, "--signing-config", c.write(t, "signing.json", s.SigningConfig(1))})
			}
			for _, way := range ways {
				if out, err := c.run(t, append(append([]string{"sign-blob", "--new-bundle-format", "--bundle", blob + ".json"}, way...), blob)...); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
				enc, err := os.ReadFile(blob + ".json")
				if err != nil {
					t.Fatal(err)
				}
				b, err := signature.ParseBundle(enc)
				if err != nil {
					t.Fatalf("%s: %v", enc, err)
				}
				if claims, err := v.Blob(b, content); err != nil || claims.Commit != keylesstest.Release().Commit {
					t.Errorf("got %+v, %v", claims, err)
				}
				if _, err := v.Blob(b, content[1:]); err == nil {
					t.Error("other content is accepted")
				}
			}

			// An image in the classic form, with the claims that ours have.
			im, ref := push(t)
			digest := ref.Context().Digest(string(im.Digest))
			args := append([]string{"sign", "-a", "version=1.2.3", "-a", "tags=1.2.3"}, services...)
			if c.major == "v3" {
				args = append(args, "--new-bundle-format=false")
			}
			if out, err := c.run(t, append(args, digest.String())...); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
			d, err := remote.Get(ref.Context().Tag(signature.ClassicTag(im.Digest)))
			if err != nil {
				t.Fatal(err)
			}
			fetch := func(d artifact.Digest, size int64) ([]byte, error) {
				layer, err := remote.Layer(ref.Context().Digest(string(d)))
				if err != nil {
					return nil, err
				}
				r, err := layer.Compressed()
				if err != nil {
					return nil, err
				}
				defer r.Close()
				return io.ReadAll(io.LimitReader(r, size+1))
			}
			if _, err := v.Classic(d.Manifest, fetch, im); err != nil {
				t.Errorf("%s: %v", d.Manifest, err)
			}
			v := v
			v.Policy = keyless.Policy{Identity: "https://github.com/x", Issuer: s.IssuerURL}
			if _, err := v.Classic(d.Manifest, fetch, im); err == nil {
				t.Error("another signer is accepted")
			}
		})
	}
}
