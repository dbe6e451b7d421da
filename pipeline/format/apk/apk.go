// Package apk writes packages for Alpine, in version 2 of its format, which every apk reads: two tars, each compressed
// with gzip, one after the other. The first has .PKGINFO, which says what the package is and has the digest of the
// second, which has the files (https://wiki.alpinelinux.org/wiki/Apk_spec).
//
// The library compresses in blocks of one size whatever the number of CPUs, with a compressor that is pinned in go.mod.
// It leaves the time of the build out, and writes one into the gzip that is none; both are mended here.
//
// There is no signature of apk's kind in a package: it is one of a repository's key. Whoever has a repository signs its
// index; whoever has none verifies the release, and installs with --allow-untrusted.
package apk

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2/apk"
	"github.com/klauspost/compress/gzip"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/nfpm"
)

// Write writes the package. The same package gives the same bytes. An error names what cannot be in an apk, and leaves
// nothing written unless w itself fails.
//
// systemd units are installed as they are, for Alpine has no systemd that would read them, and postmarketOS has.
// Configuration below /etc is protected by apk itself.
func Write(w io.Writer, p format.Package) (err error) {
	b, err := nfpm.New(format.APK, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	b.Info.Description = strings.TrimRight(p.Summary, ".")
	// A conflict is a dependency on the other's absence. apk knows no weaker relations.
	b.Info.Depends = append([]string(nil), p.Depends...)
	for _, c := range p.Conflicts {
		b.Info.Depends = append(b.Info.Depends, "!"+c)
	}
	for _, of := range [][]string{p.Depends, p.Conflicts, p.Provides, p.Replaces} {
		for _, r := range of {
			if strings.Contains(r, " ") {
				return fmt.Errorf("package %s: %q is no relation of apk, such as name or name>=1.2", p.Name, r)
			}
		}
	}
	for _, f := range p.Files {
		kind, err := nfpm.File, error(nil)
		switch f.Role {
		case format.Program:
			f.File = f.WithExec()
		case format.License:
			f.File = nfpm.Licenses(p, f.File)
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
	plain, err := b.Pack(apk.Default)
	if err != nil {
		return err
	}
	out, err := repack(plain, b.Info.MTime, p.Name)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing apk: %w", err)
	}
	return nil
}

// repack adds to .PKGINFO, which is the first stream's only file, when and from what the package is made, and removes the
// time from the second stream.
func repack(plain []byte, t time.Time, origin string) ([]byte, error) {
	in := bytes.NewReader(plain)
	zr, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("the library wrote no gzip: %w", err)
	}
	zr.Multistream(false)
	tr := tar.NewReader(zr)
	h, err := tr.Next()
	if err != nil {
		return nil, fmt.Errorf("the library wrote no tar: %w", err)
	}
	if h.Name != ".PKGINFO" {
		return nil, fmt.Errorf("the library wrote %s before .PKGINFO", h.Name)
	}
	info, err := io.ReadAll(tr)
	if err != nil {
		return nil, err
	}
	if _, err := tr.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the library wrote more than .PKGINFO")
	}
	if _, err := io.Copy(io.Discard, zr); err != nil {
		return nil, err
	}
	data := bytes.Clone(plain[len(plain)-in.Len():])
	if len(data) < 10 {
		return nil, errors.New("the library wrote no second stream")
	}

	before, digest, ok := bytes.Cut(info, []byte("datahash = "))
	if was := sha256.Sum256(data); !ok || string(bytes.TrimSpace(digest)) != hex.EncodeToString(was[:]) {
		return nil, errors.New("the library wrote another digest of the data into .PKGINFO")
	}
	clear(data[4:8]) // https://www.rfc-editor.org/rfc/rfc1952#section-2.3
	info = fmt.Appendf(nil, "%sbuilddate = %d\norigin = %s\ndatahash = %x\n", before, t.Unix(), origin, sha256.Sum256(data))
	h.ModTime = t
	h.Size = int64(len(info))
	var out bytes.Buffer
	zw := archive.Gzip(&out)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(h); err != nil {
		return nil, err
	}
	if _, err := tw.Write(info); err != nil {
		return nil, err
	}
	// The tar has no end, since the second one is to follow as if it were the same.
	if err := errors.Join(tw.Flush(), zw.Close()); err != nil {
		return nil, err
	}
	return append(out.Bytes(), data...), nil
}
