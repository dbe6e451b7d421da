package cli_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/ulikunitz/xz"
)

// absent WORD... -- FILE|DIR... fails if one of the words is in one of the files, also in what is compressed in them:
// gzip, zip, zstd and SquashFS blocks are looked into.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	i := slices.Index(args, "--")
	if i < 1 || i == len(args)-1 {
		ts.Fatalf("usage: absent word... -- file...")
	}
	words, files := args[:i], 0
	found := false
	for _, top := range args[i+1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(top), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			files++
			for _, word := range words {
				if where, ok := within(b, []byte(word), 0); ok {
					ts.Logf("%s is in %s%s", word, name, where)
					found = true
				}
			}
			return nil
		}))
	}
	if files == 0 || found != neg {
		ts.Fatalf("%d files were searched, found: %v", files, found)
	}
}

// within looks for a word in b and in what can be unpacked at any place of it, a few levels deep.
func within(b, word []byte, depth int) (string, bool) {
	if bytes.Contains(b, word) {
		return "", true
	}
	if depth > 4 {
		return "", false
	}
	for _, format := range []struct {
		magic string
		open  func(io.Reader) (io.Reader, error)
	}{
		{"\x1f\x8b\x08", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		{"\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }},
		{"\xfd7zXZ\x00", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) }},
		{"PK\x03\x04", func(r io.Reader) (io.Reader, error) {
			header := make([]byte, 30)
			if _, err := io.ReadFull(r, header); err != nil || header[8] != 8 {
				return nil, errors.New("not deflated")
			}
			skip := int64(header[26]) + int64(header[27])<<8 + int64(header[28]) + int64(header[29])<<8
			if _, err := io.CopyN(io.Discard, r, skip); err != nil {
				return nil, err
			}
			return flate.NewReader(r), nil
		}},
	} {
		for at := 0; ; at++ {
			next := bytes.Index(b[at:], []byte(format.magic))
			if next < 0 {
				break
			}
			at += next
			r, err := format.open(bytes.NewReader(b[at:]))
			if err != nil {
				continue
			}
			inner, _ := io.ReadAll(io.LimitReader(r, 64<<20)) // what can be read is what matters
			if len(inner) > 0 {
				if where, ok := within(inner, word, depth+1); ok {
					return fmt.Sprintf(", unpacked at %d%s", at, where), true
				}
			}
		}
	}
	return "", false
}

// What absent does not find must not be there: a word in each kind of packing.
func TestWithin(t *testing.T) {
	word := []byte("canary-7f3a")
	packed := func(open func(io.Writer) (io.WriteCloser, error), content []byte) []byte {
		var b bytes.Buffer
		b.WriteString("something before")
		w, err := open(&b)
		if err == nil {
			_, err = w.Write(content)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		b.WriteString("and behind")
		return b.Bytes()
	}
	gz := func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }
	zs := func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }
	xzs := func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }
	long := append(bytes.Repeat([]byte("text "), 1000), word...)
	var zipped bytes.Buffer
	zw := zip.NewWriter(&zipped)
	w, err := zw.Create("folder/file")
	if err == nil {
		_, err = w.Write(long)
	}
	if err := errors.Join(err, zw.Close()); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"plain": long, "gzip": packed(gz, long), "zstd": packed(zs, long), "xz": packed(xzs, long), "zip": zipped.Bytes(),
		"gzip in zstd": packed(zs, packed(gz, long)),
	} {
		if _, ok := within(b, word, 0); !ok {
			t.Errorf("%s: not found", name)
		}
		if where, ok := within(b, []byte("another word"), 0); ok {
			t.Errorf("%s: found what is not there%s", name, where)
		}
	}
}
