package plan

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Table writes the plan for people, with the places that the release goes to, which are not part of it.
func (p Plan) Table(out io.Writer, destinations []config.Destination) error {
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	t.line("%s %s", p.Name, p.Version)
	t.line("  commit\t%s  %s", p.Commit, p.Time.UTC().Format(time.RFC3339))
	t.line("  plan\t%s", digest)
	if p.Toolchain.Version != "" {
		t.line("  toolchain\tgo%s", p.Toolchain.Version)
	}
	for _, why := range p.Unpublishable {
		t.line("  not for publishing\t%s", why)
	}
	t.inputs(p.Inputs)
	t.programs(p)
	t.images(p.Images)
	t.charts(p.Charts)
	t.packages(p.Packages)
	t.documents(p)
	t.section("published to", len(destinations))
	for _, d := range destinations {
		t.line("  %s\t%s", d.Kind, d.Where)
	}
	t.signing(p.Signing)
	return t.Flush()
}

// table is a plan in columns. An error of what it is written to is that of Flush.
type table struct{ *tabwriter.Writer }

// line writes a row. What it has from outside stays in its cell.
func (t table) line(format string, args ...any) {
	for i, a := range args {
		switch a.(type) {
		case int:
		default:
			args[i] = words.Line(fmt.Sprint(a))
		}
	}
	fmt.Fprintf(t, format+"\n", args...)
}

// section begins a part of n lines, if there are any.
func (t table) section(title string, n int) {
	if n > 0 {
		t.line("\n%s (%d)", title, n)
	}
}

func (t table) inputs(all []artifact.Input) {
	t.section("inputs", len(all))
	for _, in := range all {
		t.line("  %s\t%s\t%s", in.Kind, in.Name, in.Digest)
	}
}

func (t table) programs(p Plan) {
	t.section("binaries", len(p.Binaries))
	for _, b := range p.Binaries {
		t.line("  %s\t%s", b.Platform, b.Path)
	}
	t.section("archives", len(p.Archives))
	for _, a := range p.Archives {
		t.line("  %s\t%s", a.Platform, a.Path)
	}
}

func (t table) images(all []Image) {
	t.section("images", len(all))
	for _, im := range all {
		var platforms []string
		for _, pl := range im.Platforms {
			platforms = append(platforms, pl.Platform.String())
		}
		for i, tag := range im.Tags {
			ref := im.Repository + ":" + tag
			if i == 0 {
				t.line("  %s\t%s\t%s", im.Distro, ref, strings.Join(platforms, " "))
			} else {
				t.line("  \t%s", ref)
			}
		}
		if len(im.Floating) > 0 {
			t.line("  \tmay move\t%s", strings.Join(im.Floating, " "))
		}
	}
}

func (t table) charts(all []Chart) {
	t.section("charts", len(all))
	for _, c := range all {
		t.line("  %s\t%s\tapp version %s", c.Name, c.Path, c.AppVersion)
		for _, d := range c.Dependencies {
			t.line("  \tneeds %s %s\t%s", d.Name, d.Version, d.Digest)
		}
		for _, part := range c.Components {
			t.line("  \tmay have %s %s\tof component %s", part.Name, part.Version, part.Component)
		}
	}
}

func (t table) packages(all []Package) {
	for _, pkg := range all {
		t.section("package "+pkg.Name, len(pkg.Carriers)+len(pkg.Recipes))
		for _, c := range pkg.Carriers {
			t.line("  %s\t%s\t%s", c.Format, c.Path, c.Platform)
		}
		for _, r := range pkg.Recipes {
			t.line("  %s\t%s\tfetches %d of the archives", r.Format, r.Path, len(r.Archives))
		}
	}
}

func (t table) documents(p Plan) {
	if n := len(p.SBOMs); n > 0 {
		t.section("bills of materials", 2*n)
		of := "of each binary and archive, and of each image for each platform"
		if p.SBOMs[n-1].Kind == artifact.Composed { // the last, where there is one
			of += "; " + p.SBOMs[n-1].Path + " over all components"
		}
		t.line("  CycloneDX and SPDX\t%s", of)
	}
	if p.Notes.Path != "" {
		since := cmp.Or(p.Notes.Since, "the beginning")
		t.section("documents", 2)
		t.line("  notes\t%s\tsince %s", p.Notes.Path, since)
		t.line("  provenance\t%s", p.Provenance)
	}
}

func (t table) signing(s *Signing) {
	if s == nil {
		return
	}
	t.line("\nsigned by")
	if s.Key != "" {
		t.line("  key\t%s", s.Key)
	} else {
		t.line("  identity\t%s\n  issuer\t%s", s.Identity, s.Issuer)
	}
}
