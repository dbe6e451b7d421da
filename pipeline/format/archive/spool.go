package archive

import (
	"bufio"
	"errors"
	"io"
	"os"
)

// spoolBuffer makes one call of the system of many small writes, of which compressors make hundreds for each block.
const spoolBuffer = 64 << 10

// Spool keeps what is to be written behind something that depends on it, such as data behind a header that has its size and
// its digest. It is written first and copied afterwards. It is kept on disk, so that a package of any size takes little memory;
// its file has no name where the system permits that, so that a process that is killed leaves nothing behind.
type Spool struct {
	file   *os.File
	buffer *bufio.Writer
	named  bool // Close has to remove it
}

// NewSpool begins a spool in the folder dir; "" is the system's folder for temporary files, which may be in memory.
func NewSpool(dir string) (*Spool, error) {
	f, err := os.CreateTemp(dir, "spool-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name()) // Windows refuses this while the file is open
	return &Spool{file: f, buffer: bufio.NewWriterSize(f, spoolBuffer), named: err != nil}, nil
}

// Write appends b.
func (s *Spool) Write(b []byte) (int, error) { return s.buffer.Write(b) }

// Truncate drops what is behind the first size bytes; the next write goes there.
func (s *Spool) Truncate(size int64) error {
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	if err := s.file.Truncate(size); err != nil {
		return err
	}
	_, err := s.file.Seek(size, io.SeekStart)
	return err
}

// WriteTo writes everything to w, and nothing may be written to the spool after it.
func (s *Spool) WriteTo(w io.Writer) (int64, error) {
	if err := s.buffer.Flush(); err != nil {
		return 0, err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(w, s.file)
}

// Close frees what the spool takes on disk.
func (s *Spool) Close() error {
	err := s.file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	return err
}
