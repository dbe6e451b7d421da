package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"time"

	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Stanza and Primary are what indexes have of a package with fields.
func Stanza(fields map[string]string) (string, error) {
	b, err := stanza(Package{Path: "x.deb", Fields: fields})
	return string(b), err
}

func Primary(fields map[string]string) (string, error) {
	var d document
	err := d.primary(Package{Path: "x.rpm", Name: "x", Architecture: "noarch", Fields: fields})
	return d.String(), err
}

// HeaderOf is tested by itself.
func HeaderOf(r io.ReaderAt) ([2]int64, error) { return headerOf(r) }

// Verify holds an index of apk to a key; what is signed begins at an offset.
func Verify(public, index []byte, signed int) (string, error) {
	key, err := signature.ParsePublicKey(public)
	if err != nil {
		return "", err
	}
	z, err := gzip.NewReader(bytes.NewReader(index[:signed]))
	if err != nil {
		return "", err
	}
	r := tar.NewReader(z)
	if _, err := r.Next(); err != nil {
		return "", err
	}
	sig, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	return key.Kind(), key.Verify(index[signed:], sig)
}

// ApkStanza and IdentityOf are tested by themselves.
func ApkStanza(fields map[string]string) (string, error) {
	b, err := apkStanza(Package{Path: "x.apk", Fields: fields, Size: 5, Identity: "Q1x"})
	return string(b), err
}

func IdentityOf(r io.ReaderAt, control string) (string, error) { return identityOf(r, control) }

// Repository is an error where a package has no place in a repository of apk.
func Repository(key signature.Signer, name, version, arch string) error {
	r := repository{map[string][]byte{}, map[string]shared{}}
	return r.apk(key, "production", time.Unix(0, 0), []Package{{Name: name, Version: version, Architecture: arch}})
}
