package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// life is the lifecycle of a platform, read again whenever its file has changed.
type life struct {
	file string
	keys []signature.PublicKey // by one of which it must be signed

	mu    sync.Mutex
	seen  [2]state // of the file and of its signature
	known bool
	is    lifecycle.Lifecycle
	docs  map[string]document // by path
	sum   artifact.Digest     // of the file
	size  int                 // of the graphs among docs, in bytes
	today *outlook            // nil until somebody asks
	err   error
}

// maxBundle bounds the signature of a lifecycle, in bytes.
const maxBundle = 1 << 20

// read has it be what the file says now.
func (f *life) read() error {
	var now [2]state
	for i, name := range []string{f.file, f.file + signature.Suffix} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		now[i] = stateOf(info)
	}
	if f.known && now == f.seen {
		return f.err
	}
	b, err := bounded.File(f.file, lifecycle.MaxSize)
	var signed []byte
	if err == nil {
		signed, err = bounded.File(f.file+signature.Suffix, maxBundle)
	}
	if err == nil {
		err = f.verify(b, signed)
	}
	var is lifecycle.Lifecycle
	if err == nil {
		is, err = lifecycle.Decode(b)
	}
	sum := artifact.Sum(b)
	if err == nil && f.docs != nil {
		err = f.follows(is, sum)
	}
	f.seen, f.known, f.err = now, true, err
	if err != nil {
		return err
	}
	f.is, f.sum, f.size = is, sum, 0
	f.docs = map[string]document{lifecyclePath: newDocument("application/json", b), lifecyclePath + signature.Suffix: newDocument("application/json", signed)}
	return nil
}

// follows says why a lifecycle does not come behind the one that was here before.
func (f *life) follows(is lifecycle.Lifecycle, sum artifact.Digest) error {
	switch {
	case is.Serial < f.is.Serial:
		return fmt.Errorf("serial %d is older than %d, which was here before", is.Serial, f.is.Serial)
	case is.Serial == f.is.Serial && sum != f.sum:
		return fmt.Errorf("another file of serial %d was here before: %s, and this is %s", is.Serial, f.sum.Short(), sum.Short())
	case is.Serial == f.is.Serial+1 && is.Prev != f.sum:
		return fmt.Errorf("serial %d names %s as the one before it, and %s was here", is.Serial, is.Prev.Short(), f.sum.Short())
	}
	return nil
}

func (f *life) verify(b, signed []byte) error {
	bundle, err := signature.ParseBundle(signed)
	if err != nil {
		return err
	}
	return signature.VerifyBlobBy(bundle, b, f.keys)
}

// Where a lifecycle is.
const (
	lifecyclePath = "/" + lifecycle.FileName
	graphPath     = "/v1/graph"
	// graphPathOf is where clients of OpenShift are told to look.
	graphPathOf = "/api/upgrades_info/v1/graph"
)

// isPlatform reports whether a path is one of what people read of a platform, or of the same for programs.
func isPlatform(p string) bool { return p == supportPath || strings.HasPrefix(p, platformsPath) }

// isLife reports whether a path is one of a lifecycle.
func (s *Server) isLife(p string) bool {
	return s.life != nil && (p == graphPath || p == graphPathOf || p == lifecyclePath || p == lifecyclePath+signature.Suffix || isPlatform(p))
}

// showLife answers with the lifecycle, or with the graph of upgrades that follows from it. While it cannot be read, or is signed by nobody
// who may, there is none: clients then stay where they are.
func (s *Server) showLife(w *response, r *http.Request) error {
	graph := r.URL.Path == graphPath || r.URL.Path == graphPathOf
	refuse := func(code int, kind, value string) error {
		if !graph {
			return status{code, value}
		}
		b, err := json.Marshal(map[string]string{"kind": kind, "value": value})
		if err != nil {
			return err
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			_, _ = w.Write(append(b, '\n')) // an error is that of a client that is gone
		}
		return nil
	}
	if graph && !takesJSON(r.Header["Accept"]) {
		return refuse(http.StatusNotAcceptable, "invalid_content_type", "the graph is application/json, and that is not accepted")
	}
	channel := ""
	if graph {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || len(q["channel"]) != 1 {
			return refuse(http.StatusBadRequest, "missing_params", "name one channel, as in ?channel=stable-2.1")
		}
		channel = q.Get("channel")
		if _, err := (lifecycle.Lifecycle{}).Graph(channel); err != nil {
			return refuse(http.StatusBadRequest, "invalid_params", err.Error())
		}
	}
	d, err := s.life.document(r.URL.Path, graph, channel)
	if err != nil {
		s.log.Warn("the lifecycle cannot be shown", "error", err.Error())
		return refuse(http.StatusServiceUnavailable, "no_lifecycle", "what is known of the releases cannot be read just now, or is not signed as it should be")
	}
	return d.serve(w, r)
}

// document is the file, its signature, or the graph of a channel.
func (f *life) document(p string, graph bool, channel string) (document, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.read(); err != nil {
		return document{}, err
	}
	if !graph {
		return f.docs[p], nil
	}
	key := graphPath + "?" + channel
	if d, ok := f.docs[key]; ok {
		return d, nil
	}
	g, err := f.is.Graph(channel)
	if err != nil {
		return document{}, err
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(g); err != nil {
		return document{}, err
	}
	d := newDocument("application/json", b.Bytes())
	if f.size += b.Len(); f.size > maxGraphs || len(f.docs) > maxChannels {
		maps.DeleteFunc(f.docs, func(key string, _ document) bool { return strings.HasPrefix(key, graphPath) })
		f.size = b.Len()
	}
	f.docs[key] = d
	return d, nil
}

// Bounds of the graphs that are kept. One that is larger by itself is kept alone: each answer that is under way has it in memory anyway.
const (
	maxGraphs   = 64 << 20 // bytes
	maxChannels = 200
)

// takesJSON reports whether a client takes an answer in JSON: also one that says nothing of it.
func takesJSON(accepts []string) bool {
	return len(accepts) == 0 || takes(strings.Join(accepts, ","), "*/*", "application/*", "application/json")
}
