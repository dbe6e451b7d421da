package class

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of a chart, in bytes: as it is packed, as it is unpacked, and of one file that is read.
const (
	maxChart    = 32 << 20
	maxUnpacked = 256 << 20
	maxValues   = 4 << 20
)

// chart is what users of a chart hold on to.
type chart struct {
	values map[string]any
	schema []byte // nil where there is none
}

// charts are those of a release, by name.
func charts(r change.Release) (map[string]chart, error) {
	all := map[string]chart{}
	for _, c := range r.Charts {
		b, err := r.File(c.Path, maxChart)
		if err != nil {
			return nil, err
		}
		is, err := readChart(b)
		if err != nil {
			return nil, fault.Errorf(fault.Mismatch, "%s: %w", c.Path, err)
		}
		all[c.Name] = is
	}
	return all, nil
}

// readChart reads the values of a packaged chart, and their schema; those of the charts in it are its own affair.
func readChart(b []byte) (c chart, err error) {
	unzip, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return c, err
	}
	files := tar.NewReader(io.LimitReader(unzip, maxUnpacked))
	for {
		h, err := files.Next()
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if name != "values.yaml" && name != "values.schema.json" {
			continue
		}
		text, err := bounded.Read(files, maxValues)
		if err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
		if name == "values.schema.json" {
			c.schema = text
		} else if err := yaml.Unmarshal(text, &c.values); err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// breaks are what a chart no longer takes of its users.
func (c chart) breaks(next chart) ([]string, error) {
	var all []string
	values("", c.values, next.values, &all)
	if next.schema == nil {
		return all, nil
	}
	before := c.schema
	if before == nil {
		before = []byte("{}")
	}
	narrower, err := narrowed(before, next.schema, func(path string) bool { return has(next.values, path) })
	if err != nil {
		return nil, fmt.Errorf("values.schema.json: %w", err)
	}
	for _, n := range narrower {
		// A schema that is new says what was so before, but for what it requires beyond the values that are there.
		if c.schema == nil && !strings.HasSuffix(n, " is required now") {
			continue
		}
		all = append(all, "value "+n)
	}
	return all, nil
}

// values compares what two charts have as their usual values. One that is null may be set to anything.
func values(path string, before, after map[string]any, found *[]string) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was, at := before[name], join(path, name)
		is, ok := after[name]
		if !ok {
			*found = append(*found, "value "+at+" is gone")
			continue
		}
		a, b := kindOf(was), kindOf(is)
		if a != b && a != "" && b != "" {
			*found = append(*found, fmt.Sprintf("value %s was %s and is %s", at, a, b))
			continue
		}
		if wasMap, ok := was.(map[string]any); ok {
			isMap, _ := is.(map[string]any)
			values(at, wasMap, isMap, found)
		}
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return ""
	case map[string]any, map[any]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "true or false"
	}
	return "a number"
}

func has(values map[string]any, path string) bool {
	at := any(values)
	for part := range strings.SplitSeq(path, ".") {
		m, _ := at.(map[string]any)
		if at = m[part]; at == nil {
			return false
		}
	}
	return true
}
