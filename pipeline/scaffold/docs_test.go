package scaffold

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
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
		for _, m := range regexp.MustCompile(`\]\(([^):#]+)[)#]`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(docs, filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if shown < 8 {
		t.Errorf("only %d commands were found", shown)
	}
}

// TestPublishingDocs reads the YAML of docs/publishing.md as what it is an example of.
func TestPublishingDocs(t *testing.T) {
	text := readDoc(t, "publishing.md")
	_, inputs, _ := action(t)
	destinations, steps := 0, 0
	for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(block[1]), &n); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		top := n.Content[0]
		if top.Kind == yaml.SequenceNode { // steps of a workflow
			var list []step
			if err := top.Decode(&list); err != nil {
				t.Error(err)
			}
			for _, s := range list {
				if !strings.HasPrefix(s.Uses, "slipway-build/slipway@") {
					continue
				}
				for name := range s.With {
					steps++
					if _, ok := inputs[name]; !ok {
						t.Errorf("action.yml has no input %s", name)
					}
				}
			}
			continue
		}
		if top.Content[0].Value == "environment" {
			if _, err := config.Parse("publishing.md", []byte("version: 1\nproject: {name: tool}\n"+block[1])); err != nil {
				t.Errorf("%v in\n%s", err, block[1])
			}
			continue
		}
		if top.Content[0].Value == "publish" {
			top = top.Content[1]
		}
		b, err := yaml.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.ParsePublish("publishing.md", b); err != nil {
			t.Errorf("%v in\n%s", err, b)
		}
		destinations++
	}
	if destinations < 2 || steps == 0 {
		t.Errorf("%d examples of destinations and %d inputs were found", destinations, steps)
	}
	for name, in := range inputs {
		row := "| `" + name + "` | "
		if in.Default != "" {
			row += "`" + in.Default + "`"
		}
		if !strings.Contains(text, row) {
			t.Errorf("input %s is not shown as %s", name, row)
		}
	}
	for name := range parseWorkflow(t, string(workflow(releaseWorkflow, settings{Folder: "ci"}))).Jobs {
		if name != "check" && !strings.Contains(text, "| `"+name+"` | ") {
			t.Errorf("job %s is not shown", name)
		}
	}
}
