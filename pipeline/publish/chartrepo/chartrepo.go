// Package chartrepo adds charts to a classic Helm repository that is a branch of a git repository, such as gh-pages.
//
// Its index is merged and never rewritten: what others released stays there to the last byte that YAML has a meaning for.
// Packages and index go there in one commit, which is a function of the branch and the release, and the branch moves
// forward or not at all. Where somebody else moved it meanwhile, the merge is made again on what is there then, so that
// of two releases at once none loses the other's entry.
package chartrepo

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// Push is how a push is reported: as a request with this method, to the URL of the git repository.
const Push = "GIT PUSH"

// rounds is how often the merge is made again because somebody else was faster.
const rounds = 5

// maxChart bounds a packaged chart, in bytes.
const maxChart = 32 << 20

// Options say where the charts go. Nothing else decides what is written: no time of a clock, and no configuration of git.
type Options struct {
	Release publish.Release
	Others  []publish.Release // whose charts are to be there as well
	// Remote is the URL of the git repository: https, ssh in either of its forms, file, or http on this machine. No
	// password is in it.
	Remote string
	Branch string // made if it is not there; "" is gh-pages
	Folder string // in the branch; "" is its root
	// URL is where the branch is served. Packages are named relative to the index all the same, so that the repository can
	// be served elsewhere; what is in the branch is read back from there, with Transport.
	URL       string
	Transport *wire.Transport

	Committer, Email string        // author and committer
	Token            func() string // for https; nil for none
	Path             string        // PATH, in which git is looked for, 2.32 or later
	Env              []string      // further variables that git needs, such as that of an SSH agent
	Dir              string        // for what is temporary; "" is the system's

	Destination string             // its name in the journal
	Recorder    wire.Recorder      // has each push before it goes; nil keeps nothing
	DryRun      func(wire.Request) // is called with each push, which is then not made
}

// packaged is a chart of the release.
type packaged struct {
	file   artifact.File
	name   string // of the file in the repository
	meta   *helmchart.Metadata
	bytes  []byte
	semver *semver.Version
	time   time.Time // of its release
}

// Destination is a chart repository.
type Destination struct {
	o      Options
	charts []packaged
	hub    []byte // artifacthub-repo.yml; nil for none
}

// hubFile is what Artifact Hub reads beside an index
// (https://artifacthub.io/docs/topics/repositories/helm-charts/).
const hubFile = "artifacthub-repo.yml"

// maxHub bounds it, in bytes.
const maxHub = 1 << 20

// New reads the charts of the release. A chart that is not the one of the manifest is a fault.Mismatch, and an option
// that cannot be meant is a fault.Usage.
func New(o Options) (*Destination, error) {
	o.Branch = cmp.Or(o.Branch, "gh-pages")
	if err := o.check(); err != nil {
		return nil, err
	}
	d := &Destination{o: o}
	for _, rel := range append([]publish.Release{o.Release}, o.Others...) {
		for _, c := range rel.Manifest.Charts {
			p, err := load(rel, c)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", c.Path, err)
			}
			d.charts = append(d.charts, p)
		}
	}
	if f, ok := o.Release.File("charts/" + hubFile); ok {
		b, err := readFile(o.Release.Path(f.Path), maxHub)
		if err != nil {
			return nil, err
		}
		if artifact.Sum(b) != f.Digest {
			return nil, fault.Errorf(fault.Mismatch, "%s is not the file that the manifest lists", f.Path)
		}
		d.hub = b
	}
	return d, nil
}

// load reads a chart, which is the one that the manifest lists and says of itself what the manifest says of it.
func load(rel publish.Release, c manifest.Chart) (packaged, error) {
	f, _ := rel.File(c.Path)
	b, err := readFile(rel.Path(c.Path), maxChart)
	if err != nil {
		return packaged{}, err
	}
	if artifact.Sum(b) != f.Digest {
		return packaged{}, fault.Errorf(fault.Mismatch, "it is not the file that the manifest lists")
	}
	loaded, err := loader.LoadArchive(bytes.NewReader(b))
	if err != nil {
		return packaged{}, fault.New(fault.Mismatch, err)
	}
	if m := loaded.Metadata; m.Name != c.Name || m.Version != c.Version {
		return packaged{}, fault.Errorf(fault.Mismatch, "its Chart.yaml is for %q %q, and the manifest says %q %q", m.Name, m.Version, c.Name, c.Version)
	}
	v, err := semver.StrictNewVersion(c.Version)
	if err != nil {
		return packaged{}, fault.New(fault.Usage, err)
	}
	return packaged{file: f, name: path.Base(c.Path), meta: loaded.Metadata, bytes: b, semver: v, time: rel.Manifest.Time}, nil
}

// remotes are the URLs of git repositories that are meant by one; what git would take for an option or for a program to
// run is not among them.
var remotes = regexp.MustCompile(`^(?:(?:https?|ssh)://[A-Za-z0-9\[][^\s]*|file:///[^\s]+|` +
	`(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:/?[^\s:/-][^\s]*)$`)

