package keyless

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds of a trusted root.
const (
	maxRoot      = 4 << 20 // bytes
	maxInstances = 64      // of each kind
	maxChain     = 8       // certificates of an authority
)

// rootMediaTypes are the versions that are read.
var rootMediaTypes = []string{
	"application/vnd.dev.sigstore.trustedroot+json;version=0.1",
	"application/vnd.dev.sigstore.trustedroot+json;version=0.2",
	"application/vnd.dev.sigstore.trustedroot.v0.1+json",
	"application/vnd.dev.sigstore.trustedroot.v0.2+json",
}

// TrustedRoot is who is believed: certificate authorities, logs of certificates, logs of signatures and timestamp
// authorities. The zero value believes nobody.
type TrustedRoot struct {
	authorities []authority
	stampers    []authority       // of times
	logs        []transparencyLog // of signatures
	ctlogs      []transparencyLog // of certificates
}

type authority struct {
	roots, intermediates *x509.CertPool
	leaf                 *x509.Certificate // of a timestamp authority, if the root has it
	valid                period
}

type transparencyLog struct {
	id    []byte
	hint  []byte // what names its key in a checkpoint begins with
	key   signature.PublicKey
	valid period
	// details are what the root calls the kind of a key that is not read: a log that nothing comes from does no harm.
	details string
}

// period is when something is to be believed. A zero end is none.
type period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

func (p period) contains(t time.Time) bool {
	return !t.Before(p.Start) && (p.End.IsZero() || !t.After(p.End))
}

func (p period) check() error {
	if p.Start.IsZero() || (!p.End.IsZero() && p.End.Before(p.Start)) {
		return errors.New("it does not say when it is valid from")
	}
	return nil
}

// The JSON of a trusted root
// (https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto).
type rootFile struct {
	MediaType   string          `json:"mediaType"`
	Logs        []rootLog       `json:"tlogs"`
	Authorities []rootAuthority `json:"certificateAuthorities"`
	CTLogs      []rootLog       `json:"ctlogs"`
	Timestamps  []rootAuthority `json:"timestampAuthorities"`
}

type rootLog struct {
	BaseURL       string `json:"baseUrl"`
	HashAlgorithm string `json:"hashAlgorithm"`
	PublicKey     struct {
		RawBytes   []byte `json:"rawBytes"`
		KeyDetails string `json:"keyDetails"`
		ValidFor   period `json:"validFor"`
	} `json:"publicKey"`
	LogID           rootLogID `json:"logId"`
	CheckpointKeyID rootLogID `json:"checkpointKeyId"`
	Operator        string    `json:"operator"`
}

type rootLogID struct {
	KeyID []byte `json:"keyId"`
}

type rootAuthority struct {
	Subject struct {
		Organization string `json:"organization"`
		CommonName   string `json:"commonName"`
	} `json:"subject"`
	URI       string `json:"uri"`
	CertChain struct {
		Certificates []signature.Certificate `json:"certificates"`
	} `json:"certChain"`
	ValidFor period `json:"validFor"`
	Operator string `json:"operator"`
}

// ParseTrustedRoot reads a trusted_root.json, as Sigstore distributes it. It is bounded and has one reading; a root with
// which nothing could be verified is an error.
func ParseTrustedRoot(b []byte) (TrustedRoot, error) {
	root, err := parseRoot(b)
	if err != nil {
		return TrustedRoot{}, fmt.Errorf("reading trusted root: %w", err)
	}
	return root, nil
}

func parseRoot(b []byte) (TrustedRoot, error) {
	if len(b) > maxRoot {
		return TrustedRoot{}, fmt.Errorf("more than %d bytes", maxRoot)
	}
	var f rootFile
	if err := canonjson.Decode(b, &f); err != nil {
		return TrustedRoot{}, err
	}
	switch {
	case !slices.Contains(rootMediaTypes, f.MediaType):
		return TrustedRoot{}, fmt.Errorf("media type %.80q instead of %s", f.MediaType, rootMediaTypes[0])
	case max(len(f.Logs), len(f.CTLogs), len(f.Authorities), len(f.Timestamps)) > maxInstances:
		return TrustedRoot{}, fmt.Errorf("more than %d logs or authorities", maxInstances)
	case len(f.Authorities) == 0 || len(f.Logs) == 0 || len(f.CTLogs) == 0:
		return TrustedRoot{}, errors.New("want a certificate authority, a log of certificates (ctlogs) and a log of signatures (tlogs)")
	}
	var root TrustedRoot
	for i, a := range f.Authorities {
		parsed, err := a.parse()
		if err != nil {
			return TrustedRoot{}, fmt.Errorf("certificate authority %d: %w", i, err)
		}
		root.authorities = append(root.authorities, parsed)
	}
	for i, a := range f.Timestamps {
		parsed, err := a.parseStamper()
		if err != nil {
			return TrustedRoot{}, fmt.Errorf("timestamp authority %d: %w", i, err)
		}
		root.stampers = append(root.stampers, parsed)
	}
	var err error
	if root.logs, err = parseLogs(f.Logs); err != nil {
		return TrustedRoot{}, fmt.Errorf("tlogs: %w", err)
	}
	if root.ctlogs, err = parseLogs(f.CTLogs); err != nil {
		return TrustedRoot{}, fmt.Errorf("ctlogs: %w", err)
	}
	return root, nil
}

