package plan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/slipway-build/slipway/pipeline/config"
)

// Table writes the plan for people, with the places that the release goes to, which are not part of it.
func (p Plan) Table(out io.Writer, destinations []config.Destination) error {
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s %s\n", p.Name, p.Version)
	fmt.Fprintf(w, "  commit\t%s  %s\n", p.Commit, p.Time.UTC().Format(time.RFC3339))
	fmt.Fprintf(w, "  plan\t%s\n", digest)
	fmt.Fprintf(w, "  toolchain\tgo%s\n", p.Toolchain.Version)
	for _, why := range p.Unpublishable {
		fmt.Fprintf(w, "  not for publishing\t%s\n", why)
	}
	section := func(title string, n int) {
		if n > 0 {
			fmt.Fprintf(w, "\n%s (%d)\n", title, n)
		}
	}
	section("inputs", len(p.Inputs))
	for _, in := range p.Inputs {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", in.Kind, in.Name, in.Digest)
	}
	section("binaries", len(p.Binaries))
	for _, b := range p.Binaries {
		fmt.Fprintf(w, "  %s\t%s\n", b.Platform, b.Path)
	}
	section("archives", len(p.Archives))
	for _, a := range p.Archives {
		fmt.Fprintf(w, "  %s\t%s\n", a.Platform, a.Path)
	}
	section("images", len(p.Images))
	for _, im := range p.Images {
		var platforms []string
		for _, pl := range im.Platforms {
			platforms = append(platforms, pl.Platform.String())
		}
		for i, tag := range im.Tags {
			ref := im.Repository + ":" + tag
			if i == 0 {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", im.Distro, ref, strings.Join(platforms, " "))
			} else {
				fmt.Fprintf(w, "  \t%s\n", ref)
			}
		}
		if len(im.Floating) > 0 {
			fmt.Fprintf(w, "  \tmay move\t%s\n", strings.Join(im.Floating, " "))
		}
	}
	section("charts", len(p.Charts))
	for _, c := range p.Charts {
		fmt.Fprintf(w, "  %s\t%s\tapp version %s\n", c.Name, c.Path, c.AppVersion)
		for _, d := range c.Dependencies {
			fmt.Fprintf(w, "  \tneeds %s %s\t%s\n", d.Name, d.Version, d.Digest)
		}
	}
	for _, pkg := range p.Packages {
		section("package "+pkg.Name, len(pkg.Carriers)+len(pkg.Recipes))
		for _, c := range pkg.Carriers {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Format, c.Path, c.Platform)
		}
		for _, r := range pkg.Recipes {
			fmt.Fprintf(w, "  %s\t%s\tfetches %d of the archives\n", r.Format, r.Path, len(r.Archives))
		}
	}
	if n := len(p.SBOMs); n > 0 {
		section("bills of materials", 2*n)
		fmt.Fprintf(w, "  CycloneDX and SPDX\tof each binary and archive, and of each image for each platform\n")
	}
	if p.Notes.Path != "" {
		since := "the beginning"
		if p.Notes.Since != "" {
			since = p.Notes.Since
		}
		section("documents", 2)
		fmt.Fprintf(w, "  notes\t%s\tsince %s\n", p.Notes.Path, since)
		fmt.Fprintf(w, "  provenance\t%s\n", p.Provenance)
	}
	section("published to", len(destinations))
	for _, d := range destinations {
		fmt.Fprintf(w, "  %s\t%s\n", d.Kind, d.Where)
	}
	if s := p.Signing; s != nil {
		fmt.Fprintf(w, "\nsigned by\n")
		if s.Key != "" {
			fmt.Fprintf(w, "  key\t%s\n", s.Key)
		} else {
			fmt.Fprintf(w, "  identity\t%s\n  issuer\t%s\n", s.Identity, s.Issuer)
		}
	}
	return w.Flush()
}
