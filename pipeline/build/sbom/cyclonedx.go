package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// cdxDocument is a document of CycloneDX 1.6 as far as it is written here, with the keys in the order in which they are
// written.
type cdxDocument struct {
	Schema       string           `json:"$schema"`
	Format       string           `json:"bomFormat"`
	SpecVersion  string           `json:"specVersion"`
	SerialNumber string           `json:"serialNumber,omitempty"`
	Version      int              `json:"version"`
	Metadata     cdxMetadata      `json:"metadata"`
	Components   []cdxComponent   `json:"components,omitempty"`
	Dependencies []cdxDependency  `json:"dependencies,omitempty"`
	Compositions []cdxComposition `json:"compositions,omitempty"`
}

type cdxMetadata struct {
	Timestamp  string         `json:"timestamp,omitempty"`
	Lifecycles []cdxLifecycle `json:"lifecycles"`
	Tools      cdxTools       `json:"tools"`
	Component  cdxComponent   `json:"component"`
}

type cdxLifecycle struct {
	Phase string `json:"phase"`
}

type cdxTools struct {
	Components []cdxComponent `json:"components"`
}

type cdxComponent struct {
	Ref        string         `json:"bom-ref,omitempty"`
	Type       string         `json:"type"`
	Supplier   *cdxSupplier   `json:"supplier,omitempty"`
	Name       string         `json:"name"`
	Version    string         `json:"version,omitempty"`
	Hashes     []cdxHash      `json:"hashes,omitempty"`
	Licenses   []cdxLicense   `json:"licenses,omitempty"`
	CPE        string         `json:"cpe,omitempty"`
	PURL       string         `json:"purl,omitempty"`
	References []cdxReference `json:"externalReferences,omitempty"`
	Properties []cdxProperty  `json:"properties,omitempty"`
}

type cdxSupplier struct {
	Name string `json:"name"`
}

type cdxHash struct {
	Algorithm string `json:"alg"`
	Value     string `json:"content"`
}

// cdxLicense is one license, or an expression of several.
type cdxLicense struct {
	One        *cdxOneLicense `json:"license,omitempty"`
	Expression string         `json:"expression,omitempty"`
}

type cdxOneLicense struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type cdxReference struct {
	URL  string `json:"url"`
	Type string `json:"type"`
}

type cdxProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type cdxDependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn,omitempty"`
}

type cdxComposition struct {
	Aggregate    string   `json:"aggregate"`
	Dependencies []string `json:"dependencies,omitempty"`
}

// CycloneDX writes the document as CycloneDX 1.6 in JSON (https://cyclonedx.org/docs/1.6/json/), indented with two
// spaces and with one newline at the end. An error is about a document that contradicts itself.
func CycloneDX(d Document) ([]byte, error) {
	things, err := d.things()
	if err != nil {
		return nil, err
	}
	subject := component(things[0])
	if d.Project.Repository != "" {
		subject.References = []cdxReference{{URL: d.Project.Repository, Type: "vcs"}}
	}
	name, version := d.generator()
	doc := cdxDocument{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", SerialNumber: d.identifier("cyclonedx"), Version: 1,
		Metadata: cdxMetadata{
			Timestamp:  d.created(),
			Lifecycles: []cdxLifecycle{{Phase: "post-build"}},
			Tools:      cdxTools{Components: []cdxComponent{{Type: "application", Name: name, Version: version}}},
			Component:  subject,
		},
	}
	var complete [partly + 1][]string
	for i, t := range things {
		if i > 0 {
			doc.Components = append(doc.Components, component(t))
		}
		if to := t.parts(); len(to) > 0 {
			doc.Dependencies = append(doc.Dependencies, cdxDependency{Ref: t.key, On: to})
		}
		complete[t.whole] = append(complete[t.whole], t.key)
	}
	for _, c := range []struct {
		whole whole
		word  string
	}{{all, "complete"}, {unknown, "unknown"}, {partly, "incomplete"}} {
		if refs := complete[c.whole]; refs != nil {
			doc.Compositions = append(doc.Compositions, cdxComposition{Aggregate: c.word, Dependencies: refs})
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("describing %s: %w", d.Subject.Name, err)
	}
	return b.Bytes(), nil
}

var cdxTypes = map[sort]string{
	application: "application", archiveFile: "file", container: "container", library: "library", operatingSystem: "operating-system", plainFile: "file",
}

func component(t thing) cdxComponent {
	c := cdxComponent{Ref: t.key, Type: cdxTypes[t.sort], Name: t.name, Version: t.version, PURL: t.purl, CPE: t.cpe}
	if t.supplier != "" {
		c.Supplier = &cdxSupplier{Name: t.supplier}
	}
	if t.digest != "" {
		c.Hashes = []cdxHash{{Algorithm: "SHA-256", Value: t.digest.Hex()}}
	}
	if t.license != "" {
		license := cdxLicense{One: &cdxOneLicense{Name: t.license}}
		if e, ok := parseLicense(t.license); ok && e.simple {
			license.One = &cdxOneLicense{ID: e.text}
		} else if ok {
			license = cdxLicense{Expression: e.text}
		}
		c.Licenses = []cdxLicense{license}
	}
	for _, n := range t.notes {
		c.Properties = append(c.Properties, cdxProperty{Name: n.name, Value: n.value})
	}
	return c
}
