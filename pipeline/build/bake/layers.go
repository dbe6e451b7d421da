package bake

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/build/layertar"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Bounds of an image. One beyond them is refused.
const (
	maxUnpacked = 16 << 30 // bytes of all layers
	maxEntries  = 1 << 20
	maxName     = 4096
	maxRemoved  = 1 << 14 // whiteouts of a layer
)

// capability is the only extended attribute that is kept: programs lose their right to open a low port without it.
const capability = "SCHILY.xattr.security.capability"

// opener opens a layer: a tar as it is, or compressed with gzip or zstd.
type opener = func(context.Context) (io.ReadCloser, error)

// inode is what a name of a file system stands for. Names of one file have one in common.
type inode struct {
	kind       byte // as in a tar, but never tar.TypeLink
	mode       int64
	uid, gid   int
	link       string // of a symbolic link
	capability string
	size       int64
	sum        artifact.Digest
	open       func() (io.ReadCloser, error) // nil for a file of a layer that is only looked at
}

func (n *inode) same(o *inode) bool {
	return n.kind == o.kind && n.mode == o.mode && n.uid == o.uid && n.gid == o.gid && n.link == o.link && n.capability == o.capability && n.size == o.size && n.sum == o.sum
}

// change is a layer as it was read.
type change struct {
	names  map[string]*inode
	gone   []string // names of whiteouts
	opaque []string // folders of which nothing below shines through
}

// reader reads layers, within the bounds of an image.
type reader struct {
	left    int64
	entries int
}

// layer reads one. Where keep is a folder the content of its files stays there and can be read later. below is what the layers below
// have, to which a link may lead.
func (r *reader) layer(ctx context.Context, open opener, keep string, below map[string]*inode) (change, error) {
	var spool *os.File
	var at int64
	if keep != "" {
		var err error
		if spool, err = os.CreateTemp(keep, "layer-*"); err != nil {
			return change{}, err
		}
		defer spool.Close()
	}
	c := change{names: map[string]*inode{}}
	err := layertar.Read(ctx, open, &r.left, func(h *tar.Header, content io.Reader) error {
		if r.entries++; r.entries > maxEntries || len(h.Name) > maxName || len(h.Linkname) > maxName {
			return fmt.Errorf("%.200q: the image has more files, or longer names, than any base", h.Name)
		}
		name := layertar.Clean(h.Name)
		if dir, base := path.Split(name); strings.HasPrefix(base, layertar.Whiteout) {
			if dir = strings.TrimSuffix(dir, "/"); base == layertar.Opaque {
				c.opaque = append(c.opaque, dir)
			} else if rest := strings.TrimPrefix(base, layertar.Whiteout); !strings.HasPrefix(rest, layertar.Whiteout) { // else it is bookkeeping of aufs
				c.gone = append(c.gone, path.Join(dir, rest))
			}
			return nil
		}
		n := &inode{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, capability: h.PAXRecords[capability]}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			return nil
		case tar.TypeDir:
		case tar.TypeSymlink:
			n.link, n.mode = h.Linkname, 0o777
		case tar.TypeLink:
			to := layertar.Clean(h.Linkname)
			if n = c.names[to]; n == nil {
				n = below[to]
			}
			if n == nil || n.kind == tar.TypeDir {
				return fmt.Errorf("%.200q is a link to %.200q, which is no file of the layer", name, to)
			}
		case tar.TypeReg:
			w := io.Writer(nowhere{})
			if spool != nil {
				w = spool
			}
			m := artifact.NewMeter(w)
			if _, err := io.Copy(m, content); err != nil {
				return err
			}
			n.size, n.sum = m.Size(), m.Digest()
			if spool != nil {
				file, from := spool.Name(), at
				n.open = func() (io.ReadCloser, error) { return section(file, from, n.size) }
				at += n.size
			}
		}
		if name != "" {
			c.names[name] = n
		}
		return nil
	})
	return c, err
}

// section is a part of a file.
func section(name string, from, size int64) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, from, size), f}, nil
}

// under reports whether a name is below a folder.
func under(name, dir string) bool { return dir == "" || strings.HasPrefix(name, dir+"/") }

// hider reports whether a name is one of those that are gone, or below one or below an opaque folder.
func hider(gone, opaque []string) func(name string) bool {
	above := map[string]bool{} // and whether the name itself is gone
	for _, name := range opaque {
		above[name] = false
	}
	for _, name := range gone {
		above[name] = true
	}
	return func(name string) bool {
		if above[name] {
			return true
		}
		for name != "" {
			if name = path.Dir(name); name == "." {
				name = ""
			}
			if _, hidden := above[name]; hidden {
				return true
			}
		}
		return false
	}
}

