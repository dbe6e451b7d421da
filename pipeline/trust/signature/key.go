package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 of the larger curves
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Bounds of a public key.
const (
	maxKeyFile = 64 << 10 // bytes
	minRSA     = 2048     // bits
	maxRSA     = 8192     // bits; more costs every verifier time and no attacker anything
)

// pemPublicKey is the type of the PEM block (https://www.rfc-editor.org/rfc/rfc7468#section-13).
const pemPublicKey = "PUBLIC KEY"

// PublicKey verifies signatures. The zero value verifies nothing.
type PublicKey struct {
	key crypto.PublicKey
	der []byte // SubjectPublicKeyInfo
}

// NewPublicKey takes an *ecdsa.PublicKey on P-256, P-384 or P-521, an ed25519.PublicKey, or an *rsa.PublicKey of 2048
// to 8192 bits. Any other is an error.
func NewPublicKey(key crypto.PublicKey) (PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if hashOf(k) == 0 {
			return PublicKey{}, errors.New("an ECDSA key on a curve other than P-256, P-384 and P-521")
		}
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return PublicKey{}, fmt.Errorf("an Ed25519 key of %d bytes instead of %d", len(k), ed25519.PublicKeySize)
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return PublicKey{}, fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minRSA, maxRSA)
		}
	default:
		return PublicKey{}, fmt.Errorf("a key of kind %T; want ECDSA, Ed25519 or RSA", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{key: key, der: der}, nil
}

// ParsePublicKey reads a PEM file with one PUBLIC KEY block, which cosign and openssl write. Text around the block is
// passed over; a second block, another kind of block or a key that NewPublicKey refuses is an error.
func ParsePublicKey(b []byte) (PublicKey, error) {
	if len(b) > maxKeyFile {
		return PublicKey{}, fmt.Errorf("reading public key: more than %d bytes", maxKeyFile)
	}
	block, rest := pem.Decode(b)
	if block == nil {
		return PublicKey{}, fmt.Errorf("reading public key: no PEM block; want one that begins with -----BEGIN %s-----", pemPublicKey)
	}
	if block.Type != pemPublicKey {
		return PublicKey{}, fmt.Errorf("reading public key: a block of type %.40q instead of %q", block.Type, pemPublicKey)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return PublicKey{}, errors.New("reading public key: more than one PEM block; name a file with one key")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading public key: %w", err)
	}
	key, err := NewPublicKey(parsed)
	if err != nil {
		return PublicKey{}, fmt.Errorf("reading public key: %w", err)
	}
	if !bytes.Equal(key.der, block.Bytes) {
		return PublicKey{}, errors.New("reading public key: it is not in the one encoding that DER allows; rewrite it with openssl pkey -pubin")
	}
	return key, nil
}

// PEM is the key as ParsePublicKey reads it.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemPublicKey, Bytes: k.der})
}

// Fingerprint is the SHA-256 of the key's DER encoding (SubjectPublicKeyInfo), which names the key everywhere.
func (k PublicKey) Fingerprint() artifact.Digest { return artifact.Sum(k.der) }

// Crypto is the key as the standard library has it.
func (k PublicKey) Crypto() crypto.PublicKey { return k.key }

// IsZero reports whether there is no key.
func (k PublicKey) IsZero() bool { return k.key == nil }

// Equal reports whether both are the same key.
func (k PublicKey) Equal(o PublicKey) bool { return !k.IsZero() && bytes.Equal(k.der, o.der) }

// Kind is a name of the key's algorithm for people, such as ECDSA P-256.
func (k PublicKey) Kind() string {
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	}
	return "no key"
}

// hint names the key in a bundle, as cosign does: the fingerprint in base64.
func (k PublicKey) hint() string {
	sum := sha256.Sum256(k.der)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Hash is what the key's signatures are made over, 0 for Ed25519, which takes the message itself. The hash of a kind of
// key is fixed (https://github.com/sigstore/architecture-docs/blob/main/algorithm-registry.md).
func (k PublicKey) Hash() crypto.Hash { return hashOf(k.key) }

func hashOf(key crypto.PublicKey) crypto.Hash {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return crypto.SHA256
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	case *rsa.PublicKey:
		return crypto.SHA256
	}
	return 0
}

// Verify says why sig is not a signature of the key over message; nil means that it is one. ECDSA signatures are ASN.1
// DER, RSA ones PKCS #1 v1.5, Ed25519 ones pure (https://www.rfc-editor.org/rfc/rfc8032).
func (k PublicKey) Verify(message, sig []byte) error {
	ok := false
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(key, digest(hashOf(key), message), sig)
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, message, sig)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, hashOf(key), digest(hashOf(key), message), sig) == nil
	default:
		return errors.New("there is no public key to verify with")
	}
	if !ok {
		return fmt.Errorf("the signature was not made by key %s over this content", k.Fingerprint())
	}
	return nil
}

func digest(h crypto.Hash, message []byte) []byte {
	w := h.New()
	w.Write(message)
	return w.Sum(nil)
}
