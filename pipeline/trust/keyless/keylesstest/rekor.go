package keylesstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The log's name, its tree, and how many entries are in older trees: the place of an entry in the log and in the tree
// are not the same.
const (
	origin = "rekor.example.org"
	treeID = 1193050959916656506
	older  = 1000
)

// tree is a Merkle tree (https://www.rfc-editor.org/rfc/rfc6962#section-2.1).
type tree struct{ leaves [][]byte }

func hash(parts ...[]byte) []byte {
	sum := sha256.Sum256(slices.Concat(parts...))
	return sum[:]
}

func (t *tree) add(leaf []byte) { t.leaves = append(t.leaves, hash([]byte{0}, leaf)) }

func root(leaves [][]byte) []byte {
	switch len(leaves) {
	case 0:
		return hash()
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return hash([]byte{1}, root(leaves[:k]), root(leaves[k:]))
}

// path is the audit path of leaf i.
func path(leaves [][]byte, i int) [][]byte {
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(path(leaves[:k], i), root(leaves[k:]))
	}
	return append(path(leaves[k:], i-k), root(leaves[:k]))
}

// split is the largest power of two below n.
func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

// entry is one of the log.
type entry struct {
	body       []byte
	integrated int64
	uuid       string
}

// rekor answers https://github.com/sigstore/rekor/blob/main/openapi.yaml.
func (s *Sigstore) rekor() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/log/entries", func(w http.ResponseWriter, r *http.Request) {
		var proposed struct {
			APIVersion string          `json:"apiVersion"`
			Kind       string          `json:"kind"`
			Spec       json.RawMessage `json:"spec"`
		}
		if err := json.NewDecoder(r.Body).Decode(&proposed); err != nil {
			refuse(w, http.StatusBadRequest, "error processing entry: %v", err)
			return
		}
		body, err := canonicalize(proposed.Kind, proposed.APIVersion, proposed.Spec)
		if err != nil {
			refuse(w, http.StatusBadRequest, "error processing entry: %v", err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		i, isNew := s.keep(body)
		uuid := s.entries[i].uuid
		w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
		if !isNew {
			refuse(w, http.StatusConflict, "an equivalent entry already exists in the transparency log with UUID %s", uuid)
			return
		}
		w.Header().Set("ETag", uuid)
		answer(w, http.StatusCreated, map[string]any{uuid: s.logged(i)})
	})
	mux.HandleFunc("GET /api/v1/log/entries/{uuid}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		i, ok := s.uuids[r.PathValue("uuid")]
		if !ok {
			refuse(w, http.StatusNotFound, "not found")
			return
		}
		answer(w, http.StatusOK, map[string]any{s.entries[i].uuid: s.logged(i)})
	})
	mux.HandleFunc("GET /api/v1/log/entries", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		i, err := strconv.Atoi(r.URL.Query().Get("logIndex"))
		if i -= older; err != nil || i < 0 || i >= len(s.entries) {
			refuse(w, http.StatusNotFound, "not found")
			return
		}
		answer(w, http.StatusOK, map[string]any{s.entries[i].uuid: s.logged(i)})
	})
	mux.HandleFunc("GET /api/v1/log/publicKey", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Write(encodePEM("PUBLIC KEY", spki(s.rekorKey)))
	})
	return mux
}

// keep puts a body into the log, once.
func (s *Sigstore) keep(body []byte) (i int, isNew bool) {
	uuid := fmt.Sprintf("%016x%x", treeID, hash([]byte{0}, body))
	if i, ok := s.uuids[uuid]; ok {
		return i, false
	}
	s.uuids[uuid] = len(s.entries)
	s.entries = append(s.entries, entry{body: body, integrated: time.Now().Add(s.rules.LogLater).Unix(), uuid: uuid})
	s.tree.add(body)
	return len(s.entries) - 1, true
}

// logEntry is the log's answer about an entry.
type logEntry struct {
	Body           []byte       `json:"body"`
	IntegratedTime int64        `json:"integratedTime"`
	LogID          string       `json:"logID"`
	LogIndex       int          `json:"logIndex"`
	Verification   verification `json:"verification"`
}

type verification struct {
	Proof   proof  `json:"inclusionProof"`
	Promise []byte `json:"signedEntryTimestamp,omitempty"`
}

type proof struct {
	Checkpoint string   `json:"checkpoint"`
	Hashes     []string `json:"hashes"`
	LogIndex   int      `json:"logIndex"`
	RootHash   string   `json:"rootHash"`
	TreeSize   int      `json:"treeSize"`
}

