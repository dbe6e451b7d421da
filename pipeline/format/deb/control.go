package deb

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // what dpkg keeps
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// text is one of the control files.
type text struct {
	name    string
	mode    int64
	content []byte
}

// controlTar is the compressed tar of the control files that are not empty.
func controlTar(files []text, t time.Time) ([]byte, error) {
	var out bytes.Buffer
	zw := archive.Gzip(&out)
	tw := tar.NewWriter(zw)
	for _, f := range files {
		if len(f.content) == 0 {
			continue
		}
		h := header("./"+f.name, f.mode, t)
		h.Size = int64(len(f.content))
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	err := zw.Close()
	return out.Bytes(), err
}

// header is what headers of both tars have. The format is GNU's, which dpkg itself writes.
func header(name string, mode int64, t time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, ModTime: time.Unix(t.Unix(), 0), Format: tar.FormatGNU}
}

// writeData writes the compressed tar of the files. It returns its size and md5sums, which has the digests of the files.
func writeData(w io.Writer, tree []payload.Entry, t time.Time) (size int64, md5sums []byte, err error) {
	m := artifact.NewMeter(w)
	zw := archive.Gzip(m)
	tw := tar.NewWriter(zw)
	var sums bytes.Buffer
	for _, e := range tree {
		h := header("./"+e.Name, int64(e.Mode()), t)
		h.Uname, h.Gname = "root", "root"
		if h.Size = e.Size; e.Folder {
			h.Typeflag = tar.TypeDir
		}
		if err := tw.WriteHeader(h); err != nil {
			return 0, nil, fmt.Errorf("packing %s: %w", e.Name, err)
		}
		if e.Folder {
			continue
		}
		sum := md5.New() //nolint:gosec // what dpkg keeps
		if err := e.CopyTo(io.MultiWriter(tw, sum)); err != nil {
			return 0, nil, err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum.Sum(nil), e.Name)
	}
	if err := tw.Close(); err != nil {
		return 0, nil, err
	}
	err = zw.Close()
	return m.Size(), sums.Bytes(), err
}

// installed is how many KiB the files take on a disk, as dpkg-gencontrol counts: each file rounded up, each folder as one
// (https://manpages.debian.org/dpkg-gencontrol.1).
func installed(tree []payload.Entry) int64 {
	var kib int64
	for _, e := range tree {
		if e.Folder {
			kib++
		} else {
			kib += (e.Size + 1023) / 1024
		}
	}
	return kib
}

// conffiles names the files that dpkg keeps when an administrator changed them.
func conffiles(tree []payload.Entry) []byte {
	var b bytes.Buffer
	for _, e := range tree {
		if e.Role == format.Config {
			b.WriteString("/" + e.Name + "\n")
		}
	}
	return b.Bytes()
}

// control says what the package is (https://www.debian.org/doc/debian-policy/ch-controlfields.html).
func control(p format.Package, names payload.Names, installed int64) []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	relations := func(name string, all []string) { field(name, strings.Join(all, ", ")) }
	field("Package", p.Name)
	field("Version", names.Version)
	field("Section", cmp.Or(p.Section, "utils"))
	field("Priority", "optional")
	field("Architecture", names.Arch)
	field("Maintainer", p.Maintainer)
	fmt.Fprintf(&b, "Installed-Size: %d\n", installed)
	relations("Replaces", p.Replaces)
	relations("Provides", p.Provides)
	relations("Depends", p.Depends)
	relations("Recommends", p.Recommends)
	relations("Suggests", p.Suggests)
	relations("Conflicts", p.Conflicts)
	field("Homepage", p.Homepage)
	b.WriteString("Description: " + description(p) + "\n")
	return b.Bytes()
}

// description is the synopsis and the extended description. A line that is empty is a dot; lines that begin with a dot
// and are not empty are reserved, and have a space more in front.
func description(p format.Package) string {
	lines := strings.Split(strings.TrimSpace(synopsis(p.Summary)+"\n"+extended(p)), "\n")
	for i, line := range lines[1:] {
		switch {
		case line == "":
			line = "."
		case strings.HasPrefix(line, ".") && line != ".":
			line = " " + line
		}
		lines[i+1] = " " + line
	}
	return strings.Join(lines, "\n")
}
