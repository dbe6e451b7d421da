// Package registry carries images and charts to one OCI registry: everything by digest first, the names of the version
// next, and the names that move last of all.
//
// A blob is sent once to a registry, however many repositories want it: the others mount it from the first. What signs
// and describes an image is there before the image has a name, so that nobody pulls by name what cannot be verified yet.
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
}

// Destination is a registry.
type Destination struct {
	o     Options
	repos []repository

	mu     sync.Mutex
	client *client                  // with what may be pushed
	broken map[artifact.Digest]bool // documents that were read back and were not whole
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
	return &Destination{o: o, repos: repos, broken: map[artifact.Digest]bool{}}, nil
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
	items, err := d.items(ctx, c)
	return slices.Concat(items...), err
}

// items are those of each repository.
func (d *Destination) items(ctx context.Context, c *client) ([][]publish.Item, error) {
	items := make([][]publish.Item, len(d.repos))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, r := range d.repos {
		items[i] = make([]publish.Item, r.count())
		d.look(ctx, g, c, r, items[i])
	}
	return items, g.Wait()
}

// count is the number of items of a repository.
func (r repository) count() int {
	n := len(r.Roots) + len(r.Attached) + len(r.Signed) + len(r.Tags) + len(r.Floating)
	if r.Hub != nil {
		n++
	}
	return n
}

