package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// ociScheme is what an image or a chart of a registry is named with, as Helm does it.
const ociScheme = "oci://"

// maxImage bounds the manifest of an image, in bytes, as registries have it.
const maxImage = 4 << 20

// Revision is the annotation with the commit that an image was made of
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys).
const Revision = "org.opencontainers.image.revision"

// Created is the annotation with the time of that commit.
const Created = "org.opencontainers.image.created"

// Repository reads a repository of a registry. What is not there is an fs.ErrNotExist.
type Repository interface {
	// Manifest is what has the tag or the digest, of at most limit bytes.
	Manifest(ctx context.Context, tagOrDigest string, limit int64) ([]byte, error)
	// Blob is a blob of size bytes.
	Blob(ctx context.Context, d artifact.Digest, size int64) ([]byte, error)
	// Referrers are the pages of the index of the bundles that refer to a digest, of at most limit bytes; an fs.ErrNotExist is a registry that
	// keeps no such indexes (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers).
	Referrers(ctx context.Context, d artifact.Digest, limit int64) ([][]byte, error)
}

// Reference is an image or a chart in a registry. Tag or Digest may be "".
type Reference struct {
	Host, Path, Tag string
	Digest          artifact.Digest
}

// reference matches host/path:tag@digest, with path and tag as OCI has them
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
var reference = regexp.MustCompile(`^([A-Za-z0-9.\-]+(?::[0-9]+)?|\[[0-9a-f:]+\]:[0-9]+)/(` + component + `(?:/` + component + `)*)` +
	`(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`)

