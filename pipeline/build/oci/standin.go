package oci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/build/certs"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// StandIns are bases made in memory, for a machine that reaches no registry: an os-release, a passwd, a group and, as
// the real bases have it, a CA bundle. They show that a release can be assembled. A release on them says so and is
// refused by everyone who publishes or accepts releases.
type StandIns struct{}

// Base makes the stand-in for a distribution; see Bases.
func (StandIns) Base(_ context.Context, b plan.Base, p artifact.Platform) (Base, error) {
	d, ok := images.ByName(strings.TrimPrefix(b.Image, "stand-in/"))
	if !ok {
		return Base{}, fmt.Errorf("there is no stand-in for %s", b.Image)
	}
	files := []archive.File{
		archive.Bytes("etc/os-release", fmt.Appendf(nil, "ID=slipway-stand-in\nNAME=%q\nPRETTY_NAME=%q\n", "stand-in", "stand-in for "+d.Title)),
		archive.Bytes("etc/passwd", []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")),
		archive.Bytes("etc/group", []byte("root:x:0:\nnonroot:x:65532:\n")),
	}
	if !d.NeedsCertificates {
		files = append(files, archive.Bytes(strings.TrimPrefix(d.Certificates, "/"), certs.Bundle()))
	}
	var packed bytes.Buffer
	content := artifact.NewMeter(io.Discard)
	gz := archive.Gzip(&packed)
	// A stand-in is not a part of any commit, so its time is the beginning of all times.
	if err := archive.Tar(io.MultiWriter(content, gz), files, time.Unix(0, 0)); err != nil {
		return Base{}, err
	}
	if err := gz.Close(); err != nil {
		return Base{}, err
	}
	diffID, err := v1.NewHash(string(content.Digest()))
	if err != nil {
		return Base{}, err
	}
	return Base{
		Config: v1.ConfigFile{
			Architecture: p.Arch,
			OS:           p.OS,
			Variant:      p.Variant,
			RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
			History:      []v1.History{{CreatedBy: "slipway stand-in for " + d.Title}},
			Config:       v1.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
		},
		Layers: []Layer{{
			Blob:      Blob{artifact.Sum(packed.Bytes()), int64(packed.Len())},
			MediaType: types.OCILayer,
			Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(packed.Bytes())), nil
			},
		}},
	}, nil
}
