package ephemeral

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// stampRequest is a TimeStampReq (https://www.rfc-editor.org/rfc/rfc3161#section-2.4.1).
type stampRequest struct {
	Version int
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Hash      []byte
	}
	Nonce *big.Int
	// CertReq asks for the certificate in the answer: with it the answer is checked before it is used.
	CertReq bool
}

var oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}

// stamp has an authority say when it saw a signature. Asked again it says so again.
func (s *Signer) stamp(ctx context.Context, authority service, sig []byte) (signature.Timestamp, time.Time, error) {
	nonce, err := rand.Int(rand.Reader, big.NewInt(math.MaxInt64))
	if err != nil {
		return signature.Timestamp{}, time.Time{}, fmt.Errorf("making nonce: %w", err)
	}
	sum := sha256.Sum256(sig)
	r := stampRequest{Version: 1, Nonce: nonce, CertReq: true}
	r.Imprint.Algorithm, r.Imprint.Hash = pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}, sum[:]
	body, err := asn1.Marshal(r)
	if err != nil {
		return signature.Timestamp{}, time.Time{}, fmt.Errorf("asking for a timestamp: %w", err)
	}
	res, err := s.client.do(ctx, request{
		service: "timestamp authority", method: http.MethodPost, url: authority.URL, body: body,
		// https://www.rfc-editor.org/rfc/rfc3161#section-3.4
		media: "application/timestamp-query", accept: "application/timestamp-reply",
	})
	if err != nil {
		return signature.Timestamp{}, time.Time{}, err
	}
	if res.status != http.StatusOK && res.status != http.StatusCreated {
		return signature.Timestamp{}, time.Time{}, res.refused(fault.Usage, "is it a timestamp authority (RFC 3161)?")
	}
	at, err := keyless.CheckTimestamp(res.body, sig, nonce)
	if err != nil {
		return signature.Timestamp{}, time.Time{}, res.unreadable(err)
	}
	return signature.Timestamp{Signed: res.body}, at, nil
}
