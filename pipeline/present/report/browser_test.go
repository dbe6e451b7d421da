package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/browsertest"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// long has names as long as they may be, and much of everything.
func long() Data {
	d := broken()
	r := &d.Release
	r.Name = "payments-gateway-of-the-northern-region-with-a-long-long-name"
	r.Version = mustVersion("1.2.3-rc.1+build.5")
	r.Tag = "gateways/payments/v1.2.3-rc.1+build.5"
	r.Repository = "https://git.example.com/the-northern-region/and-its-teams/payments/gateways/" + r.Name
	r.Unpublishable = append(r.Unpublishable, "el árbol está sucio: 日本語 "+strings.Repeat("a/", 60)+"file.go")
	r.Images[0].Repository = "registry.northern-region.example.com/teams/payments/gateways/" + r.Name
	r.Files[0].Path = "binaries/" + strings.Repeat("folder-in-a-folder/", 6) + r.Name + "_" + r.Version.String()
	r.Inputs = append(r.Inputs, manifest.Input{Kind: "tool", Name: "git.example.com/" + strings.Repeat("module/", 20) + "@v0.0.0-20260101000000-0123456789ab", Digest: "h1:9b1QyZ0rV2d8Tq6uWc5x3nEoYk7fJm4sLhPa0gXiRzU="})
	d.Timings = append(d.Timings, Timing{Step: "compile " + r.Name, Group: "compile", Start: 0, End: time.Minute, State: stateDone})
	d.Facts = append(d.Facts, Fact{"Engine", strings.Repeat("a long fact about the machine ", 8)})
	return d
}

// TestBrowser reads the page as it is in dist/: as a file.
func TestBrowser(t *testing.T) {
	b := browsertest.Start(t)
	for name, d := range map[string]Data{"release": sample(), "broken": broken(), "long": long(), "hostile": hostile()} {
		t.Run(name, func(t *testing.T) {
			page := filepath.Join(t.TempDir(), FileName)
			if err := os.WriteFile(page, []byte(render(t, d)), 0o644); err != nil {
				t.Fatal(err)
			}
			b.Read(t, "report-"+name, "file://"+page)
		})
	}
}
