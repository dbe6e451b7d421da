package serve_test

import (
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
)

// full writes a release with everything that there is.
func full(t testing.TB, dir string, o verifytest.Options) manifest.Release {
	t.Helper()
	r, err := verifytest.Write(dir, o)
	must(t, err)
	return r
}

// commands are those on a page, by what they are called.
func commands(page string) map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)<textarea [^>]*aria-label="([^"]*)">(.*?)</textarea>`).FindAllStringSubmatch(page, -1) {
		all[html.UnescapeString(m[1])] = html.UnescapeString(m[2])
	}
	return all
}

func TestInstall(t *testing.T) {
	root := t.TempDir()
	r := full(t, filepath.Join(root, "1.2.3"), verifytest.Options{})
	h := serving(t, root, serve.Options{})
	got := commands(get(h, "/releases/hello/1.2.3/").Body.String())
	const at = "http://example.com/releases/hello/1.2.3/"
	image := r.Images[0].Repository + "@" + string(r.Images[0].Digest)
	for name, want := range map[string]string{
		"curl, Linux, macOS and others":            "curl -fsSLO " + at + "download/install.sh\nHELLO_DOWNLOAD_BASE=" + at + "download sh install.sh",
		"Homebrew, macOS and Linux":                "brew tap-new --no-git local/hello && mkdir -p \"$(brew --repository local/hello)/Formula\"\ncurl -fsSL " + at + "files/packages/homebrew/Formula/hello.rb -o \"$(brew --repository local/hello)/Formula\"/hello.rb\nbrew install local/hello/hello",
		"Scoop, windows":                           "scoop install " + at + "download/hello.json",
		"winget, windows":                          "winget install --exact --id Example.hello --version 1.2.3",
		"Chocolatey, windows":                      "curl.exe -fLO " + at + "download/hello.1.2.3.nupkg\nchoco install hello --version 1.2.3 --source .",
		"snap, amd64":                              "curl -fLO " + at + "download/hello_1.2.3_amd64.snap\nsudo snap install --dangerous ./hello_1.2.3_amd64.snap",
		"Debian and Ubuntu, arm64":                 "curl -fLO " + at + "download/hello_1.2.3_arm64.deb\nsudo apt install ./hello_1.2.3_arm64.deb",
		"Fedora, RHEL and others with dnf, x86_64": "sudo dnf install " + at + "download/hello-1.2.3-1.x86_64.rpm",
		"Alpine, x86_64":                           "curl -fLO " + at + "download/hello_1.2.3-r0_x86_64.apk\nsudo apk add --allow-untrusted ./hello_1.2.3-r0_x86_64.apk",
		"Docker, alpine":                           "docker pull " + image,
		"Podman, alpine":                           "podman pull " + image,
		"Helm, hello":                              "helm install hello oci://ghcr.io/example/charts/hello --version 1.2.3",
		"go install, hello":                        "go install example.com/hello@v1.2.3",
		"check":                                    "slipway verify " + at,
	} {
		if got[name] != want {
			t.Errorf("%s:\n%s, want\n%s", name, got[name], want)
		}
	}
	if t.Failed() {
		t.Logf("%q", got)
	}
	// Whatever is fetched from here is here.
	for _, text := range got {
		for _, address := range regexp.MustCompile(`http://example\.com(/\S+)`).FindAllStringSubmatch(text, -1) {
			if strings.HasSuffix(address[1], "/download") {
				continue // of which the script makes the address of an archive
			}
			if code := get(h, address[1]).Code; code != http.StatusOK {
				t.Errorf("%s: %d", address[1], code)
			}
		}
	}
	// What is not to be published is in no registry.
	for name := range commands(get(serving(t, shelves(t), serve.Options{}), "/releases/world/0.1.0/").Body.String()) {
		if regexp.MustCompile("^(Docker|Podman|go install|winget)").MatchString(name) {
			t.Errorf("a release that must not be published offers %s", name)
		}
	}
}

// The address in a command is the one that a person reaches the server by, and never anything that a shell would run.
func TestInstallAddress(t *testing.T) {
	root := t.TempDir()
	full(t, root, verifytest.Options{})
	for _, tt := range []struct {
		url, host string
		header    []string
		want      string
	}{
		{"", "dl.example.com:8080", nil, "http://dl.example.com:8080/releases/"},
		{"", "dl.example.com", []string{"X-Forwarded-Proto", "https"}, "https://dl.example.com/releases/"},
		{"", "dl.example.com", []string{"X-Forwarded-Proto", "javascript"}, "http://dl.example.com/releases/"},
		{"https://dl.example.com/tools/", "other.example.com", nil, "https://dl.example.com/tools/releases/"},
		{"", "a$(b)", nil, ""},
		{"", `a"b`, nil, ""},
		{"", "[::1]:80", nil, ""},
		{"", "-o", nil, ""},
	} {
		h := serving(t, root, serve.Options{URL: tt.url})
		r := newRequest("/releases/hello/1.2.3/", tt.header...)
		r.Host = tt.host
		got := commands(record(h, r).Body.String())
		if text, ok := got["Scoop, windows"]; tt.want == "" && ok || tt.want != "" && !strings.Contains(text, tt.want) {
			t.Errorf("%+v: %q", tt, text)
		}
		if tt.want == "" && got["check"] != "slipway verify URL" {
			t.Errorf("%+v: %q", tt, got["check"])
		}
	}
}

