// Package inspect opens the files of a release, each in its own format, and says what is in them.
//
// Nothing that a file says of itself is trusted. Every digest, checksum and size that a format carries is held against
// the bytes; what two readers of the format could read in two ways is refused, and so is a name or a link that leaves
// the place where the file is unpacked. What is read is bounded in bytes, entries and depth. Contents pass through and
// are not kept, so that a file of any size is opened in the memory that its compression and its list of names need.
//
// The package is small enough for the installed tool: it reads each format itself, and takes from outside of the
// standard library only the decompressors of zstd and LZMA2 and the YAML parser.
package inspect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// The formats that Open reads.
const (
	Binary    = "binary" // ELF, Mach-O or PE, made by Go
	TarGz     = "tar.gz"
	Zip       = "zip"
	Deb       = "deb"
	RPM       = "rpm"
	APK       = "apk"  // of Alpine, version 2
	Snap      = "snap" // SquashFS 4.0
	Nupkg     = "nupkg"
	Chart     = "chart"     // packaged by Helm
	CycloneDX = "cyclonedx" // JSON
	SPDX      = "spdx"      // JSON, version 2
	InToto    = "in-toto"   // a statement, bare or in a DSSE envelope
)

// readers open the formats.
var readers = map[string]func(*job) error{
	Binary: (*job).binary, TarGz: (*job).tarGz, Zip: (*job).zip, Deb: (*job).deb, RPM: (*job).rpm, APK: (*job).apk,
	Snap: (*job).snap, Nupkg: (*job).nupkg, Chart: (*job).chart,
	CycloneDX: (*job).cycloneDX, SPDX: (*job).spdx, InToto: (*job).inToto,
}

// Type is what an entry is.
type Type byte

// The types of entries. Devices, pipes and sockets have none: a file that holds one is refused.
const (
	File     Type = 'f'
	Folder   Type = 'd'
	Symlink  Type = 'l'
	HardLink Type = 'h'
)

func (t Type) String() string {
	switch t {
	case File:
		return "file"
	case Folder:
		return "folder"
	case Symlink:
		return "symbolic link"
	case HardLink:
		return "hard link"
	}
	return fmt.Sprintf("type %d", byte(t))
}

// Field is one more field of an entry's header, in the words of its format.
type Field struct{ Key, Value string }

// Entry is one entry of an archive, a package or a file system, or one subject of a statement.
type Entry struct {
	// Part of the file that has the entry, where there is more than one: control or data of a deb; signature, control
	// or data of an apk.
	Part string
	// Name is relative and clean, without ./ in front or / at the end; the root is ".".
	Name         string
	Type         Type
	Mode         fs.FileMode // with the bits of its type
	Size         int64       // bytes of a regular file, else 0
	Link         string      // as it is written, of a symbolic link; the Name of the file with the contents, of a hard link
	ModTime      time.Time   // UTC
	UID, GID     int
	Owner, Group string
	Digest       artifact.Digest // of a regular file
	// Extra is what else the entry's header says, in the order of the header. "name" is the name as it is written,
	// where it differs from Name.
	Extra []Field
}

// Facts are what a file says of itself, held against its bytes wherever the format has sums or says a thing twice.
type Facts struct {
	Format, Name, Version, Architecture string
	// Fields are the other fields of headers. The part of a key before the first dot says where it stands: control,
	// pkginfo, rpm, snap, nuspec, chart, go, gzip, ... A field with several values has them on lines of their own.
	Fields map[string]string
	// Entries are in the order of the file; of a snap in the order of its folders.
	Entries []Entry
}

// Options are the bounds of Open. Zero values are the defaults.
type Options struct {
	MaxBytes    int64 // unpacked, all together; 4 GiB
	MaxEntries  int   // with the folders that names imply; 200,000
	MaxDocument int64 // bytes of one document that is read whole; 16 MiB, and 1 MiB for YAML and XML
	// Visit, if set, is given the contents of each regular file as they pass. The entry has no digest yet. What Visit
	// does not read is read after it. An error ends Open and is returned as it is.
	Visit func(Entry, io.Reader) error
}

// Bounds that are not for a caller to choose.
const (
	maxName  = 1024     // bytes of a name or of a link
	maxDepth = 64       // folders in one another, nesting of a document
	maxText  = 1 << 20  // bytes of a document whose parsed form is many times its size: YAML and XML
	maxWords = 16 << 20 // bytes of names, links and fields that are kept
	maxDict  = 64 << 20 // bytes that a decompressor may look back
)

// job is the opening of one file.
type job struct {
	Options
	ctx     context.Context
	src     io.ReaderAt
	size    int64
	facts   Facts
	bytes   int64 // that may still be unpacked
	entries int   // that may still come
	words   int   // bytes that may still be kept
	buf     []byte
	broken  error // of the source, of the context or of the visitor: not the fault of the bytes
}

// Open reads a file of the given format to its end and says what is in it. Bytes that are not what they should be are
// an error with the code fault.Mismatch; an error of r, of the context or of Visit is returned as it is.
func Open(ctx context.Context, format string, r io.ReaderAt, size int64, o Options) (Facts, error) {
	open := readers[format]
	if open == nil {
		return Facts{}, fault.Errorf(fault.Bug, "opening a file: no format is called %.40q", format)
	}
	if size < 0 {
		return Facts{}, fault.Errorf(fault.Bug, "opening %s: a size of %d bytes", format, size)
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 30
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = 200_000
	}
	if o.MaxDocument <= 0 {
		o.MaxDocument = 16 << 20
	}
	j := &job{
		Options: o, ctx: ctx, src: r, size: size, facts: Facts{Format: format, Fields: map[string]string{}},
		bytes: o.MaxBytes, entries: o.MaxEntries, words: maxWords, buf: make([]byte, 64<<10),
	}
	err := open(j)
	if j.broken != nil {
		return Facts{}, fmt.Errorf("opening %s: %w", format, j.broken)
	}
	if err != nil {
		return Facts{}, fault.Errorf(fault.Mismatch, "opening %s: %w", format, err)
	}
	return j.facts, nil
}