// parseStamper reads a timestamp authority, whose chain may begin with what signs the timestamps.
func (a rootAuthority) parseStamper() (authority, error) {
	var leaf *x509.Certificate
	if chain := a.CertChain.Certificates; len(chain) > 1 {
		c, err := x509.ParseCertificate(chain[0].RawBytes)
		if err != nil {
			return authority{}, fmt.Errorf("certificate 0: %w", err)
		}
		if !c.IsCA {
			leaf, a.CertChain.Certificates = c, chain[1:]
		}
	}
	out, err := a.parse()
	out.leaf = leaf
	return out, err
}

func (a rootAuthority) parse() (authority, error) {
	chain := a.CertChain.Certificates
	if len(chain) == 0 || len(chain) > maxChain {
		return authority{}, fmt.Errorf("%d certificates; want 1 to %d", len(chain), maxChain)
	}
	out := authority{roots: x509.NewCertPool(), intermediates: x509.NewCertPool(), valid: a.ValidFor}
	for i, raw := range chain {
		cert, err := x509.ParseCertificate(raw.RawBytes)
		if err != nil {
			return authority{}, fmt.Errorf("certificate %d: %w", i, err)
		}
		if !cert.BasicConstraintsValid || !cert.IsCA {
			return authority{}, fmt.Errorf("certificate %d may not issue others", i)
		}
		pool := out.intermediates
		if i == len(chain)-1 {
			pool = out.roots
		}
		pool.AddCert(cert)
	}
	return out, out.valid.check()
}

func parseLogs(logs []rootLog) ([]transparencyLog, error) {
	var out []transparencyLog
	for i, l := range logs {
		parsed, err := l.parse()
		if err != nil {
			return nil, fmt.Errorf("log %d: %w", i, err)
		}
		if find(out, parsed.id) != nil {
			return nil, fmt.Errorf("log %x comes twice", parsed.id)
		}
		out = append(out, parsed)
	}
	return out, nil
}

func (l rootLog) parse() (transparencyLog, error) {
	k := l.PublicKey
	out := transparencyLog{id: l.LogID.KeyID, valid: k.ValidFor}
	switch {
	case l.HashAlgorithm != "SHA2_256":
		return out, fmt.Errorf("hash algorithm %.40q instead of SHA2_256", l.HashAlgorithm)
	case len(out.id) < 4 || len(out.id) > 64:
		return out, errors.New("it has no id")
	}
	if out.hint = out.id[:4]; len(l.CheckpointKeyID.KeyID) >= 4 {
		out.hint = l.CheckpointKeyID.KeyID[:4]
	}
	if err := out.valid.check(); err != nil {
		return out, err
	}
	var key any
	var err error
	switch k.KeyDetails {
	// The logs sign with SHA-256 whatever their curve (https://www.rfc-editor.org/rfc/rfc6962#section-2.1.4), which of
	// the curves is that of P-256 alone.
	case "PKIX_ECDSA_P256_SHA_256", "PKIX_ED25519", "PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_RSA_PKCS1V15_3072_SHA256",
		"PKIX_RSA_PKCS1V15_4096_SHA256", "PKIX_RSA_PKCS1V5":
		key, err = x509.ParsePKIXPublicKey(k.RawBytes)
	case "PKCS1_RSA_PKCS1V5":
		key, err = x509.ParsePKCS1PublicKey(k.RawBytes)
	default:
		out.details = fmt.Sprintf("%.60q", k.KeyDetails)
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("public key: %w", err)
	}
	if out.key, err = signature.NewPublicKey(key); err != nil {
		return out, fmt.Errorf("public key: %w", err)
	}
	want := map[string]string{"PKIX_ECDSA_P256_SHA_256": "ECDSA P-256", "PKIX_ED25519": "Ed25519"}[k.KeyDetails]
	if _, isRSA := key.(*rsa.PublicKey); out.key.Kind() != want && (want != "" || !isRSA) {
		return out, fmt.Errorf("public key: it is %s and is called %s", out.key.Kind(), k.KeyDetails)
	}
	return out, nil
}

func find(logs []transparencyLog, id []byte) *transparencyLog {
	i := slices.IndexFunc(logs, func(l transparencyLog) bool { return bytes.Equal(l.id, id) })
	if i < 0 {
		return nil
	}
	return &logs[i]
}
