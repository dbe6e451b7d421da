// Package nupkg makes Chocolatey packages: a nuspec, the PowerShell scripts that fetch the release's own zips for
// Windows, and what the Open Packaging Conventions ask for around them.
//
// Every text goes through the quoting of the place that it lands in, so that no field can become markup or code. Texts
// are made plain first (format.Plain, format.Line). XML has line ends of LF. Scripts and the texts for people have CRLF,
// and scripts begin with a byte order mark, without which PowerShell 5 reads them in the code page of the machine
// (https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_character_encoding).
package nupkg

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
)

// Bounds of texts in UTF-16 code units (https://learn.microsoft.com/nuget/reference/nuspec). A longer text is cut
// where format.Cut cuts.
const (
	maxTitle        = 256
	maxNames        = 4000
	maxDescription  = 4000
	maxReleaseNotes = 35000
)

// zip is an archive that the package fetches.
type zip struct{ URL, Hex, Name string }

// values are what the templates see.
type values struct {
	ID, Version, Title, Authors, Owners, Tags, Summary, Description, ReleaseNotes         string
	ProjectURL, LicenseURL, ProjectSourceURL, PackageSourceURL, BugTrackerURL, ReleaseURL string
	License                                                                               bool
	Zip32, Zip64                                                                          *zip
	Zips                                                                                  []zip
	Names                                                                                 []string // of the zips, each once
	Nuspec, Properties                                                                    string   // names of parts
}

//go:embed templates
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"xml": escape, "quote": quote, "relation": relation,
}).ParseFS(files, "templates/*"))

// Write writes the package of the recipe. It returns format.ErrNoWindows where the release has no zip that Chocolatey can
// fetch: the zip for 386 is taken on 32 bits, the one for amd64 on 64 bits and, by emulation, on arm64; one of them is
// enough.
func Write(w io.Writer, r format.Recipe) error {
	r.Name = cmp.Or(r.ID, r.Name)
	v, err := describe(r)
	if err != nil {
		return fmt.Errorf("making the Chocolatey package: %w", err)
	}
	var parts []archive.File
	sum := sha256.New()
	add := func(name, text string) {
		parts = append(parts, archive.Bytes(name, []byte(text)))
		fmt.Fprintf(sum, "%s\x00%d\x00%s", name, len(text), text)
	}
	render := func(name string) string {
		var b strings.Builder
		err = cmp.Or(err, templates.ExecuteTemplate(&b, name, v))
		return b.String()
	}
	if v.License {
		add("legal/LICENSE.txt", crlf(string(r.LicenseText)))
	}
	add("legal/VERIFICATION.txt", crlf(render("verification.txt")))
	add("tools/chocolateyinstall.ps1", crlf("\ufeff"+render("install.ps1")))
	add("tools/chocolateyuninstall.ps1", crlf("\ufeff"+render("uninstall.ps1")))
	add(v.Nuspec, render("nuspec.xml"))
	// NuGet gives this part a random name, or one that follows from the contents, as here.
	v.Properties = "package/services/metadata/core-properties/" + hex.EncodeToString(sum.Sum(nil))[:32] + ".psmdcp"
	add(v.Properties, render("psmdcp.xml"))
	add("_rels/.rels", render("rels.xml"))
	add("[Content_Types].xml", render("types.xml"))
	if err == nil {
		err = archive.Zip(w, parts, r.Time)
	}
	if err != nil {
		return fmt.Errorf("making the Chocolatey package: %w", err)
	}
	return nil
}

