// Package compare explains how two artifacts differ, to the innermost place where it can be seen.
//
// Two files that should be the same and are not have one cause and many consequences: a byte in a program changes the
// digest, the list of sums, the size of the archive and every byte behind it. What is told is the cause. An outer
// difference that follows from an inner one is left out; it is told where nothing inside differs.
//
// What is compared comes from outside. It is opened by package inspect, within its bounds, and what is quoted of it is
// escaped and cut. Where inspect refuses bytes, that is a difference, and bytes are compared with bytes.
package compare

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Formats that Files knows besides those of package inspect.
const (
	JSON = "json"
	YAML = "yaml"
	Text = "text"
)

// Formats that only their first bytes tell: a tar however compressed, as layers of images are, and one compressed file.
// What is unknown is compared as bytes.
const (
	layer   = "tar"
	packed  = "gz"
	unknown = "bytes"
)

// Difference is one thing that is not the same in two artifacts, at the innermost place where it can be seen.
type Difference struct {
	Where []string `json:"where,omitempty"` // from the outside in: "linux/arm64", "layer 2", "usr/local/bin/slipway"; empty for the artifact itself
	What  string   `json:"what"`            // "bytes 0x3f0 to 0x3f7 differ", "mode 0644 instead of 0755", "only in the published"
}

func (d Difference) String() string {
	if len(d.Where) == 0 {
		return d.What
	}
	return strings.Join(d.Where, ", ") + ": " + d.What
}

// Source is one of the two.
type Source struct {
	io.ReaderAt
	Size int64
}

// Options are the bounds of what is told.
type Options struct {
	Max int // differences that are listed, 0 is 20; one more says how many were left out
}

// Blobs finds contents by digest. A blob that is not there is an error that is fs.ErrNotExist.
type Blobs interface {
	Open(d artifact.Digest) (Source, func() error, error)
}

// Bounds on what is held and quoted.
const (
	maxInner    = 64 << 20  // bytes of an inner file that is looked into; of a larger one the bytes are compared
	maxHeld     = 256 << 20 // bytes of all inner files that are held at once
	maxTogether = 64 << 20  // bytes of the entries of one archive that are read together
	maxDocument = 16 << 20  // bytes of a JSON document, whose parsed form is many times its size
	maxYAML     = 1 << 20   // as inspect has it
	maxDepth    = 8         // files in one another
	maxQuote    = 80        // bytes of a text that is quoted
	maxName     = 200       // bytes of a name
)

// FormatOf names the format for Files by the ending of the file's name, else "". Charts have the ending of other archives,
// so a chart is also known by the folder charts.
func FormatOf(name string) string {
	lower := strings.ToLower(name)
	for _, f := range format.All {
		if archives(f.Name) && strings.HasSuffix(lower, f.Ending) {
			return f.Name
		}
	}
	for _, e := range []struct{ ending, format string }{
		{".tar.gz", inspect.TarGz},
		{".zip", inspect.Zip},
		{".cdx.json", inspect.CycloneDX},
		{".spdx.json", inspect.SPDX},
		{".provenance.json", inspect.InToto},
		{".intoto.json", inspect.InToto},
		{".json", JSON},
		{".yaml", YAML},
		{".yml", YAML},
		{".exe", inspect.Binary},
		{".md", Text},
		{".txt", Text},
		{".rb", Text},
		{".sh", Text},
		{".ps1", Text},
		{".nuspec", Text},
		{".xml", Text},
		{".html", Text},
		{".tpl", Text},
		{".lock", YAML},
	} {
		if strings.HasSuffix(lower, e.ending) && (e.ending != ".lock" || path.Base(name) == "Chart.lock") {
			return e.format
		}
	}
	if strings.HasSuffix(lower, ".tgz") {
		if path.Base(path.Dir(name)) == "charts" {
			return inspect.Chart
		}
		return inspect.TarGz
	}
	if path.Base(name) == "SHA256SUMS" {
		return Text
	}
	return ""
}

