package packages

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// dnf writes the indexes of a repository of dnf below rpm/ (https://createrepo-c.readthedocs.io and the schemas of its output). repomd.xml
// is not signed yet.
func dnf(stage string, at time.Time, all []Package) (map[string][]byte, error) {
	var primary, lists, other document
	primary.open("metadata", `xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"`, len(all))
	lists.open("filelists", `xmlns="http://linux.duke.edu/metadata/filelists"`, len(all))
	other.open("otherdata", `xmlns="http://linux.duke.edu/metadata/other"`, len(all))
	for _, p := range all {
		if err := primary.primary(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.at, err)
		}
		lists.begin(p)
		for _, e := range p.Files {
			lists.file(e)
		}
		lists.WriteString("</package>\n")
		other.begin(p)
		names, times := values(p, "ChangelogName"), values(p, "ChangelogTime")
		for i, text := range values(p, "ChangelogText") {
			if i < len(names) && i < len(times) && text != "" {
				other.tag("changelog", text, "author", names[i], "date", times[i])
			}
		}
		other.WriteString("</package>\n")
	}
	dir := "rpm/" + stage + "/repodata/"
	files := map[string][]byte{}
	var md document
	md.WriteString(xml.Header + `<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">` + "\n")
	md.tag("revision", strconv.FormatInt(at.Unix(), 10))
	for _, d := range []struct {
		kind, root string
		doc        *document
	}{{"primary", "metadata", &primary}, {"filelists", "filelists", &lists}, {"other", "otherdata", &other}} {
		d.doc.WriteString("</" + d.root + ">\n")
		plain := d.doc.Bytes()
		packed := gzipped(plain)
		sum := artifact.Sum(packed).Hex()
		name := sum + "-" + d.kind + ".xml.gz"
		files[dir+name] = packed
		fmt.Fprintf(&md, "<data type=%q>\n", d.kind)
		md.tag("checksum", sum, "type", "sha256")
		md.tag("open-checksum", artifact.Sum(plain).Hex(), "type", "sha256")
		md.tag("location", "", "href", "repodata/"+name)
		md.tag("timestamp", strconv.FormatInt(at.Unix(), 10))
		md.tag("size", strconv.Itoa(len(packed)))
		md.tag("open-size", strconv.Itoa(len(plain)))
		md.WriteString("</data>\n")
	}
	md.WriteString("</repomd>\n")
	files[dir+"repomd.xml"] = md.Bytes()
	return files, nil
}

// document is XML that is written.
type document struct{ bytes.Buffer }

func (d *document) open(root, attributes string, packages int) {
	fmt.Fprintf(d, "%s<%s %s packages=\"%d\">\n", xml.Header, root, attributes, packages)
}

// tag writes an element with a text and attributes.
func (d *document) tag(name, text string, attributes ...string) {
	d.WriteString("<" + name)
	for i := 0; i < len(attributes); i += 2 {
		d.WriteString(" " + attributes[i] + `="`)
		_ = xml.EscapeText(d, []byte(attributes[i+1])) // into memory
		d.WriteString(`"`)
	}
	if text == "" {
		d.WriteString("/>\n")
		return
	}
	d.WriteString(">")
	_ = xml.EscapeText(d, []byte(text))
	d.WriteString("</" + name + ">\n")
}

func field(p Package, key string) string { return p.Fields["rpm."+key] }

// values are those of a field that has several.
func values(p Package, key string) []string {
	if v, ok := p.Fields["rpm."+key]; ok {
		return strings.Split(v, "\n")
	}
	return nil
}

// version writes the version of a package.
func (d *document) version(p Package) {
	epoch := field(p, "Epoch")
	if epoch == "" {
		epoch = "0"
	}
	d.tag("version", "", "epoch", epoch, "ver", field(p, "Version"), "rel", field(p, "Release"))
}

// begin begins a package in the lists of files and of changes.
func (d *document) begin(p Package) {
	d.WriteString(`<package pkgid="` + p.Digest.Hex() + `" name="`)
	_ = xml.EscapeText(d, []byte(p.Name))
	d.WriteString(`" arch="`)
	_ = xml.EscapeText(d, []byte(p.Architecture))
	d.WriteString("\">\n")
	d.version(p)
}

func (d *document) file(e File) {
	if e.Folder {
		d.tag("file", "/"+e.Name, "type", "dir")
		return
	}
	d.tag("file", "/"+e.Name)
}

