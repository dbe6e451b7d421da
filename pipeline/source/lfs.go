package source

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// A Git LFS pointer (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#the-pointer) is shorter than 1024 bytes
// and begins with its version.
const (
	lfsVersion = "version https://git-lfs.github.com/spec/v1"
	maxPointer = 1023
)

// pointer is a file whose blob looks like a Git LFS pointer.
type pointer struct {
	path string // in its repository
	exec bool
	text []byte
}

func isPointer(head []byte) bool { return bytes.HasPrefix(head, []byte(lfsVersion)) }

// parsePointer reads the digest and the size of the contents. Pointers with extensions, which name further programs,
// are not read.
func parsePointer(text []byte) (sum string, size int64, ok bool) {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 3 || lines[0] != lfsVersion {
		return "", 0, false
	}
	sum, isSum := strings.CutPrefix(lines[1], "oid sha256:")
	number, isSize := strings.CutPrefix(lines[2], "size ")
	size, err := strconv.ParseInt(number, 10, 64)
	if !isSum || !isSize || err != nil || size < 0 || len(sum) != 2*sha256.Size || !git.IsObject(sum) {
		return "", 0, false
	}
	return sum, size, true
}

// writePointers writes what the pointers of one repository stand for. A file that only looks like a pointer, having no
// filter=lfs attribute, is written as it is.
func (x *exporter) writePointers(ctx context.Context, r repo, commit, at string, pointers []pointer) error {
	if len(pointers) == 0 {
		return nil
	}
	isLFS, err := r.lfsPaths(ctx, commit, pointers)
	if err != nil {
		return err
	}
	store := ""
	for _, p := range pointers {
		if !isLFS[p.path] {
			if err := x.file(at+p.path, p.exec, int64(len(p.text)), bytes.NewReader(p.text)); err != nil {
				return err
			}
			continue
		}
		if store == "" {
			if store, err = r.lfsStore(ctx); err != nil {
				return err
			}
		}
		if err := x.lfsFile(store, at, p); err != nil {
			return err
		}
	}
	return nil
}

// lfsFile writes the contents from the local store, held to the digest in the pointer.
func (x *exporter) lfsFile(store, at string, p pointer) error {
	sum, size, ok := parsePointer(p.text)
	if !ok {
		return fault.Errorf(fault.Git, "file %s is a Git LFS pointer in a form that is not understood: commit it again with `git lfs migrate`",
			words.Quoted(at+p.path))
	}
	missing := func(why string) error {
		return fault.Errorf(fault.Git, "file %s is a Git LFS pointer and its contents are %s: fetch them with `git lfs pull`",
			words.Quoted(at+p.path), why)
	}
	// Git LFS stores no empty file.
	if size == 0 {
		return x.file(at+p.path, p.exec, 0, strings.NewReader(""))
	}
	f, err := os.Open(filepath.Join(store, "objects", sum[:2], sum[2:4], sum))
	if errors.Is(err, fs.ErrNotExist) {
		return missing("not in this clone")
	}
	if err != nil {
		return fault.Errorf(fault.Git, "reading the contents of %s: %w", words.Quoted(at+p.path), err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return missing("damaged in this clone")
	}
	h := sha256.New()
	if err := x.file(at+p.path, p.exec, size, io.TeeReader(f, h)); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return missing("damaged in this clone")
	}
	return nil
}

// lfsPaths are the pointers with the attribute filter=lfs: by the attributes of the commit, and of the work tree where there is
// none. Git before 2.40 reads those of a commit from an index alone.
func (r repo) lfsPaths(ctx context.Context, commit string, pointers []pointer) (map[string]bool, error) {
	var in strings.Builder
	for _, p := range pointers {
		in.WriteString(p.path + "\x00")
	}
	args := []string{"check-attr", "-z", "--stdin", "filter"}
	if commit != "" {
		dir, err := os.MkdirTemp("", "slipway-index-")
		if err != nil {
			return nil, exportError(err)
		}
		defer os.RemoveAll(dir)
		r = repo{r.With("GIT_INDEX_FILE=" + filepath.Join(dir, "index")), r.bare}
		if _, err := r.run(ctx, "read-tree", commit); err != nil {
			return nil, err
		}
		args = slices.Insert(args, 1, "--cached")
		if r.bare { // of which git asks for a work tree where the repository's configuration says that it has one
			r.GitDir = r.Dir
			r = repo{r.With("GIT_WORK_TREE=" + dir), true}
		}
	}
	out, err := r.ask(ctx, in.String(), args...)
	if err != nil {
		return nil, err
	}
	paths := map[string]bool{}
	fields := strings.Split(out, "\x00")
	for ; len(fields) >= 3; fields = fields[3:] {
		if fields[2] == "lfs" {
			paths[fields[0]] = true
		}
	}
	return paths, nil
}

// mayHaveLFS reports whether the attributes of the commit speak of Git LFS, so that every small file may be a pointer.
func (r repo) mayHaveLFS(ctx context.Context, entries []entry) (may bool, err error) {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return path.Base(e.path) != ".gitattributes" || e.mode == modeSymlink })
	if len(entries) == 0 {
		return false, nil
	}
	err = r.Stream(ctx, &requests{entries: entries}, func(stdout io.Reader) error {
		// The answers are looked through as one text, with what stands between them.
		const word = "filter=lfs"
		br, tail := bufio.NewReaderSize(stdout, 64<<10), ""
		for {
			b, err := br.ReadSlice('\n')
			may = may || strings.Contains(tail+string(b), word)
			if tail = string(b[max(0, len(b)-len(word)):]); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				return err
			}
		}
	}, "cat-file", "--batch", "--buffer")
	return may, err
}

// lfsStore is where Git LFS keeps contents: lfs.storage, else lfs in the repository that worktrees share.
func (r repo) lfsStore(ctx context.Context) (string, error) {
	out, err := r.run(ctx, "rev-parse", "--git-common-dir")
	if err != nil {
		return "", err
	}
	common := filepath.FromSlash(strings.TrimSuffix(out, "\n"))
	if !filepath.IsAbs(common) {
		common = filepath.Join(r.Dir, common)
	}
	out, err = r.run(ctx, "config", "--type=path", "--get", "lfs.storage")
	if git.No(err) {
		return filepath.Join(common, "lfs"), nil
	}
	if err != nil {
		return "", err
	}
	storage := filepath.FromSlash(strings.TrimSuffix(out, "\n"))
	if !filepath.IsAbs(storage) {
		storage = filepath.Join(common, storage)
	}
	return storage, nil
}
