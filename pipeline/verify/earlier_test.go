package verify_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// A release that an earlier version made, signed and published verifies, down to every package and signature.
func TestEarlier(t *testing.T) {
	dir := earlier.Unpack(t)
	keys, err := verify.ReadKeys([]string{filepath.Join(dir, "hello.pub")})
	must(t, err)
	report, err := verify.Dist(t.Context(), filepath.Join(dir, "dist"), verify.Options{Keys: keys, Version: "1.2.3"})
	must(t, err)
	const checks = 70 // as the version that made it counts them
	if report.Verdict != verify.Pass || report.Count(verify.Pass) != checks || len(report.Rows) != checks {
		t.Errorf("verdict %s, %d of %d checks passed, want %d", report.Verdict, report.Count(verify.Pass), len(report.Rows), checks)
	}
	flip(t, dir, "dist/packages/hello_1.2.3_amd64.deb")
	if report, err := verify.Dist(t.Context(), filepath.Join(dir, "dist"), verify.Options{Keys: keys}); err == nil || report.Count(verify.Fail) != 1 {
		t.Errorf("with a changed package: %d checks failed, %v", report.Count(verify.Fail), err)
	}
}

// A release that a later minor version made is verified as far as it is known: its bytes and its signatures are whole, and
// what it says besides is named. One that a reader has to know more of to be right is refused, and is not a mismatch.
func TestLater(t *testing.T) {
	dir := release(t, verifytest.Options{Bare: true, EditManifest: func(r *manifest.Release) {
		r.Minor = 3
		r.Unknown = canonjson.Unknown{{Key: "shards", Value: json.RawMessage(`[{"of": 4}]`)}, {Key: "rétention\n", Value: json.RawMessage(`"forever"`)}}
	}})
	report, err := verify.Dist(t.Context(), dir, verify.Options{})
	must(t, err)
	var text bytes.Buffer
	must(t, report.WriteText(&text))
	golden(t, "later.txt", text.Bytes())

	replace(t, dir, manifest.FileName, `"minor": 3,`, "\"minor\": 3,\n  \"requires\": [\n    \"shards\"\n  ],")
	report, err = verify.Dist(t.Context(), dir, verify.Options{})
	const want = `release.json: reading manifest: it requires "shards", which this version does not know; read it with a newer slipway`
	if err == nil || err.Error() != want || fault.CodeOf(err) != fault.Usage || report.Verdict != "" {
		t.Errorf("verdict %q, exit %d: %v", report.Verdict, fault.CodeOf(err), err)
	}

	dir = release(t, verifytest.Options{Bare: true})
	replace(t, dir, manifest.FileName, manifest.Schema, "slipway.release/v2")
	if _, err := verify.Dist(t.Context(), dir, verify.Options{}); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), `schema "slipway.release/v2" is not "slipway.release/v1"`) {
		t.Errorf("another major version: exit %d: %v", fault.CodeOf(err), err)
	}
}

// A chart has a version of its own only where the release says so, and then one that is as much of a prerelease.
func TestChartVersions(t *testing.T) {
	for _, tt := range []struct {
		name, version, chart, want string
		requires                   []string
	}{
		{name: "of its own", version: "1.2.3", chart: "0.9.0", requires: []string{manifest.ChartVersions}},
		{name: "of a candidate", version: "1.2.3-rc.1", chart: "0.9.0-rc.1", requires: []string{manifest.ChartVersions}},
		{name: "that is not said", version: "1.2.3", chart: "0.9.0", want: `its version in release.json is "0.9.0", want "1.2.3"`},
		{name: "stable of a candidate", version: "1.2.3-rc.1", chart: "0.9.0", requires: []string{manifest.ChartVersions}, want: "its version 0.9.0 and that of the release, 1.2.3-rc.1, differ behind their numbers"},
		{name: "that is none", version: "1.2.3", chart: "0.9", requires: []string{manifest.ChartVersions}, want: `version "0.9" is not SemVer`},
	} {
		path := "charts/hello-" + tt.chart + ".tgz"
		dir := release(t, verifytest.Options{
			Bare: true, Version: tt.version,
			ChartYAML: "apiVersion: v2\nname: hello\nversion: " + tt.chart + "\nappVersion: \"" + tt.version + "\"\n",
			Edit: func(files map[string][]byte) {
				was := "charts/hello-" + tt.version + ".tgz"
				files[path] = files[was]
				delete(files, was)
			},
			EditDocument: func(kind string, b []byte) []byte {
				if kind == "chart config" {
					b = bytes.Replace(b, []byte(`"version":"`+tt.version), []byte(`"version":"`+tt.chart), 1)
				}
				return b
			},
			EditManifest: func(r *manifest.Release) {
				r.Requires, r.Charts[0].Version, r.Charts[0].Path = tt.requires, tt.chart, path
			},
		})
		replace(t, dir, "images/index.json", "charts/hello:"+tt.version, "charts/hello:"+tt.chart)
		report, err := verify.Dist(t.Context(), dir, verify.Options{})
		detail := ""
		for _, row := range report.Rows {
			if row.Path == path && row.Kind == "chart" {
				detail = row.Detail
			}
		}
		if want := tt.want; want != "" && (err == nil || !strings.Contains(detail, want)) || want == "" && detail != "hello "+tt.chart {
			t.Errorf("a chart with a version %s: %q, %v", tt.name, detail, err)
		}
	}
}
