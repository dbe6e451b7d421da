// Package images describes the distributions that images are built on, one file each.
//
// A description is data: which base, which platforms, which user, where the certificates are. The bytes of a base are
// pinned by digest in slipway.lock; nothing here resolves a tag.
package images

import (
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Distro is a distribution that an image is built on.
type Distro struct {
	Name  string // the suffix of the tag
	Title string
	Base  string // fully qualified image and tag that the lock resolves
	// Platforms that the base has and that Go builds for, in the order of the index.
	Platforms []artifact.Platform
	// User that the process runs as: numeric, since a cluster that refuses root reads nothing else
	// (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
	User string
	// Certificates is where programs of the distribution look for CA certificates.
	Certificates string
	// NeedsCertificates says that the base has no file there, so the image brings one.
	NeedsCertificates bool
	// Zoneinfo is where the base has time zones; empty where it has none.
	Zoneinfo string
	// Labels that the distribution's own rules ask for, by the label's name.
	Labels func(Facts) map[string]string
}

// Facts are what a distribution's labels may tell about a release.
type Facts struct {
	Name, Vendor, Version, Release, Summary, Description, Maintainer string
}

// nonroot is the user that distroless made customary for unprivileged processes.
const nonroot = "65532:65532"

// all are in the order in which they are documented.
var all = []Distro{alpine, ubuntu, distroless, ubi}

// ByName returns the distribution of that name.
func ByName(name string) (Distro, bool) {
	for _, d := range all {
		if d.Name == name {
			return d, true
		}
	}
	return Distro{}, false
}

// Names returns the names of all distributions in the order in which they are documented.
func Names() []string {
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	return names
}

func linux(arches ...string) []artifact.Platform {
	var ps []artifact.Platform
	for _, a := range arches {
		arch, variant, _ := strings.Cut(a, "/")
		ps = append(ps, artifact.Platform{OS: "linux", Arch: arch, Variant: variant})
	}
	return ps
}
