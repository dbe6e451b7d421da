package images_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// userAndGroup are numbers other than 0: a cluster that refuses root cannot know what a name stands for.
var userAndGroup = regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`)

// qualified is an image with its registry, so that no default of a tool decides where it comes from, and one tag.
var qualified = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(/[a-z0-9-]+)+:([a-z0-9.]+)$`)

func TestDistros(t *testing.T) {
	want := map[string]string{
		"alpine":     "linux/amd64 linux/arm64 linux/386 linux/arm/v6 linux/arm/v7 linux/ppc64le linux/s390x linux/riscv64",
		"ubuntu":     "linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le linux/s390x linux/riscv64",
		"distroless": "linux/amd64 linux/arm64 linux/arm/v7 linux/ppc64le linux/s390x",
		"ubi":        "linux/amd64 linux/arm64 linux/ppc64le linux/s390x",
	}
	bases := map[string]string{}
	for _, name := range images.Names() {
		d, _ := images.ByName(name)
		t.Run(d.Name, func(t *testing.T) {
			var platforms []string
			for i, p := range d.Platforms {
				platforms = append(platforms, p.String())
				if parsed, err := artifact.ParsePlatform(p.String()); err != nil || parsed != p || p.OS != "linux" {
					t.Errorf("platform %s: %v", p, err)
				}
				if slices.Contains(d.Platforms[:i], p) {
					t.Errorf("platform %s is named twice", p)
				}
			}
			if got := strings.Join(platforms, " "); got != want[d.Name] {
				t.Errorf("the platforms are %s, want %s", got, want[d.Name])
			}
			if !userAndGroup.MatchString(d.User) {
				t.Errorf("user %q is not a number of each, without root", d.User)
			}
			m := qualified.FindStringSubmatch(d.Base)
			if m == nil || m[3] == "latest" {
				t.Errorf("base %q is not an image with its registry and a tag that means one release", d.Base)
			}
			if other, ok := bases[d.Base]; ok {
				t.Errorf("base %q is that of %s", d.Base, other)
			}
			bases[d.Base] = d.Name
			for what, p := range map[string]string{"certificates": d.Certificates, "zone information": d.Zoneinfo} {
				if p == "" && what == "zone information" {
					continue
				}
				if !path.IsAbs(p) || artifact.CheckPath(strings.TrimPrefix(p, "/")) != nil {
					t.Errorf("%s at %q", what, p)
				}
			}
			// The name is a part of tags and of paths.
			if artifact.CheckPath(d.Name) != nil || strings.ToLower(d.Name) != d.Name || strings.ContainsAny(d.Name, "/-._") || d.Title == "" {
				t.Errorf("name %q, title %q", d.Name, d.Title)
			}
			if found, ok := images.ByName(d.Name); !ok || found.Base != d.Base {
				t.Errorf("ByName = %+v, %t", found, ok)
			}
		})
		delete(want, d.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if _, ok := images.ByName("debian"); ok {
		t.Error("there is a distribution that nobody described")
	}
	if got := strings.Join(images.Names(), " "); got != "alpine ubuntu distroless ubi" {
		t.Errorf("the names are %s", got)
	}
	images.Names()[0] = "changed"
	if images.Names()[0] != "alpine" {
		t.Error("a caller can change the list")
	}
}

// Red Hat's certification wants these labels, each with a value.
func TestLabels(t *testing.T) {
	f := images.Facts{Name: "n", Vendor: "v", Version: "1.2.3", Release: "7", Summary: "s", Description: "d", Maintainer: "m"}
	ubi, _ := images.ByName("ubi")
	got := ubi.Labels(f)
	for name, want := range map[string]string{"name": "n", "vendor": "v", "maintainer": "m", "version": "1.2.3", "release": "7", "summary": "s", "description": "d"} {
		if got[name] != want {
			t.Errorf("label %s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 7 {
		t.Errorf("labels %v", got)
	}
}
