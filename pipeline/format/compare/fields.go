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

// class says what a difference of a field of inspect.Facts is.
type class int

const (
	own      class = iota // something of its own
	document              // a line of an entry, which is told in the entry's place
	contents              // of an entry too, which tells more of it when it is opened
	weak                  // follows from another difference, if there is one
	never                 // a sum of something else: says that there is a difference, and not which
)

// classOf sorts the fields that package inspect keeps.
func classOf(format, key string) class {
	part, rest, _ := strings.Cut(key, ".")
	switch {
	case strings.HasSuffix(key, "tar.size") || strings.HasSuffix(key, "cpio.size") || strings.Contains(key, "zstd."):
		return weak
	case strings.HasSuffix(key, "gzip.flags"):
		return never // see opened
	case strings.HasPrefix(key, "gzip.") || strings.HasPrefix(rest, "gzip."):
		return own
	}
	switch format {
	case inspect.Deb:
		if part == "control" && rest != "compression" {
			if rest == "md5sums" {
				return never
			}
			return document
		}
	case inspect.APK:
		switch part {
		case "pkginfo":
			return document
		case "apk":
			return never // where the parts are
		}
	case inspect.RPM:
		switch rest {
		case "PayloadDigest", "PayloadDigestAlt", "signature.269", "signature.273", "signature.1000", "signature.1004", "signature.1007":
			return never
		case "Size", "LongSize", "ArchiveSize", "lead", "FileDigestAlgo": // some writers repeat the last for each file
			return weak
		}
		if strings.HasPrefix(rest, "signature.") {
			return weak
		}
	case inspect.Snap:
		switch part {
		case "snap":
			return contents
		case "squashfs":
			switch rest {
			case "used", "padding", "inodes", "ids", "fragments":
				return weak
			}
		}
	case inspect.Nupkg:
		switch part {
		case "nuspec":
			return document
		case "rels", "types", "core":
			return contents
		}
	case inspect.Chart:
		if part == "chart" {
			return contents
		}
	}
	return own
}

// documentOf is the entry that has the line.
func documentOf(format, key string, x opened) (inspect.Entry, bool) {
	for _, e := range x.Entries {
		switch {
		case format == inspect.Deb && e.Part == "control" && e.Name == "control",
			format == inspect.APK && e.Part == "control" && e.Name == ".PKGINFO",
			format == inspect.Nupkg && strings.HasSuffix(strings.ToLower(e.Name), ".nuspec") && !strings.Contains(e.Name, "/"):
			return e, true
		}
	}
	return inspect.Entry{Name: key}, false
}

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
	switch {
	case part == "ar" && rest == "members":
		c.add(where, "members %s", instead(a, b))
	case part == "ar" && a != "" && b != "":
		c.words(in(where, rest), a, b)
	case part == "ar":
		// members has told of it
	case part == "zip" && rest == "comment":
		c.add(where, "comment of the zip %s", instead(a, b))
	case part == "squashfs" && rest == "time":
		c.add(where, "superblock: time %s instead of %s", unix(a), unix(b))
	case part == "squashfs":
		c.add(where, "superblock: %s %s instead of %s", plain(rest), orNone(a), orNone(b))
	case key == "rpm.BuildTime" || key == "rpm.ChangelogTime":
		c.add(where, "header: %s %s instead of %s", rest, unix(a), unix(b))
	case strings.HasPrefix(key, "rpm.signature."):
		c.values(where, "signature header: tag "+strings.TrimPrefix(key, "rpm.signature."), x.Facts, y.Facts, key)
	case part == "rpm" && strings.Trim(rest, "0123456789") == "":
		c.values(where, "header: tag "+rest, x.Facts, y.Facts, key)
	case part == "rpm":
		c.values(where, "header: "+rest, x.Facts, y.Facts, key)
	default:
		c.values(where, key, x.Facts, y.Facts, key)
	}
}

// words compares headers of an ar, which are written as key=value.
func (c *comparer) words(where []string, a, b string) {
	x, y := strings.Fields(a), strings.Fields(b)
	for i := range min(len(x), len(y)) {
		k, one, _ := strings.Cut(x[i], "=")
		_, two, _ := strings.Cut(y[i], "=")
		switch {
		case one == two:
		case k == "mtime":
			c.add(where, "mtime %s instead of %s", unix(one), unix(two))
		default:
			c.add(where, "%s %s instead of %s", plain(k), orNone(one), orNone(two))
		}
	}
	if len(x) != len(y) {
		c.add(where, "header %s", instead(a, b))
	}
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
