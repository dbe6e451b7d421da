package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve/environments"
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
	// The further ones are there with a release store.
	routeEnvironment route = "environment"
	routeGit         route = "git"
	routeRegistry    route = "registry"
	routeAPI         route = "api"
	routeEvents      route = "events"
	routeState       route = "state" // a page about the store
	routeScript      route = "script"
	routeMetrics     route = "metrics"
	routeOther       route = "other"
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
	errGreedy   = status{http.StatusTooManyRequests, "too many requests at once from your address; try again when one has ended"}
	errChanging = status{http.StatusServiceUnavailable, "this release is being replaced; try again"}
	errStarting = status{http.StatusServiceUnavailable, "the releases are being read; try again"}
	errDamaged  = status{http.StatusInternalServerError, "this file is damaged: it is not the one that its release lists"}
	errInternal = status{http.StatusInternalServerError, "this could not be answered"}
)

func (s *Server) serveHTTP(rw http.ResponseWriter, r *http.Request) {
	start := time.Now()
	name, parts := s.find(r.Host, r.URL.Path)
	s.metrics.inFlight.Add(1)
	w := &response{ResponseWriter: rw, control: http.NewResponseController(rw), timeout: s.options.WriteTimeout}
	defer func() {
		s.metrics.inFlight.Add(-1)
		took := time.Since(start)
		s.metrics.observe(name, w.code(), w.bytes, took)
		level := slog.LevelInfo
		if name.probe() {
			level = slog.LevelDebug
		}
		if ctx := context.WithoutCancel(r.Context()); s.log.Enabled(ctx, level) {
			s.access(ctx, level, r.Method, name, r.URL.EscapedPath(), w.code(), w.bytes, took, r.RemoteAddr, r.UserAgent())
		}
	}()

	h := w.Header()
	always(h)
	if err := s.answer(w, r, name, parts); err != nil {
		var answer status
		if !errors.As(err, &answer) {
			answer = errInternal
			s.log.LogAttrs(r.Context(), slog.LevelError, "answering", slog.String("path", clip(r.URL.EscapedPath())), slog.String("error", err.Error()))
		}
		if answer.code == http.StatusServiceUnavailable || answer.code == http.StatusTooManyRequests {
			h.Set("Retry-After", "1")
		}
		// Who reads it in a browser is led back. It is kept by nobody, so that others get the words alone.
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			if d, err := s.problemPage(r, answer.code, answer.text); err == nil {
				h.Set("Content-Type", d.kind)
				w.WriteHeader(answer.code)
				_, _ = w.Write(d.body)
				return
			}
		}
		http.Error(w, answer.text, answer.code)
	}
}

// always sets what goes with every answer.
func always(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentSecurityPolicy)
}

func (s *Server) answer(w *response, r *http.Request, name route, parts []string) error {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && (r.Method != http.MethodPost || name != routeGit):
		w.Header().Set("Allow", "GET, HEAD")
		return status{http.StatusMethodNotAllowed, "only GET and HEAD are answered here"}
	case len(r.URL.EscapedPath())+len(r.URL.RawQuery) > maxURI:
		return status{http.StatusRequestURITooLong, "this address is too long"}
	case !plain(r.URL):
		return status{http.StatusBadRequest, "this path is not in its plain form"}
	}
	c := connOf(r.Context())
	if c != nil && c.laned {
		w.Header().Set("Connection", "close")
		if !name.probe() {
			return errBusy
		}
	}
	if s.isLife(r.URL.Path) {
		if err := s.enter(c); err != nil {
			return err
		}
		defer s.leave(c)
		if isPlatform(r.URL.Path) {
			return s.showPlatform(w, r)
		}
		return s.showLife(w, r)
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
	case routeEvents:
		return s.events(w, r, c)
	}
	shelf := s.library.current(r.Context()) // before the place is taken: many may wait, and none is slow
	if shelf == nil {
		return errStarting
	}
	if err := s.enter(c); err != nil {
		return err
	}
	defer s.leave(c)
	err := s.show(w, r, shelf, name, parts)
	if errors.Is(err, errChanging) {
		s.library.expire()
		err = s.show(w, r, s.library.current(r.Context()), name, parts)
	}
	return err
}

// enter takes one of the places for requests, which leave gives back.
func (s *Server) enter(c *conn) error {
	if c != nil && !c.begin() {
		return errGreedy
	}
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	if c != nil {
		c.end()
	}
	return errBusy
}

func (s *Server) leave(c *conn) {
	<-s.slots
	if c != nil {
		c.end()
	}
}

