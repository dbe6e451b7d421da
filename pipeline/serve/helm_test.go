//go:build full

package serve_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/cli"
	"helm.sh/helm/v3/pkg/getter"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/slipway-build/slipway/pipeline/serve"
)

// TestHelm goes the way of `helm repo add` and `helm pull` with Helm's own packages.
func TestHelm(t *testing.T) {
	server := httptest.NewServer(serving(t, shelves(t), serve.Options{}))
	defer server.Close()
	getters := getter.All(&cli.EnvSettings{})
	r, err := repo.NewChartRepository(&repo.Entry{Name: "slipway", URL: server.URL + "/charts"}, getters)
	must(t, err)
	r.CachePath = t.TempDir()
	name, err := r.DownloadIndexFile()
	must(t, err)
	index, err := repo.LoadIndexFile(name)
	must(t, err)

	for version, want := range map[string]string{"": "1.10.0", ">0-0": "2.0.0-rc.1", "~1.9": "1.9.0"} {
		got, err := index.Get("hello", version)
		must(t, err)
		if got.Version != want {
			t.Errorf("%q is %s, want %s", version, got.Version, want)
		}
	}

	newest, err := index.Get("hello", "1.10.0")
	must(t, err)
	address, err := repo.ResolveReferenceURL(server.URL+"/charts", newest.URLs[0])
	must(t, err)
	get, err := getters.ByScheme("http")
	must(t, err)
	b, err := get.Get(address)
	must(t, err)
	file := filepath.Join(t.TempDir(), "chart.tgz")
	must(t, os.WriteFile(file, b.Bytes(), 0o600))
	pulled, err := loader.Load(file)
	must(t, err)
	if pulled.Name() != "hello" || pulled.Metadata.Version != "1.10.0" || pulled.Metadata.AppVersion != "1.10.0" {
		t.Errorf("pulled %+v", pulled.Metadata)
	}
	must(t, pulled.Validate())
}
