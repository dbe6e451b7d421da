// Package github makes the release of a tag on GitHub: a draft with all of its assets first, which nobody sees who may
// not write, and a public release when the transaction says so.
//
// A draft that a person wrote for the tag is taken over with its title and text, since people write the notes of a
// release before it is made. Assets that are there are never replaced. After the release is public they cannot be, where
// the repository makes releases immutable
// (https://docs.github.com/code-security/supply-chain-security/understanding-your-software-supply-chain/immutable-releases).
package github

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/version"
)

const (
	// parallel is how many assets are under way at once: more trip GitHub's secondary limits.
	parallel = 4
	// maxPages bounds the releases that are listed, 100 to a page.
	maxPages = 50
	// maxBody is the longest text of a release, in characters.
	maxBody = 125_000
)

// Options say where the release is made.
type Options struct {
	Release   publish.Release
	Transport *wire.Transport // shows the token to the hosts of API and Uploads; its Simulate is this package's
	API       string          // URL of the API; "" is https://api.github.com
	Uploads   string          // URL that assets are sent to; "" is GitHub's, or the API's own
	Owner     string
	Repo      string
	TagPrefix string // what precedes the version in the project's tags
	Title     string // "" is the tag
	// Discussion is the category of a discussion that begins with the release; "" begins none.
	Discussion string
}

// Destination is a release on GitHub.
type Destination struct {
	o      Options
	client *github.Client
	assets []asset
	body   string
	told   *release // the draft that a dry run told of
}

// New reads from the release what becomes an asset.
func New(o Options) (*Destination, error) {
	if o.Release.Manifest.Tag == "" {
		return nil, fault.Errorf(fault.Usage, "%s is of a commit without a tag, and a release on GitHub is that of a tag", o.Release.Manifest.Version)
	}
	assets, err := assetsOf(o.Release)
	if err != nil {
		return nil, err
	}
	body, err := bodyOf(o.Release)
	if err != nil {
		return nil, err
	}
	d := &Destination{o: o, client: github.NewClient(o.Transport.Client()), assets: assets, body: body}
	api := cmp.Or(o.API, "https://api.github.com")
	uploads := cmp.Or(o.Uploads, uploadsOf(api))
	for _, base := range []struct {
		of   **url.URL
		text string
	}{{&d.client.BaseURL, api}, {&d.client.UploadURL, uploads}} {
		u, err := url.Parse(strings.TrimSuffix(base.text, "/") + "/")
		if err != nil {
			return nil, fault.New(fault.Usage, err)
		}
		*base.of = u
	}
	return d, nil
}

// uploadsOf is where assets are sent to, for an API
// (https://docs.github.com/en/enterprise-server@latest/rest/enterprise-admin#endpoint-urls).
func uploadsOf(api string) string {
	api = strings.TrimSuffix(api, "/")
	if api == "https://api.github.com" {
		return "https://uploads.github.com"
	}
	if server, ok := strings.CutSuffix(api, "/api/v3"); ok {
		return server + "/api/uploads"
	}
	return api
}

// UploadHosts are the hosts besides the API's that its token is for.
func UploadHosts(api string) []string {
	here, err := url.Parse(api)
	if err != nil {
		return nil
	}
	there, err := url.Parse(uploadsOf(api))
	if err != nil || there.Host == here.Host {
		return nil
	}
	return []string{there.Host}
}

// release is a release with the fields that the library does not know yet.
type release struct {
	ID         int64   `json:"id"`
	Tag        string  `json:"tag_name"`
	Name       string  `json:"name"`
	Body       string  `json:"body"`
	Draft      bool    `json:"draft"`
	Prerelease bool    `json:"prerelease"`
	Immutable  bool    `json:"immutable"`
	URL        string  `json:"html_url"`
	Assets     []there `json:"assets"`
}

// there is an asset that the release has.
type there struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	Browse string `json:"browser_download_url"`
}