// primary writes what of a package decides whether it is installed.
func (d *document) primary(p Package) error {
	d.WriteString("<package type=\"rpm\">\n")
	d.tag("name", p.Name)
	d.tag("arch", p.Architecture)
	d.version(p)
	d.tag("checksum", p.Digest.Hex(), "type", "sha256", "pkgid", "YES")
	for _, f := range [][2]string{{"summary", "Summary"}, {"description", "Description"}, {"packager", "Packager"}, {"url", "URL"}} {
		d.tag(f[0], field(p, f[1]))
	}
	built := field(p, "BuildTime")
	d.tag("time", "", "file", built, "build", built)
	installed, archive := field(p, "Size"), p.Fields["payload.cpio.size"]
	if long := field(p, "LongSize"); long != "" {
		installed = long
	}
	d.tag("size", "", "package", strconv.FormatInt(p.Size, 10), "installed", installed, "archive", archive)
	d.tag("location", "", "href", "../../"+p.at)
	d.WriteString("<format>\n")
	for _, f := range [][2]string{{"license", "License"}, {"vendor", "Vendor"}, {"group", "Group"}, {"buildhost", "BuildHost"}, {"sourcerpm", "SourceRPM"}} {
		d.tag("rpm:"+f[0], field(p, f[1]))
	}
	d.tag("rpm:header-range", "", "start", strconv.FormatInt(p.Header[0], 10), "end", strconv.FormatInt(p.Header[1], 10))
	for _, kind := range [][2]string{{"provides", "Provide"}, {"requires", "Require"}, {"conflicts", "Conflict"}, {"obsoletes", "Obsolete"}, {"suggests", "Suggest"}, {"recommends", "Recommend"}} {
		if err := d.relations(p, kind[0], kind[1]); err != nil {
			return err
		}
	}
	for _, e := range p.Files {
		if strings.HasPrefix(e.Name, "etc/") || strings.Contains(e.Name, "bin/") { // which others may require by their names
			d.file(e)
		}
	}
	d.WriteString("</format>\n</package>\n")
	return nil
}

// comparisons are those of a relation by its flags: less, greater, equal.
var comparisons = map[uint64]string{2: "LT", 4: "GT", 8: "EQ", 10: "LE", 12: "GE"}

// relations write what a package has to do with others. What only rpm itself has to know is left out, as createrepo does.
func (d *document) relations(p Package, element, key string) error {
	names, flags, versions := values(p, key+"Name"), values(p, key+"Flags"), values(p, key+"Version")
	if len(names) != len(flags) || len(names) != len(versions) {
		return fmt.Errorf("it has %d names, %d flags and %d versions of what it %s", len(names), len(flags), len(versions), element)
	}
	var seen [][2]string
	begun := false
	for i, name := range names {
		n, err := strconv.ParseUint(flags[i], 10, 64)
		if err != nil {
			return fmt.Errorf("its flags of what it %s: %w", element, err)
		}
		if strings.HasPrefix(name, "rpmlib(") || slices.Contains(seen, [2]string{name, flags[i] + versions[i]}) {
			continue
		}
		seen = append(seen, [2]string{name, flags[i] + versions[i]})
		if !begun {
			begun = true
			d.WriteString("<rpm:" + element + ">\n")
		}
		attributes := []string{"name", name}
		if is := comparisons[n&14]; is != "" {
			epoch, rest, ok := strings.Cut(versions[i], ":")
			if !ok {
				epoch, rest = "0", versions[i]
			}
			version, release, _ := strings.Cut(rest, "-")
			attributes = append(attributes, "flags", is, "epoch", epoch, "ver", version)
			if release != "" {
				attributes = append(attributes, "rel", release)
			}
		}
		d.tag("rpm:entry", "", attributes...)
	}
	if begun {
		d.WriteString("</rpm:" + element + ">\n")
	}
	return nil
}

// headerOf is where the header of an rpm begins and ends, behind its lead and its header of signatures
// (https://rpm-software-management.github.io/rpm/manual/format_v4.html).
func headerOf(r io.ReaderAt) (at [2]int64, err error) {
	begin := int64(96)
	for range 2 {
		var head [16]byte
		if _, err := r.ReadAt(head[:], begin); err != nil {
			return at, err
		}
		if !bytes.HasPrefix(head[:], []byte{0x8e, 0xad, 0xe8, 1}) {
			return at, errors.New("it is no rpm")
		}
		at = [2]int64{begin, begin + 16 + int64(binary.BigEndian.Uint32(head[8:]))*16 + int64(binary.BigEndian.Uint32(head[12:]))}
		begin = (at[1] + 7) / 8 * 8
	}
	return at, nil
}
