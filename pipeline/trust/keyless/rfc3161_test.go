package keyless

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
)

func parsedRoot(t testing.TB, s *keylesstest.Sigstore) TrustedRoot {
	t.Helper()
	root, err := ParseTrustedRoot(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestStamped holds one thing after the other against a timestamp, and what is said of it.
func TestStamped(t *testing.T) {
	s, other := keylesstest.New(t), keylesstest.New(t)
	known := parsedRoot(t, s)
	s.Bend(keylesstest.Rules{Embedded: true})
	carried := parsedRoot(t, s) // without the certificate
	s.Bend(keylesstest.Rules{})
	bare := carried
	bare.stampers = nil
	late := parsedRoot(t, s)
	late.stampers[0].valid.End = time.Now().Add(-time.Minute)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("a signature")
	// with is a timestamp by another certificate of the authority, which it carries.
	with := func(edit func(*x509.Certificate)) func(*keylesstest.Stamp) {
		return func(p *keylesstest.Stamp) { p.Certificate, p.Carried = s.StampCertificate(edit), 1 }
	}
	usage := func(critical bool, others ...asn1.ObjectIdentifier) func(*keylesstest.Stamp) {
		return with(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{keylesstest.StampUsage(critical, others...)}
		})
	}
	for _, tt := range []struct {
		name string
		by   *keylesstest.Sigstore
		root TrustedRoot
		edit func(*keylesstest.Stamp)
		of   string
		says string
	}{
		{name: "certificate in the root", root: known},
		{name: "certificate in both", root: known, edit: func(p *keylesstest.Stamp) { p.Carried = 1 }},
		{name: "certificate in the timestamp", root: carried, edit: func(p *keylesstest.Stamp) { p.Carried = 1 }},
		{name: "no certificate", root: carried, says: "an authority that is not in the trusted root"},
		{name: "no authority", root: bare, edit: func(p *keylesstest.Stamp) { p.Carried = 1 }, says: "an authority that is not in the trusted root"},
		{name: "another authority", by: other, root: known, says: "signed with another certificate"},
		{name: "another authority that carries its certificate", by: other, root: carried, edit: func(p *keylesstest.Stamp) { p.Carried = 1 }, says: "does not hold at"},
		{name: "an authority of another time", root: late, says: "when its authority was not to be believed"},
		{name: "of another signature", root: known, of: "another", says: "of another signature"},
		{name: "SHA-512", root: known, edit: func(p *keylesstest.Stamp) { p.Hash, p.Imprint = keylesstest.OIDSHA512, keylesstest.SHA512(message) }},
		{name: "SHA-1", root: known, edit: func(p *keylesstest.Stamp) { p.Hash, p.Imprint = keylesstest.OIDSHA1, make([]byte, 20) }, says: "is not SHA-256"},
		{name: "a short imprint", root: known, edit: func(p *keylesstest.Stamp) { p.Imprint = p.Imprint[:4] }, says: "4 bytes instead of 32"},
		{name: "a fraction of a second", root: known, edit: func(p *keylesstest.Stamp) { p.Time = strings.Replace(p.Time, "Z", ".25Z", 1) }},
		{name: "a fraction with a zero at its end", root: known, edit: func(p *keylesstest.Stamp) { p.Time = strings.Replace(p.Time, "Z", ".50Z", 1) }, says: "is not a time in UTC"},
		{name: "a time of a zone", root: known, edit: func(p *keylesstest.Stamp) { p.Time = "20260102030405+0100" }, says: "is not a time in UTC"},
		{name: "before the certificate", root: known, edit: func(p *keylesstest.Stamp) { p.Time = "20010101000000Z" }, says: "when its authority was not to be believed"},
		{name: "an extension", root: known, edit: func(p *keylesstest.Stamp) { p.Behind = []byte{0xa1, 0} }, says: "it has extensions"},
		{name: "an accuracy", root: known, edit: func(p *keylesstest.Stamp) { p.Behind = []byte{0x30, 3, 2, 1, 1} }},
		{name: "refused by the authority", root: known, edit: func(p *keylesstest.Stamp) { p.Status = 2 }, says: "refused it (status 2)"},
		{name: "granted otherwise", root: known, edit: func(p *keylesstest.Stamp) { p.Status = 1 }},
		{name: "named by its key", root: known, edit: func(p *keylesstest.Stamp) { p.KeyID = keylesstest.StampKeyID }},
		{name: "named by another key", root: known, edit: func(p *keylesstest.Stamp) { p.KeyID = []byte{1, 2, 4} }, says: "signed with another certificate"},
		{name: "named by another number", root: known, edit: func(p *keylesstest.Stamp) { p.Serial = big.NewInt(99) }, says: "signed with another certificate"},
		{name: "naming another certificate", root: known, edit: func(p *keylesstest.Stamp) { p.Named = make([]byte, 32) }, says: "signed with another certificate"},
		{name: "naming no certificate", root: known, edit: func(p *keylesstest.Stamp) { p.Named = []byte{} }, says: "signingCertificateV2"},
		{name: "a signature over other content", root: known, edit: func(p *keylesstest.Stamp) { p.Digest = make([]byte, 32) }, says: "its signature is over other content"},
		{name: "a signature of another key", root: known, edit: func(p *keylesstest.Stamp) { p.Key = edKey }, says: "not signed by the authority that it names"},
		{name: "a way of signing that is not read", root: known, edit: func(p *keylesstest.Stamp) { p.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1} }, says: "which is not read"},
		{name: "many certificates", root: known, edit: func(p *keylesstest.Stamp) { p.Carried = 9 }, says: "more than 8 certificates"},
		{name: "huge", root: known, edit: func(p *keylesstest.Stamp) { p.Behind = bytes.Repeat([]byte{2, 1, 1}, 30_000) }, says: "more than 65536 bytes"},
		{name: "RSA", root: carried, edit: func(p *keylesstest.Stamp) {
			with(func(c *x509.Certificate) { c.PublicKey = rsaKey.Public() })(p)
			p.Key, p.Algorithm = rsaKey, oidRSA
		}},
		{name: "Ed25519", root: carried, edit: func(p *keylesstest.Stamp) {
			with(func(c *x509.Certificate) { c.PublicKey = edPublic })(p)
			p.Key, p.Algorithm = edKey, oidEd25519
		}},
		{name: "a certificate for more", root: carried, edit: usage(true, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}), says: "not one for timestamps alone"},
		{name: "a certificate for more that nobody knows", root: carried, edit: usage(true, asn1.ObjectIdentifier{1, 2, 3, 4}), says: "not one for timestamps alone"},
		{name: "a certificate whose usage is a remark", root: carried, edit: usage(false), says: "not one for timestamps alone"},
		{name: "a certificate without a usage", root: carried, edit: with(func(c *x509.Certificate) { c.ExtraExtensions = nil }), says: "not one for timestamps alone"},
		{name: "a certificate that was not valid", root: carried, edit: with(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) }), says: "does not hold at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			by := s
			if tt.by != nil {
				by = tt.by
			}
			of := message
			if tt.of != "" {
				of = []byte(tt.of)
			}
			at, err := tt.root.stamped(by.Stamp(of, tt.edit), message)
			if tt.says == "" && (err != nil || time.Since(at).Abs() > time.Minute) {
				t.Errorf("got %s, %v", at, err)
			}
			if tt.says != "" && (err == nil || !at.IsZero() || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("got %s, %v, want an error that says %q", at, err, tt.says)
			}
		})
	}
}

