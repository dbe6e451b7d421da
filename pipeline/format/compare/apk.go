package compare

import (
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

var apkRules = rules{
	class: func(part, rest string) class {
		switch {
		case part == "apk":
			return never // where the parts are
		case part != "pkginfo":
			return own
		case rest == "size":
			return total
		case rest == "datahash":
			return checksum
		}
		return line
	},
	role: func(e inspect.Entry) role {
		switch {
		case e.Part == "data":
			return installed
		case e.Part == "signature":
			return repeats
		case e.Part == "control" && e.Name == ".PKGINFO":
			return document
		}
		return about
	},
	parts:   apkParts,
	chained: true, // the control has the sum of the data, and the signature that of the control
}

// apkParts are the streams of gzip.
func apkParts(x opened, _ Source) []part {
	var out []part
	for _, name := range []string{"data", "control", "signature"} {
		from, length, _ := strings.Cut(x.Fields["apk."+name], "+")
		off, err := strconv.ParseInt(from, 10, 64)
		size, errSize := strconv.ParseInt(length, 10, 64)
		if err == nil && errSize == nil {
			out = append(out, part{name, off, size, tarred})
		}
	}
	return out
}
