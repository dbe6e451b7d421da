package tap

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
)

// place is where the recipes of a format are in a repository.
type place struct {
	// at is the path of a recipe in a repository, whose folder is where Options say, by its path in dist/.
	at func(folder, path string) (string, error)
	// read reads of what and which version a recipe is; nil where each version has a place of its own, in which nothing
	// ever changes.
	read func([]byte) (recipe, error)
}

// places are those of all formats that a repository of recipes carries.
var places = map[string]place{
	format.Formula.Name: {below(format.Formula.Kept), readFormula},
	format.Cask.Name:    {below(format.Cask.Kept), readCask},
	format.Scoop.Name: {func(folder, p string) (string, error) {
		return path.Join(cmp.Or(folder, format.Scoop.Kept), path.Base(p)), nil
	}, readScoop},
	format.Winget.Name: {func(folder, p string) (string, error) {
		_, below, ok := strings.Cut(p, "/manifests/")
		if !ok {
			return "", fmt.Errorf("%s is not below a folder manifests, as winget has it", p)
		}
		return path.Join(folder, "manifests", below), nil
	}, nil},
}

// below is a place in a folder of a fixed name.
func below(name string) func(folder, p string) (string, error) {
	return func(folder, p string) (string, error) { return path.Join(folder, name, path.Base(p)), nil }
}
