package chart

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// part is a chart on disk that an umbrella may have in it.
func part(t *testing.T, alias, name, version string, extra ...archive.File) Part {
	t.Helper()
	tgz := packaged(t, name, version, extra...)
	file := filepath.Join(t.TempDir(), "chart.tgz")
	if err := os.WriteFile(file, tgz, 0o600); err != nil {
		t.Fatal(err)
	}
	return Part{Dependency: Dependency{Name: name, Version: version, Repository: "component:" + name, Digest: artifact.Sum(tgz), File: file}, Alias: alias}
}

func pool(t *testing.T) Umbrella {
	t.Helper()
	crd := archive.Bytes("gateway/crds/route.yaml", []byte("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: routes.example.com}\n"))
	return Umbrella{
		Name: "edge", Description: "The edge: all of it", Home: "https://example.com", Source: "https://example.com/edge", Text: "edge 2.1.0\n",
		Charts: []Part{part(t, "", "gateway", "1.4.2", crd), part(t, "a-web", "web", "1.0.0"), part(t, "b-web", "web", "2.0.0")},
	}
}

func umbrella(t *testing.T, u Umbrella) ([]byte, Result, error) {
	t.Helper()
	var b bytes.Buffer
	o := appOptions("")
	o.Version, o.AppVersion = "2.1.0", "2.1.0"
	r, err := PackageUmbrella(t.Context(), &b, u, o)
	return b.Bytes(), r, err
}

// Helm reads the chart, installs all of it by default and what its values say else, and has every definition that is in a chart in it.
func TestUmbrella(t *testing.T) {
	u := pool(t)
	tgz, r, err := umbrella(t, u)
	if err != nil || r.Name != "edge" || len(r.Warnings) != 0 || r.Stored == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	again, _, err := umbrella(t, u)
	if err != nil || !bytes.Equal(tgz, again) {
		t.Errorf("other bytes, %v", err)
	}
	for name, want := range map[string][]string{
		"":                            {"edge/charts/a-web/templates/cm.yaml", "edge/charts/b-web/templates/cm.yaml", "edge/charts/gateway/templates/cm.yaml", "edge/templates/NOTES.txt"},
		"gateway: {enabled: false}":   {"edge/charts/a-web/templates/cm.yaml", "edge/charts/b-web/templates/cm.yaml", "edge/templates/NOTES.txt"},
		`"a-web": {enabled: false}`:   {"edge/charts/b-web/templates/cm.yaml", "edge/charts/gateway/templates/cm.yaml", "edge/templates/NOTES.txt"},
		"global: {some: value}\nx: 1": {"edge/charts/a-web/templates/cm.yaml", "edge/charts/b-web/templates/cm.yaml", "edge/charts/gateway/templates/cm.yaml", "edge/templates/NOTES.txt"},
	} {
		c, err := open(tgz)
		if err != nil {
			t.Fatal(err)
		}
		if crds := c.CRDObjects(); len(crds) != 1 || !strings.Contains(string(crds[0].File.Data), "routes.example.com") {
			t.Errorf("%d definitions", len(crds))
		}
		rendered, err := renderAll(c, valuesFile{name: name, data: []byte(name)})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(rendered)); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	got := members(t, tgz)
	for _, want := range u.Charts {
		b, err := os.ReadFile(want.File)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("edge/charts/%s-%s.tgz", want.Name, want.Version)
		if !slices.ContainsFunc(got, func(m member) bool { return m.header.Name == name && m.data == string(b) }) {
			t.Errorf("%s is not there, or has other bytes", name)
		}
	}
}

// What is not as it was locked, or does not go into one chart, leaves nothing behind.
func TestUmbrellaRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		code       fault.Code
		edit       func(u *Umbrella)
	}{
		{"other bytes", "its digest is", fault.Mismatch, func(u *Umbrella) { u.Charts[0].Digest = artifact.Sum(nil) }},
		{"another name", "the archive holds web 1.0.0", fault.Mismatch, func(u *Umbrella) { u.Charts[1].Name = "other" }},
		{"gone", "is not there", fault.Usage, func(u *Umbrella) { u.Charts[0].File += ".gone" }},
		{"a chart that does not render", "no such thing", fault.Build, func(u *Umbrella) {
			u.Charts[0] = part(t, "", "gateway", "1.4.2", archive.Bytes("gateway/templates/bad.yaml", []byte(`{{ fail "no such thing" }}`)))
		}},
		{"an image that moves", "latest", fault.Policy, func(u *Umbrella) {
			u.Charts[0] = part(t, "", "gateway", "1.4.2", archive.Bytes("gateway/templates/pod.yaml", []byte("kind: Pod\nspec: {containers: [{name: main, image: example.com/x:latest}]}\n")))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := pool(t)
			tt.edit(&u)
			tgz, _, err := umbrella(t, u)
			wantFault(t, err, tt.code, "chart edge: ", tt.want)
			if len(tgz) != 0 {
				t.Errorf("%d bytes are written", len(tgz))
			}
		})
	}
}

// What an installation takes in Helm's secret grows with what is rendered.
func TestStored(t *testing.T) {
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = 'a' + byte(rand.IntN(26))
	}
	u := pool(t)
	u.Charts[0] = part(t, "", "gateway", "1.4.2", archive.Bytes("gateway/templates/large.yaml", []byte("kind: ConfigMap\ndata: {large: "+string(noise)+"}\n")))
	_, r, err := umbrella(t, u)
	if err != nil || r.Stored < MaxStored*7/10 || r.Stored > 2*MaxStored {
		t.Errorf("%d bytes, %v", r.Stored, err)
	}
}

// A chart of the platform's own takes those of components that it asks for, and no others.
func TestOffered(t *testing.T) {
	gateway := part(t, "", "gateway", "1.4.2")
	dir := needing(t, `{name: gateway, version: ">=1.4.0", repository: "component:gateway"}`)
	o := appOptions(dir)
	o.Offered = []Dependency{gateway.Dependency, part(t, "", "web", "1.0.0").Dependency}
	tgz, _ := mustPack(t, o)
	got := names(t, tgz)
	if !slices.Contains(got, "tiny/charts/gateway-1.4.2.tgz") || slices.Contains(got, "tiny/charts/web-1.0.0.tgz") {
		t.Errorf("%q", got)
	}
	if deps, err := Resolve(t.Context(), dir, nil); err != nil || len(deps) != 0 {
		t.Errorf("%v, %v: the lock of the platform says which it is", deps, err)
	}
	_, err := Package(t.Context(), &bytes.Buffer{}, appOptions(dir))
	wantFault(t, err, fault.Usage, `component "gateway" of the platform, as it is locked, has no such chart`)
	o.Offered[0].Version = "1.3.0"
	_, err = Package(t.Context(), &bytes.Buffer{}, o)
	wantFault(t, err, fault.Usage, "asks for >=1.4.0, and component gateway is locked with 1.3.0")
}
