package serve

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds on the folder of releases.
const (
	maxDepth     = 2         // folders between the root and a release
	maxFolders   = 10_000    // looked into
	maxReleases  = 1_000     // served
	maxManifest  = 16 << 20  // bytes of one release.json or SHA256SUMS
	maxManifests = 128 << 20 // bytes of all of them
)

// library is the folder of releases and what was last seen in it.
type library struct {
	root  string
	every time.Duration

	shelf    atomic.Pointer[shelf]
	problem  atomic.Pointer[error] // of the last scan
	scanning atomic.Bool
	scanned  atomic.Int64 // when the last scan began, in Unix nanoseconds
	scans    atomic.Int64
	failures atomic.Int64
}

// current returns the releases as they were last seen, nil before the first scan ended, and never waits: if it is time
// to look again, it sees to it that somebody does.
func (l *library) current() *shelf {
	last := time.Unix(0, l.scanned.Load())
	if time.Since(last) >= l.every && l.scanning.CompareAndSwap(false, true) {
		l.scanned.Store(time.Now().UnixNano())
		go func() {
			defer l.scanning.Store(false)
			l.scan()
		}()
	}
	return l.shelf.Load()
}

// expire has the next request look at the folder again.
func (l *library) expire() { l.scanned.Store(0) }

func (l *library) scan() {
	next, err := scan(l.root, l.shelf.Load())
	l.scans.Add(1)
	if err != nil {
		l.failures.Add(1)
	} else {
		l.shelf.Store(next)
	}
	l.problem.Store(&err)
}

// ready tells why the folder cannot be served from, nil if it can.
func (l *library) ready() error {
	l.current()
	switch problem := l.problem.Load(); {
	case problem == nil:
		return errors.New("the releases have not been read yet")
	case *problem != nil:
		return errors.New("the folder of releases cannot be read")
	}
	return nil
}

// shelf is what a scan found. It is never changed.
type shelf struct {
	releases []*release // by name, then the newest version first
	broken   []broken   // by folder
	byPath   map[string]*release
	charts   map[string]item // by file name
	problems map[*release][]string
	history  *history // nil for no ledger
	index    document // of the Helm repository
	listing  document // for programs
	home     document // for people
}

// release is a folder with a manifest, or one that should have had one.
type release struct {
	manifest.Release
	dir      string                   // below the root, slash-separated
	seen     []fs.FileInfo            // release.json and SHA256SUMS, by which a change is noticed
	files    map[string]artifact.File // what can be fetched
	flat     map[string]string        // paths by the last part, for who knows no folders; those that only one file has
	charts   []chart
	problems []string // that leave the rest of the release good
}

// broken is a folder that looks like a release and cannot be served.
type broken struct {
	Folder string `json:"folder"`
	Error  string `json:"error"`
}

// item is a file of a release.
type item struct {
	release *release
	file    artifact.File
}

// key is where a release is found, below /releases/.
func (r *release) key() string { return r.Name + "/" + r.Version.String() }

// scan reads the folder. What has not changed since last is taken from there.
func scan(name string, last *shelf) (*shelf, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("opening releases: %w", err)
	}
	defer root.Close()
	known := map[string]*release{}
	var told *history
	if last != nil {
		told = last.history
		for _, r := range last.releases {
			known[r.dir] = r
		}
	}
	s := scanner{root: root, known: known}
	if err := s.folder(".", 0); err != nil {
		return nil, fmt.Errorf("reading releases: %w", err)
	}
	// Beside one release.json there is no ledger: it would be a file that the release does not list.
	if _, err := root.Lstat(manifest.FileName); err == nil {
		return arrange(s.found, s.broken, nil)
	}
	return arrange(s.found, s.broken, readHistory(root, told))
}

type scanner struct {
	root     *os.Root
	known    map[string]*release
	found    []*release
	broken   []broken
	folders  int
	releases int
	bytes    int64
}

