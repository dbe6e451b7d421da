// Package githubrelease makes the release of a tag on GitHub. It is staged as a draft with all of its assets, which
// nobody sees who may not write to the repository, and made public in one request: after that, assets and tag cannot be
// changed where the repository makes releases immutable
// (https://docs.github.com/code-security/supply-chain-security/understanding-your-software-supply-chain/immutable-releases).
//
// A release that a person began for the tag is gone on with, whether a draft or public: people write the notes before a
// tag is pushed. Its title, its text and its further assets stay. Nothing that is there is ever replaced, other than
// what an upload left that broke off.
//
// A draft is marked by a comment in its text with the release that it is for. Where the answer to its making was lost,
// there may be a second one; the older is filled, and the other, if it is empty, removed.
package githubrelease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	gh "github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// parallel is how many assets are under way at once. GitHub takes it amiss where many are
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits).
const parallel = 4

// Options say where the release is made.
type Options struct {
	Release publish.Release
	// Transport shows a token to the hosts of API and Uploads. It needs contents: write.
	Transport *wire.Transport
	API       string // URL; "" is GitHub's. That of an Enterprise Server is https://<host>/api/v3
	Uploads   string // URL that takes assets; "" is the one that goes with API, see github.UploadURL
	Owner     string
	Repo      string
	Title     string // of a release that nobody gave one; "" is the tag
	// Discussion is the category in which a discussion begins with the release; "" begins none.
	Discussion string
	// NotLatest leaves it to something else which release is called the latest.
	NotLatest bool
}

// Destination is the release of a tag.
type Destination struct {
	o      Options
	client client
	assets []Asset
	prefix string // of the tag, before the version and its v
	made   int64  // the draft that this process made, which lists may not have yet
}

// New reads from the release what is put. What GitHub would not take is a Usage error.
func New(o Options) (*Destination, error) {
	m := o.Release.Manifest
	prefix, ok := strings.CutSuffix(m.Tag, m.Version.String())
	if m.Tag == "" || !ok {
		return nil, fault.Errorf(fault.Usage, "%s has no tag of its own, and a release on GitHub is that of a tag; tag the commit and build again",
			m.Version)
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	assets, err := Assets(o.Release)
	if err != nil {
		return nil, err
	}
	return &Destination{o: o, client: c, assets: assets, prefix: strings.TrimSuffix(prefix, "v")}, nil
}

// view is what GitHub has.
type view struct {
	repo    github.Repository
	release *release // the public one, else the draft that becomes it; nil for none
	assets  map[string]asset
	spare   []release         // further drafts of this package's, which are empty
	stable  []version.Version // that are public; known where the release is not
	newer   string            // tag of the release that should be called the latest where this one wrongly is
}

func (v *view) public() bool { return v.release != nil && !v.release.Draft }

// downloads is the URL below which everybody finds the assets, with a slash.
func (v *view) downloads(tag string) string {
	return strings.TrimRight(v.repo.Page, "/") + "/releases/download/" + github.Escape(tag) + "/"
}

// view looks at the repository, the tag and the release.
func (d *Destination) view(ctx context.Context) (*view, error) {
	v := new(view)
	var err error
	if v.repo, err = d.client.repository(ctx); err != nil {
		return nil, err
	}
	if err := d.checkTag(ctx); err != nil {
		return nil, err
	}
	tag := d.o.Release.Manifest.Tag
	if v.release, err = d.client.published(ctx, tag); err != nil {
		return nil, err
	}
	if !v.public() {
		if err := d.drafts(ctx, v); err != nil {
			return nil, err
		}
	} else if d.o.Release.Manifest.Version.IsStable() && !d.o.NotLatest {
		names, _, err := d.standing(ctx)
		if err != nil {
			return nil, err
		}
		if names.At == names.Mine && names.Highest != names.Mine {
			v.newer = names.Highest
		}
	}
	if v.release != nil {
		v.assets, err = d.client.assets(ctx, *v.release)
	}
	return v, err
}

// checkTag holds the tag there to the commit that was built.
func (d *Destination) checkTag(ctx context.Context) error {
	m := d.o.Release.Manifest
	switch commit, err := d.client.commit(ctx, m.Tag); {
	case err != nil:
		return err
	case commit == "":
		return fault.Errorf(fault.Git, "%s has no tag %s; `git push origin %[2]s` brings it there", d.client.repo, m.Tag)
	case commit != m.Commit:
		return fault.Errorf(fault.Git, "tag %s of %s is of commit %.64q, and the release was built from %s; a tag never moves, so release another version",
			m.Tag, d.client.repo, commit, m.Commit)
	}
	return nil
}

// drafts finds the draft to go on with: the oldest that is for this very release, else the oldest that is not of this
// package's making, else the oldest.
func (d *Destination) drafts(ctx context.Context, v *view) error {
	all, err := d.client.releases(ctx)
	if err != nil {
		return err
	}
	tag := d.o.Release.Manifest.Tag
	var drafts []release
	for _, r := range all {
		if r.Draft && r.Tag == tag && r.ID > 0 {
			drafts = append(drafts, r)
		} else if other, ok := d.stable(r); ok {
			v.stable = append(v.stable, other)
		}
	}
	if len(drafts) == 0 && d.made != 0 {
		made, err := d.client.release(ctx, d.client.at("/releases/%d", d.made), tag)
		if err != nil {
			return err
		}
		if made != nil && made.Draft {
			drafts = append(drafts, *made)
		}
	}
	if len(drafts) == 0 {
		return nil
	}
	rank := func(r release) int {
		switch marked(r.Body) {
		case d.o.Release.Digest:
			return 0
		case "":
			return 1
		}
		return 2
	}
	slices.SortFunc(drafts, func(a, b release) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.ID, b.ID)) })
	v.release = &drafts[0]
	for _, r := range drafts[1:] {
		if rank(r) != 0 {
			continue
		}
		assets, err := d.client.assets(ctx, r)
		if err != nil {
			return err
		}
		if len(assets) == 0 {
			v.spare = append(v.spare, r)
		}
	}
	return nil
}

