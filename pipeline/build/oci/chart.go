package oci

import (
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// File is a file that becomes the only layer of a manifest.
type File struct {
	Path        string // on disk
	Digest      artifact.Digest
	Size        int64 // bytes
	MediaType   string
	Config      []byte
	ConfigType  string
	Annotations map[string]string // of the manifest
}

// AddFile adds a file with its config and manifest to the layout and names the manifest, as a Helm chart is kept in a
// registry (https://helm.sh/docs/topics/registries/#helm-chart-manifest).
func AddFile(l *Layout, name string, f File) (Blob, error) {
	content := Blob{f.Digest, f.Size}
	if err := l.Add(content, func() (io.ReadCloser, error) { return os.Open(f.Path) }); err != nil {
		return Blob{}, err
	}
	config, err := l.Write(func(w io.Writer) error {
		_, err := w.Write(f.Config)
		return err
	})
	if err != nil {
		return Blob{}, err
	}
	configDesc, err := descriptor(config, types.MediaType(f.ConfigType))
	if err != nil {
		return Blob{}, err
	}
	layer, err := descriptor(content, types.MediaType(f.MediaType))
	if err != nil {
		return Blob{}, err
	}
	manifest, err := l.JSON(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        configDesc,
		Layers:        []v1.Descriptor{layer},
		Annotations:   f.Annotations,
	})
	if err != nil {
		return Blob{}, err
	}
	desc, err := descriptor(manifest, types.OCIManifestSchema1)
	if err != nil {
		return Blob{}, err
	}
	l.Name(desc, name)
	return manifest, nil
}
