// Package inventory reads which packages a bill of materials names. A bill may be far larger than memory: CycloneDX in JSON is read as a
// stream, and what is kept of it are the packages.
package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"
)

// Bounds of what is kept of a bill.
const (
	maxPackages = 200_000
	maxWord     = 4096 // bytes of a package URL or a version
)

// Bill is what a bill of materials says.
type Bill struct {
	Packages map[string][]string // versions by name, which is a package URL without a version; sorted
	Programs map[string]string   // import paths of the main packages of the Go programs in it, by the name of the program
	Base     string              // digest of the image that it was made from; "" for none
	System   string              // distribution and its release, such as "alpine 3.22.1"; "" where nothing says
}

// component is what is read of a component; all else is skipped.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	Hashes  []struct {
		Content string `json:"content"`
	} `json:"hashes"`
}

// maxComponent bounds one component with all that it has, in bytes.
const maxComponent = 8 << 20

// Read reads a file of CycloneDX in JSON (https://cyclonedx.org/docs/1.6/json/). Programs and files of the artifact itself are no
// packages, nor is a Go module without a version, which is a folder of the source. An error is about a file that is no such bill.
func Read(r io.Reader) (Bill, error) {
	limited := &window{r: r, left: maxComponent}
	dec := json.NewDecoder(limited)
	b := Bill{Packages: map[string][]string{}, Programs: map[string]string{}}
	format, n := "", 0
	err := object(dec, func(key string) error {
		limited.left = maxComponent
		switch key {
		case "bomFormat":
			return dec.Decode(&format)
		case "components":
			return array(dec, func() error {
				limited.left = maxComponent
				var c component
				if err := dec.Decode(&c); err != nil {
					return err
				}
				if n++; n > maxPackages {
					return fmt.Errorf("it has more than %d components", maxPackages)
				}
				return b.add(c)
			})
		}
		return skip(dec, limited)
	})
	if err == nil && format != "CycloneDX" {
		err = errors.New("it is no bill of materials of CycloneDX")
	}
	if err == nil {
		limited.left = maxComponent
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something is behind its end")
		}
	}
	if err != nil {
		return Bill{}, err
	}
	for _, versions := range b.Packages {
		slices.Sort(versions)
	}
	return b, nil
}

func (b *Bill) add(c component) error {
	if len(c.PURL) > maxWord || len(c.Version) > maxWord || len(c.Name) > maxWord {
		return fmt.Errorf("component %.60q has a name, a version or a package URL of more than %d bytes", c.Name, maxWord)
	}
	switch c.Type {
	case "container":
		if len(c.Hashes) > 0 {
			b.Base = c.Hashes[0].Content
		}
	case "application":
		if c.PURL == "" {
			return nil
		}
		u, err := packageurl.FromString(c.PURL)
		if err != nil {
			return fmt.Errorf("package URL %.120q: %w", c.PURL, err)
		}
		if u.Type == packageurl.TypeGolang {
			b.Programs[strings.TrimSuffix(path.Base(c.Name), ".exe")] = path.Join(u.Namespace, u.Name, u.Subpath)
		}
	case "operating-system":
		b.System = strings.TrimSuffix(c.Name+" "+c.Version, " ")
	case "library":
		if c.PURL == "" || c.Version == "" && strings.HasPrefix(c.PURL, "pkg:golang/") {
			return nil
		}
		name, version, err := Split(c.PURL)
		if err != nil {
			return err
		}
		if version == "" {
			version = c.Version
		}
		if !slices.Contains(b.Packages[name], version) {
			b.Packages[name] = append(b.Packages[name], version)
		}
	}
	return nil
}

// Split is the name of a package, its URL without all that says which one of its versions or builds is meant, and its version. The epoch
// of an rpm, which is a qualifier, is part of the version.
func Split(purl string) (name, version string, err error) {
	u, err := packageurl.FromString(purl)
	if err != nil {
		return "", "", fmt.Errorf("package URL %.120q: %w", purl, err)
	}
	version = u.Version
	if epoch := u.Qualifiers.Map()["epoch"]; epoch != "" && epoch != "0" && u.Type == packageurl.TypeRPM {
		version = epoch + ":" + version
	}
	u.Version, u.Qualifiers, u.Subpath = "", nil, ""
	return u.ToString(), version, nil
}

// Kind is the type of a package URL.
func Kind(purl string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "/")
	return kind
}

// window is a reader that fails once more was read than one component may have.
type window struct {
	r    io.Reader
	left int
}

func (w *window) Read(b []byte) (int, error) {
	if w.left <= 0 {
		return 0, fmt.Errorf("one part of it has more than %d MiB", maxComponent>>20)
	}
	n, err := w.r.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

func object(dec *json.Decoder, value func(key string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if seen[name] {
			return fmt.Errorf("key %.60q stands twice", name)
		}
		seen[name] = true
		if err := value(name); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

func array(dec *json.Decoder, element func() error) error {
	if err := delim(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	return delim(dec, ']')
}

func delim(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err == nil && t != want {
		err = fmt.Errorf("%v is where a %v should be", t, want)
	}
	return err
}

// skip reads over a value, token by token, since it may be larger than memory.
func skip(dec *json.Decoder, w *window) error {
	for depth := 0; ; {
		w.left = maxComponent
		t, err := dec.Token()
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