// version is the version that a tag of the project is of.
func (d *Destination) version(tag string) (version.Version, bool) {
	text, ok := strings.CutPrefix(tag, d.prefix)
	if !ok {
		return version.Version{}, false
	}
	v, err := version.Parse(text)
	return v, err == nil
}

// stable is the version of a release that may be called the latest.
func (d *Destination) stable(r release) (version.Version, bool) {
	v, ok := d.version(r.Tag)
	return v, ok && !r.Draft && !r.Prerelease && v.IsStable()
}

// standing tells which release GitHub calls the latest, by tags, and the numbers of those that may be. Of the highest version
// nobody asks: it became the latest when it became public, and what is called so since then was by a person or is mended by
// whoever was late.
func (d *Destination) standing(ctx context.Context) (publish.Moving[string], map[string]int64, error) {
	tag, best := d.o.Release.Manifest.Tag, d.o.Release.Manifest.Version
	m, ids := publish.Moving[string]{At: tag, Mine: tag, Highest: tag}, map[string]int64{}
	all, err := d.client.releases(ctx)
	for _, r := range all {
		if v, ok := d.stable(r); ok {
			if ids[r.Tag] = r.ID; v.Compare(best) > 0 {
				best, m.Highest = v, r.Tag
			}
		}
	}
	if err == nil && m.Highest != m.Mine {
		m.At, err = d.client.latest(ctx)
	}
	return m, ids, err
}

// forward has GitHub call the newest release the latest.
func (d *Destination) forward(ctx context.Context) error {
	var ids map[string]int64
	return publish.Names[string]{
		Look: func(ctx context.Context) ([]publish.Moving[string], error) {
			m, all, err := d.standing(ctx)
			ids = all
			return []publish.Moving[string]{m}, err
		},
		Move: func(ctx context.Context, to map[int]string) error {
			err := d.client.edit(ctx, ids[to[0]], &gh.RepositoryRelease{MakeLatest: new("true")})
			if wire.StatusOf(err) == http.StatusNotFound {
				err = fault.New(fault.Transient, err) // another look tells what is there
			}
			if err != nil {
				return fmt.Errorf("making %s the latest release: %w", to[0], err)
			}
			return nil
		},
		DryRun: d.o.Transport.DryRun(),
	}.Forward(ctx)
}