// describe checks the recipe and puts every text into the form that it has in the package.
func describe(r format.Recipe) (values, error) {
	if err := format.CheckNupkgID(r.Name); err != nil {
		return values{}, err
	}
	number, err := format.Nupkg.Version(r.Version)
	if err != nil {
		return values{}, err
	}
	name := func(s string) string { return format.Cut(person(s), maxNames) }
	v := values{
		ID: r.Name, Version: number,
		Title:        format.Cut(cmp.Or(format.Line(r.Title), r.Name), maxTitle),
		Authors:      cmp.Or(name(r.Vendor), name(r.Maintainer), r.Name),
		Owners:       cmp.Or(name(r.Maintainer), name(r.Vendor), r.Name),
		Tags:         tags(r.Tags, r.Name),
		Summary:      format.Cut(format.Line(r.Summary), maxDescription),
		Description:  format.Cut(text(r.Description), maxDescription),
		ReleaseNotes: format.Cut(cmp.Or(text(r.Notes), r.NotesURL, r.ReleaseURL), maxReleaseNotes),
		ProjectURL:   cmp.Or(r.Homepage, r.Repository), LicenseURL: r.LicenseURL,
		ProjectSourceURL: r.Repository, PackageSourceURL: r.Repository,
		BugTrackerURL: r.IssuesURL, ReleaseURL: r.ReleaseURL,
		License: len(r.LicenseText) > 0,
		Nuspec:  r.Name + ".nuspec",
	}
	if v.Description == "" {
		v.Description = cmp.Or(v.Summary, v.Title)
	}
	if v.Summary == "" {
		v.Summary = v.Title
	}
	for _, u := range []string{
		v.ProjectURL, v.LicenseURL, v.ProjectSourceURL, v.PackageSourceURL, v.BugTrackerURL,
		r.NotesURL, r.ReleaseURL,
	} {
		if u == "" {
			continue
		}
		if _, err := format.CheckURL(u); err != nil {
			return values{}, err
		}
	}
	// Moderators ask for a license and a source that are more than the home page again.
	if v.LicenseURL == v.ProjectURL {
		v.LicenseURL = ""
	}
	if v.ProjectSourceURL == v.ProjectURL {
		v.ProjectSourceURL = ""
	}

	downloads, err := format.Windows(r)
	if err != nil {
		return values{}, err
	}
	for _, d := range downloads {
		u, err := format.CheckURL(d.URL)
		if err != nil {
			return values{}, err
		}
		if format.Nupkg.Choose(d.Platform) == "" {
			continue
		}
		z := zip{d.URL, d.Digest.Hex(), format.Line(path.Base(u.Path))}
		v.Zips = append(v.Zips, z)
		if !slices.Contains(v.Names, z.Name) {
			v.Names = append(v.Names, z.Name)
		}
		if d.Platform.Arch == "386" {
			v.Zip32 = &z
		} else {
			v.Zip64 = &z
		}
	}
	if len(v.Zips) == 0 {
		return values{}, format.ErrNoWindows
	}
	return v, nil
}

// text is a plain text of several lines, without white space around it.
func text(s string) string { return strings.TrimSpace(format.Plain(s)) }

// person is the name in "Name <address>": Chocolatey refuses addresses among authors.
func person(s string) string {
	name, _, _ := strings.Cut(format.Line(s), "<")
	if strings.Contains(name, "@") {
		return ""
	}
	return strings.TrimSpace(name)
}

// tags are the words, separated by spaces; in one of several words hyphens take their place.
func tags(words []string, otherwise string) string {
	var out []string
	for _, w := range words {
		w = strings.Join(strings.FieldsFunc(format.Line(w), func(r rune) bool { return r == ',' || r == ' ' }), "-")
		if w != "" && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return format.Cut(cmp.Or(strings.Join(out, " "), otherwise), maxNames)
}

// crlf gives a text the line ends of Windows and an end of its last line.
func crlf(s string) string {
	s = strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n") + "\n"
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// escape is a text as content or attribute in XML. Line ends stay what they are.
func escape(s string) string {
	var b strings.Builder
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		// A strings.Builder takes everything.
		_ = xml.EscapeText(&b, []byte(line))
	}
	return b.String()
}

// quote is a text as a string of PowerShell in which nothing has a meaning but the quotes, which are doubled. PowerShell
// takes the typographic single quotes for the plain one
// (https://learn.microsoft.com/powershell/scripting/lang-spec/chapter-02#2352-string-literals).
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// relation is the id of the relation to a part, which follows from its name.
func relation(part string) string {
	sum := sha256.Sum256([]byte("/" + part))
	return "R" + strings.ToUpper(hex.EncodeToString(sum[:8]))
}
