// Package config reads slipway.yaml, what a project wants released, and slipway.lock, what it is made from.
//
// Both are strict: an unknown key, a duplicate key, a wrong type or an impossible value is an error that names the
// file, the line and the column, and the nearest thing that would have been right. All errors of a file are reported
// at once. The structs below are also the source of the JSON schema and of the reference in docs/.
package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/artifact"
)

// The names of the two files at the root of a repository.
const (
	FileName     = "slipway.yaml"
	LockFileName = "slipway.lock"
)

// Config is the content of slipway.yaml.
type Config struct {
	Version  int               `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Project  Project           `yaml:"project" required:"true" doc:"What is released."`
	Go       string            `yaml:"go" doc:"Go release that compiles the project, pinned by checksum in slipway.lock. Default: the toolchain line of go.mod, else its go line." example:"1.26.8"`
	Binaries []Binary          `yaml:"binaries" required:"true" doc:"Programs to compile."`
	Archives Archives          `yaml:"archives" doc:"Archives that people download: one for each target, with all binaries that have it."`
	Images   []Image           `yaml:"images" doc:"Container images."`
	Bases    map[string]string `yaml:"bases" doc:"Base image of a distribution instead of the usual one, by the name of the distribution. The lock pins it by digest." example:"alpine: docker.io/library/alpine:3.22"`
	Charts   []Chart           `yaml:"charts" doc:"Helm charts."`
	Mirrors  map[string]string `yaml:"mirrors" doc:"Registry to read bases from instead of another, by the host it stands in for. The digest decides what is accepted." example:"docker.io: mirror.example.com/hub"`
	Test     Test              `yaml:"test" doc:"What the test command runs."`

	where positions
}

// Project names what is released.
type Project struct {
	Name        string   `yaml:"name" required:"true" doc:"Name of the project: lower case, used in file names."`
	Title       string   `yaml:"title" doc:"Name as people write it. Default: name."`
	Description string   `yaml:"description" doc:"One sentence; becomes a label of the images."`
	Repository  string   `yaml:"repository" doc:"URL of the source repository." example:"https://github.com/owner/name"`
	Homepage    string   `yaml:"homepage" doc:"URL of the project's site. Default: repository."`
	License     string   `yaml:"license" doc:"SPDX expression of the licence." example:"Apache-2.0"`
	Vendor      string   `yaml:"vendor" doc:"Who distributes the release. Default: the owner in repository."`
	TagPrefix   string   `yaml:"tagPrefix" doc:"What precedes the version in a git tag, for several projects in one repository." example:"cli/"`
	Licenses    []string `yaml:"licenseFiles" doc:"Files that go into archives and images as licences. Default: LICENSE*, LICENCE*, COPYING*, NOTICE* at the root."`
}

// Binary is a program to compile.
type Binary struct {
	Name    string              `yaml:"name" required:"true" doc:"Name of the program, without an ending."`
	Main    string              `yaml:"main" required:"true" doc:"Folder of the main package, relative to the root." example:"./cmd/tool"`
	Dir     string              `yaml:"dir" doc:"Folder of the Go module, relative to the root. Default: the root."`
	Targets []artifact.Platform `yaml:"targets" doc:"Platforms to build for, instead of the default matrix." example:"linux/arm/v7"`
	Add     []artifact.Platform `yaml:"add" doc:"Platforms to build for besides."`
	Exclude []artifact.Platform `yaml:"exclude" doc:"Platforms not to build for. Without a variant, all of its variants."`
	Vars    map[string]Template `yaml:"vars" doc:"String variables that the linker sets, by package path and name." example:"main.version: '{{ .Version }}'"`
	Ldflags []string            `yaml:"ldflags" doc:"Further flags of the linker. Default: -s -w."`
	Tags    []string            `yaml:"tags" doc:"Build tags."`
	Env     map[string]string   `yaml:"env" doc:"Variables that choose code generation, such as GOEXPERIMENT."`
	Builder string              `yaml:"builder" doc:"Image with a C toolchain, by digest, for a program that needs cgo. Only the Dagger engine runs it." example:"docker.io/library/golang:1.26-bookworm@sha256:<digest>"`
}

// Archives says what the archives are called and carry.
type Archives struct {
	Name   Template `yaml:"name" doc:"Name without the ending. Default: {{ .Project }}_{{ .Version }}_{{ .Os }}_{{ .Arch }}{{ .Variant }}."`
	Folder Template `yaml:"folder" doc:"Folder inside that everything is in. Default: none." example:"{{ .Project }}-{{ .Version }}"`
	Files  []string `yaml:"files" doc:"Files besides the binaries, as patterns relative to the root. Default: licences, README*, CHANGELOG*."`
}

// Image is a container image, built on several distributions.
type Image struct {
	Repository  string              `yaml:"repository" required:"true" doc:"Where the image is pushed to, without a tag." example:"ghcr.io/owner/name"`
	Binary      string              `yaml:"binary" doc:"Binary that the image runs. Default: the first."`
	Distros     []string            `yaml:"distros" enum:"alpine,ubuntu,distroless,ubi" doc:"Distributions. Default: all."`
	Default     string              `yaml:"default" enum:"alpine,ubuntu,distroless,ubi" doc:"Distribution that is tagged with the bare version. Default: the first of distros."`
	Exclude     []artifact.Platform `yaml:"exclude" doc:"Platforms to leave out."`
	Title       string              `yaml:"title" doc:"Name as people write it. Default: the project's."`
	Description string              `yaml:"description" doc:"One sentence. Default: the project's."`
	Path        string              `yaml:"path" doc:"Where the binary is put. Default: /usr/local/bin/<binary>."`
	Entrypoint  []string            `yaml:"entrypoint" doc:"Command of the image. Default: the binary."`
	Cmd         []string            `yaml:"cmd" doc:"Default arguments."`
	Env         map[string]string   `yaml:"env" doc:"Environment of the process. Never a secret: everybody can read it."`
	Ports       []string            `yaml:"ports" doc:"Ports that the process listens on." example:"8080/tcp"`
	Volumes     []string            `yaml:"volumes" doc:"Folders that are meant to be mounted."`
	Workdir     string              `yaml:"workdir" doc:"Working folder of the process. Default: /."`
	Files       map[string]string   `yaml:"files" doc:"Files of the repository to add, by absolute path in the image." example:"/etc/tool/config.yaml: config.sample.yaml"`
	Labels      map[string]Template `yaml:"labels" doc:"Further labels and annotations."`
}

// Chart is a Helm chart to package.
type Chart struct {
	Path        string              `yaml:"path" required:"true" doc:"Folder of the chart, relative to the root."`
	Repository  string              `yaml:"repository" doc:"OCI repository that the chart is pushed below." example:"ghcr.io/owner/charts"`
	Annotations map[string]Template `yaml:"annotations" doc:"Annotations to set in Chart.yaml."`
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

// buildEnv are the variables that change what the compiler writes and that a project may set. The platform's and the
// pipeline's own are not among them.
var buildEnv = []string{"GOEXPERIMENT", "GOFIPS140", "GODEBUG"}

var (
	projectName   = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)
	linkerVar     = regexp.MustCompile(`^[A-Za-z0-9_./~-]+\.[A-Za-z_][A-Za-z0-9_]*$`)
	buildTag      = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
	goRelease     = regexp.MustCompile(`^1\.[0-9]{1,3}(?:\.[0-9]{1,3}|rc[0-9]{1,2})$`)
	repositoryRef = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+$`)
	registryRef   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)*$`)
	baseRef       = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	pinnedRef     = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)
	portNumber    = regexp.MustCompile(`^[0-9]{1,5}(?:/(?:tcp|udp))?$`)
	httpURL       = regexp.MustCompile(`^https?://[^\s/]+(?:/\S*)?$`)
)

