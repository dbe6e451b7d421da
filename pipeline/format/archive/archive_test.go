package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// format is one of the writers under test.
type format struct {
	name  string
	write func(io.Writer, []archive.File, time.Time) error
}

var formats = []format{{"tar", archive.Tar}, {"tar.gz", archive.TarGz}, {"zip", archive.Zip}}

var commitTime = time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)

// noise is the same n bytes on every machine: half of them compress well, half not at all.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b[:n/2])
	for i := n / 2; i < n; i++ {
		b[i] = "the quick brown fox "[i%20] + byte(i/4096)
	}
	return b
}

// contents are the contents of the fixed archive by name; those below bin/ are executable.
func contents() map[string][]byte {
	return map[string][]byte{
		"bin/tool":             noise(300_000),
		"LICENSE":              []byte(strings.Repeat("Permission is hereby granted.\n", 100)),
		"empty":                nil,
		"docs/naïve/résumé.md": []byte("# Ünïcödé\n"),
		"docs/日本語":             []byte("語"),
		strings.Repeat("p", 155) + "/" + strings.Repeat("n", 100): []byte("the longest name that USTAR holds"),
		strings.Repeat("n", 101):                                  []byte("a name that PAX alone holds"),
		"deep/" + strings.Repeat("folder/", 40) + "file":          []byte("a path that PAX alone holds"),
		"block": noise(512),
	}
}

func files() []archive.File {
	var out []archive.File
	for name, b := range contents() {
		f := archive.Bytes(name, b)
		if strings.HasPrefix(name, "bin/") {
			f = f.WithExec()
		}
		out = append(out, f)
	}
	return out
}

func pack(t testing.TB, f format, files []archive.File, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.write(&b, files, at); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return b.Bytes()
}

// The digests hold on every architecture. GOARCH=386 go test ./pipeline/archive tries another word size and the
// compressor without assembly, natively on amd64. A change of them is a change of every release that is rebuilt: it
// comes from a new version of the compressor or of Go, and belongs into the changelog.
func TestGolden(t *testing.T) {
	var got strings.Builder
	for _, f := range formats {
		fmt.Fprintf(&got, "%s %s\n", artifact.Sum(pack(t, f, files(), commitTime)), f.name)
	}
	const golden = "testdata/digests.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the archives changed; with -update, if that is meant:\n got %s\nwant %s", got.String(), want)
	}
}

// Nothing but names, contents, modes and the time decides the bytes.
func TestIndependence(t *testing.T) {
	dir := t.TempDir()
	var disk []archive.File
	for name, b := range contents() {
		p := filepath.Join(dir, artifact.Sum([]byte(name)).Hex())
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, time.Now(), time.Unix(int64(len(name)), 0)); err != nil {
			t.Fatal(err)
		}
		f, err := archive.Disk(name, p)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "bin/") {
			f = f.WithExec()
		}
		disk = append(disk, f)
	}
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			want := pack(t, f, files(), commitTime)
			same := func(what string, got []byte) {
				t.Helper()
				if !bytes.Equal(got, want) {
					t.Errorf("%s: the archive differs", what)
				}
			}
			same("files on disk, of other modes and times", pack(t, f, disk, commitTime))

			ordered := files()
			slices.SortFunc(ordered, func(a, b archive.File) int { return strings.Compare(a.Name, b.Name) })
			given := slices.Clone(ordered)
			slices.Reverse(given)
			same("reversed", pack(t, f, given, commitTime))
			if given[0].Name != ordered[len(ordered)-1].Name {
				t.Error("the given slice was put in order")
			}
			r := rand.New(rand.NewPCG(1, 2))
			r.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] })
			same("shuffled", pack(t, f, given, commitTime))

			same("another zone", pack(t, f, files(), commitTime.In(time.FixedZone("Kiritimati", 14*3600))))
			same("with nanoseconds", pack(t, f, files(), commitTime.Add(999_999_999)))

			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			same("one CPU", pack(t, f, files(), commitTime))
			runtime.GOMAXPROCS(8)
			same("eight CPUs", pack(t, f, files(), commitTime))
		})
	}
}

// How the bytes arrive at the compressor does not change what leaves it.
func TestGzipWriteSizes(t *testing.T) {
	b := noise(200_000)
	var want []byte
	for _, size := range []int{len(b), 1, 7, 512, 4096, 32 << 10, 65535, 65536, 65537} {
		var out bytes.Buffer
		zw := archive.Gzip(&out)
		for part := range slices.Chunk(b, size) {
			if _, err := zw.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = out.Bytes()
		} else if !bytes.Equal(out.Bytes(), want) {
			t.Errorf("written in pieces of %d bytes, the output differs", size)
		}
	}
}

