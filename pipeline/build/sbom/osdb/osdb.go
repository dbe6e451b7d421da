// Package osdb reads which packages a base image has, from its layers and without running anything in it.
//
// It lays the layers over each other as a container runtime does (whiteouts, links, directories that became links) and
// reads the databases of apk, dpkg and rpm from the result. A database that is there and cannot be read is part of the
// answer: nothing is silently absent.
package osdb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Layer opens a layer of an image: a tar archive as it is, or compressed with gzip or zstd. Which of them it is, its
// first bytes say.
type Layer func(context.Context) (io.ReadCloser, error)

// Base is what is installed in a base image.
type Base struct {
	Distribution Distribution
	Packages     []Package  // sorted, each once
	Databases    []Database // every one that is there, sorted by path
}

// Distribution is what /etc/os-release says (https://www.freedesktop.org/software/systemd/man/latest/os-release.html).
// Fields are empty where it says nothing.
type Distribution struct {
	ID      string // lower-case: alpine, ubuntu, rhel
	Version string // VERSION_ID: 3.22.1
	Title   string // PRETTY_NAME
}

// Database is a package database of a base image.
type Database struct {
	Path     string // in the image, without the slash in front
	Format   string // apk, dpkg or rpm
	Packages int    // that it lists as installed
	Problem  string // why it could not be read, or could not be read entirely; empty when it was
}

// Package is one installed package.
type Package struct {
	Type          string // apk, deb or rpm
	Name          string
	Version       string // as the format writes it: with release, and with epoch where there is one
	Arch          string // in the format's words
	Source        string // name of the source package, or ""
	SourceVersion string // of the source package, or "" where it is not told
	License       string // as the package has it, which need not be an SPDX expression, or ""
	Vendor        string // who made the package, where the format has a field for it, or ""
}

func (p Package) compare(q Package) int {
	return cmp.Or(cmp.Compare(p.Type, q.Type), cmp.Compare(p.Name, q.Name), cmp.Compare(p.Version, q.Version), cmp.Compare(p.Arch, q.Arch))
}

func (p Package) same(q Package) bool { return p.compare(q) == 0 }

// Read lays the layers over each other, the lowest first, and reads what is installed. An error means that a layer
// could not be read, or that it is beyond every bound of a base image.
func Read(ctx context.Context, layers []Layer) (Base, error) {
	t, err := unpack(ctx, layers, standard)
	if err != nil {
		return Base{}, err
	}
	b := t.base()
	if t.work > t.bounds.work {
		return Base{}, errWork
	}
	return b, nil
}

// Places of the databases. A distribution whose /lib is a link to usr/lib has one file under two names.
var (
	apkPlaces  = []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"}
	dpkgPlace  = "var/lib/dpkg/status"
	splitPlace = "var/lib/dpkg/status.d" // distroless images have a file for each package
	rpmPlaces  = []string{"usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/rpm"}
	rpmSqlite  = "rpmdb.sqlite"
	// rpmOthers are formats that rpm wrote before sqlite or has beside it. No base that is offered has one of them.
	rpmOthers = []struct{ name, what string }{
		{"Packages", "a Berkeley DB, the format of rpm before 4.16"},
		{"Packages.db", "an ndb, the format of SUSE"},
	}
)

// wanted reports whether the content of a file is kept while the layers are read. Links to a database have other names in
// no distribution; if one had, its database would be reported as unreadable.
func wanted(name string) bool {
	dir, base := path.Split(name)
	switch base {
	case "installed", "status", rpmSqlite:
		return true
	}
	return strings.HasPrefix(base, "os-release") || path.Base(dir) == path.Base(splitPlace)
}

