package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

// Bounds on a request.
const (
	maxURI    = 2048 // bytes of path and query
	maxRanges = 8
)

// A route is what a path asks for. Routes are also the labels of the metrics, so there is a fixed number of them.
type route string

const (
	routeHome    route = "home"
	routeRelease route = "release"
	routeFile    route = "file"
	// routeDownload has every file whose name is its own in one folder, as a release on GitHub has them: it is what an
	// install script fetches from.
	routeDownload route = "download"
	// routeLatest leads to the highest stable version, or to its files under the names of routeDownload.
	routeLatest  route = "latest"
	routeListing route = "releases.json"
	routeLedger  route = "ledger.jsonl"
	routeIndex   route = "chart-index"
	routeChart   route = "chart"
	routeRobots  route = "robots"
	routeHealth  route = "healthz"
	routeReady   route = "readyz"
	routeMetrics route = "metrics"
	routeOther   route = "other"
)

// probe tells routes that are answered however busy the server is.
func (r route) probe() bool { return r == routeHealth || r == routeReady || r == routeMetrics }

// find returns the route of a path and the parts of it that vary: the name, the version and the path of a file.
func find(p string) (route, []string) {
	switch p {
	case "/":
		return routeHome, nil
	case "/releases.json":
		return routeListing, nil
	case "/" + ledger.FileName:
		return routeLedger, nil
	case "/charts/index.yaml":
		return routeIndex, nil
	case "/robots.txt":
		return routeRobots, nil
	case "/healthz":
		return routeHealth, nil
	case "/readyz":
		return routeReady, nil
	case "/metrics":
		return routeMetrics, nil
	}
	if rest, ok := strings.CutPrefix(p, "/latest"); ok && (rest == "" || rest[0] == '/') {
		if file := strings.TrimPrefix(rest, "/"); !strings.Contains(file, "/") {
			return routeLatest, []string{"", file}
		}
	}
	if name, ok := strings.CutPrefix(p, "/charts/"); ok && !strings.Contains(name, "/") {
		return routeChart, []string{name}
	}
	if rest, ok := strings.CutPrefix(p, "/releases/"); ok {
		parts := strings.SplitN(rest, "/", 4)
		switch {
		case (len(parts) == 2 || len(parts) == 3) && parts[1] == "latest":
			return routeLatest, []string{parts[0], strings.Join(parts[2:], "")}
		case len(parts) == 4 && parts[2] == "files":
			return routeFile, []string{parts[0], parts[1], parts[3]}
		case len(parts) == 4 && parts[2] == "download" && !strings.Contains(parts[3], "/"):
			return routeDownload, []string{parts[0], parts[1], parts[3]}
		case len(parts) == 3 && parts[2] == "", len(parts) == 2:
			return routeRelease, parts
		}
	}
	return routeOther, nil
}

// status is the answer to a request that has none else. Its text is for people.
type status struct {
	code int
	text string
}

func (s status) Error() string { return s.text }

var (
	errNotFound = status{http.StatusNotFound, "there is nothing here"}
	errBusy     = status{http.StatusServiceUnavailable, "too many requests at once; try again"}
	errChanging = status{http.StatusServiceUnavailable, "this release is being replaced; try again"}
	errStarting = status{http.StatusServiceUnavailable, "the releases are being read; try again"}
	errDamaged  = status{http.StatusInternalServerError, "this file is not the one that its release lists"}
	errInternal = status{http.StatusInternalServerError, "this could not be answered"}
)

func (s *Server) serveHTTP(rw http.ResponseWriter, r *http.Request) {
	start := time.Now()
	name, parts := find(r.URL.Path)
	s.metrics.inFlight.Add(1)
	w := &response{ResponseWriter: rw, control: http.NewResponseController(rw), timeout: s.options.WriteTimeout}
	defer func() {
		s.metrics.inFlight.Add(-1)
		took := time.Since(start)
		s.metrics.observe(name, w.code(), w.bytes, took)
		s.access(r, name, w, took)
	}()

	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	if err := s.answer(w, r, name, parts); err != nil {
		var answer status
		if !errors.As(err, &answer) {
			answer = errInternal
			s.log.LogAttrs(r.Context(), slog.LevelError, "answering", slog.String("path", clip(r.URL.EscapedPath())), slog.String("error", err.Error()))
		}
		if answer.code == http.StatusServiceUnavailable {
			h.Set("Retry-After", "1")
		}
		http.Error(w, answer.text, answer.code)
	}
}