// call makes a request and reads the answer into out, which may be nil.
func (d *Destination) call(ctx context.Context, method, path string, in, out any) (*github.Response, error) {
	req, err := d.client.NewRequest(method, path, in)
	if err != nil {
		return nil, err
	}
	res, err := d.client.Do(ctx, req, out)
	return res, failure(err)
}

// failure gives an error of the library its exit code.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var limit *github.RateLimitError
	var abuse *github.AbuseRateLimitError
	if errors.As(err, &limit) || errors.As(err, &abuse) {
		return fault.New(fault.Transient, err)
	}
	if e, ok := errors.AsType[*github.ErrorResponse](err); ok && e.Response != nil {
		b, _ := json.Marshal(e)
		said := &wire.StatusError{Status: e.Response.StatusCode, Message: wire.Message(b)}
		if r := e.Response.Request; r != nil {
			said.Method, said.URL = r.Method, wire.Redact(r.URL)
		}
		return fault.New(wire.Code(e.Response.StatusCode), said)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fault.Errorf(fault.Transient, "GitHub answers with no JSON: %w", err)
	}
	return wire.Fault(err)
}

func (d *Destination) path(format string, args ...any) string {
	return fmt.Sprintf("repos/%s/%s", d.o.Owner, d.o.Repo) + fmt.Sprintf(format, args...)
}

// standing is what GitHub has of the release.
type standing struct {
	release  *release          // nil for none
	surplus  []*release        // further drafts of ours, which a lost answer left
	released []version.Version // that are public, without this one
}

// look reads the repository, the tag and the releases.
func (d *Destination) look(ctx context.Context) (standing, error) {
	if err := d.access(ctx); err != nil {
		return standing{}, err
	}
	if err := d.tag(ctx); err != nil {
		return standing{}, err
	}
	return d.releases(ctx)
}

// access tells why the token cannot make a release.
func (d *Destination) access(ctx context.Context) error {
	var repo struct {
		Permissions struct {
			Push bool `json:"push"`
		} `json:"permissions"`
		Archived bool `json:"archived"`
	}
	_, err := d.call(ctx, http.MethodGet, d.path(""), nil, &repo)
	switch {
	case wire.StatusOf(err) == http.StatusNotFound:
		return fault.Errorf(fault.Credentials, "there is no repository %s/%s that the token can see", d.o.Owner, d.o.Repo)
	case err != nil:
		return err
	case repo.Archived:
		return fault.Errorf(fault.Policy, "%s/%s is archived, and nothing is released in it any more", d.o.Owner, d.o.Repo)
	case !repo.Permissions.Push:
		return fault.Errorf(fault.Credentials, "the token may not write to %s/%s; a job in GitHub Actions may with permissions: contents: write", d.o.Owner, d.o.Repo)
	}
	return nil
}

// tag holds the tag there to the release's commit (https://docs.github.com/rest/git/refs#get-a-reference).
func (d *Destination) tag(ctx context.Context) error {
	type object struct {
		Object struct {
			SHA  string `json:"sha"`
			Type string `json:"type"`
		} `json:"object"`
	}
	m := d.o.Release.Manifest
	var ref object
	_, err := d.call(ctx, http.MethodGet, d.path("/git/ref/tags/%s", escape(m.Tag)), nil, &ref)
	if s := wire.StatusOf(err); s == http.StatusNotFound || s == http.StatusConflict {
		return fault.Errorf(fault.Git, "%s/%s has no tag %s; git push origin %[3]s", d.o.Owner, d.o.Repo, m.Tag)
	}
	for depth := 0; err == nil && ref.Object.Type == "tag" && depth < 5; depth++ {
		id := ref.Object.SHA
		ref = object{}
		_, err = d.call(ctx, http.MethodGet, d.path("/git/tags/%s", escape(id)), nil, &ref)
	}
	if err != nil {
		return err
	}
	if ref.Object.SHA != m.Commit {
		return fault.Errorf(fault.Git, "tag %s of %s/%s is at %.40s and the release is of %s; a tag that moved is never released, so make another version", m.Tag, d.o.Owner, d.o.Repo, ref.Object.SHA, m.Commit)
	}
	return nil
}

