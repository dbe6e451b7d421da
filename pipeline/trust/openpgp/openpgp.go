// Package openpgp signs for readers who know OpenPGP alone, such as apt and dnf, with the keys that everything else is signed with. It
// writes version 4 of the format (https://www.rfc-editor.org/rfc/rfc9580) and reads nothing.
//
// What OpenPGP calls a key is a function of the key, of a time that is the same for all of them, and of a name: so whoever holds a key writes
// the same certificate every time, and the same signature of the same bytes.
package openpgp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// made is when every key was made, as OpenPGP has it: the same time for all, which no signature is before.
var made = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Key is a key of OpenPGP.
type Key struct {
	signer signature.Signer
	name   string
	public []byte // body of the packet of the public key
	algo   byte
	hash   byte
	sum    func() hash.Hash
}

// Numbers of the format: algorithms of keys and hashes, packets, kinds of signatures.
const (
	algoRSA   = 1
	algoECDSA = 19
	algoEdDSA = 22

	hashSHA256 = 8
	hashSHA512 = 10

	packetSignature = 2
	packetKey       = 6
	packetName      = 13

	ofBytes = 0x00
	ofText  = 0x01
	ofName  = 0x13
)

// Names of curves.
var (
	oidP256    = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	oidEd25519 = []byte{0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01}
)

// New is a key under a name, which people are shown. It is a key of Ed25519, of ECDSA on P-256 or of RSA: of any other the error says so.
func New(s signature.Signer, name string) (Key, error) {
	k := Key{signer: s, name: name}
	head := binary.BigEndian.AppendUint32([]byte{4}, uint32(made.Unix()))
	switch public := s.Public().Crypto().(type) {
	case ed25519.PublicKey:
		k.algo, k.hash, k.sum = algoEdDSA, hashSHA512, sha512.New
		k.public = appendNumber(curve(head, algoEdDSA, oidEd25519), append([]byte{0x40}, public...))
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return Key{}, errors.New("an ECDSA key signs for apt and dnf if it is on P-256")
		}
		point, err := public.Bytes()
		if err != nil {
			return Key{}, err
		}
		k.algo, k.hash, k.sum = algoECDSA, hashSHA256, sha256.New
		k.public = appendNumber(curve(head, algoECDSA, oidP256), point)
	case *rsa.PublicKey:
		k.algo, k.hash, k.sum = algoRSA, hashSHA256, sha256.New
		k.public = appendNumber(appendNumber(append(head, algoRSA), public.N.Bytes()), big.NewInt(int64(public.E)).Bytes())
	default:
		return Key{}, fmt.Errorf("a key of kind %s does not sign for apt and dnf: use one of Ed25519, ECDSA P-256 or RSA", s.Public().Kind())
	}
	return k, nil
}

func curve(b []byte, algo byte, oid []byte) []byte {
	return append(append(b, algo, byte(len(oid))), oid...)
}

// appendNumber writes a number, which begins with how many bits it has.
func appendNumber(b, n []byte) []byte {
	n = bytes.TrimLeft(n, "\x00")
	return append(binary.BigEndian.AppendUint16(b, uint16(new(big.Int).SetBytes(n).BitLen())), n...)
}

// Fingerprint names the key, in hexadecimal digits.
func (k Key) Fingerprint() string { return fmt.Sprintf("%X", k.fingerprint()) }

func (k Key) fingerprint() []byte {
	sum := sha1.Sum(k.framed())
	return sum[:]
}

// framed is the public key as it is hashed.
func (k Key) framed() []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0x99}, uint16(len(k.public))), k.public...)
}

// Public is the certificate of the key, for keyrings: armored, with its name and a signature that binds it.
func (k Key) Public() ([]byte, error) {
	named := binary.BigEndian.AppendUint32([]byte{0xb4}, uint32(len(k.name)))
	bound, err := k.sign(ofName, append(append(k.framed(), named...), k.name...), made)
	if err != nil {
		return nil, err
	}
	var out []byte
	out = appendPacket(out, packetKey, k.public)
	out = appendPacket(out, packetName, []byte(k.name))
	return armored("PUBLIC KEY BLOCK", append(out, bound...)), nil
}

// Detached is a signature of bytes, armored.
func (k Key) Detached(b []byte, at time.Time) ([]byte, error) {
	s, err := k.sign(ofBytes, b, at)
	if err != nil {
		return nil, err
	}
	return armored("SIGNATURE", s), nil
}

// maxLine is how many bytes of a line gpg reads in a text with its signature, or somewhat less.
const maxLine = 19_000

