package payload

import (
	"bytes"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// maxText bounds what is read into memory of a file that is text: a licence, a unit, a manual page.
const maxText = 4 << 20

// maxSize bounds what is in a package: the sizes in an rpm are of 32 bits, and libraries read them as signed.
const maxSize = math.MaxInt32

// Files are the package's files as all three formats have them: programs are executable, manual pages compressed.
func Files(p format.Package) ([]format.File, error) {
	files := slices.Clone(p.Files)
	for i, f := range files {
		var err error
		switch f.Role {
		case format.Program:
			files[i].File = f.WithExec()
		case format.Manual:
			files[i].File, err = manual(f.File)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Licensed are the files with those of licences where rpm and apk distributions have them.
func Licensed(p format.Package, files []format.File) []format.File {
	files = slices.Clone(files)
	for i, f := range files {
		if rest, ok := strings.CutPrefix(f.Name, "usr/share/doc/"+p.Name+"/"); ok && f.Role == format.License {
			files[i].Name = "usr/share/licenses/" + p.Name + "/" + rest
		}
	}
	return files
}

// Entry is a file, or a folder, whose name ends in a slash.
type Entry struct {
	format.File
	Folder bool
}

// Tree is the files with the folders that they are in, sorted by name, so that a folder is before what is in it. It
// refuses what cannot be in one package.
func Tree(p format.Package, files []format.File) ([]Entry, error) {
	seen := map[string]bool{}
	var all []Entry
	var names []string
	var size int64
	for _, f := range files {
		if seen[f.Name] {
			return nil, fmt.Errorf("package %s: %s is in it twice", p.Name, f.Name)
		}
		if size += f.Size; size > maxSize {
			return nil, fmt.Errorf("package %s: it has more than %s", p.Name, artifact.FormatSize(maxSize))
		}
		seen[f.Name] = true
		names = append(names, f.Name)
		all = append(all, Entry{File: f})
		for dir := path.Dir(f.Name); dir != "." && !seen[dir+"/"]; dir = path.Dir(dir) {
			seen[dir+"/"] = true
			all = append(all, Entry{File: format.File{File: archive.File{Name: dir + "/", Exec: true}}, Folder: true})
		}
	}
	if err := artifact.CheckPaths(names); err != nil {
		return nil, fmt.Errorf("package %s: %w", p.Name, err)
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Read returns the contents of a file that is text.
func Read(f archive.File) ([]byte, error) {
	if f.Size > maxText {
		return nil, fmt.Errorf("packing %s: it has %s; a text has at most %s", f.Name, artifact.FormatSize(f.Size), artifact.FormatSize(maxText))
	}
	var b bytes.Buffer
	err := f.CopyTo(&b)
	return b.Bytes(), err
}

// Gzip is a file as gzip -9n compresses it, under its name with .gz: neither a name nor a time is in it.
func Gzip(f archive.File) (archive.File, error) {
	b, err := Read(f)
	if err != nil {
		return archive.File{}, err
	}
	var out bytes.Buffer
	w := archive.GzipBest(&out)
	_, _ = w.Write(b) // to a buffer, which takes everything
	_ = w.Close()
	return archive.Bytes(f.Name+".gz", out.Bytes()), nil
}

// manual is a manual page, compressed where it is not, as Debian's policy and other distributions want it
// (https://www.debian.org/doc/debian-policy/ch-docs.html#manual-pages).
func manual(f archive.File) (archive.File, error) {
	f.Exec = false
	if strings.HasSuffix(f.Name, ".gz") {
		return f, nil
	}
	return Gzip(f)
}

// Programs are the paths of p's programs, sorted.
func Programs(p format.Package) []string {
	var names []string
	for _, f := range p.Files {
		if f.Role == format.Program {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}
