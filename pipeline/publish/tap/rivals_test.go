package tap_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/tap"
)

// Two versions are published at once: whatever waits for whatever, the recipes are those of the newer one.
func TestRivals(t *testing.T) {
	rels := []publish.Release{releasetest.Open(t, verifytest.Options{}), releasetest.Open(t, verifytest.Options{Version: "1.3.0"})}
	for _, test := range []struct {
		kind  tap.Kind
		repo  string
		files []string
	}{{tap.Homebrew, "homebrew-tap", homebrewFiles}, {tap.Scoop, "scoop-bucket", scoopFiles}} {
		t.Run(string(test.kind), func(t *testing.T) {
			fixture.Interleave(t, 3, 2, func(t *testing.T) fixture.Rivals {
				r := newRig(t, tap.Options{Kind: test.kind, Owner: "example", Repo: test.repo})
				publisher := func(i int) func(*fixture.Turn) error {
					return func(turn *fixture.Turn) error {
						other := *r
						other.o.Release, other.base = rels[i], turn.Base(nil)
						_, err := other.publish(t.Context(), false)
						return err
					}
				}
				return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
					for _, name := range test.files {
						if text, _ := r.hub.repos["example/"+test.repo].File("main", name); !strings.Contains(text, "1.3.0") {
							back = append(back, name)
						}
					}
					return back
				}}
			})
		})
	}
}
