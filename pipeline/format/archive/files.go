// Package archive writes tar, tar.gz and zip archives whose bytes depend on nothing but their contents and one time.
//
// An archive is a slice of files that is put in order and checked as a whole before the first byte is written. What
// a writer would otherwise take from the machine is fixed: owners are 0 and have no names, modes are 0644 or 0755,
// every entry has the same time, headers carry no more than that. The compressor is the one pinned in go.mod and not
// the standard library's, whose output changes between Go versions. There are no entries for folders and no links.
package archive

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// File is one regular file of an archive.
type File struct {
	Name string // slash-separated and relative; see artifact.CheckPath
	Exec bool   // mode 0755 instead of 0644
	Size int64  // bytes
	open func() (io.ReadCloser, error)
}

// Bytes is a file with the given contents, which the caller does not change afterwards.
func Bytes(name string, b []byte) File {
	return File{Name: name, Size: int64(len(b)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

// Disk is a regular file on disk, read when the archive is written.
func Disk(name, path string) (File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is not a regular file", path)
	}
	return File{Name: name, Size: info.Size(), open: func() (io.ReadCloser, error) { return os.Open(path) }}, nil
}

// Tree is a regular file of a tree, read when the archive is written. Links are followed as long as they stay in the
// tree. A file that its owner may execute in the tree is executable in the archive: the one bit of a mode that git
// records and no umask takes away.
func Tree(name string, root *os.Root, path string) (File, error) {
	info, err := root.Stat(path)
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("%s is not a regular file", path)
	}
	return File{Name: name, Exec: info.Mode().Perm()&0o100 != 0, Size: info.Size(), open: func() (io.ReadCloser, error) { return root.Open(path) }}, nil
}

// WithExec is the file with mode 0755.
func (f File) WithExec() File {
	f.Exec = true
	return f
}

// Open reads the file's contents.
func (f File) Open() (io.ReadCloser, error) { return f.open() }

// Mode is 0755 for what is executable, else 0644.
func (f File) Mode() os.FileMode {
	if f.Exec {
		return 0o755
	}
	return 0o644
}

// sorted returns the files in the bytewise order of their names, all names checked.
func sorted(files []File) ([]File, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	if err := artifact.CheckPaths(names); err != nil {
		return nil, err
	}
	return files, nil
}

// CopyTo writes exactly Size bytes of the file: one that shrinks or grows while it is read is an error, since its
// header is written already.
func (f File) CopyTo(w io.Writer) error {
	r, err := f.open()
	if err != nil {
		return fmt.Errorf("packing %s: %w", f.Name, err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, f.Size))
	if err != nil {
		return fmt.Errorf("packing %s: %w", f.Name, err)
	}
	if more, _ := io.ReadFull(r, make([]byte, 1)); n != f.Size || more != 0 {
		return fmt.Errorf("packing %s: its size changed while it was read", f.Name)
	}
	return nil
}

// checkTime refuses what not every header holds: times before 1970, and after 2106, where the 32 bits of zip's end.
func checkTime(t time.Time) error {
	if sec := t.Unix(); sec < 0 || sec > math.MaxUint32 {
		return fmt.Errorf("time %s is not between 1970 and 2106; archives cannot hold it", t.UTC().Format(time.RFC3339))
	}
	return nil
}
