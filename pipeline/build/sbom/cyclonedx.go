package sbom

import (
	"bytes"
	"fmt"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// CycloneDX writes the document as CycloneDX 1.6 in JSON (https://cyclonedx.org/docs/1.6/json/), indented with two
// spaces and with one newline at the end. An error is about a document that contradicts itself.
func CycloneDX(d Document) ([]byte, error) {
	things, err := d.things()
	if err != nil {
		return nil, err
	}
	subject := component(things[0])
	if d.Project.Repository != "" {
		subject.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: d.Project.Repository}}
	}
	name, version := d.generator()
	bom := cdx.NewBOM()
	bom.SerialNumber = d.identifier("cyclonedx")
	bom.Metadata = &cdx.Metadata{
		Timestamp:  d.created(),
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhasePostBuild}},
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: name, Version: version}}},
		Component:  &subject,
	}
	var components []cdx.Component
	var dependencies []cdx.Dependency
	var complete [partly + 1][]cdx.BOMReference
	for i, t := range things {
		if i > 0 {
			components = append(components, component(t))
		}
		if to := t.parts(); len(to) > 0 {
			dependencies = append(dependencies, cdx.Dependency{Ref: t.key, Dependencies: &to})
		}
		complete[t.whole] = append(complete[t.whole], cdx.BOMReference(t.key))
	}
	if components != nil {
		bom.Components = &components
	}
	if dependencies != nil {
		bom.Dependencies = &dependencies
	}
	var compositions []cdx.Composition
	for _, c := range []struct {
		whole whole
		word  cdx.CompositionAggregate
	}{
		{all, cdx.CompositionAggregateComplete},
		{unknown, cdx.CompositionAggregateUnknown},
		{partly, cdx.CompositionAggregateIncomplete},
	} {
		if refs := complete[c.whole]; refs != nil {
			compositions = append(compositions, cdx.Composition{Aggregate: c.word, Dependencies: &refs})
		}
	}
	if compositions != nil {
		bom.Compositions = &compositions
	}
	var b bytes.Buffer
	if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(bom); err != nil {
		return nil, fmt.Errorf("describing %s: %w", d.Subject.Name, err)
	}
	return b.Bytes(), nil
}

var cdxTypes = map[sort]cdx.ComponentType{
	application:     cdx.ComponentTypeApplication,
	archiveFile:     cdx.ComponentTypeFile,
	container:       cdx.ComponentTypeContainer,
	library:         cdx.ComponentTypeLibrary,
	operatingSystem: cdx.ComponentTypeOS,
	plainFile:       cdx.ComponentTypeFile,
}

func component(t thing) cdx.Component {
	c := cdx.Component{
		BOMRef: t.key, Type: cdxTypes[t.sort], Name: t.name, Version: t.version, PackageURL: t.purl, CPE: t.cpe,
	}
	if t.supplier != "" {
		c.Supplier = &cdx.OrganizationalEntity{Name: t.supplier}
	}
	if t.digest != "" {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: t.digest.Hex()}}
	}
	if t.license != "" {
		choice := cdx.LicenseChoice{License: &cdx.License{Name: t.license}}
		if e, ok := parseLicense(t.license); ok && e.simple {
			choice.License = &cdx.License{ID: e.text}
		} else if ok {
			choice = cdx.LicenseChoice{Expression: e.text}
		}
		c.Licenses = &cdx.Licenses{choice}
	}
	if t.notes != nil {
		var properties []cdx.Property
		for _, n := range t.notes {
			properties = append(properties, cdx.Property{Name: n.name, Value: n.value})
		}
		c.Properties = &properties
	}
	return c
}
