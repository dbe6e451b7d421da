package serve

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Bounds on a chart archive. The first is four times what Kubernetes lets Helm store of a chart.
const (
	maxChart     = 4 << 20   // bytes, packed
	maxUnpacked  = 32 << 20  // bytes
	maxEntries   = 10_000    // files
	maxChartYAML = 256 << 10 // bytes of Chart.yaml
)

// chart is a chart of a release that the Helm repository can show.
type chart struct {
	metadata
	version version.Version
	file    artifact.File
	size    int // bytes of its Chart.yaml
}

// metadata is what an index has of a Chart.yaml (https://helm.sh/docs/topics/charts/#the-chartyaml-file).
type metadata struct {
	APIVersion   string            `yaml:"apiVersion" json:"apiVersion"`
	Name         string            `yaml:"name" json:"name"`
	Version      string            `yaml:"version" json:"version"`
	AppVersion   string            `yaml:"appVersion,omitempty" json:"appVersion,omitempty"`
	KubeVersion  string            `yaml:"kubeVersion,omitempty" json:"kubeVersion,omitempty"`
	Type         string            `yaml:"type,omitempty" json:"type,omitempty"`
	Description  string            `yaml:"description,omitempty" json:"description,omitempty"`
	Home         string            `yaml:"home,omitempty" json:"home,omitempty"`
	Icon         string            `yaml:"icon,omitempty" json:"icon,omitempty"`
	Deprecated   bool              `yaml:"deprecated,omitempty" json:"deprecated,omitempty"`
	Keywords     []string          `yaml:"keywords,omitempty" json:"keywords,omitempty"`
	Sources      []string          `yaml:"sources,omitempty" json:"sources,omitempty"`
	Maintainers  []maintainer      `yaml:"maintainers,omitempty" json:"maintainers,omitempty"`
	Dependencies []dependency      `yaml:"dependencies,omitempty" json:"dependencies,omitempty"`
	Annotations  map[string]string `yaml:"annotations,omitempty" json:"annotations,omitempty"`
}

type maintainer struct {
	Name  string `yaml:"name" json:"name"`
	Email string `yaml:"email,omitempty" json:"email,omitempty"`
	URL   string `yaml:"url,omitempty" json:"url,omitempty"`
}

type dependency struct {
	Name       string `yaml:"name" json:"name"`
	Version    string `yaml:"version,omitempty" json:"version,omitempty"`
	Repository string `yaml:"repository,omitempty" json:"repository,omitempty"`
	Condition  string `yaml:"condition,omitempty" json:"condition,omitempty"`
	Alias      string `yaml:"alias,omitempty" json:"alias,omitempty"`
}

// loadChart reads a chart of a release, which must be the one that the manifest lists and say of itself what the
// manifest says of it.
func loadChart(dir *os.Root, c manifest.Chart, f artifact.File) (chart, error) {
	b, err := read(dir, f.Path, maxChart)
	if err != nil {
		return chart{}, err
	}
	if artifact.Sum(b) != f.Digest {
		return chart{}, errors.New("it is not the file that the manifest lists")
	}
	m, size, err := readChart(bytes.NewReader(b), c.Name)
	if err != nil {
		return chart{}, err
	}
	if m.Name != c.Name || m.Version != c.Version {
		return chart{}, fmt.Errorf("its Chart.yaml is for %q %q, and the manifest says %q %q", m.Name, m.Version, c.Name, c.Version)
	}
	v, err := version.Parse(m.Version)
	if err != nil {
		return chart{}, err
	}
	if err := artifact.CheckPath(m.Name); err != nil || strings.Contains(m.Name, "/") {
		return chart{}, fmt.Errorf("chart name %q cannot stand in a path", m.Name)
	}
	return chart{m, v, f, size}, nil
}

// readChart reads the Chart.yaml of a packed chart, which stands in the folder that is named as the chart, and has size
// bytes.
func readChart(r io.Reader, name string) (m metadata, size int, err error) {
	b, err := readMember(r, name+"/Chart.yaml", maxChartYAML)
	if err != nil {
		return metadata{}, 0, err
	}
	if err := yaml.Unmarshal(b, &m); err != nil {
		return metadata{}, 0, fmt.Errorf("reading Chart.yaml: %w", err)
	}
	return m, len(b), nil
}

// errNoMember is a packed chart without a file.
var errNoMember = errors.New("it has no")

// readMember reads a file of a packed chart, of at most limit bytes.
func readMember(r io.Reader, name string, limit int64) ([]byte, error) {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	tr := tar.NewReader(io.LimitReader(zr, maxUnpacked))
	for range maxEntries {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w %s", errNoMember, name)
		}
		if err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
		if h.Name != name || h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > limit {
			return nil, fmt.Errorf("its %s has %d bytes; at most %d are read", path.Base(name), h.Size, limit)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("unpacking: %w", err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("it has more than %d files", maxEntries)
}

// fileName is the name of a packed chart, which Helm and its repositories agree on.
func (c chart) fileName() string { return c.Name + "-" + c.Version + ".tgz" }

// entry is a chart in an index.
type entry struct {
	metadata `yaml:",inline"`
	Created  string   `yaml:"created"`
	Digest   string   `yaml:"digest"` // hexadecimal SHA-256
	URLs     []string `yaml:"urls"`   // relative to the index
}

// helmIndex writes the index of the Helm repository
// (https://helm.sh/docs/topics/chart_repository/#the-index-file). It is a function of the releases alone: its times
// are theirs. Where two releases have different charts of one name and version, the elder release keeps it, because
// what has been published does not change; the other one is reported as a problem.
func helmIndex(s *shelf) (document, error) {
	type listed struct {
		chart
		release *release
	}
	var all []listed
	newest := time.Unix(0, 0)
	for _, r := range s.releases {
		for _, c := range r.charts {
			all = append(all, listed{c, r})
		}
		if r.Time.After(newest) {
			newest = r.Time
		}
	}
	slices.SortStableFunc(all, func(a, b listed) int { return a.release.Time.Compare(b.release.Time) })
	all = slices.DeleteFunc(all, func(c listed) bool {
		name := c.fileName()
		other, taken := s.charts[name]
		if !taken {
			s.charts[name] = item{c.release, c.file}
		} else if other.file.Digest != c.file.Digest {
			s.problems[c.release] = append(s.problems[c.release], fmt.Sprintf(
				"%s is not in the Helm repository: %s %s has another chart of that name", c.file.Path, other.release.Name, other.release.Version))
		}
		return taken
	})
	slices.SortFunc(all, func(a, b listed) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), b.version.Compare(a.version))
	})
	index := struct {
		APIVersion string             `yaml:"apiVersion"`
		Entries    map[string][]entry `yaml:"entries"`
		Generated  string             `yaml:"generated"`
	}{"v1", map[string][]entry{}, newest.UTC().Format(time.RFC3339)}
	for _, c := range all {
		index.Entries[c.Name] = append(index.Entries[c.Name], entry{
			metadata: c.metadata, Created: c.release.Time.UTC().Format(time.RFC3339), Digest: c.file.Digest.Hex(), URLs: []string{c.fileName()},
		})
	}
	b, err := yaml.Marshal(index)
	if err != nil {
		return document{}, fmt.Errorf("writing index: %w", err)
	}
	return newDocument("application/yaml", b), nil
}
