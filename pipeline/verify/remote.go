package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Bounds on a release that is fetched.
const (
	maxDownload  = 64 << 30 // bytes of all files together
	maxSignature = 4 << 20  // bytes of a document of the layout of signatures that is not a bundle
	maxObjects   = 10_000   // signatures of images
	fetchers     = 8        // files at once, unless Options.Parallel says otherwise
	tries        = 3        // of a request that may work later
	maxPause     = 30 * time.Second
	patience     = time.Minute
	slowest      = 32 << 10 // bytes a second, below which a server is given up
	maxRedirects = 5
)

// firstPause is how long is waited before a second request, and twice as long before a third.
var firstPause = 500 * time.Millisecond

// IsURL reports whether what a person named is for URL and not for Dist.
func IsURL(s string) bool { return strings.Contains(s, "://") }

// URL checks the release below an http or https URL: release.json, SHA256SUMS and every file that the manifest lists
// are fetched from there, or from files/ below it, as the serve command has them, and the signatures beside them. They
// are put into a temporary folder, checked as Dist checks one, and removed.
//
// Exactly what the manifest, and the index of the signatures, name is asked for, and no more bytes of it than they
// announce; so what the server offers besides is not seen. What the server says is not there is missing in the report.
// Whatever else keeps a file from coming is a fault.Transient, or a fault.Credentials where the server requires some: none
// are ever sent. A redirect from https to http is not followed.
//
// A release on GitHub, https://github.com/owner/name/releases/tag/v1.2.3, has no folders: its files are found by the last
// part of their paths, and Options.Downloads is set.
func URL(ctx context.Context, address string, o Options) (Report, error) {
	dir, err := os.MkdirTemp("", "slipway-verify-*")
	if err != nil {
		return Report{}, fmt.Errorf("making room for the release: %w", err)
	}
	var report Report
	fetched, err := Fetch(ctx, address, dir, o)
	if err == nil {
		report, err = fetched.check(ctx, o)
	}
	if e := os.RemoveAll(dir); e != nil {
		err = errors.Join(err, fmt.Errorf("removing what was fetched: %w", e))
	}
	return report, err
}

// Fetched is a release that was brought from a server.
type Fetched struct {
	Dir       string
	Address   string // of the folder that has release.json
	Downloads bool   // for Options
}

func (f Fetched) check(ctx context.Context, o Options) (Report, error) {
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return Report{}, err
	}
	defer root.Close()
	o.Downloads = f.Downloads
	return verdict(ctx, root.FS(), f.Address, o)
}

// Fetch brings the release below an http or https URL into the folder dir, as URL does, and checks nothing. What is in dir
// from an earlier time and has the digest that release.json gives it is not fetched again.
func Fetch(ctx context.Context, address, dir string, o Options) (Fetched, error) {
	return fetch(ctx, address, dir, o, (*fetcher).release)
}

// Some is Fetch of release.json and of those files of it alone that are wanted. What the server does not have is not brought.
func Some(ctx context.Context, address, dir string, wanted func(manifest.Release, artifact.File) bool) (Fetched, error) {
	return fetch(ctx, address, dir, Options{}, func(f *fetcher, ctx context.Context, _ Options) error {
		rel, err := f.manifest(ctx)
		if err != nil || rel == nil {
			return err
		}
		var some []file
		for _, l := range rel.Files {
			if wanted(*rel, l) && l.Size <= maxDownload {
				some = append(some, file{l.Path, l.Size, l.Digest})
			}
		}
		return f.all(ctx, some)
	})
}

