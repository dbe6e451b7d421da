package keyless

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds of a log's entry.
const (
	maxBody       = 1 << 20  // bytes
	maxCheckpoint = 64 << 10 // bytes
)

// Kinds of entries and their versions (https://github.com/sigstore/rekor/tree/main/pkg/types).
const (
	kindHashedRekord = "hashedrekord"
	kindDSSE         = "dsse"
	kindVersion      = "0.0.1" // of Rekor v1
	kindVersion2     = "0.0.2" // of Rekor v2
)

// record is what a log must have about a signature.
type record struct {
	kind        string          // in Rekor v1
	content     artifact.Digest // digest of the file, or of the payload of the envelope
	message     artifact.Digest // digest of what the signature is over
	signature   []byte
	certificate []byte // DER
	key         string // kind of the key
}

// said is what a log's entry says about a signature, by the names of what can be another.
type said struct {
	digest      artifact.Digest
	signature   []byte
	certificate []byte // DER; in Rekor v1 PEM
	key         string // kind of the key; in Rekor v1 none
}

// rekordBody and dsseBody are what Rekor v1 keeps of an entry, with keys in the order of its canonical form.
type rekordBody struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Data struct {
			Hash hashValue `json:"hash"`
		} `json:"data"`
		Signature struct {
			Content   []byte `json:"content"`
			PublicKey struct {
				Content []byte `json:"content"`
			} `json:"publicKey"`
		} `json:"signature"`
	} `json:"spec"`
}

type dsseBody struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		EnvelopeHash hashValue       `json:"envelopeHash"`
		PayloadHash  hashValue       `json:"payloadHash"`
		Signatures   []dsseSignature `json:"signatures"`
	} `json:"spec"`
}

type dsseSignature struct {
	Signature []byte `json:"signature"`
	Verifier  []byte `json:"verifier"`
}

type hashValue struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

func (h hashValue) digest() artifact.Digest { return artifact.Digest(h.Algorithm + ":" + h.Value) }

// rekordBody2 and dsseBody2 are those of Rekor v2
// (https://github.com/sigstore/rekor-tiles/tree/main/api/proto/rekor/v2).
type rekordBody2 struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Rekord struct {
			Data      hashOutput `json:"data"`
			Signature signature2 `json:"signature"`
		} `json:"hashedRekordV002"`
	} `json:"spec"`
}

type dsseBody2 struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		DSSE struct {
			PayloadHash hashOutput   `json:"payloadHash"`
			Signatures  []signature2 `json:"signatures"`
		} `json:"dsseV002"`
	} `json:"spec"`
}

type hashOutput struct {
	Algorithm string `json:"algorithm"`
	Digest    []byte `json:"digest"`
}

func (h hashOutput) digest() artifact.Digest {
	if h.Algorithm != signature.HashSHA256 {
		return artifact.Digest(h.Algorithm)
	}
	return artifact.Digest("sha256:" + hex.EncodeToString(h.Digest))
}

type signature2 struct {
	Content  []byte `json:"content"`
	Verifier struct {
		KeyDetails  string                `json:"keyDetails"`
		Certificate signature.Certificate `json:"x509Certificate"`
	} `json:"verifier"`
}

// keyDetails is what Rekor v2 calls the kinds of keys that sign with SHA-256
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_common.proto).
var keyDetails = map[string]string{
	"ECDSA P-256": "PKIX_ECDSA_P256_SHA_256",
	"RSA 2048":    "PKIX_RSA_PKCS1V15_2048_SHA256",
	"RSA 3072":    "PKIX_RSA_PKCS1V15_3072_SHA256",
	"RSA 4096":    "PKIX_RSA_PKCS1V15_4096_SHA256",
}

// hashedRekord is the record of a signature over content of the digest.
func hashedRekord(d artifact.Digest, sig, certificate []byte) record {
	return record{kind: kindHashedRekord, content: d, message: d, signature: sig, certificate: certificate}
}

// envelope is the record of an envelope.
func envelope(e signature.Envelope, certificate []byte) (record, error) {
	if len(e.Signatures) != 1 {
		return record{}, fmt.Errorf("the envelope has %d signatures; one in a bundle has one", len(e.Signatures))
	}
	return record{
		kind: kindDSSE, content: artifact.Sum(e.Payload), message: artifact.Sum(signature.PAE(e.PayloadType, e.Payload)),
		signature: e.Signatures[0].Sig, certificate: certificate,
	}, nil
}

