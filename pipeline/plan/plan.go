// Package plan says what a release will consist of, before anything is built.
//
// A plan is a pure function of the commit with the tags in its history, slipway.yaml and slipway.lock: every output by
// name and every input by digest. Its canonical JSON has a digest, which the manifest of the release carries; equal digests
// mean equal releases. What no byte of a release depends on is not part of a plan: where it goes, what its tests are, or
// whether its version is the highest that was ever released.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/artifacthub"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/notes"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

// Schema names the format of a plan.
const Schema = "slipway.plan/v2"

// Plan is everything that a build makes.
type Plan struct {
	Schema        string           `json:"schema"`
	Name          string           `json:"name"`
	Repository    string           `json:"repository,omitempty"`
	Version       version.Version  `json:"version"`
	Tag           string           `json:"tag,omitempty"`
	Commit        string           `json:"commit"`
	Tree          string           `json:"tree"`
	Time          time.Time        `json:"time"`
	Unpublishable []string         `json:"unpublishable,omitempty"`
	Project       Project          `json:"project"`
	Toolchain     Toolchain        `json:"toolchain"`
	Inputs        []artifact.Input `json:"inputs"`
	Binaries      []Binary         `json:"binaries"`
	Archives      []Archive        `json:"archives"`
	Images        []Image          `json:"images"`
	Charts        []Chart          `json:"charts"`
	Packages      []Package        `json:"packages"`
	Download      string           `json:"download,omitempty"` // URL of the folder that the archives are below
	SBOMs         []SBOM           `json:"sboms"`
	Notes         Notes            `json:"notes"`
	Hub           *Hub             `json:"artifactHub,omitempty"`
	Platform      *Platform        `json:"platform,omitempty"`
	Provenance    string           `json:"provenance"`
	Signing       *Signing         `json:"signing,omitempty"`
	Licenses      []string         `json:"licenses"` // patterns of the licence files
}

// Project is what the release says of the project.
type Project struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Homepage    string `json:"homepage,omitempty"`
	License     string `json:"license,omitempty"`
	Vendor      string `json:"vendor"`
}

// Notes are the release notes.
type Notes struct {
	Path     string `json:"path"`
	Since    string `json:"since,omitempty"` // tag of the release before
	Markdown string `json:"markdown"`
	// Changes are the same in lines of plain text, for what cannot show Markdown: Added: a flag.
	Changes []string `json:"changes,omitempty"`
}

// Hub is the file by which Artifact Hub knows whose the charts are.
type Hub struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Signing says who is to sign the release: the holder of a key, or a workflow with an identity.
type Signing struct {
	Key       artifact.Digest `json:"key,omitempty"`       // of the public key's DER (SubjectPublicKeyInfo)
	PublicKey string          `json:"publicKey,omitempty"` // PEM
	Identity  string          `json:"identity,omitempty"`
	Issuer    string          `json:"issuer,omitempty"`
}

// Toolchain is the Go release that compiles and the checksums of its module by host, such as linux-amd64.
type Toolchain struct {
	Version string            `json:"version"`
	Sums    map[string]string `json:"sums,omitempty"`
}

// Binary is one program for one platform.
type Binary struct {
	Name     string            `json:"name"`
	Platform artifact.Platform `json:"platform"`
	Path     string            `json:"path"` // in dist/
	Dir      string            `json:"dir"`  // of the module, in the tree
	Package  string            `json:"package"`
	Flags    []string          `json:"flags"` // of go build
	Env      []string          `json:"env"`
	Builder  string            `json:"builder,omitempty"` // image with a C toolchain, by digest
}

// Archive is what people download for one platform.
type Archive struct {
	Platform artifact.Platform `json:"platform"`
	Path     string            `json:"path"`
	Folder   string            `json:"folder,omitempty"`
	Binaries []string          `json:"binaries"` // paths in dist/
	Files    []string          `json:"files"`    // patterns in the tree
}

// Image is one image: a repository and a distribution, for several platforms.
type Image struct {
	Repository   string            `json:"repository"`
	Distro       string            `json:"distro"`
	Tags         []string          `json:"tags"`
	Floating     []string          `json:"floating,omitempty"` // names that a publisher moves here if version.Holder says so
	Base         Base              `json:"base"`
	Platforms    []ImagePlatform   `json:"platforms"`
	Path         string            `json:"path"`                   // of the binary in the image
	Certificates string            `json:"certificates,omitempty"` // where CA certificates are added
	Files        map[string]string `json:"files,omitempty"`        // files of the tree by path in the image
	Process      Process           `json:"process"`
	Labels       map[string]string `json:"labels"` // labels, and annotations of manifests and index
}

