package bake

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// FileName is the name of a record.
const FileName = "base.json"

// Schema names the format of a record with its major version. A reader refuses any other.
const Schema = "slipway.base/v1"

// MaxRecord bounds a record, in bytes.
const MaxRecord = 1 << 20

// maxPlatforms bounds the platforms of a record.
const maxPlatforms = 64

var recordFormat = canonjson.Format{Schema: Schema}

// Record is base.json: what a base was made of and what came of it. A minor version that adds a key puts it behind all others.
type Record struct {
	Schema   string   `json:"schema"`
	Minor    int      `json:"minor,omitempty"`
	Requires []string `json:"requires,omitempty"`

	Name      string          `json:"name"`
	Image     string          `json:"image"`    // with the version of the platform as its tag
	Digest    artifact.Digest `json:"digest"`   // of the index
	From      string          `json:"from"`     // upstream, with its tag
	Upstream  artifact.Digest `json:"upstream"` // its digest
	Recipe    artifact.Digest `json:"recipe"`   // see Recipe.Digest
	Engine    string          `json:"engine"`
	Time      time.Time       `json:"time"` // when it was made, in whole seconds of UTC
	Test      *Tested         `json:"test,omitempty"`
	Platforms []Made          `json:"platforms"` // sorted

	// Unknown is what a later minor version says besides. It decides nothing.
	Unknown canonjson.Unknown `json:"-"`
}

// Tested is a test that a base has passed on each of its platforms; one that fails makes no base, so there is no record of it.
type Tested struct {
	Script artifact.Digest `json:"script"`
	Passed bool            `json:"passed"`
}

// Made is a platform of a base.
type Made struct {
	Platform artifact.Platform `json:"platform"`
	Manifest artifact.Digest   `json:"manifest"`
	Layer    artifact.Digest   `json:"layer,omitempty"` // "" where nothing was changed
	SBOM     artifact.Digest   `json:"sbom"`
	Packages int               `json:"packages"`
}

// DecodeRecord reads a record, in no other form than the one that Encode writes.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) > MaxRecord {
		return Record{}, fmt.Errorf("it has more than %d bytes", MaxRecord)
	}
	var r Record
	if err := recordFormat.Exact(b, &r, &r.Unknown, canonjson.Indent); err != nil {
		return Record{}, err
	}
	return r, r.check()
}

// Encode is the file.
func (r Record) Encode() ([]byte, error) {
	r.Schema, r.Minor, r.Requires, r.Unknown = Schema, recordFormat.Minor, nil, nil
	r.Platforms = slices.SortedFunc(slices.Values(r.Platforms), func(a, b Made) int { return a.Platform.Compare(b.Platform) })
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", FileName, err)
	}
	return canonjson.Indent(r)
}

func (r Record) check() error {
	switch {
	case !artifact.IsName(r.Name):
		return fmt.Errorf("%.60q is no name of a base", r.Name)
	case r.Image == "" || r.From == "" || r.Engine == "":
		return errors.New("it has no image, nothing that it was made of, or no engine")
	case !r.Time.Equal(r.Time.UTC().Truncate(time.Second)) || r.Time.Location() != time.UTC:
		return errors.New("its time is not in whole seconds of UTC")
	case len(r.Platforms) == 0 || len(r.Platforms) > maxPlatforms:
		return fmt.Errorf("it has %d platforms; a base has at least one and at most %d", len(r.Platforms), maxPlatforms)
	case r.Test != nil && !r.Test.Passed:
		return errors.New("its test did not pass")
	}
	digests := []artifact.Digest{r.Digest, r.Upstream, r.Recipe}
	if r.Test != nil {
		digests = append(digests, r.Test.Script)
	}
	for i, m := range r.Platforms {
		if i > 0 && r.Platforms[i-1].Platform.Compare(m.Platform) >= 0 {
			return fmt.Errorf("platform %s is not behind %s", m.Platform, r.Platforms[i-1].Platform)
		}
		if m.Packages < 1 {
			return fmt.Errorf("platform %s has no packages", m.Platform)
		}
		digests = append(digests, m.Manifest, cmp.Or(m.Layer, m.Manifest), m.SBOM)
	}
	for _, d := range digests {
		if _, err := artifact.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	return nil
}
