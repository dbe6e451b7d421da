package reproduce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// layoutDir is the OCI layout of all images in dist/, and blobsDir its contents by digest.
const (
	layoutDir = "images"
	blobsDir  = layoutDir + "/blobs/sha256"
)

// check holds the release to its manifest and to who must have signed it, and remembers the digests of what is published:
// nothing that runs later can change what is compared. What does not pass is in the report; it reports whether there is
// something to build.
func (r *run) check(ctx context.Context, p *published) bool {
	if p.image != nil {
		return true // checked by its digests as it was fetched
	}
	o := r.o.Verify
	o.Downloads = p.downloads
	found, err := verify.Dist(ctx, p.dir, o)
	if err != nil && len(found.Rows) == 0 {
		if ctx.Err() == nil {
			r.report.row(Skip, kindRelease, p.where, "%s", oneLine(err))
		}
		return false
	}
	signer, unsigned := "", false
	for _, row := range found.Rows {
		if row.Verdict != verify.Pass {
			r.report.row(Verdict(row.Verdict), row.Kind, row.Path, "%s", row.Detail)
			unsigned = unsigned || row.Kind == "signature"
		} else if row.Kind == "signature" && signer == "" {
			signer = row.Detail
		}
	}
	if unsigned && (len(o.Keys) > 0 || o.Identity != nil) {
		return false // whose code it would run is not who was asked for
	}
	r.report.Signer = signer
	if found.Verdict == verify.Pass {
		detail := fmt.Sprintf("%d checks passed", len(found.Rows))
		if signer != "" {
			detail += "; " + signer
		}
		r.report.row(Pass, kindRelease, manifest.FileName, "%s", detail)
	}
	if p.rel.Commit == "" {
		return false // it could not be read, and the check has said why
	}
	p.seen = map[string]artifact.Digest{}
	all := append(slices.Clone(p.rel.Files), artifact.File{Path: manifest.FileName, Size: int64(len(p.raw))})
	for _, name := range p.rel.ListNames() {
		all = append(all, artifact.File{Path: name, Size: maxManifest})
	}
	for _, f := range all {
		if ctx.Err() != nil {
			return false
		}
		d, err := sumRegular(p.dir, f.Path, f.Size)
		if err == nil {
			p.seen[f.Path] = d
		}
	}
	if p.seen[manifest.FileName] != artifact.Sum(p.raw) {
		r.report.row(Fail, kindRelease, manifest.FileName, "it changed while it was checked")
		return false
	}
	return true
}

// compare holds what was built to what was published.
func (r *run) compare(ctx context.Context, p published, dir string) error {
	raw, err := readFile(filepath.Join(dir, manifest.FileName), maxManifest)
	if err != nil {
		return fmt.Errorf("reading what was built: %w", err)
	}
	m, err := manifest.Decode(strings.NewReader(string(raw)))
	if err != nil {
		return fmt.Errorf("reading what was built: %w", err)
	}
	r.report.Rebuilt, r.report.Go = artifact.Sum(raw), lockedGo(m)
	c := comparison{ctx: ctx, run: r, p: p, dir: dir, rel: m, rebuilt: map[string]artifact.File{}, published: map[string]artifact.File{}}
	if p.image != nil {
		return c.registryImage()
	}
	for _, f := range p.rel.Files {
		c.published[f.Path] = f
	}
	for _, f := range m.Files {
		c.rebuilt[f.Path] = f
	}
	failed := r.report.Count(Fail)
	if err := c.files(); err != nil {
		return err
	}
	if err := c.images(); err != nil {
		return err
	}
	if err := c.layout(); err != nil {
		return err
	}
	if r.o.Registries {
		c.registries()
	}
	if err := c.documents(r.report.Count(Fail) > failed); err != nil {
		return err
	}
	return c.permitted()
}

// comparison is one of two releases.
type comparison struct {
	*run
	ctx       context.Context
	p         published
	dir       string // of what was built
	rel       manifest.Release
	published map[string]artifact.File // by path
	rebuilt   map[string]artifact.File
}

// inBlobs reports whether a file is a blob of the layout, which is compared as a part of the image that it is in.
func inBlobs(name string) bool { return strings.HasPrefix(name, blobsDir+"/") }

