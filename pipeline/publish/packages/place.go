package packages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// place is where a repository is. Names are below it.
type place interface {
	close()
	// lock keeps others out until unlock is called, where a place can; elsewhere write does.
	lock(ctx context.Context) (unlock func() error, err error)
	// read is what a file of at most limit bytes has, and a tag of that; fs.ErrNotExist where there is none.
	read(ctx context.Context, name string, limit int64) (b []byte, tag string, err error)
	// write has a file have these bytes, as a whole. Where the place cannot be locked and the file is not what was read under this
	// tag, "" for none, it is a bucket.ErrChanged.
	write(ctx context.Context, name string, b []byte, was string) error
	remove(ctx context.Context, name string) error
	// list are the names of the files in a folder, which ends with a slash.
	list(ctx context.Context, dir string) ([]string, error)
	// share has a file of a release be found under another name, too.
	share(ctx context.Context, name string, s shared) error
	shares(ctx context.Context, name string, s shared) (bool, error)
	// open opens a file of a release, of at most size bytes.
	open(ctx context.Context, name string, size int64) (file, error)
}

// shared is a file of a release, by its name below the place.
type shared struct {
	Of     string          `json:"of"`
	Digest artifact.Digest `json:"digest"`
}

// file is a file that is read.
type file interface {
	io.ReaderAt
	io.ReadCloser
}

// folder is a folder on this machine, with its releases, which may be a link.
type folder struct {
	*os.Root
	releases *os.Root
}

func openFolder(dir string) (place, error) {
	if info, err := os.Stat(filepath.Join(dir, releasesDir)); err != nil || !info.IsDir() {
		return nil, fault.Errorf(fault.Usage, "%s has no folder releases: name one in which publish.folder is %s", dir, filepath.Join(dir, releasesDir))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	releases, err := os.OpenRoot(filepath.Join(dir, releasesDir))
	if err != nil {
		return nil, fault.New(fault.Usage, errors.Join(err, root.Close()))
	}
	return folder{root, releases}, nil
}

func (f folder) close() { _, _ = f.Root.Close(), f.releases.Close() }

func (f folder) lock(ctx context.Context) (func() error, error) {
	if err := f.MkdirAll(stateDir, 0o755); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(f.Name(), stateDir, ".lock"), patience)
	return unlock, fault.New(fault.Transient, err)
}

// in is the root that a name is below, and its name there.
func (f folder) in(name string) (*os.Root, string) {
	if rest, ok := strings.CutPrefix(name, releasesDir); ok {
		return f.releases, rest
	}
	return f.Root, name
}

func (f folder) read(_ context.Context, name string, limit int64) ([]byte, string, error) {
	root, at := f.in(name)
	b, err := bounded.FS(root.FS(), at, limit)
	return b, "", fault.New(fault.Usage, err)
}

func (f folder) write(_ context.Context, name string, b []byte, _ string) error {
	return f.replace(name, func(fresh string) error { return f.WriteFile(fresh, b, 0o644) })
}

// replace has a name be what is made under another one, which nobody else takes, since the folder is locked.
func (f folder) replace(name string, make func(fresh string) error) error {
	fresh := path.Join(path.Dir(name), ".new-"+path.Base(name))
	err := f.MkdirAll(path.Dir(name), 0o755)
	if err == nil {
		err = make(fresh)
	}
	if err == nil {
		err = f.Rename(fresh, name)
	}
	return fault.New(fault.Usage, err)
}

func (f folder) remove(_ context.Context, name string) error {
	if err := f.Root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Usage, err)
	}
	return nil
}

func (f folder) list(_ context.Context, dir string) (all []string, err error) {
	entries, err := fs.ReadDir(f.FS(), path.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		all = append(all, dir+e.Name())
	}
	return all, fault.New(fault.Usage, err)
}

// target is what a link has that leads to a file of a release.
func target(name, of string) string { return strings.Repeat("../", strings.Count(name, "/")) + of }

// share makes a link, so that no package is there twice, and so that slipway serve knows what a name stands for.
func (f folder) share(_ context.Context, name string, s shared) error {
	return f.replace(name, func(fresh string) error {
		if err := f.remove(context.Background(), fresh); err != nil {
			return err
		}
		if err := f.Symlink(filepath.FromSlash(target(name, s.Of)), fresh); err != nil {
			return fmt.Errorf("%w; apk finds packages under names that are links here: have them made by somebody who may make links, or give no key of RSA", err)
		}
		return nil
	})
}

func (f folder) shares(_ context.Context, name string, s shared) (bool, error) {
	to, err := f.Readlink(name)
	return err == nil && filepath.ToSlash(to) == target(name, s.Of), nil
}

func (f folder) open(_ context.Context, name string, _ int64) (file, error) {
	root, at := f.in(name)
	in, err := root.Open(at)
	return in, fault.New(fault.Usage, err)
}

// objects are a bucket. Two writers there are kept apart by what each has read: see write of package packages.
type objects struct{ *bucket.Objects }

func (o objects) close() {}

func (o objects) lock(context.Context) (func() error, error) {
	return func() error { return nil }, nil
}

func (o objects) read(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	return o.Read(ctx, name, limit)
}

func (o objects) write(ctx context.Context, name string, b []byte, was string) error {
	return o.Write(ctx, name, b, was, rank(name) == 0)
}

func (o objects) remove(ctx context.Context, name string) error { return o.Remove(ctx, name) }

func (o objects) list(ctx context.Context, dir string) ([]string, error) { return o.List(ctx, dir) }

// share copies within the bucket, which knows no links.
func (o objects) share(ctx context.Context, name string, s shared) error {
	return o.Copy(ctx, name, s.Of, s.Digest)
}

func (o objects) shares(ctx context.Context, name string, s shared) (bool, error) {
	told, err := o.Told(ctx, name)
	return told == s.Digest, err
}

// fetched is a file that was brought here, and goes when it is closed.
type fetched struct{ *os.File }

func (f fetched) Close() error { return errors.Join(f.File.Close(), os.Remove(f.Name())) }

func (o objects) open(ctx context.Context, name string, size int64) (file, error) {
	f, err := os.CreateTemp("", "slipway-package-*")
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	err = o.Fetch(ctx, name, f, size+1)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.New(fault.Mismatch, fmt.Errorf("%w, and its release has it: publish it again", err))
	}
	if _, seekErr := f.Seek(0, io.SeekStart); err == nil {
		err = seekErr
	}
	if err != nil {
		return nil, errors.Join(err, fetched{f}.Close())
	}
	return fetched{f}, nil
}
