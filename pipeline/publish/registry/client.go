package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxTags bounds the names of a repository that are read.
const maxTags = 100_000

// maxReferrers bounds what is read of what is attached to one manifest.
const maxReferrers = 10_000

// accepted are the media types of what may have a name or a digest.
var accepted = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1), string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ", ")

// client speaks to one registry as one user
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
type client struct {
	base *url.URL
	http *http.Client
}

// dial opens a client that may do what the scopes say. Registries hand out a token for them here, so wrong credentials
// show before anything is sent.
func dial(ctx context.Context, host string, auth authn.Authenticator, t *wire.Transport, scopes []string) (*client, error) {
	options := []name.Option{name.StrictValidation}
	if web.Loopback(host) {
		options = append(options, name.Insecure)
	}
	reg, err := name.NewRegistry(host, options...)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	rt, err := transport.NewWithContext(wire.Reading(ctx), reg, auth, t, scopes)
	if err != nil {
		return nil, refusal(err)
	}
	c := t.Client()
	c.Transport = rt
	return &client{base: &url.URL{Scheme: reg.Scheme(), Host: reg.RegistryStr()}, http: c}, nil
}

// refusal gives what the library says of an answer its exit code.
func refusal(err error) error {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		code := fault.OfStatus(e.StatusCode)
		if code == fault.Usage { // nothing was named yet that could be missing
			code = fault.Transient
		}
		return fault.New(code, err)
	}
	if errors.Is(err, web.ErrClear) { // of two that were tried
		return fault.New(fault.Credentials, err)
	}
	return wire.Fault(err)
}

func (c *client) url(format string, args ...any) string {
	return c.base.String() + "/v2/" + fmt.Sprintf(format, args...)
}

// do makes a request. Body may be nil.
func (c *client) do(ctx context.Context, method, url string, body *content, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fault.New(fault.Transient, err) // a location that the registry gave
	}
	if body != nil {
		req.GetBody = body.open
		if req.Body, err = body.open(); err != nil {
			return nil, err
		}
		if req.ContentLength = body.Size; body.Size == 0 {
			req.Body.Close()
			req.Body, req.GetBody = http.NoBody, nil
		}
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	return res, wire.Fault(err)
}

// found asks for something; nil where the registry does not have it. Any answer but that and a good one is an error.
func (c *client) found(ctx context.Context, method, url string, header ...string) (*http.Response, error) {
	res, err := c.do(ctx, method, url, nil, header...)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusNotFound {
		res.Body.Close()
		return nil, nil
	}
	return res, wire.Expect(res, http.StatusOK)
}

// digest asks for the digest that a name stands for; "" where nothing has the name.
func (c *client) digest(ctx context.Context, repo, reference string) (artifact.Digest, error) {
	res, err := c.found(ctx, http.MethodHead, c.url("%s/manifests/%s", repo, reference), "Accept", accepted)
	if err != nil || res == nil {
		return "", err
	}
	res.Body.Close()
	if d := res.Header.Get("Docker-Content-Digest"); d != "" {
		parsed, err := artifact.ParseDigest(d)
		if err != nil {
			return "", fault.Errorf(fault.Transient, "%s/%s answers for %s: %w", c.base.Host, repo, reference, err)
		}
		return parsed, nil
	}
	// The header is optional, and the bytes say it as well.
	b, err := c.manifest(ctx, repo, reference)
	return artifact.Sum(b), err
}

// manifest reads a manifest; nil where there is none.
func (c *client) manifest(ctx context.Context, repo, reference string) ([]byte, error) {
	d, err := c.document(ctx, repo, reference)
	if err != nil || d == nil {
		return nil, err
	}
	return d.bytes, nil
}

// document reads a manifest by itself; nil where there is none.
func (c *client) document(ctx context.Context, repo, reference string) (*document, error) {
	res, err := c.found(ctx, http.MethodGet, c.url("%s/manifests/%s", repo, reference), "Accept", accepted)
	if err != nil || res == nil {
		return nil, err
	}
	b, err := wire.ReadAll(res, maxManifest)
	if err != nil {
		return nil, err
	}
	mediaType, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	return &document{content: inMemory(b), MediaType: strings.TrimSpace(mediaType)}, nil
}

// metadata is the digest of Artifact Hub's metadata that are attached to a chart; "" for none.
func (c *client) metadata(ctx context.Context, repo string, chart artifact.Digest) (artifact.Digest, error) {
	list, _, err := c.referrers(ctx, repo, chart)
	if err != nil {
		return "", err
	}
	for _, m := range list.Manifests {
		if m.ArtifactType != hubConfigType {
			continue
		}
		if _, err := artifact.ParseDigest(string(m.Digest)); err != nil {
			return "", fault.Errorf(fault.Transient, "%s/%s: %w", c.base.Host, repo, err)
		}
		return m.Digest, nil
	}
	return "", nil
}

