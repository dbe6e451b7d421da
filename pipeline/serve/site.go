package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/serve/environments"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// find returns the route of a path at a host, and the parts of it that vary. What a release store has takes the place of what the
// folder has: the list of releases, which is at / elsewhere, is at /releases.
func (s *Server) find(host, p string) (route, []string) {
	if s.site == nil {
		return find(p)
	}
	env := s.environmentAt(host)
	if env != "" && ofEnvironment(p) {
		return routeOf(p[1:]), []string{env, p[1:]}
	}
	switch p {
	case "/", "/timeline":
		return routeState, []string{p[1:]}
	case "/releases":
		if s.options.Root == "" {
			return routeOther, nil
		}
		return routeHome, nil
	case "/live.js":
		return routeScript, nil
	case "/api/v1/events":
		return routeEvents, nil
	case "/v2", "/v2/":
		return routeRegistry, []string{"", ""}
	}
	if rest, ok := strings.CutPrefix(p, "/environments/"); ok {
		if name, rest, ok := strings.Cut(rest, "/"); ok && name != "" {
			return routeOf(rest), []string{name, rest}
		}
		return routeOther, nil
	}
	for prefix, name := range map[string]route{"/v2/": routeRegistry, "/api/v1/": routeAPI} {
		if rest, ok := strings.CutPrefix(p, prefix); ok {
			return name, []string{env, rest}
		}
	}
	if strings.HasPrefix(p, "/c/") {
		return routeState, []string{p[1:]}
	}
	name, parts := find(p)
	if s.options.Root == "" && !name.probe() && name != routeRobots {
		return routeOther, nil
	}
	return name, parts
}

// routeOf is the route of what is below an environment.
func routeOf(p string) route {
	if environments.IsGit(p) {
		return routeGit
	}
	return routeEnvironment
}

// environmentAt is the environment that has a host for itself, "" for none.
func (s *Server) environmentAt(host string) string {
	if len(s.options.Hostnames) == 0 {
		return ""
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.Contains(host[i:], "]") {
		host = host[:i]
	}
	return s.options.Hostnames[strings.TrimSuffix(strings.ToLower(host), ".")]
}

// ofEnvironment tells what is an environment's own where it has a host.
func ofEnvironment(p string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	return slices.Contains([]string{"", "charts", "releases", "install.sh", "metadata", "targets", "dists", "rpm", "apk", "packages.asc", "tap.git", "scoop.git"}, first)
}

// inside is what a request asks for where no environment has a host for itself.
func (s *Server) inside(host, target []byte) []byte {
	env := s.environmentAt(string(host))
	if env == "" || !ofEnvironment(string(target)) {
		return target
	}
	return []byte("/environments/" + env + string(target))
}

// siteAnswers are the answers that are ready while neither the folder nor the store has moved on.
type siteAnswers struct {
	mark any
	answers
}

func (s *Server) siteAnswers() *answers {
	mark := s.site.Mark()
	if kept := s.docs.Load(); kept != nil && kept.mark == mark {
		return &kept.answers
	}
	fresh := &siteAnswers{mark: mark}
	s.docs.Store(fresh)
	return &fresh.answers
}

// siteDocument is a document of an environment that many ask for.
func (s *Server) siteDocument(parts []string) (document, bool) {
	if parts[1] != "charts/index.yaml" {
		return document{}, false
	}
	a, err := s.site.Environment(context.Background(), parts[0], environments.Request{Path: parts[1]})
	return document{a.Kind, a.Body, a.ETag, a.Packed}, err == nil && a.Code == 0
}

// showSite answers with what the release store says.
func (s *Server) showSite(w *response, r *http.Request, shelf *shelf, name route, parts []string) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return status{http.StatusBadRequest, "what stands behind the ? cannot be read"}
	}
	asked := environments.Request{Query: q, Up: strings.Repeat("../", strings.Count(r.URL.Path, "/")-1)}
	if len(parts) > 0 {
		asked.Path = parts[len(parts)-1]
	}
	var a environments.Answer
	switch name {
	case routeGit:
		a, err = s.site.Recipes(r.Context(), parts[0], parts[1], environments.Git{
			Method: r.Method, Protocol: r.Header.Get("Git-Protocol"), Encoding: r.Header.Get("Content-Encoding"), Service: q.Get("service"), Body: r.Body,
		})
	case routeScript:
		a = s.site.Live()
	case routeState:
		a, err = s.site.Page(r.Context(), asked)
	case routeAPI:
		a, err = s.site.API(r.Context(), asked)
	case routeRegistry:
		a, err = s.site.Registry(r.Context(), parts[0], asked)
	case routeEnvironment:
		if base := s.base(r); base != "" {
			asked.Base = base + strings.TrimSuffix(r.URL.Path, asked.Path)
		}
		a, err = s.site.Environment(r.Context(), parts[0], asked)
	}
	if err != nil {
		if code := environments.Code(err); code < http.StatusInternalServerError || code == http.StatusServiceUnavailable {
			return status{code, err.Error()}
		}
		return err
	}
	env := ""
	if len(parts) > 0 {
		env = parts[0]
	}
	return s.sendAnswer(w, r, shelf, a, env)
}

