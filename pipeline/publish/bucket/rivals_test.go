package bucket_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/buckettest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
)

// key is what a request is about: an object, or those whose list is asked for.
func key(r *http.Request) string {
	return strings.TrimSuffix(r.URL.Path, "/") + strings.TrimSuffix("/"+r.URL.Query().Get("prefix"), "/")
}

// Two versions are published at once: a bucket has no name that moves, so each is there whole.
func TestRivals(t *testing.T) {
	rels := []publish.Release{releasetest.Open(t, verifytest.Options{}), releasetest.Open(t, verifytest.Options{Version: "1.3.0"})}
	fixture.Interleave(t, 2, 20, func(t *testing.T) fixture.Rivals {
		s := newStand(t, buckettest.Options{})
		publisher := func(i int) func(*fixture.Turn) error {
			return func(turn *fixture.Turn) error {
				_, err := s.publish(t.Context(), t, rels[i], setting{base: turn.Base(key)})
				return err
			}
		}
		return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
			for _, rel := range rels {
				for _, f := range rel.Manifest.Files {
					key := "hello/" + rel.Manifest.Version.String() + "/" + f.Path
					if got, _ := s.Get(key); int64(len(got)) != f.Size {
						back = append(back, key)
					}
				}
			}
			return back
		}}
	})
}
