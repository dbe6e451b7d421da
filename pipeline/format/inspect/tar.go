package inspect

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// watch says where the contents of an entry go besides, and what to do when they have. Either may be nil.
type watch func(e *Entry) (io.Writer, func() error)

// tar reads a tar to its end. What no reader of tars needs is refused: sparse files, devices, names that stand twice.
// Fields begin with part and a dot, if there is a part.
func (j *job) tar(r io.Reader, part string, t *tree, w watch) error {
	in := &counted{r: r}
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the tar: %w", ends(err))
		}
		e, err := tarEntry(h)
		if err != nil {
			return fmt.Errorf("%q is %w", h.Name, err)
		}
		e.Part = part
		kept, err := t.add(e)
		if err != nil {
			return err
		}
		var to io.Writer
		var done func() error
		if w != nil {
			to, done = w(kept)
		}
		if kept.Type == File {
			if err := j.content(tr, kept, to); err != nil {
				return err
			}
		}
		if done != nil {
			if err := done(); err != nil {
				return err
			}
		}
	}
	if _, err := zeros(in, j.buf); err != nil {
		return fmt.Errorf("behind the end of the tar: %w", err)
	}
	if err := t.finish(); err != nil {
		return err
	}
	return j.number(dotted(part)+"tar.size", in.n)
}

// dotted is the beginning of a part's keys.
func dotted(part string) string {
	if part == "" {
		return ""
	}
	return part + "."
}

func tarEntry(h *tar.Header) (Entry, error) {
	e := Entry{
		Name: h.Name, ModTime: h.ModTime.UTC(), UID: h.Uid, GID: h.Gid, Owner: h.Uname, Group: h.Gname,
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return Entry{}, errors.New("a sparse file")
		}
	}
	// The type of the header decides; a type in the mode, which old tars have, is not looked at.
	mode, _, err := unixMode(uint32(h.Mode) & 0o7777)
	if err != nil {
		return Entry{}, err
	}
	typ := map[byte]uint32{tar.TypeReg: unixFile, tar.TypeDir: unixFolder, tar.TypeSymlink: unixSymlink, tar.TypeLink: unixFile}[h.Typeflag]
	if typ == 0 {
		return Entry{}, fmt.Errorf("of type %q; only files, folders and links are read", h.Typeflag)
	}
	bits, kind, _ := unixMode(typ)
	e.Mode, e.Type = mode|bits, kind
	switch h.Typeflag {
	case tar.TypeReg:
		e.Size = h.Size
	case tar.TypeLink:
		e.Type, e.Link = HardLink, h.Linkname
	case tar.TypeSymlink:
		e.Link = h.Linkname
	}
	e.Extra = append(e.Extra, Field{"format", h.Format.String()})
	if extra := h.Mode &^ 0o7777; extra != 0 {
		e.Extra = append(e.Extra, Field{"mode", strconv.FormatInt(h.Mode, 8)})
	}
	if h.Devmajor != 0 || h.Devminor != 0 {
		e.Extra = append(e.Extra, Field{"device", fmt.Sprintf("%d,%d", h.Devmajor, h.Devminor)})
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		e.Extra = append(e.Extra, Field{"pax." + key, h.PAXRecords[key]})
	}
	return e, nil
}

// tarGz reads an archive of the release.
func (j *job) tarGz() error {
	r, done, err := j.unpack("gz", j.from(0, j.size), "")
	if err != nil {
		return err
	}
	defer done()
	return j.tar(r, "", j.tree(true, false), nil)
}

// chart reads a chart that Helm has packaged: everything lies in one folder, which has the chart's name
// (https://helm.sh/docs/topics/charts/#the-chart-file-structure). Charts in it are files.
func (j *job) chart() error {
	r, done, err := j.unpack("gz", j.from(0, j.size), "")
	if err != nil {
		return err
	}
	defer done()
	about := j.text()
	var root string
	err = j.tar(r, "", j.tree(true, false), func(e *Entry) (io.Writer, func() error) {
		first, rest, _ := strings.Cut(e.Name, "/")
		return chosen(rest == "Chart.yaml", about), func() error {
			switch {
			case e.Type != File && e.Type != Folder:
				return fmt.Errorf("%q is a %s; a chart has none", e.Name, e.Type)
			case root == "":
				root = first
			}
			if first != root || e.Type == File && rest == "" {
				return fmt.Errorf("%q is not in the folder %q", e.Name, root)
			}
			return nil
		}
	})
	if err != nil {
		return err
	}
	if !about.seen {
		return errors.New("it has no Chart.yaml")
	}
	if err := j.yaml(about.b, "chart."); err != nil {
		return fmt.Errorf("reading Chart.yaml: %w", err)
	}
	f := j.facts.Fields
	j.facts.Name, j.facts.Version = f["chart.name"], f["chart.version"]
	if j.facts.Name == "" || j.facts.Version == "" || j.facts.Name != root {
		return fmt.Errorf("the chart in the folder %q calls itself %q, version %q", root, j.facts.Name, j.facts.Version)
	}
	return nil
}

// chosen is the document where ok, else nothing. A nil *document in an io.Writer would not be nil.
func chosen(ok bool, d *document) io.Writer {
	if !ok {
		return nil
	}
	d.seen = true
	return d
}
