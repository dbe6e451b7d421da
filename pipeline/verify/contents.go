package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Bounds of documents that are read whole, in bytes.
const (
	maxText      = 4 << 20
	maxStatement = 12 << 20
	maxBills     = 64 << 20
)

// hubFile tells Artifact Hub whose the charts are (https://artifacthub.io/docs/topics/repositories/#ownership-claim).
const hubFile = "charts/artifacthub-repo.yml"

// opened is a file whose digest holds.
type opened struct {
	ctx  context.Context
	r    io.ReaderAt
	file artifact.File
}

// look looks into a file, and says what it saw or what is wrong with it.
type look func(opened) (string, error)

// inspect opens the file in its format. The error does not name the format again, which the row of the file does.
func (o opened) inspect(format string, options inspect.Options) (inspect.Facts, error) {
	return inspect.Open(o.ctx, format, o.r, o.file.Size, options)
}

// text reads the whole file, which must be text.
func (o opened) text(limit int64) (string, error) {
	if o.file.Size > limit {
		return "", fmt.Errorf("%d bytes; at most %d are read", o.file.Size, limit)
	}
	b := make([]byte, o.file.Size)
	if _, err := io.ReadFull(io.NewSectionReader(o.r, 0, o.file.Size), b); err != nil {
		return "", fmt.Errorf("reading: %w", err)
	}
	if !utf8.Valid(b) || strings.ContainsRune(string(b), 0) {
		return "", errors.New("it is not text in UTF-8")
	}
	return string(b), nil
}

// looks is what there is to look at in each file, by path. A file that stands for two things must be both.
func (d *dist) looks() map[string][]look {
	all := map[string][]look{}
	add := func(path string, l look) { all[path] = append(all[path], l) }
	for _, b := range d.rel.Binaries {
		add(b.Path, func(o opened) (string, error) { return d.binary(b, o) })
	}
	for _, a := range d.rel.Archives {
		add(a.Path, func(o opened) (string, error) { return d.archive(a, o) })
	}
	for _, p := range d.rel.Packages {
		add(p.Path, func(o opened) (string, error) { return d.pkg(p, o) })
	}
	for _, r := range d.rel.Recipes {
		add(r.Path, func(o opened) (string, error) { return d.recipe(r, o) })
	}
	for _, c := range d.rel.Charts {
		add(c.Path, func(o opened) (string, error) { return d.chart(c, o) })
	}
	for _, s := range d.rel.SBOMs {
		add(s.Path, func(o opened) (string, error) { return d.sbom(s, o) })
	}
	if d.rel.Notes != "" {
		add(d.rel.Notes, notes)
	}
	if d.rel.Provenance != "" {
		add(d.rel.Provenance, d.provenance)
	}
	if d.listed[hubFile].Kind == artifact.Recipe {
		add(hubFile, hub)
	}
	if d.listed[composition.FileName].Kind == artifact.Composed {
		add(composition.FileName, d.platform)
	}
	return all
}

// differs is the error of a file that says something else than it should; nil if it does not.
func differs(what, got, want string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("its %s is %q, want %q", what, got, want)
}

// named is the error of a file whose name is not the one that follows from what it is. It is told from the path, since
// that is what people download.
func named(p, want string) error {
	if want = path.Base(want); path.Base(p) != want {
		return fmt.Errorf("the file should be called %s", want)
	}
	return nil
}

func (d *dist) binary(b manifest.Binary, o opened) (string, error) {
	exe := b.Platform.Exe(b.Name)
	if want := fmt.Sprintf("binaries/%s_%s/%s", b.Name, b.Platform.Slug(), exe); b.Path != want {
		return "", fmt.Errorf("the file should be called %s", want)
	}
	facts, err := o.inspect(inspect.Binary, inspect.Options{})
	if err != nil {
		return "", err
	}
	// GOOS, GOARCH and the architecture's instruction set.
	for _, kv := range b.Platform.Env() {
		key, want, _ := strings.Cut(kv, "=")
		if err := differs(key, facts.Fields["go."+key], want); err != nil {
			return "", fmt.Errorf("it is not a program for %s: %w", b.Platform, err)
		}
	}
	got, _, _ := strings.Cut(facts.Fields["go.version"], " ") // experiments are named behind it
	toolchains := d.toolchains()
	if !slices.Contains(toolchains, got) {
		return "", fmt.Errorf("it was compiled by %q, and the toolchain of the release is %q", got, strings.Join(toolchains, " "))
	}
	return b.Platform.String() + ", " + got, nil
}

