package squashfs_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/squashfs"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const blockSize = 128 << 10

var (
	commitTime   = time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)
	compressions = []squashfs.Compression{squashfs.XZ, squashfs.Zstd}
)

// noise is the same n bytes on every machine, and does not compress.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	_, _ = r.Read(b)
	return b
}

// text is n bytes that compress.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "the quick brown fox "[i%20] + byte(i/4096%7)
	}
	return b
}

// contents is a tree with what is special: sizes around a block's, zeros in every place, equal files, folders that need
// more than one header, more than one block and an index.
func contents() map[string][]byte {
	zeros := make([]byte, 2*blockSize+1)
	m := map[string][]byte{
		"usr/bin/tool":                     slices.Concat(noise(1, 3*blockSize/2), text(3*blockSize)),
		"block":                            noise(2, blockSize),
		"block-less":                       noise(3, blockSize-1),
		"block-more":                       noise(4, blockSize+1),
		"empty":                            nil,
		"one":                              {'x'},
		"zero":                             {0},
		"zeros":                            zeros,
		"zeros-block":                      zeros[:blockSize],
		"hole-first":                       slices.Concat(zeros[:blockSize], text(100)),
		"hole-middle":                      slices.Concat(noise(5, blockSize), zeros[:blockSize], noise(6, blockSize)),
		"hole-last":                        slices.Concat(noise(7, blockSize), zeros[:10]),
		"same/block":                       noise(2, blockSize),
		"same/tool":                        slices.Concat(noise(1, 3*blockSize/2), text(3*blockSize)),
		"same/zeros":                       zeros,
		"same/empty":                       {},
		"same.txt":                         text(5),
		"same-":                            text(6),
		"docs/naïve":                       []byte("# Ünïcödé\n"),
		"docs/日本語":                         []byte("語"),
		"a/b/c/d/e/f/g":                    text(10),
		"long/" + strings.Repeat("n", 255): text(11),
		"deep/" + strings.Repeat("d/", 300) + "file": text(12),
	}
	for i := range 256 {
		m[fmt.Sprintf("header/%d", i)] = text(i)
	}
	for i := range 257 {
		m[fmt.Sprintf("headers/%d", i)] = text(i)
	}
	for i := range 400 {
		m[fmt.Sprintf("index/%s-%d", strings.Repeat("name", 10), i)] = text(i % 9)
	}
	return m
}

func executable(name string) bool { return strings.HasSuffix(name, "tool") }

func files(m map[string][]byte) []archive.File {
	var out []archive.File
	for name, b := range m {
		f := archive.Bytes(name, b)
		if executable(name) {
			f = f.WithExec()
		}
		out = append(out, f)
	}
	return out
}

func image(t testing.TB, files []archive.File, c squashfs.Compression) []byte {
	t.Helper()
	return written(t, files, squashfs.Options{Time: commitTime, Compression: c})
}

func written(t testing.TB, files []archive.File, o squashfs.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	size, err := squashfs.Write(&b, files, o)
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(b.Len()) {
		t.Errorf("%d bytes were written, and said to be %d", b.Len(), size)
	}
	return b.Bytes()
}

// check compares an image with what it was made of.
func check(t testing.TB, b []byte, m map[string][]byte) parsed {
	t.Helper()
	p := parse(t, b)
	seen := map[string]bool{"": true}
	for name, want := range m {
		for i, r := range name {
			if r == '/' {
				seen[name[:i]] = true
			}
		}
		seen[name] = true
		got, ok := p.entries[name]
		mode := uint16(0o644)
		if executable(name) {
			mode = 0o755
		}
		if !ok || got.mode != mode || !bytes.Equal(got.body, want) {
			t.Errorf("%s is %v, %v", name, ok, got)
		}
	}
	for name, e := range p.entries {
		if !seen[name] {
			t.Errorf("%s came from nowhere", name)
		}
		if _, file := m[name]; !file && e.mode != 0o755 {
			t.Errorf("the folder %q has the mode %o", name, e.mode)
		}
		if e.owner != 0 || e.group != 0 || int64(e.time) != commitTime.Unix() {
			t.Errorf("%q is %v", name, e)
		}
	}
	if !bytes.Equal(p.ownerTable, make([]byte, 4)) {
		t.Errorf("the owners are % x, not root", p.ownerTable)
	}
	if int64(p.time) != commitTime.Unix() || len(b)%4096 != 0 || uint64(len(b))-p.used >= 4096 || bytes.Trim(b[p.used:], "\x00") != nil {
		t.Errorf("of %d bytes %d are used, at %d", len(b), p.used, p.time)
	}
	return p
}

