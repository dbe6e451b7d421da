package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Check checks what a person named: the folder of a release or its URL, an image or a chart in a registry, or any number of
// files of one release; see Dist, URL, Image and Files.
func Check(ctx context.Context, names []string, o Options) (Report, error) {
	whole := len(names) == 1
	if whole && o.Release == "" {
		switch info, err := os.Stat(names[0]); {
		case strings.HasPrefix(names[0], ociScheme):
			return Image(ctx, names[0], o)
		case IsURL(names[0]):
			return URL(ctx, names[0], o)
		case err != nil || info.IsDir():
			return Dist(ctx, names[0], o)
		}
	}
	return Files(ctx, names, o)
}

// Files checks single files of a release by what names them: release.json and the lists of checksums, those of them that lie
// beside the files or at Options.Release, and the signatures over these. All of these that are there must hold, and one must
// be there; the whole release need not. With release.json each file is opened, too, and must be what it says. A file has the
// name that the release gives it, since a list promises bytes under a name.
//
// The error is a fault.Mismatch if a check did not pass. From a URL release.json, the lists and their signatures alone are
// fetched, with the errors of URL.
func Files(ctx context.Context, names []string, o Options) (Report, error) {
	if o.Rebuilders.Want > 0 {
		return Report{}, fault.Errorf(fault.Usage, "rebuilders sign their verdicts over a whole release; name its folder or its URL")
	}
	from := o.Release
	for _, name := range names {
		switch info, err := os.Stat(name); {
		case strings.Contains(name, "://"):
			return Report{}, fault.Errorf(fault.Usage, "%s: a release or an image is named alone; download a file and name it, with --release for where the rest is", redacted(name))
		case err != nil:
			return Report{}, fault.New(fault.Usage, fmt.Errorf("reading what is to be verified: %w", err))
		case !info.Mode().IsRegular():
			return Report{}, fault.Errorf(fault.Usage, "%s is not a file; of several names each is that of a file of one release", name)
		case from == "":
			from = filepath.Dir(name)
		case o.Release == "" && from != filepath.Dir(name):
			return Report{}, fault.Errorf(fault.Usage, "%s and %s lie in two folders; say with --release where what names them is", names[0], name)
		}
	}
	dir, said := from, from
	if IsURL(from) {
		scratch, err := os.MkdirTemp("", "slipway-verify-*")
		if err != nil {
			return Report{}, fmt.Errorf("making room for what names the files: %w", err)
		}
		defer os.RemoveAll(scratch)
		fetched, err := fetch(ctx, from, scratch, o, (*fetcher).names)
		if err != nil {
			return Report{}, err
		}
		dir, said = scratch, fetched.Address
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fault.New(fault.Usage, fmt.Errorf("opening release: %w", err))
	}
	defer root.Close()
	d := newDist(ctx, root.FS(), o)
	d.beside = true
	if err := d.look(root, said); err != nil {
		return Report{}, err
	}
	readable := true
	if _, ok := d.present[manifest.FileName]; ok {
		if readable, err = d.manifest(); err != nil {
			return Report{}, err
		}
	}
	if readable {
		if d.raw != nil {
			d.release()
			d.checksums()
		} else {
			d.alone()
		}
		d.signatures()
		d.downloads(names)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	d.report.finish()
	if d.report.Verdict == Pass {
		d.report.Proven, d.report.Open = d.proven()
		return d.report, nil
	}
	failed := d.report.Count(Fail) + d.report.Count(Skip)
	return d.report, fault.Errorf(fault.Mismatch, "%s: %d of %d checks did not pass", strings.Join(names, " "), failed, len(d.report.Rows))
}

// names fetches what names the files of a release.
func (f *fetcher) names(ctx context.Context, o Options) error {
	rel, err := f.manifest(ctx)
	if err != nil || rel == nil {
		return err
	}
	return f.all(ctx, whole(rel, !o.AllowUnsigned))
}

// look finds what names the files of a release in a folder that may have anything besides.
func (d *dist) look(root *os.Root, said string) error {
	lists := []string{manifest.FileName, manifest.ChecksumsName, manifest.DownloadsName}
	for _, name := range lists {
		for _, name := range []string{name, name + signature.Suffix} {
			info, err := root.Lstat(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return fault.New(fault.Usage, fmt.Errorf("reading release: %w", err))
			case !info.Mode().IsRegular():
				d.row(Fail, "special", name, "not a regular file")
			default:
				d.present[name] = info.Size()
			}
		}
	}
	if !slices.ContainsFunc(lists, func(name string) bool { _, ok := d.present[name]; return ok }) && len(d.report.Rows) == 0 {
		return fault.Errorf(fault.Usage, "%s has none of %s; download one of them with its %s, or say with --release where they are", said, strings.Join(lists, ", "), signature.Suffix)
	}
	if _, ok := d.present[manifest.DownloadsName]; ok {
		d.rel.Downloads = manifest.DownloadsName // until release.json says whether it has one
	}
	return nil
}

// alone reads the lists of checksums where there is no release.json to hold them to.
func (d *dist) alone() {
	const kind = string(artifact.Checksums)
	for _, name := range d.rel.ListNames() {
		got, err := d.read(name, maxManifest)
		if errors.Is(err, errMissing) {
			continue
		}
		if err == nil {
			_, err = manifest.ParseChecksums(bytes.NewReader(got))
		}
		if err != nil {
			d.row(Fail, kind, name, "%s", oneLine(err))
			continue
		}
		d.lists[name] = got
		d.row(Pass, kind, name, "")
	}
	if d.o.Version != "" {
		d.row(Fail, "release", d.o.Version, "only %s tells which version a file is of; put it beside", manifest.FileName)
	}
}

// names are what names the files and was read.
func (d *dist) names() []string {
	var out []string
	if d.raw != nil {
		out = append(out, manifest.FileName)
	}
	for _, name := range d.rel.ListNames() {
		if d.lists[name] != nil {
			out = append(out, name)
		}
	}
	return out
}

// whole are the bundles that must hold over what names all files: of single files those that are there, and one at least. Without
// release.json, which binds the lists together, it is one for each.
func (d *dist) whole() []string {
	if !d.beside {
		return signature.Whole(d.rel)
	}
	var out []string
	for _, name := range d.names() {
		bundle := name + signature.Suffix
		if _, there := d.present[bundle]; there || d.raw == nil {
			out = append(out, bundle)
		}
	}
	if len(out) == 0 {
		return []string{signature.ManifestBundle}
	}
	return out
}

// downloads holds each file to what names it, and opens it.
func (d *dist) downloads(names []string) {
	rows, looks := make([]Row, len(names)), d.looks()
	d.each(len(names), func(n int, buf []byte) {
		row := Row{Path: names[n], Kind: "file", Verdict: Pass}
		var err error
		if d.raw != nil {
			row.Kind, row.Detail, err = d.download(names[n], looks, buf)
		} else {
			row.Detail, err = d.namedBy(names[n], buf)
		}
		if err != nil {
			row.Verdict, row.Detail = Fail, oneLine(err)
		}
		rows[n] = row
	})
	d.report.Rows = append(d.report.Rows, rows...)
}

// download holds a file to the one of its name in release.json. Programs for several platforms have one name: it is one of them.
func (d *dist) download(name string, looks map[string][]look, buf []byte) (kind, detail string, err error) {
	var of []artifact.File
	for _, f := range d.rel.Files {
		if path.Base(f.Path) == filepath.Base(name) && f.Kind != artifact.Image {
			of = append(of, f)
		}
	}
	if len(of) == 0 {
		return "file", "", fmt.Errorf("%s has no file of this name; a release gives each its name", manifest.FileName)
	}
	f, err := os.Open(name)
	if err != nil {
		return "file", "", fmt.Errorf("reading: %w", err)
	}
	defer f.Close()
	want := of[0]
	if len(of) > 1 {
		got, err := sum(d.ctx, f, buf)
		if err != nil {
			return "file", "", err
		}
		want = of[max(0, slices.IndexFunc(of, func(f artifact.File) bool { return f.Digest == got }))]
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "file", "", fmt.Errorf("reading: %w", err)
		}
	}
	if info, err := f.Stat(); err == nil && info.Size() != want.Size {
		return string(want.Kind), "", fmt.Errorf("%d bytes, want %d", info.Size(), want.Size)
	}
	detail, err = d.contents(f, want, looks[want.Path], buf)
	return string(want.Kind), detail, err
}

