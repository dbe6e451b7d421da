// Package artifacthub writes what Artifact Hub (https://artifacthub.io) reads of a release: the annotations of a chart
// and the file about the repository that charts are in.
//
// Artifact Hub reads every annotation as a string, some of them as YAML or as a boolean in that string, and lists no
// version of a chart that has one it cannot read (https://artifacthub.io/docs/topics/annotations/helm/).
package artifacthub

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/notes"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// The repository's file is an OCI artifact in the repository of the chart, under a tag of its own
// (https://artifacthub.io/docs/topics/repositories/helm-charts/#oci-support).
const (
	RepositoryFile   = "artifacthub-repo.yml"
	RepositoryTag    = "artifacthub.io"
	RepositoryConfig = "application/vnd.cncf.artifacthub.config.v1+yaml"
	RepositoryLayer  = "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"
)

// prefix of all annotations.
const prefix = "artifacthub.io/"

// Facts are what Artifact Hub is told. Those that are zero are left out.
type Facts struct {
	Version  version.Version // of the release; must be set for Annotations
	License  string          // SPDX identifier
	Images   []Image         // of the release, in the order in which they are listed
	Changes  []notes.Change
	Security bool // the release has security updates
	Links    []notes.Link
	SignKey  SignKey
	Category string // one of Categories

	RepositoryID string  // UUID that Artifact Hub gave the repository
	Owners       []Owner // who may claim the repository
	Ignore       []Ignored
}

// Image is an image of the release on one distribution.
type Image struct {
	Repository string // with its registry, without a tag
	Distro     string // name of the distribution, the end of the tag; "" for the bare version
	Platforms  []artifact.Platform
}

// SignKey is where people find the public key that charts are signed with.
type SignKey struct {
	Fingerprint string
	URL         string
}

// Owner is somebody whose Artifact Hub account has this address.
type Owner struct{ Name, Email string }

// Ignored is a package, or the versions of it that match a regular expression, that Artifact Hub does not list.
type Ignored struct{ Name, Version string }

// Categories are the values that Artifact Hub takes as a category. The last one keeps it from guessing one.
var Categories = []string{
	"ai-machine-learning", "database", "integration-delivery", "monitoring-logging", "networking", "security", "storage",
	"streaming-messaging", "skip-prediction",
}

var kinds = []notes.Kind{notes.Added, notes.Changed, notes.Deprecated, notes.Removed, notes.Fixed, notes.Security}

// Reference is the image by the tag that this release gives it.
func (i Image) Reference(v version.Version) string {
	tag := v.OCITag()
	if i.Distro != "" {
		tag += "-" + i.Distro
	}
	return i.Repository + ":" + tag
}

// name tells the images of a release apart.
func (i Image) name() string {
	name := i.Repository[strings.LastIndexByte(i.Repository, '/')+1:]
	if i.Distro != "" {
		name += "-" + i.Distro
	}
	return name
}

type imageYAML struct {
	Name      string   `yaml:"name"`
	Image     string   `yaml:"image"`
	Platforms []string `yaml:"platforms,omitempty"`
}

type linkYAML struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
}

type changeYAML struct {
	Kind        notes.Kind `yaml:"kind"`
	Description string     `yaml:"description"`
	Links       []linkYAML `yaml:"links,omitempty"`
}

type keyYAML struct {
	Fingerprint string `yaml:"fingerprint,omitempty"`
	URL         string `yaml:"url"`
}

// Annotations are the annotations of the chart. What Check refuses is left out, so that one bad fact does not keep
// Artifact Hub from listing the chart.
func Annotations(f Facts) map[string]string {
	out := map[string]string{
		prefix + "prerelease":              strconv.FormatBool(f.Version.IsPrerelease()),
		prefix + "containsSecurityUpdates": strconv.FormatBool(f.Security),
	}
	set := func(key, value string) {
		if value != "" {
			out[prefix+key] = value
		}
	}
	set("license", f.License)
	if slices.Contains(Categories, f.Category) {
		set("category", f.Category)
	}
	var images []imageYAML
	for _, i := range f.Images {
		if i.check() == nil && !f.Version.IsZero() {
			image := imageYAML{Name: i.name(), Image: i.Reference(f.Version)}
			for _, p := range i.Platforms {
				image.Platforms = append(image.Platforms, p.String())
			}
			images = append(images, image)
		}
	}
	set("images", list(images))
	var changes []changeYAML
	for _, c := range f.Changes {
		if slices.Contains(kinds, c.Kind) && c.Description != "" {
			changes = append(changes, changeYAML{c.Kind, c.Description, links(c.Links)})
		}
	}
	set("changes", list(changes))
	set("links", list(links(f.Links)))
	if checkURL("", f.SignKey.URL) == nil {
		set("signKey", string(encode(keyYAML(f.SignKey))))
	}
	return out
}

