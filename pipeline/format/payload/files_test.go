package payload_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/packagetest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
)

func TestTree(t *testing.T) {
	file := func(name string) format.File { return format.File{File: archive.Bytes(name, nil)} }
	// A file of that size that takes nothing on disk.
	sparse := func(name string, size int64) format.File {
		path := filepath.Join(t.TempDir(), "sparse")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		f, err := archive.Disk(name, path)
		if err != nil {
			t.Fatal(err)
		}
		return format.File{File: f}
	}
	var many []format.File
	for i := range 20_000 {
		many = append(many, file(fmt.Sprintf("usr/share/tool/%05d", i)))
	}
	for _, tt := range []struct {
		name  string
		files []format.File
		want  string // names, or the error
	}{
		{"a folder before what is in it", []format.File{file("a/b/c"), file("a/b-c"), file("a.b"), file("Z")}, "Z a.b a/ a/b-c a/b/ a/b/c"},
		{"twice", []format.File{file("a/b"), file("c"), file("a/b")}, "package tool: a/b is in it twice"},
		{"a file and a folder", []format.File{file("a/b"), file("a")}, `package tool: path "a" is a file and a folder of "a/b"`},
		{"as much as fits", []format.File{sparse("a", 1<<30), sparse("b", 1<<30-1)}, "a b"},
		{"a byte too many", []format.File{sparse("a", 1<<30), sparse("b", 1<<30)}, "package tool: it has more than 2.15 GB"},
		{"many", many, ""},
	} {
		entries, err := payload.Tree(packagetest.Package(t, "1.2.3", nil), tt.files)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if tt.want == "" {
			if len(entries) != len(many)+3 || err != nil {
				t.Errorf("%s: %d entries of %d files: %v", tt.name, len(entries), len(many), err)
			}
			continue
		}
		for _, e := range entries {
			got += " " + e.Name
			if e.Folder != strings.HasSuffix(e.Name, "/") {
				t.Errorf("%s: %s is a folder: %t", tt.name, e.Name, e.Folder)
			}
		}
		if got = strings.TrimSpace(got); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
