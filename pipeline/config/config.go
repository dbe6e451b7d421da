// Package config reads slipway.yaml, what a project wants released, and slipway.lock, what it is made from.
//
// Both are strict: an unknown key, a duplicate key, a wrong type or an impossible value is an error that names the
// file, the line and the column, and the nearest thing that would have been right. All errors of a file are reported
// at once. The structs below are also the source of the JSON schema and of the reference in docs/.
package config

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// The names of the two files at the root of a repository.
const (
	FileName     = "slipway.yaml"
	LockFileName = "slipway.lock"
)

// Config is the content of slipway.yaml.
type Config struct {
	Version      int                `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Project      Project            `yaml:"project" required:"true" doc:"What is released."`
	Go           string             `yaml:"go" doc:"Go release that compiles the project. Default, as the lock command finds it: the toolchain line of go.mod, else the release that is locked or runs, if the go line allows it. The lock pins it by checksum." example:"1.26.8"`
	Binaries     []Binary           `yaml:"binaries" doc:"Programs to compile. Optional: a release may consist of charts alone, for example."`
	Archives     Archives           `yaml:"archives" doc:"Archives that people download: one for each target, with all binaries that are built for it."`
	Images       []Image            `yaml:"images" doc:"Container images."`
	Bases        map[string]string  `yaml:"bases" doc:"Base image of a distribution instead of the usual one, by the name of the distribution. The lock pins it by digest." example:"alpine: docker.io/library/alpine:3.22"`
	Charts       []Chart            `yaml:"charts" doc:"Helm charts."`
	Platform     string             `yaml:"platform" doc:"Definition of the platform whose release this is, with its lock beside it. The release then says which releases of which components it consists of." example:"platform.yaml"`
	Packages     []Package          `yaml:"packages" doc:"Install packages, and what the package managers that fetch the archives read."`
	Download     Template           `yaml:"download" doc:"URL of the folder that people fetch the archives of a release from. Default, for a project on GitHub: its release of the tag." example:"https://downloads.example.com/tool/{{ .Version }}"`
	Notes        Notes              `yaml:"notes" doc:"Where the release notes come from."`
	Hub          Hub                `yaml:"artifactHub" doc:"What Artifact Hub shows about the charts."`
	Signing      Signing            `yaml:"signing" doc:"Who signs a release. Verifying requires what is named here."`
	Trust        []TrustedKey       `yaml:"trust" doc:"Keys whose signatures count besides signing.key, those of earlier releases say, and for how long each key counts."`
	Publish      Publish            `yaml:"publish" doc:"Where a release goes."`
	Destinations map[string]Publish `yaml:"destinations" doc:"Further sets of places that a release may go to, each by its name and with the keys of publish. The publish command goes to one with --to." example:"staging: {registries: {ghcr.io/owner: [registry.example.com/owner]}, folder: /srv/staging, github: {release: none}}"`
	Environment  Environment        `yaml:"environment" doc:"Release store that says which version is in which environment. With it, the publish command leaves the names that move alone, which follow the store, and adds the release to the store."`
	Mirrors      map[string]string  `yaml:"mirrors" doc:"Registry to read bases from instead of another, by the host that it replaces. The digest decides what is accepted." example:"docker.io: mirror.example.com/hub"`
	Test         Test               `yaml:"test" doc:"What the test command runs."`
	Filters      []string           `yaml:"filters" enum:"lfs" doc:"Filters of git that the configuration of a clone may name, since files of the project go through them; lfs is Git LFS, as git lfs install --local writes it. Other programs that a clone names are not run, while those of a person's own configuration are."`

	where yamldoc.Positions
}

// Project names what is released.
type Project struct {
	Name        string   `yaml:"name" required:"true" doc:"Name of the project, in lower case. The names of archives begin with it."`
	Title       string   `yaml:"title" doc:"Name as people write it. Default: name."`
	Description string   `yaml:"description" doc:"One sentence; becomes a label of the images."`
	Repository  string   `yaml:"repository" doc:"URL of the source repository." example:"https://github.com/owner/name"`
	Homepage    string   `yaml:"homepage" doc:"URL of the project's site. Default: repository."`
	License     string   `yaml:"license" doc:"SPDX expression of the licence." example:"Apache-2.0"`
	Vendor      string   `yaml:"vendor" doc:"Who distributes the release. Default: the owner in repository."`
	TagPrefix   string   `yaml:"tagPrefix" doc:"What precedes the version in a git tag, for several projects in one repository." example:"cli/"`
	Licenses    []string `yaml:"licenseFiles" doc:"Files that go into images below /licenses, as patterns relative to the root. Default: LICENSE*, LICENCE*, COPYING*, NOTICE*."`
}

// Binary is a program to compile.
type Binary struct {
	Name    string              `yaml:"name" required:"true" doc:"Name of the program. Programs for Windows get their ending .exe by themselves."`
	Main    string              `yaml:"main" required:"true" doc:"Folder of the main package, relative to the root of the repository." example:"./cmd/tool"`
	Dir     string              `yaml:"dir" doc:"Folder of the Go module that main is in, relative to the root of the repository. Default: the root."`
	Targets []artifact.Platform `yaml:"targets" doc:"Platforms to build for, instead of the default matrix (see Targets)." example:"linux/arm/v7"`
	Add     []artifact.Platform `yaml:"add" doc:"Further platforms to build for."`
	Exclude []artifact.Platform `yaml:"exclude" doc:"Platforms not to build for. Without a variant, all of its variants."`
	Vars    map[string]Template `yaml:"vars" doc:"String variables that the linker sets, by package path and name. A value may have spaces, lines and either kind of quotes, not both." example:"main.version: '{{ .Version }}'"`
	Ldflags []string            `yaml:"ldflags" doc:"Flags of the linker instead of -s -w, out of those that leave a build reproducible: -s, -w, -H=windowsgui, -checklinkname=0, -compressdwarf=false, -compressdwarf=true."`
	Tags    []string            `yaml:"tags" doc:"Build tags."`
	Env     map[string]string   `yaml:"env" doc:"Variables of the compiler: GOEXPERIMENT, GOFIPS140, GODEBUG."`
	Builder string              `yaml:"builder" doc:"Image with a C toolchain, by digest, for a program that needs cgo. Only the Dagger engine runs it." example:"docker.io/library/golang:1.26-bookworm@sha256:<digest>"`
}

// Archives says what the archives are called and carry.
type Archives struct {
	Name   Template `yaml:"name" doc:"Name without the ending, which is .tar.gz, and .zip for Windows. Default: {{ .Project }}_{{ .Version }}_{{ .Os }}_{{ .Arch }}{{ .Variant }}."`
	Folder Template `yaml:"folder" doc:"Folder in the archive that holds everything. Default: none." example:"{{ .Project }}-{{ .Version }}"`
	Files  []string `yaml:"files" doc:"Files besides the binaries, as patterns relative to the root. A pattern without a wildcard must match a file. Default: LICENSE*, LICENCE*, COPYING*, NOTICE*, README*, CHANGELOG*."`
}

// Image is a container image, built on several distributions.
type Image struct {
	Repository  string              `yaml:"repository" required:"true" doc:"Where the image is pushed to, without a tag." example:"ghcr.io/owner/name"`
	Binary      string              `yaml:"binary" doc:"Binary that the image runs. Default: the first."`
	Distros     []string            `yaml:"distros" enum:"alpine,ubuntu,distroless,ubi" doc:"Distributions to build on. Default: all."`
	Default     string              `yaml:"default" enum:"alpine,ubuntu,distroless,ubi" doc:"Distribution that is tagged with the bare version. Default: the first of distros."`
	Exclude     []artifact.Platform `yaml:"exclude" doc:"Platforms to leave out. Without a variant, all of its variants."`
	Title       string              `yaml:"title" doc:"Name as people write it. Default: the project's."`
	Description string              `yaml:"description" doc:"One sentence. Default: the project's."`
	Path        string              `yaml:"path" doc:"Where the binary is put. Default: /usr/local/bin/<binary>."`
	Entrypoint  []string            `yaml:"entrypoint" doc:"Command of the image. Default: the binary."`
	Cmd         []string            `yaml:"cmd" doc:"Default arguments."`
	Env         map[string]string   `yaml:"env" doc:"Environment of the process. Never put a secret here: everybody can read it."`
	Ports       []string            `yaml:"ports" doc:"Ports that the process listens on." example:"8080/tcp"`
	Volumes     []string            `yaml:"volumes" doc:"Folders that are meant to be mounted."`
	Workdir     string              `yaml:"workdir" doc:"Working folder of the process. Default: /."`
	Files       map[string]string   `yaml:"files" doc:"Files of the repository to add, by absolute path in the image." example:"/etc/tool/config.yaml: config.sample.yaml"`
	Labels      map[string]Template `yaml:"labels" doc:"Further labels and annotations."`
}

// DistroNames are the distributions that the image is built on.
func (im Image) DistroNames() []string {
	if len(im.Distros) == 0 {
		return images.Names()
	}
	return im.Distros
}

// BaseImage is the image and tag that the base of a distribution is locked from.
func (c Config) BaseImage(d images.Distro) string { return cmp.Or(c.Bases[d.Name], d.Base) }

// BinaryPath is where the binary is put in the image; first is the name of the project's first binary.
func (im Image) BinaryPath(first string) string {
	return cmp.Or(im.Path, "/usr/local/bin/"+cmp.Or(im.Binary, first))
}

// Chart is a Helm chart to package.
type Chart struct {
	Path        string              `yaml:"path" required:"true" doc:"Folder of the chart, relative to the root."`
	Version     string              `yaml:"version" doc:"Version of the chart, where it has one of its own: it changes with each release that is to be published. What a prerelease or a snapshot of the project has behind its version comes behind this one too. Default: that of the release, which appVersion always is." example:"1.4.0"`
	Repository  string              `yaml:"repository" doc:"OCI repository that the chart is pushed below, under its own name." example:"ghcr.io/owner/charts"`
	Annotations map[string]Template `yaml:"annotations" doc:"Annotations to set in Chart.yaml."`
}

// Name is the name of the chart, which is that of its folder; of the project where the chart is at the root.
func (c Chart) Name(project string) string {
	if dir := path.Clean(c.Path); dir != "." {
		return path.Base(dir)
	}
	return project
}

// Test says what the test command runs.
type Test struct {
	Packages []string `yaml:"packages" doc:"Package patterns. Default: ./..."`
	Flags    []string `yaml:"flags" doc:"Further flags of go test." example:"-short"`
	Builder  string   `yaml:"builder" doc:"Image to run the tests in, by digest, where they need more than Go. Only the Dagger engine uses it." example:"docker.io/library/golang:1.26-bookworm@sha256:<digest>"`
}

// DefaultTargets is the matrix that a binary is built for unless it says otherwise.
func DefaultTargets() []artifact.Platform {
	var all []artifact.Platform
	for _, s := range []string{
		"darwin/amd64", "darwin/arm64",
		"freebsd/386", "freebsd/amd64", "freebsd/arm64", "freebsd/riscv64",
		"linux/386", "linux/amd64", "linux/arm64", "linux/ppc64le", "linux/riscv64", "linux/s390x",
		"openbsd/386", "openbsd/amd64", "openbsd/arm64", "openbsd/riscv64",
		"windows/386", "windows/amd64",
	} {
		system, arch, _ := strings.Cut(s, "/")
		all = append(all, artifact.Platform{OS: system, Arch: arch})
	}
	return all
}

// linkerFlags are the flags that may be given to the linker besides -X. Those that name a program, a file or a host
// tool are left out on purpose: they make the binary depend on the machine.
var linkerFlags = []string{"-s", "-w", "-H=windowsgui", "-checklinkname=0", "-compressdwarf=false", "-compressdwarf=true"}

// linkedFolders are those at the root that distributions with a merged /usr have as links
// (https://systemd.io/THE_CASE_FOR_THE_USR_MERGE).
var linkedFolders = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

// buildEnv are the variables that change what the compiler writes and that a project may set. The platform's and the
// pipeline's own are not among them.
var buildEnv = []string{"GOEXPERIMENT", "GOFIPS140", "GODEBUG"}

var (
	projectName   = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)
	programName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	aloneV        = regexp.MustCompile(`(?:^|[^A-Za-z0-9])v$`)
	linkerVar     = regexp.MustCompile(`^[A-Za-z0-9_./~+-]+\.[A-Za-z_][A-Za-z0-9_]*$`)
	buildTag      = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
	goRelease     = regexp.MustCompile(`^1\.[0-9]{1,3}(?:\.[0-9]{1,3}|rc[0-9]{1,2})$`)
	repositoryRef = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+$`)
	registryHost  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?$`)
	registryRef   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)*$`)
	baseRef       = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	pinnedRef     = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)
	chartVersion  = regexp.MustCompile(`^(?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})$`)
	portNumber    = regexp.MustCompile(`^[0-9]{1,5}(?:/(?:tcp|udp))?$`)
	wildcards     = regexp.MustCompile(`[*?]|\[[^\]]*\]`)
	httpURL       = regexp.MustCompile(`^https?://[^\s/]+(?:/\S*)?$`)
)