func (s *scanner) fail(dir, format string, args ...any) {
	if len(s.broken) < maxReleases {
		s.broken = append(s.broken, broken{dir, fmt.Sprintf(format, args...)})
	}
}

// folder takes dir for a release if it has a manifest, and else looks into its folders. An error is one of the root.
func (s *scanner) folder(dir string, depth int) error {
	switch _, err := s.root.Lstat(path.Join(dir, manifest.FileName)); {
	case err == nil:
		s.release(dir)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		s.fail(dir, "reading: %v", err)
		return nil
	}
	if depth == maxDepth {
		return nil
	}
	entries, err := s.list(dir)
	if err != nil {
		if dir == "." {
			return err
		}
		s.fail(dir, "reading: %v", err)
		return nil
	}
	for _, e := range entries {
		// A build in progress stands beside dist/ under a hidden name, and a link could show one release twice.
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := s.folder(path.Join(dir, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// list reads a folder, as far as the bound on folders goes.
func (s *scanner) list(dir string) ([]fs.DirEntry, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxFolders - s.folders + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	s.folders += len(entries)
	if s.folders > maxFolders {
		s.fail(dir, "more than %d entries to look through; the rest is not shown", maxFolders)
		entries = entries[:max(0, len(entries)-1)]
		s.folders = maxFolders
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

func (s *scanner) release(dir string) {
	if s.releases++; s.releases > maxReleases {
		if s.releases == maxReleases+1 {
			s.fail(dir, "more than %d releases; the rest is not shown", maxReleases)
		}
		return
	}
	sub, err := s.root.OpenRoot(dir)
	if err != nil {
		s.fail(dir, "reading: %v", err)
		return
	}
	defer sub.Close()
	seen, err := stamp(sub)
	if err != nil {
		s.fail(dir, "reading: %v", err)
		return
	}
	for _, info := range seen {
		s.bytes += info.Size()
	}
	if s.bytes > maxManifests {
		s.fail(dir, "the manifests of all releases have more than %d bytes", maxManifests)
		return
	}
	if known, ok := s.known[dir]; ok && same(known.seen, seen) {
		s.found = append(s.found, known)
		return
	}
	r, err := load(sub)
	if err != nil {
		s.fail(dir, "%v", err)
		return
	}
	r.dir, r.seen = dir, seen
	s.found = append(s.found, r)
}

// stamp is what a folder's release is recognised by.
func stamp(dir *os.Root) ([]fs.FileInfo, error) {
	infos := make([]fs.FileInfo, 0, 2)
	for _, name := range []string{manifest.FileName, manifest.ChecksumsName} {
		info, err := dir.Lstat(name)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	// A release may be signed while it is served; this is the last file that a signing writes.
	if info, err := dir.Lstat(signature.ManifestBundle); err == nil {
		infos = append(infos, info)
	}
	return infos, nil
}

func same(a, b []fs.FileInfo) bool {
	return slices.EqualFunc(a, b, func(a, b fs.FileInfo) bool {
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// load reads a release. Its manifest and its checksums must agree, or none of it is served; a chart that cannot be read
// only keeps itself out of the Helm repository.
func load(dir *os.Root) (*release, error) {
	raw, err := read(dir, manifest.FileName, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if err := artifact.CheckPath(m.Name); err != nil || strings.Contains(m.Name, "/") {
		return nil, fmt.Errorf("release name %q cannot stand in a path", m.Name)
	}
	sums, err := read(dir, manifest.ChecksumsName, maxManifest)
	if err != nil {
		return nil, err
	}
	self := artifact.File{Path: manifest.FileName, Kind: "manifest", Size: int64(len(raw)), Digest: artifact.Sum(raw)}
	if !bytes.Equal(sums, manifest.Checksums(append(slices.Clone(m.Files), self))) {
		return nil, fmt.Errorf("%s does not say what %s says; `slipway verify` tells where", manifest.ChecksumsName, manifest.FileName)
	}
	r := &release{Release: m, files: make(map[string]artifact.File, len(m.Files)+2)}
	for _, f := range m.Files {
		r.files[f.Path] = f
	}
	r.files[self.Path] = self
	r.files[manifest.ChecksumsName] = artifact.File{
		Path: manifest.ChecksumsName, Kind: artifact.Checksums, Size: int64(len(sums)), Digest: artifact.Sum(sums),
	}
	if err := signatures(dir, r); err != nil {
		r.problems = append(r.problems, fmt.Sprintf("its signatures are not served: %v", err))
	}
	r.flat = map[string]string{}
	for p := range r.files {
		if _, taken := r.flat[path.Base(p)]; taken {
			r.flat[path.Base(p)] = ""
		} else {
			r.flat[path.Base(p)] = p
		}
	}
	for _, c := range m.Charts {
		loaded, err := loadChart(dir, c, r.files[c.Path])
		if err != nil {
			r.problems = append(r.problems, fmt.Sprintf("%s is not in the Helm repository: %v", c.Path, err))
			continue
		}
		r.charts = append(r.charts, loaded)
	}
	return r, nil
}

// Bounds on the signatures of a release: files, and bytes of one.
const (
	maxSignatures = 20_000
	maxSignature  = 32 << 20
)

// signatures adds the files that a signing wrote, which no manifest lists.
func signatures(dir *os.Root, r *release) error {
	names := []string{signature.ChecksumsBundle, signature.ManifestBundle, signature.LayoutDir + "/oci-layout", signature.LayoutDir + "/index.json"}
	if r.Provenance != "" {
		names = append(names, signature.AttestationPath(r.Name, r.Version.String()))
	}
	const blobs = signature.LayoutDir + "/blobs/sha256"
	if f, err := dir.Open(blobs); err == nil {
		entries, err := f.ReadDir(maxSignatures + 1)
		if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(entries) > maxSignatures {
			return fmt.Errorf("%s has more than %d files", blobs, maxSignatures)
		}
		for _, e := range entries {
			if _, err := artifact.ParseDigest("sha256:" + e.Name()); err == nil {
				names = append(names, blobs+"/"+e.Name())
			}
		}
	}
	for _, name := range names {
		b, err := read(dir, name, maxSignature)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if _, listed := r.files[name]; !listed {
			r.files[name] = artifact.File{Path: name, Kind: "signature", Size: int64(len(b)), Digest: artifact.Sum(b)}
		}
	}
	return nil
}

// open opens a regular file. What is not one is refused before it is opened, since a pipe would wait for a writer.
func open(dir *os.Root, name string) (*os.File, error) {
	info, err := dir.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, err
	}
	return dir.Open(name)
}

// read returns a whole file of at most limit bytes.
func read(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := bounded.Read(f, limit)
	if bounded.IsTooLarge(err) {
		err = fmt.Errorf("%s has %w", name, err)
	}
	return b, err
}

// arrange sorts what was found and writes the documents that show it.
func arrange(found []*release, failed []broken, told *history) (*shelf, error) {
	s := &shelf{
		broken: failed, byPath: make(map[string]*release, len(found)),
		charts: map[string]item{}, problems: map[*release][]string{}, history: told,
	}
	for _, r := range found {
		if other, ok := s.byPath[r.key()]; ok {
			s.broken = append(s.broken, broken{r.dir, fmt.Sprintf("is %s %s, as is %s", r.Name, r.Version, other.dir)})
			continue
		}
		s.byPath[r.key()] = r
		s.releases = append(s.releases, r)
		s.problems[r] = slices.Clone(r.problems)
	}
	slices.SortFunc(s.releases, func(a, b *release) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), b.Version.Compare(a.Version))
	})
	slices.SortFunc(s.broken, func(a, b broken) int {
		return cmp.Or(strings.Compare(a.Folder, b.Folder), strings.Compare(a.Error, b.Error))
	})
	var err error
	if s.index, err = helmIndex(s); err != nil {
		return nil, err
	}
	if s.listing, err = listing(s); err != nil {
		return nil, err
	}
	s.home, err = homePage(s)
	return s, err
}
