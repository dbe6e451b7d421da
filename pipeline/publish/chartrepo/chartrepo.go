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
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
)

// Push is how a push is told of: as a request with this method, to the URL of the git repository.
const Push = "GIT PUSH"

// rounds is how often the merge is made again because somebody else was faster.
const rounds = 5

// maxChart bounds a packaged chart, in bytes.
const maxChart = 32 << 20

// Options say where the charts go.
type Options struct {
	Release publish.Release
	Remote  string // URL of the git repository: https, ssh, or a file
	Branch  string // "" is gh-pages
	Folder  string // in the branch; "" is its root
	// URL is where the branch is served. Packages are named relative to the index all the same, so that the repository can
	// be served elsewhere; it is read back from there, with Transport.
	URL       string
	Transport *wire.Transport

	Committer, Email string
	Token            func() string // for https; nil for none
	Path             string        // where git is looked for
	Env              []string      // further variables that git needs, such as that of an SSH agent
	Dir              string        // for what is temporary; "" is the system's

	Destination string             // its name in the journal
	Recorder    wire.Recorder      // nil keeps nothing
	DryRun      func(wire.Request) // is told of each push instead of its being made
}

// packaged is a chart of the release.
type packaged struct {
	file   artifact.File
	name   string // of the file in the repository
	meta   *helmchart.Metadata
	bytes  []byte
	semver *semver.Version
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

// New reads the charts of the release.
func New(o Options) (*Destination, error) {
	o.Branch = cmp.Or(o.Branch, "gh-pages")
	switch {
	case strings.HasPrefix(o.Remote, "-") || strings.Contains(o.Remote, "::") || strings.HasPrefix(o.Branch, "-"):
		return nil, fault.Errorf(fault.Usage, "%.80q and branch %.80q are no git repository and no branch", o.Remote, o.Branch)
	case o.Folder != "" && o.Folder != "." && artifact.CheckPath(o.Folder) != nil:
		return nil, fault.Errorf(fault.Usage, "folder of the charts: %w", artifact.CheckPath(o.Folder))
	}
	if u, err := url.Parse(o.Remote); err == nil && u.Scheme == "http" && !wire.Loopback(u.Host) {
		return nil, fault.Errorf(fault.Usage, "%s is not https; a token is not sent where others read it", wire.Redact(u))
	}
	d := &Destination{o: o}
	for _, c := range o.Release.Manifest.Charts {
		f, _ := o.Release.File(c.Path)
		b, err := readBounded(o.Release.Path(c.Path), maxChart)
		if err != nil {
			return nil, err
		}
		loaded, err := loader.LoadArchive(bytes.NewReader(b))
		if err != nil {
			return nil, fault.New(fault.Mismatch, fmt.Errorf("%s: %w", c.Path, err))
		}
		v, err := semver.StrictNewVersion(c.Version)
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("%s: %w", c.Path, err))
		}
		d.charts = append(d.charts, packaged{file: f, name: path.Base(c.Path), meta: loaded.Metadata, bytes: b, semver: v})
	}
	if _, ok := o.Release.File("charts/" + hubFile); ok {
		b, err := readBounded(o.Release.Path("charts/"+hubFile), 1<<20)
		if err != nil {
			return nil, err
		}
		d.hub = b
	}
	return d, nil
}

func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fault.Errorf(fault.Usage, "%s has more than %d bytes", name, limit)
	}
	return b, err
}

// in is the path of a file of the repository in the branch.
func (d *Destination) in(name string) string { return path.Join(d.o.Folder, name) }

