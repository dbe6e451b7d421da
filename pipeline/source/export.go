package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Export writes the tree of the commit into the empty folder dir: every blob as it is recorded, submodules at the
// commits that are recorded, no .git, modes 0644 and 0755 whatever the umask. On an error dir holds a part of it.
//
// Where the source is dirty, the files of the work tree are written instead, tracked and untracked but not ignored.
// Other repositories in the work tree that are not submodules are left out, as git leaves them out.
//
// A Git LFS pointer stands for contents of a certain SHA-256 and is replaced by them, from the clone's own store and
// without running Git LFS; where they are missing the error says how to fetch them. Refused are paths and symbolic
// links that leave the tree and names that the file system takes for one.
func (s Source) Export(ctx context.Context, dir string) error { return s.ExportSome(ctx, dir, nil) }

// ExportSome is Export for those who look at some files: it refuses the paths, links, submodules and missing contents of Git LFS
// that Export refuses, and writes only what keep picks by its path. Where a symbolic link is among that, all is written, since the
// link may lead to any of it; nil picks all, too. keep also answers for the folders on the way to what it picks.
func (s Source) ExportSome(ctx context.Context, dir string, keep func(path string) bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return exportError(err)
	}
	defer root.Close()
	if entries, err := fs.ReadDir(root.FS(), "."); err != nil {
		return exportError(err)
	} else if len(entries) > 0 {
		return fault.Errorf(fault.Build, "exporting the source: %s is not empty", dir)
	}
	x := &exporter{root: root, keep: keep, dirs: map[string]bool{}, targets: map[string]string{}, buf: make([]byte, 256<<10)}
	defer x.leaveFolder()
	r, err := s.git(ctx)
	if err != nil {
		return err
	}
	if s.Dirty {
		err = x.workTree(ctx, r, "", 0)
	} else {
		err = x.commit(ctx, r, s.Commit, "", 0)
	}
	if err == nil {
		err = x.symlinks()
	}
	return err
}

// exportError is a fault of the machine's, such as a full disk.
func exportError(err error) error { return fault.Errorf(fault.Build, "exporting the source: %w", err) }

// exporter writes files of several repositories into one folder.
type exporter struct {
	root    *os.Root
	keep    func(path string) bool // what is written; nil is all
	dirs    map[string]bool        // folders that were made, slash-separated
	targets map[string]string      // symbolic links, made last: nothing is ever written through one
	links   []string               // their paths in order
	buf     []byte

	// The folder that the last file was written into. Git's order keeps a folder's files together, so that most
	// files cost no walk from the root.
	folder     *os.Root
	folderPath string
}

