package scaffold

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// writer writes YAML with the comments that a reader of a new file wants.
type writer struct{ b strings.Builder }

func (w *writer) line(indent int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(&w.b, format+"\n", args...)
}

func (w *writer) text(indent int, key, value string) {
	if value != "" {
		w.line(indent, "%s: %s", key, scalar(value))
	}
}

func (w *writer) list(indent int, key string, values []string) {
	if len(values) == 0 {
		return
	}
	w.line(indent, "%s:", key)
	for _, v := range values {
		w.line(indent+1, "- %s", scalar(v))
	}
}

func (w *writer) platforms(indent int, key string, all []artifact.Platform) {
	switch {
	case len(all) == 0:
		return
	case len(all) <= 4:
		w.line(indent, "%s: [%s]", key, joinPlatforms(all))
		return
	}
	w.line(indent, "%s: [", key)
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].OS == all[i].OS {
			j++
		}
		w.line(indent+1, "%s,", joinPlatforms(all[i:j]))
		i = j
	}
	w.line(indent, "]")
}

func joinPlatforms(all []artifact.Platform) string {
	var list []string
	for _, p := range all {
		list = append(list, p.String())
	}
	return strings.Join(list, ", ")
}

func pairs[V ~string](w *writer, indent int, key string, m map[string]V) {
	if len(m) == 0 {
		return
	}
	w.line(indent, "%s:", key)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		w.line(indent+1, "%s: %s", scalar(k), scalar(string(m[k])))
	}
}

// encode returns the bytes of slipway.yaml.
func encode(c config.Config) []byte {
	w := &writer{}
	w.line(0, "# What this repository releases. Each key is described in the configuration reference of Slipway.")
	w.line(0, "version: 1")
	w.line(0, "")
	w.line(0, "project:")
	w.text(1, "name", c.Project.Name)
	w.text(1, "title", c.Project.Title)
	w.text(1, "description", c.Project.Description)
	w.text(1, "repository", c.Project.Repository)
	w.text(1, "homepage", c.Project.Homepage)
	w.text(1, "license", c.Project.License)
	w.text(1, "vendor", c.Project.Vendor)
	w.text(1, "tagPrefix", c.Project.TagPrefix)
	w.list(1, "licenseFiles", c.Project.Licenses)
	if c.Go != "" {
		w.line(0, "")
		w.line(0, "# The Go release that compiles the project, since go.mod names none in full.")
		w.text(0, "go", c.Go)
	}
	w.line(0, "")
	if slices.ContainsFunc(c.Binaries, func(b config.Binary) bool { return len(b.Targets) == 0 }) {
		w.line(0, "# A binary without targets is built for the default %d; add and exclude change that.", len(config.DefaultTargets()))
	}
	w.line(0, "binaries:")
	for _, b := range c.Binaries {
		w.line(1, "- name: %s", scalar(b.Name))
		w.text(2, "main", b.Main)
		w.text(2, "dir", b.Dir)
		w.platforms(2, "targets", b.Targets)
		w.platforms(2, "add", b.Add)
		w.platforms(2, "exclude", b.Exclude)
		pairs(w, 2, "vars", b.Vars)
		w.list(2, "ldflags", b.Ldflags)
		w.list(2, "tags", b.Tags)
		pairs(w, 2, "env", b.Env)
		w.text(2, "builder", b.Builder)
	}
	if c.Archives.Name != "" || c.Archives.Folder != "" || len(c.Archives.Files) > 0 {
		w.line(0, "")
		w.line(0, "# One archive for each target: tar.gz, and zip for Windows.")
		w.line(0, "archives:")
		w.text(1, "name", string(c.Archives.Name))
		w.text(1, "folder", string(c.Archives.Folder))
		w.list(1, "files", c.Archives.Files)
	}
	w.line(0, "")
	encodeImages(w, c.Images)
	if len(c.Charts) > 0 {
		w.line(0, "")
		w.line(0, "charts:")
		for _, ch := range c.Charts {
			w.line(1, "- path: %s", scalar(ch.Path))
			w.text(2, "repository", ch.Repository)
			pairs(w, 2, "annotations", ch.Annotations)
		}
	}
	w.line(0, "")
	encodePackages(w, c.Packages)
	if c.Download != "" {
		w.line(0, "")
		w.line(0, "# Where people fetch the archives of a release from.")
		w.text(0, "download", string(c.Download))
	}
	if c.Notes != (config.Notes{}) {
		w.line(0, "")
		w.line(0, "# What is new in a release.")
		w.line(0, "notes:")
		w.text(1, "changelog", c.Notes.Changelog)
		w.text(1, "from", c.Notes.From)
	}
	if c.Signing != (config.Signing{}) {
		w.line(0, "")
		w.line(0, "# Who signs a release.")
		w.line(0, "signing:")
		w.text(1, "key", c.Signing.Key)
		w.text(1, "identity", c.Signing.Identity)
		w.text(1, "issuer", c.Signing.Issuer)
	}
	if len(c.Filters) > 0 {
		w.line(0, "")
		w.line(0, "# Files go through Git LFS, also where only the configuration of a clone says so.")
		w.line(0, "filters: [%s]", strings.Join(c.Filters, ", "))
	}
	if c.Environment.Store != "" {
		w.line(0, "")
		w.line(0, "# The release store that says which version is in which environment, and what a release enters first.")
		w.line(0, "environment:")
		w.text(1, "store", c.Environment.Store)
		w.text(1, "enter", c.Environment.Enter)
	}
	return []byte(w.b.String())
}

