package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Tags are the names of one repository, for what it has by digest already.
type Tags struct {
	c          *client
	host, path string
}

// OpenTags opens the tags of a repository, which has a host and a path. Whoever moves none needs no more than to read. Auth may be nil
// for anonymous.
func OpenTags(ctx context.Context, repository string, auth authn.Authenticator, t *wire.Transport, moves bool) (*Tags, error) {
	if auth == nil {
		auth = authn.Anonymous
	}
	host, path := split(repository)
	may := "pull"
	if moves {
		may = "push,pull"
	}
	c, err := dial(ctx, host, auth, t, []string{"repository:" + path + ":" + may})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", repository, err)
	}
	return &Tags{c, host, path}, nil
}

// At is the digest that a name stands for, "" where nothing has it: as the registry says or, read, as the bytes say that it
// gives for the name.
func (t *Tags) At(ctx context.Context, name string, depth publish.Depth) (artifact.Digest, error) {
	if depth == publish.Listed {
		d, err := t.c.digest(ctx, t.path, name)
		return d, t.named(name, err)
	}
	b, err := t.c.manifest(ctx, t.path, name)
	if err != nil || b == nil {
		return "", t.named(name, err)
	}
	return artifact.Sum(b), nil
}

// Move has a name stand for a digest. No bytes go to the registry but those of the document that it gives for the digest. One that does
// not have it is a fault.Mismatch, one that gives other bytes a fault.Transient.
func (t *Tags) Move(ctx context.Context, name string, to artifact.Digest) error {
	doc, err := t.c.whole(ctx, t.path, to)
	if err == nil && doc == nil {
		err = fault.Errorf(fault.Mismatch, "the registry does not have %s", to)
	}
	if err == nil {
		err = t.c.put(ctx, t.path, name, *doc)
	}
	return t.named(name, err)
}

func (t *Tags) named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s/%s:%s: %w", t.host, t.path, name, err)
}

// whole is the document with a digest, nil where there is none. A registry that gives other bytes is not believed.
func (c *client) whole(ctx context.Context, repo string, want artifact.Digest) (*document, error) {
	doc, err := c.document(ctx, repo, string(want))
	if err != nil || doc == nil {
		return nil, err
	}
	if doc.Digest != want || !slices.Contains(strings.Split(accepted, ", "), doc.MediaType) {
		return nil, fault.Errorf(fault.Transient, "%s/%s gives other bytes for %s", c.base.Host, repo, want)
	}
	return doc, nil
}