// check says why the entry is not the record. What the log has is compared byte for byte with what it would have
// written, so that nobody reads it in another way.
func (r record) check(e signature.LogEntry) error {
	if len(e.CanonicalizedBody) > maxBody {
		return fmt.Errorf("the log's entry has more than %d bytes", maxBody)
	}
	read, want := r.reader(e.KindVersion)
	if read == nil {
		return fmt.Errorf("the log's entry is of kind %.40q %.20q instead of %s %s or %s", e.KindVersion.Kind, e.KindVersion.Version, r.kind, kindVersion, kindVersion2)
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := canonjson.DecodeOpen(e.CanonicalizedBody, &head); err != nil {
		return fmt.Errorf("reading the log's entry: %w", err)
	}
	if head.Kind != e.KindVersion.Kind || head.APIVersion != e.KindVersion.Version {
		return fmt.Errorf("the log's entry is of kind %.40q %.20q and is called %s %s", head.Kind, head.APIVersion, e.KindVersion.Kind, e.KindVersion.Version)
	}
	got, err := read(e.CanonicalizedBody)
	switch {
	case err != nil:
		return err
	case got.digest != want.digest:
		return fmt.Errorf("the log's entry is about other content: %.80s and not %s", got.digest, want.digest)
	case !bytes.Equal(got.signature, want.signature):
		return errors.New("the log's entry is about another signature")
	case !bytes.Equal(got.certificate, want.certificate):
		return errors.New("the log's entry is about another certificate")
	case got.key != want.key:
		return fmt.Errorf("the log's entry is about a key of kind %.60q and not of %q", got.key, want.key)
	}
	return nil
}

// reader is how an entry of the kind is read, and what it must say; nil for one that no log keeps of such a signature.
func (r record) reader(kind signature.KindVersion) (func([]byte) (said, error), said) {
	details := keyDetails[r.key]
	switch kind {
	case signature.KindVersion{Kind: r.kind, Version: kindVersion}:
		read := readRekord
		if r.kind == kindDSSE {
			read = readDSSE
		}
		return read, said{digest: r.content, signature: r.signature, certificate: []byte(EncodeCertificates(r.certificate))}
	case signature.KindVersion{Kind: kindHashedRekord, Version: kindVersion2}: // of an envelope, too
		if details != "" {
			return readRekord2, said{r.message, r.signature, r.certificate, details}
		}
	case signature.KindVersion{Kind: kindDSSE, Version: kindVersion2}:
		if details != "" && r.kind == kindDSSE {
			return readDSSE2, said{r.content, r.signature, r.certificate, details}
		}
	}
	return nil, said{}
}

func readRekord(raw []byte) (said, error) {
	var b rekordBody
	err := decodeBody(raw, &b)
	return said{digest: b.Spec.Data.Hash.digest(), signature: b.Spec.Signature.Content, certificate: b.Spec.Signature.PublicKey.Content}, err
}

func readDSSE(raw []byte) (said, error) {
	var b dsseBody
	if err := decodeBody(raw, &b); err != nil {
		return said{}, err
	}
	if n := len(b.Spec.Signatures); n != 1 {
		return said{}, fmt.Errorf("the log's entry has %d signatures instead of one", n)
	}
	// How the envelope was written when it was sent is not known: its digest is what the log says it is.
	if _, err := artifact.ParseDigest(string(b.Spec.EnvelopeHash.digest())); err != nil {
		return said{}, fmt.Errorf("reading the log's entry: %w", err)
	}
	one := b.Spec.Signatures[0]
	return said{digest: b.Spec.PayloadHash.digest(), signature: one.Signature, certificate: one.Verifier}, nil
}

func readRekord2(raw []byte) (said, error) {
	var b rekordBody2
	err := decodeBody(raw, &b)
	return b.Spec.Rekord.Signature.said(b.Spec.Rekord.Data), err
}

func readDSSE2(raw []byte) (said, error) {
	var b dsseBody2
	if err := decodeBody(raw, &b); err != nil {
		return said{}, err
	}
	if n := len(b.Spec.DSSE.Signatures); n != 1 {
		return said{}, fmt.Errorf("the log's entry has %d signatures instead of one", n)
	}
	return b.Spec.DSSE.Signatures[0].said(b.Spec.DSSE.PayloadHash), nil
}

func (s signature2) said(h hashOutput) said {
	return said{h.digest(), s.Content, s.Verifier.Certificate.RawBytes, s.Verifier.KeyDetails}
}

// decodeBody reads a body that is written in the one canonical way.
func decodeBody(raw []byte, body any) error {
	if err := canonjson.DecodeOpen(raw, body); err != nil {
		return fmt.Errorf("reading the log's entry: %w", err)
	}
	canonical, err := canonjson.Encode(body)
	if err != nil {
		return fmt.Errorf("writing the log's entry again: %w", err)
	}
	if !bytes.Equal(canonical, raw) {
		return errors.New("the log's entry is not written in the one canonical way")
	}
	return nil
}

// promised is what a log's signed entry timestamp is over, with keys in the order of their canonical form
// (https://github.com/sigstore/rekor/blob/main/openapi.yaml, signedEntryTimestamp).
type promised struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
}

// log is the one of the root that an entry says it is of.
func (r TrustedRoot) log(e signature.LogEntry) (*transparencyLog, error) {
	log := find(r.logs, e.LogID.KeyID)
	switch {
	case log == nil:
		return nil, fmt.Errorf("the signature is in log %.64x, which is not in the trusted root", e.LogID.KeyID)
	case log.details != "":
		return nil, fmt.Errorf("the signature is in log %x, whose key of kind %s is not read", log.id, log.details)
	}
	return log, nil
}