// commit writes the commit of r below at, "" or a path with a slash at its end.
func (x *exporter) commit(ctx context.Context, r repo, commit, at string, depth int) error {
	var blobs, gitlinks []entry
	err := r.lsTree(ctx, commit, func(e entry) error {
		if err := checkPath(at + e.path); err != nil {
			return err
		}
		if e.mode == modeGitlink {
			gitlinks = append(gitlinks, e)
		} else {
			blobs = append(blobs, e)
		}
		if e.mode == modeSymlink {
			x.link(at + e.path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if x.keep != nil {
		if lfs, err := r.mayHaveLFS(ctx, blobs); err != nil {
			return err
		} else if !lfs {
			blobs = slices.DeleteFunc(blobs, func(e entry) bool { return e.mode != modeSymlink && x.skips(at+e.path) })
		}
	}
	pointers, err := x.blobs(ctx, r, at, blobs)
	if err != nil {
		return err
	}
	if err := x.writePointers(ctx, r, commit, at, pointers); err != nil {
		return err
	}
	for _, link := range gitlinks {
		sub, err := r.submodule(ctx, link, at, depth)
		if err != nil {
			return err
		}
		if id, err := sub.resolve(ctx, link.id); err != nil {
			return err
		} else if id != link.id {
			return fault.Errorf(fault.Git, "submodule %s does not have the recorded commit %s: fetch it with "+
				"`git submodule update --init --recursive`", words.Quoted(at+link.path), link.id)
		}
		if err := x.mkdir(at + link.path); err != nil {
			return err
		}
		if err := x.commit(ctx, sub, link.id, at+link.path+"/", depth+1); err != nil {
			return err
		}
	}
	return nil
}

// blobs writes the files among the entries and notes the symbolic links. It returns what looks like Git LFS.
func (x *exporter) blobs(ctx context.Context, r repo, at string, entries []entry) ([]pointer, error) {
	var pointers []pointer
	err := r.Stream(ctx, &requests{entries: entries}, func(stdout io.Reader) error {
		br := bufio.NewReaderSize(stdout, 256<<10)
		for _, e := range entries {
			p, err := x.blob(br, at, e)
			if err != nil {
				return err
			}
			if p != nil {
				pointers = append(pointers, *p)
			}
		}
		return nil
	}, "cat-file", "--batch", "--buffer")
	return pointers, err
}

// requests reads as one object name per line.
type requests struct {
	entries []entry
	line    []byte
}

func (q *requests) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(q.line) == 0 {
			if len(q.entries) == 0 {
				break
			}
			q.line = append(append(q.line, q.entries[0].id...), '\n')
			q.entries = q.entries[1:]
		}
		c := copy(p[n:], q.line)
		q.line = q.line[c:]
		n += c
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// blob reads one answer of git cat-file --batch (https://git-scm.com/docs/git-cat-file#_batch_output).
func (x *exporter) blob(br *bufio.Reader, at string, e entry) (*pointer, error) {
	header, err := br.ReadSlice('\n')
	if err != nil {
		return nil, fault.Errorf(fault.Git, "reading %s from git: %w", words.Quoted(at+e.path), err)
	}
	size, err := blobSize(string(header[:len(header)-1]), e.id)
	if err != nil {
		return nil, fault.Errorf(fault.Git, "reading %s from git: %w", words.Quoted(at+e.path), err)
	}
	contents := io.LimitReader(br, size)
	var p *pointer
	switch {
	case e.mode == modeSymlink:
		if size > maxLink {
			return nil, fault.Errorf(fault.Git, "symbolic link %s of the commit has a target of %d bytes: remove it", words.Quoted(at+e.path), size)
		}
		target := make([]byte, size)
		if _, err = io.ReadFull(contents, target); err == nil {
			err = x.symlink(at+e.path, string(target))
		}
	case size <= maxPointer && peekPointer(br, size):
		p = &pointer{e.path, e.mode == modeExec, make([]byte, size)}
		_, err = io.ReadFull(contents, p.text)
	default:
		err = x.file(at+e.path, e.mode == modeExec, size, contents)
	}
	if err != nil {
		return nil, err
	}
	if c, err := br.ReadByte(); err != nil || c != '\n' {
		return nil, fault.Errorf(fault.Git, "reading %s from git: the blob has no end", words.Quoted(at+e.path))
	}
	return p, nil
}

func peekPointer(br *bufio.Reader, size int64) bool {
	head, err := br.Peek(len(lfsVersion))
	return err == nil && size >= int64(len(lfsVersion)) && isPointer(head)
}

func blobSize(header, id string) (int64, error) {
	if header == id+" missing" {
		return 0, fmt.Errorf("object %s is missing: check the clone with `git fsck`, or clone it again", id)
	}
	number, ok := strings.CutPrefix(header, id+" blob ")
	size, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || size < 0 {
		return 0, fmt.Errorf("git answers %.80q", header)
	}
	return size, nil
}

// workTree writes the files of the work tree of r below at.
func (x *exporter) workTree(ctx context.Context, r repo, at string, depth int) error {
	tracked, untracked, err := r.files(ctx)
	if err != nil {
		return err
	}
	tree, err := os.OpenRoot(r.Dir)
	if err != nil {
		return exportError(err)
	}
	defer tree.Close()
	w := workTree{tree: tree, isDir: map[string]bool{".": true}}
	var pointers []pointer
	all := slices.Concat(tracked, untracked)
	for _, f := range all {
		if info, err := w.lstat(f.path); x.keep != nil && err == nil && info.Mode()&fs.ModeSymlink != 0 {
			x.link(at + f.path)
		}
	}
	for _, f := range all {
		switch {
		case f.mode == modeGitlink:
			sub, err := r.submodule(ctx, f.entry, at, depth)
			if err != nil {
				return err
			}
			if err := x.mkdir(at + f.path); err != nil {
				return err
			}
			if err := x.workTree(ctx, sub, at+f.path+"/", depth+1); err != nil {
				return err
			}
			continue
		case f.skipped && !w.exists(f.path):
			return fault.Errorf(fault.Git, "file %s is left out of this sparse checkout: fill it with `git sparse-checkout disable`",
				words.Quoted(at+f.path))
		}
		if err := checkPath(at + f.path); err != nil {
			return err
		}
		p, err := x.workFile(w, at, f.path, f.mode)
		if err != nil {
			return err
		}
		if p != nil {
			pointers = append(pointers, *p)
		}
	}
	return x.writePointers(ctx, r, "", at, pointers)
}

// listed is a path that git knows or sees in a work tree.
type listed struct {
	entry        // mode "" where git does not track it
	skipped bool // a sparse checkout leaves it out
}

// files are the paths of the work tree, tracked and untracked but not ignored
// (https://git-scm.com/docs/git-ls-files#_output).
func (r repo) files(ctx context.Context) (tracked, untracked []listed, err error) {
	out, err := r.run(ctx, "ls-files", "-z", "-t", "--stage")
	if err != nil {
		return nil, nil, err
	}
	last := ""
	for record := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		// "<tag> <mode> <object> <stage>\t<path>"; a path in conflict comes once for each stage.
		head, p, _ := strings.Cut(record, "\t")
		fields := strings.Fields(head)
		if record == "" || p == last {
			continue
		}
		last = p
		if len(fields) != 4 {
			return nil, nil, fault.Errorf(fault.Git, "reading the index: git answers %.80q", record)
		}
		tracked = append(tracked, listed{entry{fields[1], fields[2], p}, fields[0] == "S"})
	}
	if out, err = r.run(ctx, "ls-files", "-z", "--others", "--exclude-standard"); err != nil {
		return nil, nil, err
	}
	for p := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		// A path with a slash at its end is another repository.
		if p != "" && !strings.HasSuffix(p, "/") {
			untracked = append(untracked, listed{entry: entry{path: p}})
		}
	}
	return tracked, untracked, nil
}

// workTree reads files of a work tree, never through a symbolic link: git takes a path below one for deleted.
type workTree struct {
	tree  *os.Root
	isDir map[string]bool
}

func (w workTree) lstat(p string) (fs.FileInfo, error) {
	if !w.hasDir(path.Dir(p)) {
		return nil, fs.ErrNotExist
	}
	return w.tree.Lstat(filepath.FromSlash(p))
}

func (w workTree) hasDir(dir string) bool {
	is, known := w.isDir[dir]
	if !known {
		info, err := w.lstat(dir)
		is = err == nil && info.IsDir()
		w.isDir[dir] = is
	}
	return is
}

func (w workTree) exists(p string) bool {
	_, err := w.lstat(p)
	return err == nil
}

// workFile writes one file of the work tree. mode is that of the index, "" for an untracked file. A file that is gone
// is a change like any other.
func (x *exporter) workFile(w workTree, at, p, mode string) (*pointer, error) {
	info, err := w.lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, exportError(err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := w.tree.Readlink(filepath.FromSlash(p))
		if err != nil {
			return nil, exportError(err)
		}
		return nil, x.symlink(at+p, filepath.ToSlash(target))
	case !info.Mode().IsRegular():
		return nil, fault.Errorf(fault.Git, "%s is neither a file nor a symbolic link: remove it, or name it in .gitignore", words.Quoted(at+p))
	}
	if x.skips(at+p) && info.Size() > maxPointer {
		return nil, nil
	}
	f, err := w.tree.Open(filepath.FromSlash(p))
	if err != nil {
		return nil, exportError(err)
	}
	defer f.Close()
	exec := info.Mode()&0o111 != 0
	if runtime.GOOS == "windows" {
		exec = mode == modeExec
	}
	if info.Size() <= maxPointer {
		text, err := bounded.Head(f, info.Size())
		if err != nil {
			return nil, exportError(err)
		}
		if isPointer(text) {
			return &pointer{p, exec, text}, nil
		}
		return nil, x.file(at+p, exec, int64(len(text)), bytes.NewReader(text))
	}
	return nil, x.file(at+p, exec, info.Size(), f)
}

// link has everything written where a symbolic link is among what was picked.
func (x *exporter) link(p string) {
	if !x.skips(p) {
		x.keep = nil
	}
}

// skips reports whether a file is read and not written.
func (x *exporter) skips(p string) bool { return x.keep != nil && !x.keep(p) }

// file writes size bytes of r to a file that is not there yet.
func (x *exporter) file(p string, exec bool, size int64, r io.Reader) error {
	if x.skips(p) {
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(r, size), x.buf)
		if err == nil && n != size {
			err = fmt.Errorf("%s: %w", words.Quoted(p), io.ErrUnexpectedEOF)
		}
		if err != nil {
			return exportError(err)
		}
		return nil
	}
	if err := x.enter(path.Dir(p)); err != nil {
		return err
	}
	f, err := x.folder.OpenFile(path.Base(p), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return x.collision(p, err)
	}
	mode := fs.FileMode(0o644)
	if exec {
		mode = 0o755
	}
	if err := f.Chmod(mode); err != nil {
		f.Close()
		return exportError(err)
	}
	// A wrapper hides the file's ReadFrom, which would take a buffer of its own.
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(r, size), x.buf)
	if err == nil && n != size {
		err = fmt.Errorf("%s: %w", words.Quoted(p), io.ErrUnexpectedEOF)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return exportError(err)
	}
	return nil
}

