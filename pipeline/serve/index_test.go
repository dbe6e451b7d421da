package serve_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// indexed opens a store and its index, in one folder as the command does it.
func (tm *team) indexed() (*store.Store, *index.Index) {
	tm.t.Helper()
	o := store.Options{Remote: tm.remote, Environ: environ(tm.t), Dir: tm.t.TempDir(), Now: tm.clock}
	s, err := store.Open(o)
	must(tm.t, err)
	x, err := index.Open(o)
	must(tm.t, err)
	return s, x
}

// TestSignedIndex has a client of The Update Framework read the index of a store from a server, below an environment and at the
// root of its host.
func TestSignedIndex(t *testing.T) {
	tm := newTeam(t)
	tm.add("hello", "1.0.0", "production", false)
	st, writer := tm.indexed()
	var v store.View
	must(t, st.Read(t.Context(), func(now store.View) error { v = now; return nil }))
	offline, err := sign.Generate(sign.Ed25519)
	must(t, err)
	_, err = writer.Draft(t.Context(), v, index.Plan{Offline: []signature.PublicKey{offline.Public()}, Online: []signature.PublicKey{tm.key.Public()}})
	must(t, err)

	o := serve.Options{Hostnames: map[string]string{"127.0.0.1": "production"}}
	o.Store, o.Index = tm.indexed()
	s, h := tm.serving(o)
	wants(t, get(h, "/environments/production/metadata/timestamp.json"), http.StatusNotFound, "there is nothing here")
	signed, err := writer.Sign(t.Context(), "", offline)
	must(t, err)
	update := func() {
		t.Helper()
		_, err := writer.Update(t.Context(), st, tm.key)
		must(t, err)
		s.Look(t.Context())
	}
	update()

	server := httptest.NewServer(h)
	defer server.Close()
	client := tuf.Client{Dir: t.TempDir(), Root: signed.Draft.File, Now: tm.clock}
	current := func(base string) string {
		t.Helper()
		client.Source, err = tuf.NewWeb(base, server.Client())
		must(t, err)
		c, _, err := index.Read(t.Context(), &client, "production", "hello")
		must(t, err)
		return c.Current
	}
	for _, base := range []string{server.URL + "/environments/production/", server.URL} {
		if got := current(base); got != "1.0.0" {
			t.Errorf("%s: %s", base, got)
		}
	}
	wants(t, get(h, "/environments/production/"), http.StatusOK, "Its signed index is of line 1<", "slipway current hello --environment production --from http://example.com/environments/production --root root.json")

	tm.add("hello", "1.1.0", "production", false)
	s.Look(t.Context())
	if got := current(server.URL); got != "1.0.0" {
		t.Errorf("%s is current, and nobody has signed that", got)
	}
	wants(t, get(h, "/environments/production/"), http.StatusOK, "As of line 2 of the log", "Its signed index is of line 1<")
	update()
	if got := current(server.URL); got != "1.1.0" {
		t.Error(got)
	}

	// Nothing but the files of the index is below these addresses, and each has a validator of its own.
	first := get(h, "/environments/production/metadata/1.root.json")
	wants(t, first, http.StatusOK, `"root"`)
	if again := get(h, "/environments/staging/metadata/1.root.json", "If-None-Match", first.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Error(again.Code)
	}
	for _, p := range []string{"metadata", "metadata/", "targets/", "metadata/1.root.json/", "metadata/2.root.json", "targets/production", "targets/production/components/hello.json", "draft/root.json"} {
		wants(t, get(h, "/environments/production/"+p), http.StatusNotFound, "there is nothing here")
	}
	// What cannot be read leaves what was read, and what is gone is gone.
	bare := []string{"--git-dir", tm.remote}
	odd := git(t, ".", append(bare, "rev-parse", "log:head.json")...)
	git(t, ".", append(bare, "update-index", "--add", "--cacheinfo", "120000,"+odd+",metadata/1.root.json")...)
	tree := git(t, ".", append(bare, "write-tree")...)
	git(t, ".", append(bare, "update-ref", "refs/heads/metadata", git(t, ".", append(bare, "commit-tree", "-m", "odd", tree)...))...)
	s.Look(t.Context())
	if got := current(server.URL); got != "1.1.0" {
		t.Error(got)
	}
	git(t, ".", append(bare, "update-ref", "-d", "refs/heads/metadata")...)
	s.Look(t.Context())
	wants(t, get(h, "/environments/production/metadata/timestamp.json"), http.StatusNotFound, "the store has no signed index")
}

func wants(t *testing.T, w *httptest.ResponseRecorder, code int, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if w.Code != code || !strings.Contains(w.Body.String(), text) {
			t.Errorf("%d, without %q: %s", w.Code, text, w.Body)
		}
	}
}
