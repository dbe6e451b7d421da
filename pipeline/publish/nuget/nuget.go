// Package nuget carries Chocolatey packages to a feed that speaks version 2 of NuGet's protocol.
//
// A push makes a package visible, or hands it to moderators, in one request. So it is the flip, and nothing is staged. A
// feed refuses a version that it has without a word about its bytes, and one that moderates may take it again. So what a
// feed has is read from its listing, which tells a hash.
package nuget

import (
	"cmp"
	"context"
	"crypto/sha512"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// KeyHeader is the field that shows the API key to the host of the source, for wire.Credential
// (https://learn.microsoft.com/nuget/api/package-publish-resource).
const KeyHeader = "X-NuGet-ApiKey"

// The community's feed, which takes packages at one host and lists them at another
// (https://docs.chocolatey.org/en-us/create/commands/push/).
const (
	Community      = "https://push.chocolatey.org"
	CommunityReads = "https://community.chocolatey.org/api/v2"
)

// Bounds of what is read, in bytes.
const (
	maxEntry   = 1 << 20
	maxPackage = 256 << 20 // Chocolatey's feed takes 200 MB
)

// Options say to which feed the packages of a release go.
type Options struct {
	Release publish.Release
	// Transport shows the key; see KeyHeader.
	Transport *wire.Transport
	// Source is where packages are pushed to; "" is Community. To one that is a host alone they go below /api/v2/package,
	// to one with a path as it is, as NuGet's own client has it.
	Source string
	// Reads is the root of the feed's listing; "" is CommunityReads for Community. Of another source it is the source, with
	// /api/v2 where that is a host alone.
	Reads string
}

// Applies reports whether a release has anything for a feed.
func Applies(m manifest.Release) bool { return len(recipes(m)) > 0 }

func recipes(m manifest.Release) []manifest.Recipe {
	_, out := format.Going(m, "chocolatey")
	return out
}

// Destination is a feed.
type Destination struct {
	client   *http.Client
	push     string
	reads    string
	packages []pkg
}

// pkg is a package of the release.
type pkg struct {
	id, version string
	path        string // on this machine
	file        artifact.File
	sha512      []byte
	// taken tells that the feed took the package in this run. It may list it later.
	taken bool
}

func (p *pkg) String() string { return p.id + " " + p.version }

// New reads from the release what goes to the feed. A package that is not what the manifest says is a Mismatch, a source
// that is not a URL, or not https, is Usage.
func New(o Options) (*Destination, error) {
	source, err := root("source", cmp.Or(o.Source, Community))
	if err != nil {
		return nil, err
	}
	d := &Destination{client: o.Transport.Client()}
	bare := source.Path == ""
	d.push, d.reads = source.String()+"/", source.String()
	if bare {
		d.push, d.reads = source.String()+"/api/v2/package/", source.String()+"/api/v2"
	}
	if source.String() == Community {
		d.reads = CommunityReads
	}
	if o.Reads != "" {
		reads, err := root("reads", o.Reads)
		if err != nil {
			return nil, err
		}
		d.reads = reads.String()
	}
	for _, r := range recipes(o.Release.Manifest) {
		p, err := open(o.Release, r)
		if err != nil {
			return nil, err
		}
		d.packages = append(d.packages, p)
	}
	return d, nil
}

// root is the URL of a feed without a slash at its end.
func root(what, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !web.Private(u) {
		return nil, fault.Errorf(fault.Usage, "%s of the NuGet feed is not https://host/path without user or query", what)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

func open(rel publish.Release, r manifest.Recipe) (pkg, error) {
	file, ok := rel.File(r.Path)
	if !ok {
		return pkg{}, fault.Errorf(fault.Mismatch, "%s is not among the files of the release", r.Path)
	}
	if !plain(r.Name) || !plain(r.Version) {
		return pkg{}, fault.Errorf(fault.Usage, "%s: id %.60q or version %.60q has characters that no feed takes", r.Path, r.Name, r.Version)
	}
	if file.Size > maxPackage {
		return pkg{}, fault.Errorf(fault.Usage, "%s has %s; feeds take %s", r.Path, artifact.FormatSize(file.Size), artifact.FormatSize(maxPackage))
	}
	p := pkg{id: r.Name, version: r.Version, path: rel.Path(r.Path), file: file}
	f, err := os.Open(p.path)
	if err != nil {
		return pkg{}, err
	}
	defer f.Close()
	long := sha512.New()
	m := artifact.NewMeter(long)
	if _, err := io.Copy(m, f); err != nil {
		return pkg{}, fmt.Errorf("reading %s: %w", r.Path, err)
	}
	if m.Digest() != file.Digest {
		return pkg{}, fault.Errorf(fault.Mismatch, "%s is not what the manifest says; build the release again", r.Path)
	}
	p.sha512 = long.Sum(nil)
	return p, nil
}

// plain reports whether a word is one in a URL and in a query of OData.
func plain(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && strings.Trim(s, ".") != ""
}

// Look tells of every package.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	items := make([]publish.Item, 0, len(d.packages))
	for i := range d.packages {
		it, err := d.look(ctx, &d.packages[i], depth)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

func (d *Destination) look(ctx context.Context, p *pkg, depth publish.Depth) (publish.Item, error) {
	it := publish.Item{
		Name: p.String(), Phase: publish.Flip, State: publish.Missing, Digest: p.file.Digest, Size: p.file.Size, URL: d.page(p),
	}
	e, err := d.listed(ctx, p)
	if err != nil {
		return it, fmt.Errorf("looking for %s: %w", p, err)
	}
	if e == nil {
		if p.taken {
			it.State, it.Detail = publish.Same, "the feed took it and does not list it yet"
		}
		return it, nil
	}
	it.State, it.Detail = publish.Same, e.moderation()
	same, known := e.is(p)
	if known && !same {
		it.State, it.Detail = publish.Different, details(fmt.Sprintf("the feed has other bytes, of hash %.100s", e.hash), it.Detail)
		return it, nil
	}
	if known && depth == publish.Listed {
		return it, nil
	}
	switch digest, err := d.download(ctx, p); {
	case wire.StatusOf(err) == http.StatusNotFound:
		it.State, it.Detail = publish.Missing, details("it is listed and cannot be downloaded", it.Detail)
	case err != nil:
		return it, fmt.Errorf("downloading %s: %w", p, err)
	case digest != p.file.Digest:
		it.State, it.Detail = publish.Different, details("its download has other bytes", it.Detail)
	}
	return it, nil
}

func details(s ...string) string {
	var all []string
	for _, one := range s {
		if one != "" {
			all = append(all, one)
		}
	}
	return strings.Join(all, "; ")
}

// page is where people look at the package.
func (d *Destination) page(p *pkg) string {
	if d.reads == CommunityReads {
		return strings.TrimSuffix(CommunityReads, "/api/v2") + "/packages/" + p.id + "/" + p.version
	}
	return d.file(p)
}

// file is where clients download the package.
func (d *Destination) file(p *pkg) string { return d.reads + "/package/" + p.id + "/" + p.version }

// listed is what the feed says of the package; nil where it has none of its name and version.
func (d *Destination) listed(ctx context.Context, p *pkg) (*entry, error) {
	res, err := d.get(ctx, fmt.Sprintf("%s/Packages(Id='%s',Version='%s')", d.reads, p.id, p.version), "application/atom+xml")
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusNotFound {
		res.Body.Close()
		return nil, nil
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return nil, err
	}
	b, err := wire.ReadAll(res, maxEntry)
	if err != nil {
		return nil, err
	}
	e, err := parse(b)
	if err != nil {
		return nil, fault.New(fault.Transient, fmt.Errorf("reading the feed's answer: %w", err))
	}
	if !strings.EqualFold(e.id, p.id) || normal(e.version) != normal(p.version) {
		return nil, fault.Errorf(fault.Transient, "the feed was asked for %s and answers with %.100q %.60q", p, e.id, e.version)
	}
	return &e, nil
}

// download is the digest of what clients get. It ends one byte after the package should.
func (d *Destination) download(ctx context.Context, p *pkg) (artifact.Digest, error) {
	res, err := d.get(ctx, d.file(p), "")
	if err != nil {
		return "", err
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return "", err
	}
	defer res.Body.Close()
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, io.LimitReader(res.Body, p.file.Size+1)); err != nil {
		return "", wire.Fault(err)
	}
	return m.Digest(), nil
}

func (d *Destination) get(ctx context.Context, at, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := d.client.Do(req)
	return res, wire.Fault(err)
}

// Stage does nothing: a feed has no place that is not public.
func (d *Destination) Stage(context.Context) error { return nil }

// Flip pushes what the feed does not list.
func (d *Destination) Flip(ctx context.Context) error {
	for i := range d.packages {
		if err := d.flip(ctx, &d.packages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Destination) flip(ctx context.Context, p *pkg) error {
	it, err := d.look(ctx, p, publish.Listed)
	if err != nil {
		return err
	}
	var refused error
	if it.State == publish.Missing {
		refused = d.put(ctx, p)
		switch wire.StatusOf(refused) {
		case http.StatusConflict, http.StatusBadRequest:
			// The feed may have the version: the answer to an earlier push may have been lost. What it has decides.
			if it, err = d.look(ctx, p, publish.Listed); err != nil {
				return err
			}
		default:
			if refused != nil {
				return fmt.Errorf("pushing %s: %w", p, refused)
			}
			p.taken = true
			return nil
		}
	}
	switch {
	case it.State == publish.Same:
		return nil
	case it.State == publish.Different:
		return fault.Errorf(fault.Conflict, "%s is taken: %s", p, it.Detail)
	case wire.StatusOf(refused) == http.StatusConflict:
		return fault.Errorf(fault.Transient, "the feed says that it has %s and does not list it yet; run the same command again when it does", p)
	}
	return fmt.Errorf("pushing %s: %w", p, refused)
}

// put pushes a package. Feeds answer 201, or 202 for one that is yet to be checked
// (https://learn.microsoft.com/nuget/api/package-publish-resource#response), and some 200.
func (d *Destination) put(ctx context.Context, p *pkg) error {
	// No bytes of a package contain its own digest.
	form := wire.Form{Field: "package", Name: "package.nupkg", Path: p.path, Size: p.file.Size, Boundary: "slipway-" + p.file.Digest.Hex()[:48]}
	req, err := form.Request(ctx, http.MethodPut, d.push)
	if err != nil {
		return err
	}
	res, err := d.client.Do(req)
	if err != nil {
		return wire.Fault(err)
	}
	if err := wire.Expect(res, http.StatusOK, http.StatusCreated, http.StatusAccepted); err != nil {
		return err
	}
	res.Body.Close()
	return nil
}

// Simulate answers a push as a feed does that takes it; for wire.Options.
func Simulate(req *http.Request) *http.Response {
	if req.Method != http.MethodPut {
		return nil
	}
	return wire.Answer(http.StatusCreated, "")
}
