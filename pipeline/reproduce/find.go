package reproduce

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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// published is a release as it was found.
type published struct {
	where     string // for people
	dir       string // with its files
	rel       manifest.Release
	raw       []byte // release.json; nil for an image of a registry, which has none
	home      string // of the project whose place the release was found in; "" for a place of nobody in particular
	downloads bool   // dir has only what people download from a page
	image     *image // one image of a registry
	// seen are the digests of what is published, as it was before anything of the commit was run.
	seen map[string]artifact.Digest
}

// find brings what is published.
func (r *run) find(ctx context.Context) (published, error) {
	name := r.o.Release
	switch info, err := os.Stat(name); {
	case name == "":
		return published{}, fault.Errorf(fault.Usage, "no release is named: name a dist/ folder, a URL or a version")
	case strings.HasPrefix(name, ociScheme):
		return r.findImage(ctx, name)
	case verify.IsURL(name):
		return r.fetch(ctx, name)
	case err == nil && info.IsDir():
		return r.folder(name)
	}
	want, err := version.Parse(path.Base(name))
	if filepath.IsAbs(name) || strings.HasPrefix(name, ".") || err != nil && (strings.ContainsRune(name, filepath.Separator) || strings.Contains(name, "/")) {
		return published{}, fault.Errorf(fault.Usage, "%s: no such folder; name the dist/ folder of a release, a URL, a version or a tag", name)
	}
	if err != nil {
		return published{}, fault.Errorf(fault.Usage, "%q is neither a folder nor a URL nor a version such as v1.2.3", name)
	}
	list, err := Releases(ctx, r.o.From, r.o.environ)
	if err != nil {
		return published{}, err
	}
	from := r.o.From
	if from == "" {
		from = "the origin of this repository"
	}
	var found []Listed
	for _, l := range list {
		if l.Version == want.String() && (path.Dir(name) == "." || l.tagged(name)) {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return published{}, fault.Errorf(fault.Usage, "there is no release %s in %s, which has %d", strings.TrimPrefix(name, "v"), from, len(list))
	case 1:
	default:
		return published{}, fault.Errorf(fault.Usage, "%s has %s of %d projects; name its tag, its URL or its folder", from, want, len(found))
	}
	// The tag may lie elsewhere than the version says, and an older release under the name of a newer one is none.
	r.o.Verify.Version = want.String()
	if found[0].Folder != "" {
		return r.folder(found[0].Folder)
	}
	return r.fetch(ctx, found[0].URL)
}

// folder opens a release on this machine.
func (r *run) folder(name string) (published, error) {
	r.wants(filepath.Base(name))
	dir, err := filepath.EvalSymlinks(name)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return published{}, fault.New(fault.Usage, err)
	}
	return r.open(name, verify.Fetched{Dir: dir, Address: name, Downloads: r.o.Verify.Downloads})
}

// wants holds the release to the version that its place is called by: an older one there is another release, however well
// it is signed.
func (r *run) wants(name string) {
	if v, ok := versionOf(name); ok && r.o.Verify.Version == "" {
		r.o.Verify.Version = v
	}
}

// versionOf is the version in the name of a tag or of a folder: v1.2.3, tool-v1.2.3.
func versionOf(name string) (string, bool) {
	m := versionAtEnd.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	v, err := version.Parse(m[1])
	return v.String(), err == nil
}

var versionAtEnd = regexp.MustCompile(`(?:^|[/-])v?([0-9]+\.[0-9]+\.[0-9]+(?:[-+].*)?)$`)

