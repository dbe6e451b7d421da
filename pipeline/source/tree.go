package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// The modes of a tree's entries that git writes (https://git-scm.com/docs/git-fast-import#_filemodify). Old
// repositories have files with mode 100664.
const (
	modeFile    = "100644"
	modeGroup   = "100664"
	modeExec    = "100755"
	modeSymlink = "120000"
	modeGitlink = "160000"
)

const (
	// maxEntries bounds the files of a commit; the largest public repositories have a third of that.
	maxEntries = 1 << 20
	// maxPath bounds a path, in bytes, as Linux does.
	maxPath = 4096
)

// entry is one file, symbolic link or submodule of a commit.
type entry struct {
	mode string
	id   string // object name
	path string // slash-separated, relative to the root
}

// lsTree calls yield for every entry of the commit, in git's order.
func (r repo) lsTree(ctx context.Context, commit string, yield func(entry) error) error {
	return r.Stream(ctx, nil, func(stdout io.Reader) error {
		return readTree(stdout, yield)
	}, "ls-tree", "-r", "-z", "--full-tree", commit)
}

// readTree parses the output of git ls-tree -z: "<mode> <type> <object>\t<path>\0"
// (https://git-scm.com/docs/git-ls-tree#_output_format).
func readTree(r io.Reader, yield func(entry) error) error {
	br := bufio.NewReaderSize(r, maxPath+128)
	for n := 0; ; n++ {
		record, err := br.ReadSlice(0)
		switch {
		case errors.Is(err, io.EOF) && len(record) == 0:
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			return fault.Errorf(fault.Git, "reading the tree: a path is longer than %d bytes", maxPath)
		case err != nil:
			return fault.Errorf(fault.Git, "reading the tree: %w", err)
		case n == maxEntries:
			return fault.Errorf(fault.Git, "reading the tree: it has more than %d files", maxEntries)
		}
		e, err := parseEntry(string(record[:len(record)-1]))
		if err != nil {
			return err
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}

func parseEntry(record string) (entry, error) {
	head, path, ok := strings.Cut(record, "\t")
	fields := strings.Split(head, " ")
	if !ok || len(fields) != 3 || !git.IsObject(fields[2]) || path == "" || len(path) > maxPath {
		return entry{}, fault.Errorf(fault.Git, "reading the tree: git answers %.80q", record)
	}
	e := entry{fields[0], fields[2], path}
	kind := "blob"
	switch e.mode {
	case modeFile, modeGroup, modeExec, modeSymlink:
	case modeGitlink:
		kind = "commit"
	default:
		return entry{}, fault.Errorf(fault.Git, "path %s has mode %.10q, which no file has: check the repository with `git fsck`",
			words.Quoted(path), e.mode)
	}
	if fields[1] != kind {
		return entry{}, fault.Errorf(fault.Git, "path %s is a %.10q with the mode of a %s: check the repository with `git fsck`",
			words.Quoted(path), fields[1], kind)
	}
	return e, nil
}

// checkPath refuses paths that would be written outside the folder they belong in, or into a .git that a later git
// would obey, under any name that a file system takes for it.
func checkPath(p string) error {
	refuse := func(why string) error {
		return fault.Errorf(fault.Git, "path %s of the commit %s: rename it", words.Quoted(p), why)
	}
	if p == "" || len(p) > maxPath {
		return refuse(fmt.Sprintf("is empty or longer than %d bytes", maxPath))
	}
	if strings.HasPrefix(p, "/") {
		return refuse("is absolute")
	}
	if strings.ContainsRune(p, 0) {
		return refuse("contains a zero byte")
	}
	if os.PathSeparator != '/' && strings.ContainsRune(p, os.PathSeparator) {
		return refuse("contains " + string(os.PathSeparator))
	}
	for name := range strings.SplitSeq(p, "/") {
		switch {
		case name == "" || name == "." || name == "..":
			return refuse(fmt.Sprintf("contains the name %q", name))
		case isDotGit(name):
			return refuse("contains a name that file systems take for .git")
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(p)) {
		return refuse("is not a file name on this system")
	}
	return nil
}

// isDotGit reports whether a file system could open .git under this name: case is ignored by several, dots and spaces
// at the end, short names and streams are NTFS's, invisible code points HFS+'s (CVE-2014-9390).
func isDotGit(name string) bool {
	name = strings.Map(func(r rune) rune {
		switch {
		case 0x200c <= r && r <= 0x200f, 0x202a <= r && r <= 0x202e, 0x206a <= r && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, name)
	name, _, _ = strings.Cut(name, ":")
	name = strings.TrimRight(name, ". ")
	return strings.EqualFold(name, ".git") || strings.EqualFold(name, "git~1")
}

// maxLink bounds the target of a symbolic link, in bytes.
const maxLink = maxPath

// leaves reports whether the symbolic link at p leads out of the tree when it is followed, through other links of the
// tree as well: targets maps the paths of all links to their targets. A link that leads nowhere or in circles stays.
func leaves(targets map[string]string, p string) bool {
	// More links in a row are followed by no system.
	const maxHops = 255
	at := parentNames(p)
	todo := []string{p[strings.LastIndexByte(p, '/')+1:]}
	for hops := 0; len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return true
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, name)
		target, isLink := targets[strings.Join(at, "/")]
		if !isLink {
			continue
		}
		if hops++; hops > maxHops {
			return false
		}
		if isAbsolute(target) {
			return true
		}
		at = at[:len(at)-1]
		names := strings.Split(target, "/")
		for i := len(names) - 1; i >= 0; i-- {
			todo = append(todo, names[i])
		}
	}
	return false
}

func parentNames(p string) []string {
	names := strings.Split(p, "/")
	return names[:len(names)-1]
}

// isAbsolute reports whether a target is absolute on any system.
func isAbsolute(target string) bool {
	drive := len(target) > 1 && target[1] == ':' && strings.ContainsAny(target[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	return strings.HasPrefix(target, "/") || strings.HasPrefix(target, `\`) || drive
}
