// Package nugettest is a fixture: a feed of NuGet's protocol, version 2, as Chocolatey's is.
//
// It enforces what is documented of pushes (https://learn.microsoft.com/nuget/api/package-publish-resource) and of the
// community's moderation (https://docs.chocolatey.org/en-us/community-repository/moderation/): ids are the same in any
// letter case, versions in NuGet's normal form
// (https://learn.microsoft.com/nuget/concepts/package-versioning#normalized-version-numbers), what has a version is not
// replaced, except while it waits for moderators, and what a package is called stands in its nuspec.
package nugettest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The states that moderation knows.
const (
	Submitted = "Submitted"
	Approved  = "Approved"
	Rejected  = "Rejected"
)

const maxPush = 64 << 20

// Feed is a feed. It may be used concurrently; the fields are set before.
type Feed struct {
	Key string // that a push must show
	// Moderated says that what is pushed waits for moderators.
	Moderated bool
	// Files is the URL that downloads are redirected to; FilesHandler serves there. "" serves them from the feed.
	Files string
	// Late says that what is pushed is not listed before List is called.
	Late bool

	mu       sync.Mutex
	packages map[string]*pushed
}

// pushed is a package of the feed.
type pushed struct {
	id, version, status string
	content             []byte
	late                bool
}

// nuspec is what a package says of itself.
type nuspec struct {
	XMLName  xml.Name `xml:"package"`
	Metadata struct {
		ID      string `xml:"id"`
		Version string `xml:"version"`
	} `xml:"metadata"`
}

var (
	ids      = regexp.MustCompile(`^\w+([.-]\w+)*$`)
	versions = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	asked    = regexp.MustCompile(`^/api/v2/Packages\(Id='([^']*)',Version='([^']*)'\)$`)
)

// key is what tells packages apart; "" for what is no version.
func key(id, version string) string {
	m := versions.FindStringSubmatch(version)
	if m == nil {
		return ""
	}
	var numbers []string
	for i, s := range m[1:5] {
		n, _ := strconv.ParseUint("0"+s, 10, 32) // digits
		if i < 3 || n > 0 {
			numbers = append(numbers, strconv.FormatUint(n, 10))
		}
	}
	return strings.ToLower(id + " " + strings.Join(numbers, ".") + m[5])
}

// ServeHTTP serves the feed.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch path := r.URL.Path; {
	case r.Method == http.MethodPut && strings.TrimRight(path, "/") == "/api/v2/package":
		f.push(w, r)
	case r.Method == http.MethodGet && asked.MatchString(path):
		m := asked.FindStringSubmatch(path)
		f.entry(w, m[1], m[2])
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/api/v2/package/"):
		if f.Files != "" {
			http.Redirect(w, r, f.Files+strings.TrimPrefix(path, "/api/v2/package"), http.StatusFound)
			return
		}
		f.download(w, strings.TrimPrefix(path, "/api/v2/package/"))
	default:
		http.NotFound(w, r)
	}
}

// FilesHandler serves downloads where the feed redirects to another host, and refuses whoever shows it the key.
func (f *Feed) FilesHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Header.Get("X-NuGet-ApiKey") != "" {
			http.Error(w, "this host is shown a key of another", http.StatusTeapot)
			return
		}
		f.download(w, strings.TrimPrefix(r.URL.Path, "/"))
	})
}

