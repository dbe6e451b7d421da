package archive_test

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/archive"
)

func TestLayer(t *testing.T) {
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("text")), nil }
	entries := []archive.Entry{
		{Name: "bin", Type: tar.TypeDir, Mode: 0o755},
		{Name: "bin/a", Type: tar.TypeReg, Mode: 0o4755, UID: 1, GID: 2, Size: 4, Open: open, Records: map[string]string{"SCHILY.xattr.security.capability": "\x01"}},
		{Name: "bin/b", Type: tar.TypeLink, Link: "bin/a"},
		{Name: "lib", Type: tar.TypeSymlink, Link: "usr/lib", Mode: 0o777},
	}
	at := time.Unix(1.7e9, 5)
	var b, again bytes.Buffer
	if err := archive.Layer(&b, entries, at); err != nil {
		t.Fatal(err)
	}
	if err := archive.Layer(&again, entries, at); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("twice it is not the same, %v", err)
	}
	tr := tar.NewReader(&b)
	for _, e := range entries {
		h, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSuffix(h.Name, "/") != e.Name || h.Typeflag != e.Type || h.Mode != e.Mode || h.Uid != e.UID || h.Linkname != e.Link || h.Size != e.Size || h.ModTime.Unix() != 1.7e9 {
			t.Errorf("%+v, want %+v", h, e)
		}
		if got := h.PAXRecords["SCHILY.xattr.security.capability"]; got != e.Records["SCHILY.xattr.security.capability"] {
			t.Errorf("%s has the capability %q", e.Name, got)
		}
	}
	for want, bad := range map[string][]archive.Entry{
		"no order":        {{Name: "b", Type: tar.TypeDir}, {Name: "a", Type: tar.TypeDir}},
		"no order of":     {{Name: "../a", Type: tar.TypeDir}},
		"of clean names":  {{Name: "a\x00", Type: tar.TypeDir}},
		"no file, folder": {{Name: "null", Type: tar.TypeChar}},
		"its size":        {{Name: "a", Type: tar.TypeReg, Size: 3, Open: open}},
	} {
		if err := archive.Layer(io.Discard, bad, at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := archive.Layer(io.Discard, nil, time.Unix(-1, 0)); err == nil {
		t.Error("a time before 1970 is written")
	}
}
