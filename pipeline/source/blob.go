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
	"strconv"
	"strings"
	"syscall"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Blob is the content of a file of the commit, of the work tree where the source is dirty: nil, and no error, where
// there is none. name is slash-separated and relative to the root; symbolic links are followed as long as they stay in
// the tree. A folder, a file of more than limit bytes and a link that leaves the tree are errors.
//
// Unlike Export, Blob returns the pointer of a file in Git LFS and not what it stands for.
func (s Source) Blob(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := checkPath(name); err != nil {
		return nil, err
	}
	if err := checkName("path", name); err != nil {
		return nil, err
	}
	var b []byte
	var err error
	if s.Dirty {
		b, err = s.workBlob(name, limit)
	} else {
		b, err = s.commitBlob(ctx, name, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", words.Quoted(name), err)
	}
	return b, nil
}

// List are the paths of the files that are directly in a folder of the commit, of the work tree where the source is dirty, in order: none,
// and no error, where there is no such folder. dir is as in Blob.
func (s Source) List(ctx context.Context, dir string) ([]string, error) {
	if err := checkPath(dir); err != nil {
		return nil, err
	}
	var names []string
	var err error
	if s.Dirty {
		names, err = s.workList(dir)
	} else {
		var r repo
		if r, err = s.git(ctx); err == nil {
			err = r.Stream(ctx, nil, func(stdout io.Reader) error {
				return readTree(stdout, func(e entry) error {
					if path.Dir(e.path) == dir && e.mode != modeGitlink {
						names = append(names, e.path)
					}
					return nil
				})
			}, "ls-tree", "-r", "-z", "--full-tree", s.Commit, "--", dir+"/")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", words.Quoted(dir), err)
	}
	return names, nil
}

func (s Source) workList(dir string) (names []string, err error) {
	tree, err := os.OpenRoot(s.Root)
	if err != nil {
		return nil, fault.New(fault.Git, err)
	}
	defer tree.Close()
	info, err := tree.Lstat(filepath.FromSlash(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() { // a link is no folder in a commit either
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Git, err)
	}
	files, err := fs.ReadDir(tree.FS(), dir)
	for _, f := range files {
		if !f.IsDir() {
			names = append(names, path.Join(dir, f.Name()))
		}
	}
	return names, fault.New(fault.Git, err)
}

func tooLarge(size, limit int64) error {
	return fault.Errorf(fault.Git, "it has %d bytes, more than %d", size, limit)
}

func leavesTree() error {
	return fault.Errorf(fault.Git, "a symbolic link on its path leads out of the source: let it lead to a file of the source")
}

func (s Source) workBlob(name string, limit int64) ([]byte, error) {
	tree, err := os.OpenRoot(s.Root)
	if err != nil {
		return nil, fault.New(fault.Git, err)
	}
	defer tree.Close()
	local := filepath.FromSlash(name)
	info, err := tree.Stat(local)
	if err == nil && info.Mode().IsRegular() {
		var f *os.File
		if f, err = tree.Open(local); err == nil {
			defer f.Close()
			b, err := bounded.Read(f, limit)
			if bounded.IsTooLarge(err) {
				return nil, tooLarge(max(info.Size(), limit+1), limit)
			}
			return b, fault.New(fault.Git, err)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, nil
	case err != nil && strings.Contains(err.Error(), "escapes"): // os has no name for this error
		return nil, leavesTree()
	case err != nil:
		return nil, fault.New(fault.Git, err)
	}
	return nil, fault.Errorf(fault.Git, "it is not a file")
}

// commitBlob asks git cat-file (https://git-scm.com/docs/git-cat-file#_batch_output).
func (s Source) commitBlob(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := s.git(ctx)
	if err != nil {
		return nil, err
	}
	var content []byte
	err = r.Stream(ctx, strings.NewReader(s.Commit+":"+name+"\n"), func(stdout io.Reader) error {
		br := bufio.NewReaderSize(stdout, 2*maxPath)
		line, err := br.ReadSlice('\n')
		if err != nil {
			return fault.New(fault.Git, err)
		}
		answer := string(bytes.TrimSuffix(line, []byte("\n")))
		for _, none := range []string{"missing", "submodule"} {
			if strings.HasSuffix(answer, " "+none) {
				return nil
			}
		}
		fields := strings.Split(answer, " ")
		if len(fields) == 2 {
			// Two lines say what is wrong with a path: "<kind> <size>\n<path>".
			switch fields[0] {
			case "dangling", "notdir":
				return drain(br)
			case "symlink", "loop":
				return leavesTree()
			}
		}
		if len(fields) != 3 || !git.IsObject(fields[0]) {
			return fault.Errorf(fault.Git, "git answers %.80q", answer)
		}
		if fields[1] != "blob" {
			return fault.Errorf(fault.Git, "it is not a file")
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || size < 0 {
			return fault.Errorf(fault.Git, "git answers %.80q", answer)
		}
		if size > limit {
			return tooLarge(size, limit)
		}
		content = make([]byte, size)
		if _, err := io.ReadFull(br, content); err != nil {
			return fault.New(fault.Git, err)
		}
		return drain(br)
	}, "cat-file", "--batch", "--follow-symlinks")
	return content, err
}

// drain reads what is left, so that git ends by itself.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, io.LimitReader(r, 2*maxPath))
	return fault.New(fault.Git, err)
}
