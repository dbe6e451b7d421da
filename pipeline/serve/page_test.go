package serve_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
)

func base64Of(t *testing.T, d artifact.Digest) string {
	t.Helper()
	b, err := hex.DecodeString(d.Hex())
	must(t, err)
	return base64.StdEncoding.EncodeToString(b)
}

// TestProblemPage asks for what is not there, as a browser and as a program.
func TestProblemPage(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), verifytest.Options{})
	h := serving(t, root, serve.Options{})
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for target, want := range map[string]struct {
		code int
		back string
	}{
		"/none":                  {http.StatusNotFound, `href="./"`},
		"/releases/hello/9.9.9/": {http.StatusNotFound, `href="../../../"`},
		"/releases/hello/1.2.3/files/none?<script>": {http.StatusNotFound, `href="../../../../"`},
		"/a//b": {http.StatusBadRequest, `href="../../"`},
	} {
		w := get(h, target, "Accept", browser)
		body := w.Body.String()
		if w.Code != want.code || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(body, want.back) || strings.Contains(body, "<script") {
			t.Errorf("%s: %d %v %s", target, w.Code, w.Header(), body)
		}
		if w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", target, w.Header())
		}
		for _, accept := range []string{"*/*", "application/json", "text/*"} {
			if w := get(h, target, "Accept", accept); w.Code != want.code || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || strings.Contains(w.Body.String(), "<") {
				t.Errorf("%s with %s: %d %v %s", target, accept, w.Code, w.Header(), w.Body)
			}
		}
	}
}

// TestScript puts markup wherever a release has room for text. It must arrive as text.
func TestScript(t *testing.T) {
	const script = `"'><script>alert(1)</script><img src=x onerror=alert(2)>`
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), verifytest.Options{
		Unpublishable: []string{script},
		ChartYAML:     "apiVersion: v2\nname: hello\nversion: 1.2.3\ndescription: |\n  " + script + "\nhome: javascript:alert(3)\n",
		EditManifest: func(r *manifest.Release) {
			r.Tag, r.Repository = script+"1.2.3", "javascript:alert(4)"
			r.Images[0].Repository, r.Images[0].Distro, r.Images[0].Tags = script, script, []string{script}
		},
	})
	write(t, filepath.Join(root, script[2:12]), verifytest.Options{Version: "2.0.0", EditManifest: func(r *manifest.Release) { r.Name = script }})
	h := serving(t, root, serve.Options{})
	for _, target := range []string{"/", "/releases/hello/1.2.3/"} {
		w := get(h, target)
		body := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s: %d, and the text is not there: %s", target, w.Code, body)
		}
		for _, live := range []string{"<script", "<img", `"javascript:`, "onerror=alert(2)>"} {
			if strings.Contains(body, live) {
				t.Errorf("%s has a live %s", target, live)
			}
		}
		policy := w.Header().Get("Content-Security-Policy")
		_, style, _ := strings.Cut(body, "<style>")
		style, _, ok := strings.Cut(style, "</style>")
		sum := sha256.Sum256([]byte(style))
		if want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'"; !ok || !strings.HasPrefix(policy, want) {
			t.Errorf("%s: the policy %q does not let the page's own style in", target, policy)
		}
		if strings.Contains(body, "style=") {
			t.Errorf("%s has an inline style, which the policy forbids", target)
		}
	}
	// A reader of YAML gets the text as it is.
	if index := get(h, "/charts/index.yaml").Body.String(); !strings.Contains(index, script) {
		t.Errorf("the index has lost the description:\n%s", index)
	}
}
