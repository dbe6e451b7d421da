package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish/policy"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

func TestCharts(t *testing.T) {
	index, amd64, other := string(artifact.Sum([]byte("index"))), string(artifact.Sum([]byte("amd64"))), string(artifact.Sum([]byte("other")))
	for _, tt := range []struct {
		name     string
		ref      string
		registry policy.Registry
		code     fault.Code
		says     string
	}{
		{"ours", "ghcr.io/example/tool:1.2.3", nil, fault.OK, "1 image in 1 chart"},
		{"ours of a distribution", "ghcr.io/example/tool:1.2.3-alpine", nil, fault.OK, "1 image"},
		{"ours by digest", "ghcr.io/example/tool@" + index, nil, fault.OK, "1 image"},
		{"ours by tag and digest", "ghcr.io/example/tool:1.2.3@" + index, nil, fault.OK, "1 image"},
		{"ours for one platform", "ghcr.io/example/tool@" + amd64, nil, fault.OK, "1 image"},
		{"theirs", "docker.io/library/redis:7.4.1", registry{"docker.io/library/redis:7.4.1": nil}, fault.OK, "1 image"},
		{"theirs in short", "redis:7.4.1-alpine", registry{"redis:7.4.1-alpine": nil}, fault.OK, "1 image"},
		{"theirs with a v", "quay.io/org/x:v0.1.0_build.1", registry{"quay.io/org/x:v0.1.0_build.1": nil}, fault.OK, "1 image"},
		{"theirs by digest", "quay.io/org/x@" + other, registry{"quay.io/org/x@" + other: nil}, fault.OK, "1 image"},
		{
			"theirs by digest beside a tag that moves", "quay.io/org/x:latest@" + other,
			registry{"quay.io/org/x:latest@" + other: nil},
			fault.OK, "1 image",
		},
		{"ours of an earlier release", "ghcr.io/example/tool:1.2.2", registry{"ghcr.io/example/tool:1.2.2": nil}, fault.OK, "1 image"},

		{"latest", "ghcr.io/example/tool:latest", registry{"ghcr.io/example/tool:latest": nil}, fault.Policy, `tag "latest" is not SemVer`},
		{"a line", "ghcr.io/example/tool:1.2", registry{"ghcr.io/example/tool:1.2": nil}, fault.Policy, `tag "1.2" is not SemVer`},
		{"a branch", "quay.io/org/x:master", registry{"quay.io/org/x:master": nil}, fault.Policy, "is not SemVer"},
		{"no tag", "quay.io/org/x", registry{"quay.io/org/x": nil}, fault.Policy, "has neither a tag nor a digest"},
		{"a port is not a tag", "localhost:5000/x", registry{"localhost:5000/x": nil}, fault.Policy, "has neither a tag nor a digest"},
		{
			"a snapshot", "quay.io/org/x:1.2.3-snapshot.4.gabc",
			registry{"quay.io/org/x:1.2.3-snapshot.4.gabc": nil},
			fault.Policy, "was not released",
		},
		{"a build", "quay.io/org/x:1.3.0-dev", registry{"quay.io/org/x:1.3.0-dev": nil}, fault.Policy, "was not released"},
		{
			"a build in capitals", "quay.io/org/x:1.3.0-SNAPSHOT-7",
			registry{"quay.io/org/x:1.3.0-SNAPSHOT-7": nil},
			fault.Policy, "was not released",
		},
		{"nobody's", "quay.io/org/x:1.0.0", registry{}, fault.Policy, "neither of this release nor in its registry"},
		{"nobody's digest", "ghcr.io/example/tool@" + other, registry{}, fault.Policy, "neither of this release nor in its registry"},
		{
			"ours, and another's digest", "ghcr.io/example/tool:1.2.3@" + other,
			registry{},
			fault.Policy, "neither of this release nor in its registry",
		},
		{"ours elsewhere", "quay.io/example/tool:1.2.3", registry{}, fault.Policy, "neither of this release nor in its registry"},
		{"another name that begins as ours", "ghcr.io/example/tool2:1.2.3", registry{}, fault.Policy, "neither of this release"},
		{"not asked", "quay.io/org/x:1.0.0", nil, fault.Policy, "its registry was not asked"},
		{"malformed digest", "ghcr.io/example/tool:1.2.3@sha256:abc", registry{}, fault.Policy, "digest"},
		{"empty digest", "ghcr.io/example/tool:1.2.3@", registry{}, fault.Policy, "digest"},
		{"malformed name", "ghcr.io/Example/../tool:1.2.3", registry{}, fault.Policy, "is not a reference"},
		{"malformed tag", "quay.io/org/x:1.2.3\n", registry{}, fault.Policy, "has a malformed tag"},
		{"empty", "", registry{}, fault.Policy, "is not a reference"},

		{
			"down", "quay.io/org/x:1.0.0",
			registry{"quay.io/org/x:1.0.0": fault.Errorf(fault.Transient, "502 Bad Gateway")},
			fault.Transient, "502 Bad Gateway (an image that moves, or that does not exist, installs something else or nothing); the same command asks again",
		},
		{
			"down in another way", "quay.io/org/x:1.0.0",
			registry{"quay.io/org/x:1.0.0": errors.New("no route to host")},
			fault.Transient, "no route to host",
		},
		{
			"not for us", "quay.io/org/x:1.0.0",
			registry{"quay.io/org/x:1.0.0": fault.Errorf(fault.Credentials, "401")},
			fault.Credentials, "mend that first",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := local(t)
			o.Images, o.Registry = images(tt.ref), tt.registry
			check(t, o, policy.Charts, tt.code, tt.says)
		})
	}
}

