// Package writers makes packages and recipes of every format: the one place that knows which room below format writes
// which.
package writers

import (
	"bytes"
	"fmt"
	"io"
	"path"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/apk"
	"github.com/slipway-build/slipway/pipeline/format/brew"
	"github.com/slipway-build/slipway/pipeline/format/deb"
	"github.com/slipway-build/slipway/pipeline/format/nupkg"
	"github.com/slipway-build/slipway/pipeline/format/rpm"
	"github.com/slipway-build/slipway/pipeline/format/scoop"
	"github.com/slipway-build/slipway/pipeline/format/script"
	"github.com/slipway-build/slipway/pipeline/format/snap"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/format/winget"
)

// carriers write packages that carry their files.
var carriers = map[string]func(io.Writer, format.Package) error{
	format.Deb.Name: deb.Write,
	format.RPM.Name: rpm.Write,
	format.APK.Name: apk.Write,
	format.Snap.Name: func(w io.Writer, p format.Package) error {
		return snap.Write(w, p, snap.Options{Compression: squashfs.Compression(p.Compression), NoServices: p.NoServices})
	},
}

// texts render recipes that are one file.
var texts = map[string]func(format.Recipe) ([]byte, error){
	format.Nupkg.Name: func(r format.Recipe) ([]byte, error) {
		var b bytes.Buffer
		err := nupkg.Write(&b, r)
		return b.Bytes(), err
	},
	format.Formula.Name: brew.Formula,
	format.Cask.Name:    brew.Cask,
	format.Scoop.Name:   scoop.Manifest,
	format.Script.Name:  script.Install,
}

// folders render recipes that are several files, by their path below the recipe's own.
var folders = map[string]func(format.Recipe) (map[string][]byte, error){
	format.Winget.Name: winget.Manifests,
}

// Package writes a package of a format that carries its files. Bytes and errors depend on the package alone.
func Package(w io.Writer, name string, p format.Package) error {
	write, ok := carriers[name]
	if !ok {
		return fmt.Errorf("there is no format %q", name)
	}
	return write(w, p)
}

// Recipe renders the files of a recipe, by path. At is the path of the file, or of the folder where there are several.
func Recipe(name, at string, r format.Recipe) (map[string][]byte, error) {
	if render, ok := texts[name]; ok {
		content, err := render(r)
		return map[string][]byte{at: content}, err
	}
	render, ok := folders[name]
	if !ok {
		return nil, fmt.Errorf("there is no format %q", name)
	}
	files, err := render(r)
	placed := map[string][]byte{}
	for below, content := range files {
		placed[path.Join(at, below)] = content
	}
	return placed, err
}
