// Package sign holds private keys and signs finished releases with them.
//
// It reads what people have: PKCS #8 with and without a passphrase, the EC keys of older openssl and the keys of
// cosign. It sees the digests of a release and never its files, so it may run where nothing else does. No error of it
// carries anything of a key or a passphrase, and what it decrypts is overwritten once it is no longer needed, as far as
// the language lets it.
package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Kind is a kind of keys that Generate makes.
type Kind string

// The kinds of keys. ECDSA on P-256 is what cosign makes and what every verifier reads; RSA, of 4096 bits, is all that apk knows.
const (
	ECDSA   Kind = "ecdsa"
	Ed25519 Kind = "ed25519"
	RSA     Kind = "rsa"
)

// maxKeyFile bounds a private key, in bytes.
const maxKeyFile = 64 << 10

// Key is a private key.
type Key struct {
	private func() crypto.Signer // a function, into which fmt cannot look when a Key is in something that is printed
	public  signature.PublicKey
}

var _ signature.Signer = Key{}

// Generate makes a key.
func Generate(kind Kind) (Key, error) {
	var private crypto.Signer
	var err error
	switch kind {
	case ECDSA:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case RSA:
		private, err = rsa.GenerateKey(rand.Reader, 4096)
	default:
		return Key{}, fault.Errorf(fault.Usage, "%.40q is not a kind of key; want %s, %s or %s", kind, ECDSA, Ed25519, RSA)
	}
	if err != nil {
		return Key{}, fmt.Errorf("making key: %w", err)
	}
	return newKey(private)
}

func newKey(private crypto.Signer) (Key, error) {
	public, err := signature.NewPublicKey(private.Public())
	return Key{func() crypto.Signer { return private }, public}, err
}

// Public is the key's public half.
func (k Key) Public() signature.PublicKey { return k.public }

// Sign signs message. The same key and message give the same signature: ECDSA takes its nonce from both
// (https://www.rfc-editor.org/rfc/rfc6979), and the others have none.
func (k Key) Sign(message []byte) ([]byte, error) {
	h := k.public.Hash()
	if h == 0 {
		return k.private().Sign(nil, message, crypto.Hash(0))
	}
	w := h.New()
	w.Write(message)
	return k.private().Sign(nil, w.Sum(nil), h)
}

// String names the key without its secret.
func (k Key) String() string { return "private key of " + string(k.public.Fingerprint()) }

