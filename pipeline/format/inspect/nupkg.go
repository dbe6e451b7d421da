package inspect

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Types of relationships that a package has (https://learn.microsoft.com/nuget/reference/nuspec, ECMA-376 part 2).
const (
	opcManifest = "http://schemas.microsoft.com/packaging/2010/07/manifest"
	opcCore     = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties"
)

// nupkg reads a package of NuGet or Chocolatey: a zip with a nuspec at its root, which the relationships name, and a
// content type for every part.
func (j *job) nupkg() error {
	var specs []string
	parts := map[string]bool{}
	spec, types, rels, core := j.text(), j.text(), j.text(), j.text()
	err := j.unzip(j.tree(true, false), func(e *Entry) (io.Writer, func() error) {
		parts[e.Name] = true
		switch {
		case e.Type != File:
			return nil, func() error { return fmt.Errorf("%q is a %s; a nupkg has only files", e.Name, e.Type) }
		case e.Name == "[Content_Types].xml":
			return chosen(true, types), nil
		case e.Name == "_rels/.rels":
			return chosen(true, rels), nil
		case strings.HasSuffix(e.Name, ".psmdcp"):
			return chosen(true, core), nil
		case path.Dir(e.Name) == "." && strings.EqualFold(path.Ext(e.Name), ".nuspec"):
			specs = append(specs, e.Name)
			return chosen(true, spec), nil
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	if len(specs) != 1 || !types.seen || !rels.seen {
		return fmt.Errorf("it has %d nuspec files at its root; it must have one, [Content_Types].xml and _rels/.rels", len(specs))
	}
	if err := j.nuspec(spec.b); err != nil {
		return fmt.Errorf("reading %s: %w", specs[0], err)
	}
	if err := j.relations(rels.b, specs[0], parts); err != nil {
		return fmt.Errorf("reading _rels/.rels: %w", err)
	}
	if err := j.contentTypes(types.b); err != nil {
		return fmt.Errorf("reading [Content_Types].xml: %w", err)
	}
	if core.seen {
		if err := elements(core.b, func(at []string, text string, _ []xml.Attr) error {
			if len(at) == 2 {
				return j.field("core."+at[1], text)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("reading the core properties: %w", err)
		}
	}
	return nil
}

func (j *job) nuspec(b []byte) error {
	dependencies := 0
	err := elements(b, func(at []string, text string, attrs []xml.Attr) error {
		where := strings.Join(at, "/")
		switch {
		case len(at) == 1 && where != "package" || len(at) == 2 && where != "package/metadata" && where != "package/files":
			return fmt.Errorf("an element %q", where)
		case len(at) == 3 && at[1] == "metadata" && at[2] != "dependencies":
			return j.field("nuspec."+at[2], text)
		case strings.HasPrefix(where, "package/metadata/dependencies/") && at[len(at)-1] == "dependency":
			var words []string
			for _, a := range attrs {
				words = append(words, a.Name.Local+"="+a.Value)
			}
			dependencies++
			return j.field(fmt.Sprintf("nuspec.dependency.%d", dependencies-1), strings.Join(words, " "))
		}
		return nil
	})
	j.facts.Name, j.facts.Version = j.facts.Fields["nuspec.id"], j.facts.Fields["nuspec.version"]
	if err == nil && (j.facts.Name == "" || j.facts.Version == "") {
		err = errors.New("it has no id or no version")
	}
	return err
}

// relations checks that what the relationships of the package name is there, the nuspec among it.
func (j *job) relations(b []byte, spec string, parts map[string]bool) error {
	var named bool
	err := elements(b, func(at []string, _ string, attrs []xml.Attr) error {
		if strings.Join(at, "/") != "Relationships/Relationship" {
			return nil
		}
		target := strings.TrimPrefix(attribute(attrs, "Target"), "/")
		typ := attribute(attrs, "Type")
		if attribute(attrs, "TargetMode") == "External" || !parts[target] {
			return fmt.Errorf("%.80q is named, which is not in the package", target)
		}
		switch typ {
		case opcManifest:
			if target != spec || named {
				return fmt.Errorf("%.80q is named as the manifest, and %q is one", target, spec)
			}
			named = true
		case opcCore:
			return j.field("rels.core", target)
		}
		return j.field("rels."+attribute(attrs, "Id"), typ+" "+target)
	})
	if err == nil && !named {
		err = fmt.Errorf("%s is not named", spec)
	}
	return err
}

// contentTypes checks that each part has a type (ECMA-376 part 2, 10.1.2).
func (j *job) contentTypes(b []byte) error {
	known := map[string]bool{}
	err := elements(b, func(at []string, _ string, attrs []xml.Attr) error {
		var key string
		switch strings.Join(at, "/") {
		case "Types/Default":
			key = "." + strings.ToLower(attribute(attrs, "Extension"))
		case "Types/Override":
			key = strings.ToLower(attribute(attrs, "PartName"))
		default:
			return nil
		}
		if known[key] {
			return fmt.Errorf("%.80q has two types", key)
		}
		known[key] = true
		return j.field("types."+key, attribute(attrs, "ContentType"))
	})
	if err != nil {
		return err
	}
	for _, e := range j.facts.Entries {
		name := strings.ToLower(e.Name)
		if name != "[content_types].xml" && !known["/"+name] && !known[path.Ext(name)] {
			return fmt.Errorf("%q has no type", e.Name)
		}
	}
	return nil
}

func attribute(attrs []xml.Attr, name string) string {
	for _, a := range attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// elements calls see with every element of an XML document when it ends: its path, without name spaces, its own text
// and its attributes. Documents that define entities are refused.
func elements(b []byte, see func(at []string, text string, attrs []xml.Attr) error) error {
	dec := xml.NewDecoder(bytes.NewReader(b))
	dec.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("it is not UTF-8") }
	var at []string
	var texts [][]byte
	var attrs [][]xml.Attr
	ended := false
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			if !ended {
				return errEnds
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.Directive:
			return errors.New("it has a DOCTYPE")
		case xml.StartElement:
			if ended || len(at) >= maxDepth {
				return fmt.Errorf("it has two roots, or elements more than %d deep", maxDepth)
			}
			at = append(at, tok.Name.Local)
			texts = append(texts, nil)
			attrs = append(attrs, slices.Clone(tok.Attr))
		case xml.CharData:
			if len(at) > 0 {
				texts[len(at)-1] = append(texts[len(at)-1], tok...)
			}
		case xml.EndElement:
			last := len(at) - 1
			if err := see(at, string(bytes.TrimSpace(texts[last])), attrs[last]); err != nil {
				return err
			}
			at, texts, attrs = at[:last], texts[:last], attrs[:last]
			ended = len(at) == 0
		}
	}
}
