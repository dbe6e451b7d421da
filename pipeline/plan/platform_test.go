package plan_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/plan"
)

// The notes of a platform begin with the advisories of the commit that this release fixes, and with what is excepted for it.
func TestPlatformNotes(t *testing.T) {
	c, l := parse(t, "version: 1\nproject: {name: edge, repository: https://github.com/a/edge}\nplatform: deploy/platform.yaml\n", "version: 1\n")
	advisory := func(id, fixed string) []byte {
		return []byte("version: 1\nid: " + id + "\nvulnerabilities: [CVE-2026-1, CVE-2026-2]\naffected: '>=2.0.0 <2.1.4'\nfixed: [" + fixed + "]\npublished: 2026-03-03\ndue: 2026-03-17\n")
	}
	files := map[string][]byte{
		"deploy/platform.yaml": []byte("version: 1\nname: edge\ncomponents: {gateway: {repository: https://github.com/a/gateway, pin: 1.4.2, releases: https://github.com/a/gateway, identity: 'https://github.com/a/gateway/.github/workflows/release.yml@refs/tags/*'}}\n" +
			"exceptions: [{what: gateway internal/ui/the_me.go, release: 2.1.4, reason: '<b>it</b> hid *all*'}, {what: x, release: 2.1.5, reason: later}]\n"),
		"deploy/platform.lock":                 []byte("version: 1\nchannel: stable\ncomponents:\n  gateway: {version: 1.4.2, tag: v1.4.2, commit: '" + strings.Repeat("1", 40) + "'}\n"),
		"deploy/advisories/EDGE-2026-003.yaml": advisory("EDGE-2026-003", "2.0.2, 2.1.4"),
		"deploy/advisories/EDGE-2026-001.yaml": advisory("EDGE-2026-001", "2.1.4"),
		"deploy/advisories/EDGE-2026-002.yaml": advisory("EDGE-2026-002", "2.1.5"),
		"deploy/advisories/README.md":          []byte("no advisory"),
		"advisories/other.yaml":                []byte("none of this platform"),
	}
	p := make1(t, commit(t, "2.1.4"), c, l, plan.Options{Files: files})
	const want = `## Vulnerabilities fixed

- EDGE-2026-001, CVE-2026-1, CVE-2026-2: releases \>=2.0.0 \<2.1.4 are affected; upgrade by 2026-03-17
- EDGE-2026-003, CVE-2026-1, CVE-2026-2: releases \>=2.0.0 \<2.1.4 are affected; upgrade by 2026-03-17

## Exceptions to what its number promises

- gateway internal/ui/the\_me.go: \<b\>it\</b\> hid \*all\*

`
	if !strings.HasPrefix(p.Notes.Markdown, want) || strings.Count(p.Notes.Markdown, "EDGE") != 2 {
		t.Errorf("%s", p.Notes.Markdown)
	}
	if p := make1(t, commit(t, "2.1.3"), c, l, plan.Options{Files: files}); strings.Contains(p.Notes.Markdown, "Vulnerabilities") || strings.Contains(p.Notes.Markdown, "Exceptions") {
		t.Errorf("2.1.3 fixes nothing: %s", p.Notes.Markdown)
	}
	if got := plan.Folder(c); got != "deploy/advisories" {
		t.Errorf("the folder is %q", got)
	}
	files["deploy/advisories/EDGE-2026-002.yaml"] = advisory("EDGE-2026-002", "two")
	if _, err := plan.New(commit(t, "2.1.4"), c, l, plan.Options{Files: files}); err == nil || !strings.Contains(err.Error(), "deploy/advisories/EDGE-2026-002.yaml") {
		t.Errorf("a broken advisory: %v", err)
	}
}
