package keyless

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds of a log's entry.
const (
	maxBody       = 1 << 20  // bytes
	maxCheckpoint = 64 << 10 // bytes
)

// Kinds of entries (https://github.com/sigstore/rekor/tree/main/pkg/types).
const (
	kindHashedRekord = "hashedrekord"
	kindDSSE         = "dsse"
	kindVersion      = "0.0.1"
)

// record is what a log must have about a signature.
type record struct {
	kind string
	// What the entry says, by the names of what can be another.
	digest      artifact.Digest // of what was signed
	signature   string          // base64
	certificate string          // base64 of PEM
}

// rekordBody and dsseBody are what the log keeps of an entry, with keys in the order of its canonical form.
type rekordBody struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Data struct {
			Hash hashValue `json:"hash"`
		} `json:"data"`
		Signature struct {
			Content   string `json:"content"`
			PublicKey struct {
				Content string `json:"content"`
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
	Signature string `json:"signature"`
	Verifier  string `json:"verifier"`
}

type hashValue struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

func newRecord(kind string, d artifact.Digest, sig, der []byte) record {
	return record{
		kind: kind, digest: d, signature: base64.StdEncoding.EncodeToString(sig),
		certificate: base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})),
	}
}

// hashedRekord is the record of a signature over content of the digest.
func hashedRekord(d artifact.Digest, sig, certificate []byte) record {
	return newRecord(kindHashedRekord, d, sig, certificate)
}

// envelope is the record of an envelope.
func envelope(e signature.Envelope, certificate []byte) (record, error) {
	if len(e.Signatures) != 1 {
		return record{}, fmt.Errorf("the envelope has %d signatures; one in a bundle has one", len(e.Signatures))
	}
	return newRecord(kindDSSE, artifact.Sum(e.Payload), e.Signatures[0].Sig, certificate), nil
}

// check says why the entry is not the record. What the log has is compared byte for byte with what it would have
// written, so that nobody reads it in another way.
func (r record) check(e signature.LogEntry) error {
	if len(e.CanonicalizedBody) > maxBody {
		return fmt.Errorf("the log's entry has more than %d bytes", maxBody)
	}
	if want := (signature.KindVersion{Kind: r.kind, Version: kindVersion}); e.KindVersion != want {
		return fmt.Errorf("the log's entry is of kind %.40q %.20q instead of %s %s", e.KindVersion.Kind, e.KindVersion.Version, want.Kind, want.Version)
	}
	var got record
	var body any
	sha256Value := hashValue{Algorithm: "sha256", Value: r.digest.Hex()}
	switch r.kind {
	case kindHashedRekord:
		var b rekordBody
		if err := canonjson.DecodeOpen(e.CanonicalizedBody, &b); err != nil {
			return fmt.Errorf("reading the log's entry: %w", err)
		}
		got = record{b.Kind, digest(b.Spec.Data.Hash), b.Spec.Signature.Content, b.Spec.Signature.PublicKey.Content}
		b.APIVersion, b.Spec.Data.Hash = kindVersion, sha256Value
		body = b
	default:
		var b dsseBody
		if err := canonjson.DecodeOpen(e.CanonicalizedBody, &b); err != nil {
			return fmt.Errorf("reading the log's entry: %w", err)
		}
		if len(b.Spec.Signatures) != 1 {
			return fmt.Errorf("the log's entry has %d signatures instead of one", len(b.Spec.Signatures))
		}
		got = record{b.Kind, digest(b.Spec.PayloadHash), b.Spec.Signatures[0].Signature, b.Spec.Signatures[0].Verifier}
		// How the envelope was written when it was sent is not known: its digest is what the log says it is.
		if _, err := artifact.ParseDigest(string(digest(b.Spec.EnvelopeHash))); err != nil {
			return fmt.Errorf("reading the log's entry: %w", err)
		}
		b.APIVersion, b.Spec.PayloadHash = kindVersion, sha256Value
		body = b
	}
	canonical, err := canonjson.Encode(body)
	switch {
	case err != nil:
		return fmt.Errorf("writing the log's entry again: %w", err)
	case got.kind != r.kind:
		return fmt.Errorf("the log's entry is of kind %.40q and is called %s", got.kind, r.kind)
	case got.digest != r.digest:
		return fmt.Errorf("the log's entry is about other content: %.80s and not %s", got.digest, r.digest)
	case got.signature != r.signature:
		return errors.New("the log's entry is about another signature")
	case got.certificate != r.certificate:
		return errors.New("the log's entry is about another certificate")
	case !bytes.Equal(canonical, e.CanonicalizedBody):
		return errors.New("the log's entry is not written in the one canonical way")
	}
	return nil
}

