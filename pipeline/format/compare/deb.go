package compare

import (
	"io"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

var debRules = rules{
	magic: "!<arch>\ndebian-binary",
	class: func(part, rest string) class {
		switch {
		case part != "control" || rest == "compression":
			return own
		case rest == "md5sums":
			return never
		case rest == "Installed-Size":
			return total
		}
		return line
	},
	field: debField,
	role: func(e inspect.Entry) role {
		switch {
		case e.Part == "data":
			return installed
		case e.Part == "control" && e.Name == "control":
			return document
		case e.Part == "control" && e.Name == "md5sums":
			return sums
		}
		return about
	},
	parts: debParts,
}

// debField tells of the headers of the ar.
func debField(c *comparer, where []string, x, y opened, key string) {
	a, b := x.Fields[key], y.Fields[key]
	switch part, rest, _ := strings.Cut(key, "."); {
	case part != "ar":
		c.values(where, key, x.Facts, y.Facts, key)
	case rest == "members":
		c.add(where, "members %s", instead(a, b))
	case a != "" && b != "": // else members has told of it
		c.words(in(where, rest), a, b)
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

// debParts are the members of the ar.
func debParts(_ opened, s Source) []part {
	// inspect has read all of these headers.
	var out []part
	for at := int64(8); at < s.Size && len(out) < 100; {
		var h [60]byte
		if _, err := s.ReadAt(h[:], at); err != nil && err != io.EOF {
			return out
		}
		size, err := strconv.ParseInt(strings.TrimRight(string(h[48:58]), " "), 10, 64)
		if err != nil || size < 0 || size > s.Size-at-60 {
			return out
		}
		out = append(out, part{strings.TrimRight(string(h[:16]), " /"), at + 60, size, tarred})
		at += 60 + size + size%2
	}
	return out
}
