package keyless

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Annotations of a signature in cosign's classic form, beside the signature itself
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#properties).
const (
	CertificateAnnotation = "dev.sigstore.cosign/certificate" // PEM
	ChainAnnotation       = "dev.sigstore.cosign/chain"       // PEM, who issued the certificate first
	BundleAnnotation      = "dev.sigstore.cosign/bundle"      // JSON of the log's entry and promise
)

const pemCertificate = "CERTIFICATE"

// logBundle is what cosign keeps of a log's entry: what was promised, without a proof.
type logBundle struct {
	SignedEntryTimestamp []byte
	Payload              promised
}

// EncodeLogEntry is the entry as BundleAnnotation has it.
func EncodeLogEntry(e signature.LogEntry) (string, error) {
	if e.InclusionPromise == nil {
		return "", errors.New("the log has not signed the time of the entry")
	}
	b, err := json.Marshal(logBundle{
		SignedEntryTimestamp: e.InclusionPromise.SignedEntryTimestamp,
		Payload:              promised{e.CanonicalizedBody, e.IntegratedTime, hex.EncodeToString(e.LogID.KeyID), e.LogIndex},
	})
	return string(b), err
}

// ParseLogEntry reads what EncodeLogEntry and cosign write. Nothing is verified.
func ParseLogEntry(s string) (signature.LogEntry, error) {
	var b logBundle
	if len(s) > 2*maxBody {
		return signature.LogEntry{}, fmt.Errorf("reading the log's entry: more than %d bytes", 2*maxBody)
	}
	if err := canonjson.Decode([]byte(s), &b); err != nil {
		return signature.LogEntry{}, fmt.Errorf("reading the log's entry: %w", err)
	}
	id, err := hex.DecodeString(b.Payload.LogID)
	if err != nil || len(id) == 0 || b.Payload.LogIndex < 0 || b.Payload.IntegratedTime < 0 {
		return signature.LogEntry{}, errors.New("reading the log's entry: its id, place or time cannot be right")
	}
	return signature.LogEntry{
		LogIndex:          b.Payload.LogIndex,
		LogID:             signature.LogID{KeyID: id},
		KindVersion:       signature.KindVersion{Kind: kindHashedRekord, Version: kindVersion},
		IntegratedTime:    b.Payload.IntegratedTime,
		InclusionPromise:  &signature.InclusionPromise{SignedEntryTimestamp: b.SignedEntryTimestamp},
		CanonicalizedBody: b.Payload.Body,
	}, nil
}

// Classic says why none of the signatures under a signature.ClassicTag is one over the image by whom the policy
// accepts; nil means that one of them is. In this form there is the log's promise and never its proof.
func (v Verifier) Classic(manifest []byte, fetch signature.Fetch, im signature.Image) (Claims, error) {
	sigs, err := signature.ReadClassic(manifest, fetch)
	if err != nil {
		return Claims{}, err
	}
	var errs []error
	for _, s := range sigs {
		claims, err := v.classic(s, im)
		if err == nil {
			return claims, nil
		}
		errs = append(errs, err)
	}
	return Claims{}, errors.Join(errs...)
}

func (v Verifier) classic(c signature.ClassicSignature, im signature.Image) (Claims, error) {
	if c.Annotations[CertificateAnnotation] == "" || c.Annotations[BundleAnnotation] == "" {
		return Claims{}, errors.New("it was signed without a certificate or without a transparency log")
	}
	block, rest := pem.Decode([]byte(c.Annotations[CertificateAnnotation]))
	if block == nil || block.Type != pemCertificate || len(bytes.TrimSpace(rest)) > 0 {
		return Claims{}, errors.New("there is not one whole certificate")
	}
	entry, err := ParseLogEntry(c.Annotations[BundleAnnotation])
	if err != nil {
		return Claims{}, err
	}
	claims, err := v.verify(signed{
		certificate: block.Bytes,
		entries:     []signature.LogEntry{entry},
		record:      hashedRekord(artifact.Sum(c.Payload), c.Signature, block.Bytes),
		check:       func(key signature.PublicKey) error { return key.Verify(c.Payload, c.Signature) },
	})
	if err == nil {
		err = im.CheckPayload(c.Payload)
	}
	if err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// Referrer says why the referrer is not a signature over the image by whom the policy accepts; nil means that it is one.
func (v Verifier) Referrer(manifest []byte, fetch signature.Fetch, im signature.Image) (Claims, error) {
	bundle, subject, err := signature.ReadReferrer(manifest, fetch)
	if err != nil {
		return Claims{}, err
	}
	if want := (signature.Subject{MediaType: im.MediaType, Size: im.Size, Digest: im.Digest}); subject != want {
		return Claims{}, fmt.Errorf("it is a referrer of %.80s (%.80s, %d bytes) and not of %s (%s, %d bytes)",
			subject.Digest, subject.MediaType, subject.Size, want.Digest, want.MediaType, want.Size)
	}
	statement, claims, err := v.Statement(bundle)
	if err == nil {
		err = im.CheckStatement(statement)
	}
	if err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// EncodeCertificates is the PEM of certificates in DER, as the annotations have it.
func EncodeCertificates(ders ...[]byte) string {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return string(out)
}
