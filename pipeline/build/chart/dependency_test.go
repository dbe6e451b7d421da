package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// packaged is a small chart as a repository has it.
func packaged(t *testing.T, name, version string, extra ...archive.File) []byte {
	t.Helper()
	files := append([]archive.File{
		archive.Bytes(name+"/Chart.yaml", []byte("apiVersion: v2\nname: "+name+"\nversion: "+version+"\n")),
		archive.Bytes(name+"/templates/cm.yaml", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+"}\n")),
	}, extra...)
	var b bytes.Buffer
	if err := archive.TarGz(&b, files, commitTime); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// repository serves files by path and, for each, an entry in index.yaml. It counts requests.
type repository struct {
	*httptest.Server
	files map[string][]byte
	asked []string
	query string // that it demands
}

func newRepository(t *testing.T, index string, files map[string][]byte) *repository {
	t.Helper()
	r := &repository{files: files}
	files["/charts/index.yaml"] = []byte(index)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked = append(r.asked, req.URL.Path)
		if req.URL.RawQuery != r.query {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		b, ok := r.files[req.URL.Path]
		if !ok {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(r.Close)
	return r
}

const dbIndex = `apiVersion: v1
entries:
  db:
    - {apiVersion: v2, name: db, version: 1.2.0, urls: [db-1.2.0.tgz]}
    - {apiVersion: v2, name: db, version: 1.10.0, urls: [/files/db-1.10.0.tgz]}
    - {apiVersion: v2, name: db, version: 2.0.0, urls: [db-2.0.0.tgz]}
    - {apiVersion: v2, name: db, version: 1.11.0-rc.1, urls: [db-1.11.0-rc.1.tgz]}
    - {apiVersion: v2, name: db, version: 1.12.0, urls: []}
    - {apiVersion: v2, name: db, version: not a version, urls: [x.tgz]}
`

func dbFiles(t *testing.T) map[string][]byte {
	return map[string][]byte{
		"/charts/db-1.2.0.tgz": packaged(t, "db", "1.2.0"),
		"/files/db-1.10.0.tgz": packaged(t, "db", "1.10.0"),
		"/charts/db-2.0.0.tgz": packaged(t, "db", "2.0.0"),
	}
}

// needing is a chart that declares the dependencies, given as lines of YAML flow mappings.
func needing(t *testing.T, deps ...string) string {
	t.Helper()
	return tempChart(t, map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.0.0\ndependencies:\n  - " + strings.Join(deps, "\n  - ") + "\n",
	})
}

// fetched is the dependencies with their files.
func fetched(t *testing.T, deps []Dependency) []Dependency {
	t.Helper()
	dir := t.TempDir()
	for i, d := range deps {
		deps[i].File = filepath.Join(dir, fmt.Sprint(i))
		if err := Fetch(t.Context(), d, nil, deps[i].File); err != nil {
			t.Fatal(err)
		}
	}
	return deps
}

func names(t *testing.T, tgz []byte) []string {
	t.Helper()
	var all []string
	for _, m := range members(t, tgz) {
		all = append(all, m.header.Name)
	}
	return all
}

func TestClassicRepository(t *testing.T) {
	repo := newRepository(t, dbIndex, dbFiles(t))
	dir := needing(t, "{name: db, version: ^1.2.0, repository: "+repo.URL+"/charts/}")
	deps, err := Resolve(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Dependency{Name: "db", Version: "1.10.0", Repository: repo.URL + "/charts/", Digest: artifact.Sum(repo.files["/files/db-1.10.0.tgz"]), Dir: dir}
	if len(deps) != 1 || deps[0] != want {
		t.Fatalf("resolved %+v, want %+v", deps, want)
	}
	o := appOptions(dir)
	o.Dependencies = fetched(t, deps)
	asked := len(repo.asked)
	tgz, _ := mustPack(t, o)
	if len(repo.asked) != asked {
		t.Errorf("packaging asked the repository for %q", repo.asked[asked:])
	}
	if !slices.Contains(names(t, tgz), "tiny/charts/db-1.10.0.tgz") {
		t.Errorf("packaged %q", names(t, tgz))
	}
	c, err := loader.LoadArchive(bytes.NewReader(tgz))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Dependencies()) != 1 || c.Dependencies()[0].Metadata.Version != "1.10.0" || !c.Lock.Generated.Equal(commitTime) {
		t.Errorf("dependencies %v, lock %v", c.Dependencies(), c.Lock)
	}

	// A file that is there and right is not fetched again; one that is cut off is.
	asked = len(repo.asked)
	file := o.Dependencies[0].File
	if err := Fetch(t.Context(), deps[0], nil, file); err != nil || len(repo.asked) != asked {
		t.Errorf("fetched again: %v, %q", err, repo.asked[asked:])
	}
	if err := os.Truncate(file, 10); err != nil {
		t.Fatal(err)
	}
	if err := Fetch(t.Context(), deps[0], nil, file); err != nil || len(repo.asked) == asked {
		t.Errorf("not fetched again: %v", err)
	}
	if d, _, _ := artifact.SumFile(file); d != deps[0].Digest {
		t.Errorf("digest %s, want %s", d, deps[0].Digest)
	}
}

// TestLockDigest has the digest that Helm 3.22 computes for these dependencies.
func TestLockDigest(t *testing.T) {
	got, err := lockDigest(
		[]*helmchart.Dependency{{Name: "db", Version: "^1.2.0", Repository: "https://example.com/charts"}},
		[]*helmchart.Dependency{{Name: "db", Version: "1.10.0", Repository: "https://example.com/charts"}},
	)
	const want = "sha256:7281d4efe096a10433e087625674ccbc69b9627cb060b955b87e78024f67427b"
	if err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func push(t *testing.T, ref string, tgz []byte, layerType string) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.helm.config.v1+json")
	img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(tgz, types.MediaType(layerType)), MediaType: types.MediaType(layerType)})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
}

