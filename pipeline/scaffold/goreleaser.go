package scaffold

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// goreleaser is what a .goreleaser.yml says in the terms of slipway.yaml, and what of it has none.
type goreleaser struct {
	project, title, description, homepage, license string
	repository, tagPrefix                          string
	binaries                                       []config.Binary
	archives                                       config.Archives
	images                                         []importedImage
	vendor                                         string
	packages                                       []*importedPackage
	download                                       config.Template
	fromCommits                                    bool   // the release notes
	keyless                                        string // where signatures without a key are spoken of
	notes                                          []string
}

// importedImage is a repository that images are pushed to, and what is known of them.
type importedImage struct {
	repository, binary   string
	distros, dockerfiles []string
}

// Bounds of a .goreleaser.yml.
const (
	maxYAMLNodes = 50_000 // visited, so an alias counts each time it is used
	maxYAMLDepth = 32
)

// reader reads a .goreleaser.yml. Its methods ask for keys and take any shape of value; the first bound that is
// crossed ends the reading.
type reader struct {
	file       string
	survey     *survey
	out        *goreleaser
	nodes      int
	err        error
	ids        map[string]string   // binary by the id of its build
	archiveIDs map[string][]string // binaries by the id of their archive; nil for all
	seen       map[string]bool     // remarks that were made
}

// readGoReleaser converts the file, whose name in notes is display.
func readGoReleaser(name, display string, s *survey) (*goreleaser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "opening the GoReleaser configuration: %w", err)
	}
	defer f.Close()
	b, err := readRegular(f)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "reading %s: %w", display, err)
	}
	g, err := convert(display, b, s)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	return g, nil
}

// convert reads the bytes of a .goreleaser.yml, in the syntax of GoReleaser 1 or 2.
func convert(display string, b []byte, s *survey) (*goreleaser, error) {
	doc, err := yamldoc.Document(display, b)
	if err == nil && doc.Kind != yaml.MappingNode {
		err = fmt.Errorf("%s:%d:%d: it is not a mapping", display, doc.Line, doc.Column)
	}
	if err != nil {
		return nil, err
	}
	r := &reader{file: display, survey: s, out: &goreleaser{}, ids: map[string]string{}, archiveIDs: map[string][]string{}, seen: map[string]bool{}}
	r.top(doc)
	if r.err != nil {
		return nil, r.err
	}
	return r.out, nil
}

// visit counts a value and follows its alias; nil where a bound is crossed.
func (r *reader) visit(n *yaml.Node) *yaml.Node {
	for depth := 0; n != nil && n.Kind == yaml.AliasNode; depth++ {
		if n = n.Alias; depth > maxYAMLDepth {
			r.fail(n, "aliases are nested deeper than %d", maxYAMLDepth)
			return nil
		}
	}
	if r.nodes++; n != nil && r.nodes > maxYAMLNodes {
		r.fail(n, "the file has more than %d values, counting aliases each time they are used", maxYAMLNodes)
		return nil
	}
	return n
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", r.at(n), fmt.Errorf(format, args...))
	}
}

// note says what about a value needs a person.
func (r *reader) note(n *yaml.Node, format string, args ...any) {
	text := r.at(n) + ": " + fmt.Sprintf(format, args...)
	if r.err == nil && !r.seen[text] { // what an alias repeats is said once
		r.seen[text] = true
		r.out.notes = append(r.out.notes, text)
	}
}

// at is the place of a value.
func (r *reader) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", r.file, n.Line, n.Column) }

// once is note for what holds for the whole file.
func (r *reader) once(n *yaml.Node, text string) {
	if !r.seen[text] {
		r.seen[text] = true
		r.note(n, "%s", text)
	}
}

// field is a key of a mapping and its value.
type field struct {
	name       string
	key, value *yaml.Node
}

// fields are the keys of a mapping, those of merged mappings (<<) after its own; of two that are the same the first.
func (r *reader) fields(n *yaml.Node) []field { return r.merged(n, 0) }

func (r *reader) merged(n *yaml.Node, depth int) []field {
	if n = r.visit(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	if depth > maxYAMLDepth {
		r.fail(n, "mappings are merged deeper than %d", maxYAMLDepth)
		return nil
	}
	var all, more []field
	for i := 0; i+1 < len(n.Content) && r.err == nil; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			sources := []*yaml.Node{value}
			if v := r.visit(value); v != nil && v.Kind == yaml.SequenceNode {
				sources = v.Content
			}
			for _, s := range sources {
				more = append(more, r.merged(s, depth+1)...)
			}
			continue
		}
		if v := r.visit(value); v != nil && key.Kind == yaml.ScalarNode {
			all = append(all, field{key.Value, key, v})
		}
	}
	known := map[string]bool{}
	return slices.DeleteFunc(append(all, more...), func(f field) bool {
		defer func() { known[f.name] = true }()
		return known[f.name]
	})
}

