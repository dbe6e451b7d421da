//go:build full

package chartrepo_test

import (
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/getter"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// TestHelm reads the index and pulls the chart with Helm's own packages.
func TestHelm(t *testing.T) {
	s := newStand(t)
	s.Commit("gh-pages", map[string]string{"index.yaml": theirs})
	if _, err := s.publish(t, releasetest.Open(t, verifytest.Options{}), publish.Options{}); err != nil {
		t.Fatal(err)
	}
	got, _ := s.File("gh-pages", "index.yaml")
	file := filepath.Join(t.TempDir(), "index.yaml")
	if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
	index, err := repo.LoadIndexFile(file)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := index.Get("hello", "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := repo.FindChartInRepoURL(s.url+"/pages", "hello", "1.2.3", "", "", "", getter.Providers{{Schemes: []string{"http"}, New: getter.NewHTTPGetter}})
	if err != nil || chart != s.url+"/pages/hello-1.2.3.tgz" {
		t.Errorf("helm finds %s, %v", chart, err)
	}
	httpGetter, err := getter.NewHTTPGetter()
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := httpGetter.Get(chart)
	if err != nil || artifact.Sum(pulled.Bytes()).Hex() != entry.Digest {
		t.Errorf("helm pulls something else than the index says: %v", err)
	}
	if loaded, err := loader.LoadArchive(pulled); err != nil || loaded.Metadata.Version != "1.2.3" {
		t.Errorf("helm does not load it: %v", err)
	}
}
