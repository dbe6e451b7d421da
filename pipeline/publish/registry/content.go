package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// maxManifest bounds a manifest, in bytes, as registries do
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests).
const maxManifest = 4 << 20

// Media types of what is attached to an image.
const (
	emptyType     = "application/vnd.oci.empty.v1+json"
	cycloneDXType = "application/vnd.cyclonedx+json"
	spdxType      = "application/spdx+json"

	// The metadata by which Artifact Hub knows whose a chart is (https://artifacthub.io/docs/topics/repositories/helm-charts/#oci-support).
	hubTag        = "artifacthub.io"
	hubConfigType = "application/vnd.cncf.artifacthub.config.v1+yaml"
	hubLayerType  = "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"
)

const layoutDir = "images"

// content is some bytes with their digest, in a file or in memory.
type content struct {
	Digest artifact.Digest
	Size   int64
	file   string // of this machine; "" where bytes has it
	bytes  []byte
}

func inMemory(b []byte) content {
	return content{Digest: artifact.Sum(b), Size: int64(len(b)), bytes: b}
}

func (c content) open() (io.ReadCloser, error) {
	if c.file == "" {
		return io.NopCloser(strings.NewReader(string(c.bytes))), nil
	}
	return os.Open(c.file)
}

// document is a manifest or an index with all that it names, which must be there before it.
type document struct {
	content
	MediaType string
	Artifact  string // artifactType; "" for none
	Notes     map[string]string
	Blobs     []content
	Children  []document
	Subject   artifact.Digest // of what it is attached to; "" for nothing
}

// tag is a name that is given to a document.
type tag struct {
	Name    string
	Digest  artifact.Digest
	Size    int64
	Distro  string // of a moving name
	Default bool   // whether the distribution is the one without a suffix
}

// signed is a signature in cosign's classic form, which is found by a tag.
type signed struct {
	document
	Tag string
}

// repository is all that goes to one repository of a registry.
type repository struct {
	Name     string     // path in the registry: owner/name
	Roots    []document // images and charts
	Attached []document // signatures, bills of materials and provenance, by what they are attached to
	Signed   []signed   // cosign's classic signatures
	Tags     []tag      // names of the version
	Floating []tag      // names that move
	Chart    bool
	Version  version.Version // of the chart
	Own      bool            // the chart has versions of its own, which are not those of releases
}

