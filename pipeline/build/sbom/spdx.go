package sbom

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const noAssertion = "NOASSERTION"

// SPDX writes the document as SPDX 2.3 in JSON (https://spdx.github.io/spdx-spec/v2.3/), indented with two spaces and
// with one newline at the end. An error is about a document that contradicts itself.
func SPDX(d Document) ([]byte, error) {
	things, err := d.things()
	if err != nil {
		return nil, err
	}
	name, version := d.generator()
	doc := &spdx.Document{
		SPDXVersion:       spdx.Version,
		DataLicense:       spdx.DataLicense,
		SPDXIdentifier:    "DOCUMENT",
		DocumentName:      d.Subject.Name,
		DocumentNamespace: d.identifier("spdx"),
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: name + "-" + version}},
			Created:  d.created(),
		},
	}
	if v := d.Project.Vendor; v != "" {
		doc.CreationInfo.Creators = append(doc.CreationInfo.Creators, common.Creator{CreatorType: "Organization", Creator: v})
	}
	w := spdxWriter{doc: doc, ids: newNames(), licenses: newNames()}
	ids := map[string]common.ElementID{}
	things = withoutFiles(things)
	for _, t := range things {
		ids[t.key] = common.ElementID(w.ids.of(t.key))
	}
	for _, t := range things {
		doc.Packages = append(doc.Packages, w.pack(t, ids[t.key]))
	}
	subject := doc.Packages[0]
	if d.Subject.Kind != artifact.Image {
		subject.PackageFileName = d.Subject.Name
	}
	if d.Project.Repository != "" && d.Project.Commit != "" {
		subject.PackageSourceInfo = "built from git+" + d.Project.Repository + "@" + d.Project.Commit
	}
	w.relate("DOCUMENT", common.TypeRelationshipDescribe, ids[things[0].key])
	for _, t := range things {
		from := ids[t.key]
		if t.base != "" {
			w.relate(from, common.TypeRelationshipDescendantOf, ids[t.base])
		}
		for _, to := range t.holds {
			w.relate(from, common.TypeRelationshipContains, ids[to])
		}
		for _, to := range t.needs {
			w.relate(from, common.TypeRelationshipDependsOn, ids[to])
		}
	}
	b, err := canonjson.Indent(doc)
	if err != nil {
		return nil, fmt.Errorf("describing %s: %w", d.Subject.Name, err)
	}
	return b, nil
}

// withoutFiles leaves out the files that are no programs: a package with files must have a verification code over all of
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
	doc      *spdx.Document
	ids      *names
	licenses *names
}

func (w *spdxWriter) relate(from common.ElementID, how string, to common.ElementID) {
	w.doc.Relationships = append(w.doc.Relationships, &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: how,
	})
}

// spdxPurposes of what is not a library: a document has hundreds of those.
var spdxPurposes = map[sort]string{
	application:     "APPLICATION",
	archiveFile:     "ARCHIVE",
	container:       "CONTAINER",
	operatingSystem: "OPERATING_SYSTEM", // the schema's spelling; the text of the specification has a hyphen
}

// pack leaves out what says NOASSERTION where it may: in SPDX 2.3 that means the same.
func (w *spdxWriter) pack(t thing, id common.ElementID) *spdx.Package {
	p := &spdx.Package{
		PackageName: t.name, PackageSPDXIdentifier: id, PackageVersion: t.version,
		PackageDownloadLocation: noAssertion, PrimaryPackagePurpose: spdxPurposes[t.sort], PackageLicenseDeclared: w.license(t.license),
	}
	if t.supplier != "" {
		p.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: t.supplier}
	}
	if t.digest != "" {
		p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: t.digest.Hex()}}
	}
	for _, r := range []spdx.PackageExternalReference{
		{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: t.purl},
		{Category: common.CategorySecurity, RefType: common.TypeSecurityCPE23Type, Locator: t.cpe},
	} {
		if r.Locator != "" {
			p.PackageExternalReferences = append(p.PackageExternalReferences, &r)
		}
	}
	var lines []string
	for _, n := range t.notes {
		lines = append(lines, n.name+": "+n.value)
	}
	p.PackageComment = strings.Join(lines, "\n")
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
	if !slices.ContainsFunc(w.doc.OtherLicenses, func(l *spdx.OtherLicense) bool { return l.LicenseIdentifier == id }) {
		w.doc.OtherLicenses = append(w.doc.OtherLicenses, &spdx.OtherLicense{LicenseIdentifier: id, ExtractedText: text})
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
