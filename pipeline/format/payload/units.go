package payload

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
)

// Units are systemd units that a package installs.
type Units struct {
	All []string // names; systemd has to read them
	// Enabled are those that an administrator can enable: they have an [Install] section, and are not templates.
	Enabled []string
}

var (
	unitNames = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]*@?[A-Za-z0-9_.:-]*\.(?:service|socket|timer|path|mount|automount|swap|target|slice)$`)
	installed = regexp.MustCompile(`(?m)^[ \t]*\[Install\][ \t\r]*$`)
)

// UnitsOf are the units of p that are in systemd's folder of system units.
func UnitsOf(p format.Package) (Units, error) {
	var u Units
	for _, f := range p.Files {
		if f.Role != format.Unit || path.Dir(f.Name) != "usr/lib/systemd/system" {
			continue
		}
		name := path.Base(f.Name)
		if !unitNames.MatchString(name) {
			return Units{}, fmt.Errorf("package %s: %q is not the name of a systemd unit, such as tool.service", p.Name, f.Name)
		}
		b, err := Read(f.File)
		if err != nil {
			return Units{}, err
		}
		u.All = append(u.All, name)
		if installed.Match(b) && !strings.Contains(name, "@") {
			u.Enabled = append(u.Enabled, name)
		}
	}
	slices.Sort(u.All)
	slices.Sort(u.Enabled)
	return u, nil
}
