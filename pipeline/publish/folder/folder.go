// Package folder carries a release to a folder of releases, for those who host their own: what `slipway serve`, or any
// other server of files, shows.
//
// A release is copied under a hidden name and renamed when it is whole, so half of one is never seen. Copies are kept
// where a run ends early, and the next one goes on from them.
//
// Two may publish the same release at once: what they copy has a hidden name that its digests give it, each file of it
// appears whole, and only one of the two renames succeeds. The other finds that everything is there.
//
// A release may be signed after it was published. Signatures are then added to its folder, each at once and the one of
// release.json last. One that is there is never replaced: its readers have verified it.
package folder

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// What is done to a folder, as the methods of requests.
const (
	Copy   = "COPY"
	Rename = "RENAME"
	Remove = "REMOVE"
)

// Options say where a release goes.
type Options struct {
	Release publish.Release
	// Root is the folder of releases, which must be there: one that is missing may be a disk that is not mounted.
	Root        string
	Destination string // its name in the journal

	Recorder wire.Recorder      // nil keeps nothing
	DryRun   func(wire.Request) // is called with each change, which is then not made
	Sent     func(n int64)      // is called with the number of bytes as they are copied; may be nil
}

// Destination is a folder of releases.
type Destination struct {
	o        Options
	contents publish.Contents
	parent   string // of everything below, relative to the root: the release's name
	final    string // the release's folder
	partial  string // where it is before it is whole
	swept    bool   // whether copies that broke off were looked for
	writer   func(io.Writer) io.Writer
}

// New reads from the release what is copied.
func New(o Options) (*Destination, error) {
	m := o.Release.Manifest
	switch {
	case o.Root == "":
		return nil, fault.Errorf(fault.Usage, "the folder of releases has no name")
	case artifact.CheckPath(m.Name) != nil || strings.ContainsAny(m.Name, "/") || strings.HasPrefix(m.Name, "."):
		return nil, fault.Errorf(fault.Usage, "release name %.80q cannot be that of a folder", m.Name)
	}
	contents, err := o.Release.Contents()
	if err != nil {
		return nil, err
	}
	d := &Destination{o: o, contents: contents, parent: m.Name, final: m.Name + "/" + m.Version.String()}
	// The digest of all that is copied, signatures included: whoever finds the folder finds what they would copy.
	d.partial = d.hidden("partial-") + artifact.Sum(manifest.Checksums(contents.All())).Short()
	d.writer = func(w io.Writer) io.Writer { return w }
	return d, nil
}

// hidden is what the names of files begin with that are not served yet.
func (d *Destination) hidden(kind string) string {
	return d.parent + "/." + d.o.Release.Manifest.Version.String() + "." + kind
}

// full is a path in the root for a person.
func (d *Destination) full(name string) string {
	return filepath.Join(d.o.Root, filepath.FromSlash(name))
}

// open opens the root.
func (d *Destination) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.o.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.Usage, "%s is not there; make the folder, or mount the disk that it is on", d.o.Root)
	}
	if err != nil {
		return nil, d.fault(fmt.Errorf("opening folder of releases: %w", err))
	}
	return root, nil
}

// fault gives an error of the file system its exit code.
func (d *Destination) fault(err error) error {
	if errors.Is(err, context.Canceled) || fault.CodeOf(err) != fault.Unclassified {
		return err
	}
	switch fault.OfSystem(err) {
	case fault.Transient:
		return fault.Errorf(fault.Transient, "%w; what was copied is kept: make room in %s and run the same command again", err, d.o.Root)
	case fault.Credentials:
		return fault.Errorf(fault.Credentials, "%w; let this user write to %s", err, d.o.Root)
	case fault.Usage:
		return fault.New(fault.Usage, err)
	}
	return fault.New(fault.Transient, err)
}

// standing is how a file stands.
type standing struct {
	artifact.File
	state  publish.State // in the release's folder
	detail string
	staged bool // whether it is in the hidden folder
}

// survey is how the release stands.
type survey struct {
	there   bool   // whether it has a folder
	refused string // why that is not its own; "" where it is
	files   []standing
	partial bool // whether the hidden folder is there
}

// lacking are the files that the release's folder is to get.
func (s survey) lacking() []standing {
	var out []standing
	for _, f := range s.files {
		if f.state == publish.Missing {
			out = append(out, f)
		}
	}
	return out
}

