package artifact_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// The SHA-256 of nothing and of "abc", from FIPS 180-2, appendix B.1.
const (
	emptyHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	abcHex   = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)

func TestParseDigest(t *testing.T) {
	d, err := artifact.ParseDigest("sha256:" + abcHex)
	if err != nil || d != artifact.Sum([]byte("abc")) || d.Hex() != abcHex || d.Short() != abcHex[:12] {
		t.Errorf("ParseDigest = %s, %v with hex %s and short form %s", d, err, d.Hex(), d.Short())
	}
	for _, s := range []string{
		"", "sha256:", abcHex, "sha256:" + abcHex[1:], "sha256:" + abcHex + "0", "sha256:" + strings.ToUpper(abcHex),
		"SHA256:" + abcHex, "sha512:" + abcHex, "sha256:" + abcHex[:63] + "g", "sha256:../" + abcHex[3:], " sha256:" + abcHex,
		"sha256:" + abcHex + "\n", strings.Repeat("x", 1<<20),
	} {
		if d, err := artifact.ParseDigest(s); err == nil || d != "" {
			t.Errorf("ParseDigest(%.80q) = %q, %v, want an error", s, d, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("ParseDigest(%.80q): the error has %d bytes", s, len(err.Error()))
		}
	}
	var v struct{ D artifact.Digest }
	if err := json.Unmarshal([]byte(`{"D":"sha256:../x"}`), &v); err == nil || v.D != "" {
		t.Errorf("a digest from JSON is %q, %v, want an error", v.D, err)
	}
	if short := artifact.Digest("").Short(); short != "" {
		t.Errorf("the short form of no digest is %q", short)
	}
}

func TestSums(t *testing.T) {
	name := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(name, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, size, err := artifact.SumFile(name)
	if err != nil || d.Hex() != abcHex || size != 3 {
		t.Errorf("SumFile = %s, %d, %v", d, size, err)
	}
	if _, _, err := artifact.SumFile(name + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("SumFile of nothing: %v", err)
	}
	if _, _, err := artifact.SumFile(filepath.Dir(name)); err == nil {
		t.Error("SumFile of a folder gives no error")
	}
	if d := artifact.Sum(nil); d.Hex() != emptyHex {
		t.Errorf("Sum(nil) = %s", d)
	}

	var b bytes.Buffer
	m := artifact.NewMeter(&b)
	if m.Digest().Hex() != emptyHex || m.Size() != 0 {
		t.Errorf("an unused meter has %s, %d", m.Digest(), m.Size())
	}
	for _, s := range []string{"a", "", "bc"} {
		if _, err := io.WriteString(m, s); err != nil {
			t.Fatal(err)
		}
	}
	if m.Digest().Hex() != abcHex || m.Size() != 3 || b.String() != "abc" {
		t.Errorf("the meter has %s, %d and passed on %q", m.Digest(), m.Size(), b.String())
	}
}

// What did not arrive is not counted.
func TestMeterCountsWhatArrived(t *testing.T) {
	full := errors.New("disk full")
	m := artifact.NewMeter(writerFunc(func([]byte) (int, error) { return 3, full }))
	if n, err := m.Write([]byte("abcdef")); n != 3 || !errors.Is(err, full) {
		t.Errorf("Write = %d, %v", n, err)
	}
	if m.Digest().Hex() != abcHex || m.Size() != 3 {
		t.Errorf("the meter has %s, %d", m.Digest(), m.Size())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + abcHex)
	f.Add("sha256:" + strings.ToUpper(abcHex))
	f.Add("sha512:" + abcHex)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := artifact.ParseDigest(s)
		if err != nil {
			return
		}
		if string(d) != s || len(d.Hex()) != 64 || artifact.CheckPath(d.Hex()) != nil {
			t.Errorf("%q reads as %q", s, d)
		}
	})
}