// TestStampedTampering changes one bit after the other: a timestamp that is still accepted says the same.
func TestStampedTampering(t *testing.T) {
	s := keylesstest.New(t)
	root := parsedRoot(t, s)
	message := []byte("a signature")
	good := s.Stamp(message, nil)
	want, err := root.stamped(good, message)
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	step := fixture.Stride(7)
	for i := 0; i < 8*len(good); i += step {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if at, err := root.stamped(b, message); err == nil {
			if accepted++; !at.Equal(want) {
				t.Errorf("bit %d: got %s, want %s", i, at, want)
			}
		}
	}
	// Versions and hints that nothing depends on can be changed; what the authority signed cannot.
	if accepted > len(good) {
		t.Errorf("%d of %d changes are accepted", accepted, 8*len(good))
	}
	for i := range good {
		if _, err := root.stamped(good[:i], message); err == nil {
			t.Errorf("%d of %d bytes are accepted", i, len(good))
		}
	}
	if _, err := root.stamped(append(slices.Clip(good), 0), message); err == nil {
		t.Error("something behind it is accepted")
	}
}

func FuzzStamped(f *testing.F) {
	s := keylesstest.New(f)
	root := parsedRoot(f, s)
	message := []byte("a signature")
	good := s.Stamp(message, func(p *keylesstest.Stamp) { p.Carried = 1 })
	want, err := root.stamped(good, message)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(s.Stamp(message, func(p *keylesstest.Stamp) { p.KeyID, p.Status, p.Behind = keylesstest.StampKeyID, 1, []byte{0x30, 0} }))
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, err := root.stamped(b, message); err == nil && at.Before(want) {
			t.Errorf("a time of its own: %s", at)
		}
	})
}

// FuzzEntry reads bodies of all kinds of entries: what is accepted is written in one way.
func FuzzEntry(f *testing.F) {
	s := keylesstest.New(f)
	token := s.Token(keylesstest.Release())
	for _, r := range []keylesstest.Rules{{}, {V2: true}, {V2: true, DSSE: true}} {
		s.Bend(r)
		f.Add(s.SignBlob(token, []byte("x")).Material.Entries[0].CanonicalizedBody)
		f.Add(s.SignStatement(token, []byte("{}")).Material.Entries[0].CanonicalizedBody)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		readable := 0
		for _, read := range []func([]byte) (said, error){readRekord, readDSSE, readRekord2, readDSSE2} {
			if _, err := read(b); err == nil {
				readable++
			}
		}
		if readable > 1 {
			t.Errorf("%q is an entry of %d kinds", b, readable)
		}
	})
}