// RFC 1952, 2.3: magic, deflate, no flags, no time, no extra flags, unknown system.
func TestGzipHeader(t *testing.T) {
	b := pack(t, formats[1], files(), commitTime)
	if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}; !bytes.Equal(b[:10], want) {
		t.Errorf("the header is % x, want % x", b[:10], want)
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if zr.Name != "" || zr.Comment != "" || zr.Extra != nil || !zr.ModTime.IsZero() || zr.OS != 255 {
		t.Errorf("the header is %+v", zr.Header)
	}
}

// The standard library reads back what went in.
func TestReadTar(t *testing.T) {
	var plain bytes.Buffer
	zr, err := gzip.NewReader(bytes.NewReader(pack(t, formats[1], files(), commitTime)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(&plain, zr); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(plain.Bytes(), pack(t, formats[0], files(), commitTime)) {
		t.Error("the tar.gz is not the tar, compressed")
	}
	pax := map[string]bool{
		strings.Repeat("n", 101):                         true,
		"deep/" + strings.Repeat("folder/", 40) + "file": true,
		"docs/naïve/résumé.md":                           true,
		"docs/日本語":                                       true,
	}
	left, last := contents(), ""
	for tr := tar.NewReader(&plain); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want, ok := left[h.Name]
		if !ok {
			t.Fatalf("an entry %q, which was not packed or twice", h.Name)
		}
		delete(left, h.Name)
		if h.Name <= last {
			t.Errorf("%q stands behind %q", h.Name, last)
		}
		last = h.Name
		if b, err := io.ReadAll(tr); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%q has other contents (%v)", h.Name, err)
		}
		mode := int64(0o644)
		if strings.HasPrefix(h.Name, "bin/") {
			mode = 0o755
		}
		if h.Mode != mode || h.Typeflag != tar.TypeReg || !h.ModTime.Equal(commitTime) || h.Size != int64(len(want)) {
			t.Errorf("%q: mode %o, type %c, time %s, size %d", h.Name, h.Mode, h.Typeflag, h.ModTime.UTC(), h.Size)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.Linkname != "" || h.Devmajor != 0 || h.Devminor != 0 || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() {
			t.Errorf("%q carries more than it must: %+v", h.Name, h)
		}
		if pax[h.Name] {
			if h.Format != tar.FormatPAX || len(h.PAXRecords) != 1 || h.PAXRecords["path"] != h.Name {
				t.Errorf("%q has format %s with records %v, want PAX with its path alone", h.Name, h.Format, h.PAXRecords)
			}
		} else if h.Format != tar.FormatUSTAR || len(h.PAXRecords) != 0 {
			t.Errorf("%q has format %s with records %v, want USTAR", h.Name, h.Format, h.PAXRecords)
		}
	}
	if len(left) > 0 {
		t.Errorf("%d files are missing", len(left))
	}
}

func TestReadZip(t *testing.T) {
	b := pack(t, formats[2], files(), commitTime)
	zr, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	left, last := contents(), ""
	for _, f := range zr.File {
		want, ok := left[f.Name]
		if !ok {
			t.Fatalf("an entry %q, which was not packed or twice", f.Name)
		}
		delete(left, f.Name)
		if f.Name <= last {
			t.Errorf("%q stands behind %q", f.Name, last)
		}
		last = f.Name
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%q has other contents (%v)", f.Name, err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(f.Name, "bin/") {
			mode = 0o755
		}
		if at := commitTime.Truncate(2 * time.Second); f.Mode() != mode || !f.Modified.Equal(at) || f.Comment != "" {
			t.Errorf("%q: mode %s, time %s, comment %q", f.Name, f.Mode(), f.Modified, f.Comment)
		}
		if f.NonUTF8 {
			t.Errorf("%q is not marked as UTF-8", f.Name)
		}
	}
	if len(left) > 0 || zr.Comment != "" {
		t.Errorf("%d files are missing; the comment is %q", len(left), zr.Comment)
	}
}

