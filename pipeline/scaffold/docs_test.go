package scaffold

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/artifact"
	"github.com/slipway-build/slipway/pipeline/config"
)

const docs = "../../docs"

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(docs, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestExamples reads every configuration under docs/examples.
func TestExamples(t *testing.T) {
	names, err := filepath.Glob(docs + "/examples/*/" + config.FileName)
	if err != nil || len(names) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(name, b); err != nil {
			t.Error(err)
		}
	}
	glide, err := config.Parse("glide", []byte(readDoc(t, "examples/glide/slipway.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(config.DefaultTargets(), func(p artifact.Platform) bool { return p.String() == "freebsd/riscv64" })
	if got := glide.Binaries[0].Platforms(); !slices.Equal(got, want) {
		t.Errorf("Glide is built for %v", got)
	}
}

// TestDocs holds the commands that are shown to those that init prints.
func TestDocs(t *testing.T) {
	r, err := Init(t.Context(), Options{Dir: tree(t, program()), Version: "v1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	next := slices.DeleteFunc(r.Next, func(s string) bool { return strings.HasSuffix(s, " lock") }) // only where nothing was resolved
	if text := readDoc(t, "adopting.md"); !strings.Contains(text, "```sh\n"+lines(next)+"```") {
		t.Errorf("docs/adopting.md does not show\n%s", lines(next))
	}
	commands := []string{"init", "lock", "version", "plan", "check", "test", "build", "verify", "doctor"}
	shown := 0
	for _, name := range []string{"adopting.md", "examples/glide/README.md"} {
		text := readDoc(t, name)
		for _, m := range regexp.MustCompile(`(?m)^(?:GOWORK=off )?(?:go run -C ci \.|go run github\.com/slipway-build/slipway/ci@latest) (\S+)`).FindAllStringSubmatch(text, -1) {
			if shown++; !slices.Contains(commands, m[1]) {
				t.Errorf("%s shows the command %q, which does not exist", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(docs, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if shown < 8 {
		t.Errorf("only %d commands were found", shown)
	}
}