// files compares every file but the blobs of the layout.
func (c *comparison) files() error {
	names := map[string]bool{}
	for name := range c.published {
		names[name] = true
	}
	for name := range c.rebuilt {
		names[name] = true
	}
	var gone, more []string // for renames
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if inBlobs(name) {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		_, there := c.published[name]
		_, built := c.rebuilt[name]
		switch {
		case there && built:
			if err := c.file(name); err != nil {
				return err
			}
		case there:
			gone = append(gone, name)
		default:
			more = append(more, name)
		}
	}
	for _, name := range gone {
		f := c.published[name]
		row := Row{Path: name, Kind: string(f.Kind), Verdict: Fail, Published: f.Digest, Detail: "published, and not built from the commit"}
		if i := slices.IndexFunc(more, func(n string) bool { return c.rebuilt[n].Digest == f.Digest }); i >= 0 {
			row.Rebuilt = f.Digest
			row.Detail = "the commit builds these bytes under another name: " + more[i]
			more = slices.Delete(more, i, i+1)
		}
		c.report.Rows = append(c.report.Rows, row)
	}
	for _, name := range more {
		f := c.rebuilt[name]
		c.report.Rows = append(c.report.Rows, Row{
			Path: name, Kind: string(f.Kind), Verdict: Fail, Rebuilt: f.Digest, Detail: "built from the commit, and not published",
		})
	}
	return nil
}

// file compares one that both have. That what was built has the digests of its manifest was checked before.
func (c *comparison) file(name string) error {
	want := c.published[name]
	row := Row{Path: name, Kind: string(want.Kind), Verdict: Pass, Published: c.p.seen[name], Rebuilt: c.rebuilt[name].Digest}
	switch {
	case row.Published == "" && c.p.downloads && !format.Offered(c.p.rel, want):
		row.Published, row.Claimed = want.Digest, true
		row.Detail = "by its digest in " + manifest.FileName + ": this place does not offer it"
		if row.Published != row.Rebuilt {
			row.Verdict = Fail
			row.Detail += ", so what differs in it cannot be told"
		}
	case row.Published == "":
		row.Verdict, row.Detail = Fail, "missing from what was published"
	case row.Published != row.Rebuilt:
		row.Verdict = Fail
		var err error
		if row.Differences, err = c.explain(compare.FormatOf(name), name); err != nil {
			return err
		}
	}
	c.report.Rows = append(c.report.Rows, row)
	return nil
}

func (c *comparison) builtFile(name string) string {
	return filepath.Join(c.dir, filepath.FromSlash(name))
}

// explain says how the two files of a name differ.
func (c *comparison) explain(format, name string) ([]compare.Difference, error) {
	a, closeA, err := openSource(c.p.dir, name)
	if err != nil { // the digests have decided; there are no more words for it
		return nil, nil
	}
	defer closeA()
	b, closeB, err := openSource(c.dir, name)
	if err != nil {
		return nil, fmt.Errorf("reading what was built: %w", err)
	}
	defer closeB()
	return compare.Files(c.ctx, format, a, b, compare.Options{})
}

func openSource(dir, name string) (compare.Source, func() error, error) {
	f, size, err := openRegular(dir, name, math.MaxInt64-1)
	if err != nil {
		return compare.Source{}, nil, err
	}
	return compare.Source{ReaderAt: f, Size: size}, f.Close, nil
}

// blobs are the contents of a layout by digest.
type blobs string

// Open opens one; see compare.Blobs.
func (b blobs) Open(d artifact.Digest) (compare.Source, func() error, error) {
	return openSource(string(b), d.Hex())
}

// object is an image or a chart of a registry, by its name.
type object struct {
	kind   artifact.Kind
	digest artifact.Digest
}

// objects are the images and charts of a release by the names that are its own.
func objects(m manifest.Release) map[string]object {
	all := map[string]object{}
	for _, o := range objectsOf(m, false) {
		all[o.repository+":"+o.tag] = o.object
	}
	return all
}

