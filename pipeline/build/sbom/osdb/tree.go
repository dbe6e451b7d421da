package osdb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/build/layertar"
)

// bounds of what is read from an image. An image beyond them is refused.
type bounds struct {
	unpacked int64 // bytes of all layers
	entries  int   // files, folders and links of all layers
	kept     int64 // bytes of the databases
	work     int   // steps of paths that are walked and files that are looked at for a whiteout
}

var standard = bounds{unpacked: 16 << 30, entries: 1 << 20, kept: 256 << 20, work: 1 << 26}

const (
	maxName  = 4096 // bytes of a path or of a link's target, as in Linux
	maxDepth = 256  // folders in folders
	maxLinks = 40   // symbolic links on the way to a file, as in Linux
)

type kind uint8

const (
	folder kind = iota
	file
	link  // symbolic
	other // devices and pipes
)

// node is a file, a folder or a link of the image.
type node struct {
	kind     kind
	kept     bool  // whether content is all of the file
	layer    int   // the last that had it
	depth    int   // of the path, for maxDepth
	size     int64 // of a file
	target   string
	content  []byte
	parent   *node
	children map[string]*node
}

// names of the children, sorted.
func (n *node) names() []string { return slices.Sorted(maps.Keys(n.children)) }

func (n *node) put(name string, c *node) error {
	c.parent, c.depth = n, n.depth+1
	if c.depth > maxDepth {
		return fmt.Errorf("it is more than %d folders deep", maxDepth)
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[name] = c
	return nil
}

// tree is the file system that the layers make up.
type tree struct {
	root    *node
	bounds  bounds
	entries int
	kept    int64
	work    int
}

// spent counts a step. Links that lead to links and whiteouts of whole trees make few entries a lot of work.
func (t *tree) spent() bool {
	t.work++
	return t.work > t.bounds.work
}

var errWork = errors.New("the links and whiteouts of the image are more than those of any base")

// prune removes what lower layers have in a folder, and keeps what this one has put there: a whiteout says nothing of
// its own layer (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
func (t *tree) prune(n *node, layer int) {
	for name, c := range n.children {
		if t.spent() {
			return
		}
		t.hide(n, name, c, layer)
	}
}

func (t *tree) hide(n *node, name string, c *node, layer int) {
	t.prune(c, layer)
	if c.layer < layer && len(c.children) == 0 {
		delete(n.children, name)
	}
}

func unpack(ctx context.Context, layers []Layer, b bounds) (*tree, error) {
	t := &tree{root: &node{kind: folder}, bounds: b}
	left := b.unpacked
	for i, l := range layers {
		if err := t.layer(ctx, l, i, &left); err != nil {
			return nil, fmt.Errorf("reading layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return t, nil
}

func (t *tree) layer(ctx context.Context, open Layer, number int, left *int64) error {
	return layertar.Read(ctx, open, left, func(h *tar.Header, content io.Reader) error {
		if t.entries++; t.entries > t.bounds.entries {
			return fmt.Errorf("the image has more than %d files", t.bounds.entries)
		}
		if err := t.add(h, content, number); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
		if t.work > t.bounds.work {
			return errWork
		}
		return nil
	})
}

func (t *tree) add(h *tar.Header, r io.Reader, number int) error {
	if len(h.Name) > maxName || len(h.Linkname) > maxName {
		return fmt.Errorf("a path has more than %d bytes", maxName)
	}
	name := layertar.Clean(h.Name)
	if name == "" {
		return nil
	}
	dir, base := path.Split(name)
	if rest, ok := strings.CutPrefix(base, layertar.Whiteout); ok {
		parent := t.find(dir)
		if parent == nil || parent.kind != folder || base != layertar.Opaque && strings.HasPrefix(rest, layertar.Whiteout) {
			return nil // it hides nothing, or it is bookkeeping of aufs
		}
		if base == layertar.Opaque {
			t.prune(parent, number)
		} else if c := parent.children[rest]; c != nil {
			t.hide(parent, rest, c, number)
		}
		return nil
	}
	n := &node{layer: number, size: h.Size}
	switch h.Typeflag {
	case tar.TypeDir:
		n.kind = folder
	case tar.TypeReg, tar.TypeGNUSparse:
		n.kind = file
		if wanted(name) {
			if t.kept += h.Size; t.kept > t.bounds.kept {
				return fmt.Errorf("the package databases of the image have more than %d bytes", t.bounds.kept)
			}
			var b bytes.Buffer // it grows with what comes, not with what the header promises
			if _, err := io.Copy(&b, r); err != nil {
				return err
			}
			n.content, n.kept = b.Bytes(), true
		}
	case tar.TypeSymlink:
		n.kind, n.target = link, h.Linkname
	case tar.TypeLink:
		// A second name for a file. The target's last step is not followed: a link may be linked to.
		to := layertar.Clean(h.Linkname)
		within, err := t.walk(path.Dir(to), nowhere)
		if err != nil {
			return err
		}
		var old *node
		if within != nil {
			old = within.children[path.Base(to)]
		}
		if old == nil || old.kind == folder {
			n.kind = other // broken; whoever looks for it finds that it is there and unreadable
			break
		}
		n.kind, n.kept, n.size, n.content, n.target = old.kind, old.kept, old.size, old.content, old.target
	case tar.TypeXGlobalHeader:
		return nil
	default:
		n.kind = other
	}
	parent, err := t.walk(dir, number)
	if err != nil {
		return err
	}
	if parent == nil {
		return errors.New("its folder is behind a loop of links")
	}
	old := parent.children[base]
	if old != nil && old.kind == folder && n.kind == folder {
		old.layer = number
		return nil
	}
	return parent.put(base, n)
}

// find is the file or folder of that name with all links followed, or nil.
func (t *tree) find(name string) *node {
	n, _ := t.walk(name, nowhere) // when it is too much work, Read says so in the end
	return n
}

// nowhere is the layer of a walk that only looks.
const nowhere = -1

// walk follows a path from the root, and links as chroot would; it returns nil where there is nothing. For a layer it
// makes the folders that are missing and replaces what is in the way, as runtimes do when they unpack.
func (t *tree) walk(name string, layer int) (*node, error) {
	at, links := t.root, 0
	steps := strings.Split(name, "/")
	for len(steps) > 0 {
		if t.spent() {
			return nil, errWork
		}
		step := steps[0]
		steps = steps[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			if at.parent != nil {
				at = at.parent
			}
			continue
		}
		if at.kind != folder {
			return nil, nil
		}
		next := at.children[step]
		if next != nil && next.kind == link {
			if links++; links > maxLinks {
				return nil, nil
			}
			if strings.HasPrefix(next.target, "/") {
				at = t.root
			}
			steps = append(strings.Split(next.target, "/"), steps...)
			continue
		}
		if layer != nowhere && (next == nil || next.kind != folder) {
			// They count as entries: a short name may stand for many of them.
			if t.entries++; t.entries > t.bounds.entries {
				return nil, fmt.Errorf("the image has more than %d files", t.bounds.entries)
			}
			next = &node{kind: folder, layer: layer}
			if err := at.put(step, next); err != nil {
				return nil, err
			}
		}
		if next == nil {
			return nil, nil
		}
		at = next
	}
	return at, nil
}