// toolchains are the versions of Go that the release was compiled with: one, which has an input for each host.
func (d *dist) toolchains() []string {
	var all []string
	for _, in := range d.rel.Inputs {
		_, v, ok := strings.Cut(in.Name, "@v0.0.1-")
		if i := strings.LastIndex(v, "."); in.Kind == "toolchain" && ok && i > 0 && !slices.Contains(all, v[:i]) {
			all = append(all, v[:i])
		}
	}
	return all
}

// programs are the digests of the release's programs for a platform, by file name.
func (d *dist) programs(p artifact.Platform) map[string]artifact.Digest {
	out := map[string]artifact.Digest{}
	for _, b := range d.rel.Binaries {
		if b.Platform == p {
			out[path.Base(b.Path)] = d.listed[b.Path].Digest
		}
	}
	return out
}

// hold requires programs among the entries: at least one where at says that programs are, and each file there that has the
// name of one, and each executable of such a name anywhere, to be it.
func hold(entries []inspect.Entry, programs map[string]artifact.Digest, at func(inspect.Entry) bool) (string, error) {
	var found []string
	for _, e := range entries {
		want, ok := programs[path.Base(e.Name)]
		placed := at(e)
		if !ok || e.Type == inspect.Folder || !placed && (e.Type != inspect.File || e.Mode&0o111 == 0) {
			continue
		}
		switch {
		case e.Type != inspect.File:
			return "", fmt.Errorf("%q in it is a %s and not a program", e.Name, e.Type)
		case e.Digest != want:
			return "", fmt.Errorf("%q in it is %s, and the program of the release is %s", e.Name, e.Digest, want)
		case e.Mode&0o111 == 0:
			return "", fmt.Errorf("%q in it cannot be executed", e.Name)
		case placed:
			found = append(found, e.Name)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("it does not have %s where programs are", strings.Join(slices.Sorted(maps.Keys(programs)), " or "))
	}
	return strings.Join(found, " "), nil
}

func (d *dist) archive(a manifest.Archive, o opened) (string, error) {
	format := ""
	switch {
	case strings.HasSuffix(a.Path, ".tar.gz"):
		format = inspect.TarGz
	case strings.HasSuffix(a.Path, ".zip"):
		format = inspect.Zip
	default:
		return "", errors.New("archives of this kind are not opened; want .tar.gz or .zip")
	}
	facts, err := o.inspect(format, inspect.Options{})
	if err != nil {
		return "", err
	}
	programs := d.programs(a.Platform)
	if len(programs) == 0 {
		return "", fmt.Errorf("the release has no program for %s", a.Platform)
	}
	top := folder(facts.Entries)
	has, err := hold(facts.Entries, programs, func(e inspect.Entry) bool { return path.Dir(e.Name) == top })
	if err != nil {
		return "", fmt.Errorf("%s: %w", a.Platform, err)
	}
	return a.Platform.String() + ", " + has, nil
}

// folder is the innermost one that everything in an archive is in, or ".".
func folder(entries []inspect.Entry) string {
	top, first := "", true
	for _, e := range entries {
		if e.Type == inspect.Folder {
			continue
		}
		dir := path.Dir(e.Name) + "/"
		if dir == "./" {
			return "."
		}
		if first {
			top, first = dir, false
		}
		for !strings.HasPrefix(dir, top) {
			if top = path.Dir(strings.TrimSuffix(top, "/")) + "/"; top == "./" {
				return "."
			}
		}
	}
	return path.Clean(top)
}

func (d *dist) pkg(p manifest.Package, o opened) (string, error) {
	f, ok := format.Find(p.Format)
	if !ok || !f.Carries {
		return "", fmt.Errorf("packages of format %.40q are not opened", p.Format)
	}
	v, err := f.Version(d.rel.Version)
	if err != nil {
		return "", fmt.Errorf("there is no %s of this release: %w", f.Name, err)
	}
	arch, ok := f.Arch(p.Platform)
	if !ok {
		return "", fmt.Errorf("there is no %s for %s", f.Name, p.Platform)
	}
	// What the manifest says follows from the release, so that it cannot agree with an older package.
	if err := errors.Join(differs("version in "+manifest.FileName, p.Version, v), differs("architecture in "+manifest.FileName, p.Architecture, arch)); err != nil {
		return "", err
	}
	if err := named(p.Path, f.Path(format.Names{Project: d.rel.Name, Name: p.Name, Version: v, Arch: arch})); err != nil {
		return "", err
	}
	facts, err := o.inspect(p.Format, inspect.Options{})
	if err != nil {
		return "", err
	}
	if f.Revision != "" {
		v += "-" + f.Revision
	}
	if err := errors.Join(differs("name", facts.Name, p.Name), differs("version", facts.Version, v), differs("architecture", facts.Architecture, arch)); err != nil {
		return "", err
	}
	entries := slices.DeleteFunc(slices.Clone(facts.Entries), func(e inspect.Entry) bool { return e.Part != "" && e.Part != "data" })
	has, err := hold(entries, d.programs(p.Platform), func(e inspect.Entry) bool { return path.Dir(e.Name) == "usr/bin" })
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Platform, err)
	}
	return fmt.Sprintf("%s %s %s, %s", p.Name, v, arch, has), nil
}

