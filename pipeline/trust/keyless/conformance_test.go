package keyless_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// narrower are the bundles of the suite that hold and are refused: those before version 0.3, of which one would be refused as
// one of version 0.3 too, for its kind of entry.
var narrower = []string{"happy-path-v0.1", "happy-path-v0.2", "intoto-with-custom-trust-root", "trust-root-tlog-validity-end-inclusive"}

// TestConformance verifies the bundles of https://github.com/sigstore/sigstore-conformance in a checkout that
// SIGSTORE_CONFORMANCE names, with the trusted root of the public services that SIGSTORE_ROOT names
// (https://github.com/sigstore/root-signing, targets/trusted_root.json). docs/security.md has the result.
func TestConformance(t *testing.T) {
	suite, root := os.Getenv("SIGSTORE_CONFORMANCE"), os.Getenv("SIGSTORE_ROOT")
	if suite == "" || root == "" {
		t.Skip("SIGSTORE_CONFORMANCE and SIGSTORE_ROOT do not name the suite and a trusted root")
	}
	dirs, err := filepath.Glob(filepath.Join(suite, "test/assets/bundle-verify/*/bundle.sigstore.json"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	count := map[string]int{}
	for _, bundle := range dirs {
		dir := filepath.Dir(bundle)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			err := conform(t, dir, root, false)
			t.Logf("%v", err)
			// Of a bundle of an earlier version little is looked at; so it is also tried as one of version 0.3.
			later := conform(t, dir, root, true)
			if strings.HasSuffix(name, "_fail") && later == nil {
				t.Error("as a bundle of version 0.3 it is accepted and must not be")
			}
			if err != nil && later == nil {
				count["accepted as of version 0.3"]++
			} else if err != nil && err.Error() != later.Error() {
				t.Logf("as of version 0.3: %v", later)
				count["refused as of version 0.3, for another reason"]++
			}
			switch {
			case strings.HasSuffix(name, "_fail"):
				if err == nil {
					t.Error("it is accepted and must not be")
				}
				count["refused"]++
			case slices.Contains(narrower, name):
				if err == nil || !strings.Contains(err.Error(), "media type") {
					t.Errorf("got %v", err)
				}
				count["narrower"]++
			default:
				if err != nil {
					t.Error(err)
				}
				count["accepted"]++
			}
		})
	}
	t.Logf("%v", count)
}

func conform(t *testing.T, dir, root string, upgrade bool) error {
	t.Helper()
	file := func(name, otherwise string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			b, err = os.ReadFile(otherwise)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	text := func(name, otherwise string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return otherwise
		}
		return strings.TrimSpace(string(b))
	}
	raw := file("bundle.sigstore.json", "")
	if upgrade {
		raw = upgraded(raw)
	}
	bundle, err := signature.ParseBundle(raw)
	if err != nil {
		return err
	}
	content := file("artifact", filepath.Join(dir, "../a.txt"))
	if pem := text("key.pub", ""); pem != "" {
		key, err := signature.ParsePublicKey([]byte(pem))
		if err != nil {
			return err
		}
		return signature.VerifyBlob(bundle, content, key)
	}
	v := keyless.Verifier{Policy: keyless.Policy{
		Identity: text("identity", "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"),
		Issuer:   text("issuer", "https://token.actions.githubusercontent.com"),
	}}
	if v.Root, err = keyless.ParseTrustedRoot(file("trusted_root.json", root)); err != nil {
		return err
	}
	if bundle.Envelope == nil {
		_, err := v.Blob(bundle, content)
		return err
	}
	statement, _, err := v.Statement(bundle)
	if err != nil {
		return err
	}
	var s struct {
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(statement, &s); err != nil {
		return err
	}
	for _, one := range s.Subject {
		if one.Digest["sha256"] == artifact.Sum(content).Hex() {
			return nil
		}
	}
	return errors.New("the statement is about another file")
}

// upgraded is a bundle of an earlier version with the media type of version 0.3, and the first certificate of its chain.
func upgraded(raw []byte) []byte {
	var b map[string]any
	if json.Unmarshal(raw, &b) != nil {
		return raw
	}
	material, _ := b["verificationMaterial"].(map[string]any)
	if chain, ok := material["x509CertificateChain"].(map[string]any); ok {
		if certificates, _ := chain["certificates"].([]any); len(certificates) > 0 {
			material["certificate"] = certificates[0]
			delete(material, "x509CertificateChain")
		}
	}
	b["mediaType"] = signature.BundleMediaType
	out, err := json.Marshal(b)
	if err != nil {
		return raw
	}
	return out
}
