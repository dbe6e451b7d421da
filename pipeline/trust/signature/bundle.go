package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// BundleMediaType is the type of the bundles that this package reads and writes
// (https://docs.sigstore.dev/about/bundle/). It reads another spelling of the same version too.
const (
	BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	otherMediaType  = "application/vnd.dev.sigstore.bundle+json;version=0.3"
)

// IsBundle reports whether the type is one of the bundles that are read.
func IsBundle(mediaType string) bool {
	return mediaType == BundleMediaType || mediaType == otherMediaType
}

// HashSHA256 is the name of SHA-256 in a bundle.
const HashSHA256 = "SHA2_256"

// Bounds of a bundle from outside.
const (
	maxBundle     = 18 << 20 // bytes
	maxEntries    = 32       // of the transparency logs
	maxHashes     = 64       // of an inclusion proof: a log cannot hold more than 2^63 entries
	maxTimestamps = 32
	maxHint       = 1024 // bytes
)

// Bundle is a Sigstore bundle: a signature with what it takes to verify it. Its JSON is that of the message
// dev.sigstore.bundle.v1.Bundle
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto).
type Bundle struct {
	MediaType string               `json:"mediaType"`
	Material  VerificationMaterial `json:"verificationMaterial"`
	// One of these two is there.
	Message  *MessageSignature `json:"messageSignature,omitempty"`
	Envelope *Envelope         `json:"dsseEnvelope,omitempty"`
}

// VerificationMaterial says who signed, and when. One of the first three is there.
type VerificationMaterial struct {
	PublicKey   *PublicKeyIdentifier `json:"publicKey,omitempty"`
	Certificate *Certificate         `json:"certificate,omitempty"`
	// Chain belongs to older bundles; one of version 0.3 with it is refused.
	Chain      *CertificateChain `json:"x509CertificateChain,omitempty"`
	Entries    []LogEntry        `json:"tlogEntries,omitempty"`
	Timestamps *TimestampData    `json:"timestampVerificationData,omitempty"`
}

// PublicKeyIdentifier names the key of a signer whom the verifier knows. It is not proof of anything.
type PublicKeyIdentifier struct {
	Hint string `json:"hint,omitempty"` // as cosign and this package write it, the key's fingerprint in base64
}

// Certificate is an X.509 certificate in DER.
type Certificate struct {
	RawBytes []byte `json:"rawBytes"`
}

// CertificateChain is a list of certificates, the signer's first.
type CertificateChain struct {
	Certificates []Certificate `json:"certificates,omitempty"`
}

// LogEntry is an entry of a transparency log
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_rekor.proto).
type LogEntry struct {
	LogIndex          int64             `json:"logIndex,string,omitempty"`
	LogID             LogID             `json:"logId"`
	KindVersion       KindVersion       `json:"kindVersion"`
	IntegratedTime    int64             `json:"integratedTime,string,omitempty"` // seconds since 1970
	InclusionPromise  *InclusionPromise `json:"inclusionPromise,omitempty"`
	InclusionProof    *InclusionProof   `json:"inclusionProof,omitempty"`
	CanonicalizedBody []byte            `json:"canonicalizedBody,omitempty"`
}

// LogID names a transparency log by the hash of its key.
type LogID struct {
	KeyID []byte `json:"keyId"`
}

// KindVersion is the type of a log entry, such as dsse 0.0.1.
type KindVersion struct {
	Kind    string `json:"kind"`
	Version string `json:"version"`
}

// InclusionPromise is the log's signature over the time and place of an entry.
type InclusionPromise struct {
	SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
}

// InclusionProof shows that the log has the entry (https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3).
type InclusionProof struct {
	LogIndex   int64      `json:"logIndex,string,omitempty"`
	RootHash   []byte     `json:"rootHash"`
	TreeSize   int64      `json:"treeSize,string,omitempty"`
	Hashes     [][]byte   `json:"hashes,omitempty"`
	Checkpoint Checkpoint `json:"checkpoint"`
}

// Checkpoint is the signed head of a log (https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md).
type Checkpoint struct {
	Envelope string `json:"envelope"`
}

// TimestampData are signed timestamps over the signature.
type TimestampData struct {
	RFC3161 []Timestamp `json:"rfc3161Timestamps,omitempty"`
}

// Timestamp is a TimeStampResp (https://www.rfc-editor.org/rfc/rfc3161#section-2.4.2) in DER.
type Timestamp struct {
	Signed []byte `json:"signedTimestamp"`
}