// gather reads what of the release goes to which repository of the registry. Map says where a repository of the
// manifest goes: host and path, "" for nowhere here.
func gather(rel publish.Release, to func(repository string) string) ([]repository, error) {
	g := gatherer{rel: rel, to: to, repos: map[string]*repository{}}
	if err := g.images(); err != nil {
		return nil, err
	}
	if err := g.charts(); err != nil {
		return nil, err
	}
	if err := g.bills(); err != nil {
		return nil, err
	}
	if err := g.provenance(); err != nil {
		return nil, err
	}
	if err := g.signatures(); err != nil {
		return nil, err
	}
	var out []repository
	for _, name := range slices.Sorted(maps.Keys(g.repos)) {
		r := *g.repos[name]
		slices.SortStableFunc(r.Attached, func(a, b document) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
		r.Attached = slices.CompactFunc(r.Attached, func(a, b document) bool { return a.Digest == b.Digest })
		out = append(out, r)
	}
	return out, nil
}

type gatherer struct {
	rel   publish.Release
	to    func(string) string
	repos map[string]*repository
}

func (g gatherer) repo(name string) *repository {
	if g.repos[name] == nil {
		g.repos[name] = &repository{Name: name}
	}
	return g.repos[name]
}

// blob is a blob of the layout of the release.
func (g gatherer) blob(d artifact.Digest) (content, error) {
	name := path.Join(layoutDir, "blobs/sha256", d.Hex())
	f, ok := g.rel.File(name)
	if !ok || f.Digest != d {
		return content{}, fault.Errorf(fault.Mismatch, "%s is not among the files of the release under its digest; build it again", name)
	}
	return content{Digest: d, Size: f.Size, file: g.rel.Path(name)}, nil
}

// document reads a manifest or an index of the layout with everything below it.
func (g gatherer) document(d artifact.Digest, mediaType types.MediaType) (document, error) {
	c, err := g.blob(d)
	if err != nil {
		return document{}, err
	}
	b, err := readDocument(c.file)
	if err != nil {
		return document{}, err
	}
	if artifact.Sum(b) != d {
		return document{}, fault.Errorf(fault.Mismatch, "%s has other bytes than its digest says; build the release again", c.file)
	}
	c.bytes, c.file = b, ""
	out := document{content: c, MediaType: string(mediaType)}
	if mediaType.IsIndex() {
		var index v1.IndexManifest
		if err := canonjson.DecodeOpen(b, &index); err != nil {
			return document{}, fmt.Errorf("reading index %s: %w", d, err)
		}
		for _, m := range index.Manifests {
			child, err := artifact.ParseDigest(m.Digest.String())
			if err != nil {
				return document{}, err
			}
			if m.MediaType.IsIndex() {
				return document{}, fmt.Errorf("index %s has another index in it", d)
			}
			below, err := g.document(child, m.MediaType)
			if err != nil {
				return document{}, err
			}
			out.Children = append(out.Children, below)
		}
		return out, nil
	}
	var m v1.Manifest
	if err := canonjson.DecodeOpen(b, &m); err != nil {
		return document{}, fmt.Errorf("reading manifest %s: %w", d, err)
	}
	for _, desc := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		d, err := artifact.ParseDigest(desc.Digest.String())
		if err != nil {
			return document{}, err
		}
		blob, err := g.blob(d)
		if err != nil {
			return document{}, err
		}
		out.Blobs = append(out.Blobs, blob)
	}
	return out, nil
}

// readDocument reads a document of the layout, of at most what a registry takes.
func readDocument(name string) ([]byte, error) {
	b, err := bounded.File(name, maxManifest)
	if bounded.IsTooLarge(err) {
		err = fault.Errorf(fault.Mismatch, "%w, which no registry takes", err)
	}
	return b, err
}

func (r *repository) root(d document) {
	if !slices.ContainsFunc(r.Roots, func(have document) bool { return have.Digest == d.Digest }) {
		r.Roots = append(r.Roots, d)
	}
}

func (g gatherer) images() error {
	for _, im := range g.rel.Manifest.Images {
		name := g.to(im.Repository)
		if name == "" {
			continue
		}
		d, err := g.document(im.Digest, types.OCIImageIndex)
		if err != nil {
			return fmt.Errorf("image %s: %w", im.Repository, err)
		}
		r := g.repo(name)
		r.root(d)
		for _, t := range im.Tags {
			r.Tags = append(r.Tags, tag{Name: t, Digest: im.Digest, Size: im.Size})
		}
		for _, t := range im.Floating {
			r.Floating = append(r.Floating, tag{
				Name: t, Digest: im.Digest, Size: im.Size, Distro: im.Distro, Default: slices.Contains(im.Floating, "latest"),
			})
		}
	}
	return nil
}

func (g gatherer) charts() error {
	for _, c := range g.rel.Manifest.Charts {
		name := ""
		if c.Digest != "" {
			name = g.to(c.Repository)
		}
		if name == "" {
			continue
		}
		d, err := g.document(c.Digest, types.OCIManifestSchema1)
		if err != nil {
			return fmt.Errorf("chart %s: %w", c.Name, err)
		}
		r := g.repo(name)
		if r.Version, err = version.Parse(c.Version); err != nil {
			return fault.New(fault.Mismatch, fmt.Errorf("chart %s: %w", c.Name, err))
		}
		r.Chart, r.Own = true, c.Version != g.rel.Manifest.Version.String()
		r.root(d)
		r.Tags = append(r.Tags, tag{Name: c.Tag(), Digest: c.Digest, Size: c.Size})
		hub, err := g.hub(d)
		if err != nil {
			return err
		}
		if hub != nil {
			r.Attached = append(r.Attached, *hub)
			r.Floating = append(r.Floating, tag{Name: hubTag, Digest: hub.Digest, Size: hub.total()})
		}
	}
	return nil
}

