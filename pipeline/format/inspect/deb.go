package inspect

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strconv"
	"strings"
)

// deb reads a package of Debian: an ar of debian-binary, control.tar and data.tar, in this order
// (https://manpages.debian.org/deb.5). Members whose names begin with _ may stand between and behind.
func (j *job) deb() error {
	magic, err := j.bytesAt(0, 8)
	if err != nil || string(magic) != "!<arch>\n" {
		return errors.Join(errors.New("not a deb: it does not begin as an ar does"), err)
	}
	d := &deb{job: j, sums: map[string]string{}}
	want := []string{"debian-binary", "control.tar", "data.tar"}
	var members []string
	for at := int64(8); at < j.size; {
		m, err := j.arMember(at)
		if err != nil {
			return fmt.Errorf("reading the header at byte %d: %w", at, err)
		}
		members = append(members, m.name)
		if len(members) > 100 {
			return errors.New("it has more than 100 members")
		}
		if err := j.field("ar."+m.name, m.about); err != nil {
			return err
		}
		switch stem := strings.TrimSuffix(m.name, path.Ext(m.name)); {
		case strings.HasPrefix(m.name, "_") && len(members) > 1:
		case len(want) == 0 || want[0] != m.name && want[0] != stem:
			return fmt.Errorf("a member %q; it should be %q", m.name, strings.Join(want, " "))
		default:
			if err := d.member(want[0], strings.TrimPrefix(strings.TrimPrefix(m.name, want[0]), "."), m); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			want = want[1:]
		}
		at = m.at + m.size
		if at%2 != 0 {
			pad, err := j.bytesAt(at, 1)
			if err != nil || pad[0] != '\n' {
				return fmt.Errorf("%s is not followed by a line feed, which makes its length even", m.name)
			}
			at++
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("it has no %s", strings.Join(want, " and no "))
	}
	return j.field("ar.members", strings.Join(members, " "))
}

type arMember struct {
	name, about string
	at, size    int64
}

// arMember reads the header of a member of an ar (https://manpages.debian.org/deb.5).
func (j *job) arMember(at int64) (arMember, error) {
	b, err := j.bytesAt(at, 60)
	if err != nil {
		return arMember{}, err
	}
	if string(b[58:]) != "`\n" {
		return arMember{}, errors.New("it is not a header of an ar")
	}
	text := func(from, to int) string { return strings.TrimRight(string(b[from:to]), " ") }
	size, err := strconv.ParseInt(text(48, 58), 10, 64)
	if err != nil || size < 0 || size > j.size-at-60 {
		return arMember{}, fmt.Errorf("a size of %.20q bytes, and %d are left", text(48, 58), j.size-at-60)
	}
	name := strings.TrimSuffix(text(0, 16), "/")
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+") != "" {
		return arMember{}, fmt.Errorf("the name %.20q", name)
	}
	m := arMember{name: name, at: at + 60, size: size}
	m.about = fmt.Sprintf("mtime=%s uid=%s gid=%s mode=%s", text(16, 28), text(28, 34), text(34, 40), text(40, 48))
	if text(0, 16) != name {
		m.about += " name=" + text(0, 16)
	}
	return m, nil
}

type deb struct {
	*job
	sums  map[string]string // MD5 by name, as the control says; taken away when it is found to hold
	given bool              // whether there are sums
	conf  map[string]bool   // files that the user may change; they need no sum
}

func (d *deb) member(name, compression string, m arMember) error {
	if name == "debian-binary" {
		b, err := d.bytesAt(m.at, min(m.size, 4))
		if err != nil {
			return err
		}
		if m.size != 4 || string(b) != "2.0\n" {
			return fmt.Errorf("the format %q is not read; it should be 2.0", b)
		}
		return nil
	}
	part := strings.TrimSuffix(name, ".tar")
	r, done, err := d.unpack(compression, d.from(m.at, m.size), part+".")
	if err != nil {
		return err
	}
	defer done()
	if err := d.field(part+".compression", compression); err != nil {
		return err
	}
	if part == "control" {
		return d.control(r)
	}
	return d.data(r)
}

