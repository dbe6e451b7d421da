package verify_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// What a release of a platform says of its components is held to the release.
func TestPlatform(t *testing.T) {
	v, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, want    string
		edit          func(p *composition.Platform)
		inputs        []string
		unpublishable []string
		raw           string
	}{
		{what: "whole", inputs: []string{"proto@0.9.3"}},
		{what: "another platform", edit: func(p *composition.Platform) { p.Name = "core" }, inputs: []string{"proto@0.9.3"}, want: `its name is "core", want "hello"`},
		{what: "another version", edit: func(p *composition.Platform) { p.Version, _ = version.Parse("1.2.4") }, inputs: []string{"proto@0.9.3"}, want: `its version is "1.2.4", want "1.2.3"`},
		{what: "not made from that", want: "proto@0.9.3, which is not among the inputs"},
		{what: "made from another", inputs: []string{"proto@0.9.4"}, want: "proto@0.9.3, which is not among the inputs"},
		{what: "not published", edit: func(p *composition.Platform) { p.Components[0].Manifest, p.Components[0].Signer = "", "" }, want: "proto was not published, and release.json says nothing of that"},
		{what: "not published, and said", edit: func(p *composition.Platform) { p.Components[0].Manifest, p.Components[0].Signer = "", "" }, unpublishable: []string{"proto"}},
		{what: "no document", raw: "{}", want: "schema"},
	} {
		p := composition.Platform{Name: "hello", Version: v, Channel: "stable", Components: []composition.Component{{
			Name: "proto", Version: "0.9.3", Commit: strings.Repeat("a", 40), Manifest: artifact.Sum(nil), Signer: "sha256:key", Repository: "r", Releases: "r",
		}}}
		if tt.edit != nil {
			tt.edit(&p)
		}
		text, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if tt.raw != "" {
			text = []byte(tt.raw)
		}
		dir := t.TempDir()
		if _, err := verifytest.Write(dir, verifytest.Options{
			Bare: true, Unpublishable: tt.unpublishable, Edit: func(files map[string][]byte) { files[composition.FileName] = text },
			EditManifest: func(r *manifest.Release) {
				for _, name := range tt.inputs {
					r.Inputs = append(r.Inputs, manifest.Input{Kind: "component", Name: name, Digest: string(artifact.Sum(nil))})
				}
			},
		}); err != nil {
			t.Fatal(err)
		}
		report, err := verify.Dist(t.Context(), dir, verify.Options{AllowUnpublishable: true, AllowUnsigned: true})
		var said string
		for _, row := range report.Rows {
			if row.Path == composition.FileName {
				said = string(row.Verdict) + " " + row.Detail
			}
		}
		if tt.want == "" && (err != nil || said != "PASS components: 1") || tt.want != "" && (fault.CodeOf(err) != fault.Mismatch || !strings.Contains(said, tt.want)) {
			t.Errorf("%s: %v, %q, want %q", tt.what, err, said, tt.want)
		}
	}
}