// survey looks at the release's folder to the depth, and at the hidden one to the depth staged.
func (d *Destination) survey(ctx context.Context, root *os.Root, depth, staged publish.Depth) (survey, error) {
	var s survey
	if err := d.folder(root, d.parent); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, d.fault(err)
	}
	switch err := d.folder(root, d.partial); {
	case err == nil:
		s.partial = true
	case !errors.Is(err, fs.ErrNotExist):
		return s, d.fault(err)
	}
	switch info, err := root.Lstat(d.final); {
	case err == nil && !info.IsDir():
		s.there, s.refused = true, "it is not a folder"
	case err == nil:
		s.there = true
		name := manifest.FileName
		state, detail, err := compare(ctx, root, d.final+"/"+name, d.contents.Names[len(d.contents.Names)-1], publish.Read)
		switch {
		case err != nil:
			return s, d.fault(err)
		case state == publish.Missing:
			s.refused = "it has no " + name + ", so it is not a release"
		case state == publish.Different:
			s.refused = "its " + name + " " + detail
		}
	case !errors.Is(err, fs.ErrNotExist):
		return s, d.fault(err)
	}
	if s.refused != "" {
		return s, nil
	}
	for _, f := range d.contents.All() {
		st := standing{File: f, state: publish.Missing}
		var err error
		if s.there {
			if st.state, st.detail, err = compare(ctx, root, d.final+"/"+f.Path, f, d.depth(f, depth)); err != nil {
				return s, d.fault(err)
			}
		}
		if s.partial && st.state == publish.Missing {
			there, _, err := compare(ctx, root, d.partial+"/"+f.Path, f, staged)
			if err != nil {
				return s, d.fault(err)
			}
			st.staged = there == publish.Same
		}
		s.files = append(s.files, st)
	}
	d.keep(&s)
	return s, nil
}

// depth is how closely a file is looked at. Signatures of one size are not those of one signer, and a list of checksums speaks
// for all files, so these are always read.
func (d *Destination) depth(f artifact.File, depth publish.Depth) publish.Depth {
	if d.signature(f) || d.list(f) {
		return publish.Read
	}
	return depth
}

func (d *Destination) signature(f artifact.File) bool {
	_, listed := d.o.Release.File(f.Path)
	return !listed && !d.list(f)
}

// list reports whether a file is one of checksums.
func (d *Destination) list(f artifact.File) bool {
	return f.Path == manifest.ChecksumsName || f.Path == d.o.Release.Manifest.Downloads
}

// keep leaves signatures alone that are there already. Those of images and charts belong together.
func (d *Destination) keep(s *survey) {
	const why = "another signature is there, and what is published is not replaced"
	others := false
	for _, f := range s.files {
		others = others || f.Path == publish.SignatureIndex && f.state == publish.Different
	}
	for i, f := range s.files {
		if !d.signature(f.File) {
			continue
		}
		if f.state == publish.Different || others && f.state == publish.Missing && strings.HasPrefix(f.Path, signature.LayoutDir+"/") {
			s.files[i].state, s.files[i].detail = publish.Kept, why
		}
	}
}

// folder says why the name is not one of a folder.
func (d *Destination) folder(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fault.Errorf(fault.Usage, "%s is not a folder; move it away", d.full(name))
	}
	return err
}

// compare holds a file to what it should be.
func compare(ctx context.Context, root *os.Root, name string, want artifact.File, depth publish.Depth) (publish.State, string, error) {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return publish.Missing, "", nil
	case err != nil:
		return "", "", err
	case !info.Mode().IsRegular():
		return publish.Different, "is not a regular file", nil
	case info.Size() != want.Size:
		return publish.Different, fmt.Sprintf("has %d bytes and not %d", info.Size(), want.Size), nil
	case depth == publish.Listed:
		return publish.Same, "", nil
	}
	f, err := root.Open(name)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, io.LimitReader(reader{ctx, f}, want.Size+1)); err != nil {
		return "", "", fmt.Errorf("reading %s: %w", name, err)
	}
	if m.Digest() != want.Digest {
		return publish.Different, "is " + string(m.Digest()) + " and not " + string(want.Digest), nil
	}
	return publish.Same, "", nil
}

