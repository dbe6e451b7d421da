package serve

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// way is how a person installs a release.
type way struct {
	Title    string
	Note     string
	Commands []command // the first is what most people want
}

// command is what a person copies, of one or more lines.
type command struct {
	For   string // platform or variant
	Lines []string
}

func (c command) Text() string { return strings.Join(c.Lines, "\n") }

// Rows is how many rows the command takes where a row has room for 60 characters.
func (c command) Rows() int {
	n := 0
	for _, l := range c.Lines {
		n += (len(l) + 59) / 60
	}
	return n
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?$`)

// base is the URL that people reach the server by, "" where that cannot be told.
func (s *Server) base(r *http.Request) string {
	switch {
	case s.options.URL != "":
		return strings.TrimSuffix(s.options.URL, "/")
	case !hostName.MatchString(r.Host):
		return ""
	case r.Header.Get("X-Forwarded-Proto") == "https":
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// installer finds the ways of a release.
type installer struct {
	*opened
	at string // URL of the release's page
}

// file is the URL of a file of the release: by its name alone where that tells it from others, since a file is kept under
// the last part of its address.
func (in installer) file(p string) string {
	if in.flat[path.Base(p)] == p {
		return in.at + "download/" + link(path.Base(p))
	}
	return in.at + "files/" + link(p)
}

// ways are how the release can be installed: from the files that it has here, from the registries that it names, and by
// package managers that it has recipes for. Nothing in a command has to be quoted, for one shell in this way and for another in
// that: what has such a name has no command.
func (in installer) ways() []way {
	public := len(in.Unpublishable) == 0
	all := []way{in.script(), in.homebrew()}
	for _, r := range in.manifest.Recipes {
		switch r.Format {
		case "scoop":
			all = append(all, way{"Scoop", "", []command{{"windows", []string{say("scoop install %s", in.file(r.Path))}}}})
		case "winget":
			if public && strings.HasSuffix(r.Path, ".installer.yaml") {
				all = append(all, way{"winget", "As soon as winget's own repository has this version.", []command{{"windows", []string{say("winget install --exact --id %s --version %s", r.Name, r.Version)}}}})
			}
		case "nupkg":
			all = append(all, way{"Chocolatey", "", []command{{"windows", []string{say("curl.exe -fLO %s", in.file(r.Path)), say("choco install %s --version %s --source .", r.Name, r.Version)}}}})
		}
	}
	all = append(all, in.packages()...)
	if public {
		all = append(all, in.images()...)
	}
	all = append(all, in.charts(public))
	if public {
		all = append(all, in.goInstall())
	}
	for i, w := range all {
		all[i].Commands = slices.DeleteFunc(w.Commands, func(c command) bool { return slices.Contains(c.Lines, "") })
	}
	return slices.DeleteFunc(all, func(w way) bool { return len(w.Commands) == 0 })
}

// plainWord is what no shell takes for more than it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/][A-Za-z0-9._~:/@%+,=-]*$`)

// say writes a line with words from a release; "" if one of them is not plain.
func say(line string, words ...string) string {
	all := make([]any, len(words))
	for i, w := range words {
		if !plainWord.MatchString(w) {
			return ""
		}
		all[i] = w
	}
	return fmt.Sprintf(line, all...)
}

// joined is a line of several parts; "" if one of them is.
func joined(parts ...string) string {
	if slices.Contains(parts, "") {
		return ""
	}
	return strings.Join(parts, "")
}

var notVariable = regexp.MustCompile(`[^A-Z0-9]+`)

// script is the install script, or else each archive.
func (in installer) script() way {
	for _, r := range in.manifest.Recipes {
		if r.Format == "script" {
			variable := strings.Trim(notVariable.ReplaceAllString(strings.ToUpper(r.Name), "_"), "_")
			if variable != "" && variable[0] >= '0' && variable[0] <= '9' {
				variable = "_" + variable
			}
			return way{"curl", "The script checks what it fetches before it installs it.", []command{{
				"Linux, macOS and others",
				[]string{say("curl -fsSLO %s", in.file(r.Path)), say("%s_DOWNLOAD_BASE=%sdownload sh %s", variable, in.at, path.Base(r.Path))},
			}}}
		}
	}
	var all []command
	for _, a := range in.manifest.Archives {
		all = append(all, command{a.Platform.String(), []string{say("curl -fLO %s", in.file(a.Path))}})
	}
	return way{"curl", "", all}
}

