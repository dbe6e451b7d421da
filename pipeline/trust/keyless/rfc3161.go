package keyless

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // the hashes of timestamps
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Bounds of a timestamp of an authority.
const (
	maxToken        = 64 << 10 // bytes
	maxCertificates = 8        // that it carries
)

// Object identifiers of timestamps (https://www.rfc-editor.org/rfc/rfc3161, https://www.rfc-editor.org/rfc/rfc5652 and
// https://www.rfc-editor.org/rfc/rfc5816).
var (
	oidSignedData         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo            = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertificate = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidExtKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// hashes are those that timestamps are made with. SHA-1 is none of them.
var hashes = []struct {
	oid   asn1.ObjectIdentifier
	hash  crypto.Hash
	ecdsa asn1.ObjectIdentifier // a signature with it, by the kind of the key
	rsa   asn1.ObjectIdentifier
	algo  [2]x509.SignatureAlgorithm // ECDSA, RSA
}{
	{
		asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1},
		crypto.SHA256,
		asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2},
		asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11},
		[2]x509.SignatureAlgorithm{x509.ECDSAWithSHA256, x509.SHA256WithRSA},
	},
	{
		asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2},
		crypto.SHA384,
		asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3},
		asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12},
		[2]x509.SignatureAlgorithm{x509.ECDSAWithSHA384, x509.SHA384WithRSA},
	},
	{
		asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3},
		crypto.SHA512,
		asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4},
		asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13},
		[2]x509.SignatureAlgorithm{x509.ECDSAWithSHA512, x509.SHA512WithRSA},
	},
}

// Signatures that do not say their hash.
var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
)

// The parts of a timestamp that are read. encoding/asn1 passes over what stands behind them.
type stampResponse struct {
	Status stampStatus
	Token  contentInfo
}

type stampStatus struct{ Status int }

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version      int
	Digests      asn1.RawValue
	Content      contentInfo
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	Revoked      asn1.RawValue `asn1:"optional,tag:1"`
	Signers      []signerInfo  `asn1:"set"`
}

type signerInfo struct {
	Version    int
	SID        asn1.RawValue
	Digest     pkix.AlgorithmIdentifier
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm  pkix.AlgorithmIdentifier
	Signature  []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

type stampInfo struct {
	Version int
	Policy  asn1.ObjectIdentifier
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Hash      []byte
	}
	Serial *big.Int
	Time   asn1.RawValue
}

type signingCertificate struct {
	Certificates []struct {
		Algorithm pkix.AlgorithmIdentifier `asn1:"optional"`
		Hash      []byte
	}
}

// token is a timestamp of which nothing is verified yet.
type token struct {
	at        time.Time // that it says
	hash      crypto.Hash
	imprint   []byte   // hash of what it is of
	nonce     *big.Int // of the request; nil if it had none
	embedded  []*x509.Certificate
	signer    signerInfo
	signed    []byte // the attributes, as they were signed
	signs     []byte // the certificate that the attributes name, by its hash
	signsHash crypto.Hash
}

var errToken = errors.New("it is damaged, or not in the one encoding that DER allows")

// unmarshal reads DER with nothing behind it.
func unmarshal(der []byte, v any) error {
	if rest, err := asn1.Unmarshal(der, v); err != nil || len(rest) > 0 {
		return errToken
	}
	return nil
}

func hashOf(a pkix.AlgorithmIdentifier) (crypto.Hash, error) {
	for _, h := range hashes {
		if h.oid.Equal(a.Algorithm) {
			return h.hash, nil
		}
	}
	return 0, fmt.Errorf("its hash %s is not SHA-256, SHA-384 or SHA-512", a.Algorithm)
}