// Base is what an image is built on. A stand-in has no digest: it is made in memory.
type Base struct {
	Image   string          `json:"image"`
	Digest  artifact.Digest `json:"digest,omitempty"`
	StandIn bool            `json:"standIn,omitempty"`
}

// ImagePlatform is one platform of an Image.
type ImagePlatform struct {
	Platform artifact.Platform `json:"platform"`
	Binary   string            `json:"binary"` // path in dist/
}

// Process is how a container of the image runs.
type Process struct {
	User       string   `json:"user"`
	Entrypoint []string `json:"entrypoint"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	Ports      []string `json:"ports,omitempty"`
	Volumes    []string `json:"volumes,omitempty"`
	Workdir    string   `json:"workdir,omitempty"`
}

// Chart is a Helm chart.
type Chart struct {
	Name         string            `json:"name"`
	Dir          string            `json:"dir"`
	Path         string            `json:"path"`
	Version      string            `json:"version"`
	AppVersion   string            `json:"appVersion"`
	Repository   string            `json:"repository,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Defaults     map[string]string `json:"defaults,omitempty"` // annotations for what Chart.yaml says nothing about
	Dependencies []ChartDependency `json:"dependencies,omitempty"`

	// Components are the charts of a platform's components that it may have in it: all of them where Made says that there is no such
	// chart in the tree, else those that its Chart.yaml asks for.
	Components []ComponentChart `json:"components,omitempty"`
	Made       *MadeChart       `json:"made,omitempty"`
}

