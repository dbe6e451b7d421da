package chartrepo_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
)

// Two versions are published at once: whatever waits for whatever, the index has both, and the newer one first, whose are
// the metadata beside it.
func TestRivals(t *testing.T) {
	var rels []publish.Release
	for _, v := range []string{"1.2.3", "1.3.0"} {
		rels = append(rels, releasetest.Open(t, verifytest.Options{Version: v, Edit: func(files map[string][]byte) {
			files["charts/artifacthub-repo.yml"] = []byte("owners: [{name: " + v + "}]\n")
		}}))
	}
	fixture.Interleave(t, 1, 8, func(t *testing.T) fixture.Rivals {
		s := newStand(t)
		s.Commit("gh-pages", map[string]string{"index.html": "<html>"})
		publisher := func(i int) func(*fixture.Turn) error {
			return func(turn *fixture.Turn) error {
				mine := &stand{Repo: s.Repo, faults: s.faults, token: s.token, work: s.work, url: s.faults.Serve(t, "git", turn.Wrap(s))}
				_, err := mine.publish(t, rels[i], publish.Options{})
				return err
			}
		}
		return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
			index, _ := s.File("gh-pages", "index.yaml")
			newer, older := strings.Index(index, "version: 1.3.0"), strings.Index(index, "version: 1.2.3")
			if newer < 0 || older < newer {
				back = append(back, "the index")
			}
			if hub, _ := s.File("gh-pages", "artifacthub-repo.yml"); !strings.Contains(hub, "1.3.0") {
				back = append(back, "the metadata")
			}
			return back
		}}
	})
}
