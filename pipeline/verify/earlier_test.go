package verify_test

import (
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
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