// ComponentChart is a chart of a component's release.
type ComponentChart struct {
	Component string `json:"component"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	Alias     string `json:"alias,omitempty"` // in a chart that is made, where its name alone would not do
}

// MadeChart is what a chart that is made of those of components says besides.
type MadeChart struct {
	Description string `json:"description"`
	Home        string `json:"home,omitempty"`
	Source      string `json:"source,omitempty"`
	Text        string `json:"text"` // what is told after it was installed
}

// ChartDependency is a chart that is vendored into another.
type ChartDependency struct {
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Repository string          `json:"repository"`
	Digest     artifact.Digest `json:"digest"`
}

// Test is what the test command runs.
type Test struct {
	Packages []string
	Flags    []string
	Builder  string // image to run them in, by digest
}

// NewTest is what a project's configuration says of its tests: all packages, where it names none.
func NewTest(c config.Test) Test {
	t := Test{Packages: c.Packages, Flags: c.Flags, Builder: c.Builder}
	if len(t.Packages) == 0 {
		t.Packages = []string{"./..."}
	}
	return t
}

// Options narrow or relax a plan for use on one machine. Each of them marks the release as unpublishable.
type Options struct {
	StandIn bool                // stand-in bases made in memory instead of the locked ones
	Targets []artifact.Platform // build no others; all when empty
	// Required are those of Targets that somebody named: there must be a binary for each.
	Required []artifact.Platform
	// Files are the contents of the commit's files that Reads names, and of those in Folder that end in .yaml; one that the commit has not is not among them.
	Files map[string][]byte
	// Before is platform.lock as the commit has it that the notes start from; nil where there is none.
	Before []byte
}

// Reads are the files of the commit that the plan depends on, besides slipway.yaml and slipway.lock. Some are named by others: it is
// asked again with those that it named before, until it names no more.
func Reads(cfg config.Config, files map[string][]byte) []string {
	var names []string
	read := []string{cfg.Notes.ChangelogFile(), cfg.Signing.Key}
	for _, k := range cfg.Trust {
		read = append(read, k.Key)
	}
	if cfg.Platform != "" {
		read = append(read, cfg.Platform, path.Join(path.Dir(cfg.Platform), platform.LockFileName))
	}
	for _, name := range read {
		if name != "" {
			names = append(names, path.Clean(name))
		}
	}
	return append(names, keysOf(cfg, files)...)
}

// Folder is the folder of the commit whose files in YAML the plan depends on besides: the advisories of a platform; "" for none.
func Folder(cfg config.Config) string {
	if cfg.Platform == "" {
		return ""
	}
	return path.Join(path.Dir(path.Clean(cfg.Platform)), lifecycle.AdvisoriesDir)
}

// New makes the plan. An error is about the configuration or the lock and names the place in the file.
func New(src source.Source, cfg config.Config, lock config.Lock, o Options) (Plan, error) {
	p := planner{src: src, cfg: cfg, lock: lock, o: o}
	plan, err := p.plan()
	return plan, fault.New(fault.Usage, err)
}

type planner struct {
	src  source.Source
	cfg  config.Config
	lock config.Lock
	o    Options

	def    platform.Platform // of the platform whose release it is; zero for none
	locked platform.Lock
}

func (p planner) plan() (Plan, error) {
	switch {
	case p.cfg.NeedsGo() && p.lock.Go.Version == "":
		return Plan{}, fmt.Errorf("%s: go is missing: no Go release is locked; run the lock command and commit %s", p.lock.At("go"), config.LockFileName)
	case p.cfg.Go != "" && p.cfg.Go != p.lock.Go.Version:
		return Plan{}, fmt.Errorf("%s: go: %s is required and %s is locked; run the lock command and commit %s",
			p.cfg.At("go"), p.cfg.Go, p.lock.Go.Version, config.LockFileName)
	}
	if err := p.definition(); err != nil {
		return Plan{}, err
	}
	out := p.identity()
	if err := p.outputs(&out); err != nil {
		return Plan{}, err
	}
	out.Inputs = p.inputs(out)
	if err := p.platform(&out); err != nil {
		return Plan{}, err
	}
	if err := p.checkPaths(out); err != nil {
		return Plan{}, err
	}
	return out, nil
}

// identity is what the release is of, and what it is made by.
func (p planner) identity() Plan {
	out := Plan{
		Schema:     Schema,
		Name:       p.cfg.Project.Name,
		Repository: p.cfg.Project.Repository,
		Version:    p.src.Version,
		Tag:        p.src.Tag,
		Commit:     p.src.Commit,
		Tree:       p.src.Tree,
		Time:       p.src.Time.UTC(),
		Project:    p.project(),
		Toolchain:  p.toolchain(),
		Licenses:   p.cfg.Project.Licenses,
		Images:     []Image{},
		Charts:     []Chart{},
	}
	if len(out.Licenses) == 0 {
		out.Licenses = []string{"LICENSE*", "LICENCE*", "COPYING*", "NOTICE*"}
	}
	if p.src.Dirty {
		out.Unpublishable = append(out.Unpublishable, "it was built from a dirty tree")
	}
	if p.o.StandIn && len(p.cfg.Images) > 0 {
		out.Unpublishable = append(out.Unpublishable, "its images stand on stand-in bases")
	}
	if len(p.o.Targets) > 0 && len(p.cfg.Binaries) > 0 {
		out.Unpublishable = append(out.Unpublishable, "it was narrowed to some of its targets")
	}
	return out
}

// toolchain is what compiles; nothing, where nothing is compiled.
func (p planner) toolchain() Toolchain {
	if len(p.cfg.Binaries) == 0 {
		return Toolchain{}
	}
	return Toolchain{Version: p.lock.Go.Version, Sums: p.lock.Go.Sums}
}

// outputs adds what the release consists of. Each follows from those before it.
func (p planner) outputs(out *Plan) error {
	var err error
	if out.Binaries, err = p.binaries(); err != nil {
		return err
	}
	if out.Archives, err = p.archives(out.Binaries); err != nil {
		return err
	}
	if out.Download, err = p.cfg.DownloadFolder().Expand(p.values()); err != nil {
		return fmt.Errorf("%s: download: %w", p.cfg.At("download"), err)
	}
	for i := range p.cfg.Images {
		built, err := p.image(i, out.Binaries)
		if err != nil {
			return err
		}
		out.Images = append(out.Images, built...)
	}
	news, err := p.notes(out)
	if err != nil {
		return err
	}
	facts := p.hubFacts(*out, news)
	if out.Hub, err = p.hub(facts); err != nil {
		return err
	}
	for i := range p.cfg.Charts {
		c, err := p.chart(i, artifacthub.Annotations(facts))
		if err != nil {
			return err
		}
		out.Charts = append(out.Charts, c)
	}
	if out.Charts, err = p.overCharts(out.Charts, artifacthub.Annotations(facts)); err != nil {
		return err
	}
	if out.Packages, err = p.packages(*out); err != nil {
		return err
	}
	out.SBOMs = sboms(*out)
	out.Provenance = fmt.Sprintf("attestations/%s_%s.provenance.json", out.Name, out.Version)
	out.Signing, err = p.signing()
	return err
}

// inputs are what the outputs are made from besides the commit: the toolchain for each host, the base of each
// distribution, the charts that others need.
func (p planner) inputs(out Plan) []artifact.Input {
	all := []artifact.Input{}
	for _, host := range slices.Sorted(maps.Keys(out.Toolchain.Sums)) {
		all = append(all, artifact.Input{
			Kind:   "toolchain",
			Name:   "golang.org/toolchain@v0.0.1-go" + out.Toolchain.Version + "." + host,
			Digest: out.Toolchain.Sums[host],
		})
	}
	bases := map[string]bool{}
	for _, im := range out.Images {
		if !bases[im.Distro] && im.Base.Digest != "" {
			all = append(all, artifact.Input{Kind: "base", Name: im.Base.Image, Digest: string(im.Base.Digest)})
		}
		bases[im.Distro] = true
	}
	for _, c := range out.Charts {
		for _, d := range c.Dependencies {
			in := artifact.Input{Kind: "chart", Name: d.Name + "@" + d.Version, Digest: string(d.Digest)}
			if !slices.Contains(all, in) { // two charts may need the same one
				all = append(all, in)
			}
		}
	}
	return all
}

// project is what the release says of the project, with defaults for what it does not say itself.
func (p planner) project() Project {
	pr := p.cfg.Project
	title := cmp.Or(pr.Title, pr.Name)
	return Project{
		Title:       title,
		Description: cmp.Or(pr.Description, title),
		Homepage:    cmp.Or(pr.Homepage, pr.Repository),
		License:     pr.License,
		Vendor:      cmp.Or(pr.Vendor, owner(pr.Repository), pr.Name),
	}
}

// notes puts the release notes into the plan. It returns what else they say.
func (p planner) notes(out *Plan) (notes.Notes, error) {
	o := notes.Options{
		Version: p.src.Version, Tag: p.src.Tag, Since: p.src.Since, Commit: p.src.Commit, Repository: p.cfg.Project.Repository,
	}
	if name := p.cfg.Notes.ChangelogFile(); name != "" {
		b, ok := p.o.Files[path.Clean(name)]
		if !ok && p.cfg.Notes.Changelog != "" {
			return notes.Notes{}, fmt.Errorf("%s: notes.changelog: there is no file %q in the commit", p.cfg.At("notes.changelog"), name)
		}
		o.Changelog = b
	}
	for _, c := range p.src.Changes {
		o.Commits = append(o.Commits, notes.Commit{Hash: c.Commit, Author: c.Author, Message: c.Message})
	}
	fixes, err := p.fixes()
	if err != nil {
		return notes.Notes{}, err
	}
	o.First = []notes.Section{{Title: "Vulnerabilities fixed", Items: fixes}, {Title: "Exceptions to what its number promises", Items: p.exceptions()}}
	n, err := notes.New(o)
	if err != nil {
		return notes.Notes{}, fmt.Errorf("%s: notes: %w", p.cfg.At("notes"), err)
	}
	n.Security = n.Security || len(fixes) > 0
	out.Notes = Notes{Path: "notes.md", Since: p.src.Since, Markdown: n.Markdown}
	for _, c := range n.Changes {
		kind := string(c.Kind)
		out.Notes.Changes = append(out.Notes.Changes, strings.ToUpper(kind[:1])+kind[1:]+": "+c.Description)
	}
	return n, nil
}

// signing is who is to sign the release; nil if it is not named. All keys are read, so that a mistake is found before
// somebody verifies with them, and one that does not count for this release is not to sign it.
func (p planner) signing() (*Signing, error) {
	keys, terms, err := p.cfg.Keys(func(name string) ([]byte, error) {
		b, ok := p.o.Files[path.Clean(name)]
		if !ok {
			return nil, fmt.Errorf("there is no file %q in the commit; the keygen command writes one", name)
		}
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	switch s := p.cfg.Signing; {
	case s.Identity != "":
		return &Signing{Identity: s.Identity, Issuer: s.IssuerURL()}, nil
	case s.Key != "":
		key := keys[0].Fingerprint()
		if err := terms[key].Check(key, p.src.Time); err != nil {
			return nil, fmt.Errorf("%s: signing.key: %w; name another", p.cfg.At("signing.key"), err)
		}
		return &Signing{Key: key, PublicKey: string(keys[0].PEM())}, nil
	}
	return nil, nil
}

// values are what templates may name anywhere.
func (p planner) values() config.Values {
	v := p.src.Version
	tag := p.src.Tag
	if tag == "" {
		tag = "v" + v.String()
	}
	return config.Values{
		"Project":     p.cfg.Project.Name,
		"Version":     v.String(),
		"Tag":         tag,
		"Major":       strconv.FormatUint(v.Major(), 10),
		"Minor":       strconv.FormatUint(v.Minor(), 10),
		"Patch":       strconv.FormatUint(v.Patch(), 10),
		"Prerelease":  v.Prerelease(),
		"Commit":      p.src.Commit,
		"ShortCommit": p.src.Commit[:min(12, len(p.src.Commit))],
		"Date":        p.src.Time.UTC().Format(time.RFC3339),
		"Timestamp":   strconv.FormatInt(p.src.Time.Unix(), 10),
	}
}

// with is v and the values of one place.
func with(v config.Values, more ...string) config.Values {
	v = maps.Clone(v)
	for i := 0; i+1 < len(more); i += 2 {
		v[more[i]] = more[i+1]
	}
	return v
}

func platformValues(v config.Values, pl artifact.Platform) config.Values {
	return with(v, "Os", pl.OS, "Arch", pl.Arch, "Variant", pl.Variant)
}

func (p planner) binaries() ([]Binary, error) {
	out := []Binary{}
	for i, b := range p.cfg.Binaries {
		key := fmt.Sprintf("binaries[%d]", i)
		pkg, err := packagePath(b.Dir, b.Main)
		if err != nil {
			return nil, fmt.Errorf("%s: %s.main: %w", p.cfg.At(key+".main"), key, err)
		}
		for _, pl := range b.Platforms() {
			if len(p.o.Targets) > 0 && !slices.Contains(p.o.Targets, pl.Base()) && !slices.Contains(p.o.Targets, pl) {
				continue
			}
			flags, err := p.flags(key, b, pl)
			if err != nil {
				return nil, err
			}
			cgo := "CGO_ENABLED=0"
			if b.Builder != "" {
				cgo = "CGO_ENABLED=1"
			}
			env := append(pl.Env(), cgo)
			for _, name := range slices.Sorted(maps.Keys(b.Env)) {
				env = append(env, name+"="+b.Env[name])
			}
			out = append(out, Binary{
				Name:     b.Name,
				Platform: pl,
				Path:     fmt.Sprintf("binaries/%s_%s/%s", b.Name, pl.Slug(), pl.Exe(b.Name)),
				Dir:      path.Clean("./" + b.Dir),
				Package:  pkg,
				Flags:    flags,
				Env:      env,
				Builder:  b.Builder,
			})
		}
	}
	for _, want := range p.o.Required {
		if !slices.ContainsFunc(out, func(b Binary) bool { return b.Platform == want || b.Platform.Base() == want }) {
			return nil, fmt.Errorf("%s: binaries: none is built for %s", p.cfg.At("binaries"), want)
		}
	}
	if len(out) == 0 && len(p.cfg.Binaries) > 0 {
		return nil, fmt.Errorf("%s: binaries: none is built for %s", p.cfg.At("binaries"), joinPlatforms(p.o.Targets))
	}
	return out, nil
}

// packagePath is the folder of a package as the Go command requires it in the folder of its module: ./cmd/tool, or . for
// the module's own.
func packagePath(dir, main string) (string, error) {
	dir, main = path.Clean("./"+dir), path.Clean("./"+main)
	rest := main
	if dir != "." {
		var below bool
		if rest, below = strings.CutPrefix(main+"/", dir+"/"); !below {
			return "", fmt.Errorf("%q is not in the module's folder %q; both are relative to the root", main, dir)
		}
		rest = path.Clean("./" + rest)
	}
	if rest == "." {
		return ".", nil
	}
	return "./" + rest, nil
}

// flags are the arguments of go build but for the output and the package. Every one that a machine, a user or a Go
// version could decide differently is given.
func (p planner) flags(key string, b config.Binary, pl artifact.Platform) ([]string, error) {
	linker := b.Ldflags
	if len(linker) == 0 {
		linker = []string{"-s", "-w"}
	}
	linker = append(slices.Clone(linker), "-buildid=")
	for _, name := range slices.Sorted(maps.Keys(b.Vars)) {
		at := key + ".vars." + name
		value, err := b.Vars[name].Expand(with(platformValues(p.values(), pl), "Binary", b.Name))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.cfg.At(at), at, err)
		}
		word, err := linkerWord(name + "=" + value)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.cfg.At(at), at, err)
		}
		linker = append(linker, "-X", word)
	}
	flags := []string{"-trimpath", "-buildvcs=false", "-mod=readonly"}
	if len(b.Tags) > 0 {
		flags = append(flags, "-tags="+strings.Join(b.Tags, ","))
	}
	return append(flags, "-ldflags="+strings.Join(linker, " ")), nil
}

// linkerWord quotes s so that the Go command takes it for one argument of the linker. It splits -ldflags at spaces
// outside of quotes and knows no escapes, so what has both kinds of quotes cannot be passed on
// (https://pkg.go.dev/cmd/go#hdr-Compile_packages_and_dependencies).
func linkerWord(s string) (string, error) {
	special := strings.ContainsAny(s, " \t\r\n") || strings.ContainsAny(s, `'"`)
	switch {
	case !special:
		return s, nil
	case !strings.Contains(s, "'"):
		return "'" + s + "'", nil
	case !strings.Contains(s, `"`):
		return `"` + s + `"`, nil
	}
	return "", fmt.Errorf("%q has both kinds of quotes, which the Go command cannot pass to the linker", s)
}

