// Package keylesstest runs a Sigstore on this machine for tests: an issuer of identities, a certificate authority, a log
// of certificates and a log of signatures.
//
// They answer as the real ones do (Fulcio v2 and its older v1, Certificate Transparency v1, Rekor v1), do the
// cryptography and refuse what the real ones refuse. Rules make them issue what they should not, and faults make them
// fail.
package keylesstest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Names of the services.
const (
	Issuer = "issuer"
	Fulcio = "fulcio"
	CTLog  = "ctlog"
	Rekor  = "rekor"
)

// Rules bend what the services do. The zero value is how they are.
type Rules struct {
	// Life is how long a certificate is valid; 0 is 10 minutes.
	Life time.Duration
	// LogLater is by how much the clock of the log of signatures is ahead.
	LogLater time.Duration
	// Certificate changes a certificate before it is issued.
	Certificate func(*x509.Certificate)
	// Final changes it after the log of certificates has seen it.
	Final func(*x509.Certificate)
	// NoTimestamp leaves out the log of certificates.
	NoTimestamp bool
	// Detached gives the timestamp of the log of certificates apart from the certificate.
	Detached bool
	// NoPromise leaves out the signed time of an entry in the log of signatures.
	NoPromise bool
}

// Fault is what happens to one request in place of an answer.
type Fault struct {
	Status     int    // of the answer
	RetryAfter string // header of the answer
	Body       string // of the answer
	Delay      time.Duration
	// Drop closes the connection without an answer.
	Drop bool
	// Lost does what was asked for and then closes the connection.
	Lost bool
}

// Sigstore are the running services.
type Sigstore struct {
	// URLs of the services.
	IssuerURL, FulcioURL, CTLogURL, RekorURL string

	t      testing.TB
	client *http.Client

	mu       sync.Mutex
	rules    Rules
	faults   map[string][]Fault
	requests map[string]int

	tokenKey          *rsa.PrivateKey
	bearer            *ecdsa.PrivateKey
	rootKey, issueKey *ecdsa.PrivateKey
	root, issuing     *x509.Certificate
	ctKey, rekorKey   *ecdsa.PrivateKey
	ctTree, tree      tree
	entries           []entry
	uuids             map[string]int
}

// New starts the services. They end with the test.
func New(t testing.TB) *Sigstore {
	s := &Sigstore{
		t: t, client: &http.Client{Timeout: 10 * time.Second}, faults: map[string][]Fault{}, requests: map[string]int{}, uuids: map[string]int{},
		bearer: s256(t), ctKey: s256(t), rekorKey: s256(t), rootKey: key(t, elliptic.P384()), issueKey: key(t, elliptic.P384()),
	}
	var err error
	if s.tokenKey, err = tokenKey(); err != nil {
		t.Fatal(err)
	}
	s.authority()
	s.IssuerURL = s.serve(Issuer, s.issuer())
	s.CTLogURL = s.serve(CTLog, s.ctlog())
	s.FulcioURL = s.serve(Fulcio, s.fulcio())
	s.RekorURL = s.serve(Rekor, s.rekor())
	return s
}

// tokenKey signs the tokens of all issuers, which are told apart by their names: such a key takes long to make, and
// nobody reads tokens that are signed with another kind.
var tokenKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func key(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func s256(t testing.TB) *ecdsa.PrivateKey { return key(t, elliptic.P256()) }

// authority makes the certificates of the authority: a root and an intermediate that issues.
func (s *Sigstore) authority() {
	now := time.Now().Add(-time.Hour).Truncate(time.Second)
	rootTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"example.org"}, CommonName: "root"},
		NotBefore: now, NotAfter: now.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true,
	}
	var err error
	s.root, err = create(rootTemplate, rootTemplate, s.rootKey.Public(), s.rootKey)
	if err != nil {
		s.t.Fatal(err)
	}
	issuing := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Organization: []string{"example.org"}, CommonName: "intermediate"},
		NotBefore: now, NotAfter: now.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	s.issuing, err = create(issuing, s.root, s.issueKey.Public(), s.rootKey)
	if err != nil {
		s.t.Fatal(err)
	}
}

func create(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Bend sets the rules from here on.
func (s *Sigstore) Bend(r Rules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = r
}

func (s *Sigstore) rule() Rules {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rules
}

// Fail makes the next requests to the service fail, one for each fault.
func (s *Sigstore) Fail(service string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[service] = append(s.faults[service], faults...)
}

// Heal takes back the faults that have not happened.
func (s *Sigstore) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Requests is how many the service has had, those that failed included.
func (s *Sigstore) Requests(service string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[service]
}

// Entries is how many the log of signatures has.
func (s *Sigstore) Entries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

func (s *Sigstore) serve(name string, h http.Handler) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[name]++
		var f *Fault
		if queue := s.faults[name]; len(queue) > 0 {
			f, s.faults[name] = &queue[0], queue[1:]
		}
		s.mu.Unlock()
		r.Body = http.MaxBytesReader(w, r.Body, 32<<20)
		if f == nil {
			h.ServeHTTP(w, r)
			return
		}
		if f.Lost {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		if f.Lost || f.Drop {
			panic(http.ErrAbortHandler)
		}
		// The server sees a client go away once it has read what the client sent.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return
		}
		if f.Status == 0 {
			h.ServeHTTP(w, r)
			return
		}
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		if 300 <= f.Status && f.Status < 400 {
			w.Header().Set("Location", f.Body)
		}
		w.WriteHeader(f.Status)
		fmt.Fprint(w, f.Body)
	}))
	s.t.Cleanup(srv.Close)
	return srv.URL
}

// TrustedRoot is the trusted_root.json with which what the services sign is verified.
func (s *Sigstore) TrustedRoot() []byte {
	since := map[string]any{"start": s.root.NotBefore.UTC().Format(time.RFC3339)}
	log := func(url string, k *ecdsa.PrivateKey) any {
		return map[string]any{
			"baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": map[string]any{"keyId": logID(k)},
			"publicKey": map[string]any{"rawBytes": spki(k), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since},
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs":     []any{log(s.RekorURL, s.rekorKey)},
		"certificateAuthorities": []any{map[string]any{
			"subject": map[string]any{"organization": "example.org", "commonName": "root"}, "uri": s.FulcioURL,
			"certChain": map[string]any{"certificates": []any{map[string]any{"rawBytes": s.issuing.Raw}, map[string]any{"rawBytes": s.root.Raw}}},
			"validFor":  since,
		}},
		"ctlogs": []any{log(s.CTLogURL, s.ctKey)},
	}, "", "  ")
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// PublicKeys are the PEM files that older clients want in place of a trusted root.
func (s *Sigstore) PublicKeys() (rekor, ctlog, authority []byte) {
	return encodePEM("PUBLIC KEY", spki(s.rekorKey)), encodePEM("PUBLIC KEY", spki(s.ctKey)),
		append(encodePEM("CERTIFICATE", s.issuing.Raw), encodePEM("CERTIFICATE", s.root.Raw)...)
}

func spki(k *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(err) // a key that was just made
	}
	return der
}

func logID(k *ecdsa.PrivateKey) []byte {
	sum := sha256.Sum256(spki(k))
	return sum[:]
}

func signASN1(k *ecdsa.PrivateKey, message []byte) []byte {
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
	if err != nil {
		panic(err) // a key that was just made
	}
	return sig
}

// refuse answers as the gateways of the real services do.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"code": status, "message": fmt.Sprintf(format, args...)})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}
