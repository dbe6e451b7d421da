package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of a packaged chart from outside, the charts packaged in it included. Helm bounds each archive by itself, so
// that a hundred small ones in one could unpack to any size.
const (
	maxUnpacked = 100 << 20 // bytes
	maxMembers  = 20_000
	maxArchives = 8 // archives in one another
)

// budget is what may still be unpacked.
type budget struct {
	bytes   int64
	members int
}

// scan reads a packaged chart to its end and refuses one that holds anything but files and folders below one root,
// one name twice, or more than the bounds.
func scan(tgz []byte) error {
	b := budget{maxUnpacked, maxMembers}
	return fault.New(fault.Usage, b.scan(bytes.NewReader(tgz), 1))
}

func (b *budget) scan(r io.Reader, depth int) error {
	if depth > maxArchives {
		return fmt.Errorf("more than %d charts are packaged in one another", maxArchives)
	}
	gz, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	in := &io.LimitedReader{R: gz, N: b.bytes + 1}
	defer func() { b.bytes = in.N - 1 }()
	tr := tar.NewReader(in)
	seen := map[string]bool{}
	for {
		h, err := tr.Next()
		if in.N <= 0 || b.members <= 0 {
			return fmt.Errorf("it unpacks to more than %d bytes or %d files", maxUnpacked, maxMembers)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b.members--
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeDir:
			if name != "" && name != "." && !local(name) {
				return fmt.Errorf("%q leaves the chart", h.Name)
			}
			continue
		case tar.TypeReg:
		default:
			return fmt.Errorf("%q is a link or a device; a chart holds only files", h.Name)
		}
		if !local(name) || !strings.Contains(name, "/") {
			return fmt.Errorf("%q leaves the chart", h.Name)
		}
		if seen[name] {
			return fmt.Errorf("%q is in it twice", h.Name)
		}
		seen[name] = true
		if path.Base(path.Dir(name)) == "charts" && path.Ext(name) == ".tgz" {
			// What the inner archive unpacks to counts as well as its own bytes.
			data, err := bounded.Read(tr, loader.MaxDecompressedFileSize)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			inner := budget{in.N - 1, b.members}
			if err := inner.scan(bytes.NewReader(data), depth+1); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			in.N, b.members = inner.bytes+1, inner.members
		}
	}
}

// local reports whether a member's name stays below its root on every system.
func local(name string) bool {
	return !path.IsAbs(name) && name == path.Clean(name) && name != ".." && !strings.HasPrefix(name, "../") &&
		!strings.ContainsAny(name, "\\:\x00")
}

// open reads a packaged chart from outside with Helm's reader.
func open(tgz []byte) (*helmchart.Chart, error) {
	if err := scan(tgz); err != nil {
		return nil, err
	}
	c, err := loader.LoadArchive(bytes.NewReader(tgz))
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	if err := artifact.CheckPath(c.Name() + "-" + c.Metadata.Version + ".tgz"); err != nil || !chartName.MatchString(c.Name()) {
		return nil, fault.Errorf(fault.Usage, "it calls itself %q %q, which is not a name and a version", c.Name(), c.Metadata.Version)
	}
	return c, nil
}