// Files explains how published differs from rebuilt, both of the format (constants of inspect, plus JSON, YAML, Text, ""
// for unknown). Equal bytes give no difference. Bytes that are not of the format are compared as bytes, and a Difference
// says that one of them (which) cannot be opened and why. The error is one of reading or of ctx only.
func Files(ctx context.Context, format string, published, rebuilt Source, o Options) ([]Difference, error) {
	c := start(ctx, o)
	err := c.files(file{format: format, strict: format != ""}, c.guard("published", published), c.guard("rebuilt", rebuilt))
	return c.end(err)
}

// comparer collects differences.
type comparer struct {
	ctx    context.Context
	max    int
	list   []Difference
	n      int   // that were found, listed or not
	gz     int   // of them in headers of gzip
	held   int64 // bytes of inner files in memory
	broken atomic.Pointer[error]
}

func start(ctx context.Context, o Options) *comparer {
	if o.Max <= 0 {
		o.Max = 20
	}
	return &comparer{ctx: ctx, max: o.Max}
}

func (c *comparer) end(err error) ([]Difference, error) {
	if broken := c.fatal(); broken != nil {
		err = broken
	}
	if err != nil {
		err = fmt.Errorf("comparing: %w", err)
		if c.ctx.Err() == nil {
			err = fault.Or(err, fault.Transient) // what was there can be read again
		}
		return nil, err
	}
	switch left := c.n - len(c.list); left {
	case 0:
	case 1:
		c.list = append(c.list, Difference{What: "1 more difference is not listed"})
	default:
		c.list = append(c.list, Difference{What: comma(int64(left)) + " more differences are not listed"})
	}
	return c.list, nil
}

// add keeps a difference, as long as there is room.
func (c *comparer) add(where []string, format string, args ...any) {
	if c.n++; c.full() {
		return
	}
	c.list = append(c.list, Difference{where, fmt.Sprintf(format, args...)})
}

// full reports whether nothing more is listed, so that nothing more needs to be looked into.
func (c *comparer) full() bool { return len(c.list) >= c.max }

// in is a place in another one.
func in(where []string, names ...string) []string {
	out := append(make([]string, 0, len(where)+len(names)), where...)
	for _, n := range names {
		if n != "" {
			out = append(out, plain(n))
		}
	}
	return out
}

// guarded reads one of the two and remembers an error that is not the file's end: that is never a difference.
type guarded struct {
	c    *comparer
	name string
	src  Source
}

func (c *comparer) guard(name string, s Source) Source { return Source{guarded{c, name, s}, s.Size} }

func (g guarded) ReadAt(b []byte, off int64) (int, error) {
	if err := g.c.ctx.Err(); err != nil {
		g.c.broken.CompareAndSwap(nil, &err)
		return 0, err
	}
	n, err := g.src.ReadAt(b, off)
	if err == io.EOF && off+int64(n) < g.src.Size && n < len(b) {
		err = io.ErrUnexpectedEOF // it became shorter
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("reading the %s: %w", g.name, err)
		g.c.broken.CompareAndSwap(nil, &err)
	}
	return n, err
}

// fatal is the error that ends all.
func (c *comparer) fatal() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if err := c.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// memory is an inner file that is held.
func memory(b []byte) Source { return Source{bytes.NewReader(b), int64(len(b))} }

// file is what is known of two files that are compared.
type file struct {
	where  []string
	name   string // of an inner file
	format string // or ""
	strict bool   // the format was promised: that both are not of it has to be told
	depth  int
}

// files finds at least one difference of two files that are not the same.
func (c *comparer) files(f file, a, b Source) error {
	s, err := c.span(a, b)
	if err != nil || s.same() {
		return err
	}
	before := c.n
	if f.format == "" {
		f.format = c.sniff(a, b)
	}
	switch f.format {
	case inspect.Binary:
		err = c.binary(f, a, b, s)
	case packed:
		err = c.gzip(f, a, b)
	case JSON, inspect.CycloneDX, inspect.SPDX, inspect.InToto:
		err = c.documents(f, a, b, s, parseJSON, maxDocument)
	case YAML:
		err = c.documents(f, a, b, s, parseYAML, maxYAML)
	case Text:
		err = c.text(f, a, b, s)
	default:
		if archives(f.format) {
			err = c.archive(f, a, b, s)
		}
	}
	if fatal := c.fatal(); fatal != nil {
		return fatal
	}
	if err == nil && c.n == before {
		c.bytes(f.where, s)
	}
	return err
}