func TestTimes(t *testing.T) {
	one := []archive.File{archive.Bytes("a", []byte("a"))}
	for _, tt := range []struct{ at, zipped, want string }{
		{"1970-01-01T00:00:00Z", "1980-01-01T00:00:00Z", ""},
		{"1979-12-31T23:59:59Z", "1980-01-01T00:00:00Z", ""},
		{"1980-01-01T00:00:00Z", "1980-01-01T00:00:00Z", ""},
		{"1980-01-01T00:00:03Z", "1980-01-01T00:00:02Z", ""},
		{"2024-03-31T02:30:00+01:00", "2024-03-31T01:30:00Z", ""},
		{"2106-02-07T06:28:15Z", "2106-02-07T06:28:14Z", ""},
		{"1969-12-31T23:59:59Z", "", "time 1969-12-31T23:59:59Z is not between 1970 and 2106; archives cannot hold it"},
		{"2106-02-07T06:28:16Z", "", "time 2106-02-07T06:28:16Z is not between 1970 and 2106; archives cannot hold it"},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range formats {
			var b bytes.Buffer
			if err := f.write(&b, one, at); tt.want != "" {
				if err == nil || err.Error() != tt.want || b.Len() > 0 {
					t.Errorf("%s of %s: %v after %d bytes, want %s", f.name, tt.at, err, b.Len(), tt.want)
				}
				continue
			} else if err != nil {
				t.Errorf("%s of %s: %v", f.name, tt.at, err)
				continue
			}
			switch f.name {
			case "tar":
				h, err := tar.NewReader(&b).Next()
				if err != nil || !h.ModTime.Equal(at) || len(h.PAXRecords) > 0 {
					t.Errorf("tar of %s: %+v, %v", tt.at, h, err)
				}
			case "zip":
				zr, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
				if err != nil {
					t.Fatal(err)
				}
				// Both of zip's times, the one of DOS and the one of Unix, say the same.
				h := zr.File[0]
				dos := time.Date(int(h.ModifiedDate>>9)+1980, time.Month(h.ModifiedDate>>5&15), int(h.ModifiedDate&31), //nolint:staticcheck // the field itself is meant
					int(h.ModifiedTime>>11), int(h.ModifiedTime>>5&63), int(h.ModifiedTime&31)*2, 0, time.UTC) //nolint:staticcheck // the field itself is meant
				for _, got := range []time.Time{h.Modified, dos} {
					if got.UTC().Format(time.RFC3339) != tt.zipped {
						t.Errorf("zip of %s has %s, want %s", tt.at, got.UTC().Format(time.RFC3339), tt.zipped)
					}
				}
			}
		}
	}
}

// What cannot be packed is refused before the first byte is written.
func TestRefusals(t *testing.T) {
	file := func(name string) archive.File { return archive.Bytes(name, nil) }
	for _, tt := range []struct {
		files []archive.File
		want  string
	}{
		{[]archive.File{file("../x")}, `path "../x" leaves its folder`},
		{[]archive.File{file("/x")}, `path "/x" is absolute; it must be relative`},
		{[]archive.File{file("a"), file("aux.c")}, `path "aux.c": "aux.c" is a device on Windows; choose another name`},
		{[]archive.File{file("a"), file("a")}, `path "a" is named twice`},
		{[]archive.File{file("README"), file("readme")}, `paths "README" and "readme" are one file where letter case does not count`},
		{[]archive.File{file("a/b"), file("a")}, `path "a" is a file and a folder of "a/b"`},
		{[]archive.File{file("")}, `path "" is empty`},
	} {
		for _, f := range formats {
			var b bytes.Buffer
			if err := f.write(&b, tt.files, commitTime); err == nil || err.Error() != tt.want {
				t.Errorf("%s: %v, want %s", f.name, err, tt.want)
			}
			if b.Len() > 0 {
				t.Errorf("%s: %d bytes were written before %s", f.name, b.Len(), tt.want)
			}
		}
	}
}

// A file that changes its size between the plan of the archive and the reading would make a header lie.
func TestFileChanges(t *testing.T) {
	for _, f := range formats {
		for what, b := range map[string][]byte{"grew": []byte("abcd"), "shrank": []byte("ab"), "emptied": {}} {
			name := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(name, []byte("abc"), 0o644); err != nil {
				t.Fatal(err)
			}
			file, err := archive.Disk("f", name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
			const want = "packing f: its size changed while it was read"
			if err := f.write(io.Discard, []archive.File{file}, commitTime); err == nil || err.Error() != want {
				t.Errorf("%s of a file that %s: %v, want %s", f.name, what, err, want)
			}
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := f.write(io.Discard, []archive.File{file}, commitTime); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "packing f: ") {
				t.Errorf("%s of a file that is gone: %v", f.name, err)
			}
		}
	}
}

// A disk that fills up is an error wherever it happens.
func TestFullDisk(t *testing.T) {
	full := errors.New("no space left on device")
	for _, f := range formats {
		size := len(pack(t, f, files(), commitTime))
		for _, room := range []int{0, 1, 100, size / 2, size - 1} {
			if err := f.write(&limited{room: room, err: full}, files(), commitTime); !errors.Is(err, full) {
				t.Errorf("%s of %d bytes with room for %d: %v", f.name, size, room, err)
			}
		}
	}
}

