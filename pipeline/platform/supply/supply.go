// Package supply brings what a release of a platform takes of the releases of its components: their manifests, charts, bills of materials
// and notes. Everything is held to a digest, and kept by it, so that it is fetched once and the same build works later without a network.
package supply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Bounds of what is taken of one component.
const (
	maxManifest = 16 << 20         // bytes
	maxFile     = 64 << 20         // bytes of a file
	maxFiles    = 512              // files
	maxTotal    = 512 << 20        // bytes of all files
	patience    = 10 * time.Minute // for one component
)

// Store is where components' releases are found, and where what was taken of them is kept. Its methods may be called by many at once.
type Store struct {
	Cache  string // folder of files by digest, as that of bases: sha256/<hex>
	Dir    string // of platform.yaml, which folders of releases are beside
	Getenv func(string) string

	places sync.Map // what releases a place has, by its name
}

// File is where a file with a digest is that was brought.
func (s *Store) File(d artifact.Digest) string { return filepath.Join(s.Cache, "sha256", d.Hex()) }

// Component brings the manifest of a component's release and those of its files that are wanted. What is in the cache is not asked for
// again. A release that is gone or is not the one that was locked is a fault.Mismatch, as is a file of it; a place that does not
// answer is a fault.Transient.
func (s *Store) Component(ctx context.Context, c composition.Component, wanted func(manifest.Release, artifact.File) bool) (manifest.Release, error) {
	ctx, stop := context.WithTimeoutCause(ctx, patience, fault.Errorf(fault.Transient, "%s did not send its release within %s", c.Releases, patience))
	defer stop()
	r, err := s.component(ctx, c, wanted)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r, err
}

func (s *Store) component(ctx context.Context, c composition.Component, wanted func(manifest.Release, artifact.File) bool) (manifest.Release, error) {
	if r, files, err := s.known(c, wanted); err == nil && !slices.ContainsFunc(files, func(f artifact.File) bool { return !s.has(f.Digest) }) {
		return r, nil
	} else if err != nil && s.has(c.Manifest) { // it is the one that was locked, and what is wrong with it does not change
		return manifest.Release{}, err
	}
	l, err := s.find(ctx, c)
	if err != nil {
		return manifest.Release{}, err
	}
	dir := l.Folder
	if l.URL != "" {
		if dir, err = s.scratch(); err != nil {
			return manifest.Release{}, fault.New(fault.Build, err)
		}
		defer os.RemoveAll(dir)
		if err := fetch(ctx, l.URL, dir, c, wanted); err != nil {
			return manifest.Release{}, err
		}
	}
	if err := s.keep(dir, manifest.FileName, c.Manifest, maxManifest); err != nil {
		return manifest.Release{}, fmt.Errorf("%s: %w", l.Address(), err)
	}
	r, files, err := s.known(c, wanted)
	if err != nil {
		return r, err
	}
	for _, f := range files {
		if s.has(f.Digest) {
			continue
		}
		if err := s.keep(dir, f.Path, f.Digest, f.Size); err != nil {
			return r, fmt.Errorf("%s: %w", l.Address(), err)
		}
	}
	return r, nil
}

// scratch makes a folder to fetch into, and removes those of runs that were killed.
func (s *Store) scratch() (string, error) {
	const prefix, abandoned = ".component-", 24 * time.Hour
	if err := os.MkdirAll(s.Cache, 0o755); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(s.Cache)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), prefix) && time.Since(info.ModTime()) > abandoned {
			_ = os.RemoveAll(filepath.Join(s.Cache, e.Name())) // what stays is only in the way of the disk
		}
	}
	return os.MkdirTemp(s.Cache, prefix+"*")
}

// known is a component's release as it is in the cache, and its files that are wanted.
func (s *Store) known(c composition.Component, wanted func(manifest.Release, artifact.File) bool) (r manifest.Release, files []artifact.File, err error) {
	b, err := bounded.File(s.File(c.Manifest), maxManifest)
	if err != nil {
		return r, nil, err
	}
	if artifact.Sum(b) != c.Manifest {
		return r, nil, errors.New("it has changed in the cache")
	}
	if r, err = manifest.Decode(bytes.NewReader(b)); err != nil {
		return r, nil, fault.Or(err, fault.Mismatch)
	}
	files, err = some(r, wanted)
	return r, files, err
}

