package archive_test

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format/archive"
)

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	s, err := archive.NewSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	for i := range 300 {
		text := []byte(strings.Repeat("0123456789"[i%10:i%10+1], i*i%5000))
		if _, err := s.Write(text); err != nil {
			t.Fatal(err)
		}
		want.Write(text)
		if i%70 == 3 {
			want.Truncate(want.Len() / 2)
			if err := s.Truncate(int64(want.Len())); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() int {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := left(); n > 0 && runtime.GOOS != "windows" {
		t.Errorf("%d files have names while the spool is written", n)
	}
	for range 2 {
		var got bytes.Buffer
		if n, err := s.WriteTo(&got); err != nil || n != int64(want.Len()) || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d bytes are copied, want %d: %v", got.Len(), want.Len(), err)
		}
	}
	full := errors.New("no space left on device")
	if _, err := s.WriteTo(failing{full}); !errors.Is(err, full) {
		t.Errorf("copying to a full disk: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := left(); n > 0 {
		t.Errorf("%d files are left", n)
	}
	if _, err := archive.NewSpool(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
