package githubrelease_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
)

// assets are the paths of what a release has.
var assets = regexp.MustCompile(`^/repos/[^/]+/[^/]+/releases/\d+(/assets)?$`)

// where is what a request is about: the assets of a release, or a release that is looked at; any other request is about all that
// the repository has, since lists and the latest release show it.
func where(r *http.Request) string {
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/api/v3"), "/api/uploads")
	if m := assets.FindStringSubmatch(path); m != nil && (m[1] != "" || r.Method == http.MethodGet) {
		return path
	}
	return ""
}

// Two versions are published at once: whatever waits for whatever, GitHub calls the newer one the latest.
func TestRivals(t *testing.T) {
	rels := []publish.Release{release(t, verifytest.Options{}), release(t, verifytest.Options{Version: "1.3.0"})}
	fixture.Interleave(t, 2, 20, func(t *testing.T) fixture.Rivals {
		r := newRig(t, rels[0])
		r.repo.Tag(rels[1].Manifest.Tag, rels[1].Manifest.Commit)
		for _, rel := range rels { // nobody calls a draft the latest
			other := *r
			other.o.Release = rel
			if err := other.destination(false).Stage(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		publisher := func(i int) func(*fixture.Turn) error {
			return func(turn *fixture.Turn) error {
				other := *r
				other.o.Release, other.base = rels[i], turn.Base(where)
				_, err := other.publish(t.Context(), false)
				return err
			}
		}
		return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
			if latest := r.repo.Latest(); latest != rels[1].Manifest.Tag {
				back = append(back, "the latest is "+latest)
			}
			return back
		}}
	})
}

// A publisher that ended before it looked again left the older release as the latest: the same command puts it right. What
// somebody called the latest stays.
func TestLeftBehind(t *testing.T) {
	older, newer := release(t, verifytest.Options{}), release(t, verifytest.Options{Version: "1.3.0"})
	r := newRig(t, older)
	r.repo.Tag(newer.Manifest.Tag, newer.Manifest.Commit)
	r.run()
	next := *r
	next.o.Release = newer
	next.run()
	r.repo.MakeLatest(older.Manifest.Tag)
	if result := next.run(); result.Changed || r.repo.Latest() != older.Manifest.Tag {
		t.Errorf("what a person calls the latest is moved: %+v", result)
	}
	if result := r.run(); !result.Changed || r.repo.Latest() != newer.Manifest.Tag {
		t.Errorf("the latest is %s", r.repo.Latest())
	}
}
