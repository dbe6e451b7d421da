package archive

import (
	"archive/zip"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/flate"
)

// zipLevel is the one that zips were compressed with from the first release on.
const zipLevel = 5

// Zip writes the files as a zip: sorted, every time t. A zip holds local times from 1980 on in steps of two seconds, so
// t is taken in UTC, rounded down to an even second and raised to 1980
// (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.4.6).
func Zip(w io.Writer, files []File, t time.Time) error {
	if err := checkTime(t); err != nil {
		return err
	}
	files, err := sorted(files)
	if err != nil {
		return err
	}
	t = t.UTC().Truncate(2 * time.Second)
	if epoch := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); t.Before(epoch) {
		t = epoch
	}
	zw := zip.NewWriter(w)
	zw.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, zipLevel) })
	for _, f := range files {
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: t}
		h.SetMode(f.Mode())
		entry, err := zw.CreateHeader(h)
		if err != nil {
			return fmt.Errorf("packing %s: %w", f.Name, err)
		}
		if err := f.CopyTo(entry); err != nil {
			return err
		}
	}
	return zw.Close()
}