// Format is String for every verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// PEM is the key in PKCS #8, encrypted with the passphrase so that openssl reads it: PBES2 with AES-256-CBC and a key
// from 600,000 rounds of PBKDF2 with SHA-256
// (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#pbkdf2). Without a passphrase it is
// not encrypted: for a place that is a vault itself.
func (k Key) PEM(passphrase []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private())
	if err != nil {
		return nil, errors.New("writing key: it has no PKCS #8 form")
	}
	defer clear(der)
	if len(passphrase) == 0 {
		return pem.EncodeToMemory(&pem.Block{Type: pemPKCS8, Bytes: der}), nil
	}
	sealed, err := encryptPKCS8(der, passphrase)
	if err != nil {
		return nil, fmt.Errorf("writing key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemEncrypted, Bytes: sealed}), nil
}

// Types of PEM blocks (https://www.rfc-editor.org/rfc/rfc7468).
const (
	pemPKCS8      = "PRIVATE KEY"
	pemEncrypted  = "ENCRYPTED PRIVATE KEY"
	pemEC         = "EC PRIVATE KEY"
	pemECParams   = "EC PARAMETERS"
	pemSigstore   = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemCosign     = "ENCRYPTED COSIGN PRIVATE KEY"
	pemPKCS1      = "RSA PRIVATE KEY"
	pemOpenSSH    = "OPENSSH PRIVATE KEY"
	openSSLUpdate = "rewrite it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out new.pem"
)

// Load reads a private key: PKCS #8 (PRIVATE KEY), encrypted PKCS #8 with PBES2 (ENCRYPTED PRIVATE KEY), SEC 1 (EC
// PRIVATE KEY) or a key of cosign (ENCRYPTED SIGSTORE or COSIGN PRIVATE KEY); ECDSA on P-256, P-384 or P-521, Ed25519,
// or RSA from 2048 bits. Passphrase is asked for encrypted keys alone, once, and what it returns is overwritten. A key
// that cannot be used is a fault.Credentials.
func Load(b []byte, passphrase func() ([]byte, error)) (signature.Signer, error) {
	k, err := load(b, passphrase)
	if err != nil {
		if fault.CodeOf(err) == fault.Unclassified {
			err = fault.New(fault.Credentials, fmt.Errorf("reading private key: %w", err))
		}
		return nil, err
	}
	return k, nil
}

func load(b []byte, passphrase func() ([]byte, error)) (Key, error) {
	if len(b) > maxKeyFile {
		return Key{}, fmt.Errorf("more than %d bytes", maxKeyFile)
	}
	block, err := keyBlock(b)
	if err != nil {
		return Key{}, err
	}
	defer clear(block.Bytes)
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return Key{}, errors.New("it is encrypted in the old way of openssl, which protects little; " + openSSLUpdate)
	}
	der := block.Bytes
	var open func(sealed, passphrase []byte) ([]byte, error)
	switch block.Type {
	case pemPKCS8, pemEC:
	case pemEncrypted:
		open = decryptPKCS8
	case pemSigstore, pemCosign:
		open = decryptSigstore
	case pemPKCS1:
		return Key{}, errors.New("an RSA key in PKCS #1; " + openSSLUpdate)
	case pemOpenSSH:
		return Key{}, errors.New("a key of OpenSSH; make one for signing with the keygen command")
	default:
		return Key{}, fmt.Errorf("a PEM block of type %.40q is not a private key", block.Type)
	}
	if open != nil {
		if der, err = unlock(block.Bytes, passphrase, open); err != nil {
			return Key{}, err
		}
		defer clear(der)
	}
	return parse(der, block.Type == pemEC)
}

// keyBlock finds the one private key of a PEM file. Openssl puts the parameters of a curve before its key.
func keyBlock(b []byte) (*pem.Block, error) {
	var found *pem.Block
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type == pemECParams {
			continue
		}
		if found != nil {
			return nil, errors.New("more than one PEM block; name a file with the private key alone")
		}
		found = block
	}
	if found == nil {
		return nil, errors.New("no PEM block; want one that begins with -----BEGIN PRIVATE KEY----- or the like")
	}
	return found, nil
}

func unlock(sealed []byte, passphrase func() ([]byte, error), open func(sealed, passphrase []byte) ([]byte, error)) ([]byte, error) {
	if passphrase == nil {
		return nil, errNoPassphrase
	}
	p, err := passphrase()
	if err != nil {
		return nil, err
	}
	defer clear(p)
	return open(sealed, p)
}

// errSealed does not tell the two apart, because no cipher of these formats but one can.
var errSealed = errors.New("the passphrase is wrong or the key is damaged")

// errNoPassphrase is returned for an encrypted key where there is no one to ask.
var errNoPassphrase = errors.New("it is encrypted and there is no passphrase; set " + PassphraseVariable + " or name a file with it")

// parse reads a key in DER. Errors of the parsers are not passed on, since it is not specified what is in them.
func parse(der []byte, sec1 bool) (Key, error) {
	var private any
	var err error
	if sec1 {
		private, err = x509.ParseECPrivateKey(der)
	} else {
		private, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil {
		return Key{}, errors.New("it is damaged, or of a kind other than ECDSA, Ed25519 and RSA")
	}
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		return newKey(k)
	case ed25519.PrivateKey:
		return newKey(k)
	case *rsa.PrivateKey:
		return newKey(k)
	}
	return Key{}, fmt.Errorf("a key of kind %T cannot sign; want ECDSA, Ed25519 or RSA", private)
}
