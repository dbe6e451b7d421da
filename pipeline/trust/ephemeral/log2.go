package ephemeral

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// newEntry is the JSON of Rekor v2 (https://github.com/sigstore/rekor-tiles/blob/main/api/proto/rekor/v2/entry.proto). It has one kind
// of entry: of an envelope the digest is that of what was signed, its pre-authentication encoding.
type newEntry struct {
	Rekord struct {
		Digest    []byte `json:"digest"`
		Signature struct {
			Content  []byte `json:"content"`
			Verifier struct {
				Certificate signature.Certificate `json:"x509Certificate"`
				KeyDetails  string                `json:"keyDetails"`
			} `json:"verifier"`
		} `json:"signature"`
	} `json:"hashedRekordRequestV002"`
}

// errRecorded tells of a log that has an entry and does not give its proof a second time.
var errRecorded = errors.New("the log has the entry")

// record2 has a log of Rekor v2 record the signature in b.
func (s *Signer) record2(ctx context.Context, log service, c *credential, b signature.Bundle) (signature.LogEntry, error) {
	var e newEntry
	if m := b.Message; m != nil {
		e.Rekord.Digest = m.Digest.Digest
	} else {
		sum := sha256.Sum256(signature.PAE(b.Envelope.PayloadType, b.Envelope.Payload))
		e.Rekord.Digest = sum[:]
	}
	e.Rekord.Signature.Content = signed(b)
	e.Rekord.Signature.Verifier.Certificate.RawBytes = c.cert.Raw
	e.Rekord.Signature.Verifier.KeyDetails = "PKIX_ECDSA_P256_SHA_256"
	body, err := json.Marshal(e)
	if err != nil {
		return signature.LogEntry{}, err
	}
	// Sent twice it is recorded once, or twice, of which nobody takes harm.
	res, err := s.client.do(ctx, request{service: "transparency log", method: http.MethodPost, url: log.at("/api/v2/log/entries"), body: body})
	if err != nil {
		return signature.LogEntry{}, err
	}
	switch res.status {
	case http.StatusCreated, http.StatusOK:
	case http.StatusConflict:
		return signature.LogEntry{}, errRecorded
	case http.StatusMethodNotAllowed:
		return signature.LogEntry{}, res.refused(fault.Usage, "it takes no entries any more; get the newest signing configuration")
	default:
		return signature.LogEntry{}, res.refused(fault.Usage, "is it a Rekor v2?")
	}
	var answer signature.LogEntry
	if err := canonjson.DecodeOpen(res.body, &answer); err != nil {
		return signature.LogEntry{}, res.unreadable(err)
	}
	// A time that nobody signed, and a promise, which there is none of, stay out.
	entry := signature.LogEntry{
		LogIndex: answer.LogIndex, LogID: answer.LogID, KindVersion: answer.KindVersion, InclusionProof: answer.InclusionProof,
		CanonicalizedBody: answer.CanonicalizedBody,
	}
	if len(entry.LogID.KeyID) == 0 {
		return signature.LogEntry{}, res.unreadable(errors.New("it does not say which log has the entry"))
	}
	if err := keyless.CheckEntry(b, entry); err != nil {
		return signature.LogEntry{}, res.unreadable(err)
	}
	return entry, nil
}

// signed is the signature in b.
func signed(b signature.Bundle) []byte {
	if b.Message != nil {
		return b.Message.Signature
	}
	return b.Envelope.Signatures[0].Sig
}