func (d *deb) control(r io.Reader) error {
	about, sums, conf := d.text(), &document{max: d.MaxDocument}, d.text()
	err := d.tar(r, "control", d.tree(false, false), func(e *Entry) (io.Writer, func() error) {
		if e.Type == File {
			switch e.Name {
			case "control":
				return chosen(true, about), nil
			case "md5sums":
				return chosen(true, sums), nil
			case "conffiles":
				return chosen(true, conf), nil
			}
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	if err := d.paragraph(string(about.b)); err != nil {
		return fmt.Errorf("reading control: %w", err)
	}
	d.conf = map[string]bool{}
	for line := range strings.Lines(string(conf.b)) {
		// A line may begin with a flag such as remove-on-upgrade (https://manpages.debian.org/deb-conffiles.5).
		words := strings.Fields(line)
		if len(words) > 0 {
			d.conf[strings.TrimPrefix(words[len(words)-1], "/")] = true
		}
	}
	d.given = sums.seen
	for line := range strings.Lines(string(sums.b)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		name = strings.TrimPrefix(name, "./")
		if _, err := hex.DecodeString(sum); err != nil || !ok || len(sum) != 2*md5.Size || name == "" || d.sums[name] != "" {
			return fmt.Errorf("reading md5sums: the line %.80q is not a sum and a name, or its name stands twice", line)
		}
		d.sums[name] = strings.ToLower(sum)
	}
	return d.number("control.md5sums", int64(len(d.sums)))
}

// paragraph keeps the fields of a control file (https://www.debian.org/doc/debian-policy/ch-controlfields.html).
func (d *deb) paragraph(s string) error {
	if strings.ContainsAny(s, "\x00\r") {
		return errors.New("it has a NUL or a carriage return")
	}
	var name string
	var value strings.Builder
	seen := map[string]bool{}
	end := func() error {
		if name == "" {
			return nil
		}
		lower := strings.ToLower(name)
		if seen[lower] {
			return fmt.Errorf("the field %.80s stands twice", name)
		}
		seen[lower] = true
		return d.field("control."+name, value.String())
	}
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && (line[0] == ' ' || line[0] == '\t') && name != "" {
			value.WriteString("\n" + line)
			continue
		}
		if err := end(); err != nil {
			return err
		}
		var first string
		var ok bool
		if name, first, ok = strings.Cut(line, ":"); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return fmt.Errorf("the line %.80q is not a field", line)
		}
		value.Reset()
		value.WriteString(strings.TrimSpace(first))
	}
	if err := end(); err != nil {
		return err
	}
	f := d.facts.Fields
	d.facts.Name, d.facts.Version, d.facts.Architecture = f["control.Package"], f["control.Version"], f["control.Architecture"]
	if d.facts.Name == "" || d.facts.Version == "" || d.facts.Architecture == "" {
		return errors.New("it has no Package, no Version or no Architecture")
	}
	return nil
}

func (d *deb) data(r io.Reader) error {
	sum := md5.New()
	err := d.tar(r, "data", d.tree(false, true), func(e *Entry) (io.Writer, func() error) {
		if e.Type != File || !d.given {
			return nil, nil
		}
		sum.Reset()
		return sum, func() error { return d.holds(e.Name, sum) }
	})
	if err != nil {
		return err
	}
	if len(d.sums) > 0 {
		name := ""
		for n := range d.sums {
			if name == "" || n < name {
				name = n
			}
		}
		return fmt.Errorf("md5sums has %.80q, which is not a file of it", name)
	}
	return nil
}

func (d *deb) holds(name string, sum hash.Hash) error {
	want, ok := d.sums[name]
	if !ok && !d.conf[name] {
		return fmt.Errorf("%q is not in md5sums", name)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); ok && got != want {
		return fmt.Errorf("%q has the MD5 %s, and md5sums says %s", name, got, want)
	}
	delete(d.sums, name)
	return nil
}
