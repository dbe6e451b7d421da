package class_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
)

const (
	lib    = "package lib\n\n// Open opens.\nfunc Open(name string) error { return nil }\n\ntype Reader interface{ Read() }\n\ntype Options struct{ Size int }\n\nconst Max = 3\n"
	schema = `{"type": "object", "properties": {"port": {"type": ["integer", "string"]}, "mode": {"enum": ["fast", "safe"]},
 "log": {"$ref": "#/$defs/log"}, "names": {"type": "array", "items": {"type": "string"}}}, "$defs": {"log": {"type": "object", "properties": {"level": {"type": "string", "maxLength": 20}}}}}`
	chartValues = "replicas: 2\nimage: {tag: \"1\"}\nhosts: []\nnode: null\n"
	chartSchema = `{"type": "object", "properties": {"replicas": {"type": "integer"}, "image": {"type": "object", "properties": {"tag": {"type": "string"}}}}}`
)

// newMinor is a minor release that changes nothing that is promised.
func newMinor(t *testing.T) *world {
	w := newWorld(t)
	w.version, w.fixed = "2.2.0", ""
	w.promises = `, api: ["./..."], schemas: [config.schema.json]`
	w.before.files["lib/lib.go"], w.before.files["config.schema.json"] = lib, schema
	w.before.chart = map[string]string{"Chart.yaml": "name: gateway\n", "values.yaml": chartValues, "values.schema.json": chartSchema}
	w.before.config = map[string]any{"Entrypoint": []string{"/gateway"}, "Cmd": []string{"serve"}, "User": "65532", "WorkingDir": "/", "ExposedPorts": map[string]any{"8080/tcp": struct{}{}}}
	w.before.files["go.mod"] = "module example.com/gateway\n\ngo 1.26\n" // that is all there is
	w.before.files["main.go"] = "package main\n\nimport (\n\t\"example.com/gateway/internal/run\"\n\t\"flag\"\n)\n\nfunc main() { flag.Int(\"port\", 1, \"p\"); run.Run(flag.NewFlagSet(\"serve\", 0)) }\n"
	w.before.files["internal/run/run.go"] = "package run\n\nimport \"flag\"\n\nconst quiet = \"quiet\"\n\nfunc Run(f *flag.FlagSet) { var s string; f.Bool(quiet, false, \"q\"); f.StringVar(&s, \"root\", s, \"r\"); flag.StringVar(&s, \"root\", s, \"r\") }\n"
	w.before.module = "example.com/gateway"
	w.after = w.before.clone()
	return w
}

// leaveGo has the Go command look at nothing where a case is about something else and changes no source of Go, which takes it half of a
// second, and reports whether it is one of those. The full run looks at it in every case.
func (w *world) leaveGo() bool {
	of := func(s side) map[string]string {
		files := maps.Clone(s.files)
		maps.DeleteFunc(files, func(name, _ string) bool { return !strings.HasSuffix(name, ".go") && !strings.HasPrefix(name, "go.") })
		return files
	}
	if fixture.Full || w.before.module != w.after.module || w.before.archive != w.after.archive || !maps.Equal(of(w.before), of(w.after)) {
		return false
	}
	w.promises = strings.Replace(w.promises, `api: ["./..."], `, "", 1)
	w.before.module, w.after.module = "", ""
	return true
}

func (w *world) edit(name, old, text string) {
	w.t.Helper()
	if !strings.Contains(w.after.files[name], old) {
		w.t.Fatalf("%s has no %q", name, old)
	}
	w.after.files[name] = strings.Replace(w.after.files[name], old, text, 1)
}

func (w *world) editChart(name, old, text string) {
	w.t.Helper()
	if !strings.Contains(w.after.chart[name], old) {
		w.t.Fatalf("%s has no %q", name, old)
	}
	w.after.chart[name] = strings.Replace(w.after.chart[name], old, text, 1)
}