// some are the files of a release that are wanted.
func some(r manifest.Release, wanted func(manifest.Release, artifact.File) bool) (files []artifact.File, err error) {
	var total int64
	for _, f := range r.Files {
		if !wanted(r, f) {
			continue
		}
		if f.Size > maxFile {
			return nil, fault.Errorf(fault.Usage, "%s has %d bytes, and at most %d are taken into a platform", f.Path, f.Size, int64(maxFile))
		}
		total += f.Size
		if files = append(files, f); len(files) > maxFiles || total > maxTotal {
			return nil, fault.Errorf(fault.Usage, "it has more than %d files, or %d bytes, of charts, bills of materials and notes, and no more are taken into a platform", maxFiles, int64(maxTotal))
		}
	}
	return files, nil
}

// has reports whether a file is in the cache, whole.
func (s *Store) has(d artifact.Digest) bool {
	got, _, err := artifact.SumFile(s.File(d))
	return err == nil && got == d
}

// fetch brings release.json and what is wanted into a folder. Nothing is asked for on the word of a manifest that is not the one locked.
func fetch(ctx context.Context, address, dir string, c composition.Component, wanted func(manifest.Release, artifact.File) bool) error {
	var once sync.Once
	var ask bool
	_, err := verify.Some(ctx, address, dir, func(r manifest.Release, f artifact.File) bool {
		once.Do(func() {
			got, _, err := artifact.SumFile(filepath.Join(dir, manifest.FileName))
			_, tooMuch := some(r, wanted)
			ask = err == nil && got == c.Manifest && tooMuch == nil
		})
		return ask && wanted(r, f)
	})
	if fault.CodeOf(err) == fault.Usage { // the place lists it, and has no release.json there
		err = fault.Errorf(fault.Mismatch, "%w; put it back, or lock another release", err)
	}
	return err
}

// find finds the release of a component at its place.
func (s *Store) find(ctx context.Context, c composition.Component) (reproduce.Listed, error) {
	once, _ := s.places.LoadOrStore(c.Releases, sync.OnceValues(func() ([]reproduce.Listed, error) {
		place := c.Releases
		if !verify.IsURL(place) {
			place = filepath.Join(s.Dir, filepath.FromSlash(place))
		}
		return reproduce.Releases(ctx, place, s.Getenv)
	}))
	list, err := once.(func() ([]reproduce.Listed, error))()
	if err != nil {
		return reproduce.Listed{}, err
	}
	i := slices.IndexFunc(list, func(l reproduce.Listed) bool { return l.Version == c.Version && l.Of(c.Name, c.Tag) })
	if i < 0 {
		return reproduce.Listed{}, fault.Errorf(fault.Mismatch, "%s has no such release, which is locked; put it back, or lock another one", c.Releases)
	}
	return list[i], nil
}

// keep puts a file into the cache, which then has it whole or not at all.
func (s *Store) keep(dir, name string, d artifact.Digest, size int64) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.New(fault.Mismatch, err)
	}
	defer root.Close()
	info, err := root.Lstat(filepath.FromSlash(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fault.Errorf(fault.Mismatch, "%s is gone; put it back, or lock another release", name)
	case err != nil:
		return fault.New(fault.Transient, err)
	case !info.Mode().IsRegular():
		return fault.Errorf(fault.Mismatch, "%s is no file", name)
	}
	from, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return fault.New(fault.Transient, err)
	}
	defer from.Close()
	to := s.File(d)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fault.New(fault.Build, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".fetch-*")
	if err != nil {
		return fault.New(fault.Build, err)
	}
	defer os.Remove(tmp.Name())
	m := artifact.NewMeter(tmp)
	_, err = io.Copy(m, io.LimitReader(from, size+1))
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fault.New(fault.Build, fmt.Errorf("keeping %s: %w", name, err))
	}
	if m.Digest() != d {
		return fault.Errorf(fault.Mismatch, "%s is not the one that was locked, %s", name, d.Short())
	}
	return fault.New(fault.Build, os.Rename(tmp.Name(), to))
}
