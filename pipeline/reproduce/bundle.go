package reproduce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/reproduce/rerun"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// BundleSchema names the format of a bundle.
const BundleSchema = "slipway.bundle/v1"

// What a bundle consists of. Each part is in a form that other programs read: a git bundle, what a module proxy serves,
// an OCI layout.
const (
	bundleFile     = "bundle.json"
	bundledSource  = "source.bundle"
	bundledModules = "modules"
	bundledBases   = "bases"
	bundledRelease = "release"
)

// maxBundled bounds the files of a bundle.
const maxBundled = 200_000

// bundle is bundle.json: what the bundle is of, and every file in it.
type bundle struct {
	Schema    string     `json:"schema"`
	Name      string     `json:"name"`
	Version   string     `json:"version"`
	Commit    string     `json:"commit"`
	Tag       string     `json:"tag,omitempty"`
	Downloads bool       `json:"downloads,omitempty"` // release has only what people download from a page
	Platforms []string   `json:"platforms"`           // that it has a Go toolchain for
	Files     []listedAs `json:"files"`
}

type listedAs struct {
	Path   string          `json:"path"`
	Size   int64           `json:"size"`
	Digest artifact.Digest `json:"digest"`
}

// Vendored is what Vendor wrote.
type Vendored struct {
	Dir     string `json:"dir"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Files   int    `json:"files"`
	Size    int64  `json:"size"` // bytes
}

// Vendor reproduces a release, with no modules and no bases at hand, and writes all that it took into the new folder dir: the
// commit with its history, every module, the Go toolchain for this machine and the further platforms, the blobs of the bases, and the
// release. Options.Bundle takes it, where there is no network. A release that cannot be reproduced has no bundle.
func Vendor(ctx context.Context, o Options, dir string, platforms []artifact.Platform) (Vendored, error) {
	if _, err := os.Lstat(dir); err == nil {
		return Vendored{}, fault.Errorf(fault.Usage, "%s is there already; name a new folder", dir)
	}
	if o.Bundle != "" {
		return Vendored{}, fault.Errorf(fault.Usage, "a bundle is made of a release and not of another bundle; copy it")
	}
	if o.Vary != nil && !slices.Contains(o.Vary, "modules") {
		return Vendored{}, fault.Errorf(fault.Usage, "what a build needs shows only with an empty module cache; vary modules")
	}
	if strings.HasPrefix(o.Release, ociScheme) {
		return Vendored{}, fault.Errorf(fault.Usage, "a registry has no release.json to keep; name the release elsewhere")
	}
	if o.Engine == "dagger" {
		return Vendored{}, fault.Errorf(fault.Usage, "the modules of a build in Dagger are in its engine; use --engine host")
	}
	if o.Vary == nil { // what is compiled is the same whatever was compiled before; what is fetched shows nowhere else
		o.Vary = slices.DeleteFunc(Variations(), func(name string) bool { return name == "cache" })
	}
	o.Engine = "host"
	var out Vendored
	_, err := reproduce(ctx, o, func(r *run) error {
		if _, err := os.Stat(filepath.Join(r.src, ".gitmodules")); err == nil {
			return fault.Errorf(fault.Usage, "the commit has submodules, and a git bundle keeps one repository; vendor them into the tree")
		}
		r.o.Step("writing " + verify.Printable(dir))
		partial := dir + ".partial"
		err := rerun.RemoveAll(partial)
		if err == nil {
			out, err = r.vendor(ctx, partial, platforms)
		}
		if err == nil {
			err = os.Rename(partial, dir)
		}
		if err != nil {
			return errors.Join(err, rerun.RemoveAll(partial))
		}
		out.Dir = dir
		return nil
	})
	return out, err
}

func (r *run) vendor(ctx context.Context, dir string, platforms []artifact.Platform) (Vendored, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Vendored{}, fault.New(fault.Usage, err)
	}
	rel := r.p.rel
	b := bundle{
		Schema: BundleSchema, Name: rel.Name, Version: rel.Version.String(), Commit: rel.Commit, Tag: rel.Tag, Downloads: r.p.downloads,
	}
	if err := source.Bundle(ctx, r.src, filepath.Join(dir, bundledSource), rel.Commit, rel.Tag); err != nil {
		return Vendored{}, err
	}
	platforms = append([]artifact.Platform{{OS: runtime.GOOS, Arch: runtime.GOARCH}}, platforms...)
	for _, p := range platforms {
		if name := p.Base().String(); !slices.Contains(b.Platforms, name) {
			b.Platforms = append(b.Platforms, name)
		}
	}
	slices.Sort(b.Platforms)
	cache := filepath.Join(r.work, "go-mod")
	if err := r.toolchains(ctx, cache, b.Platforms); err != nil {
		return Vendored{}, err
	}
	download := filepath.Join(cache, "cache", "download")
	if err := copyTree(download, filepath.Join(dir, bundledModules), isModule); err != nil {
		return Vendored{}, fmt.Errorf("keeping modules: %w", err)
	}
	if err := supportSums(filepath.Join(dir, bundledModules)); err != nil {
		return Vendored{}, err
	}
	if err := r.bases(filepath.Join(dir, bundledBases)); err != nil {
		return Vendored{}, err
	}
	if err := copyTree(r.p.dir, filepath.Join(dir, bundledRelease), all); err != nil {
		return Vendored{}, fmt.Errorf("keeping the release: %w", err)
	}
	var err error
	if b.Files, err = listTree(ctx, dir); err != nil {
		return Vendored{}, err
	}
	out := Vendored{Name: b.Name, Version: b.Version, Commit: b.Commit, Files: len(b.Files)}
	for _, f := range b.Files {
		out.Size += f.Size
	}
	raw, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return Vendored{}, err
	}
	return out, writeWhole(filepath.Join(dir, bundleFile), append(raw, '\n'))
}

// toolchains has the Go command fetch the releases that the commit pins as what they are: modules, held to the checksum
// database. The answers of the database come into the cache with them.
func (r *run) toolchains(ctx context.Context, cache string, platforms []string) error {
	names := []string{r.toolchain}
	if locked := lockedGo(r.p.rel); locked != "" && "go"+locked != r.toolchain {
		names = append(names, "go"+locked)
	}
	var modules []string
	for _, name := range names {
		for _, p := range platforms {
			modules = append(modules, "golang.org/toolchain@v0.0.1-"+name+"."+strings.ReplaceAll(p, "/", "-"))
		}
	}
	where, _ := differ(nil, r.work, r.o.environ, true)
	where.Modules, where.Home = cache, filepath.Join(r.work, "home")
	if err := rerun.Download(ctx, r.rerunOptions(where), modules...); err != nil {
		return fault.Errorf(fault.Transient, "getting the toolchains for %s: %w", strings.Join(platforms, ", "), err)
	}
	return nil
}

// isModule tells which files of a download cache a module proxy serves
// (https://go.dev/ref/mod#goproxy-protocol); the others are locks and lists of versions.
func isModule(name string) bool {
	if strings.Contains(name, "/sumdb/") || strings.HasPrefix(name, "sumdb/") {
		return !strings.HasSuffix(name, ".lock")
	}
	return slices.Contains([]string{".mod", ".zip", ".info"}, filepath.Ext(name))
}

// supportSums says to the Go command that the answers of the checksum database are here
// (https://go.dev/ref/mod#checksum-database).
func supportSums(modules string) error {
	found, err := filepath.Glob(filepath.Join(modules, "sumdb", "*"))
	for _, dir := range found {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "supported"), nil, 0o644))
	}
	return err
}

// bases writes the blobs that the images stand on as an OCI layout
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
func (r *run) bases(dir string) error {
	to := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	from := filepath.Join(r.work, "cache", "blobs", "sha256")
	isBlob := func(name string) bool { return !strings.HasPrefix(filepath.Base(name), ".") }
	if err := copyTree(from, to, isBlob); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping bases: %w", err)
	}
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      artifact.Digest   `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	index := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, "application/vnd.oci.image.index.v1+json", []descriptor{}}
	for _, in := range r.p.rel.Inputs {
		if in.Kind != "base" {
			continue
		}
		d, err := artifact.ParseDigest(in.Digest)
		if err != nil {
			return fmt.Errorf("base %s: %w", in.Name, err)
		}
		raw, err := readFile(filepath.Join(to, d.Hex()), maxManifest)
		if err != nil {
			return fmt.Errorf("keeping base %s: %w", in.Name, err)
		}
		var said struct {
			MediaType string `json:"mediaType"`
		}
		if err := canonjson.DecodeOpen(raw, &said); err != nil {
			return fmt.Errorf("keeping base %s: %w", in.Name, err)
		}
		index.Manifests = append(index.Manifests, descriptor{said.MediaType, d, int64(len(raw)), map[string]string{"org.opencontainers.image.ref.name": in.Name}})
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644),
		os.WriteFile(filepath.Join(dir, "index.json"), raw, 0o644),
	)
}

