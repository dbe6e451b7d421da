package config

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Package is one program, or several that belong together, as package managers install it.
type Package struct {
	Name        string              `yaml:"name" doc:"Name of the package, in lower case. Default: the project's."`
	Formats     []string            `yaml:"formats" doc:"Formats to make. Default: every format that suits the targets of the binaries."`
	Binaries    []string            `yaml:"binaries" doc:"Binaries in the package. Default: all."`
	Maintainer  string              `yaml:"maintainer" doc:"Maintainer of the package. Debian requires a name and an address. Default: the vendor, with the noreply address of the owner where the repository is on GitHub." example:"The Tool Authors <tool@example.com>"`
	Summary     string              `yaml:"summary" doc:"One line of at most 78 characters without a full stop. Default: the project's description, cut."`
	Description string              `yaml:"description" doc:"What the program is for, in a few sentences. Default: the project's description."`
	Section     string              `yaml:"section" doc:"Section of Debian's archive. Default: utils."`
	Manuals     []string            `yaml:"manuals" doc:"Manual pages, as patterns relative to the root. The last part of a name is the section, as in tool.1." example:"docs/man/*.1"`
	Completions map[string]string   `yaml:"completions" doc:"Completion scripts in the repository by shell: bash, zsh, fish, powershell." example:"bash: completions/tool.bash"`
	Units       []string            `yaml:"units" doc:"Units of systemd, as paths in the repository." example:"packaging/tool.service"`
	Files       map[string]string   `yaml:"files" doc:"Files of the repository to install, by absolute path. What is below /etc is kept when its user changed it." example:"/etc/tool/config.yaml: config.sample.yaml"`
	Depends     map[string][]string `yaml:"depends" doc:"Packages that this one needs, by format: {related}." example:"deb: [ca-certificates]"`
	Test        []string            `yaml:"test" doc:"Arguments with which the program prints its version. Default: --version." example:"version"`
	Snap        Snap                `yaml:"snap" doc:"Settings that only snaps have."`
	Nupkg       Nupkg               `yaml:"nupkg" doc:"Settings that only Chocolatey packages have."`
	Winget      Winget              `yaml:"winget" doc:"Settings that only winget manifests have."`
}

// Snap is what only snaps have.
type Snap struct {
	Name        string   `yaml:"name" doc:"Name in the Snap Store. Default: the package's."`
	Confinement string   `yaml:"confinement" enum:"strict,classic,devmode" doc:"Confinement. Default: strict."`
	Plugs       []string `yaml:"plugs" doc:"Interfaces that the program may use. Default: home, network." example:"network-bind"`
	Services    string   `yaml:"services" enum:"all,none" doc:"Whether units become services of the snap. Default: all. snapd starts a program with arguments and knows little else of a unit; a unit that it cannot express is an error, and none avoids it."`
	Compression string   `yaml:"compression" enum:"xz,zstd" doc:"Compression of the file system. Default: xz; the Snap Store does not accept zstd."`
}

// Nupkg is what only Chocolatey packages have.
type Nupkg struct {
	ID   string   `yaml:"id" doc:"Identifier. Default: the name of the package."`
	Tags []string `yaml:"tags" doc:"Keywords to find it by."`
}

// Winget is what only winget manifests have.
type Winget struct {
	ID string `yaml:"id" doc:"Publisher and name with a dot between. Default: vendor and title." example:"Example.Tool"`
}

// Notes says where the release notes come from.
type Notes struct {
	Changelog string `yaml:"changelog" doc:"File with a section for each version, used where it has one for the version. Default: CHANGELOG.md."`
	From      string `yaml:"from" enum:"changelog,commits" doc:"commits ignores the changelog. Default: changelog."`
}

// Hub is what Artifact Hub shows about the charts.
type Hub struct {
	ID       string  `yaml:"repositoryID" doc:"Identifier of the repository there; artifacthub-repo.yml is made if it is given." example:"8f2c4a2e-3c5e-4f6f-9b59-0f7d1c2b3a4d"`
	Owners   []Owner `yaml:"owners" doc:"Who may claim the repository there."`
	Category string  `yaml:"category" enum:"ai-machine-learning,database,integration-delivery,monitoring-logging,networking,security,storage,streaming-messaging" doc:"Category of the charts."`
	Links    []Link  `yaml:"links" doc:"Further links. The source and the homepage are added by themselves."`
}