// hasBlob reports whether the repository has the blob.
func (c *client) hasBlob(ctx context.Context, repo string, d artifact.Digest) (bool, error) {
	res, err := c.found(ctx, http.MethodHead, c.url("%s/blobs/%s", repo, d))
	if err != nil || res == nil {
		return false, err
	}
	res.Body.Close()
	return true, nil
}

// readBlob reports whether the repository gives the bytes of the blob.
func (c *client) readBlob(ctx context.Context, repo string, want content) (bool, error) {
	res, err := c.found(ctx, http.MethodGet, c.url("%s/blobs/%s", repo, want.Digest))
	if err != nil || res == nil {
		return false, err
	}
	defer res.Body.Close()
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, io.LimitReader(res.Body, want.Size+1)); err != nil {
		return false, wire.Fault(fmt.Errorf("reading %s of %s: %w", want.Digest, repo, err))
	}
	return m.Size() == want.Size && m.Digest() == want.Digest, nil
}

// maxSessions bounds the uploads of one blob whose sessions the registry forgot.
const maxSessions = 3

// push puts a blob that the repository does not have. From names another repository of the registry that has it; "" for
// none.
func (c *client) push(ctx context.Context, repo string, b content, from string) error {
	for session := 1; ; session++ {
		where, err := c.begin(ctx, repo, b, from)
		if err != nil || where == "" {
			return err
		}
		res, err := c.do(ctx, http.MethodPut, where, &b, "Content-Type", "application/octet-stream")
		if err != nil {
			return err
		}
		// A session that is not known any more ended: with the blob, when only its answer was lost.
		if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			res.Body.Close()
			there, err := c.hasBlob(ctx, repo, b.Digest)
			if err != nil || there {
				return err
			}
			if session < maxSessions {
				continue
			}
			return fault.Errorf(fault.Transient, "%s/%s forgets every upload of %s", c.base.Host, repo, b.Digest.Short())
		}
		return expect(res, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	}
}

// begin opens an upload and returns where to put the bytes; "" where the blob was mounted from another repository.
func (c *client) begin(ctx context.Context, repo string, b content, from string) (string, error) {
	target := c.url("%s/blobs/uploads/", repo)
	if from != "" {
		target += "?" + url.Values{"mount": {string(b.Digest)}, "from": {from}}.Encode()
	}
	// A session that nothing is sent to does nothing, so one may be asked for again.
	res, err := c.do(wire.Repeating(ctx), http.MethodPost, target, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if from != "" && res.StatusCode == http.StatusCreated {
		return "", nil
	}
	if err := wire.Expect(res, http.StatusAccepted); err != nil {
		return "", err
	}
	asked, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	where, err := asked.Parse(res.Header.Get("Location"))
	switch {
	case err != nil || res.Header.Get("Location") == "":
		return "", fault.Errorf(fault.Transient, "%s does not say where to upload to", c.base.Host)
	case where.Scheme != "https" && !(where.Scheme == "http" && where.Host == c.base.Host && c.base.Scheme == "http"):
		return "", fault.Errorf(fault.Transient, "%s directs an upload to %s, which is not https", c.base.Host, where.Host)
	}
	q := where.Query()
	q.Set("digest", string(b.Digest))
	where.RawQuery = q.Encode()
	return where.String(), nil
}

// put gives a document a name: its digest, or a tag.
func (c *client) put(ctx context.Context, repo, reference string, d document) error {
	res, err := c.do(ctx, http.MethodPut, c.url("%s/manifests/%s", repo, reference), &d.content, "Content-Type", d.MediaType)
	if err != nil {
		return err
	}
	return expect(res, http.StatusCreated, http.StatusOK, http.StatusAccepted)
}

// expect closes an answer after its status was looked at.
func expect(res *http.Response, want ...int) error {
	err := wire.Expect(res, want...)
	res.Body.Close()
	return err
}

// referrers are the manifests that the registry lists with the subject, and whether it is the registry that keeps the
// list. One that does not keeps it under a tag, which whoever pushes writes
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers).
func (c *client) referrers(ctx context.Context, repo string, subject artifact.Digest) (list referrerIndex, kept bool, err error) {
	list = referrerIndex{SchemaVersion: 2, MediaType: string(types.OCIImageIndex)}
	for next := c.url("%s/referrers/%s", repo, subject); next != ""; {
		res, err := c.do(ctx, http.MethodGet, next, nil, "Accept", string(types.OCIImageIndex))
		if err != nil {
			return referrerIndex{}, false, err
		}
		var b []byte
		switch {
		case res.StatusCode == http.StatusOK:
			kept = true
			if b, err = wire.ReadAll(res, maxManifest); err != nil {
				return referrerIndex{}, false, err
			}
		case !kept && (res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusMethodNotAllowed || res.StatusCode == http.StatusBadRequest):
			said, err := wire.ReadAll(res, maxManifest)
			if err != nil {
				return referrerIndex{}, false, err
			}
			if bytes.Contains(said, []byte("NAME_UNKNOWN")) {
				return list, true, nil // it has no such repository, so it knows of lists
			}
			if b, err = c.manifest(ctx, repo, fallbackTag(subject)); err != nil || b == nil {
				return list, false, err
			}
		default:
			return referrerIndex{}, false, wire.Expect(res, http.StatusOK)
		}
		var page referrerIndex
		if err := canonjson.DecodeOpen(b, &page); err != nil {
			return referrerIndex{}, false, fault.Errorf(fault.Transient, "%s/%s does not answer with an index of what is attached to %s: %w", c.base.Host, repo, subject.Short(), err)
		}
		if list.Manifests = append(list.Manifests, page.Manifests...); len(list.Manifests) > maxReferrers {
			return referrerIndex{}, false, fault.Errorf(fault.Usage, "%s/%s has more than %d manifests attached to %s", c.base.Host, repo, maxReferrers, subject.Short())
		}
		if next = web.Next(res.Header, next); len(page.Manifests) == 0 {
			break // a list that never ends
		}
	}
	return list, kept, nil
}

