package keylesstest

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// signer is a key that signs.
type signer struct {
	sign   func(message []byte) []byte
	public signature.PublicKey
}

func (s signer) Public() signature.PublicKey         { return s.public }
func (s signer) Sign(message []byte) ([]byte, error) { return s.sign(message), nil }

func (s *Sigstore) must(b []byte, err error) []byte {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// SignBlob is a bundle over content by whom the token names. It is as the rules are: nobody has checked it.
func (s *Sigstore) SignBlob(token string, content []byte) signature.Bundle {
	s.t.Helper()
	return s.bundle(token, func(by signature.Signer) (signature.Bundle, error) { return signature.SignBlob(by, content) })
}

// SignStatement is a bundle with an in-toto statement by whom the token names. It is as the rules are: nobody has
// checked it.
func (s *Sigstore) SignStatement(token string, statement []byte) signature.Bundle {
	s.t.Helper()
	return s.bundle(token, func(by signature.Signer) (signature.Bundle, error) { return signature.SignStatement(by, statement) })
}

func (s *Sigstore) bundle(token string, sign func(signature.Signer) (signature.Bundle, error)) signature.Bundle {
	s.t.Helper()
	k := s256(s.t)
	public, err := signature.NewPublicKey(k.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	claims, err := s.authenticate(token)
	if err != nil {
		s.t.Fatal(err)
	}
	_, name, err := identify(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	chain, _, err := s.issue(token, public.PEM(), signASN1(k, []byte(name)))
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := sign(signer{sign: func(m []byte) []byte { return signASN1(k, m) }, public: public})
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(chain[0]))
	b.Material = signature.VerificationMaterial{
		Certificate: &signature.Certificate{RawBytes: block.Bytes}, Entries: []signature.LogEntry{s.Log(b, block.Bytes)},
	}
	return b
}

// Log is the entry of the log about the signature in b, made with the key of a certificate.
func (s *Sigstore) Log(b signature.Bundle, certificate []byte) signature.LogEntry {
	s.t.Helper()
	keyPEM := encodePEM("CERTIFICATE", certificate)
	kind, spec := "hashedrekord", any(nil)
	if b.Message != nil {
		sum := hex.EncodeToString(b.Message.Digest.Digest)
		spec = map[string]any{
			"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": sum}},
			"signature": map[string]any{"content": b.Message.Signature, "publicKey": map[string]any{"content": keyPEM}},
		}
	} else {
		envelope := s.must(json.Marshal(b.Envelope))
		kind, spec = "dsse", map[string]any{"proposedContent": map[string]any{"envelope": string(envelope), "verifiers": [][]byte{keyPEM}}}
	}
	body := s.must(canonicalize(kind, "0.0.1", s.must(json.Marshal(spec))))
	s.mu.Lock()
	i, _ := s.keep(body)
	e := s.logged(i)
	s.mu.Unlock()
	p := e.Verification.Proof
	out := signature.LogEntry{
		LogIndex: int64(e.LogIndex), LogID: signature.LogID{KeyID: logID(s.rekorKey)},
		KindVersion: signature.KindVersion{Kind: kind, Version: "0.0.1"}, IntegratedTime: e.IntegratedTime, CanonicalizedBody: e.Body,
		InclusionProof: &signature.InclusionProof{
			LogIndex: int64(p.LogIndex), RootHash: s.must(hex.DecodeString(p.RootHash)), TreeSize: int64(p.TreeSize),
			Checkpoint: signature.Checkpoint{Envelope: p.Checkpoint},
		},
	}
	if e.Verification.Promise != nil {
		out.InclusionPromise = &signature.InclusionPromise{SignedEntryTimestamp: e.Verification.Promise}
	}
	for _, h := range p.Hashes {
		out.InclusionProof.Hashes = append(out.InclusionProof.Hashes, s.must(hex.DecodeString(h)))
	}
	return out
}