func sum(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

// parseToken reads a TimeStampResp (https://www.rfc-editor.org/rfc/rfc3161#section-2.4.2) and holds its inner parts to each
// other: what is signed names the content and the certificate. Nothing is verified.
func parseToken(der []byte) (token, error) {
	if len(der) > maxToken {
		return token{}, fmt.Errorf("it has more than %d bytes", maxToken)
	}
	var res stampResponse
	if err := unmarshal(der, &res); err != nil {
		return token{}, err
	}
	if res.Status.Status != 0 && res.Status.Status != 1 { // granted, grantedWithMods
		return token{}, fmt.Errorf("the authority refused it (status %d)", res.Status.Status)
	}
	var data signedData
	if !res.Token.Type.Equal(oidSignedData) {
		return token{}, errors.New("it is not signed")
	}
	if err := unmarshal(res.Token.Content.Bytes, &data); err != nil {
		return token{}, err
	}
	if !data.Content.Type.Equal(oidTSTInfo) {
		return token{}, errors.New("what is signed is not a timestamp")
	}
	if len(data.Signers) != 1 {
		return token{}, fmt.Errorf("it has %d signers instead of one", len(data.Signers))
	}
	var content []byte
	if err := unmarshal(data.Content.Content.Bytes, &content); err != nil {
		return token{}, err
	}
	t := token{signer: data.Signers[0]}
	if err := t.info(content); err != nil {
		return token{}, err
	}
	if err := t.attributes(content); err != nil {
		return token{}, err
	}
	for rest := data.Certificates.Bytes; len(rest) > 0; {
		if len(t.embedded) == maxCertificates {
			return token{}, fmt.Errorf("it carries more than %d certificates", maxCertificates)
		}
		var raw asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &raw); err != nil {
			return token{}, errToken
		}
		c, err := x509.ParseCertificate(raw.FullBytes)
		if err != nil {
			return token{}, fmt.Errorf("a certificate in it cannot be read: %w", err)
		}
		t.embedded = append(t.embedded, c)
	}
	return t, nil
}

// info reads what the timestamp says.
func (t *token) info(der []byte) error {
	var i stampInfo
	if err := unmarshal(der, &i); err != nil {
		return err
	}
	if i.Version != 1 {
		return fmt.Errorf("version %d of a timestamp is not read", i.Version)
	}
	fields, err := elements(der)
	if err != nil {
		return errToken
	}
	// An extension could change what it means.
	if slices.ContainsFunc(fields, func(f asn1.RawValue) bool { return f.Class == asn1.ClassContextSpecific && f.Tag == 1 }) {
		return errors.New("it has extensions, of which none are read")
	}
	for _, f := range fields[min(5, len(fields)):] { // the nonce is the only number behind the time
		if f.Class == asn1.ClassUniversal && f.Tag == asn1.TagInteger {
			if t.nonce != nil {
				return errToken
			}
			if err := unmarshal(f.FullBytes, &t.nonce); err != nil {
				return err
			}
		}
	}
	if t.hash, err = hashOf(i.Imprint.Algorithm); err != nil {
		return err
	}
	if t.imprint = i.Imprint.Hash; len(t.imprint) != t.hash.Size() {
		return fmt.Errorf("its hash has %d bytes instead of %d", len(t.imprint), t.hash.Size())
	}
	// encoding/asn1 refuses fractions of a second, which RFC 3161 allows.
	const layout = "20060102150405.999999999Z"
	if i.Time.Class != asn1.ClassUniversal || i.Time.Tag != asn1.TagGeneralizedTime || i.Time.IsCompound {
		return errToken
	}
	if t.at, err = time.Parse("20060102150405Z", string(i.Time.Bytes)); err != nil || t.at.Format(layout) != string(i.Time.Bytes) {
		return fmt.Errorf("%.40q is not a time in UTC", i.Time.Bytes)
	}
	return nil
}

// attributes reads what is signed: the hash of the content, and which certificate signs.
func (t *token) attributes(content []byte) error {
	if len(t.signer.Attributes.Bytes) == 0 {
		return errors.New("it has no signed attributes")
	}
	hash, err := hashOf(t.signer.Digest)
	if err != nil {
		return err
	}
	// What is signed is the set under its own tag and not under that of its place
	// (https://www.rfc-editor.org/rfc/rfc5652#section-5.4).
	t.signed = bytes.Clone(t.signer.Attributes.FullBytes)
	t.signed[0] = asn1.TagSet | 0x20
	seen := map[string][]byte{}
	for rest := t.signer.Attributes.Bytes; len(rest) > 0; {
		var a attribute
		if rest, err = asn1.Unmarshal(rest, &a); err != nil || len(a.Values) != 1 || seen[a.Type.String()] != nil {
			return errToken
		}
		seen[a.Type.String()] = a.Values[0].FullBytes
	}
	var kind asn1.ObjectIdentifier
	if err := unmarshal(seen[oidContentType.String()], &kind); err != nil || !kind.Equal(oidTSTInfo) {
		return errors.New("what is signed is not called a timestamp")
	}
	var digest []byte
	if err := unmarshal(seen[oidMessageDigest.String()], &digest); err != nil || !bytes.Equal(digest, sum(hash, content)) {
		return errors.New("its signature is over other content")
	}
	var by signingCertificate
	if err := unmarshal(seen[oidSigningCertificate.String()], &by); err != nil || len(by.Certificates) == 0 {
		return errors.New("its signature does not name the certificate (signingCertificateV2)")
	}
	t.signs, t.signsHash = by.Certificates[0].Hash, crypto.SHA256
	if a := by.Certificates[0].Algorithm; a.Algorithm != nil {
		t.signsHash, err = hashOf(a)
	}
	return err
}