// both reads two files whole, if they are small enough. What is done with them is done in use.
func (c *comparer) both(a, b Source, limit int64, use func(a, b []byte) error) (bool, error) {
	if a.Size > limit || b.Size > limit || c.held+a.Size+b.Size > maxHeld {
		return false, nil
	}
	c.held += a.Size + b.Size
	defer func() { c.held -= a.Size + b.Size }()
	var read [2][]byte
	for i, s := range []Source{a, b} {
		var err error
		if read[i], err = io.ReadAll(io.NewSectionReader(s, 0, s.Size)); err != nil {
			return false, err
		}
	}
	return true, use(read[0], read[1])
}

// sniff tells by the first bytes what two files are, if both are the same.
func (c *comparer) sniff(a, b Source) string {
	one, two := c.kind(a), c.kind(b)
	if one == two {
		return one
	}
	if (one == JSON || one == Text) && (two == JSON || two == Text) {
		return Text
	}
	return ""
}

func (c *comparer) kind(s Source) string {
	head := make([]byte, min(4096, s.Size))
	n, _ := io.ReadFull(io.NewSectionReader(s, 0, s.Size), head) // an error is remembered by the source
	head = head[:n]
	starts := func(magics ...string) bool {
		for _, m := range magics {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return false
	}
	for name, r := range table {
		if r.magic != "" && starts(r.magic) {
			return name
		}
	}
	tarred := func(b []byte) bool { return len(b) > 262 && string(b[257:262]) == "ustar" }
	switch {
	case starts("\x7fELF", "\xcf\xfa\xed\xfe"), starts("MZ") && n > 64:
		return inspect.Binary
	case tarred(head):
		return layer
	case starts("\x1f\x8b", "\x28\xb5\x2f\xfd"):
		r, done, err := unpack(c.ctx, io.NewSectionReader(s, 0, s.Size))
		if err != nil {
			return ""
		}
		defer done()
		block := make([]byte, 512)
		if n, _ := io.ReadFull(r, block); tarred(block[:n]) {
			return layer
		}
		if starts("\x1f\x8b") {
			return packed
		}
		return ""
	case !printable(head, int64(n) < s.Size):
		return ""
	case strings.IndexByte("{[", (string(bytes.TrimSpace(head)) + " ")[0]) >= 0:
		return JSON
	}
	return Text
}

// printable reports whether b is text: UTF-8 without NUL. Where more follows, the last character may be cut.
func printable(b []byte, more bool) bool {
	for i := 0; more && i < utf8.UTFMax-1 && len(b) > 0 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1]
	}
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// unopened says that one of the two, or both, are not what they should be.
func (c *comparer) unopened(f file, a, b error) {
	why := func(err error) string { return short(strings.TrimPrefix(err.Error(), "opening "+f.format+": ")) }
	switch {
	case a != nil && b == nil:
		c.add(f.where, "the published cannot be opened as %s: %s", f.format, why(a))
	case a == nil && b != nil:
		c.add(f.where, "the rebuilt cannot be opened as %s: %s", f.format, why(b))
	case a != nil && f.strict && a.Error() == b.Error():
		c.add(f.where, "neither can be opened as %s: %s", f.format, why(a))
	case a != nil && f.strict:
		c.add(f.where, "neither can be opened as %s: %s; and the rebuilt: %s", f.format, why(a), why(b))
	}
}

// span is where the bytes of two files are not the same.
type span struct {
	a, b        int64 // sizes
	first, last int64 // places that differ, within the smaller one
	count       int64
	one, two    byte   // what stands at first
	tail        []byte // the first bytes that only the larger one has
	zeros       bool   // whether all of those are zeros
}

func (s span) same() bool { return s.count == 0 && s.a == s.b }

// prefix reports whether one is the beginning of the other.
func (s span) prefix() bool { return s.count == 0 && s.a != s.b }

func (c *comparer) span(a, b Source) (span, error) {
	return c.spans(io.NewSectionReader(a, 0, a.Size), io.NewSectionReader(b, 0, b.Size))
}

