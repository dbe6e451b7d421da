package keyless

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// CheckEntry says why a log's answer is not an entry about the signature in b whose proof leads to its own checkpoint. That the log
// is one to be believed, and has signed the checkpoint, is for a TrustedRoot to say.
func CheckEntry(b signature.Bundle, e signature.LogEntry) error {
	s, err := open(b)
	if err != nil {
		return err
	}
	leaf, err := parseCertificate(s.certificate)
	if err != nil {
		return err
	}
	switch {
	case b.Message != nil:
		s.record = hashedRekord(artifact.Digest(fmt.Sprintf("sha256:%x", b.Message.Digest.Digest)), b.Message.Signature, s.certificate)
	case b.Envelope != nil:
		s.record, err = envelope(*b.Envelope, s.certificate)
	default:
		err = errors.New("there is no signature")
	}
	if err != nil {
		return err
	}
	s.record.key = leaf.key.Kind()
	if err := s.record.check(e); err != nil {
		return err
	}
	if e.InclusionProof == nil {
		return errors.New("there is no proof that the entry is in the log")
	}
	root, err := proven(e.CanonicalizedBody, *e.InclusionProof)
	if err != nil {
		return err
	}
	c, err := parseCheckpoint(e.InclusionProof.Checkpoint.Envelope)
	if err != nil {
		return fmt.Errorf("the log's checkpoint does not hold: %w", err)
	}
	return c.of(root, e.InclusionProof.TreeSize)
}

// CheckTimestamp is when an authority says that it saw the message, in the answer (a TimeStampResp) to a request with the nonce. The
// answer carries the certificate that signed it. That this is one to be believed is for a TrustedRoot to say.
func CheckTimestamp(answer, message []byte, nonce *big.Int) (time.Time, error) {
	t, err := parseToken(answer)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("reading the timestamp: %w", err)
	case !bytes.Equal(t.imprint, sum(t.hash, message)):
		return time.Time{}, errors.New("the timestamp is of another signature")
	case t.nonce == nil || t.nonce.Cmp(nonce) != 0:
		return time.Time{}, errors.New("the timestamp was made for another request: its nonce is another")
	}
	why := errors.New("it does not carry the certificate that signed it")
	for _, c := range t.embedded {
		err := t.by(c)
		if err == nil {
			return t.at, nil
		}
		if bytes.Equal(t.signs, sum(t.signsHash, c.Raw)) {
			why = err
		}
	}
	return time.Time{}, fmt.Errorf("the timestamp does not hold: %w", why)
}
