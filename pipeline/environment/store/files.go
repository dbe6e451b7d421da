package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// step is called between changes of files, wherever whoever is killed leaves something to those who come next.
var step = func() {}

// fresh is what the name of a file begins with that is being written.
const fresh = ".new-"

// write replaces a file as a whole.
func write(name string, b []byte) error {
	step()
	f, err := os.CreateTemp(filepath.Dir(name), fresh+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	step()
	_, err = f.Write(b)
	step()
	err = errors.Join(err, f.Sync())
	step()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	step()
	err = os.Rename(f.Name(), name)
	step()
	return err
}

// remove takes a file away that may be gone.
func remove(name string) error {
	step()
	err := os.RemoveAll(name)
	step()
	return err
}

// sweep takes away what those left who were killed: answers that they waited for, and files that they were writing.
func (s *Store) sweep() error {
	var errs []error
	for _, folder := range []string{"answers", "outbox", "."} {
		list, err := os.ReadDir(filepath.Join(s.o.Dir, folder))
		errs = append(errs, err)
		for _, e := range list {
			if folder != "answers" && !strings.HasPrefix(e.Name(), fresh) {
				continue
			}
			if info, err := e.Info(); err == nil && s.o.Now().Sub(info.ModTime()) > unclaimed {
				errs = append(errs, remove(filepath.Join(s.o.Dir, folder, e.Name())))
			}
		}
	}
	return fault.New(fault.Usage, errors.Join(errs...))
}