func (f *Feed) download(w http.ResponseWriter, name string) {
	id, version, _ := strings.Cut(name, "/")
	p := f.packages[key(id, version)]
	if p == nil {
		http.Error(w, "no such package", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(p.content)
}

func (f *Feed) push(w http.ResponseWriter, r *http.Request) {
	content, err := body(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Header.Get("X-NuGet-ApiKey") != f.Key {
		http.Error(w, "The specified API key is invalid, or does not have permission to access the specified package.", http.StatusForbidden)
		return
	}
	about, err := read(content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := f.put(about.Metadata.ID, about.Metadata.Version, content); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// body is the one file of a push.
func body(r *http.Request) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, errors.New("a push is multipart/form-data")
	}
	parts := multipart.NewReader(io.LimitReader(r.Body, maxPush), params["boundary"])
	part, err := parts.NextPart()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(part)
	if err != nil {
		return nil, err
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		return nil, errors.New("a push has one part and an end")
	}
	return content, nil
}

// read is the nuspec in a package.
func read(content []byte) (nuspec, error) {
	var about nuspec
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return about, err
	}
	var specs, others int
	for _, part := range z.File {
		switch {
		case part.Name == "_rels/.rels", part.Name == "[Content_Types].xml":
			others++
		case strings.HasSuffix(part.Name, ".nuspec") && !strings.Contains(part.Name, "/"):
			specs++
			r, err := part.Open()
			if err != nil {
				return about, err
			}
			err = xml.NewDecoder(io.LimitReader(r, 1<<20)).Decode(&about)
			r.Close()
			if err != nil {
				return about, err
			}
			if part.Name != about.Metadata.ID+".nuspec" {
				return about, fmt.Errorf("%s has the id %q", part.Name, about.Metadata.ID)
			}
		}
	}
	if specs != 1 || others != 2 {
		return about, errors.New("a package has one nuspec, relations and types")
	}
	if !ids.MatchString(about.Metadata.ID) || key(about.Metadata.ID, about.Metadata.Version) == "" {
		return about, fmt.Errorf("id %q or version %q is none", about.Metadata.ID, about.Metadata.Version)
	}
	return about, nil
}

// put keeps a package unless its version is taken.
func (f *Feed) put(id, version string, content []byte) error {
	k := key(id, version)
	if old := f.packages[k]; old != nil && old.status != Submitted {
		return fmt.Errorf("a package with id '%s' and version '%s' already exists", id, version)
	}
	p := &pushed{id: id, version: version, content: content, late: f.Late}
	if f.Moderated && !strings.Contains(version, "-") { // prereleases are exempt
		p.status = Submitted
	}
	if f.packages == nil {
		f.packages = map[string]*pushed{}
	}
	f.packages[k] = p
	return nil
}

// Put is a push by somebody else, of bytes that need not be a package.
func (f *Feed) Put(id, version string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.put(id, version, content); err != nil {
		panic(err) // of the test
	}
}

// Moderate gives a package a state of moderation.
func (f *Feed) Moderate(id, version, status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.packages[key(id, version)].status = status
}

// List lists what was pushed so far.
func (f *Feed) List() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.packages {
		p.late = false
	}
}

func (f *Feed) entry(w http.ResponseWriter, id, version string) {
	p := f.packages[key(id, version)]
	if p == nil || p.late {
		http.Error(w, `<?xml version="1.0"?><m:error xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><m:code/></m:error>`,
			http.StatusNotFound)
		return
	}
	sum := sha512.Sum512(p.content)
	w.Header().Set("Content-Type", "application/atom+xml;type=entry;charset=utf-8")
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?>
<entry xmlns="http://www.w3.org/2005/Atom" xmlns:d="http://schemas.microsoft.com/ado/2007/08/dataservices"
  xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">
  <title type="text">%s</title>
  <m:properties>
    <d:Version>%s</d:Version>
    <d:PackageHash>%s</d:PackageHash>
    <d:PackageHashAlgorithm>SHA512</d:PackageHashAlgorithm>
    <d:PackageSize m:type="Edm.Int64">%d</d:PackageSize>
    <d:PackageStatus>%s</d:PackageStatus>
    <d:PackageApprovedDate m:type="Edm.DateTime" m:null="true" />
  </m:properties>
</entry>
`, p.id, p.version, base64.StdEncoding.EncodeToString(sum[:]), len(p.content), p.status)
}

// State is what the feed has: a line for each package, with the digest of its bytes, sorted.
func (f *Feed) State() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(f.packages)) {
		p := f.packages[k]
		fmt.Fprintf(&b, "%s %s sha256:%x %s\n", p.id, p.version, sha256.Sum256(p.content), p.status)
	}
	return b.String()
}
