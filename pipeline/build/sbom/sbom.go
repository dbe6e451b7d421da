// Package sbom writes bills of materials: what is in a binary, an archive or an image, in the forms of CycloneDX 1.6 and
// SPDX 2.3.
//
// A document is a pure function of its values: its time is the commit's, its identifier comes from the digest of what it
// describes, and all its lists are sorted. It says what is known and no more. Which modules a program was linked from is
// known, and how they depend on each other is not, so the graph is flat there; what a base image has outside of its
// package databases is not known either, and the document says so.
package sbom

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-build/slipway/pipeline/build/sbom/osdb"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Document is what a bill of materials is written from.
type Document struct {
	Project  Project
	Subject  Subject
	Programs []Program // of a binary it is one, the subject itself
	Files    []File    // all other files of the archive, or of the layers that an image has on top of its base
	Base     *Base     // of an image, or nil
	Merged   *Merged   // of a platform: what its components consist of
}

// Project is what a release says of itself.
type Project struct {
	Name       string
	Version    string // SemVer, without a v in front
	Vendor     string // or ""
	License    string // SPDX expression, or ""
	Repository string // URL of the source, or ""
	Commit     string
	Time       time.Time // the commit's
	Tool       string    // name and version of the generator, with a space between
}

// Subject is what a document is about.
type Subject struct {
	Kind     artifact.Kind // Binary, Archive, Image or Composed
	Name     string        // file name, or <registry>/<repository>:<tag>
	Platform artifact.Platform
	Digest   artifact.Digest // of the file, or of the image's manifest
}

// Base is the image that an image stands on.
type Base struct {
	Image     string          // <registry>/<repository>:<tag>
	Digest    artifact.Digest // or "" for a stand-in, which no registry has
	Installed osdb.Base
}

// File is a file that is not a program.
type File struct {
	Path   string
	Digest artifact.Digest
}

// space is the namespace of the UUIDs of all documents, in the sense of RFC 9562, section 5.5.
var space = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/slipway-build/slipway/sbom"))

// identifier is a UUID that is the same whenever the same generator describes the same thing in the same format.
func (d Document) identifier(format string) string {
	name := strings.Join([]string{format, d.Project.Tool, string(d.Subject.Kind), d.Subject.Name, string(d.Subject.Digest)}, "\n")
	return uuid.NewSHA1(space, []byte(name)).URN()
}

func (d Document) created() string { return d.Project.Time.UTC().Format("2006-01-02T15:04:05Z") }

// generator is the name and the version of the tool.
func (d Document) generator() (name, version string) {
	name, version, _ = strings.Cut(d.Project.Tool, " ")
	return name, version
}

func (d Document) check() error {
	s := d.Subject
	switch {
	case s.Kind != artifact.Binary && s.Kind != artifact.Archive && s.Kind != artifact.Image && s.Kind != artifact.Composed:
		return fmt.Errorf("a bill of materials is of a binary, an archive, an image or a platform, not of a %s", s.Kind)
	case (s.Kind == artifact.Composed) != (d.Merged != nil):
		return errors.New("a platform, and nothing else, consists of releases")
	case s.Name == "" || d.Project.Name == "" || d.Project.Version == "":
		return errors.New("the subject, the project or its version has no name")
	case d.Project.Time.IsZero():
		return errors.New("the commit has no time")
	case s.Kind == artifact.Binary && (len(d.Programs) != 1 || d.Programs[0].Digest != s.Digest || len(d.Files) > 0):
		return errors.New("a binary is one program of the same digest, and no file")
	case s.Kind != artifact.Image && d.Base != nil:
		return errors.New("only an image has a base")
	}
	if name, version := d.generator(); name == "" || version == "" {
		return fmt.Errorf("generator %q is not a name and a version", d.Project.Tool)
	}
	_, err := artifact.ParseDigest(string(s.Digest))
	return err
}

// fileKey begins the key of a file that is not a program.
const fileKey = "file/"

// sort is what a thing is.
type sort int

const (
	application sort = iota
	archiveFile
	container
	library
	operatingSystem
	plainFile
)

// thing is a part of a document in neither of the formats.
type thing struct {
	key      string // unique in the document
	sort     sort
	name     string
	version  string
	license  string
	supplier string
	purl     string
	cpe      string
	digest   artifact.Digest
	notes    []note
	holds    []string // keys of what is in it
	needs    []string // keys of what it was linked from
	base     string   // key of what it was made from
	whole    whole
}

type note struct{ name, value string }

// whole says how far holds and needs are all that there is.
type whole int

const (
	silent  whole = iota // it has no parts, or none that anybody could list
	all                  // there are no others
	unknown              // there may be others
	partly               // there are others
)