// images compares what goes to registries, by the names that it has there.
func (c *comparison) images() error {
	there, built := objects(c.p.rel), objects(c.rel)
	names := slices.Collect(maps.Keys(there))
	for name := range built {
		if _, ok := there[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	explained := map[[2]artifact.Digest]string{} // several names have the same bytes
	for _, name := range names {
		a, b := there[name], built[name]
		row := Row{Path: name, Kind: string(a.kind), Verdict: Pass, Published: a.digest, Rebuilt: b.digest, Claimed: c.p.downloads}
		pair := [2]artifact.Digest{a.digest, b.digest}
		switch {
		case a.digest == "":
			row.Kind, row.Verdict, row.Detail = string(b.kind), Fail, "built from the commit, and not published under this name"
		case b.digest == "":
			row.Verdict, row.Detail = Fail, "published under this name, which the commit does not give"
		case a.digest == b.digest:
		case explained[pair] != "":
			row.Verdict, row.Detail = Fail, "as "+explained[pair]
		case c.p.downloads:
			row.Verdict, row.Detail = Fail, "this place does not offer it, so what differs in it cannot be told"
		default:
			explained[pair] = name
			row.Verdict = Fail
			var err error
			row.Differences, err = compare.Images(c.ctx, blobs(filepath.Join(c.p.dir, filepath.FromSlash(blobsDir))), blobs(c.builtFile(blobsDir)),
				a.digest, b.digest, compare.Options{})
			switch {
			case errors.Is(err, fs.ErrNotExist):
				row.Detail = "a part of it is missing, so what differs in it cannot be told"
			case err != nil:
				return err
			}
		}
		c.report.Rows = append(c.report.Rows, row)
	}
	return nil
}

// layout compares the blobs of the layout as what they are by name: one row for all that are alike.
func (c *comparison) layout() error {
	alike := 0
	differs := false
	for _, name := range slices.Sorted(maps.Keys(c.published)) {
		if !inBlobs(name) {
			continue
		}
		f := c.published[name]
		b, built := c.rebuilt[name]
		got := c.p.seen[name]
		if got == "" && c.p.downloads {
			got = f.Digest
		}
		switch {
		case got == f.Digest && built && b.Digest == got:
			alike++
			continue
		case got == f.Digest: // a part of an image that differs, and said there
			differs = true
			continue
		}
		row := Row{Path: name, Kind: string(f.Kind), Verdict: Fail, Published: got, Rebuilt: b.Digest, Detail: "its bytes are not those of its name"}
		switch {
		case got == "":
			row.Detail = "missing from what was published"
		case built:
			var err error
			if row.Differences, err = c.explain("", name); err != nil {
				return err
			}
		}
		c.report.Rows = append(c.report.Rows, row)
	}
	if alike > 0 {
		c.report.Rows = append(c.report.Rows, Row{Path: blobsDir, Kind: string(artifact.Image), Verdict: Pass, Detail: fmt.Sprintf("%d blobs are the same", alike)})
	}
	if !differs || slices.ContainsFunc(c.report.Rows, func(row Row) bool {
		return row.Verdict == Fail && (row.Kind == string(artifact.Image) || row.Kind == string(artifact.Chart))
	}) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.published)) { // in no image, and there all the same
		if _, built := c.rebuilt[name]; inBlobs(name) && !built {
			f := c.published[name]
			c.report.Rows = append(c.report.Rows, Row{Path: name, Kind: string(f.Kind), Verdict: Fail, Published: f.Digest, Detail: "published, and not built from the commit"})
		}
	}
	return nil
}

// documents compares the files that bind the others together. A release of before there was a second list of checksums has
// one, which is what is built for it, too.
func (c *comparison) documents(others bool) error {
	for _, name := range append([]string{manifest.FileName}, c.p.rel.ListNames()...) {
		row := Row{Path: name, Kind: "manifest", Verdict: Pass, Published: c.p.seen[name]}
		var err error
		if row.Rebuilt, err = sumRegular(c.dir, name, maxManifest); err != nil {
			return fmt.Errorf("reading what was built: %w", err)
		}
		if row.Published == "" {
			row.Verdict, row.Detail = Fail, "missing from what was published"
		} else if row.Published != row.Rebuilt {
			row.Verdict = Fail
			format := compare.FormatOf(name)
			if name != manifest.FileName {
				format = compare.Text
			}
			found, err := c.explain(format, name)
			if err != nil {
				return err
			}
			if others {
				found = slices.DeleteFunc(found, func(d compare.Difference) bool { return name != manifest.FileName || follows(d.What) })
			}
			if row.Differences = found; len(found) == 0 {
				row.Detail = "it names the files that differ"
			}
		}
		c.report.Rows = append(c.report.Rows, row)
	}
	return nil
}

// follows reports whether a difference of two manifests is that of a file which has a row of its own.
func follows(what string) bool {
	field, _, _ := strings.Cut(what, ":")
	return strings.HasPrefix(field, "files") || strings.HasSuffix(field, "digest") || strings.HasSuffix(field, "size")
}

// permitted lists what may differ, by name, and why it may.
func (c *comparison) permitted() error {
	return filepath.WalkDir(c.p.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(c.p.dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if _, listed := c.published[rel]; listed {
			return nil
		}
		if why := verify.Uncompared(c.p.rel, rel); why != "" {
			c.report.Permitted = append(c.report.Permitted, Permitted{Path: path.Clean(rel), Why: why})
		}
		return nil
	})
}