// escape keeps what is between slashes from leaving the path.
func escape(path string) string {
	var out []string
	for part := range strings.SplitSeq(path, "/") {
		out = append(out, url.PathEscape(part))
	}
	return strings.Join(out, "/")
}

// releases finds the release among all, drafts included, which no other way leads to.
func (d *Destination) releases(ctx context.Context) (standing, error) {
	var s standing
	var drafts []*release
	tag := d.o.Release.Manifest.Tag
	for page := 1; page != 0; {
		if page > maxPages {
			return s, fault.Errorf(fault.Usage, "%s/%s has more than %d releases", d.o.Owner, d.o.Repo, maxPages*100)
		}
		var all []*release
		res, err := d.call(ctx, http.MethodGet, d.path("/releases?per_page=100&page=%d", page), nil, &all)
		if err != nil {
			return s, err
		}
		for _, r := range all {
			switch {
			case r.Tag == tag && r.Draft:
				drafts = append(drafts, r)
			case r.Tag == tag:
				s.release = r
			case !r.Draft && !r.Prerelease:
				text, ours := strings.CutPrefix(r.Tag, d.o.TagPrefix)
				if v, err := version.Parse(strings.TrimPrefix(text, "v")); ours && err == nil {
					s.released = append(s.released, v)
				}
			}
		}
		if page = res.NextPage; len(all) == 0 {
			page = 0
		}
	}
	if s.release == nil && len(drafts) > 0 {
		// The oldest is the one that others may have seen and filled.
		slices.SortFunc(drafts, func(a, b *release) int { return cmp.Compare(a.ID, b.ID) })
		s.release, drafts = drafts[0], drafts[1:]
	}
	for _, r := range drafts {
		if len(r.Assets) == 0 && strings.Contains(r.Body, d.marker()) {
			s.surplus = append(s.surplus, r)
		}
	}
	if s.release == nil {
		return s, nil
	}
	var err error
	s.release.Assets, err = d.listed(ctx, s.release)
	return s, err
}

// listed are all assets of a release: the release itself shows only so many of them.
func (d *Destination) listed(ctx context.Context, r *release) ([]there, error) {
	var out []there
	for page := 1; page != 0; {
		var all []there
		res, err := d.call(ctx, http.MethodGet, d.path("/releases/%d/assets?per_page=100&page=%d", r.ID, page), nil, &all)
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
		if page = res.NextPage; len(all) == 0 || page > maxPages {
			page = 0
		}
	}
	return out, nil
}

// Versions are those that are public in the repository.
func (d *Destination) Versions(ctx context.Context) ([]version.Version, error) {
	var out []version.Version
	for page := 1; page != 0 && page <= maxPages; {
		var all []*release
		res, err := d.call(ctx, http.MethodGet, d.path("/releases?per_page=100&page=%d", page), nil, &all)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			text, ours := strings.CutPrefix(r.Tag, d.o.TagPrefix)
			if v, err := version.Parse(strings.TrimPrefix(text, "v")); ours && err == nil && !r.Draft {
				out = append(out, v)
			}
		}
		page = res.NextPage
	}
	return out, nil
}