// check tells what in the options cannot be meant.
func (o Options) check() error {
	if !remotes.MatchString(o.Remote) {
		return fault.Errorf(fault.Usage, "%.80q is not the URL of a git repository; write https://host/path, ssh://host/path or user@host:path", o.Remote)
	}
	if err := branch.CheckName(o.Branch); err != nil {
		return err
	}
	if o.Folder != "" && o.Folder != "." {
		if err := artifact.CheckPath(o.Folder); err != nil {
			return fault.Errorf(fault.Usage, "folder of the charts: %w", err)
		}
		if slices.ContainsFunc(strings.Split(o.Folder, "/"), func(part string) bool { return strings.EqualFold(part, ".git") }) {
			return fault.Errorf(fault.Usage, "folder of the charts: git keeps nothing in %q", o.Folder)
		}
	}
	u, err := url.Parse(o.Remote)
	if err != nil {
		return nil // user@host:path is not one
	}
	if _, secret := u.User.Password(); secret {
		return fault.Errorf(fault.Usage, "%s contains a password; remove it and name the variable that holds the token", wire.Redact(u))
	}
	if u.Scheme == "http" && !web.Loopback(u.Host) {
		return fault.Errorf(fault.Usage, "%s is not https; a token is not sent where others read it", wire.Redact(u))
	}
	return nil
}

func readFile(name string, limit int64) ([]byte, error) {
	b, err := bounded.File(name, limit)
	if bounded.IsTooLarge(err) {
		err = fault.New(fault.Usage, err)
	}
	return b, err
}

// in is the path of a file of the repository in the branch.
func (d *Destination) in(name string) string { return path.Join(d.o.Folder, name) }

// Look tells of each chart, by the index and by its package. Where something is missing it also makes the merge and tries
// a push that changes nothing, so that what would refuse either shows before anything is public.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	if len(d.charts) == 0 {
		return nil, nil
	}
	c, err := open(ctx, d.o)
	if err != nil {
		return nil, err
	}
	defer c.close()
	items, err := d.items(func(name string, limit int64) ([]byte, error) { return c.File(ctx, d.in(name), limit) })
	if err != nil {
		return nil, err
	}
	is := func(s publish.State) bool {
		return slices.ContainsFunc(items, func(it publish.Item) bool { return it.State == s })
	}
	switch {
	case is(publish.Different):
		return items, nil
	case is(publish.Missing):
		return items, d.mayPush(ctx, c)
	}
	if depth == publish.Listed || d.o.URL == "" || d.o.Transport == nil {
		return items, nil
	}
	// What is not in the branch is nowhere. What is, is what users get only once the site shows it.
	shown, err := d.items(func(name string, limit int64) ([]byte, error) { return d.download(ctx, name, limit) })
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.o.URL, err)
	}
	for i := range shown {
		if shown[i].State == publish.Missing {
			shown[i].Detail = "the branch has it and its site does not show it yet, which may take some minutes"
		}
	}
	return shown, nil
}

// items tell how the charts stand in the repository that read reads.
func (d *Destination) items(read func(name string, limit int64) ([]byte, error)) ([]publish.Item, error) {
	b, err := read(indexFile, maxIndex)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, err
	}
	var items []publish.Item
	for _, p := range d.charts {
		it, err := d.item(p, x, read)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	return items, nil
}

// item tells how a chart stands.
func (d *Destination) item(p packaged, x index, read func(string, int64) ([]byte, error)) (publish.Item, error) {
	it := publish.Item{Name: p.meta.Name + " " + p.meta.Version, Phase: publish.Flip, Digest: p.file.Digest, Size: p.file.Size, State: publish.Missing}
	if d.o.URL != "" {
		it.URL = strings.TrimSuffix(d.o.URL, "/") + "/" + p.name
	}
	listed := x.digests(p.meta.Name, p.meta.Version)
	for _, digest := range listed {
		if digest != p.file.Digest.Hex() {
			it.State, it.Detail = publish.Different, fmt.Sprintf("the index has this version of the chart with the digest %.80q", digest)
			return it, nil
		}
	}
	b, err := read(p.name, maxChart)
	switch {
	case err != nil:
		return it, err
	case b != nil && artifact.Sum(b) != p.file.Digest:
		it.State, it.Detail = publish.Different, fmt.Sprintf("%s has other bytes, with the digest %s", p.name, artifact.Sum(b))
	case b != nil && len(listed) > 0:
		it.State = publish.Same
	}
	return it, nil
}

// mayPush tries a push without making it. That the branch has moved meanwhile says no more than that others may push.
func (d *Destination) mayPush(ctx context.Context, c *clone) error {
	files, err := d.merged(ctx, c)
	if err != nil {
		return err
	}
	commit, err := d.commit(ctx, c, files)
	if err != nil {
		return err
	}
	if behind, err := c.Push(ctx, commit, true); !behind {
		return err
	}
	return nil
}