// look fills in the items of a repository.
func (d *Destination) look(ctx context.Context, g *errgroup.Group, c *client, r repository, items []publish.Item) {
	next := func() *publish.Item {
		it := &items[0]
		items = items[1:]
		return it
	}
	full := d.o.Host + "/" + r.Name
	for _, doc := range r.Roots {
		it := next()
		*it = publish.Item{Name: full + "@" + string(doc.Digest), Phase: publish.Stage, Digest: doc.Digest, Size: doc.total()}
		g.Go(func() error { return d.stateOf(ctx, c, r, string(doc.Digest), it) })
	}
	bySubject := map[artifact.Digest][]*publish.Item{}
	for _, doc := range r.Attached {
		it := next()
		*it = publish.Item{Name: full + "@" + string(doc.Digest), Phase: publish.Stage, State: publish.Missing, Digest: doc.Digest, Size: doc.total()}
		bySubject[doc.Subject] = append(bySubject[doc.Subject], it)
	}
	for subject, attached := range bySubject {
		g.Go(func() error {
			index, _, err := c.referrers(ctx, r.Name, subject)
			for _, it := range attached {
				if index.has(it.Digest) && !d.isBroken(it.Digest) {
					it.State = publish.Same
				}
			}
			return err
		})
	}
	for _, s := range r.Signed {
		it := next()
		*it = publish.Item{Name: full + ":" + s.Tag, Phase: publish.Stage, Digest: s.Digest, Size: s.total()}
		g.Go(func() error {
			err := d.stateOf(ctx, c, r, s.Tag, it)
			if it.State == publish.Different { // others may have signed the image as well
				it.State, it.Detail = publish.Kept, "another signature has this name; ours is attached to the image all the same"
			}
			return err
		})
	}
	for _, t := range r.Tags {
		it := next()
		*it = publish.Item{Name: full + ":" + t.Name, Phase: publish.Flip, Digest: t.Digest, Size: t.Size}
		g.Go(func() error { return d.stateOf(ctx, c, r, t.Name, it) })
	}
	floating := items[:len(r.Floating)]
	items = items[len(r.Floating):]
	hub := items
	if len(floating)+len(hub) == 0 {
		return
	}
	g.Go(func() error {
		names, err := c.tags(ctx, r.Name)
		if err != nil {
			return err
		}
		for i, t := range r.Floating {
			floating[i] = publish.Item{Name: full + ":" + t.Name, Phase: publish.Flip, Digest: t.Digest, Size: t.Size}
			if err := d.floats(ctx, c, r, t, names, &floating[i]); err != nil {
				return err
			}
		}
		if r.Hub == nil {
			return nil
		}
		hub[0] = publish.Item{Name: full + ":" + hubTag, Phase: publish.Flip, Digest: r.Hub.Digest, Size: r.Hub.total()}
		if err := d.stateOf(ctx, c, r, hubTag, &hub[0]); err != nil {
			return err
		}
		if hub[0].State == publish.Different {
			hub[0].State = publish.Movable
			if newer := d.newer(names, ""); newer != "" {
				hub[0].State, hub[0].Detail = publish.Kept, "it is that of "+newer
			}
		}
		return nil
	})
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

// floats tells whether the release may have a name that moves.
func (d *Destination) floats(ctx context.Context, c *client, r repository, t tag, names []string, it *publish.Item) error {
	if err := d.stateOf(ctx, c, r, t.Name, it); err != nil {
		return err
	}
	if it.State == publish.Same {
		return nil
	}
	released := versions(names, t.Distro)
	if !slices.Contains(version.Moves(d.o.Release.Manifest.Version, released, t.Distro, t.Default), t.Name) {
		it.State, it.Detail = publish.Kept, "it belongs to "+d.newer(names, t.Distro)
		return nil
	}
	if it.State == publish.Different {
		it.State = publish.Movable
	}
	return nil
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

// newer is the highest version among the names that is above the release's, for a person; "" for none. A prerelease is
// not above anything that is stable.
func (d *Destination) newer(names []string, distro string) string {
	mine := d.o.Release.Manifest.Version
	best := mine
	for _, v := range versions(names, distro) {
		if v.IsStable() && (v.Compare(best) > 0 || !best.IsStable()) {
			best = v
		}
	}
	if best == mine {
		return ""
	}
	return best.String()
}

// lack is what a repository does not have yet and nobody would see.
type lack struct {
	name     string
	roots    []document
	attached []document
	signed   []signed
}

// lacking tells what is to be staged. What has its document is whole: registries refuse a document without what it names,
// and it is put last.
func (d *Destination) lacking(ctx context.Context, c *client) ([]lack, error) {
	items, err := d.items(ctx, c)
	if err != nil {
		return nil, err
	}
	out := make([]lack, len(d.repos))
	for i, r := range d.repos {
		out[i].name = r.Name
		at := items[i] // in the order of look
		for k, doc := range r.Roots {
			if at[k].State == publish.Missing {
				out[i].roots = append(out[i].roots, doc)
			}
		}
		at = at[len(r.Roots):]
		for k, doc := range r.Attached {
			if at[k].State == publish.Missing {
				out[i].attached = append(out[i].attached, doc)
			}
		}
		at = at[len(r.Attached):]
		for k, s := range r.Signed {
			if at[k].State == publish.Missing {
				out[i].signed = append(out[i].signed, s)
			}
		}
	}
	return out, nil
}

// documents are all of what a repository lacks, those that others name first.
func (l lack) documents() []document {
	var out []document
	for _, r := range l.roots {
		out = append(append(out, r.Children...), r)
	}
	out = append(out, l.attached...)
	for _, s := range l.signed {
		out = append(out, s.document)
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
	for _, level := range []func(l lack) []put{
		func(l lack) []put { return byDigest(children(l.roots)) },
		func(l lack) []put { return byDigest(l.roots) },
		func(l lack) []put { return byDigest(l.attached) },
		func(l lack) []put {
			var out []put
			for _, s := range l.signed {
				out = append(out, put{s.document, s.Tag})
			}
			return out
		},
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
		for _, doc := range l.attached {
			bySubject[doc.Subject] = append(bySubject[doc.Subject], doc)
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

func byDigest(docs []document) []put {
	var out []put
	for _, d := range docs {
		out = append(out, put{d, string(d.Digest)})
	}
	return out
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

// Flip gives the images and charts their names: those of the version, then those that move, then Artifact Hub's.
func (d *Destination) Flip(ctx context.Context) error {
	c, err := d.dial(ctx)
	if err != nil {
		return err
	}
	items, err := d.items(ctx, c)
	if err != nil {
		return err
	}
	var named, moving []func(context.Context) error
	for i, r := range d.repos {
		at := items[i][len(r.Roots)+len(r.Attached)+len(r.Signed):]
		for k, t := range r.Tags {
			switch at[k].State {
			case publish.Different:
				return fault.Errorf(fault.Conflict, "%s was taken meanwhile: %s", at[k].Name, at[k].Detail)
			case publish.Missing:
				named = append(named, d.name(c, r, t))
			}
		}
		at = at[len(r.Tags):]
		for k, t := range r.Floating {
			if s := at[k].State; s == publish.Missing || s == publish.Movable {
				moving = append(moving, d.name(c, r, t))
			}
		}
		if at = at[len(r.Floating):]; r.Hub != nil && !slices.Contains([]publish.State{publish.Same, publish.Kept}, at[0].State) {
			moving = append(moving, d.hub(c, r))
		}
	}
	for _, wave := range [][]func(context.Context) error{named, moving} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for _, f := range wave {
			g.Go(func() error { return f(ctx) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// name gives what the repository has by digest a name.
func (d *Destination) name(c *client, r repository, t tag) func(context.Context) error {
	return func(ctx context.Context) error {
		i := slices.IndexFunc(r.Roots, func(doc document) bool { return doc.Digest == t.Digest })
		if err := c.put(ctx, r.Name, t.Name, r.Roots[i]); err != nil {
			return fmt.Errorf("%s/%s:%s: %w", d.o.Host, r.Name, t.Name, err)
		}
		return nil
	}
}

// hub puts Artifact Hub's metadata.
func (d *Destination) hub(c *client, r repository) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, b := range r.Hub.Blobs {
			there, err := c.hasBlob(ctx, r.Name, b.Digest)
			if err == nil && !there {
				err = c.push(ctx, r.Name, b, "")
			}
			if err != nil {
				return fmt.Errorf("%s/%s: %w", d.o.Host, r.Name, err)
			}
		}
		return d.put(ctx, c, r.Name, put{*r.Hub, hubTag})
	}
}