// Look tells of every asset, and of the release.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	s, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	items := make([]publish.Item, len(d.assets))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, a := range d.assets {
		items[i] = publish.Item{Name: a.name, Phase: publish.Stage, State: publish.Missing, Digest: a.file.Digest, Size: a.file.Size}
		have, ok := s.asset(a.name)
		if !ok {
			if s.release != nil && s.release.Immutable {
				items[i].State, items[i].Detail = publish.Different, "the release is public and immutable, and does not have it"
			}
			continue
		}
		items[i].URL = have.Browse
		g.Go(func() error { return d.compare(gctx, s.release, a, have, depth, &items[i]) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	final := publish.Item{Name: "release " + d.o.Release.Manifest.Tag, Phase: publish.Flip, State: publish.Missing}
	if s.release != nil {
		final.URL = s.release.URL
		if !s.release.Draft {
			final.State = publish.Same
		}
	}
	return append(items, final), nil
}

func (s standing) asset(name string) (there, bool) {
	if s.release == nil {
		return there{}, false
	}
	i := slices.IndexFunc(s.release.Assets, func(t there) bool { return t.Name == name })
	if i < 0 {
		return there{}, false
	}
	return s.release.Assets[i], true
}

// compare tells how an asset that is there stands.
func (d *Destination) compare(ctx context.Context, r *release, a asset, have there, depth publish.Depth, it *publish.Item) error {
	if have.State != "uploaded" {
		it.State, it.Detail = publish.Unfinished, "an upload broke off"
		return nil
	}
	digest := artifact.Digest(have.Digest)
	if have.Size == a.file.Size && (depth == publish.Read || have.Digest == "") {
		got, err := d.fetch(ctx, r, have, a.file.Size)
		if err != nil {
			return err
		}
		digest = got
	}
	switch {
	case have.Size != a.file.Size:
		it.State, it.Detail = publish.Different, fmt.Sprintf("it has %d bytes and not %d", have.Size, a.file.Size)
	case digest != a.file.Digest:
		it.State, it.Detail = publish.Different, fmt.Sprintf("it is %.80s and not %s", digest, a.file.Digest)
	default:
		it.State = publish.Same
	}
	return nil
}

// fetch reads an asset: as everybody does where the release is public, else over the API, since a draft is not.
func (d *Destination) fetch(ctx context.Context, r *release, have there, size int64) (artifact.Digest, error) {
	address, accept := d.client.BaseURL.String()+d.path("/releases/assets/%d", have.ID), "application/octet-stream"
	if u, err := url.Parse(have.Browse); err == nil && !r.Draft && (u.Scheme == "https" || wire.Loopback(u.Host)) {
		address = have.Browse
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fault.New(fault.Transient, err)
	}
	req.Header.Set("Accept", accept)
	res, err := d.o.Transport.Client().Do(req)
	if err != nil {
		return "", wire.Fault(err)
	}
	defer res.Body.Close()
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return "", fault.New(fault.Transient, err)
	}
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, io.LimitReader(res.Body, size+1)); err != nil {
		return "", wire.Fault(fmt.Errorf("reading %s: %w", have.Name, err))
	}
	return m.Digest(), nil
}

