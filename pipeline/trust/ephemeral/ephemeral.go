// Package ephemeral signs with keys that live for minutes: who signs is the workflow that runs, which a certificate
// authority certifies and a public log records, as Sigstore has it (https://docs.sigstore.dev/about/security/).
//
// Sigstore's own library would bring 650 packages, as many as the whole pipeline has, and the SDKs of clouds; four
// requests are all there is to it, so they are made here, with the standard library alone, and checked against cosign.
//
// No error and no bundle carries the token of the workflow. Whatever is signed is public at once, and for good: the log
// has the certificate with the names of repository and workflow.
package ephemeral

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// The public services of Sigstore.
const (
	PublicFulcio = "https://fulcio.sigstore.dev"
	PublicRekor  = "https://rekor.sigstore.dev"
)

// Options say who signs and with which services.
type Options struct {
	Fulcio string // URL of the certificate authority; "" is PublicFulcio
	Rekor  string // URL of the log, a Rekor v1; "" is PublicRekor
	// Config names the services in the place of the two, timestamp authorities and logs of Rekor v2 among them.
	Config *SigningConfig
	// LookupEnv reads the environment, in which the identity of the workflow is; nil is os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// Policy is what the signatures will be verified by. A workflow that it does not accept signs nothing. The zero value
	// accepts every one.
	Policy keyless.Policy
	// Root is what the signatures will be verified with: each is, before it is returned. Without one the services are
	// believed.
	Root *keyless.TrustedRoot
	// Transport makes the requests; nil is one like http.DefaultTransport.
	Transport http.RoundTripper
	Timeout   time.Duration // of one request; 0 is 30 seconds
	Backoff   time.Duration // before the second of several attempts, doubled each time; 0 is one second
}

// Signer signs as the workflow that runs. Its methods may be called at the same time.
type Signer struct {
	o        Options
	services services
	client   client
	tokens   *tokens

	mu   sync.Mutex
	cred *credential
}

// credential is a key with its certificate.
type credential struct {
	private *ecdsa.PrivateKey
	public  signature.PublicKey
	cert    *x509.Certificate
	claims  keyless.Claims
	chain   [][]byte  // of who issued the certificate, in DER
	renew   time.Time // by this machine's clock, which need not be right
}

var _ signature.Signer = (*credential)(nil)

// Public is the key in the certificate.
func (c *credential) Public() signature.PublicKey { return c.public }

// Sign signs message with SHA-256.
func (c *credential) Sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, c.private, sum[:])
}

// New makes no request. Without the identity of a workflow the error is a fault.Credentials that says how a job gets
// one.
func New(o Options) (*Signer, error) {
	chosen, err := o.services(time.Now())
	if err != nil {
		return nil, fault.New(fault.Usage, fmt.Errorf("signing without a key: %w", err))
	}
	if o.Policy != (keyless.Policy{}) {
		if err := o.Policy.Check(); err != nil {
			return nil, err
		}
	}
	c := newClient(o)
	t, err := newTokens(o.LookupEnv, c)
	if err != nil {
		return nil, err
	}
	return &Signer{o: o, services: chosen, client: c, tokens: t}, nil
}

// services are those that the options name.
func (o Options) services(now time.Time) (services, error) {
	if o.Config != nil {
		if o.Fulcio != "" || o.Rekor != "" {
			return services{}, errors.New("the services are named twice: by their URLs and in a signing configuration")
		}
		chosen, err := o.Config.file.choose(now)
		if err != nil {
			err = fmt.Errorf("signing configuration: %w", err)
		}
		return chosen, err
	}
	out := services{
		authority: service{URL: cmp.Or(o.Fulcio, PublicFulcio), Version: 1},
		logs:      []service{{URL: cmp.Or(o.Rekor, PublicRekor), Version: 1}},
	}
	return out, cmp.Or(checkURL(out.authority.URL), checkURL(out.logs[0].URL))
}

// Claims are what the certificate says of who signs. The first call asks for one.
func (s *Signer) Claims(ctx context.Context) (keyless.Claims, error) {
	c, err := s.credential(ctx, nil)
	if err != nil {
		return keyless.Claims{}, err
	}
	return c.claims, nil
}

// SignBlob signs content, usually the bytes of a file.
func (s *Signer) SignBlob(ctx context.Context, content []byte) (signature.Bundle, error) {
	b, _, err := s.sign(ctx, func(c *credential) (signature.Bundle, error) { return signature.SignBlob(c, content) })
	if err == nil && s.o.Root != nil {
		_, err = s.verifier(b).Blob(b, content)
		err = distrusted(err)
	}
	if err != nil {
		return signature.Bundle{}, fmt.Errorf("signing: %w", err)
	}
	return b, nil
}