// scripted is contentSecurityPolicy for a page that has the one script, which asks this server what has changed.
var scripted = contentSecurityPolicy + "; script-src 'self'; connect-src 'self'"

func (s *Server) sendAnswer(w *response, r *http.Request, shelf *shelf, a environments.Answer, env string) error {
	h := w.Header()
	for name, value := range a.Header {
		h.Set(name, value)
	}
	if a.Script {
		h.Set("Content-Security-Policy", scripted)
	}
	if a.Volatile {
		h.Set("Cache-Control", "no-store")
	}
	switch {
	case a.Release != nil && a.File == "":
		is := a.Release.(held)
		return s.showRelease(w, r, shelf, []string{is.Name, is.Version.String(), ""}, env)
	case a.Release != nil:
		return s.sendFile(w, r, a)
	case a.Location != "":
		redirect(w, a.Code, a.Location)
		return nil
	case a.Code >= http.StatusBadRequest:
		h.Set("Content-Type", a.Kind)
		w.WriteHeader(a.Code)
		if r.Method != http.MethodHead {
			_, _ = w.Write(a.Body) // an error is that of a client that is gone
		}
		return nil
	}
	if a.Write != nil {
		h.Set("Content-Type", a.Kind)
		return a.Write(w)
	}
	if a.Volatile {
		h.Set("Content-Type", a.Kind)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.Body))
		return nil
	}
	d := document{a.Kind, a.Body, a.ETag, a.Packed}
	if d.etag == "" {
		d.etag = etag(artifact.Sum(a.Body))
	}
	return d.serve(w, r)
}

// sendFile sends a file of a release. One of which a media type is said is content and no download.
func (s *Server) sendFile(w *response, r *http.Request, a environments.Answer) error {
	is := a.Release.(held)
	opened, err := is.library.contents(is.release)
	if err != nil {
		return err
	}
	f, ok := opened.files[a.File]
	if !ok {
		return errNotFound
	}
	head, err := opened.heading(f)
	if err != nil {
		return err
	}
	if a.Kind != "" {
		head = &heading{head.etag, head.digest, []string{a.Kind}, nil}
	}
	return s.file(w, r, item{is.release, f}, head)
}

// beat is how often a stream of events says that it is still there.
const beat = 15 * time.Second

