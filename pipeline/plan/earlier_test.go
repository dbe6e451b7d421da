package plan_test

import (
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
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