var compatRows = []struct {
	name string
	want []string
	edit func(w *world)
}{
	{"nothing", nil, func(*world) {}},
	{"a feature", nil, func(w *world) { w.edit("lib/lib.go", "const Max", "func More() {}\n\nconst Max") }},
	{"a new package", nil, func(w *world) { w.after.put("more/more.go", "package more\n") }},
	{"a break of what is internal", nil, func(w *world) { w.after.put("internal/mux/mux.go", "package mux\n\nfunc X() {}\n") }},
	{"a break under a new major number", nil, func(w *world) { w.version = "3.0.0"; w.edit("lib/lib.go", "name string", "name int") }},
	{"a package that is not promised", nil, func(w *world) { w.promises = `, api: ["./lib"]`; delete(w.after.files, "internal/ui/theme.go") }},
	{"a new value", nil, func(w *world) { w.editChart("values.yaml", "hosts: []", "hosts: []\nextra: 1") }},
	{"a value that was null", nil, func(w *world) { w.editChart("values.yaml", "node: null", "node: {a: 1}") }},
	{"a value that is required and has a default", nil, func(w *world) {
		w.editChart("values.schema.json", `{"type": "object", "properties"`, `{"required": ["replicas"], "type": "object", "properties"`)
	}},
	{"a schema of a chart that is new", nil, func(w *world) { delete(w.before.chart, "values.schema.json") }},
	{"an optional property", nil, func(w *world) { w.edit("config.schema.json", `"port":`, `"host": {"type": "string"}, "port":`) }},
	{"a wider type", nil, func(w *world) {
		w.edit("config.schema.json", `"items": {"type": "string"}`, `"items": {"type": ["string", "number"]}`)
	}},
	{"a new value of an enum", nil, func(w *world) { w.edit("config.schema.json", `"safe"`, `"safe", "slow"`) }},
	{"a wider bound", nil, func(w *world) { w.edit("config.schema.json", `"maxLength": 20`, `"maxLength": 30`) }},
	{"a new schema", nil, func(w *world) { delete(w.before.files, "config.schema.json") }},
	{"a new port", nil, func(w *world) {
		w.after.config["ExposedPorts"] = map[string]any{"8080/tcp": struct{}{}, "9090/tcp": struct{}{}}
	}},
	{"a fix of the distribution", nil, func(w *world) { w.after.system.Version = "3.22.4" }},
	{"a new flag", nil, func(w *world) { w.edit("internal/run/run.go", "f.Bool(", `f.Bool("loud", false, "l"); f.Bool(`) }},
	{"a flag of a test", nil, func(w *world) {
		w.before.files["internal/run/run_test.go"] = "package run\n\nimport \"flag\"\n\nvar _ = flag.Bool(\"x\", false, \"x\")\n"
	}},
	{"a new component", nil, func(w *world) { w.added = true }},

	{"a parameter", []string{"2.2.0 breaks what was in 2.1.3: gateway package example.com/gateway/lib: Open: changed from func(string) error to func(int) error"}, func(w *world) { w.edit("lib/lib.go", "name string", "name int") }},
	{"a function is gone", []string{"gateway package example.com/gateway/lib: Open: removed"}, func(w *world) { w.edit("lib/lib.go", "func Open", "func open") }},
	{"a method of an interface", []string{"gateway package example.com/gateway/lib: Reader.Close: added"}, func(w *world) { w.edit("lib/lib.go", "Read()", "Read(); Close()") }},
	{"a field is gone", []string{"gateway package example.com/gateway/lib: Options.Size: removed"}, func(w *world) { w.edit("lib/lib.go", "Size int", "") }},
	{"the value of a constant", []string{"gateway package example.com/gateway/lib: Max: value changed from 3 to 4"}, func(w *world) { w.edit("lib/lib.go", "Max = 3", "Max = 4") }},
	{"a package is gone", []string{"gateway package example.com/gateway/lib is gone"}, func(w *world) { delete(w.after.files, "lib/lib.go") }},
	{"another module", []string{"gateway package example.com/gateway/lib is gone"}, func(w *world) {
		w.edit("go.mod", "example.com/gateway", "example.com/gateway/v2")
		w.edit("main.go", "example.com/gateway", "example.com/gateway/v2")
		w.after.module += "/v2"
	}},
	{"a break under patch", []string{"2.1.4 breaks what was in 2.1.3: gateway package"}, func(w *world) {
		w.version, w.extra = "2.1.4", "numbering: patch\n"
		w.edit("lib/lib.go", "name string", "name int")
	}},
	{"a value is gone", []string{"gateway chart gateway: value image.tag is gone"}, func(w *world) { w.editChart("values.yaml", `tag: "1"`, `name: "1"`) }},
	{"a value of another type", []string{"gateway chart gateway: value replicas was a number and is a text"}, func(w *world) { w.editChart("values.yaml", "replicas: 2", "replicas: two") }},
	{"a list that is a map", []string{"gateway chart gateway: value hosts was a list and is a map"}, func(w *world) { w.editChart("values.yaml", "hosts: []", "hosts: {}") }},
	{"a value that is required", []string{"gateway chart gateway: value node is required now"}, func(w *world) {
		w.editChart("values.schema.json", `{"type": "object", "properties"`, `{"required": ["node"], "type": "object", "properties"`)
	}},
	{"a value that a new schema requires", []string{"gateway chart gateway: value image.name is required now"}, func(w *world) {
		delete(w.before.chart, "values.schema.json")
		w.editChart("values.schema.json", `{"tag": {"type": "string"}}`, `{"tag": {"type": "string"}}, "required": ["name"]`)
	}},
	{"the type of a value in its schema", []string{"gateway chart gateway: value image.tag is no longer string, but integer"}, func(w *world) {
		w.editChart("values.schema.json", `"tag": {"type": "string"}`, `"tag": {"type": "integer"}`)
	}},
	{"a chart is gone", []string{"gateway chart gateway is gone"}, func(w *world) { w.after.chart = nil }},
	{"an entry point", []string{`gateway image ghcr.io/acme/gateway on alpine for linux/amd64: entry point was "/gateway" and is "/run"`}, func(w *world) { w.after.config["Entrypoint"] = []string{"/run"} }},
	{"a command", []string{`command was "serve" and is ""`}, func(w *world) { delete(w.after.config, "Cmd") }},
	{"a user", []string{`user was "65532" and is "0"`}, func(w *world) { w.after.config["User"] = "0" }},
	{"a working directory", []string{`working directory was "/" and is "/srv"`}, func(w *world) { w.after.config["WorkingDir"] = "/srv" }},
	{"a port is gone", []string{"port 8080/tcp is gone"}, func(w *world) { w.after.config["ExposedPorts"] = map[string]any{"8081/tcp": struct{}{}} }},
	{"an image is gone", []string{"gateway image ghcr.io/acme/gateway on alpine for linux/amd64 is gone"}, func(w *world) { w.after.config = nil }},
	{"another release of the distribution", []string{"gateway is on alpine 3.23.0 in gateway_VERSION_alpine_linux_amd64, and was on alpine 3.22.1"}, func(w *world) { w.after.system.Version = "3.23.0" }},
	{"another distribution", []string{"gateway is on wolfi 3.22.1 in"}, func(w *world) { w.after.system.ID = "wolfi" }},
	{"a property is gone", []string{"gateway config.schema.json: mode is gone"}, func(w *world) { w.edit("config.schema.json", `"mode"`, `"modes"`) }},
	{"a narrower type", []string{"gateway config.schema.json: port is no longer string, but integer"}, func(w *world) { w.edit("config.schema.json", `["integer", "string"]`, `"integer"`) }},
	{"a value of an enum is gone", []string{`gateway config.schema.json: mode no longer takes "safe"`}, func(w *world) { w.edit("config.schema.json", `, "safe"`, "") }},
	{"an enum", []string{"gateway config.schema.json: log.level takes 1 values alone"}, func(w *world) { w.edit("config.schema.json", `"maxLength": 20`, `"maxLength": 20, "enum": ["info"]`) }},
	{"a property that is required", []string{"gateway config.schema.json: port is required now"}, func(w *world) {
		w.edit("config.schema.json", `"properties": {"port"`, `"required": ["port"], "properties": {"port"`)
	}},
	{"no other properties", []string{"gateway config.schema.json: the whole takes no other properties any more"}, func(w *world) {
		w.edit("config.schema.json", `"properties": {"port"`, `"additionalProperties": false, "properties": {"port"`)
	}},
	{"a bound behind a reference", []string{"gateway config.schema.json: log.level has a narrower maxLength, 10"}, func(w *world) { w.edit("config.schema.json", `"maxLength": 20`, `"maxLength": 10`) }},
	{"the elements of a list", []string{"gateway config.schema.json: names[] is no longer string, but integer"}, func(w *world) {
		w.edit("config.schema.json", `"items": {"type": "string"}`, `"items": {"type": "integer"}`)
	}},
	{"a pattern", []string{"gateway config.schema.json: log.level has another pattern, ^x"}, func(w *world) { w.edit("config.schema.json", `"maxLength": 20`, `"maxLength": 20, "pattern": "^x"`) }},
	{"what cannot be compared", []string{"gateway config.schema.json: port has another anyOf, which cannot be compared"}, func(w *world) { w.edit("config.schema.json", `"port": {`, `"port": {"anyOf": [{"minimum": 1}], `) }},
	{"a schema is gone", []string{"gateway config.schema.json is gone"}, func(w *world) { delete(w.after.files, "config.schema.json") }},
	{"a flag is gone", []string{"gateway program gateway: --port is gone"}, func(w *world) { w.edit("main.go", `flag.Int("port", 1, "p"); `, "") }},
	{"a flag of another kind", []string{"gateway program gateway: --port was int and is bool"}, func(w *world) { w.edit("main.go", `Int("port", 1,`, `Bool("port", false,`) }},
	{"a flag with another name", []string{"gateway program gateway: --quiet is gone"}, func(w *world) { w.edit("internal/run/run.go", `= "quiet"`, `= "silent"`) }},
	{"a flag of one command of two", []string{"gateway program gateway: --root is gone from one of the places that had it: it stood in 2 and stands in 1"}, func(w *world) {
		w.edit("internal/run/run.go", `f.StringVar(&s, "root", s, "r"); `, "")
	}},
	{"a program is gone", []string{"gateway program gateway is gone"}, func(w *world) { w.after.archive, w.after.image = false, false }},
	{"a component of a minor release is gone", []string{"2.2.0 breaks what was in 2.1.3: component proto is gone"}, func(w *world) { w.gone = true }},
}