// show answers from what is on the shelf. With errChanging nothing has been sent.
func (s *Server) show(w *response, r *http.Request, shelf *shelf, name route, parts []string) error {
	switch name {
	case routeEnvironment, routeGit, routeRegistry, routeAPI, routeState, routeScript:
		return s.showSite(w, r, shelf, name, parts)
	case routeHome:
		return home(w, r, shelf)
	case routeLatest:
		return latest(w, r, shelf, parts[0], parts[1])
	case routeRelease:
		return s.showRelease(w, r, shelf, parts, "")
	case routeListing, routeLedger, routeIndex:
		d, err := shelf.document(name, 0)
		if err != nil {
			return err
		}
		return d.serve(w, r)
	}
	i, head, err := s.item(shelf, name, parts)
	if err != nil {
		return err
	}
	return s.file(w, r, i, head)
}

// document is what is written once for everybody. A page is one of the list.
func (s *shelf) document(name route, page int) (document, error) {
	switch name {
	case routeListing:
		return s.listing, nil
	case routeIndex:
		return s.index, nil
	case routeLedger:
		if s.history == nil || s.history.document.kind == "" {
			return document{}, errNotFound
		}
		return s.history.document, nil
	}
	if kept, ok := s.pages.Load(page); ok {
		return kept.(document), nil
	}
	d, err := homePage(s, "", page)
	if err == nil {
		s.pages.Store(page, d)
	}
	return d, err
}

// item is the file that is asked for, with what goes before it.
func (s *Server) item(shelf *shelf, name route, parts []string) (item, *heading, error) {
	if name == routeChart {
		c, ok := shelf.charts[parts[0]]
		if !ok {
			return item{}, nil, errNotFound
		}
		head, err := headingOf(c.file)
		return c, head, err
	}
	found, ok := shelf.byPath[parts[0]+"/"+parts[1]]
	if !ok {
		return item{}, nil, errNotFound
	}
	opened, err := s.library.contents(found)
	if err != nil {
		return item{}, nil, err
	}
	p := parts[2]
	if name == routeDownload {
		p = opened.flat[p]
	}
	f, ok := opened.files[p]
	if !ok {
		return item{}, nil, errNotFound
	}
	head, err := opened.heading(f)
	return item{found, f}, head, err
}

// showRelease answers with the page of a release, as one of an environment where that is named.
func (s *Server) showRelease(w *response, r *http.Request, shelf *shelf, parts []string, env string) error {
	found, ok := shelf.byPath[parts[0]+"/"+parts[1]]
	if !ok {
		return errNotFound
	}
	if len(parts) == 2 {
		redirect(w, http.StatusPermanentRedirect, url.PathEscape(parts[1])+"/")
		return nil
	}
	opened, err := s.library.contents(found)
	if err != nil {
		return err
	}
	page, err := s.releasePage(r, shelf, opened, env)
	if err != nil {
		return err
	}
	if s.options.URL == "" {
		w.Header().Set("Vary", "X-Forwarded-Proto")
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
	show := func() (document, error) { return shelf.document(routeHome, page) }
	if text != "" {
		show = func() (document, error) { return homePage(shelf, text, page) }
	}
	d, err := show()
	if err != nil {
		return err
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
	err := s.library.ready()
	if err == nil && s.site != nil {
		err = s.site.Ready()
	}
	if err != nil {
		return status{http.StatusServiceUnavailable, err.Error()}
	}
	return text(w, r, "ready\n")
}

func (s *Server) showMetrics(w *response, r *http.Request) error {
	var b bytes.Buffer
	s.metrics.write(&b)
	s.library.writeMetrics(&b)
	s.gate.writeMetrics(&b)
	s.writeSiteMetrics(&b)
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

	packed *environments.Packed // nil for one that is not compressed
}

func newDocument(kind string, body []byte) document {
	return document{kind, body, etag(artifact.Sum(body)), new(environments.Packed)}
}

// content is what is sent of the document, which is compressed for who takes that.
func (d document) content(packed bool) (b []byte, is bool) {
	if packed && d.mayPack() {
		if b := d.packed.Of(d.body); b != nil {
			return b, true
		}
	}
	return d.body, false
}

func (d document) mayPack() bool { return d.packed != nil && len(d.body) >= environments.MinPacked }

func (d document) serve(w *response, r *http.Request) error {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Etag"] = []string{d.kind}, noCache, []string{d.etag}
	b, packed := d.content(takesGzip(strings.Join(r.Header["Accept-Encoding"], ",")))
	if packed {
		h["Content-Encoding"], h["Etag"] = []string{"gzip"}, []string{strings.TrimSuffix(d.etag, `"`) + `-gzip"`}
	}
	if d.mayPack() {
		h.Add("Vary", "Accept-Encoding")
	}
	return send(w, r, time.Time{}, &body{ReadSeeker: bytes.NewReader(b), bytes: b}, int64(len(b)))
}

// takesGzip reports whether a client says that it takes what is compressed with gzip
// (https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3). One that takes anything gets it as it is.
func takesGzip(accepts string) bool { return takes(accepts, "gzip") }

// takes reports whether a field such as Accept says that a client takes what is called by one of the names, which go from the general
// to the particular: the most particular one that the field has decides, and a weight of 0 is a no
// (https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2).
func takes(accepts string, names ...string) bool {
	decides, yes := 0, false
	for accept := range strings.SplitSeq(accepts, ",") {
		name, parameters, _ := strings.Cut(accept, ";")
		i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(strings.TrimSpace(name), n) })
		if i < decides {
			continue
		}
		decides, yes = i, true
		for p := range strings.SplitSeq(parameters, ";") {
			if weight, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
				yes = strings.Trim(weight, "0.") != ""
			}
		}
	}
	return yes
}

