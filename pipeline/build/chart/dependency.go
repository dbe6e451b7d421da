package chart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Dependency is a chart that another chart needs, pinned.
type Dependency struct {
	Name       string
	Version    string // exact
	Repository string // as in Chart.yaml: http:, https:, oci: or file:
	Digest     artifact.Digest
	Dir        string // folder of the chart that needs it, which a file: repository is relative to
	File       string // the packaged chart on this machine, for Package
}

// relock is the way out of every difference between Chart.yaml and the lock.
const relock = `run "go run ./ci lock"`

// ComponentScheme begins the repository of a dependency that is a chart of a component of the platform: component:gateway. The lock of
// the platform says which version that is.
const ComponentScheme = "component:"

// withOffered are the dependencies of a chart with those of the offered ones that its Chart.yaml asks for.
func withOffered(about []byte, o Options) ([]Dependency, error) {
	c, err := loader.LoadFiles([]*loader.BufferedFile{{Name: chartFile, Data: about}})
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	all := slices.Clone(o.Dependencies)
	for _, d := range c.Metadata.Dependencies {
		component, ok := strings.CutPrefix(d.Repository, ComponentScheme)
		if !ok {
			continue
		}
		i := slices.IndexFunc(o.Offered, func(dep Dependency) bool { return dep.Repository == d.Repository && dep.Name == d.Name })
		if i < 0 {
			return nil, fault.Errorf(fault.Usage, "dependency %s: component %q of the platform, as it is locked, has no such chart", d.Name, component)
		}
		if !o.Offered[i].answers(d) {
			return nil, fault.Errorf(fault.Usage, "dependency %s: Chart.yaml asks for %s, and component %s is locked with %s", d.Name, d.Version, component, o.Offered[i].Version)
		}
		if !slices.Contains(all, o.Offered[i]) {
			all = append(all, o.Offered[i])
		}
	}
	return all, nil
}

// Resolve finds the exact version and the digest of everything that the chart in the folder depends on, in the order of
// Chart.yaml: the highest version that the constraint admits. Of a dependency without a repository, which is in the
// chart's own charts/ folder and so in the commit, there is nothing to resolve.
//
// Nothing is cached: each archive is downloaded, since only its bytes have a digest. A nil client is
// http.DefaultClient. Errors are fault.Usage for what Chart.yaml asks for and nobody has, and else those of Fetch.
func Resolve(ctx context.Context, chartDir string, client *http.Client) ([]Dependency, error) {
	t, err := readTree(chartDir)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", filepath.Base(chartDir), err)
	}
	c, err := loader.LoadFiles([]*loader.BufferedFile{{Name: chartFile, Data: t.files[chartFile]}})
	if err != nil {
		return nil, fault.New(fault.Usage, fmt.Errorf("chart %s: %w", filepath.Base(chartDir), err))
	}
	var deps []Dependency
	for _, d := range c.Metadata.Dependencies {
		if d.Repository == "" || strings.HasPrefix(d.Repository, ComponentScheme) {
			continue
		}
		dep := Dependency{Name: d.Name, Repository: d.Repository, Dir: chartDir}
		tgz, err := dep.resolve(ctx, newSource(client), d.Version)
		if err != nil {
			return nil, fmt.Errorf("chart %s: dependency %s from %s: %w", filepath.Base(chartDir), d.Name, d.Repository, err)
		}
		dep.Digest = artifact.Sum(tgz)
		if !slices.Contains(deps, dep) {
			deps = append(deps, dep)
		}
	}
	return deps, nil
}

// resolve sets the version and returns the bytes of the archive.
func (d *Dependency) resolve(ctx context.Context, s source, constraint string) ([]byte, error) {
	want, err := semver.NewConstraint(constraint)
	if err != nil || constraint == "" {
		return nil, fault.Errorf(fault.Usage, "%q is neither a version nor a constraint such as ^1.2.0", constraint)
	}
	pick := func(versions []string) (string, error) { return best(versions, want) }
	if strings.HasPrefix(d.Repository, "oci://") && isVersion(constraint) { // no need to list the tags
		d.Version, pick = constraint, nil
	}
	tgz, err := d.load(ctx, s, pick)
	if err != nil {
		return nil, err
	}
	c, err := open(tgz)
	if err != nil {
		return nil, err
	}
	if d.Version == "" { // a local chart says its version itself
		d.Version = c.Metadata.Version
	}
	if c.Name() != d.Name || c.Metadata.Version != d.Version || !chartutil.IsCompatibleRange(constraint, d.Version) {
		return nil, fault.Errorf(fault.Usage, "the chart there is %s %s; Chart.yaml asks for %s %s", c.Name(), c.Metadata.Version, d.Name, constraint)
	}
	return tgz, nil
}

