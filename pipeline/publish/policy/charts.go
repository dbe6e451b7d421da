package policy

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// split takes a reference apart at its tag and its digest. Neither is checked.
func split(ref string) (repository, tag, digest string) {
	repository, digest, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:i], repository[i+1:]
	}
	return repository, tag, digest
}

// reference is an image as a chart names it. It has a tag, a digest or both; then the digest counts.
type reference struct {
	repository string // in full: index.docker.io/library/alpine
	tag        string
	digest     artifact.Digest
}

func parseReference(ref string) (reference, error) {
	repository, tag, digest := split(ref)
	full, err := name.NewRepository(repository)
	if err != nil {
		return reference{}, fmt.Errorf("%.300q is not a reference of an image", ref)
	}
	out := reference{repository: full.Name(), tag: tag}
	if strings.Contains(ref, "@") {
		if out.digest, err = artifact.ParseDigest(digest); err != nil {
			return reference{}, fmt.Errorf("%.300q: %w", ref, err)
		}
	}
	if tag != "" {
		if _, err := name.NewTag(repository + ":" + tag); err != nil {
			return reference{}, fmt.Errorf("%.300q has a malformed tag", ref)
		}
	}
	if tag == "" && out.digest == "" {
		return reference{}, fmt.Errorf("%.300q has neither a tag nor a digest", ref)
	}
	return out, nil
}

// unreleased are the prereleases that are never released: what the build of a branch is called.
var unreleased = []string{"snapshot", "dev"}

// checkTag says why a tag is not that of a release. In a tag _ stands for +.
func checkTag(tag string) error {
	v, err := version.Parse(strings.Replace(tag, "_", "+", 1))
	if err != nil {
		return fmt.Errorf("tag %.128q is not SemVer", tag)
	}
	first, _, _ := strings.Cut(strings.ToLower(v.Prerelease()), ".")
	for _, u := range unreleased {
		if first == u || strings.HasPrefix(first, u+"-") {
			return fmt.Errorf("tag %.128q is of a version that was not released", tag)
		}
	}
	return nil
}

// built are the images of the release: what may be named of a repository.
type built map[string]map[string]bool // by repository in full: tags and digests

func (o Options) built() built {
	all := built{}
	for _, im := range o.Release.Images {
		repository, err := name.NewRepository(im.Repository)
		if err != nil {
			continue // nothing can name it
		}
		of := all[repository.Name()]
		if of == nil {
			of = map[string]bool{}
			all[repository.Name()] = of
		}
		for _, t := range im.Tags {
			of[t] = true
		}
		of[string(im.Digest)] = true
		for _, p := range im.Platforms {
			of[string(p.Digest)] = true
		}
	}
	return all
}

func (b built) has(r reference) bool {
	if r.digest != "" {
		return b[r.repository][string(r.digest)]
	}
	return b[r.repository][r.tag]
}

// charts holds every image in every chart to being one of the release or one that its registry has.
func (o Options) charts(ctx context.Context) []Finding {
	var refused []Finding
	all := o.built()
	seen := map[string]Finding{} // by reference: what was said of it, without the chart
	for _, c := range o.Release.Charts {
		if o.Images == nil {
			refused = append(refused, charts.refuse("look into it", "the images in %.200s were not looked for", c.Path))
			continue
		}
		refs, err := o.Images(c.Path)
		if err != nil {
			refused = append(refused, charts.unknown(fmt.Errorf("reading %.200s: %w", c.Path, err)))
			continue
		}
		for _, ref := range refs {
			f, known := seen[ref]
			if !known {
				f = o.image(ctx, all, ref)
				seen[ref] = f
			}
			if !f.Passed {
				f.Detail = fmt.Sprintf("chart %.100s: %s", c.Name, f.Detail)
				refused = append(refused, f)
			}
		}
	}
	switch {
	case len(refused) > 0:
		return refused
	case len(o.Release.Charts) == 0:
		return []Finding{charts.pass("there are none")}
	}
	return []Finding{charts.pass("%s in %s, each of this release or in its registry",
		words.Count(len(seen), "image"), words.Count(len(o.Release.Charts), "chart"))}
}

// image is what is said of one reference.
func (o Options) image(ctx context.Context, all built, ref string) Finding {
	r, err := parseReference(ref)
	if err != nil {
		return charts.refuse("name a release of it, or its digest", "image %s", err)
	}
	if all.has(r) {
		return charts.pass("of this release")
	}
	if r.digest == "" {
		if err := checkTag(r.tag); err != nil {
			return charts.refuse("name a release of it, or its digest", "image %.300q: %s", ref, err)
		}
	}
	if o.Registry == nil {
		return charts.refuse("ask it", "image %.300q is not of this release, and its registry was not asked", ref)
	}
	has, err := o.Registry.Has(ctx, ref)
	if err != nil {
		return charts.unknown(fmt.Errorf("asking for image %.300q: %w", ref, err))
	}
	if !has {
		return charts.refuse("release it first, or correct the chart", "image %.300q is neither of this release nor in its registry", ref)
	}
	return charts.pass("in its registry")
}
