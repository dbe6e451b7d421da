package scaffold

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// packagers are the sections about packages in the order in which they are read: what an earlier one says of a package
// stays. The older of two names of a section is behind the newer.
var packagers = []struct {
	section string
	convert func(*reader, *yaml.Node)
}{
	{"nfpms", (*reader).nfpm},
	{"brews", (*reader).brew},
	{"homebrew_casks", (*reader).cask},
	{"scoops", (*reader).scoop},
	{"scoop", (*reader).scoop},
	{"snapcrafts", (*reader).snapcraft},
	{"chocolateys", (*reader).chocolatey},
	{"winget", (*reader).winget},
}

// packages converts the sections about packages.
func (r *reader) packages(value func(string) *yaml.Node) {
	for _, p := range packagers {
		for _, n := range r.items(value(p.section)) {
			if n.Kind == yaml.MappingNode {
				p.convert(r, n)
			}
		}
	}
	maintainers := r.get(value("metadata"), "maintainers")
	for _, p := range r.out.packages {
		if names := r.items(maintainers); p.Maintainer == "" && len(names) > 0 {
			if m := r.plain(names[0], "metadata.maintainers"); m != "" {
				r.offer(names[0], "metadata.maintainers", p, func(p *config.Package) { p.Maintainer = m })
			}
		}
		order := format.Where(nil)
		slices.SortFunc(p.Formats, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	}
}

// plain is a text that is the same in every release.
func (r *reader) plain(n *yaml.Node, what string) string {
	s := text(n)
	if !strings.Contains(s, "{{") {
		return s
	}
	t := &translator{fixed: map[string]string{"ProjectName": r.projectName(), "ModulePath": r.survey.main().path}}
	out, err := t.translate(s)
	if err != nil || strings.Contains(string(out), "{{") {
		r.note(n, "%s: %s depends on more than the project and is left out", what, clip(s))
		return ""
	}
	return string(out)
}

// offer changes the package where the configuration allows it, and notes why where not.
func (r *reader) offer(n *yaml.Node, what string, p *importedPackage, change func(*config.Package)) bool {
	probe := config.Package{Name: "name"}
	change(&probe)
	// A repository that every format can do with.
	c := config.Config{Project: config.Project{Repository: "https://github.com/owner/name"}, Packages: []config.Package{probe}}
	if err := (&proposal{config: c}).check(); err != nil {
		r.note(n, "%s is left out: %s", what, reason(err))
		return false
	}
	change(&p.Package)
	return true
}

// say sets a text of the package that none has been given yet.
func (r *reader) say(n *yaml.Node, what string, p *importedPackage, field func(*config.Package) *string) {
	if s := r.plain(n, what); s != "" && *field(&p.Package) == "" {
		r.offer(n, what, p, func(p *config.Package) { *field(p) = s })
	}
}

// leftovers notes the keys of a section that were not carried over, why or what to do instead.
func (r *reader) leftovers(section string, n *yaml.Node, carried string, instead map[string]string) {
	for _, f := range r.fields(n) {
		silent := slices.Contains(strings.Fields(carried), f.name) || slices.Contains(strings.Fields(published), f.name)
		if silent || emptyNode(f.value) || f.value.Kind == yaml.ScalarNode && (text(f.value) == "" || text(f.value) == "false") {
			continue
		}
		name := clip(f.name)
		r.note(f.key, "%s.%s: %s", section, name, cmp.Or(instead[f.name], repositories[f.name], "it is not carried over"))
	}
}

// published are keys about carrying a file into a repository, which is noted once, at the repository itself.
const published = "id goarm goamd64 mtime commit_author commit_msg_template directory folder skip_upload skip_publish api_key source_repo publish"

const notPublished = "it is made and not published: take it from packages/ of the release"

var repositories = map[string]string{"repository": notPublished, "tap": notPublished, "bucket": notPublished}

// binariesOf are the binaries that a section names by the ids of builds or, where it fetches archives, of these; nil for
// all.
func (r *reader) binariesOf(section string, n *yaml.Node, archives bool) []string {
	var named []string
	for _, key := range []string{"ids", "builds"} {
		for _, id := range r.items(r.get(n, key)) {
			binaries, ok := r.archiveIDs[text(id)]
			if !archives {
				var b string
				b, ok = r.ids[text(id)]
				binaries = []string{b}
			}
			if !ok {
				r.note(id, "%s.%s: there is no %s", section, key, clip(text(id)))
				continue
			}
			if binaries == nil {
				return nil
			}
			named = append(named, binaries...)
		}
	}
	var out []string
	for _, b := range r.out.binaries {
		if slices.Contains(named, b.Name) {
			out = append(out, b.Name)
		}
	}
	if len(out) == len(r.out.binaries) {
		return nil
	}
	return out
}

const maxPackages = 100

// pkg is the package of the name, or where the section has a name of its own for what it makes (own), that with the
// binaries. It is made where there is none yet.
func (r *reader) pkg(section string, n *yaml.Node, archives, own bool) (p *importedPackage, name string) {
	at := n
	for _, key := range []string{"package_name", "name"} {
		if v := r.get(n, key); v != nil && (key == "name" || section == "nfpms") {
			at, name = v, cmp.Or(r.plain(v, section+"."+key), name)
			break
		}
	}
	written := cmp.Or(name, r.projectName())
	plain := cmp.Or(plainName(written), plainName(r.projectName()))
	if !own && name != "" && plain != name {
		r.note(at, "%s: names of packages are in lower case and plain: %s is %s", section, clip(name), plain)
	}
	binaries := r.binariesOf(section, n, archives)
	i := -1
	if own {
		i = slices.IndexFunc(r.out.packages, func(p *importedPackage) bool { return slices.Equal(p.Binaries, binaries) })
	}
	if i < 0 {
		i = slices.IndexFunc(r.out.packages, func(p *importedPackage) bool { return p.Name == plain })
	}
	if i >= 0 {
		p = r.out.packages[i]
		if !slices.Equal(p.Binaries, binaries) {
			r.note(n, "%s: the package %s is there already with other binaries, and keeps them", section, plain)
		}
		return p, written
	}
	p = &importedPackage{config.Package{Name: plain, Binaries: binaries}, r.at(n) + ": " + section}
	if r.out.packages = append(r.out.packages, p); len(r.out.packages) > maxPackages {
		r.fail(n, "there are more than %d packages", maxPackages)
	}
	return p, written
}

// format adds a format, once.
func (p *importedPackage) format(name string) {
	if !slices.Contains(p.Formats, name) {
		p.Formats = append(p.Formats, name)
	}
}

// artifactName is the end of a URL template that has everything of a release in one folder.
var artifactName = regexp.MustCompile(`/\{\{-?\s*\.ArtifactName\s*-?\}\}$`)

// download takes the folder that archives are fetched from.
func (r *reader) download(section string, n *yaml.Node) {
	s := text(n)
	if s == "" {
		return
	}
	folder, ok := strings.CutSuffix(s, artifactName.FindString(s))
	if !artifactName.MatchString(s) || !ok {
		r.note(n, "%s: %s does not end in /{{ .ArtifactName }} and is left out; set download to the URL of a folder with all archives", section, clip(s))
		return
	}
	t, err := r.translate(&translator{fixed: map[string]string{"ProjectName": r.projectName()}}, n, folder)
	switch {
	case err != nil:
		r.note(n, "%s is left out: %v; set download", section, err)
	case r.out.download != "" && r.out.download != t:
		r.note(n, "%s: archives are fetched from one folder, %s", section, r.out.download)
	default:
		r.out.download = t
	}
}

const ownFormat = "what only this format has is not carried over"

// nfpmInstead is what becomes of the keys that have no counterpart.
var nfpmInstead = map[string]string{
	"changelog":          "the release notes are the changelog of the package",
	"conflicts":          "only dependencies are carried over, not other relations",
	"deb":                ownFormat,
	"apk":                ownFormat,
	"epoch":              "the version of a package follows from the tag",
	"file_name_template": "the format sets the names of its files",
	"empty_folders":      "a package has no empty folders; a service of systemd gets its folders by StateDirectory= and the like",
	"libdirs":            "only programs are installed from builds",
	"meta":               "a package without binaries is not made",
	"prerelease":         "the version of a package follows from the tag",
	"priority":           "every package is optional",
	"provides":           "only dependencies are carried over, not other relations",
	"recommends":         "only dependencies are carried over, not other relations",
	"release":            "the version of a package follows from the tag",
	"replaces":           "only dependencies are carried over, not other relations",
	"scripts":            "scripts of your own are not carried over: what they do differs between machines. A service is installed where units names it",
	"suggests":           "only dependencies are carried over, not other relations",
	"umask":              "files are 0644, and 0755 where they can be run in the repository",
	"version_metadata":   "the version of a package follows from the tag",
}

// overrideInstead is that for one of the formats.
var overrideInstead = func() map[string]string {
	m := maps.Clone(nfpmInstead)
	m["contents"] = "files are the same in every format"
	return m
}()

// nfpm converts packages for Debian, RPM and Alpine.
func (r *reader) nfpm(n *yaml.Node) {
	p, _ := r.pkg("nfpms", n, false, false)
	var made []string
	for _, f := range r.items(r.get(n, "formats")) {
		if name := text(f); slices.Contains(distributions(), name) {
			p.format(name)
			made = append(made, name)
		} else {
			all := distributions()
			last := len(all) - 1
			r.note(f, "nfpms.formats: %s is not made; %s and %s are", clip(name), strings.Join(all[:last], ", "), all[last])
		}
	}
	r.say(r.get(n, "maintainer"), "nfpms.maintainer", p, func(p *config.Package) *string { return &p.Maintainer })
	r.say(r.get(n, "description"), "nfpms.description", p, func(p *config.Package) *string { return &p.Description })
	r.say(r.get(n, "section"), "nfpms.section", p, func(p *config.Package) *string { return &p.Section })
	r.say(r.get(n, "rpm", "summary"), "nfpms.rpm.summary", p, func(p *config.Package) *string { return &p.Summary })
	if dir := r.get(n, "bindir"); text(dir) != "" && path.Clean(text(dir)) != "/usr/bin" {
		r.note(dir, "nfpms.bindir: programs are in /usr/bin, not in %s; units and files that name the old path have to change", clip(text(dir)))
	}
	overrides := r.get(n, "overrides")
	for _, f := range made {
		needs := r.get(overrides, f, "dependencies")
		if needs == nil {
			needs = r.get(n, "dependencies")
		}
		for _, d := range r.items(needs) {
			if s := r.plain(d, "nfpms.dependencies"); s != "" && !slices.Contains(p.Depends[f], s) {
				r.offer(d, "nfpms.dependencies: "+clip(s), p, func(p *config.Package) { put(&p.Depends, f, append(p.Depends[f], s)) })
			}
		}
	}
	for _, c := range r.items(r.get(n, "contents")) {
		r.content(p, c)
	}
	for _, f := range r.fields(overrides) {
		if slices.Contains(made, f.name) {
			r.leftovers("nfpms.overrides."+f.name, f.value, "dependencies", overrideInstead)
		}
	}
	for _, f := range r.fields(r.get(n, "rpm")) {
		if f.name != "summary" {
			r.note(f.key, "nfpms.rpm.%s: %s", clip(f.name), ownFormat)
		}
	}
	r.leftovers("nfpms", n, "ids builds package_name formats vendor homepage maintainer description license bindir section dependencies overrides contents rpm archlinux ipk msix", nfpmInstead)
}

var (
	manualPath = regexp.MustCompile(`^/usr/(?:local/)?share/man/man[1-9]/([^/]+?)(?:\.gz)?$`)
	unitPath   = regexp.MustCompile(`^(?:/usr)?/lib/systemd/system/([^/]+)$|^/etc/systemd/system/([^/]+)$`)
	ownDoc     = regexp.MustCompile(`^/usr/share/(?:doc|licenses)/[^/]+/(?:copyright|changelog(?:\.Debian)?(?:\.gz)?)$`)
	scriptPath = map[string]*regexp.Regexp{
		"bash": regexp.MustCompile(`^(?:/usr(?:/local)?/share/bash-completion/completions|/etc/bash_completion\.d)/([^/]+?)(?:\.bash)?$`),
		"zsh":  regexp.MustCompile(`^/usr(?:/local)?/share/zsh/(?:vendor-completions|site-functions|vendor_completions)/_([^/]+)$`),
		"fish": regexp.MustCompile(`^/usr(?:/local)?/share/fish/(?:vendor_completions\.d|completions)/([^/]+)\.fish$`),
	}
)

// content converts one of the contents: a file of the repository and its place.
func (r *reader) content(p *importedPackage, n *yaml.Node) {
	what := "nfpms.contents"
	switch kind := text(r.get(n, "type")); kind {
	case "", "file", "doc", "license", "licence", "readme", "config", "config|noreplace", "config|missingok":
	case "dir":
		r.note(n, "%s: a package has no empty folders; a service of systemd gets %s by StateDirectory= and the like", what, clip(text(r.get(n, "dst"))))
		return
	case "tree":
		r.note(n, "%s: a whole folder is not carried over; name its files under files", what)
		return
	default:
		r.note(n, "%s: %s is not carried over: a package has only files", what, clip(kind))
		return
	}
	src, dst := path.Clean(cmp.Or(r.plain(r.get(n, "src"), what), ".")), r.plain(r.get(n, "dst"), what)
	if src == "." || dst == "" {
		return
	}
	names := []string{src}
	if strings.ContainsAny(src, "*?[{") {
		if !fs.ValidPath(src) || strings.ContainsAny(src, "{}") || strings.Contains(src, "**") {
			r.note(n, "%s: the pattern %s is not carried over; name its files under files", what, clip(src))
			return
		}
		names = r.survey.glob(src)
		dst += "/"
	}
	if len(names) == 0 || !slices.ContainsFunc(names, r.survey.isFile) {
		r.note(n, "%s: there is no file %s and it is left out; a release is made from what is committed", what, clip(src))
		return
	}
	pages := func(name string) bool { return manualPath.MatchString(path.Join(dst, path.Base(name))) }
	if src != names[0] && manualFile.MatchString(strings.ReplaceAll(path.Base(src), "*", "x")) && !slices.ContainsFunc(names, func(name string) bool { return !pages(name) }) {
		r.offer(n, what, p, func(p *config.Package) { p.Manuals = append(p.Manuals, src) })
		names = nil
	}
	for _, name := range names {
		to := dst
		if strings.HasSuffix(dst, "/") {
			to = path.Join(dst, path.Base(name))
		}
		r.place(p, n, name, path.Clean(to), len(names) == 1)
	}
	for _, key := range []string{"owner", "group"} {
		if v := r.get(n, "file_info", key); text(v) != "" && text(v) != "root" {
			r.note(v, "%s: files belong to root, not to %s", what, clip(text(v)))
		}
	}
	if v := r.get(n, "file_info", "mode"); text(v) != "" && !slices.Contains([]string{"0644", "0o644", "420", "0755", "0o755", "493"}, text(v)) {
		r.note(v, "%s: files are 0644, and 0755 where they can be run in the repository, not %s", what, clip(text(v)))
	}
}

// place puts one file where the package has it: a page of the manual, a completion script or a unit under the key for
// these, which also formats with other folders can do with.
func (r *reader) place(p *importedPackage, n *yaml.Node, name, to string, alone bool) {
	what := "nfpms.contents: " + clip(to)
	if m := manualPath.FindStringSubmatch(to); m != nil && path.Base(name) == m[1] {
		if !slices.Contains(p.Manuals, name) {
			r.offer(n, what, p, func(p *config.Package) { p.Manuals = append(p.Manuals, name) })
		}
		return
	}
	for shell, re := range scriptPath {
		if m := re.FindStringSubmatch(to); m != nil && m[1] == r.firstBinary(p) && cmp.Or(p.Completions[shell], name) == name {
			r.offer(n, what, p, func(p *config.Package) { put(&p.Completions, shell, name) })
			return
		}
	}
	if m := unitPath.FindStringSubmatch(to); m != nil {
		switch base := cmp.Or(m[1], m[2]); {
		case base != path.Base(name):
			r.note(n, "%s is left out: a unit has the name of its file; rename %s to %s and add it to units", what, clip(name), clip(base))
		case !slices.Contains(p.Units, name):
			r.offer(n, what, p, func(p *config.Package) { p.Units = append(p.Units, name) })
		}
		return
	}
	switch format := text(r.get(n, "packager")); {
	case licenceFile.MatchString(strings.ToLower(path.Base(name))) && (strings.HasPrefix(to, "/usr/share/doc/") || strings.HasPrefix(to, "/usr/share/licenses/")):
		return // every package has the licences
	case ownDoc.MatchString(to):
		r.note(n, "%s is left out: it is made from the licence or the release notes", what)
		return
	case format != "" && (len(p.Formats) != 1 || p.Formats[0] != format):
		r.note(n, "%s is left out, as files are the same in every format and it is for %s alone; make a package with that format of its own, or add it to files", what, clip(format))
		return
	}
	if other, ok := p.Files[to]; ok && other != name {
		r.note(n, "%s is left out: %s is there already", what, clip(other))
		return
	}
	if !r.offer(n, what, p, func(p *config.Package) { put(&p.Files, to, name) }) {
		return
	}
	if alone && strings.HasPrefix(text(r.get(n, "type")), "config") && !strings.HasPrefix(to, "/etc/") {
		r.note(n, "%s is replaced by the next version: only what is below /etc is kept if its user changed it", what)
	}
}

// firstBinary is the program that completion scripts of the package are for.
func (r *reader) firstBinary(p *importedPackage) string {
	if len(p.Binaries) > 0 {
		return p.Binaries[0]
	}
	if len(r.out.binaries) == 0 {
		return ""
	}
	return r.out.binaries[0].Name
}

const installedFiles = "programs, manual pages and completion scripts are installed as the package has them"

var brewInstead = map[string]string{
	"install":       installedFiles,
	"extra_install": installedFiles + "; name these under manuals and completions",
	"service":       "a service is installed only on Linux, where units names it",
	"plist":         "a service is installed only on Linux, where units names it",
}

// rubyTest finds the program and its arguments in a formula's test: system "#{bin}/tool", "--version".
var rubyTest = regexp.MustCompile(`(?:"#\{bin\}/[^"\s]+((?:\s+[^"\s#]+)*)"|\bbin\s*/\s*"[^"\s]+")((?:\s*,\s*"[^"#]*")*)`)

// brew converts a formula.
func (r *reader) brew(n *yaml.Node) {
	p, _ := r.pkg("brews", n, true, false)
	p.format(format.Formula.Name)
	if test := r.get(n, "test"); text(test) != "" {
		r.formulaTest(p, test)
	}
	r.download("brews.url_template", r.get(n, "url_template"))
	r.leftovers("brews", n, "name ids homepage description license test url_template", brewInstead)
}

// formulaTest takes the arguments from a test that asks for the version.
func (r *reader) formulaTest(p *importedPackage, n *yaml.Node) {
	var args []string
	if found := rubyTest.FindAllStringSubmatch(text(n), -1); len(found) == 1 {
		args = strings.Fields(found[0][1])
		for _, quoted := range strings.Split(found[0][2], `"`) {
			if strings.Trim(quoted, ", \t\n") != "" {
				args = append(args, quoted)
			}
		}
	}
	asks := slices.ContainsFunc(args, func(a string) bool {
		return slices.Contains([]string{"version", "-version", "--version", "-v", "-V"}, a)
	})
	switch {
	case !asks:
		r.note(n, "brews.test: it is not carried over: the formula's test looks for the version in what --version prints; other arguments go under test")
	case !slices.Equal(args, []string{"--version"}):
		r.offer(n, "brews.test", p, func(p *config.Package) { p.Test = args })
	}
}

var caskInstead = map[string]string{
	"dependencies":                         "it depends on nothing",
	"generate_completions_from_executable": "commit the completion scripts and name them under completions",
	"hooks":                                "hooks are not supported: nothing of the project runs while it is installed",
	"service":                              brewInstead["service"],
}

// cask converts a cask.
func (r *reader) cask(n *yaml.Node) {
	p, _ := r.pkg("homebrew_casks", n, true, false)
	p.format(format.Cask.Name)
	archived := func(v *yaml.Node, what string, add func(*config.Package, string)) {
		name := path.Clean(cmp.Or(r.plain(v, what), "."))
		if name == "." {
			return
		}
		if !fs.ValidPath(name) || !r.survey.isFile(name) {
			r.note(v, "%s: there is no file %s in the repository and it is left out", what, clip(name))
			return
		}
		r.offer(v, what, p, func(p *config.Package) { add(p, name) })
	}
	for _, key := range []string{"manpage", "manpages"} {
		for _, v := range r.items(r.get(n, key)) {
			archived(v, "homebrew_casks."+key, func(p *config.Package, name string) {
				if !slices.Contains(p.Manuals, name) {
					p.Manuals = append(p.Manuals, name)
				}
			})
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if p.Completions[shell] == "" {
			archived(r.get(n, "completions", shell), "homebrew_casks.completions", func(p *config.Package, name string) { put(&p.Completions, shell, name) })
		}
	}
	url := r.get(n, "url")
	r.download("homebrew_casks.url.template", r.get(url, "template"))
	r.leftovers("homebrew_casks.url", url, "template verified", nil)
	r.leftovers("homebrew_casks", n, "name ids homepage description license binary binaries manpage manpages completions url", caskInstead)
}

// scoop converts a manifest for Scoop.
func (r *reader) scoop(n *yaml.Node) {
	p, _ := r.pkg("scoops", n, true, false)
	p.format(format.Scoop.Name)
	r.download("scoops.url_template", r.get(n, "url_template"))
	const noScripts = "scripts are not carried over: nothing of the project runs while it is installed"
	r.leftovers("scoops", n, "name ids homepage description license url_template", map[string]string{"pre_install": noScripts, "post_install": noScripts})
}

var snapInstead = map[string]string{
	"base":              "programs are static, so the base is bare",
	"channel_templates": "which channels it goes to follows from the version",
	"extra_files":       "name them under files",
}

// snapcraft converts a snap.
func (r *reader) snapcraft(n *yaml.Node) {
	if text(r.get(n, "disable")) == "true" {
		return
	}
	p, name := r.pkg("snapcrafts", n, false, true)
	p.format(format.Snap.Name)
	if name = plainName(name); name != p.Name {
		r.offer(n, "snapcrafts.name", p, func(p *config.Package) { p.Snap.Name = name })
	}
	r.say(r.get(n, "summary"), "snapcrafts.summary", p, func(p *config.Package) *string { return &p.Summary })
	r.say(r.get(n, "description"), "snapcrafts.description", p, func(p *config.Package) *string { return &p.Description })
	if c := r.get(n, "confinement"); text(c) != "strict" {
		r.say(c, "snapcrafts.confinement", p, func(p *config.Package) *string { return &p.Snap.Confinement })
	}
	if grade := r.get(n, "grade"); text(grade) == "devel" {
		r.note(grade, "snapcrafts.grade: it follows from the version: devel for a prerelease, stable for any other")
	}
	r.plugs(p, n)
	if p.Snap.Confinement == "classic" && len(p.Snap.Plugs) > 0 {
		r.note(n, "snapcrafts.plugs: a classic snap is not confined, so its plugs are left out")
		p.Snap.Plugs = nil
	}
	r.leftovers("snapcrafts", n, "ids builds name name_template title summary description license grade confinement apps plugs", snapInstead)
}

// plugs takes the interfaces that any app of the snap uses.
func (r *reader) plugs(p *importedPackage, n *yaml.Node) {
	special := map[string]bool{}
	add := func(n *yaml.Node, name string) {
		if name != "" && !special[name] && !slices.Contains(p.Snap.Plugs, name) {
			r.offer(n, "snapcrafts.plugs: "+clip(name), p, func(p *config.Package) { p.Snap.Plugs = append(p.Snap.Plugs, name) })
		}
	}
	for _, f := range r.fields(r.get(n, "plugs")) {
		if special[f.name] = !emptyNode(f.value); special[f.name] {
			r.note(f.key, "snapcrafts.plugs: %s has attributes and is left out: a plug is the name of an interface", clip(f.name))
			continue
		}
		add(f.key, f.name)
	}
	for _, app := range r.fields(r.get(n, "apps")) {
		for _, plug := range r.items(r.get(app.value, "plugs")) {
			add(plug, text(plug))
		}
		r.leftovers("snapcrafts.apps."+clip(app.name), app.value, "command plugs", map[string]string{
			"args":      "an app is its program, without arguments",
			"completer": "completion scripts are named under completions",
			"daemon":    "a unit that units names becomes a service of the snap",
		})
	}
}

// chocolatey converts a package for Chocolatey.
func (r *reader) chocolatey(n *yaml.Node) {
	p, name := r.pkg("chocolateys", n, true, true)
	p.format(format.Nupkg.Name)
	if name != p.Name {
		r.offer(n, "chocolateys.name", p, func(p *config.Package) { p.Nupkg.ID = name })
	}
	r.say(r.get(n, "summary"), "chocolateys.summary", p, func(p *config.Package) *string { return &p.Summary })
	r.say(r.get(n, "description"), "chocolateys.description", p, func(p *config.Package) *string { return &p.Description })
	if tags := r.get(n, "tags"); tags != nil {
		for _, tag := range strings.Fields(strings.Join(r.strings(tags), " ")) {
			if !slices.Contains(p.Nupkg.Tags, tag) {
				r.offer(tags, "chocolateys.tags: "+clip(tag), p, func(p *config.Package) { p.Nupkg.Tags = append(p.Nupkg.Tags, tag) })
			}
		}
	}
	r.download("chocolateys.url_template", r.get(n, "url_template"))
	r.leftovers("chocolateys", n, "name ids tags summary description project_url url_template title", map[string]string{
		"authors":       "the vendor of the project is named",
		"dependencies":  "the package installs one static program and needs no other",
		"owners":        "the vendor of the project is named",
		"release_notes": "the release notes are in it",
	})
}

// winget converts a manifest for winget.
func (r *reader) winget(n *yaml.Node) {
	p, name := r.pkg("winget", n, true, true)
	p.format(format.Winget.Name)
	id := r.plain(r.get(n, "package_identifier"), "winget.package_identifier")
	publisher := r.plain(r.get(n, "publisher"), "winget.publisher")
	if id == "" && publisher != "" {
		id = strings.ReplaceAll(publisher+"."+name, " ", "")
	}
	if id != "" && p.Winget.ID == "" {
		r.offer(n, "winget.package_identifier", p, func(p *config.Package) { p.Winget.ID = id })
	}
	r.say(r.get(n, "short_description"), "winget.short_description", p, func(p *config.Package) *string { return &p.Summary })
	r.download("winget.url_template", r.get(n, "url_template"))
	r.leftovers("winget", n, "name ids package_name package_identifier publisher path default_locale homepage description short_description license url_template", map[string]string{
		"dependencies":      "the package installs one static program and needs no other",
		"publisher_url":     "the project's own URLs are in it",
		"release_notes":     "the release notes are in it",
		"release_notes_url": "the release notes are in it",
	})
}

// changelog converts the section about release notes.
func (r *reader) changelog(f field) {
	const automatic = "release notes are always written, from the section of the changelog for the version, else from the commits"
	for _, key := range []string{"disable", "skip"} {
		if v := r.get(f.value, key); text(v) == "true" {
			r.note(f.key, "changelog.%s: %s", key, automatic)
			return
		} else if strings.Contains(text(v), "{{") {
			r.note(v, "changelog.%s: %s", key, automatic)
		}
	}
	r.out.fromCommits = true
	const conventional = "commits are grouped as Conventional Commits are written"
	for _, k := range r.fields(f.value) {
		switch k.name {
		case "use":
			if text(k.value) == "github-native" {
				r.note(k.key, "changelog.use: the notes are written from the commits, not by GitHub")
			}
		case "disable", "skip", "sort", "abbrev":
		case "filters", "groups", "format", "title", "divider":
			r.note(k.key, "changelog.%s: %s", k.name, conventional)
		default:
			r.note(k.key, "changelog.%s: it is not carried over", clip(k.name))
		}
	}
}

// release converts what is said of the release on the forge; its repository is read with the metadata.
func (r *reader) release(f field) {
	rest := false
	for _, k := range r.fields(f.value) {
		switch k.name {
		case "github", "gitlab", "gitea":
		case "disable", "skip_upload":
			if text(k.value) != "false" && text(k.value) != "" {
				r.note(k.key, "release.%s: a build publishes nothing", k.name)
			}
		case "extra_files", "templated_extra_files":
			r.note(k.key, "release.%s: a release has what is built and no other files; archives.files adds to the archives", k.name)
		case "header", "footer":
			r.note(k.key, "release.%s: nothing is written around the release notes", k.name)
		default:
			rest = true
		}
	}
	if rest {
		r.note(f.key, "release: how the release is published is not part of the build; only the repository is carried over")
	}
}

// signs converts signatures: those without a key keep the identity, and keys are made by keygen.
func (r *reader) signs(f field) {
	for _, n := range r.items(f.value) {
		if text(r.get(n, "artifacts")) == "none" || n.Kind != yaml.MappingNode {
			continue
		}
		standard := "gpg"
		if f.name == "docker_signs" {
			standard = "cosign"
		}
		args := r.strings(r.get(n, "args"))
		keyed := slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--key") || strings.HasPrefix(a, "-key") })
		if path.Base(cmp.Or(text(r.get(n, "cmd")), standard)) == "cosign" && len(args) > 0 && !keyed {
			if r.out.keyless == "" {
				r.out.keyless = r.at(n) + ": " + f.name
			}
			continue
		}
		r.note(n, "%s: the key is not carried over: the keygen command makes one for the project; commit its public half and name it under signing.key. "+
			"The sign command signs the checksums, the manifest, the provenance, images and charts", f.name)
	}
}

// glob are the regular files that a pattern matches and that a release can name.
func (s *survey) glob(pattern string) []string {
	names, err := fs.Glob(s.root.FS(), pattern)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !s.isFile(name) || artifact.CheckPath(name) != nil })
}
