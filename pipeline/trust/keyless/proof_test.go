package keyless

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

func node(parts ...[]byte) []byte {
	sum := sha256.Sum256(slices.Concat(parts...))
	return sum[:]
}

// merkle is the root of a tree and the audit path of one of its leaves, as RFC 6962 defines them.
func merkle(bodies [][]byte, i int) (root []byte, path [][]byte) {
	if len(bodies) == 1 {
		return node([]byte{0}, bodies[0]), nil
	}
	k := 1
	for 2*k < len(bodies) {
		k *= 2
	}
	left, right := i, -1
	if i >= k {
		left, right = -1, i-k
	}
	l, inLeft := merkle(bodies[:k], max(left, 0))
	r, inRight := merkle(bodies[k:], max(right, 0))
	if i < k {
		return node([]byte{1}, l, r), append(inLeft, r)
	}
	return node([]byte{1}, l, r), append(inRight, l)
}

func TestInclusionRoot(t *testing.T) {
	var bodies [][]byte
	for n := 1; n <= 40; n++ {
		bodies = append(bodies, fmt.Appendf(nil, "entry %d", n))
		for i := range n {
			root, path := merkle(bodies, i)
			p := signature.InclusionProof{LogIndex: int64(i), TreeSize: int64(n), Hashes: path}
			got, err := inclusionRoot(bodies[i], p)
			if err != nil || !bytes.Equal(got, root) {
				t.Fatalf("entry %d of %d: %x, %v, want %x", i, n, got, err, root)
			}
			if got, _ := inclusionRoot([]byte("another"), p); bytes.Equal(got, root) {
				t.Fatalf("entry %d of %d: another body has the root", i, n)
			}
			for j := range path {
				other := slices.Clone(path)
				other[j] = node(path[j])
				if got, _ := inclusionRoot(bodies[i], signature.InclusionProof{LogIndex: int64(i), TreeSize: int64(n), Hashes: other}); bytes.Equal(got, root) {
					t.Fatalf("entry %d of %d: hash %d is not used", i, n, j)
				}
			}
			for _, k := range []int{i - 1, i + 1} {
				if got, err := inclusionRoot(bodies[i], signature.InclusionProof{LogIndex: int64(k), TreeSize: int64(n), Hashes: path}); err == nil && bytes.Equal(got, root) {
					t.Fatalf("entry %d of %d is also %d", i, n, k)
				}
			}
		}
	}
}

func FuzzInclusionRoot(f *testing.F) {
	f.Add(int64(1), int64(3), []byte("body"), bytes.Repeat([]byte{1}, 64))
	f.Fuzz(func(t *testing.T, index, size int64, body, hashes []byte) {
		p := signature.InclusionProof{LogIndex: index, TreeSize: size}
		for c := range slices.Chunk(hashes, 32) {
			p.Hashes = append(p.Hashes, c)
		}
		inclusionRoot(body, p)
	})
}

func testLog(t testing.TB) (*transparencyLog, *ecdsa.PrivateKey) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &transparencyLog{}
	if l.key, err = signature.NewPublicKey(k.Public()); err != nil {
		t.Fatal(err)
	}
	if l.id, err = hex.DecodeString(l.key.Fingerprint().Hex()); err != nil {
		t.Fatal(err)
	}
	l.hint = l.id[:4]
	return l, k
}

// note is text with a signature of k.
func note(t testing.TB, l *transparencyLog, k *ecdsa.PrivateKey, text string) string {
	sum := sha256.Sum256([]byte(text))
	sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return "— log.example.org " + base64.StdEncoding.EncodeToString(append(l.id[:4:4], sig...)) + "\n"
}

// readCheckpoint reads a checkpoint that the log has signed.
func readCheckpoint(l *transparencyLog, note string) (int64, []byte, error) {
	c, err := parseCheckpoint(note)
	if err == nil {
		err = l.signed(c)
	}
	return c.size, c.root, err
}

