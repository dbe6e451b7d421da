package platform_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const withBase = whole + `bases:
  alpine:
    image: ghcr.io/acme/base-alpine
    from: docker.io/library/alpine:3.22@sha256:0123456789012345678901234567890123456789012345678901234567890123
    packages: [tini, "py3=3.12.1-r0"]
    upgrade: true
    files: base/alpine
    test: base/alpine.test
    platforms: [linux/amd64, linux/arm64]
`

func TestBases(t *testing.T) {
	p, err := platform.Parse("platform.yaml", []byte(withBase))
	if err != nil {
		t.Fatal(err)
	}
	b := p.Bases["alpine"]
	if image, digest := b.Upstream(); image != "docker.io/library/alpine:3.22" || !strings.HasPrefix(string(digest), "sha256:0123") || !b.Upgrade || len(b.Platforms) != 2 {
		t.Errorf("%+v", b)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"base-alpine\n", "base-alpine:1\n", "platform.yaml:18:12: bases.alpine.image:"},
		{"@sha256:0", "@sha256:", "platform.yaml:19:11: bases.alpine.from:"},
		{":3.22@", "@", "platform.yaml:19:11: bases.alpine.from:"},
		{"[tini", "[-tini", `bases.alpine.packages[0]: "-tini" is not`},
		{"[tini", `["tini;reboot"`, "bases.alpine.packages[0]:"},
		{"files: base/alpine", "files: ../base", "platform.yaml:22:12: bases.alpine.files:"},
		{"test: base", "test: /base", "bases.alpine.test:"},
		{"linux/arm64", "linux/amd64", "bases.alpine.platforms[1]: linux/amd64 stands there twice"},
		{"linux/arm64", "windows/amd64", "or is not one of linux"},
		{"platforms: [linux/amd64, linux/arm64]", "platforms: []", "bases.alpine.platforms is empty"},
		{"upgrade: true", "upgrade: always", "bases.alpine.upgrade: want true or false"},
		{"  alpine:\n", "  Alpine:\n", "is not a name"},
		{"    test:", "    tests:", `unknown key "tests"`},
		{"[tini", "[" + strings.Repeat("a, ", 256) + "tini", "there are 258, and at most 256"},
	} {
		_, err := platform.Parse("platform.yaml", []byte(strings.Replace(withBase, tt.old, tt.new, 1)))
		if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s -> %s: %v, want %q", tt.old, tt.new, err, tt.want)
		}
	}
	var many strings.Builder
	fmt.Fprint(&many, whole, "bases:\n")
	for i := range 65 {
		fmt.Fprintf(&many, "  b%d: {image: \"h/x\", from: \"h/x:1@sha256:%064d\", platforms: [linux/amd64]}\n", i, 0)
	}
	if _, err := platform.Parse("platform.yaml", []byte(many.String())); err == nil || !strings.Contains(err.Error(), "there are 65, and at most 64") || !strings.Contains(err.Error(), "b0 has the same repository") {
		t.Errorf("65 bases of one repository: %v", err)
	}
}

func TestBasesLocked(t *testing.T) {
	p, err := platform.Parse("platform.yaml", []byte(withBase))
	if err != nil {
		t.Fatal(err)
	}
	is := platform.Baked{Image: "ghcr.io/acme/base-alpine:2.1.4", Digest: artifact.Sum([]byte("index")), Record: artifact.Sum([]byte("record"))}
	l := platform.Lock{
		Version: 1, Channel: platform.Dev, Bases: map[string]platform.Baked{"alpine": is},
		Components: map[string]platform.Chosen{"gateway": {Commit: strings.Repeat("0", 40)}, "proto": {Commit: strings.Repeat("1", 40)}},
	}
	again, err := platform.ParseLock("platform.lock", l.Encode())
	if err != nil || again.Bases["alpine"] != is || !bytes.Equal(again.Encode(), l.Encode()) {
		t.Fatalf("%s\n%+v, %v", l.Encode(), again, err)
	}
	c := p.Compose(l)
	if len(c.Bases) != 1 || c.Bases[0].Input() != (artifact.Input{Kind: "base", Name: is.Image, Digest: string(is.Digest)}) {
		t.Errorf("%+v", c.Bases)
	}
	for want, edit := range map[string]func(b map[string]platform.Baked){
		"base alpine is not locked; run bases bake --push": func(b map[string]platform.Baked) { delete(b, "alpine") },
		"base debian is locked, and is none":               func(b map[string]platform.Baked) { b["debian"] = is },
		"is to be ghcr.io/acme/base-alpine, and ghcr.io/acme/other:1 is": func(b map[string]platform.Baked) {
			is.Image = "ghcr.io/acme/other:1"
			b["alpine"] = is
		},
	} {
		l.Bases = map[string]platform.Baked{"alpine": again.Bases["alpine"]}
		edit(l.Bases)
		if err := p.Agrees(l); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for old, with := range map[string]string{"  alpine: {image": "  Alpine: {image", ":2.1.4\"": "\"", "digest: \"sha256:": "digest: \"sha256:0"} {
		if _, err := platform.ParseLock("platform.lock", bytes.Replace(again.Encode(), []byte(old), []byte(with), 1)); err == nil {
			t.Errorf("%s in place of %s is read", with, old)
		}
	}
	if !slices.Equal(p.BaseNames(), []string{"alpine"}) {
		t.Error(p.BaseNames())
	}
}