func encodePackages(w *writer, all []config.Package) {
	if len(all) == 0 {
		w.line(0, "# Install packages, and what Homebrew, Scoop, winget and Chocolatey read:")
		w.line(0, "# packages:")
		w.line(0, "#   - name: name")
		w.line(0, "#     formats: [%s]", strings.Join(format.Where(nil), ", "))
		return
	}
	if slices.ContainsFunc(all, func(p config.Package) bool { return len(p.Formats) == 0 }) {
		w.line(0, "# What people install: %s,", strings.Join(format.Where(nil), ", "))
		w.line(0, "# unless formats names some of them. A program that does not know --version has test: [version] or the like.")
	} else {
		w.line(0, "# What people install. A program that does not know --version has test: [version] or the like.")
	}
	w.line(0, "packages:")
	for _, p := range all {
		w.line(1, "- name: %s", scalar(p.Name))
		if len(p.Formats) > 0 {
			w.line(2, "formats: [%s]", strings.Join(p.Formats, ", "))
		}
		w.list(2, "binaries", p.Binaries)
		w.text(2, "maintainer", p.Maintainer)
		w.text(2, "summary", p.Summary)
		w.text(2, "description", p.Description)
		w.text(2, "section", p.Section)
		w.list(2, "manuals", p.Manuals)
		pairs(w, 2, "completions", p.Completions)
		w.list(2, "units", p.Units)
		pairs(w, 2, "files", p.Files)
		if len(p.Depends) > 0 {
			w.line(2, "depends:")
			for _, f := range slices.Sorted(maps.Keys(p.Depends)) {
				w.list(3, f, p.Depends[f])
			}
		}
		w.list(2, "test", p.Test)
		if s := p.Snap; s.Name != "" || s.Confinement != "" || len(s.Plugs) > 0 || s.Services != "" || s.Compression != "" {
			w.line(2, "snap:")
			w.text(3, "name", s.Name)
			w.text(3, "confinement", s.Confinement)
			w.list(3, "plugs", s.Plugs)
			w.text(3, "services", s.Services)
			w.text(3, "compression", s.Compression)
		}
		if p.Nupkg.ID != "" || len(p.Nupkg.Tags) > 0 {
			w.line(2, "nupkg:")
			w.text(3, "id", p.Nupkg.ID)
			w.list(3, "tags", p.Nupkg.Tags)
		}
		if p.Winget.ID != "" {
			w.line(2, "winget:")
			w.text(3, "id", p.Winget.ID)
		}
	}
}

func encodeImages(w *writer, all []config.Image) {
	if len(all) == 0 {
		w.line(0, "# Container images, one for each distribution:")
		w.line(0, "# images:")
		w.line(0, "#   - repository: ghcr.io/owner/name")
		w.line(0, "#     distros: [alpine, ubuntu, distroless, ubi]")
		return
	}
	w.line(0, "# Each is tagged <version>-<distro>; the first distro's is <version> too.")
	w.line(0, "images:")
	for _, im := range all {
		w.line(1, "- repository: %s", scalar(im.Repository))
		w.text(2, "binary", im.Binary)
		if len(im.Distros) > 0 {
			w.line(2, "distros: [%s]", strings.Join(im.Distros, ", "))
		}
		w.text(2, "default", im.Default)
		w.platforms(2, "exclude", im.Exclude)
		w.text(2, "title", im.Title)
		w.text(2, "description", im.Description)
		w.text(2, "path", im.Path)
		w.list(2, "entrypoint", im.Entrypoint)
		w.list(2, "cmd", im.Cmd)
		pairs(w, 2, "env", im.Env)
		w.list(2, "ports", im.Ports)
		w.list(2, "volumes", im.Volumes)
		w.text(2, "workdir", im.Workdir)
		pairs(w, 2, "files", im.Files)
		pairs(w, 2, "labels", im.Labels)
	}
}

var (
	plainScalar  = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9_./:+@(), -]*$`)
	plainVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
	wordOfYAML   = regexp.MustCompile(`(?i)^(?:null|true|false|yes|no|on|off|y|n|\.inf|\.nan)$`)
)

// scalar is s as a YAML scalar that reads back as the same string: plain where nothing in it means anything to YAML.
func scalar(s string) string {
	switch {
	case plainVersion.MatchString(s):
		return s
	case plainScalar.MatchString(s) && !wordOfYAML.MatchString(s) && !strings.Contains(s, ": ") && !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " "):
		return s
	case !strings.ContainsFunc(s, func(r rune) bool { return r == '\'' || !strconv.IsPrint(r) }):
		return "'" + s + "'"
	}
	return strconv.Quote(strings.ToValidUTF8(s, "\uFFFD"))
}
