package verify_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/ephemeral"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// certified is the release of a workflow's run, signed by the identity of the workflow.
func certified(t *testing.T, s *keylesstest.Sigstore, w keylesstest.Workflow, edit func(*manifest.Release)) *forgery {
	t.Helper()
	return certifiedBy(t, ephemeral.Options{Fulcio: s.FulcioURL, Rekor: s.RekorURL, LookupEnv: s.GitHub(w)}, edit)
}

// certified2 is certified with a Rekor v2 and a timestamp authority.
func certified2(t *testing.T, s *keylesstest.Sigstore, w keylesstest.Workflow, edit func(*manifest.Release)) *forgery {
	t.Helper()
	config, err := ephemeral.ParseSigningConfig(s.SigningConfig(2))
	must(t, err)
	return certifiedBy(t, ephemeral.Options{Config: &config, LookupEnv: s.GitHub(w)}, edit)
}

func certifiedBy(t *testing.T, o ephemeral.Options, edit func(*manifest.Release)) *forgery {
	t.Helper()
	dir := t.TempDir()
	_, err := verifytest.Write(dir, verifytest.Options{EditManifest: edit})
	must(t, err)
	signer, err := ephemeral.New(o)
	must(t, err)
	_, err = sign.Release(newContext(), dir, sign.Options{Identity: signer})
	must(t, err)
	f := &forgery{t: t, files: map[string][]byte{}}
	must(t, filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err == nil {
			f.files[filepath.ToSlash(rel)], err = os.ReadFile(name)
		}
		return err
	}))
	f.load()
	return f
}

// without is the release without the signature of its chart in one form, whose name has it behind the repository.
func (f *forgery) without(form string) *forgery {
	out := *f
	out.files = maps.Clone(f.files)
	var doc map[string]any
	must(f.t, json.Unmarshal(f.files["signatures/index.json"], &doc))
	doc["manifests"] = slices.DeleteFunc(doc["manifests"].([]any), func(m any) bool {
		name := m.(map[string]any)["annotations"].(map[string]any)["org.opencontainers.image.ref.name"].(string)
		return strings.HasPrefix(name, "ghcr.io/example/charts/hello"+form)
	})
	b, err := json.Marshal(doc)
	must(f.t, err)
	out.files["signatures/index.json"] = b
	return &out
}

// TestIdentity holds a release to the identity that must have signed it, with services that do the whole of the
// cryptography.
func TestIdentity(t *testing.T) {
	s := keylesstest.New(t)
	w := keylesstest.Release()
	root, err := keyless.ParseTrustedRoot(s.TrustedRoot())
	must(t, err)
	policy := keyless.Policy{Identity: w.Identity(), Issuer: s.IssuerURL}
	o := verify.Options{Identity: &keyless.Verifier{Root: root, Policy: policy}}
	by := func(r *manifest.Release) {
		r.Commit, r.Tag = w.Commit, strings.TrimPrefix(w.Ref, "refs/tags/")
		r.Signing = &manifest.Signing{Identity: policy.Identity, Issuer: policy.Issuer}
	}
	f := certified(t, s, w, by)
	report := f.passed(o)
	if got := strings.Join(rows(report), "\n"); !strings.Contains(got, policy.Identity) {
		t.Error(got)
	}

	other := o
	other.Identity = &keyless.Verifier{Root: root, Policy: keyless.Policy{Identity: strings.Replace(policy.Identity, "release.yml", "other.yml", 1), Issuer: policy.Issuer}}
	f.failed(other, "release.json.sigstore.json", "")
	elsewhere, err := keyless.ParseTrustedRoot(keylesstest.New(t).TrustedRoot())
	must(t, err)
	other.Identity = &keyless.Verifier{Root: elsewhere, Policy: policy}
	f.failed(other, "SHA256SUMS.sigstore.json", "")
	f.failed(keys(ours()), "hello 1.2.3", "the release is to be signed by")

	// With a Rekor v2 and a timestamp authority images are signed in the newer form alone, and have to be.
	v2 := certified2(t, s, w, by)
	v2.passed(o)
	v2.without("@").failed(o, "ghcr.io/example/charts/hello@", "there is no bundle that refers to it")
	f.without(":").failed(o, "ghcr.io/example/charts/hello:", "there is no such signature")

	// A project that signed with a key before has both: each release is held to whom it names.
	both := keys(ours())
	both.Identity = o.Identity
	f.passed(both)
	before := signed(t, "1.2.3")
	before.t = t
	before.passed(both)
	before.failed(verify.Options{Identity: o.Identity, Keys: keys(theirs()).Keys}, "hello 1.2.3", "and is checked with key")

	skipped, err := f.check(verify.Options{})
	if err == nil || skipped.Count(verify.Skip) != 4 || skipped.Count(verify.Fail) != 0 {
		t.Errorf("without anybody to hold it to: %v\n%s", err, failures(skipped))
	}

	// The workflow that may sign ran for another commit, or for another tag.
	for what, edit := range map[string]func(*manifest.Release){
		"and the release is of": func(r *manifest.Release) { by(r); r.Commit = strings.Repeat("1", 40) },
		"and the release is v9": func(r *manifest.Release) { by(r); r.Tag = "v9" },
	} {
		certified(t, s, w, edit).failed(o, "SHA256SUMS.sigstore.json", what)
	}

	// Whoever asks for an identity is not content with a release that names none and has no signature.
	bare := certified(t, s, w, func(r *manifest.Release) { by(r); r.Signing = nil })
	bare.passed(o)
	bare.unsign()
	bare.failed(o, "SHA256SUMS.sigstore.json", "missing")
	keyed := certified(t, s, w, by)
	keyed.rel.Signing = &manifest.Signing{Key: ours().Public().Fingerprint()}
	keyed.seal()
	keyed.failed(o, "hello 1.2.3", "the release is to be signed with key")
}