// flat is the file system that layers make up, by name. Where keep is a folder its files can be read as long as that is there.
func flat(ctx context.Context, layers []opener, keep string) (map[string]*inode, error) {
	is := map[string]*inode{}
	r := reader{left: maxUnpacked}
	for i, l := range layers {
		c, err := r.layer(ctx, l, keep, is)
		if err != nil {
			return nil, fmt.Errorf("reading layer %d of %d: %w", i+1, len(layers), err)
		}
		for name, n := range c.names { // what takes the place of a folder hides what was in it
			if old := is[name]; old != nil && old.kind == tar.TypeDir && n.kind != tar.TypeDir {
				c.gone = append(c.gone, name)
			}
		}
		if len(c.gone)+len(c.opaque) > maxRemoved {
			return nil, fmt.Errorf("layer %d of %d removes more than %d files", i+1, len(layers), maxRemoved)
		}
		hides := hider(c.gone, c.opaque)
		maps.DeleteFunc(is, func(name string, _ *inode) bool { return hides(name) })
		maps.Copy(is, c.names)
	}
	return is, nil
}

// litter is what a package manager and its engine leave that no image is to have: what is there in the base stays as it is. Machine
// ids make each machine its own, so an image must not have one.
var litter = []string{
	"dev", "proc", "sys", "tmp", "var/tmp", "root/.cache", "etc/apk/cache", "var/lib/apt/lists", "var/lib/dnf",
	"var/lib/yum", "etc/machine-id", "var/lib/dbus/machine-id", "etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/mtab", ".dockerenv",
	"var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend", "var/lib/dpkg/triggers/Lock", "usr/lib/sysimage/rpm/.rpm.lock", "var/lib/rpm/.rpm.lock",
}

// litteredFolders have files that are litter. Folders in them are what programs need to start, and have an owner.
var litteredFolders = []string{"run", "var/run", "var/cache", "var/log"}

func isLitter(name string, n *inode) bool {
	within := func(dir string) bool { return name == dir || under(name, dir) }
	return slices.ContainsFunc(litter, within) || n.kind != tar.TypeDir && slices.ContainsFunc(litteredFolders, within)
}

// isDangling reports whether a name is a link to a certificate that is not there. An engine with certificates of its own gives them to
// the programs that it runs, and leaves links to them.
func isDangling(is map[string]*inode, name string) bool {
	dir := path.Dir(name)
	if dir != "etc/ssl/certs" && !under(dir, "etc/pki") {
		return false
	}
	for range 8 {
		n := is[name]
		if n == nil || n.kind != tar.TypeSymlink {
			return n == nil
		}
		if name = layertar.Clean(n.link); !path.IsAbs(n.link) {
			name = layertar.Clean(path.Join(dir, n.link))
		}
		dir = path.Dir(name)
	}
	return true
}

// difference is what has become of a base, with files put over it, as the entries of one layer, sorted.
//
// It is worked out from the two file systems and not taken from the layers of an engine, which need not keep those of the base.
func difference(base, is map[string]*inode, files []archive.File) ([]archive.Entry, error) {
	top := map[string]*inode{}
	for name, n := range is {
		if !isLitter(name, n) && !isDangling(is, name) && (base[name] == nil || !n.same(base[name])) {
			top[name] = n
		}
	}
	for _, f := range files {
		m := artifact.NewMeter(nowhere{})
		if err := f.CopyTo(m); err != nil {
			return nil, err
		}
		delete(top, f.Name)
		n := &inode{kind: tar.TypeReg, mode: int64(f.Mode()), size: f.Size, sum: m.Digest(), open: f.Open}
		switch old := is[f.Name]; {
		case old != nil && old.kind == tar.TypeDir:
			return nil, fmt.Errorf("file %s is a folder in the image", f.Name)
		case base[f.Name] == nil || !n.same(base[f.Name]):
			top[f.Name] = n
		}
		is[f.Name] = n
	}
	for name, n := range base {
		// Whoever removes a folder, or puts something else in its place, removes all that is below it.
		parent, own := path.Split(name)
		if up := is[path.Clean(parent)]; is[name] == nil && !isLitter(name, n) && (parent == "" || up != nil && up.kind == tar.TypeDir || base[path.Clean(parent)] == nil) {
			top[parent+layertar.Whiteout+own] = &inode{kind: tar.TypeReg, open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(nil)), nil }}
		}
	}
	first := map[*inode]string{}
	var entries []archive.Entry
	for _, name := range slices.Sorted(maps.Keys(top)) {
		n := top[name]
		if n.kind != tar.TypeReg && n.kind != tar.TypeDir && n.kind != tar.TypeSymlink {
			return nil, fmt.Errorf("%.200q is a device, a pipe or a socket, and a base has none of its own", name)
		}
		e := archive.Entry{Name: name, Type: n.kind, Link: n.link, Mode: n.mode, UID: n.uid, GID: n.gid, Size: n.size, Open: n.open}
		if n.capability != "" {
			e.Records = map[string]string{capability: n.capability}
		}
		if to, ok := first[n]; ok && n.kind == tar.TypeReg {
			e.Type, e.Link, e.Size, e.Records = tar.TypeLink, to, 0, nil
		}
		if _, ok := first[n]; !ok {
			first[n] = name
		}
		entries = append(entries, e)
	}
	return entries, nil
}
