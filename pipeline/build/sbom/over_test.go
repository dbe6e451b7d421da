package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// bill is the bill of a binary with modules.
func bill(t testing.TB, name string, modules ...Module) func() ([]byte, error) {
	t.Helper()
	digest := artifact.Sum([]byte(name))
	p := Program{Path: name, Digest: digest, Main: "example.com/" + name + "/cmd", Module: "example.com/" + name, Go: "1.26.0", Modules: modules}
	b, err := CycloneDX(Document{Project: overProject(name), Subject: Subject{Kind: artifact.Binary, Name: name, Digest: digest}, Programs: []Program{p}})
	if err != nil {
		t.Fatal(err)
	}
	return func() ([]byte, error) { return b, nil }
}

func overProject(name string) Project {
	return Project{Name: name, Version: "1.0.0", Commit: strings.Repeat("a", 40), Time: time.Unix(1700000000, 0), Tool: "slipway 0.0.0"}
}

func overDocument(t testing.TB, members ...Member) Document {
	t.Helper()
	m, err := Merge(members)
	if err != nil {
		t.Fatal(err)
	}
	return Document{Project: overProject("edge"), Subject: Subject{Kind: artifact.Composed, Name: "edge", Digest: artifact.Sum([]byte("platform.json"))}, Merged: m}
}

// A package that several members have is there once, and the graph says who has it.
func TestMerge(t *testing.T) {
	text := Module{Path: "golang.org/x/text", Version: "v0.30.0", Sum: "h1:a"}
	gateway := Member{
		Name: "gateway", Version: "1.4.2", Repository: "https://example.com/gateway", Commit: strings.Repeat("b", 40), Manifest: artifact.Sum([]byte("g")), Needs: []string{"proto"},
		Bills: []func() ([]byte, error){bill(t, "gateway", text, Module{Path: "example.com/only", Version: "v1.0.0"})},
	}
	proto := Member{Name: "proto", Version: "0.9.3", Repository: "../proto", Commit: strings.Repeat("c", 40), Manifest: artifact.Sum([]byte("p")), Bills: []func() ([]byte, error){bill(t, "proto", text)}}
	d := overDocument(t, gateway, proto)
	b, err := CycloneDX(d)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := CycloneDX(overDocument(t, proto, gateway))
	if err != nil || !bytes.Equal(b, turned) {
		t.Errorf("the order of members shows, %v", err)
	}
	var doc cdxDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, c := range doc.Components {
		refs = append(refs, c.Ref)
	}
	want := []string{
		"component/gateway", "component/proto", "package/pkg:golang/example.com/gateway@v1.0.0#cmd", "package/pkg:golang/example.com/only@v1.0.0",
		"package/pkg:golang/example.com/proto@v1.0.0#cmd", "package/pkg:golang/golang.org/x/text@v0.30.0", "package/pkg:golang/stdlib@1.26.0",
	}
	if !slices.Equal(refs, want) {
		t.Errorf("%q", refs)
	}
	on := map[string][]string{}
	for _, dep := range doc.Dependencies {
		on[dep.Ref] = dep.On
	}
	for ref, want := range map[string][]string{
		"subject":           {"component/gateway", "component/proto"},
		"component/gateway": {"component/proto", "package/pkg:golang/example.com/gateway@v1.0.0#cmd"},
		"package/pkg:golang/example.com/proto@v1.0.0#cmd": {"package/pkg:golang/golang.org/x/text@v0.30.0", "package/pkg:golang/stdlib@1.26.0"},
	} {
		if !slices.Equal(on[ref], want) {
			t.Errorf("%s: %q", ref, on[ref])
		}
	}
	if c := doc.Components[0]; c.Hashes[0].Value != gateway.Manifest.Hex() || !strings.HasPrefix(c.PURL, "pkg:generic/gateway@1.4.2?vcs_url=git") {
		t.Errorf("%+v", c)
	}
	s, err := SPDX(d)
	if err != nil || strings.Count(string(s), `"name": "golang.org/x/text"`) != 1 {
		t.Errorf("%s, %v", s, err)
	}
}

// Bills that are none, or contradict themselves, are refused.
func TestMergeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"{": "unexpected end", `{"bomFormat": "SPDX"}`: "not CycloneDX", `{"bomFormat": "CycloneDX"}`: "says not what it is of",
		`{"bomFormat": "CycloneDX", "metadata": {"component": {"bom-ref": "a", "name": "x"}}, "dependencies": [{"ref": "a", "dependsOn": ["b"]}]}`: "is not in it",
	} {
		_, err := Merge([]Member{{Name: "gateway", Bills: []func() ([]byte, error){func() ([]byte, error) { return []byte(text), nil }}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "of gateway") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	gone := errors.New("gone")
	if _, err := Merge([]Member{{Name: "gateway", Bills: []func() ([]byte, error){func() ([]byte, error) { return nil, gone }}}}); !errors.Is(err, gone) {
		t.Error(err)
	}
}

func BenchmarkMerge(b *testing.B) {
	var members []Member
	for i := range 200 {
		var modules []Module
		for j := range 500 {
			modules = append(modules, Module{Path: fmt.Sprintf("example.com/m%d", (i%10)*1000+j), Version: "v1.0.0", Sum: "h1:x"})
		}
		name := fmt.Sprintf("c%03d", i)
		members = append(members, Member{Name: name, Version: "1.0.0", Commit: strings.Repeat("a", 40), Manifest: artifact.Sum([]byte(name)), Bills: []func() ([]byte, error){bill(b, name, modules...)}})
	}
	b.ReportAllocs()
	for b.Loop() {
		d := overDocument(b, members...)
		for _, encode := range []func(Document) ([]byte, error){CycloneDX, SPDX} {
			if _, err := encode(d); err != nil {
				b.Fatal(err)
			}
		}
	}
}
