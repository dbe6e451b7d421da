package keylesstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"time"
)

// Object identifiers of the extensions that Fulcio and the log of certificates write.
var (
	oidTimestamps = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidPoison     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
)

func fulcioOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}
}

// errKey tells of a key that does not belong to whoever asks.
var errKey = errors.New("the signature supplied in the request could not be verified")

// fulcio answers requests for certificates (https://github.com/sigstore/fulcio/blob/main/fulcio.proto).
func (s *Sigstore) fulcio() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Credentials struct {
				Token string `json:"oidcIdentityToken"`
			} `json:"credentials"`
			PublicKeyRequest struct {
				PublicKey struct {
					Algorithm string `json:"algorithm"`
					Content   string `json:"content"`
				} `json:"publicKey"`
				Proof []byte `json:"proofOfPossession"`
			} `json:"publicKeyRequest"`
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			refuse(w, http.StatusBadRequest, "proto: %v", err)
			return
		}
		token := req.Credentials.Token
		if token == "" {
			token = bearer(r)
		}
		if a := req.PublicKeyRequest.PublicKey.Algorithm; a != "" && a != "ECDSA" {
			refuse(w, http.StatusBadRequest, "proto: algorithm %q", a)
			return
		}
		chain, sct, err := s.issue(token, []byte(req.PublicKeyRequest.PublicKey.Content), req.PublicKeyRequest.Proof)
		if err != nil {
			refuse(w, statusOf(err), "%v", err)
			return
		}
		certificates := map[string]any{"chain": map[string]any{"certificates": chain}}
		if sct == nil {
			answer(w, http.StatusOK, map[string]any{"signedCertificateEmbeddedSct": certificates})
			return
		}
		certificates["signedCertificateTimestamp"] = sct
		answer(w, http.StatusOK, map[string]any{"signedCertificateDetachedSct": certificates})
	})
	mux.HandleFunc("POST /api/v1/signingCert", func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			PublicKey          struct{ Content []byte }
			SignedEmailAddress []byte
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			refuse(w, http.StatusBadRequest, "proto: %v", err)
			return
		}
		chain, sct, err := s.issue(bearer(r), req.PublicKey.Content, req.SignedEmailAddress)
		if err != nil {
			refuse(w, statusOf(err), "%v", err)
			return
		}
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		if sct != nil {
			w.Header().Set("SCT", base64.StdEncoding.EncodeToString(sct))
		}
		w.WriteHeader(http.StatusCreated)
		for _, c := range chain {
			fmt.Fprint(w, c)
		}
	})
	return mux
}

// errLog tells of a log of certificates that does not answer.
var errLog = errors.New("error entering certificate in CTL")