// MessageSignature is a signature over a file. The digest is there to find the file by; it proves nothing.
type MessageSignature struct {
	Digest    MessageDigest `json:"messageDigest"`
	Signature []byte        `json:"signature"`
}

// MessageDigest is the digest of what was signed.
type MessageDigest struct {
	Algorithm string `json:"algorithm"`
	Digest    []byte `json:"digest"`
}

// Envelope is a signed payload of a type (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md).
type Envelope struct {
	Payload     []byte              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []EnvelopeSignature `json:"signatures"`
}

// EnvelopeSignature is a signature over the payload and its type.
type EnvelopeSignature struct {
	Sig   []byte `json:"sig"`
	KeyID string `json:"keyid,omitempty"`
}

// ParseBundle reads a bundle from outside. It is bounded, has one reading and is complete: one signature, one signer.
// Nothing is verified.
func ParseBundle(b []byte) (Bundle, error) {
	if len(b) > maxBundle {
		return Bundle{}, fmt.Errorf("reading bundle: more than %d bytes", maxBundle)
	}
	var out Bundle
	if err := canonjson.Decode(b, &out); err != nil {
		return Bundle{}, fmt.Errorf("reading bundle: %w", err)
	}
	if err := out.check(); err != nil {
		return Bundle{}, fmt.Errorf("reading bundle: %w", err)
	}
	return out, nil
}

// Encode is the canonical JSON of the bundle in one line, without a newline at its end. A bundle that ParseBundle would
// refuse is an error.
func (b Bundle) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("writing bundle: %w", err)
	}
	return canonjson.Encode(b)
}

func (b Bundle) check() error {
	if !IsBundle(b.MediaType) {
		return fmt.Errorf("media type %.80q instead of %s", b.MediaType, BundleMediaType)
	}
	if err := b.Material.check(); err != nil {
		return err
	}
	switch {
	case b.Message == nil && b.Envelope == nil:
		return errors.New("there is no signature")
	case b.Message != nil && b.Envelope != nil:
		return errors.New("it has both a signature over a file and an envelope; a bundle has one")
	case b.Message != nil:
		return b.Message.check()
	}
	if err := b.Envelope.check(); err != nil {
		return err
	}
	if key, id := b.Material.PublicKey, b.Envelope.Signatures[0].KeyID; key != nil && id != "" && id != key.Hint {
		return fmt.Errorf("the envelope names key %.80q and the bundle %.80q", id, key.Hint)
	}
	return nil
}

func (m VerificationMaterial) check() error {
	if m.Chain != nil {
		return errors.New("it has a chain of certificates; a bundle of version 0.3 has the signer's alone")
	}
	switch {
	case m.PublicKey == nil && m.Certificate == nil:
		return errors.New("it names neither the key nor the certificate that made the signature")
	case m.PublicKey != nil && m.Certificate != nil:
		return errors.New("it has both a key and a certificate; a bundle has one signer")
	case m.PublicKey != nil && len(m.PublicKey.Hint) > maxHint:
		return fmt.Errorf("the name of the key is longer than %d bytes", maxHint)
	case m.Certificate != nil && len(m.Certificate.RawBytes) == 0:
		return errors.New("the certificate is empty")
	case len(m.Entries) > maxEntries:
		return fmt.Errorf("more than %d entries of transparency logs", maxEntries)
	case m.Timestamps != nil && len(m.Timestamps.RFC3161) > maxTimestamps:
		return fmt.Errorf("more than %d timestamps", maxTimestamps)
	}
	for i, e := range m.Entries {
		if e.InclusionProof == nil {
			return fmt.Errorf("log entry %d has no inclusion proof", i)
		}
		if len(e.InclusionProof.Hashes) > maxHashes {
			return fmt.Errorf("log entry %d: the inclusion proof has more than %d hashes", i, maxHashes)
		}
		if e.LogIndex < 0 || e.IntegratedTime < 0 || e.InclusionProof.LogIndex < 0 || e.InclusionProof.TreeSize < 0 {
			return fmt.Errorf("log entry %d has a negative number", i)
		}
	}
	return nil
}

func (s MessageSignature) check() error {
	switch {
	case len(s.Signature) == 0:
		return errors.New("the signature is empty")
	case s.Digest.Algorithm != HashSHA256:
		return fmt.Errorf("the digest of the content is %.40q instead of %s", s.Digest.Algorithm, HashSHA256)
	case len(s.Digest.Digest) != 32:
		return fmt.Errorf("the digest of the content has %d bytes instead of 32", len(s.Digest.Digest))
	}
	return nil
}