func (d *dist) chart(c manifest.Chart, o opened) (string, error) {
	release := d.rel.Version.String()
	if err := errors.Join(d.chartVersion(c), differs("appVersion in "+manifest.FileName, c.AppVersion, release)); err != nil {
		return "", err
	}
	if err := named(c.Path, c.Name+"-"+c.Version+".tgz"); err != nil {
		return "", err
	}
	facts, err := o.inspect(inspect.Chart, inspect.Options{})
	if err != nil {
		return "", err
	}
	app := facts.Fields["chart.appVersion"]
	if err := errors.Join(differs("name", facts.Name, c.Name), differs("version", facts.Version, c.Version), differs("appVersion", app, c.AppVersion)); err != nil {
		return "", err
	}
	return facts.Name + " " + facts.Version, nil
}

// chartVersion holds the version that the manifest has for a chart to that of the release. One of its own is a prerelease if
// and only if the release is one.
func (d *dist) chartVersion(c manifest.Chart) error {
	if !slices.Contains(d.rel.Requires, manifest.ChartVersions) {
		return differs("version in "+manifest.FileName, c.Version, d.rel.Version.String())
	}
	v, err := version.Parse(c.Version)
	if err != nil {
		return err
	}
	if v.Prerelease() != d.rel.Version.Prerelease() {
		return fmt.Errorf("its version %s and that of the release, %s, differ behind their numbers", v, d.rel.Version)
	}
	return nil
}

// sbomFormats are the formats of bills of materials, by their names in the manifest.
var sbomFormats = map[string]string{"cyclonedx": inspect.CycloneDX, "spdx": inspect.SPDX}

func (d *dist) sbom(s manifest.SBOM, o opened) (string, error) {
	format, ok := sbomFormats[s.Format]
	if !ok {
		return "", fmt.Errorf("bills of materials of format %.40q are not opened", s.Format)
	}
	digest, name, version, err := d.subject(s)
	if err != nil {
		return "", err
	}
	if err := differs("digest in "+manifest.FileName, string(s.Digest), string(digest)); err != nil {
		return "", fmt.Errorf("of %s: %w", s.Subject, err)
	}
	facts, err := o.inspect(format, inspect.Options{MaxDocument: maxBills})
	if err != nil {
		return "", err
	}
	err = errors.Join(
		differs("subject", facts.Name, name),
		differs("version", facts.Version, version),
		differs("digest", facts.Fields[format+".digest"], string(digest)),
	)
	if err != nil {
		return "", fmt.Errorf("of %s: %w", s.Subject, err)
	}
	return "components: " + facts.Fields[format+".components"], nil
}

