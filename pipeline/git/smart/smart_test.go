package smart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/git/smart"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// git as a person runs it.
var git = gittest.GitIn

// serve is a repository that git's own server has, for somebody with a password.
func serve(t *testing.T, password string) (*gittest.Repo, *smart.Remote) {
	t.Helper()
	repo := gittest.New(t)
	server := httptest.NewServer(repo)
	t.Cleanup(server.Close)
	r, ok := smart.New(strings.Replace(server.URL, "http://", "http://writer:"+password+"@", 1) + "/repo.git/")
	if !ok {
		t.Fatal(server.URL)
	}
	return repo, r
}

const (
	one = "refs/slipway/x/1"
	two = "refs/slipway/x/2"
)

// Refs are made, moved and removed at a real server, each if it is where it was thought to be.
func TestPush(t *testing.T) {
	repo, r := serve(t, gittest.Token)
	_, can, err := r.Writable(t.Context()) // of an empty repository
	must(t, err)
	files := [][]byte{[]byte("a\n"), bytes.Repeat([]byte("lines of a request\n"), 1000), {}}
	var ids []string
	for _, b := range files {
		ids = append(ids, branch.BlobID(b))
	}
	pack := smart.Pack(files...)
	for _, tt := range []struct {
		name    string
		updates []smart.Update
		pack    []byte
		can     smart.Capabilities
		refused string // the refs that did not move
		refs    string // after it
	}{
		{"made", []smart.Update{{one, smart.None, ids[0]}, {two, smart.None, ids[1]}}, pack, nil, "", one + ids[0] + two + ids[1]},
		{"made again, and moved", []smart.Update{{one, smart.None, ids[2]}, {two, ids[1], ids[2]}}, pack, nil, one, one + ids[0] + two + ids[2]},
		{"not where it was", []smart.Update{{two, ids[1], ids[0]}}, smart.Pack(), nil, two, one + ids[0] + two + ids[2]},
		{"all or none", []smart.Update{{one, ids[0], ids[1]}, {two, ids[1], ids[0]}}, smart.Pack(), can, one + two, one + ids[0] + two + ids[2]},
		{"removed, and not where it was", []smart.Update{{one, ids[0], smart.None}, {two, ids[1], smart.None}}, nil, nil, two, two + ids[2]},
		{"removed with another one made", []smart.Update{{two, ids[2], smart.None}, {one, smart.None, ids[1]}}, smart.Pack(), can, "", one + ids[1]},
	} {
		pushed, err := r.Push(t.Context(), tt.updates, tt.pack, tt.can)
		if refused := strings.Join(slices.Sorted(maps.Keys(pushed.Refused)), ""); err != nil || refused != tt.refused {
			t.Errorf("%s: %v, %q, %v", tt.name, pushed, refused, err)
		}
		if tt.can != nil && tt.refused != "" && !strings.Contains(pushed.Said, "cannot lock ref '"+two+"'") {
			t.Errorf("%s: the server says %q", tt.name, pushed.Said)
		}
		refs, err := r.Refs(t.Context(), "refs/slipway/", "refs/heads/")
		shown := ""
		for _, name := range slices.Sorted(maps.Keys(refs)) {
			shown += name + refs[name]
		}
		if err != nil || shown != tt.refs {
			t.Errorf("%s: %s, %v", tt.name, shown, err)
		}
	}
	if got := git(t, repo.Dir, "", "cat-file", "blob", ids[1]); got != strings.TrimSpace(string(files[1])) {
		t.Errorf("the server has %.80q", got)
	}
	refs, can, err := r.Writable(t.Context())
	if err != nil || refs[one] != ids[1] || !can[smart.Atomic] {
		t.Errorf("%v, %v, %v", refs, can, err)
	}
	// Of an object that is not there nothing is made, and it is not known as an answer for a ref.
	if pushed, err := r.Push(t.Context(), []smart.Update{{two, smart.None, strings.Repeat("1", 40)}}, smart.Pack(), nil); err == nil && pushed.Refused[two] == "" {
		t.Errorf("%v", pushed)
	}
	if _, err := r.Push(t.Context(), []smart.Update{{one, ids[1], smart.None}}, nil, smart.Capabilities{"report-status": true, "side-band-64k": true}); err == nil || !strings.Contains(err.Error(), "does not support atomic") {
		t.Error(err)
	}
	repo.Refuse("not today")
	if pushed, err := r.Push(t.Context(), []smart.Update{{one, ids[1], smart.None}}, nil, can); err != nil || pushed.Refused[one] != "pre-receive hook declined" || !strings.Contains(pushed.Said, "not today") {
		t.Errorf("%v, %v", pushed, err)
	}
}