func (s *Sigstore) logged(i int) logEntry {
	e := s.entries[i]
	out := logEntry{Body: e.body, IntegratedTime: e.integrated, LogID: hex.EncodeToString(logID(s.rekorKey)), LogIndex: older + i}
	top := root(s.tree.leaves)
	note := fmt.Sprintf("%s - %d\n%d\n%s\n", origin, int64(treeID), len(s.tree.leaves), base64.StdEncoding.EncodeToString(top))
	sig := append(logID(s.rekorKey)[:4:4], signASN1(s.rekorKey, []byte(note))...)
	out.Verification.Proof = proof{
		Checkpoint: note + "\n— " + origin + " " + base64.StdEncoding.EncodeToString(sig) + "\n",
		Hashes:     []string{}, LogIndex: i, RootHash: hex.EncodeToString(top), TreeSize: len(s.tree.leaves),
	}
	for _, h := range path(s.tree.leaves, i) {
		out.Verification.Proof.Hashes = append(out.Verification.Proof.Hashes, hex.EncodeToString(h))
	}
	if !s.rules.NoPromise {
		out.Verification.Promise = signASN1(s.rekorKey, fmt.Appendf(nil, `{"body":"%s","integratedTime":%d,"logID":"%s","logIndex":%d}`,
			base64.StdEncoding.EncodeToString(e.body), e.integrated, out.LogID, out.LogIndex))
	}
	return out
}

// canonicalize checks a proposed entry and returns what the log keeps of it.
func canonicalize(kind, version string, spec []byte) ([]byte, error) {
	if version != "0.0.1" {
		return nil, fmt.Errorf("version %q of %q is not supported", version, kind)
	}
	switch kind {
	case "hashedrekord":
		return hashedRekord(spec)
	case "dsse":
		return dsse(spec)
	}
	return nil, fmt.Errorf("kind %q is not supported", kind)
}

func hashedRekord(spec []byte) ([]byte, error) {
	var v struct {
		Signature struct {
			Content   []byte `json:"content"`
			PublicKey struct {
				Content []byte `json:"content"`
			} `json:"publicKey"`
		} `json:"signature"`
		Data struct {
			Hash struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"hash"`
		} `json:"data"`
	}
	if err := json.Unmarshal(spec, &v); err != nil {
		return nil, err
	}
	digest, err := hex.DecodeString(v.Data.Hash.Value)
	if err != nil || len(digest) != sha256.Size || v.Data.Hash.Algorithm != "sha256" {
		return nil, errors.New("invalid value for hash")
	}
	public, keyPEM, err := verifier(v.Signature.PublicKey.Content)
	if err != nil {
		return nil, err
	}
	if !holds(public, digest, nil, v.Signature.Content) {
		return nil, errors.New("verifying signature: invalid signature")
	}
	return fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%x"}},"signature":{"content":"%s","publicKey":{"content":"%s"}}}}`,
		digest, base64.StdEncoding.EncodeToString(v.Signature.Content), base64.StdEncoding.EncodeToString(keyPEM)), nil
}

func dsse(spec []byte) ([]byte, error) {
	var v struct {
		ProposedContent struct {
			Envelope  string   `json:"envelope"`
			Verifiers [][]byte `json:"verifiers"`
		} `json:"proposedContent"`
	}
	var env struct {
		Payload     []byte `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(spec, &v); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(v.ProposedContent.Envelope), &env); err != nil {
		return nil, err
	}
	if len(v.ProposedContent.Verifiers) != 1 || len(env.Signatures) != 1 {
		return nil, errors.New("DSSE envelope must contain 1 signature here")
	}
	public, keyPEM, err := verifier(v.ProposedContent.Verifiers[0])
	if err != nil {
		return nil, err
	}
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(env.PayloadType), env.PayloadType, len(env.Payload), env.Payload)
	if !holds(public, hash(message), message, env.Signatures[0].Sig) {
		return nil, errors.New("could not verify envelope: no valid signature found")
	}
	return fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%x"},"payloadHash":{"algorithm":"sha256","value":"%x"},"signatures":[{"signature":"%s","verifier":"%s"}]}}`,
		hash([]byte(v.ProposedContent.Envelope)), hash(env.Payload), base64.StdEncoding.EncodeToString(env.Signatures[0].Sig), base64.StdEncoding.EncodeToString(keyPEM)), nil
}

// verifier reads a certificate or a key in PEM and returns it as the log writes it.
func verifier(b []byte) (crypto.PublicKey, []byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, nil, errors.New("invalid public key: failure decoding PEM")
	}
	switch block.Type {
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		return c.PublicKey, encodePEM(block.Type, block.Bytes), nil
	case "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		return k, encodePEM(block.Type, block.Bytes), err
	}
	return nil, nil, fmt.Errorf("invalid public key: unknown type %s", block.Type)
}

// holds tells whether sig is one over the SHA-256 digest, or over the message for a key that takes no digest.
func holds(public crypto.PublicKey, digest, message, sig []byte) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, sig) == nil
	case ed25519.PublicKey:
		return message != nil && ed25519.Verify(k, message, sig)
	}
	return false
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