func newRegistry(t *testing.T) (host string) {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestOCIRepository(t *testing.T) {
	host := newRegistry(t)
	for _, v := range []string{"1.0.0", "1.2.0+build.5", "2.0.0", "1.3.0-rc.1"} {
		push(t, host+"/charts/db:"+strings.ReplaceAll(v, "+", "_"), packaged(t, "db", v), layerTypes[0])
	}
	push(t, host+"/charts/db:latest", packaged(t, "db", "9.0.0"), layerTypes[0])
	push(t, host+"/charts/old:0.1.0", packaged(t, "old", "0.1.0"), layerTypes[1])
	dir := needing(t,
		"{name: db, version: ~1, repository: oci://"+host+"/charts}",
		"{name: old, version: 0.1.0, repository: oci://"+host+"/charts/}",
	)
	deps, err := Resolve(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(deps) != 2 || deps[0].Version != "1.2.0+build.5" || deps[0].Digest != artifact.Sum(packaged(t, "db", "1.2.0+build.5")) ||
		deps[1].Version != "0.1.0" || deps[1].Digest != artifact.Sum(packaged(t, "old", "0.1.0")) {
		t.Fatalf("resolved %+v", deps)
	}
	// A tag that moves after the lock was written changes nothing.
	push(t, host+"/charts/db:1.2.0_build.5", packaged(t, "db", "1.2.0+build.5", archive.Bytes("db/new", nil)), layerTypes[0])
	o := appOptions(dir)
	o.Dependencies = fetched(t, deps)
	tgz, _ := mustPack(t, o)
	if got := names(t, tgz); !slices.Contains(got, "tiny/charts/db-1.2.0+build.5.tgz") || !slices.Contains(got, "tiny/charts/old-0.1.0.tgz") {
		t.Errorf("packaged %q", got)
	}
	gone := deps[0]
	gone.Digest = artifact.Sum([]byte("other"))
	wantFault(t, Fetch(t.Context(), gone, nil, filepath.Join(t.TempDir(), "x")), fault.Mismatch, string(gone.Digest), "go run ./ci lock")
}

// TestIndexOfRegistry is a classic index whose URLs lead to a registry.
func TestIndexOfRegistry(t *testing.T) {
	host := newRegistry(t)
	tgz := packaged(t, "db", "1.0.0")
	push(t, host+"/deep/charts/db:1.0.0", tgz, layerTypes[0])
	repo := newRepository(t, "entries:\n  db: [{version: 1.0.0, urls: ['oci://"+host+"/deep/charts/db:1.0.0']}]\n", map[string][]byte{})
	deps, err := Resolve(t.Context(), needing(t, "{name: db, version: '*', repository: "+repo.URL+"/charts}"), nil)
	if err != nil || len(deps) != 1 || deps[0].Digest != artifact.Sum(tgz) {
		t.Fatalf("resolved %+v, %v", deps, err)
	}
	fetched(t, deps)
}

func TestLocalRepository(t *testing.T) {
	dir := needing(t, "{name: common, version: '>=0.0.0-0', repository: 'file://../common'}")
	common := filepath.Join(filepath.Dir(dir), "common")
	writeTree(t, common, map[string]string{"Chart.yaml": "apiVersion: v2\nname: common\nversion: 0.3.0\ntype: library\n", "templates/_x.tpl": ""}, []string{"Chart.yaml", "templates/_x.tpl"})
	deps, err := Resolve(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(deps) != 1 || deps[0].Version != "0.3.0" {
		t.Fatalf("resolved %+v", deps)
	}
	o := appOptions(dir)
	o.Dependencies = fetched(t, deps)
	tgz, _ := mustPack(t, o)
	if !slices.Contains(names(t, tgz), "tiny/charts/common-0.3.0.tgz") {
		t.Errorf("packaged %q", names(t, tgz))
	}
	if err := os.Chtimes(filepath.Join(common, "Chart.yaml"), commitTime, commitTime); err != nil {
		t.Fatal(err)
	}
	if again, err := Resolve(t.Context(), dir, nil); err != nil || again[0].Digest != deps[0].Digest {
		t.Errorf("resolved again: %+v, %v", again, err)
	}
	writeTree(t, common, map[string]string{"values.yaml": "a: 1\n"}, []string{"values.yaml"})
	wantFault(t, Fetch(t.Context(), deps[0], nil, filepath.Join(t.TempDir(), "x")), fault.Mismatch, "common 0.3.0", "go run ./ci lock")
}

func TestLocalRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"no Chart.yaml":        {map[string]string{"x": "y"}, []string{"Chart.yaml"}},
		"other name":           {map[string]string{"Chart.yaml": "apiVersion: v2\nname: other\nversion: 1.0.0\n"}, []string{"other 1.0.0"}},
		"other version":        {map[string]string{"Chart.yaml": "apiVersion: v2\nname: common\nversion: 2.0.0\n"}, []string{"common 2.0.0", "^1"}},
		"link out of it":       {map[string]string{"Chart.yaml": "apiVersion: v2\nname: common\nversion: 1.0.0\n", "x": "-> ../tiny/Chart.yaml"}, []string{"x is a symbolic link"}},
		"needs what is not in": {map[string]string{"Chart.yaml": "apiVersion: v2\nname: common\nversion: 1.0.0\ndependencies: [{name: db, version: '1', repository: 'https://example.com'}]\n"}, []string{"depends on db"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := needing(t, "{name: common, version: ^1, repository: 'file://../common'}")
			writeTree(t, filepath.Join(filepath.Dir(dir), "common"), tt.files, slices.Sorted(maps.Keys(tt.files)))
			_, err := Resolve(t.Context(), dir, nil)
			wantFault(t, err, fault.Usage, tt.says...)
		})
	}
	dep := Dependency{Name: "common", Version: "1.0.0", Repository: "file://../common", Digest: "sha256:" + digestHex}
	wantFault(t, Fetch(t.Context(), dep, nil, filepath.Join(t.TempDir(), "x")), fault.Bug, "not named")
}

// TestDependencySchemas: what a dependency's schema refers to outside of itself is not fetched, and said; one that can
// be read counts.
func TestDependencySchemas(t *testing.T) {
	asked := false
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(s.Close)
	files := map[string]string{
		"Chart.yaml":                      "apiVersion: v2\nname: tiny\nversion: 0.0.0\ndependencies: [{name: sub, version: 1.0.0}]\n",
		"charts/sub/Chart.yaml":           "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
		"charts/sub/values.schema.json":   `{"properties": {"a": {"$ref": "` + s.URL + `/a.json"}}}`,
		"charts/sub/templates/_none.tpl":  "",
		"charts/sub/charts/deep.tgz":      string(packaged(t, "deep", "1.0.0")),
		"charts/sub/charts/deep.tgz.prov": "signature",
	}
	_, r := mustPack(t, appOptions(tempChart(t, files)))
	if asked || len(r.Warnings) == 0 || !strings.Contains(strings.Join(r.Warnings, "\n"), "tiny/charts/sub: the values are not validated") {
		t.Errorf("asked: %v, warnings %q", asked, r.Warnings)
	}
	files["charts/sub/values.schema.json"] = `{"properties": {"a": {"type": "integer"}}}`
	files["ci/sub-values.yaml"] = "sub: {a: text}\n"
	_, err := Package(t.Context(), io.Discard, appOptions(tempChart(t, files)))
	wantFault(t, err, fault.Build, "ci/sub-values.yaml", "sub")
	files["charts/sub/charts/deep.tgz"] = string(rawTar(t, tar.Header{Name: "deep/../../x"}))
	_, err = Package(t.Context(), io.Discard, appOptions(tempChart(t, files)))
	wantFault(t, err, fault.Usage, "charts/sub: charts/deep.tgz", "leaves the chart")
}

func TestVendoredInTree(t *testing.T) {
	repo := newRepository(t, dbIndex, dbFiles(t))
	decl := "apiVersion: v2\nname: tiny\nversion: 0.0.0\ndependencies:\n  - {name: db, version: ^1, repository: " + repo.URL + "/charts}\n"
	dir := tempChart(t, map[string]string{
		"Chart.yaml":               decl,
		"charts/db-1.2.0.tgz":      string(packaged(t, "db", "1.2.0")),
		"charts/db-1.2.0.tgz.prov": "signature",
		"charts/_later/x":          "skipped by Helm",
	})
	// What is committed counts where the lock has nothing.
	tgz, _ := mustPack(t, appOptions(dir))
	if got := names(t, tgz); !slices.Contains(got, "tiny/charts/db-1.2.0.tgz") {
		t.Errorf("packaged %q", got)
	}
	for _, m := range members(t, tgz) {
		if m.header.Name == "tiny/Chart.lock" && !strings.Contains(m.data, "version: 1.2.0") {
			t.Errorf("Chart.lock is %s", m.data)
		}
	}
	// What the lock has replaces it.
	deps, err := Resolve(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := appOptions(dir)
	o.Dependencies = fetched(t, deps)
	tgz, _ = mustPack(t, o)
	var charts []string
	for _, n := range names(t, tgz) {
		if strings.HasPrefix(n, "tiny/charts/") {
			charts = append(charts, n)
		}
	}
	if want := []string{"tiny/charts/_later/x", "tiny/charts/db-1.10.0.tgz"}; !slices.Equal(charts, want) {
		t.Errorf("packaged %q, want %q", charts, want)
	}
}

func TestRepositoryWithQuery(t *testing.T) {
	repo := newRepository(t, dbIndex, dbFiles(t))
	repo.query = "client=ci"
	deps, err := Resolve(t.Context(), needing(t, "{name: db, version: 1.x, repository: '"+repo.URL+"/charts?client=ci'}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	fetched(t, deps)
	_, err = Resolve(t.Context(), needing(t, "{name: db, version: 1.x, repository: '"+repo.URL+"/charts'}"), nil)
	wantFault(t, err, fault.Credentials, "403")
}

func TestDependencyRefusals(t *testing.T) {
	repo := newRepository(t, dbIndex, dbFiles(t))
	decl := "{name: db, version: ^1, repository: " + repo.URL + "/charts}"
	dir := needing(t, decl)
	file := filepath.Join(t.TempDir(), "db.tgz")
	tgz := packaged(t, "db", "1.2.0")
	if err := os.WriteFile(file, tgz, 0o644); err != nil {
		t.Fatal(err)
	}
	good := Dependency{Name: "db", Version: "1.2.0", Repository: repo.URL + "/charts", Digest: artifact.Sum(tgz), File: file}
	with := func(change func(*Dependency)) []Dependency {
		d := good
		change(&d)
		return []Dependency{d}
	}
	tests := map[string]struct {
		deps []Dependency
		code fault.Code
		says []string
	}{
		"as it should be":      {deps: []Dependency{good}},
		"not locked":           {code: fault.Usage, says: []string{"db ^1", `run "go run ./ci lock"`}},
		"locked too old":       {deps: with(func(d *Dependency) { d.Version = "0.9.0" }), code: fault.Usage, says: []string{"0.9.0", `run "go run ./ci lock"`}},
		"locked elsewhere":     {deps: with(func(d *Dependency) { d.Repository = "https://example.com" }), code: fault.Usage, says: []string{"https://example.com", "lock"}},
		"locked and not asked": {deps: append(with(func(*Dependency) {}), Dependency{Name: "other", Version: "1.0.0"}), code: fault.Usage, says: []string{"other", "lock"}},
		"file is missing":      {deps: with(func(d *Dependency) { d.File += "x" }), code: fault.Usage, says: []string{"db.tgzx", "lock"}},
		"other bytes":          {deps: with(func(d *Dependency) { d.Digest = artifact.Sum(nil) }), code: fault.Mismatch, says: []string{"db 1.2.0", string(artifact.Sum(nil))}},
		"other version inside": {deps: with(func(d *Dependency) { d.Version = "1.3.0" }), code: fault.Mismatch, says: []string{"db 1.2.0"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := appOptions(dir)
			o.Dependencies = tt.deps
			_, err := Package(t.Context(), io.Discard, o)
			if tt.code == fault.OK {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFault(t, err, tt.code, tt.says...)
		})
	}
}

func TestResolveRefusals(t *testing.T) {
	files := dbFiles(t)
	files["/charts/db-3.0.0.tgz"] = packaged(t, "impostor", "3.0.0")
	files["/charts/db-4.0.0.tgz"] = packaged(t, "db", "4.0.1")
	files["/charts/db-5.0.0.tgz"] = []byte("no archive")
	repo := newRepository(t, dbIndex+`    - {version: 3.0.0, urls: [db-3.0.0.tgz]}
    - {version: 4.0.0, urls: [db-4.0.0.tgz]}
    - {version: 5.0.0, urls: [db-5.0.0.tgz]}
    - {version: 6.0.0, urls: ["file:///etc/passwd"]}
    - {version: 7.0.0, urls: [db-2.0.0.tgz], digest: `+digestHex+`}
    - {version: 8.0.0, urls: [gone.tgz]}
`, files)
	status := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		code := http.StatusUnauthorized
		_, _ = fmt.Sscanf(req.URL.Path, "/%d", &code)
		w.WriteHeader(code)
	}))
	t.Cleanup(status.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	broken := newRepository(t, "entries: [", map[string][]byte{})
	bomb := newRepository(t, "entries:\n  db:\n"+strings.ReplaceAll(aliasBomb, "annotations:\n", "    - version:\n"), map[string][]byte{})
	host := newRegistry(t)
	push(t, host+"/charts/image:1.0.0", []byte("x"), "application/vnd.oci.image.layer.v1.tar+gzip")

	at := func(repository, version string) string {
		return "{name: db, version: '" + version + "', repository: '" + repository + "'}"
	}
	tests := map[string]struct {
		dep  string
		code fault.Code
		says []string
	}{
		"no such version":       {at(repo.URL+"/charts", "^99"), fault.Usage, []string{"db", "^99"}},
		"no such chart":         {"{name: nope, version: '1', repository: " + repo.URL + "/charts}", fault.Usage, []string{"nope"}},
		"only prereleases":      {at(repo.URL+"/charts", "~1.11"), fault.Usage, []string{"~1.11"}},
		"malformed constraint":  {at(repo.URL+"/charts", ">>1"), fault.Usage, []string{">>1"}},
		"no constraint":         {"{name: db, repository: " + repo.URL + "/charts}", fault.Usage, []string{"constraint"}},
		"other chart inside":    {at(repo.URL+"/charts", "3.0.0"), fault.Usage, []string{"impostor"}},
		"other version inside":  {at(repo.URL+"/charts", "4.0.0"), fault.Usage, []string{"4.0.1"}},
		"no archive":            {at(repo.URL+"/charts", "5.0.0"), fault.Usage, []string{"gzip"}},
		"sent to a file":        {at(repo.URL+"/charts", "6.0.0"), fault.Usage, []string{"file:///etc/passwd"}},
		"digest of the index":   {at(repo.URL+"/charts", "7.0.0"), fault.Mismatch, []string{digestHex}},
		"archive is gone":       {at(repo.URL+"/charts", "8.0.0"), fault.Usage, []string{"gone.tgz", "404"}},
		"no index":              {at(repo.URL, "1"), fault.Usage, []string{"404"}},
		"index is no YAML":      {at(broken.URL+"/charts", "1"), fault.Usage, []string{"index.yaml"}},
		"index is a bomb":       {at(bomb.URL+"/charts", "1"), fault.Usage, []string{"index.yaml"}},
		"server error":          {at(status.URL+"/503", "1"), fault.Transient, []string{"503"}},
		"too many requests":     {at(status.URL+"/429", "1"), fault.Transient, []string{"429"}},
		"credentials":           {at(status.URL+"/401", "1"), fault.Credentials, []string{"401"}},
		"unreachable":           {at(closed.URL, "1"), fault.Transient, []string{"refused"}},
		"repository by alias":   {at("@stable", "1"), fault.Usage, []string{"@stable", "URL"}},
		"repository of git":     {at("git+ssh://host/x", "1"), fault.Usage, []string{"git+ssh"}},
		"no host":               {at("https:///charts", "1"), fault.Usage, []string{"https:///charts"}},
		"registry without host": {at("oci://charts", "1"), fault.Usage, []string{"host of a registry"}},
		"registry: nothing":     {at("oci://"+host+"/none", "^1"), fault.Usage, []string{"/none"}},
		"registry: no chart":    {"{name: image, version: 1.0.0, repository: oci://" + host + "/charts}", fault.Usage, []string{"not a chart"}},
		"registry unreachable":  {at(strings.Replace(closed.URL, "http", "oci", 1), "1.0.0"), fault.Transient, []string{"refused"}},
		"registry credentials":  {at(strings.Replace(status.URL, "http", "oci", 1)+"/charts", "1.0.0"), fault.Credentials, []string{"401"}},
		"local: absolute":       {at("file:///srv/db", "1"), fault.Usage, []string{"relative"}},
		"local: missing":        {at("file://../nowhere", "1"), fault.Usage, []string{"nowhere"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Resolve(t.Context(), needing(t, tt.dep), nil)
			wantFault(t, err, tt.code, tt.says...)
		})
	}
}

func TestFetchRefusals(t *testing.T) {
	repo := newRepository(t, dbIndex, dbFiles(t))
	dep := Dependency{Name: "db", Version: "1.2.0", Repository: repo.URL + "/charts", Digest: artifact.Sum(repo.files["/charts/db-1.2.0.tgz"])}
	dir := t.TempDir()
	dst := filepath.Join(dir, "db.tgz")
	empty := func() {
		t.Helper()
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("left %v behind", entries)
		}
	}

	changed := dep
	changed.Digest = artifact.Sum(nil)
	wantFault(t, Fetch(t.Context(), changed, nil, dst), fault.Mismatch, "db 1.2.0", string(artifact.Sum(nil)), "go run ./ci lock")
	empty()
	withdrawn := dep
	withdrawn.Version = "1.1.0"
	wantFault(t, Fetch(t.Context(), withdrawn, nil, dst), fault.Mismatch, "1.1.0", "go run ./ci lock")
	empty()
	unpinned := dep
	unpinned.Digest = "sha256:../../x"
	wantFault(t, Fetch(t.Context(), unpinned, nil, dst), fault.Usage, "sha256")
	empty()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantFault(t, Fetch(ctx, dep, nil, dst), fault.Transient, "canceled")
	empty()
	repo.files["/charts/db-1.2.0.tgz"] = make([]byte, loader.MaxDecompressedFileSize+1)
	wantFault(t, Fetch(t.Context(), dep, nil, dst), fault.Usage, "more than 5242880 bytes")
	empty()
	repo.Close()
	wantFault(t, Fetch(t.Context(), dep, nil, dst), fault.Transient, "refused")
	empty()
}

// TestCutOff is a server that promises more bytes than it sends.
func TestCutOff(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("entries:"))
	}))
	t.Cleanup(s.Close)
	_, err := Resolve(t.Context(), needing(t, "{name: db, version: '1', repository: "+s.URL+"}"), nil)
	wantFault(t, err, fault.Transient, "unexpected EOF")
}

