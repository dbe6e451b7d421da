package serve

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/together"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds on the folder of releases.
const (
	maxDepth    = 2         // folders between the root and a release
	maxBroken   = 1_000     // folders that are listed as broken
	maxManifest = 16 << 20  // bytes of one release.json or SHA256SUMS
	maxCharts   = 128 << 20 // bytes of the Chart.yaml of all charts
	maxOpen     = 32 << 20  // bytes of the manifests of releases that are kept in memory
)

// maxFolders bounds the entries of folders that are looked through. It is a variable for a test.
var maxFolders = 100_000

// library is the folder of releases and what was last seen in it.
type library struct {
	root  string
	store bool // a release store is shown, too
	life  bool // and a lifecycle
	every time.Duration
	log   *slog.Logger

	shelf    atomic.Pointer[shelf]
	folder   atomic.Pointer[os.Root]
	problem  atomic.Pointer[error] // of the last scan
	next     atomic.Int64          // when to look next whether something has changed, in Unix nanoseconds
	scans    atomic.Int64
	failures atomic.Int64
	changes  atomic.Int64 // of the shelf

	looking sync.Mutex
	scanned time.Time     // when the last scan began
	took    time.Duration // by the last scan
	watched []watched     // what a change shows at
	stale   bool          // something has changed, wherever it shows
	running chan struct{} // closed at the end of the scan that is running; nil for none
	awaited bool          // the scan that is running sees what has changed

	hashing chan struct{} // one for each file that is held to its digest
	small   memory
	opening sync.Mutex // one manifest is read at a time, so that many requests take the memory of one
	mu      sync.Mutex
	open    []*opened // the one that was asked for last, last
}

// watched is a folder whose entries were read, or the ledger, as it was before that.
type watched struct {
	path  string
	state state
}

// stateAt is the state of what is below the root; that of nothing where it cannot be had.
func (l *library) stateAt(name string) state {
	info, err := os.Stat(filepath.Join(l.root, filepath.FromSlash(name)))
	if err != nil {
		return state{}
	}
	return stateOf(info)
}

// How long a request waits for a scan, and from one look for changes to the next at least. Looking takes a twentieth of the
// time at most, however many folders there are.
const (
	patience  = 2 * time.Second
	lookPause = 10 * time.Millisecond
	lookShare = 20
	scanShare = 50 // the same of reading the folder where no change was seen
)

// current returns the releases as they are. Who asks first after a release was added or taken away waits until the folder has
// been read, for as long as is right for a person; what changes in the midst of a release is seen a little later, and nobody
// waits for that. It is nil where the folder could not be read yet.
func (l *library) current(ctx context.Context) *shelf {
	var timeout <-chan time.Time
	for range 3 {
		done := l.look()
		if done == nil {
			break
		}
		if timeout == nil {
			t := time.NewTimer(patience)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-done:
			continue
		case <-timeout:
		case <-ctx.Done():
		}
		break
	}
	return l.shelf.Load()
}

// look sees to it that somebody reads the folder if it is time to, and returns what to wait for: nil where what is known is
// good.
func (l *library) look() <-chan struct{} {
	now := time.Now()
	if l.root == "" || now.UnixNano() < l.next.Load() {
		return nil
	}
	l.looking.Lock()
	defer l.looking.Unlock()
	switch {
	case now.UnixNano() < l.next.Load():
		return nil
	case l.awaited:
		return l.running
	}
	changed := l.stale || l.shelf.Load() == nil ||
		slices.ContainsFunc(l.watched, func(w watched) bool { return l.stateAt(w.path) != w.state })
	if !changed {
		l.next.Store(now.Add(max(lookPause, lookShare*time.Since(now))).UnixNano())
	}
	if l.running == nil && (changed || now.Sub(l.scanned) >= max(l.every, scanShare*l.took)) {
		l.scanned, l.stale, l.awaited, l.running = now, false, changed, make(chan struct{})
		go l.scan()
	}
	if !changed {
		return nil
	}
	return l.running // it may have begun before the change: then who waits looks once more
}

// expire has the next request look at the folder again, and wait for what is in it.
func (l *library) expire() {
	l.looking.Lock()
	defer l.looking.Unlock()
	l.stale = true
	l.next.Store(0)
}

