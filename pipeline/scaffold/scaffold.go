// Package scaffold writes what a Go repository needs to be released with Slipway: slipway.yaml, slipway.lock, a nested
// module that is the pipeline, and a workflow that runs it.
//
// What is there decides what is written: main packages, go.mod, the licence, the README, Dockerfiles, charts, what
// packages install and, where it is named, a .goreleaser.yml. What is guessed is written as a guess that the reader can see, and what cannot
// be carried over is listed. Nothing is overwritten, and a run that fails leaves nothing behind.
//
// The pipeline is a module of its own, in the folder ci with a go.mod of its own. The Go command picks one version of
// each dependency for a whole module (https://go.dev/ref/mod#minimal-version-selection), so a pipeline in the
// product's module would raise the versions that the product is built from.
package scaffold

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// modulePath is the module that a pipeline requires.
const modulePath = "github.com/slipway-build/slipway"

// Options say what to write and where.
type Options struct {
	Dir        string // root of the repository to write into
	Version    string // version of Slipway that ci/go.mod requires, such as v1.2.3; "" or "(devel)" where it is not known
	Replace    string // local path of Slipway, for a replace directive in ci/go.mod; "" for none
	GoReleaser string // .goreleaser.yml to start from; "" for none
	Remote     string // URL of the git remote; "" where there is none
	Store      string // URL of the release store that the project is in; "" for none
	GoVersion  string // Go release for a go.mod that names none in full
	// Lock resolves what slipway.lock pins. Where it is nil or fails, the pins that Slipway was released with are used.
	Lock func(context.Context, config.Config) (config.Lock, error)
}

// Written is a file that Init was to write.
type Written struct {
	Path    string // relative to Options.Dir, separated by slashes
	Skipped string // why it was not written; "" where it was
}

// Result is what Init did.
type Result struct {
	Files []Written
	Notes []string // what a person has to look at: the place, what is the matter, and what to do
	Next  []string // commands to run next, in order
}

//go:embed bases.lock
var embeddedLock []byte

// Pins is the lock that Slipway was released with: a Go toolchain and the bases of all distributions.
func Pins() (config.Lock, error) { return config.ParseLock("bases.lock", embeddedLock) }

// Init writes the files into the repository. A repository without a Go module or without a main package is a usage
// error.
func Init(ctx context.Context, o Options) (Result, error) {
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return Result{}, fault.Errorf(fault.Usage, "opening the repository: %w", err)
	}
	defer root.Close()
	if o.Version, err = released(o.Version); err != nil {
		return Result{}, err
	}

	if err := config.CheckStore(o.Store); err != nil {
		return Result{}, fault.New(fault.Usage, err)
	}
	if _, err := root.Stat(rulesFile); err == nil && o.Store != "" {
		return initStore(ctx, root, o)
	}

	found, err := look(ctx, root)
	if err != nil {
		return Result{}, err
	}
	p := proposal{survey: found, notes: found.notes}
	var imported *goreleaser
	if o.GoReleaser != "" {
		if imported, err = readGoReleaser(o.GoReleaser, displayName(o.Dir, o.GoReleaser), found); err != nil {
			return Result{}, err
		}
		p.notes = append(p.notes, imported.notes...)
	} else if found.goreleaser != "" {
		p.note("%s is here: init --from-goreleaser %s starts from it", found.goreleaser, found.goreleaser)
	}
	p.project(o.Remote, imported)
	if err := p.binaries(imported); err != nil {
		return Result{}, err
	}
	p.images(imported)
	p.charts()
	p.packages(imported)
	p.releaseNotes(imported)
	p.signing(imported)
	if found.lfs {
		p.config.Filters = []string{"lfs"}
	}
	if o.Store != "" {
		p.config.Environment = config.Environment{Store: o.Store, Enter: "snapshot"}
	}
	goVersion := p.toolchain(o.GoVersion)
	p.oldGo(goVersion)

	text := encode(p.config)
	parsed, err := config.Parse(config.FileName, text)
	if err != nil {
		return Result{}, fmt.Errorf("checking the %s that was to be written: %w", config.FileName, err)
	}
	if b, err := found.read(config.FileName); err == nil {
		if existing, err := config.Parse(config.FileName, b); err == nil {
			parsed, goVersion = existing, cmp.Or(existing.Go, goVersion)
		} else {
			p.note("%s is there already and is not valid: run the check command", config.FileName)
		}
	}
	lock, fromPins, err := p.lock(ctx, parsed, goVersion, o.Lock)
	if err != nil {
		return Result{}, err
	}
	folder := p.folder(root)
	goMod, err := pipelineModule(p.pipelinePath(folder), o.Version, o.Replace)
	if err != nil {
		return Result{}, err
	}
	set := settings{Folder: folder, TagPrefix: parsed.Project.TagPrefix, Workspace: found.workspace != "", Store: o.Store != "" || parsed.Environment.Store != ""}
	files := []file{
		{config.FileName, text},
		{config.LockFileName, lock.Encode()},
		{folder + "/main.go", []byte(pipelineMain(folder))},
		{folder + "/go.mod", goMod},
		{".github/workflows/" + releaseWorkflow, workflow(releaseWorkflow, set)},
		{".github/workflows/" + reproduceWorkflow, workflow(reproduceWorkflow, set)},
	}
	if o.Store != "" {
		p.note("%s: name %s under components in the %s of %s, with who signs its releases, and run init --store in a clone of that for its workflow; "+
			"the job publish reaches it with the secret STORE_TOKEN", config.FileName, parsed.Project.Name, rulesFile, o.Store)
		if parsed.Environment.Store == "" {
			p.note("%s is there already: add environment: {store: %q, enter: snapshot}", config.FileName, o.Store)
		}
	}
	if found.workspace != "" {
		p.note("%s: the Go command reads this workspace in every folder below it, so the pipeline runs with GOWORK=off. "+
			"Do not add %s to it: a workspace has one version of each dependency, and the pipeline's would win", found.workspace, folder)
	}
	written, err := write(ctx, root, files)
	if err != nil {
		return Result{}, err
	}
	return Result{Files: written, Notes: p.notes, Next: next(o, folder, found.workspace != "", fromPins)}, nil
}

