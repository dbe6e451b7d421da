package folder_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/folder"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// places has a publisher wait for its turn. A copy is of its own version alone; a name that a version gets, whoever lists the folder
// sees.
type places struct{ turn *fixture.Turn }

func (p places) Begin(r wire.Request) (func(string), error) {
	place := ""
	if r.Method == folder.Copy {
		place = r.URL
	}
	done := p.turn.Next(place, true)
	return func(string) { done() }, nil
}

// Two versions are published at once: a folder of releases has no name that moves, so each is there whole.
func TestRivals(t *testing.T) {
	rels := []publish.Release{releasetest.Open(t, verifytest.Options{}), releasetest.Open(t, verifytest.Options{Version: "1.3.0"})}
	fixture.Interleave(t, 2, 20, func(t *testing.T) fixture.Rivals {
		root := t.TempDir()
		publisher := func(i int) func(*fixture.Turn) error {
			return func(turn *fixture.Turn) error {
				d, err := folder.New(folder.Options{Release: rels[i], Root: root, Recorder: places{turn}})
				if err == nil {
					_, err = run(t.Context(), d, false)
				}
				return err
			}
		}
		return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
			for _, rel := range rels {
				for _, f := range rel.Manifest.Files {
					name := filepath.Join(root, "hello", rel.Manifest.Version.String(), filepath.FromSlash(f.Path))
					if sum, _, err := artifact.SumFile(name); err != nil || sum != f.Digest {
						back = append(back, name)
					}
				}
			}
			if err := os.RemoveAll(root); err != nil {
				t.Fatal(err)
			}
			return back
		}}
	})
}
