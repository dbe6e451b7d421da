package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what a repository may answer.
const (
	maxIndex    = 32 << 20 // bytes of an index.yaml
	maxAnswer   = 8 << 20  // bytes of any answer of a registry
	maxRequests = 1000     // requests for one dependency; a list of tags has pages
)

// layerTypes are the media types of a packaged chart in a registry, the second from before Helm 3.7
// (https://helm.sh/docs/topics/registries/).
var layerTypes = []string{"application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"}

// source reads charts from repositories.
type source struct{ client *http.Client }

func newSource(client *http.Client) source {
	var kept http.Client
	if client != nil {
		kept = *client
	}
	kept.Transport = web.Kept(kept.Transport)
	return source{&kept}
}

// get returns the body of an answer of at most limit bytes.
func (s source) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, registryError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fault.Errorf(fault.OfStatus(resp.StatusCode), "%s answers %s", req.URL.Redacted(), resp.Status)
	}
	b, err := bounded.Read(resp.Body, limit)
	if bounded.IsTooLarge(err) {
		return nil, fault.Errorf(fault.Usage, "%s has %w", req.URL.Redacted(), err)
	}
	if err != nil {
		return nil, fault.New(fault.Transient, fmt.Errorf("reading %s: %w", req.URL.Redacted(), err))
	}
	return b, nil
}

// index is what matters of an index.yaml (https://helm.sh/docs/topics/chart_repository/#the-index-file).
type index struct {
	Entries map[string][]struct {
		Version string   `yaml:"version"`
		URLs    []string `yaml:"urls"`
		Digest  string   `yaml:"digest"`
	} `yaml:"entries"`
}

// classic gets a chart from a repository with an index.yaml.
func (s source) classic(ctx context.Context, d *Dependency, pick func([]string) (string, error)) ([]byte, error) {
	base, err := url.Parse(d.Repository)
	if err != nil || base.Host == "" {
		return nil, fault.Errorf(fault.Usage, "%q is not the URL of a repository", d.Repository)
	}
	base = base.JoinPath("/")
	b, err := s.get(ctx, base.JoinPath("index.yaml").String(), maxIndex)
	if err != nil {
		return nil, err
	}
	var idx index
	if err := yaml.Unmarshal(b, &idx); err != nil {
		return nil, fault.New(fault.Usage, fmt.Errorf("reading its index.yaml: %w", err))
	}
	entries := idx.Entries[d.Name]
	if pick != nil {
		var versions []string
		for _, e := range entries {
			if len(e.URLs) > 0 {
				versions = append(versions, e.Version)
			}
		}
		if d.Version, err = pick(versions); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if e.Version != d.Version || len(e.URLs) == 0 {
			continue
		}
		rel, err := url.Parse(e.URLs[0])
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading its index.yaml: %w", err))
		}
		at := base.ResolveReference(rel)
		if !rel.IsAbs() {
			at.RawQuery = base.RawQuery // some repositories know their clients by it
		}
		if at.Scheme == "oci" {
			repo, _, _ := strings.Cut(at.Path[strings.LastIndexByte(at.Path, '/')+1:], ":")
			return s.registry(ctx, d, at.Host+at.Path[:strings.LastIndexByte(at.Path, '/')+1]+repo, nil)
		}
		if at.Scheme != "http" && at.Scheme != "https" {
			return nil, fault.Errorf(fault.Usage, "its index.yaml points to %q, which is not an http or https URL", at.Redacted())
		}
		tgz, err := s.get(ctx, at.String(), loader.MaxDecompressedFileSize)
		if err != nil {
			return nil, err
		}
		if said, got := strings.TrimPrefix(e.Digest, "sha256:"), artifact.Sum(tgz); said != "" && said != got.Hex() {
			return nil, fault.Errorf(fault.Mismatch, "%s has the digest %s and the index.yaml says %s", at.Redacted(), got, e.Digest)
		}
		return tgz, nil
	}
	return nil, fault.Errorf(fault.Mismatch, "its index.yaml has no version %s any more; take another: %s", d.Version, relock)
}

