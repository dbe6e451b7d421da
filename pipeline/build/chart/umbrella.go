package chart

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"

	helmchart "helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// MaxStored is how many bytes a secret may have (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size), in
// which Helm keeps each installation.
const MaxStored = 1 << 20

// Umbrella is a chart that has no templates of its own and installs others.
type Umbrella struct {
	Name        string
	Description string
	Home        string // URL, or ""
	Source      string // URL, or ""
	Text        string // what is told after it was installed; never a template
	Charts      []Part
}

// Part is a chart in an umbrella.
type Part struct {
	Dependency        // Repository says of which component it is
	Alias      string // by which its values are named, or "" for its name
}

// PackageUmbrella makes the chart and writes its package. Each chart is in it byte for byte, and each is installed unless the value
// <name>.enabled is false. Options are those of Package, without Dir and Dependencies. Errors are those of Package.
func PackageUmbrella(ctx context.Context, w io.Writer, u Umbrella, o Options) (Result, error) {
	fail := func(err error) (Result, error) { return Result{}, fmt.Errorf("chart %s: %w", u.Name, err) }
	t, err := u.tree()
	if err != nil {
		return fail(err)
	}
	var b bytes.Buffer
	r, err := pack(ctx, &b, o, t)
	if err != nil {
		return fail(err)
	}
	c, err := open(b.Bytes()) // each chart in it is within Helm's bounds, and so has all of it to be
	if err != nil {
		return fail(err)
	}
	if r.Stored, err = stored(c); err != nil {
		return fail(err)
	}
	_, err = w.Write(b.Bytes())
	return r, fault.New(fault.Build, err)
}

// tree are the files of the chart.
func (u Umbrella) tree() (tree, error) {
	meta := helmchart.Metadata{APIVersion: helmchart.APIVersionV2, Name: u.Name, Description: u.Description, Type: "application", Home: u.Home, Version: "0.0.0", AppVersion: "0.0.0"}
	if u.Source != "" {
		meta.Sources = []string{u.Source}
	}
	files := map[string][]byte{"templates/NOTES.txt": []byte(u.Text)}
	var values bytes.Buffer
	values.WriteString("# Values that every chart gets.\nglobal: {}\n")
	for _, part := range u.Charts {
		tgz, err := part.read()
		if err != nil {
			return tree{}, fmt.Errorf("%s %s of %s: %w", part.Name, part.Version, part.Repository, err)
		}
		files[fmt.Sprintf("charts/%s-%s.tgz", part.Name, part.Version)] = tgz
		called := cmp.Or(part.Alias, part.Name)
		meta.Dependencies = append(meta.Dependencies, &helmchart.Dependency{Name: part.Name, Version: part.Version, Condition: called + ".enabled", Alias: part.Alias})
		fmt.Fprintf(&values, "\n# Chart %s %s; see its own values for what else may stand here.\n%s:\n  enabled: true\n", part.Name, part.Version, quote(called))
	}
	about, err := yaml.Marshal(meta)
	if err != nil {
		return tree{}, fault.New(fault.Build, err)
	}
	files[chartFile], files["values.yaml"] = about, values.Bytes()
	return tree{files: files}, nil
}

// stored is the size of what is installed with the default values as Helm keeps it: compressed and in base64. The values and the
// templates of the chart itself, which are kept too, are not in it.
func stored(c *helmchart.Chart) (int, error) {
	rendered, err := renderAll(c, valuesFile{name: "the default values"})
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // of a level that there is
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if _, err := io.WriteString(zw, rendered[name]); err != nil {
			return 0, err
		}
	}
	err = zw.Close()
	return base64.StdEncoding.EncodedLen(b.Len()), err
}