// events sends a stream of events, which takes none of the places for requests and is one of those of its client.
func (s *Server) events(w *response, r *http.Request, c *conn) error {
	if len(r.URL.RawQuery) > 0 {
		return status{http.StatusBadRequest, "there are no parameters"}
	}
	if r.Method == http.MethodHead {
		return status{http.StatusMethodNotAllowed, "only GET is answered here"}
	}
	if c != nil {
		if !c.begin() {
			return errGreedy
		}
		defer c.end()
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	// Nothing more is read of the request, and the time for that is no time for the answer.
	if err := w.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	h := w.Header()
	err := s.site.Events(ctx, beat, func(b []byte) error {
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no") // of nginx: a piece is sent when it is there
		if _, err := w.Write(b); err != nil {
			return err
		}
		return w.control.Flush()
	})
	if err != nil {
		return status{environments.Code(err), err.Error()}
	}
	return nil
}

func (s *Server) writeSiteMetrics(b *bytes.Buffer) {
	if s.site == nil {
		return
	}
	for _, m := range s.site.Metrics() {
		if m.Help != "" {
			family(b, m.Name, m.Kind, m.Help)
		}
		fmt.Fprintf(b, "%s%s %g\n", m.Name, m.Labels, m.Value)
	}
}

// folder is the folder of releases for environments.
type folder struct{ library *library }

func (f folder) Mark() int64 { return f.library.changes.Load() }

func (f folder) Find(component, version string, manifest artifact.Digest) environments.Release {
	s := f.library.shelf.Load()
	if s == nil {
		return nil
	}
	r := s.byPath[component+"/"+version]
	if r == nil || r.digest != manifest {
		return nil
	}
	return held{r, f.library}
}

// held is a release of the folder.
type held struct {
	*release
	library *library
}

func (h held) Charts() []environments.Chart {
	var all []environments.Chart
	for _, c := range h.release.charts {
		all = append(all, environments.Chart{Name: c.Name, Version: c.Version, Path: c.file.Path, Digest: c.file.Digest, Created: h.Time, Metadata: c.metadata})
	}
	return all
}

func (h held) File(name string, flat bool) (string, error) {
	opened, err := h.library.contents(h.release)
	if err != nil {
		return "", err
	}
	if flat {
		name = opened.flat[name]
	}
	if _, ok := opened.files[name]; !ok {
		return "", nil
	}
	return name, nil
}

// layouts are the folders of a release with layouts of images.
var layouts = []string{"images", signature.LayoutDir}

func (h held) Blob(d artifact.Digest) (string, error) {
	if _, ok := slices.BinarySearch(h.blobs, beginning(d.Hex())); !ok {
		return "", nil
	}
	for _, layout := range layouts {
		if p, err := h.File(layout+"/blobs/sha256/"+d.Hex(), false); p != "" || err != nil {
			return p, err
		}
	}
	return "", nil
}

func (h held) Text(ctx context.Context, p string, limit int64) ([]byte, error) {
	opened, err := h.library.contents(h.release)
	if err != nil {
		return nil, err
	}
	return h.library.text(ctx, item{h.release, opened.files[p]}, limit)
}

func (h held) Script() (string, artifact.Digest) { return h.script.Path, h.script.Digest }

func (h held) Recipes(goes string) map[string]string {
	all := map[string]string{}
	for _, r := range h.recipes {
		if r.goes == goes {
			all[r.at] = r.path
		}
	}
	return all
}

func (h held) Differences(ctx context.Context, before environments.Release) (all []environments.Difference, same []string, err error) {
	old, err := h.library.contents(before.(held).release)
	if err != nil {
		return nil, nil, err
	}
	now, err := h.library.contents(h.release)
	if err != nil {
		return nil, nil, err
	}
	h.library.describe(ctx, old)
	h.library.describe(ctx, now)
	differ, same := differences(old, now)
	for _, d := range differ {
		is := environments.Difference{Title: d.Title, More: d.More}
		for _, r := range d.Rows {
			is.Rows = append(is.Rows, environments.Row(r))
		}
		all = append(all, is)
	}
	return all, same, nil
}

// blobsOf are the beginnings of the digests of what is in the layouts of a release, in order: with them it is seen which release has
// a blob, without opening each.
func blobsOf(files map[string]artifact.File) []uint64 {
	var all []uint64
	for p := range files {
		if dir, name := path.Split(p); strings.HasSuffix(dir, "/blobs/sha256/") {
			all = append(all, beginning(name))
		}
	}
	slices.Sort(all)
	return all
}

// beginning are the first eight bytes of a digest in hexadecimal form; 0 for what is none.
func beginning(digits string) uint64 {
	b, err := hex.DecodeString(digits[:min(16, len(digits))])
	if err != nil || len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