func digest(h hashValue) artifact.Digest { return artifact.Digest(h.Algorithm + ":" + h.Value) }

// promised is what a log's signed entry timestamp is over, with keys in the order of their canonical form
// (https://github.com/sigstore/rekor/blob/main/openapi.yaml, signedEntryTimestamp).
type promised struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
}

// checkEntry says why no log of the root has the entry, or not at the time that it says.
func (r TrustedRoot) checkEntry(e signature.LogEntry, proven bool) error {
	log := find(r.logs, e.LogID.KeyID)
	switch {
	case log == nil:
		return fmt.Errorf("the signature is in log %.64x, which is not in the trusted root", e.LogID.KeyID)
	case log.details != "":
		return fmt.Errorf("the signature is in log %x, whose key of kind %s is not read", log.id, log.details)
	case e.InclusionPromise == nil || len(e.InclusionPromise.SignedEntryTimestamp) == 0:
		return errors.New("the log has not signed the time of the entry (there is no inclusion promise)")
	case !log.valid.contains(time.Unix(e.IntegratedTime, 0)):
		return fmt.Errorf("the entry is of %s, when log %x was not to be believed", stamp(time.Unix(e.IntegratedTime, 0)), log.id)
	}
	message, err := canonjson.Encode(promised{e.CanonicalizedBody, e.IntegratedTime, hex.EncodeToString(e.LogID.KeyID), e.LogIndex})
	if err != nil {
		return fmt.Errorf("writing the log's promise again: %w", err)
	}
	if log.key.Verify(message, e.InclusionPromise.SignedEntryTimestamp) != nil {
		return errors.New("the log has not signed this entry with this time and place (its inclusion promise does not hold)")
	}
	if !proven {
		return nil
	}
	if e.InclusionProof == nil {
		return errors.New("there is no proof that the entry is in the log")
	}
	return log.checkProof(e.CanonicalizedBody, *e.InclusionProof)
}

// checkProof says why the proof does not show that the log has the body.
func (l *transparencyLog) checkProof(body []byte, p signature.InclusionProof) error {
	root, err := inclusionRoot(body, p)
	if err != nil {
		return fmt.Errorf("the proof that the entry is in the log does not hold: %w", err)
	}
	if !bytes.Equal(root, p.RootHash) {
		return fmt.Errorf("the proof that the entry is in the log does not hold: it leads to the root %x and not to %.64x", root, p.RootHash)
	}
	size, hash, err := l.checkpoint(p.Checkpoint.Envelope)
	if err != nil {
		return fmt.Errorf("the log's checkpoint does not hold: %w", err)
	}
	if size != p.TreeSize || !bytes.Equal(hash, root) {
		return errors.New("the log's checkpoint is of another tree than the proof")
	}
	return nil
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

// checkpoint reads a signed note with the size and the root of a tree, which the log has signed
// (https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md). Others may have signed it too.
func (l *transparencyLog) checkpoint(note string) (size int64, root []byte, err error) {
	if len(note) > maxCheckpoint {
		return 0, nil, fmt.Errorf("it has more than %d bytes", maxCheckpoint)
	}
	end := strings.LastIndex(note, "\n\n")
	if end < 0 || !strings.HasSuffix(note, "\n") {
		return 0, nil, errors.New("it is not a signed note")
	}
	text, signatures := note[:end+1], strings.Split(strings.TrimSuffix(note[end+2:], "\n"), "\n")
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] == "" {
		return 0, nil, errors.New("it does not have an origin, a size and a root")
	}
	size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return 0, nil, fmt.Errorf("%.40q is not the size of a tree", lines[1])
	}
	root, err = base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != sha256.Size {
		return 0, nil, fmt.Errorf("%.60q is not the root of a tree", lines[2])
	}
	// This is how Rekor v1 names a key of any kind.
	id, err := hex.DecodeString(l.key.Fingerprint().Hex())
	if err != nil {
		return 0, nil, err
	}
	signed := false
	for _, line := range signatures {
		sig, ok := strings.CutPrefix(line, "— ")
		if !ok {
			return 0, nil, errors.New("a line is not a signature")
		}
		_, sig, _ = strings.Cut(sig, " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(sig)
		if err != nil || len(raw) < 5 {
			return 0, nil, errors.New("a line is not a signature")
		}
		signed = signed || bytes.Equal(raw[:4], id[:4]) && l.key.Verify([]byte(text), raw[4:]) == nil
	}
	if !signed {
		return 0, nil, fmt.Errorf("log %x has not signed it", l.id)
	}
	return size, root, nil
}
