package bake

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/build/layertar"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what a recipe brings.
const (
	maxTest  = 64 << 10
	maxFiles = 4096
)

// Recipe is how a base is made, with all that it is made of but the packages.
type Recipe struct {
	Name string
	platform.Base
	Script string         // of the test; "" where there is none
	Added  []archive.File // sorted
	sums   []added
}

// added is a file as the digest of a recipe has it.
type added struct {
	Name   string          `json:"name"`
	Exec   bool            `json:"exec,omitempty"`
	Digest artifact.Digest `json:"digest"`
}

// Open reads what a base is made of. dir is the folder of platform.yaml, and no file is read outside of it.
func Open(dir, name string, b platform.Base) (Recipe, error) {
	r := Recipe{Name: name, Base: b}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Recipe{}, fault.New(fault.Usage, err)
	}
	if b.Test != "" {
		script, err := bounded.FS(root.FS(), path.Clean(b.Test), maxTest)
		if err != nil {
			return Recipe{}, fault.Errorf(fault.Usage, "base %s: test: %w", name, err)
		}
		if r.Script = string(script); strings.TrimSpace(r.Script) == "" || strings.ContainsRune(r.Script, 0) {
			return Recipe{}, fault.Errorf(fault.Usage, "base %s: test: %s is no shell script", name, b.Test)
		}
	}
	if b.Files == "" {
		return r, nil
	}
	below := path.Clean(filepath.ToSlash(b.Files))
	err = fs.WalkDir(root.FS(), below, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if len(r.Added) == maxFiles {
			return fmt.Errorf("there are more than %d", maxFiles)
		}
		f, err := archive.Tree(strings.TrimPrefix(strings.TrimPrefix(name, below), "/"), root, name)
		if err != nil {
			return err
		}
		if strings.HasPrefix(path.Base(f.Name), layertar.Whiteout) {
			return fmt.Errorf("%s has the name of what removes a file from an image", name)
		}
		m := artifact.NewMeter(nowhere{})
		if err := f.CopyTo(m); err != nil {
			return err
		}
		r.Added = append(r.Added, f)
		r.sums = append(r.sums, added{f.Name, f.Exec, m.Digest()})
		return nil
	})
	if err == nil && len(r.Added) == 0 {
		err = fmt.Errorf("there are none in %s", b.Files)
	}
	if err != nil {
		return Recipe{}, fault.Errorf(fault.Usage, "base %s: files: %w", name, err)
	}
	return r, nil
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// Digest is the same for recipes that ask for the same.
func (r Recipe) Digest() (artifact.Digest, error) {
	packages, platforms := slices.Clone(r.Packages), slices.Clone(r.Platforms)
	slices.Sort(packages)
	slices.SortFunc(platforms, artifact.Platform.Compare)
	b, err := canonjson.Encode(struct {
		Image     string              `json:"image"`
		From      string              `json:"from"`
		Packages  []string            `json:"packages"`
		Upgrade   bool                `json:"upgrade"`
		Files     []added             `json:"files"`
		Test      artifact.Digest     `json:"test"`
		Platforms []artifact.Platform `json:"platforms"`
	}{r.Image, r.From, packages, r.Upgrade, r.sums, artifact.Sum([]byte(r.Script)), platforms})
	return artifact.Sum(b), err
}