// Parse reads slipway.yaml; name stands in front of every error. What is wrong is returned at once, joined, in the order
// of the file.
func Parse(name string, b []byte) (Config, error) {
	var c Config
	var err error
	if c.where, err = yamldoc.Decode(name, b, &c); err != nil {
		return Config{}, err
	}
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// At is the position of a key, as file:line:column; of its nearest parent where the file has no such key. A key is
// written as binaries[0].main.
func (c Config) At(key string) string { return c.where.At(key) }

// validate reports what is well-formed but cannot be meant.
func (c Config) validate() error {
	v := validator{yamldoc.NewProblems(c.where)}
	v.project(c.Project)
	v.match("go", c.Go, goRelease, "a Go release such as 1.26.8")
	v.binaries(c.Binaries)
	v.template("archives.name", c.Archives.Name, "Os", "Arch", "Variant")
	v.template("archives.folder", c.Archives.Folder, "Os", "Arch", "Variant")
	for i, f := range c.Archives.Files {
		v.pattern(fmt.Sprintf("archives.files[%d]", i), f)
	}
	v.images(c.Images, c.binaryNames())
	for _, d := range sortedKeys(c.Bases) {
		if _, ok := images.ByName(d); !ok {
			v.At("bases."+d, "there is no distribution %q%s", d, yamldoc.DidYouMean(d, images.Names()))
		}
		v.match("bases."+d, c.Bases[d], baseRef, "an image with its registry and tag, such as docker.io/library/alpine:3.22")
	}
	for _, host := range sortedKeys(c.Mirrors) {
		if host == "index.docker.io" {
			v.At("mirrors."+host, "write docker.io")
		}
		v.match("mirrors."+host, host, registryHost, "the host of a registry")
		v.match("mirrors."+host, c.Mirrors[host], registryRef, "a registry, optionally with a path")
	}
	v.charts(c.Charts, c.Project.Name)
	v.packages(c)
	v.download(c)
	v.notes(c.Notes)
	v.hub(c.Hub)
	v.local("platform", c.Platform)
	v.signing(c.Signing)
	v.trust(c.Trust)
	v.publish("publish", c.Publish)
	for _, set := range sortedKeys(c.Destinations) {
		v.set(set, c.Destinations[set], c.Project)
	}
	v.environment(c.Environment)
	v.test(c.Test)
	return v.Err()
}

// validator collects what cannot be meant.
type validator struct{ *yamldoc.Problems }

func join(key, name string) string { return strings.TrimPrefix(key+"."+name, ".") }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (v *validator) match(key, value string, re *regexp.Regexp, want string) {
	if value != "" && !re.MatchString(value) {
		v.At(key, "%.60q is not %s", value, want)
	}
}

// local checks a path in the repository.
func (v *validator) local(key, value string) {
	if err := checkLocal(value); err != nil {
		v.At(key, "%w", err)
	}
}

// checkLocal says why a path may not name something in the repository. The root itself may be named.
func checkLocal(value string) error {
	if p := path.Clean(value); value != "" && p != "." {
		return artifact.CheckPath(p)
	}
	return nil
}

// pattern checks a pattern of paths in the repository.
func (v *validator) pattern(key, value string) {
	switch _, err := path.Match(value, ""); {
	case value == "":
		v.At(key, "the pattern is empty")
	case err != nil:
		v.At(key, "%.60q: %w", value, err)
	case strings.Contains(value, "**"):
		v.At(key, "%.60q: ** is not supported; a * stops at the next /", value)
	default:
		v.local(key, wildcards.ReplaceAllString(value, "x"))
	}
}

// absolute checks a path in an image.
func (v *validator) absolute(key, value string) {
	if value != "" && (!path.IsAbs(value) || value == "/" || artifact.CheckPath(value[1:]) != nil) {
		v.At(key, "%.60q is not a clean absolute path in the image", value)
	}
}

// unlinked refuses a file that would take the place of a link that the base has.
func (v *validator) unlinked(key, value string) {
	if top, _, _ := strings.Cut(strings.TrimPrefix(value, "/"), "/"); slices.Contains(linkedFolders, top) {
		v.At(key, "/%s is a link in some distributions, and a file below it would take the link's place; use /usr/%s or /usr/local/%[1]s", top, top)
	}
}

// template refuses values that the place of the template does not have.
func (v *validator) template(key string, t Template, local ...string) {
	for _, name := range t.names() {
		if slices.Contains(localValues, name) && !slices.Contains(local, name) {
			v.At(key, "template %.60q: there is no value .%s here", string(t), name)
			return
		}
	}
}

func (v *validator) project(p Project) {
	v.match("project.name", p.Name, projectName, "lower-case letters and digits with single . _ or - between")
	if err := artifact.CheckPath(p.Name); err != nil && projectName.MatchString(p.Name) {
		v.At("project.name", "%w", err)
	}
	v.match("project.repository", p.Repository, httpURL, "an http or https URL")
	v.match("project.homepage", p.Homepage, httpURL, "an http or https URL")
	// Its tags would be those of the project whose prefix ends before the v, too.
	if aloneV.MatchString(p.TagPrefix) {
		v.At("project.tagPrefix", "%.60q: leave the v to the tags, which may have it or not; write %q", p.TagPrefix, strings.TrimSuffix(p.TagPrefix, "v"))
	}
	for i, f := range p.Licenses {
		v.pattern(fmt.Sprintf("project.licenseFiles[%d]", i), f)
	}
}

func (v *validator) binaries(all []Binary) {
	names := map[string]int{}
	for i, b := range all {
		key := fmt.Sprintf("binaries[%d]", i)
		if !programName.MatchString(b.Name) || artifact.CheckPath(b.Name) != nil {
			v.At(key+".name", "%.60q is not the name of a program: letters, digits and . _ + -", b.Name)
		} else if strings.EqualFold(path.Ext(b.Name), ".exe") {
			v.At(key+".name", "%q: remove the ending; programs for Windows get it by themselves", b.Name)
		}
		if j, ok := names[strings.ToLower(b.Name)]; ok {
			v.At(key+".name", "%q is the name of binaries[%d] too (letter case does not count)", b.Name, j)
		}
		names[strings.ToLower(b.Name)] = i
		v.local(key+".main", b.Main)
		v.local(key+".dir", b.Dir)
		for _, name := range sortedKeys(b.Vars) {
			at := key + ".vars." + name
			v.match(at, name, linkerVar, "a package path and a variable such as main.version")
			v.template(at, b.Vars[name], "Os", "Arch", "Variant", "Binary")
		}
		for j, f := range b.Ldflags {
			at := fmt.Sprintf("%s.ldflags[%d]", key, j)
			if strings.HasPrefix(strings.TrimSpace(f), "-X") {
				v.At(at, "%.60q: set string variables under vars", f)
			} else if !slices.Contains(linkerFlags, f) {
				v.At(at, "%.60q is not one of the linker flags that keep a build reproducible: %s", f, strings.Join(linkerFlags, " "))
			}
		}
		for j, tag := range b.Tags {
			if !buildTag.MatchString(tag) {
				v.At(fmt.Sprintf("%s.tags[%d]", key, j), "%.60q is not one build tag", tag)
			}
		}
		for _, name := range sortedKeys(b.Env) {
			if !slices.Contains(buildEnv, name) {
				v.At(key+".env."+name, "%s may not be set; these may: %s", name, strings.Join(buildEnv, " "))
			}
		}
		v.match(key+".builder", b.Builder, pinnedRef, "an image with @sha256:<digest>")
		if len(b.Platforms()) == 0 {
			v.At(key, "every target of %.60s is excluded", b.Name)
		}
	}
}

func (v *validator) images(all []Image, binaries []string) {
	repositories := map[string]int{}
	for i, im := range all {
		key, before := fmt.Sprintf("images[%d]", i), v.Len()
		v.match(key+".repository", im.Repository, repositoryRef, "a registry and a path in lower case without a tag")
		if j, ok := repositories[im.Repository]; ok {
			v.At(key+".repository", "%.60q is the repository of images[%d] too", im.Repository, j)
		}
		repositories[im.Repository] = i
		if len(binaries) == 0 {
			v.At(key, "an image runs a binary, and there is none; add one under binaries")
			continue
		}
		if im.Binary != "" && !slices.Contains(binaries, im.Binary) {
			v.At(key+".binary", "there is no binary %.60q%s", im.Binary, yamldoc.DidYouMean(im.Binary, binaries))
		}
		if im.Default != "" && len(im.Distros) > 0 && !slices.Contains(im.Distros, im.Default) {
			v.At(key+".default", "%q is not among the distros of this image: %s", im.Default, strings.Join(im.Distros, " "))
		}
		for j, d := range im.Distros {
			if slices.Contains(im.Distros[:j], d) {
				v.At(fmt.Sprintf("%s.distros[%d]", key, j), "%q is named twice", d)
			}
		}
		for j, p := range im.Ports {
			number, _, _ := strings.Cut(p, "/")
			if n, err := strconv.Atoi(number); !portNumber.MatchString(p) || err != nil || n < 1 || n > 65535 {
				v.At(fmt.Sprintf("%s.ports[%d]", key, j), "%.60q is not a port such as 8080 or 53/udp", p)
			}
		}
		v.absolute(key+".path", im.Path)
		v.unlinked(key+".path", im.Path)
		if im.Workdir != "/" {
			v.absolute(key+".workdir", im.Workdir)
		}
		for j, p := range im.Volumes {
			v.absolute(fmt.Sprintf("%s.volumes[%d]", key, j), p)
		}
		paths := []string{strings.TrimPrefix(im.BinaryPath(binaries[0]), "/")}
		for _, to := range sortedKeys(im.Files) {
			at := key + ".files." + to
			v.absolute(at, to)
			v.unlinked(at, to)
			v.local(at, im.Files[to])
			paths = append(paths, strings.TrimPrefix(to, "/"))
		}
		// Each path alone is fine, or reported already.
		if err := artifact.CheckPaths(paths); err != nil && v.Len() == before {
			v.At(key+".files", "%w", err)
		}
		for _, name := range sortedKeys(im.Env) {
			if name == "" || strings.ContainsAny(name, "= \t\n") {
				v.At(key+".env."+name, "%q is not the name of a variable", name)
			}
		}
		for _, name := range sortedKeys(im.Labels) {
			at := key + ".labels." + name
			if name == "" {
				v.At(at, "a label has a name")
			}
			v.template(at, im.Labels[name], "Distro")
		}
	}
}

func (v *validator) charts(all []Chart, project string) {
	names := map[string]int{}
	for i, ch := range all {
		key := fmt.Sprintf("charts[%d]", i)
		v.local(key+".path", ch.Path)
		v.match(key+".repository", ch.Repository, repositoryRef, "a registry and a path in lower case without a tag")
		v.match(key+".version", ch.Version, chartVersion, "a version such as 1.4.0, of three numbers")
		name := ch.Name(project)
		if j, ok := names[strings.ToLower(name)]; ok {
			v.At(key+".path", "%.60q is the name of charts[%d] too, and its file would be", name, j)
		}
		names[strings.ToLower(name)] = i
		for _, a := range sortedKeys(ch.Annotations) {
			v.template(key+".annotations."+a, ch.Annotations[a])
		}
	}
}

func (v *validator) test(t Test) {
	v.match("test.builder", t.Builder, pinnedRef, "an image with @sha256:<digest>")
	for i, p := range t.Packages {
		if p == "" || strings.HasPrefix(p, "-") {
			v.At(fmt.Sprintf("test.packages[%d]", i), "%.60q is a flag, not a package", p)
		}
	}
	for i, f := range t.Flags {
		name := strings.TrimLeft(f, "-")
		switch {
		case !strings.HasPrefix(f, "-"):
			v.At(fmt.Sprintf("test.flags[%d]", i), "%.60q is not a flag; write a flag and its value as one, such as -run=TestName", f)
		case strings.HasPrefix(name, "exec") || strings.HasPrefix(name, "toolexec"):
			v.At(fmt.Sprintf("test.flags[%d]", i), "%.60q would run another program", f)
		}
	}
}

// NeedsGo reports whether the lock has a Go release: for programs, or because one is named, for tests.
func (c Config) NeedsGo() bool { return len(c.Binaries) > 0 || c.Go != "" }

func (c Config) binaryNames() []string {
	var names []string
	for _, b := range c.Binaries {
		names = append(names, b.Name)
	}
	return names
}

// Platforms are the targets of the binary, sorted, each once: the named ones or the default matrix, with those added
// and without those excluded.
func (b Binary) Platforms() []artifact.Platform {
	all := b.Targets
	if len(all) == 0 {
		all = DefaultTargets()
	}
	all = append(slices.Clone(all), b.Add...)
	all = slices.DeleteFunc(all, func(p artifact.Platform) bool {
		return slices.ContainsFunc(b.Exclude, func(x artifact.Platform) bool { return x == p || x == p.Base() })
	})
	slices.SortFunc(all, artifact.Platform.Compare)
	return slices.Compact(all)
}
