package nuget

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The namespaces of an entry of OData (https://www.odata.org/documentation/odata-version-2-0/atom-format/).
const (
	atom       = "http://www.w3.org/2005/Atom"
	properties = "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"
	data       = "http://schemas.microsoft.com/ado/2007/08/dataservices"
)

// maxDepth bounds how deep the elements of an entry are nested; one has four levels.
const maxDepth = 32

// entry is what a feed says of one package.
type entry struct {
	id, version string
	hash        string // in base64
	algorithm   string // SHA512 for ""
	status      string // Chocolatey's: Submitted, Approved, Exempted or Rejected; "" elsewhere
}

// parse reads an entry. It takes neither a document type nor any entity but XML's own, so nothing in it grows.
func parse(b []byte) (entry, error) {
	var e entry
	fields := map[string]*string{
		"Id": &e.id, "Version": &e.version, "PackageHash": &e.hash, "PackageHashAlgorithm": &e.algorithm, "PackageStatus": &e.status,
	}
	seen := map[string]bool{}
	title := ""
	var path []xml.Name
	dec := xml.NewDecoder(bytes.NewReader(b))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return entry{}, err
		}
		switch t := token.(type) {
		case xml.Directive:
			return entry{}, errors.New("it has a document type")
		case xml.StartElement:
			if len(path) == 0 && (t.Name != xml.Name{Space: atom, Local: "entry"}) {
				return entry{}, fmt.Errorf("it is not an Atom entry but %.60q", t.Name.Local)
			}
			if path = append(path, t.Name); len(path) > maxDepth {
				return entry{}, fmt.Errorf("elements are nested more than %d deep", maxDepth)
			}
			if t.Name.Space == data && inProperties(path) && fields[t.Name.Local] != nil {
				if seen[t.Name.Local] {
					return entry{}, fmt.Errorf("%s is there twice", t.Name.Local)
				}
				seen[t.Name.Local] = true
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			switch {
			case len(path) == 2 && path[1] == xml.Name{Space: atom, Local: "title"}:
				title += string(t)
			case len(path) > 0 && path[len(path)-1].Space == data && inProperties(path):
				if field := fields[path[len(path)-1].Local]; field != nil {
					*field += string(t)
				}
			}
		}
	}
	for _, field := range fields {
		*field = strings.TrimSpace(*field)
	}
	if e.id == "" { // Chocolatey's has it as the title
		e.id = strings.TrimSpace(title)
	}
	if e.id == "" || e.version == "" {
		return entry{}, errors.New("it has no id or no version")
	}
	return e, nil
}

// inProperties reports whether the last element of the path is a property of the package.
func inProperties(path []xml.Name) bool {
	return len(path) >= 3 && path[len(path)-2] == xml.Name{Space: properties, Local: "properties"}
}

// is reports whether the entry is about the bytes of the package, and whether it lets that be known at all.
func (e *entry) is(p *pkg) (same, known bool) {
	sum, err := base64.StdEncoding.DecodeString(e.hash)
	if err != nil {
		return false, false
	}
	switch {
	case (e.algorithm == "" || strings.EqualFold(e.algorithm, "SHA512")) && len(sum) == sha512.Size:
		return bytes.Equal(sum, p.sha512), true
	case strings.EqualFold(e.algorithm, "SHA256") && len(sum) == sha256.Size:
		return hex.EncodeToString(sum) == p.file.Digest.Hex(), true
	}
	return false, false
}

// moderation is what the moderators of the community's feed have to say
// (https://docs.chocolatey.org/en-us/community-repository/moderation/).
func (e *entry) moderation() string {
	switch e.status {
	case "Submitted":
		return "it waits for the moderators of the feed"
	case "Rejected":
		return "the moderators of the feed rejected it"
	}
	return ""
}

// normal is the form of a version in which two that are equal are the same: without build metadata, zeros in front and
// a fourth number of zero, in lower case
// (https://learn.microsoft.com/nuget/concepts/package-versioning#normalized-version-numbers).
func normal(version string) string {
	version, _, _ = strings.Cut(strings.ToLower(version), "+")
	core, pre, _ := strings.Cut(version, "-")
	numbers := strings.Split(core, ".")
	for i, n := range numbers {
		if numbers[i] = strings.TrimLeft(n, "0"); numbers[i] == "" {
			numbers[i] = "0"
		}
	}
	for len(numbers) < 3 {
		numbers = append(numbers, "0")
	}
	if len(numbers) == 4 && numbers[3] == "0" {
		numbers = numbers[:3]
	}
	if core = strings.Join(numbers, "."); pre != "" {
		core += "-" + pre
	}
	return core
}
