package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/ignore"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// kubernetes is the version that charts are rendered for. Helm's library would say 1.20 unless its linker says
// otherwise, and charts that refuse old clusters would not render.
var kubernetes = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}

// releaseName and releaseNamespace are what helm template takes.
const (
	releaseName      = "release-name"
	releaseNamespace = "default"
)

// check lints the chart, and returns what is not an error as warnings. Helm's linter reads only from disk, so the files are
// laid out in a temporary folder.
func check(ctx context.Context, files map[string][]byte) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Transient, err)
	}
	if ref, err := outsideRef(files["values.schema.json"]); err != nil {
		return nil, fault.New(fault.Build, fmt.Errorf("values.schema.json: %w", err))
	} else if ref != "" {
		return nil, fault.Errorf(fault.Build, "values.schema.json: %q is outside of the file, and a build reaches no network; copy it under $defs", ref)
	}
	dir, err := os.MkdirTemp("", "slipway-chart-")
	if err != nil {
		return nil, fault.New(fault.Build, fmt.Errorf("linting: %w", err))
	}
	defer os.RemoveAll(dir)
	for _, n := range slices.Sorted(maps.Keys(files)) {
		if n == ignore.HelmIgnore { // obeyed already, and it knows nothing of what was vendored
			continue
		}
		file := filepath.Join(dir, filepath.FromSlash(n))
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil {
			err = os.WriteFile(file, files[n], 0o600)
		}
		if err != nil {
			return nil, fault.New(fault.Build, fmt.Errorf("linting: %w", err))
		}
	}

	var warnings []string
	var errs []error
	// The schemas of dependencies are left to render, which knows those that refer to the network.
	linter := lint.AllWithKubeVersionAndSchemaValidation(dir, map[string]any{}, releaseNamespace, &kubernetes, true)
	for _, m := range linter.Messages {
		name := m.Path
		if name == "" || name == linter.ChartDir {
			name = chartFile
		}
		text := fmt.Sprintf("%s: %s", name, strings.ReplaceAll(m.Err.Error(), linter.ChartDir+string(filepath.Separator), ""))
		switch m.Severity {
		case support.ErrorSev:
			errs = append(errs, errors.New(text))
		case support.WarningSev:
			warnings = append(warnings, text)
		}
	}
	c, err := load(files)
	if err != nil {
		return nil, fault.New(fault.Build, err)
	}
	return append(warnings, dropOutsideSchemas(c)...), joined(fault.Build, errs)
}

// render renders the chart with the values as an installation would, without a cluster, and returns the references of
// all images in it. Every document must be YAML, the values must fit the schemas, and the references the policy.
func render(files map[string][]byte, v valuesFile) ([]string, error) {
	c, err := load(files)
	if err != nil {
		return nil, fault.New(fault.Build, fmt.Errorf("rendering with %s: %w", v.name, err))
	}
	return renderChart(c, v)
}

// Images are the references of all images that a packaged chart runs with its own values, sorted, each once. A chart
// whose references can come to mean other bytes is a fault.Policy.
func Images(tgz []byte) ([]string, error) {
	c, err := open(tgz)
	if err != nil {
		return nil, err
	}
	refs, err := renderChart(c, valuesFile{name: "the default values"})
	slices.Sort(refs)
	return slices.Compact(refs), err
}

// renderChart renders a chart that was read for this alone, since rendering changes it.
func renderChart(c *helmchart.Chart, v valuesFile) ([]string, error) {
	rendered, err := renderAll(c, v)
	if err != nil {
		return nil, err
	}
	var refs []string
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if path.Base(name) == "NOTES.txt" {
			continue
		}
		template := strings.TrimPrefix(name, c.Name()+"/")
		found, err := imagesIn([]byte(rendered[name]))
		if err != nil {
			return nil, unrendered(v, fmt.Errorf("%s: %w", template, err))
		}
		for _, f := range found {
			if err := checkReference(f.ref); err != nil {
				errs = append(errs, fmt.Errorf("%s with %s: %s: %w", template, v.name, f.owner, err))
			}
			refs = append(refs, f.ref)
		}
	}
	return refs, joined(fault.Policy, errs)
}

func unrendered(v valuesFile, err error) error {
	return fault.New(fault.Build, fmt.Errorf("rendering with %s: %w", v.name, err))
}