// fetch brings what work asks for.
func fetch(ctx context.Context, address, dir string, o Options, work func(*fetcher, context.Context, Options) error) (Fetched, error) {
	base, err := parseURL(address)
	if err != nil {
		return Fetched{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Fetched{}, err
	}
	defer root.Close()
	f := &fetcher{base: base, root: root, dir: dir, asked: map[string]bool{}, client: NewClient(), parallel: o.Parallel, flat: onGitHub.MatchString(base.Path)}
	if f.parallel <= 0 {
		f.parallel = fetchers
	}
	defer f.client.CloseIdleConnections()
	if err := work(f, ctx, o); err != nil {
		return Fetched{}, err
	}
	if err := f.prune(); err != nil {
		return Fetched{}, err
	}
	return Fetched{Dir: dir, Address: f.base.String(), Downloads: f.flat}, nil
}

// onGitHub matches the path under which GitHub has the files of a release
// (https://docs.github.com/repositories/releasing-projects-on-github/linking-to-releases).
var onGitHub = regexp.MustCompile(`^/[^/]+/[^/]+/releases/download/.+/$`)

// tagPage matches the page of a release on GitHub, which is what people copy from a browser.
var tagPage = regexp.MustCompile(`^(https?://[^/]+/[^/]+/[^/]+/releases)/tag/([^/?#]+)/?$`)

func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(tagPage.ReplaceAllString(address, "$1/download/$2/"))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return nil, fault.Errorf(fault.Usage, "%q is not a URL such as https://example.org/releases/tool/1.2.3/", redacted(address))
	case u.User != nil:
		return nil, fault.Errorf(fault.Usage, "%s: a release is fetched without a user and a password; take them out of the URL", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fault.Errorf(fault.Usage, "%s: the files of a release are found by adding their paths; take the ? or # out of the URL", u.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/"+manifest.FileName)
	u.Path = strings.TrimRight(u.Path, "/") + "/"
	u.RawPath = ""
	return u, nil
}

// redacted is an address that may be no URL, without what may be a password in it.
func redacted(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if i := strings.LastIndex(rest, "@"); ok && i >= 0 {
		return scheme + "://" + rest[i+1:]
	}
	return address
}

// NewClient follows redirects as a fetch of a release does: a few, and never from https to http or to a URL with a user.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // the bytes are what is checked
	transport.ResponseHeaderTimeout = patience
	transport.MaxIdleConnsPerHost = fetchers
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch last := via[len(via)-1].URL; {
			case len(via) > maxRedirects:
				return never("it redirects more than %d times", maxRedirects)
			case r.URL.Scheme != "https" && (r.URL.Scheme != "http" || last.Scheme == "https"):
				return never("it redirects from %s to %s, which is not followed", last.Scheme, r.URL.Scheme)
			case r.URL.User != nil:
				return never("it redirects to a URL with a user, which is not followed")
			}
			return nil
		},
	}
}

// final is an error that another try would not mend.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// never is the final error of what may not be followed.
func never(format string, args ...any) error {
	return final{fault.Errorf(fault.Mismatch, format, args...)}
}

type fetcher struct {
	base     *url.URL // ends in a slash
	root     *os.Root
	dir      string // the same
	asked    map[string]bool
	flat     bool // whether the server has no folders
	client   *http.Client
	parallel int
}

// manifest fetches release.json and reads it. One that cannot be read is nil, and left for the check to tell of.
func (f *fetcher) manifest(ctx context.Context) (*manifest.Release, error) {
	there, err := f.get(ctx, manifest.FileName, maxManifest)
	if err == nil && !there && !f.flat {
		shelf := f.base
		f.base = shelf.JoinPath("files/")
		if there, err = f.get(ctx, manifest.FileName, maxManifest); err == nil && !there {
			return nil, fault.Errorf(fault.Usage, "%s: there is no %s here, nor in files/ below; name the folder that has it, as in https://example.org/releases/tool/1.2.3/", shelf, manifest.FileName)
		}
	}
	if err == nil && !there {
		return nil, fault.Errorf(fault.Usage, "%s: this release of GitHub has no %s; one that slipway published does", f.base, manifest.FileName)
	}
	if err != nil {
		return nil, err
	}
	raw, err := f.root.ReadFile(manifest.FileName)
	if err != nil {
		return nil, err
	}
	rel, err := manifest.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, nil
	}
	return &rel, nil
}

