// Package apk writes packages for Alpine, in version 2 of its format, which every apk reads: two tars, each compressed
// with gzip, one after the other. The first has .PKGINFO, which says what the package is and has the digest of the
// second, which has the files (https://wiki.alpinelinux.org/wiki/Apk_spec).
//
// There is no signature of apk's kind in a package: it is one of a repository's key. Those who have a repository sign its
// index; others verify the release, and installs with --allow-untrusted.
package apk

import (
	"archive/tar"
	"bytes"
	"crypto/sha1" //nolint:gosec // what apk keeps
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Write writes the package. The same package gives the same bytes. An error names what cannot be in an apk, and leaves
// nothing written unless w itself fails.
//
// systemd units are installed as they are, for Alpine has no systemd that would read them, and postmarketOS has.
// Configuration below /etc is protected by apk itself.
func Write(w io.Writer, p format.Package) (err error) {
	names, err := payload.Check(format.APK, p)
	if err != nil {
		return err
	}
	for _, of := range [][]string{p.Depends, p.Conflicts, p.Provides, p.Replaces} {
		for _, r := range of {
			if strings.Contains(r, " ") {
				return fmt.Errorf("package %s: %q is not a relation of apk, such as name or name>=1.2", p.Name, r)
			}
		}
	}
	files, err := payload.Files(p)
	if err != nil {
		return err
	}
	tree, err := payload.Tree(p, payload.Licensed(p, files))
	if err != nil {
		return err
	}
	data, err := archive.NewSpool(p.Scratch)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	m := artifact.NewMeter(data)
	if err := writeData(m, tree, p.Time); err != nil {
		return err
	}
	head, err := first(pkgInfo(p, names, tree, m.Digest()), p.Time)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	for _, stream := range []io.WriterTo{bytes.NewReader(head), data} {
		if _, err := stream.WriteTo(w); err != nil {
			return fmt.Errorf("writing apk: %w", err)
		}
	}
	return nil
}

// first is the first stream: a tar without an end, since the second is to follow as if it were the same.
func first(info []byte, t time.Time) ([]byte, error) {
	var out bytes.Buffer
	zw := archive.Gzip(&out)
	tw := tar.NewWriter(zw)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: ".PKGINFO", Mode: 0o600, Size: int64(len(info)), ModTime: seconds(t), Format: tar.FormatUSTAR}
	if err := tw.WriteHeader(h); err != nil {
		return nil, err
	}
	if _, err := tw.Write(info); err != nil {
		return nil, err
	}
	err := errors.Join(tw.Flush(), zw.Close())
	return out.Bytes(), err
}

// pkgInfo says what the package is.
func pkgInfo(p format.Package, names payload.Names, tree []payload.Entry, data artifact.Digest) []byte {
	var b bytes.Buffer
	var size int64
	for _, e := range tree {
		size += e.Size
	}
	field := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(&b, "%s = %s\n", name, v)
			}
		}
	}
	field("pkgname", p.Name)
	field("pkgver", names.Version)
	field("arch", names.Arch)
	fmt.Fprintf(&b, "size = %d\n", size)
	fmt.Fprintf(&b, "pkgdesc = %s\n", strings.Trim(strings.TrimRight(p.Summary, "."), " "))
	field("url", p.Homepage)
	field("maintainer", p.Maintainer)
	field("replaces", p.Replaces...)
	field("provides", p.Provides...)
	field("depend", p.Depends...)
	for _, c := range p.Conflicts { // a dependency on the other's absence; apk knows no weaker relations
		field("depend", "!"+c)
	}
	field("license", p.License)
	fmt.Fprintf(&b, "builddate = %d\n", p.Time.Unix())
	field("origin", p.Name)
	field("datahash", data.Hex())
	return b.Bytes()
}

// checksum is the key of a PAX record, in which apk finds the digest of a file.
const checksum = "APK-TOOLS.checksum.SHA1"

// writeData writes the second stream.
func writeData(w io.Writer, tree []payload.Entry, t time.Time) error {
	zw := newBlocks(w)
	tw := tar.NewWriter(zw)
	for _, e := range tree {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: e.Name, Mode: int64(e.Mode()), Uname: "root", Gname: "root", ModTime: seconds(t)}
		if e.Folder {
			if err := tw.WriteHeader(h); err != nil {
				return fmt.Errorf("packing %s: %w", e.Name, err)
			}
			continue
		}
		// The digest is in front of the contents, so a file is read twice.
		before, written := sha1.New(), sha1.New() //nolint:gosec // what apk keeps
		if err := e.CopyTo(before); err != nil {
			return err
		}
		h.Typeflag, h.Size, h.Format = tar.TypeReg, e.Size, tar.FormatPAX
		h.PAXRecords = map[string]string{checksum: fmt.Sprintf("%x", before.Sum(nil))}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("packing %s: %w", e.Name, err)
		}
		if err := e.CopyTo(io.MultiWriter(tw, written)); err != nil {
			return err
		}
		if !bytes.Equal(before.Sum(nil), written.Sum(nil)) {
			return fmt.Errorf("packing %s: it changed while it was read", e.Name)
		}
	}
	return errors.Join(tw.Close(), zw.Close())
}

func seconds(t time.Time) time.Time { return time.Unix(t.Unix(), 0) }
