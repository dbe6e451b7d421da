package keylesstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// post returns the status and the body of an answer.
func post(t *testing.T, url string, v any) (int, string) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestRefusals holds the services to what the real ones refuse.
func TestRefusals(t *testing.T) {
	s := New(t)
	k := s256(t)
	public, err := signature.NewPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	token := s.Token(Release())
	subject := []byte("repo:example/tool:ref:refs/tags/v1.2.3")
	request := func(token string, key, proof []byte) any {
		return map[string]any{
			"credentials":      map[string]any{"oidcIdentityToken": token},
			"publicKeyRequest": map[string]any{"publicKey": map[string]any{"algorithm": "ECDSA", "content": string(key)}, "proofOfPossession": proof},
		}
	}
	rekord := func(content, keyPEM, sig []byte) any {
		sum := sha256.Sum256(content)
		return map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
			"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(sum[:])}},
			"signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": keyPEM}},
		}}
	}
	envelope := func(payload string, sig []byte) any {
		text := `{"payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `","payloadType":"t","signatures":[{"sig":"` + base64.StdEncoding.EncodeToString(sig) + `"}]}`
		return map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{"proposedContent": map[string]any{"envelope": text, "verifiers": [][]byte{public.PEM()}}}}
	}
	fulcio, rekor, ctlog := s.FulcioURL+"/api/v2/signingCert", s.RekorURL+"/api/v1/log/entries", s.CTLogURL+"/ct/v1/add-pre-chain"
	weak, err := signature.NewPublicKey(s.rootKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, url string
		body      any
		status    int
		says      string
	}{
		{"certificate", fulcio, request(token, public.PEM(), signASN1(k, subject)), 200, "signedCertificateEmbeddedSct"},
		{"proof over something else", fulcio, request(token, public.PEM(), signASN1(k, []byte("x"))), 400, "signature supplied"},
		{"proof of another key", fulcio, request(token, public.PEM(), signASN1(s256(t), subject)), 400, "signature supplied"},
		{"another curve", fulcio, request(token, weak.PEM(), signASN1(k, subject)), 400, "insecure"},
		{"no key", fulcio, request(token, nil, signASN1(k, subject)), 400, "could not be parsed"},
		{"no token", fulcio, request("", public.PEM(), signASN1(k, subject)), 400, "identity token"},
		{"token with another signature", fulcio, request(token[:len(token)-4]+"AAAA", public.PEM(), signASN1(k, subject)), 400, "identity token"},
		{"token for others", fulcio, request(s.Sign(Release().claims(), map[string]any{"aud": "x"}), public.PEM(), signASN1(k, subject)), 400, "identity token"},

		{"entry", rekor, rekord([]byte("a"), public.PEM(), signASN1(k, []byte("a"))), 201, "signedEntryTimestamp"},
		{"entry with a wrong signature", rekor, rekord([]byte("a"), public.PEM(), signASN1(k, []byte("b"))), 400, "invalid signature"},
		{"entry without a key", rekor, rekord([]byte("a"), nil, signASN1(k, []byte("a"))), 400, "invalid public key"},
		{"envelope", rekor, envelope("p", signASN1(k, []byte("DSSEv1 1 t 1 p"))), 201, "signedEntryTimestamp"},
		{"envelope with a wrong signature", rekor, envelope("q", signASN1(k, []byte("DSSEv1 1 t 1 p"))), 400, "could not verify envelope"},
		{"another kind", rekor, map[string]any{"apiVersion": "0.0.1", "kind": "rekord"}, 400, "not supported"},

		{"no precertificate", ctlog, map[string]any{"chain": [][]byte{s.issuing.Raw, s.root.Raw}}, 400, "no precertificate"},
		{"no chain", ctlog, map[string]any{"chain": [][]byte{s.root.Raw}}, 400, "no chain"},
		{"another root", ctlog, map[string]any{"chain": [][]byte{New(t).issuing.Raw, s.root.Raw}}, 400, "verification"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := post(t, tt.url, tt.body)
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("got %d: %s", status, body)
			}
		})
	}
	same := rekord([]byte("same"), public.PEM(), signASN1(k, []byte("same")))
	if status, _ := post(t, rekor, same); status != 201 {
		t.Errorf("got %d", status)
	}
	if status, body := post(t, rekor, same); status != 409 {
		t.Errorf("the same entry again: got %d: %s", status, body)
	}
	if n := s.Entries(); n != 3 {
		t.Errorf("%d entries", n)
	}
}
