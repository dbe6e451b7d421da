package serve_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/serve"
)

// nowhere takes an answer.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// BenchmarkAnswers is what the server adds to net/http.
func BenchmarkAnswers(b *testing.B) {
	defer serve.Grain(0)()
	root := b.TempDir()
	write(b, filepath.Join(root, "1.2.3"), verifytest.Options{})
	h := serving(b, root, serve.Options{Rescan: time.Hour})
	const file = "/releases/hello/1.2.3/files/SHA256SUMS"
	for name, r := range map[string]*http.Request{
		"index": newRequest("/"), "file": newRequest(file), "304": newRequest(file, "If-None-Match", get(h, file).Header().Get("ETag")),
		"page": newRequest("/releases/hello/1.2.3/"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(&nowhere{http.Header{}}, r)
			}
		})
	}
}
