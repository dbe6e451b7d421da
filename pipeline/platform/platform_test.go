package platform_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

func TestRange(t *testing.T) {
	for _, tt := range []struct{ text, has, hasNot string }{
		{">=1.4.0 <2.0.0", "1.4.0 1.4.1 1.99.0 1.4.0-rc.1 1.4.0+build", "1.3.9 2.0.0 2.0.0-rc.1 0.0.1 2.0.1"},
		{"=1.2.3", "1.2.3 1.2.3-rc.1", "1.2.4 1.2.2"},
		{">1.2.3 <=1.3.0", "1.2.4 1.3.0", "1.2.3 1.2.3-rc.1 1.3.1"},
		{">=9223372036854775807.0.0", "9223372036854775807.0.1", "1.0.0"},
	} {
		r, err := platform.ParseRange(tt.text)
		if err != nil || r.String() != tt.text {
			t.Errorf("%s is read as %s, %v", tt.text, r, err)
		}
		for want, list := range map[bool]string{true: tt.has, false: tt.hasNot} {
			for s := range strings.FieldsSeq(list) {
				if v, err := version.Parse(s); err != nil || r.Has(v) != want {
					t.Errorf("%s in %s: %t, %v", s, tt.text, !want, err)
				}
			}
		}
	}
	for text, want := range map[string]string{
		"":                  "is not comparators",
		"1.2.3":             "is not comparators",
		"^1.2.3":            "is not comparators",
		">=1.2.3  <2.0.0":   "is not comparators",
		">=1.2.3 || <2.0.0": "is not comparators",
		">= 1.2.3":          "is not comparators",
		">=1.2":             "is not SemVer",
		">=1.2.3-rc.1":      "more than three numbers",
		">=1.2.3+x":         "more than three numbers",
		">=1.x":             "is not SemVer",
		"=1.0.0 ":           "is not comparators",
		strings.TrimSpace(strings.Repeat("=1.0.0 ", 9)): "more than 8",
	} {
		if _, err := platform.ParseRange(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if v, _ := version.Parse("1.0.0"); !(platform.Range{}).Has(v) {
		t.Error("of whose versions nothing is said has not all")
	}
}

const whole = `version: 1
name: edge
components:
  gateway:
    repository: https://example.com/acme/mono.git
    tagPrefix: gateway/
    constraint: ">=1.4.0 <2.0.0"
    pin: 1.4.2
    releases: https://releases.example.com
    key: keys/acme.pub
    needs: {proto: ">=0.9.0 <0.10.0"}
  proto:
    repository: ../proto.git
    releases: releases
    identity: https://github.com/acme/proto/.github/workflows/release.yml@refs/tags/*
`

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"whole", "", "", ""},
		{"a key that is none", "pin: 1.4.2", "pinned: 1.4.2", `platform.yaml:8:5: unknown key "pinned" under components.gateway`},
		{"name", "name: edge", "name: Edge", `platform.yaml:2:7: name: "Edge" is not a name`},
		{"no component", whole[strings.Index(whole, "components"):], "components: {}\n", "platform.yaml:3:13: components"},
		{"component", "  gateway:", "  gate_way:", `"gate_way" is not a name`},
		{"pin outside of the range", "1.4.2", "2.0.0", "platform.yaml:8:10: components.gateway.pin: 2.0.0 is not in the constraint >=1.4.0 <2.0.0"},
		{"pin that is none", "1.4.2", "1.4", "platform.yaml:8:10: components.gateway.pin: version \"1.4\" is not SemVer"},
		{"need that is none", "{proto:", "{prota:", `platform.yaml:11:13: components.gateway.needs.prota: there is no component "prota"; did you mean "proto"?`},
		{"a cycle", "    releases: releases\n", "    releases: releases\n    needs: {gateway: \"=1.0.0\"}\n", "gateway needs proto needs gateway"},
		{"itself", "{proto:", "{gateway:", "gateway needs gateway"},
		{"an option", "https://example.com/acme/mono.git", "--upload-pack=x", "begins with a -"},
		{"an option for a branch", "    pin:", "    branch: -x\n    pin:", "components.gateway.branch: \"-x\" begins with a -"},
		{"one prefix", "../proto.git", "https://example.com/acme/mono.git\n    tagPrefix: gateway/", "gateway has the same repository and prefix"},
		{"nobody who signs", "    key: keys/acme.pub\n", "", "nothing says who signs its releases"},
		{"two who sign", "    key: keys/acme.pub\n", "    key: keys/acme.pub\n    identity: x\n", "give one of the two"},
		{"range", ">=1.4.0 <2.0.0", "^1.4", `components.gateway.constraint: range "^1.4" is not comparators`},
		{"version of the format", "version: 1", "version: 2", `version: "2" is not one of 1`},
	} {
		p, err := platform.Parse("platform.yaml", []byte(strings.Replace(whole, tt.old, tt.new, 1)))
		if tt.want == "" {
			order, orderErr := p.Order()
			if err != nil || orderErr != nil || !slices.Equal(order, []string{"proto", "gateway"}) {
				t.Errorf("%s: %v, %v %v", tt.name, err, order, orderErr)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// chosen is a component as it was chosen.
func chosen(v string) platform.Chosen {
	return platform.Chosen{Version: v, Tag: "v" + v, Commit: strings.Repeat("ab", 20), Manifest: artifact.Sum([]byte(v)), Signer: "sha256:key"}
}

func TestCheck(t *testing.T) {
	p, err := platform.Parse("platform.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	l := platform.Lock{Version: 1, Channel: platform.Stable, Components: map[string]platform.Chosen{"gateway": chosen("1.4.2"), "proto": chosen("0.9.3")}}
	if err := p.Check(l); err != nil {
		t.Error(err)
	}
	l.Components["proto"] = chosen("0.10.0")
	want := "platform.yaml:11:13: gateway 1.4.2 needs proto >=0.9.0 <0.10.0, and 0.10.0 is chosen"
	if err := p.Check(l); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	l.Components["proto"] = platform.Chosen{Commit: l.Components["proto"].Commit} // of which nothing is known yet
	if err := p.Check(l); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	l := platform.Lock{Version: 1, Channel: platform.Stable, Components: map[string]platform.Chosen{"gateway": chosen("1.4.2"), "proto": {Version: "0.9.3", Tag: "v0.9.3", Commit: strings.Repeat("0", 40)}}}
	again, err := platform.ParseLock("platform.lock", l.Encode())
	if err != nil || len(platform.Diff(l, again)) > 0 || again.Channel != l.Channel {
		t.Fatalf("%s\n%+v, %v", l.Encode(), again, err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"commit", `"` + strings.Repeat("0", 40) + `"`, `"main"`, `components.proto.commit: "main" is not the full name of a commit`},
		{"no tag", `, tag: "v0.9.3"`, "", "channel stable takes tags, and it has no tag"},
		{"channel", "stable", "prod", `"prod" is not one of dev, staging, stable`},
		{"version", `"0.9.3"`, `"v0.9.3"`, `"v0.9.3" is not a version`},
		{"release that nobody signed", `, signer: "sha256:key"`, "", "nobody who signed it"},
	} {
		_, err := platform.ParseLock("platform.lock", []byte(strings.Replace(string(l.Encode()), tt.old, tt.new, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasSuffix(err.Error(), "ci platform lock") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	after := platform.Lock{Components: map[string]platform.Chosen{"gateway": chosen("1.5.0"), "proto": chosen("0.9.3"), "web": chosen("3.0.0")}}
	lines := platform.Diff(l, after)
	want := []string{"gateway: 1.4.2 -> 1.5.0", "proto: 0.9.3, commit 000000000000 -> abababababab", "web: new, 3.0.0"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}

// A lock that was written by hand is held to what the platform says.
func TestAgrees(t *testing.T) {
	const text = `version: 1
name: edge
components:
  gateway: {repository: r, tagPrefix: gateway/, constraint: "<2.0.0", pin: 1.4.2, releases: s, key: k}
  proto: {repository: q, releases: s, identity: "https://github.com/acme/proto/*"}
`
	p, err := platform.Parse("platform.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		want string
		edit func(gateway, proto *platform.Chosen)
	}{
		{"", func(_, _ *platform.Chosen) {}},
		{"platform.yaml:4:3: gateway is locked at 1.4.2 by tag \"gateway/v1.4.3\", which is not the tag of that version", func(g, _ *platform.Chosen) { g.Tag = "gateway/v1.4.3" }},
		{"by tag \"v1.4.2\", which is not", func(g, _ *platform.Chosen) { g.Tag = "v1.4.2" }},
		{"gateway is locked at 2.0.0, which is not in the constraint <2.0.0", func(g, _ *platform.Chosen) { g.Tag, g.Version = "gateway/v2.0.0", "2.0.0" }},
		{"proto is to be signed by https://github.com/acme/proto/*, and is locked as signed by sha256:key", func(_, p *platform.Chosen) { p.Signer = "sha256:key" }},
	} {
		g, q := chosen("1.4.2"), chosen("0.9.3")
		g.Tag, q.Signer = "gateway/v1.4.2", "https://github.com/acme/proto/*"
		tt.edit(&g, &q)
		err := p.Agrees(platform.Lock{Version: 1, Channel: platform.Staging, Components: map[string]platform.Chosen{"gateway": g, "proto": q}})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	for old, replaced := range map[string][2]string{
		"repository: q":  {"repository: \"https://me:secret@host/q\"", "it has a user in it, and is shown to everybody"},
		"releases: s, k": {"releases: \"https://token@host/s\", k", "it has a user in it, and is shown to everybody"},
		"releases: s, i": {"releases: \"file:///srv\", i", "platform.yaml:5:36: components.proto.releases: \"file:///srv\" is neither a folder nor a URL of https"},
		"name: edge":     {"name: edge\nsupport: {extended: {\"2.1\": soon}}", "platform.yaml:3:22: support.extended.2.1: \"soon\" is not a day"},
	} {
		_, err := platform.Parse("platform.yaml", []byte(strings.Replace(text, old, replaced[0], 1)))
		if err == nil || !strings.Contains(err.Error(), replaced[1]) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, replaced[1])
		}
	}
	if _, err := platform.Parse("platform.yaml", []byte(strings.Replace(text, "repository: q", "repository: \"ssh://git@host/q\"", 1))); err != nil {
		t.Error(err)
	}
}

// TestOrder holds the order of random platforms to what it is to be, and a cycle to an error.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	cycles := 0
	for range 300 {
		n := 1 + r.IntN(8)
		p := platform.Platform{Components: map[string]platform.Component{}}
		for i := range n {
			needs := map[string]platform.Range{}
			for j := range n {
				if r.IntN(2*n) == 0 {
					needs[fmt.Sprint("c", j)] = platform.Range{}
				}
			}
			p.Components[fmt.Sprint("c", i)] = platform.Component{Needs: needs}
		}
		order, err := p.Order()
		// The model: take the components that need nothing which is left until there is none.
		left := map[string]bool{}
		for _, name := range p.Names() {
			left[name] = true
		}
		for took := true; took; {
			took = false
			for name := range left {
				free := true
				for need := range p.Components[name].Needs {
					free = free && !left[need]
				}
				if free {
					delete(left, name)
					took = true
				}
			}
		}
		if (err == nil) != (len(left) == 0) {
			t.Fatalf("%+v: %v, and %d are in a cycle", p, err, len(left))
		}
		if err != nil {
			cycles++
			continue
		}
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, p.Names()) {
			t.Fatalf("%q of %q", order, p.Names())
		}
		for i, name := range order {
			for need := range p.Components[name].Needs {
				if slices.Index(order, need) >= i {
					t.Fatalf("%q: %s needs %s", order, name, need)
				}
			}
		}
	}
	if cycles < 20 || cycles > 280 {
		t.Errorf("%d of 300 have a cycle: this tests one side alone", cycles)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := platform.Parse("platform.yaml", b)
		if err != nil {
			return
		}
		for _, c := range p.Components {
			if again, err := platform.ParseRange(c.Constraint.String()); !c.Constraint.IsZero() && (err != nil || again.String() != c.Constraint.String()) {
				t.Errorf("%s is read as %s, %v", c.Constraint, again, err)
			}
		}
	})
}

func FuzzLock(f *testing.F) {
	f.Add(platform.Lock{Version: 1, Channel: platform.Dev, Components: map[string]platform.Chosen{"gateway": chosen("1.4.2"), "proto": {Commit: strings.Repeat("0", 40)}}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := platform.ParseLock("platform.lock", b)
		if err != nil {
			return
		}
		if again, err := platform.ParseLock("platform.lock", l.Encode()); err != nil || len(platform.Diff(l, again)) > 0 {
			t.Errorf("%s\nis read as %+v, %v", l.Encode(), again, err)
		}
	})
}