// namedBy holds a file to the lists of checksums alone, and tells which of them name it.
func (d *dist) namedBy(name string, buf []byte) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading: %w", err)
	}
	defer f.Close()
	got, err := sum(d.ctx, f, buf)
	if err != nil {
		return "", err
	}
	var by []string
	for _, list := range d.names() {
		sums, err := manifest.ParseChecksums(bytes.NewReader(d.lists[list]))
		if err != nil {
			return "", err
		}
		var want []artifact.Digest
		for p, digest := range sums {
			if path.Base(p) == filepath.Base(name) {
				want = append(want, digest)
			}
		}
		switch {
		case len(want) == 0:
		case slices.Contains(want, got):
			by = append(by, list)
		default:
			return "", fmt.Errorf("%s, want %s as %s has it", got, want[0], list)
		}
	}
	if len(by) == 0 {
		return "", fmt.Errorf("%s does not name it; a release gives each file its name", strings.Join(d.names(), " "))
	}
	return "named by " + strings.Join(by, " and "), nil
}

// sum hashes a file.
func sum(ctx context.Context, f io.Reader, buf []byte) (artifact.Digest, error) {
	meter := artifact.NewMeter(io.Discard)
	if _, err := io.CopyBuffer(meter, reader{ctx, f}, buf); err != nil {
		return "", fmt.Errorf("reading: %w", err)
	}
	return meter.Digest(), nil
}

// proven says what a PASS about single files comes to.
func (d *dist) proven() (proven, open string) {
	by := strings.Join(d.names(), ", ")
	who := ""
	for _, r := range d.report.Rows {
		if r.Kind == signatureKind && slices.Contains(d.whole(), r.Path) {
			who = r.Detail
		}
	}
	what := "these are the bytes"
	if d.raw != nil {
		what = fmt.Sprintf("names, bytes, version and platforms are those of %s at commit %.12s", d.name(), d.rel.Commit)
	}
	if who == "" {
		return what + ", by " + by, "who made them, since no signature was checked; that there is no newer version"
	}
	proven, open = what+", by "+by+", which "+who+" signed", "that there is no newer version; that the commit gives these bytes, which slipway reproduce tells"
	if d.raw == nil {
		open = "of which version and for which platform they are but by their names, which " + manifest.FileName + " beside them would tell; that there is no newer version"
	}
	return proven, open
}
