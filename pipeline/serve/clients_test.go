//go:build full

package serve_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/cli"
	"helm.sh/helm/v3/pkg/getter"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// TestHelmOfAnEnvironment goes the way of `helm repo add` and `helm pull` with Helm's own packages, from a repository and from a
// registry.
func TestHelmOfAnEnvironment(t *testing.T) {
	tm := three(t)
	_, h := tm.serving(serve.Options{})
	server := httptest.NewServer(h)
	defer server.Close()
	getters := getter.All(&cli.EnvSettings{})
	base := server.URL + "/environments/staging/charts"
	r, err := repo.NewChartRepository(&repo.Entry{Name: "staging", URL: base}, getters)
	must(t, err)
	r.CachePath = t.TempDir()
	file, err := r.DownloadIndexFile()
	must(t, err)
	index, err := repo.LoadIndexFile(file)
	must(t, err)
	for version, want := range map[string]string{"": "1.1.0", ">0-0": "1.2.0-rc.1", "~1.0": "1.0.0"} {
		got, err := index.Get("hello", version)
		must(t, err)
		if got.Version != want {
			t.Errorf("%q is %s, want %s", version, got.Version, want)
		}
	}
	newest, err := index.Get("hello", "1.1.0")
	must(t, err)
	address, err := repo.ResolveReferenceURL(base, newest.URLs[0])
	must(t, err)
	http, err := getters.ByScheme("http")
	must(t, err)
	oci, err := getter.NewOCIGetter(getter.WithPlainHTTP(true))
	must(t, err)
	for _, get := range []func() (string, getter.Getter){
		func() (string, getter.Getter) { return address, http },
		func() (string, getter.Getter) {
			return "oci://" + strings.TrimPrefix(server.URL, "http://") + "/staging/example/charts/hello:1.1.0", oci
		},
	} {
		from, by := get()
		b, err := by.Get(from)
		must(t, err)
		pulled, err := loader.LoadArchive(b)
		must(t, err)
		if pulled.Name() != "hello" || pulled.Metadata.Version != "1.1.0" {
			t.Errorf("%s: %+v", from, pulled.Metadata)
		}
	}
}

// TestRegistryClients pull what an environment has: with the packages of crane, and with skopeo where that is there.
func TestRegistryClients(t *testing.T) {
	tm := newTeam(t)
	r := tm.add("hello", "1.1.0", "production", true)
	_, err := sign.Release(t.Context(), filepath.Join(tm.root, "hello", "1.1.0"), sign.Options{Signer: tm.key})
	must(t, err)
	_, h := tm.serving(serve.Options{})
	server := httptest.NewServer(h)
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://") + "/production/example/hello"
	repository, err := name.NewRepository(at, name.Insecure)
	must(t, err)
	tags, err := remote.List(repository)
	must(t, err)
	if !slices.Contains(tags, "production") || !slices.Contains(tags, "1.1.0-alpine") {
		t.Error(tags)
	}
	index, err := remote.Index(repository.Tag("production"))
	must(t, err)
	digest, err := index.Digest()
	must(t, err)
	if digest.String() != string(r.Images[0].Digest) {
		t.Error(digest)
	}
	manifest, err := index.IndexManifest()
	must(t, err)
	image, err := index.Image(manifest.Manifests[0].Digest)
	must(t, err)
	layers, err := image.Layers()
	must(t, err)
	for _, l := range layers {
		b, err := l.Compressed() // which is held to its digest
		must(t, err)
		must(t, b.Close())
	}
	referrers, err := remote.Referrers(repository.Digest(digest.String()))
	must(t, err)
	if about, err := referrers.IndexManifest(); err != nil || len(about.Manifests) == 0 {
		t.Errorf("%+v, %v", about, err)
	}
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not here")
	}
	out, err := exec.Command("skopeo", "copy", "--all", "--insecure-policy", "--src-tls-verify=false", "docker://"+at+":production", "dir:"+t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+at+":1.1.0").Output()
	if err != nil || artifact.Sum(raw) != r.Images[0].Digest {
		t.Errorf("%v\n%s", err, raw)
	}
}

// TestPackageManagers have apt-get and dnf, where they are there, fetch a package of an environment, by its address and at its host.
func TestPackageManagers(t *testing.T) {
	tm, dir := packaged(t)
	_, h := tm.serving(serve.Options{Packages: dir, Hostnames: map[string]string{"127.0.0.1": "production"}})
	server := httptest.NewServer(h)
	defer server.Close()
	for _, base := range []string{server.URL + "/environments/production/", server.URL + "/"} {
		for _, c := range []struct {
			program, file, conf string
			commands            [][]string
		}{
			{
				"apt-get", "hello_1.0.0_amd64.deb", "deb [signed-by=" + dir + "/packages.asc] " + base + " production main\n",
				[][]string{{"update"}, {"download", "hello"}},
			},
			{
				"dnf", "hello-1.0.0-1.x86_64.rpm", "[production]\nname=production\nbaseurl=" + base + "rpm/production\ngpgcheck=0\nrepo_gpgcheck=1\ngpgkey=" + base + "packages.asc\n",
				[][]string{{"install", "--downloadonly", "--downloaddir", ".", "hello"}},
			},
		} {
			if _, err := exec.LookPath(c.program); err != nil {
				t.Logf("%s is not here", c.program)
				continue
			}
			work := t.TempDir()
			for _, d := range []string{"state/lists/partial", "cache/archives/partial", "etc/preferences.d"} {
				must(t, os.MkdirAll(filepath.Join(work, d), 0o755))
			}
			must(t, os.WriteFile(filepath.Join(work, "status"), nil, 0o644))
			must(t, os.WriteFile(filepath.Join(work, "etc/sources.list"), []byte(c.conf), 0o644))
			must(t, os.WriteFile(filepath.Join(work, "dnf.conf"), []byte("[main]\nreposdir="+work+"\npluginpath="+work+"\ncachedir="+work+"\nlogdir="+work+"\n"+c.conf), 0o644))
			options := []string{"-o", "Dir::State=" + work + "/state", "-o", "Dir::State::status=" + work + "/status", "-o", "Dir::Cache=" + work + "/cache", "-o", "Dir::Etc=" + work + "/etc", "-o", "APT::Architecture=amd64", "-o", "APT::Sandbox::User="}
			if c.program == "dnf" {
				options = []string{"-c", work + "/dnf.conf", "--installroot", work + "/root", "--releasever", "1", "--forcearch", "x86_64", "-y"}
			}
			for _, args := range c.commands {
				cmd := exec.Command(c.program, append(slices.Clone(options), args...)...)
				cmd.Dir, cmd.Env = work, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + work, "LC_ALL=C"}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s %q: %v\n%s", c.program, args, err, out)
				}
			}
			got, err := os.ReadFile(filepath.Join(work, c.file))
			must(t, err)
			want, err := os.ReadFile(filepath.Join(tm.root, "hello/1.0.0/packages", c.file))
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s has other bytes", c.file)
			}
		}
	}
}