// spans reads two streams to their ends, side by side.
func (c *comparer) spans(a, b io.Reader) (span, error) {
	const size = 256 << 10
	ra, rb := bufio.NewReaderSize(a, size), bufio.NewReaderSize(b, size)
	var s span
	for {
		if err := c.fatal(); err != nil {
			return s, err
		}
		x, errA := ra.Peek(size)
		y, errB := rb.Peek(size)
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF {
				return s, err
			}
		}
		n := min(len(x), len(y))
		if n == 0 {
			rest := append(x[:len(x):len(x)], y...)
			s.tail = bytes.Clone(rest[:min(len(rest), maxQuote+1)])
			z := zeros(true)
			na, err := io.Copy(&z, ra)
			nb, errB := io.Copy(&z, rb)
			s.a, s.b, s.zeros = s.a+na, s.b+nb, bool(z)
			return s, errors.Join(err, errB)
		}
		if !bytes.Equal(x[:n], y[:n]) {
			for i := range n {
				if x[i] == y[i] {
					continue
				}
				if s.count == 0 {
					s.first, s.one, s.two = s.a+int64(i), x[i], y[i]
				}
				s.last = s.a + int64(i)
				s.count++
			}
		}
		s.a, s.b = s.a+int64(n), s.b+int64(n)
		for _, r := range []*bufio.Reader{ra, rb} {
			if _, err := r.Discard(n); err != nil {
				return s, err
			}
		}
	}
}

// zeros reports whether all that was written to it are zeros.
type zeros bool

func (z *zeros) Write(b []byte) (int, error) {
	*z = *z && zeros(bytes.Count(b, []byte{0}) == len(b))
	return len(b), nil
}

// String says which bytes differ.
func (s span) String() string {
	end := func(n, from int64, which string) string {
		if s.zeros {
			return fmt.Sprintf("%s after the end only in the %s, from %#x", count(n, "zero"), which, from)
		}
		return fmt.Sprintf("%s after the end only in the %s, from %#x: %s", count(n, "byte"), which, from, quote(string(s.tail)))
	}
	switch more := s.a - s.b; {
	case s.prefix() && more > 0:
		return end(more, s.b, "published")
	case s.prefix():
		return end(-more, s.a, "rebuilt")
	case more != 0:
		return fmt.Sprintf("%s instead of %s; they differ from byte %#x", count(s.a, "byte"), comma(s.b), s.first)
	case s.count == 1:
		return fmt.Sprintf("byte %#x is %#02x instead of %#02x (1 of %s)", s.first, s.one, s.two, comma(s.a))
	}
	return fmt.Sprintf("bytes %#x to %#x differ (%s of %s)", s.first, s.last, comma(s.count), comma(s.a))
}

func (c *comparer) bytes(where []string, s span) { c.add(where, "%s", s) }

// comma writes a number with commas between its thousands.
func comma(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return comma(n) + " " + what + "s"
}

// plain is a name as it is, or quoted where it has more than can be printed, and cut.
func plain(s string) string {
	if len(s) <= maxName {
		if q := strconv.Quote(s); q[1:len(q)-1] == s {
			return s
		}
	}
	return cut(s, maxName)
}

// quote quotes the beginning of a text.
func quote(s string) string { return cut(s, maxQuote) }

func cut(s string, n int) string {
	if len(s) <= n {
		return strconv.Quote(s)
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strconv.Quote(s[:n]) + "..."
}

// short is the text of an error on one line, cut. What it quotes of a file was escaped when the error was made.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 2*maxName {
		s = strings.ToValidUTF8(s[:2*maxName], "") + "..."
	}
	return s
}

// instead is "A instead of B". Of long texts it shows the place where they begin to differ.
func instead(a, b string) string {
	if len(a) <= maxQuote && len(b) <= maxQuote {
		return quote(a) + " instead of " + quote(b)
	}
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-maxQuote/4)
	for from > 0 && !utf8.RuneStart(a[from]) {
		from--
	}
	dots := ""
	if from > 0 {
		dots = "..."
	}
	return dots + quote(a[from:]) + " instead of " + dots + quote(b[min(from, len(b)):])
}
