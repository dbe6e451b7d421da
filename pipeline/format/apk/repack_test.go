package apk

import (
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
)

// What the library might write broken is an error, and no panic.
func TestRepackBroken(t *testing.T) {
	b := packagetest.Bytes(t, Write, packagetest.Package(t, "1.2.3", packagetest.Files(packagetest.Program(100))))
	if _, err := repack(b, time.Unix(0, 0), "tool"); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if out, err := repack(b[:n], time.Unix(0, 0), "tool"); err == nil {
			t.Fatalf("%d of %d bytes are taken and become %d", n, len(b), len(out))
		}
	}
}
