package apk

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
)

// A file of which the digest is written already, and then other bytes, is an error.
func TestChangedMeanwhile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tool")
	before := make([]byte, 4<<20)
	if err := os.WriteFile(name, before, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := archive.Disk("usr/bin/tool", name)
	if err != nil {
		t.Fatal(err)
	}
	p := packagetest.Package(t, "1.2.3", []format.File{{File: f, Role: format.Program}})
	tree, err := payload.Tree(p, p.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		last byte
		want string
	}{{0, ""}, {1, "packing usr/bin/tool: it changed while it was read"}} {
		writes := 0
		got := ""
		err := writeData(writer(func(b []byte) (int, error) {
			if writes++; writes == 2 { // the first is the header of gzip; now the file is read for the second time
				after := append(before[:len(before)-1:len(before)-1], tt.last)
				if err := os.WriteFile(name, after, 0o600); err != nil {
					t.Error(err)
				}
			}
			return len(b), nil
		}), tree, time.Unix(0, 0))
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || writes < 2 {
			t.Errorf("a last byte %d is %q after %d writes, want %q", tt.last, got, writes, tt.want)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