// registry gets a chart from an OCI repository: by digest where the dependency has one, so that no tag is asked, else
// by the tag of the version that pick chooses.
func (s source) registry(ctx context.Context, d *Dependency, repository string, pick func([]string) (string, error)) ([]byte, error) {
	host, _, _ := strings.Cut(repository, "/")
	if host != "localhost" && !strings.ContainsAny(host, ".:") {
		return nil, fault.Errorf(fault.Usage, "%q does not begin with the host of a registry", repository)
	}
	repo, err := name.NewRepository(repository)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithTransport(newRationed(s.client.Transport))}

	digest := d.Digest
	if digest == "" {
		if pick != nil {
			tags, err := remote.List(repo, opts...)
			if err != nil {
				return nil, registryError(err)
			}
			var versions []string
			for _, t := range tags {
				// Helm writes the plus sign, which a tag cannot have, as an underscore.
				if v := strings.ReplaceAll(t, "_", "+"); isVersion(v) {
					versions = append(versions, v)
				}
			}
			if d.Version, err = pick(versions); err != nil {
				return nil, err
			}
		}
		if digest, err = layer(repo.Tag(strings.ReplaceAll(d.Version, "+", "_")), opts); err != nil {
			return nil, err
		}
	}
	return blob(repo.Digest(string(digest)), opts)
}

func isVersion(s string) bool {
	_, err := semver.StrictNewVersion(s)
	return err == nil
}

// layer is the digest of the packaged chart in the manifest under the tag.
func layer(ref name.Tag, opts []remote.Option) (artifact.Digest, error) {
	desc, err := remote.Get(ref, opts...)
	if err != nil {
		return "", registryError(err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(desc.Manifest))
	if err != nil {
		return "", fault.New(fault.Usage, fmt.Errorf("reading the manifest of %s: %w", ref, err))
	}
	for _, l := range m.Layers {
		if slices.Contains(layerTypes, string(l.MediaType)) {
			d, err := artifact.ParseDigest(l.Digest.String())
			return d, fault.New(fault.Usage, err)
		}
	}
	return "", fault.Errorf(fault.Usage, "%s is not a chart: it has no layer of type %s", ref, layerTypes[0])
}

// blob reads the blob, whose bytes the registry client compares with its digest.
func blob(ref name.Digest, opts []remote.Option) ([]byte, error) {
	l, err := remote.Layer(ref, opts...)
	if err != nil {
		return nil, registryError(err)
	}
	r, err := l.Compressed()
	if te := (*transport.Error)(nil); errors.As(err, &te) && te.StatusCode == http.StatusNotFound {
		return nil, fault.Errorf(fault.Mismatch, "the registry has no %s any more; take another version: %s", ref.DigestStr(), relock)
	} else if err != nil {
		return nil, registryError(err)
	}
	defer r.Close()
	b, err := bounded.Head(r, loader.MaxDecompressedFileSize+1)
	switch {
	case int64(len(b)) > loader.MaxDecompressedFileSize:
		return nil, fault.Errorf(fault.Usage, "%s is larger than %d bytes, which Helm refuses to read", ref, loader.MaxDecompressedFileSize)
	case err != nil && string(artifact.Sum(b)) != ref.DigestStr() && strings.Contains(err.Error(), "error verifying"):
		return nil, fault.New(fault.Mismatch, err)
	case err != nil:
		return nil, fault.New(fault.Transient, err)
	}
	return b, nil
}

// registryError gives an error of the registry client its code.
func registryError(err error) error {
	if te := (*transport.Error)(nil); errors.As(err, &te) {
		return fault.New(fault.OfStatus(te.StatusCode), err)
	}
	switch {
	case errors.Is(err, errBound):
		return fault.New(fault.Usage, err)
	case errors.Is(err, web.ErrDowngrade):
		return fault.New(fault.Mismatch, err)
	}
	return fault.New(fault.Transient, err)
}

var errBound = errors.New("the registry sends more than a chart can need")

// rationed is a transport that ends an answer, and a conversation, that is too long.
type rationed struct {
	rt   http.RoundTripper
	left atomic.Int64 // requests
}

func newRationed(rt http.RoundTripper) *rationed {
	b := &rationed{rt: rt}
	b.left.Store(maxRequests)
	return b
}

// RoundTrip implements http.RoundTripper.
func (b *rationed) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.left.Add(-1) < 0 {
		return nil, errBound
	}
	resp, err := b.rt.RoundTrip(req)
	if err == nil {
		resp.Body = &body{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type body struct {
	io.ReadCloser
	left int64 // bytes
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errBound
	}
	return n, err
}
