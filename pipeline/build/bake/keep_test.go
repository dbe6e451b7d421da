package bake_test

import (
	"encoding/json"
	"testing"

	"github.com/slipway-build/slipway/pipeline/build/bake"
)

// What differs between two bills becomes the message of a commit, and a patch for git am: a line that begins with From would begin
// another one there. A space would hide a package from the comparison.
func TestWordsOfABillAreOneWordEach(t *testing.T) {
	type component struct {
		Version string `json:"version"`
		PURL    string `json:"purl"`
	}
	bill := func(purl, version string) []byte {
		b, err := json.Marshal(map[string]any{"components": []component{{version, purl}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := bill("pkg:apk/alpine/busybox@1.37.0-r18?arch=x86_64", "1.37.0-r18")
	for _, bad := range [][]byte{
		bill("pkg:apk/alpine/a%0AFrom?arch=x86_64", "aaaaaaaaaaaaaaaaaaaa00:00:002001"),
		bill("pkg:apk/alpine/a?arch=x86_64", "1\nContent-Transfer-Encoding:base64"),
		bill("pkg:apk/alpine/a?arch=x86%1B%5B2J", "1"),
		bill("pkg:apk/alpine/a?arch=x86_64", "1 2"),
		bill("pkg:apk/alpine/a?arch=x86_64", "1\u2028\u202e2"),
	} {
		if lines, err := bake.DifferBills(good, bad); err == nil {
			t.Errorf("%s: %q", bad, lines)
		}
	}
	if lines, err := bake.DifferBills(good, good); err != nil || len(lines) > 0 {
		t.Errorf("%q, %v", lines, err)
	}
}
