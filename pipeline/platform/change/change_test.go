package change_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform/change"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// TestRelease reads a release, and believes nothing that is not as it was locked.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	if _, err := verifytest.Write(dir, verifytest.Options{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	r, err := change.Open(dir, artifact.Sum(b))
	if err != nil {
		t.Fatal(err)
	}
	bills, err := r.Bills()
	if err != nil || len(bills) == 0 {
		t.Fatalf("%d bills, %v", len(bills), err)
	}
	for name, bill := range bills {
		if strings.Contains(name, "1.2.3") || bill.Packages["pkg:golang/stdlib"] == nil {
			t.Errorf("%s: %v", name, bill.Packages)
		}
	}
	if same := change.Packages(bills, bills); len(same) != 0 {
		t.Errorf("%v differs from itself", same)
	}
	if _, err := change.Open(dir, artifact.Sum([]byte("other"))); err == nil || !strings.Contains(err.Error(), "was locked") {
		t.Errorf("another manifest: %v", err)
	}
	for _, s := range r.SBOMs {
		if s.Format == "cyclonedx" {
			if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(s.Path)), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if _, err := r.Bills(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("another bill: %v", err)
	}
}
