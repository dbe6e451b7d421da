package publish

import (
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
)

// What an earlier version began to publish, this one goes on with.
func TestEarlier(t *testing.T) {
	dir := filepath.Join(earlier.Unpack(t), "dist")
	rel, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []func() (*Journal, error){
		func() (*Journal, error) { return ReadJournal(dir, rel.Digest) },
		func() (*Journal, error) { return OpenJournal(dir, rel.Digest, nil) },
	} {
		j, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if j.Fact("checked") == "" || !j.Verified("registry.example.com", "registry.example.com") || !j.Verified("folder", "/srv/releases") || j.Unanswered() != 0 {
			t.Errorf("facts %q, %d requests open", j.facts, j.Unanswered())
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