var errEnds = errors.New("it ends in the middle")

// ReadAt reads from the file and remembers an error that is not the file's end.
func (j *job) ReadAt(b []byte, off int64) (int, error) {
	if err := j.ctx.Err(); err != nil {
		j.broken = err
		return 0, err
	}
	n, err := j.src.ReadAt(b, off)
	if err != nil && err != io.EOF {
		j.broken = err
	}
	return n, err
}

// bytesAt reads n bytes, which the caller has bounded.
func (j *job) bytesAt(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > j.size || n > j.size-off {
		return nil, errEnds
	}
	b := make([]byte, n)
	if got, err := j.ReadAt(b, off); int64(got) < n {
		if err == io.EOF {
			err = errEnds
		}
		return nil, err
	}
	return b, nil
}

// cursor reads a part of the file and knows where it is. A decompressor takes no byte more from it than it needs.
type cursor struct {
	*bufio.Reader
	at int64 // of the next byte, in the file
}

// from starts a cursor over n bytes at off, as far as the file has them.
func (j *job) from(off, n int64) *cursor {
	n = min(n, j.size-off)
	return &cursor{bufio.NewReaderSize(io.NewSectionReader(j, off, n), 64<<10), off}
}

func (c *cursor) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.at += int64(n)
	return n, err
}

// ReadByte is what a decompressor uses that must not read ahead.
func (c *cursor) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.at++
	}
	return b, err
}

// metered counts what is unpacked.
type metered struct {
	j *job
	r io.Reader
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if err := m.j.unpacked(int64(n)); err != nil {
		return 0, err
	}
	return n, err
}

// unpacked takes n bytes from what may be unpacked.
func (j *job) unpacked(n int64) error {
	if err := j.ctx.Err(); err != nil {
		j.broken = err
		return err
	}
	if n < 0 || n > j.bytes {
		return fmt.Errorf("it unpacks to more than %d bytes", j.MaxBytes)
	}
	j.bytes -= n
	return nil
}

// more takes n entries from what may come.
func (j *job) more(n int) error {
	if n > j.entries {
		return fmt.Errorf("it has more than %d entries", j.MaxEntries)
	}
	j.entries -= n
	return nil
}

// keep takes n bytes from what may be kept.
func (j *job) keep(n int) error {
	if n > j.words {
		return fmt.Errorf("its names and fields are longer than %d bytes", maxWords)
	}
	j.words -= n
	return nil
}

// field keeps a field that may stand only once.
func (j *job) field(key, value string) error {
	if old, ok := j.facts.Fields[key]; ok {
		return fmt.Errorf("the field %.80q stands twice, with %.80q and %.80q", key, old, value)
	}
	return j.set(key, value)
}

func (j *job) set(key, value string) error {
	if err := j.keep(len(key) + len(value) + 64); err != nil {
		return err
	}
	j.facts.Fields[key] = value
	return nil
}

func (j *job) number(key string, n int64) error { return j.field(key, strconv.FormatInt(n, 10)) }

// content reads a regular file's contents to their end: e gets its digest, w the bytes. There must be e.Size of them.
func (j *job) content(r io.Reader, e *Entry, w io.Writer) error {
	if w == nil {
		w = io.Discard
	}
	meter := artifact.NewMeter(w)
	if j.Visit != nil {
		tee := io.TeeReader(r, meter)
		if err := j.Visit(*e, tee); err != nil {
			if j.broken == nil {
				j.broken = err
			}
			return err
		}
	}
	if _, err := io.CopyBuffer(meter, readOnly{r}, j.buf); err != nil {
		return fmt.Errorf("reading %q: %w", e.Name, ends(err))
	}
	if meter.Size() != e.Size {
		return fmt.Errorf("%q has %d bytes, and its header says %d", e.Name, meter.Size(), e.Size)
	}
	e.Digest = meter.Digest()
	return nil
}

// readOnly hides a reader's other methods, so that a copy uses the buffer it is given.
type readOnly struct{ io.Reader }

// ends says in words what io says in initials.
func ends(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return errEnds
	}
	return err
}

// document is a writer that keeps what is written to it, up to a bound.
type document struct {
	b    []byte
	max  int64
	seen bool
}

func (d *document) Write(b []byte) (int, error) {
	d.seen = true
	if int64(len(d.b)+len(b)) > d.max {
		return 0, fmt.Errorf("the document is longer than %d bytes", d.max)
	}
	d.b = append(d.b, b...)
	return len(b), nil
}

// text is a document whose parsed form is many times its size.
func (j *job) text() *document { return &document{max: min(maxText, j.MaxDocument)} }

// whole reads the rest of a small stream.
func whole(r io.Reader, limit int64) ([]byte, error) {
	b, err := bounded.Read(r, limit)
	if bounded.IsTooLarge(err) {
		err = fmt.Errorf("the document has %w", err)
	}
	return b, ends(err)
}

// zeros reads to the end, where nothing but zeros may be, and counts them.
func zeros(r io.Reader, buf []byte) (int64, error) {
	var count int64
	for {
		n, err := r.Read(buf)
		for i, c := range buf[:n] {
			if c != 0 {
				return count, fmt.Errorf("%#02x stands %d bytes behind the end", c, count+int64(i))
			}
		}
		count += int64(n)
		if err == io.EOF {
			return count, nil
		}
		if err != nil {
			return count, ends(err)
		}
	}
}
