package filelock

import (
	"errors"
	"os"
)

// Replace has a file have these bytes as a whole: whoever reads it meanwhile, or after a crash, finds what it had before or all of them.
// They are first in a file in dir, a folder of the same file system, where whoever is killed leaves that. Its owner alone may read it.
func Replace(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
