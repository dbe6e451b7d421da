// Package nfpm describes a package in the terms of nFPM, the library that lays out debs, rpms and apks
// (https://nfpm.goreleaser.com).
//
// The library takes what is not set from the machine: times, modes, owners, the name of the host. So everything is set
// here. It reads every file from disk, so what is only in memory goes to a folder that Close removes. What it compresses
// with the standard library's gzip, the writers of the formats compress anew.
package nfpm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/klauspost/compress/gzip"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// The kinds of contents that the formats tell apart. File is a plain one.
const (
	File    = files.TypeFile
	Config  = files.TypeConfigNoReplace
	License = files.TypeRPMLicense // of an rpm
	Doc     = files.TypeRPMDoc     // of an rpm
)

// maxText bounds what is read into memory of a file that is text: a licence, a unit, a manual page.
const maxText = 4 << 20

// maxSize bounds what is in a package: the sizes in an rpm are of 32 bits, and libraries read them as signed.
const maxSize = math.MaxInt32

// Builder collects what nFPM is to pack.
type Builder struct {
	Info *nfpm.Info
	dir  string // of files that were only in memory
	size int64
	seen map[string]bool
}

// New begins a package of a format. It refuses what would leave its field or its place. Close removes what the builder
// keeps on disk.
func New(f format.Format, p format.Package) (*Builder, error) {
	if err := check(p); err != nil {
		return nil, err
	}
	arch, ok := f.Arch(p.Platform)
	if !ok {
		return nil, fmt.Errorf("package %s: %s has no name for %s; leave the platform out", p.Name, f.Name, p.Platform)
	}
	version, err := f.Version(p.Version)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", p.Name, err)
	}
	dir, err := os.MkdirTemp("", "slipway-"+f.Name+"-*")
	if err != nil {
		return nil, err
	}
	return &Builder{dir: dir, seen: map[string]bool{}, Info: &nfpm.Info{
		Name: p.Name, Arch: arch, Platform: "linux", Version: version, VersionSchema: "none", Section: p.Section,
		Maintainer: p.Maintainer, Vendor: p.Vendor, Homepage: p.Homepage, License: p.License,
		DisableGlobbing: true, MTime: time.Unix(p.Time.Unix(), 0).UTC(),
		Overridables: nfpm.Overridables{
			Depends: p.Depends, Recommends: p.Recommends, Suggests: p.Suggests, Conflicts: p.Conflicts,
			Provides: p.Provides, Replaces: p.Replaces,
			// Said twice, so that the library does not take a name for one of Go's.
			Deb: nfpm.Deb{Arch: arch}, RPM: nfpm.RPM{Arch: arch}, APK: nfpm.APK{Arch: arch},
		},
	}}, nil
}

// Close removes what was put on disk.
func (b *Builder) Close() error { return os.RemoveAll(b.dir) }

// Add adds a file as a content of the given kind: owned by root, and of mode 0755 or 0644.
func (b *Builder) Add(f archive.File, kind string) error {
	if b.seen[f.Name] {
		return fmt.Errorf("package %s: %s is in it twice", b.Info.Name, f.Name)
	}
	b.seen[f.Name] = true
	if b.size += f.Size; b.size > maxSize {
		return fmt.Errorf("package %s: it has more than %s", b.Info.Name, artifact.FormatSize(maxSize))
	}
	source := f.Path()
	if source == "" {
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("packing %s: %w", f.Name, err)
		}
		defer r.Close()
		if source, err = b.put(r, f.Size); err != nil {
			return fmt.Errorf("packing %s: %w", f.Name, err)
		}
	} else if info, err := os.Stat(source); err != nil {
		return fmt.Errorf("packing %s: %w", f.Name, err)
	} else if info.Size() != f.Size {
		return fmt.Errorf("packing %s: its size changed while it was read", f.Name)
	}
	mode := os.FileMode(0o644)
	if f.Exec {
		mode = 0o755
	}
	b.content(&files.Content{Source: source, Destination: "/" + f.Name, Type: kind, FileInfo: &files.ContentFileInfo{Mode: mode}})
	return nil
}

// Folder adds a folder that is the package's own.
func (b *Builder) Folder(name string) {
	b.content(&files.Content{Destination: "/" + name + "/", Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o755}})
}

func (b *Builder) content(c *files.Content) {
	c.FileInfo.Owner, c.FileInfo.Group, c.FileInfo.MTime = "root", "root", b.Info.MTime
	b.Info.Contents = append(b.Info.Contents, c)
}

// Text puts a script, or anything else that the library wants a path of, on disk.
func (b *Builder) Text(content []byte) (string, error) {
	return b.put(bytes.NewReader(content), int64(len(content)))
}

func (b *Builder) put(r io.Reader, size int64) (string, error) {
	w, err := os.CreateTemp(b.dir, "")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(w, io.LimitReader(r, size))
	if more, _ := io.ReadFull(r, make([]byte, 1)); err == nil && (n != size || more != 0) {
		err = errors.New("its size changed while it was read")
	}
	return w.Name(), errors.Join(err, w.Close())
}

// Pack lets the library make the package.
func (b *Builder) Pack(by nfpm.Packager) ([]byte, error) {
	var out bytes.Buffer
	if err := by.Package(b.Info, &out); err != nil {
		return nil, fmt.Errorf("package %s: %w", b.Info.Name, err)
	}
	return out.Bytes(), nil
}

