package compare

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
)

// opened is an archive, a package or a file system of which all headers are known.
type opened struct {
	inspect.Facts
	walk func(visit func(inspect.Entry, io.Reader) error) error
}

// open reads all headers of an archive. A layer may have what package inspect refuses, because it is not a file of a release.
func (c *comparer) open(format string, s Source) (opened, error) {
	run := func(visit func(inspect.Entry, io.Reader) error) (inspect.Facts, error) {
		if format == layer {
			facts, err := walkTar(c.ctx, io.NewSectionReader(s, 0, s.Size), visit)
			if _, ok := facts.Fields["gzip.os"]; ok {
				facts.Fields["gzip.flags"] = gzipFlags(s)
			}
			return facts, err
		}
		return inspect.Open(c.ctx, format, s, s.Size, inspect.Options{Visit: visit})
	}
	facts, err := run(nil)
	return opened{facts, func(visit func(inspect.Entry, io.Reader) error) error {
		_, err := run(visit)
		return err
	}}, err
}

func (c *comparer) archive(f file, a, b Source, s span) error {
	x, errA := c.open(f.format, a)
	y, errB := c.open(f.format, b)
	if err := c.fatal(); err != nil {
		return err
	}
	if errA == nil && errB == nil {
		return c.opened(f, x, y, a, b)
	}
	// What stands behind the end is why the longer one cannot be opened.
	if s.prefix() && (s.a > s.b && errB == nil || s.b > s.a && errA == nil) {
		c.bytes(f.where, s)
		return nil
	}
	c.unopened(f, errA, errB)
	if f.format == inspect.TarGz || f.format == inspect.Chart {
		f.format = layer
		x, errA = c.open(layer, a)
		y, errB = c.open(layer, b)
		if err := c.fatal(); err != nil {
			return err
		}
		if errA == nil && errB == nil {
			return c.opened(f, x, y, a, b)
		}
	}
	c.bytes(f.where, s)
	return nil
}

// pair are the entries that two archives have under one name, or under two names with the same contents.
type pair struct{ a, b inspect.Entry }

// place is where an entry is, in the part of the package that has it.
func place(where []string, e inspect.Entry) []string { return in(where, e.Part, e.Name) }

func key(e inspect.Entry) string { return e.Part + "\x00" + e.Name }

// opened compares two archives: what is in them, in which order, with which headers and which contents.
func (c *comparer) opened(f file, x, y opened, a, b Source) error {
	before, gz := c.n, c.gz
	pairs, structure := c.structure(f.where, x.Entries, y.Entries, aliases(f.format, x.Entries, y.Entries))
	docs := c.headers(f, x, y, pairs, structure)
	ofGzip := c.gz - gz
	if err := c.contents(f, x, y, pairs, structure, docs); err != nil {
		return err
	}
	levels := func() (differ bool) {
		for _, k := range fieldKeys(x, y) {
			if strings.HasSuffix(k, "gzip.flags") && x.Fields[k] != y.Fields[k] {
				differ = true
				c.field(f.where, x, y, k)
			}
		}
		return differ
	}
	if c.n-before > ofGzip {
		levels()
		return nil
	}
	// Nothing that is in them differs, so what they are packed in does.
	packing := c.n
	if err := c.packing(f, x, y, a, b, ofGzip > 0); err != nil {
		return err
	}
	// That something was compressed at another level has been told, if it gave other bytes.
	if c.n == packing && levels() || c.n > before {
		return nil
	}
	for _, p := range pairs {
		c.extras(p, true, func(what string) { c.add(place(f.where, p.a), "%s", what) })
	}
	for _, k := range fieldKeys(x, y) {
		if classOf(f.format, k) == weak && x.Fields[k] != y.Fields[k] {
			c.field(f.where, x, y, k)
		}
	}
	return nil
}

func aliases(format string, a, b []inspect.Entry) map[string]string {
	if of := table[format].alias; of != nil {
		return of(a, b)
	}
	return nil
}