// fromBundle checks a bundle and makes its parts the places where everything is looked for.
func (o Options) fromBundle(ctx context.Context) (Options, error) {
	dir, err := filepath.Abs(o.Bundle)
	if err == nil {
		if real, e := filepath.EvalSymlinks(dir); e == nil {
			dir = real
		}
	}
	if err != nil {
		return o, err
	}
	raw, err := readFile(filepath.Join(dir, bundleFile), 4*maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return o, fault.Errorf(fault.Usage, "%s is not a bundle: it has no %s; go run ./ci vendor writes one", o.Bundle, bundleFile)
	}
	if err != nil {
		return o, fault.New(fault.Usage, err)
	}
	b, err := parseBundle(raw)
	if err != nil {
		return o, fmt.Errorf("%s: %w", filepath.Join(o.Bundle, bundleFile), err)
	}
	if o.Repository != "" || o.From != "" {
		return o, fault.Errorf(fault.Usage, "--bundle contains the repository and the release; remove --repository and --from")
	}
	if info, err := os.Stat(o.Release); o.Release != "" && (err != nil || !info.IsDir()) {
		return o, fault.Errorf(fault.Usage, "with --bundle only a folder can be named, since nothing is fetched then; %q is not one", o.Release)
	}
	o.Step("checking the bundle")
	// Modules and blobs are checked where they are used, by sums that the commit pins; this tells damage from the start.
	have, err := listTree(ctx, dir)
	if err != nil {
		return o, err
	}
	got := map[string]listedAs{}
	for _, f := range have {
		got[f.Path] = f
	}
	for _, f := range b.Files {
		if got[f.Path] != f {
			return o, fault.Errorf(fault.Mismatch, "%s: %s is missing or has changed; copy the bundle again", o.Bundle, verify.Printable(f.Path))
		}
		delete(got, f.Path)
	}
	for name := range got {
		return o, fault.Errorf(fault.Mismatch, "%s: %s is not in its list; copy the bundle again", o.Bundle, verify.Printable(name))
	}
	rel, err := manifest.Load(filepath.Join(dir, bundledRelease, manifest.FileName))
	if err != nil || rel.Name != b.Name || rel.Version.String() != b.Version || rel.Commit != b.Commit || rel.Tag != b.Tag {
		return o, fault.Errorf(fault.Mismatch, "%s: its release is not the %s %s of %s that it says; copy the bundle again", o.Bundle, verify.Printable(b.Name), verify.Printable(b.Version), bundleFile)
	}
	here := artifact.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}.String()
	if !slices.Contains(b.Platforms, here) {
		return o, fault.Errorf(fault.Usage, "%s has Go for %s and not for %s; make one with --platforms %s", o.Bundle, strings.Join(b.Platforms, ", "), here, here)
	}
	if o.Engine == "dagger" {
		return o, fault.Errorf(fault.Usage, "a bundle is built by the host engine: an engine in a container has a network of its own; leave out --engine dagger")
	}
	o.Engine, o.Bundle = "host", dir
	o.Repository = filepath.Join(dir, bundledSource)
	if o.Release == "" {
		o.Release = filepath.Join(dir, bundledRelease)
		o.Verify.Downloads = b.Downloads
	}
	return o, nil
}

