package sign

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"hash"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// Object identifiers of PBES2 (https://www.rfc-editor.org/rfc/rfc8018#appendix-C), of scrypt in it
// (https://www.rfc-editor.org/rfc/rfc7914#section-7) and of AES
// (https://csrc.nist.gov/projects/computer-security-objects-register/algorithm-registration).
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACSHA384 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}
	oidHMACSHA512 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
	oidAES128CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// What a key is encrypted with.
const (
	rounds   = 600_000
	saltSize = 16
)

// Bounds of what a key may ask its reader to compute.
const (
	maxRounds = 10_000_000
	maxMemory = 512 << 20 // bytes that scrypt takes
	maxLanes  = 16        // of scrypt, one after the other
)

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2 struct {
	KDF    pkix.AlgorithmIdentifier
	Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt   []byte
	Rounds int
	Size   int                      `asn1:"optional"`
	PRF    pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt []byte
	N    int
	R    int
	P    int
	Size int `asn1:"optional"`
}

// errCipher tells of a way to encrypt that is not read, or no longer.
var errCipher = errors.New("it is encrypted in a way that is not read; " + openSSLUpdate)

// encryptPKCS8 encrypts a PKCS #8 key. The output differs each time.
func encryptPKCS8(der, passphrase []byte) ([]byte, error) {
	salt, iv := make([]byte, saltSize), make([]byte, aes.BlockSize)
	rand.Read(salt)
	rand.Read(iv)
	key, err := pbkdf2.Key(sha256.New, string(passphrase), salt, rounds, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(der)%aes.BlockSize
	data := append(bytes.Clone(der), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)

	kdf, err := algorithm(oidPBKDF2, pbkdf2Params{
		Salt: salt, Rounds: rounds, PRF: pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue},
	})
	if err != nil {
		return nil, err
	}
	aesIV, err := algorithm(oidAES256CBC, iv)
	if err != nil {
		return nil, err
	}
	scheme, err := algorithm(oidPBES2, pbes2{KDF: kdf, Cipher: aesIV})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(encryptedKey{Algorithm: scheme, Data: data})
}

func algorithm(oid asn1.ObjectIdentifier, params any) (pkix.AlgorithmIdentifier, error) {
	b, err := asn1.Marshal(params)
	return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: b}}, err
}

// decryptPKCS8 opens what encryptPKCS8 and openssl write.
func decryptPKCS8(sealed, passphrase []byte) ([]byte, error) {
	var e encryptedKey
	if !unmarshal(sealed, &e) {
		return nil, errSealed
	}
	if !e.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, errCipher
	}
	var scheme pbes2
	if !unmarshal(e.Algorithm.Parameters.FullBytes, &scheme) {
		return nil, errSealed
	}
	size := 0
	switch oid := scheme.Cipher.Algorithm; {
	case oid.Equal(oidAES128CBC):
		size = 16
	case oid.Equal(oidAES192CBC):
		size = 24
	case oid.Equal(oidAES256CBC):
		size = 32
	default:
		return nil, errCipher
	}
	var iv []byte
	if !unmarshal(scheme.Cipher.Parameters.FullBytes, &iv) || len(iv) != aes.BlockSize {
		return nil, errSealed
	}
	key, err := derive(scheme.KDF, passphrase, size)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errSealed
	}
	if len(e.Data) == 0 || len(e.Data)%aes.BlockSize != 0 {
		return nil, errSealed
	}
	der := bytes.Clone(e.Data)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(der, der)
	pad := int(der[len(der)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(der[len(der)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) || der[0] != 0x30 {
		clear(der)
		return nil, errSealed
	}
	return der[:len(der)-pad], nil
}

// derive makes the key of the cipher from the passphrase.
func derive(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int) ([]byte, error) {
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var p pbkdf2Params
		if !unmarshal(kdf.Parameters.FullBytes, &p) || p.Rounds < 1 || p.Rounds > maxRounds || (p.Size != 0 && p.Size != size) {
			return nil, errSealed
		}
		var h func() hash.Hash
		switch oid := p.PRF.Algorithm; {
		case oid.Equal(oidHMACSHA256):
			h = sha256.New
		case oid.Equal(oidHMACSHA384):
			h = sha512.New384
		case oid.Equal(oidHMACSHA512):
			h = sha512.New
		default:
			return nil, errCipher
		}
		key, err := pbkdf2.Key(h, string(passphrase), p.Salt, p.Rounds, size)
		if err != nil {
			return nil, errSealed
		}
		return key, nil
	case kdf.Algorithm.Equal(oidScrypt):
		var p scryptParams
		if !unmarshal(kdf.Parameters.FullBytes, &p) || (p.Size != 0 && p.Size != size) {
			return nil, errSealed
		}
		return scryptKey(passphrase, p.Salt, p.N, p.R, p.P, size)
	}
	return nil, errCipher
}

func scryptKey(passphrase, salt []byte, n, r, p, size int) ([]byte, error) {
	if n < 2 || r < 1 || p < 1 || p > maxLanes || n > maxMemory/128/r {
		return nil, errSealed
	}
	key, err := scrypt.Key(passphrase, salt, n, r, p, size)
	if err != nil {
		return nil, errSealed
	}
	return key, nil
}

// unmarshal reads DER to its end.
func unmarshal(der []byte, v any) bool {
	rest, err := asn1.Unmarshal(der, v)
	return err == nil && len(rest) == 0
}

// sealed is how cosign encrypts a key: scrypt and the secret box of NaCl, in JSON.
type sigstoreKey struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

// decryptSigstore opens a key that cosign wrote.
func decryptSigstore(sealed, passphrase []byte) ([]byte, error) {
	var k sigstoreKey
	if canonjson.DecodeOpen(sealed, &k) != nil || len(k.Cipher.Nonce) != 24 {
		return nil, errSealed
	}
	if k.KDF.Name != "scrypt" || k.Cipher.Name != "nacl/secretbox" {
		return nil, errors.New("it is encrypted in a way of cosign that is not read; make one with cosign generate-key-pair")
	}
	key, err := scryptKey(passphrase, k.KDF.Salt, k.KDF.Params.N, k.KDF.Params.R, k.KDF.Params.P, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	box, nonce := [32]byte(key), [24]byte(k.Cipher.Nonce)
	defer clear(box[:])
	der, ok := secretbox.Open(nil, k.Ciphertext, &nonce, &box)
	if !ok {
		return nil, errSealed
	}
	return der, nil
}
