package osdb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tag is a string of a header, or a number.
type tag struct {
	tag  uint32
	text string
	num  uint32
}

func header(tags ...tag) []byte {
	var index, store []byte
	for _, t := range tags {
		kind, offset := uint32(typeString), len(store)
		if t.text == "" {
			kind = typeInt32
			store = append(store, make([]byte, (4-len(store)%4)%4)...)
			offset = len(store)
			store = binary.BigEndian.AppendUint32(store, t.num)
		} else {
			store = append(append(store, t.text...), 0)
		}
		index = binary.BigEndian.AppendUint32(index, t.tag)
		index = binary.BigEndian.AppendUint32(index, kind)
		index = binary.BigEndian.AppendUint32(index, uint32(offset))
		index = binary.BigEndian.AppendUint32(index, 1)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(len(tags)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	return append(append(out, index...), store...)
}

// headers are those of testdata/rpmdb.sqlite: with pages of 512 bytes their table has two levels and rows of one page,
// of several, and of less.
func headers() [][]byte {
	out := [][]byte{
		header(tag{tagName, "bash", 0}, tag{tagVersion, "5.1.8", 0}, tag{tagRelease, "9.el9", 0}, tag{tagVendor, "Red Hat, Inc.", 0}, tag{tagLicense, "GPLv3+", 0}, tag{tagArch, "x86_64", 0}, tag{tagSourceRPM, "bash-5.1.8-9.el9.src.rpm", 0}),
		header(tag{tagName, "gpg-pubkey", 0}, tag{tagVersion, "fd431d51", 0}, tag{tagRelease, "4ae0493b", 0}),
		header(tag{tagName, "shadow-utils", 0}, tag{tagVersion, "4.9", 0}, tag{tagRelease, "12.el9", 0}, tag{tagEpoch, "", 2}, tag{tagArch, "x86_64", 0}, tag{tagSourceRPM, "shadow-utils-4.9-12.el9.src.rpm", 0}),
	}
	for i := range 18 {
		out = append(out, header(tag{tagName, fmt.Sprintf("pkg%02d", i), 0}, tag{1004, strings.Repeat("s", 1+i*70), 0}, tag{tagVersion, "1", 0}, tag{tagRelease, "1", 0}, tag{tagArch, "noarch", 0}))
	}
	return out
}

// create makes a database with sqlite itself.
func create(t *testing.T, name string, page int, blobs [][]byte) {
	t.Helper()
	var sql strings.Builder
	fmt.Fprintf(&sql, "PRAGMA page_size=%d; PRAGMA journal_mode=DELETE; BEGIN; CREATE TABLE 'Name' (key TEXT, hnum INTEGER, idx INTEGER);"+
		"CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL); CREATE INDEX Name_key_idx ON Name(key);", page)
	for i, b := range blobs {
		fmt.Fprintf(&sql, "INSERT INTO Packages(blob) VALUES (x'%s'); INSERT INTO Name VALUES ('%d', %d, 0);", hex.EncodeToString(b), i, i)
	}
	sql.WriteString("COMMIT;")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(sql.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "sqlite3", name, ".read "+script)
}

func blobs(t *testing.T, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	if err := rows(b, "packages", func(row [][]byte) error {
		got = append(got, bytes.Clone(row[1]))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDatabase(t *testing.T) {
	golden := filepath.Join("testdata", "rpmdb.sqlite")
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		create(t, golden, 512, headers())
	}
	if got := blobs(t, golden); !slices.EqualFunc(got, headers(), bytes.Equal) {
		t.Errorf("%d rows are not the %d that were written", len(got), len(headers()))
	}
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := parseRPM(b)
	if err != nil || len(ps) != 20 {
		t.Fatalf("%d packages, %v", len(ps), err)
	}
	want := Package{Type: "rpm", Name: "shadow-utils", Version: "2:4.9-12.el9", Arch: "x86_64", Source: "shadow-utils", SourceVersion: "4.9-12.el9"}
	if ps[1] != want {
		t.Errorf("%+v, want %+v", ps[1], want)
	}
	if err := rows(b, "Nonesuch", nil); err == nil || !strings.Contains(err.Error(), "no table Nonesuch") {
		t.Errorf("a table that is not there: %v", err)
	}
	// No byte that is changed may do worse than give an error.
	for i := range b {
		flip := byte(1) << (i % 8)
		b[i] ^= flip
		_, _ = parseRPM(b)
		b[i] ^= flip
	}
}

// Every size of page and rows around each of their limits, against sqlite.
func TestSqliteAgrees(t *testing.T) {
	needs(t, "sqlite3", "sqlite3")
	for page := 512; page <= 65536; page *= 2 {
		var want [][]byte
		for _, n := range []int{0, 1, page/2 - 40, page - 36, page - 35, page - 34, page - 5, page, page + 1, 2*page - 9, 2 * page, 5*page + 7} {
			for d := -3; d <= 3; d++ {
				want = append(want, bytes.Repeat([]byte{byte(n), byte(d)}, max(0, n+d))[:max(0, n+d)])
			}
		}
		name := filepath.Join(t.TempDir(), "db")
		create(t, name, page, want)
		if got := blobs(t, name); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("pages of %d bytes: rows differ", page)
		}
	}
}

// A database of rpm itself, and what it says of it.
func TestRPMAgrees(t *testing.T) {
	needs(t, "rpm", "rpm", "rpmbuild")
	dir := t.TempDir()
	define := func(more ...string) []string {
		return append([]string{"--define", "_dbpath " + dir + "/db", "--define", "_db_backend sqlite", "--define", "_topdir " + dir, "--define", "_rpmdir " + dir + "/out"}, more...)
	}
	var specs []string
	for i := range 25 {
		spec := fmt.Sprintf("Name: tool-%d\nVersion: 1.%d~rc1\nRelease: 2.el9\nSummary: s\nLicense: GPLv2+ and MIT\nVendor: Somebody & Sons\nBuildArch: noarch\n", i, i)
		if i%3 == 0 {
			spec += fmt.Sprintf("Epoch: %d\n", i%2)
		}
		spec += "%description\n" + strings.Repeat("word ", i*100) + "\n%files\n"
		name := filepath.Join(dir, fmt.Sprintf("%d.spec", i))
		if err := os.WriteFile(name, []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
		specs = append(specs, name)
	}
	run(t, "rpmbuild", append(define("-bb"), specs...)...)
	files, err := filepath.Glob(filepath.Join(dir, "out", "noarch", "*.rpm"))
	if err != nil || len(files) != len(specs) {
		t.Fatal(files, err)
	}
	run(t, "rpm", append(define("--justdb", "--nodeps", "--nosignature", "-i"), files...)...)
	want := strings.Split(strings.TrimSpace(run(t, "rpm", define("-qa", "--qf", `%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH} %{SOURCERPM} %{LICENSE} %{VENDOR}\n`)...)), "\n")
	b, err := os.ReadFile(filepath.Join(dir, "db", "rpmdb.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	ps, err := parseRPM(b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range ps {
		got = append(got, fmt.Sprintf("%s %s %s %s-%s.src.rpm %s %s", p.Name, p.Version, p.Arch, p.Source, p.SourceVersion, p.License, p.Vendor))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHeaderRefuses(t *testing.T) {
	good := header(tag{tagName, "a", 0}, tag{tagVersion, "1", 0}, tag{tagRelease, "1", 0}, tag{tagEpoch, "", 7})
	if p, err := parseHeader(good); err != nil || p.Version != "7:1-1" {
		t.Fatal(p, err)
	}
	for n := range good {
		if _, err := parseHeader(good[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for a header", n, len(good))
		}
	}
	for name, b := range map[string][]byte{
		"without a release":   header(tag{tagName, "a", 0}, tag{tagVersion, "1", 0}),
		"offset out of store": binary.BigEndian.AppendUint32(append(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 1<<32), 1000<<32|6), 0, 0, 0, 9), 1),
	} {
		if _, err := parseHeader(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
