// Package registry carries images and charts to one OCI registry: everything by digest first, the names of the version
// next, and the names that move last of all.
//
// A blob is sent once to a registry, however many repositories want it: the others mount it from the first. What signs
// and describes an image is there before the image has a name, so that what is pulled by name can always be verified.
package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// parallel is how many requests are under way at once.
const parallel = 8

// Options say where the images and charts of a release go at one registry.
type Options struct {
	Release   publish.Release
	Transport *wire.Transport
	Host      string // of the registry, with a port if it has one
	// Repositories say where a repository of the manifest goes, with host and path each; more than one host is fine, and
	// only those of Host are taken.
	Repositories func(repository string) []string
	Auth         authn.Authenticator // nil is anonymous
	// Still leaves out the names of images that move, which follow something else. Whose a chart is, which Artifact Hub's metadata
	// say, is the same for all versions.
	Still bool
}

// Destination is a registry.
type Destination struct {
	o     Options
	repos []repository

	mu     sync.Mutex
	client *client                  // with what may be pushed
	broken map[artifact.Digest]bool // documents that were read back and were not whole
	moved  map[string]string        // versions of others that this process gave names to, by the digests that stand for them
}

// New reads from the release what goes to the registry.
func New(o Options) (*Destination, error) {
	if o.Auth == nil {
		o.Auth = authn.Anonymous
	}
	repos, err := gather(o.Release, func(repository string) string {
		for _, where := range o.Repositories(repository) {
			if host, name := split(where); host == o.Host {
				return name
			}
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	if o.Still {
		for i := range repos {
			repos[i].Floating = slices.DeleteFunc(repos[i].Floating, func(t tag) bool { return t.Name != hubTag })
		}
	}
	return &Destination{o: o, repos: repos, broken: map[artifact.Digest]bool{}, moved: map[string]string{}}, nil
}

func (d *Destination) dial(ctx context.Context) (*client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		return d.client, nil
	}
	var scopes []string
	for _, r := range d.repos {
		scopes = append(scopes, "repository:"+r.Name+":push,pull")
	}
	var err error
	d.client, err = dial(ctx, d.o.Host, d.o.Auth, d.o.Transport, scopes)
	return d.client, err
}

// Look tells of every document, of every list of what is attached, and of every name.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	c, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	if depth == publish.Read {
		if err := d.readBack(ctx, c); err != nil {
			return nil, err
		}
	}
	jobs, err := d.jobs(ctx, c)
	var items []publish.Item
	for _, j := range slices.Concat(jobs...) {
		items = append(items, j.item)
	}
	return items, err
}

// kind is what there is to do about an item.
type kind int

// The kinds of items, in the order in which a repository gets them.
const (
	kindRoot     kind = iota // an image or a chart, by digest
	kindAttached             // what is attached to it, by digest
	kindSigned               // a signature under the name that cosign looks for
	kindName                 // of the version
	kindFloating             // a name that moves
)

// job is an item with what it is made of.
type job struct {
	kind      kind
	item      publish.Item
	document  document // but for a name
	reference string   // that it is put under: a digest or a tag
	tag       tag      // of a name
}

// work is all that a repository of the host is to have. How each item stands is for look to fill in.
func (r repository) work(host string) []*job {
	full := host + "/" + r.Name
	var jobs []*job
	byDigest := func(k kind, doc document, s publish.State) {
		it := publish.Item{Name: full + "@" + string(doc.Digest), Phase: publish.Stage, State: s, Digest: doc.Digest, Size: doc.total()}
		jobs = append(jobs, &job{kind: k, item: it, document: doc, reference: string(doc.Digest)})
	}
	named := func(k kind, t tag) {
		it := publish.Item{Name: full + ":" + t.Name, Phase: publish.Flip, Digest: t.Digest, Size: t.Size}
		jobs = append(jobs, &job{kind: k, item: it, reference: t.Name, tag: t})
	}
	for _, doc := range r.Roots {
		byDigest(kindRoot, doc, "")
	}
	for _, doc := range r.Attached {
		byDigest(kindAttached, doc, publish.Missing)
	}
	for _, s := range r.Signed {
		it := publish.Item{Name: full + ":" + s.Tag, Phase: publish.Stage, Digest: s.Digest, Size: s.total()}
		jobs = append(jobs, &job{kind: kindSigned, item: it, document: s.document, reference: s.Tag})
	}
	for _, t := range r.Tags {
		named(kindName, t)
	}
	for _, t := range r.Floating {
		named(kindFloating, t)
	}
	return jobs
}