// items are the values of a list; a single value counts as a list of one.
func (r *reader) items(n *yaml.Node) []*yaml.Node {
	if n = r.visit(n); n == nil || isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	var all []*yaml.Node
	for _, c := range n.Content {
		if c = r.visit(c); c != nil && !isNull(c) {
			all = append(all, c)
		}
	}
	return all
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// strings are the texts of a list.
func (r *reader) strings(n *yaml.Node) []string {
	var all []string
	for _, c := range r.items(n) {
		if s := text(c); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || isNull(n) {
		return ""
	}
	return strings.TrimSpace(n.Value)
}

// get is the value below the keys, or nil.
func (r *reader) get(n *yaml.Node, keys ...string) *yaml.Node {
	for _, k := range keys {
		all := r.fields(n)
		i := slices.IndexFunc(all, func(f field) bool { return f.name == k })
		if i < 0 {
			return nil
		}
		n = all[i].value
	}
	return n
}

// unsupported says what becomes of the sections that have no counterpart in slipway.yaml.
var unsupported = map[string]string{
	"after":              "hooks are not supported: a release is a function of the commit. Run what comes after it as a step of the workflow",
	"announce":           "announcements are not supported",
	"app_bundles":        "bundles for macOS are not supported",
	"appimages":          "AppImages are not supported",
	"artifactories":      "uploads are not supported",
	"aur_sources":        "AUR packages are not supported",
	"aurs":               "AUR packages are not supported",
	"before":             "hooks are not supported: a release is a function of the commit. Commit what the hook generates, and check that it is current in the workflow",
	"blobs":              "uploads to object stores are not supported",
	"cloudsmiths":        "uploads are not supported",
	"dmg":                "disk images are not supported",
	"docker_digest":      "the digests of the images are in release.json",
	"env":                "environment variables do not reach a build: it would depend on the machine",
	"env_files":          "files with tokens are not read: a build needs none",
	"flatpak":            "Flatpak packages are not supported",
	"fury":               "uploads are not supported",
	"gemfury":            "uploads are not supported",
	"git":                "which tag is released follows from the tags themselves: of several on one commit the highest by SemVer",
	"gomod":              "modules are always read at the versions of go.sum; a build from the module proxy has no counterpart",
	"includes":           "included files are not read: convert them too, or copy what they say",
	"iru":                "it is not supported",
	"krews":              "Krew plugins are not supported",
	"makeselfs":          "self-extracting archives are not supported",
	"mcp":                "MCP registries are not supported",
	"milestones":         "milestones are not closed",
	"msi":                "MSI installers are not supported",
	"nightly":            "nightly releases have no counterpart; an untagged commit is a snapshot with a version of its own",
	"nix":                "Nix packages are not supported",
	"notarize":           "notarising is not supported",
	"npms":               "npm packages are not supported",
	"nsis":               "installers for Windows are not supported",
	"partial":            "a release is built in one run; --targets narrows it",
	"pkgs":               "installers for macOS are not supported",
	"prebuilt":           "prebuilt binaries are not supported",
	"publishers":         "publishers of your own are not supported",
	"sboms":              "bills of materials are always made, as CycloneDX and as SPDX, of every binary, archive and image",
	"snapshot":           "the version of a snapshot is <next patch>-snapshot.<commits>.g<commit>",
	"source":             "source archives are not made",
	"srpm":               "source packages are not supported",
	"template_files":     "files made from templates are not supported",
	"universal_binaries": "universal binaries are not made; darwin/amd64 and darwin/arm64 are two targets",
	"uploads":            "uploads are not supported",
	"upx":                "binaries are not compressed: packed ones start slower and alarm virus scanners",
	"variables":          "variables of your own are not supported in templates",
}

// harmless are sections without an effect on what is built, or whose effect Slipway has anyway.
var harmless = []string{
	"version", "pro", "dist", "report_sizes", "force_token", "github_urls", "gitlab_urls", "gitea_urls", "retry",
	"project_name", "builds", "build", "archives", "archive", "dockers", "docker_manifests", "dockers_v2", "kos", "metadata", "monorepo",
	"nfpms", "brews", "homebrew_casks", "scoops", "scoop", "snapcrafts", "chocolateys", "winget",
}

// top converts the file.
func (r *reader) top(doc *yaml.Node) {
	all := r.fields(doc)
	sections := map[string]field{}
	for _, f := range all {
		sections[f.name] = f
	}
	value := func(name string) *yaml.Node { return sections[name].value }

	if n := value("project_name"); n != nil {
		if name := text(n); strings.Contains(name, "{{") {
			r.note(n, "the name is a template and is left out; set project.name")
		} else {
			r.out.project = name
		}
	}
	r.metadata(value)
	if b := sections["builds"]; b.value != nil {
		for _, n := range r.items(b.value) {
			r.build(n)
		}
	} else if b := sections["build"]; b.value != nil {
		r.build(b.value)
	} else {
		r.build(&yaml.Node{Kind: yaml.MappingNode, Line: doc.Line, Column: doc.Column})
	}
	for _, name := range []string{"archives", "archive"} {
		for i, n := range r.items(value(name)) {
			r.archiveIDs[cmp.Or(text(r.get(n, "id")), "default")] = r.archived(n)
			if i > 0 {
				r.note(n, "one kind of archive is made; this one is left out")
				continue
			}
			r.archive(n)
		}
	}
	if len(r.archiveIDs) == 0 {
		r.archiveIDs["default"] = nil
	}
	r.docker(value)
	r.packages(value)

	for _, f := range all {
		switch why, ok := unsupported[f.name]; {
		case emptyNode(f.value), f.name == "snapshot" && r.onlySkips(f.value):
		case f.name == "release":
			r.release(f)
		case f.name == "changelog":
			r.changelog(f)
		case f.name == "signs", f.name == "binary_signs", f.name == "docker_signs":
			r.signs(f)
		case ok:
			r.note(f.key, "%s: %s", f.name, why)
		case f.name == "checksum":
			r.checksum(f)
		case !slices.Contains(harmless, f.name):
			r.note(f.key, "%s: this section is not known", clip(f.name))
		}
	}
}

func emptyNode(n *yaml.Node) bool {
	return isNull(n) || n.Kind != yaml.ScalarNode && len(n.Content) == 0
}

// onlySkips reports whether the section does nothing but switch itself off.
func (r *reader) onlySkips(n *yaml.Node) bool {
	return !slices.ContainsFunc(r.fields(n), func(f field) bool { return f.name != "skip" && f.name != "disable" || text(f.value) != "true" })
}

func (r *reader) checksum(f field) {
	for _, k := range r.fields(f.value) {
		switch {
		case k.name == "name_template" && text(k.value) != "SHA256SUMS":
			r.note(k.key, "checksum.name_template: the checksums are in SHA256SUMS")
		case k.name == "algorithm" && text(k.value) != "sha256":
			r.note(k.key, "checksum.algorithm: the checksums are SHA-256")
		case k.name == "extra_files", k.name == "split", k.name == "disable":
			r.note(k.key, "checksum.%s: it is not supported; SHA256SUMS has every file of the release", k.name)
		}
	}
}

// metadata takes what is known of the project from the sections that describe packages of it.
func (r *reader) metadata(value func(string) *yaml.Node) {
	plain := func(into *string, n *yaml.Node) {
		if s := text(n); *into == "" && !strings.Contains(s, "{{") {
			*into = s
		}
	}
	for _, section := range []string{"metadata", "brews", "homebrew_casks", "nfpms", "snapcrafts", "scoops", "scoop", "chocolateys", "winget"} {
		for _, n := range r.items(value(section)) {
			plain(&r.out.homepage, cmp.Or(r.get(n, "homepage"), r.get(n, "project_url")))
			plain(&r.out.license, r.get(n, "license"))
			if section == "nfpms" || section == "winget" {
				plain(&r.out.vendor, cmp.Or(r.get(n, "vendor"), r.get(n, "publisher")))
			}
			if section == "snapcrafts" {
				plain(&r.out.title, r.get(n, "title"))
				plain(&r.out.description, r.get(n, "summary"))
			}
			plain(&r.out.description, r.get(n, "description"))
		}
	}
	for _, host := range []struct{ key, url string }{{"github", "https://github.com"}, {"gitlab", "https://gitlab.com"}} {
		repo := r.get(value("release"), host.key)
		owner, name := text(r.get(repo, "owner")), text(r.get(repo, "name"))
		if owner == "" || name == "" {
			continue
		}
		if u := repositoryURL(host.url + "/" + owner + "/" + name); u != "" {
			r.out.repository = cmp.Or(r.out.repository, u)
		} else {
			r.note(repo, "release.%s: the repository is not plain text and is left out; set project.repository", host.key)
		}
	}
	if n := value("monorepo"); n != nil {
		if prefix := r.get(n, "tag_prefix"); prefix != nil && plainPrefix.MatchString(text(prefix)) {
			r.out.tagPrefix = vOfTags.ReplaceAllString(text(prefix), "$1")
		} else if prefix != nil {
			r.note(prefix, "monorepo.tag_prefix: it is left out; set project.tagPrefix, and the tags of the workflow")
		}
		if dir := r.get(n, "dir"); dir != nil {
			r.note(dir, "monorepo.dir: paths are relative to the root of the repository; see dir: of each binary")
		}
	}
}

func (r *reader) translator() *translator {
	return &translator{fixed: map[string]string{"ModulePath": r.survey.main().path}}
}

// translate converts a template and makes the remarks about it.
func (r *reader) translate(t *translator, n *yaml.Node, s string) (config.Template, error) {
	out, err := t.translate(s)
	for _, remark := range t.remarks {
		r.once(n, remark)
	}
	return out, err
}

// vOfTags is the v of v1.2.3 at the end of a prefix, which is not a part of it here.
var vOfTags = regexp.MustCompile(`(^|[._/-])v$`)

// levelKeys are the keys of a build that choose instruction sets.
var levelKeys = []string{"goarm", "goamd64", "go386", "goarm64", "gomips", "goppc64", "goriscv64"}

// build converts one of the builds.
func (r *reader) build(n *yaml.Node) {
	if n = r.visit(n); n == nil || n.Kind != yaml.MappingNode {
		return
	}
	skip := text(r.get(n, "skip"))
	switch builder := text(r.get(n, "builder")); {
	case skip == "true":
		return
	case builder != "" && builder != "go":
		r.note(n, "builds: this one is made by %s, and Slipway builds Go programs; it is left out", clip(builder))
		return
	case skip != "" && skip != "false":
		r.note(n, "builds: whether this one is skipped depends on a template; it is built always")
	}
	b := config.Binary{}
	name := text(r.get(n, "binary"))
	if translated, err := r.translate(&translator{fixed: map[string]string{"ProjectName": r.projectName(), "ModulePath": r.survey.main().path}}, n, name); err != nil || strings.Contains(string(translated), "{{") {
		r.note(n, "builds: the name of the binary, %s, depends on more than the project; the project's name is used", clip(name))
	} else {
		b.Name = strings.TrimSuffix(path.Base(path.Clean("/"+string(translated))), "/")
	}
	if b.Name == "" {
		b.Name = r.projectName()
	}
	if id := text(r.get(n, "id")); id != "" {
		r.ids[id] = b.Name
	} else {
		r.ids[r.projectName()] = b.Name
	}
	r.where(n, &b)
	want := r.targets(n)
	if len(want) == 0 {
		r.note(n, "builds: nothing of this one can be built; it is left out")
		return
	}
	b = compact(b, want)
	r.flags(n, &b)
	for _, f := range r.fields(n) {
		switch f.name {
		case "hooks":
			r.note(f.key, "builds.hooks: hooks are not supported: a release is a function of the commit")
		case "overrides":
			r.note(f.key, "builds.overrides: all targets of a binary are built alike; make it two binaries where that matters")
		case "gcflags", "asmflags", "buildmode", "command", "gobinary", "tool":
			if v := text(f.value); v != "" && v != "build" && v != "go" || f.value.Kind == yaml.SequenceNode && len(f.value.Content) > 0 {
				r.note(f.key, "builds.%s: it is not supported", f.name)
			}
		}
	}
	r.addBinary(n, b)
}

// addBinary adds the binary, or to one of the same program its targets.
func (r *reader) addBinary(n *yaml.Node, b config.Binary) {
	i := slices.IndexFunc(r.out.binaries, func(o config.Binary) bool { return strings.EqualFold(o.Name, b.Name) })
	if i < 0 {
		r.out.binaries = append(r.out.binaries, b)
		return
	}
	other := r.out.binaries[i]
	if other.Main != b.Main || other.Dir != b.Dir {
		r.note(n, "builds: there is another binary %q; this one, of %s, is left out", b.Name, b.Main)
		return
	}
	r.out.binaries[i] = compact(other, append(other.Platforms(), b.Platforms()...))
	if !maps.Equal(other.Vars, b.Vars) || !slices.Equal(other.Ldflags, b.Ldflags) || !slices.Equal(other.Tags, b.Tags) || !maps.Equal(other.Env, b.Env) {
		r.note(n, "builds: this one has the binary %q too; its targets are added, but flags, tags and variables are those of the first", b.Name)
	}
}

// projectName is the name of the project as GoReleaser finds it.
func (r *reader) projectName() string {
	return cmp.Or(r.out.project, lastElement(r.out.repository), lastElement(modulePrefix(r.survey.main().path)))
}

// where sets the folders of the program and of its module.
func (r *reader) where(n *yaml.Node, b *config.Binary) {
	dir := text(r.get(n, "dir"))
	main := text(r.get(n, "main"))
	if strings.Contains(dir+main, "{{") {
		r.note(n, "builds: dir and main are templates and are left out")
		dir, main = "", ""
	}
	if strings.HasSuffix(main, ".go") {
		main = path.Dir(main)
	}
	where := path.Join(".", dir, main)
	m := r.survey.mainAt(where)
	if m == nil && main == "" && dir == "" {
		if released, _ := r.survey.released(); len(released) == 1 {
			m, where = released[0], released[0].dir
		}
	}
	if m == nil {
		r.note(n, "builds: there is no main package in %s; set main of the binary %s", clip(where), b.Name)
	} else if m.module != r.survey.main() || m.module.dir != "." {
		b.Dir = optionalDir(m.module.dir)
	}
	b.Main = folderArg(where)
}

// targets are the platforms of a build.
func (r *reader) targets(n *yaml.Node) []artifact.Platform {
	m := matrix{lists: map[string][]string{}, targets: r.strings(r.get(n, "targets"))}
	for _, key := range append([]string{"goos", "goarch"}, levelKeys...) {
		m.lists[key] = r.strings(r.get(n, key))
	}
	for _, rule := range r.items(r.get(n, "ignore")) {
		parsed := map[string]string{}
		for _, f := range r.fields(rule) {
			parsed[f.name] = text(f.value)
		}
		m.ignore = append(m.ignore, parsed)
	}
	all, err := m.expand()
	if err != nil {
		r.note(n, "builds: %v", err)
	}
	var want []artifact.Platform
	for _, t := range all {
		p, err := t.platform()
		if err != nil {
			r.note(n, "builds: %s is left out: %v", clip(t.String()), err)
			continue
		}
		want = append(want, p)
	}
	if slices.Contains(m.lists["goos"], "windows") && slices.Contains(m.lists["goarch"], "arm") && len(m.targets) == 0 && !m.ignored(target{"windows", "arm", cmp.Or(append(m.lists["goarm"], "6")...)}) {
		r.note(n, "builds: windows/arm is left out: Go has no such port since 1.26")
	}
	return want
}

// alwaysSet are flags of the Go command that every build has.
var alwaysSet = []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-v", "-a"}

// harmlessEnv are variables that say what every build does, or that decide nothing about one with a go.sum.
var harmlessEnv = []string{"CGO_ENABLED=0", "GO111MODULE=on", "GO111MODULE=auto", "GOWORK=off", "GOFLAGS=-trimpath", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=local", "GOTOOLCHAIN=auto"}

// flags sets what the compiler and the linker are told.
func (r *reader) flags(n *yaml.Node, b *config.Binary) {
	if tags := r.get(n, "tags"); tags != nil {
		r.tags(tags, r.strings(tags), b)
	}
	for _, f := range r.items(r.get(n, "flags")) {
		list := splitFlags(text(f))
		for i := 0; i < len(list); i++ {
			name, value, has := strings.Cut(list[i], "=")
			switch {
			case slices.Contains(alwaysSet, list[i]):
			case name == "-tags" || name == "--tags":
				if !has && i+1 < len(list) {
					i++
					value = list[i]
				}
				r.tags(f, strings.Fields(value), b)
			case name == "-ldflags":
				r.linker(f, value, b)
			default:
				r.note(f, "builds.flags: %s is not supported", clip(list[i]))
			}
		}
	}
	for _, e := range r.items(r.get(n, "env")) {
		k, v, _ := strings.Cut(text(e), "=")
		switch {
		case slices.Contains(harmlessEnv, text(e)):
		case k == "CGO_ENABLED":
			r.note(e, "builds.env: cgo needs a builder: an image with a C toolchain, by digest. Without it the binary is built with CGO_ENABLED=0")
		default:
			r.try(e, "builds.env: "+clip(k), b, func(b *config.Binary) { put(&b.Env, k, v) })
		}
	}
	ldflags := r.items(r.get(n, "ldflags"))
	if len(ldflags) == 0 {
		r.defaultVars(n, b)
		return
	}
	for _, f := range ldflags {
		r.linker(f, text(f), b)
	}
	if len(b.Ldflags) == 0 {
		r.once(ldflags[0], "builds.ldflags: there is neither -s nor -w; Slipway sets both, which leaves out debugging information, unless ldflags names one")
	}
	if len(b.Ldflags) == 2 && slices.Contains(b.Ldflags, "-s") && slices.Contains(b.Ldflags, "-w") {
		b.Ldflags = nil // the default
	}
}

// try changes the binary where the configuration allows it, and notes why where not.
func (r *reader) try(n *yaml.Node, what string, b *config.Binary, change func(*config.Binary)) {
	changed := *b
	changed.Vars, changed.Env = maps.Clone(b.Vars), maps.Clone(b.Env)
	changed.Ldflags, changed.Tags = slices.Clone(b.Ldflags), slices.Clone(b.Tags)
	change(&changed)
	probe := proposal{config: config.Config{Binaries: []config.Binary{{
		Name: "name", Main: ".", Vars: changed.Vars, Env: changed.Env, Ldflags: changed.Ldflags, Tags: changed.Tags,
	}}}}
	if err := probe.check(); err != nil {
		r.note(n, "%s is left out: %s", what, reason(err))
		return
	}
	*b = changed
}

func (r *reader) tags(n *yaml.Node, list []string, b *config.Binary) {
	for _, item := range list {
		for _, tag := range strings.FieldsFunc(item, func(c rune) bool { return c == ',' || c == ' ' }) {
			if slices.Contains(b.Tags, tag) {
				continue
			}
			r.try(n, "builds.tags: "+clip(tag), b, func(b *config.Binary) { b.Tags = append(b.Tags, tag) })
		}
	}
}

// defaultVars sets what GoReleaser sets for a build without ldflags, as far as the program has such variables.
func (r *reader) defaultVars(n *yaml.Node, b *config.Binary) {
	m := r.survey.mainAt(path.Clean(b.Main))
	if m == nil {
		return
	}
	for name, value := range map[string]config.Template{"main.version": "{{ .Version }}", "main.commit": "{{ .Commit }}", "main.date": "{{ .Date }}"} {
		if _, ok := m.vars[name]; ok {
			put(&b.Vars, name, value)
		}
	}
	if _, ok := b.Vars["main.date"]; ok {
		r.once(n, meanings["Date"])
	}
}

// linker reads flags of the linker.
func (r *reader) linker(n *yaml.Node, s string, b *config.Binary) {
	list := splitFlags(s)
	for i := 0; i < len(list); i++ {
		f := list[i]
		operand := func() string {
			if i+1 < len(list) {
				i++
				return list[i]
			}
			return ""
		}
		switch {
		case f == "-X" || f == "--X":
			r.variable(n, operand(), b)
		case strings.HasPrefix(f, "-X="):
			r.variable(n, strings.TrimPrefix(f, "-X="), b)
		case strings.HasPrefix(f, "-buildid"):
			// Every build has an empty one.
		case f == "-H":
			r.linkerFlag(n, "-H="+operand(), b)
		case f == "-extldflags" || f == "-linkmode" || f == "-extld" || f == "-r" || f == "-I":
			r.linkerFlag(n, f+"="+operand(), b)
		default:
			r.linkerFlag(n, f, b)
		}
	}
}

func (r *reader) linkerFlag(n *yaml.Node, f string, b *config.Binary) {
	if slices.Contains(b.Ldflags, f) {
		return
	}
	r.try(n, "builds.ldflags: "+clip(f), b, func(b *config.Binary) { b.Ldflags = append(b.Ldflags, f) })
}

// variable reads what -X sets: a package path, a variable and a template.
func (r *reader) variable(n *yaml.Node, s string, b *config.Binary) {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		r.note(n, "builds.ldflags: -X %s sets nothing and is left out", clip(s))
		return
	}
	key, err := r.translate(&translator{fixed: map[string]string{"ModulePath": r.survey.main().path, "ProjectName": r.projectName()}}, n, name)
	if err != nil {
		r.note(n, "builds.ldflags: -X %s is left out: %v", clip(name), err)
		return
	}
	template, err := r.translate(r.translator(), n, value)
	if err != nil {
		r.note(n, "builds.ldflags: -X %s is left out: %v", clip(string(key)), err)
		return
	}
	if string(key) == "main.builtBy" {
		return // GoReleaser's name, by its own default
	}
	r.try(n, "builds.ldflags: -X "+clip(string(key)), b, func(b *config.Binary) { put(&b.Vars, string(key), template) })
}

// splitFlags splits at spaces that are neither between quotes nor in a template, and takes the quotes away
// (https://pkg.go.dev/cmd/go#hdr-Compile_packages_and_dependencies).
func splitFlags(s string) []string {
	var all []string
	var b strings.Builder
	quote, in := byte(0), false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if strings.HasPrefix(s[i:], "{{") {
			end := strings.Index(s[i:], "}}")
			if end < 0 {
				end = len(s) - i - 2
			}
			b.WriteString(s[i : i+end+2])
			i, in = i+end+1, true
			continue
		}
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if in {
				all = append(all, b.String())
				b.Reset()
			}
			in = false
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if in {
		all = append(all, b.String())
	}
	return all
}

// usualFiles are patterns of GoReleaser's default, which is Slipway's too.
var usualFiles = regexp.MustCompile(`^(?:LICEN[CS]E|licen[cs]e|README|readme|CHANGELOG|changelog)\*$`)

// archive converts the first of the archives.
func (r *reader) archive(n *yaml.Node) {
	a := &r.out.archives
	if name := r.get(n, "name_template"); name != nil {
		t := r.translator()
		t.fileNames = true
		if len(r.out.binaries) == 1 {
			t.fixed["Binary"] = r.out.binaries[0].Name
		}
		out, err := r.translate(t, name, text(name))
		switch {
		case err != nil:
			r.note(name, "archives.name_template: %v; archives have the usual names", err)
		case strings.Contains(string(out), "{{ .Binary }}"):
			r.note(name, "archives.name_template: an archive has all binaries of its target, so it cannot be named after one; archives have the usual names")
		case out != "{{ .Project }}_{{ .Version }}_{{ .Os }}_{{ .Arch }}{{ .Variant }}":
			a.Name = out
		}
	}
	r.folder(n)
	r.archiveFiles(n)
	windows := false
	for _, f := range r.items(r.get(n, "format_overrides")) {
		system, formats := text(r.get(f, "goos")), slices.Concat(r.strings(r.get(f, "format")), r.strings(r.get(f, "formats")))
		if system == "windows" && slices.Equal(formats, []string{"zip"}) {
			windows = true
			continue
		}
		r.note(f, "archives.format_overrides: archives are tar.gz, and zip for Windows")
	}
	formats := r.get(n, "formats")
	if formats == nil {
		formats = r.get(n, "format")
	}
	for _, f := range r.items(formats) {
		switch v := text(f); {
		case v == "tar.gz" || v == "tgz":
		case v == "binary":
			r.note(f, "archives.format: the plain binaries are in binaries/ of the release; archives are made as well")
		default:
			r.note(f, "archives.format: archives are tar.gz, and zip for Windows, not %s", clip(v))
		}
	}
	if !windows && slices.ContainsFunc(r.out.binaries, func(b config.Binary) bool {
		return slices.ContainsFunc(b.Platforms(), func(p artifact.Platform) bool { return p.OS == "windows" })
	}) {
		r.note(n, "archives: those for Windows are zip now")
	}
	ids := slices.Concat(r.strings(r.get(n, "ids")), r.strings(r.get(n, "builds")))
	if len(ids) > 0 && len(ids) < len(r.ids) {
		r.note(n, "archives: an archive has all binaries of its target, not only those of %s", clip(strings.Join(ids, " ")))
	}
	for _, key := range []string{"hooks", "templated_files"} {
		if v := r.get(n, key); v != nil {
			r.note(v, "archives.%s: it is not supported", key)
		}
	}
}

// archived are the binaries that an archive names by the ids of their builds; nil for all.
func (r *reader) archived(n *yaml.Node) []string {
	var binaries []string
	for _, id := range slices.Concat(r.strings(r.get(n, "ids")), r.strings(r.get(n, "builds"))) {
		if b, ok := r.ids[id]; ok {
			binaries = append(binaries, b)
		}
	}
	return binaries
}

func (r *reader) folder(n *yaml.Node) {
	wrap := r.get(n, "wrap_in_directory")
	switch v := text(wrap); v {
	case "", "false":
	case "true":
		r.out.archives.Folder = cmp.Or(r.out.archives.Name, "{{ .Project }}_{{ .Version }}_{{ .Os }}_{{ .Arch }}{{ .Variant }}")
	default:
		t := r.translator()
		t.fileNames = true
		folder, err := r.translate(t, wrap, v)
		if err != nil {
			r.note(wrap, "archives.wrap_in_directory: %v; there is no folder", err)
			return
		}
		r.out.archives.Folder = folder
	}
}

// archivedFile is a pattern of files and where it stands.
type archivedFile struct {
	node    *yaml.Node
	pattern string
}

// archiveFiles takes the files that are put into archives. Files that are renamed or made are not.
func (r *reader) archiveFiles(n *yaml.Node) {
	files := r.items(r.get(n, "files"))
	var list []archivedFile
	usual := true
	for _, f := range files {
		src := text(f)
		if f.Kind == yaml.MappingNode {
			src = text(r.get(f, "src"))
			for _, k := range r.fields(f) {
				if k.name == "dst" && text(k.value) != "" || k.name == "strip_parent" && text(k.value) == "true" {
					r.note(k.key, "archives.files: files keep their paths in archives")
				}
			}
		}
		src = strings.TrimPrefix(src, "./")
		pattern := strings.ContainsAny(src, "*?[{")
		switch {
		case src == "":
		case strings.Contains(src, "{{"):
			r.note(f, "archives.files: %s is a template and is left out", clip(src))
		case pattern && strings.HasPrefix(path.Base(src), "none"):
			r.note(f, "archives.files: an archive without further files is not made: licences belong to every copy")
		case !pattern && !r.survey.isFile(src) && !r.survey.isDir(src):
			r.note(f, "archives.files: there is no %s; it is left out", clip(src))
		default:
			usual = usual && usualFiles.MatchString(src)
			list = append(list, archivedFile{f, src})
		}
	}
	if usual {
		return
	}
	for _, a := range list {
		probe := proposal{config: config.Config{Archives: config.Archives{Files: []string{a.pattern}}}}
		if err := probe.check(); err != nil {
			r.note(a.node, "archives.files: %s is left out: %s", clip(a.pattern), reason(err))
			continue
		}
		r.out.archives.Files = append(r.out.archives.Files, a.pattern)
	}
}

var templateAction = regexp.MustCompile(`\{\{[^}]*\}\}`)

// docker takes the repositories of the images, and which binary and Dockerfile each is for.
func (r *reader) docker(value func(string) *yaml.Node) {
	r.dockerSection(value("dockers"), "image_templates")
	r.dockerSection(value("dockers_v2"), "images")
	for _, n := range r.items(value("docker_manifests")) {
		r.repository(r.get(n, "name_template"), importedImage{})
	}
	for _, n := range r.items(value("kos")) {
		binary := r.ids[text(r.get(n, "build"))]
		im := importedImage{binary: binary, distros: []string{"distroless"}}
		if base := text(r.get(n, "base_image")); base != "" {
			if d := distroOf(base); d != "" {
				im.distros = []string{d}
			} else {
				r.note(n, "kos.base_image: %s is not one of the distributions: %s", clip(base), strings.Join(images.Names(), " "))
			}
		}
		suffix := ""
		switch {
		case text(r.get(n, "bare")) == "true":
		case text(r.get(n, "base_import_paths")) == "true":
			suffix = "/" + plainName(cmp.Or(binary, r.projectName()))
		default:
			r.note(n, "kos: the name of the image has a hash of the import path; its repository is taken as it is")
		}
		for _, key := range []string{"repository", "repositories"} {
			for _, repo := range r.items(r.get(n, key)) {
				named := *repo
				named.Value += suffix
				r.repository(&named, im)
			}
		}
	}
}

func (r *reader) dockerSection(section *yaml.Node, key string) {
	for _, n := range r.items(section) {
		im := importedImage{dockerfiles: []string{path.Clean(cmp.Or(text(r.get(n, "dockerfile")), "Dockerfile"))}}
		for _, id := range r.strings(r.get(n, "ids")) {
			im.binary = cmp.Or(im.binary, r.ids[id])
		}
		for _, ref := range r.items(r.get(n, key)) {
			r.repository(ref, im)
		}
		if flags := r.get(n, "build_flag_templates"); flags != nil && len(flags.Content) > 0 {
			r.once(flags, "dockers.build_flag_templates: images are not built by Docker. The labels org.opencontainers.image.* are always set; others go under labels")
		}
	}
}

// repository adds the repository of an image reference, once.
func (r *reader) repository(n *yaml.Node, im importedImage) {
	ref := text(n)
	if ref == "" {
		return
	}
	var actions []string
	bare := templateAction.ReplaceAllStringFunc(ref, func(s string) string {
		actions = append(actions, s)
		return "\x00"
	})
	if i := strings.LastIndex(bare, ":"); i > strings.LastIndex(bare, "/") {
		bare = bare[:i]
	}
	for _, a := range actions {
		bare = strings.Replace(bare, "\x00", a, 1)
	}
	t := translator{fixed: map[string]string{"ProjectName": r.projectName()}}
	translated, err := t.translate(bare)
	if err != nil || strings.Contains(string(translated), "{{") {
		r.note(n, "the repository of the image, %s, is not plain text and is left out; name it under images", clip(ref))
		return
	}
	name := string(translated)
	if host, _, ok := strings.Cut(name, "/"); !ok {
		name = "docker.io/library/" + name
	} else if !strings.ContainsAny(host, ".:") && host != "localhost" {
		name = "docker.io/" + name
	}
	i := slices.IndexFunc(r.out.images, func(o importedImage) bool { return o.repository == name })
	if i < 0 {
		im.repository = name
		r.out.images = append(r.out.images, im)
		return
	}
	o := &r.out.images[i]
	o.binary = cmp.Or(o.binary, im.binary)
	o.distros = append(o.distros, im.distros...)
	for _, d := range im.dockerfiles {
		if !slices.Contains(o.dockerfiles, d) {
			o.dockerfiles = append(o.dockerfiles, d)
		}
	}
}