func (s *Server) answer(w *response, r *http.Request, name route, parts []string) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return status{http.StatusMethodNotAllowed, "only GET and HEAD are answered here"}
	}
	if len(r.URL.EscapedPath())+len(r.URL.RawQuery) > maxURI {
		return status{http.StatusRequestURITooLong, "this address is too long"}
	}
	if !plain(r.URL) {
		return status{http.StatusBadRequest, "this path is not in its plain form"}
	}
	if !name.probe() {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			return errBusy
		}
	}
	switch name {
	case routeHealth:
		return text(w, r, "ok\n")
	case routeReady:
		return s.ready(w, r)
	case routeMetrics:
		return s.showMetrics(w, r)
	case routeRobots:
		return text(w, r, "User-agent: *\nDisallow: /\n")
	case routeOther:
		return errNotFound
	}
	shelf := s.library.current()
	if shelf == nil {
		return errStarting
	}
	switch name {
	case routeHome:
		return home(w, r, shelf)
	case routeLatest:
		return latest(w, r, shelf, parts[0], parts[1])
	case routeListing:
		return shelf.listing.serve(w, r)
	case routeLedger:
		if h := shelf.history; h != nil && h.document.kind != "" {
			return h.document.serve(w, r)
		}
		return errNotFound
	case routeIndex:
		return shelf.index.serve(w, r)
	case routeChart:
		if c, ok := shelf.charts[parts[0]]; ok {
			return s.file(w, r, c)
		}
		return errNotFound
	}
	found, ok := shelf.byPath[parts[0]+"/"+parts[1]]
	if !ok {
		return errNotFound
	}
	if name == routeRelease && len(parts) == 2 {
		redirect(w, http.StatusPermanentRedirect, url.PathEscape(parts[1])+"/")
		return nil
	}
	opened, err := s.library.contents(found)
	if err != nil {
		return err
	}
	switch name {
	case routeFile, routeDownload:
		p := parts[2]
		if name == routeDownload {
			p = opened.flat[p]
		}
		if f, ok := opened.files[p]; ok {
			return s.file(w, r, item{found, f})
		}
		return errNotFound
	}
	page, err := releasePage(shelf, opened)
	if err != nil {
		return err
	}
	return page.serve(w, r)
}

// home shows a page of the list of releases.
func home(w *response, r *http.Request, shelf *shelf) error {
	q, page := r.URL.Query(), 1
	if text := q.Get("page"); text != "" {
		var err error
		if page, err = strconv.Atoi(text); err != nil {
			return errNotFound
		}
	}
	text := strings.TrimSpace(q.Get("q"))
	if kept, ok := shelf.pages.Load(page); ok && text == "" {
		return kept.(document).serve(w, r)
	}
	d, err := homePage(shelf, text, page)
	if err != nil {
		return err
	}
	if text == "" {
		shelf.pages.Store(page, d)
	}
	return d.serve(w, r)
}

// latest leads to the highest stable version of a project, "" for the only one that is here, or to one of its files. Where
// it leads to changes with the next release, so nothing keeps the answer.
func latest(w *response, r *http.Request, shelf *shelf, name, file string) error {
	up := strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)
	if name == "" {
		if len(shelf.latest) != 1 {
			return errNotFound
		}
		for name = range shelf.latest {
		}
	}
	found := shelf.latest[name]
	if found == nil {
		return errNotFound
	}
	to := up + "releases/" + link(found.key()) + "/"
	if file != "" {
		to += "download/" + url.PathEscape(file)
	}
	w.Header().Set("Cache-Control", "no-store")
	redirect(w, http.StatusFound, to)
	return nil
}

// redirect leads to another address, which is relative, so that it holds behind any prefix.
func redirect(w *response, code int, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(code)
}

// plain reports whether a path has one way only to be read: nothing in it is there to be cleaned, and no separator or
// dot is hidden behind an escape.
func plain(u *url.URL) bool {
	escaped := strings.ToLower(u.EscapedPath())
	for _, hidden := range []string{"%2e", "%2f", "%5c"} {
		if strings.Contains(escaped, hidden) {
			return false
		}
	}
	p := u.Path
	return strings.HasPrefix(p, "/") && (p == "/" || path.Clean(p) == strings.TrimSuffix(p, "/")) &&
		utf8.ValidString(p) && !strings.ContainsFunc(p, func(r rune) bool { return r == '\\' || unicode.IsControl(r) })
}