// load gets the archive from the repository. The version that pick chooses becomes the dependency's; pick is
// nil where it has one already.
func (d *Dependency) load(ctx context.Context, s source, pick func([]string) (string, error)) ([]byte, error) {
	scheme, rest, _ := strings.Cut(d.Repository, "://")
	switch scheme {
	case "http", "https":
		return s.classic(ctx, d, pick)
	case "oci":
		return s.registry(ctx, d, strings.TrimSuffix(rest, "/")+"/"+d.Name, pick)
	case "file":
		return packLocal(d.Dir, rest)
	}
	return nil, fault.Errorf(fault.Usage, "repository %q: name it by its URL, which begins with https://, oci:// or file://", d.Repository)
}

// best is the highest of the versions by SemVer precedence that the constraint admits; of equal ones, which differ in
// build metadata only, the last in the order of the alphabet.
func best(versions []string, want *semver.Constraints) (string, error) {
	var top *semver.Version
	for _, s := range versions {
		v, err := semver.NewVersion(s)
		if err != nil || !want.Check(v) {
			continue
		}
		if top == nil || v.GreaterThan(top) || (v.Equal(top) && v.Original() > top.Original()) {
			top = v
		}
	}
	if top == nil {
		return "", fault.Errorf(fault.Usage, "none of the %d versions there is %s; change the version in Chart.yaml", len(versions), want)
	}
	return top.Original(), nil
}

// packLocal packages a chart of the same commit. Its bytes depend on its contents alone and on no commit's time, so that
// the lock changes only with them.
func packLocal(dir, rel string) ([]byte, error) {
	if dir == "" { // a caller's omission; the working folder is not an answer
		return nil, fault.Errorf(fault.Bug, "file://%s is relative to a chart that was not named", rel)
	}
	if path.IsAbs(rel) || filepath.IsAbs(rel) || rel == "" {
		return nil, fault.Errorf(fault.Usage, "file://%s is not in the commit; write a path relative to the chart, such as file://../common", rel)
	}
	t, err := readTree(filepath.Join(dir, filepath.FromSlash(rel)))
	if err != nil {
		return nil, err
	}
	if err := scanNested(t.files); err != nil {
		return nil, err
	}
	c, err := load(t.files)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	for _, d := range c.Metadata.Dependencies {
		if !slices.ContainsFunc(c.Dependencies(), func(sub *helmchart.Chart) bool { return sub.Name() == d.Name }) {
			return nil, fault.Errorf(fault.Usage, "it depends on %s, which is not in its charts/ folder; put the package there", d.Name)
		}
	}
	if !chartName.MatchString(c.Name()) {
		return nil, fault.Errorf(fault.Usage, "%q is not the name of a chart", c.Name())
	}
	var files []archive.File
	for name, b := range t.files {
		files = append(files, archive.Bytes(c.Name()+"/"+name, b))
	}
	var b strings.Builder
	if err := archive.TarGz(&b, files, time.Unix(0, 0)); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	return []byte(b.String()), nil
}

// Fetch brings the locked dependency to the file dst, which is either whole or not there. A dst that has the digest
// already is left as it is. A nil client is http.DefaultClient.
//
// Errors are fault.Mismatch where the repository has other bytes or none under that version, fault.Credentials where it
// asks for some, and fault.Transient where it does not answer.
func Fetch(ctx context.Context, dep Dependency, client *http.Client, dst string) error {
	if d, _, err := artifact.SumFile(dst); err == nil && d == dep.Digest {
		return nil
	}
	if err := dep.fetch(ctx, newSource(client), dst); err != nil {
		return fmt.Errorf("fetching chart %s %s from %s: %w", dep.Name, dep.Version, dep.Repository, err)
	}
	return nil
}

