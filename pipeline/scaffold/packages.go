package scaffold

import (
	"cmp"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// unit is a unit of systemd that a repository has.
type unit struct {
	path    string
	program string // what it starts; "" for one that starts nothing by itself, such as a timer
	snapped bool   // whether snapd has a counterpart
}

// Folders that hold what packages install, by any part of a path.
var (
	completionFolders = []string{"completion", "completions", "shell-completion", "shell-completions"}
	unitFolders       = []string{"contrib", "deploy", "deployment", "etc", "init", "package", "packages", "packaging", "systemd"}
)

var (
	manualFile    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:+@-]*\.[1-8]$`)
	manualSection = regexp.MustCompile(`^man[1-8]$`)
	manualText    = regexp.MustCompile(`(?m)^\.(?:TH|Dd|so)\s`)
	unitFile      = regexp.MustCompile(`\.(?:service|socket|timer)$`)
	unitText      = regexp.MustCompile(`(?m)^\[(?:Unit|Service|Socket|Timer)\]\s*$`)
	shells        = []string{"bash", "zsh", "fish", "powershell"}
)

// installed looks whether a file of the project is one that packages install besides programs.
func (s *survey) installed(name string) {
	dir, base := path.Split(name)
	if m := s.moduleOf(path.Clean(dir)); m != nil && m != s.main() && s.main().dir == "." {
		return // of another project
	}
	if artifact.CheckPath(name) != nil || strings.ContainsAny(name, `*?[\`) {
		return
	}
	within := func(folders []string) bool {
		return slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool { return slices.Contains(folders, part) })
	}
	switch {
	case isManualFolder(path.Clean(dir)) && manualFile.MatchString(base):
		// Names such as notes-1.2 look like pages of the manual.
		if b, err := s.read(name); err == nil && manualText.Match(b) {
			s.manuals = append(s.manuals, name)
		}
	case within(completionFolders):
		s.completions = append(s.completions, name)
	case unitFile.MatchString(base) && within(unitFolders):
		if b, err := s.read(name); err == nil && unitText.Match(b) {
			s.units = append(s.units, readUnit(name, string(b)))
		}
	}
}

// isManualFolder knows man, doc and docs and the sections below them, but no languages: man/de has pages of the same
// names.
func isManualFolder(dir string) bool {
	if manualSection.MatchString(path.Base(dir)) {
		dir = path.Dir(dir)
	}
	return slices.Contains([]string{"man", "doc", "docs"}, path.Base(dir))
}

// snapCommand is what snapd takes as the command of a service
// (https://github.com/canonical/snapd/blob/master/snap/validate.go).
var snapCommand = regexp.MustCompile(`^[A-Za-z0-9/. _#:$-]*$`)

// readUnit reads which program a unit starts
// (https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html).
func readUnit(name, text string) unit {
	u := unit{path: name}
	section, kind, commands, plain := "", "simple", 0, true
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, _ := strings.Cut(line, "=")
		if section != "[Service]" {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "Type":
			kind = value
		case "ExecStart":
			commands++
			plain = plain && snapCommand.MatchString(value) && strings.HasPrefix(value, "/")
			if program, _, _ := strings.Cut(strings.TrimLeft(value, "@-:+!|"), " "); u.program == "" {
				u.program = program
			}
		}
	}
	kinds := []string{"simple", "exec", "notify", "oneshot", "forking"}
	u.snapped = strings.HasSuffix(name, ".service") && !strings.Contains(path.Base(name), "@") && commands == 1 && plain && slices.Contains(kinds, kind)
	return u
}

// shellOf is the shell whose completion script for the program a file is; "" for none.
func shellOf(name, program string) string {
	base := path.Base(name)
	switch {
	case base == program && slices.Contains(shells, path.Base(path.Dir(name))):
		return path.Base(path.Dir(name))
	case slices.Contains([]string{program + ".bash", program + "-completion.bash", program + ".bash-completion"}, base):
		return "bash"
	case slices.Contains([]string{"_" + program, program + ".zsh", "_" + program + ".zsh"}, base):
		return "zsh"
	case base == program+".fish":
		return "fish"
	case slices.Contains([]string{program + ".ps1", "_" + program + ".ps1"}, base):
		return "powershell"
	}
	return ""
}

// changelogNames are what changelogs are called in lower case, the usual name first.
var changelogNames = []string{"changelog.md", "history.md", "changes.md", "releases.md"}

// headedByVersion finds a version at the beginning of a line or in a heading: a text about releases in general is no
// changelog.
var headedByVersion = regexp.MustCompile(`(?m)^(?:#+ .*?)?\[?v?\d+\.\d+\.\d+`)

// changelogAt considers a file at the root as the changelog.
func (s *survey) changelogAt(name string) {
	rank := func(name string) int { return slices.Index(changelogNames, strings.ToLower(name)) }
	usual := config.Notes{}.ChangelogFile()
	if rank(name) < 0 || s.changelog == usual || s.changelog != "" && rank(name) > rank(s.changelog) {
		return
	}
	if b, err := s.read(name); name == usual || err == nil && headedByVersion.Match(b) {
		s.changelog = name
	}
}

// importedPackage is a package as the imported file has it.
type importedPackage struct {
	config.Package
	at string // where the file speaks of it, and in which section
}

// packages fills in what people install: what the imported file makes, else one package of all programs.
func (p *proposal) packages(imported *goreleaser) {
	wanted := []*importedPackage{{at: "packages"}}
	if imported != nil {
		wanted = imported.packages
		if imported.download != p.config.DownloadFolder() {
			set(p, &p.config.Download, imported.download, "download")
		}
	}
	for _, w := range wanted {
		p.pkg(*w, len(wanted) == 1, imported == nil)
	}
	if slices.ContainsFunc(p.config.Packages, func(c config.Package) bool {
		return !strings.Contains(c.Maintainer, "<") && (len(c.Formats) == 0 || slices.Contains(c.Formats, format.Deb.Name))
	}) {
		p.note("packages: Debian requires a maintainer, as Name <address>: write it under maintainer. Until then the vendor is named there")
	}
}

// pkg adds a package. An only one gets all manual pages of the repository; a new one, every format that it can have.
func (p *proposal) pkg(w importedPackage, only, everything bool) {
	c := w.Package
	formats := c.Formats
	if everything {
		formats = format.Where(nil)
	}
	distributed := slices.ContainsFunc(distributions(), func(f string) bool { return slices.Contains(formats, f) })
	c.Name = cmp.Or(c.Name, p.config.Project.Name)
	if distributed && strings.Contains(c.Name, "_") {
		c.Name = strings.ReplaceAll(c.Name, "_", "-")
		p.note("%s: the package is called %s, since Debian has no names with an underscore", w.at, c.Name)
	}
	var names []string
	for _, b := range p.config.Binaries {
		if len(c.Binaries) == 0 || slices.Contains(c.Binaries, b.Name) {
			names = append(names, b.Name)
		}
	}
	if c.Binaries = nil; len(names) < len(p.config.Binaries) {
		c.Binaries = names
	}
	if len(names) == 0 {
		p.note("%s: the package %s is left out, since its binaries are", w.at, c.Name)
		return
	}
	for _, text := range []*string{&c.Description, &c.Summary} {
		if *text == p.config.Project.Description {
			*text = "" // the default
		}
	}
	p.fill(&c, names, only, distributed)

	c.Formats = p.possible(w.at, c, formats, names)
	if len(c.Formats) == 0 {
		return
	}
	if slices.Contains(c.Formats, format.Snap.Name) {
		if name := format.SnapName(c.Name); c.Snap.Name == "" && name != c.Name {
			c.Snap.Name = name
		}
		p.services(w.at, &c, names)
	}
	if everything && len(c.Formats) == len(format.All) {
		c.Formats = nil
	}
	files := c.Files
	c.Files = nil
	before := len(p.config.Packages)
	set(p, &p.config.Packages, append(slices.Clone(p.config.Packages), c), "the package "+c.Name)
	if len(p.config.Packages) > before {
		set(p, &p.config.Packages[before].Files, files, "what the package "+c.Name+" has under files")
	}
}

// fill adds what the repository has for the package, where nothing is named yet.
func (p *proposal) fill(c *config.Package, names []string, only, distributed bool) {
	s := p.survey
	if len(c.Manuals) == 0 {
		mine := slices.Clone(s.manuals)
		if !only {
			mine = slices.DeleteFunc(mine, func(name string) bool {
				return !slices.ContainsFunc(names, func(b string) bool { return belongs(path.Base(name), b) })
			})
		}
		c.Manuals = p.patterns(mine)
	}
	// A package has one script for each shell, which is for its first program.
	if len(c.Completions) == 0 {
		for _, name := range s.completions {
			shell := shellOf(name, names[0])
			if _, ok := c.Completions[shell]; shell != "" && !ok {
				put(&c.Completions, shell, name)
			}
			if i := slices.IndexFunc(names, func(b string) bool { return shellOf(name, b) != "" }); i > 0 {
				p.note("%s: it is left out, as a package has the completions of its first program, %s; make another package of %s", name, names[0], names[i])
			}
		}
	}
	if len(c.Units) == 0 && distributed {
		p.fillUnits(c, names)
	}
}

// belongs reports whether a file is about a program by its name: tool.1, tool-build.1, tool.conf.5.
func belongs(base, program string) bool {
	rest, ok := strings.CutPrefix(base, program)
	return ok && rest != "" && strings.Contains(".-_", rest[:1])
}

// patterns writes the manual pages of a folder as a pattern where it has nothing else of that section. Of two pages of
// one name, which are installed to one place, the first is taken.
func (p *proposal) patterns(pages []string) []string {
	var all []string
	seen := map[string]string{}
	count := map[string]int{}
	for _, name := range pages {
		if other, ok := seen[path.Base(name)]; ok {
			p.note("%s: it is left out, as %s has the same name", name, other)
			continue
		}
		seen[path.Base(name)] = name
		all = append(all, name)
		count[path.Dir(name)+"/*"+path.Ext(name)]++
	}
	var out []string
	for _, name := range all {
		pattern := path.Dir(name) + "/*" + path.Ext(name)
		if count[pattern] > 1 && p.survey.matches(pattern) == count[pattern] {
			name = pattern
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// fillUnits adds the units that start a program of the package, and what starts these.
func (p *proposal) fillUnits(c *config.Package, names []string) {
	taken := map[string]bool{}
	take := func(u unit) {
		if base := path.Base(u.path); taken[base] {
			p.note("%s: it is left out, as there is another %s", u.path, base)
		} else {
			taken[base] = true
			c.Units = append(c.Units, u.path)
		}
	}
	for _, u := range p.survey.units {
		program := path.Base(u.program)
		switch {
		case u.program == "" || !slices.Contains(names, program):
		case slices.Contains(strings.Split(u.path, "/"), "user"):
			p.note("%s: it is left out, as packages have only units of the system", u.path)
		case u.program != "/usr/bin/"+program:
			p.note("%s: it starts %s, and packages have /usr/bin/%s: change it and add it to units of the package", u.path, u.program, program)
		default:
			take(u)
		}
	}
	for _, u := range p.survey.units {
		stem := strings.TrimSuffix(path.Base(u.path), path.Ext(u.path))
		if u.program == "" && (taken[stem+".service"] || taken[stem+"@.service"]) {
			take(u)
		}
	}
}

// possible are the formats that the package can have. What cannot be made is noted, once for each reason.
func (p *proposal) possible(at string, c config.Package, formats, names []string) []string {
	platforms := p.together(names)
	if len(platforms) == 0 {
		p.note("%s: the package %s is left out: no target has all of %s. Make a package of each under packages, with its binaries", at, c.Name, clip(strings.Join(names, ", ")))
		return nil
	}
	var out, reasons []string
	without := map[string][]string{}
	for _, f := range format.All {
		if !slices.Contains(formats, f.Name) {
			continue
		}
		why := p.unfit(f, c, platforms, names)
		if why == "" {
			out = append(out, f.Name)
			continue
		}
		if without[why] == nil {
			reasons = append(reasons, why)
		}
		without[why] = append(without[why], f.Name)
	}
	for _, why := range reasons {
		p.note("%s: %s is made without %s: %s", at, c.Name, strings.Join(without[why], ", "), why)
	}
	return out
}

// together are the platforms that have all of the binaries.
func (p *proposal) together(names []string) []artifact.Platform {
	count := map[artifact.Platform]int{}
	for _, b := range p.config.Binaries {
		if slices.Contains(names, b.Name) {
			for _, pl := range b.Platforms() {
				count[pl]++
			}
		}
	}
	maps.DeleteFunc(count, func(_ artifact.Platform, n int) bool { return n < len(names) })
	return slices.SortedFunc(maps.Keys(count), artifact.Platform.Compare)
}

// distributions are the formats of distributions, whose packages name others.
func distributions() []string {
	return format.Where(func(f format.Format) bool { return f.Relation != nil })
}

// unfit is why the package cannot have a format, and what would change that; "" where it can.
func (p *proposal) unfit(f format.Format, c config.Package, platforms []artifact.Platform, names []string) string {
	pr := p.config.Project
	switch {
	case !slices.ContainsFunc(platforms, f.Suits):
		return "none of its targets suits that format"
	case !f.Carries && p.config.DownloadFolder() == "":
		return "nothing says where the archives of a release are; set download, and name them under formats"
	case f.Unfit == nil:
		return ""
	}
	return f.Unfit(format.Facts{
		Name: c.Name, ID: c.ID(f.Name), Title: cmp.Or(pr.Title, pr.Name), Vendor: cmp.Or(pr.Vendor, path.Base(path.Dir(pr.Repository))),
		License: pr.License, Programs: names,
	})
}

// services leaves the units out of the snap where snapd has no counterpart of one.
func (p *proposal) services(at string, c *config.Package, names []string) {
	likePrograms := 0
	for _, name := range c.Units {
		u := unit{path: name}
		if b, err := p.survey.read(path.Clean(name)); err == nil {
			u = readUnit(name, string(b))
		}
		if slices.Contains(names, strings.TrimSuffix(path.Base(name), ".service")) {
			likePrograms++ // a snap has one other name for such a service
		}
		if !u.snapped || likePrograms > 1 || !slices.ContainsFunc(names, func(b string) bool { return u.program == "/usr/bin/"+b }) {
			c.Snap.Services = "none"
			p.note("%s: the snap of %s has no services, since snapd has no counterpart of %s", at, c.Name, name)
			return
		}
	}
}

// releaseNotes fills in where the notes come from.
func (p *proposal) releaseNotes(imported *goreleaser) {
	if imported != nil && imported.fromCommits {
		set(p, &p.config.Notes.From, "commits", "notes.from")
		return
	}
	if name := p.survey.changelog; name != "" && name != p.config.Notes.ChangelogFile() {
		set(p, &p.config.Notes.Changelog, name, "notes.changelog")
	}
}

// signing fills in who signs, where the imported file has signatures without a key.
func (p *proposal) signing(imported *goreleaser) {
	if imported == nil || imported.keyless == "" {
		return
	}
	repository := strings.TrimSuffix(p.config.Project.Repository, "/")
	if !strings.HasPrefix(repository, "https://github.com/") {
		p.note("%s: the identity that signs without a key is not known; set signing.identity and signing.issuer", imported.keyless)
		return
	}
	set(p, &p.config.Signing.Identity, repository+"/.github/workflows/release.yml@refs/tags/*", "signing.identity")
	p.note("%s: signatures without a key are those of .github/workflows/release.yml, as signing.identity says; the job that signs there needs the permission id-token: write", imported.keyless)
}