// symlink notes a symbolic link.
func (x *exporter) symlink(p, target string) error {
	if target == "" || strings.ContainsRune(target, 0) {
		return fault.Errorf(fault.Git, "symbolic link %s has no target that a file system can keep: remove it", words.Quoted(p))
	}
	x.targets[p] = target
	x.links = append(x.links, p)
	return nil
}

// symlinks makes the links, once all of them are known.
func (x *exporter) symlinks() error {
	for _, p := range x.links {
		if leaves(x.targets, p) {
			return fault.Errorf(fault.Git, "symbolic link %s leads out of the source, to %s, where every machine has something else: "+
				"let it lead to a file of the source, or remove it", words.Quoted(p), words.Quoted(x.targets[p]))
		}
		if err := x.enter(path.Dir(p)); err != nil {
			return err
		}
		if err := x.folder.Symlink(filepath.FromSlash(x.targets[p]), path.Base(p)); err != nil {
			return x.collision(p, err)
		}
	}
	return nil
}

// enter makes the folder, unless it was made before, and opens it.
func (x *exporter) enter(dir string) error {
	if x.folder != nil && x.folderPath == dir {
		return nil
	}
	if err := x.mkdir(dir); err != nil {
		return err
	}
	folder, err := x.root.OpenRoot(filepath.FromSlash(dir))
	if err != nil {
		return exportError(err)
	}
	x.leaveFolder()
	x.folder, x.folderPath = folder, dir
	return nil
}

func (x *exporter) leaveFolder() {
	if x.folder != nil {
		x.folder.Close()
	}
}

// mkdir makes the folder and its parents. A folder that is there and was not made here is another one by name.
func (x *exporter) mkdir(dir string) error {
	if dir == "." || x.dirs[dir] {
		return nil
	}
	if err := x.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	name := filepath.FromSlash(dir)
	if err := x.root.Mkdir(name, 0o755); err != nil {
		return x.collision(dir, err)
	}
	if err := x.root.Chmod(name, 0o755); err != nil {
		return exportError(err)
	}
	x.dirs[dir] = true
	return nil
}

func (x *exporter) collision(p string, err error) error {
	if !errors.Is(err, fs.ErrExist) {
		return exportError(err)
	}
	return fault.Errorf(fault.Git, "path %s has the same name as another in this file system, which may ignore case: "+
		"rename one of them, or build on another file system", words.Quoted(p))
}