func (d *Dependency) fetch(ctx context.Context, s source, dst string) error {
	if _, err := artifact.ParseDigest(string(d.Digest)); err != nil {
		return fault.New(fault.Usage, err)
	}
	tgz, err := d.load(ctx, s, nil)
	if err != nil {
		return err
	}
	if got := artifact.Sum(tgz); got != d.Digest {
		return fault.Errorf(fault.Mismatch, "its digest is %s and the lock has %s; if the change is meant, %s", got, d.Digest, relock)
	}
	tmp, err := os.CreateTemp(filepath.Dir(dst), ".fetch-*")
	if err != nil {
		return fault.New(fault.Build, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(tgz)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fault.New(fault.Build, err)
	}
	return fault.New(fault.Build, os.Rename(tmp.Name(), dst))
}

// vendor puts the locked dependencies into charts/ in place of what the tree has of them, and writes Chart.lock. What
// Chart.yaml names must then be there.
func vendor(files map[string][]byte, locked []Dependency, t time.Time) error {
	c, err := loader.LoadFiles([]*loader.BufferedFile{{Name: chartFile, Data: files[chartFile]}})
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	declared := c.Metadata.Dependencies
	have, err := vendored(files)
	if err != nil {
		return err
	}
	for _, dep := range locked {
		if !slices.ContainsFunc(declared, func(d *helmchart.Dependency) bool { return dep.answers(d) }) {
			return fault.Errorf(fault.Usage, "the lock has %s %s from %s, which Chart.yaml does not ask for; %s", dep.Name, dep.Version, dep.Repository, relock)
		}
		have = slices.DeleteFunc(have, func(s subchart) bool {
			if s.name != dep.Name {
				return false
			}
			for name := range files {
				if name == s.path || name == s.path+".prov" || strings.HasPrefix(name, s.path+"/") {
					delete(files, name)
				}
			}
			return true
		})
	}
	for _, dep := range locked {
		tgz, err := dep.read()
		if err != nil {
			return fmt.Errorf("dependency %s %s: %w", dep.Name, dep.Version, err)
		}
		name := fmt.Sprintf("charts/%s-%s.tgz", dep.Name, dep.Version)
		if other, ok := files[name]; ok && artifact.Sum(other) != dep.Digest {
			return fault.Errorf(fault.Usage, "%s comes from two repositories; give one of them another version", name)
		}
		files[name] = tgz
		have = append(have, subchart{name: dep.Name, version: dep.Version, path: name})
	}
	if len(declared) == 0 {
		return nil
	}

	lock := helmchart.Lock{Generated: t.UTC().Truncate(time.Second)}
	for _, d := range declared {
		i := slices.IndexFunc(have, func(s subchart) bool {
			return s.name == d.Name && chartutil.IsCompatibleRange(d.Version, s.version)
		})
		if i < 0 {
			return fault.Errorf(fault.Usage, "dependency %s %s is neither in charts/ nor in the lock; %s", d.Name, d.Version, relock)
		}
		entry := &helmchart.Dependency{Name: d.Name, Repository: d.Repository, Version: have[i].version}
		if d.Repository == "" { // Helm locks no version of a chart that is in the chart
			entry.Version = d.Version
		}
		lock.Dependencies = append(lock.Dependencies, entry)
	}
	if lock.Digest, err = lockDigest(declared, lock.Dependencies); err != nil {
		return fault.New(fault.Build, fmt.Errorf("writing Chart.lock: %w", err))
	}
	if files["Chart.lock"], err = yaml.Marshal(lock); err != nil {
		return fault.New(fault.Build, fmt.Errorf("writing Chart.lock: %w", err))
	}
	return nil
}

// lockDigest is what Helm compares to see whether Chart.lock belongs to Chart.yaml: the SHA-256 of a JSON list of the
// declared and the locked dependencies, as its own types encode them.
func lockDigest(declared, locked []*helmchart.Dependency) (string, error) {
	b, err := json.Marshal([][]*helmchart.Dependency{declared, locked})
	return string(artifact.Sum(b)), err
}

// answers reports whether the locked dependency is one that the declared one may become.
func (d Dependency) answers(declared *helmchart.Dependency) bool {
	return d.Name == declared.Name && d.Repository == declared.Repository && chartutil.IsCompatibleRange(declared.Version, d.Version)
}

// read returns the bytes of the dependency's file, which must be the locked ones and the chart that they say.
func (d Dependency) read() ([]byte, error) {
	tgz, err := bounded.File(d.File, loader.MaxDecompressedFileSize)
	if errors.Is(err, fs.ErrNotExist) || d.File == "" {
		return nil, fault.Errorf(fault.Usage, "the lock names it and its file %q is not there; %s", d.File, relock)
	} else if err != nil {
		return nil, fault.New(fault.Build, err)
	}
	if got := artifact.Sum(tgz); got != d.Digest {
		return nil, fault.Errorf(fault.Mismatch, "its digest is %s and the lock has %s", got, d.Digest)
	}
	c, err := open(tgz)
	if err != nil {
		return nil, err
	}
	if c.Name() != d.Name || c.Metadata.Version != d.Version {
		return nil, fault.Errorf(fault.Mismatch, "the archive holds %s %s", c.Name(), c.Metadata.Version)
	}
	return tgz, nil
}

// subchart is a chart in the tree's charts/ folder.
type subchart struct{ name, version, path string }

// vendored lists what is in charts/, sorted by path: folders and archives, less what Helm skips.
func vendored(files map[string][]byte) ([]subchart, error) {
	paths := map[string]bool{}
	for name := range files {
		rest, ok := strings.CutPrefix(name, "charts/")
		if base, _, _ := strings.Cut(rest, "/"); ok && !strings.HasPrefix(base, "_") && !strings.HasPrefix(base, ".") && path.Ext(name) != ".prov" {
			paths["charts/"+base] = true
		}
	}
	var subs []subchart
	for p := range paths {
		var c *helmchart.Chart
		var err error
		if path.Ext(p) == ".tgz" {
			c, err = open(files[p])
		} else {
			err = scanNested(below(files, p))
			if err == nil {
				c, err = load(below(files, p))
			}
		}
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("%s: %w", p, err))
		}
		subs = append(subs, subchart{c.Name(), c.Metadata.Version, p})
	}
	slices.SortFunc(subs, func(a, b subchart) int { return strings.Compare(a.path, b.path) })
	return subs, nil
}

// scanNested scans the archives in the charts/ folders of an unpacked chart.
func scanNested(files map[string][]byte) error {
	for name, b := range files {
		if path.Base(path.Dir(name)) == "charts" && path.Ext(name) == ".tgz" {
			if err := scan(b); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}
