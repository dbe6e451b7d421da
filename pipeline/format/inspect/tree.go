package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// tree holds the names of entries against each other, in the order in which they come.
type tree struct {
	j *job
	// portable trees are unpacked on every system: names follow artifact.CheckPath. Others are unpacked on Linux.
	portable bool
	// system is set where entries are unpacked at the root of a system, so that a link may be absolute.
	system bool
	seen   map[string]Type // by name; a folder that was only implied is 0
}

func (j *job) tree(portable, system bool) *tree {
	return &tree{j, portable, system, map[string]Type{".": 0}}
}

// add checks an entry, whose Name and Link are as they are written, cleans them, and keeps it in the facts. The
// returned pointer is good until the next add.
func (t *tree) add(e Entry) (*Entry, error) {
	if err := t.j.more(1); err != nil {
		return nil, err
	}
	raw := e.Name
	e.Name = strings.TrimPrefix(raw, "./")
	if e.Type == Folder {
		e.Name = strings.TrimSuffix(e.Name, "/")
		if e.Name == "" && raw != "" {
			e.Name = "."
		}
	}
	if err := t.checkName(e.Name, e.Type); err != nil {
		return nil, err
	}
	if err := t.place(e.Name, e.Type); err != nil {
		return nil, err
	}
	switch e.Type {
	case Symlink:
		if err := t.checkLink(e.Name, e.Link); err != nil {
			return nil, err
		}
	case HardLink:
		e.Link = strings.TrimPrefix(e.Link, "./")
		if t.seen[e.Link] != File || e.Link == e.Name {
			return nil, fmt.Errorf("%q is a hard link to %.80q, which is not a file before it", e.Name, e.Link)
		}
	case File:
		if e.Size < 0 {
			return nil, fmt.Errorf("%q has a size of %d bytes", e.Name, e.Size)
		}
	}
	if e.Name != raw {
		e.Extra = append([]Field{{"name", raw}}, e.Extra...)
	}
	kept := 256 + len(raw) + len(e.Link) + len(e.Owner) + len(e.Group)
	for _, f := range e.Extra {
		kept += 32 + len(f.Value)
	}
	if err := t.j.keep(kept); err != nil {
		return nil, err
	}
	t.j.facts.Entries = append(t.j.facts.Entries, e)
	return &t.j.facts.Entries[len(t.j.facts.Entries)-1], nil
}

func (t *tree) checkName(name string, typ Type) error {
	switch {
	case name == "." && typ == Folder:
		return nil
	case len(name) > maxName:
		return fmt.Errorf("the name %.40q... is longer than %d bytes", name, maxName)
	case strings.Count(name, "/") >= maxDepth:
		return fmt.Errorf("%.80q is more than %d folders deep", name, maxDepth)
	case t.portable:
		return artifact.CheckPath(name)
	case name == "" || name == ".":
		return fmt.Errorf("a %s has no name", typ)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the name %q has control characters or is not UTF-8", name)
	case path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || name != path.Clean(name):
		return fmt.Errorf("the name %q is not relative and clean", name)
	}
	return nil
}

// place takes a name and the folders that it implies, and refuses one that is taken or lies below what is not a folder.
func (t *tree) place(name string, typ Type) error {
	if old, ok := t.seen[name]; ok {
		if old != 0 || typ != Folder {
			if old == 0 {
				old = Folder
			}
			if old == typ {
				return fmt.Errorf("the %s %q stands twice", typ, name)
			}
			return fmt.Errorf("%q is a %s and a %s", name, old, typ)
		}
		t.seen[name] = Folder
		return nil
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if old, ok := t.seen[dir]; ok {
			if old != 0 && old != Folder {
				return fmt.Errorf("%q lies below %q, which is a %s", name, dir, old)
			}
			break
		}
		if err := t.j.more(1); err != nil {
			return err
		}
		t.seen[dir] = 0
	}
	t.seen[name] = typ
	return nil
}

// checkLink refuses a symbolic link that may leave the root. A target that is clean has .. only in front, where the
// folders are real, since nothing may lie below a link: so what it passes through afterwards are names, and links for
// which the same is true.
func (t *tree) checkLink(name, target string) error {
	switch {
	case target == "" || len(target) > maxName || !utf8.ValidString(target) || strings.ContainsFunc(target, unicode.IsControl):
		return fmt.Errorf("%q is a link to %.80q, which is not a name", name, target)
	case path.IsAbs(target):
		if !t.system {
			return fmt.Errorf("%q is a link to %q, which is absolute", name, target)
		}
		if target != path.Clean(target) {
			return fmt.Errorf("%q is a link to %q, which is not clean", name, target)
		}
		return nil
	case t.portable && strings.ContainsAny(target, `\:`):
		return fmt.Errorf("%q is a link to %q, which not every system reads alike", name, target)
	case strings.TrimSuffix(target, "/") != path.Clean(target):
		return fmt.Errorf("%q is a link to %q, which is not clean", name, target)
	}
	if to := path.Join(path.Dir(name), target); to == ".." || strings.HasPrefix(to, "../") {
		return fmt.Errorf("%q is a link to %q, which leaves its root", name, target)
	}
	return nil
}

// finish holds the names of a portable tree against each other where letter case does not count.
func (t *tree) finish() error {
	if !t.portable {
		return nil
	}
	var names []string
	for _, e := range t.j.facts.Entries {
		if e.Type != Folder {
			names = append(names, e.Name)
		}
	}
	return artifact.CheckPaths(names)
}

// Types of files in the mode of Unix (https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/sys_stat.h.html).
const (
	unixFormat  = 0o170000
	unixFile    = 0o100000
	unixFolder  = 0o040000
	unixSymlink = 0o120000
)

var errSpecial = errors.New("a device, a pipe or a socket; a release has none")

// unixMode translates a mode of Unix. A mode without a type is a regular file's.
func unixMode(m uint32) (fs.FileMode, Type, error) {
	mode := fs.FileMode(m & 0o777)
	for bit, to := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&bit != 0 {
			mode |= to
		}
	}
	switch m & unixFormat {
	case 0, unixFile:
		return mode, File, nil
	case unixFolder:
		return mode | fs.ModeDir, Folder, nil
	case unixSymlink:
		return mode | fs.ModeSymlink, Symlink, nil
	}
	return 0, 0, errSpecial
}