func (s *Server) ready(w *response, r *http.Request) error {
	if s.draining.Load() {
		return status{http.StatusServiceUnavailable, "shutting down"}
	}
	if err := s.library.ready(); err != nil {
		return status{http.StatusServiceUnavailable, err.Error()}
	}
	return text(w, r, "ready\n")
}

func (s *Server) showMetrics(w *response, r *http.Request) error {
	var b bytes.Buffer
	s.metrics.write(&b)
	s.library.writeMetrics(&b)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
	return nil
}

func text(w *response, r *http.Request, body string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	return nil
}

// document is an answer that is kept in memory.
type document struct {
	kind string // the media type
	body []byte
	etag string
}

func newDocument(kind string, body []byte) document {
	return document{kind, body, etag(artifact.Sum(body))}
}

func (d document) serve(w *response, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", d.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", d.etag)
	return content(w, r, time.Time{}, bytes.NewReader(d.body), int64(len(d.body)))
}

// etag is a strong validator: it is the same only where the bytes are
// (https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3).
func etag(d artifact.Digest) string { return `"` + string(d) + `"` }

// file sends a file of a release, if it is still of the release that was read.
func (s *Server) file(w *response, r *http.Request, i item) error {
	f, err := s.open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, err := hex.DecodeString(i.file.Digest.Hex())
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", mediaType(i.file.Path))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(i.file.Path)}))
	h.Set("ETag", etag(i.file.Digest))
	h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":") // https://www.rfc-editor.org/rfc/rfc9530#section-3
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if len(i.release.Unpublishable) > 0 {
		h.Set("Cache-Control", "no-cache") // its version does not stand for these bytes alone
	}
	return content(w, r, i.release.Time, f, i.file.Size)
}

// open opens a file of a release by way of the release's folder, so that one that was put in the place of another while
// it was served is not taken for it.
func (s *Server) open(i item) (*os.File, error) {
	root, err := os.OpenRoot(s.options.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.OpenRoot(i.release.dir)
	if errors.Is(err, fs.ErrNotExist) {
		s.library.expire()
		return nil, errChanging
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if seen, err := stamp(dir); err != nil || !same(seen, i.release.seen) {
		s.library.expire()
		return nil, errChanging
	}
	f, err := open(dir, i.file.Path)
	if err != nil {
		return nil, errDamaged
	}
	if info, err := f.Stat(); err != nil || info.Size() != i.file.Size {
		return nil, errors.Join(errDamaged, f.Close())
	}
	return f, nil
}

// content sends what can be read from body, or the ranges of it that the request asks for.
func content(w *response, r *http.Request, modified time.Time, body io.ReadSeeker, size int64) error {
	if ranges := r.Header.Get("Range"); strings.Count(ranges, ",") >= maxRanges {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
		return status{http.StatusRequestedRangeNotSatisfiable, "too many ranges at once"}
	}
	http.ServeContent(w, r, "", modified, body)
	return nil
}

// mediaType goes by the name alone, never by what the machine has registered.
func mediaType(name string) string {
	switch {
	case path.Base(name) == manifest.ChecksumsName, strings.HasSuffix(name, ".txt"):
		return "text/plain; charset=utf-8"
	case strings.HasSuffix(name, ".json"):
		return "application/json"
	case strings.HasSuffix(name, ".gz"), strings.HasSuffix(name, ".tgz"):
		return "application/gzip"
	case strings.HasSuffix(name, ".zip"):
		return "application/zip"
	}
	return "application/octet-stream"
}

// access writes the record of a request.
func (s *Server) access(r *http.Request, name route, w *response, took time.Duration) {
	level := slog.LevelInfo
	if name.probe() {
		level = slog.LevelDebug
	}
	ctx := context.WithoutCancel(r.Context())
	if !s.log.Enabled(ctx, level) {
		return
	}
	s.log.LogAttrs(ctx, level, "request",
		slog.String("method", clip(r.Method)), slog.String("route", string(name)), slog.String("path", clip(r.URL.EscapedPath())),
		slog.Int("status", w.code()), slog.Int64("bytes", w.bytes), slog.Duration("took", took),
		slog.String("remote", r.RemoteAddr), slog.String("agent", clip(r.UserAgent())))
}

// clip shortens what a client may make long.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
