package keylesstest

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"time"
)

func uint64Bytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// prefixed is b after its length in two bytes.
func prefixed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// ctlog answers https://www.rfc-editor.org/rfc/rfc6962#section-4.2.
func (s *Sigstore) ctlog() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ct/v1/add-pre-chain", func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Chain [][]byte `json:"chain"`
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			refuse(w, http.StatusBadRequest, "%v", err)
			return
		}
		tbs, issuer, err := s.precertificate(req.Chain)
		if err != nil {
			refuse(w, http.StatusBadRequest, "%v", err)
			return
		}
		now := uint64(time.Now().UnixMilli())
		keyHash := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
		// What is signed and what becomes a leaf differ in their second byte: certificate_timestamp and
		// timestamped_entry are both 0 (sections 3.2 and 3.4), so they are the same bytes.
		message := slices.Concat([]byte{0, 0}, uint64Bytes(now), []byte{0, 1}, keyHash[:],
			[]byte{byte(len(tbs) >> 16), byte(len(tbs) >> 8), byte(len(tbs))}, tbs, []byte{0, 0})
		s.mu.Lock()
		s.ctTree.add(message)
		s.mu.Unlock()
		sig := append([]byte{4, 3}, prefixed(signASN1(s.ctKey, message))...) // SHA-256, ECDSA
		answer(w, http.StatusOK, map[string]any{"sct_version": 0, "id": logID(s.ctKey), "timestamp": now, "extensions": "", "signature": sig})
	})
	return mux
}

// precertificate checks a chain and returns the certificate without its poison.
func (s *Sigstore) precertificate(chain [][]byte) ([]byte, *x509.Certificate, error) {
	if len(chain) < 2 {
		return nil, nil, errors.New("no chain")
	}
	var certs []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, err
		}
		certs = append(certs, c)
	}
	for i, c := range certs[:len(certs)-1] {
		if err := c.CheckSignatureFrom(certs[i+1]); err != nil {
			return nil, nil, err
		}
	}
	if !certs[len(certs)-1].Equal(s.root) {
		return nil, nil, errors.New("unknown root")
	}
	tbs, err := withoutPoison(certs[0].RawTBSCertificate)
	return tbs, certs[1], err
}

// tbsCertificate is https://www.rfc-editor.org/rfc/rfc5280#section-4.1.
type tbsCertificate struct {
	Version      int `asn1:"optional,explicit,default:0,tag:0"`
	SerialNumber *big.Int
	Signature    asn1.RawValue
	Issuer       asn1.RawValue
	Validity     asn1.RawValue
	Subject      asn1.RawValue
	PublicKey    asn1.RawValue
	Extensions   []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

func withoutPoison(der []byte) ([]byte, error) {
	var tbs tbsCertificate
	if rest, err := asn1.Unmarshal(der, &tbs); err != nil || len(rest) > 0 {
		return nil, errors.New("no certificate")
	}
	n := len(tbs.Extensions)
	tbs.Extensions = slices.DeleteFunc(tbs.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidPoison) && e.Critical })
	if len(tbs.Extensions) != n-1 {
		return nil, errors.New("no precertificate")
	}
	return asn1.Marshal(tbs)
}