func links(all []notes.Link) []linkYAML {
	var out []linkYAML
	for _, l := range all {
		if l.Name != "" && checkURL(l.Name, l.URL) == nil {
			out = append(out, linkYAML(l))
		}
	}
	return out
}

// list is a list as YAML, "" for an empty one.
func list[T any](all []T) string {
	if len(all) == 0 {
		return ""
	}
	return string(encode(all))
}

// encode writes values of this package, which cannot go wrong.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(v), enc.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var (
	uuid        = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	email       = regexp.MustCompile(`^[^\s@<>]+@[^\s@<>]+$`)
	webURL      = regexp.MustCompile(`^https?://[^\s/]+(?:/\S*)?$`)
	repository  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+$`)
	distro      = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)
	fingerprint = regexp.MustCompile(`^[A-Za-z0-9:+/=._-]+$`)
)

func checkURL(name, s string) error {
	if !webURL.MatchString(s) {
		return fmt.Errorf("link %.60q: %.80q is not an http or https URL", name, s)
	}
	return nil
}

func (i Image) check() error {
	if !repository.MatchString(i.Repository) || !distro.MatchString(i.Distro) {
		return fmt.Errorf("image %.80q of %.40q is not a repository with its registry, such as ghcr.io/owner/name", i.Repository, i.Distro)
	}
	return nil
}

// Check tells which facts Artifact Hub would not accept, all of them at once.
func (f Facts) Check() error {
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	if f.Category != "" && !slices.Contains(Categories, f.Category) {
		add(fmt.Errorf("category %.60q is not one of %s", f.Category, strings.Join(Categories, ", ")))
	}
	for _, i := range f.Images {
		add(i.check())
	}
	for _, c := range f.Changes {
		if !slices.Contains(kinds, c.Kind) || c.Description == "" {
			add(fmt.Errorf("change %.60q has the kind %.20q, and Artifact Hub knows added, changed, deprecated, removed, fixed and security",
				c.Description, c.Kind))
		}
	}
	for _, l := range f.Links {
		if l.Name == "" {
			add(fmt.Errorf("link to %.80q has no name", l.URL))
		}
		add(checkURL(l.Name, l.URL))
	}
	if f.SignKey != (SignKey{}) {
		if f.SignKey.URL == "" {
			add(errors.New("the key that charts are signed with has no URL, which Artifact Hub requires: say where people find it"))
		} else {
			add(checkURL("sign key", f.SignKey.URL))
		}
		if f.SignKey.Fingerprint != "" && !fingerprint.MatchString(f.SignKey.Fingerprint) {
			add(fmt.Errorf("%.80q is not the fingerprint of a key", f.SignKey.Fingerprint))
		}
	}
	if f.RepositoryID != "" && !uuid.MatchString(f.RepositoryID) {
		add(fmt.Errorf("repository ID %.60q is not the UUID that Artifact Hub shows in its control panel", f.RepositoryID))
	}
	for _, o := range f.Owners {
		if o.Name == "" || !email.MatchString(o.Email) {
			add(fmt.Errorf("owner %.60q needs a name and the address of an account at Artifact Hub, not %.60q", o.Name, o.Email))
		}
	}
	for _, i := range f.Ignore {
		if i.Name == "" {
			add(errors.New("an ignored package has no name"))
		}
		if _, err := regexp.Compile(i.Version); err != nil {
			add(fmt.Errorf("versions of the ignored package %.60q: %w", i.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Repository is artifacthub-repo.yml, nil where there is nothing to say in it
// (https://github.com/artifacthub/hub/blob/master/docs/metadata/artifacthub-repo.yml). An error is that of Check.
func Repository(f Facts) ([]byte, error) {
	if err := (Facts{RepositoryID: f.RepositoryID, Owners: f.Owners, Ignore: f.Ignore}).Check(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", RepositoryFile, err)
	}
	if f.RepositoryID == "" && len(f.Owners) == 0 && len(f.Ignore) == 0 {
		return nil, nil
	}
	type owner struct {
		Name  string `yaml:"name"`
		Email string `yaml:"email"`
	}
	type ignored struct {
		Name    string `yaml:"name"`
		Version string `yaml:"version,omitempty"`
	}
	var file struct {
		RepositoryID string    `yaml:"repositoryID,omitempty"`
		Owners       []owner   `yaml:"owners,omitempty"`
		Ignore       []ignored `yaml:"ignore,omitempty"`
	}
	file.RepositoryID = f.RepositoryID
	for _, o := range f.Owners {
		file.Owners = append(file.Owners, owner(o))
	}
	for _, i := range f.Ignore {
		file.Ignore = append(file.Ignore, ignored(i))
	}
	return encode(file), nil
}
