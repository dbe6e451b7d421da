package sbom

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const noAssertion = "NOASSERTION"

// spdxDocument is a document of SPDX 2.3 as far as it is written here, with the keys in the order in which they are written.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []*spdxPackage     `json:"packages,omitempty"`
	Licenses      []spdxLicense      `json:"hasExtractedLicensingInfos,omitempty"`
	Relationships []spdxRelationship `json:"relationships,omitempty"`
}

type spdxCreation struct {
	Creators []string `json:"creators"`
	Created  string   `json:"created"`
}

type spdxPackage struct {
	Name             string          `json:"name"`
	ID               string          `json:"SPDXID"`
	Version          string          `json:"versionInfo,omitempty"`
	FileName         string          `json:"packageFileName,omitempty"`
	Supplier         string          `json:"supplier,omitempty"`
	DownloadLocation string          `json:"downloadLocation"`
	FilesAnalyzed    bool            `json:"filesAnalyzed"`
	Checksums        []spdxChecksum  `json:"checksums,omitempty"`
	SourceInfo       string          `json:"sourceInfo,omitempty"`
	License          string          `json:"licenseDeclared,omitempty"`
	Comment          string          `json:"comment,omitempty"`
	References       []spdxReference `json:"externalRefs,omitempty"`
	Purpose          string          `json:"primaryPackagePurpose,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxReference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxLicense struct {
	ID   string `json:"licenseId"`
	Text string `json:"extractedText"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	To   string `json:"relatedSpdxElement"`
	How  string `json:"relationshipType"`
}

func spdxID(name string) string { return "SPDXRef-" + name }

func spdxOrganization(name string) string { return "Organization: " + name }

// SPDX writes the document as SPDX 2.3 in JSON (https://spdx.github.io/spdx-spec/v2.3/), indented with two spaces and
// with one newline at the end. An error is about a document that contradicts itself.
func SPDX(d Document) ([]byte, error) {
	things, err := d.things()
	if err != nil {
		return nil, err
	}
	name, version := d.generator()
	doc := &spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: spdxID("DOCUMENT"), Name: d.Subject.Name, Namespace: d.identifier("spdx"),
		Creation: spdxCreation{Creators: []string{"Tool: " + name + "-" + version}, Created: d.created()},
	}
	if v := d.Project.Vendor; v != "" {
		doc.Creation.Creators = append(doc.Creation.Creators, spdxOrganization(v))
	}
	w := spdxWriter{doc: doc, ids: newNames(), licenses: newNames()}
	ids := map[string]string{}
	things = withoutFiles(things)
	for _, t := range things {
		ids[t.key] = spdxID(w.ids.of(t.key))
	}
	for _, t := range things {
		doc.Packages = append(doc.Packages, w.pack(t, ids[t.key]))
	}
	subject := doc.Packages[0]
	if d.Subject.Kind != artifact.Image && d.Merged == nil {
		subject.FileName = d.Subject.Name
	}
	if d.Project.Repository != "" && d.Project.Commit != "" {
		subject.SourceInfo = "built from git+" + d.Project.Repository + "@" + d.Project.Commit
	}
	w.relate(doc.ID, "DESCRIBES", ids[things[0].key])
	for _, t := range things {
		from := ids[t.key]
		if t.base != "" {
			w.relate(from, "DESCENDANT_OF", ids[t.base])
		}
		for _, to := range t.holds {
			w.relate(from, "CONTAINS", ids[to])
		}
		for _, to := range t.needs {
			w.relate(from, "DEPENDS_ON", ids[to])
		}
	}
	b, err := canonjson.Indent(doc)
	if err != nil {
		return nil, fmt.Errorf("describing %s: %w", d.Subject.Name, err)
	}
	return b, nil
}

// withoutFiles leaves out the files that are not programs: a package with files must have a verification code over all of
// them, and one whose files were not analyzed none
// (https://spdx.github.io/spdx-spec/v2.3/package-information/#78-files-analyzed-field). CycloneDX names them.
func withoutFiles(things []thing) []thing {
	var out []thing
	for _, t := range things {
		if t.sort != plainFile {
			t.holds = slices.DeleteFunc(slices.Clone(t.holds), func(key string) bool { return strings.HasPrefix(key, fileKey) })
			out = append(out, t)
		}
	}
	return out
}

type spdxWriter struct {
	doc      *spdxDocument
	ids      *names
	licenses *names
}

func (w *spdxWriter) relate(from, how, to string) {
	w.doc.Relationships = append(w.doc.Relationships, spdxRelationship{From: from, To: to, How: how})
}

// spdxPurposes of what is not a library: a document has hundreds of those.
var spdxPurposes = map[sort]string{
	application:     "APPLICATION",
	archiveFile:     "ARCHIVE",
	container:       "CONTAINER",
	operatingSystem: "OPERATING_SYSTEM", // the schema's spelling; the text of the specification has a hyphen
}

// pack leaves out what says NOASSERTION where it may: in SPDX 2.3 that means the same.
func (w *spdxWriter) pack(t thing, id string) *spdxPackage {
	p := &spdxPackage{
		Name: t.name, ID: id, Version: t.version, DownloadLocation: noAssertion, Purpose: spdxPurposes[t.sort], License: w.license(t.license),
	}
	if t.supplier != "" {
		p.Supplier = spdxOrganization(t.supplier)
	}
	if t.digest != "" {
		p.Checksums = []spdxChecksum{{Algorithm: "SHA256", Value: t.digest.Hex()}}
	}
	for _, r := range []spdxReference{{"PACKAGE-MANAGER", "purl", t.purl}, {"SECURITY", "cpe23Type", t.cpe}} {
		if r.Locator != "" {
			p.References = append(p.References, r)
		}
	}
	var lines []string
	for _, n := range t.notes {
		lines = append(lines, n.name+": "+n.value)
	}
	p.Comment = strings.Join(lines, "\n")
	return p
}

// license is a license expression that says the same. Words that no list has get an identifier of this document.
func (w *spdxWriter) license(s string) string {
	if s == "" {
		return ""
	}
	e, ok := parseLicense(s)
	if !ok {
		return w.other(licenseRef+w.licenses.of("declared-"+s), s)
	}
	for _, ref := range e.refs {
		w.other(ref, "The license that is called "+ref+". Its text is not known here.")
	}
	return e.text
}

// other explains a LicenseRef, once.
func (w *spdxWriter) other(id, text string) string {
	if !slices.ContainsFunc(w.doc.Licenses, func(l spdxLicense) bool { return l.ID == id }) {
		w.doc.Licenses = append(w.doc.Licenses, spdxLicense{ID: id, Text: text})
	}
	return id
}

// names gives everything an identifier of letters, digits, dots and hyphens, no two of them the same.
type names struct {
	given map[string]string
	taken map[string]bool
}

func newNames() *names { return &names{map[string]string{}, map[string]bool{}} }

func (n *names) of(s string) string {
	if id, ok := n.given[s]; ok {
		return id
	}
	const longest = 80
	stem := strings.Map(func(r rune) rune {
		if strings.ContainsRune(idCharacters, r) {
			return r
		}
		return '-'
	}, s)
	stem = stem[:min(len(stem), longest)]
	id := stem
	for i := 2; n.taken[id]; i++ {
		id = stem + "-" + strconv.Itoa(i)
	}
	n.given[s], n.taken[id] = id, true
	return id
}
