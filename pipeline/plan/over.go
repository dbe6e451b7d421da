package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
)

// overCharts adds the chart over those of a platform's components: the project's own one that is called like the platform, else one that
// is made. There is none where no component has a chart, where platform.yaml says so, or where the lock does not say which there are.
func (p planner) overCharts(charts []Chart, defaults map[string]string) ([]Chart, error) {
	if p.cfg.Platform == "" || p.def.Chart.Off || !p.locked.Told() {
		return charts, nil
	}
	parts := p.componentCharts()
	if len(parts) == 0 {
		return charts, nil
	}
	for i, c := range charts {
		if c.Name == p.def.Name {
			charts[i].Components = parts
			return charts, nil
		}
	}
	taken, total := map[string]bool{"global": true}, map[string]int{} // which Helm gives to all charts
	files := map[string]string{}
	for _, c := range parts {
		total[c.Name]++
		file := c.Name + "-" + c.Version
		if other, ok := files[file]; ok {
			return nil, fmt.Errorf("%s: %s and %s both have a chart %s %s, and Helm cannot tell them apart: give one of them another name, or have no chart over all of them (chart: false)",
				p.def.At("components."+c.Component), other, c.Component, c.Name, c.Version)
		}
		files[file] = c.Component
	}
	for i, c := range parts {
		called := strings.ReplaceAll(c.Name, ".", "-") // a dot would be a step into the values
		if taken[called] || total[c.Name] > 1 {
			called = c.Component + "-" + called
		}
		for n := 2; taken[called]; n++ {
			called = fmt.Sprintf("%s-%s-%d", c.Component, strings.ReplaceAll(c.Name, ".", "-"), n)
		}
		taken[called] = true
		if called != c.Name {
			parts[i].Alias = called
		}
	}
	v, about := p.src.Version.String(), p.project()
	made := Chart{
		Name: p.def.Name, Path: fmt.Sprintf("charts/%s-%s.tgz", p.def.Name, v), Version: v, AppVersion: v, Annotations: map[string]string{}, Defaults: defaults, Components: parts,
		Made: &MadeChart{Description: about.Description, Home: about.Homepage, Source: p.cfg.Project.Repository, Text: p.told()},
	}
	if p.def.Chart.Repository != "" {
		made.Repository = p.def.Chart.Repository + "/" + made.Name
	}
	return append(charts, made), nil
}

// componentCharts are those of all components that are published, by component and name.
func (p planner) componentCharts() (all []ComponentChart) {
	for _, name := range p.def.Names() {
		c := p.locked.Components[name]
		for _, chart := range slices.Sorted(maps.Keys(c.Charts)) {
			all = append(all, ComponentChart{Component: name, Name: chart, Version: c.Charts[chart]})
		}
	}
	return all
}

// told is what whoever installs the platform is told: which release it is, what it consists of, and what a commit can know of its
// support. When its line began, and so when it ends, only the releases say.
func (p planner) told() string {
	var b strings.Builder
	v := p.src.Version
	line := lifecycle.Line(v)
	fmt.Fprintf(&b, "%s %s, of line %s, made of the commit of %s.\n\n", p.def.Name, v, line, p.src.Time.UTC().Format("2006-01-02"))
	fmt.Fprintf(&b, "A line is supported for %s from its first release, and a major version for %s.\n", months(p.def.Support.Minor), months(p.def.Support.Major))
	if until, ok := p.def.Support.Extended[line]; ok {
		fmt.Fprintf(&b, "Line %s is supported until %s at least.\n", line, until)
	}
	b.WriteString("\nIt consists of:\n")
	for _, name := range p.def.Names() {
		fmt.Fprintf(&b, "  %s %s\n", name, p.locked.Components[name].Called())
	}
	return b.String()
}

func months(n int) string {
	if n == 1 {
		return "1 month"
	}
	return fmt.Sprintf("%d months", n)
}

// changes compares the lock with that of the release that the notes start from.
func (p planner) changes(out *Plan) error {
	if !p.locked.Told() {
		return nil
	}
	var before platform.Lock
	if p.o.Before != nil {
		var err error
		if before, err = platform.ParseLock(p.src.Since+":"+platform.LockFileName, p.o.Before); err != nil {
			return err
		}
	}
	all, same := platform.Changes(before, p.locked)
	for _, c := range all {
		out.Platform.Changes = append(out.Platform.Changes, ComponentChange{Title: c.String(), Notes: p.locked.Components[c.Name].Notes})
	}
	out.Platform.Same = same
	return nil
}