// whole are what names all files of the release beside release.json, and the bundles over each if it is to be signed.
func whole(rel *manifest.Release, signed bool) []file {
	var out []file
	for _, name := range rel.ListNames() {
		out = append(out, file{path: name, size: maxManifest})
	}
	if signed {
		for _, name := range signature.Whole(*rel) {
			out = append(out, file{path: name, size: maxBundle})
		}
	}
	return out
}

// release fetches all that there is to check.
func (f *fetcher) release(ctx context.Context, o Options) error {
	rel, err := f.manifest(ctx)
	if err != nil || rel == nil {
		return err
	}
	if len(rel.Files) > maxEntries {
		return fault.Errorf(fault.Mismatch, "%s: it lists more than %d files", f.base, maxEntries)
	}
	signed := !o.AllowUnsigned && !o.HashesOnly
	more := whole(rel, signed)
	if signed && !f.flat {
		more = append(more, file{path: signature.LayoutDir + "/oci-layout", size: maxSignature},
			file{path: signature.LayoutDir + "/index.json", size: maxBundle})
	}
	if signed && rel.Provenance != "" {
		more = append(more, file{path: signature.AttestationPath(rel.Name, rel.Version.String()), size: maxBundle})
	}
	var wanted []file
	listed := map[string]bool{}
	var total int64
	for _, l := range rel.Files {
		listed[l.Path] = true
		if !f.flat || format.Offered(*rel, l) {
			wanted = append(wanted, file{l.Path, l.Size, l.Digest})
		}
		if l.Size > maxDownload || total+l.Size > maxDownload {
			return fault.Errorf(fault.Mismatch, "%s: it announces more than %d bytes", f.base, int64(maxDownload))
		}
		total += l.Size
	}
	for _, m := range more {
		if !listed[m.path] && artifact.CheckPath(m.path) == nil {
			wanted = append(wanted, m)
		}
	}
	if err := f.all(ctx, wanted); err != nil || !signed || f.flat {
		return err
	}
	return f.signatures(ctx)
}

// signatures follows the index of the signatures of images to their manifests, and these to their blobs.
func (f *fetcher) signatures(ctx context.Context) error {
	var index imageIndex
	f.decode(signature.LayoutDir+"/index.json", maxBundle, &index)
	manifests := f.blobs(index.Manifests, maxSignature)
	if len(manifests) > maxObjects {
		return fault.Errorf(fault.Mismatch, "%s: more than %d signatures of images", f.base, maxObjects)
	}
	if err := f.all(ctx, manifests); err != nil {
		return err
	}
	var blobs []descriptor
	for _, m := range manifests {
		var object imageManifest
		f.decode(m.path, maxSignature, &object)
		blobs = append(append(blobs, object.Config), object.Layers...)
	}
	found := f.blobs(blobs, maxBundle)
	var total int64
	for _, b := range found {
		total += b.size
	}
	if len(found) > 4*maxObjects || total > maxDownload {
		return fault.Errorf(fault.Mismatch, "%s: its signatures are larger than any release's", f.base)
	}
	return f.all(ctx, found)
}

// file is something to be fetched, with the bytes that it may have.
type file struct {
	path   string
	size   int64
	digest artifact.Digest // "" where it is not known
}

// blobs are the files of the descriptors, each once. Those with a size that no reader of signatures accepts stay out,
// and are missing in the check.
func (f *fetcher) blobs(ds []descriptor, limit int64) []file {
	var out []file
	seen := map[artifact.Digest]bool{}
	for _, d := range ds {
		if d.Digest == "" || d.Size < 0 || d.Size > limit || seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		out = append(out, file{signature.LayoutDir + "/blobs/sha256/" + d.Digest.Hex(), d.Size, d.Digest})
	}
	return out
}

