// Package deb writes packages for dpkg: Debian, Ubuntu and their children.
//
// The library that lays them out compresses with the standard library's gzip, whose output changes between Go versions.
// Here it leaves the data as it is, and both tars are compressed by the pinned compressor and put into a container of
// our own writing. The compression is gzip: every dpkg reads it, dpkg of Debian 11 reads no zstd, and xz takes ten times
// as long to write.
//
// A package follows Debian's policy as far as a checker sees: manual pages and the changelog are compressed, the licence
// is in a machine-readable copyright file, units are enabled and restarted by Debian's own helpers, and what is on
// purpose otherwise is overridden with its reason.
package deb

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/goreleaser/nfpm/v2/deb"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/nfpm"
)

// width is how many characters a line of a description or of a changelog has at most, less its indentation.
const width = 74

// Write writes the package. The same package gives the same bytes. An error names what cannot be in a deb, and leaves
// nothing written unless w itself fails.
func Write(w io.Writer, p format.Package) (err error) {
	if strings.Contains(p.Name, "_") {
		return fmt.Errorf("package %.60q: the name of a deb has no underscore; write a hyphen (https://www.debian.org/doc/debian-policy/ch-controlfields.html#source)", p.Name)
	}
	b, err := nfpm.New(format.Deb, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	b.Info.Description = synopsis(p.Summary) + "\n" + extended(p)
	b.Info.Priority = "optional"
	if b.Info.Section == "" {
		b.Info.Section = "utils"
	}
	b.Info.Deb.Compression = "none"
	if err := add(b, p); err != nil {
		return err
	}
	if err := scripts(b, p); err != nil {
		return err
	}
	plain, err := b.Pack(deb.Default)
	if err != nil {
		return err
	}
	out, err := repack(plain, b.Info.MTime, b.Install())
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing deb: %w", err)
	}
	return nil
}

// add adds the files of the package, and those that Debian's policy wants besides.
func add(b *nfpm.Builder, p format.Package) error {
	var texts []string
	for _, f := range p.Files {
		kind, err := nfpm.File, error(nil)
		switch f.Role {
		case format.Program:
			f.File = f.WithExec()
		case format.License:
			text, err := nfpm.Read(f.File)
			if err != nil {
				return err
			}
			if isLicense(f.Name) { // its place is the copyright file
				texts = append(texts, string(text))
				continue
			}
		case format.Manual:
			f.File, err = nfpm.Manual(f.File)
		case format.Config:
			kind = nfpm.Config
		}
		if err != nil {
			return err
		}
		if err := b.Add(f.File, kind); err != nil {
			return err
		}
	}
	doc := "usr/share/doc/" + p.Name + "/"
	changes, err := nfpm.Gzip(archive.Bytes(doc+"changelog", changelog(p, b.Info.Version)))
	if err != nil {
		return err
	}
	for _, f := range []archive.File{
		changes,
		archive.Bytes(doc+"copyright", copyright(p, texts)),
		archive.Bytes("usr/share/lintian/overrides/"+p.Name, overrides(p)),
	} {
		if err := b.Add(f, nfpm.File); err != nil {
			return err
		}
	}
	return nil
}

// synopsis is a summary without what Debian wants no synopsis to have: an article at its begin, a full stop at its end
// (https://www.debian.org/doc/manuals/developers-reference/best-pkging-practices.html#bpp-pkg-synopsis).
func synopsis(s string) string {
	s = strings.TrimRight(strings.Join(strings.Fields(s), " "), ".")
	for _, article := range []string{"a ", "an ", "the "} {
		if len(s) > len(article) && strings.EqualFold(s[:len(article)], article) {
			return s[len(article):]
		}
	}
	return s
}

// extended is the extended description, without the space in front of each line. It says more than the synopsis, as
// the policy wants: what is in the package, if nothing else is known.
func extended(p format.Package) string {
	text := p.Description
	if synopsis(text) == synopsis(p.Summary) {
		names := nfpm.Programs(p)
		for i, name := range names {
			names[i] = path.Base(name)
		}
		switch len(names) {
		case 0:
			text = "This package contains files of " + p.Name + "."
		case 1:
			text = "This package contains the program " + names[0] + "."
		default:
			text = "This package contains the programs " + strings.Join(names, ", ") + "."
		}
	}
	return strings.Join(nfpm.Wrap(text, width), "\n")
}

// changelog is Debian's of a native package, with one entry
// (https://www.debian.org/doc/debian-policy/ch-source.html#debian-changelog-debian-changelog).
func changelog(p format.Package, version string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n", p.Name, version)
	for _, change := range nfpm.Changes(p) {
		for i, line := range nfpm.Wrap(change, width) {
			lead := "    "
			if i == 0 {
				lead = "  * "
			}
			b.WriteString(lead + line + "\n")
		}
	}
	maintainer := p.Maintainer
	if !strings.HasSuffix(maintainer, ">") {
		maintainer += " <>" // the grammar wants an address, though an empty one
	}
	fmt.Fprintf(&b, "\n -- %s  %s\n", maintainer, p.Time.UTC().Format(time.RFC1123Z))
	return b.Bytes()
}

// overrides tell Debian's checker what is on purpose (https://lintian.debian.org/manual/index.html).
func overrides(p format.Package) []byte {
	var b strings.Builder
	if programs := nfpm.Programs(p); len(programs) > 0 {
		b.WriteString("# A Go program is linked statically, so that it runs on every distribution.\n")
		for _, name := range programs {
			fmt.Fprintf(&b, "%s: statically-linked-binary [%s]\n", p.Name, name)
		}
		var bare []string
		for _, name := range programs {
			if !slices.ContainsFunc(p.Files, func(f format.File) bool {
				return f.Role == format.Manual && strings.HasPrefix(path.Base(f.Name), path.Base(name)+".")
			}) {
				bare = append(bare, name)
			}
		}
		if len(bare) > 0 {
			b.WriteString("# The program explains itself with --help.\n")
		}
		for _, name := range bare {
			fmt.Fprintf(&b, "%s: no-manual-page [%s]\n", p.Name, name)
		}
	}
	return []byte(b.String())
}

//go:embed scripts.tmpl
var scriptsText string

var scriptsTemplate = template.Must(template.New("scripts").Parse(scriptsText))

// scripts adds the maintainer scripts that units need. They do what Debian's packages do with their units
// (https://manpages.debian.org/deb-systemd-helper.1p), and nothing where there is no systemd.
func scripts(b *nfpm.Builder, p format.Package) error {
	units, err := nfpm.UnitsOf(p)
	if err != nil || len(units.All) == 0 {
		return err
	}
	set := func(name string, to *string) error {
		var text bytes.Buffer
		if err := scriptsTemplate.ExecuteTemplate(&text, name, units); err != nil {
			return err
		}
		var err error
		*to, err = b.Text(text.Bytes())
		return err
	}
	if len(units.Enabled) > 0 {
		if err := set("prerm", &b.Info.Scripts.PreRemove); err != nil {
			return err
		}
	}
	return errors.Join(set("postinst", &b.Info.Scripts.PostInstall), set("postrm", &b.Info.Scripts.PostRemove))
}