func (l *library) scan() {
	found, err := scan(l.root, l.shelf.Load())
	l.scans.Add(1)
	var next int64
	if err != nil {
		l.failures.Add(1)
		next = time.Now().Add(lookShare * lookPause).UnixNano() // what fails is not tried by each request
	} else {
		for i, w := range found.watched {
			if !w.state.settled(time.Now(), folderGrain) {
				found.watched[i].state = state{size: -1} // it may change again unseen
			}
		}
		if l.shelf.Load() != found.shelf {
			found.shelf.store, found.shelf.life = l.store, l.life
		}
		if l.shelf.Swap(found.shelf) != found.shelf {
			l.changes.Add(1)
		}
		l.folder.Store(found.folder)
	}
	l.problem.Store(&err)
	l.looking.Lock()
	defer l.looking.Unlock()
	if err == nil {
		l.watched = found.watched
	}
	l.took = time.Since(l.scanned)
	l.next.Store(next)
	close(l.running)
	l.running, l.awaited = nil, false
}

// ready says why the folder cannot be served from, nil if it can.
func (l *library) ready() error {
	l.look()
	switch problem := l.problem.Load(); {
	case l.root == "":
	case problem == nil:
		return errors.New("the releases have not been read yet")
	case *problem != nil:
		return errors.New("the folder of releases cannot be read")
	}
	return nil
}

// shelf is what a scan found. It is never changed.
type shelf struct {
	releases []*release          // by name, then the newest version first
	latest   map[string]*release // by name, the highest stable version that is for publication
	broken   []broken            // by folder
	found    []*release          // as the scan found them, and what it could not read, to see whether a further one finds more
	failed   []broken
	byPath   map[string]*release
	charts   map[string]item // by file name
	problems map[*release][]string
	history  *history // nil for no ledger
	index    document // of the Helm repository
	listing  document // for programs
	pages    sync.Map // for people, by number: those that were asked for
	store    bool     // of the library
	life     bool     // of the library
	answers  answers
}

// release is what is kept in memory of each release: enough to list it.
type release struct {
	Name          string
	Version       version.Version
	Time          time.Time
	Commit        string
	Unpublishable []string
	Archives      int // how many there are
	Images        int
	Charts        int

	dir       string          // below the root, slash-separated
	seen      []state         // of release.json and SHA256SUMS, by which a change is noticed
	digest    artifact.Digest // of release.json
	condition *condition
	charts    []chart
	script    artifact.File
	recipes   []recipe // that are in repositories of recipes
	blobs     []uint64 // the first bytes of the digests of what is in its layouts, in order
	problems  []string // that leave the rest of the release good
}

// recipe is a recipe of a release: to whom it goes, where it is in a repository of recipes, and its path.
type recipe struct{ goes, at, path string }