// jobs are those of each repository, with how they stand.
func (d *Destination) jobs(ctx context.Context, c *client) ([][]*job, error) {
	jobs := make([][]*job, len(d.repos))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, r := range d.repos {
		jobs[i] = r.work(d.o.Host)
		d.look(ctx, g, c, r, jobs[i])
	}
	return jobs, g.Wait()
}

// look fills in how the items of a repository stand.
func (d *Destination) look(ctx context.Context, g *errgroup.Group, c *client, r repository, jobs []*job) {
	bySubject := map[artifact.Digest][]*job{}
	var moving []*job
	for _, j := range jobs {
		switch j.kind {
		case kindRoot, kindName:
			g.Go(func() error { return d.stateOf(ctx, c, r, j.reference, &j.item) })
		case kindSigned:
			g.Go(func() error {
				err := d.stateOf(ctx, c, r, j.reference, &j.item)
				if j.item.State == publish.Different { // others may have signed the image as well
					j.item.State, j.item.Detail = publish.Kept, "another signature has this name; ours is attached to the image all the same"
				}
				return err
			})
		case kindAttached:
			bySubject[j.document.Subject] = append(bySubject[j.document.Subject], j)
		case kindFloating:
			moving = append(moving, j)
		}
	}
	for subject, attached := range bySubject {
		g.Go(func() error { return d.attached(ctx, c, r, subject, attached) })
	}
	if len(moving) > 0 {
		g.Go(func() error { return d.moving(ctx, c, r, moving) })
	}
}

// attached fills in what is attached to a subject already.
func (d *Destination) attached(ctx context.Context, c *client, r repository, subject artifact.Digest, jobs []*job) error {
	index, _, err := c.referrers(ctx, r.Name, subject)
	for _, j := range jobs {
		if index.has(j.item.Digest) && !d.isBroken(j.item.Digest) {
			j.item.State = publish.Same
		}
	}
	return err
}

// moving fills in the names that move.
func (d *Destination) moving(ctx context.Context, c *client, r repository, jobs []*job) error {
	all, err := d.standing(ctx, c, r)
	if err != nil {
		return err
	}
	for i, m := range all { // the jobs are in the order of the names
		it := &jobs[i].item
		switch it.State = m.State(); {
		case it.State == publish.Kept:
			it.Detail = "it belongs to " + m.Highest
		case it.State == publish.Movable && m.Highest != m.Mine:
			it.Detail = "it went back to " + m.Mine + " and belongs to " + m.Highest
		case it.State == publish.Movable:
			it.Detail = "it is " + m.At
		}
	}
	return nil
}

// total is what a pull of the document fetches, in bytes, what is below it included.
func (d document) total() int64 {
	n := d.Size
	for _, b := range d.Blobs {
		n += b.Size
	}
	for _, c := range d.Children {
		n += c.total()
	}
	return n
}

func (d *Destination) isBroken(digest artifact.Digest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken[digest]
}

// stateOf compares what has a name, a digest or a tag, with what should have it.
func (d *Destination) stateOf(ctx context.Context, c *client, r repository, reference string, it *publish.Item) error {
	there, err := c.digest(ctx, r.Name, reference)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", d.o.Host, r.Name, err)
	}
	switch {
	case there == "" || d.isBroken(it.Digest):
		it.State = publish.Missing
	case there == it.Digest:
		it.State = publish.Same
	default:
		it.State, it.Detail = publish.Different, "it is "+string(there)+" and not "+string(it.Digest)
	}
	return nil
}