// Look tells of each chart, by the index and by its package.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	c, err := open(ctx, d.o)
	if err != nil {
		return nil, err
	}
	defer c.close()
	read := func(name string, limit int64) ([]byte, error) { return c.read(ctx, d.in(name), limit) }
	if depth == publish.Read && d.o.URL != "" && d.o.Transport != nil {
		read = func(name string, limit int64) ([]byte, error) { return d.download(ctx, name, limit) }
	}
	b, err := read(indexFile, maxIndex)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, err
	}
	var items []publish.Item
	left := false
	for _, p := range d.charts {
		it, err := d.item(p, x, read)
		if err != nil {
			return nil, err
		}
		left = left || it.State == publish.Missing
		items = append(items, it)
	}
	if left {
		if err := d.mayPush(ctx, c); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// item tells how a chart stands.
func (d *Destination) item(p packaged, x index, read func(string, int64) ([]byte, error)) (publish.Item, error) {
	it := publish.Item{Name: p.meta.Name + " " + p.meta.Version, Phase: publish.Flip, Digest: p.file.Digest, Size: p.file.Size, State: publish.Missing}
	if d.o.URL != "" {
		it.URL = strings.TrimSuffix(d.o.URL, "/") + "/" + p.name
	}
	listed, known := x.digest(p.meta.Name, p.meta.Version)
	if known && listed != p.file.Digest.Hex() {
		it.State, it.Detail = publish.Different, fmt.Sprintf("the index has this version of the chart with the digest %.80s", listed)
		return it, nil
	}
	b, err := read(p.name, maxChart)
	switch {
	case err != nil:
		return it, err
	case b != nil && artifact.Sum(b) != p.file.Digest:
		it.State, it.Detail = publish.Different, fmt.Sprintf("%s has other bytes, with the digest %s", p.name, artifact.Sum(b))
	case b != nil && known:
		it.State = publish.Same
	}
	return it, nil
}

// mayPush tries a push without making it, so that what would refuse it shows before anything is public.
func (d *Destination) mayPush(ctx context.Context, c *clone) error {
	commit, err := c.commit(ctx, map[string][]byte{d.in(indexFile): nil}, "may I?", d.o.Release.Manifest.Time)
	if err != nil {
		return err
	}
	_, err = c.push(ctx, commit, true)
	return err
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

// Flip adds the charts in one commit.
func (d *Destination) Flip(ctx context.Context) error {
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
		m := d.o.Release.Manifest
		commit, err := c.commit(ctx, files, fmt.Sprintf("%s %s", m.Name, m.Version), m.Time)
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
		if err := c.fetch(ctx); err != nil {
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
	behind, err = c.push(ctx, commit, false)
	switch {
	case err == nil:
		end("pushed")
	case behind:
		end("refused: the branch had moved")
	default:
		end("no answer")
	}
	return behind, err
}

// merged are the files that the branch is to have and has not. Everything is looked at again: the branch may have moved
// since the preflight.
func (d *Destination) merged(ctx context.Context, c *clone) (map[string][]byte, error) {
	b, err := c.read(ctx, d.in(indexFile), maxIndex)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, err
	}
	read := func(name string, limit int64) ([]byte, error) { return c.read(ctx, d.in(name), limit) }
	files := map[string][]byte{}
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
			if _, known := x.digest(p.meta.Name, p.meta.Version); !known {
				if err := x.add(p.meta, p.file.Digest, p.name, d.o.Release.Manifest.Time); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	if files[d.in(indexFile)], err = x.encode(); err != nil {
		return nil, err
	}
	return files, d.withHub(ctx, c, x, files)
}

// withHub adds what Artifact Hub reads, unless that of a newer release is there.
func (d *Destination) withHub(ctx context.Context, c *clone, x index, files map[string][]byte) error {
	if d.hub == nil {
		return nil
	}
	have, err := c.read(ctx, d.in(hubFile), 1<<20)
	if err != nil || bytes.Equal(have, d.hub) {
		return err
	}
	for _, p := range d.charts {
		if have != nil && (p.semver.Prerelease() != "" || !x.highest(p.meta.Name, p.semver)) {
			return nil
		}
	}
	files[d.in(hubFile)] = d.hub
	return nil
}