// rulesFile is what the repository of a release store has at its root.
const rulesFile = "environment.yaml"

// initStore writes the workflow of a release store into a clone of it.
func initStore(ctx context.Context, root *os.Root, o Options) (Result, error) {
	written, err := write(ctx, root, []file{{".github/workflows/" + storeWorkflow, workflow(storeWorkflow, settings{Version: cmp.Or(o.Version, "latest")})}})
	if err != nil {
		return Result{}, err
	}
	return Result{Files: written, Notes: []string{
		"protect main and the branches of environments that are entered by pull request, require the check there, and let this workflow push to the others",
	}, Next: []string{"git add .github/workflows", `git commit -m "Follow the store"`, "git push origin HEAD:main"}}, nil
}

// released is the version as the Go command names it; "" for one that nobody can require: of a build from a working
// copy, or of a snapshot.
func released(version string) (string, error) {
	if semver.IsValid("v" + version) {
		version = "v" + version
	}
	switch {
	case version == "" || version == "(devel)" || strings.Contains(semver.Prerelease(version), "snapshot") || semver.Build(version) != "":
		return "", nil
	case module.CanonicalVersion(version) != version || semver.Major(version) != "v0" && semver.Major(version) != "v1":
		return "", fault.Errorf(fault.Usage, "%q is not a version of %s, such as v1.2.3", version, modulePath)
	}
	return version, nil
}

// displayName is the file as a note names it: relative to the repository where it is in it.
func displayName(dir, name string) string {
	absDir, err1 := filepath.Abs(dir)
	absName, err2 := filepath.Abs(name)
	if rel, err := filepath.Rel(absDir, absName); errors.Join(err1, err2, err) == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return filepath.ToSlash(name)
}

// next are the commands that turn what was written into a first build.
func next(o Options, folder string, workspace, lock bool) []string {
	env := ""
	if workspace {
		env = "GOWORK=off "
	}
	run := env + "go run -C " + folder + " . "
	var cmds []string
	if o.Version == "" && o.Replace == "" {
		cmds = append(cmds, fmt.Sprintf("%sgo get -C %s %s@latest", env, folder, modulePath))
	}
	cmds = append(cmds, fmt.Sprintf("%sgo mod tidy -C %s", env, folder))
	if lock {
		cmds = append(cmds, run+"lock")
	}
	return append(cmds,
		fmt.Sprintf("git add %s %s %s .github/workflows", config.FileName, config.LockFileName, folder),
		`git commit -m "Release with Slipway"`,
		run+"check",
		run+"build --standalone --targets host",
	)
}