// TestDockerHub: Docker Hub has a name in short and one in full, and they are the same.
func TestDockerHub(t *testing.T) {
	for _, ref := range []string{"example/tool:1.2.3", "docker.io/example/tool:1.2.3", "index.docker.io/example/tool:1.2.3"} {
		o := local(t)
		o.Release.Images[0].Repository = "docker.io/example/tool"
		o.Images = images(ref)
		check(t, o, policy.Charts, fault.OK, "1 image")
	}
}

func TestChartsTogether(t *testing.T) {
	o := local(t)
	o.Release.Charts = append(o.Release.Charts, manifest.Chart{Name: "other", Version: "1.2.3", Path: "charts/other-1.2.3.tgz"})
	asked := []string{}
	o.Images = func(path string) ([]string, error) {
		asked = append(asked, path)
		return []string{"ghcr.io/example/tool:1.2.3", "quay.io/org/x:1.0.0", "quay.io/org/y"}, nil
	}
	o.Registry = registry{"quay.io/org/x:1.0.0": errGone}
	check(t, o, policy.Charts, fault.Policy, `chart tool: image "quay.io/org/x:1.0.0"`, `chart tool: image "quay.io/org/y"`,
		`chart other: image "quay.io/org/x:1.0.0"`, `chart other: image "quay.io/org/y"`)
	if got := strings.Join(asked, " "); got != "charts/tool-1.2.3.tgz charts/other-1.2.3.tgz" {
		t.Errorf("looked into %s", got)
	}

	o = local(t)
	o.Images = nil
	check(t, o, policy.Charts, fault.Policy, "the images in charts/tool-1.2.3.tgz were not looked for")
	o.Images = func(string) ([]string, error) { return nil, fault.Errorf(fault.Usage, "it is no chart") }
	check(t, o, policy.Charts, fault.Usage, "reading charts/tool-1.2.3.tgz: it is no chart")
	o.Images = images()
	check(t, o, policy.Charts, fault.OK, "0 images in 1 chart")
	o.Release.Charts, o.Images = nil, nil
	check(t, o, policy.Charts, fault.OK, "there are none")
}

// FuzzReference: whatever a chart says, what passes without a registry is an image of the release.
func FuzzReference(f *testing.F) {
	index := string(artifact.Sum([]byte("index")))
	for _, s := range []string{
		"ghcr.io/example/tool:1.2.3", "ghcr.io/example/tool@" + index, "ghcr.io/example/tool:x@" + index, "a:b@c", "[::1]:5000/x:1.2.3", ":", "@", "a@b@c",
		"ghcr.io/example/tool:1.2.3@", "ghcr.io/example/tool:1.2.3-alpine",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		o := local(t)
		o.Images = images(ref)
		all, err := policy.Check(t.Context(), o)
		found := of(all, policy.Charts)
		if len(found) != 1 || found[0].Passed != (err == nil) {
			t.Fatalf("%q: %v, %v", ref, found, err)
		}
		if found[0].Passed && !strings.HasPrefix(ref, "ghcr.io/example/tool:1.2.3") && !strings.HasSuffix(ref, "@"+index) {
			t.Errorf("%q is ours", ref)
		}
		if strings.ContainsFunc(found[0].Explain(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q is more than a line", found[0].Explain())
		}
	})
}
