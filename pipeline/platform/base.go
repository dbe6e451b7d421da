package platform

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
)

// Bounds of the bases of a platform.
const (
	maxBases    = 64
	maxPackages = 256
)

// Base is an image that images of the components stand on, made once for the platform: its recipe.
type Base struct {
	Image     string              `yaml:"image" required:"true" doc:"Repository that it is pushed to, without a tag." example:"ghcr.io/owner/base-alpine"`
	From      string              `yaml:"from" required:"true" doc:"Image that it is made of, with its tag and its digest." example:"docker.io/library/alpine:3.22@sha256:<64 digits>"`
	Packages  []string            `yaml:"packages" doc:"Packages that are added, by the names that its package manager has." example:"tini"`
	Upgrade   bool                `yaml:"upgrade" doc:"Whether all packages are upgraded first."`
	Files     string              `yaml:"files" doc:"Folder beside this file whose files are put into the root of the image, last." example:"base/alpine"`
	Test      string              `yaml:"test" doc:"Shell script beside this file that is run in the image as its own user; unless it ends with 0 the image is no base." example:"base/alpine.test"`
	Platforms []artifact.Platform `yaml:"platforms" required:"true" doc:"Platforms that it is made for." example:"linux/amd64"`
}

var (
	baseImage   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+$`)
	baseFrom    = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})@(sha256:[0-9a-f]{64})$`)
	basePackage = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._:~=-]{0,127}$`)
)

// Upstream is the image that the base is made of: with its tag, and by digest.
func (b Base) Upstream() (image string, digest artifact.Digest) {
	image, d, _ := strings.Cut(b.From, "@")
	return image, artifact.Digest(d)
}

// BaseNames are the bases, sorted.
func (p Platform) BaseNames() []string { return slices.Sorted(maps.Keys(p.Bases)) }

func (p *Platform) validateBases(bad *yamldoc.Problems) {
	if len(p.Bases) > maxBases {
		bad.At("bases", "there are %d, and at most %d", len(p.Bases), maxBases)
	}
	images := map[string]string{}
	for _, name := range p.BaseNames() {
		b, key := p.Bases[name], "bases."+name
		if !artifact.IsName(name) {
			bad.At(key, "%.60q is not a name of up to 40 lower-case letters, digits and -", name)
		}
		if !baseImage.MatchString(b.Image) {
			bad.At(key+".image", "%.120q is not a repository with its registry and without a tag, such as ghcr.io/owner/base-alpine", b.Image)
		} else if other := images[b.Image]; other != "" {
			bad.At(key+".image", "%s has the same repository, and both would have the same tag there", other)
		}
		images[b.Image] = name
		if !baseFrom.MatchString(b.From) {
			bad.At(key+".from", "%.120q is not an image with its registry, tag and digest, such as docker.io/library/alpine:3.22@sha256:...", b.From)
		}
		if len(b.Packages) > maxPackages {
			bad.At(key+".packages", "there are %d, and at most %d", len(b.Packages), maxPackages)
		}
		for i, pkg := range b.Packages {
			if !basePackage.MatchString(pkg) {
				bad.At(fmt.Sprintf("%s.packages[%d]", key, i), "%.120q is not the name of a package", pkg)
			}
		}
		for field, file := range map[string]string{"files": b.Files, "test": b.Test} {
			if file != "" && (!filepath.IsLocal(file) || strings.ContainsAny(file, "\\\x00")) {
				bad.At(key+"."+field, "%.120q is not a path beside this file", file)
			}
		}
		seen := map[artifact.Platform]bool{}
		for i, pl := range b.Platforms {
			if pl.OS != "linux" || seen[pl] {
				bad.At(fmt.Sprintf("%s.platforms[%d]", key, i), "%s stands there twice, or is not one of linux", pl)
			}
			seen[pl] = true
		}
		if len(b.Platforms) == 0 {
			bad.At(key+".platforms", "there are none")
		}
	}
}

// Baked is a base as it was made.
type Baked struct {
	Image  string          `yaml:"image" required:"true" doc:"Image, with the version of the platform that it was made for as its tag."`
	Digest artifact.Digest `yaml:"digest" required:"true" doc:"Digest of its index."`
	Record artifact.Digest `yaml:"record" required:"true" doc:"Digest of its base.json, which says what it was made of."`
}

func (l Lock) validateBases(bad *yamldoc.Problems) {
	for _, name := range slices.Sorted(maps.Keys(l.Bases)) {
		if key := "bases." + name; !artifact.IsName(name) {
			bad.At(key, "%.60q is not the name of a base", name)
		} else if b := l.Bases[name]; !baseFrom.MatchString(b.Image + "@" + string(b.Digest)) {
			bad.At(key+".image", "%.120q is not an image with its registry and tag", b.Image)
		}
	}
}

// encodeBases writes the bases of a lock, if there are any.
func (l Lock) encodeBases(b *bytes.Buffer) {
	if len(l.Bases) > 0 {
		b.WriteString("bases:\n")
	}
	for _, name := range slices.Sorted(maps.Keys(l.Bases)) {
		is := l.Bases[name]
		fmt.Fprintf(b, "  %s: {image: %q, digest: %q, record: %q}\n", name, is.Image, is.Digest, is.Record)
	}
}

// agreesOnBases says which bases are not locked, and which are locked and are none or another image.
func (p Platform) agreesOnBases(l Lock) error {
	var errs []error
	for _, name := range p.BaseNames() {
		is, ok := l.Bases[name]
		if repository, _, _ := cutTag(is.Image); ok && repository != p.Bases[name].Image {
			errs = append(errs, fmt.Errorf("%s: base %s is to be %s, and %s is locked", p.At("bases."+name+".image"), name, p.Bases[name].Image, is.Image))
		} else if !ok {
			errs = append(errs, fmt.Errorf("%s: base %s is not locked", p.At("bases."+name), name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Bases)) {
		if _, ok := p.Bases[name]; !ok {
			errs = append(errs, fmt.Errorf("%s: base %s is locked, and is none of %s", p.At("name"), name, p.Name))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w; run bases bake --push and commit %s", errors.Join(errs...), LockFileName)
}

// cutTag cuts an image into repository and tag. The port of a registry is no tag.
func cutTag(image string) (repository, tag string, ok bool) {
	i := strings.LastIndexByte(image, ':')
	if i < strings.LastIndexByte(image, '/') || i < 0 {
		return image, "", false
	}
	return image[:i], image[i+1:], true
}

// composeBases are the bases of a platform as platform.json has them.
func (l Lock) composeBases() (all []composition.Base) {
	for _, name := range slices.Sorted(maps.Keys(l.Bases)) {
		is := l.Bases[name]
		all = append(all, composition.Base{Name: name, Image: is.Image, Digest: is.Digest, Record: is.Record})
	}
	return all
}