func (p planner) archives(binaries []Binary) ([]Archive, error) {
	name := p.cfg.Archives.Name
	if name == "" {
		name = "{{ .Project }}_{{ .Version }}_{{ .Os }}_{{ .Arch }}{{ .Variant }}"
	}
	files := p.cfg.Archives.Files
	if len(files) == 0 {
		files = []string{"LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "README*", "CHANGELOG*"}
	}
	// What installs from an archive finds manual pages and completions in it.
	for _, pkg := range p.cfg.Packages {
		files = append(slices.Clone(files), pkg.Manuals...)
		for _, shell := range slices.Sorted(maps.Keys(pkg.Completions)) {
			files = append(files, pkg.Completions[shell])
		}
	}
	byPlatform := map[artifact.Platform][]string{}
	for _, b := range binaries {
		byPlatform[b.Platform] = append(byPlatform[b.Platform], b.Path)
	}
	out := []Archive{}
	for _, pl := range slices.SortedFunc(maps.Keys(byPlatform), artifact.Platform.Compare) {
		values := platformValues(p.values(), pl)
		stem, err := name.Expand(values)
		if err != nil {
			return nil, fmt.Errorf("%s: archives.name: %w", p.cfg.At("archives.name"), err)
		}
		folder, err := p.cfg.Archives.Folder.Expand(values)
		if err == nil && folder != "" {
			err = artifact.CheckPath(folder)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: archives.folder: %w", p.cfg.At("archives.folder"), err)
		}
		ending := ".tar.gz"
		if pl.OS == "windows" {
			ending = ".zip"
		}
		if stem == "" || strings.Contains(stem, "/") {
			return nil, fmt.Errorf("%s: archives.name: it gives %q for %s, which is not the name of a file", p.cfg.At("archives.name"), stem, pl)
		}
		out = append(out, Archive{Platform: pl, Path: "archives/" + stem + ending, Folder: folder, Binaries: byPlatform[pl], Files: files})
	}
	return out, nil
}

// maxTag is the length of the longest tag that a registry takes
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
const maxTag = 128

func (p planner) image(i int, binaries []Binary) ([]Image, error) {
	im, key := p.cfg.Images[i], fmt.Sprintf("images[%d]", i)
	distros := im.DistroNames()
	standard := im.Default
	if standard == "" {
		standard = distros[0]
	}
	binary := im.Binary
	if binary == "" {
		binary = p.cfg.Binaries[0].Name
	}
	var out []Image
	for _, name := range distros {
		d, _ := images.ByName(name)
		base, err := p.base(d)
		if err != nil {
			return nil, err
		}
		built := Image{
			Repository: im.Repository,
			Distro:     name,
			Tags:       []string{p.src.Version.OCITag() + "-" + name},
			Floating:   version.Floating(p.src.Version, name, name == standard),
			Base:       base,
			Path:       im.BinaryPath(p.cfg.Binaries[0].Name),
			Files:      im.Files,
			Process: Process{
				User:       d.User,
				Entrypoint: im.Entrypoint,
				Cmd:        im.Cmd,
				Ports:      slices.Sorted(slices.Values(im.Ports)),
				Volumes:    slices.Sorted(slices.Values(im.Volumes)),
				Workdir:    im.Workdir,
			},
		}
		if name == standard {
			built.Tags = append(built.Tags, p.src.Version.OCITag())
		}
		if n := len(built.Tags[0]); n > maxTag {
			return nil, fmt.Errorf("%s: %s: tag %s has %d characters and may have %d; release a shorter version", p.cfg.At(key), key, built.Tags[0], n, maxTag)
		}
		if d.NeedsCertificates {
			built.Certificates = d.Certificates
		}
		if len(built.Process.Entrypoint) == 0 {
			built.Process.Entrypoint = []string{built.Path}
		}
		for _, v := range slices.Sorted(maps.Keys(im.Env)) {
			built.Process.Env = append(built.Process.Env, v+"="+im.Env[v])
		}
		if built.Labels, err = p.labels(key, im, d, base); err != nil {
			return nil, err
		}
		has := func(pl artifact.Platform) bool {
			return base.StandIn || slices.Contains(p.lock.Bases[name].Platforms, pl)
		}
		for _, pl := range d.Platforms {
			if !has(pl) || slices.Contains(im.Exclude, pl) || slices.Contains(im.Exclude, pl.Base()) {
				continue
			}
			for _, b := range binaries {
				if b.Name == binary && b.Platform == pl {
					built.Platforms = append(built.Platforms, ImagePlatform{Platform: pl, Binary: b.Path})
				}
			}
		}
		if len(built.Platforms) == 0 {
			if len(p.o.Targets) > 0 {
				continue // narrowed to targets that no image has
			}
			return nil, fmt.Errorf("%s: %s: %s on %s would have no platform: of what the base has and exclude leaves, %s is built for none; add a target such as linux/amd64 or take %s out of distros",
				p.cfg.At(key), key, im.Repository, name, binary, name)
		}
		out = append(out, built)
	}
	return out, nil
}

// base is the pinned base of a distribution, or the stand-in for it.
func (p planner) base(d images.Distro) (Base, error) {
	want := p.cfg.BaseImage(d)
	if p.o.StandIn {
		return Base{Image: "stand-in/" + d.Name, StandIn: true}, nil
	}
	locked, ok := p.lock.Bases[d.Name]
	if !ok {
		return Base{}, fmt.Errorf("%s: bases.%s is missing: the base of %s is not locked; run the lock command and commit %s",
			p.lock.At("bases"), d.Name, d.Title, config.LockFileName)
	}
	if locked.Image != want {
		return Base{}, fmt.Errorf("%s: bases.%s.image: %s is locked and %s is required; run the lock command and commit %s",
			p.lock.At("bases."+d.Name+".image"), d.Name, locked.Image, want, config.LockFileName)
	}
	return Base{Image: locked.Image, Digest: locked.Digest}, nil
}

// labels are those of the OCI image specification and of the distribution, with the project's own on top
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
func (p planner) labels(key string, im config.Image, d images.Distro, base Base) (map[string]string, error) {
	pr, vendor := p.cfg.Project, p.project().Vendor
	title := cmp.Or(im.Title, pr.Title, pr.Name)
	description := cmp.Or(im.Description, pr.Description, title)
	labels := map[string]string{}
	if d.Labels != nil {
		labels = d.Labels(images.Facts{
			Name: pr.Name, Vendor: vendor, Maintainer: vendor, Version: p.src.Version.String(),
			Release: strconv.FormatInt(p.src.Time.Unix(), 10), Summary: title, Description: description,
		})
	}
	const oci = "org.opencontainers.image."
	for k, v := range map[string]string{
		"created":       p.src.Time.UTC().Format(time.RFC3339),
		"authors":       vendor,
		"vendor":        vendor,
		"url":           cmp.Or(pr.Homepage, pr.Repository),
		"documentation": cmp.Or(pr.Homepage, pr.Repository),
		"source":        pr.Repository,
		"version":       p.src.Version.String(),
		"revision":      p.src.Commit,
		"licenses":      pr.License,
		"title":         title,
		"description":   description,
		"base.name":     base.Image,
		"base.digest":   string(base.Digest),
	} {
		if v != "" {
			labels[oci+k] = v
		}
	}
	if base.StandIn {
		labels["io.github.slipway-build.stand-in"] = "true"
	}
	for _, name := range slices.Sorted(maps.Keys(im.Labels)) {
		at := key + ".labels." + name
		v, err := im.Labels[name].Expand(with(p.values(), "Distro", d.Name))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.cfg.At(at), at, err)
		}
		labels[name] = v
	}
	return labels, nil
}

