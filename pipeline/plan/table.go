package plan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Table writes the plan for people.
func (p Plan) Table(out io.Writer) error {
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
	return w.Flush()
}
