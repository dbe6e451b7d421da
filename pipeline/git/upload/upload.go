// Package upload serves a git repository that is made in memory, without git: a branch main whose commits follow one another, to whoever
// clones and fetches. It has what that takes and no more: no shallow clones, no filters, no other refs, and nothing that writes.
//
// A commit is a function of what is said of it and of the one before, so that all who make the same history serve the same
// repository.
package upload

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/git/packet"
)

// Commit is what changes.
type Commit struct {
	Author, Email string
	Time          time.Time // of author and committer, in whole seconds, in UTC
	Message       string
	Files         map[string][]byte // by path; nil for a file that goes
}

// Repository is a linear history. It may be asked by several goroutines while another one adds to it.
type Repository struct {
	mu      sync.RWMutex
	commits []commit
	places  map[id]int // of commits

	root *folder
	has  map[id]bool // objects
}

// id is the name of an object.
type id [sha1.Size]byte

func (i id) String() string { return hex.EncodeToString(i[:]) }

// commit is one of them, with the objects that those before it do not have, as they stand in a pack.
type commit struct {
	id    id
	count int
	pack  []byte
}

// folder is what a folder has, in the order of git's trees.
type folder struct {
	entries []entry
	changed bool
	id      id     // of the tree as it was written last
	tree    []byte // that
	depth   int    // of deltas that lead to it
}

// entry is a file, or a folder. Where a folder stands, its name ends in a slash.
type entry struct {
	name   string
	folder *folder // nil for a file
	id     id
}

// kinds of objects, as git calls them in their names.
var kinds = map[int]string{packet.Commit: "commit", packet.Tree: "tree", packet.Blob: "blob"}

// maxDepth is how many deltas are applied to come to a tree.
const maxDepth = 50

// New is a repository without commits.
func New() *Repository {
	return &Repository{places: map[id]int{}, root: &folder{}, has: map[id]bool{}}
}

// Add adds a commit. It is for one goroutine at once. A path has no empty part, and none of . and .., and is not a folder's; after an error
// the repository is not to be added to.
func (r *Repository) Add(c Commit) error {
	var out packer
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		content := c.Files[name]
		var blob id
		if content != nil {
			blob = nameOf(packet.Blob, content)
			if !r.has[blob] {
				r.has[blob] = true
				out.add(packet.Blob, content)
			}
		}
		if err := r.root.put(name, blob, content != nil); err != nil {
			return err
		}
	}
	if len(r.commits) == 0 {
		r.root.changed = true // also where it has nothing
	}
	r.root.write(&out, r.has)
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", r.root.id)
	if n := len(r.commits); n > 0 {
		fmt.Fprintf(&b, "parent %s\n", r.commits[n-1].id)
	}
	who := fmt.Sprintf("%s <%s> %d +0000", plain(c.Author), plain(c.Email), c.Time.Unix())
	fmt.Fprintf(&b, "author %s\ncommitter %[1]s\n\n%s\n", who, strings.TrimRight(strings.ReplaceAll(c.Message, "\x00", ""), "\n"))
	made := commit{id: out.add(packet.Commit, b.Bytes())}
	made.count, made.pack = out.count, out.Bytes()
	r.places[made.id] = len(r.commits)
	r.commits = append(r.commits, made)
	return nil
}

// Tip is the last commit, "" for none.
func (r *Repository) Tip() string {
	if commits, _ := r.now(); len(commits) > 0 {
		return commits[len(commits)-1].id.String()
	}
	return ""
}

// now are the commits, and a function that tells where one is, -1 for none.
func (r *Repository) now() ([]commit, func(string) int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	commits := r.commits[:len(r.commits):len(r.commits)]
	return commits, func(name string) int {
		var i id
		if len(name) != hex.EncodedLen(len(i)) {
			return -1
		}
		if _, err := hex.Decode(i[:], []byte(name)); err != nil {
			return -1
		}
		r.mu.RLock()
		defer r.mu.RUnlock()
		if at, ok := r.places[i]; ok && at < len(commits) {
			return at
		}
		return -1
	}
}

// plain is a name or an address as it may stand in a commit.
func plain(s string) string {
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == '<' || c == '>' || c == 0x7f {
			return -1
		}
		return c
	}, s))
	if s == "" {
		return "nobody"
	}
	return s
}

