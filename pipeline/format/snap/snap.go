// Package snap makes packages for snapd: a SquashFS image with meta/snap.yaml and the files.
//
// A program is an app of its own name. The licence, documents, data and configuration are in the snap as they are in
// any package, below $SNAP; manual pages and completions are left out, since nothing reads them there: the base has no
// shell. A systemd unit is not installed but becomes a service of snapd, which
// writes units of its own; see Options.NoServices.
package snap

import (
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
)

// bare is the base with nothing in it, which suits a static program: neither a shell nor a C library. /etc is the
// host's, with the CA certificates and the resolver's configuration in it, as far as the confinement lets them be read.
const bare = "bare"

// Options are what a snap has besides its package.
type Options struct {
	// Compression is XZ where it is "". The Snap Store's review refuses Zstd; snapd itself mounts whatever the kernel does.
	Compression squashfs.Compression
	// NoServices leaves the systemd units out.
	NoServices bool
}

// minSize is how large a snap is at least: kernels look for partitions in the first 16 KiB of a device, and log an error
// where there is less (https://github.com/canonical/snapd/blob/master/snap/squashfs/squashfs.go).
const minSize = 16 << 10

// metadata is where snapd looks for what the snap says of itself.
const metadata = "meta/snap.yaml"

// Write writes the snap of p. Bytes and errors depend on the arguments alone; an error names what cannot be in a snap,
// and leaves nothing written unless w itself fails.
func Write(w io.Writer, p format.Package, o Options) error {
	about, err := describe(p, o)
	if err != nil {
		return err
	}
	files := []archive.File{archive.Bytes(metadata, about.yaml())}
	for _, f := range p.Files {
		if dir, _, _ := strings.Cut(f.Name, "/"); dir == "meta" {
			return fmt.Errorf("%s: snapd keeps the folder meta for itself; install the file elsewhere", f.Name)
		}
		switch {
		case f.Role == format.Program:
			f.File = f.WithExec()
		case slices.Contains([]format.Role{format.Unit, format.Manual, format.Completion}, f.Role):
			continue
		}
		files = append(files, f.File)
	}
	size, err := squashfs.Write(w, files, squashfs.Options{Time: p.Time, Compression: o.Compression, Scratch: p.Scratch})
	if err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, max(0, minSize-size))); err != nil {
		return fmt.Errorf("writing snap: %w", err)
	}
	return nil
}

// app is an app of a snap.
type app struct {
	name, command, daemon string
}

// The grammars of snapd (https://github.com/canonical/snapd/blob/master/snap/naming/validate.go and snap/validate.go).
var (
	names      = regexp.MustCompile(`^[a-z0-9-]*[a-z][a-z0-9-]*$`)
	apps       = regexp.MustCompile(`^[a-zA-Z0-9](?:-?[a-zA-Z0-9])*$`)
	interfaces = regexp.MustCompile(`^[a-z](?:-?[a-z0-9])*$`)
	commands   = regexp.MustCompile(`^[A-Za-z0-9/. _#:$-]*$`)
)

func checkName(s string) error {
	if len(s) < 2 || len(s) > 40 || !names.MatchString(s) || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return fmt.Errorf("name of the snap %.60q is not 2 to 40 lower-case letters, digits and single hyphens between, with a letter among them", s)
	}
	return nil
}

// appsOf are the programs of p and the services of its units, sorted by name.
func appsOf(p format.Package, o Options) ([]app, error) {
	byName := map[string]app{}
	add := func(a app, file string) error {
		if !apps.MatchString(a.name) {
			return fmt.Errorf("%s: an app of a snap cannot be called %.60q; a name is letters, digits and single hyphens between", file, a.name)
		}
		if other, ok := byName[a.name]; ok {
			return fmt.Errorf("%s: the snap has an app %s already, with the command %s", file, a.name, other.command)
		}
		byName[a.name] = a
		return nil
	}
	for _, f := range p.Files {
		if f.Role != format.Program {
			continue
		}
		a := app{name: path.Base(f.Name), command: f.Name}
		if !commands.MatchString(f.Name) || strings.Contains(f.Name, " ") {
			return nil, fmt.Errorf("program %q has a character in its path that snapd refuses in a command", f.Name)
		}
		if err := add(a, f.Name); err != nil {
			return nil, err
		}
	}
	if len(byName) == 0 {
		return nil, fmt.Errorf("snap %s has no program", p.Name)
	}
	for _, f := range p.Files {
		if f.Role != format.Unit || o.NoServices {
			continue
		}
		a, err := service(f, p.Files)
		if err != nil {
			return nil, fmt.Errorf("unit %s: %w; leave services out of the snap, or change the unit", f.Name, err)
		}
		if _, ok := byName[a.name]; ok {
			a.name = "daemon" // a service has no command that people call, which the program is to keep
		}
		if err := add(a, f.Name); err != nil {
			return nil, err
		}
	}
	all := make([]app, 0, len(byName))
	for _, a := range byName {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b app) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

const maxUnit = 64 << 10

// service is the app that starts what a systemd service starts
// (https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html).
func service(unit format.File, files []format.File) (app, error) {
	stem, ok := strings.CutSuffix(path.Base(unit.Name), ".service")
	if !ok {
		return app{}, errors.New("snapd has services, and no other units")
	}
	if unit.Size > maxUnit {
		return app{}, fmt.Errorf("it is larger than %d bytes", maxUnit)
	}
	r, err := unit.Open()
	if err != nil {
		return app{}, err
	}
	defer r.Close()
	b, err := bounded.Read(r, maxUnit)
	if err != nil {
		return app{}, err
	}
	a := app{name: stem, daemon: "simple"}
	section := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "Type":
			switch value {
			case "simple", "exec", "notify": // a program that finds nobody to notify starts all the same
			case "oneshot", "forking":
				a.daemon = value
			default:
				return app{}, fmt.Errorf("a snap has no services of type %.40q", value)
			}
		case "ExecStart":
			if a.command != "" {
				return app{}, errors.New("it starts more than one command")
			}
			a.command = strings.TrimPrefix(value, "/")
		}
	}
	program, _, _ := strings.Cut(a.command, " ")
	switch {
	case a.command == "":
		return app{}, errors.New("it has no ExecStart in its [Service]")
	case !commands.MatchString(a.command):
		return app{}, fmt.Errorf("snapd refuses a character of the command %.200q; it takes letters, digits, blanks and /._#:$-", a.command)
	case !slices.ContainsFunc(files, func(f format.File) bool { return f.Role == format.Program && f.Name == program }):
		return app{}, fmt.Errorf("it starts %.200q, which is not a program of the package", program)
	}
	return a, nil
}
