package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// Digest is the SHA-256 of some bytes in the form sha256:<64 lower-case hex digits>
// (https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests).
type Digest string

const sha256Prefix = "sha256:"

// ParseDigest reads a digest from outside. Only SHA-256 is accepted, since that is all that a release contains, and
// only in the canonical form, since a digest becomes a file name.
func ParseDigest(s string) (Digest, error) {
	d := Digest(s)
	rest, ok := strings.CutPrefix(s, sha256Prefix)
	if !ok || len(rest) != 2*sha256.Size || strings.Trim(rest, "0123456789abcdef") != "" {
		return "", fmt.Errorf("digest %.80q is not sha256:<64 lower-case hex digits>", s)
	}
	return d, nil
}

// Hex is the digest without its algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), sha256Prefix) }

// Short is enough of the digest for a person to tell it from its neighbours.
func (d Digest) Short() string { return d.Hex()[:min(12, len(d.Hex()))] }

// UnmarshalText reads a digest; see ParseDigest.
func (d *Digest) UnmarshalText(b []byte) error {
	parsed, err := ParseDigest(string(b))
	if err == nil {
		*d = parsed
	}
	return err
}

// Sum is the digest of b.
func Sum(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(sha256Prefix + hex.EncodeToString(sum[:]))
}

// SumFile is the digest and the size in bytes of the file.
func SumFile(name string) (Digest, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	m := NewMeter(io.Discard)
	if _, err := io.Copy(m, f); err != nil {
		return "", 0, fmt.Errorf("hashing %s: %w", name, err)
	}
	return m.Digest(), m.Size(), nil
}

// Meter is a writer that hashes and counts what passes through it.
type Meter struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

// NewMeter returns a Meter in front of w.
func NewMeter(w io.Writer) *Meter { return &Meter{w: w, hash: sha256.New()} }

// Write passes b on, then counts what arrived.
func (m *Meter) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	m.hash.Write(b[:n])
	m.size += int64(n)
	return n, err
}

// Digest is the digest of all bytes written so far.
func (m *Meter) Digest() Digest { return Digest(sha256Prefix + hex.EncodeToString(m.hash.Sum(nil))) }

// Size is the number of bytes written so far.
func (m *Meter) Size() int64 { return m.size }