func (t *tree) base() Base {
	b := Base{Distribution: t.distribution()}
	seen := map[*node]bool{}
	add := func(place, format string, n *node, read func([]byte) ([]Package, error)) {
		if n == nil || n.kind == folder || seen[n] {
			return
		}
		seen[n] = true
		d := Database{Path: place, Format: format}
		found, err := n.parse(read)
		if err == nil && len(b.Packages)+len(found) > maxPackages {
			err = fmt.Errorf("the image has more than %d packages", maxPackages)
		}
		if err != nil {
			d.Problem = err.Error()
		} else {
			d.Packages = len(found)
			b.Packages = append(b.Packages, found...)
		}
		b.Databases = append(b.Databases, d)
	}
	for _, place := range apkPlaces {
		add(place, "apk", t.find(place), parseApk)
	}
	add(dpkgPlace, "dpkg", t.find(dpkgPlace), parseDpkg)
	if dir := t.find(splitPlace); dir != nil && dir.kind == folder {
		d := Database{Path: splitPlace, Format: "dpkg"}
		for _, name := range dir.names() {
			if strings.HasSuffix(name, ".md5sums") {
				continue
			}
			before := len(b.Databases)
			add(splitPlace+"/"+name, "dpkg", t.find(splitPlace+"/"+name), parseControl)
			for _, one := range b.Databases[before:] { // one database, though it is many files
				d.Packages += one.Packages
				if one.Problem != "" && d.Problem == "" {
					d.Problem = name + ": " + one.Problem
				}
			}
			b.Databases = b.Databases[:before]
		}
		b.Databases = append(b.Databases, d)
	}
	for _, dir := range rpmPlaces {
		before := len(b.Databases)
		add(dir+"/"+rpmSqlite, "rpm", t.find(dir+"/"+rpmSqlite), parseRPM)
		if log := t.find(dir + "/" + rpmSqlite + "-wal"); len(b.Databases) > before && log != nil && log.kind == file && log.size > 0 && b.Databases[before].Problem == "" {
			b.Databases[before].Problem = "its write-ahead log has changes that were not read"
		}
		for _, other := range rpmOthers {
			place := dir + "/" + other.name
			n := t.find(place)
			if n == nil || n.kind == folder || n.kind == file && n.size == 0 || seen[n] {
				continue
			}
			seen[n] = true
			b.Databases = append(b.Databases, Database{Path: place, Format: "rpm", Problem: "it is " + other.what + ", which is not read"})
		}
	}
	slices.SortFunc(b.Databases, func(x, y Database) int { return strings.Compare(x.Path, y.Path) })
	slices.SortStableFunc(b.Packages, Package.compare)
	b.Packages = slices.CompactFunc(b.Packages, Package.same)
	return b
}

// parse reads the packages of a database. What is not entirely right has no packages: a database that lies about one of
// them is believed about none.
func (n *node) parse(read func([]byte) ([]Package, error)) ([]Package, error) {
	if n.kind != file || !n.kept {
		return nil, errors.New("it is not a file whose content could be read")
	}
	found, err := read(n.content)
	if err == nil {
		err = check(found)
	}
	return found, err
}

// distribution reads the first of the two places that os-release(5) names.
func (t *tree) distribution() Distribution {
	for _, place := range []string{"etc/os-release", "usr/lib/os-release"} {
		if n := t.find(place); n != nil && n.kind == file && n.kept {
			return parseRelease(n.content)
		}
	}
	return Distribution{}
}

// check refuses what no package is called: a database that says such things is not what it seems to be.
func check(ps []Package) error {
	for _, p := range ps {
		if p.Name == "" || p.Version == "" {
			return fmt.Errorf("package %q has no name or no version", p.Name)
		}
		for _, s := range []string{p.Name, p.Version, p.Arch, p.Source, p.SourceVersion, p.License, p.Vendor} {
			if len(s) > maxField || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				return fmt.Errorf("package %.80q: %.80q is not text that a package has", p.Name, s)
			}
		}
		if strings.ContainsAny(p.Name+p.Version+p.Arch+p.Source+p.SourceVersion, " \t") {
			return fmt.Errorf("package %.80q: a name, version or architecture has a space", p.Name)
		}
	}
	return nil
}

// Bounds of what a database may say.
const (
	maxPackages = 100_000
	maxField    = 16 << 10 // bytes; the licence of linux-firmware is longer than anybody would expect
)

