package supply_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform/supply"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// server is slipway serve as far as a component is fetched from it.
type server struct {
	*httptest.Server
	files map[string][]byte
	asked atomic.Int64
	// answer takes the place of a file, by its path; a nil one is not there.
	answer map[string]http.HandlerFunc
}

func serve(t *testing.T) (*server, composition.Component, manifest.Release) {
	t.Helper()
	files, rel, err := verifytest.Files(verifytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{files: files, answer: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		name, below := strings.CutPrefix(r.URL.Path, "/releases/hello/1.2.3/files/")
		answer, special := s.answer[name]
		b, ok := files[name]
		switch {
		case r.URL.Path == "/releases.json":
			fmt.Fprint(w, `{"releases": [{"name": "hello", "version": "1.2.3", "path": "releases/hello/1.2.3/"}]}`)
		case below && special && answer != nil:
			answer(w, r)
		case below && ok && !special:
			_, _ = w.Write(b)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s, component(s.URL, files), rel
}

func component(releases string, files map[string][]byte) composition.Component {
	return composition.Component{
		Name: "hello", Version: "1.2.3", Tag: "v1.2.3", Commit: strings.Repeat("a", 40), Manifest: artifact.Sum(files[manifest.FileName]), Signer: "sha256:key",
		Repository: "https://example.com/hello", Releases: releases,
	}
}

func store(t *testing.T) *supply.Store {
	t.Helper()
	return &supply.Store{Cache: t.TempDir(), Dir: t.TempDir(), Getenv: func(string) string { return "" }}
}

func charts(_ manifest.Release, f artifact.File) bool { return f.Kind == artifact.Chart }

// What was fetched once is not asked for again, from whatever place; what is more is.
func TestOnce(t *testing.T) {
	s, c, rel := serve(t)
	st := store(t)
	got, err := st.Component(t.Context(), c, charts)
	if err != nil || got.Name != rel.Name {
		t.Fatalf("%+v, %v", got.Name, err)
	}
	i := slices.IndexFunc(rel.Files, func(f artifact.File) bool { return f.Path == rel.Charts[0].Path })
	if b, err := os.ReadFile(st.File(rel.Files[i].Digest)); err != nil || string(b) != string(s.files[rel.Charts[0].Path]) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	before := s.asked.Load()
	for _, of := range []*supply.Store{st, {Cache: st.Cache, Dir: st.Dir, Getenv: st.Getenv}} {
		if _, err := of.Component(t.Context(), c, charts); err != nil || s.asked.Load() != before {
			t.Errorf("%d requests more, %v", s.asked.Load()-before, err)
		}
	}
	if _, err := st.Component(t.Context(), c, func(_ manifest.Release, f artifact.File) bool { return f.Kind == artifact.Notes }); err != nil || s.asked.Load() == before {
		t.Errorf("the notes are there, and nobody brought them: %v", err)
	}
	left, err := os.ReadDir(st.Cache)
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

// A folder of releases is beside platform.yaml.
func TestFolder(t *testing.T) {
	st := store(t)
	dir := filepath.Join(st.Dir, "shelf", "hello", "1.2.3")
	if _, err := verifytest.Write(dir, verifytest.Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	c := component("shelf", map[string][]byte{manifest.FileName: b})
	if _, err := st.Component(t.Context(), c, charts); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Component(t.Context(), c, charts); err != nil {
		t.Errorf("it is in the cache: %v", err)
	}
}

// What a server says that lies, does not end or has lost something is an error, after which the cache has nothing of it.
func TestHostile(t *testing.T) {
	const chart = "charts/hello-1.2.3.tgz"
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	other, _, err := verifytest.Files(verifytest.Options{Name: "hello", Commit: strings.Repeat("b", 40), Tree: strings.Repeat("c", 40)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		answer     http.HandlerFunc
		want       string
		code       fault.Code
	}{
		{"another chart", chart, says("other"), chart + " is not the one that was locked", fault.Mismatch},
		{"endless chart", chart, endless, chart + " is not the one that was locked", fault.Mismatch},
		{"no chart", chart, nil, chart + " is gone", fault.Mismatch},
		{"another release", manifest.FileName, says(string(other[manifest.FileName])), "release.json is not the one that was locked", fault.Mismatch},
		{"no release", manifest.FileName, nil, "put it back, or lock another release", fault.Mismatch},
		{"no manifest", manifest.FileName, says("{}"), "release.json is not the one that was locked", fault.Mismatch},
		{"endless manifest", manifest.FileName, endless, "release.json is not the one that was locked", fault.Mismatch},
		{"no credentials", chart, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "the server says 403", fault.Credentials},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c, _ := serve(t)
			s.answer[tt.file] = tt.answer
			st := store(t)
			_, err := st.Component(t.Context(), c, charts)
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != tt.code {
				t.Errorf("%d, %v, want %d, %q", fault.CodeOf(err), err, tt.code, tt.want)
			}
			kept, _ := filepath.Glob(filepath.Join(st.Cache, "sha256", "*"))
			for _, name := range kept {
				if d, _, err := artifact.SumFile(name); err != nil || d.Hex() != filepath.Base(name) {
					t.Errorf("%s is kept", name)
				}
			}
			delete(s.answer, tt.file)
			if _, err := st.Component(t.Context(), c, charts); err != nil {
				t.Errorf("once it is there again: %v", err)
			}
		})
	}
	s, c, _ := serve(t)
	c.Version, c.Tag = "1.2.4", "v1.2.4"
	if _, err := store(t).Component(t.Context(), c, charts); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "has no such release, which is locked") {
		t.Error(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	c.Version, c.Tag = "1.2.3", "v1.2.3"
	s.answer[manifest.FileName] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	if _, err := store(t).Component(ctx, c, charts); err == nil {
		t.Error("nothing came, and it is taken")
	}
}

// A cache that lost or changed something, as a run that was killed may leave it, is mended.
func TestDamagedCache(t *testing.T) {
	_, c, rel := serve(t)
	st := store(t)
	if _, err := st.Component(t.Context(), c, charts); err != nil {
		t.Fatal(err)
	}
	for _, d := range []artifact.Digest{c.Manifest, digestOf(rel, rel.Charts[0].Path)} {
		if err := os.WriteFile(st.File(d), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Component(t.Context(), c, charts); err != nil {
			t.Error(err)
		}
		if got, _, err := artifact.SumFile(st.File(d)); got != d || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// No file is asked for of which there would be too many, or too large a one.
func TestBounds(t *testing.T) {
	s, c, rel := serve(t)
	for i := range rel.Files {
		if rel.Files[i].Path == rel.Charts[0].Path {
			rel.Files[i].Size = 1 << 40
		}
	}
	b, err := rel.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.files[manifest.FileName], c.Manifest = b, artifact.Sum(b)
	s.answer[rel.Charts[0].Path] = func(w http.ResponseWriter, _ *http.Request) {
		t.Error("it is asked for")
		w.WriteHeader(http.StatusNotFound)
	}
	if _, err := store(t).Component(t.Context(), c, charts); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "at most") {
		t.Error(err)
	}
}

func digestOf(rel manifest.Release, name string) artifact.Digest {
	i := slices.IndexFunc(rel.Files, func(f artifact.File) bool { return f.Path == name })
	return rel.Files[i].Digest
}