func TestImage(t *testing.T) {
	fixture.SkipRace(t)
	for _, c := range compressions {
		t.Run(string(c), func(t *testing.T) {
			m := contents()
			b := image(t, files(m), c)
			p := check(t, b, m)
			for _, same := range []string{"block", "zeros"} {
				if x, y := p.entries[same], p.entries["same/"+same]; x.start != y.start {
					t.Errorf("%s is stored twice", same)
				}
			}
			for name, want := range map[string]uint64{"hole-first": blockSize, "hole-middle": blockSize, "hole-last": 10, "zeros": 2 * blockSize} {
				if e := p.entries[name]; e.kind != 9 || e.sparse != want {
					t.Errorf("%s lacks %d bytes, not %d, and is of the type %d", name, e.sparse, want, e.kind)
				}
			}
			for name, want := range map[string][3]int{"header": {1, 0, 1}, "headers": {8, 0, 2}, "index": {8, 2, 0}} {
				e := p.entries[name]
				if int(e.kind) != want[0] || e.index != want[1] || want[2] != 0 && e.headers < want[2] {
					t.Errorf("the folder %s has the type %d, %d headers and an index of %d", name, e.kind, e.headers, e.index)
				}
			}
		})
	}
	b := image(t, nil, squashfs.XZ)
	check(t, b, nil)
	if !bytes.Equal(image(t, files(contents()), ""), image(t, files(contents()), squashfs.XZ)) {
		t.Error("the default is not xz")
	}
}

// The digests hold on every architecture: GOARCH=386 go test ./pipeline/pack/snap/... tries another word size and the
// compressors without assembly, natively on amd64. A change of them is a change of every snap that is rebuilt.
func TestGolden(t *testing.T) {
	fixture.SkipRace(t)
	var got strings.Builder
	for _, c := range compressions {
		fmt.Fprintf(&got, "%s %s\n", artifact.Sum(image(t, files(contents()), c)), c)
	}
	golden(t, "testdata/digests.golden", got.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s changed; with -update, if that is meant:\n got %s\nwant %s", file, got, want)
	}
}