// parseBundle reads bundle.json from outside.
func parseBundle(raw []byte) (bundle, error) {
	var b bundle
	if err := canonjson.Decode(raw, &b); err != nil {
		return b, fault.Errorf(fault.Mismatch, "reading: %w", err)
	}
	switch {
	case b.Schema != BundleSchema:
		return b, fault.Errorf(fault.Usage, "its format is %.80q and this program reads %s; use a newer slipway", b.Schema, BundleSchema)
	case !artifact.IsCommit(b.Commit):
		return b, fault.Errorf(fault.Mismatch, "commit %.80q is not a full object name", b.Commit)
	case len(b.Files) > maxBundled:
		return b, fault.Errorf(fault.Mismatch, "it lists more than %d files", maxBundled)
	}
	for _, f := range b.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) || strings.Contains(f.Path, `\`) {
			return b, fault.Errorf(fault.Mismatch, "%.200q is not a path in the bundle", f.Path)
		}
	}
	return b, nil
}

// seed puts the bases and the components' files of the bundle where the pipeline looks first. It holds them to their digests. Without a
// bundle it is what this machine has of components: a place that is a folder is beside no clone.
func (r *run) seed(cache string) error {
	if r.o.Bundle == "" {
		return r.components(filepath.Join(cache, "blobs", "sha256"))
	}
	return copyTree(filepath.Join(r.o.Bundle, bundledBases, "blobs"), filepath.Join(cache, "blobs"), all)
}

// components copies what this user's cache has of the releases that the release is made of.
func (r *run) components(to string) error {
	from := r.o.environ("SLIPWAY_CACHE")
	if from == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil // and so no cache
		}
		from = filepath.Join(cache, "slipway")
	}
	from = filepath.Join(from, "blobs", "sha256")
	for _, in := range r.p.rel.Inputs {
		d, err := artifact.ParseDigest(in.Digest)
		if in.Kind != "component" || err != nil {
			continue
		}
		raw, err := readFile(filepath.Join(from, d.Hex()), maxManifest)
		if err != nil || artifact.Sum(raw) != d {
			continue
		}
		rel, err := manifest.Decode(bytes.NewReader(raw))
		if err != nil {
			continue
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		for _, of := range append([]artifact.File{{Digest: d}}, rel.Files...) {
			have := filepath.Join(from, of.Digest.Hex())
			if info, err := os.Lstat(have); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := copyFile(have, filepath.Join(to, of.Digest.Hex())); err != nil {
				return fmt.Errorf("copying what is known of %s: %w", in.Name, err)
			}
		}
	}
	return nil
}

// all requires every file.
func all(string) bool { return true }

// copyTree copies the regular files below from that are wanted, by their slash-separated paths. They are copies and not
// links: what a commit's pipeline writes into must not be anybody's own.
func copyTree(from, to string, want func(name string) bool) error {
	return filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if !e.Type().IsRegular() || !want(filepath.ToSlash(rel)) {
			return nil
		}
		return copyFile(name, filepath.Join(to, rel))
	})
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// listTree lists every file of a bundle but the list itself.
func listTree(ctx context.Context, dir string) ([]listedAs, error) {
	var files []listedAs
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if rel == bundleFile {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.Type().IsRegular() {
			return fault.Errorf(fault.Mismatch, "%s: %s is not a regular file; a bundle has no other", dir, rel)
		}
		if len(files) == maxBundled {
			return fault.Errorf(fault.Mismatch, "%s has more than %d files", dir, maxBundled)
		}
		d, size, err := artifact.SumFile(name)
		files = append(files, listedAs{filepath.ToSlash(rel), size, d})
		return err
	})
	return files, err
}
