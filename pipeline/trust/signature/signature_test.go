package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

var update = flag.Bool("update", false, "write the golden files")

// signer signs with any key, and with RFC 6979 where the key is one of ECDSA: so its signatures can be golden.
type signer struct {
	t    testing.TB
	priv crypto.Signer
	pub  signature.PublicKey
	fail error
}

func (s signer) Public() signature.PublicKey { return s.pub }

func (s signer) Sign(message []byte) ([]byte, error) {
	if s.fail != nil {
		return nil, s.fail
	}
	h := s.pub.Hash()
	if h == 0 {
		return s.priv.Sign(nil, message, crypto.Hash(0))
	}
	w := h.New()
	w.Write(message)
	return s.priv.Sign(nil, w.Sum(nil), h)
}

func newSigner(t testing.TB, priv crypto.Signer) signer {
	t.Helper()
	pub, err := signature.NewPublicKey(priv.Public())
	if err != nil {
		t.Fatal(err)
	}
	return signer{t: t, priv: priv, pub: pub}
}

func number(t testing.TB, s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		t.Fatalf("%q is not a number", s)
	}
	return n
}

// The keys of the examples in the specifications of DSSE and of Ed25519 (RFC 8032, section 7.1, test 2).
func fixedECDSA(t testing.TB) signer {
	d := number(t, "97358161215184420915383655311931858321456579547487070936769975997791359926199").FillBytes(make([]byte, 32))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

func fixedEd25519(t testing.TB) signer {
	return newSigner(t, ed25519.NewKeyFromSeed(unhex(t, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")))
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func randomECDSA(t testing.TB, c elliptic.Curve) signer {
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newSigner(t, key)
}

var rsaKeys = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// signers are one of each kind.
func signers(t testing.TB) map[string]signer {
	key, err := rsaKeys()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]signer{
		"ECDSA P-256": fixedECDSA(t), "ECDSA P-384": randomECDSA(t, elliptic.P384()), "ECDSA P-521": randomECDSA(t, elliptic.P521()),
		"Ed25519": fixedEd25519(t), "RSA 2048": newSigner(t, key),
	}
}

// want checks that an error says it, and that it has no end where the input had none.
func want(t *testing.T, err error, says string) {
	t.Helper()
	switch {
	case says == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case says != "" && err == nil:
		t.Errorf("got no error, want one that says %q", says)
	case says != "" && !strings.Contains(err.Error(), says):
		t.Errorf("got  %v\nwant it to say %q", err, says)
	case err != nil && len(err.Error()) > 600:
		t.Errorf("an error of %d bytes: %.200s...", len(err.Error()), err)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, b)
	}
}

// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md#test-vectors
func TestEnvelopeVector(t *testing.T) {
	const payloadType, payload = "http://example.com/HelloWorld", "hello world"
	if got := string(signature.PAE(payloadType, []byte(payload))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Errorf("PAE = %q", got)
	}
	if got := string(signature.PAE("", nil)); got != "DSSEv1 0  0 " {
		t.Errorf("PAE of nothing = %q", got)
	}
	if got := string(signature.PAE("ø", []byte("a b\n"))); got != "DSSEv1 2 ø 4 a b\n" {
		t.Errorf("PAE counts characters and not bytes: %q", got)
	}
	s := fixedECDSA(t)
	pub := s.pub.Crypto().(*ecdsa.PublicKey)
	x := number(t, "46950820868899156662930047687818585632848591499744589407958293238635476079160")
	y := number(t, "5640078356564379163099075877009565129882514886557779369047442380624545832820")
	point, err := pub.Bytes()
	if err != nil || !bytes.Equal(point, append([]byte{4}, append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)...)) {
		t.Fatalf("the public key is not that of the specification: %x, %v", point, err)
	}
	// The specification has r and s after each other; the signature in a bundle is the same pair in DER.
	raw, err := base64.StdEncoding.DecodeString("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	if err != nil {
		t.Fatal(err)
	}
	e := signature.Envelope{Payload: []byte(payload), PayloadType: payloadType, Signatures: []signature.EnvelopeSignature{{Sig: der}}}
	got, err := signature.VerifyEnvelope(e, payloadType, s.pub)
	if err != nil || string(got) != payload {
		t.Errorf("VerifyEnvelope = %q, %v", got, err)
	}
	made, err := signature.SignEnvelope(s, payloadType, []byte(payload))
	if err != nil || !bytes.Equal(made.Signatures[0].Sig, der) {
		t.Errorf("SignEnvelope made %x, %v, want %x", made.Signatures, err, der)
	}
}

// https://www.rfc-editor.org/rfc/rfc8032#section-7.1
func TestEd25519Vectors(t *testing.T) {
	for _, v := range []struct{ seed, public, message, sig string }{
		{
			"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		},
		{
			"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
		{
			"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
	} {
		key, err := signature.NewPublicKey(ed25519.PublicKey(unhex(t, v.public)))
		if err != nil {
			t.Fatal(err)
		}
		message, sig := unhex(t, v.message), unhex(t, v.sig)
		want(t, key.Verify(message, sig), "")
		want(t, key.Verify(append(message, 0), sig), "was not made by key sha256:")
		// S of a signature is below the order of the group: S + L is refused, or there were two of each.
		s := new(big.Int).SetBytes(reversed(sig[32:]))
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		want(t, key.Verify(message, append(bytes.Clone(sig[:32]), reversed(s.Add(s, order).FillBytes(make([]byte, 32)))...)), "was not made by key")
		if s := newSigner(t, ed25519.NewKeyFromSeed(unhex(t, v.seed))); !s.pub.Equal(key) {
			t.Errorf("seed %s has another key", v.seed)
		}
	}
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[len(b)-1-i] = b[i]
	}
	return out
}

// Whoever has one ECDSA signature can make its twin; every other way to write one is refused.
func TestECDSAEncodings(t *testing.T) {
	s := fixedECDSA(t)
	message := []byte("content")
	sig, err := s.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &v); err != nil {
		t.Fatal(err)
	}
	order := elliptic.P256().Params().N
	encode := func(r, s *big.Int) []byte {
		b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want(t, s.pub.Verify(message, encode(v.R, new(big.Int).Sub(order, v.S))), "")
	raw := append(v.R.FillBytes(make([]byte, 32)), v.S.FillBytes(make([]byte, 32))...)
	for name, bad := range map[string][]byte{
		"nothing":             nil,
		"r and s as they are": raw,
		"a byte after it":     append(bytes.Clone(sig), 0),
		"cut off":             sig[:len(sig)-1],
		"long length":         append([]byte{0x30, 0x81, byte(len(sig) - 2)}, sig[2:]...),
		"indefinite length":   append(append([]byte{0x30, 0x80}, sig[2:]...), 0, 0),
		"negative s":          encode(v.R, new(big.Int).Neg(v.S)),
		"s above the order":   encode(v.R, new(big.Int).Add(v.S, order)),
		"r above the order":   encode(new(big.Int).Add(v.R, order), v.S),
		"r of 0":              encode(big.NewInt(0), v.S),
		"s of 0":              encode(v.R, big.NewInt(0)),
		"r and s swapped":     encode(v.S, v.R),
	} {
		if err := s.pub.Verify(message, bad); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
	}
}

func TestKeys(t *testing.T) {
	for name, s := range signers(t) {
		key, err := signature.ParsePublicKey(append([]byte("a comment\n"), s.pub.PEM()...))
		if err != nil || !key.Equal(s.pub) || key.Fingerprint() != s.pub.Fingerprint() || key.Kind() != name {
			t.Errorf("%s: read back as %s with %s, %v", name, key.Kind(), key.Fingerprint(), err)
		}
		sig, err := s.Sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		want(t, key.Verify([]byte("x"), sig), "")
		want(t, key.Verify([]byte("y"), sig), "the signature was not made by key "+string(key.Fingerprint())+" over this content")
		want(t, signature.PublicKey{}.Verify([]byte("x"), sig), "there is no public key")
		for other, o := range signers(t) {
			if other != name {
				want(t, o.pub.Verify([]byte("x"), sig), "was not made by key")
			}
		}
	}
	// openssl pkey -pubin -outform DER | sha256sum of the key of RFC 8032, test 2.
	der := append(unhex(t, "302a300506032b6570032100"), unhex(t, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")...)
	if got := fixedEd25519(t).pub; !bytes.Equal(pemBytes(t, got.PEM()), der) {
		t.Errorf("the key in DER is %x", pemBytes(t, got.PEM()))
	}
}

func pemBytes(t testing.TB, b []byte) []byte {
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatal("no PEM block")
	}
	return block.Bytes
}

func TestParsePublicKeyRefuses(t *testing.T) {
	good := fixedECDSA(t).pub.PEM()
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	pkix := func(key any) []byte {
		b, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return block("PUBLIC KEY", b)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := pemBytes(t, good)
	offCurve := bytes.Clone(der)
	offCurve[len(offCurve)-1] ^= 1
	for name, tt := range map[string]struct {
		in   []byte
		says string
	}{
		"empty":       {nil, "no PEM block"},
		"text":        {[]byte("ssh-ed25519 AAAA"), "no PEM block"},
		"private key": {block("PRIVATE KEY", der), `a block of type "PRIVATE KEY"`},
		"two keys":    {append(bytes.Clone(good), good...), "more than one PEM block"},
		"huge":        {bytes.Repeat([]byte("\n"), 1<<20), "more than 65536 bytes"},
		"truncated":   {block("PUBLIC KEY", der[:len(der)-1]), "reading public key: "},
		"longer":      {block("PUBLIC KEY", append(bytes.Clone(der), 0)), "reading public key: "},
		"off curve":   {block("PUBLIC KEY", offCurve), "reading public key: "},
		"P-224":       {pkix(p224.Public()), "a curve other than"},
		"small RSA":   {pkix(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}), "an RSA key of 1024 bits"},
		"large RSA":   {pkix(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 16383, 1), E: 65537}), "an RSA key of 16384 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := signature.ParsePublicKey(tt.in)
			want(t, err, tt.says)
			if !key.IsZero() {
				t.Error("there is a key beside the error")
			}
		})
	}
}

func TestBlob(t *testing.T) {
	content := []byte("0123  file\n")
	for name, s := range signers(t) {
		b, err := signature.SignBlob(s, content)
		if err != nil {
			t.Fatal(err)
		}
		enc, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := signature.ParseBundle(append(enc, '\n'))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want(t, signature.VerifyBlob(back, content, s.pub), "")
		want(t, signature.VerifyBlob(back, append(content, 'x'), s.pub), "the content has changed: sha256:")
		if again, err := back.Encode(); err != nil || !bytes.Equal(again, enc) {
			t.Errorf("%s: encoded again:\n got %s\nwant %s", name, again, enc)
		}
	}
	s, other := fixedECDSA(t), fixedEd25519(t)
	b, err := signature.SignBlob(s, content)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "blob.sigstore.json", append(enc, '\n'))

	edit := func(f func(*signature.Bundle)) signature.Bundle {
		var c signature.Bundle
		c, err := signature.ParseBundle(enc)
		if err != nil {
			t.Fatal(err)
		}
		f(&c)
		return c
	}
	wrong := "it was signed with key " + string(s.pub.Fingerprint()) + " and not with " + string(other.pub.Fingerprint())
	want(t, signature.VerifyBlob(b, content, other.pub), wrong)
	want(t, signature.VerifyBlob(b, content, signature.PublicKey{}), "there is no public key")
	want(t, signature.VerifyBlobBy(b, content, []signature.PublicKey{other.pub}), wrong)
	want(t, signature.VerifyBlobBy(b, content, []signature.PublicKey{other.pub, s.pub}), "")
	want(t, signature.VerifyBlobBy(b, content, nil), "no key is known that it may be signed with")
	for says, f := range map[string]func(*signature.Bundle){
		"there is no signature":                              func(b *signature.Bundle) { b.Message = nil },
		"the signature is empty":                             func(b *signature.Bundle) { b.Message.Signature = nil },
		"the signature was not made by key":                  func(b *signature.Bundle) { b.Message.Signature[9] ^= 1 },
		"was not made by key " + string(s.pub.Fingerprint()): func(b *signature.Bundle) { b.Message.Signature = b.Message.Signature[:20] },
		`the digest of the content is "SHA2_512"`:            func(b *signature.Bundle) { b.Message.Digest.Algorithm = "SHA2_512" },
		"has 31 bytes instead of 32":                         func(b *signature.Bundle) { b.Message.Digest.Digest = b.Message.Digest.Digest[:31] },
		"the content has changed":                            func(b *signature.Bundle) { b.Message.Digest.Digest[0] ^= 1 },
		"media type":                                         func(b *signature.Bundle) { b.MediaType += ";version=0.1" },
		`it was signed with key "somebody" and not with`:     func(b *signature.Bundle) { b.Material.PublicKey.Hint = "somebody" },
		"it names neither the key nor the certificate":       func(b *signature.Bundle) { b.Material.PublicKey = nil },
		"it was signed with a certificate and not with key": func(b *signature.Bundle) {
			b.Material.PublicKey, b.Material.Certificate = nil, &signature.Certificate{RawBytes: []byte{1}}
		},
		"both a key and a certificate": func(b *signature.Bundle) { b.Material.Certificate = &signature.Certificate{RawBytes: []byte{1}} },
		"a chain of certificates":      func(b *signature.Bundle) { b.Material.Chain = &signature.CertificateChain{} },
		"both a signature over a file": func(b *signature.Bundle) { b.Envelope = &signature.Envelope{} },
		"no inclusion proof":           func(b *signature.Bundle) { b.Material.Entries = []signature.LogEntry{{}} },
	} {
		want(t, signature.VerifyBlob(edit(f), content, s.pub), says)
	}
	// A key that the bundle does not name is tried, and found to be another.
	unnamed := edit(func(b *signature.Bundle) { b.Material.PublicKey.Hint = "" })
	want(t, signature.VerifyBlob(unnamed, content, s.pub), "")
	want(t, signature.VerifyBlob(unnamed, content, other.pub), "was not made by key "+string(other.pub.Fingerprint()))
	// The signature is over the content and not over what the bundle says of it.
	forged := edit(func(b *signature.Bundle) {
		o, err := signature.SignBlob(other, []byte("evil"))
		if err != nil {
			t.Fatal(err)
		}
		b.Message.Digest = o.Message.Digest
	})
	want(t, signature.VerifyBlob(forged, []byte("evil"), s.pub), "was not made by key")

	statement, err := signature.SignStatement(s, content)
	if err != nil {
		t.Fatal(err)
	}
	want(t, signature.VerifyBlob(statement, content, s.pub), "it signs an envelope and not a file")
	_, err = signature.VerifyStatement(b, s.pub)
	want(t, err, "it signs a file and not a statement")
}

func TestStatement(t *testing.T) {
	s, other := fixedECDSA(t), fixedEd25519(t)
	b, err := signature.SignStatement(s, []byte(`{"_type":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := signature.VerifyStatement(b, s.pub)
	if err != nil || string(got) != `{"_type":"x"}` {
		t.Errorf("VerifyStatement = %q, %v", got, err)
	}
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "statement.intoto.jsonl", append(enc, '\n'))
	_, err = signature.VerifyStatement(b, other.pub)
	want(t, err, "it was signed with key "+string(s.pub.Fingerprint())+" and not with "+string(other.pub.Fingerprint()))
	for says, f := range map[string]func(*signature.Envelope){
		"the envelope has no signature":               func(e *signature.Envelope) { e.Signatures = nil },
		"the envelope has 2 signatures":               func(e *signature.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) },
		"the signature is empty":                      func(e *signature.Envelope) { e.Signatures[0].Sig = nil },
		"the envelope is empty":                       func(e *signature.Envelope) { e.Payload = nil },
		"does not say what type":                      func(e *signature.Envelope) { e.PayloadType = "" },
		`the payload is of type "application/json"`:   func(e *signature.Envelope) { e.PayloadType = "application/json" },
		"the signature was not made by key":           func(e *signature.Envelope) { e.Payload = []byte("{}") },
		`the envelope names key "x" and the bundle "`: func(e *signature.Envelope) { e.Signatures[0].KeyID = "x" },
	} {
		c, err := signature.ParseBundle(enc)
		if err != nil {
			t.Fatal(err)
		}
		f(c.Envelope)
		got, err := signature.VerifyStatement(c, s.pub)
		want(t, err, says)
		if got != nil {
			t.Errorf("%s: a payload that was not signed is returned", says)
		}
	}
}

func TestSignerThatFails(t *testing.T) {
	s := fixedECDSA(t)
	s.fail = errors.New("the token is locked")
	_, err := signature.SignBlob(s, []byte("x"))
	want(t, err, "signing: the token is locked")
	s.fail, s.pub = nil, randomECDSA(t, elliptic.P256()).pub
	_, err = signature.SignBlob(s, []byte("x"))
	want(t, err, "the key's halves do not belong together")
	_, err = signature.SignStatement(s, []byte("x"))
	want(t, err, "the key's halves do not belong together")
}

func bundleJSON(t testing.TB) string {
	b, err := signature.SignBlob(fixedECDSA(t), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(enc)
}

// TestMediaTypes reads both spellings of version 0.3 and no other version.
func TestMediaTypes(t *testing.T) {
	good := bundleJSON(t)
	for media, says := range map[string]string{
		"application/vnd.dev.sigstore.bundle.v0.3+json":                         "",
		"application/vnd.dev.sigstore.bundle+json;version=0.3":                  "",
		"application/vnd.dev.sigstore.bundle+json; version=0.3":                 "media type",
		"application/vnd.dev.sigstore.bundle+json;version=0.2":                  "media type",
		"application/vnd.dev.sigstore.bundle+json":                              "media type",
		"application/vnd.dev.sigstore.bundle.v0.4+json":                         "media type",
		"application/vnd.dev.sigstore.bundle+json;version=0.3;version=0.4+json": "media type",
	} {
		b, err := signature.ParseBundle([]byte(strings.Replace(good, signature.BundleMediaType, media, 1)))
		want(t, err, says)
		if err == nil {
			// It is passed on as it is: what others signed with it would not hold otherwise.
			if again, err := b.Encode(); err != nil || !bytes.Contains(again, []byte(media)) {
				t.Errorf("%s: got %s, %v", media, again, err)
			}
		}
	}
}

func TestParseBundleRefuses(t *testing.T) {
	good := bundleJSON(t)
	media := `"mediaType":"` + signature.BundleMediaType + `"`
	for name, tt := range map[string]struct{ in, says string }{
		"empty":           {"", "unexpected EOF"},
		"truncated":       {good[:len(good)-1], "unexpected EOF"},
		"null":            {"null", `media type ""`},
		"list":            {"[]", "cannot unmarshal array"},
		"two documents":   {good + good, "something after the JSON document"},
		"same key":        {strings.Replace(good, media, media+","+media, 1), `key "mediaType" comes twice`},
		"same key deeper": {strings.Replace(good, `"algorithm":`, `"algorithm":"","algorithm":`, 1), `key "algorithm" comes twice`},
		"same, escaped":   {strings.Replace(good, media, media+`,"media\u0054ype":"x"`, 1), `key "mediaType" comes twice`},
		"letter case":     {strings.Replace(good, `"mediaType"`, `"mediatype"`, 1), `key "mediatype" has to be spelled "mediaType"`},
		"snake case":      {strings.Replace(good, `"mediaType"`, `"media_type"`, 1), `key "media_type" is unknown`},
		"unknown key":     {strings.Replace(good, media, media+`,"extra":1`, 1), `key "extra" is unknown`},
		"unknown deeper":  {strings.Replace(good, `"algorithm":`, `"salt":"","algorithm":`, 1), `key "salt" is unknown`},
		"wrong type":      {strings.Replace(good, `"SHA2_256"`, `{"a":[1]}`, 1), "cannot unmarshal object"},
		"not base64":      {strings.Replace(good, `"digest":"`, `"digest":"*`, 1), "illegal base64"},
		"deep":            {`{"dsseEnvelope":` + strings.Repeat("[", 1000), "nested more than 32 deep"},
		"huge":            {strings.Repeat(" ", 19<<20), "more than 18874368 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signature.ParseBundle([]byte(tt.in))
			want(t, err, tt.says)
		})
	}
}

// What a transparency log and a certificate authority add is read and written without a loss.
func TestKeylessMaterial(t *testing.T) {
	const doc = `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"AQI="},` +
		`"tlogEntries":[{"logIndex":"9007199254740993","logId":{"keyId":"AA=="},"kindVersion":{"kind":"dsse","version":"0.0.1"},` +
		`"integratedTime":"1767225600","inclusionPromise":{"signedEntryTimestamp":"BA=="},"inclusionProof":{"logIndex":"7","rootHash":"BQ==",` +
		`"treeSize":"8","hashes":["Bg==","Bw=="],"checkpoint":{"envelope":"log\n8\n"}},"canonicalizedBody":"e30="}],` +
		`"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]}},` +
		`"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"CQ=="}]}}`
	b, err := signature.ParseBundle([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if e := b.Material.Entries[0]; e.LogIndex != 9007199254740993 || e.IntegratedTime != 1767225600 || e.InclusionProof.TreeSize != 8 {
		t.Errorf("numbers are read as %+v", e)
	}
	if got, err := b.Encode(); err != nil || string(got) != doc {
		t.Errorf("encoded again, %v:\n got %s\nwant %s", err, got, doc)
	}
	for from, says := range map[string]string{
		`"logIndex":"7"`:     "a negative number",
		`"treeSize":"8"`:     "a negative number",
		`"rawBytes":"AQI="`:  "the certificate is empty",
		`"logIndex":"90071`:  "a negative number",
		`"integratedTime":"`: "a negative number",
	} {
		to := strings.Replace(from, `:"`, `:"-`, 1)
		if strings.Contains(from, "rawBytes") {
			to = `"rawBytes":""`
		}
		_, err := signature.ParseBundle([]byte(strings.Replace(doc, from, to, 1)))
		want(t, err, says)
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte(bundleJSON(f)))
	b, err := signature.SignStatement(fixedEd25519(f), []byte("{}"))
	if err != nil {
		f.Fatal(err)
	}
	enc, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(enc)
	f.Add([]byte(`{"mediaType":"a","mediaType":"b"}`))
	f.Add([]byte(`[[[[`))
	key := fixedECDSA(f).pub
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := signature.ParseBundle(in)
		if err != nil {
			return
		}
		enc, err := b.Encode()
		if err != nil {
			t.Fatalf("it is read and cannot be written: %v", err)
		}
		again, err := signature.ParseBundle(enc)
		if err != nil {
			t.Fatalf("it cannot be read back: %v", err)
		}
		if enc2, err := again.Encode(); err != nil || !bytes.Equal(enc, enc2) {
			t.Errorf("it changes when it is read: %s and %s", enc, enc2)
		}
		// Nobody but the holder of the key signs something else than the seed does.
		if signature.VerifyBlob(b, []byte("y"), key) == nil {
			t.Error("a forgery")
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	for _, s := range signers(f) {
		f.Add(s.pub.PEM())
	}
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		key, err := signature.ParsePublicKey(in)
		if err != nil {
			return
		}
		again, err := signature.ParsePublicKey(key.PEM())
		if err != nil || !again.Equal(key) {
			t.Errorf("read back: %v", err)
		}
		_ = key.Verify([]byte("x"), in)
	})
}