// referrerIndex is an index of what is attached to something.
type referrerIndex struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     []ociDescriptor `json:"manifests"`
}

func (r referrerIndex) has(d artifact.Digest) bool {
	for _, m := range r.Manifests {
		if m.Digest == d {
			return true
		}
	}
	return false
}

// fallbackTag is the name of the list where the registry does not keep it.
func fallbackTag(subject artifact.Digest) string { return "sha256-" + subject.Hex() }

// tags are all names in the repository.
func (c *client) tags(ctx context.Context, repo string) ([]string, error) {
	var all []string
	for next := c.url("%s/tags/list?n=1000", repo); next != ""; {
		res, err := c.found(ctx, http.MethodGet, next)
		if err != nil || res == nil {
			return nil, err
		}
		b, err := wire.ReadAll(res, 16<<20)
		if err != nil {
			return nil, err
		}
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := canonjson.DecodeOpen(b, &page); err != nil {
			return nil, fault.Errorf(fault.Transient, "%s/%s does not list its tags as JSON: %w", c.base.Host, repo, err)
		}
		if all = append(all, page.Tags...); len(all) > maxTags {
			return nil, fault.Errorf(fault.Usage, "%s/%s has more than %d tags", c.base.Host, repo, maxTags)
		}
		next = web.Next(res.Header, next)
		if next != "" && len(page.Tags) == 0 {
			break // a list that never ends
		}
	}
	return all, nil
}

// list merges what is attached to a subject into the list under its tag, where the registry does not keep one. The order
// is that of the digests.
func (c *client) list(ctx context.Context, repo string, subject artifact.Digest, docs []document) error {
	index, kept, err := c.referrers(ctx, repo, subject)
	if err != nil || kept {
		return err
	}
	index.SchemaVersion, index.MediaType = 2, string(types.OCIImageIndex)
	for _, d := range docs {
		if !index.has(d.Digest) {
			index.Manifests = append(index.Manifests, ociDescriptor{
				MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: d.Artifact, Annotations: d.Notes,
			})
		}
	}
	slices.SortFunc(index.Manifests, func(a, b ociDescriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	b, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return c.put(ctx, repo, fallbackTag(subject), document{content: inMemory(b), MediaType: index.MediaType})
}

// Simulate answers what a dry run does not send as a registry would.
func Simulate(req *http.Request) *http.Response {
	switch {
	case req.Method == http.MethodPost && req.URL.Query().Get("mount") != "":
		return wire.Answer(http.StatusCreated, "")
	case req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/blobs/uploads/"):
		return wire.Answer(http.StatusAccepted, "", "Location", req.URL.Path+"dry-run")
	case req.Method == http.MethodPut:
		return wire.Answer(http.StatusCreated, "")
	}
	return nil
}
