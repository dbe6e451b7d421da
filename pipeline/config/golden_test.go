package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/config"
)

var update = flag.Bool("update", false, "rewrite docs/slipway.schema.json and docs/configuration.md")

// The generated documents are committed, for editors and people.
func TestGenerated(t *testing.T) {
	schema, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"../../docs/slipway.schema.json": schema,
		"../../docs/configuration.md":    []byte(config.Reference()),
	} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says; run make golden", name)
		}
	}
}

// The files of this repository are read by what they build.
func TestOwnFiles(t *testing.T) {
	b, err := os.ReadFile("../../slipway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("slipway.yaml", b)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, string(b)); err != nil {
		t.Errorf("the schema refuses slipway.yaml: %v", err)
	}
	lock, err := os.ReadFile("../../slipway.lock")
	if err != nil {
		t.Fatal(err)
	}
	l, err := config.ParseLock("slipway.lock", lock)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Encode(); !bytes.Equal(got, lock) {
		t.Errorf("slipway.lock is not what Encode writes:\n%s", got)
	}
	if len(c.Binaries) == 0 || len(l.Bases) == 0 {
		t.Errorf("%d binaries on %d bases", len(c.Binaries), len(l.Bases))
	}
}

// validate holds YAML against the schema.
func validate(t *testing.T, text string) error {
	t.Helper()
	b, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("slipway.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("slipway.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	// Through JSON, so that the values have the types that a validator knows.
	if b, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}

// The schema and the parser agree on what is right and wrong, as far as a schema can say it.
func TestSchema(t *testing.T) {
	const head = "version: 1\nproject: {name: tool}\n"
	const good = head + "binaries: [{name: tool, main: .}]\n"
	for name, text := range map[string]string{
		"least":  good,
		"number": head + "binaries: [{name: tool, main: ., vars: {main.version: 1.20}, targets: [linux/arm/v7]}]\n",
		"all": head + `go: 1.26.8
binaries: [{name: tool, main: ./cmd/tool, dir: ., add: [linux/amd64/v3], exclude: [windows/386], tags: [netgo], ldflags: [-s], env: {GOEXPERIMENT: jsonv2}}]
archives: {name: "{{ .Project }}_{{ .Os }}_{{ .Arch }}", files: [docs/*.md]}
images: [{repository: ghcr.io/a/b, distros: [alpine, ubi], default: ubi, ports: ["80", 53/udp], workdir: /, path: /usr/bin/tool, files: {/etc/tool: tool.conf}, labels: {a: "{{ .Distro }}"}}]
bases: {alpine: "docker.io/library/alpine:3.22"}
mirrors: {docker.io: "localhost:5000/hub"}
charts: [{path: charts/tool, repository: ghcr.io/a/charts}]
test: {packages: [./...], flags: [-short]}
`,
		"no binaries":    head,
		"empty binaries": head + "binaries: []\n",
		"charts alone":   head + "charts: [{path: charts/tool}]\n",
	} {
		if _, err := config.Parse("f", []byte(text)); err != nil {
			t.Errorf("%s: the parser refuses it: %v", name, err)
		}
		if err := validate(t, text); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"no version":             strings.Replace(good, "version: 1\n", "", 1),
		"another version":        strings.Replace(good, "version: 1", "version: 2", 1),
		"unknown key":            good + "extra: 1\n",
		"unknown key of binary":  head + "binaries: [{name: tool, main: ., platforms: []}]\n",
		"no port of Go":          head + "binaries: [{name: tool, main: ., targets: [freebsd/s390x]}]\n",
		"no variant":             head + "binaries: [{name: tool, main: ., targets: [linux/arm/v8]}]\n",
		"a list for a string":    head + "binaries: [{name: [tool], main: .}]\n",
		"a string for a list":    head + "binaries: [{name: tool, main: ., targets: linux/amd64}]\n",
		"empty name":             head + "binaries: [{name: '', main: .}]\n",
		"project in upper case":  strings.Replace(good, "tool", "Tool", 1),
		"linker flag":            head + "binaries: [{name: tool, main: ., ldflags: [-extld=x]}]\n",
		"variable of the engine": head + "binaries: [{name: tool, main: ., env: {GOFLAGS: -x}}]\n",
		"linker variable":        head + "binaries: [{name: tool, main: ., vars: {version: 1}}]\n",
		"image with a tag":       good + "images: [{repository: 'ghcr.io/a/b:1'}]\n",
		"image without registry": good + "images: [{repository: b}]\n",
		"unknown distribution":   good + "images: [{repository: ghcr.io/a/b, distros: [debian]}]\n",
		"relative path":          good + "images: [{repository: ghcr.io/a/b, workdir: tmp}]\n",
		"base of nothing":        good + "bases: {debian: 'docker.io/library/debian:12'}\n",
		"base without a tag":     good + "bases: {alpine: docker.io/library/alpine}\n",
		"mirror with a scheme":   good + "mirrors: {docker.io: 'https://mirror.example.com'}\n",
		"Go without its patch":   "go: 1.26\n" + good,
		"builder by tag":         head + "binaries: [{name: tool, main: ., builder: 'docker.io/library/golang:1.26'}]\n",
	} {
		if _, err := config.Parse("f", []byte(text)); err == nil {
			t.Errorf("%s: the parser accepts it", name)
		}
		if err := validate(t, text); err == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}
