package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// Entry is one entry of a layer of an image, which unlike any other archive has folders, links and owners.
type Entry struct {
	Name     string // slash-separated and relative
	Type     byte   // tar.TypeReg, tar.TypeDir, tar.TypeSymlink or tar.TypeLink
	Link     string // target of a link; that of a tar.TypeLink is an entry before it
	Mode     int64  // permissions with setuid, setgid and sticky
	UID, GID int
	Size     int64             // of a file, in bytes
	Records  map[string]string // PAX records, such as SCHILY.xattr.security.capability
	Open     func() (io.ReadCloser, error)
}

// Layer writes the entries, in their order, as a layer (https://github.com/opencontainers/image-spec/blob/main/layer.md): every
// time t, owners by number alone. What is no file, folder or link is refused, and so are names that are not strictly ascending.
func Layer(w io.Writer, entries []Entry, t time.Time) error {
	if err := checkTime(t); err != nil {
		return err
	}
	tw, last := tar.NewWriter(w), ""
	for _, e := range entries {
		if e.Name <= last || path.Clean("/" + e.Name)[1:] != e.Name || strings.ContainsRune(e.Name+e.Link, 0) {
			return fmt.Errorf("packing %.200q behind %.200q: that is no order of clean names", e.Name, last)
		}
		last = e.Name
		h := &tar.Header{
			Typeflag: e.Type, Name: e.Name, Linkname: e.Link, Mode: e.Mode & 0o7777, Uid: e.UID, Gid: e.GID,
			ModTime: t.UTC().Truncate(time.Second), PAXRecords: e.Records,
		}
		switch e.Type {
		case tar.TypeReg:
			h.Size = e.Size
		case tar.TypeDir:
			h.Name += "/"
		case tar.TypeSymlink, tar.TypeLink:
		default:
			return fmt.Errorf("packing %.200q: it is no file, folder or link", e.Name)
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("packing %.200q: %w", e.Name, err)
		}
		if e.Type == tar.TypeReg {
			if err := (File{Name: e.Name, Size: e.Size, open: e.Open}).CopyTo(tw); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}