// Refs are those with a prefix, and no others.
func TestRefs(t *testing.T) {
	repo, r := serve(t, "")
	repo.Commit("log", map[string]string{"a": "1"})
	repo.Commit("other", map[string]string{"a": "1"})
	for prefix, want := range map[string]string{"refs/heads/log": "refs/heads/log", "refs/heads/": "refs/heads/log refs/heads/other", "refs/tags/": ""} {
		refs, err := r.Refs(t.Context(), prefix)
		if got := strings.Join(slices.Sorted(maps.Keys(refs)), " "); err != nil || got != want {
			t.Errorf("%s: %s, %v", prefix, got, err)
		}
	}
	if _, _, err := r.Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Error(err)
	}
	repo.MakePrivate()
	if _, err := r.Refs(t.Context(), "refs/"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Error(err)
	}
}

// A pack has what is new, and git takes it for one.
func TestFetch(t *testing.T) {
	repo, r := serve(t, "")
	repo.Commit("log", map[string]string{"a": strings.Repeat("line\n", 1000)})
	clone := filepath.Join(t.TempDir(), "clone.git")
	git(t, ".", "", "clone", "--quiet", "--bare", repo.Dir, clone)
	before := repo.Head("log")
	repo.Commit("log", map[string]string{"a": strings.Repeat("line\n", 1001), "b/c": "new"})
	pack, err := r.Fetch(t.Context(), []string{repo.Head("log")}, []string{before, strings.Repeat("1", 40)})
	must(t, err)
	git(t, clone, string(pack), "index-pack", "--stdin", "--fix-thin", "--strict")
	if got := git(t, clone, "", "cat-file", "blob", repo.Head("log")+":b/c"); got != "new" {
		t.Errorf("%q", got)
	}
	if len(pack) > 1000 {
		t.Errorf("%d bytes, with what was there before", len(pack))
	}
	_, err = r.Fetch(t.Context(), []string{strings.Repeat("1", 40)}, nil)
	if said, ok := errors.AsType[smart.Said](err); !ok || !strings.Contains(string(said), "not our ref") {
		t.Error(err)
	}
}

// A server that is none, or not at that address, is left to git, and learns no password.
func TestElsewhere(t *testing.T) {
	learned := ""
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		learned = "asked " + r.Header.Get("Authorization")
	}))
	defer other.Close()
	const refs = "application/x-git-upload-pack-result"
	for name, answer := range map[string]http.HandlerFunc{
		"sent on": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"broken": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", refs)
			io.WriteString(w, "003d1111")
		},
		"no packets": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", refs)
			io.WriteString(w, "hello")
		},
		"without an end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", refs)
			for range 5000 {
				fmt.Fprintf(w, "%04x%s %s\n", 4046, strings.Repeat("1", 40), strings.Repeat("x", 4000))
			}
		},
		"gone": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(answer)
		r, ok := smart.New(strings.Replace(server.URL, "http://", "http://user:secret@", 1))
		if !ok {
			t.Fatal(server.URL)
		}
		refs, err := r.Refs(t.Context(), "refs/")
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v", name, refs, err)
		}
		if want := map[string]string{"without an end": "more than 16 MiB", "sent on": "307"}[name]; err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
	if learned != "" {
		t.Errorf("the other host was %s", learned)
	}
	for remote, want := range map[string]bool{
		"https://example.com/x.git": true, "http://127.0.0.1:1/x": true, "http://example.com/x": false, "ssh://example.com/x": false,
		"/srv/x.git": false, "file:///srv/x": false, "user@example.com:x": false, "https://example.com/x?y": false, "https://%zz": false, "": false,
	} {
		if _, ok := smart.New(remote); ok != want {
			t.Errorf("%q: %v", remote, ok)
		}
	}
}

// A user without a password is nobody yet: a password of nothing is not tried, which some servers count.
func TestUserAlone(t *testing.T) {
	for user, want := range map[string]string{"user@": "", "user:@": "Basic dXNlcjo=", "user:x@": "Basic dXNlcjp4", "": ""} {
		tried := "nothing"
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tried = r.Header.Get("Authorization")
			w.WriteHeader(http.StatusUnauthorized)
		}))
		r, _ := smart.New(strings.Replace(server.URL, "http://", "http://"+user, 1))
		_, err := r.Refs(t.Context(), "refs/")
		if tried != want || errors.Is(err, smart.ErrUnknown) != (want == "") {
			t.Errorf("%q: %q, %v", user, tried, err)
		}
		server.Close()
	}
}