// subject finds what a bill of materials is of: its digest, and its name and version in the document.
func (d *dist) subject(s manifest.SBOM) (digest artifact.Digest, name, version string, err error) {
	of := func(p string, platform artifact.Platform) bool { return p == s.Subject && platform == s.Platform }
	if slices.ContainsFunc(d.rel.Binaries, func(b manifest.Binary) bool { return of(b.Path, b.Platform) }) ||
		slices.ContainsFunc(d.rel.Archives, func(a manifest.Archive) bool { return of(a.Path, a.Platform) }) {
		return d.listed[s.Subject].Digest, path.Base(s.Subject), d.rel.Version.String(), nil
	}
	if of(composition.FileName, artifact.Platform{}) && d.listed[s.Subject].Kind == artifact.Composed {
		return d.listed[s.Subject].Digest, d.rel.Name, d.rel.Version.String(), nil
	}
	for _, im := range d.rel.Images {
		for _, tag := range im.Tags {
			for _, p := range im.Platforms {
				if of(im.Repository+":"+tag, p.Platform) {
					return p.Digest, im.Repository, tag, nil
				}
			}
		}
	}
	return "", "", "", fmt.Errorf("it is of %.200q for %s, which is not in %s", s.Subject, s.Platform, manifest.FileName)
}

// platform requires platform.json to be of this release, and the releases that it consists of to be what the release was made from.
func (d *dist) platform(o opened) (string, error) {
	text, err := o.text(composition.MaxSize)
	if err != nil {
		return "", err
	}
	p, err := composition.Decode([]byte(text))
	if err != nil {
		return "", err
	}
	if err := cmp.Or(differs("name", p.Name, d.rel.Name), differs("version", p.Version.String(), d.rel.Version.String())); err != nil {
		return "", err
	}
	for _, c := range p.Components {
		switch in, published := c.Input(); {
		case published && !slices.Contains(d.rel.Inputs, in):
			return "", fmt.Errorf("it has %s, which is not among the inputs of %s", in.Name, manifest.FileName)
		case !published && len(d.rel.Unpublishable) == 0:
			return "", fmt.Errorf("%s was not published, and %s says nothing of that", c.Name, manifest.FileName)
		}
	}
	for _, b := range p.Bases {
		if !slices.Contains(d.rel.Inputs, b.Input()) {
			return "", fmt.Errorf("it has base %s, which is not among the inputs of %s", b.Name, manifest.FileName)
		}
	}
	return fmt.Sprintf("components: %d", len(p.Components)), nil
}

func notes(o opened) (string, error) {
	text, err := o.text(maxText)
	if err == nil && strings.TrimSpace(text) == "" {
		err = errors.New("it is empty")
	}
	return "", err
}

