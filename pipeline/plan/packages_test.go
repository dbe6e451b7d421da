package plan_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const small = `version: 1
project:
  name: tool
  description: "Does one thing. And does it well."
  repository: https://github.com/example/tool
binaries:
  - name: tool
    main: .
    targets: [TARGETS]
packages:
  - PACKAGE
`

const lock = "version: 1\ngo:\n  version: 1.26.8\n"

// packaged is the plan of a program for some targets with one entry of packages.
func packaged(t *testing.T, targets, fields string, o plan.Options) (plan.Plan, error) {
	t.Helper()
	text := strings.NewReplacer("TARGETS", targets, "PACKAGE", fields).Replace(small)
	c, l := parse(t, text, lock)
	return plan.New(commit(t, "1.2.3-rc.1"), c, l, o)
}

func outputs(p plan.Plan) []string {
	var out []string
	for _, pkg := range p.Packages {
		for _, c := range pkg.Carriers {
			out = append(out, c.Path)
		}
		for _, r := range pkg.Recipes {
			out = append(out, r.Path)
		}
	}
	return out
}

func TestPackages(t *testing.T) {
	for _, tt := range []struct{ name, targets, fields, want string }{
		{
			"what each format has", "linux/amd64, windows/amd64, darwin/arm64", "formats: [deb, rpm, apk, snap, nupkg, formula, cask, scoop, winget, script]",
			"packages/tool_1.2.3.rc.1_amd64.deb packages/tool-1.2.3.rc.1-1.x86_64.rpm packages/tool_1.2.3_rc1-r0_x86_64.apk packages/tool_1.2.3-rc.1_amd64.snap " +
				"packages/tool.1.2.3-rc-0001.nupkg packages/homebrew/Formula/tool.rb packages/homebrew/Casks/tool.rb packages/scoop/tool.json packages/winget/example.tool packages/install.sh",
		},
		{"no Linux, no Windows", "freebsd/amd64, openbsd/arm64", "maintainer: Tool", "packages/install.sh"},
		{"nothing at all", "plan9/386", "maintainer: Tool", ""},
		{"instruction sets that formats have no name for", "linux/amd64/v3", "formats: [deb, script]\n    maintainer: Tool", "an error"},
		{"named alone", "linux/arm64, linux/riscv64", "{name: kit, formats: [snap, script]}", "packages/kit_1.2.3-rc.1_arm64.snap packages/kit_1.2.3-rc.1_riscv64.snap packages/kit-install.sh"},
		{"two variants of one architecture", "linux/arm/v6, linux/arm/v7", "formats: [snap, apk]", "packages/tool_1.2.3_rc1-r0_armhf.apk packages/tool_1.2.3_rc1-r0_armv7.apk packages/tool_1.2.3-rc.1_armhf.snap"},
		{"named for nothing", "freebsd/amd64", "formats: [deb]", "an error"},
		{"named for nothing on Windows", "linux/amd64", "formats: [scoop]", "an error"},
	} {
		p, err := packaged(t, tt.targets, tt.fields, plan.Options{})
		if tt.want == "an error" {
			if err == nil || fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "slipway.yaml:11:") || !strings.Contains(err.Error(), "no target of tool can be packaged as ") || !strings.Contains(err.Error(), "; add one such as ") {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.Join(outputs(p), " "); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// Where no formats are named, all are made that the targets have a use for.
func TestAllFormats(t *testing.T) {
	p, err := packaged(t, "linux/amd64, windows/amd64, darwin/arm64", "maintainer: Tool <tool@example.com>", plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range p.Packages[0].Carriers {
		got = append(got, c.Format)
	}
	for _, r := range p.Packages[0].Recipes {
		got = append(got, r.Format)
	}
	if want := format.Where(nil); !slices.Equal(got, want) {
		t.Errorf("formats %q, want %q", got, want)
	}
}

// A plan that is narrowed to some targets has what these have a use for, also of formats that are named.
func TestPackagesNarrowed(t *testing.T) {
	only := []artifact.Platform{{OS: "linux", Arch: "arm64"}}
	p, err := packaged(t, "linux/amd64, linux/arm64, windows/amd64", "formats: [deb, scoop, formula]", plan.Options{Targets: only})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(outputs(p), " "); got != "packages/tool_1.2.3.rc.1_arm64.deb packages/homebrew/Formula/tool.rb" {
		t.Error(got)
	}
	if n := len(p.Packages[0].Recipes[0].Archives); n != 1 {
		t.Errorf("the formula fetches %d archives", n)
	}
}

// A package of two programs is for the platforms that have both.
func TestPackagesOfSeveral(t *testing.T) {
	text := strings.NewReplacer("TARGETS", "linux/amd64, linux/arm64", "PACKAGE", "{formats: [deb]}",
		"packages:", "  - {name: other, main: ./other, targets: [linux/arm64, windows/amd64]}\npackages:").Replace(small)
	c, l := parse(t, text, lock)
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{})
	if got := strings.Join(outputs(p), " "); got != "packages/tool_1.2.3_arm64.deb" {
		t.Error(got)
	}
	if got := p.Packages[0].Carriers[0].Binaries; !slices.Equal(got, []string{"binaries/tool_linux_arm64/tool", "binaries/other_linux_arm64/other"}) {
		t.Error(got)
	}
}

func TestPackageTexts(t *testing.T) {
	p, err := packaged(t, "linux/amd64", "formats: [deb]", plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pkg := p.Packages[0]
	if pkg.Summary != "Does one thing" || pkg.Description != "Does one thing. And does it well." || pkg.Maintainer != "example <example@users.noreply.github.com>" || pkg.Section != "utils" {
		t.Errorf("%+v", pkg)
	}
	long := strings.Repeat("word ", 30)
	p, err = packaged(t, "linux/amd64", "{formats: [deb], description: \""+long+"\"}", plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Packages[0].Summary; got != "Does one thing" {
		t.Errorf("summary %q", got)
	}
}

// Two repositories whose names end alike have bills of materials of their own.
func TestBillsOfImages(t *testing.T) {
	text := strings.NewReplacer("TARGETS", "linux/amd64", "PACKAGE", "{formats: [deb]}").Replace(small) +
		"images:\n  - {repository: ghcr.io/a/tool, distros: [alpine]}\n  - {repository: ghcr.io/b/tool, distros: [alpine]}\n"
	c, l := parse(t, text, lock)
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{StandIn: true})
	var got []string
	for _, s := range p.SBOMs {
		got = append(got, s.Path)
	}
	want := "sbom/tool_linux_amd64 sbom/tool_1.2.3_linux_amd64.tar.gz sbom/ghcr.io_a_tool_1.2.3-alpine_linux_amd64 sbom/ghcr.io_b_tool_1.2.3-alpine_linux_amd64"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestSigning(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	text := strings.NewReplacer("TARGETS", "linux/amd64", "PACKAGE", "{formats: [deb]}").Replace(small) + "signing:\n  key: ./tool.pub\n"
	c, l := parse(t, text, lock)
	if reads := plan.Reads(c, nil); !slices.Equal(reads, []string{"CHANGELOG.md", "tool.pub"}) {
		t.Errorf("the plan reads %q", reads)
	}
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{Files: map[string][]byte{"tool.pub": key}})
	if p.Signing == nil || p.Signing.Key != artifact.Sum(der) || p.Signing.PublicKey != string(key) {
		t.Errorf("%+v", p.Signing)
	}
	for want, files := range map[string]map[string][]byte{
		`slipway.yaml:13:8: signing.key: there is no file "./tool.pub" in the commit; the keygen command writes one`: nil,
		`slipway.yaml:13:8: signing.key: ./tool.pub: `:                                                               {"tool.pub": []byte("no key")},
	} {
		if _, err := plan.New(commit(t, "1.2.3"), c, l, plan.Options{Files: files}); err == nil || !strings.HasPrefix(err.Error(), want) || fault.CodeOf(err) != fault.Usage {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestNotes(t *testing.T) {
	text := strings.NewReplacer("TARGETS", "linux/amd64", "PACKAGE", "{formats: [deb]}").Replace(small)
	c, l := parse(t, text, lock)
	changelog := []byte("# Changes\n\n## 1.2.3\n\n### Fixed\n\n- What was broken.\n")
	p := make1(t, commit(t, "1.2.3"), c, l, plan.Options{Files: map[string][]byte{"CHANGELOG.md": changelog}})
	if !strings.Contains(p.Notes.Markdown, "- What was broken.") {
		t.Errorf("notes %q", p.Notes.Markdown)
	}
	c, l = parse(t, text+"notes: {changelog: NEWS.md}\n", lock)
	_, err := plan.New(commit(t, "1.2.3"), c, l, plan.Options{})
	if want := `slipway.yaml:12:20: notes.changelog: there is no file "NEWS.md" in the commit`; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