func (o Options) environ(name string) string {
	for _, kv := range slices.Backward(o.Environ) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// fetch brings a release from a server.
func (r *run) fetch(ctx context.Context, address string) (published, error) {
	if u, err := url.Parse(address); err == nil {
		name, err := url.PathUnescape(path.Base(u.EscapedPath()))
		if err == nil {
			r.wants(name)
		}
	}
	// What is there from a run that ended early is kept where it is still what the manifest, which is asked for again, says.
	if err := os.MkdirAll(r.fetched, 0o700); err != nil {
		return published{}, err
	}
	fetched, err := verify.Fetch(ctx, address, r.fetched, r.o.Verify)
	if err != nil {
		return published{}, err
	}
	p, err := r.open(address, fetched)
	if m := repositoryPage.FindStringSubmatch(fetched.Address); m != nil && fetched.Downloads {
		p.home = m[1]
	}
	return p, err
}

// repositoryPage matches a release on GitHub, with the repository.
var repositoryPage = regexp.MustCompile(`^(https?://[^/]+/[^/]+/[^/]+)/releases/download/`)

// open reads the manifest of a release that is in a folder.
func (r *run) open(where string, f verify.Fetched) (published, error) {
	p := published{where: where, dir: f.Dir, downloads: f.Downloads}
	raw, err := readRegular(f.Dir, manifest.FileName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return p, fault.Errorf(fault.Usage, "%s has no %s; name the dist/ folder of a release", f.Dir, manifest.FileName)
	}
	if err != nil {
		return p, fmt.Errorf("reading release: %w", err)
	}
	p.raw = raw
	p.rel, err = manifest.Decode(strings.NewReader(string(raw)))
	if err != nil { // the check tells of it
		p.rel = manifest.Release{}
	}
	return p, nil
}

// Bounds on what is read from outside.
const (
	maxManifest = 16 << 20 // bytes of a manifest or a list of releases
	maxReleases = 10_000   // of one place
	patience    = time.Minute
	tries       = 3
)

// readFile reads a regular file of this machine.
func readFile(name string, limit int64) ([]byte, error) {
	return readRegular(filepath.Dir(name), filepath.Base(name), limit)
}

// openRegular opens a regular file below a folder, and nothing else: a link could lead anywhere, and a pipe would wait for a
// writer. At most limit bytes of it may be there.
func openRegular(dir, name string, limit int64) (*os.File, int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, err
	}
	defer root.Close()
	info, err := root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > limit {
		return nil, 0, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	f, err := root.Open(name)
	return f, info.Size(), err
}

func readRegular(dir, name string, limit int64) ([]byte, error) {
	f, _, err := openRegular(dir, name, limit)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := bounded.Read(f, limit)
	if bounded.IsTooLarge(err) {
		err = fmt.Errorf("%s has %w", name, err)
	}
	return b, err
}

// sumRegular is the digest of a regular file below a folder, as far as limit bytes and one more.
func sumRegular(dir, name string, limit int64) (artifact.Digest, error) {
	f, _, err := openRegular(dir, name, limit)
	if err != nil {
		return "", err
	}
	defer f.Close()
	meter := artifact.NewMeter(io.Discard)
	_, err = io.Copy(meter, io.LimitReader(f, limit+1))
	return meter.Digest(), err
}

// Listed is a release of a place.
type Listed struct {
	Name    string // "" where the list does not say
	Version string // "" where the list does not say
	Folder  string // one of these two
	URL     string
}

// Address is what Options.Release takes.
func (l Listed) Address() string { return l.Folder + l.URL }

// Of reports whether the release is the one of a project with a tag: by its name, or by the tag where the list has no names.
func (l Listed) Of(name, tag string) bool { return l.Name == name || l.Name == "" && l.tagged(tag) }

// tagged reports whether the release is the one of a tag that has a prefix, such as tool/v1.2.3: on GitHub its address has
// the tag, elsewhere its project is called by the prefix.
func (l Listed) tagged(tag string) bool {
	at, err := url.PathUnescape(strings.TrimSuffix(l.URL, "/"))
	return err == nil && strings.HasSuffix(at, "/"+tag) || l.Name == path.Dir(tag)
}

// Releases are the releases of a place, the oldest version first: of a folder of releases, of the server of slipway serve,
// or of a repository on GitHub, "" for the origin of the repository here. Of GitHub's those count that have a
// release.json. The environment may have GITHUB_TOKEN, which GitHub answers more often, and GITHUB_API_URL for one that is
// not github.com.
func Releases(ctx context.Context, from string, getenv func(string) string) ([]Listed, error) {
	if from == "" {
		origin, err := source.Remote(ctx, ".", "origin")
		if err != nil || origin == "" {
			return nil, fault.Errorf(fault.Usage, "nothing says where releases are: give --from a folder, the URL of a server or of a repository on GitHub")
		}
		if from = fromGit(origin); from == "" {
			return nil, fault.Errorf(fault.Usage, "the origin of this repository is not on GitHub; give --from a folder or the URL of a server")
		}
	}
	var list []Listed
	var err error
	switch u, bad := url.Parse(from); {
	case !verify.IsURL(from):
		list, err = inFolder(from)
	case bad != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fault.Errorf(fault.Usage, "--from %.200q is neither a folder nor a URL", from)
	default:
		list, err = onServer(ctx, u)
		if errors.Is(err, errNoServer) {
			list, err = onGitHub(ctx, u, getenv)
		}
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b Listed) int {
		v, errV := version.Parse(a.Version)
		w, errW := version.Parse(b.Version)
		if errV != nil || errW != nil {
			return strings.Compare(a.Version, b.Version)
		}
		if c := v.Compare(w); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, nil
}

// fromGit is the page of the repository that git fetches from, "" where it has none.
func fromGit(remote string) string {
	remote = strings.TrimSuffix(strings.TrimSuffix(remote, "/"), ".git")
	if at, ok := strings.CutPrefix(remote, "git@"); ok { // git@github.com:owner/name
		host, name, _ := strings.Cut(at, ":")
		return "https://" + host + "/" + name
	}
	u, err := url.Parse(remote)
	if err != nil || u.Host == "" {
		return ""
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Scheme + "://" + u.Host + u.Path
	}
	return "https://" + u.Hostname() + u.Path
}

// inFolder lists a folder of releases: one dist/, or <version>/ or <name>/<version>/ as slipway serve has them.
func inFolder(root string) ([]Listed, error) {
	top, err := filepath.EvalSymlinks(root)
	if info, e := os.Stat(top); err != nil || e != nil || !info.IsDir() {
		return nil, fault.Errorf(fault.Usage, "%s: no such folder of releases", root)
	}
	root = top
	var list []Listed
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("listing releases: %w", err)
		}
		if !e.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if rel != "." && (strings.HasPrefix(e.Name(), ".") || strings.Count(filepath.ToSlash(rel), "/") > 1) {
			return fs.SkipDir
		}
		raw, err := readFile(filepath.Join(name, manifest.FileName), maxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		l := Listed{Version: e.Name(), Folder: name} // one that cannot be read is reproduced, too, and fails
		if err == nil {
			if m, err := manifest.Decode(strings.NewReader(string(raw))); err == nil {
				l.Name, l.Version = m.Name, m.Version.String()
			}
		}
		if list = append(list, l); len(list) > maxReleases {
			return fault.Errorf(fault.Usage, "%s has more than %d releases", root, maxReleases)
		}
		return fs.SkipDir
	})
	return list, err
}

