// Package signature reads, writes and checks the signatures of a release: Sigstore bundles, DSSE envelopes and the two
// forms in which cosign signs images.
//
// It knows public keys alone and is made of the standard library, so that anyone who receives a release can check it with
// a small tool and without a network. What it writes is read by cosign, and what it accepts is narrower: one reading of
// every JSON document, one signature of an envelope, one hash for each kind of key.
//
// A signature over an image names repository, version and tags beside the digest. The signature of one image is
// therefore none for another name of the same bytes, or for an older release under the name of a newer one.
//
// Two signatures over the same content may differ and both hold: from one of ECDSA anyone can derive another. So the
// bytes of a signature never identify anything.
package signature

import "github.com/slipway-build/slipway/pipeline/release/manifest"

// The places of signatures in dist/. They are not among the files of the manifest: each holder of the key makes other
// ones, at another time.
const (
	// Suffix is what the name of a bundle has after that of the file that it signs.
	Suffix = ".sigstore.json"
	// ChecksumsBundle signs SHA256SUMS.
	ChecksumsBundle = "SHA256SUMS" + Suffix
	// ManifestBundle signs release.json.
	ManifestBundle = "release.json" + Suffix
	// LayoutDir is an OCI image layout of the signatures of images and charts.
	LayoutDir = "signatures"
	// AttestationsDir holds what is said about the release, signed or not.
	AttestationsDir = "attestations"
	// WorkDir is where signatures are while they are made. After a signing that was killed it may remain; the next one
	// removes it.
	WorkDir = ".signing"
)

// Whole are the names of the bundles over what names all files of a release: its lists of checksums and release.json, whose
// bundle is the last.
func Whole(rel manifest.Release) []string {
	var names []string
	for _, l := range rel.ListNames() {
		names = append(names, l+Suffix)
	}
	return append(names, ManifestBundle)
}

// AttestationPath is where the signed provenance of a release lies: a bundle in one line.
func AttestationPath(name, version string) string {
	return AttestationsDir + "/" + name + "_" + version + ".intoto.jsonl"
}

// Signer signs with one private key. Implementations are made by those who hold the key.
type Signer interface {
	// Public is the other half of the key.
	Public() PublicKey
	// Sign returns a signature over message that Public verifies.
	Sign(message []byte) ([]byte, error)
}
