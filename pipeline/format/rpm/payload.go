package rpm

import (
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// The types of files in a mode, as Unix has them.
const (
	typeFolder  = 0o040000
	typeRegular = 0o100000
)

// mode is of an entry with its type, and links are how many names it has.
func mode(e payload.Entry) (mode, links uint16) {
	if e.Folder {
		return typeFolder | uint16(e.Mode()), 2
	}
	return typeRegular | uint16(e.Mode()), 1
}

// writePayload writes the files to w as a compressed cpio archive. It returns what passed into the compressor, and the
// digests of the files by their places.
func writePayload(w io.Writer, tree []payload.Entry, t time.Time) (plain *artifact.Meter, digests []string, err error) {
	zw := archive.Gzip(w)
	plain = artifact.NewMeter(zw)
	digests = make([]string, len(tree))
	for i, e := range tree {
		m, links := mode(e)
		// A dot is in front of names: without it, whoever unpacks the payload by rpm2cpio and cpio, as rpmlint does,
		// overwrites the files of the machine.
		if err := cpioHeader(plain, i+1, "./"+e.Name, m, links, t.Unix(), e.Size); err != nil {
			return nil, nil, err
		}
		if e.Folder {
			continue
		}
		content := artifact.NewMeter(plain)
		if err := e.CopyTo(content); err != nil {
			return nil, nil, err
		}
		if _, err := plain.Write(make([]byte, -e.Size&3)); err != nil {
			return nil, nil, err
		}
		digests[i] = content.Digest().Hex()
	}
	if err := cpioHeader(plain, 0, "TRAILER!!!", 0, 1, 0, 0); err != nil {
		return nil, nil, err
	}
	return plain, digests, zw.Close()
}

// cpioHeader writes a header of cpio's new format: a magic, 13 numbers of 8 hexadecimal digits, and the name with a zero,
// filled up to a multiple of four (https://manpages.debian.org/cpio.5).
func cpioHeader(w io.Writer, inode int, name string, mode, links uint16, mtime, size int64) error {
	h := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, mode, 0, 0, links, mtime, size, 0, 0, 0, 0, len(name)+1, 0, name)
	_, err := io.WriteString(w, h+"\x00\x00\x00"[:-len(h)&3])
	return err
}

// The flags of files (https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmfiles.h).
const (
	flagConfig, flagDoc, flagNoReplace, flagLicense = 1 << 0, 1 << 1, 1 << 4, 1 << 7
)

var flags = map[format.Role]uint32{
	format.Config: flagConfig | flagNoReplace, format.License: flagLicense, format.Document: flagDoc, format.Manual: flagDoc,
}

const (
	algoSHA256 = 8
	folderSize = 4096      // that a folder takes on most disks
	verifyAll  = 1<<32 - 1 // what rpm --verify compares
)

// filesOf is what the header has of the files, a column for each thing. Sizes and times are of 32 bits, as payload.Tree and
// payload.Check have them.
func filesOf(tree []payload.Entry, digests []string, t time.Time) []value {
	var total int64
	var dirs []string
	places := map[string]uint32{} // in dirs
	dirIndexes := make([]uint32, len(tree))
	for i, e := range tree {
		total += e.Size
		dir, _ := path.Split("/" + e.Name)
		if _, ok := places[dir]; !ok {
			places[dir] = uint32(len(dirs)) //nolint:gosec // a place in a list
			dirs = append(dirs, dir)
		}
		dirIndexes[i] = places[dir]
	}
	all := func(n uint32) []uint32 { return slices.Repeat([]uint32{n}, len(tree)) }
	root := slices.Repeat([]string{"root"}, len(tree))
	none := make([]string, len(tree))
	return []value{
		numbers(tagSize, uint32(total)), //nolint:gosec // see above
		texts(tagBaseNames, column(tree, func(_ int, e payload.Entry) string { return path.Base(e.Name) })...),
		numbers(tagDirIndexes, dirIndexes...),
		texts(tagDirNames, dirs...),
		numbers(tagFileSizes, column(tree, func(_ int, e payload.Entry) uint32 {
			if e.Folder {
				return folderSize
			}
			return uint32(e.Size) //nolint:gosec // see above
		})...),
		shorts(tagFileModes, column(tree, func(_ int, e payload.Entry) uint16 { m, _ := mode(e); return m })...),
		texts(tagFileUsers, root...),
		texts(tagFileGroups, root...),
		numbers(tagFileTimes, all(uint32(t.Unix()))...), //nolint:gosec // see above
		texts(tagFileDigests, digests...),
		numbers(tagFileDigestAlgos, all(algoSHA256)...),
		texts(tagFileLinks, none...),
		numbers(tagFileFlags, column(tree, func(_ int, e payload.Entry) uint32 { return flags[e.Role] })...),
		numbers(tagFileVerify, all(verifyAll)...),
		numbers(tagFileInodes, column(tree, func(i int, _ payload.Entry) uint32 { return uint32(i + 1) })...), //nolint:gosec // a place in a list
		numbers(tagFileDevices, all(1)...),
		shorts(tagFileDeviceOf, slices.Repeat([]uint16{1}, len(tree))...),
		texts(tagFileLanguages, none...),
	}
}

func column[T any](tree []payload.Entry, of func(int, payload.Entry) T) []T {
	out := make([]T, len(tree))
	for i, e := range tree {
		out[i] = of(i, e)
	}
	return out
}
