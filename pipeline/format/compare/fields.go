package compare

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

func fieldKeys(x, y opened) []string {
	return slices.Sorted(maps.Keys(union(x.Fields, y.Fields)))
}

// values tells of a field that has one value in each, or only in one of them.
func (c *comparer) values(where []string, name string, x, y inspect.Facts, key string) {
	a, okA := x.Fields[key]
	b, okB := y.Fields[key]
	switch {
	case key == "pkginfo.builddate":
		c.add(where, "%s %s instead of %s", name, unix(a), unix(b))
	case !okB:
		c.add(where, "%s only in the published: %s", plain(name), quote(a))
	case !okA:
		c.add(where, "%s only in the rebuilt: %s", plain(name), quote(b))
	default:
		c.add(where, "%s %s", plain(name), instead(a, b))
	}
}

// field tells of a field of its own.
func (c *comparer) field(where []string, x, y opened, key string) {
	a, b := x.Fields[key], y.Fields[key]
	part, rest, _ := strings.Cut(key, ".")
	if part == "gzip" {
		c.gzipField(where, rest, a, b)
		return
	}
	if name, ok := strings.CutPrefix(rest, "gzip."); ok {
		c.gzipField(in(where, part), name, a, b)
		return
	}
	if tell := table[x.Format].field; tell != nil {
		tell(c, where, x, y, key)
		return
	}
	c.values(where, key, x.Facts, y.Facts, key)
}

// gzipField tells of a field of the header of gzip (https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1).
func (c *comparer) gzipField(where []string, name, a, b string) {
	c.gz++
	switch name {
	case "mtime":
		c.add(where, "gzip header: mtime %s instead of %s", unix(a), unix(b))
	case "os":
		c.add(where, "gzip header: operating system %s instead of %s", system(a), system(b))
	case "flags":
		c.add(where, "gzip header: XFL %s instead of %s", orNone(a), orNone(b))
	case "extra":
		c.add(where, "gzip header: extra field %s instead of %s", orNone(a), orNone(b))
	default:
		c.add(where, "gzip header: %s %s", plain(name), instead(a, b))
	}
}

func system(s string) string {
	if name := map[string]string{"0": "FAT", "3": "Unix", "7": "Macintosh", "11": "NTFS", "255": "unknown"}[s]; name != "" {
		return fmt.Sprintf("%s (%s)", s, name)
	}
	return orNone(s)
}

// unix is a time in seconds; 0 is how many formats say that there is none.
func unix(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return orNone(s)
	}
	if n == 0 {
		return "none"
	}
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}