// commit is one of the release, on what the branch is at.
func (d *Destination) commit(ctx context.Context, c *clone, files map[string][]byte) (string, error) {
	m := d.o.Release.Manifest
	return c.Commit(ctx, branch.Change{Files: files, Message: fmt.Sprintf("%s %s", m.Name, m.Version), Time: m.Time})
}

// download reads a file as Helm does; nil where there is none.
func (d *Destination) download(ctx context.Context, name string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(d.o.URL, "/")+"/"+name, nil)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	req.Header.Set("Cache-Control", "no-cache")
	res, err := d.o.Transport.Client().Do(req)
	if err != nil {
		return nil, wire.Fault(err)
	}
	if res.StatusCode == http.StatusNotFound {
		res.Body.Close()
		return nil, nil
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return nil, err
	}
	return wire.ReadAll(res, limit)
}

// Stage does nothing: what is in the branch is seen.
func (d *Destination) Stage(context.Context) error { return nil }

// Flip adds the charts in one commit. Where somebody else was faster more often than is right for a while, it is a
// fault.Transient.
func (d *Destination) Flip(ctx context.Context) error {
	if len(d.charts) == 0 {
		return nil
	}
	c, err := open(ctx, d.o)
	if err != nil {
		return err
	}
	defer c.close()
	for round := 1; ; round++ {
		files, err := d.merged(ctx, c)
		if err != nil || len(files) == 0 {
			return err
		}
		commit, err := d.commit(ctx, c, files)
		if err != nil {
			return err
		}
		if d.o.DryRun != nil {
			d.o.DryRun(d.request(files))
			return nil
		}
		behind, err := d.push(ctx, c, commit, files)
		if !behind || round >= rounds {
			return err
		}
		if err := c.Fetch(ctx); err != nil {
			return err
		}
	}
}

func (d *Destination) request(files map[string][]byte) wire.Request {
	r := wire.Request{Destination: d.o.Destination, Method: Push, URL: d.o.Remote + " " + d.o.Branch}
	if u, err := url.Parse(d.o.Remote); err == nil && u.Host != "" {
		r.URL = wire.Redact(u) + " " + d.o.Branch
	}
	for _, b := range files {
		r.Size += int64(len(b))
	}
	return r
}

func (d *Destination) push(ctx context.Context, c *clone, commit string, files map[string][]byte) (behind bool, err error) {
	end := func(string) {}
	if d.o.Recorder != nil {
		if end, err = d.o.Recorder.Begin(d.request(files)); err != nil {
			return false, err
		}
	}
	behind, err = c.Push(ctx, commit, false)
	switch {
	case err == nil:
		end("pushed")
	case behind:
		end("refused: the branch had moved")
	case fault.CodeOf(err) == fault.Credentials || fault.CodeOf(err) == fault.Policy:
		end("refused")
	default:
		end("no answer")
	}
	return behind, err
}

// merged are the files that the branch is to have and has not. Everything is looked at again: the branch may have moved
// since the preflight.
func (d *Destination) merged(ctx context.Context, c *clone) (map[string][]byte, error) {
	b, err := c.File(ctx, d.in(indexFile), maxIndex)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, err
	}
	read := func(name string, limit int64) ([]byte, error) { return c.File(ctx, d.in(name), limit) }
	files := map[string][]byte{}
	listed := true
	for _, p := range d.charts {
		it, err := d.item(p, x, read)
		if err != nil {
			return nil, err
		}
		switch it.State {
		case publish.Different:
			return nil, fault.Errorf(fault.Conflict, "%s was taken meanwhile: %s", it.Name, it.Detail)
		case publish.Missing:
			files[d.in(p.name)] = p.bytes
			if len(x.digests(p.meta.Name, p.meta.Version)) == 0 {
				listed = false
				if err := x.add(p.meta, p.file.Digest, p.name, p.time); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	if !listed {
		if files[d.in(indexFile)], err = x.encode(); err != nil {
			return nil, err
		}
	}
	return files, d.withHub(ctx, c, x, files)
}

// withHub adds what Artifact Hub reads, unless that of a newer release is there.
func (d *Destination) withHub(ctx context.Context, c *clone, x index, files map[string][]byte) error {
	if d.hub == nil {
		return nil
	}
	have, err := c.File(ctx, d.in(hubFile), maxHub)
	if err != nil || bytes.Equal(have, d.hub) {
		return err
	}
	for _, p := range d.charts[:len(d.o.Release.Manifest.Charts)] { // whose the file is
		if have != nil && (p.semver.Prerelease() != "" || !x.highest(p.meta.Name, p.semver)) {
			return nil
		}
	}
	files[d.in(hubFile)] = d.hub
	return nil
}