// parseApk reads the database of apk: paragraphs of lines with a letter, a colon and a value
// (https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2). The lines of files are skipped.
func parseApk(b []byte) ([]Package, error) {
	var out []Package
	var p Package
	flush := func() error {
		if p == (Package{}) {
			return nil
		}
		if len(out) >= maxPackages {
			return fmt.Errorf("it has more than %d packages", maxPackages)
		}
		p.Type = "apk"
		if p.Source != "" {
			p.SourceVersion = p.Version // packages of one source have one version
		}
		out = append(out, p)
		p = Package{}
		return nil
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		if len(line) == 0 {
			if err := flush(); err != nil {
				return nil, err
			}
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			return nil, fmt.Errorf("line %.40q is not of an apk database", line)
		}
		value := line[2:]
		switch line[0] {
		case 'P':
			p.Name = string(value)
		case 'V':
			p.Version = string(value)
		case 'A':
			p.Arch = string(value)
		case 'L':
			p.License = string(value)
		case 'o':
			p.Source = string(value)
		}
	}
	return out, flush()
}

// parseDpkg reads the status file of dpkg. Packages that are removed and left their configuration, or that were never
// entirely installed, are not in its answer (https://manpages.debian.org/bookworm/dpkg/dpkg.1.en.html#Package_states).
func parseDpkg(b []byte) ([]Package, error) {
	var out []Package
	err := paragraphs(b, func(p Package, status string) error {
		words := strings.Fields(status)
		if len(words) != 3 {
			return fmt.Errorf("package %.80q has the status %.80q, which is not three words", p.Name, status)
		}
		// What waits for triggers is installed: its files are all there.
		if !slices.Contains([]string{"installed", "triggers-awaited", "triggers-pending"}, words[2]) {
			return nil
		}
		if len(out) >= maxPackages {
			return fmt.Errorf("it has more than %d packages", maxPackages)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// parseControl reads the control file of one package, as distroless images keep it.
func parseControl(b []byte) ([]Package, error) {
	var out []Package
	err := paragraphs(b, func(p Package, _ string) error {
		if len(out) > 0 {
			return errors.New("it has more than one package")
		}
		out = append(out, p)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errors.New("it has no package")
	}
	return out, err
}

// paragraphs reads Debian control data (https://www.debian.org/doc/debian-policy/ch-controlfields.html#syntax-of-control-files).
func paragraphs(b []byte, each func(p Package, status string) error) error {
	var p Package
	var status string
	filled := false
	flush := func() error {
		if !filled {
			return nil
		}
		p.Type = "deb"
		if p.Source != "" && p.SourceVersion == "" {
			p.SourceVersion = p.Version
		}
		err := each(p, status)
		p, status, filled = Package{}, "", false
		return err
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		line = bytes.TrimRight(line, " \t\r")
		if len(line) == 0 {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		filled = true
		if line[0] == ' ' || line[0] == '\t' {
			continue // more of a field, and none of those that are read has more than a line
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return fmt.Errorf("line %.40q is not of a control file", line)
		}
		text := string(bytes.TrimSpace(value))
		switch strings.ToLower(string(key)) {
		case "package":
			p.Name = text
		case "version":
			p.Version = text
		case "architecture":
			p.Arch = text
		case "status":
			status = text
		case "source":
			name, rest, _ := strings.Cut(text, " ")
			p.Source = name
			p.SourceVersion = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(rest), "("), ")")
		}
	}
	return flush()
}

// parseRelease reads an os-release file: assignments of a shell without anything that a shell would expand. What is no
// assignment is skipped, as the specification has it.
func parseRelease(b []byte) Distribution {
	var d Distribution
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok {
			continue
		}
		text, ok := unquote(value)
		if !ok || len(text) > 256 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			continue
		}
		switch key {
		case "ID":
			if strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" {
				d.ID = text
			}
		case "VERSION_ID":
			if !strings.Contains(text, " ") {
				d.Version = text
			}
		case "PRETTY_NAME":
			d.Title = text
		}
	}
	return d
}

// unquote reads a word as a POSIX shell does: '...' as it is, "..." and bare with backslashes.
func unquote(s string) (string, bool) {
	if rest, ok := strings.CutPrefix(s, "'"); ok {
		body, closed := strings.CutSuffix(rest, "'")
		return body, closed && !strings.Contains(body, "'")
	}
	rest, quoted := strings.CutPrefix(s, `"`)
	var out strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return out.String(), quoted && i == len(rest)-1
		case c == '\\' && i+1 < len(rest):
			i++
			out.WriteByte(rest[i])
		case !quoted && (c == ' ' || c == '\''):
			return "", false
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), !quoted
}
