package environments_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/serve/environments"
)

func TestRegistryOf(t *testing.T) {
	for name, want := range map[string]string{
		"ghcr.io/acme/gateway":       "ghcr.io acme/gateway",
		"localhost/gateway":          "localhost gateway",
		"127.0.0.1:5000/gateway":     "127.0.0.1:5000 gateway",
		"acme/gateway":               "registry-1.docker.io acme/gateway",
		"alpine":                     "registry-1.docker.io library/alpine",
		"docker.io/alpine":           "registry-1.docker.io library/alpine",
		"docker.io/acme/gateway":     "registry-1.docker.io acme/gateway",
		"registry.example.com/a/b/c": "registry.example.com a/b/c",
	} {
		host, p := environments.RegistryOf(name)
		if got := host + " " + p; got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestElsewhere(t *testing.T) {
	for _, tt := range []struct {
		place, name string
		flat        bool
		want        string
	}{
		{"https://example.com/tool/1.0.0/", "archives/a.tgz", false, "https://example.com/tool/1.0.0/archives/a.tgz"},
		{"https://example.com/tool/1.0.0", "release.json", false, "https://example.com/tool/1.0.0/release.json"},
		{"https://example.com/releases/tool/1.0.0/files/", "a.tgz", true, "https://example.com/releases/tool/1.0.0/download/a.tgz"},
		{"https://example.com/releases/tool/1.0.0/files/", "", false, "https://example.com/releases/tool/1.0.0/"},
		{"https://github.com/acme/tool/releases/download/v1.0.0/", "archives/a.tgz", false, "https://github.com/acme/tool/releases/download/v1.0.0/a.tgz"},
		{"file:///srv/releases/tool/1.0.0/", "a.tgz", false, ""},
		{"https://example.com/a b/", "c d", false, "https://example.com/a%20b/c%20d"},
		{"https://example.com/?x=y#z", "c", false, "https://example.com/c"},
	} {
		if got := environments.Elsewhere(tt.place, tt.name, tt.flat); got != tt.want {
			t.Errorf("%s %s: %s", tt.place, tt.name, got)
		}
	}
}

func TestParseRegistry(t *testing.T) {
	for p, want := range map[string]string{
		"a/b/manifests/latest":          "a/b manifests latest",
		"a/manifests/b/manifests/1.0":   "a/manifests/b manifests 1.0",
		"a/b/blobs/sha256:0":            "a/b blobs sha256:0",
		"a/b/blobs/uploads/":            "",
		"a/tags/list":                   "a tags",
		"tags/list":                     "",
		"a/b/referrers/sha256:0":        "a/b referrers sha256:0",
		"_catalog":                      "",
		"manifests/x":                   "",
		"a/manifests/":                  "",
		"a/manifests/x/blobs/sha256:00": "a/manifests/x blobs sha256:00",
	} {
		name, what, ref := environments.ParseRegistry(p)
		if got := strings.Join([]string{name, what, ref}, " "); strings.TrimSpace(got) != want {
			t.Errorf("%s: %q", p, got)
		}
	}
}

func FuzzCursor(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	for _, text := range []string{
		"", "moves 3 " + digest + "  ", "releases 3 " + digest + " hello 1.0.0", "releases 0   1.0.0", "releases 03 " + digest + " hello 1.0.0",
		"releases -1 " + digest + " hello v1.0.0", "moves 3 " + digest + " hello 1.0.0",
	} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	f.Fuzz(func(t *testing.T, s string) {
		again, err := environments.Cursor(s)
		if err == nil && again != s {
			t.Errorf("%q is read as %q", s, again)
		}
		if err != nil && environments.Code(err) != 400 {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzParseRegistry(f *testing.F) {
	for _, p := range []string{"", "a/manifests/b", "a/tags/list", "a/blobs/uploads/", "a/referrers/sha256:0"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		name, what, ref := environments.ParseRegistry(p)
		if what == "" {
			return
		}
		again := name + "/" + what + "/" + ref
		if what == "tags" {
			again = name + "/tags/list"
		}
		if again != p {
			t.Errorf("%q is read as %q", p, again)
		}
	})
}
