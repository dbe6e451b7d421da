package compare

import (
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

var nupkgRules = rules{
	class: func(part, _ string) class {
		switch part {
		case "nuspec":
			return line
		case "rels", "types", "core":
			return contents
		}
		return own
	},
	field: zipField,
	// Besides its nuspec a nupkg has things for readers that know nothing of NuGet.
	role: func(e inspect.Entry) role {
		switch {
		case strings.HasSuffix(strings.ToLower(e.Name), ".nuspec") && !strings.Contains(e.Name, "/"):
			return document
		case e.Name == "_rels/.rels" || strings.HasSuffix(e.Name, ".psmdcp"):
			return repeats
		}
		return installed
	},
	alias: coreProperties,
}

// zipField tells of the comment of a zip.
func zipField(c *comparer, where []string, x, y opened, key string) {
	if key == "zip.comment" {
		c.add(where, "comment of the zip %s", instead(x.Fields[key], y.Fields[key]))
		return
	}
	c.values(where, key, x.Facts, y.Facts, key)
}

// coreProperties is under which name the published has the core properties of a nupkg: their name is a sum of what is in them.
func coreProperties(a, b []inspect.Entry) map[string]string {
	find := func(list []inspect.Entry) (found []string) {
		for _, e := range list {
			if strings.HasSuffix(e.Name, ".psmdcp") {
				found = append(found, e.Name)
			}
		}
		return found
	}
	x, y := find(a), find(b)
	if len(x) != 1 || len(y) != 1 {
		return nil
	}
	return map[string]string{y[0]: x[0]}
}
