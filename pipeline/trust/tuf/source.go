package tuf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Folder is a repository in a folder.
type Folder string

// Get is a file below the folder; a link does not lead out of it.
func (d Folder) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, fault.New(fault.Usage, fmt.Errorf("opening the index: %w", withoutKind(err)))
	}
	defer root.Close()
	return bounded.FS(root.FS(), name, limit)
}

// withoutKind is an error that is no fs.ErrNotExist: the folder is missing, and not a file of it.
func withoutKind(err error) error { return errors.New(err.Error()) }

// Web is a repository below a URL.
type Web struct {
	base   *url.URL
	client *http.Client
}

// NewWeb takes the URL of a folder. The client says which redirects are followed.
func NewWeb(address string, client *http.Client) (Web, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Web{}, fault.Errorf(fault.Usage, "the index is not at a URL such as https://example.org/releases: write one without user, ? and #")
	}
	return Web{u, client}, nil
}

// Get is a file below the URL. A server that says that it may not be read is one that does not have it: buckets answer so.
func (w Web) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	plain := unreserved
	if strings.HasPrefix(name, "targets/") {
		plain += "/"
	}
	folder, file, _ := strings.Cut(name, "/")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(w.base.String(), "/")+"/"+folder+"/"+escape(file, plain), nil)
	if err != nil {
		return nil, err
	}
	res, err := w.client.Do(r)
	if err != nil {
		return nil, fault.Or(err, fault.Transient)
	}
	switch res.StatusCode {
	case http.StatusOK:
		b, err := bounded.Body(res, limit)
		if bounded.IsTooLarge(err) {
			return nil, err
		}
		return b, fault.New(fault.Transient, err)
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone:
		err = fs.ErrNotExist
	}
	res.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL, err)
	}
	return nil, fault.Errorf(fault.Transient, "%s answers %s", r.URL, res.Status)
}
