package artifact_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

func TestIsName(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "7": true, "gateway": true, "a-b-2": true, strings.Repeat("a", 40): true,
		"": false, "-a": false, "a-": false, "A": false, "a_b": false, "a.b": false, "a/b": false, "a b": false, "a\n": false, "é": false, strings.Repeat("a", 41): false,
	} {
		if artifact.IsName(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
}

func TestIsCommit(t *testing.T) {
	for s, want := range map[string]bool{
		strings.Repeat("0a", 20): true, strings.Repeat("f", 64): true,
		"": false, "main": false, strings.Repeat("0", 39): false, strings.Repeat("0", 41): false, strings.Repeat("A", 40): false, strings.Repeat("g", 40): false, strings.Repeat("0", 39) + "\n": false,
	} {
		if artifact.IsCommit(s) != want {
			t.Errorf("%q: %t", s, !want)
		}
	}
}
