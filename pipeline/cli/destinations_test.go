package cli

import (
	"go/parser"
	"go/token"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
)

// A destination is a room below pipeline/publish, a key of the configuration and a line of the table. This fails until
// all three are there.
func TestEveryDestination(t *testing.T) {
	// What is below publish and is not one kind of place.
	settings := []string{"committer", "candidate", "issuer"}
	helpers := []string{"names", "packages", "policy", "wire"}

	var keys []string
	for _, d := range destinations {
		if slices.Contains(keys, d.key) {
			t.Errorf("the table of destinations has %s twice", d.key)
		}
		keys = append(keys, d.key)
	}
	for f := range reflect.TypeFor[config.Publish]().Fields() {
		key := f.Tag.Get("yaml")
		switch i := slices.Index(keys, key); {
		case slices.Contains(settings, key):
		case i < 0:
			t.Errorf("publish.%s is a key of the configuration and not in the table of destinations", key)
		default:
			keys = slices.Delete(keys, i, i+1)
		}
	}
	if len(keys) > 0 {
		t.Errorf("the table of destinations has %s, and the configuration no such key below publish", strings.Join(keys, ", "))
	}

	file, err := parser.ParseFile(token.NewFileSet(), "destinations.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var imported []string
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		imported = append(imported, name)
	}
	const below = "github.com/slipway-build/slipway/pipeline/publish/"
	rooms, err := os.ReadDir("../publish")
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range rooms {
		if name := room.Name(); room.IsDir() && name != "testdata" && !slices.Contains(helpers, name) && !slices.Contains(imported, path.Join(below, name)) {
			t.Errorf("pipeline/publish/%s is a destination that destinations.go does not know", name)
		}
	}
}