// owner is the first step of the path of a repository's URL.
func owner(repository string) string {
	_, rest, _ := strings.Cut(repository, "://")
	_, rest, _ = strings.Cut(rest, "/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// chartVersion is the release's or, of a chart that has one of its own, that one with what the release's has behind its three
// numbers: a candidate's chart is one of a candidate, and each snapshot's is another.
func (p planner) chartVersion(c config.Chart) string {
	v := p.src.Version.String()
	if c.Version == "" {
		return v
	}
	numbers, _, _ := strings.Cut(v, "+")
	numbers, _, _ = strings.Cut(numbers, "-")
	return c.Version + strings.TrimPrefix(v, numbers)
}

// chart is a chart. Defaults are what Artifact Hub shows about it; the project's own annotations take precedence.
func (p planner) chart(i int, defaults map[string]string) (Chart, error) {
	c, key := p.cfg.Charts[i], fmt.Sprintf("charts[%d]", i)
	name, v := c.Name(p.cfg.Project.Name), p.chartVersion(c)
	built := Chart{
		Name:        name,
		Dir:         path.Clean(c.Path),
		Path:        fmt.Sprintf("charts/%s-%s.tgz", name, v),
		Version:     v,
		AppVersion:  p.src.Version.String(),
		Repository:  c.Repository,
		Annotations: map[string]string{},
		Defaults:    defaults,
	}
	if c.Repository != "" {
		built.Repository = c.Repository + "/" + name
	}
	for _, a := range slices.Sorted(maps.Keys(c.Annotations)) {
		at := key + ".annotations." + a
		value, err := c.Annotations[a].Expand(p.values())
		if err != nil {
			return Chart{}, fmt.Errorf("%s: %s: %w", p.cfg.At(at), at, err)
		}
		built.Annotations[a] = value
	}
	for _, d := range p.lock.Charts {
		if path.Clean(d.Chart) == built.Dir {
			built.Dependencies = append(built.Dependencies, ChartDependency{Name: d.Name, Version: d.Version, Repository: d.Repository, Digest: d.Digest})
		}
	}
	return built, nil
}

// checkPaths refuses two outputs of one name, or one that some system cannot hold, before anything is built.
func (p planner) checkPaths(out Plan) error {
	var binaries, archives, charts, packages, bills []string
	for _, b := range out.Binaries {
		binaries = append(binaries, b.Path)
	}
	for _, a := range out.Archives {
		archives = append(archives, a.Path)
	}
	for _, c := range out.Charts {
		charts = append(charts, c.Path)
	}
	for _, of := range out.Packages {
		for _, c := range of.Carriers {
			packages = append(packages, c.Path)
		}
		for _, r := range of.Recipes {
			packages = append(packages, r.Path)
		}
	}
	for _, s := range out.SBOMs {
		bills = append(bills, s.Path+".cdx.json")
	}
	for _, of := range []struct {
		key, mend string
		paths     []string
	}{
		{"binaries", "change the name of a binary", binaries},
		{"archives.name", "have {{ .Os }}, {{ .Arch }} and {{ .Variant }} in it, so that each target has its own", archives},
		{"charts", "rename the folder of a chart", charts},
		{"packages", "change the name of a package", packages},
		{"images", "change the repository of an image", bills},
	} {
		for _, name := range of.paths {
			if err := artifact.CheckPath(name); err != nil {
				return fmt.Errorf("%s: %s: %w", p.cfg.At(of.key), of.key, err)
			}
		}
		// Each name is a good one, so it is two of them that are at odds.
		if err := artifact.CheckPaths(of.paths); err != nil {
			return fmt.Errorf("%s: %s: %w; %s", p.cfg.At(of.key), of.key, err, of.mend)
		}
	}
	return nil
}

// Repositories are those of the images and charts.
func (p Plan) Repositories() []string {
	var all []string
	for _, im := range p.Images {
		all = append(all, im.Repository)
	}
	for _, c := range p.Charts {
		if c.Repository != "" {
			all = append(all, c.Repository)
		}
	}
	return all
}

// Encode returns the canonical bytes of the plan: two-space indentation, map keys sorted, one newline at the end.
func (p Plan) Encode() ([]byte, error) {
	return canonjson.Indent(p)
}

// Digest is the digest of the canonical bytes.
func (p Plan) Digest() (artifact.Digest, error) {
	b, err := p.Encode()
	return artifact.Sum(b), err
}

func joinPlatforms(ps []artifact.Platform) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}