var errNoServer = errors.New("no slipway serve")

// onServer lists what slipway serve has.
func onServer(ctx context.Context, at *url.URL) ([]Listed, error) {
	doc := at.JoinPath("releases.json")
	b, err := get(ctx, doc.String(), maxManifest, nil)
	if isStatus(err, http.StatusNotFound) {
		return nil, errNoServer
	}
	if err != nil {
		return nil, err
	}
	var said struct {
		Releases []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Path    string `json:"path"`
		} `json:"releases"`
	}
	if err := canonjson.DecodeOpen(b, &said); err != nil {
		return nil, fault.Errorf(fault.Transient, "%s: reading the list of releases: %w", doc, err)
	}
	if len(said.Releases) > maxReleases {
		return nil, fault.Errorf(fault.Usage, "%s lists more than %d releases", doc, maxReleases)
	}
	var list []Listed
	for _, s := range said.Releases {
		rel, err := url.Parse(s.Path)
		if err != nil || rel.IsAbs() || rel.Host != "" { // a server speaks for itself alone
			return nil, fault.Errorf(fault.Mismatch, "%s: %.200q is not a path below it", doc, s.Path)
		}
		list = append(list, Listed{Name: s.Name, Version: s.Version, URL: doc.ResolveReference(rel).String()})
	}
	return list, nil
}