// provenance requires the statement that would be written about this manifest. Only the path of the configuration, who
// built and the modules are the statement's own.
func (d *dist) provenance(o opened) (string, error) {
	text, err := o.text(maxStatement)
	if err != nil {
		return "", err
	}
	got, err := provenance.Parse([]byte(text))
	if err != nil {
		return "", err
	}
	def, run := got.Predicate.Definition, got.Predicate.Run
	facts := provenance.Facts{
		Repository: d.rel.Repository, Tag: d.rel.Tag, Commit: d.rel.Commit, Tree: d.rel.Tree, Config: def.External.Config,
		Version: d.rel.Version.String(), Plan: d.rel.Plan, BuilderID: run.Builder.ID, Builder: run.Builder.Version,
		Inputs: d.rel.Inputs,
	}
	for _, f := range d.rel.Files {
		if f.Path != o.file.Path && f.Kind != artifact.Image { // images are named by their index
			facts.Files = append(facts.Files, f)
		}
	}
	for _, im := range d.rel.Images {
		facts.Images = append(facts.Images, provenance.Image{Repository: im.Repository, Tag: im.Tag(), Digest: im.Digest})
	}
	for _, c := range d.rel.Charts {
		if c.Digest != "" {
			facts.Images = append(facts.Images, provenance.Image{Repository: c.Repository, Tag: c.Tag(), Digest: c.Digest})
		}
	}
	facts.Untagged = slices.ContainsFunc(facts.Images, func(im provenance.Image) bool {
		return slices.ContainsFunc(got.Subject, func(s provenance.Resource) bool { return s.Name == im.Repository })
	})
	statement, err := provenance.Statement(facts)
	if err != nil {
		return "", err
	}
	want, err := provenance.Parse(statement)
	if err != nil {
		return "", err
	}
	if run.Metadata != nil || len(run.Byproducts) > 0 {
		return "", errors.New("it describes one run, which only the signed statement does")
	}
	wanted := want.Predicate.Definition
	switch inputs := len(wanted.Dependencies); {
	case def.Internal != wanted.Internal:
		return "", fmt.Errorf("it is about version %.60q with the plan %s, want %q with %s",
			def.Internal.Version, def.Internal.Plan, wanted.Internal.Version, wanted.Internal.Plan)
	case def.External != wanted.External:
		return "", fmt.Errorf("it is about %.200q at %.100q, want %q at %q", def.External.Repository, def.External.Ref, wanted.External.Repository, wanted.External.Ref)
	case len(def.Dependencies) < inputs || resources(def.Dependencies[:inputs]) != resources(wanted.Dependencies):
		return "", fmt.Errorf("its commit or its inputs are not those of %s: %s", manifest.FileName,
			firstOf(def.Dependencies[:min(inputs, len(def.Dependencies))], wanted.Dependencies))
	case resources(got.Subject) != resources(want.Subject):
		return "", fmt.Errorf("its subjects are not what %s lists: %s", manifest.FileName, firstOf(got.Subject, want.Subject))
	}
	for _, r := range def.Dependencies[len(wanted.Dependencies):] {
		if !strings.HasPrefix(r.URI, "pkg:golang/") {
			return "", fmt.Errorf("it names %.100q, which is neither a Go module nor an input of the release", r.Name)
		}
	}
	return fmt.Sprintf("subjects: %d", len(got.Subject)), nil
}

// resources is a list of resources as one string.
func resources(rs []provenance.Resource) string {
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, "%q %q %q\n", r.Name, r.URI, r.Digest)
	}
	return b.String()
}

// firstOf names the first resource that only one of the two sorted lists has.
func firstOf(got, want []provenance.Resource) string {
	in := func(rs []provenance.Resource) map[string]bool {
		set := map[string]bool{}
		for _, r := range rs {
			set[resources([]provenance.Resource{r})] = true
		}
		return set
	}
	has, wants := in(got), in(want)
	for _, r := range want {
		if !has[resources([]provenance.Resource{r})] {
			return fmt.Sprintf("%s with %s is not in it", r.Name, digests(r))
		}
	}
	for _, r := range got {
		if !wants[resources([]provenance.Resource{r})] {
			return fmt.Sprintf("%.200q with %.100q is in it", r.Name, digests(r))
		}
	}
	return "they are in another order"
}

func digests(r provenance.Resource) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(r.Digest)) {
		all = append(all, k+":"+r.Digest[k])
	}
	return strings.Join(all, " ")
}

// ownership is what Artifact Hub is told about a repository.
type ownership struct {
	RepositoryID string `yaml:"repositoryID"`
	Owners       []struct {
		Name  string `yaml:"name"`
		Email string `yaml:"email"`
	} `yaml:"owners"`
	Ignore []struct {
		Name    string `yaml:"name"`
		Version string `yaml:"version"`
	} `yaml:"ignore"`
}

// hub looks at what Artifact Hub is told: it may not say more than whose the charts are.
func hub(o opened) (string, error) {
	text, err := o.text(64 << 10)
	if err != nil {
		return "", err
	}
	var about ownership
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&about); err != nil {
		return "", fmt.Errorf("reading what it says to Artifact Hub: %w", err)
	}
	if about.RepositoryID == "" && len(about.Owners) == 0 && len(about.Ignore) == 0 {
		return "", errors.New("it says nothing to Artifact Hub")
	}
	return "for Artifact Hub", nil
}
