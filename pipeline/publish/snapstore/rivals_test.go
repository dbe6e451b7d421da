package snapstore_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
)

// Two versions are published at once: whatever waits for whatever, the channel has the newer one.
func TestRivals(t *testing.T) {
	rels := []publish.Release{releasetest.Open(t, verifytest.Options{}), releasetest.Open(t, verifytest.Options{Version: "1.3.0"})}
	fixture.Interleave(t, 4, 4, func(t *testing.T) fixture.Rivals {
		r := newRig(t, rels[0])
		r.store.Slow, r.channels = 0, []string{"stable", "candidate"}
		publisher := func(i int) func(*fixture.Turn) error {
			return func(turn *fixture.Turn) error {
				other := *r
				other.options.Release, other.base = rels[i], turn.Base(nil)
				_, err := other.run(t.Context())
				return err
			}
		}
		return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
			state := r.store.State()
			for _, arch := range []string{"amd64", "arm64"} {
				for _, channel := range []string{"stable", "candidate"} {
					if !strings.Contains(state, "latest/"+channel+" "+arch+": revision "+revisionOf(state, "1.3.0 "+arch)+"\n") {
						back = append(back, channel+" "+arch)
					}
				}
			}
			return back
		}}
	})
}

func revisionOf(state, what string) string {
	for line := range strings.Lines(state) {
		if n, rest, ok := strings.Cut(strings.TrimPrefix(line, "revision "), ": "); ok && strings.HasPrefix(rest, what) {
			return n
		}
	}
	return "?"
}

// From a version that a channel had before, somebody went back: that is not undone.
func TestRolledBack(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{Version: "1.3.0"}))
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := r.store.Add("1.2.2", "amd64", "", []byte("x"))
	r.store.Release(old, "stable")
	r.options.Release = releasetest.Open(t, verifytest.Options{Version: "1.2.3"})
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := r.store.State()
	for arch, v := range map[string]string{"amd64": "1.2.3", "arm64": "1.3.0"} {
		if !strings.Contains(state, "latest/stable "+arch+": revision "+revisionOf(state, v+" "+arch)+"\n") {
			t.Errorf("%s has not %s:\n%s", arch, v, state)
		}
	}
}
