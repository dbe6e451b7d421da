package ephemeral

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// The JSON of Rekor v1 (https://github.com/sigstore/rekor/blob/main/openapi.yaml).
type proposedEntry struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       any    `json:"spec"`
}

type hashedRekord struct {
	Data struct {
		Hash struct {
			Algorithm string `json:"algorithm"`
			Value     string `json:"value"`
		} `json:"hash"`
	} `json:"data"`
	Signature struct {
		Content   []byte `json:"content"`
		PublicKey struct {
			Content []byte `json:"content"`
		} `json:"publicKey"`
	} `json:"signature"`
}

type dsseEntry struct {
	ProposedContent struct {
		Envelope  string   `json:"envelope"`
		Verifiers [][]byte `json:"verifiers"`
	} `json:"proposedContent"`
}

type loggedEntry struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
	Verification   struct {
		InclusionProof struct {
			Checkpoint string   `json:"checkpoint"`
			Hashes     []string `json:"hashes"`
			LogIndex   int64    `json:"logIndex"`
			RootHash   string   `json:"rootHash"`
			TreeSize   int64    `json:"treeSize"`
		} `json:"inclusionProof"`
		SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
	} `json:"verification"`
}

// kindVersion is the version of the kinds of entries.
const kindVersion = "0.0.1"

// record1 has a log of Rekor v1 record the signature in b.
func (s *Signer) record1(ctx context.Context, log service, c *credential, b signature.Bundle) (signature.LogEntry, error) {
	cert := []byte(keyless.EncodeCertificates(c.cert.Raw))
	p := proposedEntry{APIVersion: kindVersion}
	if b.Message != nil {
		var spec hashedRekord
		spec.Data.Hash.Algorithm, spec.Data.Hash.Value = "sha256", hex.EncodeToString(b.Message.Digest.Digest)
		spec.Signature.Content, spec.Signature.PublicKey.Content = b.Message.Signature, cert
		p.Kind, p.Spec = "hashedrekord", spec
	} else {
		envelope, err := json.Marshal(b.Envelope)
		if err != nil {
			return signature.LogEntry{}, err
		}
		var spec dsseEntry
		spec.ProposedContent.Envelope, spec.ProposedContent.Verifiers = string(envelope), [][]byte{cert}
		p.Kind, p.Spec = "dsse", spec
	}
	body, err := json.Marshal(p)
	if err != nil {
		return signature.LogEntry{}, err
	}
	const entries = "/api/v1/log/entries"
	// Sent twice it is recorded once: the log knows the second by its bytes and says where the first is.
	res, err := s.client.do(ctx, request{service: "transparency log", method: http.MethodPost, url: log.at(entries), body: body})
	if err != nil {
		return signature.LogEntry{}, err
	}
	if res.status == http.StatusConflict {
		id := path.Base(res.header.Get("Location"))
		if len(id) < 64 || len(id) > 80 || strings.Trim(id, "0123456789abcdef") != "" {
			return signature.LogEntry{}, res.unreadable(errors.New("it has the entry and does not say where"))
		}
		if res, err = s.client.do(ctx, request{service: "transparency log", method: http.MethodGet, url: log.at(entries + "/" + id)}); err != nil {
			return signature.LogEntry{}, err
		}
	}
	if res.status != http.StatusCreated && res.status != http.StatusOK {
		return signature.LogEntry{}, res.refused(fault.Usage, "is it a Rekor v1?")
	}
	var answer map[string]loggedEntry
	if err := canonjson.DecodeOpen(res.body, &answer); err != nil {
		return signature.LogEntry{}, res.unreadable(err)
	}
	if len(answer) != 1 {
		return signature.LogEntry{}, res.unreadable(fmt.Errorf("%d entries", len(answer)))
	}
	for _, e := range answer {
		entry, err := e.entry(p.Kind)
		if err != nil {
			return signature.LogEntry{}, res.unreadable(err)
		}
		return entry, nil
	}
	panic("unreachable")
}

// entry is the entry as bundles have it.
func (e loggedEntry) entry(kind string) (signature.LogEntry, error) {
	proof := e.Verification.InclusionProof
	out := signature.LogEntry{
		LogIndex:          e.LogIndex,
		KindVersion:       signature.KindVersion{Kind: kind, Version: kindVersion},
		IntegratedTime:    e.IntegratedTime,
		InclusionPromise:  &signature.InclusionPromise{SignedEntryTimestamp: e.Verification.SignedEntryTimestamp},
		InclusionProof:    &signature.InclusionProof{LogIndex: proof.LogIndex, TreeSize: proof.TreeSize, Checkpoint: signature.Checkpoint{Envelope: proof.Checkpoint}},
		CanonicalizedBody: e.Body,
	}
	if len(e.Body) == 0 || len(e.Verification.SignedEntryTimestamp) == 0 || proof.Checkpoint == "" {
		return out, errors.New("there is no body, no signed time or no checkpoint")
	}
	for _, h := range append([]string{e.LogID, proof.RootHash}, proof.Hashes...) {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != 32 {
			return out, errors.New("a hash cannot be read")
		}
		switch {
		case out.LogID.KeyID == nil:
			out.LogID.KeyID = b
		case out.InclusionProof.RootHash == nil:
			out.InclusionProof.RootHash = b
		default:
			out.InclusionProof.Hashes = append(out.InclusionProof.Hashes, b)
		}
	}
	return out, nil
}
