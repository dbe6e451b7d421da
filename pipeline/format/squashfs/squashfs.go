// Package squashfs makes SquashFS 4.0 images whose bytes depend on nothing but names, contents and one time.
//
// An image has the layout that mksquashfs -all-root -no-xattrs -no-fragments gives it: files in the order of a walk in
// which every folder is sorted bytewise, equal files stored once, blocks of zeros not stored at all, an export table.
// What is compressed has other bytes than mksquashfs's: the compressors here make other choices than liblzma and libzstd.
//
// The format: https://dr-emann.github.io/squashfs/squashfs.html and https://docs.kernel.org/filesystems/squashfs.html.
package squashfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Options are what an image has besides its files.
type Options struct {
	Time        time.Time   // of the image and of everything in it, in whole seconds
	Compression Compression // "" is XZ
	Scratch     string      // folder that the data are in meanwhile; "" is the system's for temporary files
}

const (
	blockLog     = 17
	blockSize    = 1 << blockLog // mksquashfs's default
	metadataSize = 8 << 10
	padding      = 4 << 10 // a device has whole pages

	superblockLen = 96
	nowhere       = math.MaxUint64 // the place of a table that is not there

	noFragments = 0x10
	duplicates  = 0x40 // equal files are stored once
	exportable  = 0x80
	noXattrs    = 0x200
)

// node is a file or a folder.
type node struct {
	name     string
	file     archive.File
	folder   bool
	children []*node // sorted by name
	number   uint32  // of the inode, from 1
	ref      uint64  // where the inode is
	kind     uint16  // type of the inode

	start uint64   // where the file's blocks are
	sizes []uint32 // of the file's blocks as they are stored
	holes uint64   // bytes of the file that are not stored because they are zeros
}

// Write writes a file system with the files and the folders that their names imply, and returns its size. Root owns
// everything; modes are 0644 or 0755. Compressing takes all processors and a few blocks of 128 KiB for each. An error names
// the file that cannot be read or cannot be in a file system, and leaves nothing written unless w itself fails.
func Write(w io.Writer, files []archive.File, o Options) (size int64, err error) {
	if o.Compression == "" {
		o.Compression = XZ
	}
	id, ok := compressors[o.Compression]
	if !ok {
		return 0, fmt.Errorf("compression %q is not xz or zstd", o.Compression)
	}
	sec := o.Time.Unix()
	if sec < 0 || sec > math.MaxUint32 {
		return 0, fmt.Errorf("time %s is not between 1970 and 2106; a file system cannot hold it", o.Time.UTC().Format(time.RFC3339))
	}
	root, err := tree(files)
	if err != nil {
		return 0, err
	}
	count := root.enumerate()

	// The superblock is in front of the data, and has the places of the tables behind them.
	data, err := archive.NewSpool(o.Scratch)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	end, err := writeFiles(data, root, o.Compression)
	if err != nil {
		return 0, err
	}
	c, err := newCompressor(o.Compression, metadataSize)
	if err != nil {
		return 0, err
	}
	t := tables{inodes: metadata{compressor: c}, listings: metadata{compressor: c}, time: uint32(sec), refs: make([]byte, 8*count)}
	t.add(root, count+1) // nobody's number: the root is in no folder
	tail := tail{begin: end}
	inodesAt := tail.end()
	listingsAt := tail.add(&t.inodes)
	fragmentsAt := tail.add(&t.listings) // of none
	exportAt := tail.lookup(c, t.refs)
	idsAt := tail.lookup(c, make([]byte, 4)) // one, and it is 0
	if tail.err != nil {
		return 0, tail.err
	}

	le := binary.LittleEndian
	s := append(make([]byte, 0, superblockLen), "hsqs"...)
	s = le.AppendUint32(s, count)
	s = le.AppendUint32(s, t.time)
	s = le.AppendUint32(s, blockSize)
	s = le.AppendUint32(s, 0) // fragments
	s = le.AppendUint16(s, id)
	s = le.AppendUint16(s, blockLog)
	s = le.AppendUint16(s, noFragments|duplicates|exportable|noXattrs)
	s = le.AppendUint16(s, 1) // owners
	s = le.AppendUint16(s, 4) // version 4.0
	s = le.AppendUint16(s, 0)
	s = le.AppendUint64(s, root.ref)
	s = le.AppendUint64(s, tail.end())
	for _, at := range []uint64{idsAt, nowhere, inodesAt, listingsAt, fragmentsAt, exportAt} {
		s = le.AppendUint64(s, at)
	}
	for _, part := range []io.WriterTo{bytes.NewReader(s), data, bytes.NewReader(tail.bytes), bytes.NewReader(make([]byte, -tail.end()&(padding-1)))} {
		n, err := part.WriteTo(w)
		if size += n; err != nil {
			return size, fmt.Errorf("writing file system: %w", err)
		}
	}
	return size, nil
}

// tree is the root of the files' folders.
func tree(files []archive.File) (*node, error) {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	if err := artifact.CheckPaths(names); err != nil {
		return nil, err
	}
	folders := map[string]*node{"": {folder: true}}
	for _, f := range files {
		grow(folders, f.Name).file = f
	}
	for _, n := range folders {
		n.folder = true
		slices.SortFunc(n.children, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	}
	return folders[""], nil
}

// grow makes a node in its folder, which it makes too where it is not there.
func grow(folders map[string]*node, path string) *node {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	up, ok := folders[dir]
	if !ok {
		up = grow(folders, dir)
		folders[dir] = up
	}
	n := &node{name: name}
	up.children = append(up.children, n)
	return n
}

// enumerate numbers n and what is below it, from 1 on, in the order of a walk; only the root comes last. It returns the
// highest number.
func (n *node) enumerate() uint32 {
	var last uint32
	var below func(*node)
	below = func(n *node) {
		for _, c := range n.children {
			last++
			c.number = last
			below(c)
		}
	}
	below(n)
	n.number = last + 1
	return n.number
}