const component = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`

// ParseReference reads host/path:tag, host/path@digest or both, with oci:// before it or not; false for what is neither.
func ParseReference(s string) (Reference, bool) {
	m := reference.FindStringSubmatch(strings.TrimPrefix(s, ociScheme))
	if m == nil || m[3] == "" && m[4] == "" {
		return Reference{}, false
	}
	return Reference{m[1], m[2], m[3], artifact.Digest(m[4])}, true
}

// Image checks an image or a chart in a registry, oci://host/path:tag, host/path@digest or both: that it is signed by whom
// Options says, as this repository, with this tag and as Options.Version. A signature names the tags that belong to a version
// and none that moves, so an image is not taken for the one of a moved tag; under latest and the like it passes only as the
// version that is asked for. On another host than it was signed for, it is a copy, which the report says.
//
// The error is a fault.Mismatch if a check did not pass, and a fault.Usage where the registry has nothing of that name.
func Image(ctx context.Context, name string, o Options) (Report, error) {
	ref, ok := ParseReference(name)
	switch {
	case !ok:
		return Report{}, fault.Errorf(fault.Usage, "%.200q is not an image such as oci://ghcr.io/owner/tool:1.2.3", name)
	case o.AllowUnsigned || len(o.Keys) == 0 && o.Identity == nil:
		return Report{}, fault.Errorf(fault.Usage, "%s: what an image is, only its signature says; give --key, or --identity and --trusted-root", name)
	case o.Rebuilders.Want > 0:
		return Report{}, fault.Errorf(fault.Usage, "rebuilders sign their verdicts over a whole release; name its folder or its URL")
	}
	i := image{ctx: ctx, ref: ref, o: o, repository: o.Repository(ref.Host, ref.Path), report: Report{Verifier: o.Verifier, Name: ref.Path}}
	if err := i.check(); err != nil {
		return Report{}, fmt.Errorf("%s: %w", name, err)
	}
	i.report.finish()
	if i.report.Verdict != Pass {
		return i.report, fault.Errorf(fault.Mismatch, "%s: %d of %d checks did not pass", name, i.report.Count(Fail), len(i.report.Rows))
	}
	return i.report, nil
}

// image is an image while it is checked.
type image struct {
	ctx        context.Context
	ref        Reference
	o          Options
	repository Repository
	report     Report
}

func (i *image) row(kind, path, detail string, err error) {
	r := Row{Path: path, Kind: kind, Verdict: Pass, Detail: detail}
	if err != nil {
		r.Verdict, r.Detail = Fail, oneLine(err)
	}
	i.report.Rows = append(i.report.Rows, r)
}

// check fills the report. An error is one of the registry.
func (i *image) check() error {
	at := i.ref.Tag
	if i.ref.Digest != "" {
		at = string(i.ref.Digest)
	}
	raw, err := i.repository.Manifest(i.ctx, at, maxImage)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Errorf(fault.Usage, "the registry has nothing of this name")
	}
	if err != nil {
		return err
	}
	digest := artifact.Sum(raw)
	if want := i.ref.Digest; want != "" && digest != want {
		i.row("image", i.ref.Path, "", fmt.Errorf("the registry gives %s for %s", digest, want))
		return nil
	}
	var doc struct {
		MediaType   string            `json:"mediaType"`
		Annotations map[string]string `json:"annotations"`
		Config      struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
	}
	kind := "image"
	if err = canonjson.DecodeOpen(raw, &doc); err == nil && doc.MediaType != signature.IndexMediaType && doc.MediaType != signature.ManifestMediaType {
		err = fmt.Errorf("media type %.80q is not that of an image", doc.MediaType)
	}
	if doc.Config.MediaType == chartConfig {
		kind = "chart"
	}
	i.row(kind, i.ref.Path, string(digest), err)
	if err != nil {
		return nil
	}
	of := manifest.Release{Commit: doc.Annotations[Revision]}
	of.Time, _ = time.Parse(time.RFC3339, doc.Annotations[Created]) // zero where it is not said
	return i.signed(signature.Image{Digest: digest, MediaType: doc.MediaType, Size: int64(len(raw))}, of)
}

// candidate is what a registry has as a signature of the image.
type candidate struct {
	path  string // its tag, or the digest of the referrer
	form  string // for people
	says  signature.Image
	holds func(by signature.Forms, im signature.Image) error
	err   error // why it cannot be read
}

// signed finds a signature over what is there that is by one of those who may sign it, and holds its words to the name that was
// asked for. Others than the project may have signed it too, and the project under another name, so one must pass. It looks for
// referrers where no signature in the classic form passes.
func (i *image) signed(what signature.Image, of manifest.Release) error {
	var tried []candidate
	var unsigned, misnamed []error
	for _, find := range []func(artifact.Digest) ([]candidate, error){i.classic, i.referrers} {
		found, err := find(what.Digest)
		if err != nil {
			return err
		}
		tried = append(tried, found...)
		for _, c := range found {
			err := c.err
			if err == nil {
				im := c.says
				im.Digest, im.MediaType, im.Size = what.Digest, what.MediaType, what.Size
				var who Authority
				if who, err = i.by(c, im, of); err == nil {
					if err = i.named(im); err != nil {
						misnamed = append(misnamed, err)
						continue
					}
					i.row(signatureKind, c.path, who.String()+", "+c.form, nil)
					i.row("release", im.Repository+" "+im.Version, "tags "+strings.Join(im.Tags, " "), nil)
					i.tell(im, who)
					return nil
				}
			}
			if !slices.ContainsFunc(unsigned, func(e error) bool { return e.Error() == err.Error() }) {
				unsigned = append(unsigned, err)
			}
		}
	}
	switch {
	case len(tried) == 0:
		i.row(signatureKind, signature.ClassicTag(what.Digest), "", errors.New("missing: the registry has no signature of it"))
	case len(misnamed) > 0:
		i.row("release", i.ref.Path, "", errors.Join(misnamed...))
	default:
		i.row(signatureKind, tried[0].path, "", errors.Join(unsigned...))
	}
	return nil
}

// classic are the signatures under the tag where cosign has always put them.
func (i *image) classic(d artifact.Digest) ([]candidate, error) {
	tag := signature.ClassicTag(d)
	raw, err := i.repository.Manifest(i.ctx, tag, maxImage)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := signature.ReadClassic(raw, i.blob)
	if err != nil {
		return []candidate{{path: tag, err: err}}, nil
	}
	var out []candidate
	for _, s := range found {
		c := candidate{path: tag, form: "in the classic form", holds: func(by signature.Forms, im signature.Image) error { return by.Classic(raw, i.blob, im) }}
		c.says, c.err = signature.Claimed(s.Payload)
		out = append(out, c)
	}
	return out, nil
}

// referrers are the bundles that refer to the image, by the index that the registry keeps of them or by the one that whoever pushes
// keeps under a tag (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema).
func (i *image) referrers(d artifact.Digest) ([]candidate, error) {
	tag := signature.ReferrersTag(d)
	pages, err := i.repository.Referrers(i.ctx, d, maxImage)
	if errors.Is(err, fs.ErrNotExist) {
		var raw []byte
		raw, err = i.repository.Manifest(i.ctx, tag, maxImage)
		pages = [][]byte{raw}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	listed, err := signature.ReadReferrers(pages...)
	if err != nil {
		return []candidate{{path: tag, err: err}}, nil
	}
	var out []candidate
	for _, l := range listed {
		raw, err := i.repository.Manifest(i.ctx, string(l.Digest), maxImage)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		c := candidate{path: string(l.Digest), form: "in a bundle that refers to it", holds: func(by signature.Forms, im signature.Image) error {
			return by.Referrer(raw, i.blob, im)
		}}
		if err == nil {
			err = l.Check(raw)
		}
		if c.err = err; err == nil {
			c.says, c.err = signature.ClaimedByReferrer(raw, i.blob)
		}
		out = append(out, c)
	}
	return out, nil
}

func (i *image) blob(d artifact.Digest, size int64) ([]byte, error) {
	return i.repository.Blob(i.ctx, d, size)
}

// by is who signed the image, one of those who may. An image does not say who should have.
func (i *image) by(c candidate, im signature.Image, of manifest.Release) (Authority, error) {
	var who []Authority
	for _, k := range i.o.Keys {
		who = append(who, holder{k})
	}
	if i.o.Identity != nil {
		who = append(who, Identity{Verifier: *i.o.Identity, Release: of})
	}
	var errs []error
	for _, a := range who {
		err := c.holds(a.Forms(), im)
		if err == nil {
			err = i.o.counts(a, of.Time)
		}
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// named holds the words of a signature to the name that was asked for.
func (i *image) named(im signature.Image) error {
	wanted := strings.TrimPrefix(i.o.Version, "v")
	_, at, _ := strings.Cut(im.Repository, "/")
	moves := i.ref.Tag != "" && !slices.Contains(im.Tags, i.ref.Tag)
	_, err := version.Parse(i.ref.Tag)
	switch {
	case im.Repository != i.ref.Host+"/"+i.ref.Path && at != i.ref.Path:
		return fmt.Errorf("it is signed as %.200q, and this is %s/%s", im.Repository, i.ref.Host, i.ref.Path)
	case wanted != "" && wanted != im.Version:
		return fmt.Errorf("%s is asked for, and it is signed as version %.80q", wanted, im.Version)
	case moves && err == nil:
		return fmt.Errorf("it is signed as version %.80q with the tags %.200q, and this is the tag %s", im.Version, strings.Join(im.Tags, " "), i.ref.Tag)
	case moves && wanted == "":
		return fmt.Errorf("tag %s moves, and it is signed as version %.80q; give --want %[2]s if that is the one that you want", i.ref.Tag, im.Version)
	}
	return nil
}

// tell says what a PASS comes to.
func (i *image) tell(im signature.Image, who Authority) {
	i.report.Version = im.Version
	i.report.Proven = fmt.Sprintf("%s is %s %s, as %s signed it", im.Digest, im.Repository, im.Version, who)
	if at := i.ref.Host + "/" + i.ref.Path; im.Repository != at {
		i.report.Proven += ", and this is a copy of it in " + at
	}
	i.report.Open = "that the registry has all of its layers, which a pull checks; that there is no newer version; that the commit gives these bytes, which slipway reproduce tells"
}
