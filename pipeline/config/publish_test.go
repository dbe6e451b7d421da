package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
)

func TestPublishErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":    {"registrys: {}\n", `p.yaml:1:1: unknown key "registrys"; did you mean "registries"?`},
		"secret":         {"github: {token: ghp_abcdef}\n", "p.yaml:1:17: github.token: this is not the name of an environment variable"},
		"webhook":        {"announce:\n  - {kind: slack, url: 'https://hooks.example.com/services/canary'}\n", "this is not the name of an environment variable"},
		"kind":           {"announce:\n  - {kind: slak, url: HOOK}\n", `did you mean "slack"?`},
		"no repository":  {"homebrew: {branch: main}\n", "homebrew: repository is missing"},
		"no bucket":      {"bucket: {region: x}\n", "bucket: bucket is missing"},
		"plain http":     {"github: {api: http://api.example.com}\n", "is not an https URL"},
		"user in URL":    {"charts: {url: 'https://a:b@example.com'}\n", "is not an https URL"},
		"git":            {"charts: {git: 'ext::sh -c x'}\n", "is not the URL of a git repository"},
		"option as git":  {"charts: {git: --upload-pack=x}\n", "is not the URL of a git repository"},
		"option branch":  {"charts: {git: https://example.com/x, branch: -f}\n", "is not the name of a branch"},
		"leaves":         {"charts: {git: https://example.com/x, folder: ../x}\n", "leaves its folder"},
		"channel":        {"snap: {channels: [latest]}\n", "is not a channel such as latest/stable"},
		"tagged":         {"registries: {ghcr.io/owner: ['docker.io/owner:1']}\n", "is not the beginning of a repository"},
		"committer":      {"committer: nobody <\n", "is not a name and an address"},
		"candidate":      {"candidate: yes\n", "is not one of required, optional"},
		"bucket's name":  {"bucket: {bucket: A/B}\n", "is not the name of a bucket"},
		"prefix leaves":  {"bucket: {bucket: abc, prefix: /x}\n", "absolute"},
		"upper variable": {"chocolatey: {key: apikey}\n", "this is not the name of an environment variable"},
	} {
		_, err := ParsePublish("p.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(fmt.Sprint(err), "canary") || strings.Contains(fmt.Sprint(err), "ghp_") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParsePublish("p.yaml", []byte("github: {api: 'http://127.0.0.1:1'}\nregistries: {ghcr.io/owner: ['127.0.0.1:5000/owner']}\n")); err != nil {
		t.Errorf("loopback: %v", err)
	}
}

func TestPublishTargets(t *testing.T) {
	p := Publish{Registries: Registries{"ghcr.io/owner": {"ghcr.io/owner", "docker.io/them"}, "ghcr.io/owner/charts": {"example.com/c"}}}
	for repository, want := range map[string][]string{
		"ghcr.io/owner/tool":        {"ghcr.io/owner/tool", "docker.io/them/tool"},
		"ghcr.io/owner/charts/tool": {"example.com/c/tool"},
		"ghcr.io/ownership/tool":    {"ghcr.io/ownership/tool"},
		"ghcr.io/owner":             {"ghcr.io/owner", "docker.io/them"},
	} {
		if got := p.Registries.Targets(repository); !slices.Equal(got, want) {
			t.Errorf("%s goes to %q, want %q", repository, got, want)
		}
	}
}

// settings are the keys below publish that are about all destinations.
var settings = []string{"committer", "candidate", "issuer"}

func TestEveryDestination(t *testing.T) {
	var keys []string
	for _, d := range (Publish{}).destinations() {
		keys = append(keys, d.key)
	}
	known := map[string]bool{}
	for f := range reflect.TypeFor[Publish]().Fields() {
		known[f.Tag.Get("yaml")] = true
	}
	for key := range known {
		if slices.Contains(keys, key) == slices.Contains(settings, key) {
			t.Errorf("%s below publish is neither of Publish.destinations nor a setting, or both", key)
		}
	}
	for _, key := range keys {
		if !known[key] {
			t.Errorf("Publish.destinations has %s, and Publish no such key", key)
		}
	}
	for _, f := range format.All {
		if f.Goes != "" && !slices.Contains(keys, f.Goes) {
			t.Errorf("the format %s goes to %s, which is not a destination", f.Name, f.Goes)
		}
	}
}

func TestDestinations(t *testing.T) {
	c, err := Parse("slipway.yaml", []byte(`version: 1
project: {name: tool, repository: https://github.com/owner/tool}
binaries: [{name: tool, main: .}]
publish:
  registries: {ghcr.io/owner: [ghcr.io/owner, docker.io/owner]}
  winget: {repository: https://github.com/owner/winget-pkgs}
  snap: {channels: [latest/stable]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range c.Publish.Destinations(c.Project, []string{"ghcr.io/owner/tool", "ghcr.io/owner/tool"}) {
		got = append(got, d.Kind+" "+d.Where)
	}
	want := []string{
		"registry ghcr.io/owner/tool", "registry docker.io/owner/tool", "github https://github.com/owner/tool",
		"winget https://github.com/owner/winget-pkgs", "snap latest/stable",
	}
	if !slices.Equal(got, want) {
		t.Errorf("destinations are %q, want %q", got, want)
	}
	c.Destinations = map[string]Publish{"staging": {Folder: "/srv", GitHub: GitHub{Release: "none"}}, "b": {GitHub: GitHub{Release: "none"}}}
	places := c.Places([]string{"ghcr.io/owner/tool"})
	if more := places[len(want):]; !slices.Equal(more, []Destination{{"b: registry", "ghcr.io/owner/tool"}, {"staging: registry", "ghcr.io/owner/tool"}, {"staging: folder", "/srv"}}) {
		t.Errorf("the named sets go to %q", more)
	}
	for name, want := range map[string]string{
		"": "", "staging": "",
		"stagin": `there is no set of destinations "stagin"; did you mean "staging"?; there is b, staging`,
	} {
		if _, err := c.Set(name); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("set %q: %v, want %q", name, err, want)
		}
	}
	if _, err := (Config{}).Set("staging"); err == nil || err.Error() != `there is no set of destinations "staging": slipway.yaml has none; add it under destinations` {
		t.Errorf("a set of none: %v", err)
	}
	if taps := c.Publish.Taps(); taps["winget"].PullRequest != "always" || taps["winget"].Upstream != WingetUpstream || len(taps) != 1 {
		t.Errorf("taps are %v", taps)
	}
}
