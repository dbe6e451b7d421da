package serve_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/publish/packages"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
)

// packages writes the indexes of production as of a line, with what is current then.
func (tm *team) packages(dir string, line int, current ...environment.Seen) {
	tm.t.Helper()
	key, err := openpgp.New(tm.key, "a test")
	must(tm.t, err)
	_, err = packages.Reconcile(tm.t.Context(), packages.Options{Dir: dir, Key: key, APK: tm.apk}, []packages.Stage{{Name: "production", Line: line, At: time.Date(2026, 3, 2, 10, 0, line, 0, time.UTC), Current: current}})
	must(tm.t, err)
}

// packaged is a team with a release in production and its packages in indexes, which are in a folder.
func packaged(t *testing.T) (tm *team, dir string) {
	t.Helper()
	tm, dir = newTeam(t), t.TempDir()
	tm.whole = true
	r := tm.add("hello", "1.0.0", "production", true)
	must(t, os.Symlink(tm.root, filepath.Join(dir, "releases")))
	b, err := os.ReadFile(filepath.Join(tm.root, "hello/1.0.0", manifest.FileName))
	must(t, err)
	tm.packages(dir, 1, environment.Seen{Held: environment.Held{Component: r.Name, Version: "1.0.0", Manifest: artifact.Sum(b)}})
	return tm, dir
}

// TestPackages asks for indexes of packages, and for what stands beside them.
func TestPackages(t *testing.T) {
	tm, dir := packaged(t)
	_, h := tm.serving(serve.Options{Packages: dir})
	const at = "/environments/production/"
	for _, name := range []string{"dists/production/InRelease", "dists/production/main/binary-amd64/Packages.gz", "rpm/production/repodata/repomd.xml", "rpm/production/repodata/repomd.xml.asc", "packages.asc"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		w := get(h, at+name)
		if w.Code != http.StatusOK || w.Body.String() != string(b) || w.Header().Get("ETag") == "" {
			t.Errorf("%s: %d, %q", name, w.Code, w.Body)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "dists/production/.new-Release"), []byte("x"), 0o644))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "dists/production/out")))
	for name, want := range map[string]int{
		"dists/production/.new-Release": 404, "dists/production/out": 500, "dists/production/": 404, "dists/production": 404, "dists/production/main": 404, "dists/staging/InRelease": 404, "packages/production.json": 404,
		"rpm/production/repodata/none": 404, "rpm/production/../../releases": 400, "releases/hello/1.0.0/packages/hello_1.0.0_amd64.deb": 200,
	} {
		if w := get(h, at+name); w.Code != want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	wants(t, get(h, at), http.StatusOK, "deb [signed-by=/etc/apt/keyrings/slipway-production.asc] http://example.com/environments/production/ production main", "baseurl=http://example.com/environments/production/rpm/production gpgcheck=0 repo_gpgcheck=1 gpgkey=http://example.com/environments/production/packages.asc")
	_, without := tm.serving(serve.Options{})
	wants(t, get(without, at+"packages.asc"), http.StatusNotFound, "there is nothing here")
}
