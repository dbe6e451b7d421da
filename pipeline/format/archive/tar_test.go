package archive

import (
	"archive/tar"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// fitsUSTAR agrees with the standard library's writer, which refuses a USTAR header for a name that does not fit.
func TestFitsUSTAR(t *testing.T) {
	check := func(name string) {
		t.Helper()
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Format: tar.FormatUSTAR}
		err := tar.NewWriter(io.Discard).WriteHeader(h)
		if got := fitsUSTAR(name); got != (err == nil) {
			t.Errorf("fitsUSTAR of %d bytes %q = %t, and the writer says %v", len(name), name, got, err)
		}
	}
	for _, prefix := range []int{1, 99, 100, 101, 154, 155, 156, 157} {
		for _, rest := range []int{1, 99, 100, 101} {
			check(strings.Repeat("p", prefix) + "/" + strings.Repeat("r", rest))
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		name := make([]byte, 1+r.IntN(300))
		for i := range name {
			name[i] = "abcdefgh/"[r.IntN(9)]
			if i == 0 || i == len(name)-1 || name[i-1] == '/' {
				name[i] = 'x'
			}
		}
		if r.IntN(50) == 0 {
			name = append(name, "é"...)
		}
		check(string(name))
	}
	// Long steps, where the only slashes are at the edge.
	for range 5_000 {
		b := []byte(strings.Repeat("s", 50+r.IntN(220)))
		for range r.IntN(3) {
			b[1+r.IntN(len(b)-2)] = '/'
		}
		check(strings.ReplaceAll(string(b), "//", "s/"))
	}
}