// find is where an entry is, or would be.
func (f *folder) find(name string) (int, bool) {
	return slices.BinarySearchFunc(f.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
}

// put has a file be a blob, or be gone.
func (f *folder) put(name string, blob id, there bool) error {
	first, rest, deeper := strings.Cut(name, "/")
	if first == "" || first == "." || first == ".." || strings.EqualFold(first, ".git") || strings.ContainsAny(first, "\x00\\") {
		return fmt.Errorf("%.200q is not the path of a file", name)
	}
	f.changed = true
	as, other := first, first+"/"
	if deeper {
		as, other = other, as
	}
	if _, taken := f.find(other); taken {
		return fmt.Errorf("%.200q is a file and a folder", name)
	}
	i, found := f.find(as)
	if !found && !deeper && !there {
		return nil
	}
	if !found {
		f.entries = slices.Insert(f.entries, i, entry{name: as})
	}
	e := &f.entries[i]
	if !deeper {
		if e.id = blob; !there {
			f.entries = slices.Delete(f.entries, i, i+1)
		}
		return nil
	}
	if e.folder == nil {
		e.folder = &folder{}
	}
	err := e.folder.put(rest, blob, there)
	if len(e.folder.entries) == 0 {
		f.entries = slices.Delete(f.entries, i, i+1)
	}
	return err
}

// write writes the trees that have changed.
func (f *folder) write(out *packer, has map[id]bool) {
	if !f.changed {
		return
	}
	f.changed = false
	b := bytes.NewBuffer(make([]byte, 0, len(f.tree)+100))
	for i := range f.entries {
		e := &f.entries[i]
		mode := "100644 "
		if e.folder != nil {
			e.folder.write(out, has)
			mode, e.id = "40000 ", e.folder.id
		}
		b.WriteString(mode)
		b.WriteString(strings.TrimSuffix(e.name, "/"))
		b.WriteByte(0)
		b.Write(e.id[:])
	}
	was, base := f.tree, f.id
	f.tree, f.id = b.Bytes(), nameOf(packet.Tree, b.Bytes())
	switch {
	case has[f.id]:
		if f.id != base {
			f.depth = maxDepth // since how many lead to it is not known
		}
	case was != nil && f.depth < maxDepth && len(f.tree) > 100:
		has[f.id] = true
		f.depth++
		out.delta(base, was, f.tree)
	default:
		has[f.id] = true
		f.depth = 0
		out.add(packet.Tree, f.tree)
	}
}

func nameOf(kind int, content []byte) (i id) {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kinds[kind], len(content))
	h.Write(content)
	h.Sum(i[:0])
	return i
}

// packer writes the entries of a pack.
type packer struct {
	bytes.Buffer
	count int
}

// add writes an object, whose name it returns.
func (p *packer) add(kind int, content []byte) id {
	p.object(kind, content)
	return nameOf(kind, content)
}

// delta writes an object as what differs from another one: a piece of it that is new, between two that are not
// (https://git-scm.com/docs/gitformat-pack#_deltified_representation).
func (p *packer) delta(base id, was, now []byte) {
	begin := 0
	for begin < min(len(was), len(now)) && was[begin] == now[begin] {
		begin++
	}
	end := 0
	for end < min(len(was), len(now))-begin && was[len(was)-1-end] == now[len(now)-1-end] {
		end++
	}
	d := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(was))), uint64(len(now)))
	d = appendCopy(d, 0, begin)
	for fresh := now[begin : len(now)-end]; len(fresh) > 0; {
		n := min(len(fresh), 127)
		d = append(append(d, byte(n)), fresh[:n]...)
		fresh = fresh[n:]
	}
	d = appendCopy(d, len(was)-end, end)
	p.object(packet.Delta, d, base[:]...)
}

// appendCopy takes a piece of what an object differs from.
func appendCopy(d []byte, at, size int) []byte {
	for size > 0 {
		n := min(size, 0xffff)
		op, args := byte(0x80), []byte(nil)
		for i, v := range []int{at, at >> 8, at >> 16, at >> 24, n, n >> 8} {
			if v &= 0xff; v != 0 {
				op |= 1 << i
				args = append(args, byte(v))
			}
		}
		d = append(append(d, op), args...)
		at, size = at+n, size-n
	}
	return d
}

// object writes an object as it is written in a pack: it, or a delta of it.
func (p *packer) object(kind int, written []byte, base ...byte) {
	p.count++
	packet.Object(&p.Buffer, kind, len(written))
	p.Write(base)
	packet.Deflate(&p.Buffer, written)
}

// writePack writes what commits have as a pack.
func writePack(w io.Writer, commits []commit) error {
	count := 0
	for _, c := range commits {
		count += c.count
	}
	sum := summing{w, sha1.New()}
	if _, err := sum.Write(packet.Pack(count)); err != nil {
		return err
	}
	for _, c := range commits {
		if _, err := sum.Write(c.pack); err != nil {
			return err
		}
	}
	_, err := w.Write(sum.hash.Sum(nil))
	return err
}

type summing struct {
	w    io.Writer
	hash hash.Hash
}

func (s summing) Write(b []byte) (int, error) {
	s.hash.Write(b)
	return s.w.Write(b)
}
