package deb

import (
	"bytes"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
)

// What the library might write broken is an error, and no panic.
func TestRepackBroken(t *testing.T) {
	b := packagetest.Bytes(t, Write, packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(100))))
	plain := bytes.Replace(b, []byte("data.tar.gz"), []byte("data.tar   "), 1)
	if _, err := repack(plain, time.Unix(0, 0), 1); err != nil {
		t.Fatal(err)
	}
	plain = bytes.TrimSuffix(plain, []byte("\n")) // fills up to an even size
	for n := 0; n < len(plain); n += 7 {
		if out, err := repack(plain[:n], time.Unix(0, 0), 1); err == nil {
			t.Fatalf("%d of %d bytes are taken and become %d", n, len(plain), len(out))
		}
	}
}