// structure tells of entries that only one has, of those that have another name in the other, and of their order.
// An alias in the published of a name in the rebuilt is not told.
func (c *comparer) structure(where []string, a, b []inspect.Entry, alias map[string]string) (pairs []pair, changed bool) {
	before := c.n
	others := make(map[string]int, len(b))
	for i, e := range b {
		if name, ok := alias[e.Name]; ok {
			e.Name = name
		}
		others[key(e)] = i
	}
	partner := make([]int, len(a)) // in b, or -1
	taken := make([]bool, len(b))
	for i, e := range a {
		partner[i] = -1
		if n, ok := others[key(e)]; ok {
			partner[i], taken[n] = n, true
		}
	}
	free := map[string][]int{} // by part and digest
	for n, e := range b {
		if !taken[n] && e.Type == inspect.File && e.Size > 0 {
			k := e.Part + "\x00" + string(e.Digest)
			free[k] = append(free[k], n)
		}
	}
	for i, e := range a {
		if partner[i] >= 0 {
			continue
		}
		k := e.Part + "\x00" + string(e.Digest)
		if e.Type != inspect.File || len(free[k]) == 0 {
			c.add(place(where, e), "only in the published")
			continue
		}
		n := free[k][0]
		free[k] = free[k][1:]
		partner[i], taken[n] = n, true
		c.add(place(where, e), "is called %s in the rebuilt", quote(b[n].Name))
	}
	for n, e := range b {
		if !taken[n] {
			c.add(place(where, e), "only in the rebuilt")
		}
	}
	var order []int
	for i, n := range partner {
		if n >= 0 {
			pairs = append(pairs, pair{a[i], b[n]})
			order = append(order, n)
		}
	}
	if !slices.IsSorted(order) {
		sorted := slices.Sorted(slices.Values(order))
		for i, n := range order {
			if n != sorted[i] {
				c.add(where, "the same entries in another order: entry %d is %s instead of %s", i+1, quote(a[slices.Index(partner, n)].Name), quote(b[sorted[i]].Name))
				break
			}
		}
	}
	return pairs, c.n > before
}

// notes are differences of headers that are not told yet. What is said of more than three entries is told once.
type notes struct {
	list  []note
	times map[string]int
	left  int // that are only counted
}

type note struct {
	where []string
	what  string
}

const (
	maxNotes  = 10_000
	maxOfSame = 3
)

func (n *notes) add(where []string, what string) {
	seen := n.times[what]
	if seen == 0 && len(n.times) >= maxNotes {
		n.left++
		return
	}
	if n.times[what]++; seen < maxOfSame {
		n.list = append(n.list, note{where, what})
	}
}

func (n *notes) tell(c *comparer, where []string) {
	for _, one := range n.list {
		switch times := n.times[one.what]; {
		case times == 0: // told
		case times <= maxOfSame:
			c.add(one.where, "%s", one.what)
		default:
			c.add(where, "%s of %s entries, the first of them %s", one.what, comma(int64(times)), quote(path.Join(one.where[len(where):]...)))
			n.times[one.what] = 0
		}
	}
	c.n += n.left
}

// headers tells what headers of archives and of entries say. The result are the entries whose contents need not be looked
// at, since fields that are kept of them tell more.
func (c *comparer) headers(f file, x, y opened, pairs []pair, structure bool) map[string]bool {
	docs := map[string]bool{}
	moved := structure || slices.ContainsFunc(pairs, func(p pair) bool { return p.a.Size != p.b.Size && roleOf(f.format, p.a) == installed })
	for _, k := range fieldKeys(x, y) {
		if x.Fields[k] == y.Fields[k] {
			continue
		}
		switch cl := classOf(f.format, k); cl {
		case own:
			c.field(f.where, x, y, k)
		case line, total, checksum:
			doc := documentOf(f.format, k, x)
			docs[key(doc)] = true
			if cl == checksum || cl == total && moved {
				continue // follows from what is in it
			}
			_, name, _ := strings.Cut(k, ".")
			c.values(place(f.where, doc), name, x.Facts, y.Facts, k)
		}
	}
	told := notes{times: map[string]int{}}
	for _, p := range pairs {
		c.entry(p, func(what string) { told.add(place(f.where, p.a), what) })
	}
	told.tell(c, f.where)
	return docs
}

// entry compares the headers of an entry.
func (c *comparer) entry(p pair, tell func(string)) {
	a, b := p.a, p.b
	differ := func(same bool, format string, args ...any) {
		if !same {
			tell(fmt.Sprintf(format, args...))
		}
	}
	differ(a.Type == b.Type, "%s instead of %s", typeName(a.Type), typeName(b.Type))
	differ(octal(a.Mode) == octal(b.Mode), "mode %s instead of %s", octal(a.Mode), octal(b.Mode))
	differ(a.ModTime.Equal(b.ModTime), "mtime %s instead of %s", clock(a.ModTime), clock(b.ModTime))
	differ(a.UID == b.UID, "uid %d instead of %d", a.UID, b.UID)
	differ(a.GID == b.GID, "gid %d instead of %d", a.GID, b.GID)
	differ(a.Owner == b.Owner, "owner %s", instead(a.Owner, b.Owner))
	differ(a.Group == b.Group, "group %s", instead(a.Group, b.Group))
	differ(a.Link == b.Link || a.Type != b.Type, "link to %s", instead(a.Link, b.Link))
	c.extras(p, false, tell)
}

func typeName(t inspect.Type) string {
	if s := t.String(); !strings.HasPrefix(s, "type ") {
		return s
	}
	if t == 0 {
		return "something else"
	}
	return "special file " + strconv.QuoteRune(rune(t))
}