func (e Envelope) check() error {
	switch {
	case len(e.Payload) == 0:
		return errors.New("the envelope is empty")
	case e.PayloadType == "":
		return errors.New("the envelope does not say what type its payload has")
	case len(e.Signatures) == 0:
		return errors.New("the envelope has no signature")
	case len(e.Signatures) > 1:
		return fmt.Errorf("the envelope has %d signatures; one in a bundle has one", len(e.Signatures))
	case len(e.Signatures[0].Sig) == 0:
		return errors.New("the signature is empty")
	case len(e.Signatures[0].KeyID) > maxHint:
		return fmt.Errorf("the name of the key is longer than %d bytes", maxHint)
	}
	return nil
}

// unpromised reports whether the signature has no classic form: it was made without a key, and its logs, of Rekor v2, promise no time,
// which that form has in the place of a proof. An entry is bound to its version, and not to the promise, which anybody can take away.
func (m VerificationMaterial) unpromised() bool {
	return m.Certificate != nil && !slices.ContainsFunc(m.Entries, func(e LogEntry) bool { return e.KindVersion.Version != "0.0.2" })
}

// CheckKey says why the bundle does not claim to be signed by key: it has a certificate, or names another key. That it
// does claim so is not proof, only Verify is.
func (m VerificationMaterial) CheckKey(key PublicKey) error {
	switch {
	case key.IsZero():
		return errors.New("there is no public key to verify with")
	case m.Certificate != nil:
		return fmt.Errorf("it was signed with a certificate and not with key %s; verify it by the signer's identity", key.Fingerprint())
	case m.PublicKey == nil:
		return errors.New("it does not say who signed it")
	case m.PublicKey.Hint != "" && m.PublicKey.Hint != key.hint():
		return fmt.Errorf("it was signed with key %s and not with %s", hintName(m.PublicKey.Hint), key.Fingerprint())
	}
	return nil
}

// hintName is the fingerprint in a hint, or the hint where it is something else.
func hintName(hint string) string {
	if b, err := base64.StdEncoding.Strict().DecodeString(hint); err == nil && len(b) == 32 {
		return fmt.Sprintf("sha256:%x", b)
	}
	return strconv.Quote(hint[:min(80, len(hint))])
}

// keyMaterial names the key of signer.
func keyMaterial(signer Signer) VerificationMaterial {
	return VerificationMaterial{PublicKey: &PublicKeyIdentifier{Hint: signer.Public().hint()}}
}

// sign calls signer and checks its answer: a signature by another key than Public says would be found out by those who
// receive the release.
func sign(signer Signer, message []byte) ([]byte, error) {
	sig, err := signer.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if err := signer.Public().Verify(message, sig); err != nil {
		return nil, fmt.Errorf("signing: the key's halves do not belong together: %w", err)
	}
	return sig, nil
}

// SignBlob signs content, usually the bytes of a file.
func SignBlob(signer Signer, content []byte) (Bundle, error) {
	sig, err := sign(signer, content)
	if err != nil {
		return Bundle{}, err
	}
	return Bundle{
		MediaType: BundleMediaType,
		Material:  keyMaterial(signer),
		Message: &MessageSignature{
			Digest:    MessageDigest{Algorithm: HashSHA256, Digest: digestBytes(content)},
			Signature: sig,
		},
	}, nil
}

// VerifyBlobBy is VerifyBlob by any one of some keys. Without a key nothing is verified, and that is an error.
func VerifyBlobBy(b Bundle, content []byte, keys []PublicKey) error {
	if len(keys) == 0 {
		return errors.New("no key is known that it may be signed with")
	}
	var errs []error
	for _, key := range keys {
		err := VerifyBlob(b, content, key)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// VerifyBlob says why b is not a signature with key over content; nil means that it is one.
func VerifyBlob(b Bundle, content []byte, key PublicKey) error {
	if err := b.check(); err != nil {
		return err
	}
	if b.Message == nil {
		return errors.New("it signs an envelope and not a file")
	}
	if err := b.Material.CheckKey(key); err != nil {
		return err
	}
	return b.Message.Verify(content, key)
}

// Verify says why s is not a signature with key over content, no matter whom the bundle names as signer.
func (s MessageSignature) Verify(content []byte, key PublicKey) error {
	if err := s.check(); err != nil {
		return err
	}
	if signed, got := fmt.Sprintf("sha256:%x", s.Digest.Digest), artifact.Sum(content); signed != string(got) {
		return fmt.Errorf("the content has changed: %s was signed and it is %s", signed, got)
	}
	return key.Verify(content, s.Signature)
}