// Clear is a text with its signature. The text is of whole lines, which end in no blanks and have no byte of zero: others gpg reads as
// another text, which nobody has signed.
func (k Key) Clear(text []byte, at time.Time) ([]byte, error) {
	var out, signed bytes.Buffer
	fmt.Fprintf(&out, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: %s\n\n", map[byte]string{hashSHA256: "SHA256", hashSHA512: "SHA512"}[k.hash])
	lines, whole := strings.CutSuffix(string(text), "\n")
	if !whole {
		return nil, errors.New("what is signed does not end in a newline")
	}
	for i, line := range strings.Split(lines, "\n") {
		switch {
		case strings.TrimRight(line, " \t\r") != line:
			return nil, fmt.Errorf("line %d of what is signed ends in a blank", i+1)
		case strings.Contains(line, "\x00"):
			return nil, fmt.Errorf("line %d of what is signed has a zero byte", i+1)
		case len(line) > maxLine:
			return nil, fmt.Errorf("line %d of what is signed has %d bytes, and gpg reads at most %d", i+1, len(line), maxLine)
		}
		if i > 0 {
			signed.WriteString("\r\n")
		}
		signed.WriteString(line)
		if strings.HasPrefix(line, "-") {
			out.WriteString("- ")
		}
		out.WriteString(line + "\n")
	}
	s, err := k.sign(ofText, signed.Bytes(), at)
	if err != nil {
		return nil, err
	}
	out.Write(armored("SIGNATURE", s))
	return out.Bytes(), nil
}

// sign makes the packet of a signature (https://www.rfc-editor.org/rfc/rfc9580#section-5.2.3).
func (k Key) sign(kind byte, content []byte, at time.Time) ([]byte, error) {
	if at.Before(made) || at.Unix() > math.MaxUint32 {
		return nil, fmt.Errorf("what is signed is of %s, and no reader takes a signature of that time", at.UTC().Format(time.RFC3339))
	}
	print := k.fingerprint()
	parts := appendPart(nil, 2, binary.BigEndian.AppendUint32(nil, uint32(at.Unix())))
	parts = appendPart(parts, 33, append([]byte{4}, print...))
	if kind == ofName {
		parts = appendPart(parts, 27, []byte{0x03}) // it signs
	}
	body := []byte{4, kind, k.algo, k.hash}
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(parts))), parts...)
	content = append(content[:len(content):len(content)], body...)
	content = binary.BigEndian.AppendUint32(append(content, 4, 0xff), uint32(len(body)))
	sum := k.sum()
	sum.Write(content)
	digest := sum.Sum(nil)

	signed := content // of which the signer makes the same hash
	if k.algo == algoEdDSA {
		signed = digest
	}
	made, err := k.signer.Sign(signed)
	if err != nil {
		return nil, err
	}
	numbers := [][]byte{made}
	switch k.algo {
	case algoEdDSA:
		numbers = [][]byte{made[:32], made[32:]}
	case algoECDSA:
		var two struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(made, &two); err != nil {
			return nil, err
		}
		numbers = [][]byte{two.R.Bytes(), two.S.Bytes()}
	}
	hint := appendPart(nil, 16, print[len(print)-8:])
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(hint))), hint...)
	body = append(body, digest[:2]...)
	for _, n := range numbers {
		body = appendNumber(body, n)
	}
	return appendPacket(nil, packetSignature, body), nil
}

// appendPart writes a piece of what a signature says of itself.
func appendPart(b []byte, kind byte, content []byte) []byte {
	return append(append(b, byte(len(content)+1), kind), content...)
}

// appendPacket writes a packet, of which none here has 64 KiB.
func appendPacket(b []byte, kind byte, body []byte) []byte {
	b = append(b, 0xc0|kind)
	if n := len(body); n < 192 {
		b = append(b, byte(n))
	} else {
		b = append(b, byte((n-192)>>8+192), byte(n-192))
	}
	return append(b, body...)
}

// armored are packets as text (https://www.rfc-editor.org/rfc/rfc9580#section-6.2).
func armored(kind string, b []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "-----BEGIN PGP %s-----\n\n", kind)
	text := base64.StdEncoding.EncodeToString(b)
	for len(text) > 0 {
		n := min(64, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	crc := crc24(b)
	fmt.Fprintf(&out, "=%s\n-----END PGP %s-----\n", base64.StdEncoding.EncodeToString([]byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}), kind)
	return out.Bytes()
}

func crc24(b []byte) uint32 {
	crc := uint32(0xb704ce)
	for _, c := range b {
		crc ^= uint32(c) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return crc & 0xffffff
}
