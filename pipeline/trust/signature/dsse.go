package signature

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// StatementType is the payload type of an in-toto statement
// (https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md).
const StatementType = "application/vnd.in-toto+json"

// PAE is what a signature of an envelope is made over
// (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md#signature-definition).
func PAE(payloadType string, payload []byte) []byte {
	head := "DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " "
	return slices.Concat([]byte(head), payload)
}

// SignEnvelope signs a payload of the type. The envelope names no key: what a name of a key is made of differs between
// its readers, and cosign passes over a signature under a name that it would not give.
func SignEnvelope(signer Signer, payloadType string, payload []byte) (Envelope, error) {
	sig, err := sign(signer, PAE(payloadType, payload))
	if err != nil {
		return Envelope{}, err
	}
	return Envelope{Payload: payload, PayloadType: payloadType, Signatures: []EnvelopeSignature{{Sig: sig}}}, nil
}

// VerifyEnvelope returns the payload of an envelope of the type that was signed with key. No payload is returned that
// was not.
func VerifyEnvelope(e Envelope, payloadType string, key PublicKey) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("the payload is of type %.80q instead of %s", e.PayloadType, payloadType)
	}
	if err := key.Verify(PAE(e.PayloadType, e.Payload), e.Signatures[0].Sig); err != nil {
		return nil, err
	}
	return e.Payload, nil
}

// SignStatement signs an in-toto statement.
func SignStatement(signer Signer, statement []byte) (Bundle, error) {
	e, err := SignEnvelope(signer, StatementType, statement)
	if err != nil {
		return Bundle{}, err
	}
	return Bundle{MediaType: BundleMediaType, Material: keyMaterial(signer), Envelope: &e}, nil
}

// VerifyStatement returns the in-toto statement in b, which was signed with key.
func VerifyStatement(b Bundle, key PublicKey) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if b.Envelope == nil {
		return nil, errors.New("it signs a file and not a statement")
	}
	if err := b.Material.CheckKey(key); err != nil {
		return nil, err
	}
	return VerifyEnvelope(*b.Envelope, StatementType, key)
}

func digestBytes(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
