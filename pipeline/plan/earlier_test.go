package plan_test

import (
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// The digest in a release of an earlier version is that of the plan as that version wrote it, whatever a plan has become.
func TestEarlier(t *testing.T) {
	dir := earlier.Unpack(t)
	r, err := manifest.Load(filepath.Join(dir, "dist", manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if got := artifact.Sum(read(t, filepath.Join(dir, "plan.json"))); got != r.Plan {
		t.Errorf("the plan is %s, and the release names %s", got, r.Plan)
	}
	// Its configuration is one still: whoever reproduces reads it.
	parse(t, string(read(t, filepath.Join(dir, config.FileName))), string(read(t, filepath.Join(dir, config.LockFileName))))
}

// A chart with a version of its own follows the release in what stands behind the numbers.
func TestChartVersion(t *testing.T) {
	c, l := parse(t, head+"charts: [{path: charts/kit}, {path: charts/own, version: 1.4.0}]\n", "version: 1\n")
	for release, want := range map[string]string{
		"2.0.0": "1.4.0", "2.0.0-rc.1": "1.4.0-rc.1", "2.0.0+build.5": "1.4.0+build.5", "2.0.0-rc.1+b.5": "1.4.0-rc.1+b.5",
		"2.0.1-snapshot.3.g0123456789ab": "1.4.0-snapshot.3.g0123456789ab",
	} {
		charts := make1(t, commit(t, release), c, l, plan.Options{}).Charts
		if own := charts[1]; own.Version != want || own.AppVersion != release || own.Path != "charts/own-"+want+".tgz" {
			t.Errorf("%s: the chart is %s for %s at %s, want %s", release, own.Version, own.AppVersion, own.Path, want)
		}
		if charts[0].Version != release || charts[0].AppVersion != release {
			t.Errorf("%s: the other chart is %s for %s", release, charts[0].Version, charts[0].AppVersion)
		}
	}
}