// hubFile is Artifact Hub's metadata in a release.
const hubFile = "charts/artifacthub-repo.yml"

// hub is Artifact Hub's metadata as it is pushed beside a chart; nil where the release has none. It is attached to the chart,
// so that the metadata of a version are found when its name does not stand for them.
func (g gatherer) hub(chart document) (*document, error) {
	f, ok := g.rel.File(hubFile)
	if !ok {
		return nil, nil
	}
	b, err := readDocument(g.rel.Path(f.Path))
	if err != nil {
		return nil, err
	}
	d, err := attach(attachment{
		artifact: hubConfigType, config: inMemory(nil), configType: hubConfigType, layer: inMemory(b), layerType: hubLayerType,
		layerNotes: map[string]string{"org.opencontainers.image.title": path.Base(hubFile)}, subject: descriptor(chart),
	})
	return &d, err
}

// attachment is a manifest with one layer.
type attachment struct {
	artifact   string // artifactType
	config     content
	configType string
	layer      content
	layerType  string
	layerNotes map[string]string
	subject    *v1.Descriptor
	notes      map[string]string
}

// ociManifest is a manifest with the fields that version 1.1 added
// (https://github.com/opencontainers/image-spec/blob/main/manifest.md#image-manifest-property-descriptions).
type ociManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        ociDescriptor     `json:"config"`
	Layers        []ociDescriptor   `json:"layers"`
	Subject       *ociDescriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type ociDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       artifact.Digest   `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

func attach(a attachment) (document, error) {
	m := ociManifest{
		SchemaVersion: 2, MediaType: string(types.OCIManifestSchema1), ArtifactType: a.artifact,
		Config:      ociDescriptor{MediaType: a.configType, Digest: a.config.Digest, Size: a.config.Size},
		Layers:      []ociDescriptor{{MediaType: a.layerType, Digest: a.layer.Digest, Size: a.layer.Size, Annotations: a.layerNotes}},
		Annotations: a.notes,
	}
	out := document{MediaType: m.MediaType, Artifact: a.artifact, Notes: a.notes, Blobs: []content{a.config, a.layer}}
	if a.subject != nil {
		out.Subject = artifact.Digest(a.subject.Digest.String())
		m.Subject = &ociDescriptor{MediaType: string(a.subject.MediaType), Digest: out.Subject, Size: a.subject.Size}
	}
	b, err := json.Marshal(m)
	out.content = inMemory(b)
	return out, err
}

// bills attaches bills of materials to the platforms' manifests that they are about.
func (g gatherer) bills() error {
	created := map[string]string{"org.opencontainers.image.created": g.rel.Manifest.Time.UTC().Format(time.RFC3339)}
	for _, s := range g.rel.Manifest.SBOMs {
		subject := s.Subject
		if i := strings.LastIndexByte(subject, ':'); i > strings.LastIndexByte(subject, '/') {
			subject = subject[:i]
		}
		r, ok := g.repos[g.to(subject)]
		if !ok {
			continue // of a file, or of an image that does not go here
		}
		kind := map[string]string{"cyclonedx": cycloneDXType, "spdx": spdxType}[s.Format]
		f, listed := g.rel.File(s.Path)
		if kind == "" || !listed {
			return fault.Errorf(fault.Mismatch, "%s is not a bill of materials that can be attached to %s", s.Path, s.Subject)
		}
		for _, root := range r.Roots {
			for _, child := range root.Children {
				if child.Digest != s.Digest {
					continue
				}
				d, err := attach(attachment{
					artifact: kind, config: inMemory([]byte("{}")), configType: emptyType,
					layer: content{Digest: f.Digest, Size: f.Size, file: g.rel.Path(f.Path)}, layerType: kind,
					layerNotes: map[string]string{"org.opencontainers.image.title": path.Base(f.Path)},
					subject:    descriptor(child), notes: created,
				})
				if err != nil {
					return err
				}
				r.Attached = append(r.Attached, d)
			}
		}
	}
	return nil
}

func descriptor(d document) *v1.Descriptor {
	h, err := v1.NewHash(string(d.Digest))
	if err != nil {
		panic(err) // it was parsed when it was read
	}
	return &v1.Descriptor{MediaType: types.MediaType(d.MediaType), Digest: h, Size: d.Size}
}

// provenance attaches the signed provenance, where there is one, to every image and chart. Its subjects are among them.
func (g gatherer) provenance() error {
	m := g.rel.Manifest
	name := signature.AttestationPath(m.Name, m.Version.String())
	b, err := readDocument(g.rel.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b = []byte(strings.TrimSuffix(string(b), "\n")) // a line of a file, and a document of its own here
	for _, r := range g.repos {
		for _, root := range r.Roots {
			d, err := attach(attachment{
				artifact: signature.BundleMediaType, config: inMemory([]byte("{}")), configType: emptyType,
				layer: inMemory(b), layerType: signature.BundleMediaType, subject: descriptor(root),
				notes: map[string]string{
					"dev.sigstore.bundle.content":       "dsse-envelope",
					"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1",
					"org.opencontainers.image.created":  m.Time.UTC().Format(time.RFC3339),
				},
			})
			if err != nil {
				return err
			}
			r.Attached = append(r.Attached, d)
		}
	}
	return nil
}

// signatures takes the signatures of images and charts out of their layout, where there is one.
func (g gatherer) signatures() error {
	dir := g.rel.Path(signature.LayoutDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, fetch, err := signature.OpenLayout(root.FS())
	if err != nil {
		return fault.New(fault.Mismatch, err)
	}
	for _, e := range entries {
		repo, _, byDigest := strings.Cut(e.Name, "@")
		name := ""
		if !byDigest {
			i := strings.LastIndexByte(repo, ':')
			if i < 0 {
				return fault.Errorf(fault.Mismatch, "signature %.120q has no repository", e.Name)
			}
			repo, name = repo[:i], repo[i+1:]
		}
		r, ok := g.repos[g.to(repo)]
		if !ok {
			continue
		}
		var m ociManifest
		if err := canonjson.DecodeOpen(e.Manifest, &m); err != nil {
			return fault.Errorf(fault.Mismatch, "reading signature %.120q: %w", e.Name, err)
		}
		d := document{content: inMemory(e.Manifest), MediaType: string(types.OCIManifestSchema1), Artifact: e.ArtifactType, Notes: m.Annotations}
		for _, b := range append([]ociDescriptor{m.Config}, m.Layers...) {
			text, err := fetch(b.Digest, b.Size)
			if err != nil {
				return fault.New(fault.Mismatch, err)
			}
			d.Blobs = append(d.Blobs, inMemory(text))
		}
		if m.Subject != nil {
			d.Subject = m.Subject.Digest
			r.Attached = append(r.Attached, d)
			continue
		}
		r.Signed = append(r.Signed, signed{Tag: name, document: d})
	}
	return nil
}

// split divides a repository into its registry and its path there.
func split(repository string) (host, name string) {
	host, name, _ = strings.Cut(repository, "/")
	return host, name
}

// Hosts are the registries that the release goes to, sorted, given where each repository of the manifest goes.
func Hosts(m manifest.Release, to func(repository string) []string) []string {
	seen := map[string]bool{}
	add := func(repository string) {
		for _, where := range to(repository) {
			host, _ := split(where)
			seen[host] = true
		}
	}
	for _, im := range m.Images {
		add(im.Repository)
	}
	for _, c := range m.Charts {
		if c.Digest != "" {
			add(c.Repository)
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