func statusOf(err error) int {
	if errors.Is(err, errLog) {
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// issue checks who asks and issues a certificate, with its chain in PEM.
func (s *Sigstore) issue(token string, content, proof []byte) (chain []string, sct []byte, err error) {
	claims, err := s.authenticate(token)
	if err != nil {
		return nil, nil, errors.New("there was an error processing the identity token")
	}
	template, name, err := identify(claims)
	if err != nil {
		return nil, nil, errors.New("there was an error processing the identity token")
	}
	public, err := parseKey(content)
	if err != nil {
		return nil, nil, err
	}
	digest := sha256.Sum256([]byte(name))
	if !ecdsa.VerifyASN1(public, digest[:], proof) {
		return nil, nil, errKey
	}
	rules := s.rule()
	life := rules.Life
	if life == 0 {
		life = 10 * time.Minute
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	template.NotBefore = time.Now().Truncate(time.Second)
	template.NotAfter = template.NotBefore.Add(life)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	template.ExtraExtensions = append(template.ExtraExtensions, extension(8, s.IssuerURL), pkix.Extension{Id: fulcioOID(1), Value: []byte(s.IssuerURL)})
	if rules.Certificate != nil {
		rules.Certificate(template)
	}
	final := *template
	var promise []byte
	if !rules.NoTimestamp {
		pre := *template
		pre.ExtraExtensions = append(cloned(template.ExtraExtensions), pkix.Extension{Id: oidPoison, Critical: true, Value: asn1.NullBytes})
		poisoned, err := create(&pre, s.issuing, public, s.issueKey)
		if err != nil {
			return nil, nil, err
		}
		if promise, sct, err = s.submit(poisoned); err != nil {
			return nil, nil, errLog
		}
		if !rules.Detached {
			final.ExtraExtensions = append(cloned(template.ExtraExtensions), pkix.Extension{Id: oidTimestamps, Value: promise})
			sct = nil
		}
	}
	if rules.Final != nil {
		rules.Final(&final)
	}
	leaf, err := create(&final, s.issuing, public, s.issueKey)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range []*x509.Certificate{leaf, s.issuing, s.root} {
		chain = append(chain, string(encodePEM("CERTIFICATE", c.Raw)))
	}
	return chain, sct, nil
}

func cloned(e []pkix.Extension) []pkix.Extension { return append([]pkix.Extension(nil), e...) }

// identify is the part of a certificate that says who has it, and what the proof of the key is over.
func identify(claims map[string]any) (*x509.Certificate, string, error) {
	text := func(name string) string {
		v, _ := claims[name].(string)
		return v
	}
	if email := text("email"); email != "" {
		if verified, _ := claims["email_verified"].(bool); !verified {
			return nil, "", errors.New("email_verified claim was false")
		}
		return &x509.Certificate{EmailAddresses: []string{email}}, email, nil
	}
	out := &x509.Certificate{}
	for _, f := range []struct {
		oid   int
		claim string
		value string
	}{
		{9, "job_workflow_ref", "https://github.com/" + text("job_workflow_ref")},
		{10, "job_workflow_sha", text("job_workflow_sha")},
		{11, "runner_environment", text("runner_environment")},
		{12, "repository", "https://github.com/" + text("repository")},
		{13, "sha", text("sha")},
		{14, "ref", text("ref")},
		{18, "workflow_ref", "https://github.com/" + text("workflow_ref")},
		{20, "event_name", text("event_name")},
		{21, "run_id", "https://github.com/" + text("repository") + "/actions/runs/" + text("run_id") + "/attempts/" + text("run_attempt")},
	} {
		if text(f.claim) == "" {
			return nil, "", fmt.Errorf("missing %s claim in ID token", f.claim)
		}
		out.ExtraExtensions = append(out.ExtraExtensions, extension(f.oid, f.value))
	}
	uri, err := url.Parse("https://github.com/" + text("job_workflow_ref"))
	if err != nil || text("sub") == "" {
		return nil, "", errors.New("no subject in ID token")
	}
	out.URIs = []*url.URL{uri}
	return out, text("sub"), nil
}

func extension(n int, value string) pkix.Extension {
	b, err := asn1.MarshalWithParams(value, "utf8")
	if err != nil {
		panic(err) // a string that was in JSON
	}
	return pkix.Extension{Id: fulcioOID(n), Value: b}
}

// parseKey reads a key on P-256 in PEM or DER.
func parseKey(content []byte) (*ecdsa.PublicKey, error) {
	if block, _ := pem.Decode(content); block != nil {
		content = block.Bytes
	}
	k, err := x509.ParsePKIXPublicKey(content)
	if err != nil {
		return nil, errors.New("the public key supplied in the request could not be parsed")
	}
	public, ok := k.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the public key supplied in the request is insecure")
	}
	return public, nil
}

// submit sends a precertificate to the log of certificates and returns the extension for the final one, and the log's
// answer.
func (s *Sigstore) submit(pre *x509.Certificate) (list, raw []byte, err error) {
	body, err := json.Marshal(map[string]any{"chain": [][]byte{pre.Raw, s.issuing.Raw, s.root.Raw}})
	if err != nil {
		return nil, nil, err
	}
	resp, err := s.client.Post(s.CTLogURL+"/ct/v1/add-pre-chain", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	var sct struct {
		ID         []byte `json:"id"`
		Timestamp  uint64 `json:"timestamp"`
		Extensions []byte `json:"extensions"`
		Signature  []byte `json:"signature"`
	}
	var buf bytes.Buffer
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	if _, err := buf.ReadFrom(resp.Body); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(buf.Bytes(), &sct); err != nil {
		return nil, nil, err
	}
	serialized := append([]byte{0}, sct.ID...)
	serialized = append(serialized, uint64Bytes(sct.Timestamp)...)
	serialized = append(serialized, prefixed(sct.Extensions)...)
	serialized = append(serialized, sct.Signature...)
	list, err = asn1.Marshal(prefixed(prefixed(serialized)))
	return list, buf.Bytes(), err
}
