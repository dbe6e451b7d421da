// Package rpm writes packages for rpm: Fedora, Red Hat Enterprise Linux, SUSE and their children.
//
// What the library makes is read and written anew, for it leaves out some of what rpmbuild does; see repack. The payload
// is compressed with gzip, by the compressor that is pinned in go.mod. Every rpm reads it; zstd would shut out those of
// Amazon Linux 2 and CentOS 7.
//
// Scripts do what Fedora's macros do: a unit that is new follows the distribution's presets, is not started, and is
// started anew by an upgrade if it runs (https://docs.fedoraproject.org/en-US/packaging-guidelines/Scriptlets/#_systemd).
package rpm

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/goreleaser/nfpm/v2/rpm"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/nfpm"
	"github.com/slipway-build/slipway/pipeline/format/payload"
)

// buildHost is what every package says it was built on: which machine it was does not matter, and must not show.
const buildHost = "localhost"

// width is how many characters a line of the description has at most; checkers want less than 80.
const width = 78

// Write writes the package. The same package gives the same bytes. An error names what cannot be in an rpm, and leaves
// nothing written unless w itself fails.
func Write(w io.Writer, p format.Package) (err error) {
	b, err := nfpm.New(format.RPM, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	b.Info.Release = format.RPMRelease
	b.Info.Description = strings.Join(payload.Wrap(p.Description, width), "\n")
	if b.Info.License == "" {
		b.Info.License = "NOASSERTION" // the tag is obligatory; so SPDX calls what is not known
	}
	b.Info.RPM.Summary = strings.TrimRight(p.Summary, ".")
	b.Info.RPM.BuildHost = buildHost
	b.Info.RPM.Group = "Applications/System"
	b.Info.RPM.Compression = "gzip:0"
	if err := relations(p); err != nil {
		return err
	}
	if err := add(b, p); err != nil {
		return err
	}
	if err := scripts(b, p); err != nil {
		return err
	}
	if err := changelog(b, p); err != nil {
		return err
	}
	plain, err := b.Pack(rpm.DefaultRPM)
	if err != nil {
		return err
	}
	out, err := repack(plain, b.Info.MTime, needs(b, p))
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing rpm: %w", err)
	}
	return nil
}

// relations refuses what the library would write down wrong: it ends a name at the first space, and takes an unknown
// operator for part of a version.
func relations(p format.Package) error {
	for _, of := range [][]string{p.Depends, p.Recommends, p.Suggests, p.Conflicts, p.Provides, p.Replaces} {
		for _, r := range of {
			words := strings.Fields(r)
			rich := strings.HasPrefix(r, "(") && strings.HasSuffix(r, ")")
			plain := len(words) == 1 && !strings.ContainsAny(r, "<=>")
			compared := len(words) == 3 && slices.Contains([]string{"<", "<=", "=", ">=", ">"}, words[1])
			if !rich && !plain && !compared {
				return fmt.Errorf("package %s: %q is no relation of rpm, such as name or name >= 1.2", p.Name, r)
			}
		}
	}
	return nil
}

// The senses of a dependency (https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmds.h).
const (
	senseLess, senseEqual                      = 1 << 1, 1 << 3
	senseInterpreter                           = 1 << 8
	sensePost, sensePreRemove, sensePostRemove = 1 << 10, 1 << 11, 1 << 12
	senseRPM                                   = 1 << 24
)

// needs are the dependencies that rpmbuild finds out itself: on features of rpm, each with the version that first had
// it, and on what runs the scripts.
func needs(b *nfpm.Builder, p format.Package) []requirement {
	feature := func(name, version string) requirement {
		return requirement{"rpmlib(" + name + ")", version, senseRPM | senseLess | senseEqual}
	}
	all := []requirement{
		feature("CompressedFileNames", "3.0.4-1"), feature("FileDigests", "4.6.0-1"), feature("PayloadFilesHavePrefix", "4.0-1"),
	}
	if strings.Contains(b.Info.Version, "~") {
		all = append(all, feature("TildeInVersions", "4.10.0-1"))
	}
	if slices.ContainsFunc(slices.Concat(p.Depends, p.Recommends, p.Suggests, p.Conflicts), func(r string) bool { return r[0] == '(' }) {
		all = append(all, feature("RichDependencies", "4.12.0-1"))
	}
	for _, s := range []struct {
		script string
		sense  uint32
	}{
		{b.Info.Scripts.PostInstall, sensePost}, {b.Info.Scripts.PreRemove, sensePreRemove}, {b.Info.Scripts.PostRemove, sensePostRemove},
	} {
		if s.script != "" {
			all = append(all, requirement{"/bin/sh", "", senseInterpreter | s.sense})
		}
	}
	return all
}

// add adds the files of the package, and the folders that are its own, so that they go when it goes.
func add(b *nfpm.Builder, p format.Package) error {
	folders := map[string]bool{}
	for _, f := range p.Files {
		kind, err := nfpm.File, error(nil)
		switch f.Role {
		case format.Program:
			f.File = f.WithExec()
		case format.License:
			f.File, kind = nfpm.Licenses(p, f.File), nfpm.License
		case format.Document:
			kind = nfpm.Doc
		case format.Manual:
			f.File, err = nfpm.Manual(f.File)
			kind = nfpm.Doc
		case format.Config:
			kind = nfpm.Config
		}
		if err != nil {
			return err
		}
		if err := b.Add(f.File, kind); err != nil {
			return err
		}
		for dir := path.Dir(f.Name); dir != "."; dir = path.Dir(dir) {
			if own(p.Name, dir) {
				folders[dir] = true
			}
		}
	}
	for dir := range folders {
		b.Folder(dir)
	}
	return nil
}

// own tells whether a folder is the package's: one that has its name, or is in such a one.
func own(name, dir string) bool { return slices.Contains(strings.Split(dir, "/"), name) }

//go:embed scripts.tmpl
var scriptsText string

var scriptsTemplate = template.Must(template.New("scripts").Parse(scriptsText))

// scripts adds the scriptlets that units need. They never fail, and do nothing where there is no systemd.
func scripts(b *nfpm.Builder, p format.Package) error {
	units, err := nfpm.UnitsOf(p)
	if err != nil || len(units.All) == 0 {
		return err
	}
	for _, s := range []struct {
		name string
		to   *string
	}{
		{"post", &b.Info.Scripts.PostInstall}, {"preun", &b.Info.Scripts.PreRemove}, {"postun", &b.Info.Scripts.PostRemove},
	} {
		var text bytes.Buffer
		if err := scriptsTemplate.ExecuteTemplate(&text, s.name, units); err != nil {
			return err
		}
		body := bytes.TrimSpace(text.Bytes())
		if len(body) == 0 {
			continue
		}
		if *s.to, err = b.Text(append(body, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// changelog adds one entry. The library reads it from a file of YAML, which JSON is.
func changelog(b *nfpm.Builder, p format.Package) error {
	type change struct {
		Note string `json:"note"`
	}
	type entry struct {
		Semver   string   `json:"semver"`
		Date     string   `json:"date"`
		Packager string   `json:"packager"`
		Changes  []change `json:"changes"`
	}
	e := entry{Semver: b.Info.Version + "-" + format.RPMRelease, Date: b.Info.MTime.Format("2006-01-02T15:04:05Z"), Packager: p.Maintainer}
	for _, s := range payload.Changes(p) {
		e.Changes = append(e.Changes, change{strings.Join(payload.Wrap(s, width-2), "\n  ")})
	}
	text, err := json.Marshal([]entry{e})
	if err != nil {
		return err
	}
	b.Info.Changelog, err = b.Text(text)
	return err
}