// TestChangedBlob is a registry that gives other bytes for a digest, and one that never ends.
func TestChangedBlob(t *testing.T) {
	endless := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.Contains(req.URL.Path, "/blobs/") {
			return
		}
		_, _ = w.Write([]byte("other"))
		for endless && req.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	dep := Dependency{Name: "db", Version: "1.0.0", Repository: strings.Replace(s.URL, "http", "oci", 1), Digest: "sha256:" + digestHex}
	wantFault(t, Fetch(t.Context(), dep, nil, filepath.Join(t.TempDir(), "x")), fault.Mismatch, digestHex)
	endless = true
	wantFault(t, Fetch(t.Context(), dep, nil, filepath.Join(t.TempDir(), "x")), fault.Usage, "larger than")
}

// TestEndlessTags is a registry whose list of tags always has another page.
func TestEndlessTags(t *testing.T) {
	pages := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/tags/") {
			pages++
			w.Header().Set("Link", fmt.Sprintf(`</v2/db/tags/list?last=%d>; rel="next"`, pages))
			_, _ = io.WriteString(w, `{"name": "db", "tags": ["1.0.0"]}`)
		}
	}))
	t.Cleanup(s.Close)
	_, err := Resolve(t.Context(), needing(t, "{name: db, version: ^1, repository: "+strings.Replace(s.URL, "http", "oci", 1)+"}"), nil)
	wantFault(t, err, fault.Usage, errBound.Error())
	if pages > maxRequests {
		t.Errorf("%d pages", pages)
	}
}

