package environment

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// keptFormat names the form of a kept state and what lines come to in it. Whoever changes the one or the other counts it up, so that no
// version takes the state of another one for its own.
const keptFormat = "slipway.state/2\n"

// errKept says that a state cannot be had without its lines. Fold them.
var errKept = errors.New("not a state that this version of slipway kept, or damaged")

// Keep is the state as Kept reads it, with what its caller says of it: a cache, for whoever wrote it and nobody else. It has 2 to 3 MB
// for 10,000 releases, and 5 MB for 100,000 lines.
func (s *State) Keep(of []byte) []byte {
	c := codec{index: map[string]int{}}
	said := string(of)
	c.bytes(&said)
	c.state(s)
	b := append([]byte(keptFormat), c.b...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Kept is a state as it was kept, and what was said of it.
func Kept(b []byte) (s *State, of []byte, err error) {
	end := len(b) - sha256.Size
	if end < len(keptFormat) || string(b[:len(keptFormat)]) != keptFormat || sha256.Sum256(b[:end]) != [sha256.Size]byte(b[end:]) {
		return nil, nil, errKept
	}
	c := codec{reading: true, rest: string(b[len(keptFormat):end])}
	var said string
	c.bytes(&said)
	s = &State{}
	if c.state(s); c.damaged || c.rest != "" {
		return nil, nil, errKept
	}
	return s, []byte(said), nil
}

// codec writes a value, or reads it, by the same description of it.
type codec struct {
	reading bool

	b     []byte         // written
	index map[string]int // of the texts that were written, each of which is written once

	rest    string // to be read
	texts   []string
	damaged bool // what was read last, and all since, is nothing
}

func (c *codec) state(s *State) {
	c.int(&s.Count)
	text(c, &s.Digest)
	c.time(&s.Time)
	entries(c, &s.stages, func(_ string, components *map[string]map[string]Held) {
		entries(c, components, func(component string, versions *map[string]Held) {
			entries(c, versions, func(version string, h *Held) {
				h.Component, h.Version = component, version
				text(c, &h.Commit)
				text(c, &h.Manifest)
				text(c, &h.Entry)
				c.time(&h.Entered)
				c.int(&h.Line)
				c.int(&h.came)
			})
		})
	})
	entries(c, &s.components, func(_ string, known **component) {
		if c.reading {
			*known = &component{}
		}
		entries(c, &(*known).versions, func(v string, of **history) {
			if c.reading {
				*of = newHistory(v)
			}
			c.history(*of)
		})
		entries(c, &(*known).pinned, func(_ string, p *pin) {
			text(c, &p.version)
			c.int(&p.line)
		})
		pairs(c, &(*known).held, func(about *[2]string, stop *Stop) {
			text(c, &about[0])
			text(c, &about[1])
			c.stop(stop)
		})
	})
	entries(c, &s.frozen, func(_ string, stop *Stop) { c.stop(stop) })
	if !c.reading {
		s.requests, s.digests = s.requests.sort(), s.digests.pack() // which says the same
	}
	c.bytes(&s.requests.sorted)
	c.bytes(&s.digests.packed)
	c.damaged = c.damaged || len(s.requests.sorted)%requestRow != 0 || len(s.digests.packed) != s.Count*sha256.Size
}

func (c *codec) history(h *history) {
	pairs(c, &h.seen, func(in *seen, there *bool) {
		text(c, &in.stage)
		text(c, &in.commit)
		text(c, &in.manifest)
		*there = true
	})
	withdrawn := h.withdrawn != nil
	if c.bool(&withdrawn); withdrawn {
		if c.reading {
			h.withdrawn = &Stop{}
		}
		c.stop(h.withdrawn)
	}
	pairs(c, &h.approvals, func(a *approval, at *time.Time) {
		text(c, &a.manifest)
		text(c, &a.stage)
		c.identity(&a.by)
		c.time(at)
	})
	pairs(c, &h.reports, func(r *report, good *bool) {
		text(c, &r.manifest)
		text(c, &r.kind)
		c.identity(&r.by)
		c.bool(good)
	})
}

func (c *codec) stop(s *Stop) {
	c.identity(&s.By)
	text(c, &s.Why)
	c.time(&s.Until)
	c.int(&s.Line)
}

func (c *codec) identity(i *Identity) {
	text(c, &i.Key)
	text(c, &i.Identity)
	text(c, &i.Issuer)
}

// int passes a number that is not negative.
func (c *codec) int(n *int) {
	if !c.reading {
		c.b = binary.AppendUvarint(c.b, uint64(*n))
		return
	}
	value, shift := uint64(0), 0
	for i := range len(c.rest) {
		b := c.rest[i]
		value |= uint64(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			c.rest = c.rest[i+1:]
			*n = int(value)
			c.damaged = c.damaged || value > 1<<40
			return
		}
		if shift > 42 {
			break
		}
	}
	c.damaged, c.rest, *n = true, "", 0
}

func (c *codec) bool(v *bool) {
	n := 0
	if *v {
		n = 1
	}
	c.int(&n)
	*v = n == 1
}

// time passes whole seconds since 1970, counted from 1, and 0 for no time.
func (c *codec) time(t *time.Time) {
	n := 0
	if !t.IsZero() {
		n = int(t.Unix()) + 1
	}
	if c.int(&n); c.reading && n > 0 {
		*t = time.Unix(int64(n-1), 0).UTC()
	}
}

func (c *codec) bytes(s *string) {
	n := len(*s)
	c.int(&n)
	switch {
	case !c.reading:
		c.b = append(c.b, *s...)
	case n > len(c.rest):
		c.damaged, c.rest, *s = true, "", ""
	default:
		*s, c.rest = c.rest[:n], c.rest[n:]
	}
}

// text passes a text: the place of the one that was the same before, or that of the next one and the text.
func text[T ~string](c *codec, s *T) {
	at, known := 0, false
	if !c.reading {
		if at, known = c.index[string(*s)]; !known {
			at = len(c.index)
			c.index[string(*s)] = at
		}
	}
	c.int(&at)
	next := string(*s)
	switch {
	case c.reading && at < len(c.texts):
		*s = T(c.texts[at])
	case c.reading && at > len(c.texts):
		c.damaged, c.rest = true, ""
	case c.reading || !known:
		c.bytes(&next)
		*s, c.texts = T(next), append(c.texts, next)
	}
}

// entries passes a map by name.
func entries[V any](c *codec, m *map[string]V, each func(name string, v *V)) {
	pairs(c, m, func(name *string, v *V) {
		text(c, name)
		each(*name, v)
	})
}

// pairs passes a map. One without anything is read as nil.
func pairs[K comparable, V any](c *codec, m *map[K]V, each func(*K, *V)) {
	n := len(*m)
	c.int(&n)
	if !c.reading {
		for k, v := range *m {
			each(&k, &v)
		}
		return
	}
	if n > len(c.rest) { // each takes a byte at least
		c.damaged, c.rest = true, ""
	}
	if n == 0 || c.damaged {
		return
	}
	*m = make(map[K]V, n)
	for range n {
		var k K
		var v V
		if each(&k, &v); c.damaged {
			return
		}
		(*m)[k] = v
	}
}

// digests are those of all lines. Those of a kept state are not read before somebody asks.
type digests struct {
	packed string // 32 bytes each
	fresh  []artifact.Digest
}

func (d digests) at(n int) artifact.Digest {
	old := len(d.packed) / sha256.Size
	switch {
	case n < 1 || n > old+len(d.fresh):
		return ""
	case n > old:
		return d.fresh[n-old-1]
	}
	return artifact.Digest("sha256:" + hex.EncodeToString([]byte(d.packed[(n-1)*sha256.Size:n*sha256.Size])))
}

// pack is the same with none of them apart.
func (d digests) pack() digests {
	all := make([]byte, 0, len(d.packed)+len(d.fresh)*sha256.Size)
	all = append(all, d.packed...)
	for _, digest := range d.fresh {
		all, _ = hex.AppendDecode(all, []byte(digest.Hex()))
	}
	return digests{packed: string(all)}
}

// requests are the numbers of lines by the ids of their requests. Those of a kept state are not read before somebody asks: there is
// one for each line that ever was.
type requests struct {
	sorted string // rows of an id and a number, ascending
	fresh  map[[requestID]byte]int
}

const (
	requestID  = 16
	requestRow = requestID + 4
)

func rowOf(id string) (row [requestID]byte) {
	hex.Decode(row[:], []byte(id[:min(len(id), 2*requestID)])) // which was looked at when the line was
	return row
}

func (r requests) row(i int) string { return r.sorted[i*requestRow : (i+1)*requestRow] }

// line is the number of the line of a request, 0 for none.
func (r requests) line(id string) int {
	if len(id) != 2*requestID {
		return 0
	}
	key := rowOf(id)
	if n := r.fresh[key]; n > 0 {
		return n
	}
	rows := len(r.sorted) / requestRow
	i := sort.Search(rows, func(i int) bool { return r.row(i)[:requestID] >= string(key[:]) })
	if i < rows && r.row(i)[:requestID] == string(key[:]) {
		return int(binary.BigEndian.Uint32([]byte(r.row(i)[requestID:])))
	}
	return 0
}

func (r *requests) add(id string, line int) {
	if r.fresh == nil {
		r.fresh = map[[requestID]byte]int{}
	}
	r.fresh[rowOf(id)] = line
}

// sort is the same with all of them in rows.
func (r requests) sort() requests {
	var rows []string
	for id, line := range r.fresh {
		rows = append(rows, string(binary.BigEndian.AppendUint32(id[:], uint32(line))))
	}
	slices.Sort(rows)
	var all strings.Builder
	all.Grow(len(r.sorted) + len(rows)*requestRow)
	for i := 0; i < len(r.sorted); i += requestRow {
		old := r.sorted[i : i+requestRow]
		for len(rows) > 0 && rows[0] < old {
			all.WriteString(rows[0])
			rows = rows[1:]
		}
		all.WriteString(old)
	}
	for _, row := range rows {
		all.WriteString(row)
	}
	return requests{sorted: all.String()}
}