// etag is a strong validator: it is the same only where the bytes are
// (https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3).
func etag(d artifact.Digest) string { return `"` + string(d) + `"` }

// Values of Cache-Control.
var (
	noCache   = []string{"no-cache"} // keep it, and ask each time whether it is still so
	immutable = []string{"public, max-age=31536000, immutable"}
)

// heading is what goes before a file whatever is asked of it.
type heading struct {
	etag, digest, kind, disposition []string
}

func headingOf(f artifact.File) (*heading, error) {
	sum, err := hex.DecodeString(f.Digest.Hex())
	if err != nil {
		return nil, err
	}
	return &heading{
		etag:        []string{etag(f.Digest)},
		digest:      []string{"sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"}, // https://www.rfc-editor.org/rfc/rfc9530#section-3
		kind:        []string{mediaType(f.Path)},
		disposition: []string{mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(f.Path)})},
	}, nil
}

// heading is made once for each file that is asked for.
func (o *opened) heading(f artifact.File) (*heading, error) {
	if kept, ok := o.headings.Load(f.Path); ok {
		return kept.(*heading), nil
	}
	head, err := headingOf(f)
	if err == nil {
		o.headings.Store(f.Path, head)
	}
	return head, err
}

// file sends a file of a release, if it is the one that the release lists.
func (s *Server) file(w *response, r *http.Request, i item, head *heading) error {
	s.warn(w.Header(), i.release)
	b := &body{}
	if !unchanged(r, head.etag[0]) { // else who asks has the bytes, and gets none
		var err error
		if b, err = s.library.body(r.Context(), i); err != nil {
			return err
		}
		defer b.close()
		if b.file != nil {
			w.still = b.still
		}
	}
	h := w.Header()
	h["Content-Type"], h["Content-Disposition"], h["Etag"], h["Repr-Digest"] = head.kind, head.disposition, head.etag, head.digest
	h["Cache-Control"] = immutable
	if len(i.release.Unpublishable) > 0 {
		h["Cache-Control"] = noCache // its version does not stand for these bytes alone
	}
	return send(w, r, i.release.Time, b, i.file.Size)
}

// unchanged reports whether a request asks for nothing but whether the one thing that it has is still so.
func unchanged(r *http.Request, tag string) bool {
	have := r.Header["If-None-Match"]
	return len(have) == 1 && have[0] == tag && r.Header["If-Match"] == nil && r.Header["If-Unmodified-Since"] == nil
}

// send sends a body, or the ranges of it that the request asks for, or that it has not changed
// (https://www.rfc-editor.org/rfc/rfc9110#section-13). The headers of the answer are set.
func send(w *response, r *http.Request, modified time.Time, b *body, size int64) error {
	h := w.Header()
	switch {
	case unchanged(r, h["Etag"][0]):
		delete(h, "Content-Type")
		delete(h, "Content-Disposition")
		w.WriteHeader(http.StatusNotModified)
		return nil
	case strings.Count(r.Header.Get("Range"), ",") >= maxRanges:
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
		return status{http.StatusRequestedRangeNotSatisfiable, "too many ranges at once"}
	case b.bytes != nil && r.Method == http.MethodGet && !conditional(r):
		if !modified.IsZero() {
			h["Last-Modified"] = []string{modified.UTC().Format(http.TimeFormat)}
		}
		h["Accept-Ranges"], h["Content-Length"] = []string{"bytes"}, []string{strconv.Itoa(len(b.bytes))}
		_, _ = w.Write(b.bytes) // an error is that of a client that is gone
		return nil
	}
	if h["Content-Encoding"] != nil && r.Header["Range"] == nil {
		h["Content-Length"] = []string{strconv.FormatInt(size, 10)} // which ServeContent leaves out; WriteHeader takes it back from an error
	}
	http.ServeContent(w, r, "", modified, b.ReadSeeker)
	return nil
}

// conditional reports whether a request wants anything but all of the body.
func conditional(r *http.Request) bool {
	for _, name := range []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if r.Header[name] != nil {
			return true
		}
	}
	return false
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
func (s *Server) access(ctx context.Context, level slog.Level, method string, name route, path string, code int, sent int64, took time.Duration, remote, agent string) {
	s.log.LogAttrs(ctx, level, "request",
		slog.String("method", clip(method)), slog.String("route", string(name)), slog.String("path", clip(path)),
		slog.Int("status", code), slog.Int64("bytes", sent), slog.Duration("took", took),
		slog.String("remote", remote), slog.String("agent", clip(agent)))
}

// clip shortens what a client may make long.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
