package compare

import (
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

// rules are what there is to know of a format besides what its entries and fields say. A format that has entries and is
// not in the table is compared by these alone.
type rules struct {
	// magic is how a file begins, where that tells the format.
	magic string
	// class sorts the fields that package inspect keeps of the format. The first part of the key is before a dot.
	class func(part, rest string) class
	// field tells of a field of class own; nil tells of its values.
	field func(c *comparer, where []string, x, y opened, key string)
	// role is what an entry is for; nil where each is something that is installed.
	role func(inspect.Entry) role
	// alias are names in the rebuilt by those of the same things in the published.
	alias func(a, b []inspect.Entry) map[string]string
	// parts are the parts of a file that are compressed by themselves, those first from which others follow.
	parts func(x opened, s Source) []part
	// chained says that each part has a sum of the one before.
	chained bool
}

// table has what there is to know of formats by their names.
var table = map[string]rules{
	format.Deb.Name:   debRules,
	format.RPM.Name:   rpmRules,
	format.APK.Name:   apkRules,
	format.Snap.Name:  snapRules,
	format.Nupkg.Name: nupkgRules,
	inspect.TarGz:     {parts: onePart},
	layer:             {parts: onePart},
	inspect.Zip:       {magic: "PK\x03\x04", field: zipField},
	inspect.Chart: {parts: onePart, class: func(part, _ string) class {
		if part == "chart" {
			return contents
		}
		return own
	}},
}

// archives reports whether files of a format have entries.
func archives(name string) bool {
	if _, ok := table[name]; ok {
		return true
	}
	f, ok := format.Find(name)
	return ok && (f.Carries || f.Inner != nil)
}

// class says what a difference of a field of inspect.Facts is.
type class int

const (
	own      class = iota // something of its own
	line                  // a line of an entry, which is told in the entry's place
	total                 // a line that follows from the sizes of other entries
	checksum              // a line that follows from what is in others
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
	if of := table[format].class; of != nil {
		return of(part, rest)
	}
	return own
}

// role is what an entry is for.
type role int

const (
	installed role = iota
	about          // says something of the package
	document       // has the fields of class line
	sums           // has the sums of what is installed, to which inspect holds it
	repeats        // is another one because others are
)

func roleOf(format string, e inspect.Entry) role {
	if of := table[format].role; of != nil {
		return of(e)
	}
	return installed
}

// documentOf is the entry that has the fields of class line.
func documentOf(format, key string, x opened) inspect.Entry {
	i := slices.IndexFunc(x.Entries, func(e inspect.Entry) bool { return roleOf(format, e) == document })
	if i < 0 {
		return inspect.Entry{Name: key}
	}
	return x.Entries[i]
}

// part is a part of a file that is compressed by itself.
type part struct {
	name      string
	off, size int64
	kind      kind
}

// kind is what is in a part: in words, where it is compressed.
type kind string

const (
	tarred kind = "tar"
	cpio   kind = "cpio"
	tags   kind = "" // of an rpm, which are not compressed
)

func onePart(_ opened, s Source) []part { return []part{{"", 0, s.Size, tarred}} }

func partsOf(format string, x opened, s Source) []part {
	if of := table[format].parts; of != nil {
		return of(x, s)
	}
	return nil
}
