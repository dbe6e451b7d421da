package serve_test

import (
	"cmp"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
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
func packaged(t *testing.T) (tm *team, dir string) { return packagedBy(newTeam(t)) }

func packagedBy(tm *team) (_ *team, dir string) {
	t := tm.t
	t.Helper()
	dir = t.TempDir()
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

// TestPackagesOfAlpine asks for what apk asks for: a package under the name that it has for it is that of the release, wherever that is.
func TestPackagesOfAlpine(t *testing.T) {
	tm := newTeam(t)
	tm.apk = rsatest.Key(t, "packages")
	tm, dir := packagedBy(tm)
	s, h := tm.serving(serve.Options{Packages: dir})
	const at, pack = "/environments/production/", "apk/production/x86_64/hello-1.0.0-r0.apk"
	key := "apk/production/" + packages.APKKey(tm.apk.Public())
	for name, file := range map[string]string{
		"apk/production/x86_64/APKINDEX.tar.gz": "", "apk/production/aarch64/APKINDEX.tar.gz": "", key: "", pack: "releases/hello/1.0.0/packages/hello_1.0.0-r0_x86_64.apk",
	} {
		b, err := os.ReadFile(filepath.Join(dir, cmp.Or(file, name)))
		must(t, err)
		if w := get(h, at+name); w.Code != http.StatusOK || w.Body.String() != string(b) || w.Header().Get("ETag") == "" {
			t.Errorf("%s: %d, %q", name, w.Code, w.Body)
		}
	}
	must(t, os.MkdirAll(filepath.Join(dir, "apk/staging/x86_64"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "apk/staging/x86_64/APKINDEX.tar.gz"), nil, 0o644))
	must(t, os.Symlink("../../../../../etc/passwd", filepath.Join(dir, "apk/production/x86_64/out.apk")))
	must(t, os.Symlink("../../../releases/../packages/production.json", filepath.Join(dir, "apk/production/x86_64/in.apk")))
	must(t, os.Symlink("../../../releases/hello/0.9.0/packages/hello_0.9.0-r0_x86_64.apk", filepath.Join(dir, "apk/production/x86_64/hello-0.9.0-r0.apk")))
	for name, want := range map[string]int{
		"apk/production/x86_64/out.apk": 404, "apk/production/x86_64/in.apk": 404, "apk/production/x86_64/hello-0.9.0-r0.apk": 404, "apk/production/x86_64/": 404, "apk/production/x86_64": 404,
		"apk/staging/x86_64/APKINDEX.tar.gz": 404, "apk/production/x86_64/hello-9.0.0-r0.apk": 404,
	} {
		if w := get(h, at+name); w.Code != want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	wants(t, get(h, at), http.StatusOK, "Alpine, as root", "wget -P /etc/apk/keys http://example.com"+at+key, "echo http://example.com"+at+"apk/production &gt;&gt;/etc/apk/repositories")
	// An index that cannot be read has no commands.
	index := filepath.Join(dir, "apk/production/x86_64/APKINDEX.tar.gz")
	was, err := os.ReadFile(index)
	must(t, err)
	for _, b := range [][]byte{nil, []byte("x"), was[:50]} {
		must(t, os.WriteFile(index, b, 0o644))
		if w := get(h, at); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "apk/keys") {
			t.Errorf("%q: %d %s", b, w.Code, w.Body)
		}
	}
	// A release that is not here is sent on to.
	must(t, os.RemoveAll(filepath.Join(tm.root, "hello")))
	eventually(t, "the release is gone", func() bool {
		s.Look(t.Context())
		return get(h, at+pack).Header().Get("Location") == "https://releases.example.com/releases/hello/1.0.0/files/packages/hello_1.0.0-r0_x86_64.apk"
	})
}