// Owner is somebody who may claim a repository.
type Owner struct {
	Name  string `yaml:"name" required:"true" doc:"Name as people write it."`
	Email string `yaml:"email" required:"true" doc:"Address of the account there."`
}

// Link is a named URL.
type Link struct {
	Name string `yaml:"name" required:"true" doc:"What it leads to."`
	URL  string `yaml:"url" required:"true" doc:"Where it leads to."`
}

// Signing says who signs a release.
type Signing struct {
	Key      string `yaml:"key" doc:"Public key of the project as PEM, a path in the repository. The keygen command makes a pair." example:"slipway.pub"`
	Identity string `yaml:"identity" doc:"Identity in the certificate of a signature without a key: the URL of the workflow, in which * stands for anything." example:"https://github.com/owner/name/.github/workflows/release.yml@refs/tags/*"`
	Issuer   string `yaml:"issuer" doc:"Issuer that vouches for the identity. Default: GitHub Actions, https://token.actions.githubusercontent.com."`
}

// dependFormats are the formats whose packages name others that they need.
var dependFormats = format.Where(func(f format.Format) bool { return f.Relation != nil })

// shells are those that a completion script may be for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

var (
	maintainer = regexp.MustCompile(`^[^<>@\s][^<>@\n]*(?: <[^<>@\s]+@[^<>@\s]+>)?$`)
	uuid       = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	httpsURL   = regexp.MustCompile(`^https://[^\s/]+(?:/\S*)?$`)
	wingetID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9][A-Za-z0-9-]*){1,7}$`)
	nupkgID    = regexp.MustCompile(`^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$`)
	snapName   = regexp.MustCompile(`^(?:[a-z0-9]+-?)*[a-z](?:-?[a-z0-9])*$`)
	manualName = regexp.MustCompile(`\.[1-9][a-z]*$`)
	unitName   = regexp.MustCompile(`\.(?:service|socket|timer|path|target|mount)$`)
)

// maxSummary is the longest summary that a snap may have, in characters
// (https://snapcraft.io/docs/snapcraft-top-level-metadata).
const maxSummary = 78

// DownloadFolder is the template of the URL that the archives of a release are below; "" where none is known.
func (c Config) DownloadFolder() Template {
	if c.Download != "" {
		return c.Download
	}
	u, err := url.Parse(c.Project.Repository)
	if err != nil || u.Host != "github.com" {
		return ""
	}
	return Template(strings.TrimSuffix(strings.TrimSuffix(c.Project.Repository, "/"), ".git") + "/releases/download/{{ .Tag }}")
}

// ID is the name that the package has in a format of which it has a section; "" where none is said.
func (p Package) ID(name string) string {
	return map[string]string{format.Snap.Name: p.Snap.Name, format.Nupkg.Name: p.Nupkg.ID, format.Winget.Name: p.Winget.ID}[name]
}

// PackageName is the name of the package.
func (p Package) PackageName(project string) string { return cmp.Or(p.Name, project) }

// ChangelogFile is the file that notes are read from; "" for none.
func (n Notes) ChangelogFile() string {
	if n.From == "commits" {
		return ""
	}
	return cmp.Or(n.Changelog, "CHANGELOG.md")
}

// GitHubIssuer vouches for the workflows of GitHub Actions
// (https://docs.github.com/actions/concepts/security/openid-connect).
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// IssuerURL is who vouches for the identity; "" where none is named.
func (s Signing) IssuerURL() string {
	if s.Identity == "" {
		return ""
	}
	return cmp.Or(s.Issuer, GitHubIssuer)
}

func (v *validator) packages(c Config) {
	names := map[string]int{}
	binaries := c.binaryNames()
	for i, p := range c.Packages {
		key := fmt.Sprintf("packages[%d]", i)
		name := p.PackageName(c.Project.Name)
		v.match(key+".name", p.Name, projectName, "lower-case letters and digits with single . _ or - between")
		if j, ok := names[name]; ok {
			v.At(key+".name", "%q is the name of packages[%d] too", name, j)
		}
		names[name] = i
		if len(binaries) == 0 {
			v.At(key, "a package installs binaries, and there are none; add one under binaries")
		}
		for j, f := range p.Formats {
			if _, ok := format.Find(f); !ok {
				all := format.Where(nil)
				v.At(fmt.Sprintf("%s.formats[%d]", key, j), "%.60q is not one of %s%s", f, strings.Join(all, ", "), yamldoc.DidYouMean(f, all))
			} else if slices.Contains(p.Formats[:j], f) {
				v.At(fmt.Sprintf("%s.formats[%d]", key, j), "%q is named twice", f)
			}
		}
		for j, b := range p.Binaries {
			if !slices.Contains(binaries, b) {
				v.At(fmt.Sprintf("%s.binaries[%d]", key, j), "there is no binary %.60q%s", b, yamldoc.DidYouMean(b, binaries))
			} else if slices.Contains(p.Binaries[:j], b) {
				v.At(fmt.Sprintf("%s.binaries[%d]", key, j), "%q is named twice", b)
			}
		}
		v.described(key, p)
		v.installed(key, p)
		for _, f := range sortedKeys(p.Depends) {
			v.depends(key+".depends."+f, f, p.Depends[f])
		}
		for j, a := range p.Test {
			v.line(fmt.Sprintf("%s.test[%d]", key, j), a)
		}
		v.snap(key+".snap", p.Snap)
		v.nupkg(key+".nupkg", p.Nupkg)
		v.match(key+".winget.id", p.Winget.ID, wingetID, "publisher and name with a dot between, such as Example.Tool")
		v.fetching(c, key, p)
	}
}

// described checks what a package says of itself in every format.
func (v *validator) described(key string, p Package) {
	v.match(key+".maintainer", p.Maintainer, maintainer, "a name, with an address in angle brackets behind it")
	v.line(key+".summary", p.Summary)
	if n := len([]rune(p.Summary)); n > maxSummary {
		v.At(key+".summary", "it has %d characters and may have %d", n, maxSummary)
	}
	v.match(key+".section", p.Section, sectionName, "a section of Debian's archive such as utils")
}

// installed checks what a package installs besides its programs.
func (v *validator) installed(key string, p Package) {
	for j, m := range p.Manuals {
		at := fmt.Sprintf("%s.manuals[%d]", key, j)
		v.pattern(at, m)
		if !manualName.MatchString(m) {
			v.At(at, "%.60q does not end in the section of the manual, as in tool.1", m)
		}
	}
	for _, shell := range sortedKeys(p.Completions) {
		at := key + ".completions." + shell
		if !slices.Contains(shells, shell) {
			v.At(at, "there is no shell %q%s; these are known: %s", shell, yamldoc.DidYouMean(shell, shells), strings.Join(shells, " "))
		}
		v.local(at, p.Completions[shell])
	}
	for j, u := range p.Units {
		at := fmt.Sprintf("%s.units[%d]", key, j)
		v.local(at, u)
		if !unitName.MatchString(u) {
			v.At(at, "%.60q is not the name of a unit such as tool.service", u)
		}
	}
	var paths []string
	for _, to := range sortedKeys(p.Files) {
		at := key + ".files." + to
		v.absolute(at, to)
		v.unlinked(at, to)
		v.local(at, p.Files[to])
		paths = append(paths, strings.TrimPrefix(to, "/"))
	}
	if err := artifact.CheckPaths(paths); err != nil {
		v.At(key+".files", "%w", err)
	}
}

// depends checks the packages that one of a format needs.
func (v *validator) depends(key, name string, needs []string) {
	if !slices.Contains(dependFormats, name) {
		v.At(key, "there is no such format%s; these are known: %s", yamldoc.DidYouMean(name, dependFormats), strings.Join(dependFormats, " "))
		return
	}
	f, _ := format.Find(name)
	for j, d := range needs {
		if !f.Relation.Pattern.MatchString(d) {
			v.At(fmt.Sprintf("%s[%d]", key, j), "%.60q is not a relation of %s; write one such as %s", d, name, f.Relation.Example)
		}
	}
}

func (v *validator) snap(key string, s Snap) {
	v.match(key+".name", s.Name, snapName, "a name for the Snap Store: lower-case letters, digits and single dashes")
	for j, plug := range s.Plugs {
		v.match(fmt.Sprintf("%s.plugs[%d]", key, j), plug, snapName, "the name of an interface such as network")
	}
}

func (v *validator) nupkg(key string, n Nupkg) {
	v.match(key+".id", n.ID, nupkgID, "an identifier: letters and digits with single . _ or - between")
	for j, tag := range n.Tags {
		v.match(fmt.Sprintf("%s.tags[%d]", key, j), tag, nupkgID, "one word")
	}
}

var sectionName = regexp.MustCompile(`^[a-z][a-z0-9-]*(?:/[a-z][a-z0-9-]*)?$`)

// fetching demands a URL of the archives where a format needs one.
func (v *validator) fetching(c Config, key string, p Package) {
	if c.DownloadFolder() != "" {
		return
	}
	carry := format.Where(func(f format.Format) bool { return f.Carries })
	for _, f := range format.Where(func(f format.Format) bool { return !f.Carries }) {
		if len(p.Formats) == 0 || slices.Contains(p.Formats, f) {
			v.At(key+".formats", "%s fetches the archives of the release, and nothing says from where: set download, or name only formats that carry their files: %s",
				f, strings.Join(carry, ", "))
			return
		}
	}
}

// line refuses text of several lines.
func (v *validator) line(key, value string) {
	if strings.ContainsAny(value, "\n\r\x00") {
		v.At(key, "%.60q has more than one line", value)
	}
}

func (v *validator) download(c Config) {
	if c.Download == "" {
		return
	}
	v.template("download", c.Download)
	v.match("download", string(c.Download), downloadURL, "an https URL")
}

// downloadURL allows plain http on loopback alone: everywhere else somebody in between could choose what is installed
// together with its checksum.
var downloadURL = regexp.MustCompile(`^(?:https://[^\s/]+|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?)(?:/.*)?$`)

func (v *validator) notes(n Notes) {
	v.local("notes.changelog", n.Changelog)
	if n.From == "commits" && n.Changelog != "" {
		v.At("notes.changelog", "from: commits ignores it; remove one of the two")
	}
}

func (v *validator) hub(h Hub) {
	v.match("artifactHub.repositoryID", h.ID, uuid, "an identifier such as 8f2c4a2e-3c5e-4f6f-9b59-0f7d1c2b3a4d")
	for i, l := range h.Links {
		key := fmt.Sprintf("artifactHub.links[%d]", i)
		v.line(key+".name", l.Name)
		v.match(key+".url", l.URL, httpURL, "an http or https URL")
	}
	for i, o := range h.Owners {
		key := fmt.Sprintf("artifactHub.owners[%d]", i)
		v.line(key+".name", o.Name)
		v.match(key+".email", o.Email, address, "an address")
	}
}

var address = regexp.MustCompile(`^[^<>@\s]+@[^<>@\s]+$`)

func (v *validator) signing(s Signing) {
	v.local("signing.key", s.Key)
	if s.Key != "" && path.Clean(s.Key) == "." {
		v.At("signing.key", "name a file")
	}
	if s.Key != "" && s.Identity != "" {
		v.At("signing.identity", "a release is signed with a key or with an identity; remove one of the two")
	}
	v.match("signing.identity", s.Identity, httpsURL, "the https URL of a workflow")
	v.match("signing.issuer", s.Issuer, downloadURL, "an https URL")
	if s.Issuer != "" && s.Identity == "" {
		v.At("signing.issuer", "it vouches for an identity, and none is named")
	}
}