// Parse reads slipway.yaml; name stands in front of every error. All errors are returned at once, joined.
func Parse(name string, b []byte) (Config, error) {
	var c Config
	d := decoder{file: name}
	if err := d.parse(b, &c); err != nil {
		return Config{}, err
	}
	c.where = d.where
	return c, errors.Join(c.validate()...)
}

// At is the position of a key, as file:line:column; of its nearest parent where the file has no such key. A key is
// written as binaries[0].main.
func (c Config) At(key string) string { return c.where.at(key) }

// validate reports what is well-formed but cannot be meant.
func (c Config) validate() []error {
	var errs []error
	report := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s: %w", c.At(key), key, fmt.Errorf(format, args...)))
	}
	match := func(key, value string, re *regexp.Regexp, want string) {
		if value != "" && !re.MatchString(value) {
			report(key, "%q is not %s", value, want)
		}
	}
	local := func(key, value string) {
		if p := path.Clean(strings.TrimPrefix(value, "./")); value != "" && p != "." {
			if err := artifact.CheckPath(p); err != nil {
				report(key, "%w", err)
			}
		}
	}
	match("project.name", c.Project.Name, projectName, "lower-case letters and digits with single . _ or - between")
	if artifact.CheckPath(c.Project.Name) != nil && projectName.MatchString(c.Project.Name) {
		report("project.name", "%w", artifact.CheckPath(c.Project.Name))
	}
	match("project.repository", c.Project.Repository, httpURL, "an http or https URL")
	match("project.homepage", c.Project.Homepage, httpURL, "an http or https URL")
	match("go", c.Go, goRelease, "a Go release such as 1.26.8")
	for i, f := range c.Project.Licenses {
		local(fmt.Sprintf("project.licenseFiles[%d]", i), f)
	}

	if len(c.Binaries) == 0 {
		report("binaries", "no binary: name at least one main package")
	}
	names := map[string]int{}
	for i, b := range c.Binaries {
		key := fmt.Sprintf("binaries[%d]", i)
		if err := artifact.CheckPath(b.Name); err != nil || strings.Contains(b.Name, "/") {
			report(key+".name", "%q is not a file name", b.Name)
		}
		if j, ok := names[strings.ToLower(b.Name)]; ok {
			report(key+".name", "%q is the name of binaries[%d] too (letter case does not count)", b.Name, j)
		}
		names[strings.ToLower(b.Name)] = i
		local(key+".main", b.Main)
		local(key+".dir", b.Dir)
		for _, v := range sortedKeys(b.Vars) {
			match(key+".vars."+v, v, linkerVar, "a package path and a variable such as main.version")
		}
		for j, f := range b.Ldflags {
			at := fmt.Sprintf("%s.ldflags[%d]", key, j)
			if strings.HasPrefix(strings.TrimSpace(f), "-X") {
				report(at, "%q: set string variables under vars", f)
			} else if !slices.Contains(linkerFlags, f) {
				report(at, "%q is not one of the linker flags that keep a build reproducible: %s", f, strings.Join(linkerFlags, " "))
			}
		}
		for j, tag := range b.Tags {
			match(fmt.Sprintf("%s.tags[%d]", key, j), tag, buildTag, "one build tag")
		}
		for _, v := range sortedKeys(b.Env) {
			if !slices.Contains(buildEnv, v) {
				report(key+".env."+v, "%s may not be set; these may: %s", v, strings.Join(buildEnv, " "))
			}
		}
		match(key+".builder", b.Builder, pinnedRef, "an image with @sha256:<digest>")
		if len(b.Platforms()) == 0 {
			report(key, "every target of %s is excluded", b.Name)
		}
	}

	for i, f := range c.Archives.Files {
		local(fmt.Sprintf("archives.files[%d]", i), f)
	}
	repositories := map[string]int{}
	for i, im := range c.Images {
		key := fmt.Sprintf("images[%d]", i)
		match(key+".repository", im.Repository, repositoryRef, "a registry and a path in lower case without a tag")
		if j, ok := repositories[im.Repository]; ok {
			report(key+".repository", "%q is the repository of images[%d] too", im.Repository, j)
		}
		repositories[im.Repository] = i
		if _, ok := names[strings.ToLower(im.Binary)]; im.Binary != "" && !ok {
			report(key+".binary", "there is no binary %q%s", im.Binary, didYouMean(im.Binary, c.binaryNames()))
		}
		if im.Default != "" && len(im.Distros) > 0 && !slices.Contains(im.Distros, im.Default) {
			report(key+".default", "%q is not among the distros of this image: %s", im.Default, strings.Join(im.Distros, " "))
		}
		for j, d := range im.Distros {
			if slices.Contains(im.Distros[:j], d) {
				report(fmt.Sprintf("%s.distros[%d]", key, j), "%q is named twice", d)
			}
		}
		for j, p := range im.Ports {
			match(fmt.Sprintf("%s.ports[%d]", key, j), p, portNumber, "a port such as 8080 or 53/udp")
		}
		absolute := func(at, p string) {
			if p != "" && (!path.IsAbs(p) || p == "/" || artifact.CheckPath(p[1:]) != nil) {
				report(at, "%q is not a clean absolute path in the image", p)
			}
		}
		absolute(key+".path", im.Path)
		if im.Workdir != "/" {
			absolute(key+".workdir", im.Workdir)
		}
		for j, v := range im.Volumes {
			absolute(fmt.Sprintf("%s.volumes[%d]", key, j), v)
		}
		for _, to := range sortedKeys(im.Files) {
			absolute(key+".files."+to, to)
			local(key+".files."+to, im.Files[to])
		}
		for _, v := range sortedKeys(im.Env) {
			if v == "" || strings.ContainsAny(v, "=\x00") {
				report(key+".env."+v, "%q is not the name of a variable", v)
			}
		}
	}
	for _, d := range sortedKeys(c.Bases) {
		if _, ok := images.ByName(d); !ok {
			report("bases."+d, "there is no distribution %q%s", d, didYouMean(d, images.Names()))
		}
		match("bases."+d, c.Bases[d], baseRef, "an image with its registry and tag, such as docker.io/library/alpine:3.22")
	}
	for _, m := range sortedKeys(c.Mirrors) {
		match("mirrors."+m, m, registryRef, "the host of a registry")
		match("mirrors."+m, c.Mirrors[m], registryRef, "a registry, optionally with a path")
	}
	charts := map[string]int{}
	for i, ch := range c.Charts {
		key := fmt.Sprintf("charts[%d]", i)
		local(key+".path", ch.Path)
		match(key+".repository", ch.Repository, repositoryRef, "a registry and a path in lower case without a tag")
		if j, ok := charts[path.Clean(ch.Path)]; ok {
			report(key+".path", "%q is the path of charts[%d] too", ch.Path, j)
		}
		charts[path.Clean(ch.Path)] = i
	}
	match("test.builder", c.Test.Builder, pinnedRef, "an image with @sha256:<digest>")
	for i, p := range c.Test.Packages {
		if strings.HasPrefix(p, "-") {
			report(fmt.Sprintf("test.packages[%d]", i), "%q is a flag, not a package", p)
		}
	}
	for i, f := range c.Test.Flags {
		if !strings.HasPrefix(f, "-") || strings.HasPrefix(strings.TrimLeft(f, "-"), "exec") || strings.HasPrefix(strings.TrimLeft(f, "-"), "toolexec") {
			report(fmt.Sprintf("test.flags[%d]", i), "%q may not be given to go test", f)
		}
	}
	return errs
}

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
