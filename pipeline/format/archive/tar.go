package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"time"
)

// maxUSTAR is the largest size that a USTAR header holds: eleven octal digits.
const maxUSTAR = 1<<33 - 1

// Tar writes the files as a tar: sorted, owned by 0:0, every time t. Headers are USTAR, and PAX only where a name or
// a size does not fit (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html).
func Tar(w io.Writer, files []File, t time.Time) error {
	if err := checkTime(t); err != nil {
		return err
	}
	files, err := sorted(files)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     f.Name,
			Size:     f.Size,
			Mode:     int64(f.Mode()),
			ModTime:  t.UTC().Truncate(time.Second),
			Format:   tar.FormatUSTAR,
		}
		if f.Size > maxUSTAR || !fitsUSTAR(f.Name) {
			h.Format = tar.FormatPAX
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("packing %s: %w", f.Name, err)
		}
		if err := f.CopyTo(tw); err != nil {
			return err
		}
	}
	return tw.Close()
}

// fitsUSTAR reports whether a name is ASCII and can be split at a slash into a prefix of at most 155 bytes and a name
// of at most 100 (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06).
func fitsUSTAR(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
	}
	if len(name) <= 100 {
		return true
	}
	for i := min(155, len(name)-1); i > 0; i-- {
		if name[i] == '/' {
			return len(name)-i-1 <= 100
		}
	}
	return false
}

// TarGz writes the files as a gzip-compressed tar; see Tar and Gzip.
func TarGz(w io.Writer, files []File, t time.Time) error {
	gz := Gzip(w)
	if err := Tar(gz, files, t); err != nil {
		return err
	}
	return gz.Close()
}