// by says why the certificate has not signed the timestamp.
func (t token) by(c *x509.Certificate) error {
	if !bytes.Equal(t.signs, sum(t.signsHash, c.Raw)) || !t.names(c) {
		return errors.New("it was signed with another certificate")
	}
	// A certificate that may do more than this is none of a timestamp authority
	// (https://www.rfc-editor.org/rfc/rfc3161#section-2.3).
	usage := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidExtKeyUsage) })
	if usage < 0 || !c.Extensions[usage].Critical || len(c.UnknownExtKeyUsage) > 0 || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}) {
		return errors.New("the certificate of the authority is not one for timestamps alone")
	}
	algorithm, err := t.algorithm()
	if err != nil {
		return err
	}
	if c.CheckSignature(algorithm, t.signed, t.signer.Signature) != nil {
		return errors.New("it was not signed by the authority that it names")
	}
	return nil
}

// names reports whether the signer is said to have this certificate.
func (t token) names(c *x509.Certificate) bool {
	if id := t.signer.SID; id.Class == asn1.ClassContextSpecific && id.Tag == 0 {
		return len(c.SubjectKeyId) > 0 && bytes.Equal(id.Bytes, c.SubjectKeyId)
	}
	var id issuerAndSerial
	return unmarshal(t.signer.SID.FullBytes, &id) == nil && id.Serial != nil &&
		bytes.Equal(id.Issuer.FullBytes, c.RawIssuer) && id.Serial.Cmp(c.SerialNumber) == 0
}

// algorithm is how the timestamp is signed: the hash of the signature is that of the attributes.
func (t token) algorithm() (x509.SignatureAlgorithm, error) {
	oid := t.signer.Algorithm.Algorithm
	if oid.Equal(oidEd25519) {
		return x509.PureEd25519, nil
	}
	for _, h := range hashes {
		switch is := h.oid.Equal(t.signer.Digest.Algorithm); {
		case is && h.ecdsa.Equal(oid):
			return h.algo[0], nil
		case is && (h.rsa.Equal(oid) || oidRSA.Equal(oid)):
			return h.algo[1], nil
		}
	}
	return 0, fmt.Errorf("it is signed in the way %s with the hash %s, which is not read", oid, t.signer.Digest.Algorithm)
}

// stamped is when a timestamp authority of the root saw the message.
func (r TrustedRoot) stamped(der, message []byte) (time.Time, error) {
	t, err := parseToken(der)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the timestamp of an authority: %w", err)
	}
	if !bytes.Equal(t.imprint, sum(t.hash, message)) {
		return time.Time{}, errors.New("the timestamp is of another signature")
	}
	why := errors.New("the timestamp is of an authority that is not in the trusted root")
	for _, a := range r.stampers {
		for _, c := range a.signers(t) {
			switch err := t.by(c); {
			case err != nil:
				why = fmt.Errorf("the timestamp does not hold: %w", err)
				continue
			case !a.valid.contains(t.at):
				why = fmt.Errorf("the timestamp is of %s, when its authority was not to be believed", stamp(t.at))
				continue
			}
			_, err := c.Verify(x509.VerifyOptions{
				Roots: a.roots, Intermediates: a.intermediates, CurrentTime: t.at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
			})
			if err == nil {
				return t.at, nil
			}
			why = fmt.Errorf("the certificate of the timestamp's authority does not hold at %s: %w", stamp(t.at), err)
		}
	}
	return time.Time{}, why
}

// signers are the certificates that may have signed for the authority: the one in the root, or where the root leaves it
// out those that the timestamp carries.
func (a authority) signers(t token) []*x509.Certificate {
	if a.leaf != nil {
		return []*x509.Certificate{a.leaf}
	}
	return t.embedded
}
