package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// stagePrefix begins the names of the folders in which builds are under way, followed by the number of the process.
const stagePrefix = ".slipway-"

// ignoreName is the file with which a folder tells git to pass it over.
const ignoreName = ".gitignore"

// stage is the folder in which a build is under way, beside the one that it will replace: on the same file system, so
// that taking its place is one step.
type stage struct {
	out string // dist/, absolute
	dir string // the stage; its dist/ becomes out
}

// newStage makes a stage for a release of the project and removes those of builds that were killed. What is in the way of
// the result and is not a dist/ of the project is refused before anything is built.
func newStage(out, project string) (*stage, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, err
	}
	if err := replaceable(out, project); err != nil {
		return nil, err
	}
	parent := filepath.Dir(out)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	RemoveStale(parent, stagePrefix)
	dir, err := os.MkdirTemp(parent, stagePrefix+strconv.Itoa(os.Getpid())+"-*")
	if err != nil {
		return nil, err
	}
	s := &stage{out: out, dir: dir}
	// Neither a result nor what a killed build leaves is a change of the tree, whatever the project ignores.
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, ignoreName), []byte("*\n"), 0o644),
		os.Mkdir(filepath.Join(dir, "dist"), 0o755),
		os.WriteFile(s.path(ignoreName), []byte("*\n"), 0o644),
	)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// replaceable refuses to replace what is not the result of a build, or the release of another project.
func replaceable(out, project string) error {
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	const wayOut = "remove it, or choose another folder with --out"
	r, err := manifest.Load(filepath.Join(out, manifest.FileName))
	switch {
	case err == nil && r.Name != project:
		return fault.Errorf(fault.Usage, "%s has %s %s, and this is a build of %s; %s", out, r.Name, r.Version, project, wayOut)
	case err == nil || stamped(filepath.Join(out, LogName), stampBegin):
		return nil
	}
	return fmt.Errorf("%s exists and is not the result of a build; %s", out, wayOut)
}

// RemoveStale removes the temporary folders of processes that are no more: those in parent whose names are the prefix,
// the number of a process, a dash and anything.
func RemoveStale(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		number, _, dash := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if !ok || !dash || err != nil || pid == os.Getpid() || alive(pid) {
			continue
		}
		// What cannot be removed is only in the way of the disk.
		_ = os.RemoveAll(filepath.Join(parent, e.Name()))
	}
}

// alive reports whether a process exists.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	if runtime.GOOS == "windows" {
		return true // there FindProcess finds only what exists, and no signal can be sent
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// path is where a file of dist/ is made.
func (s *stage) path(name string) string {
	return filepath.Join(s.dir, "dist", filepath.FromSlash(name))
}

// carry takes the signatures of the release that is replaced along where the new one has the same bytes: whoever has the key may be
// far away. attestation is where the signed provenance of the new one lies. It reports whether there were any and they are of
// other bytes.
func (s *stage) carry(attestation string) (lost bool, err error) {
	sums, err := os.ReadFile(s.path(manifest.ChecksumsName)) // which has the digest of all else
	if err != nil {
		return false, err
	}
	old, err := bounded.File(filepath.Join(s.out, manifest.ChecksumsName), int64(len(sums)))
	same := err == nil && bytes.Equal(old, sums)
	names := []string{attestation, signature.LayoutDir}
	entries, err := os.ReadDir(s.out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), signature.Suffix) {
			names = append(names, e.Name())
		}
	}
	for _, name := range names {
		at := filepath.Join(s.out, filepath.FromSlash(name))
		if _, err := os.Lstat(at); err != nil {
			continue
		}
		if !same {
			return true, nil
		}
		err := filepath.WalkDir(at, func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(s.out, file)
			if err != nil {
				return err
			}
			b, err := bounded.File(file, maxSignature)
			if err == nil {
				err = os.MkdirAll(filepath.Dir(s.path(rel)), 0o755)
			}
			if err != nil {
				return err
			}
			return os.WriteFile(s.path(rel), b, 0o644)
		})
		if err != nil {
			return false, fmt.Errorf("keeping the signatures: %w", err)
		}
	}
	return false, nil
}

// maxSignature bounds a file of signatures, in bytes.
const maxSignature = 32 << 20

// commit puts the stage's dist/ in the place of the old one.
func (s *stage) commit() error {
	old := filepath.Join(s.dir, "old")
	if err := os.Rename(s.out, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(s.path(""), s.out); err != nil {
		// The release that was there is still a release.
		return errors.Join(err, os.Rename(old, s.out))
	}
	return nil
}

// keepLog leaves a dist/ with the log alone, so that an older release is never mistaken for the failed one.
func (s *stage) keepLog() error {
	entries, err := os.ReadDir(s.path(""))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != LogName && e.Name() != ignoreName {
			if err := os.RemoveAll(s.path(e.Name())); err != nil {
				return err
			}
		}
	}
	return s.commit()
}

func (s *stage) remove() { _ = os.RemoveAll(s.dir) }

// stampBegin is what the first line of every log begins with.
const stampBegin = "# made by sha256:"

// stamp is the first line of the log: what made this dist/. It is not part of the release, since the log is not compared.
func stamp(tool string, plan artifact.Digest) string {
	return fmt.Sprintf("%s%s from the plan %s\n", stampBegin, strings.TrimPrefix(tool, "sha256:"), plan)
}

// stamped reports whether the log begins with the stamp.
func stamped(log, stamp string) bool {
	f, err := os.Open(log)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, len(stamp))
	_, err = io.ReadFull(f, b)
	return err == nil && string(b) == stamp
}

// current reports whether dist/ is the release of this plan already, made by this program, with every byte in place.
func current(ctx context.Context, o Options, plan artifact.Digest) (manifest.Release, bool) {
	if o.Tool == "" || !stamped(filepath.Join(o.Out, LogName), stamp(o.Tool, plan)) {
		return manifest.Release{}, false
	}
	r, err := manifest.Load(filepath.Join(o.Out, manifest.FileName))
	if err != nil || r.Plan != plan {
		return manifest.Release{}, false
	}
	if _, err := verify.Dist(ctx, o.Out, verify.Options{AllowUnpublishable: true, AllowUnsigned: true, HashesOnly: true}); err != nil {
		return manifest.Release{}, false
	}
	return r, true
}