// octal is a mode as Unix writes it, without the type.
func octal(m fs.FileMode) string {
	n := uint32(m.Perm())
	for bit, to := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			n |= to
		}
	}
	return fmt.Sprintf("%04o", n)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// extras compares what else the headers of an entry say. Some of it follows from something else, and is told only where
// nothing else was found.
func (c *comparer) extras(p pair, weak bool, tell func(string)) {
	a, b := fields(p.a), fields(p.b)
	follows := map[string]bool{
		"inode": true, "packed": true,
		"dos-time": !p.a.ModTime.Equal(p.b.ModTime), "cpio-time": !p.a.ModTime.Equal(p.b.ModTime), "pax.mtime": !p.a.ModTime.Equal(p.b.ModTime),
		"extra": !p.a.ModTime.Equal(p.b.ModTime), "local-extra": !p.a.ModTime.Equal(p.b.ModTime) || a["extra"] != b["extra"],
		"external": p.a.Mode != p.b.Mode || p.a.Type != p.b.Type, "mode": p.a.Mode != p.b.Mode,
		"name": p.a.Name != p.b.Name, "pax.path": p.a.Name != p.b.Name || a["name"] != b["name"],
		"pax.linkpath": p.a.Link != p.b.Link, "pax.size": p.a.Size != p.b.Size, "pax.uname": p.a.Owner != p.b.Owner, "pax.gname": p.a.Group != p.b.Group,
		"pax.uid": p.a.UID != p.b.UID, "pax.gid": p.a.GID != p.b.GID,
		"pax.APK-TOOLS.checksum.SHA1": p.a.Digest != p.b.Digest || p.a.Link != p.b.Link,
		"links":                       p.a.Type != p.b.Type,
	}
	for k := range union(a, b) {
		// Records are what makes a tar one of PAX.
		if strings.HasPrefix(k, "pax.") && a[k] != b[k] {
			follows["format"] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(union(a, b))) {
		if a[k] == b[k] || follows[k] != weak {
			continue
		}
		switch k {
		case "packed":
			if p.a.Digest == p.b.Digest && a["method"] == b["method"] {
				tell("the same contents, compressed differently: " + size(a[k]) + " instead of " + number(b[k]))
			}
		case "name":
			tell("written as " + instead(cmp.Or(a[k], p.a.Name), cmp.Or(b[k], p.b.Name)))
		case "method":
			tell("method " + method(a[k]) + " instead of " + method(b[k]))
		case "extra", "local-extra":
			one, two := lone(a[k], b[k]), lone(b[k], a[k])
			tell(map[string]string{"extra": "extra field ", "local-extra": "extra field of the local header "}[k] + orNone(one) + " instead of " + orNone(two))
		case "comment":
			tell("comment " + instead(a[k], b[k]))
		case "format":
			tell("format " + a[k] + " instead of " + b[k])
		default:
			tell(plain(strings.ReplaceAll(k, "pax.", "PAX record ")) + " " + orNone(a[k]) + " instead of " + orNone(b[k]))
		}
	}
}

// lone are the words that another list has not; all of them where it has the same ones in another order.
func lone(s, other string) string {
	words := map[string]bool{}
	for _, w := range strings.Fields(other) {
		words[w] = true
	}
	all := strings.Fields(s)
	out := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return words[w] })
	if len(out) == 0 && len(words) == len(all) {
		return s
	}
	return strings.Join(out, " ")
}

func fields(e inspect.Entry) map[string]string {
	m := make(map[string]string, len(e.Extra))
	for _, f := range e.Extra {
		m[f.Key] = f.Value
	}
	return m
}

func union(a, b map[string]string) map[string]bool {
	m := make(map[string]bool, len(a))
	for k := range a {
		m[k] = true
	}
	for k := range b {
		m[k] = true
	}
	return m
}

// orNone is a value of a header, quoted unless it is a number.
func orNone(s string) string {
	if s == "" {
		return "none"
	}
	if strings.Trim(s, "0123456789abcdefx.:") == "" && len(s) <= maxQuote {
		return s
	}
	return quote(s)
}

// number writes the digits of a field with commas, or as it is.
func number(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return orNone(s)
	}
	return comma(n)
}

func size(s string) string { return number(s) + " bytes" }

// method names how an entry of a zip is compressed (APPNOTE.TXT, 4.4.5).
func method(s string) string {
	if name := map[string]string{"0": "stored", "8": "deflate"}[s]; name != "" {
		return name
	}
	return orNone(s)
}