// onGitHub lists the releases of a repository (https://docs.github.com/rest/releases/releases#list-releases).
func onGitHub(ctx context.Context, page *url.URL, getenv func(string) string) ([]Listed, error) {
	repo, err := github.ParseRepo(strings.Trim(page.Path, "/"))
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "%s: neither a slipway serve nor a repository on GitHub is here", page)
	}
	api, own := github.APIOf(page, getenv)
	ask := asker{limit: maxManifest}
	if token := getenv("GITHUB_TOKEN"); token != "" && own {
		ask.authorization = "Bearer " + token
	}
	client, err := github.New(github.Options{
		HTTP: ask, API: api, MaxAnswer: maxManifest, Fault: func(err error) error { return fault.Or(err, fault.Transient) },
		Expect: func(res *http.Response, want ...int) error {
			if slices.Contains(want, res.StatusCode) {
				return nil
			}
			res.Body.Close()
			return statusError{at: res.Request.URL.String(), code: res.StatusCode}.coded()
		},
	})
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	all, err := github.Pages[struct {
		Tag    string `json:"tag_name"`
		Draft  bool   `json:"draft"`
		Assets []struct {
			Name string `json:"name"`
			URL  string `json:"browser_download_url"`
		} `json:"assets"`
	}](ctx, client, "/repos/"+repo.String()+"/releases")
	switch _, tooMany := errors.AsType[github.TooManyError](err); {
	case isStatus(err, http.StatusNotFound):
		return nil, fault.Errorf(fault.Usage, "%s: there is no such repository, or nothing in it may be read", page)
	case tooMany:
		return nil, fault.Errorf(fault.Usage, "%s has more than %d releases", page, github.MaxList)
	case err != nil:
		return nil, fmt.Errorf("listing the releases of %s: %w", repo, err)
	}
	var list []Listed
	for _, r := range all {
		for _, a := range r.Assets {
			if a.Name != manifest.FileName || r.Draft {
				continue
			}
			v, _ := versionOf(r.Tag)
			list = append(list, Listed{Version: v, URL: strings.TrimSuffix(a.URL, manifest.FileName)})
		}
	}
	return list, nil
}

// asker is a client for small documents, which asks again where that may help.
type asker struct {
	limit         int64
	authorization string
}

// Do returns an answer, whose body is in memory: of one that is not 200 its first words.
func (a asker) Do(req *http.Request) (*http.Response, error) {
	header := req.Header.Clone()
	if a.authorization != "" {
		header.Set("Authorization", a.authorization)
	}
	b, answer, err := getWith(req.Context(), req.URL.String(), a.limit, header)
	status := http.StatusOK
	if s, ok := errors.AsType[statusError](err); ok {
		b, answer, status = s.said, s.header, s.code
	} else if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: answer, Body: io.NopCloser(bytes.NewReader(b)), Request: req}, nil
}

// client follows what a fetch of a release follows.
var client = verify.NewClient()

// statusError is an answer that is not what was asked for.
type statusError struct {
	at     string
	code   int
	header http.Header
	said   []byte // the first words
}

func (e statusError) Error() string { return fmt.Sprintf("%s: the server says %d", e.at, e.code) }

// coded is the error with its exit code: what is not there can be named wrongly, and every other answer is the server's matter.
func (e statusError) coded() error {
	code := fault.OfStatus(e.code)
	if code != fault.Credentials && e.code != http.StatusNotFound {
		code = fault.Transient
	}
	return fault.New(code, e)
}

func isStatus(err error, code int) bool {
	s, ok := errors.AsType[statusError](err)
	return ok && s.code == code
}

// get reads a small document, and asks again where that may help. The header goes to no other host.
func get(ctx context.Context, at string, limit int64, header http.Header) ([]byte, error) {
	b, _, err := getWith(ctx, at, limit, header)
	return b, err
}

// maxWait is how long a server may ask to wait.
const maxWait = 30 * time.Second

func getWith(ctx context.Context, at string, limit int64, header http.Header) ([]byte, http.Header, error) {
	pause := 500 * time.Millisecond
	for n := 1; ; n++ {
		b, answer, wait, err := try(ctx, at, limit, header)
		s, refused := errors.AsType[statusError](err)
		switch {
		case err == nil:
			return b, answer, nil
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case refused && (n == tries || s.code != http.StatusTooManyRequests && s.code < 500):
			return nil, s.header, s.coded()
		case n == tries || bounded.IsTooLarge(err):
			return nil, nil, fault.New(fault.Transient, err)
		}
		select {
		case <-time.After(min(max(pause, wait), maxWait)):
			pause *= 2
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func try(ctx context.Context, at string, limit int64, header http.Header) (b []byte, answer http.Header, wait time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, patience+time.Duration(limit>>15)*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, nil, 0, fault.New(fault.Usage, err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "slipway")
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("asking for %s: %w", at, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		said, _ := bounded.Head(resp.Body, 64<<10)
		return nil, nil, time.Duration(min(max(seconds, 0), 3600)) * time.Second, statusError{at, resp.StatusCode, resp.Header, said}
	}
	if b, err = bounded.Body(resp, limit); err != nil {
		return nil, nil, 0, fmt.Errorf("reading %s: %w", at, err)
	}
	return b, resp.Header, 0, nil
}