// proposal is the configuration while it is put together.
type proposal struct {
	survey *survey
	config config.Config
	notes  []string
}

func (p *proposal) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// set gives a field its value where the configuration is valid with it; otherwise it notes why it was left out.
func set[T any](p *proposal, field *T, value T, what string) {
	before := *field
	*field = value
	if err := p.check(); err != nil {
		*field = before
		p.note("%s is left out: %s", what, reason(err))
	}
}

// check is whether the configuration can be read back. It lends a binary to one that has none yet.
func (p *proposal) check() error {
	c := p.config
	c.Version = 1
	c.Project.Name = cmp.Or(c.Project.Name, "name")
	if len(c.Binaries) == 0 {
		c.Binaries = []config.Binary{{Name: "name", Main: "."}}
	}
	_, err := config.Parse(config.FileName, encode(c))
	return err
}

var position = regexp.MustCompile(`^[^:\s]+:\d+:\d+: (?:[a-z]+(?:\[\d+\]|\.)[^:\s]*: )?`)

// reason is the first line of an error of the configuration without its position, which is in a file that nobody has.
func reason(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return position.ReplaceAllString(line, "")
}

// project fills in what is released: what the imported file says comes before what is found.
func (p *proposal) project(remote string, imported *goreleaser) {
	p.config.Version = 1
	if imported == nil {
		imported = &goreleaser{}
	}
	repository := cmp.Or(imported.repository, repositoryURL(remote), repositoryOfModule(p.survey.main().path))
	original := cmp.Or(imported.project, lastElement(repository), lastElement(modulePrefix(p.survey.main().path)))
	name := plainName(original)
	if name == "" {
		name = "project"
		p.note("project.name: no name was found; %q stands in for it", name)
	}
	if imported.project != "" && imported.project != name {
		p.note("project.name: files of the release are named after %s, since a name has to be in lower case and plain; GoReleaser used %s", name, clip(imported.project))
	}
	c := &p.config.Project
	set(p, &c.Name, name, "project.name")
	if c.Name == "" {
		c.Name = "project"
	}
	set(p, &c.Title, imported.title, "project.title")
	if c.Title == "" && original != name {
		set(p, &c.Title, original, "project.title")
	}
	set(p, &c.Description, oneLine(cmp.Or(imported.description, p.survey.description)), "project.description")
	set(p, &c.Repository, repository, "project.repository")
	if h := strings.TrimSuffix(imported.homepage, "/"); h != repository {
		set(p, &c.Homepage, imported.homepage, "project.homepage")
	}
	set(p, &c.License, cmp.Or(imported.license, p.survey.licence), "project.license")
	if imported.vendor != path.Base(path.Dir(c.Repository)) {
		set(p, &c.Vendor, imported.vendor, "project.vendor")
	}
	set(p, &c.TagPrefix, imported.tagPrefix, "project.tagPrefix")
	if c.Repository == "" {
		p.note("project.repository: no repository was found; labels and links need its URL")
	}
	if c.License == "" {
		p.note("project.license: no licence was recognised; set its SPDX expression")
	}
}

// binaries fills in the programs.
func (p *proposal) binaries(imported *goreleaser) error {
	if imported != nil {
		for _, b := range imported.binaries {
			p.addBinary(b)
		}
		set(p, &p.config.Archives, imported.archives, "archives")
	}
	if len(p.config.Binaries) > 0 {
		return nil
	}
	released, notes := p.survey.released()
	p.notes = append(p.notes, notes...)
	for _, m := range released {
		p.addBinary(config.Binary{Name: p.binaryName(m), Main: folderArg(m.dir), Dir: optionalDir(m.module.dir), Vars: m.vars})
	}
	if len(p.config.Binaries) == 0 {
		return fault.Errorf(fault.Usage, "no main package was found: Slipway releases programs; run init at the root of a repository that has one")
	}
	return nil
}

func (p *proposal) addBinary(b config.Binary) {
	set(p, &p.config.Binaries, append(slices.Clone(p.config.Binaries), b), fmt.Sprintf("the main package %s", b.Main))
}