// decode reads a document that was fetched, as far as it can be read: the check tells what is wrong with it.
func (f *fetcher) decode(name string, limit int64, into any) {
	if b, err := bounded.FS(f.root.FS(), name, limit); err == nil {
		_ = canonjson.DecodeOpen(b, into)
	}
}

// prune removes what is in the folder from an earlier time and was not asked for now.
func (f *fetcher) prune() error {
	return fs.WalkDir(f.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || name == manifest.FileName || f.asked[name] {
			return err
		}
		return f.root.Remove(name)
	})
}

// all fetches the files, several at once, until one fails.
func (f *fetcher) all(ctx context.Context, files []file) error {
	for _, w := range files {
		f.asked[w.path] = true
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan file)
	var workers sync.WaitGroup
	for range min(f.parallel, len(files)) {
		workers.Go(func() {
			for w := range queue {
				if f.has(w) {
					continue
				}
				if _, err := f.get(ctx, w.path, w.size); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, w := range files {
		if ctx.Err() != nil {
			break
		}
		queue <- w
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// has reports whether a file was brought before.
func (f *fetcher) has(w file) bool {
	name, ok := filepath.Join(f.dir, filepath.FromSlash(w.path)), w.digest != ""
	if info, err := f.root.Lstat(w.path); !ok || err != nil || !info.Mode().IsRegular() || info.Size() != w.size {
		return false
	}
	got, _, err := artifact.SumFile(name)
	return err == nil && got == w.digest
}

// get fetches one file of at most size bytes; of a longer one it keeps a byte more, by which the check knows. It tells
// whether the server has it.
func (f *fetcher) get(ctx context.Context, name string, size int64) (bool, error) {
	asked := name
	if f.flat {
		asked = path.Base(name)
	}
	u := f.base.JoinPath(escaped(asked))
	pause := firstPause
	for n := 1; ; n++ {
		there, wait, err := f.try(ctx, u, name, size)
		var last final
		switch {
		case err == nil:
			return there, nil
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case errors.As(err, &last):
			return false, fmt.Errorf("fetching %s: %w", u, last.error)
		case n == tries:
			return false, fault.Errorf(fault.Transient, "fetching %s: %w", u, err)
		}
		select {
		case <-time.After(min(max(pause, wait), maxPause)):
			pause *= 2
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// escaped is a path with every part escaped, for JoinPath.
func escaped(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// try asks once. It returns how long the server wants not to be asked again.
func (f *fetcher) try(ctx context.Context, u *url.URL, name string, size int64) (there bool, wait time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, patience+time.Duration(size/slowest)*time.Second)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return false, 0, final{fault.New(fault.Usage, err)}
	}
	resp, err := f.client.Do(r)
	if err != nil {
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return false, 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an earlier time
			return false, 0, final{err}
		}
		return false, 0, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return false, 0, final{fault.Errorf(fault.Credentials, "the server says %d; a release is fetched without credentials, so download it and name the folder", resp.StatusCode)}
	default:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return false, time.Duration(min(max(seconds, 0), 3600)) * time.Second, fmt.Errorf("the server says %d", resp.StatusCode)
	}
	return true, 0, f.keep(name, io.LimitReader(resp.Body, size+1))
}

// keep writes what was fetched.
func (f *fetcher) keep(name string, r io.Reader) error {
	local := func(err error) error { return final{fault.Errorf(fault.Transient, "keeping it: %w", err)} }
	if err := f.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return local(err)
	}
	w, err := f.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return local(err)
	}
	to := &writer{w: w}
	if _, err := io.Copy(to, r); err != nil && to.err == nil {
		return errors.Join(err, w.Close())
	}
	if err := errors.Join(to.err, w.Close()); err != nil {
		return local(err)
	}
	return nil
}

// writer remembers that it was the disk and not the server that failed.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}
