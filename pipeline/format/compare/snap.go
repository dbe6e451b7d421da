package compare

import (
	"slices"
	"strings"
)

var snapRules = rules{
	magic: "hsqs",
	class: func(part, rest string) class {
		switch {
		case part == "snap":
			return contents
		case part == "squashfs" && slices.Contains([]string{"used", "padding", "inodes", "ids", "fragments"}, rest):
			return weak
		}
		return own
	},
	field: snapField,
}

// snapField tells of the superblock of the file system.
func snapField(c *comparer, where []string, x, y opened, key string) {
	a, b := x.Fields[key], y.Fields[key]
	switch part, rest, _ := strings.Cut(key, "."); {
	case part != "squashfs":
		c.values(where, key, x.Facts, y.Facts, key)
	case rest == "time":
		c.add(where, "superblock: time %s instead of %s", unix(a), unix(b))
	default:
		c.add(where, "superblock: %s %s instead of %s", plain(rest), orNone(a), orNone(b))
	}
}