// reader ends when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// Look tells of every file, and of the folder that makes them visible.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	s, err := d.survey(ctx, root, depth, depth)
	if err != nil {
		return nil, err
	}
	whole := publish.Item{Name: d.full(d.final), Phase: publish.Flip, State: publish.Missing, Digest: d.o.Release.Digest}
	if s.refused != "" {
		// One line says it: every other file is probably another one too.
		whole.State, whole.Detail = publish.Different, s.refused
		return []publish.Item{whole}, nil
	}
	var items []publish.Item
	for _, f := range s.files {
		it := publish.Item{
			Name: d.full(d.final + "/" + f.Path), Phase: publish.Stage, State: f.state, Digest: f.Digest, Size: f.Size, Detail: f.detail,
		}
		if f.staged {
			it.State = publish.Same
		}
		items = append(items, it)
	}
	switch lacking := s.lacking(); {
	case !s.there:
	case len(lacking) > 0:
		whole.Detail = fmt.Sprintf("it lacks %d files", len(lacking))
	case s.partial:
		whole.State, whole.Detail = publish.Unfinished, "a hidden folder is left over"
	default:
		whole.State = publish.Same
	}
	return append(items, whole), nil
}

// Stage copies what is missing under a hidden name.
func (d *Destination) Stage(ctx context.Context) error {
	root, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close()
	s, err := d.survey(ctx, root, publish.Listed, publish.Read)
	if err != nil {
		return err
	}
	if err := d.conflict(s); err != nil {
		return err
	}
	var todo []artifact.File
	for _, f := range s.lacking() {
		if !f.staged {
			todo = append(todo, f.File)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	// What broke off was somebody's, if only that of an earlier run. One who publishes this too at the moment may lose a
	// copy by it, finds that out and makes it again; once is therefore enough.
	if !d.swept {
		if err := d.sweep(root, "copying-", ""); err != nil {
			return err
		}
		d.swept = true
	}
	if d.o.DryRun == nil {
		if err := d.prepare(root, todo, s.there); err != nil {
			return err
		}
	}
	for _, f := range todo {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := d.do(Copy, d.partial+"/"+f.Path, f.Size, func() error { return d.copy(ctx, root, f) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Destination) conflict(s survey) error {
	if s.refused != "" {
		return fault.Errorf(fault.Conflict, "%s is taken: %s", d.full(d.final), s.refused)
	}
	for _, f := range s.files {
		if f.state == publish.Different {
			return fault.Errorf(fault.Conflict, "%s is taken: it %s", d.full(d.final+"/"+f.Path), f.detail)
		}
	}
	return nil
}

// do makes a change, or in a dry run tells of it. The journal knows of it before it happens.
func (d *Destination) do(method, name string, size int64, f func() error) error {
	r := wire.Request{Destination: d.o.Destination, Method: method, URL: filepath.ToSlash(d.full(name)), Size: size}
	if d.o.DryRun != nil {
		d.o.DryRun(r)
		return nil
	}
	end := func(string) {}
	if d.o.Recorder != nil {
		var err error
		if end, err = d.o.Recorder.Begin(r); err != nil {
			return err
		}
	}
	if err := f(); err != nil {
		end(err.Error())
		return d.fault(err)
	}
	end("done")
	return nil
}

// prepare makes the folders of copies to come.
func (d *Destination) prepare(root *os.Root, files []artifact.File, there bool) error {
	if err := root.Mkdir(d.parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return d.fault(err)
	}
	switch err := root.Mkdir(d.partial, 0o755); {
	case err == nil && !there:
		// Was it renamed a moment ago?
		if _, err := root.Lstat(d.final); err == nil {
			return errors.Join(d.fault(root.Remove(d.partial)), d.moved())
		}
	case err != nil && !errors.Is(err, fs.ErrExist):
		return d.fault(err)
	}
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := mkdirs(root, d.partial, path.Dir(f.Path), made); err != nil {
			return d.absent(err)
		}
	}
	return nil
}

// mkdirs makes a folder below base, which is not made itself.
func mkdirs(root *os.Root, base, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := mkdirs(root, base, path.Dir(dir), made); err != nil {
		return err
	}
	if err := root.Mkdir(base+"/"+dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	made[dir] = true
	return nil
}

// moved is what happens to all but one of those who publish a release at once.
func (d *Destination) moved() error {
	return fault.Errorf(fault.Transient, "somebody else is publishing to %s; run the same command again", d.full(d.final))
}

// absent explains that a folder is gone that this run has made.
func (d *Destination) absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return d.moved()
	}
	return d.fault(err)
}

// copy puts a file in the hidden folder, whole.
func (d *Destination) copy(ctx context.Context, root *os.Root, f artifact.File) error {
	in, err := os.Open(d.o.Release.Path(f.Path))
	if err != nil {
		return fault.Errorf(fault.Mismatch, "reading release: %w; build it again", err)
	}
	defer in.Close()
	mode := fs.FileMode(0o644)
	if f.Kind == artifact.Binary {
		mode = 0o755
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	temp := d.hidden("copying-") + hex.EncodeToString(random[:])
	out, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return d.absent(err)
	}
	m := artifact.NewMeter(d.writer(out))
	_, err = io.Copy(m, io.LimitReader(d.sent(reader{ctx, in}), f.Size+1))
	if err == nil && m.Digest() != f.Digest {
		err = fault.Errorf(fault.Mismatch, "%s is %s and not %s, which the release says; build it again", f.Path, m.Digest(), f.Digest)
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		t := d.o.Release.Manifest.Time
		err = root.Chtimes(temp, t, t)
	}
	if err == nil {
		err = root.Rename(temp, d.partial+"/"+f.Path)
	}
	if err != nil {
		_ = root.Remove(temp) // it may be gone; the next run removes it otherwise
		return d.absent(err)
	}
	return nil
}

// sent tells of bytes as they are read.
func (d *Destination) sent(r io.Reader) io.Reader {
	if d.o.Sent == nil {
		return r
	}
	return io.TeeReader(r, counter(d.o.Sent))
}

type counter func(int64)

func (c counter) Write(b []byte) (int, error) {
	c(int64(len(b)))
	return len(b), nil
}

// Flip renames the hidden folder, or moves what the visible one lacks into it.
func (d *Destination) Flip(ctx context.Context) error {
	root, err := d.open()
	if err != nil {
		return err
	}
	defer root.Close()
	s, err := d.survey(ctx, root, publish.Listed, publish.Listed)
	if err != nil {
		return err
	}
	if err := d.conflict(s); err != nil {
		return err
	}
	lacking := s.lacking()
	for _, f := range lacking {
		if !f.staged && d.o.DryRun == nil {
			return fault.Errorf(fault.Transient, "%s is not staged; run the same command again", d.full(d.partial+"/"+f.Path))
		}
	}
	switch {
	case !s.there:
		err = d.reveal(root)
	case len(lacking) > 0:
		err = d.add(ctx, root, lacking)
	}
	if err == nil && s.there && (s.partial || len(lacking) > 0) {
		err = d.remove(root, d.partial)
	}
	if err != nil {
		return err
	}
	return d.sweep(root, "partial-", d.partial)
}

// reveal makes the hidden folder the release's.
func (d *Destination) reveal(root *os.Root) error {
	if d.o.DryRun == nil {
		if err := syncAll(root, d.partial, d.contents.All()); err != nil {
			return d.absent(err)
		}
	}
	return d.do(Rename, d.final, 0, func() error {
		if err := root.Rename(d.partial, d.final); err != nil {
			if _, there := root.Lstat(d.final); there == nil {
				return d.moved()
			}
			return d.absent(err)
		}
		return errors.Join(syncDir(root, d.parent), syncDir(root, ".")) // the parent may be new too
	})
}

// add moves files into the release's folder, in the order in which they are put.
func (d *Destination) add(ctx context.Context, root *os.Root, files []standing) error {
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := d.do(Rename, d.final+"/"+f.Path, 0, func() error {
			if err := mkdirs(root, d.final, path.Dir(f.Path), made); err != nil {
				return err
			}
			if err := root.Rename(d.partial+"/"+f.Path, d.final+"/"+f.Path); err != nil {
				return d.absent(err)
			}
			return syncDir(root, path.Dir(d.final+"/"+f.Path))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// syncAll has the folders of the files on disk, the outermost last.
func syncAll(root *os.Root, base string, files []artifact.File) error {
	done := map[string]bool{}
	for _, f := range files {
		for dir := path.Dir(f.Path); !done[dir]; dir = path.Dir(dir) {
			if err := syncDir(root, path.Join(base, dir)); err != nil {
				return err
			}
			done[dir] = true
		}
	}
	return syncDir(root, base)
}

// syncDir has the names in a folder on disk, where the file system can do that.
func syncDir(root *os.Root, name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func (d *Destination) remove(root *os.Root, name string) error {
	return d.do(Remove, name, 0, func() error { return root.RemoveAll(name) })
}

// sweep removes what publishings of the version left under hidden names of the kind, with one exception.
func (d *Destination) sweep(root *os.Root, kind, except string) error {
	f, err := root.Open(d.parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // in a dry run
	}
	if err != nil {
		return d.fault(err)
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return d.fault(err)
	}
	for _, e := range entries {
		name := d.parent + "/" + e.Name()
		number, ok := strings.CutPrefix(name, d.hidden(kind))
		if !ok || name == except || number == "" || strings.Trim(number, "0123456789abcdef") != "" {
			continue
		}
		if err := d.remove(root, name); err != nil {
			return err
		}
	}
	return nil
}
