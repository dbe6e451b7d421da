package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// file is one that is to be written.
type file struct {
	path string // relative to the root, separated by slashes
	data []byte
}

// write puts the files where there is none yet. All are first written beside their places and only then renamed, and a
// failure takes back the renamed ones, so that a run leaves all of its files or none.
func write(ctx context.Context, root *os.Root, files []file) (written []Written, err error) {
	var undo []string
	defer func() {
		for _, name := range slices.Backward(undo) {
			if err != nil || path.Ext(name) == temporary {
				_ = root.Remove(filepath.FromSlash(name)) // a folder that others have used since stays
			}
		}
	}()
	var staged []string
	for _, f := range files {
		if _, err := root.Lstat(filepath.FromSlash(f.path)); err == nil {
			written = append(written, Written{f.path, "it is there already"})
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Errorf(fault.Usage, "writing %s: %w", f.path, err)
		}
		if err := makeDirs(root, path.Dir(f.path), &undo); err != nil {
			return nil, fault.Errorf(fault.Usage, "writing %s: %w", f.path, err)
		}
		tmp := f.path + temporary
		_ = root.Remove(filepath.FromSlash(tmp)) // of a run that was killed
		undo = append(undo, tmp)
		if err := writeFile(root, tmp, f.data); err != nil {
			return nil, fault.Errorf(fault.Usage, "writing %s: %w", f.path, err)
		}
		staged = append(staged, f.path)
		written = append(written, Written{Path: f.path})
	}
	for _, name := range staged {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := place(root, filepath.FromSlash(name)); err != nil {
			return nil, fault.Errorf(fault.Usage, "writing %s: %w", name, err)
		}
		undo = append(undo, name)
	}
	return written, nil
}

// temporary is the ending of a file that is being written.
const temporary = ".slipway-new"

// place gives the finished file its name. A hard link fails where a file of that name has appeared meanwhile, which a
// rename would overwrite; file systems without links get a look and a rename.
func place(root *os.Root, name string) error {
	err := root.Link(name+temporary, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := root.Lstat(name); err == nil {
		return fs.ErrExist
	}
	return root.Rename(name+temporary, name)
}

func makeDirs(root *os.Root, dir string, undo *[]string) error {
	if dir == "." {
		return nil
	}
	if err := makeDirs(root, path.Dir(dir), undo); err != nil {
		return err
	}
	err := root.Mkdir(filepath.FromSlash(dir), 0o755)
	if err == nil {
		*undo = append(*undo, dir)
		return nil
	}
	if info, statErr := root.Stat(filepath.FromSlash(dir)); statErr == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	} else if statErr == nil {
		return nil
	}
	return err
}

func writeFile(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