// binaryName is the folder's name, or the module's where the folder has none or one that says nothing.
func (p *proposal) binaryName(m *mainPackage) string {
	name := path.Base(m.dir)
	generic := m.dir == m.module.dir || slices.Contains([]string{"cmd", "main", "src", "app", "bin", "cli"}, name)
	if generic {
		name = lastElement(modulePrefix(m.module.path))
	}
	taken := func(n string) bool {
		return slices.ContainsFunc(p.config.Binaries, func(b config.Binary) bool { return strings.EqualFold(b.Name, n) })
	}
	if taken(name) {
		name = strings.Trim(strings.ReplaceAll(m.dir, "/", "-"), ".-")
	}
	return name
}

// charts fills in the charts, below the registry of the repository's host where it has one.
func (p *proposal) charts() {
	for _, c := range p.survey.charts {
		ch := config.Chart{Path: c.dir}
		if owner := registryOf(p.config.Project.Repository); owner != "" {
			ch.Repository = path.Dir(owner) + "/charts"
		}
		set(p, &p.config.Charts, append(slices.Clone(p.config.Charts), ch), "the chart "+c.dir)
		if c.dependencies > 0 {
			p.note("%s/Chart.yaml: it depends on other charts: the lock command pins them", c.dir)
		}
	}
	if len(p.config.Charts) > 0 && p.config.Charts[0].Repository != "" {
		p.note("charts: %s is a guess from the repository's URL", p.config.Charts[0].Repository)
	}
}

var fullGoVersion = regexp.MustCompile(`^(?:go)?(1\.[0-9]{1,3}\.[0-9]{1,3})$`)

// toolchain is the Go release for the lock: the toolchain line of go.mod, its go line where that is a full release, or
// the fallback, which is then written into the configuration, since nothing else names it.
func (p *proposal) toolchain(fallback string) string {
	m := p.survey.main()
	for _, v := range []string{m.toolchain, m.goVersion} {
		if match := fullGoVersion.FindStringSubmatch(v); match != nil {
			return match[1]
		}
	}
	version := ""
	if match := fullGoVersion.FindStringSubmatch(fallback); match != nil {
		version = match[1]
	} else if pins, err := Pins(); err == nil {
		version = pins.Go.Version
	}
	set(p, &p.config.Go, version, "go")
	return version
}

// youngPorts are the default targets that not every Go release can build (https://go.dev/doc/go1.20#freebsd,
// https://go.dev/doc/go1.23#openbsd).
var youngPorts = []struct {
	platform artifact.Platform
	since    string
}{
	{artifact.Platform{OS: "freebsd", Arch: "riscv64"}, "v1.20.0"},
	{artifact.Platform{OS: "openbsd", Arch: "riscv64"}, "v1.23.0"},
}

// oldGo notes the targets that the Go release does not have.
func (p *proposal) oldGo(version string) {
	for _, b := range p.config.Binaries {
		for _, port := range youngPorts {
			if semver.Compare("v"+version, port.since) < 0 && slices.Contains(b.Platforms(), port.platform) {
				p.note("binaries: Go %s, which go.mod asks for, does not build %s for %s; name a newer release under go:, or the target under exclude",
					version, b.Name, port.platform)
			}
		}
	}
}

// lock resolves the lock or falls back to the pins, of which it takes what the configuration uses.
func (p *proposal) lock(ctx context.Context, c config.Config, goVersion string, resolve func(context.Context, config.Config) (config.Lock, error)) (config.Lock, bool, error) {
	if resolve != nil {
		lock, err := resolve(ctx, c)
		if err == nil {
			return lock, false, nil
		}
		if ctx.Err() != nil {
			return config.Lock{}, false, ctx.Err()
		}
		p.note("%s: resolving the lock: %s. The pins that Slipway was released with are used; the lock command tries again", config.LockFileName, reason(err))
	}
	pins, err := Pins()
	if err != nil {
		return config.Lock{}, false, fmt.Errorf("reading the embedded pins: %w", err)
	}
	lock := config.Lock{Version: 1, Go: pins.Go, Bases: map[string]config.Base{}}
	if goVersion != pins.Go.Version {
		lock.Go = config.Toolchain{Version: goVersion}
		p.note("%s: it has no checksums of Go %s yet: the lock command adds them", config.LockFileName, goVersion)
	}
	for _, im := range c.Images {
		for name, base := range pins.Bases {
			if slices.Contains(im.DistroNames(), name) {
				lock.Bases[name] = base
			}
		}
	}
	return lock, true, nil
}