// SignStatement signs an in-toto statement.
func (s *Signer) SignStatement(ctx context.Context, statement []byte) (signature.Bundle, error) {
	b, _, err := s.sign(ctx, func(c *credential) (signature.Bundle, error) { return signature.SignStatement(c, statement) })
	if err == nil && s.o.Root != nil {
		_, _, err = s.verifier(b).Statement(b)
		err = distrusted(err)
	}
	if err != nil {
		return signature.Bundle{}, fmt.Errorf("signing: %w", err)
	}
	return b, nil
}

// SignImage signs the image in both forms that cosign reads, the classic one first. That one has a place for the promise of a Rekor v1,
// and none for the proof of a Rekor v2, whose signatures are in the newer form alone.
func (s *Signer) SignImage(ctx context.Context, im signature.Image) ([]signature.Object, error) {
	objects, err := s.image(ctx, im)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", im, err)
	}
	return objects, nil
}

func (s *Signer) image(ctx context.Context, im signature.Image) ([]signature.Object, error) {
	var objects []signature.Object
	if s.services.version() == 1 {
		classic, err := s.classic(ctx, im)
		if err != nil {
			return nil, err
		}
		objects = append(objects, classic)
	}
	statement, err := im.Statement()
	if err != nil {
		return nil, err
	}
	b, err := s.SignStatement(ctx, statement)
	if err != nil {
		return nil, err
	}
	referrer, err := signature.ReferrerObject(im, b)
	if err != nil {
		return nil, err
	}
	return append(objects, referrer), nil
}

// classic is the classic form of the image's signature, which has the parts of a bundle in annotations.
func (s *Signer) classic(ctx context.Context, im signature.Image) (signature.Object, error) {
	payload, err := im.Payload()
	if err != nil {
		return signature.Object{}, err
	}
	b, chain, err := s.sign(ctx, func(c *credential) (signature.Bundle, error) { return signature.SignBlob(c, payload) })
	if err == nil && s.o.Root != nil {
		_, err = s.verifier(b).Blob(b, payload)
		err = distrusted(err)
	}
	if err != nil {
		return signature.Object{}, err
	}
	entry, err := keyless.EncodeLogEntry(b.Material.Entries[0])
	if err != nil {
		return signature.Object{}, err
	}
	return signature.ClassicObject(im, b.Message.Signature, map[string]string{
		keyless.CertificateAnnotation: keyless.EncodeCertificates(b.Material.Certificate.RawBytes),
		keyless.ChainAnnotation:       keyless.EncodeCertificates(chain...),
		keyless.BundleAnnotation:      entry,
	})
}

// verifier accepts who signed b.
func (s *Signer) verifier(b signature.Bundle) keyless.Verifier {
	v := keyless.Verifier{Root: *s.o.Root}
	if c, err := keyless.ParseCertificate(b.Material.Certificate.RawBytes); err == nil {
		v.Policy = keyless.Policy{Identity: c.Identity, Issuer: c.Issuer}
	}
	return v
}

func distrusted(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Mismatch, fmt.Errorf("what the services answered does not hold with the trusted root: %w", err))
}

// sign signs with a certificate that was valid when the logs took the entry and the authorities saw the signature, and returns who
// issued it.
func (s *Signer) sign(ctx context.Context, make func(*credential) (signature.Bundle, error)) (signature.Bundle, [][]byte, error) {
	var spent *credential
	recorded := false
	for range 2 {
		c, err := s.credential(ctx, spent)
		if err != nil {
			return signature.Bundle{}, nil, err
		}
		b, err := make(c)
		if err != nil {
			return signature.Bundle{}, nil, err
		}
		b.Material = signature.VerificationMaterial{Certificate: &signature.Certificate{RawBytes: c.cert.Raw}}
		inTime, err := s.witness(ctx, c, &b)
		if recorded = errors.Is(err, errRecorded); recorded {
			continue // another signature is another entry
		}
		if err != nil {
			return signature.Bundle{}, nil, err
		}
		if inTime {
			return b, c.chain, nil
		}
		spent = c
	}
	if recorded {
		return signature.Bundle{}, nil, fault.Errorf(fault.Transient, "the answers of the transparency log are lost on their way; try again later")
	}
	return signature.Bundle{}, nil, fault.Errorf(fault.Transient, "the clock of the certificate authority and that of the log or of a timestamp authority are so far apart that no certificate was valid when the log took the signature; try again later")
}