// standing tells how the names of a repository that move stand, by their versions; what stands for none that is known here
// is told by its digest.
func (d *Destination) standing(ctx context.Context, c *client, r repository) ([]publish.Moving[string], error) {
	names, err := c.tags(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	var all []publish.Moving[string]
	for _, t := range r.Floating {
		there, err := c.digest(ctx, r.Name, t.Name)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", d.o.Host, r.Name, err)
		}
		m := publish.Moving[string]{At: d.versionOf(there), Mine: d.mine(r, t)}
		if released := versions(names, t.Distro); t.Name == hubTag {
			m.Highest = newest(released, r.Version).String()
		} else {
			m.Highest = version.Holder(t.Name, d.o.Release.Manifest.Version, released, t.Distro, t.Default).String()
		}
		if there == t.Digest {
			m.At = m.Mine
		}
		if t.Name == hubTag && m.At == m.Mine && m.Highest != m.Mine {
			// Not every version of a chart has metadata.
			switch doc, err := d.held(ctx, c, r, t, m.Highest); {
			case err != nil:
				return nil, err
			case doc == nil:
				m.Highest = m.Mine
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// versionOf is the version of another release that this process gave a name to, by its digest, which it is otherwise.
func (d *Destination) versionOf(there artifact.Digest) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return cmp.Or(d.moved[string(there)], string(there))
}

// held is what another version gives a name that moves; nil where it gives it nothing.
func (d *Destination) held(ctx context.Context, c *client, r repository, t tag, v string) (*document, error) {
	reference := strings.ReplaceAll(v, "+", "_")
	if t.Distro != "" {
		reference += "-" + t.Distro
	}
	want, err := c.digest(ctx, r.Name, reference)
	if err == nil && want != "" && t.Name == hubTag {
		want, err = c.metadata(ctx, r.Name, want)
	}
	if err != nil || want == "" {
		return nil, err
	}
	return c.whole(ctx, r.Name, want)
}

// Versions are those that the registry has of the project already, by the names of its images and charts.
func (d *Destination) Versions(ctx context.Context) ([]version.Version, error) {
	c, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	distros := map[string]bool{}
	for _, im := range d.o.Release.Manifest.Images {
		distros[im.Distro] = true
	}
	var all []version.Version
	for _, r := range d.repos {
		if r.Own {
			continue
		}
		names, err := c.tags(ctx, r.Name)
		if err != nil {
			return nil, err
		}
		if r.Chart {
			all = append(all, versions(names, "")...)
			continue
		}
		for distro := range distros {
			all = append(all, versions(names, distro)...)
		}
	}
	return all, nil
}

// versions are the released versions among the names of a repository: those of one distribution, or of a chart where
// distro is "".
func versions(names []string, distro string) []version.Version {
	var out []version.Version
	for _, n := range names {
		if distro != "" {
			var ok bool
			if n, ok = strings.CutSuffix(n, "-"+distro); !ok {
				continue
			}
		}
		if v, err := version.Parse(strings.ReplaceAll(n, "_", "+")); err == nil {
			out = append(out, v)
		}
	}
	return out
}

// newest is the version of a chart that is the newest: any that is stable before any that is not.
func newest(released []version.Version, mine version.Version) version.Version {
	for _, v := range released {
		if v.IsStable() == mine.IsStable() && v.Compare(mine) > 0 || v.IsStable() && !mine.IsStable() {
			mine = v
		}
	}
	return mine
}

// lack is what a repository does not have yet, and what would not be visible.
type lack struct {
	name string
	jobs []*job
}

// lacking are the jobs that are to be staged. What has its document is whole: registries refuse a document without what it
// names, and it is put last.
func (d *Destination) lacking(ctx context.Context, c *client) ([]lack, error) {
	jobs, err := d.jobs(ctx, c)
	if err != nil {
		return nil, err
	}
	out := make([]lack, len(d.repos))
	for i, r := range d.repos {
		out[i] = lack{r.Name, slices.DeleteFunc(jobs[i], func(j *job) bool {
			return j.item.Phase != publish.Stage || j.item.State != publish.Missing
		})}
	}
	return out, nil
}

// of are the documents of a kind that are lacking, under their names.
func (l lack) of(k kind) []put {
	var out []put
	for _, j := range l.jobs {
		if j.kind == k {
			out = append(out, put{j.document, j.reference})
		}
	}
	return out
}

// children are the documents that those which are lacking name, each once.
func (l lack) children() []put {
	var roots []document
	for _, p := range l.of(kindRoot) {
		roots = append(roots, p.document)
	}
	var out []put
	for _, doc := range children(roots) {
		out = append(out, put{doc, string(doc.Digest)})
	}
	return out
}

// documents are all of what a repository lacks, those that others name first.
func (l lack) documents() []document {
	var out []document
	for _, j := range l.jobs {
		out = append(append(out, j.document.Children...), j.document)
	}
	return out
}

// Stage puts blobs, then documents by digest, then what is attached to them.
func (d *Destination) Stage(ctx context.Context) error {
	c, err := d.dial(ctx)
	if err != nil {
		return err
	}
	lacks, err := d.lacking(ctx, c)
	if err != nil {
		return err
	}
	if err := d.blobs(ctx, c, lacks); err != nil {
		return err
	}
	// Level by level: a registry refuses an index before what it names, and what is attached comes after what it is
	// attached to.
	for _, level := range []func(lack) []put{
		lack.children,
		func(l lack) []put { return l.of(kindRoot) },
		func(l lack) []put { return l.of(kindAttached) },
		func(l lack) []put { return l.of(kindSigned) },
	} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for _, l := range lacks {
			for _, p := range level(l) {
				g.Go(func() error { return d.put(ctx, c, l.name, p) })
			}
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return d.list(ctx, c, lacks)
}

// list writes the lists of what is attached where the registry does not keep them: each once, with all that the release
// attaches, so that it does not tell in which order things came.
func (d *Destination) list(ctx context.Context, c *client, lacks []lack) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, l := range lacks {
		bySubject := map[artifact.Digest][]document{}
		for _, p := range l.of(kindAttached) {
			bySubject[p.Subject] = append(bySubject[p.Subject], p.document)
		}
		for subject, docs := range bySubject {
			g.Go(func() error {
				if err := c.list(ctx, l.name, subject, docs); err != nil {
					return fmt.Errorf("%s/%s: %w", d.o.Host, l.name, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// put is a document with the name that it is put under.
type put struct {
	document
	reference string
}

// children are those of all the documents, each once.
func children(roots []document) []document {
	var out []document
	for _, r := range roots {
		for _, c := range r.Children {
			if !slices.ContainsFunc(out, func(have document) bool { return have.Digest == c.Digest }) {
				out = append(out, c)
			}
		}
	}
	return out
}

func (d *Destination) put(ctx context.Context, c *client, repo string, p put) error {
	if err := c.put(ctx, repo, p.reference, p.document); err != nil {
		return fmt.Errorf("%s/%s: %w", d.o.Host, repo, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.broken, p.Digest)
	return nil
}

// blobs sends each blob once, to the first repository that lacks it where none has it, and mounts it in the others.
func (d *Destination) blobs(ctx context.Context, c *client, lacks []lack) error {
	type wanted struct {
		content
		repos []string
	}
	var all []*wanted
	seen := map[artifact.Digest]*wanted{}
	for _, l := range lacks {
		for _, doc := range l.documents() {
			for _, b := range doc.Blobs {
				w := seen[b.Digest]
				if w == nil {
					w = &wanted{content: b}
					seen[b.Digest] = w
					all = append(all, w)
				}
				if !slices.Contains(w.repos, l.name) {
					w.repos = append(w.repos, l.name)
				}
			}
		}
	}
	// The largest first, so that none of them is left alone at the end.
	slices.SortStableFunc(all, func(a, b *wanted) int { return cmp.Compare(b.Size, a.Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, w := range all {
		g.Go(func() error {
			from := ""
			var lacking []string
			for _, repo := range w.repos {
				there, err := c.hasBlob(ctx, repo, w.Digest)
				if err != nil {
					return fmt.Errorf("%s/%s: %w", d.o.Host, repo, err)
				}
				if there {
					from = repo
				} else {
					lacking = append(lacking, repo)
				}
			}
			for _, repo := range lacking {
				if err := c.push(ctx, repo, w.content, from); err != nil {
					return fmt.Errorf("%s/%s: %w", d.o.Host, repo, err)
				}
				from = repo
			}
			return nil
		})
	}
	return g.Wait()
}

// readBack fetches everything that is staged, on the way that users take where that is open, and remembers what is not
// whole. What it does not find is for the items to tell.
func (d *Destination) readBack(ctx context.Context, c *client) error {
	fetched := map[artifact.Digest]string{} // blobs, by the first repository that was asked for them
	for _, r := range d.repos {
		reader := d.public(ctx, c, r)
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		docs := slices.Concat(children(r.Roots), r.Roots, r.Attached)
		for _, s := range r.Signed {
			docs = append(docs, s.document)
		}
		parents := map[artifact.Digest][]artifact.Digest{}
		for _, root := range r.Roots {
			for _, child := range root.Children {
				parents[child.Digest] = append(parents[child.Digest], root.Digest)
			}
		}
		for _, doc := range docs {
			breaks := func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.broken[doc.Digest] = true
				for _, p := range parents[doc.Digest] {
					d.broken[p] = true
				}
			}
			g.Go(func() error {
				b, err := reader.manifest(ctx, r.Name, string(doc.Digest))
				if err == nil && artifact.Sum(b) != doc.Digest {
					breaks()
				}
				return err
			})
			for _, b := range doc.Blobs {
				check := reader.readBlob
				if fetched[b.Digest] != "" {
					check = func(ctx context.Context, repo string, b content) (bool, error) {
						return reader.hasBlob(ctx, repo, b.Digest)
					}
				}
				if fetched[b.Digest] == r.Name {
					continue
				}
				fetched[b.Digest] = r.Name
				g.Go(func() error {
					whole, err := check(ctx, r.Name, b)
					if err == nil && !whole {
						breaks()
					}
					return err
				})
			}
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("%s/%s: %w", d.o.Host, r.Name, err)
		}
	}
	return nil
}

// public is a client without credentials where the repository lets everybody read, as its users do, and the one with
// credentials where it does not: a new repository is private at many registries until somebody opens it.
func (d *Destination) public(ctx context.Context, c *client, r repository) *client {
	anonymous, err := dial(ctx, d.o.Host, authn.Anonymous, d.o.Transport, []string{"repository:" + r.Name + ":pull"})
	if err != nil || len(r.Roots) == 0 {
		return c
	}
	if there, err := anonymous.digest(ctx, r.Name, string(r.Roots[0].Digest)); err != nil || there == "" {
		return c
	}
	return anonymous
}

// Flip gives the images and charts their names: those of the version, by which others know of it, then those that move.
func (d *Destination) Flip(ctx context.Context) error {
	c, err := d.dial(ctx)
	if err != nil {
		return err
	}
	jobs, err := d.jobs(ctx, c)
	if err != nil {
		return err
	}
	moves := false
	for _, j := range slices.Concat(jobs...) {
		if j.kind == kindName && j.item.State == publish.Different {
			return fault.Errorf(fault.Conflict, "%s was taken meanwhile: %s", j.item.Name, j.item.Detail)
		}
		moves = moves || j.kind == kindFloating && !j.item.State.Done()
	}
	g, named := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, r := range d.repos {
		for _, j := range jobs[i] {
			if j.kind == kindName && j.item.State == publish.Missing {
				g.Go(func() error { return d.name(named, c, r, j.tag) })
			}
		}
	}
	if err := g.Wait(); err != nil || !moves {
		return err
	}
	return d.forward(ctx, c)
}

// forward moves the names that move.
func (d *Destination) forward(ctx context.Context, c *client) error {
	var repos []repository // of each name
	var tags []tag
	for _, r := range d.repos {
		for _, t := range r.Floating {
			repos, tags = append(repos, r), append(tags, t)
		}
	}
	names := publish.Names[string]{DryRun: d.o.Transport.DryRun()}
	names.Look = func(ctx context.Context) ([]publish.Moving[string], error) {
		all := make([][]publish.Moving[string], len(d.repos))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for i, r := range d.repos {
			if len(r.Floating) > 0 {
				g.Go(func() (err error) {
					all[i], err = d.standing(ctx, c, r)
					return err
				})
			}
		}
		err := g.Wait()
		return slices.Concat(all...), err
	}
	names.Move = func(ctx context.Context, to map[int]string) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for i, v := range to {
			g.Go(func() error {
				if v == d.mine(repos[i], tags[i]) {
					return d.name(ctx, c, repos[i], tags[i])
				}
				return d.giveBack(ctx, c, repos[i], tags[i], v)
			})
		}
		return g.Wait()
	}
	return names.Forward(ctx)
}

// mine is the version of this release that a name may stand for.
func (d *Destination) mine(r repository, t tag) string {
	if t.Name == hubTag {
		return r.Version.String()
	}
	return d.o.Release.Manifest.Version.String()
}

// giveBack gives a name that moves to a version of another release, which was published meanwhile.
func (d *Destination) giveBack(ctx context.Context, c *client, r repository, t tag, v string) error {
	doc, err := d.held(ctx, c, r, t, v)
	if err == nil && doc == nil {
		err = fault.Errorf(fault.Transient, "the registry lists %s and does not have it", v)
	}
	if err == nil {
		err = c.put(ctx, r.Name, t.Name, *doc)
	}
	if err != nil {
		return fmt.Errorf("%s/%s:%s: %w", d.o.Host, r.Name, t.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved[string(doc.Digest)] = v
	return nil
}

// name gives what the repository has by digest a name.
func (d *Destination) name(ctx context.Context, c *client, r repository, t tag) error {
	docs := slices.Concat(r.Roots, r.Attached)
	i := slices.IndexFunc(docs, func(doc document) bool { return doc.Digest == t.Digest })
	if err := c.put(ctx, r.Name, t.Name, docs[i]); err != nil {
		return fmt.Errorf("%s/%s:%s: %w", d.o.Host, r.Name, t.Name, err)
	}
	return nil
}
