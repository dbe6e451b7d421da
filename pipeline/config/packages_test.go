package config_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
)

// Each entry has the mistakes that are listed, and no others. The repository is on GitHub, so every format has a URL.
func TestPackageErrors(t *testing.T) {
	const onGitHub = "version: 1\nproject: {name: tool, repository: https://github.com/a/tool}\nbinaries: [{name: tool, main: .}]\n"
	for _, tt := range []struct{ name, in, want string }{
		{"all defaults", "packages: [{}]", ""},
		{"everything", "packages: [{name: kit, formats: [deb, snap], binaries: [tool], maintainer: A <a@example.com>, manuals: ['*.1'], completions: {bash: a}, units: [a.service], files: {/etc/a: a}, depends: {deb: ['aa (>= 1) | bb', cc:any], rpm: ['a >= 1', /bin/sh], apk: [a>=1]}, test: [version], snap: {confinement: classic}, nupkg: {id: A.B}, winget: {id: A.B}}]", ""},
		{"unknown key", "packages: [{format: deb}]", `f:4:13: unknown key "format" under packages[0]; did you mean "formats"?`},
		{"unknown format", "packages: [{formats: [dep]}]", `f:4:23: packages[0].formats[0]: "dep" is not one of ` + strings.Join(format.Where(nil), ", ") + `; did you mean "deb"?`},
		{"unknown binary", "packages: [{binaries: [tol]}]", `f:4:24: packages[0].binaries[0]: there is no binary "tol"; did you mean "tool"?`},
		{"twice", "packages: [{}, {}]", `f:4:16: packages[1].name: "tool" is the name of packages[0] too`},
		{"maintainer", "packages: [{maintainer: 'a@example.com'}]", `f:4:25: packages[0].maintainer: "a@example.com" is not a name, with an address in angle brackets behind it`},
		{"long summary", "packages: [{summary: " + strings.Repeat("x", 79) + "}]", `f:4:22: packages[0].summary: it has 79 characters and may have 78`},
		{"manual", "packages: [{manuals: [tool.txt]}]", `f:4:23: packages[0].manuals[0]: "tool.txt" does not end in the section of the manual, as in tool.1`},
		{"shell", "packages: [{completions: {bsh: a}}]", `f:4:27: packages[0].completions.bsh: there is no shell "bsh"; did you mean "bash"?; these are known: bash zsh fish powershell`},
		{"unit", "packages: [{units: [tool.conf]}]", `f:4:21: packages[0].units[0]: "tool.conf" is not the name of a unit such as tool.service`},
		{"relative file", "packages: [{files: {etc/a: a}}]", `f:4:21: packages[0].files.etc/a: "etc/a" is not a clean absolute path in the image`},
		{"outside", "packages: [{files: {/etc/a: ../a}}]", `f:4:21: packages[0].files./etc/a: path "../a" leaves its folder`},
		{"relation of deb", "packages: [{depends: {deb: ['foo>=1', 'x; y']}}]", "f:4:29: packages[0].depends.deb[0]: \"foo>=1\" is not a relation of deb; write one such as tool, or tool (>= 1.2)\nf:4:39: packages[0].depends.deb[1]: \"x; y\" is not a relation of deb; write one such as tool, or tool (>= 1.2)"},
		{"relation of rpm", "packages: [{depends: {rpm: ['foo>=1']}}]", `f:4:29: packages[0].depends.rpm[0]: "foo>=1" is not a relation of rpm; write one such as tool, or tool >= 1.2`},
		{"relation of apk", "packages: [{depends: {apk: ['foo >= 1']}}]", `f:4:29: packages[0].depends.apk[0]: "foo >= 1" is not a relation of apk; write one such as tool, or tool>=1.2`},
		{"relation of a snap", "packages: [{depends: {snap: [a]}}]", `f:4:23: packages[0].depends.snap: there is no such format; these are known: deb rpm apk`},
		{"snap", "packages: [{snap: {name: Tool, plugs: ['a b']}}]", "f:4:26: packages[0].snap.name: \"Tool\" is not a name for the Snap Store: lower-case letters, digits and single dashes\nf:4:40: packages[0].snap.plugs[0]: \"a b\" is not the name of an interface such as network"},
		{"winget", "packages: [{winget: {id: Tool}}]", `f:4:26: packages[0].winget.id: "Tool" is not publisher and name with a dot between, such as Example.Tool`},
		{"plain http", "download: http://example.com/{{ .Version }}", `f:4:11: download: "http://example.com/{{ .Version }}" is not an https URL`},
		{"loopback", "download: http://127.0.0.1:8080/{{ .Version }}", ""},
		{"notes", "notes: {from: commits, changelog: A.md}", `f:4:35: notes.changelog: from: commits ignores it; remove one of the two`},
		{"hub", "artifactHub: {repositoryID: x, owners: [{name: a, email: b}]}", "f:4:29: artifactHub.repositoryID: \"x\" is not an identifier such as 8f2c4a2e-3c5e-4f6f-9b59-0f7d1c2b3a4d\nf:4:58: artifactHub.owners[0].email: \"b\" is not an address"},
		{"key and identity", "signing: {key: a.pub, identity: 'https://github.com/a/b/.github/workflows/c.yml@refs/tags/*'}", `f:4:33: signing.identity: a release is signed with a key or with an identity; remove one of the two`},
		{"trust", "trust: [{key: a.pub, from: 2026-01-01, until: 2026-01-01}, {key: b.pub, revoked: 2026-03-01, reason: lost}]", ""},
		{"trust in many", "trust: [" + strings.Repeat("{key: a.pub}, ", 101) + "]", "f:4:8: trust: 101 keys; at most 100 are read"},
		{"trust without a key", "trust: [{until: 2026-01-01}]", `f:4:9: trust[0].key is missing: Public key as PEM, a path in the repository`},
		{"trust outside", "trust: [{key: ../a.pub}]", `f:4:15: trust[0].key: path "../a.pub" leaves its folder`},
		{"trust twice", "trust: [{key: a.pub}, {key: ./a.pub}]", `f:4:29: trust[1].key: "./a.pub" is that of trust[0] too`},
		{"no day", "trust: [{key: a.pub, until: '2026-02-30'}]", `f:4:29: trust[0].until: "2026-02-30" is not a day such as 2006-01-02`},
		{"until before from", "trust: [{key: a.pub, from: 2026-02-01, until: 2026-01-31}]", `f:4:47: trust[0].until: it is before from`},
		{"revoked without a reason", "trust: [{key: a.pub, revoked: 2026-02-01}]", `f:4:31: trust[0].revoked: say why under reason`},
		{"revoked on no day", "trust: [{key: a.pub, revoked: }]", `f:4:31: trust[0].revoked is empty: Day on which the key was no longer trusted`},
		{"a reason without a day", "trust: [{key: a.pub, reason: lost}]", `f:4:30: trust[0].reason: it is the reason of a revocation; say since when under revoked`},
		{"a reason of two lines", "trust: [{key: a.pub, revoked: 2026-02-01, reason: \"a\\nb\"}]", `f:4:51: trust[0].reason: "a\nb" has more than one line`},
		{"issuer of nobody", "signing: {issuer: 'https://example.com'}", `f:4:19: signing.issuer: it vouches for an identity, and none is named`},
	} {
		_, err := config.Parse("f", []byte(onGitHub+tt.in+"\n"))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	carry := format.Where(func(f format.Format) bool { return f.Carries })
	// Elsewhere nobody knows where the archives will be.
	elsewhere := strings.Replace(onGitHub, "github.com", "example.com", 1)
	_, err := config.Parse("f", []byte(elsewhere+"packages: [{}]\n"))
	if want := "f:4:12: packages[0].formats: nupkg fetches the archives of the release, and nothing says from where: set download, or name only formats that carry their files: " + strings.Join(carry, ", "); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	for _, good := range []string{"packages: [{formats: [deb]}]", "packages: [{}]\ndownload: https://example.com/{{ .Tag }}/"} {
		if _, err := config.Parse("f", []byte(elsewhere+good+"\n")); err != nil {
			t.Error(err)
		}
	}
}
