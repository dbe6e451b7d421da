package signature

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	refName       = "org.opencontainers.image.ref.name"
	layoutFile    = "oci-layout"
	layoutVersion = `{"imageLayoutVersion":"1.0.0"}`
	indexFile     = "index.json"
)

// maxObjects bounds the signatures of one release.
const maxObjects = 10_000

type imageIndex struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// Layout is the content of an OCI image layout of the objects, by slash-separated path
// (https://github.com/opencontainers/image-spec/blob/main/image-layout.md). The index names each object and is sorted
// by the names.
func Layout(objects []Object) (map[string][]byte, error) {
	index := imageIndex{SchemaVersion: 2, MediaType: IndexMediaType, Manifests: []descriptor{}}
	files := map[string][]byte{layoutFile: []byte(layoutVersion)}
	for _, o := range objects {
		d := describe(ManifestMediaType, o.Manifest)
		d.ArtifactType, d.Annotations = o.ArtifactType, map[string]string{refName: o.Name}
		index.Manifests = append(index.Manifests, d)
		for _, b := range append([][]byte{o.Manifest}, o.Blobs...) {
			files[blobPath(artifact.Sum(b))] = b
		}
	}
	slices.SortFunc(index.Manifests, func(a, b descriptor) int {
		return strings.Compare(a.Annotations[refName], b.Annotations[refName])
	})
	b, err := canonjson.Encode(index)
	files[indexFile] = b
	return files, err
}

func blobPath(d artifact.Digest) string { return "blobs/sha256/" + d.Hex() }

// Entry is a manifest that the index of a layout names.
type Entry struct {
	Name         string
	ArtifactType string
	Digest       artifact.Digest
	Manifest     []byte
}

// OpenLayout reads the index of a layout of signatures and the manifests in it.
func OpenLayout(fsys fs.FS) ([]Entry, Fetch, error) {
	b, err := readFile(fsys, layoutFile, int64(len(layoutVersion)))
	if err != nil {
		return nil, nil, fmt.Errorf("reading signatures: %w", err)
	}
	if string(b) != layoutVersion {
		return nil, nil, fmt.Errorf("reading signatures: %s is not %s", layoutFile, layoutVersion)
	}
	if b, err = readFile(fsys, indexFile, maxBundle); err != nil {
		return nil, nil, fmt.Errorf("reading signatures: %w", err)
	}
	var index imageIndex
	if err := canonjson.Decode(b, &index); err != nil {
		return nil, nil, fmt.Errorf("reading signatures: %s: %w", indexFile, err)
	}
	if index.SchemaVersion != 2 || index.MediaType != IndexMediaType || len(index.Manifests) > maxObjects {
		return nil, nil, fmt.Errorf("reading signatures: %s is not an index of at most %d manifests", indexFile, maxObjects)
	}
	fetch := func(d artifact.Digest, size int64) ([]byte, error) { return readFile(fsys, blobPath(d), size) }
	var entries []Entry
	for _, d := range index.Manifests {
		name := d.Annotations[refName]
		if slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == name }) {
			return nil, nil, fmt.Errorf("reading signatures: %.120q is named twice", name)
		}
		manifest, err := fetched(fetch, d, maxManifest)
		if err != nil {
			return nil, nil, fmt.Errorf("%.120q: %w", name, err)
		}
		entries = append(entries, Entry{Name: name, ArtifactType: d.ArtifactType, Digest: d.Digest, Manifest: manifest})
	}
	return entries, fetch, nil
}

// readFile reads a file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	return bounded.FS(fsys, name, limit)
}

// Check is what was found about a signature that a release must have, or must not have.
type Check struct {
	Name string // of the object, or path of a file in the layout
	Err  error  // nil if the signature holds
}

// Forms verify the two forms of an image's signature, each given its manifest.
type Forms struct {
	Classic  func(manifest []byte, fetch Fetch, im Image) error
	Referrer func(manifest []byte, fetch Fetch, im Image) error
}

// ByKey are the forms signed with key.
func ByKey(key PublicKey) Forms {
	return Forms{
		Classic:  func(manifest []byte, fetch Fetch, im Image) error { return VerifyClassic(manifest, fetch, im, key) },
		Referrer: func(manifest []byte, fetch Fetch, im Image) error { return VerifyReferrer(manifest, fetch, im, key) },
	}
}

// VerifyLayout holds the layout of a release's signatures to what must be signed: both forms over each image, as by says,
// and nothing else. A signature that is in logs of Rekor v2 alone has no classic form. There is a check for everything that is
// or should be there; an error says that the layout could not be read at all.
func VerifyLayout(fsys fs.FS, images []Image, by Forms) ([]Check, error) {
	entries, fetch, err := OpenLayout(fsys)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{layoutFile: true, indexFile: true}
	open := func(d artifact.Digest, size int64) ([]byte, error) {
		used[blobPath(d)] = true
		return fetch(d, size)
	}
	var checks []Check
	classic, referrer := map[string]bool{}, map[string]VerificationMaterial{}
	images = Merge(images)
	for _, e := range entries {
		used[blobPath(e.Digest)] = true
		repository, _, byDigest := strings.Cut(e.Name, "@")
		var err error
		if byDigest {
			err = verifyEntry(e, repository, open, images, referrer, by)
		} else if i := slices.IndexFunc(images, func(im Image) bool { return im.Repository+":"+ClassicTag(im.Digest) == e.Name }); i < 0 {
			err = errors.New("it does not sign anything in the release")
		} else {
			classic[images[i].String()] = true
			err = by.Classic(e.Manifest, open, images[i])
		}
		checks = append(checks, Check{Name: e.Name, Err: err})
	}
	for _, im := range images {
		bundled, ok := referrer[im.String()]
		if !classic[im.String()] && !(ok && bundled.unpromised()) {
			checks = append(checks, Check{Name: im.Repository + ":" + ClassicTag(im.Digest), Err: errors.New("there is no such signature")})
		}
		if !ok {
			checks = append(checks, Check{Name: im.String(), Err: errors.New("there is no bundle that refers to it")})
		}
	}
	files := 0
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if files++; files > 4*maxObjects {
			return fmt.Errorf("reading signatures: more than %d files", 4*maxObjects)
		}
		if err == nil && !d.IsDir() && !used[name] {
			checks = append(checks, Check{Name: name, Err: errors.New("no signature names it")})
		}
		return err
	})
	return checks, err
}

func verifyEntry(e Entry, repository string, fetch Fetch, images []Image, seen map[string]VerificationMaterial, by Forms) error {
	if e.Name != repository+"@"+string(e.Digest) || e.ArtifactType != BundleMediaType {
		return fmt.Errorf("it is not named by its digest %s", e.Digest)
	}
	bundle, subject, err := ReadReferrer(e.Manifest, fetch)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(images, func(im Image) bool { return im.Repository == repository && im.Digest == subject.Digest })
	if i < 0 {
		return fmt.Errorf("it is a signature of %s, which is not in the release under this name", subject.Digest)
	}
	if _, twice := seen[images[i].String()]; twice {
		return fmt.Errorf("it is a second signature of %s", subject.Digest)
	}
	seen[images[i].String()] = bundle.Material
	return by.Referrer(e.Manifest, fetch, images[i])
}
