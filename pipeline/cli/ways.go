package cli

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/tap"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// way adds a command by which people get the release.
func (s *shipment) way(format string, args ...any) {
	if line := words.Line(fmt.Sprintf(format, args...)); !slices.Contains(s.ways, line) {
		s.ways = append(s.ways, line)
	}
}

// pulls are the ways to images and charts: of the images of a repository the one with the shortest name.
func (s *shipment) pulls() {
	m := s.rel.Manifest
	shortest := map[string]string{}
	for _, im := range m.Images {
		for _, tag := range im.Tags {
			if have, ok := shortest[im.Repository]; !ok || len(tag) < len(have) {
				shortest[im.Repository] = tag
			}
		}
	}
	for _, im := range m.Images {
		for _, where := range s.to.Registries.Targets(im.Repository) {
			s.way("docker pull %s:%s", where, shortest[im.Repository])
		}
	}
	for _, c := range m.Charts {
		if c.Digest != "" {
			for _, where := range s.to.Registries.Targets(c.Repository) {
				s.way("helm install %s oci://%s --version %s", c.Name, where, c.Version)
			}
		}
	}
}

// downloads are the ways to what a release on GitHub has, given the page of the repository.
func (s *shipment) downloads(page string) {
	tag := github.Escape(s.rel.Manifest.Tag)
	for _, r := range s.rel.Manifest.Recipes {
		if r.Format == format.Script.Name {
			s.way("curl -fsSL %s/releases/download/%s/%s | sh", page, tag, path.Base(r.Path))
		}
	}
	s.way("slipway verify %s/releases/tag/%s", page, tag)
}

// installs are the ways to the recipes in a repository of recipes.
func (s *shipment) installs(kind tap.Kind, page, owner, name string, proposed bool) {
	_, recipes := format.Going(s.rel.Manifest, string(kind))
	after := ""
	if proposed {
		after = "  # when its pull request is merged"
	}
	for _, r := range recipes {
		file := strings.TrimSuffix(path.Base(r.Path), path.Ext(r.Path))
		switch short, usual := strings.CutPrefix(name, "homebrew-"); {
		case kind == tap.Winget:
			s.way("winget install --exact --id %s --version %s%s", r.Name, r.Version, after)
		case kind == tap.Scoop:
			s.way("scoop bucket add %s %s && scoop install %s/%s%s", owner, page, owner, file, after)
		default:
			cask := ""
			if r.Format == format.Cask.Name {
				cask = "--cask "
			}
			if usual {
				s.way("brew install %s%s/%s/%s%s", cask, owner, short, file, after)
			} else {
				s.way("brew tap %s/%s %s && brew install %s%s/%s/%s%s", owner, name, page, cask, owner, name, file, after)
			}
		}
	}
}

// printWays says how people get what was published.
func (s *shipment) printWays() {
	if len(s.ways) > 0 {
		fmt.Fprintf(s.app.stdout, "\n  %s\n", strings.Join(s.ways, "\n  "))
	}
}

// told counts the requests that a dry run tells of.
func (s *shipment) told(r wire.Request) {
	if s.requests == nil {
		s.requests = map[string]int{}
	}
	s.requests[r.Destination]++
	if s.choices.verbose {
		fmt.Fprintf(s.app.stdout, "%s: %s\n", words.Line(r.Destination), words.Line(r.String()))
	}
}

// printPlanned says what publishing would change where, and what is there already.
func (s *shipment) printPlanned(r publish.Result) error {
	w := tabwriter.NewWriter(s.app.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s %s: a dry run, which changed nothing\n", s.rel.Manifest.Name, s.rel.Manifest.Version)
	for _, o := range r.Outcomes {
		fmt.Fprintf(w, "\n%s\t%d of %d there\t%s\n", o.Destination, o.There(), len(o.Items), count(s.requests[o.Destination], "request", "requests"))
		if n, size := staged(o.Items); n > 0 {
			fmt.Fprintf(w, "  upload\t%s\t%s\n", count(n, "thing", "things"), size)
		}
		for _, it := range o.Items {
			verb := map[publish.State]string{publish.Missing: "publish", publish.Unfinished: "finish", publish.Movable: "move", publish.Kept: "leave alone"}[it.State]
			if verb != "" && (it.Phase == publish.Flip || it.State == publish.Kept) {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", verb, words.Line(it.Name), words.Line(it.Detail))
			}
		}
	}
	return w.Flush()
}

// staged is how many things would be uploaded before anything is visible, and how large they are.
func staged(items []publish.Item) (n int, size string) {
	var sum int64
	for _, it := range items {
		if it.Phase == publish.Stage && !it.State.Done() {
			n++
			sum += it.Size
		}
	}
	return n, artifact.FormatSize(sum)
}
