package tap

import (
	"slices"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format"
)

// Every format that goes to a repository has a place there, and no other has.
func TestPlaces(t *testing.T) {
	for _, f := range format.All {
		place, ok := places[f.Name]
		if want := slices.Contains([]Kind{Homebrew, Scoop, Winget}, Kind(f.Goes)); ok != want || want && place.at == nil {
			t.Errorf("%s goes to %q and has a place in a repository: %t, want %t", f.Name, f.Goes, ok, want)
		}
	}
	for name := range places {
		if _, ok := format.Find(name); !ok {
			t.Errorf("%q has a place and is not a format", name)
		}
	}
}