// rawTar is a tar.gz with headers as they are given.
func rawTar(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		h.ModTime = time.Unix(0, 0)
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(tw, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestScan(t *testing.T) {
	for name, tt := range map[string]struct {
		tgz  []byte
		says string
	}{
		"path that leaves":   {rawTar(t, tar.Header{Name: "db/../../x"}), "leaves the chart"},
		"absolute path":      {rawTar(t, tar.Header{Name: "/etc/x"}), "leaves the chart"},
		"folder that leaves": {rawTar(t, tar.Header{Name: "../x/", Typeflag: tar.TypeDir}), "leaves the chart"},
		"backslashes":        {rawTar(t, tar.Header{Name: `db/..\..\x`}), "leaves the chart"},
		"drive":              {rawTar(t, tar.Header{Name: "db/c:/x"}), "leaves the chart"},
		"no root":            {rawTar(t, tar.Header{Name: "Chart.yaml"}), "leaves the chart"},
		"symbolic link":      {rawTar(t, tar.Header{Name: "db/x", Linkname: "/etc", Typeflag: tar.TypeSymlink}), "link or a device"},
		"hard link":          {rawTar(t, tar.Header{Name: "db/x", Linkname: "db/y", Typeflag: tar.TypeLink}), "link or a device"},
		"device":             {rawTar(t, tar.Header{Name: "db/x", Typeflag: tar.TypeBlock}), "link or a device"},
		"one name twice":     {rawTar(t, tar.Header{Name: "db/x"}, tar.Header{Name: "db/x"}), "twice"},
		"no gzip":            {[]byte("x"), "EOF"},
		"cut off":            {packaged(t, "db", "1.0.0")[:100], "EOF"},
	} {
		if err := scan(tt.tgz); err == nil || !strings.Contains(err.Error(), tt.says) || fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: error %v, want one that says %q", name, err, tt.says)
		}
	}
	if err := scan(rawTar(t, tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "./db/", Typeflag: tar.TypeDir}, tar.Header{Name: "./db/x", Size: 3})); err != nil {
		t.Errorf("an archive of tar's own making is refused: %v", err)
	}
}

func TestScanBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 200 MiB")
	}
	one := rawTar(t, tar.Header{Name: "db/x", Size: maxUnpacked + 1})
	wantFault(t, scan(one), fault.Usage, "unpacks to more than")
	// Each of these is small enough for Helm; together they are not.
	part := rawTar(t, tar.Header{Name: "p/x", Size: 30 << 20})
	var parts []archive.File
	for i := range 4 {
		parts = append(parts, archive.Bytes(fmt.Sprintf("db/charts/p%d.tgz", i), part))
	}
	wantFault(t, scan(packaged(t, "db", "1.0.0", parts...)), fault.Usage, "unpacks to more than")
	// Archives in one another.
	nested := packaged(t, "db", "1.0.0")
	for range maxArchives {
		nested = packaged(t, "db", "1.0.0", archive.Bytes("db/charts/db.tgz", nested))
	}
	wantFault(t, scan(nested), fault.Usage, "packaged in one another")
	var many []tar.Header
	for i := range maxMembers + 1 {
		many = append(many, tar.Header{Name: fmt.Sprint("db/", i)})
	}
	wantFault(t, scan(rawTar(t, many...)), fault.Usage, "unpacks to more than")
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("x"))
	var b bytes.Buffer
	if err := archive.TarGz(&b, []archive.File{archive.Bytes("db/Chart.yaml", []byte("name: db\nversion: 1.0.0\napiVersion: v2\n"))}, commitTime); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, tgz []byte) {
		if c, err := open(tgz); err == nil && (c.Name() == "" || strings.ContainsAny(c.Name()+c.Metadata.Version, "/\\")) {
			t.Errorf("opened a chart called %q %q", c.Name(), c.Metadata.Version)
		}
	})
}
