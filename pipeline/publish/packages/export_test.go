package packages

import "io"

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
