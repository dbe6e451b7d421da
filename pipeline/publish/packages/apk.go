package packages

import (
	"archive/tar"
	"bytes"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what apk keeps
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// apkIndex is the index of an architecture.
const apkIndex = "APKINDEX.tar.gz"

// apkAlways are architectures that a repository of apk has, be there a package for them or not.
var apkAlways = []string{"x86_64", "aarch64"}

// apkFields are those of an index after the identity, in the order in which they are written, by those of .PKGINFO
// (https://wiki.alpinelinux.org/wiki/Apk_spec#APKINDEX_Format).
var apkFields = [][2]string{
	{"P", "pkgname"},
	{"V", "pkgver"},
	{"A", "arch"},
	{"S", ""},
	{"I", "size"},
	{"T", "pkgdesc"},
	{"U", "url"},
	{"L", "license"},
	{"o", "origin"},
	{"m", "maintainer"},
	{"t", "builddate"},
	{"c", "commit"},
	{"k", "provider_priority"},
	{"D", "depend"},
	{"p", "provides"},
	{"i", "install_if"},
}

// apkPart is a name, a version or an architecture that is part of an address.
var apkPart = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

// APKKey is the name of a key of apk, under which whoever trusts it has it in /etc/apk/keys: an index says by which of these it was
// signed. Hence it has a part of the fingerprint.
func APKKey(k signature.PublicKey) string {
	return "slipway-" + k.Fingerprint().Hex()[:16] + ".rsa.pub"
}

// apk adds a repository of apk: below apk/ and the name of the environment a folder for each architecture, with an index and the packages
// under the names by which apk asks for them, which an index of version 2 cannot say. Every apk since 2.7 reads it.
//
// A package that was made anew under the same version has the place of the one before: whoever has an older index is refused until it is updated.
func (r repository) apk(key signature.Signer, stage string, at time.Time, all []Package) error {
	if _, is := key.Public().Crypto().(*rsa.PublicKey); !is {
		return fault.Errorf(fault.Usage, "a key of kind %s does not sign for apk, which knows RSA alone: keygen --kind rsa makes one", key.Public().Kind())
	}
	dir, texts := apkDir+stage+"/", map[string]*bytes.Buffer{}
	for _, arch := range apkAlways {
		texts[arch] = &bytes.Buffer{}
	}
	for _, p := range all {
		for _, part := range []string{p.Name, p.Version, p.Architecture} {
			if !apkPart.MatchString(part) {
				return fmt.Errorf("%s: %.80q cannot be part of an address of apk", p.at, part)
			}
		}
		b, err := apkStanza(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.at, err)
		}
		if texts[p.Architecture] == nil {
			texts[p.Architecture] = &bytes.Buffer{}
		}
		texts[p.Architecture].Write(b)
		r.shared[dir+p.Architecture+"/"+p.Name+"-"+p.Version+".apk"] = shared{p.at, p.Digest}
	}
	r.files[dir+APKKey(key.Public())] = key.Public().PEM()
	for _, arch := range slices.Sorted(maps.Keys(texts)) {
		index, err := tarred(at, true, entry{"DESCRIPTION", []byte(origin + " " + stage)}, entry{"APKINDEX", texts[arch].Bytes()})
		if err != nil {
			return err
		}
		// What is signed are the bytes of the second member of gzip, which has the index.
		signed, err := key.Sign(index)
		if err != nil {
			return err
		}
		first, err := tarred(at, false, entry{".SIGN.RSA256." + APKKey(key.Public()), signed})
		if err != nil {
			return err
		}
		r.files[dir+arch+"/"+apkIndex] = append(first, index...)
	}
	return nil
}

// entry is a file of a tar.
type entry struct {
	name    string
	content []byte
}

// tarred are files in a tar that is compressed. It has no end where another member of gzip follows.
func tarred(at time.Time, ends bool, entries ...entry) ([]byte, error) {
	var out bytes.Buffer
	z := archive.Gzip(&out)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o644, Size: int64(len(e.content)), ModTime: at.Truncate(time.Second), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	end := w.Flush
	if ends {
		end = w.Close
	}
	err := errors.Join(end(), z.Close())
	return out.Bytes(), err
}

// apkStanza is a package as an index has it.
func apkStanza(p Package) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "C:%s\n", p.Identity)
	for _, f := range apkFields {
		value := strings.ReplaceAll(p.Fields["pkginfo."+f[1]], "\n", " ") // several of a relation
		if f[0] == "S" {
			value = fmt.Sprint(p.Size)
		}
		if strings.ContainsAny(value, "\r\x00") {
			return nil, fmt.Errorf("its field %s is %.80q", f[1], value)
		}
		if value != "" {
			fmt.Fprintf(&b, "%s:%s\n", f[0], value)
		}
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// identityOf is what apk knows a package by: the SHA-1 of its control, which has the SHA-256 of its data. Where the control stands is
// what package inspect has found.
func identityOf(r io.ReaderAt, control string) (string, error) {
	var start, size int64
	if _, err := fmt.Sscanf(control, "%d+%d", &start, &size); err != nil {
		return "", fmt.Errorf("where its control stands is %.40q: %w", control, err)
	}
	h := sha1.New() //nolint:gosec // what apk keeps
	if n, err := io.Copy(h, io.NewSectionReader(r, start, size)); err != nil || n != size {
		return "", fmt.Errorf("its control has %d bytes and not %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	return "Q1" + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}
