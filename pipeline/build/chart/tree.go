package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/ignore"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of a chart. The one for a file is Helm's own (loader.MaxDecompressedFileSize): it would not read a larger one
// back.
const (
	maxChart   = 20 << 20 // bytes of all files
	maxEntries = 10_000   // files and folders
	maxDepth   = 32       // folders in one another
)

// tree is a chart as it is in its folder.
type tree struct {
	files  map[string][]byte // what .helmignore leaves, by slash-separated path
	values []valuesFile      // ci/*-values.yaml, whether ignored or not, sorted
}

// valuesFile is a set of values to render a chart with; no data stands for the defaults.
type valuesFile struct {
	name string
	data []byte
}

// reader reads a tree, never past its root: what a symbolic link inside the root leads to is read as if it were there,
// as Helm does, and one that leads out of it is an error.
type reader struct {
	root    *os.Root
	rules   *ignore.Rules
	tree    tree
	entries int
	bytes   int
}

func readTree(dir string) (tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return tree{}, fault.New(fault.Usage, fmt.Errorf("opening the folder of a chart: %w", err))
	}
	defer root.Close()
	r := &reader{root: root, rules: ignore.Empty(), tree: tree{files: map[string][]byte{}}}
	if err := r.read(); err != nil {
		return tree{}, err
	}
	return r.tree, nil
}

func (r *reader) read() error {
	switch info, err := r.stat(ignore.HelmIgnore); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode().IsRegular():
		b, err := r.file(ignore.HelmIgnore)
		if err != nil {
			return err
		}
		if r.rules, err = ignore.Parse(bytes.NewReader(b)); err != nil {
			return fault.New(fault.Usage, fmt.Errorf("%s: %w", ignore.HelmIgnore, err))
		}
	}
	r.rules.AddDefaults()
	if err := r.walk(".", 0); err != nil {
		return err
	}
	return r.readValues()
}

func (r *reader) walk(dir string, depth int) error {
	if depth > maxDepth {
		return fault.Errorf(fault.Usage, "%s is nested deeper than %d folders; does a symbolic link lead back to its own folder?", dir, maxDepth)
	}
	names, err := r.list(dir)
	if err != nil {
		return err
	}
	for _, base := range names {
		name := path.Join(dir, base)
		info, err := r.stat(name)
		if err != nil {
			return err
		}
		switch {
		case r.rules.Ignore(name, info):
		case info.IsDir():
			if err := r.walk(name, depth+1); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			if r.tree.files[name], err = r.file(name); err != nil {
				return err
			}
		default:
			return fault.Errorf(fault.Usage, "%s is neither a file nor a folder (%s)", name, info.Mode().Type())
		}
	}
	return nil
}

// readValues reads ci/*-values.yaml, where the tools around Helm look for values to try a chart with. They are usually
// in .helmignore, which says what is packaged and not what is tried.
func (r *reader) readValues() error {
	info, err := r.stat("ci")
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !info.IsDir()) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := r.list("ci")
	if err != nil {
		return err
	}
	for _, base := range names {
		name := path.Join("ci", base)
		if !strings.HasSuffix(name, "-values.yaml") {
			continue
		}
		info, err := r.stat(name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fault.Errorf(fault.Usage, "%s is not a file", name)
		}
		b, err := r.file(name)
		if err != nil {
			return err
		}
		r.tree.values = append(r.tree.values, valuesFile{name, b})
	}
	return nil
}

// stat follows symbolic links inside the root.
func (r *reader) stat(name string) (fs.FileInfo, error) {
	info, err := r.root.Lstat(name)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return info, nil
	}
	if info, err = r.root.Stat(name); err != nil {
		return nil, fault.Errorf(fault.Usage, "%s is a symbolic link that leads to nothing inside of the chart (%v); put a copy of the file there", name, errors.Unwrap(err))
	}
	return info, nil
}

func (r *reader) list(dir string) ([]string, error) {
	f, err := r.root.Open(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	defer f.Close()
	left := maxEntries - r.entries
	names, err := f.Readdirnames(left + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Usage, fmt.Errorf("listing %s: %w", dir, err))
	}
	if len(names) > left {
		return nil, fault.Errorf(fault.Usage, "%s: a chart may have at most %d files and folders; name what does not belong to it in .helmignore", dir, maxEntries)
	}
	r.entries += len(names)
	slices.Sort(names)
	return names, nil
}

func (r *reader) file(name string) ([]byte, error) {
	f, err := r.root.Open(name)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	defer f.Close()
	b, err := bounded.Read(f, loader.MaxDecompressedFileSize)
	if err != nil && !bounded.IsTooLarge(err) {
		return nil, fault.New(fault.Usage, fmt.Errorf("reading %s: %w", name, err))
	}
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "%s is larger than %d bytes, which Helm refuses to read; name it in .helmignore", name, loader.MaxDecompressedFileSize)
	}
	if r.bytes += len(b); r.bytes > maxChart {
		return nil, fault.Errorf(fault.Usage, "%s: the chart is larger than %d bytes; name what does not belong to it in .helmignore", name, maxChart)
	}
	return b, nil
}