// contents looks into the files that differ. Each that is opened has a difference in it, so that no more are opened than
// are listed.
func (c *comparer) contents(f file, x, y opened, pairs []pair, structure bool, docs map[string]bool) error {
	inside := structure // whether what a package installs differs
	for _, p := range pairs {
		inside = inside || p.a.Digest != p.b.Digest && roleOf(f.format, p.a) == installed
	}
	found := c.n
	var now, late []pair
	for _, p := range pairs {
		switch {
		case p.a.Type != inspect.File || p.b.Type != inspect.File || p.a.Digest == p.b.Digest || docs[key(p.a)]:
		case roleOf(f.format, p.a) == sums && inside:
			// inspect holds the sums against the data.
		case roleOf(f.format, p.a) == repeats:
			late = append(late, p)
		default:
			now = append(now, p)
		}
	}
	slices.SortStableFunc(late, func(p, q pair) int { return strings.Compare(q.a.Name, p.a.Name) }) // relationships last
	if err := c.inners(f, x, y, now); err != nil {
		return err
	}
	for _, p := range late {
		if c.n == found && len(docs) == 0 {
			if err := c.inner(f, x, y, p, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// inners compares the contents of entries. Small ones are read together, so that the archive is not unpacked for each.
func (c *comparer) inners(f file, x, y opened, pairs []pair) error {
	wantA, wantB := map[string]int64{}, map[string]int64{}
	var held int64
	for _, p := range pairs[:min(len(pairs), max(0, c.max-len(c.list)))] {
		if n := p.a.Size + p.b.Size; held+n <= maxTogether && c.held+held+n <= maxHeld {
			wantA[key(p.a)], wantB[key(p.b)] = p.a.Size, p.b.Size
			held += n
		}
	}
	c.held += held
	defer func() { c.held -= held }()
	a, err := load(x, wantA)
	if err != nil {
		return err
	}
	b, err := load(y, wantB)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		one, okA := a[key(p.a)]
		two, okB := b[key(p.b)]
		var both [][]byte
		if okA && okB {
			both = [][]byte{one, two}
		}
		if err := c.inner(f, x, y, p, both); err != nil {
			return err
		}
	}
	return nil
}

// load reads entries in one go.
func load(o opened, want map[string]int64) (map[string][]byte, error) {
	out := make(map[string][]byte, len(want))
	if len(want) < 2 {
		return out, nil // one is read when it is looked at
	}
	err := o.walk(func(e inspect.Entry, r io.Reader) error {
		size, ok := want[key(e)]
		if !ok {
			return nil
		}
		b, err := bounded.Head(r, size)
		if err != nil {
			return err
		}
		if out[key(e)] = b; len(out) == len(want) {
			return io.EOF // enough
		}
		return nil
	})
	if err = untangle(err); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading entries: %w", err)
	}
	return out, nil
}

// inner compares the contents of an entry, which may have been read.
func (c *comparer) inner(f file, x, y opened, p pair, both [][]byte) error {
	where := place(f.where, p.a)
	if c.full() {
		c.n++
		return nil
	}
	if both == nil {
		a, b := c.stream(x, p.a), c.stream(y, p.b)
		defer a.Close()
		defer b.Close()
		whole := p.a.Size + p.b.Size
		if p.a.Size > maxInner || p.b.Size > maxInner || c.held+whole > maxHeld || f.depth >= maxDepth {
			s, err := c.spans(a, b)
			if err != nil {
				return fmt.Errorf("reading %s: %w", quote(p.a.Name), err)
			}
			c.bytes(where, s)
			return nil
		}
		c.held += whole
		defer func() { c.held -= whole }()
		for _, r := range []io.Reader{a, b} {
			read, err := io.ReadAll(r)
			if err != nil {
				return fmt.Errorf("reading %s: %w", quote(p.a.Name), err)
			}
			both = append(both, read)
		}
	}
	inner := file{where: where, name: p.a.Name, format: FormatOf(p.a.Name), depth: f.depth + 1}
	if f.depth >= maxDepth {
		inner.format = unknown
	}
	before := c.n
	if err := c.files(inner, memory(both[0]), memory(both[1])); err != nil {
		return err
	}
	if c.n == before {
		c.add(where, "its bytes had changed when it was read again")
	}
	return nil
}

// stream is what an entry has. Closing it before the end ends the reading of the archive, too.
func (c *comparer) stream(o opened, e inspect.Entry) io.ReadCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := o.walk(func(at inspect.Entry, contents io.Reader) error {
			if key(at) != key(e) {
				return nil
			}
			if _, err := io.Copy(w, contents); err != nil {
				return err
			}
			return io.EOF // enough
		})
		if err == nil {
			err = io.ErrUnexpectedEOF // it is gone
		}
		w.CloseWithError(untangle(err))
	}()
	return &stream{r, done}
}

// untangle is io.EOF where a walk was ended on purpose.
func untangle(err error) error {
	for e := err; e != nil; {
		if e == io.EOF {
			return io.EOF
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	return err
}

type stream struct {
	*io.PipeReader
	done chan struct{}
}

func (s *stream) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}