// checkPromise says why the log has not signed the entry with its time and place.
func (l *transparencyLog) checkPromise(e signature.LogEntry) error {
	message, err := canonjson.Encode(promised{e.CanonicalizedBody, e.IntegratedTime, hex.EncodeToString(e.LogID.KeyID), e.LogIndex})
	if err != nil {
		return fmt.Errorf("writing the log's promise again: %w", err)
	}
	if l.key.Verify(message, e.InclusionPromise.SignedEntryTimestamp) != nil {
		return errors.New("the log has not signed this entry with this time and place (its inclusion promise does not hold)")
	}
	return nil
}

// checkProof says why the proof does not show that the log has the body.
func (l *transparencyLog) checkProof(body []byte, p signature.InclusionProof) error {
	root, err := proven(body, p)
	if err != nil {
		return err
	}
	c, err := parseCheckpoint(p.Checkpoint.Envelope)
	if err == nil {
		err = l.signed(c)
	}
	if err != nil {
		return fmt.Errorf("the log's checkpoint does not hold: %w", err)
	}
	return c.of(root, p.TreeSize)
}

// proven is the root of the tree in which the proof shows the body.
func proven(body []byte, p signature.InclusionProof) ([]byte, error) {
	root, err := inclusionRoot(body, p)
	if err != nil {
		return nil, fmt.Errorf("the proof that the entry is in the log does not hold: %w", err)
	}
	if !bytes.Equal(root, p.RootHash) {
		return nil, fmt.Errorf("the proof that the entry is in the log does not hold: it leads to the root %x and not to %.64x", root, p.RootHash)
	}
	return root, nil
}

// inclusionRoot is the root of the tree in which body is where the proof says
// (https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2).
func inclusionRoot(body []byte, p signature.InclusionProof) ([]byte, error) {
	if p.LogIndex < 0 || p.LogIndex >= p.TreeSize {
		return nil, fmt.Errorf("entry %d is not in a tree of %d", p.LogIndex, p.TreeSize)
	}
	node, last := p.LogIndex, p.TreeSize-1
	sum := sha256.Sum256(append([]byte{0}, body...))
	join := func(left, right []byte) { sum = sha256.Sum256(append(append([]byte{1}, left...), right...)) }
	for _, h := range p.Hashes {
		if len(h) != sha256.Size {
			return nil, fmt.Errorf("a hash of %d bytes", len(h))
		}
		if last == 0 {
			return nil, errors.New("it has too many hashes")
		}
		if node&1 == 1 || node == last {
			join(h, sum[:])
			for node&1 == 0 && node != 0 {
				node, last = node>>1, last>>1
			}
		} else {
			join(sum[:], h)
		}
		node, last = node>>1, last>>1
	}
	if last != 0 {
		return nil, errors.New("it has too few hashes")
	}
	return sum[:], nil
}

// checkpoint is a signed note with the size and the root of a tree (https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md).
type checkpoint struct {
	text       string // that is signed
	size       int64
	root       []byte
	signatures [][]byte // each after the hint of its key; others than the log may have signed it too
}

// parseCheckpoint reads a checkpoint. Nothing is verified.
func parseCheckpoint(note string) (checkpoint, error) {
	if len(note) > maxCheckpoint {
		return checkpoint{}, fmt.Errorf("it has more than %d bytes", maxCheckpoint)
	}
	end := strings.LastIndex(note, "\n\n")
	if end < 0 || !strings.HasSuffix(note, "\n") {
		return checkpoint{}, errors.New("it is not a signed note")
	}
	c := checkpoint{text: note[:end+1]}
	lines := strings.Split(c.text, "\n")
	if len(lines) < 4 || lines[0] == "" {
		return checkpoint{}, errors.New("it does not have an origin, a size and a root")
	}
	var err error
	c.size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || c.size < 0 || strconv.FormatInt(c.size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("%.40q is not the size of a tree", lines[1])
	}
	c.root, err = base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(c.root) != sha256.Size {
		return checkpoint{}, fmt.Errorf("%.60q is not the root of a tree", lines[2])
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(note[end+2:], "\n"), "\n") {
		sig, ok := strings.CutPrefix(line, "— ")
		_, sig, _ = strings.Cut(sig, " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(sig)
		if !ok || err != nil || len(raw) < 5 {
			return checkpoint{}, errors.New("a line is not a signature")
		}
		c.signatures = append(c.signatures, raw)
	}
	return c, nil
}

// signed says why the log has not signed the checkpoint.
func (l *transparencyLog) signed(c checkpoint) error {
	for _, sig := range c.signatures {
		if bytes.Equal(sig[:4], l.hint) && l.key.Verify([]byte(c.text), sig[4:]) == nil {
			return nil
		}
	}
	return fmt.Errorf("log %x has not signed it", l.id)
}

// of says why the checkpoint is not that of a tree.
func (c checkpoint) of(root []byte, size int64) error {
	if c.size != size || !bytes.Equal(c.root, root) {
		return errors.New("the log's checkpoint is of another tree than the proof")
	}
	return nil
}
