package source_test

import (
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

// A tag that came into the history after a release would move where its notes start; who builds it again says where.
func TestSinceIsGiven(t *testing.T) {
	g := newRepo(t)
	g.commit("one")
	g.git("tag", "v1.0.0")
	g.commit("two")
	g.git("tag", "v1.1.0")
	g.commit("three")
	g.git("tag", "v1.2.0")
	read := func(since string) (source.Source, error) {
		return source.Read(t.Context(), source.Options{Dir: g.dir, Since: since})
	}
	s, err := read("")
	if err != nil || s.Since != "v1.1.0" || len(s.Changes) != 1 {
		t.Fatalf("%q, %d changes, %v", s.Since, len(s.Changes), err)
	}
	s, err = read("v1.0.0")
	if err != nil || s.Since != "v1.0.0" || len(s.Changes) != 2 {
		t.Errorf("%q, %d changes, %v", s.Since, len(s.Changes), err)
	}
	for _, tag := range []string{"v0.9.0", "v1.2.0", "--all"} {
		if _, err := read(tag); fault.CodeOf(err) != fault.Git {
			t.Errorf("%s: %v", tag, err)
		}
	}
}
