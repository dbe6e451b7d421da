package serve_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// TestLifecycle asks for the graph of upgrades as clients of Cincinnati do, while the file changes, is damaged, or is another's.
func TestLifecycle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lifecycle.json")
	key, err := sign.Generate(sign.Ed25519)
	must(t, err)
	stranger, err := sign.Generate(sign.Ed25519)
	must(t, err)
	sums := map[int]artifact.Digest{0: artifact.Sum(nil)}
	write := func(by sign.Key, serial int, versions ...string) {
		t.Helper()
		l := lifecycle.Lifecycle{Name: "edge", Serial: serial}
		if serial > 1 {
			l.Prev = sums[serial-1]
		}
		l.AsOf, err = lifecycle.ParseDate("2026-06-01")
		must(t, err)
		for _, s := range versions {
			v, err := version.Parse(s)
			must(t, err)
			l.Releases = append(l.Releases, lifecycle.Release{Version: v, Manifest: artifact.Sum([]byte(s)), Date: l.AsOf, Until: l.AsOf.AddDays(100)})
		}
		b, err := l.Encode()
		must(t, err)
		sums[serial] = artifact.Sum(b)
		bundle, err := signature.SignBlob(by, b)
		must(t, err)
		signed, err := bundle.Encode()
		must(t, err)
		must(t, os.WriteFile(file+signature.Suffix, signed, 0o600))
		must(t, os.WriteFile(file, b, 0o600))
	}
	server := httptest.NewServer(serve.New(serve.Options{Root: t.TempDir(), Lifecycle: file, LifecycleKeys: []signature.PublicKey{key.Public()}}).Handler())
	defer server.Close()
	get := func(p string, accept ...string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, server.URL+p, nil)
		must(t, err)
		req.Header["Accept"] = accept
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		must(t, err)
		return res.StatusCode, string(b), res.Header
	}
	const graph = "/v1/graph?channel=stable-2.1&id=x&version=2.0.0"
	refused := func(what, p string, code int, kind string, accept ...string) {
		t.Helper()
		got, body, h := get(p, accept...)
		var said struct{ Kind, Value string }
		if err := json.Unmarshal([]byte(body), &said); err != nil || got != code || said.Kind != kind || said.Value == "" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d, %s, %v", what, got, body, err)
		}
	}
	refused("no file", graph, 503, "no_lifecycle", "application/json")
	write(key, 1, "2.0.0", "2.1.0", "2.2.0")
	for _, p := range []string{graph, "/api/upgrades_info" + graph} {
		code, body, h := get(p, "application/json")
		var g lifecycle.Graph
		if err := json.Unmarshal([]byte(body), &g); err != nil || code != 200 || len(g.Nodes) != 2 || len(g.Edges) != 1 || g.Edges[0] != [2]int{0, 1} || h.Get("Etag") == "" {
			t.Errorf("%s: %d, %s", p, code, body)
		}
	}
	// What the specification requires of an answer stands there also where there is nothing to say
	// (https://github.com/openshift/cincinnati/blob/master/docs/design/cincinnati.md#response).
	for channel, nodes := range map[string]int{"stable": 3, "stable-2.0": 1, "stable-3.0": 0} {
		_, body, h := get("/v1/graph?channel="+channel, "application/json")
		var said struct {
			Nodes            *[]map[string]json.RawMessage
			Edges            *[][]int
			ConditionalEdges *[]json.RawMessage
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || said.Nodes == nil || said.Edges == nil || said.ConditionalEdges == nil || len(*said.Nodes) != nodes || h.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %s, %v", channel, body, err)
		}
		known := map[string]bool{}
		for _, n := range *said.Nodes {
			var version, payload string
			var metadata map[string]string
			if json.Unmarshal(n["version"], &version) != nil || json.Unmarshal(n["payload"], &payload) != nil || json.Unmarshal(n["metadata"], &metadata) != nil || version == "" || payload == "" || metadata == nil || known[version] {
				t.Errorf("%s: %s", channel, body)
			}
			known[version] = true
		}
		for _, e := range *said.Edges {
			if len(e) != 2 || e[0] < 0 || e[0] >= e[1] || e[1] >= nodes { // and no way leads back
				t.Errorf("%s: %v in %s", channel, e, body)
			}
		}
	}
	if code, body, _ := get("/lifecycle.json"); code != 200 || !strings.Contains(body, `"serial": 1,`) {
		t.Errorf("%d, %s", code, body)
	}
	if code, _, _ := get("/lifecycle.json.sigstore.json"); code != 200 {
		t.Error(code)
	}
	refused("no channel", "/v1/graph", 400, "missing_params", "application/json")
	refused("two channels", "/v1/graph?channel=stable&channel=stable-2.1", 400, "missing_params")
	refused("a channel that is none", "/v1/graph?channel=candidate", 400, "invalid_params")
	refused("another kind", graph, 406, "invalid_content_type", "text/html")
	refused("a kind that is not wanted", graph, 406, "invalid_content_type", "application/json;q=0, text/html")
	refused("all kinds but that one", graph, 406, "invalid_content_type", "*/*, application/json;charset=utf-8;q=0.0")
	for _, accept := range []string{"application/json;q=0.9", "text/html, */*", "Application/*", "application/json, */*;q=0"} {
		if code, _, _ := get(graph, accept); code != 200 {
			t.Errorf("%s: %d", accept, code)
		}
	}
	if code, body, _ := get("/v1/graph?channel=stable-3.0"); code != 200 || !strings.Contains(body, `"nodes":[]`) {
		t.Errorf("%d, %s", code, body)
	}
	write(key, 2, "2.0.0", "2.1.0", "2.1.1")
	if _, body, _ := get(graph); !strings.Contains(body, `"2.1.1"`) {
		t.Errorf("what is new is not seen: %s", body)
	}
	write(key, 2, "2.0.0", "2.1.0", "2.1.9")
	refused("another one of that serial", graph, 503, "no_lifecycle")
	write(key, 3, "2.0.0", "2.1.0", "2.1.9", "2.1.10")
	refused("one behind that", graph, 503, "no_lifecycle")
	write(key, 2, "2.0.0", "2.1.0", "2.1.1")
	if code, _, _ := get(graph); code != 200 {
		t.Errorf("the one that was here before: %d", code)
	}
	was := sums[2]
	write(stranger, 3, "2.0.0", "9.9.9")
	refused("another's key", graph, 503, "no_lifecycle")
	write(key, 1, "2.0.0", "2.1.0", "2.2.0")
	refused("an older one", graph, 503, "no_lifecycle")
	sums[2] = was
	write(key, 3, "2.0.0", "2.1.0", "2.1.1", "2.1.2")
	if code, body, _ := get(graph); code != 200 || !strings.Contains(body, `"2.1.2"`) {
		t.Errorf("%d, %s", code, body)
	}
	must(t, os.WriteFile(file, []byte("{}"), 0o600))
	refused("damaged", graph, 503, "no_lifecycle")

	// Without one there is nothing.
	none := httptest.NewServer(serve.New(serve.Options{Root: t.TempDir()}).Handler())
	defer none.Close()
	for _, p := range []string{graph, "/lifecycle.json"} {
		res, err := http.Get(none.URL + p)
		must(t, err)
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", p, res.StatusCode)
		}
	}
}