// Stage makes the draft and uploads what it lacks.
func (d *Destination) Stage(ctx context.Context) error {
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	for _, r := range s.surplus {
		if _, err := d.call(ctx, http.MethodDelete, d.path("/releases/%d", r.ID), nil, nil); err != nil && wire.StatusOf(err) != http.StatusNotFound {
			return err
		}
	}
	if s.release == nil {
		if s.release, err = d.create(ctx); err != nil {
			return err
		}
		if d.o.Transport.DryRun() {
			d.told = s.release
		}
	}
	var lock sync.Mutex
	var refused []error
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, a := range d.assets {
		have, ok := s.asset(a.name)
		if ok && have.State == "uploaded" {
			continue // of which bytes, Look tells
		}
		g.Go(func() error {
			if ok {
				_, err := d.call(gctx, http.MethodDelete, d.path("/releases/assets/%d", have.ID), nil, nil)
				if err != nil && wire.StatusOf(err) != http.StatusNotFound {
					return err
				}
			}
			err := d.upload(gctx, s.release, a)
			if fault.CodeOf(err) == fault.Conflict { // it is there after all; the others go on, and the next look tells
				lock.Lock()
				defer lock.Unlock()
				refused = append(refused, err)
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(refused) > 0 {
		return fault.New(fault.Transient, errors.Join(refused...)) // another round looks at what is there
	}
	return nil
}

// create makes the draft (https://docs.github.com/rest/releases/releases#create-a-release).
func (d *Destination) create(ctx context.Context) (*release, error) {
	m := d.o.Release.Manifest
	r := new(release)
	_, err := d.call(ctx, http.MethodPost, d.path("/releases"), map[string]any{
		"tag_name": m.Tag, "target_commitish": m.Commit, "name": cmp.Or(d.o.Title, m.Tag), "body": d.body + "\n\n" + d.marker() + "\n",
		"draft": true, "prerelease": !m.Version.IsStable(),
	}, r)
	if s := wire.StatusOf(err); s == http.StatusUnprocessableEntity {
		// Another run made it between our look and this.
		return nil, fault.New(fault.Transient, err)
	}
	return r, err
}

// upload sends an asset (https://docs.github.com/rest/releases/assets#upload-a-release-asset). An answer of 422 says that
// the name is taken: by another run, or by this one, when the answer before was lost.
func (d *Destination) upload(ctx context.Context, r *release, a asset) error {
	u, err := d.client.UploadURL.Parse(d.path("/releases/%d/assets", r.ID) + "?name=" + url.QueryEscape(a.name))
	if err != nil {
		return err
	}
	open := func() (io.ReadCloser, error) { return os.Open(d.o.Release.Path(a.file.Path)) }
	body, err := open()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		body.Close()
		return err
	}
	req.GetBody, req.ContentLength = open, a.file.Size
	if a.file.Size == 0 {
		req.Body.Close()
		req.Body, req.GetBody = http.NoBody, nil
	}
	req.Header.Set("Content-Type", a.mediaType)
	req.Header.Set("Accept", "application/vnd.github+json")
	res, err := d.o.Transport.Client().Do(req)
	if err != nil {
		return wire.Fault(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnprocessableEntity {
		return fault.New(fault.Conflict, wire.Expect(res, http.StatusCreated))
	}
	if err := wire.Expect(res, http.StatusCreated); err != nil {
		return err
	}
	b, err := wire.ReadAll(res, 1<<20)
	if err != nil {
		return err
	}
	var made there
	if err := json.Unmarshal(b, &made); err == nil && made.Name != "" && made.Name != a.name {
		return fault.Errorf(fault.Usage, "GitHub calls %s %.200q; rename it, so that people find it", a.name, made.Name)
	}
	return nil
}

// Flip makes the draft public (https://docs.github.com/rest/releases/releases#update-a-release). It is the latest only
// if it is stable and no higher stable version is public.
func (d *Destination) Flip(ctx context.Context) error {
	s, err := d.look(ctx)
	if err != nil {
		return err
	}
	if s.release == nil {
		s.release = d.told
	}
	switch {
	case s.release == nil:
		return fault.Errorf(fault.Transient, "the draft of %s is gone; the same command makes it again", d.o.Release.Manifest.Tag)
	case !s.release.Draft:
		return nil
	}
	v := d.o.Release.Manifest.Version
	latest := v.IsStable() && !slices.ContainsFunc(s.released, func(other version.Version) bool { return other.IsStable() && other.Compare(v) > 0 })
	change := map[string]any{"draft": false, "prerelease": !v.IsStable(), "make_latest": strconv.FormatBool(latest)}
	if d.o.Discussion != "" {
		change["discussion_category_name"] = d.o.Discussion
	}
	_, err = d.call(ctx, http.MethodPatch, d.path("/releases/%d", s.release.ID), change, nil)
	if wire.StatusOf(err) == http.StatusUnprocessableEntity {
		return fault.New(fault.Conflict, err)
	}
	return err
}

// Simulate answers what a dry run does not send as GitHub would.
func Simulate(req *http.Request) *http.Response {
	switch {
	case req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/releases"):
		return wire.Answer(http.StatusCreated, `{"id": 1, "draft": true}`, "Content-Type", "application/json")
	case req.Method == http.MethodPost:
		return wire.Answer(http.StatusCreated, "{}", "Content-Type", "application/json")
	case req.Method == http.MethodDelete:
		return wire.Answer(http.StatusNoContent, "")
	}
	return wire.Answer(http.StatusOK, "{}", "Content-Type", "application/json")
}