// Install is how many bytes the prepared contents take on a disk, in KiB, as dpkg-gencontrol counts: each file rounded
// up, each folder as one (https://manpages.debian.org/dpkg-gencontrol.1). It counts after Pack.
func (b *Builder) Install() int64 {
	var kib int64
	for _, c := range b.Info.Contents {
		if c.IsDir() {
			kib++
		} else {
			kib += (c.Size() + 1023) / 1024
		}
	}
	return kib
}

// Read returns the contents of a file that is text.
func Read(f archive.File) ([]byte, error) {
	if f.Size > maxText {
		return nil, fmt.Errorf("packing %s: it has %s; a text has at most %s", f.Name, artifact.FormatSize(f.Size), artifact.FormatSize(maxText))
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", f.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, f.Size+1))
	if err == nil && int64(len(b)) != f.Size {
		err = errors.New("its size changed while it was read")
	}
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", f.Name, err)
	}
	return b, nil
}

// Gzip is a file as gzip -9n compresses it, under its name with .gz: neither a name nor a time is in it.
func Gzip(f archive.File) (archive.File, error) {
	b, err := Read(f)
	if err != nil {
		return archive.File{}, err
	}
	var out bytes.Buffer
	// Errors are possible only for a level out of range and from the buffer, which has none.
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	w.Header = gzip.Header{OS: 255, ModTime: time.Unix(0, 0)}
	_, _ = w.Write(b)
	_ = w.Close()
	return archive.Bytes(f.Name+".gz", out.Bytes()), nil
}

// Manual is a manual page, compressed where it is not, as Debian's policy and other distributions want it
// (https://www.debian.org/doc/debian-policy/ch-docs.html#manual-pages).
func Manual(f archive.File) (archive.File, error) {
	f.Exec = false
	if strings.HasSuffix(f.Name, ".gz") {
		return f, nil
	}
	return Gzip(f)
}

// Licenses is where rpm and apk distributions have the licence files of a package; f is such a file.
func Licenses(p format.Package, f archive.File) archive.File {
	if rest, ok := strings.CutPrefix(f.Name, "usr/share/doc/"+p.Name+"/"); ok {
		f.Name = "usr/share/licenses/" + p.Name + "/" + rest
	}
	return f
}

// Units are systemd units that a package installs.
type Units struct {
	All []string // names; systemd has to read them
	// Enabled are those that an administrator can enable: they have an [Install] section, and are no templates.
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

// Programs are the paths of p's programs, sorted.
func Programs(p format.Package) []string {
	var names []string
	for _, f := range p.Files {
		if f.Role == format.Program {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// check refuses what would leave its field or its place.
func check(p format.Package) error {
	if !isName(p.Name) {
		return fmt.Errorf("package %.60q: a name is of at least two lower-case letters and digits, with . _ + and - between", p.Name)
	}
	type field struct{ name, value string }
	fields := []field{
		{"title", p.Title},
		{"summary", p.Summary},
		{"homepage", p.Homepage},
		{"repository", p.Repository},
		{"license", p.License},
		{"vendor", p.Vendor},
		{"maintainer", p.Maintainer},
		{"section", p.Section},
	}
	for _, rs := range []struct {
		name   string
		values []string
	}{
		{"depends", p.Depends},
		{"recommends", p.Recommends},
		{"suggests", p.Suggests},
		{"conflicts", p.Conflicts},
		{"provides", p.Provides},
		{"replaces", p.Replaces},
	} {
		for i, v := range rs.values {
			f := field{fmt.Sprintf("%s[%d]", rs.name, i), v}
			if strings.TrimSpace(v) == "" {
				return fmt.Errorf("package %s: %s is empty", p.Name, f.name)
			}
			fields = append(fields, f)
		}
	}
	for _, f := range fields {
		if !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, unicode.IsControl) {
			return fmt.Errorf("package %s: %s %.60q is not one line of text", p.Name, f.name, f.value)
		}
	}
	for _, f := range []field{{"description", p.Description}, {"changes", p.Changes}} {
		if !utf8.ValidString(f.value) || strings.ContainsFunc(f.value, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }) {
			return fmt.Errorf("package %s: %s has bytes that are not text", p.Name, f.name)
		}
	}
	for _, f := range []field{{"summary", p.Summary}, {"description", p.Description}, {"maintainer", p.Maintainer}} {
		if strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("package %s: it has no %s", p.Name, f.name)
		}
	}
	if sec := p.Time.Unix(); sec < 0 || sec > math.MaxUint32 {
		return fmt.Errorf("package %s: time %s is not between 1970 and 2106", p.Name, p.Time.UTC().Format(time.RFC3339))
	}
	if len(p.Files) == 0 {
		return fmt.Errorf("package %s: it has no files", p.Name)
	}
	names := make([]string, len(p.Files))
	for i, f := range p.Files {
		names[i] = f.Name
	}
	if err := artifact.CheckPaths(names); err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	return nil
}

// isName tells whether rpm and apk take the name, and deb where there is no _ in it.
func isName(s string) bool {
	if len(s) < 2 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		alphanumeric := s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9'
		if !alphanumeric && (i == 0 || i == len(s)-1 || !strings.Contains("._+-", s[i:i+1])) {
			return false
		}
	}
	return true
}