// renderAll renders the templates of a chart that was read for this alone. They are by name.
func renderAll(c *helmchart.Chart, v valuesFile) (map[string]string, error) {
	fail := func(err error) (map[string]string, error) { return nil, unrendered(v, err) }
	dropOutsideSchemas(c)
	values, err := chartutil.ReadValues(v.data)
	if err != nil {
		return fail(err)
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, values); err != nil {
		return fail(err)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = kubernetes
	release := chartutil.ReleaseOptions{Name: releaseName, Namespace: releaseNamespace, Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValues(c, values, release, capabilities)
	if err != nil {
		return fail(err)
	}
	rendered, err := engine.Engine{}.Render(c, top)
	if err != nil {
		return fail(err)
	}
	return rendered, nil
}

// schemaDraft are the meta-schemas that the validator has built in.
var schemaDraft = regexp.MustCompile(`^https?://json-schema\.org/(schema|draft-0[467]/schema|draft/(2019-09|2020-12)/schema)#?$`)

// outsideRef returns a reference in a JSON schema that is not into the schema itself: the validator would fetch it, from
// the network or from this machine's files.
func outsideRef(schema []byte) (string, error) {
	if schema == nil {
		return "", nil
	}
	var doc any
	if err := json.Unmarshal(bytes.TrimPrefix(schema, bom), &doc); err != nil {
		return "", err
	}
	var find func(v any) string
	find = func(v any) string {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				if ref := find(x); ref != "" {
					return ref
				}
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				s, text := v[k].(string)
				refers := k == "$ref" || k == "$dynamicRef" || k == "$recursiveRef" || k == "$schema"
				if text && refers && !strings.HasPrefix(s, "#") && !schemaDraft.MatchString(s) {
					return s
				}
				if ref := find(v[k]); ref != "" {
					return ref
				}
			}
		}
		return ""
	}
	return find(doc), nil
}

// dropOutsideSchemas takes the schemas away that cannot be read without a network, and names them. Only dependencies
// have such: of the chart itself they are an error.
func dropOutsideSchemas(c *helmchart.Chart) []string {
	var warnings []string
	if ref, err := outsideRef(c.Schema); err != nil || ref != "" {
		c.Schema = nil
		warnings = append(warnings, fmt.Sprintf("%s: the values are not validated: its schema refers to %q", c.ChartFullPath(), ref))
	}
	for _, sub := range c.Dependencies() {
		warnings = append(warnings, dropOutsideSchemas(sub)...)
	}
	return warnings
}

// image is a reference in a rendered document.
type image struct {
	owner string // container "main" or volume "models"
	ref   string
}

// Bounds of a rendered document: aliases make a small one large.
const (
	maxNodes = 1_000_000
	maxNests = 500
)

// imagesIn returns the images of all containers and image volumes in the YAML documents: wherever in the tree there is
// a list under one of the keys of a pod spec, so that the templates in workloads, lists and custom resources count.
func imagesIn(b []byte) ([]image, error) {
	f := finder{left: maxNodes}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return f.found, nil
		} else if err != nil {
			return nil, err
		}
		if err := f.walk(&doc, 0); err != nil {
			return nil, err
		}
	}
}

type finder struct {
	found []image
	left  int
}

func (f *finder) walk(n *yaml.Node, depth int) error {
	if f.left--; f.left < 0 || depth > maxNests {
		return fmt.Errorf("line %d: more than %d values or %d levels", n.Line, maxNodes, maxNests)
	}
	if n = resolved(n); n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			f.collect(n.Content[i].Value, resolved(n.Content[i+1]))
		}
	}
	for _, c := range n.Content {
		if err := f.walk(c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// collect takes the images from the list under a key of a pod spec
// (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec).
func (f *finder) collect(key string, list *yaml.Node) {
	if list.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range list.Content {
		item = resolved(item)
		var ref *yaml.Node
		kind := "container"
		switch key {
		case "containers", "initContainers", "ephemeralContainers":
			ref = lookup(item, "image")
		case "volumes":
			kind = "volume"
			if source := lookup(item, "image"); source != nil {
				ref = lookup(source, "reference")
			}
		}
		if ref == nil || ref.Kind != yaml.ScalarNode {
			continue
		}
		name := "without a name"
		if n := lookup(item, "name"); n != nil && n.Kind == yaml.ScalarNode {
			name = fmt.Sprintf("%q", n.Value)
		}
		f.found = append(f.found, image{owner: kind + " " + name, ref: ref.Value})
	}
}

// resolved is what an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// lookup is the value of a mapping's key, also of one merged in with <<, or nil.
func lookup(n *yaml.Node, key string) *yaml.Node {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		return nil
	}
	if _, v := child(n, key); v != nil {
		return resolved(v)
	}
	_, merged := child(n, "<<")
	if merged == nil {
		return nil
	}
	sources := []*yaml.Node{resolved(merged)}
	if sources[0].Kind == yaml.SequenceNode {
		sources = sources[0].Content
	}
	for _, s := range sources {
		if s = resolved(s); s.Kind == yaml.MappingNode {
			if _, v := child(s, key); v != nil {
				return resolved(v)
			}
		}
	}
	return nil
}
