package class

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"

	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// api holds the packages that a component names to what others compile against. Trees are the two, before and after.
func (b *breaks) api(ctx context.Context, component string, def platform.Component, trees [2]string) error {
	if len(def.API) == 0 {
		return nil
	}
	var sides [2]map[string]*packages.Package
	for i, tree := range trees {
		all, err := b.load(ctx, module(tree, def.TagPrefix), def.API)
		if err != nil {
			when := []string{b.since, b.Version.String()}[i]
			return fault.Errorf(fault.Usage, "%s: in %s: %w; its modules have to be there for the Go command (GOPROXY), or take the pattern out",
				b.Platform.At("components."+component+".api"), when, err)
		}
		sides[i] = all
	}
	for _, path := range slices.Sorted(maps.Keys(sides[0])) {
		place := component + " package " + path
		is, ok := sides[1][path]
		if !ok {
			b.add(place, "%s is gone", place)
			continue
		}
		for _, c := range apidiff.Changes(sides[0][path].Types, is.Types).Changes {
			if !c.Compatible {
				b.add(place, "%s: %s", place, c.Message)
			}
		}
	}
	return nil
}

// module is the folder of a component's go.mod in a tree: that of its tags, or the top.
func module(tree, prefix string) string {
	dir := filepath.Join(tree, filepath.FromSlash(prefix))
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); prefix != "" && err == nil {
		return dir
	}
	return tree
}

// load type-checks packages, those left out that nobody else can import. Nothing of them is run.
func (b *breaks) load(ctx context.Context, dir string, patterns []string) (map[string]*packages.Package, error) {
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return nil, errors.New("it has no go.mod")
	}
	all, err := packages.Load(&packages.Config{Context: ctx, Dir: dir, Env: b.goEnviron(dir), Mode: packages.NeedName | packages.NeedTypes | packages.NeedModule}, patterns...)
	if err != nil {
		return nil, err
	}
	found := map[string]*packages.Package{}
	for _, p := range all {
		if p.Name != "main" && !slices.Contains(strings.Split(p.PkgPath, "/"), "internal") {
			found[p.PkgPath] = p
		}
	}
	return found, problems(all, dir)
}

// goEnviron is what the Go command sees: what it fetches modules by, and nothing that the tree or the machine would have it build otherwise.
func (b *breaks) goEnviron(dir string) []string {
	return append(gocommand.Fetching(b.Environ), "GOWORK=off", "GOFLAGS=-trimpath", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "PWD="+dir)
}

// problems are why packages could not be type-checked.
func problems(all []*packages.Package, dir string) error {
	var errs []error
	for _, p := range all {
		for _, e := range p.Errors {
			errs = append(errs, fmt.Errorf("%s: %s", p.PkgPath, strings.ReplaceAll(e.Msg, dir+string(filepath.Separator), "")))
		}
	}
	return errors.Join(errs...)
}
