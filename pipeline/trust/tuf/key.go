package tuf

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Kinds and schemes of keys (https://theupdateframework.github.io/specification/latest/#file-formats-keys). The second name of a kind
// is that of older writers.
const (
	kindEd25519 = "ed25519"
	kindECDSA   = "ecdsa"
	kindP256    = "ecdsa-sha2-nistp256"
	kindRSA     = "rsa"

	schemeP256 = "ecdsa-sha2-nistp256"
	schemeP384 = "ecdsa-sha2-nistp384"
	schemePSS  = "rsassa-pss-sha256"
)

// Key is a public key as metadata has it. One of a kind that is not known here verifies nothing.
type Key struct {
	written json.RawMessage
	id      string
	public  signature.PublicKey
	pss     bool
}

type keyJSON struct {
	Kind   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

// NewKey is a public key for metadata: one of Ed25519, or of ECDSA on P-256 or P-384. No reader is sure to know any other.
func NewKey(public signature.PublicKey) (Key, error) {
	k := keyJSON{Kind: kindECDSA}
	k.Value.Public = string(public.PEM())
	switch public.Kind() {
	case "Ed25519":
		k.Kind, k.Scheme = kindEd25519, kindEd25519
		k.Value.Public = hex.EncodeToString(public.Crypto().(ed25519.PublicKey))
	case "ECDSA P-256":
		k.Scheme = schemeP256
	case "ECDSA P-384":
		k.Scheme = schemeP384
	default:
		return Key{}, fmt.Errorf("a key of kind %s does not sign metadata; use one of Ed25519 or of ECDSA on P-256", public.Kind())
	}
	b, err := canonjson.Encode(k)
	if err != nil {
		return Key{}, err
	}
	var key Key
	err = key.UnmarshalJSON(b)
	return key, err
}

// ID names the key: the digest of its canonical form, in hex.
func (k Key) ID() string { return k.id }

// Public is the key; the zero value for one of a kind that is not known here.
func (k Key) Public() signature.PublicKey { return k.public }

// MarshalJSON is the key as it was written.
func (k Key) MarshalJSON() ([]byte, error) { return k.written, nil }

// UnmarshalJSON reads a key with all that it has: its name is a digest over that.
func (k *Key) UnmarshalJSON(b []byte) error {
	form, err := Canonical(b)
	if err != nil {
		return err
	}
	var j keyJSON
	if err := canonjson.DecodeOpen(b, &j); err != nil {
		return err
	}
	*k = Key{written: append(json.RawMessage{}, b...), id: artifact.Sum(form).Hex()}
	k.public, k.pss = j.public()
	return nil
}

func (j keyJSON) public() (key signature.PublicKey, pss bool) {
	if j.Kind == kindEd25519 && j.Scheme == kindEd25519 {
		b, err := hex.DecodeString(j.Value.Public)
		if err == nil {
			key, err = signature.NewPublicKey(ed25519.PublicKey(b))
		}
		if err != nil {
			return signature.PublicKey{}, false
		}
		return key, false
	}
	key, err := signature.ParsePublicKey([]byte(j.Value.Public))
	if err != nil {
		return signature.PublicKey{}, false
	}
	ecdsa := j.Kind == kindECDSA || j.Kind == kindP256
	switch kind := key.Kind(); {
	case ecdsa && j.Scheme == schemeP256 && kind == "ECDSA P-256", ecdsa && j.Scheme == schemeP384 && kind == "ECDSA P-384":
		return key, false
	case j.Kind == kindRSA && j.Scheme == schemePSS:
		if _, ok := key.Crypto().(*rsa.PublicKey); ok {
			return key, true
		}
	}
	return signature.PublicKey{}, false
}

// verify says why sig is not a signature of the key over message.
func (k Key) verify(message, sig []byte) error {
	if !k.pss {
		return k.public.Verify(message, sig)
	}
	sum := sha256.Sum256(message)
	if rsa.VerifyPSS(k.public.Crypto().(*rsa.PublicKey), crypto.SHA256, sum[:], sig, nil) != nil {
		return errors.New("the signature was not made by this key over this content")
	}
	return nil
}
