package inventory_test

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
)

const small = `{"bomFormat": "CycloneDX", "metadata": {"a": [{"b": 1}, []]}, "components": [
 {"type": "application", "name": "tool", "purl": "pkg:golang/example.com/tool@v1.2.3#cmd/tool"},
 {"type": "library", "name": "stdlib", "version": "1.26.1", "purl": "pkg:golang/stdlib@1.26.1"},
 {"type": "library", "name": "golang.org/x/net", "version": "v0.60.0", "purl": "pkg:golang/golang.org/x/net@v0.60.0"},
 {"type": "library", "name": "example.com/folder", "purl": "pkg:golang/example.com/folder"},
 {"type": "library", "name": "ssl", "version": "1:3.5-2", "purl": "pkg:rpm/fedora/ssl@3.5-2?arch=x86_64&epoch=1"},
 {"type": "operating-system", "name": "alpine", "version": "3.22.1"},
 {"type": "container", "name": "alpine", "hashes": [{"alg": "SHA-256", "content": "abc"}]}]}`

func TestRead(t *testing.T) {
	b, err := inventory.Read(strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if b.Base != "abc" || b.System != "alpine 3.22.1" || len(b.Packages) != 3 || b.Programs["tool"] != "example.com/tool/cmd/tool" {
		t.Errorf("%+v", b)
	}
	for name, want := range map[string]string{"pkg:golang/stdlib": "1.26.1", "pkg:golang/golang.org/x/net": "v0.60.0", "pkg:rpm/fedora/ssl": "1:3.5-2"} {
		if !slices.Equal(b.Packages[name], []string{want}) {
			t.Errorf("%s is %v, want %s", name, b.Packages[name], want)
		}
	}
	for bad, want := range map[string]string{
		"": "EOF", "[]": "where a {", "{}": "no bill", small + "x": "behind its end", small[:200]: "EOF",
		`{"bomFormat": "CycloneDX", "components": [{"type": "library", "version": "1", "purl": "pkg:x"}]}`:                                           "package URL",
		`{"bomFormat": "CycloneDX", "bomFormat": "CycloneDX"}`:                                                                                       "twice",
		`{"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "` + strings.Repeat("x", 5000) + `"}]}`:                               "bytes",
		`{"bomFormat": "CycloneDX", "components": [{"type": "library", "licenses": "` + strings.Repeat("x", 9<<20) + `", "purl": "pkg:deb/a/b@1"}]}`: "MiB",
	} {
		if _, err := inventory.Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", bad, err, want)
		}
	}
}

func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads 100 MB, and 1 GB in the full run")
	}
	chunks := 25_000 // of 4 kB, which is more than is held all the same
	if fixture.Full {
		chunks = 250_000
	}
	chunk := []byte(`{"ref":"` + strings.Repeat("x", 4000) + `"},`)
	r := io.MultiReader(strings.NewReader(`{"bomFormat": "CycloneDX", "dependencies": [`), &whole{chunk: chunk, n: chunks}, strings.NewReader(`{}], "components": []}`))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := inventory.Read(r); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if held := after.HeapSys - before.HeapSys; after.HeapSys > before.HeapSys && held > 64<<20 {
		t.Errorf("%d MiB for a bill of %d MB", held>>20, chunks/250)
	}
}

// whole repeats a chunk n times.
type whole struct {
	chunk []byte
	n, at int
}

func (w *whole) Read(b []byte) (int, error) {
	if w.n == 0 {
		return 0, io.EOF
	}
	n := copy(b, w.chunk[w.at:])
	if w.at += n; w.at == len(w.chunk) {
		w.at, w.n = 0, w.n-1
	}
	return n, nil
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(small))
	f.Fuzz(func(t *testing.T, b []byte) {
		bill, err := inventory.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for name, versions := range bill.Packages {
			again, version, err := inventory.Split(name)
			if err != nil || again != name || version != "" || len(versions) == 0 {
				t.Errorf("%q is read as %q, %q, %v", name, again, version, err)
			}
		}
	})
}