// Nothing but names, contents, modes and the time decides the bytes.
func TestIndependence(t *testing.T) {
	m := contents()
	maps.DeleteFunc(m, func(name string, _ []byte) bool {
		return strings.HasPrefix(name, "index") || strings.HasPrefix(name, "header")
	})
	dir := t.TempDir()
	var disk []archive.File
	for name, b := range m {
		p := filepath.Join(dir, artifact.Sum([]byte(name)).Hex())
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := archive.Disk(name, p)
		if err != nil {
			t.Fatal(err)
		}
		if executable(name) {
			f = f.WithExec()
		}
		disk = append(disk, f)
	}
	for _, c := range compressions {
		if testing.Short() && c == squashfs.XZ {
			continue // which the race detector makes ten times as slow; the golden digest holds it too
		}
		want := image(t, files(m), c)
		same := func(what string, got []byte) {
			t.Helper()
			if !bytes.Equal(got, want) {
				t.Errorf("%s, %s: the image differs", c, what)
			}
		}
		same("files on disk, of other modes and times", image(t, disk, c))
		for _, at := range []time.Time{commitTime.In(time.FixedZone("Kiritimati", 14*3600)), commitTime.Add(999_999_999)} {
			same(at.String(), written(t, files(m), squashfs.Options{Time: at, Compression: c}))
		}
		for _, n := range []int{1, 7} {
			before := runtime.GOMAXPROCS(n)
			same(fmt.Sprint(n, " processors"), image(t, files(m), c))
			runtime.GOMAXPROCS(before)
		}
		if b := written(t, files(m), squashfs.Options{Time: commitTime.Add(time.Second), Compression: c}); bytes.Equal(b, want) {
			t.Errorf("%s: another time does not show", c)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	changed := filepath.Join(dir, "changed")
	onDisk := func(size int) archive.File {
		if err := os.WriteFile(changed, make([]byte, 10), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := archive.Disk("bin/changed", changed)
		if err != nil {
			t.Fatal(err)
		}
		f.Size = int64(size) // as if it had been so when it was looked at
		return f
	}
	gone, err := archive.Disk("bin/gone", func() string {
		p := filepath.Join(dir, "gone")
		if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	one := func(name string) []archive.File { return []archive.File{archive.Bytes(name, []byte("x"))} }
	for _, c := range []struct {
		what  string
		files []archive.File
		o     squashfs.Options
		want  string
	}{
		{"compression", one("a"), squashfs.Options{Time: commitTime, Compression: "lzo"}, `compression "lzo"`},
		{"before 1970", one("a"), squashfs.Options{Time: time.Unix(-1, 0)}, "between 1970 and 2106"},
		{"after 2106", one("a"), squashfs.Options{Time: time.Unix(1<<32, 0)}, "between 1970 and 2106"},
		{"up", one("../a"), squashfs.Options{Time: commitTime}, "leaves its folder"},
		{"twice", append(one("a"), one("a")...), squashfs.Options{Time: commitTime}, "twice"},
		{"file and folder", append(one("a"), one("a/b")...), squashfs.Options{Time: commitTime}, "a file and a folder"},
		{"longer name", one(strings.Repeat("n", 256)), squashfs.Options{Time: commitTime}, "longer than 255"},
		{"shrunk", []archive.File{onDisk(11)}, squashfs.Options{Time: commitTime}, "bin/changed: it has less"},
		{"grown", []archive.File{onDisk(9)}, squashfs.Options{Time: commitTime}, "bin/changed: it has more"},
		{"gone", []archive.File{gone}, squashfs.Options{Time: commitTime}, "bin/gone"},
	} {
		var b bytes.Buffer
		if size, err := squashfs.Write(&b, c.files, c.o); err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 || size > 0 {
			t.Errorf("%s: %v, and %d bytes", c.what, err, b.Len())
		}
	}
}

// tool is a program of squashfs-tools.
func tool(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skip("install squashfs-tools to run this test")
	}
	return p
}

// unpack has unsquashfs unpack the image, and compares.
func unpack(t testing.TB, unsquashfs string, b []byte, m map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	file, root := filepath.Join(dir, "image"), filepath.Join(dir, "root")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(unsquashfs, "-strict-errors", "-no-progress", "-quiet", "-d", root, file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	n := 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want, ok := m[filepath.ToSlash(name)]
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("%s was unpacked to other bytes", name)
		}
		if !info.ModTime().Equal(commitTime) || info.Mode().Perm()&0o100 != 0 != executable(name) {
			t.Errorf("%s is %s of %s", name, info.Mode(), info.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != len(m) {
		t.Errorf("%d files of %d were unpacked", n, len(m))
	}
	return root
}

func TestUnsquashfs(t *testing.T) {
	unsquashfs := tool(t, "unsquashfs")
	for _, c := range compressions {
		m := contents()
		unpack(t, unsquashfs, image(t, files(m), c), m)
	}
}

// mksquashfs gives an image of the same files the same layout. What it compresses differs, since its compressor does;
// so the files here are noise, and the tables are compared as they were before they were compressed, and have to fit
// into a block, for the sizes of compressed blocks to be in none.
func TestLayoutOfMksquashfs(t *testing.T) {
	mksquashfs, unsquashfs := tool(t, "mksquashfs"), tool(t, "unsquashfs")
	m := map[string][]byte{}
	for name, b := range contents() {
		if len(b) > 0 && bytes.Trim(b, "\x00") != nil && !strings.HasPrefix(name, "hole") && !strings.HasPrefix(name, "same") {
			b = noise(byte(len(m)), len(b))
		}
		if strings.HasPrefix(name, "deep") || strings.HasPrefix(name, "head") || strings.HasPrefix(name, "index") || name == "same/tool" ||
			name == "hole-first" || name == "hole-last" {
			continue
		}
		m[name] = b
	}
	m["same/block"] = m["block"]
	ours := image(t, files(m), squashfs.XZ)
	root := unpack(t, unsquashfs, ours, m)
	file := filepath.Join(t.TempDir(), "theirs")
	cmd := exec.Command(mksquashfs, root, file, "-fstime", fmt.Sprint(commitTime.Unix()),
		"-noappend", "-comp", "xz", "-all-root", "-no-xattrs", "-no-fragments", "-no-progress", "-quiet")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	theirs, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, b := parse(t, ours), parse(t, theirs)
	if a.inodes != b.inodes || a.time != b.time || a.flags != b.flags || a.root != b.root || a.owners != b.owners || a.compression != b.compression {
		t.Errorf("the superblocks differ: the roots are %x and %x, there are %d and %d inodes, the flags are %x and %x", a.root, b.root, a.inodes, b.inodes, a.flags, b.flags)
	}
	for name, want := range b.entries {
		if got := a.entries[name]; got.String() != want.String() || got.sparse != want.sparse || got.start != want.start || got.links != want.links || got.number != want.number {
			t.Errorf("%s: %v with %d missing at %d, and theirs %v with %d missing at %d", name, got, got.sparse, got.start, want, want.sparse, want.start)
		}
	}
	for _, c := range []struct {
		what string
		a, b []byte
	}{
		{"data", a.data, b.data},
		{"inodes", a.inodeTable, b.inodeTable},
		{"listings", a.dirTable, b.dirTable},
		{"exports", a.exportTable, b.exportTable},
		{"owners", a.ownerTable, b.ownerTable},
	} {
		if len(c.a) > 8192 && c.what != "data" {
			t.Errorf("the %s are more than a block: %d bytes", c.what, len(c.a))
		}
		if !bytes.Equal(c.a, c.b) {
			t.Errorf("the %s differ", c.what)
		}
	}
}

// tree makes a random tree of bytes that a fuzzer chose.
func tree(seed []byte) map[string][]byte {
	var key [32]byte
	copy(key[:], seed)
	r := rand.New(rand.NewChaCha8(key))
	m := map[string][]byte{}
	folders := []string{""}
	for range r.IntN(4) {
		folders = append(folders, folders[r.IntN(len(folders))]+strings.Repeat("f", 1+r.IntN(40))+fmt.Sprint(len(folders))+"/")
	}
	many := 1 + r.IntN(20)
	if r.IntN(4) == 0 {
		many = 1 + r.IntN(900)
	}
	for i := range many {
		size := r.IntN(100)
		if i < 6 {
			size = []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 2*blockSize + r.IntN(blockSize)}[r.IntN(6)]
		}
		var b []byte
		switch r.IntN(4) {
		case 0:
			b = make([]byte, size)
		case 1:
			b = noise(byte(r.IntN(3)), size)
		case 2:
			b = text(size)
		default:
			b = slices.Concat(text(size/3), make([]byte, size/3), noise(1, size-2*(size/3)))
		}
		name := folders[r.IntN(len(folders))] + strings.Repeat("n", r.IntN(100)) + fmt.Sprint(i)
		m[name] = b
	}
	return m
}

// FuzzImage reads back images of random trees, with unsquashfs too where it is installed.
func FuzzImage(f *testing.F) {
	seeds := byte(8)
	if testing.Short() {
		seeds = 2
	}
	for i := range seeds {
		f.Add([]byte{i}, i%2 == 0)
	}
	unsquashfs, err := exec.LookPath("unsquashfs")
	f.Fuzz(func(t *testing.T, seed []byte, fast bool) {
		m := tree(seed)
		c := squashfs.XZ
		if fast {
			c = squashfs.Zstd
		}
		b := image(t, files(m), c)
		check(t, b, m)
		if err == nil && !testing.Short() {
			unpack(t, unsquashfs, b, maps.Clone(m))
		}
	})
}