func TestCheckpoint(t *testing.T) {
	l, k := testLog(t)
	other, otherKey := testLog(t)
	root := base64.StdEncoding.EncodeToString(node())
	head := "log.example.org - 1\n7\n" + root + "\n"
	for _, tt := range []struct{ name, note, says string }{
		{"signed", head + "\n" + note(t, l, k, head), ""},
		{"more content", head + "Timestamp: 1\n\n" + note(t, l, k, head+"Timestamp: 1\n"), ""},
		{"signed by another too", head + "\n" + note(t, other, otherKey, head) + note(t, l, k, head), ""},
		{"signed by another", head + "\n" + note(t, other, otherKey, head), "has not signed it"},
		{"signed by another in its name", head + "\n" + note(t, l, otherKey, head), "has not signed it"},
		{"signed by it in the name of another", head + "\n" + note(t, other, k, head), "has not signed it"},
		{"another text", strings.Replace(head, "7", "8", 1) + "\n" + note(t, l, k, head), "has not signed it"},
		{"no signature", head + "\n", "a line is not a signature"},
		{"no blank line", head + note(t, l, k, head), "it is not a signed note"},
		{"no end", head + "\n" + strings.TrimSpace(note(t, l, k, head)), "it is not a signed note"},
		{"a line that is not a signature", head + "\n" + note(t, l, k, head) + "x\n", "a line is not a signature"},
		{"a line before that is not a signature", head + "\n" + "x\n" + note(t, l, k, head), "a line is not a signature"},
		{"a short signature", head + "\n— log.example.org AAAA\n", "a line is not a signature"},
		{"no origin", "\n7\n" + root + "\n\n" + note(t, l, k, "\n7\n"+root+"\n"), "does not have an origin"},
		{"two lines", "a\n7\n\n" + note(t, l, k, "a\n7\n"), "does not have an origin"},
		{"a size of another writing", "a\n07\n" + root + "\n\n" + note(t, l, k, "a\n07\n"+root+"\n"), "not the size of a tree"},
		{"a negative size", "a\n-7\n" + root + "\n\n" + note(t, l, k, "a\n-7\n"+root+"\n"), "not the size of a tree"},
		{"a short root", "a\n7\nAAAA\n\n" + note(t, l, k, "a\n7\nAAAA\n"), "not the root of a tree"},
		{"huge", strings.Repeat("a", 1<<20), "more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			size, got, err := readCheckpoint(l, tt.note)
			if tt.says == "" && (err != nil || size != 7 || !bytes.Equal(got, node())) {
				t.Errorf("got %d, %x, %v", size, got, err)
			}
			if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

func FuzzCheckpoint(f *testing.F) {
	l, k := testLog(f)
	head := "log.example.org - 1\n7\n" + base64.StdEncoding.EncodeToString(node()) + "\n"
	f.Add(head + "\n" + note(f, l, k, head))
	f.Fuzz(func(t *testing.T, s string) {
		if size, root, err := readCheckpoint(l, s); err == nil && (size != 7 || !bytes.Equal(root, node())) {
			t.Errorf("%q is accepted", s)
		}
	})
}

// list is a SignedCertificateTimestampList of serialized timestamps.
func list(t testing.TB, timestamps ...[]byte) []byte {
	var all []byte
	for _, b := range timestamps {
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
	}
	der, err := asn1.Marshal(append(binary.BigEndian.AppendUint16(nil, uint16(len(all))), all...))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseTimestamps(t *testing.T) {
	id := bytes.Repeat([]byte{7}, 32)
	one := slices.Concat([]byte{0}, id, []byte{0, 0, 0, 0, 0, 0, 0, 9}, []byte{0, 1, 'x'}, []byte{4, 3}, []byte{0, 2, 'a', 'b'})
	got, err := parseTimestamps(list(t, one, one))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	if g := got[1]; !bytes.Equal(g.logID, id) || g.millis != 9 || string(g.extensions) != "x" || g.hash != 4 || g.sig != 3 || string(g.signature) != "ab" {
		t.Errorf("got %+v", g)
	}
	for name, b := range map[string][]byte{
		"nothing":                    nil,
		"no timestamp":               list(t),
		"an empty one":               list(t, nil),
		"another version":            list(t, append([]byte{1}, one[1:]...)),
		"many":                       list(t, slices.Repeat([][]byte{one}, 17)...),
		"something after the list":   append(list(t, one), 0),
		"something after one":        list(t, append(bytes.Clone(one), 0)),
		"not a list in octets":       one,
		"a length that is too large": {4, 4, 0, 9, 0, 1},
	} {
		if got, err := parseTimestamps(b); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
	for i := range one {
		if got, err := parseTimestamps(list(t, one[:i])); err == nil {
			t.Errorf("%d of %d bytes: got %v", i, len(one), got)
		}
	}
}

func FuzzParseTimestamps(f *testing.F) {
	f.Add(list(f, bytes.Repeat([]byte{0}, 49)))
	f.Fuzz(func(t *testing.T, b []byte) { parseTimestamps(b) })
}

// TestWithoutTimestamps holds the removal of the extension to the certificate that never had it.
func TestWithoutTimestamps(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := pkix.Extension{Id: oidTimestamps, Value: bytes.Repeat([]byte{1}, 200)}
	create := func(extra ...pkix.Extension) []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.org"}, ExtraExtensions: extra}
		der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c.RawTBSCertificate
	}
	other := pkix.Extension{Id: oidIssuer, Value: []byte{12, 1, 'x'}}
	for _, extra := range [][]pkix.Extension{{other, with}, {with, other}} {
		got, err := withoutTimestamps(create(extra...))
		if err != nil || !bytes.Equal(got, create(other)) {
			t.Errorf("got %x, %v", got, err)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "no sequence": {2, 1, 1}, "no extensions": {0x30, 3, 2, 1, 1}, "something after": append(create(with), 0)} {
		if got, err := withoutTimestamps(b); err == nil {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), EmailAddresses: []string{"jo@example.org"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: oidIssuerV1, Value: []byte("i")}, {Id: oidTimestamps, Value: []byte{4, 0}}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCertificate(b)
		if err != nil {
			return
		}
		if c.claims.Identity == "" || c.claims.Issuer == "" || c.key.IsZero() {
			t.Errorf("got %+v", c.claims)
		}
		withoutTimestamps(c.x509.RawTBSCertificate)
	})
}