func TestCompatibility(t *testing.T) {
	for i, tt := range compatRows {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := newMinor(t)
			tt.edit(w)
			if left := w.leaveGo(); !left && !fixture.Full && i%3 != 0 {
				t.Skip("it type-checks, and the full run does so in every case")
			}
			found, err := w.check()
			if err != nil {
				t.Fatal(err)
			}
			w.compare(found, tt.want)
		})
	}
}

// withCobra has the program's command and flags by cobra, of the version that this repository has.
func withCobra(t *testing.T) *world {
	w := newMinor(t)
	sums, err := os.ReadFile("../../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	requires := regexp.MustCompile(`(?m)^(github.com/(?:spf13/cobra|spf13/pflag|inconshreveable/mousetrap)) (v[^ /]+) `).FindAllStringSubmatch(string(sums), -1)
	for _, m := range requires {
		w.before.files["go.mod"] += "\nrequire " + m[1] + " " + m[2] + "\n"
	}
	w.before.files["go.sum"] = string(sums)
	w.before.files["internal/run/run.go"] = `package run

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func Run(any) {
	cmd := &cobra.Command{Use: "serve FOLDER", Aliases: []string{"server"}}
	cmd.PersistentFlags().StringP("root", "r", "", "where")
	cmd.Flags().Lookup("none")
	cmd.Flags().AddFlag(&pflag.Flag{Name: "quiet", Shorthand: "q"})
}
`
	w.after = w.before.clone()
	return w
}

func TestCobra(t *testing.T) {
	for name, row := range map[string][3]string{
		"nothing":      {"", "", ""},
		"not a flag":   {`Lookup("none")`, `Lookup("other")`, ""},
		"arguments":    {"serve FOLDER", "serve FOLDER...", ""},
		"command":      {"serve FOLDER", "run FOLDER", "gateway program gateway: command serve is gone"},
		"alias":        {`"server"`, `"srv"`, "gateway program gateway: command server is gone"},
		"persistent":   {`"root", "r"`, `"folder", "r"`, "gateway program gateway: --root is gone"},
		"shorthand":    {`"root", "r"`, `"root", ""`, "gateway program gateway: -r is gone"},
		"flag by hand": {`Name: "quiet"`, `Name: "silent"`, "gateway program gateway: --quiet is gone"},
		"kind":         {`StringP("root", "r", ""`, `IntP("root", "r", 1`, "gateway program gateway: --root was string and is int"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			if !fixture.Full && !slices.Contains([]string{"command", "kind"}, name) {
				t.Skip("it type-checks, and the full run does so in every case")
			}
			w := withCobra(t)
			if row[0] != "" {
				w.edit("internal/run/run.go", row[0], row[1])
			}
			found, err := w.check()
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if row[2] != "" {
				want = append(want, row[2])
			}
			if name == "kind" { // the shorthand is of another kind, too
				want = append(want, "gateway program gateway: -r was string and is int")
			}
			w.compare(found, want)
		})
	}
}

func TestUnreadable(t *testing.T) {
	for want, edit := range map[string]func(w *world){
		"platform.yaml:4:114: in 2.1.3: ": func(w *world) {
			w.before.files["go.mod"] += "require example.com/none v1.0.0\n"
			w.before.files["lib/lib.go"] = "package lib\n\nimport _ \"example.com/none\"\n"
		},
		"there is no file config.schema.json in it": func(w *world) {
			delete(w.before.files, "config.schema.json")
			delete(w.after.files, "config.schema.json")
		},
		"config.schema.json: unexpected end":             func(w *world) { w.after.files["config.schema.json"] = "{" },
		"values.schema.json: ":                           func(w *world) { w.after.chart["values.schema.json"] = "{" },
		"is not a pattern such as ./pkg/...":             func(w *world) { w.promises = `, api: ["-x"]` },
		"is not a path in its repository such as":        func(w *world) { w.promises = `, schemas: ["../x"]` },
		"it has no go.mod; its modules have to be there": func(w *world) { delete(w.before.files, "go.mod") },
	} {
		w := newMinor(t)
		edit(w)
		if _, err := w.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
