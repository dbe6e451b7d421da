package inventory

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// Installed is a package of a distribution, as the bill of materials of an image names it.
type Installed struct {
	PURL     string
	Kind     string // apk, deb or rpm
	Name     string
	Version  string
	Arch     string
	Upstream string // the source package, with @ and its version where that differs; "" for one of the same name
	Distro   string // such as alpine-3.22.1
}

// ReadInstalled reads what is installed out of a bill in CycloneDX that is small enough for memory, in its order.
func ReadInstalled(bill []byte) ([]Installed, error) {
	var doc struct {
		Components []struct {
			Version string `json:"version"`
			PURL    string `json:"purl"`
		} `json:"components"`
	}
	if err := canonjson.DecodeOpen(bill, &doc); err != nil {
		return nil, err
	}
	var all []Installed
	for _, c := range doc.Components {
		// pkg:<type>/<namespace>/<name>@<version>?arch=<arch> (https://github.com/package-url/purl-spec)
		if kind := Kind(c.PURL); !strings.HasPrefix(c.PURL, "pkg:") || !slices.Contains([]string{"apk", "deb", "rpm"}, kind) {
			continue
		}
		at, query, _ := strings.Cut(c.PURL, "?")
		at, _, _ = strings.Cut(at, "@")
		name, err := url.PathUnescape(at[strings.LastIndexByte(at, '/')+1:])
		var q url.Values
		if err == nil {
			q, err = url.ParseQuery(query)
		}
		if err != nil {
			return nil, fmt.Errorf("%.200q: %w", c.PURL, err)
		}
		all = append(all, Installed{c.PURL, Kind(c.PURL), name, c.Version, q.Get("arch"), q.Get("upstream"), q.Get("distro")})
	}
	return all, nil
}
