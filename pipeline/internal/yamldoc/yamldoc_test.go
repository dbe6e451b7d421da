package yamldoc_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
)

// rule has each form that a field can have.
type rule struct {
	Version int               `yaml:"version" required:"true" enum:"1,2" doc:"Format of this file. More words."`
	Name    string            `yaml:"name"`
	Kinds   []string          `yaml:"kinds" enum:"chart,image"`
	Labels  map[string]string `yaml:"labels"`
	Steps   []step            `yaml:"steps"`
	Level   level             `yaml:"level"`
	Loud    bool              `yaml:"loud"`
	Notes   int               // a field without a key is not the file's
}

type step struct {
	Run string `yaml:"run" required:"true" doc:"What is run."`
}

type level int

func (l *level) UnmarshalText(text []byte) error {
	if string(text) != "high" {
		return errors.New("there is one level, high")
	}
	*l = 1
	return nil
}

func TestDecode(t *testing.T) {
	var r rule
	where, err := yamldoc.Decode("f", []byte("version: 2\nname: 1.20\nkinds: [chart]\nlabels: {a: true}\nsteps:\n  - run: x\nlevel: high\nloud: true\n"), &r)
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 2 || r.Name != "1.20" || r.Kinds[0] != "chart" || r.Labels["a"] != "true" || r.Steps[0].Run != "x" || r.Level != 1 || !r.Loud {
		t.Errorf("%+v", r)
	}
	for key, want := range map[string]string{
		"version": "f:1:10", "labels.a": "f:4:10", "steps[0].run": "f:6:10", "steps[0].none": "f:6:5", "steps[1]": "f:6:3", "none": "f:1:1",
	} {
		if got := where.At(key); got != want {
			t.Errorf("%s is at %s, want %s", key, got, want)
		}
	}
	p := yamldoc.NewProblems(where)
	if p.Err() != nil || p.Len() != 0 {
		t.Errorf("no problem is %v", p.Err())
	}
	p.At("steps[0].run", "there is no %q", "x")
	p.At("name", "is taken")
	if want := "f:2:7: name: is taken\nf:6:10: steps[0].run: there is no \"x\""; p.Err().Error() != want || p.Len() != 2 {
		t.Errorf("%d problems: %v", p.Len(), p.Err())
	}
}

func TestMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "f:1:1: the file is empty",
		"~":                         "f:1:1: the file is empty",
		"name: x":                   "f:1:1: version is missing: Format of this file",
		"version: 3":                `f:1:10: version: "3" is not one of 1, 2`,
		"version: one":              `f:1:10: version: want a whole number, have "one"`,
		"version: 1\nkind: [x]":     `f:2:1: unknown key "kind"; did you mean "kinds"?`,
		"version: 1\nkinds: [x]":    `f:2:9: kinds[0]: "x" is not one of chart, image`,
		"version: 1\nsteps: [{}]":   "f:2:9: steps[0].run is missing: What is run",
		"version: 1\nlevel: low":    "f:2:8: level: there is one level, high",
		"version: 1\nlevel: [x]":    "f:2:8: level: want a string, have a list",
		"version: 1\nloud: yes":     `f:2:7: loud: want true or false, have "yes"`,
		"version: 1\nnotes: 1":      `f:2:1: unknown key "notes"`,
		"version: 1\nversion: 1":    `f:2:1: key "version" is already on line 1`,
		"version: !!int 1":          "f:1:10: version: tags such as !!int are not supported; write the value alone, in quotes where it is text",
		"version: 1\n---\n":         "f:2:1: a second document begins here; one is allowed",
		"version: [1":               "f:1:1: not YAML: did not find expected ',' or ']'",
		"version: 0\nname: \"\\e\"": "f:1:10: version: \"0\" is not one of 1, 2\nf:2:7: name: the text has a control character",
	} {
		if _, err := yamldoc.Decode("f", []byte(in), &rule{}); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
	if _, err := yamldoc.Decode("f", []byte("# "+strings.Repeat("x", 256<<10)), &rule{}); err == nil || err.Error() != "f:1:1: the file is larger than 262144 bytes" {
		t.Errorf("%v", err)
	}
}

// Document leaves to its caller what it reads out of a file that has a form of its own.
func TestDocument(t *testing.T) {
	n, err := yamldoc.Document("f", []byte("- !x a\n- <<: {}\n"))
	if err != nil || n.Kind != yaml.SequenceNode || len(n.Content) != 2 {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestDidYouMean(t *testing.T) {
	for word, want := range map[string]string{"imag": "image", "IMAGES": "image", "x": "", "completely": "", strings.Repeat("i", 65): ""} {
		if got := yamldoc.DidYouMean(word, []string{"chart", "image"}); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "version: 1", "a: &a [*a]", "version: 1\nsteps: [{run: x}]", "labels: {a: b}\n---\n", "version: [", "<<: {}", "? []\n: 1", "\xff"} {
		f.Add(s)
	}
	position := regexp.MustCompile(`^f:[0-9]+:[0-9]+: `)
	f.Fuzz(func(t *testing.T, s string) {
		var r rule
		if _, err := yamldoc.Decode("f", []byte(s), &r); err != nil {
			if !position.MatchString(err.Error()) {
				t.Errorf("an error without a position: %q", err)
			}
			return
		}
		if r.Version != 1 && r.Version != 2 {
			t.Errorf("accepted without what must be there: %+v", r)
		}
	})
}