// homebrew puts the recipe into a tap on the person's own machine: Homebrew installs from nowhere else.
func (in installer) homebrew() way {
	for _, format := range []struct{ name, folder, option string }{{"formula", "Formula", ""}, {"cask", "Casks", "--cask "}} {
		for _, r := range in.manifest.Recipes {
			if r.Format != format.name {
				continue
			}
			tap := "local/" + r.Name
			folder := say(`"$(brew --repository %s)/%s"`, tap, format.folder)
			return way{"Homebrew", "", []command{{"macOS and Linux", []string{
				joined(say("brew tap-new --no-git %s", tap), " && mkdir -p ", folder),
				joined(say("curl -fsSL %s -o ", in.file(r.Path)), folder, say("/%s", path.Base(r.Path))),
				say("brew install "+format.option+"%s/%s", tap, r.Name),
			}}}}
		}
	}
	return way{}
}

// packages are those that carry their files.
func (in installer) packages() []way {
	var all []way
	for _, f := range []struct {
		format, title, note string
		lines               func(url, name string) []string
	}{
		{"snap", "snap", "", func(url, name string) []string {
			return []string{say("curl -fLO %s", url), say("sudo snap install --dangerous ./%s", name)}
		}},
		{"deb", "Debian and Ubuntu", "", func(url, name string) []string {
			return []string{say("curl -fLO %s", url), say("sudo apt install ./%s", name)}
		}},
		{"rpm", "Fedora, RHEL and others with dnf", "", func(url, _ string) []string {
			return []string{say("sudo dnf install %s", url)}
		}},
		{"apk", "Alpine", "", func(url, name string) []string {
			return []string{say("curl -fLO %s", url), say("sudo apk add --allow-untrusted ./%s", name)}
		}},
	} {
		w := way{Title: f.title, Note: f.note}
		for _, p := range in.manifest.Packages {
			if p.Format == f.format {
				w.Commands = append(w.Commands, command{p.Architecture, f.lines(in.file(p.Path), path.Base(in.file(p.Path)))})
				if p.Platform.String() == "linux/amd64" {
					slices.Reverse(w.Commands)
				}
			}
		}
		all = append(all, w)
	}
	return all
}

func (in installer) images() []way {
	docker, podman := way{Title: "Docker"}, way{Title: "Podman"}
	for _, im := range in.manifest.Images {
		named := im.Repository + "@" + string(im.Digest)
		docker.Commands = append(docker.Commands, command{im.Distro, []string{say("docker pull %s", named)}})
		podman.Commands = append(podman.Commands, command{im.Distro, []string{say("podman pull %s", named)}})
	}
	return []way{docker, podman}
}

func (in installer) charts(public bool) way {
	w := way{Title: "Helm"}
	for _, c := range in.manifest.Charts {
		line := say("helm install %s %s", c.Name, in.file(c.Path))
		if c.Repository != "" && public {
			line = say("helm install %s oci://%s --version %s", c.Name, c.Repository, c.Version)
		}
		w.Commands = append(w.Commands, command{c.Name, []string{line}})
	}
	return w
}

// goInstall needs the path of the main package, which is in its bill of materials, and a tag that the Go command takes for
// the version.
func (in installer) goInstall() way {
	w := way{Title: "go install"}
	if in.manifest.Tag != "v"+in.Version.String() {
		return w
	}
	for _, main := range in.texts.mains {
		w.Commands = append(w.Commands, command{path.Base(main), []string{say("go install %s@%s", main, in.manifest.Tag)}})
	}
	return w
}

// mainOf is the path of the main package that a bill of materials in CycloneDX is about, "" for none. Its package URL has the
// module, the version and the folder in it (https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md).
func mainOf(bill []byte) string {
	var d struct {
		Metadata struct {
			Component struct {
				PURL string `json:"purl"`
			} `json:"component"`
		} `json:"metadata"`
	}
	if err := canonjson.DecodeOpen(bill, &d); err != nil {
		return ""
	}
	rest, ok := strings.CutPrefix(d.Metadata.Component.PURL, "pkg:golang/")
	rest, folder, _ := strings.Cut(rest, "#")
	module, _, _ := strings.Cut(rest, "@")
	if !ok || module == "" {
		return ""
	}
	return path.Join(module, folder)
}

// billsOf are the bills of materials of the programs, one for each program, by their paths.
func billsOf(m manifest.Release) []string {
	var paths []string
	seen := map[string]bool{}
	for _, b := range m.Binaries {
		i := slices.IndexFunc(m.SBOMs, func(s manifest.SBOM) bool { return s.Format == "cyclonedx" && s.Subject == b.Path })
		if name := cmp.Or(b.Name, b.Path); i >= 0 && !seen[name] {
			seen[name] = true
			paths = append(paths, m.SBOMs[i].Path)
		}
	}
	return paths
}