// witness adds what the authorities and the logs say about the signature in b, and reports whether the certificate was valid at all
// of their times. The logs are public, so they are asked last.
func (s *Signer) witness(ctx context.Context, c *credential, b *signature.Bundle) (bool, error) {
	inTime := func(at time.Time) bool { return !at.Before(c.cert.NotBefore) && !at.After(c.cert.NotAfter) }
	for _, authority := range s.services.stampers {
		t, at, err := s.stamp(ctx, authority, signed(*b))
		if err != nil || !inTime(at) {
			return false, err
		}
		if b.Material.Timestamps == nil {
			b.Material.Timestamps = &signature.TimestampData{}
		}
		b.Material.Timestamps.RFC3161 = append(b.Material.Timestamps.RFC3161, t)
	}
	for _, log := range s.services.logs {
		record := s.record2
		if log.Version == 1 {
			record = s.record1
		}
		entry, err := record(ctx, log, c, *b)
		if err != nil || log.Version == 1 && !inTime(time.Unix(entry.IntegratedTime, 0)) {
			return false, err
		}
		b.Material.Entries = append(b.Material.Entries, entry)
	}
	return true, nil
}

// credential returns one that will be valid for some time. It is not spent, which somebody found to be too old.
func (s *Signer) credential(ctx context.Context, spent *credential) (*credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cred != nil && s.cred != spent && time.Now().Before(s.cred.renew) {
		return s.cred, nil
	}
	c, err := s.certify(ctx)
	if err != nil {
		return nil, err
	}
	s.cred = c
	return c, nil
}

// The JSON of Fulcio (https://github.com/sigstore/fulcio/blob/main/fulcio.proto).
type certifyRequest struct {
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

type certifyAnswer struct {
	Embedded certificates `json:"signedCertificateEmbeddedSct"`
	Detached certificates `json:"signedCertificateDetachedSct"`
}

type certificates struct {
	Chain struct {
		Certificates []string `json:"certificates"`
	} `json:"chain"`
}

// certify makes a key and asks for its certificate.
func (s *Signer) certify(ctx context.Context) (*credential, error) {
	token, err := s.tokens.get(ctx)
	if err != nil {
		return nil, err
	}
	c := &credential{}
	if c.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	if c.public, err = signature.NewPublicKey(c.private.Public()); err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	var req certifyRequest
	req.Credentials.Token = token.raw()
	req.PublicKeyRequest.PublicKey.Algorithm = "ECDSA"
	req.PublicKeyRequest.PublicKey.Content = string(c.public.PEM())
	if req.PublicKeyRequest.Proof, err = c.Sign([]byte(token.subject)); err != nil {
		return nil, fmt.Errorf("proving possession of the key: %w", err)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	res, err := s.client.do(ctx, request{
		service: "certificate authority", method: http.MethodPost, url: s.services.authority.at("/api/v2/signingCert"), body: body, secrets: []string{token.raw()},
	})
	if err != nil {
		return nil, err
	}
	switch res.status {
	case http.StatusOK, http.StatusCreated:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return nil, res.refused(fault.Credentials, "it does not accept the identity of this workflow, or not for this audience")
	default:
		return nil, res.refused(fault.Usage, "is it a Fulcio?")
	}
	var answer certifyAnswer
	if err := canonjson.DecodeOpen(res.body, &answer); err != nil {
		return nil, res.unreadable(err)
	}
	if err := c.accept(append(answer.Embedded.Chain.Certificates, answer.Detached.Chain.Certificates...)); err != nil {
		return nil, res.unreadable(err)
	}
	if s.o.Policy != (keyless.Policy{}) {
		if err := s.o.Policy.Accepts(c.claims); err != nil {
			return nil, fault.New(fault.Credentials, fmt.Errorf("this workflow may not sign the release: %w", err))
		}
	}
	// The log and the authority have clocks of their own, and requests take time.
	life := c.cert.NotAfter.Sub(c.cert.NotBefore)
	c.renew = begun.Add(life - min(2*time.Minute, life/4))
	return c, nil
}

// oidTimestamps is the extension with what logs of certificates have signed
// (https://www.rfc-editor.org/rfc/rfc6962#section-3.3).
var oidTimestamps = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// maxChain bounds the certificates in an answer.
const maxChain = 8

// accept takes the certificate for the key from an answer.
func (c *credential) accept(chain []string) error {
	if len(chain) == 0 || len(chain) > maxChain {
		return fmt.Errorf("%d certificates", len(chain))
	}
	var ders [][]byte
	for _, text := range chain {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
			return errors.New("a certificate is damaged")
		}
		ders = append(ders, block.Bytes)
	}
	var err error
	if c.claims, err = keyless.ParseCertificate(ders[0]); err != nil {
		return err
	}
	if c.cert, err = x509.ParseCertificate(ders[0]); err != nil {
		return err
	}
	if key, err := signature.NewPublicKey(c.cert.PublicKey); err != nil || !key.Equal(c.public) {
		return errors.New("the certificate is of another key")
	}
	for _, e := range c.cert.Extensions {
		if e.Id.Equal(oidTimestamps) {
			c.chain = ders[1:]
			return nil
		}
	}
	return errors.New("the certificate carries no timestamp of a certificate log, and a bundle has no other place for one")
}
