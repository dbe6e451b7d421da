package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/composition"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	semver "github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// TestPlatform shows and compares releases of a platform, in folders and from a server. What is not of the release is refused.
func TestPlatform(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	key, err := sign.Generate(sign.Ed25519)
	must(err)
	stranger, err := sign.Generate(sign.Ed25519)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "edge.pub"), key.Public().PEM(), 0o600))
	must(os.WriteFile(filepath.Join(dir, "stranger.pub"), stranger.Public().PEM(), 0o600))
	component := func(name, v string, needs ...string) composition.Component {
		return composition.Component{
			Name: name, Version: v, Tag: "v" + v, Commit: artifact.Sum([]byte(name + v)).Hex()[:40], Manifest: artifact.Sum([]byte(v)), Signer: "sha256:key",
			Repository: "https://example.com/" + name, Releases: "https://releases.example.com", Needs: needs,
		}
	}
	release := func(v string, components ...composition.Component) string {
		t.Helper()
		at := filepath.Join(dir, v)
		parsed, err := semver.Parse(v)
		must(err)
		text, err := composition.Platform{Name: "edge", Version: parsed, Channel: "stable", Components: components}.Encode()
		must(err)
		_, err = verifytest.Write(at, verifytest.Options{
			Name: "edge", Version: v, Bare: true, Edit: func(files map[string][]byte) { files[composition.FileName] = text },
			EditManifest: func(r *manifest.Release) {
				for _, c := range components {
					r.Inputs = append(r.Inputs, manifest.Input{Kind: "component", Name: c.Name + "@" + c.Version, Digest: string(c.Manifest)})
				}
			},
		})
		must(err)
		_, err = sign.Release(t.Context(), at, sign.Options{Signer: key})
		must(err)
		return at
	}
	before := release("2.1.3", component("gateway", "1.4.2", "proto"), component("proto", "0.9.3"), component("web", "3.0.0"))
	after := release("2.1.4", component("api", "0.1.0"), component("gateway", "1.4.3", "proto"), component("proto", "0.9.3"))
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	none := filepath.Join(dir, "none")
	_, err = verifytest.Write(none, verifytest.Options{Bare: true})
	must(err)

	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"show", before, "--key", filepath.Join(dir, "edge.pub")}, 0, []string{"edge 2.1.3, by channel stable\n  gateway  1.4.2  commit ", ", needs proto\n  proto    0.9.3  commit "}},
		{[]string{"show", server.URL + "/2.1.3/", "--key", filepath.Join(dir, "edge.pub"), "--json"}, 0, []string{`"name": "gateway"`, `"needs": [`}},
		{[]string{"diff", before, server.URL + "/2.1.4/"}, 0, []string{"edge 2.1.3 -> 2.1.4\n  api: new, 0.1.0\n  gateway: 1.4.2 -> 1.4.3\n  web: 3.0.0, gone\n  the same: proto\n"}},
		{[]string{"diff", before, before, "--json"}, 0, []string{`"changes": []`, `"same": [`}},
		{[]string{"show", after, "--key", filepath.Join(dir, "stranger.pub")}, 5, []string{"2.1.4: "}},
		{[]string{"show", server.URL + "/2.1.4/", "--key", filepath.Join(dir, "stranger.pub")}, 5, []string{"2.1.4/: "}},
		{[]string{"show", none}, 2, []string{"there is no platform.json: it is no release of a platform"}},
		{[]string{"show", filepath.Join(dir, "nowhere")}, 2, []string{"it is no release of a platform"}},
		{[]string{"show", server.URL + "/none/"}, 2, []string{"it is no release of a platform"}},
	} {
		var stdout, stderr strings.Builder
		code := run(append([]string{"platform"}, tt.args...), &stdout, &stderr)
		for _, want := range tt.want {
			if code != tt.code || !strings.Contains(stdout.String()+stderr.String(), want) {
				t.Errorf("%q: exit %d, want %d with %q\n%s%s", tt.args, code, tt.code, want, stdout.String(), stderr.String())
			}
		}
	}
	// verify --lifecycle finds the release in lifecycle.json by the digest of its manifest.
	life := lifecycle.Lifecycle{Name: "edge", Serial: 1}
	life.AsOf, err = lifecycle.ParseDate("2026-03-10")
	must(err)
	for _, at := range []string{before, after} {
		sum, _, err := artifact.SumFile(filepath.Join(at, manifest.FileName))
		must(err)
		v, err := semver.Parse(filepath.Base(at))
		must(err)
		life.Releases = append(life.Releases, lifecycle.Release{Version: v, Manifest: sum, Date: life.AsOf, Until: life.AsOf.AddMonths(9)})
	}
	write := func(name string) string {
		t.Helper()
		b, err := life.Encode()
		must(err)
		bundle, err := signature.SignBlob(key, b)
		must(err)
		signed, err := bundle.Encode()
		must(err)
		must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
		must(os.WriteFile(filepath.Join(dir, name+signature.Suffix), signed, 0o600))
		return filepath.Join(dir, name)
	}
	good := write("good.json")
	life.Releases[0].Withdrawn = "it loses its peers"
	withdrawn := write("withdrawn.json")
	life.Releases[0].Manifest = artifact.Sum(nil)
	another := write("another.json")
	life.Releases = life.Releases[1:]
	lost := write("lost.json")
	pub := filepath.Join(dir, "edge.pub")
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{good + " --at 2026-03-12", 0, "note: edge 2.1.3 is current on 2026-03-12; its line is supported until 2026-12-10"},
		{good + " --at 2026-12-11", 9, "edge 2.1.3 is ended on 2026-12-11; its line is supported until 2026-12-10; upgrade, or say --recovery"},
		{good + " --at 2026-12-11 --recovery", 0, "note: edge 2.1.3 is ended on 2026-12-11"},
		{withdrawn + " --at 2026-03-12", 9, "withdrawn: it loses its peers"},
		{another, 5, "edge 2.1.3 has the manifest "},
		{lost, 9, "2.1.3 is no release of edge"},
		{filepath.Join(dir, "nowhere.json"), 2, "no such file"},
	} {
		var stdout, stderr strings.Builder
		args := append([]string{"verify", "--key", pub, "--lifecycle-key", pub, before, "--lifecycle"}, strings.Fields(tt.args)...)
		if code := run(args, &stdout, &stderr); code != tt.code || !strings.Contains(stdout.String()+stderr.String(), tt.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", tt.args, code, tt.code, tt.want, stdout.String(), stderr.String())
		}
	}

	// A component that is put in the place of another one is not of the release.
	b, err := os.ReadFile(filepath.Join(after, composition.FileName))
	must(err)
	must(os.WriteFile(filepath.Join(after, composition.FileName), []byte(strings.Replace(string(b), "1.4.3", "1.4.4", 1)), 0o600))
	for _, at := range []string{after, server.URL + "/2.1.4/"} {
		var stdout, stderr strings.Builder
		if code := run([]string{"platform", "show", at}, &stdout, &stderr); code != 5 && code != 6 {
			t.Errorf("%s: exit %d\n%s%s", at, code, stdout.String(), stderr.String())
		}
	}
}