// A name in which a shell would see more has no command.
func TestInstallHostile(t *testing.T) {
	for _, name := range []string{"$(touch x)", "a;b", "a b", "a'b", `a"b`, "a`b", "-rf", "a|b", "a\\b", "a&b", "%PATH%^", "a\u202eb"} {
		root := t.TempDir()
		full(t, root, verifytest.Options{EditManifest: func(r *manifest.Release) {
			for i := range r.Recipes {
				r.Recipes[i].Name, r.Recipes[i].Version = name, name
			}
			r.Charts[0].Repository, r.Charts[0].Name = name, name
			r.Images[0].Repository = name
			r.Tag = "v1.2.3"
			r.Signing = &manifest.Signing{Identity: name + "' x", Issuer: "https://issuer.example.com"}
		}})
		for what, text := range commands(get(serving(t, root, serve.Options{}), "/releases/hello/1.2.3/").Body.String()) {
			if strings.Contains(text, name) {
				t.Errorf("%q is in the command for %s: %s", name, what, text)
			}
		}
	}
}

// The page of a release says what is new in it and in what it differs from the one before, and leads to its neighbours.
func TestReleasePage(t *testing.T) {
	root := t.TempDir()
	at := func(v string) string { return filepath.Join(root, v) }
	for _, v := range []string{"1.0.0", "1.1.0-rc.1", "1.1.0", "2.0.0-rc.1"} {
		full(t, at(v), verifytest.Options{
			Version: v,
			Edit: func(files map[string][]byte) {
				files["notes.md"] = []byte("## Added\n\n- **Much** of " + v + ", see [here](https://example.com/" + v + ") <script>\n")
			},
			EditManifest: func(r *manifest.Release) {
				if v == "1.1.0" {
					r.Inputs[0].Name = "golang.org/toolchain@v0.0.1-go1.27.0.linux-amd64"
					r.Images[0].Platforms = slices.Clone(r.Images[0].Platforms)
					r.Images[0].Platforms[0].Size += 5 << 20
					r.Signing = &manifest.Signing{Key: artifact.Sum([]byte("key"))}
				}
			},
		})
	}
	h := serving(t, root, serve.Options{})
	for _, tt := range []struct {
		version    string
		want, none []string
	}{
		{"1.0.0", []string{`rel="next" href="../1.1.0-rc.1/"`, "<strong>Much</strong> of 1.0.0", `<a href="https://example.com/1.0.0" rel=`, "does not say who is to sign it"}, []string{`rel="prev"`, "Since ", "<script>"}},
		{
			"1.1.0",
			[]string{
				`rel="prev" href="../1.1.0-rc.1/"`, `rel="next" href="../2.0.0-rc.1/"`, `<h2>Since <a href="../1.0.0/">1.0.0</a></h2>`,
				"toolchain golang.org/toolchain", "v0.0.1-go1.26.0.linux-amd64 → v0.0.1-go1.27.0.linux-amd64",
				"image ghcr.io/example/hello alpine linux/amd64", "→ 5.0 MiB", "whose fingerprint is <code>" + string(artifact.Sum([]byte("key"))),
				"No signature is here", "slipway verify --key PUBLIC_KEY http://example.com/releases/hello/1.1.0/",
			},
			nil,
		},
		{"2.0.0-rc.1", []string{`rel="prev" href="../1.1.0/"`, `<h2>Since <a href="../1.1.0/">`}, []string{`rel="next"`}},
	} {
		body := get(h, "/releases/hello/"+tt.version+"/").Body.String()
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s has no %s:\n%s", tt.version, want, body)
			}
		}
		for _, none := range tt.none {
			if strings.Contains(body, none) {
				t.Errorf("%s has %s", tt.version, none)
			}
		}
	}
	// Notes that are damaged are not shown as the release's.
	must(t, os.WriteFile(filepath.Join(at("1.0.0"), "notes.md"), []byte("## Removed\n\n- All of it\n"), 0o644))
	body := get(h, "/releases/hello/1.0.0/").Body.String()
	if fresh := get(serving(t, root, serve.Options{}), "/releases/hello/1.0.0/").Body.String(); strings.Contains(body+fresh, "All of it") || !strings.Contains(fresh, "notes.md is damaged") {
		t.Errorf("damaged notes:\n%s", fresh)
	}
}

// Previous and next are by version, whatever else there is.
func TestNeighbours(t *testing.T) {
	root := t.TempDir()
	for i, v := range []string{"1.9.0", "1.10.0", "1.10.1-rc.1", "1.10.1"} {
		write(t, filepath.Join(root, "hello", v), verifytest.Options{Version: v})
		write(t, filepath.Join(root, "other", v), verifytest.Options{Name: "other", Version: fmt.Sprintf("3.%d.0", i)})
	}
	h := serving(t, root, serve.Options{})
	nav := regexp.MustCompile(`rel="(prev|next)" href="([^"]*)"`)
	for v, want := range map[string]string{"1.9.0": "next ../1.10.0/", "1.10.1": "prev ../1.10.1-rc.1/"} {
		var got []string
		for _, m := range nav.FindAllStringSubmatch(get(h, "/releases/hello/"+v+"/").Body.String(), -1) {
			got = append(got, m[1]+" "+m[2])
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s leads to %q, want %q", v, got, want)
		}
	}
}