// Versions are those of the project that are public, prereleases among them.
func (d *Destination) Versions(ctx context.Context) ([]version.Version, error) {
	all, err := d.client.releases(ctx)
	if err != nil {
		return nil, err
	}
	var out []version.Version
	for _, r := range all {
		if v, ok := d.version(r.Tag); ok && !r.Draft {
			out = append(out, v)
		}
	}
	return out, nil
}

// Look tells of every asset, then of the release. What a public release lacks would be seen as soon as it is uploaded, so
// that is for Flip to put.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	v, err := d.view(ctx)
	if err != nil {
		return nil, err
	}
	items, err := d.items(ctx, v, depth)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(items, func(it publish.Item) bool { return it.State == publish.Missing || it.State == publish.Unfinished }) {
		if err := d.may(ctx, v.repo); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// may says why the token cannot write.
func (d *Destination) may(ctx context.Context, r github.Repository) error {
	if r.Archived {
		return fault.Errorf(fault.Policy, "%s is archived, so nothing is released there any more", d.client.repo)
	}
	if r.Permissions.Push {
		return nil
	}
	app, err := d.client.IsApp(ctx)
	if err == nil && !app {
		err = fault.Errorf(fault.Credentials, "the token may not write to %s; it needs contents: write", d.client.repo)
	}
	return err
}

func (d *Destination) items(ctx context.Context, v *view, depth publish.Depth) ([]publish.Item, error) {
	m := d.o.Release.Manifest
	items := make([]publish.Item, len(d.assets), len(d.assets)+1)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, a := range d.assets {
		items[i] = publish.Item{
			Name: a.Name, Phase: publish.Stage, State: publish.Missing, Digest: a.File.Digest, Size: a.File.Size,
			URL: v.downloads(m.Tag) + github.Escape(a.Name),
		}
		g.Go(func() error { return d.compare(ctx, v, a, depth, &items[i]) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	last := publish.Item{
		Name: "release " + m.Tag, Phase: publish.Flip, State: publish.Missing,
		URL: strings.TrimRight(v.repo.Page, "/") + "/releases/tag/" + github.Escape(m.Tag),
	}
	switch {
	case v.newer != "":
		last.State, last.Detail = publish.Movable, "GitHub calls it the latest, and "+v.newer+" is newer"
	case v.public():
		last.State = publish.Same
	case v.release != nil:
		last.Detail = "a draft"
	}
	return append(items, last), nil
}

// compare tells how an asset stands.
func (d *Destination) compare(ctx context.Context, v *view, a Asset, depth publish.Depth, it *publish.Item) error {
	have, ok := v.assets[a.Name]
	locked := v.public() && v.release.Immutable
	if !ok || !have.finished() {
		if ok {
			it.State, it.Detail = publish.Unfinished, "an upload broke off"
		}
		if locked {
			it.State, it.Detail = publish.Different, "the release is public without it, and GitHub does not allow changes to it any more"
		}
		if v.public() {
			it.Phase = publish.Flip
		}
		return nil
	}
	digest, err := artifact.ParseDigest(have.Digest)
	if have.Size == a.File.Size && (depth == publish.Read || err != nil) {
		public := ""
		if v.public() && !v.repo.Private {
			public = it.URL
		}
		if digest, err = d.client.digest(ctx, have, public); err != nil {
			return err
		}
	}
	whose, wayOut := "the draft of "+d.o.Release.Manifest.Tag, "; delete that draft if it is not needed"
	if v.public() {
		whose, wayOut = "the public release", ""
	}
	switch {
	case have.Size != a.File.Size:
		it.State, it.Detail = publish.Different, fmt.Sprintf("%s has it with %d bytes and not %d%s", whose, have.Size, a.File.Size, wayOut)
	case digest != a.File.Digest:
		it.State, it.Detail = publish.Different, fmt.Sprintf("%s has it as %s and not %s%s", whose, digest, a.File.Digest, wayOut)
	default:
		it.State = publish.Same
	}
	if it.State == publish.Different && a.Signature {
		it.State, it.Detail = publish.Kept, "another signature is there, and what is there is not replaced"
	}
	return nil
}

// Stage makes a draft where there is none, and uploads what it lacks. What is public is left for Flip.
func (d *Destination) Stage(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil || v.public() {
		return err
	}
	if err := d.tidy(ctx, v); err != nil {
		return err
	}
	if v.release == nil {
		if v.release, err = d.draft(ctx, v); err != nil {
			return fmt.Errorf("making the draft of %s: %w", d.o.Release.Manifest.Tag, err)
		}
	}
	return d.fill(ctx, v)
}

// tidy removes the drafts that are not needed.
func (d *Destination) tidy(ctx context.Context, v *view) error {
	for _, r := range v.spare {
		if err := d.client.remove(ctx, d.client.at("/releases/%d", r.ID)); err != nil {
			return fmt.Errorf("removing the second draft of %s: %w", r.Tag, err)
		}
	}
	return nil
}

// draft makes the draft.
func (d *Destination) draft(ctx context.Context, v *view) (*release, error) {
	m := d.o.Release.Manifest
	body, err := bodyOf(d.o.Release, v.downloads(m.Tag))
	if err != nil {
		return nil, err
	}
	r, err := d.client.create(ctx, &gh.RepositoryRelease{
		TagName: &m.Tag, TargetCommitish: &m.Commit, Name: new(d.title()), Body: &body, Draft: new(true), Prerelease: new(!m.Version.IsStable()),
	})
	switch {
	case said(err, "immutable release"):
		return nil, fault.Errorf(fault.Conflict, "the tag is used up, so release another version: %w", err)
	case err != nil:
		return nil, err
	case r.ID <= 0 && !d.o.Transport.DryRun():
		return nil, fault.Errorf(fault.Transient, "it has the number %d", r.ID)
	}
	d.made = r.ID
	return &r, nil
}

func (d *Destination) title() string { return cmp.Or(d.o.Title, d.o.Release.Manifest.Tag) }

// fill uploads what the release lacks, several assets at a time. One that fails does not hold up the others, unless they
// would fail too.
func (d *Destination) fill(ctx context.Context, v *view) error {
	var mu sync.Mutex
	var errs []error
	hopeless := false
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, a := range d.assets {
		have, ok := v.assets[a.Name]
		if ok && have.finished() {
			continue
		}
		g.Go(func() error {
			mu.Lock()
			skip := hopeless || ctx.Err() != nil
			mu.Unlock()
			if skip {
				return nil
			}
			if err := d.put(ctx, v.release.ID, a, have); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("uploading %s: %w", a.Name, err))
				hopeless = hopeless || fault.CodeOf(err) != fault.Transient
			}
			return nil
		})
	}
	_ = g.Wait() // nothing of it returns an error
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// put uploads an asset, in the place of what a broken upload left, which goes by its number: the name may be another
// upload's by then.
func (d *Destination) put(ctx context.Context, id int64, a Asset, left asset) error {
	name := d.o.Release.Path(a.File.Path)
	sum, size, err := artifact.SumFile(name)
	if err != nil {
		return err
	}
	if sum != a.File.Digest || size != a.File.Size {
		return fault.Errorf(fault.Mismatch, "%s is not what it was when the release was opened; build it again", a.File.Path)
	}
	if left.ID > 0 {
		if err := d.client.remove(ctx, d.client.at("/releases/assets/%d", left.ID)); err != nil {
			return fmt.Errorf("removing what a broken upload left: %w", err)
		}
	}
	made, err := d.client.upload(ctx, id, a, name)
	switch {
	case said(err, "immutable release"):
		return fault.New(fault.Conflict, err)
	case said(err, "already_exists"), wire.StatusOf(err) == http.StatusNotFound:
		return fault.New(fault.Transient, err) // another look tells what is there
	case err != nil || d.o.Transport.DryRun():
		return err
	case made.Name != a.Name:
		return fault.Errorf(fault.Usage, "GitHub calls it %.200q; give the file a name that GitHub keeps", made.Name)
	case !made.finished():
		return fault.Errorf(fault.Transient, "GitHub says that it is not there yet but %.60q", made.State)
	}
	return nil
}

// Flip makes the draft public, after a look at whether it has everything: the next moment it may be immutable. It becomes
// the latest release where no higher stable version is public, also where one becomes public at the same time. What a release
// lacks that a person made public is uploaded.
func (d *Destination) Flip(ctx context.Context) error {
	v, err := d.view(ctx)
	if err != nil {
		return err
	}
	if v.public() {
		if v.release.Immutable && d.lacks(v) != "" {
			return fault.Errorf(fault.Conflict, "the public release of %s is immutable and has no %s; release another version",
				v.release.Tag, d.lacks(v))
		}
		if err := d.fill(ctx, v); err != nil || v.newer == "" {
			return err
		}
		return d.forward(ctx)
	}
	if err := d.tidy(ctx, v); err != nil {
		return err
	}
	if d.o.Transport.DryRun() {
		if v.release == nil {
			v.release = new(release) // which Stage told of
		}
	} else if err := d.whole(ctx, v); err != nil {
		return err
	}
	if err := d.publish(ctx, v); err != nil || !d.o.Release.Manifest.Version.IsStable() || d.o.NotLatest || d.o.Transport.DryRun() {
		return err
	}
	return d.forward(ctx)
}

// lacks is the name of an asset that the release has not; "" for none.
func (d *Destination) lacks(v *view) string {
	for _, a := range d.assets {
		if !v.assets[a.Name].finished() {
			return a.Name
		}
	}
	return ""
}

// whole says why the draft is not to be made public.
func (d *Destination) whole(ctx context.Context, v *view) error {
	if v.release == nil {
		return fault.Errorf(fault.Transient, "there is no draft of %s any more; the same command makes it again", d.o.Release.Manifest.Tag)
	}
	if name := d.lacks(v); name != "" {
		return fault.Errorf(fault.Transient, "the draft of %s has no %s any more; the same command uploads it again", v.release.Tag, name)
	}
	items, err := d.items(ctx, v, publish.Listed)
	for _, it := range items {
		if it.State == publish.Different {
			return fault.Errorf(fault.Conflict, "%s is taken: %s", it.Name, it.Detail)
		}
	}
	return err
}

// publish makes the draft public. A title or a text that a person gave it stays.
func (d *Destination) publish(ctx context.Context, v *view) error {
	m := d.o.Release.Manifest
	latest := !d.o.NotLatest && m.Version.IsStable() && !slices.ContainsFunc(v.stable, func(other version.Version) bool { return other.Compare(m.Version) > 0 })
	in := &gh.RepositoryRelease{Draft: new(false), Prerelease: new(!m.Version.IsStable()), MakeLatest: new(fmt.Sprint(latest))}
	if v.release.Name == "" && !d.o.Transport.DryRun() {
		in.Name = new(d.title())
	}
	if strings.TrimSpace(v.release.Body) == "" && !d.o.Transport.DryRun() {
		body, err := bodyOf(d.o.Release, v.downloads(m.Tag))
		if err != nil {
			return err
		}
		in.Body = &body
	}
	if d.o.Discussion != "" {
		in.DiscussionCategoryName = &d.o.Discussion
	}
	err := d.client.edit(ctx, v.release.ID, in)
	switch {
	case wire.StatusOf(err) == http.StatusNotFound && d.o.Discussion != "" && said(err, "discussion", "category"):
		err = fault.Errorf(fault.Usage, "there is no category %q for discussions; make it, or name another: %w", d.o.Discussion, err)
	case wire.StatusOf(err) == http.StatusNotFound, said(err, "already_exists"):
		err = fault.New(fault.Transient, err) // another look tells what is there
	case said(err, "immutable release"):
		err = fault.Errorf(fault.Conflict, "the tag is used up, so release another version: %w", err)
	}
	if err != nil {
		return fmt.Errorf("making the draft of %s public: %w", m.Tag, err)
	}
	return nil
}

// Simulate answers as GitHub does where all goes well; for wire.Options.
func Simulate(req *http.Request) *http.Response {
	switch {
	case req.Method == http.MethodDelete:
		return wire.Answer(http.StatusNoContent, "")
	case req.Method == http.MethodPost:
		return wire.Answer(http.StatusCreated, `{"draft":true}`, "Content-Type", "application/json")
	}
	return wire.Answer(http.StatusOK, `{}`, "Content-Type", "application/json")
}
