// Package chart checks a Helm chart and packages it so that the bytes depend on nothing but the chart and its commit.
//
// Helm's own packer stamps the clock and takes modes and owners from the machine; here Helm's libraries only read: they
// lint, render and validate, and the archive is written by package archive. What a chart depends on is resolved once,
// by Resolve, and pinned by digest; Package vendors exactly those bytes and reaches no network.
package chart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Options of one packaging.
type Options struct {
	Dir          string            // folder of the chart in a clean tree
	Version      string            // SemVer that the chart gets
	AppVersion   string            // empty keeps the one in Chart.yaml
	Time         time.Time         // commit time: the time of every entry and of Chart.lock
	Annotations  map[string]string // set in Chart.yaml
	Defaults     map[string]string // annotations that are set where Chart.yaml has none of that name
	Dependencies []Dependency      // as locked, each with its File
	Offered      []Dependency      // of components of a platform: vendored where Chart.yaml asks for them, see ComponentScheme
}

// Result is what is known of a chart that was packaged.
type Result struct {
	Name     string
	Images   []string // distinct references in everything that was rendered, sorted
	Renders  int      // times that the chart was rendered: with its defaults and with each ci/*-values.yaml
	Warnings []string // what Helm's linter recommends and what could not be checked
	OCI      OCI      // for a registry
	Stored   int      // bytes, at the least, of the secret in which Helm keeps an installation with the default values
}

const chartFile = "Chart.yaml"

var chartName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// Package checks the chart, stamps it and writes it as <name>/... in a tar.gz. Nothing is written before every check
// has passed.
//
// Errors are fault.Usage for a chart that is not well-formed or whose lock is stale, fault.Build for one that does not
// lint, render or validate, fault.Mismatch for a dependency that is not the locked one, and fault.Policy for an image
// that is neither SemVer-tagged nor pinned by digest.
func Package(ctx context.Context, w io.Writer, o Options) (Result, error) {
	t, err := readTree(o.Dir)
	if err != nil {
		return Result{}, fmt.Errorf("chart %s: %w", filepath.Base(o.Dir), err)
	}
	r, err := pack(ctx, w, o, t)
	if err != nil {
		return Result{}, fmt.Errorf("chart %s: %w", filepath.Base(o.Dir), err)
	}
	return r, nil
}

func pack(ctx context.Context, w io.Writer, o Options, t tree) (Result, error) {
	if _, err := semver.StrictNewVersion(o.Version); err != nil {
		return Result{}, fault.Errorf(fault.Usage, "version %q is not a semantic version such as 1.2.3 (https://semver.org)", o.Version)
	}
	raw, ok := t.files[chartFile]
	if !ok {
		return Result{}, fault.Errorf(fault.Usage, "%s is missing; is the path of the chart right?", chartFile)
	}
	if _, ok := t.files["requirements.yaml"]; ok {
		return Result{}, fault.Errorf(fault.Usage, "requirements.yaml: only Helm 2 needed it; move the dependencies into Chart.yaml (apiVersion: v2)")
	}
	annotations, err := withDefaults(raw, o.Annotations, o.Defaults)
	if err != nil {
		return Result{}, fault.New(fault.Usage, fmt.Errorf("%s: %w", chartFile, err))
	}
	stamped, name, err := stamp(raw, o.Version, o.AppVersion, annotations)
	if err != nil {
		return Result{}, fault.New(fault.Usage, fmt.Errorf("%s: %w", chartFile, err))
	}
	if err := artifact.CheckPath(name); err != nil || !chartName.MatchString(name) {
		return Result{}, fault.Errorf(fault.Usage, "%s: name %q is not a chart name: letters, digits, dots, dashes and underscores", chartFile, name)
	}
	files := maps.Clone(t.files)
	files[chartFile] = stamped
	deps, err := withOffered(files[chartFile], o)
	if err != nil {
		return Result{}, err
	}
	if err := vendor(files, deps, o.Time); err != nil {
		return Result{}, err
	}
	names := slices.Sorted(maps.Keys(files))
	if err := artifact.CheckPaths(names); err != nil {
		return Result{}, fault.New(fault.Usage, err)
	}

	r := Result{Name: name}
	r.Warnings, err = check(ctx, files)
	if err != nil {
		return Result{}, err
	}
	for _, v := range append([]valuesFile{{name: "the default values"}}, t.values...) {
		if err := ctx.Err(); err != nil {
			return Result{}, fault.New(fault.Transient, err)
		}
		refs, err := render(files, v)
		if err != nil {
			return Result{}, err
		}
		r.Images = append(r.Images, refs...)
		r.Renders++
	}
	slices.Sort(r.Images)
	r.Images = slices.Compact(r.Images)

	loaded, err := load(files)
	if err != nil {
		return Result{}, fault.New(fault.Build, err)
	}
	if r.OCI, err = ociOf(loaded.Metadata, o.Time); err != nil {
		return Result{}, err
	}

	packed := make([]archive.File, len(names))
	for i, n := range names {
		packed[i] = archive.Bytes(path.Join(name, n), files[n])
	}
	if err := archive.TarGz(w, packed, o.Time); err != nil {
		return Result{}, fault.New(fault.Build, fmt.Errorf("writing %s-%s.tgz: %w", name, o.Version, err))
	}
	return r, nil
}

// load is Helm's reading of the files: always a fresh value, since rendering changes it.
func load(files map[string][]byte) (*helmchart.Chart, error) {
	buffered := make([]*loader.BufferedFile, 0, len(files))
	for _, n := range slices.Sorted(maps.Keys(files)) {
		buffered = append(buffered, &loader.BufferedFile{Name: n, Data: files[n]})
	}
	return loader.LoadFiles(buffered)
}

// below returns the files under a folder, named relative to it.
func below(files map[string][]byte, dir string) map[string][]byte {
	sub := map[string][]byte{}
	for n, b := range files {
		if rest, ok := strings.CutPrefix(n, dir+"/"); ok {
			sub[rest] = b
		}
	}
	return sub
}

// joined is the errors as one with the code, or nil.
func joined(code fault.Code, errs []error) error { return fault.New(code, errors.Join(errs...)) }