// things are the subject, which is the first, and all that is in it.
func (d Document) things() ([]thing, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("describing %s: %w", d.Subject.Name, err)
	}
	p := d.Project
	subject := thing{
		key: "subject", name: d.Subject.Name, version: p.Version, license: p.License, supplier: p.Vendor, digest: d.Subject.Digest, whole: all,
	}
	if p.Commit != "" {
		subject.notes = append(subject.notes, note{"slipway:commit", p.Commit})
	}
	if d.Subject.Platform != (artifact.Platform{}) {
		subject.notes = append(subject.notes, note{"slipway:platform", d.Subject.Platform.String()})
	}
	var rest []thing
	seen := map[string]bool{}
	linked := func(program Program) (keys []string) {
		for _, t := range program.linked() {
			if !seen[t.key] { // programs of one archive have modules in common
				seen[t.key] = true
				rest = append(rest, t)
			}
			keys = append(keys, t.key)
		}
		return keys
	}
	switch d.Subject.Kind {
	case artifact.Binary:
		program := d.Programs[0]
		subject.sort, subject.purl, subject.whole = application, program.purl(p.Version), program.whole()
		subject.notes = append(subject.notes, program.notes()...)
		subject.needs = linked(program)
	case artifact.Archive:
		subject.sort = archiveFile
	case artifact.Image:
		subject.sort = container
		subject.name, subject.version = splitImage(d.Subject.Name)
		subject.purl = imagePURL(d.Subject.Name, d.Subject.Digest, d.Subject.Platform.Arch)
	}
	if d.Merged != nil {
		subject.sort = application
		for _, t := range d.Merged.things {
			t.holds, t.needs = slices.Clone(t.holds), slices.Clone(t.needs) // both formats are written from it
			rest = append(rest, t)
			if strings.HasPrefix(t.key, memberKey) {
				subject.holds = append(subject.holds, t.key)
			}
		}
	}
	if d.Subject.Kind != artifact.Binary {
		for _, program := range d.Programs {
			t := thing{
				key: "program/" + program.Path, sort: application, name: program.Path, version: p.Version, license: p.License, supplier: p.Vendor,
				purl: program.purl(p.Version), digest: program.Digest, notes: program.notes(), needs: linked(program), whole: program.whole(),
			}
			rest = append(rest, t)
			subject.holds = append(subject.holds, t.key)
		}
		for _, f := range d.Files {
			t := thing{key: fileKey + f.Path, sort: plainFile, name: f.Path, digest: f.Digest}
			rest = append(rest, t)
			subject.holds = append(subject.holds, t.key)
		}
	}
	if d.Base != nil {
		base := d.Base.things()
		subject.base = base[0].key
		rest = append(rest, base...)
	}
	slices.SortFunc(rest, func(a, b thing) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(rest); i++ {
		if rest[i].key == rest[i-1].key {
			return nil, fmt.Errorf("describing %s: %s is in it twice", d.Subject.Name, rest[i].key)
		}
	}
	out := append([]thing{subject}, rest...)
	for i := range out {
		slices.Sort(out[i].holds)
		slices.Sort(out[i].needs)
	}
	return out, nil
}

// things of a base are the base, which is the first, its distribution and its packages.
func (b Base) things() []thing {
	name, version := splitImage(b.Image)
	base := thing{key: "base", sort: container, name: name, version: version, digest: b.Digest, whole: unknown}
	if b.Digest != "" {
		base.purl = imagePURL(b.Image, b.Digest, "")
	}
	if len(b.Installed.Databases) == 0 {
		base.notes = append(base.notes, note{"slipway:packages", "no package database was found"})
	}
	for _, db := range b.Installed.Databases {
		text := fmt.Sprintf("%s: %d packages in the format of %s", db.Path, db.Packages, db.Format)
		if db.Problem != "" {
			text += "; not complete: " + db.Problem
			base.whole = partly
		}
		base.notes = append(base.notes, note{"slipway:packages", text})
	}
	out := []thing{base}
	distro := b.Installed.Distribution
	if distro.ID != "" {
		out = append(out, thing{key: "os", sort: operatingSystem, name: distro.ID, version: distro.Version})
	}
	for _, p := range b.Installed.Packages {
		out = append(out, thing{
			key: p.Type + "/" + p.Name + "@" + p.Version + "/" + p.Arch, sort: library,
			name: p.Name, version: p.Version, license: p.License, supplier: p.Vendor, purl: packagePURL(p, distro),
		})
	}
	for _, t := range out[1:] {
		out[0].holds = append(out[0].holds, t.key)
	}
	return out
}

// splitImage cuts an image's name into its repository and its tag.
func splitImage(s string) (repository, tag string) {
	i := strings.LastIndexByte(s, ':')
	if i <= strings.LastIndexByte(s, '/') { // the colon of a port, or none
		return s, ""
	}
	return s[:i], s[i+1:]
}

// parts are the keys of all that a thing is made from, sorted.
func (t thing) parts() []string {
	out := slices.Concat(t.holds, t.needs)
	if t.base != "" {
		out = append(out, t.base)
	}
	slices.Sort(out)
	return out
}
