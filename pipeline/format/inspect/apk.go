package inspect

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// apk reads a package of Alpine, version 2: a gzip member with signatures, which may be missing, one with .PKGINFO and
// scripts, and the data (https://wiki.alpinelinux.org/wiki/Apk_spec). The first two are tars without an end.
func (j *job) apk() error {
	c := j.from(0, j.size)
	if head, err := c.Peek(3); err == nil && string(head) == "ADB" {
		return errors.New("an apk of version 3 is not read; use version 2")
	}
	var info *document
	for {
		start := c.at
		part := "control"
		signed, about, err := j.apkHead(c)
		if err != nil {
			return err
		}
		if signed {
			part = "signature"
		}
		if err := j.field("apk."+part, fmt.Sprintf("%d+%d", start, c.at-start)); err != nil {
			return err // a second signature
		}
		if !signed {
			info = about
			break
		}
	}
	if err := j.pkginfo(string(info.b)); err != nil {
		return fmt.Errorf("reading .PKGINFO: %w", err)
	}
	data := j.from(c.at, j.size-c.at)
	sum := artifact.NewMeter(io.Discard)
	if _, err := io.CopyBuffer(sum, readOnly{data}, j.buf); err != nil {
		return err
	}
	if got, want := sum.Digest().Hex(), j.facts.Fields["pkginfo.datahash"]; got != want {
		return fmt.Errorf("its data has the digest %s, and .PKGINFO says %.80q", got, want)
	}
	if err := j.field("apk.data", fmt.Sprintf("%d+%d", c.at, j.size-c.at)); err != nil {
		return err
	}
	r, done, err := j.unpack("gz", j.from(c.at, j.size-c.at), "data.")
	if err != nil {
		return err
	}
	defer done()
	h := sha1.New()
	return j.tar(r, "data", j.tree(false, true), func(e *Entry) (io.Writer, func() error) {
		want := ""
		if i := slices.IndexFunc(e.Extra, func(f Field) bool { return f.Key == "pax.APK-TOOLS.checksum.SHA1" }); i >= 0 {
			want = e.Extra[i].Value
		}
		h.Reset()
		if e.Type == Symlink {
			h.Write([]byte(e.Link)) // the target is what is summed of a link
		}
		if want == "" || e.Type != File && e.Type != Symlink {
			return nil, nil
		}
		return h, func() error {
			if got := hex.EncodeToString(h.Sum(nil)); got != want {
				return fmt.Errorf("%q has the SHA-1 %s, and its header says %.80q", e.Name, got, want)
			}
			return nil
		}
	})
}

// signPrefix begins the names of signatures in an apk.
const signPrefix = ".SIGN."

// apkHead reads one gzip member before the data: signatures, or the control with its .PKGINFO. Which of the two it is
// is told by its first name.
func (j *job) apkHead(c *cursor) (signed bool, info *document, err error) {
	part := "control"
	// The fields of the gzip header are kept under the part's name, so it has to be known first.
	peek, err := c.Peek(4096)
	if err != nil && err != io.EOF {
		return false, nil, err
	}
	gz, err := gzip.NewReader(bytes.NewReader(peek))
	if err != nil {
		return false, nil, ends(err)
	}
	name := make([]byte, len(signPrefix))
	if _, err := io.ReadFull(gz, name); err != nil {
		return false, nil, ends(err)
	}
	if string(name) == signPrefix {
		part, signed = "signature", true
	}
	m, err := j.gunzip(c, part+".")
	if err != nil {
		return false, nil, err
	}
	m.one = true
	info = j.text()
	var stray string
	err = j.tar(metered{j, m}, part, j.tree(false, false), func(e *Entry) (io.Writer, func() error) {
		if e.Type != File || strings.HasPrefix(e.Name, signPrefix) != signed || !strings.HasPrefix(e.Name, ".") {
			stray = e.Name
		}
		return chosen(e.Name == ".PKGINFO", info), nil
	})
	switch {
	case err != nil:
		return false, nil, fmt.Errorf("%s: %w", part, err)
	case stray != "":
		return false, nil, fmt.Errorf("%q stands in the %s of the package", stray, part)
	case !signed && !info.seen:
		return false, nil, errors.New("it has no .PKGINFO")
	}
	return signed, info, nil
}

// pkginfo keeps the fields of .PKGINFO. Relations stand on several lines, all else on one.
func (j *job) pkginfo(s string) error {
	lists := map[string][]string{}
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, " = ")
		if !ok {
			// An empty value loses its last space.
			if key, ok = strings.CutSuffix(line, " ="); !ok {
				return fmt.Errorf("the line %.80q is not a field", line)
			}
		}
		key = "pkginfo." + strings.TrimSpace(key)
		switch key {
		case "pkginfo.depend", "pkginfo.provides", "pkginfo.replaces", "pkginfo.conflicts", "pkginfo.install_if", "pkginfo.triggers", "pkginfo.recommends":
			lists[key] = append(lists[key], value)
			continue
		}
		if err := j.field(key, value); err != nil {
			return err
		}
	}
	for key, values := range lists {
		if err := j.field(key, strings.Join(values, "\n")); err != nil {
			return err
		}
	}
	f := j.facts.Fields
	j.facts.Name, j.facts.Version, j.facts.Architecture = f["pkginfo.pkgname"], f["pkginfo.pkgver"], f["pkginfo.arch"]
	if j.facts.Name == "" || j.facts.Version == "" || j.facts.Architecture == "" {
		return errors.New("it has no pkgname, no pkgver or no arch")
	}
	return nil
}
