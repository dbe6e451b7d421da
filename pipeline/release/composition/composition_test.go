package composition_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

func edge(t testing.TB, edit func(*composition.Platform)) composition.Platform {
	t.Helper()
	v, err := version.Parse("2.1.4")
	if err != nil {
		t.Fatal(err)
	}
	p := composition.Platform{Name: "edge", Version: v, Channel: "stable", Components: []composition.Component{
		{Name: "proto", Version: "0.9.3", Tag: "v0.9.3", Commit: strings.Repeat("b", 40), Repository: "https://example.com/proto", Releases: "https://releases.example.com"},
		{
			Name: "gateway", Version: "1.4.2", Tag: "gateway/v1.4.2", Commit: strings.Repeat("a", 40), Manifest: artifact.Sum([]byte("x")), Signer: "sha256:key",
			Repository: "https://example.com/gateway", Releases: "https://releases.example.com", Needs: []string{"proto"},
		},
	}}
	if edit != nil {
		edit(&p)
	}
	return p
}

func TestPlatform(t *testing.T) {
	b, err := edge(t, nil).Encode()
	if err != nil {
		t.Fatal(err)
	}
	p, err := composition.Decode(b)
	if err != nil || p.Components[0].Name != "gateway" {
		t.Fatalf("%s\n%+v, %v", b, p, err)
	}
	if c, ok := p.Component("proto"); !ok || c.Version != "0.9.3" {
		t.Errorf("%+v", c)
	}
	if _, ok := p.Component("web"); ok {
		t.Error("it has web")
	}
	for _, tt := range []struct {
		want string
		edit func(p *composition.Platform)
	}{
		{"no name", func(p *composition.Platform) { p.Name = "Edge" }},
		{"has none", func(p *composition.Platform) { p.Components = nil }},
		{"stands behind", func(p *composition.Platform) { p.Components = append(p.Components, p.Components[0]) }},
		{"no name of one", func(p *composition.Platform) { p.Components[0].Name = "../x" }},
		{"not the full name", func(p *composition.Platform) { p.Components[0].Commit = "main" }},
		{"without the other", func(p *composition.Platform) { p.Components[1].Signer = "" }},
		{"no version", func(p *composition.Platform) { p.Components[1].Version = "" }},
		{"is none", func(p *composition.Platform) { p.Components[1].Version = "v1.4.2" }},
		{"needs", func(p *composition.Platform) { p.Components[1].Needs = []string{"web"} }},
		{"not sorted", func(p *composition.Platform) { p.Components[1].Needs = []string{"proto", "gateway"} }},
		{"not sorted", func(p *composition.Platform) { p.Components[1].Needs = []string{"proto", "proto"} }},
		{"begins with -", func(p *composition.Platform) { p.Components[1].Tag = "-x" }},
		{"nothing says where", func(p *composition.Platform) { p.Components[1].Releases = "" }},
		{"digest", func(p *composition.Platform) { p.Components[1].Manifest = "sha256:x" }},
	} {
		if _, err := edge(t, tt.edit).Encode(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	for old, want := range map[string]string{
		`"name": "edge"`:        "",
		`  "name": "edge"`:      "canonical form",
		`"channel"`:             "unknown",
		`"slipway.platform/v1"`: "version of slipway",
		`"name": "proto"`:       "needs",
		strings.Repeat("a", 40): "not the full name",
	} {
		to := map[string]string{
			`"name": "edge"`: `"name": "core"`, `  "name": "edge"`: `"name": "edge"`, `"channel"`: `"chanel"`, `"slipway.platform/v1"`: `"slipway.platform/v2"`,
			`"name": "proto"`: `"name": "a"`, strings.Repeat("a", 40): "a",
		}[old]
		_, err := composition.Decode([]byte(strings.Replace(string(b), old, to, 1)))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", old, err, want)
		}
	}
}

func TestBases(t *testing.T) {
	base := composition.Base{Name: "alpine", Image: "ghcr.io/acme/base:2.1.4", Digest: artifact.Sum([]byte("a")), Record: artifact.Sum([]byte("b"))}
	before := edge(t, nil)
	with := func(all ...composition.Base) composition.Platform {
		return edge(t, func(p *composition.Platform) { p.Bases = all })
	}
	b, err := with(base).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := composition.Decode(b); err != nil || len(p.Bases) != 1 || p.Bases[0] != base {
		t.Errorf("%s\n%+v, %v", b, p, err)
	}
	next := base
	next.Image, next.Digest = "ghcr.io/acme/base:2.1.5", artifact.Sum([]byte("c"))
	for _, tt := range []struct {
		before, after composition.Platform
		want          string
	}{
		{before, with(base), "base alpine: new, ghcr.io/acme/base:2.1.4 ca978112ca1b"},
		{with(base), before, "base alpine: ghcr.io/acme/base:2.1.4 ca978112ca1b, gone"},
		{with(base), with(next), "base alpine: ghcr.io/acme/base:2.1.4 ca978112ca1b -> ghcr.io/acme/base:2.1.5 2e7d2c03a950"},
	} {
		if got := composition.DiffBases(tt.before, tt.after); len(got) != 1 || got[0].String() != tt.want {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
	if got := composition.DiffBases(with(base), with(base)); got != nil {
		t.Errorf("%v", got)
	}
	for want, all := range map[string][]composition.Base{
		"stands behind": {base, base}, "no name or no image": {{Name: "a"}}, "digest": {{Name: "a", Image: "x:1", Digest: base.Digest}},
	} {
		if _, err := with(all...).Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := edge(f, nil).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := composition.Decode(b)
		if err != nil {
			return
		}
		if p.Minor == 0 && len(p.Requires) == 0 {
			if again, err := p.Encode(); err != nil || string(again) != string(b) {
				t.Errorf("%q is written as %q, %v", b, again, err)
			}
		}
	})
}