// opened is a release with all that its manifest says, which is kept of those that were asked for last.
type opened struct {
	*release
	manifest manifest.Release
	files    map[string]artifact.File // what can be fetched
	flat     map[string]string        // paths by the last part, for who knows no folders; those that only one file has
	size     int64                    // bytes of release.json and SHA256SUMS, and of what texts are read from
	texts    texts
	headings sync.Map // *heading by path, of those that were asked for
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

// found is what a scan came to.
type found struct {
	shelf   *shelf
	folder  *os.Root
	watched []watched
}

// scan reads the folder. What has not changed since last is taken from there.
func scan(name string, last *shelf) (found, error) {
	root, err := os.OpenRoot(name) // which is closed when nobody reads from it any more
	if err != nil {
		return found{}, fmt.Errorf("opening releases: %w", err)
	}
	known := map[string]*release{}
	var told *history
	if last != nil {
		told = last.history
		for _, r := range last.releases {
			known[r.dir] = r
		}
	}
	s := scanner{name: name, root: root, known: known}
	s.watch(".")
	s.watch(ledger.FileName)
	if err := s.folder(".", 0); err != nil {
		return found{}, errors.Join(fmt.Errorf("reading releases: %w", err), root.Close())
	}
	s.loadAll()
	// Beside one release.json there is no ledger: it would be a file that the release does not list.
	if _, err := root.Lstat(manifest.FileName); err == nil {
		told = nil
	} else {
		told = readHistory(root, told)
	}
	f := found{last, root, s.watched}
	if last == nil || last.history != told || !slices.Equal(last.found, s.found) || !slices.Equal(last.failed, s.broken) {
		f.shelf, err = arrange(s.found, s.broken, told)
	}
	return f, err
}

type scanner struct {
	name    string
	root    *os.Root
	known   map[string]*release
	watched []watched
	found   []*release
	fresh   []int // those of found that are to be read
	broken  []broken
	entries int
}

// watch takes down what a folder or a file is before it is read.
func (s *scanner) watch(name string) {
	l := library{root: s.name}
	s.watched = append(s.watched, watched{name, l.stateAt(name)})
}

func (s *scanner) fail(dir, format string, args ...any) {
	if len(s.broken) < maxBroken {
		s.broken = append(s.broken, broken{dir, fmt.Sprintf(format, args...)})
	}
}

// folder takes dir for a release if it has a manifest, and else looks into its folders. An error is one of the root.
func (s *scanner) folder(dir string, depth int) error {
	if known, ok := s.known[dir]; ok && s.unchanged(known) {
		s.found = append(s.found, known)
		return nil
	}
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
	if dir != "." {
		s.watch(dir)
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

// list reads a folder, as far as the bound on entries goes.
func (s *scanner) list(dir string) ([]fs.DirEntry, error) {
	f, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxFolders - s.entries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	s.entries += len(entries)
	if s.entries > maxFolders {
		s.fail(dir, "more than %d entries to look through; the rest is not shown", maxFolders)
		entries = entries[:max(0, len(entries)-1)]
		s.entries = maxFolders
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// release notes a release, to be read unless it is known as it is.
func (s *scanner) release(dir string) {
	before := len(s.watched)
	s.watch(dir)
	seen, err := stampOf(s.root, dir)
	if err != nil { // which shows at the folder when it comes
		s.fail(dir, "reading: %v", err)
		return
	}
	s.watched = s.watched[:before]
	if known, ok := s.known[dir]; ok && slices.Equal(known.seen, seen) {
		s.found = append(s.found, known)
		return
	}
	s.fresh = append(s.fresh, len(s.found))
	s.found = append(s.found, &release{dir: dir, seen: seen})
}

// unchanged reports whether a release is as it was. Nothing is read from there, so that it does not matter by which way.
func (s *scanner) unchanged(known *release) bool {
	dir, seen := filepath.Join(s.name, known.dir), 0
	for _, name := range stamped {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if seen == len(known.seen) || stateOf(info) != known.seen[seen] {
			return false
		}
		seen++
	}
	return seen == len(known.seen)
}

// loadAll reads the releases that are not known, as many at a time as there are processors.
func (s *scanner) loadAll() {
	errs := make([]error, len(s.found))
	together.Each(len(s.fresh), func(k int) {
		i := s.fresh[k]
		var o *opened
		if o, errs[i] = load(s.root, s.found[i].dir, s.found[i].seen, true); errs[i] == nil {
			s.found[i] = o.release
		}
	})

	found, charts := s.found[:0], 0
	for i, r := range s.found {
		if errs[i] != nil {
			s.fail(r.dir, "%v", errs[i])
			continue
		}
		for _, c := range r.charts {
			charts += c.size
		}
		if charts > maxCharts {
			s.fail(r.dir, "the charts of all releases have more than %d bytes of Chart.yaml", maxCharts)
			continue
		}
		found = append(found, r)
	}
	s.found = found
}

// stampOf is the stamp of a folder below the root.
func stampOf(root *os.Root, dir string) ([]state, error) {
	sub, err := root.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	return stamp(sub)
}

// contents are all that is known of a release, which is read again where it was not asked for lately.
func (l *library) contents(r *release) (*opened, error) {
	if o := l.recent(r); o != nil {
		return o, nil
	}
	l.opening.Lock()
	defer l.opening.Unlock()
	if o := l.recent(r); o != nil {
		return o, nil
	}
	o, err := l.fetch(r)
	if err == nil {
		l.keep(o)
	}
	return o, err
}

// fetch reads all that is known of a release.
func (l *library) fetch(r *release) (*opened, error) {
	root, err := os.OpenRoot(l.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	seen, err := stampOf(root, r.dir)
	if err != nil || !slices.Equal(seen, r.seen) {
		return nil, errChanging
	}
	o, err := load(root, r.dir, seen, false)
	if err != nil || o.digest != r.digest {
		return nil, errChanging
	}
	o.release = r
	return o, nil
}

// recent is a release that is kept.
func (l *library) recent(r *release) *opened {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.open); n > 0 && l.open[n-1].release == r {
		return l.open[n-1]
	}
	i := slices.IndexFunc(l.open, func(o *opened) bool { return o.release == r })
	if i < 0 {
		return nil
	}
	o := l.open[i]
	l.open = append(slices.Delete(l.open, i, i+1), o)
	return o
}

// keep keeps a release, in the place of those that were not asked for since.
func (l *library) keep(o *opened) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, o)
	var size int64
	for i, o := range slices.Backward(l.open) {
		if size += o.size; size > maxOpen && i < len(l.open)-1 {
			l.open = slices.Delete(l.open, 0, i+1)
			return
		}
	}
}

// stamped are the files by whose states a release is recognised, of which the last one may be missing: a release may be signed
// while it is served, and that is the last file that a signing writes.
var stamped = [...]string{manifest.FileName, manifest.ChecksumsName, signature.ManifestBundle}

// stamp is what a folder's release is recognised by.
func stamp(dir *os.Root) ([]state, error) {
	states := make([]state, 0, len(stamped))
	for i, name := range stamped {
		info, err := dir.Lstat(name)
		if err != nil && i < len(stamped)-1 {
			return nil, err
		}
		if err == nil {
			states = append(states, stateOf(info))
		}
	}
	return states, nil
}

// load reads the release in a folder below the root. Its manifest and its checksums must agree, or none of it is served; a
// chart that cannot be read only keeps itself out of the Helm repository, and a list of checksums beside SHA256SUMS only itself. Charts are read if that is asked for.
func load(root *os.Root, at string, seen []state, withCharts bool) (*opened, error) {
	dir, err := root.OpenRoot(at)
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	defer dir.Close()
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
	self := artifact.File{Path: manifest.FileName, Kind: "manifest", Size: int64(len(raw)), Digest: artifact.Sum(raw)}
	var lists []manifest.List
	var problems []string
	size := int64(len(raw))
	for _, l := range m.Lists(self.Digest) {
		got, err := read(dir, l.Name, maxManifest)
		if err == nil && !bytes.Equal(got, l.Content) {
			err = fmt.Errorf("%s does not say what %s says; `slipway verify` shows where", l.Name, manifest.FileName)
		}
		switch {
		case err == nil:
			lists = append(lists, l)
			size += int64(len(got))
		case l.Name == manifest.ChecksumsName:
			return nil, err
		default: // it repeats what the other says
			problems = append(problems, fmt.Sprintf("%s is not served: %v", l.Name, err))
		}
	}
	r := &opened{
		release: &release{
			Name: m.Name, Version: m.Version, Time: m.Time, Commit: m.Commit, Unpublishable: m.Unpublishable,
			Archives: len(m.Archives), Images: len(m.Images), Charts: len(m.Charts), dir: at, seen: seen, digest: self.Digest, condition: &condition{},
		},
		manifest: m, files: make(map[string]artifact.File, len(m.Files)+2), flat: map[string]string{}, size: size,
	}
	r.problems = problems
	for _, f := range m.Files {
		r.files[f.Path] = f
	}
	r.files[self.Path] = self
	for _, l := range lists {
		r.files[l.Name] = artifact.File{Path: l.Name, Kind: artifact.Checksums, Size: int64(len(l.Content)), Digest: artifact.Sum(l.Content)}
	}
	if err := signatures(dir, r); err != nil {
		r.problems = append(r.problems, fmt.Sprintf("its signatures are not served: %v", err))
	}
	r.blobs = blobsOf(r.files)
	for _, made := range m.Recipes {
		if made.Format == "script" {
			r.script = r.files[made.Path]
		}
		if f, ok := format.Find(made.Format); ok && f.Kept != "" {
			r.recipes = append(r.recipes, recipe{f.Goes, f.Kept + "/" + path.Base(made.Path), made.Path})
		}
	}
	r.size += 2*min(r.files[m.Notes].Size, maxNotes) + min(r.files[m.Provenance].Size, maxProvenance)
	if len(m.Charts) > 0 {
		r.size += maxValues
	}
	for p := range r.files {
		if _, taken := r.flat[path.Base(p)]; taken {
			r.flat[path.Base(p)] = ""
		} else {
			r.flat[path.Base(p)] = p
		}
	}
	if !withCharts {
		return r, nil
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
func signatures(dir *os.Root, r *opened) error {
	names := append(signature.Whole(r.manifest), signature.LayoutDir+"/oci-layout", signature.LayoutDir+"/index.json")
	if r.manifest.Provenance != "" {
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
		found: slices.Clone(found), failed: slices.Clone(failed), broken: failed, byPath: make(map[string]*release, len(found)), latest: map[string]*release{},
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
	for _, r := range s.releases {
		if _, higher := s.latest[r.Name]; !higher && r.Version.IsStable() && len(r.Unpublishable) == 0 {
			s.latest[r.Name] = r
		}
	}
	var err error
	if s.index, err = helmIndex(s); err != nil {
		return nil, err
	}
	s.listing, err = listing(s)
	return s, err
}
