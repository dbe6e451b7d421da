package keyless

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// maxCertificate bounds a certificate, in bytes.
const maxCertificate = 64 << 10

// Object identifiers of extensions: those of X.509 (https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1) and of
// Sigstore (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).
var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIssuerV1       = sigstoreOID(1)
	oidIssuer         = sigstoreOID(8)
	oidWorkflow       = sigstoreOID(9)
	oidRepository     = sigstoreOID(12)
	oidCommit         = sigstoreOID(13)
	oidRef            = sigstoreOID(14)
	oidRun            = sigstoreOID(21)
)

func sigstoreOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}
}

// certificate is that of a signer, of which nothing is verified yet.
type certificate struct {
	x509   *x509.Certificate
	key    signature.PublicKey
	claims Claims
}

// ParseCertificate is what a certificate says of a signer; Time is that from which it is valid. Nothing is verified.
func ParseCertificate(der []byte) (Claims, error) {
	c, err := parseCertificate(der)
	if err != nil {
		return Claims{}, err
	}
	c.claims.Time = c.x509.NotBefore.UTC()
	return c.claims, nil
}

func parseCertificate(der []byte) (certificate, error) {
	if len(der) > maxCertificate {
		return certificate{}, fmt.Errorf("the certificate has more than %d bytes", maxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return certificate{}, fmt.Errorf("there is not one whole certificate: %w", err)
	}
	// A certificate without usages is one for all of them; so it must say that it has this one.
	if len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageCodeSigning || len(cert.UnknownExtKeyUsage) > 0 {
		return certificate{}, errors.New("the certificate is not one for signing code alone")
	}
	if cert.IsCA || cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return certificate{}, errors.New("the certificate is that of an authority, or not one for signatures")
	}
	out := certificate{x509: cert}
	if out.key, err = signature.NewPublicKey(cert.PublicKey); err != nil {
		return certificate{}, fmt.Errorf("the certificate is of a key that is not read: %w", err)
	}
	out.claims, err = parseClaims(cert)
	return out, err
}

func parseClaims(cert *x509.Certificate) (Claims, error) {
	var c Claims
	var err error
	if c.Identity, err = subject(extension(cert, oidSubjectAltName)); err != nil {
		return c, err
	}
	for _, f := range []struct {
		oid asn1.ObjectIdentifier
		to  *string
	}{{oidIssuer, &c.Issuer}, {oidWorkflow, &c.Workflow}, {oidRepository, &c.Repository}, {oidCommit, &c.Commit}, {oidRef, &c.Ref}, {oidRun, &c.Run}} {
		value := extension(cert, f.oid)
		if value == nil {
			continue
		}
		var raw asn1.RawValue
		rest, err := asn1.Unmarshal(value, &raw)
		if err == nil && raw.Class == asn1.ClassUniversal && raw.Tag == asn1.TagUTF8String {
			rest, err = asn1.UnmarshalWithParams(value, f.to, "utf8")
		} else {
			err = errors.New("it is not of type UTF8String")
		}
		if err != nil || len(rest) > 0 {
			return c, fmt.Errorf("the certificate's extension %s is damaged", f.oid)
		}
	}
	old := string(extension(cert, oidIssuerV1))
	switch {
	case c.Issuer == "":
		c.Issuer = old
	case old != "" && old != c.Issuer:
		return c, fmt.Errorf("the certificate names two issuers, %.200q and %.200q", c.Issuer, old)
	}
	if c.Issuer == "" {
		return c, errors.New("the certificate does not say who vouched for the identity")
	}
	return c, nil
}

// extension is the value of one, nil where there is none. The standard library has refused those that come twice.
func extension(cert *x509.Certificate, oid asn1.ObjectIdentifier) []byte {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oid) {
			return e.Value
		}
	}
	return nil
}

// Tags of a GeneralName (https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6).
const (
	tagEmail = 1
	tagURI   = 6
)

// subject reads the one name in a subject alternative name as it is written: a parsed and rendered URL could be another.
func subject(der []byte) (string, error) {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 || len(names) != 1 {
		return "", errors.New("the certificate does not name one signer")
	}
	n := names[0]
	if n.Class != asn1.ClassContextSpecific || (n.Tag != tagEmail && n.Tag != tagURI) || n.IsCompound || len(n.Bytes) == 0 {
		return "", errors.New("the certificate names the signer by neither URI nor email address")
	}
	for _, b := range n.Bytes {
		if b <= ' ' || b > '~' {
			return "", fmt.Errorf("the certificate names the signer %.200q, with characters that are in no URI and no email address", n.Bytes)
		}
	}
	return string(n.Bytes), nil
}

// issuers returns who issued the certificate, for each chain to an authority of the root that was valid then.
func (r TrustedRoot) issuers(leaf certificate, at time.Time) ([]*x509.Certificate, error) {
	var issuers []*x509.Certificate
	why := errors.New("the trusted root has none that was valid then")
	for _, a := range r.authorities {
		if !a.valid.contains(at) {
			continue
		}
		chains, err := leaf.x509.Verify(x509.VerifyOptions{
			Roots: a.roots, Intermediates: a.intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		})
		if err != nil {
			why = err
		}
		for _, c := range chains {
			if len(c) > 1 {
				issuers = append(issuers, c[1])
			}
		}
	}
	if len(issuers) == 0 {
		return nil, fmt.Errorf("no trusted authority issued the certificate at %s: %w", stamp(at), why)
	}
	return issuers, nil
}
