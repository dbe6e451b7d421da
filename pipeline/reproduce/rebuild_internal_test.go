package reproduce

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// TestFindTag finds the release of one of several projects by its tag, and refuses one that several have.
func TestFindTag(t *testing.T) {
	from := t.TempDir()
	for _, name := range []string{"tool", "cli"} {
		if _, err := verifytest.Write(filepath.Join(from, name, "1.2.3"), verifytest.Options{Name: name, Version: "1.2.3", Bare: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, want, err string }{
		{"tool/v1.2.3", "tool", ""},
		{"cli/1.2.3", "cli", ""},
		{"v1.2.3", "", "has 1.2.3 of 2 projects; name its tag"},
		{"api/v1.2.3", "", "there is no release api/v1.2.3"},
		{"cli/v1.2.4", "", "there is no release cli/v1.2.4"},
		{"cli/dist", "", "no such folder"},
		{"./cli/1.2.3", "", "no such folder"},
	} {
		r := &run{o: Options{Release: tt.name, From: from, Verify: verify.Options{AllowUnsigned: true}}}
		p, err := r.find(t.Context())
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil || p.rel.Name != tt.want {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, p.rel.Name, err, tt.want, tt.err)
		}
	}
	const page = "https://github.com/example/repo/releases/download/"
	for address, want := range map[string]bool{page + "tool%2Fv1.2.3/": true, page + "tool/v1.2.3/": true, page + "v1.2.3/": false, page + "big-tool%2Fv1.2.3/": false} {
		if got := (Listed{Version: "1.2.3", URL: address}).tagged("tool/v1.2.3"); got != want {
			t.Errorf("%s has the tag: %v", address, got)
		}
	}
}