type limited struct {
	room int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.room {
		return 0, l.err
	}
	l.room -= len(b)
	return len(b), nil
}

func TestDiskAndTree(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(dir, "plain"), []byte("plain"), 0o666))
	must(os.WriteFile(filepath.Join(dir, "run"), []byte("run"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "odd"), []byte("odd"), 0o600))
	must(os.Chmod(filepath.Join(dir, "odd"), 0o611))
	must(os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	must(os.Symlink("plain", filepath.Join(dir, "link")))
	must(os.Symlink("/etc/passwd", filepath.Join(dir, "out")))
	must(os.Symlink("../"+filepath.Base(dir)+"/plain", filepath.Join(dir, "around")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	root, err := os.OpenRoot(dir)
	must(err)
	defer root.Close()

	for name, exec := range map[string]bool{"plain": false, "run": runtime.GOOS != "windows", "odd": false, "link": false} {
		f, err := archive.Tree("x", root, name)
		if err != nil || f.Exec != exec || f.Name != "x" {
			t.Errorf("Tree of %s: %+v, %v", name, f, err)
			continue
		}
		r, err := f.Open()
		must(err)
		b, err := io.ReadAll(r)
		must(err)
		must(r.Close())
		if want := strings.Replace(name, "link", "plain", 1); string(b) != want || f.Size != int64(len(want)) {
			t.Errorf("Tree of %s has %q, %d bytes", name, b, f.Size)
		}
	}
	for _, name := range []string{"folder", "out", "around", "loop", "gone", "../plain", "."} {
		if f, err := archive.Tree("x", root, name); err == nil {
			t.Errorf("Tree takes %s: %+v", name, f)
		}
	}
	for _, name := range []string{"folder", "link", "out", "gone"} {
		if f, err := archive.Disk("x", filepath.Join(dir, name)); err == nil {
			t.Errorf("Disk takes %s: %+v", name, f)
		}
	}
	// The mode on disk of a compiled program depends on the umask, so it is the caller who says what it is.
	if f, err := archive.Disk("x", filepath.Join(dir, "run")); err != nil || f.Exec || !f.WithExec().Exec || f.Exec {
		t.Errorf("Disk of run: %+v, %v", f, err)
	}
}

// A release may have programs of hundreds of megabytes: they pass through and are not held.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("packs 200 MB three times")
	}
	const size = 200 << 20
	name := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	// A pattern that compresses well, since it is not the compressor that is measured.
	block := bytes.Repeat(noise(4<<10), 256)
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	big, err := archive.Disk("big", name)
	if err != nil || big.Size != size {
		t.Fatalf("%d bytes, %v", big.Size, err)
	}
	for _, f := range formats {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := artifact.NewMeter(io.Discard)
		if err := f.write(m, []archive.File{big}, commitTime); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		// All that was ever allocated, freed or not, so that no collection in between hides a peak.
		grown := (after.TotalAlloc - before.TotalAlloc) >> 10
		t.Logf("%s: %d KB out, %d KB allocated", f.name, m.Size()>>10, grown)
		if grown > 8<<10 {
			t.Errorf("%s of a file of %d MB allocates %d KB, want at most 8 MB", f.name, size>>20, grown)
		}
	}
}

// program is 10 MB that compress like a Go binary: this test binary, repeated where it is smaller.
func program(b *testing.B) []byte {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	p, err := os.ReadFile(self)
	if err != nil {
		b.Fatal(err)
	}
	for len(p) < 10<<20 {
		p = append(p, p...)
	}
	return p[:10<<20]
}

// BenchmarkTarGz compares ours with the same tar through the standard library's compressor, in one run.
func BenchmarkTarGz(b *testing.B) {
	files := []archive.File{archive.Bytes("tool", program(b)).WithExec()}
	for _, bench := range []struct {
		name string
		zip  func(io.Writer) io.WriteCloser
	}{
		{"ours", archive.Gzip},
		{"standard", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(10 << 20)
			b.ReportAllocs()
			var size counter
			for b.Loop() {
				size = counter{sha256.New(), 0}
				zw := bench.zip(&size)
				if err := archive.Tar(zw, files, commitTime); err != nil {
					b.Fatal(err)
				}
				if err := zw.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size.n)/(10<<20), "ratio")
		})
	}
}

// counter hashes what it counts, as a build does.
type counter struct {
	hash.Hash
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.Hash.Write(b)
}
