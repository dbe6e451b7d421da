package verify

import (
	"fmt"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// GitHubIssuer vouches for the workflows of GitHub Actions
// (https://docs.github.com/actions/concepts/security/openid-connect).
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// IdentityFlags say whose identity a release must be signed with.
type IdentityFlags struct {
	Identity, Issuer string
	Root             string // file with the keys of Sigstore's services
}

// Verifier is for Options.Identity; nil where no identity is given. An error is a fault.Usage.
func (f IdentityFlags) Verifier() (*keyless.Verifier, error) {
	if f.Identity == "" {
		return nil, nil
	}
	if f.Root == "" {
		return nil, fault.Errorf(fault.Usage, "--identity needs --trusted-root: a file with the keys of Sigstore's services, as `cosign trusted-root create` writes it")
	}
	v := &keyless.Verifier{Policy: keyless.Policy{Identity: f.Identity, Issuer: f.Issuer}}
	if err := v.Policy.Check(); err != nil {
		return nil, err
	}
	root, err := ReadTrustedRoot(f.Root)
	v.Root = root
	return v, err
}

// ReadTrustedRoot reads the file with the keys of Sigstore's services, or of private ones. An error is a fault.Usage that
// names the file.
func ReadTrustedRoot(name string) (keyless.TrustedRoot, error) {
	const maxRoot = 16 << 20
	b, err := bounded.File(name, maxRoot)
	if err != nil {
		return keyless.TrustedRoot{}, fault.New(fault.Usage, fmt.Errorf("reading trusted root: %w", err))
	}
	root, err := keyless.ParseTrustedRoot(b)
	if err != nil {
		return keyless.TrustedRoot{}, fault.New(fault.Usage, fmt.Errorf("%s: %w", name, err))
	}
	return root, nil
}

// Identity is who signs a release without a key: a workflow whose certificate says who it is, and what it was run for.
// Where the certificate names a commit and a ref they must be those of the release, so that a workflow that may sign a
// release cannot have signed another one as this.
type Identity struct {
	Verifier keyless.Verifier
	Release  manifest.Release
}

func (i Identity) String() string {
	return fmt.Sprintf("identity %s (%s)", i.Verifier.Policy.Identity, i.Verifier.Policy.Issuer)
}

// Blob holds b to being a signature over content by the identity.
func (i Identity) Blob(b signature.Bundle, content []byte) error {
	claims, err := i.Verifier.Blob(b, content)
	if err != nil {
		return err
	}
	return i.Accepts(claims)
}

// Statement returns the statement that the identity signed in b.
func (i Identity) Statement(b signature.Bundle) ([]byte, error) {
	statement, claims, err := i.Verifier.Statement(b)
	if err == nil {
		err = i.Accepts(claims)
	}
	if err != nil {
		return nil, err
	}
	return statement, nil
}

// Forms hold a signature of an image to being one of the identity.
func (i Identity) Forms() signature.Forms {
	form := func(verify func([]byte, signature.Fetch, signature.Image) (keyless.Claims, error)) func([]byte, signature.Fetch, signature.Image) error {
		return func(m []byte, fetch signature.Fetch, im signature.Image) error {
			claims, err := verify(m, fetch, im)
			if err != nil || i.Release.Commit == "" { // a chart in a registry does not say of which commit it is
				return err
			}
			return i.Accepts(claims)
		}
	}
	return signature.Forms{Classic: form(i.Verifier.Classic), Referrer: form(i.Verifier.Referrer)}
}

// Accepts refuses a signature that was made in a run for something else.
func (i Identity) Accepts(c keyless.Claims) error {
	if c.Commit != "" && c.Commit != i.Release.Commit {
		return fmt.Errorf("the run was for commit %.64q, and the release is of %s", c.Commit, i.Release.Commit)
	}
	if tag := i.Release.Tag; c.Ref != "" && tag != "" && c.Ref != "refs/tags/"+tag {
		return fmt.Errorf("the run was for %.120q, and the release is %s", c.Ref, tag)
	}
	return nil
}
