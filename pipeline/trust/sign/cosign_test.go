package sign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// cosigns are the cosign binaries to try: those that SLIPWAY_COSIGN lists, else the one in PATH.
func cosigns(t *testing.T) []string {
	if list := os.Getenv("SLIPWAY_COSIGN"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("cosign")
	if err != nil {
		t.Skip("cosign is not in PATH; install it with: go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.1")
	}
	return []string{path}
}

// tool is one cosign.
type tool struct {
	path  string
	major string
	dir   string // home and working directory
	root  string // a trusted root that trusts nothing: cosign fetches one otherwise
}

func newTool(t *testing.T, path string) tool {
	dir := t.TempDir()
	c := tool{path: path, dir: dir, root: filepath.Join(dir, "trusted-root.json")}
	if err := os.WriteFile(c.root, []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), 0o644); err != nil {
		t.Fatal(err)
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

// run returns what cosign says.
func (c tool) run(t *testing.T, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.dir
	// No proxy answers: whatever cosign wants to fetch is missing at once.
	cmd.Env = []string{"HOME=" + c.dir, "COSIGN_PASSWORD=" + passphrase, "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1"}
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

// pushed is an image of a registry with what cosign looks up beside it.
type pushed struct {
	image signature.Image
	ref   string
}

// push puts an image for two platforms and a chart into a registry, without signatures.
func push(t *testing.T, host string) (image, chart pushed) {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for range 2 {
		im, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: im})
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	tag, err := name.NewTag(host + "/example/tool:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	image = pushed{ref: tag.Name(), image: signature.Image{
		Repository: host + "/example/tool", Digest: artifact.Sum(raw), MediaType: signature.IndexMediaType, Size: int64(len(raw)),
		Version: "1.2.3", Tags: []string{"1.2.3-alpine", "1.2.3"},
	}}

	packed := static.NewLayer([]byte("chart"), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
	c, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json"), packed)
	if err != nil {
		t.Fatal(err)
	}
	if tag, err = name.NewTag(host + "/charts/tool:1.2.3"); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, c); err != nil {
		t.Fatal(err)
	}
	if raw, err = c.RawManifest(); err != nil {
		t.Fatal(err)
	}
	chart = pushed{ref: tag.Name(), image: signature.Image{
		Repository: host + "/charts/tool", Digest: artifact.Sum(raw), MediaType: signature.ManifestMediaType, Size: int64(len(raw)),
		Version: "1.2.3", Tags: []string{"1.2.3"},
	}}
	return image, chart
}

// raw is a manifest as it is.
type raw []byte

func (r raw) RawManifest() ([]byte, error)        { return r, nil }
func (r raw) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// publish puts an object of package signature into its registry.
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

func newRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func writeFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Each form is accepted alone, and nothing else is: cosign falls back from one to the other.
func TestCosign(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for _, path := range cosigns(t) {
		c := newTool(t, path)
		for _, kind := range sign.Kinds() {
			t.Run(c.major+"/"+string(kind), func(t *testing.T) {
				key, err := sign.Generate(kind)
				if err != nil {
					t.Fatal(err)
				}
				wrong, err := sign.Generate(kind)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				pub := writeFile(t, filepath.Join(dir, "key.pub"), key.Public().PEM())
				other := writeFile(t, filepath.Join(dir, "other.pub"), wrong.Public().PEM())
				t.Run("blob", func(t *testing.T) { testBlob(t, c, key, dir, pub, other) })
				for i, form := range []string{"classic", "referrer", "both"} {
					t.Run(form, func(t *testing.T) {
						image, chart := push(t, newRegistry(t))
						for _, p := range []pushed{image, chart} {
							objects, err := signature.SignImage(key, p.image)
							if err != nil {
								t.Fatal(err)
							}
							if form != "both" {
								objects = objects[i : i+1]
							}
							testImage(t, c, p, objects, pub, other)
						}
					})
				}
			})
		}
	}
}

func testBlob(t *testing.T, c tool, key sign.Key, dir, pub, other string) {
	content := []byte("0123  file\n")
	b, err := signature.SignBlob(key, content)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bundle := writeFile(t, filepath.Join(dir, "SHA256SUMS.sigstore.json"), append(enc, '\n'))
	blob := writeFile(t, filepath.Join(dir, "SHA256SUMS"), content)
	changed := writeFile(t, filepath.Join(dir, "changed"), append(slices.Clone(content), 'x'))
	args := func(key, blob string) []string {
		return []string{"verify-blob", "--new-bundle-format", "--trusted-root", c.root, "--insecure-ignore-tlog", "--key", key, "--bundle", bundle, blob}
	}
	c.accepts(t, true, "Verified OK", args(pub, blob)...)
	c.accepts(t, false, "could not verify message", args(other, blob)...)
	c.accepts(t, false, "could not verify message", args(pub, changed)...)

	// The signed provenance is a bundle too.
	statement := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"SHA256SUMS","digest":{"sha256":"` + artifact.Sum(content).Hex() +
		`"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`
	if b, err = signature.SignStatement(key, []byte(statement)); err != nil {
		t.Fatal(err)
	}
	if enc, err = b.Encode(); err != nil {
		t.Fatal(err)
	}
	bundle = writeFile(t, filepath.Join(dir, "tool.intoto.jsonl"), append(enc, '\n'))
	args = func(key, blob string) []string {
		return []string{
			"verify-blob-attestation", "--new-bundle-format", "--trusted-root", c.root, "--insecure-ignore-tlog",
			"--type", "slsaprovenance1", "--key", key, "--bundle", bundle, blob,
		}
	}
	c.accepts(t, true, "Verified OK", args(pub, blob)...)
	c.accepts(t, false, "", args(other, blob)...)
	c.accepts(t, false, "", args(pub, changed)...)
}

func testImage(t *testing.T, c tool, p pushed, objects []signature.Object, pub, other string) {
	args := func(key string, more ...string) []string {
		a := []string{"verify", "--insecure-ignore-tlog", "--key", key}
		if slices.ContainsFunc(objects, func(o signature.Object) bool { return o.Tag == "" }) {
			a = append(a, "--new-bundle-format", "--trusted-root", c.root)
		} else if c.major == "v3" {
			// The third cosign looks for bundles of itself, finds none and takes the classic form.
			a = append(a, "--trusted-root", c.root)
		}
		return append(append(a, more...), p.ref)
	}
	out, err := c.run(t, args(pub)...)
	if err == nil {
		t.Errorf("cosign accepts what is not signed:\n%s", out)
	}
	for _, o := range objects {
		publish(t, o)
	}
	c.accepts(t, true, string(p.image.Digest), args(pub)...)
	c.accepts(t, false, "", args(other)...)
	if objects[0].Tag != "" && len(objects) == 1 {
		c.accepts(t, true, p.image.Repository, args(pub, "-a", "version=1.2.3", "-a", "tags="+strings.Join(p.image.Tags, " "))...)
		c.accepts(t, false, "", args(pub, "-a", "version=1.2.4")...)
	}
	// What cosign finds, we find in the registry too.
	for _, o := range objects {
		ref, err := name.ParseReference(o.Name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := remote.Get(ref)
		if err != nil {
			t.Fatal(err)
		}
		fetch := func(digest artifact.Digest, size int64) ([]byte, error) {
			layer, err := remote.Layer(ref.Context().Digest(string(digest)))
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
		parsed, err := os.ReadFile(pub)
		if err != nil {
			t.Fatal(err)
		}
		key, err := signature.ParsePublicKey(parsed)
		if err != nil {
			t.Fatal(err)
		}
		verify := signature.VerifyReferrer
		if o.Tag != "" {
			verify = signature.VerifyClassic
		}
		if err := verify(d.Manifest, fetch, p.image, key); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
	}
}

// A key of cosign's signs for us, and what cosign signs with it we read.
func TestCosignKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for _, path := range cosigns(t) {
		c := newTool(t, path)
		t.Run(c.major, func(t *testing.T) {
			if out, err := c.run(t, "generate-key-pair"); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
			signer := load(t, filepath.Join(c.dir, "cosign.key"))
			pub, err := os.ReadFile(filepath.Join(c.dir, "cosign.pub"))
			if err != nil {
				t.Fatal(err)
			}
			key, err := signature.ParsePublicKey(pub)
			if err != nil || !key.Equal(signer.Public()) || !bytes.Equal(key.PEM(), pub) {
				t.Fatalf("cosign's public key is read as %s, %v; the private one has %s", key.Fingerprint(), err, signer.Public().Fingerprint())
			}
			wrong, err := sign.Generate(sign.ECDSA)
			if err != nil {
				t.Fatal(err)
			}
			other := writeFile(t, filepath.Join(c.dir, "other.pub"), wrong.Public().PEM())
			testBlob(t, c, signer.(sign.Key), c.dir, filepath.Join(c.dir, "cosign.pub"), other)

			// The other way round: cosign takes a key of ours over.
			for _, kind := range sign.Kinds() {
				ours, err := sign.Generate(kind)
				if err != nil {
					t.Fatal(err)
				}
				plain, err := ours.PEM(nil)
				if err != nil {
					t.Fatal(err)
				}
				file := writeFile(t, filepath.Join(c.dir, string(kind)+".pem"), plain)
				prefix := "imported-" + string(kind)
				if out, err := c.run(t, "import-key-pair", "--key", file, "--output-key-prefix", prefix); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
				if got := load(t, filepath.Join(c.dir, prefix+".key")); !got.Public().Equal(ours.Public()) {
					t.Errorf("%s: the key is another after cosign imported it", kind)
				}
			}
			content := []byte("signed by cosign\n")
			blob := writeFile(t, filepath.Join(c.dir, "blob"), content)
			args := []string{"sign-blob", "--yes", "--key", filepath.Join(c.dir, "cosign.key"), "--new-bundle-format", "--tlog-upload=false", "--bundle", blob + ".json"}
			if c.major == "v3" {
				args = append(args, "--use-signing-config=false")
			}
			if out, err := c.run(t, append(args, blob)...); err != nil {
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
			if err := signature.VerifyBlob(b, content, key); err != nil {
				t.Error(err)
			}
			if signature.VerifyBlob(b, content[1:], key) == nil {
				t.Error("other content is accepted")
			}
		})
	}
}

func load(t *testing.T, file string) signature.Signer {
	t.Helper()
	signer, err := sign.Source{Key: file, LookupEnv: func(string) (string, bool) { return passphrase, true }}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return signer
}
