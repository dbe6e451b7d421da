// Package deb writes packages for dpkg: Debian, Ubuntu and their children.
//
// The compression is gzip: every dpkg reads it, dpkg of Debian 11 reads no zstd, and xz takes ten times as long to write.
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

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
)

// formatVersion is of deb(5).
const formatVersion = "2.0\n"

// width is how many characters a line of a description or of a changelog has at most, less its indentation.
const width = 74

// Write writes the package. The same package gives the same bytes. An error names what cannot be in a deb, and leaves
// nothing written unless w itself fails.
func Write(w io.Writer, p format.Package) (err error) {
	if strings.Contains(p.Name, "_") {
		return fmt.Errorf("package %.60q: the name of a deb has no underscore; write a hyphen (https://www.debian.org/doc/debian-policy/ch-controlfields.html#source)", p.Name)
	}
	names, err := payload.Check(format.Deb, p)
	if err != nil {
		return err
	}
	files, err := files(p, names.Version)
	if err != nil {
		return err
	}
	tree, err := payload.Tree(p, files)
	if err != nil {
		return err
	}
	scripts, err := scripts(p)
	if err != nil {
		return err
	}
	// The control files are in front of the data, and have the digests of it.
	data, err := archive.NewSpool(p.Scratch)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	size, sums, err := writeData(data, tree, p.Time)
	if err != nil {
		return err
	}
	head, err := controlTar(append([]text{
		{"control", 0o644, control(p, names, installed(tree))},
		{"md5sums", 0o644, sums},
		{"conffiles", 0o644, conffiles(tree)},
	}, scripts...), p.Time)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	ar := newContainer(w, p.Time)
	ar.member("debian-binary", int64(len(formatVersion)), strings.NewReader(formatVersion))
	ar.member("control.tar.gz", int64(len(head)), bytes.NewReader(head))
	ar.member("data.tar.gz", size, data)
	if ar.err != nil {
		return fmt.Errorf("writing deb: %w", ar.err)
	}
	return nil
}

// files are the files of the package, and those that Debian's policy requires as well.
func files(p format.Package, version string) ([]format.File, error) {
	all, err := payload.Files(p)
	if err != nil {
		return nil, err
	}
	var licenses []string
	var files []format.File
	for _, f := range all {
		if f.Role == format.License {
			text, err := payload.Read(f.File)
			if err != nil {
				return nil, err
			}
			if isLicense(f.Name) { // its place is the copyright file
				licenses = append(licenses, string(text))
				continue
			}
		}
		files = append(files, f)
	}
	doc := "usr/share/doc/" + p.Name + "/"
	changes, err := payload.Gzip(archive.Bytes(doc+"changelog", changelog(p, version)))
	if err != nil {
		return nil, err
	}
	return append(files,
		format.File{File: changes, Role: format.Document},
		format.File{File: archive.Bytes(doc+"copyright", copyright(p, licenses)), Role: format.Document},
		format.File{File: archive.Bytes("usr/share/lintian/overrides/"+p.Name, overrides(p)), Role: format.Data},
	), nil
}

// synopsis is a summary without what Debian does not allow in a synopsis: an article at its begin, a full stop at its end
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
		names := payload.Programs(p)
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
	return strings.Join(payload.Wrap(text, width), "\n")
}

// changelog is Debian's of a native package, with one entry
// (https://www.debian.org/doc/debian-policy/ch-source.html#debian-changelog-debian-changelog).
func changelog(p format.Package, version string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n", p.Name, version)
	for _, change := range payload.Changes(p) {
		for i, line := range payload.Wrap(change, width) {
			lead := "    "
			if i == 0 {
				lead = "  * "
			}
			b.WriteString(lead + line + "\n")
		}
	}
	maintainer := p.Maintainer
	if !strings.HasSuffix(maintainer, ">") {
		maintainer += " <>" // the grammar requires an address, though an empty one
	}
	fmt.Fprintf(&b, "\n -- %s  %s\n", maintainer, p.Time.UTC().Format(time.RFC1123Z))
	return b.Bytes()
}

// overrides tell Debian's checker what is on purpose (https://lintian.debian.org/manual/index.html).
func overrides(p format.Package) []byte {
	var b strings.Builder
	if programs := payload.Programs(p); len(programs) > 0 {
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

// scripts are the maintainer scripts that units need. They do what Debian's packages do with their units
// (https://manpages.debian.org/deb-systemd-helper.1p), and nothing where there is no systemd.
func scripts(p format.Package) ([]text, error) {
	units, err := payload.UnitsOf(p)
	if err != nil || len(units.All) == 0 {
		return nil, err
	}
	names := []string{"postinst", "postrm"}
	if len(units.Enabled) > 0 {
		names = append(names, "prerm")
	}
	var all []text
	for _, name := range names {
		var b bytes.Buffer
		if err := scriptsTemplate.ExecuteTemplate(&b, name, units); err != nil {
			return nil, err
		}
		all = append(all, text{name, 0o755, b.Bytes()})
	}
	return all, nil
}
