package rpm

import (
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
)

// What the library might write broken is an error, and no panic.
func TestRepackBroken(t *testing.T) {
	b := packagetest.Bytes(t, Write, packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(100))))
	if _, err := repack(b, time.Unix(0, 0), nil); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if out, err := repack(b[:n], time.Unix(0, 0), nil); err == nil {
			t.Fatalf("%d of %d bytes are taken and become %d", n, len(b), len(out))
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(writeHeader([]value{texts(1000, typeString, "a"), numbers(1004, 1, 2), texts(1117, typeStringArray, "b", "c")}, regionMain))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, rest, err := readHeader(b, regionMain)
		if err != nil {
			return
		}
		if len(rest) > len(b)-16 {
			t.Errorf("%d bytes are left of %d", len(rest), len(b))
		}
		again, _, err := readHeader(writeHeader(values, regionMain), regionMain)
		if err != nil || len(again) != len(values) {
			t.Errorf("%d values became %d: %v", len(values), len(again), err)
		}
	})
}
