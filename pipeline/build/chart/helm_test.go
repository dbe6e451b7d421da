//go:build full

package chart

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/downloader"
	"helm.sh/helm/v3/pkg/getter"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// TestHelmAcceptsLock lets Helm rebuild charts/ from our Chart.lock, which it refuses unless its digest is the one that
// Helm computes from Chart.yaml.
func TestHelmAcceptsLock(t *testing.T) {
	repo := newRepository(t, strings.ReplaceAll(dbIndex, "[/files/", "["), dbFiles(t))
	repo.files["/charts/db-1.10.0.tgz"] = repo.files["/files/db-1.10.0.tgz"]
	dir := needing(t,
		"{name: db, version: ^1.2.0, repository: "+repo.URL+"/charts, condition: db.on, tags: [x, <&>], import-values: [{child: a, parent: b}, c]}",
		"{name: db, version: 2.x, repository: "+repo.URL+"/charts, alias: other}",
	)
	deps, err := Resolve(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := appOptions(dir)
	o.Dependencies = fetched(t, deps)
	tgz, _ := mustPack(t, o)
	build := func(change func(lock string) string) error {
		out := t.TempDir()
		unpack(t, tgz, out)
		if err := os.RemoveAll(filepath.Join(out, "tiny/charts")); err != nil {
			t.Fatal(err)
		}
		lock := filepath.Join(out, "tiny/Chart.lock")
		b, err := os.ReadFile(lock)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lock, []byte(change(string(b))), 0o644); err != nil {
			t.Fatal(err)
		}
		cache := t.TempDir()
		if err := os.WriteFile(filepath.Join(cache, "repositories.yaml"), []byte("repositories: [{name: test, url: "+repo.URL+"/charts}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m := &downloader.Manager{
			Out:              io.Discard,
			ChartPath:        filepath.Join(out, "tiny"),
			Getters:          getter.Providers{{Schemes: []string{"http"}, New: getter.NewHTTPGetter}},
			RepositoryConfig: filepath.Join(cache, "repositories.yaml"),
			RepositoryCache:  cache,
		}
		if err := m.Build(); err != nil {
			return err
		}
		for _, d := range deps {
			got, err := os.ReadFile(filepath.Join(out, "tiny/charts", d.Name+"-"+d.Version+".tgz"))
			if err != nil || artifact.Sum(got) != d.Digest {
				t.Errorf("Helm built %s: %v", artifact.Sum(got), err)
			}
		}
		return nil
	}
	if err := build(func(s string) string { return s }); err != nil {
		t.Error(err)
	}
	if err := build(func(s string) string { return strings.Replace(s, "sha256:", "sha256:0", 1) }); err == nil || !strings.Contains(err.Error(), "out of sync") {
		t.Errorf("Helm accepts any lock: %v", err)
	}
}
