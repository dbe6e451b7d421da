package config_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/config"
)

// head and good are the least that a file has.
const (
	head = "version: 1\nproject: {name: tool}\n"
	good = head + "binaries: [{name: tool, main: .}]\n"
)

func TestParse(t *testing.T) {
	c, err := config.Parse("f", []byte(`# a comment
version: 1
project:
  name: tool
  description: >
    One
    sentence.
binaries:
  - &first
    name: tool
    main: ./cmd/tool
    vars: {main.version: 1.20, main.on: true, main.none: }
  - name: other
    main: ./cmd/other
    targets: &few [linux/amd64, linux/arm/v7]
  - {name: third, main: cmd/third, targets: *few, exclude: [linux/arm]}
images:
  - repository: localhost:5000/a/b
    env: {EMPTY: }
    ports: [8080]
charts:
test:
  flags:
    - -short
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Project.Description; got != "One sentence.\n" {
		t.Errorf("description %q", got)
	}
	if v := c.Binaries[0].Vars; v["main.version"] != "1.20" || v["main.on"] != "true" || v["main.none"] != "" || len(v) != 3 {
		t.Errorf("vars %q; text keeps its spelling", v)
	}
	if got := fmt.Sprint(c.Binaries[1].Platforms(), c.Binaries[2].Platforms()); got != "[linux/amd64 linux/arm/v7] [linux/amd64]" {
		t.Errorf("platforms %s", got)
	}
	if e, ok := c.Images[0].Env["EMPTY"]; e != "" || !ok || c.Images[0].Ports[0] != "8080" {
		t.Errorf("image %+v", c.Images[0])
	}
	for key, want := range map[string]string{
		"project.name":                  "f:4:9",
		"binaries[1].targets":           "f:15:14",
		"binaries[1].targets[1]":        "f:15:33",
		"binaries[0].vars.main.version": "f:12:12",
		"binaries[0].ldflags":           "f:9:5",
		"images[0].env.OTHER":           "f:19:10",
		"archives.name":                 "f:1:1",
		"":                              "f:1:1",
	} {
		if got := c.At(key); got != want {
			t.Errorf("At(%q) = %s, want %s", key, got, want)
		}
	}
}

func TestPlatforms(t *testing.T) {
	parse := func(fields string) config.Binary {
		t.Helper()
		c, err := config.Parse("f", []byte(head+"binaries: [{name: tool, main: ., "+fields+"}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		return c.Binaries[0]
	}
	var fallback []string
	for _, p := range config.DefaultTargets() {
		fallback = append(fallback, p.String())
	}
	if len(fallback) != 18 {
		t.Errorf("the default matrix has %d targets, want 18", len(fallback))
	}
	for fields, want := range map[string]string{
		"tags: []": strings.Join(fallback, " "),
		"targets: [windows/amd64, linux/arm64, linux/amd64, linux/arm64]":                        "linux/amd64 linux/arm64 windows/amd64",
		"targets: [linux/amd64], add: [linux/amd64/v3, linux/amd64/v2, linux/amd64]":             "linux/amd64 linux/amd64/v2 linux/amd64/v3",
		"targets: [linux/amd64, linux/amd64/v2, linux/amd64/v3], exclude: [linux/amd64/v2]":      "linux/amd64 linux/amd64/v3",
		"targets: [linux/amd64, linux/amd64/v3, linux/arm64], exclude: [linux/amd64]":            "linux/arm64",
		"targets: [linux/arm/v6, linux/arm/v7], add: [linux/arm64], exclude: [linux/arm/v6]":     "linux/arm/v7 linux/arm64",
		"targets: [linux/amd64], exclude: [linux/arm64, freebsd/riscv64], add: [darwin/arm64]":   "darwin/arm64 linux/amd64",
		"exclude: [freebsd/riscv64, openbsd/386, openbsd/amd64, openbsd/arm64, openbsd/riscv64]": strings.Join(append(append(append([]string{}, fallback[:5]...), fallback[6:12]...), fallback[16:]...), " "),
	} {
		if got := strings.Trim(fmt.Sprint(parse(fields).Platforms()), "[]"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", fields, got, want)
		}
	}
}

// Each file has the mistakes that are listed, in the order of the file, and no others.
func TestErrors(t *testing.T) {
	const values = ".Arch .Binary .Commit .Date .Distro .Major .Minor .Os .Patch .Prerelease .Project .ShortCommit .Tag .Timestamp .Variant .Version"
	binary := func(fields string) string { return head + "binaries: [{name: tool, main: ., " + fields + "}]\n" }
	image := func(fields string) string { return good + "images: [{repository: ghcr.io/a/b, " + fields + "}]\n" }
	vars := func(value string) string { return binary("vars: {main.v: " + value + "}") }
	for _, tt := range []struct{ name, in, want string }{
		// The file.
		{"empty", "", "f:1:1: the file is empty"},
		{"comments alone", "# version: 1\n", "f:1:1: the file is empty"},
		{"null", "---\n", "f:1:1: the file is empty"},
		{"a list", "- version: 1\n", "f:1:1: want a mapping, have a list"},
		{"a word", "slipway\n", `f:1:1: want a mapping, have "slipway"`},
		{"second document", good + "---\nversion: 1\n", "f:4:1: a second document begins here; one is allowed"},
		{"second document, empty", good + "---\n", "f:4:1: a second document begins here; one is allowed"},
		{"not UTF-8", "version: 1\nproject: {name: \xff\xfe}\n", "f:1:1: not YAML: invalid leading UTF-8 octet"},
		{"control character", "version: \x01\n", "f:1:1: not YAML: control characters are not allowed"},
		{"tab", "version: 1\nproject:\n\tname: tool\n", "f:3:1: not YAML: found character that cannot start any token"},
		{"unclosed", "version: [1\n", "f:1:1: not YAML: did not find expected ',' or ']'"},
		{"unknown alias", "version: *v\n", "f:1:1: not YAML: unknown anchor 'v' referenced"},

		// Keys.
		{"unknown key", good + "imags: []\n", `f:4:1: unknown key "imags"; did you mean "images"?`},
		{"unknown key, nested", binary("target: [linux/amd64]"), `f:3:34: unknown key "target" under binaries[0]; did you mean "targets"?`},
		{"unknown key, far from any", good + "completely: 1\n", `f:4:1: unknown key "completely"`},
		{"letter case", good + "Images: []\n", `f:4:1: unknown key "Images"; did you mean "images"?`},
		{"duplicate key", good + "go: 1.26.8\ngo: 1.26.8\n", `f:5:1: key "go" is already on line 4`},
		{"duplicate key of a map", vars("a, main.v: b"), `f:3:52: binaries[0].vars: key "main.v" is already on line 3`},
		{"a list as a key", good + "? [a]\n: b\n", "f:4:3: a key must be a string, this is a list"},
		{
			"merge key", head + "binaries:\n  - &a {name: tool, main: .}\n  - {<<: *a, name: other}\n",
			"f:5:5: binaries[1].main is missing: Folder of the main package, relative to the root of the repository\nf:5:6: binaries[1]: merge keys (<<) are not supported; use an alias for the whole value",
		},
		{"long key", image("labels: {" + strings.Repeat("k", 513) + ": v}"), `f:4:45: images[0].labels: key "` + strings.Repeat("k", 60) + `" is longer than 512 bytes or has a control character`},
		{"several", "version: 1\nprojet: {}\nbinaries:\n  - main: 1\n    nam: x\n", `f:1:1: project is missing: What is released
f:2:1: unknown key "projet"; did you mean "project"?
f:4:5: binaries[0].name is missing: Name of the program
f:5:5: unknown key "nam" under binaries[0]; did you mean "name"?`},

		// Types.
		{"string for a list", binary("targets: linux/amd64"), `f:3:43: binaries[0].targets: want a list, have "linux/amd64"`},
		{"mapping for a list", good + "images: {}\n", "f:4:9: images: want a list, have a mapping"},
		{"list for a string", head + "binaries: [{name: [tool], main: .}]\n", "f:3:19: binaries[0].name: want a string, have a list"},
		{"mapping for a template", vars("{a: b}"), "f:3:49: binaries[0].vars.main.v: want a string, have a mapping"},
		{"string for a mapping", "version: 1\nproject: tool\nbinaries: [{name: tool, main: .}]\n", `f:2:10: project: want a mapping, have "tool"`},
		{"string for a map", binary("env: GOFLAGS=-x"), `f:3:39: binaries[0].env: want a mapping, have "GOFLAGS=-x"`},
		{"string for a number", strings.Replace(good, "1", `"1"`, 1), `f:1:10: version: want a whole number, have "1"`},
		{"fraction for a number", strings.Replace(good, "1", `1.5`, 1), `f:1:10: version: want a whole number, have "1.5"`},
		{"list for a number", strings.Replace(good, "1", `[1]`, 1), `f:1:10: version: want a whole number, have a list`},
		{"null in a list", binary("targets: [linux/amd64, ~]"), "f:3:57: binaries[0].targets[1]: an item of a list cannot be empty"},
		{"null binary", head + "binaries:\n  -\n", "f:4:4: binaries[0]: an item of a list cannot be empty"},
		{"a tag", vars("!!binary aGk="), "f:3:49: binaries[0].vars.main.v: tags such as !!binary are not supported; write the value alone, in quotes where it is text"},
		{"a tag of one's own", good + "go: !env GO\n", "f:4:5: go: tags such as !env are not supported; write the value alone, in quotes where it is text"},
		{"NUL", vars(`"a\0b"`), "f:3:49: binaries[0].vars.main.v: the text has a control character"},
		{"escape sequence", good + `go: "\x1b[2J"` + "\n", "f:4:5: go: the text has a control character"},
		{"a control character in a key", image(`labels: {"a\0b": v}`), `f:4:45: images[0].labels: key "a\x00b" is longer than 512 bytes or has a control character`},

		// What must be there.
		{"no version", strings.TrimPrefix(good, "version: 1\n"), "f:1:1: version is missing: Format of this file"},
		{"null version", strings.Replace(good, "1", "", 1), "f:1:9: version is empty: Format of this file"},
		{"null project", "version: 1\nproject:\nbinaries: [{name: tool, main: .}]\n", "f:2:9: project is empty: What is released"},
		{"project without a name", "version: 1\nproject: {title: project}\nbinaries: [{name: tool, main: .}]\n", "f:2:10: project.name is missing: Name of the project, in lower case"},
		{"a value called like the key", "version: 1\nproject: {title: name}\nbinaries: [{name: tool, main: .}]\n", "f:2:10: project.name is missing: Name of the project, in lower case"},
		{"a set that does not speak of GitHub", "version: 1\nproject: {name: tool, repository: https://github.com/a/b}\ndestinations: {staging: {folder: /srv}}\n", "f:3:16: destinations.staging: github is missing: say release: none, or release: public for one at https://github.com/a/b"},
		{"the name of a set", head + "destinations: {Staging/1: {folder: /srv}}\n", `f:3:16: destinations.Staging/1: "Staging/1" is not the name of a set: lower-case letters, digits and -`},
		{"a set with a secret", head + "destinations: {staging: {chocolatey: {key: hunter2}}}\n", "f:3:44: destinations.staging.chocolatey.key: this is not the name of an environment variable, such as TOOL_TOKEN; a secret does not belong in this file"},
		{"a chart's version that is a prerelease", head + "charts: [{path: charts/tool, version: 1.4.0-rc.1}]\n", `f:3:39: charts[0].version: "1.4.0-rc.1" is not a version such as 1.4.0, of three numbers`},
		{"an image without binaries", head + "images: [{repository: ghcr.io/a/b}]\n", "f:3:10: images[0]: an image runs a binary, and there is none; add one under binaries"},
		{"a package without binaries", head + "packages: [{name: tool, formats: [deb]}]\n", "f:3:12: packages[0]: a package installs binaries, and there are none; add one under binaries"},
		{"empty main", head + "binaries: [{name: tool, main: ''}]\n", "f:3:31: binaries[0].main is empty: Folder of the main package, relative to the root of the repository"},
		{"image without a repository", good + "images: [{binary: tool}]\n", "f:4:10: images[0].repository is missing: Where the image is pushed to, without a tag"},
		{"chart without a path", good + "charts: [{}]\n", "f:4:10: charts[0].path is missing: Folder of the chart, relative to the root"},

		// Enumerations.
		{"version 2", strings.Replace(good, "1", "2", 1), `f:1:10: version: "2" is not one of 1`},
		{"version 0", strings.Replace(good, "1", "0", 1), `f:1:10: version: "0" is not one of 1`},
		{"distribution", image("distros: [alpine, ubunto]"), `f:4:54: images[0].distros[1]: "ubunto" is not one of alpine, ubuntu, distroless, ubi; did you mean "ubuntu"?`},
		{"empty distribution", image("distros: ['']"), `f:4:46: images[0].distros[0]: "" is not one of alpine, ubuntu, distroless, ubi`},
		{"default distribution", image("default: debian"), `f:4:45: images[0].default: "debian" is not one of alpine, ubuntu, distroless, ubi`},

		// Project and Go.
		{"project's name", strings.Replace(good, "tool", "My_Tool", 1), `f:2:17: project.name: "My_Tool" is not lower-case letters and digits with single . _ or - between`},
		{"project's name is a path", strings.Replace(good, "tool", "../tool", 1), `f:2:17: project.name: "../tool" is not lower-case letters and digits with single . _ or - between`},
		{"project's name is a device", strings.Replace(good, "tool", "con", 1), `f:2:17: project.name: path "con": "con" is a device on Windows; choose another name`},
		{"repository", "version: 1\nproject: {name: tool, repository: git@github.com:a/b}\nbinaries: [{name: tool, main: .}]\n", `f:2:35: project.repository: "git@github.com:a/b" is not an http or https URL`},
		{"a tag prefix with the v", "version: 1\nproject: {name: tool, tagPrefix: cli/v}\nbinaries: [{name: tool, main: .}]\n", `f:2:34: project.tagPrefix: "cli/v": leave the v to the tags, which may have it or not; write "cli/"`},
		{"homepage", "version: 1\nproject: {name: tool, homepage: 'javascript:alert(1)'}\nbinaries: [{name: tool, main: .}]\n", `f:2:33: project.homepage: "javascript:alert(1)" is not an http or https URL`},
		{"licence file", "version: 1\nproject: {name: tool, licenseFiles: [/etc/passwd]}\nbinaries: [{name: tool, main: .}]\n", `f:2:38: project.licenseFiles[0]: path "/etc/passwd" is absolute; it must be relative`},
		{"Go without its patch", good + "go: 1.26\n", `f:4:5: go: "1.26" is not a Go release such as 1.26.8`},
		{"Go with its prefix", good + "go: go1.26.8\n", `f:4:5: go: "go1.26.8" is not a Go release such as 1.26.8`},
		{"Go latest", good + "go: latest\n", `f:4:5: go: "latest" is not a Go release such as 1.26.8`},

		// Binaries.
		{"traversal", head + "binaries: [{name: tool, main: ../tool}]\n", `f:3:31: binaries[0].main: path "../tool" leaves its folder`},
		{"hidden traversal", head + "binaries: [{name: tool, main: ./cmd/../../tool}]\n", `f:3:31: binaries[0].main: path "../tool" leaves its folder`},
		{"absolute", binary("dir: /src"), `f:3:39: binaries[0].dir: path "/src" is absolute; it must be relative`},
		{"every package", head + "binaries: [{name: tool, main: ./...}]\n", `f:3:31: binaries[0].main: path "...": "..." ends in a dot or a space, which Windows drops`},
		{"binary's name is a path", head + "binaries: [{name: a/b, main: .}]\n", `f:3:19: binaries[0].name: "a/b" is not the name of a program: letters, digits and . _ + -`},
		{"binary's name is an option", head + "binaries: [{name: -rf, main: .}]\n", `f:3:19: binaries[0].name: "-rf" is not the name of a program: letters, digits and . _ + -`},
		{"binary's name is a device", head + "binaries: [{name: NUL, main: .}]\n", `f:3:19: binaries[0].name: "NUL" is not the name of a program: letters, digits and . _ + -`},
		{"binary's name has an ending", head + "binaries: [{name: tool.exe, main: .}]\n", `f:3:19: binaries[0].name: "tool.exe": remove the ending; programs for Windows get it by themselves`},
		{"binaries of one name by case", head + "binaries: [{name: tool, main: .}, {name: Tool, main: ./b}]\n", `f:3:42: binaries[1].name: "Tool" is the name of binaries[0] too (letter case does not count)`},
		{"no port of Go", binary("targets: [freebsd/ppc64le]"), `f:3:44: binaries[0].targets[0]: platform "freebsd/ppc64le": Go has no port to "ppc64le" on freebsd; on freebsd it has 386 amd64 arm arm64 riscv64`},
		{"no platform", binary("exclude: [windows]"), `f:3:44: binaries[0].exclude[0]: platform "windows" is not os/arch or os/arch/variant`},
		{"all excluded", binary("targets: [linux/arm/v6, linux/arm/v7], exclude: [linux/arm]"), `f:3:12: binaries[0]: every target of tool is excluded`},
		{"host linker", binary("ldflags: [-extld=/tmp/x]"), `f:3:44: binaries[0].ldflags[0]: "-extld=/tmp/x" is not one of the linker flags that keep a build reproducible: -s -w -H=windowsgui -checklinkname=0 -compressdwarf=false -compressdwarf=true`},
		{"two linker flags in one", binary("ldflags: ['-s -w']"), `f:3:44: binaries[0].ldflags[0]: "-s -w" is not one of the linker flags that keep a build reproducible: -s -w -H=windowsgui -checklinkname=0 -compressdwarf=false -compressdwarf=true`},
		{"variable as a linker flag", binary("ldflags: ['-X main.v=1']"), `f:3:44: binaries[0].ldflags[0]: "-X main.v=1": set string variables under vars`},
		{"variable without a package", binary("vars: {version: 1}"), `f:3:41: binaries[0].vars.version: "version" is not a package path and a variable such as main.version`},
		{"variable with a value", binary("vars: {'main.v=-extld main.w': 1}"), `f:3:41: binaries[0].vars.main.v=-extld main.w: "main.v=-extld main.w" is not a package path and a variable such as main.version`},
		{"two build tags in one", binary("tags: ['a,b']"), `f:3:41: binaries[0].tags[0]: "a,b" is not one build tag`},
		{"empty build tag", binary("tags: ['']"), `f:3:41: binaries[0].tags[0]: "" is not one build tag`},
		{"variable of the engine", binary("env: {GOFLAGS: -toolexec=x}"), `f:3:40: binaries[0].env.GOFLAGS: GOFLAGS may not be set; these may: GOEXPERIMENT GOFIPS140 GODEBUG`},
		{"builder by tag", binary("builder: docker.io/library/golang:1.26"), `f:3:43: binaries[0].builder: "docker.io/library/golang:1.26" is not an image with @sha256:<digest>`},

		// Templates.
		{"env", vars(`'{{ env "HOME" }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ env \"HOME\" }}": there is no function "env": templates are data; functions are lower title upper`},
		{"environment as a value", vars(`'{{ .Env.HOME }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ .Env.HOME }}": there is no value ".Env.HOME"; values are ` + values},
		{"exec", vars(`'{{ exec "sh" "-c" "id" }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ exec \"sh\" \"-c\" \"id\" }}": {{ exec "sh" "-c" "id" }} is neither a value such as {{ .Version }} nor a function of one such as {{ lower .Version }}; conditions and pipes are not supported`},
		{"readFile", vars(`'{{ readFile "/etc/passwd" }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ readFile \"/etc/passwd\" }}": there is no function "readFile": templates are data; functions are lower title upper`},
		{"function of a text", vars(`'{{ lower "X" }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ lower \"X\" }}": there is no value "\"X\""; values are ` + values},
		{"condition", vars(`'{{ if .Version }}x{{ end }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ if .Version }}x{{ end }}": there is no function "if": templates are data; functions are lower title upper`},
		{"end", vars(`'{{ end }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ end }}": there is no function "end" and nothing to call: templates are data; values are ` + values},
		{"pipe", vars(`'{{ .Version | lower }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ .Version | lower }}": {{ .Version | lower }} is neither a value such as {{ .Version }} nor a function of one such as {{ lower .Version }}; conditions and pipes are not supported`},
		{"nothing", vars(`'{{ }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ }}": {{ }} is neither a value such as {{ .Version }} nor a function of one such as {{ lower .Version }}; conditions and pipes are not supported`},
		{"unclosed template", vars(`'{{ .Version'`), `f:3:49: binaries[0].vars.main.v: template "{{ .Version": {{ without }}`},
		{"unknown value", vars(`'{{ .Verson }}'`), `f:3:49: binaries[0].vars.main.v: template "{{ .Verson }}": there is no value ".Verson"; did you mean "Version"?; values are ` + values},
		{"value of another place", good + "archives: {name: 'x_{{ .Binary }}'}\n", `f:4:18: archives.name: template "x_{{ .Binary }}": there is no value .Binary here`},
		{"target in a label", image("labels: {a: '{{ .Os }}'}"), `f:4:45: images[0].labels.a: template "{{ .Os }}": there is no value .Os here`},
		{"distribution in an annotation", good + "charts: [{path: c, annotations: {a: '{{ .Distro }}'}}]\n", `f:4:34: charts[0].annotations.a: template "{{ .Distro }}": there is no value .Distro here`},

		// Archives.
		{"pattern outside", good + "archives: {files: [docs/*.md, ../*.md]}\n", `f:4:31: archives.files[1]: path "../x.md" leaves its folder`},
		{"broken pattern", good + "archives: {files: ['docs/[a']}\n", `f:4:20: archives.files[0]: "docs/[a": syntax error in pattern`},
		{"deep pattern", good + "archives: {files: ['docs/**']}\n", `f:4:20: archives.files[0]: "docs/**": ** is not supported; a * stops at the next /`},
		{"empty pattern", good + "archives: {files: ['']}\n", `f:4:20: archives.files[0]: the pattern is empty`},

		// Images.
		{"image with a tag", good + "images: [{repository: 'ghcr.io/a/b:1'}]\n", `f:4:23: images[0].repository: "ghcr.io/a/b:1" is not a registry and a path in lower case without a tag`},
		{"image in upper case", good + "images: [{repository: ghcr.io/A/b}]\n", `f:4:23: images[0].repository: "ghcr.io/A/b" is not a registry and a path in lower case without a tag`},
		{"image without a registry", good + "images: [{repository: tool}]\n", `f:4:23: images[0].repository: "tool" is not a registry and a path in lower case without a tag`},
		{"image with traversal", good + "images: [{repository: ghcr.io/../b}]\n", `f:4:23: images[0].repository: "ghcr.io/../b" is not a registry and a path in lower case without a tag`},
		{"image with a scheme", good + "images: [{repository: 'https://ghcr.io/a/b'}]\n", `f:4:23: images[0].repository: "https://ghcr.io/a/b" is not a registry and a path in lower case without a tag`},
		{"images of one repository", good + "images: [{repository: ghcr.io/a/b}, {repository: ghcr.io/a/b}]\n", `f:4:50: images[1].repository: "ghcr.io/a/b" is the repository of images[0] too`},
		{"image of no binary", image("binary: toool"), `f:4:44: images[0].binary: there is no binary "toool"; did you mean "tool"?`},
		{"image of a binary by case", image("binary: Tool"), `f:4:44: images[0].binary: there is no binary "Tool"; did you mean "tool"?`},
		{"default without its distribution", image("distros: [alpine], default: ubi"), `f:4:64: images[0].default: "ubi" is not among the distros of this image: alpine`},
		{"distribution twice", image("distros: [ubi, ubi]"), `f:4:51: images[0].distros[1]: "ubi" is named twice`},
		{"port", image("ports: [80, http, 65536, 0, 53/sctp]"), `f:4:48: images[0].ports[1]: "http" is not a port such as 8080 or 53/udp
f:4:54: images[0].ports[2]: "65536" is not a port such as 8080 or 53/udp
f:4:61: images[0].ports[3]: "0" is not a port such as 8080 or 53/udp
f:4:64: images[0].ports[4]: "53/sctp" is not a port such as 8080 or 53/udp`},
		{"paths", image("path: usr/bin/tool, workdir: /../x, volumes: [/, /data/]"), `f:4:42: images[0].path: "usr/bin/tool" is not a clean absolute path in the image
f:4:65: images[0].workdir: "/../x" is not a clean absolute path in the image
f:4:82: images[0].volumes[0]: "/" is not a clean absolute path in the image
f:4:85: images[0].volumes[1]: "/data/" is not a clean absolute path in the image`},
		{"path through a link", image("path: /bin/tool"), `f:4:42: images[0].path: /bin is a link in some distributions, and a file below it would take the link's place; use /usr/bin or /usr/local/bin`},
		{"file through a link", image("files: {/lib/x: x}"), `f:4:44: images[0].files./lib/x: /lib is a link in some distributions, and a file below it would take the link's place; use /usr/lib or /usr/local/lib`},
		{"file from outside", image("files: {/etc/x: ../x}"), `f:4:44: images[0].files./etc/x: path "../x" leaves its folder`},
		{"file to a relative path", image("files: {etc/x: x}"), `f:4:44: images[0].files.etc/x: "etc/x" is not a clean absolute path in the image`},
		{"file in place of the binary", image("files: {/usr/local/bin/tool: x}"), `f:4:43: images[0].files: path "usr/local/bin/tool" is named twice`},
		{"file below the binary", image("path: /app, files: {/app/x: x}"), `f:4:55: images[0].files: path "app" is a file and a folder of "app/x"`},
		{"environment", image("env: {'A=B': c, '': d}"), `f:4:42: images[0].env.A=B: "A=B" is not the name of a variable
f:4:52: images[0].env.: "" is not the name of a variable`},
		{"label without a name", image("labels: {'': x}"), `f:4:45: images[0].labels.: a label has a name`},

		// Bases and mirrors.
		{"base of nothing", good + "bases: {alpin: 'docker.io/library/alpine:3.22'}\n", `f:4:9: bases.alpin: there is no distribution "alpin"; did you mean "alpine"?`},
		{"base without a tag", good + "bases: {alpine: docker.io/library/alpine}\n", `f:4:9: bases.alpine: "docker.io/library/alpine" is not an image with its registry and tag, such as docker.io/library/alpine:3.22`},
		{"base without a registry", good + "bases: {alpine: 'alpine:3.22'}\n", `f:4:9: bases.alpine: "alpine:3.22" is not an image with its registry and tag, such as docker.io/library/alpine:3.22`},
		{"mirrors", good + "mirrors:\n  docker.io/library: mirror.example.com\n  gcr.io: https://mirror.example.com\n  quay.io: ' '\n  index.docker.io: mirror.example.com\n", `f:5:3: mirrors.docker.io/library: "docker.io/library" is not the host of a registry
f:6:3: mirrors.gcr.io: "https://mirror.example.com" is not a registry, optionally with a path
f:7:3: mirrors.quay.io: " " is not a registry, optionally with a path
f:8:3: mirrors.index.docker.io: write docker.io`},

		// Charts.
		{"chart outside", good + "charts: [{path: ../charts/tool}]\n", `f:4:17: charts[0].path: path "../charts/tool" leaves its folder`},
		{"chart called ..", good + "charts: [{path: ..}]\n", `f:4:17: charts[0].path: path ".." leaves its folder`},
		{"charts of one name", good + "charts: [{path: charts/tool}, {path: other/Tool}]\n", `f:4:38: charts[1].path: "Tool" is the name of charts[0] too, and its file would be`},
		{"chart twice", good + "charts: [{path: charts/tool}, {path: ./charts/tool/}]\n", `f:4:38: charts[1].path: "tool" is the name of charts[0] too, and its file would be`},
		{"chart's repository", good + "charts: [{path: c, repository: 'oci://ghcr.io/a/charts'}]\n", `f:4:32: charts[0].repository: "oci://ghcr.io/a/charts" is not a registry and a path in lower case without a tag`},

		// Tests.
		{"flag among packages", good + "test: {packages: [-exec=x]}\n", `f:4:19: test.packages[0]: "-exec=x" is a flag, not a package`},
		{"another program", good + "test: {flags: [-exec=x, --toolexec=y, -run, TestX]}\n", `f:4:16: test.flags[0]: "-exec=x" would run another program
f:4:25: test.flags[1]: "--toolexec=y" would run another program
f:4:45: test.flags[3]: "TestX" is not a flag; write a flag and its value as one, such as -run=TestName`},
		{"test builder by tag", good + "test: {builder: 'golang:1.26'}\n", `f:4:17: test.builder: "golang:1.26" is not an image with @sha256:<digest>`},
	} {
		_, err := config.Parse("f", []byte(tt.in))
		if err == nil {
			t.Errorf("%s: no error, want\n%s", tt.name, tt.want)
		} else if err.Error() != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, err, tt.want)
		}
	}
}

// The distributions that the struct tags name are those that there are.
func TestDistros(t *testing.T) {
	for _, d := range images.Names() {
		if _, err := config.Parse("f", []byte(good+"images: [{repository: ghcr.io/a/b, distros: ["+d+"], default: "+d+"}]\n")); err != nil {
			t.Errorf("%s: %v", d, err)
		}
	}
	_, err := config.Parse("f", []byte(good+"images: [{repository: ghcr.io/a/b, default: none}]\n"))
	if want := "is not one of " + strings.Join(images.Names(), ", "); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want it to say %s", err, want)
	}
}

// A file from outside costs what its size allows and no more.
func TestHostile(t *testing.T) {
	bomb := func(n int) string { // each line is ten times the one before
		var b strings.Builder
		b.WriteString(good + "images:\n- repository: ghcr.io/a/b\n  labels:\n    l0: &l0 [x,x,x,x,x,x,x,x,x,x]\n")
		for i := 1; i < n; i++ {
			a := fmt.Sprintf("*l%d", i-1)
			fmt.Fprintf(&b, "    l%d: &l%d [%s]\n", i, i, strings.Join([]string{a, a, a, a, a, a, a, a, a, a}, ","))
		}
		return b.String()
	}
	platforms := func(n int) string { // aliases of lists that fit
		var b strings.Builder
		b.WriteString(head + "binaries:\n- {name: tool, main: ., targets: &t [" + strings.Repeat("linux/amd64,", 2000) + "]}\n")
		for i := range n {
			fmt.Fprintf(&b, "- {name: tool%d, main: ., targets: *t}\n", i)
		}
		return b.String()
	}
	big := strings.Repeat("x", 100_000)
	for _, tt := range []struct{ name, in, want string }{
		{"2 MB", strings.Repeat("# comment\n", 200_000), "f:1:1: the file is larger than 262144 bytes"},
		{"alias bomb", bomb(30), "images[0].labels.l0: want a string, have a list"},
		{"alias bomb of lists", platforms(4000), "the file unfolds to more than 4194304 bytes, counting aliases each time they are used"},
		{"alias of a long text", good + "archives: {files: [&a " + big + strings.Repeat(",*a", 30_000) + "]}\n", "the file unfolds to more than 4194304 bytes"},
		{"alias of a long template", good + "images: [{repository: ghcr.io/a/b, labels: {k: &a " + big + func() string {
			var b strings.Builder
			for i := range 9_000 {
				fmt.Fprintf(&b, ",k%d: *a", i)
			}
			return b.String()
		}() + "}}]\n", "the file unfolds to more than 4194304 bytes"},
		{"alias of itself", good + "images: &a [*a]\n", "f:4:9: images[0]: want a mapping, have a list"},
		{"deep lists", strings.Repeat("[", 100_000), "f:1:1: not YAML: "},
		{"deep mappings", strings.Repeat("{a: ", 60_000), "f:1:1: not YAML: "},
		{"deep blocks", strings.Repeat("- ", 100_000), "f:1:1: not YAML: "},
		{"deep and whole", good + "images: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "\n", "f:4:10: images[0]: want a mapping, have a list"},
		{"unknown keys", func() string {
			var b strings.Builder
			for i := 0; b.Len() < 250_000; i++ {
				fmt.Fprintf(&b, "k%d:\n", i)
			}
			return b.String()
		}(), `f:1:1: unknown key "k0"`},
		{"one key again and again", strings.Repeat("k:\n", 80_000), `f:2:1: key "k" is already on line 1`},
		{"long word", good + "images: [" + big + "]\n", `images[0]: want a mapping, have "` + strings.Repeat("x", 60) + `"`},
		{"long unknown key", good + strings.Repeat("k", 1000) + ": 1\n", `f:4:1: key "` + strings.Repeat("k", 60) + `" is longer than 512 bytes`},
		{"long platform", head + "binaries: [{name: tool, main: ., targets: [linux/" + big + "]}]\n", `Go has no port to "xxx`},
		{"long template", head + "binaries: [{name: tool, main: ., vars: {main.v: '{{ ." + big + " }}'}}]\n", "there is no value"},
		{"many templates", head + "binaries: [{name: tool, main: ., vars: {main.v: '" + strings.Repeat("{{ .Version }}", 10_000) + "'}}]\n", ""},
		{"many errors", good + "images: [" + strings.Repeat("{},", 10_000) + "]\n", "f:4:70: more errors follow"},
		{"many impossible values", head + "binaries: [{name: tool, main: ., ldflags: [" + strings.Repeat("x,", 20_000) + "]}]\n", "more errors follow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := config.Parse("f", []byte(tt.in))
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%.500v, want %s", err, tt.want)
			}
			if err != nil && len(err.Error()) > 16<<10 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if err != nil && strings.Count(err.Error(), "\n") > 20 {
				t.Errorf("the error has %d lines", 1+strings.Count(err.Error(), "\n"))
			}
			mb := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%s, %d MB allocated", took.Round(time.Millisecond), mb)
			if mb > 64 {
				t.Errorf("%d MB were allocated for a file of %d KB", mb, len(tt.in)>>10)
			}
			// Far above what it takes, for slow machines with the race detector.
			if took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	v := config.Values{"Version": "1.2.3-RC.1", "Os": "linux", "Project": "tool", "Tag": "été/v1"}
	for in, want := range map[config.Template]string{
		"":                                 "",
		"plain":                            "plain",
		"{{ .Version }}":                   "1.2.3-RC.1",
		"{{.Version}}":                     "1.2.3-RC.1",
		"a{{ .Os }}_{{ .Variant }}b":       "alinux_b",
		"{{ lower .Version }}":             "1.2.3-rc.1",
		"{{ upper .Project }}":             "TOOL",
		"{{ title .Os }}{{ title .Arch }}": "Linux",
		"{{ title .Tag }}":                 "Été/v1",
		"}} and { { .Os } }":               "}} and { { .Os } }",
	} {
		if got, err := in.Expand(v); got != want || err != nil {
			t.Errorf("%q expands to %q, %v, want %q", in, got, err, want)
		}
	}
	// What a value holds is text, whatever it looks like.
	if got, err := config.Template("{{ .Tag }}").Expand(config.Values{"Tag": "{{ .Os }}"}); got != "{{ .Os }}" || err != nil {
		t.Errorf("a value is expanded again: %q, %v", got, err)
	}
	// One that was not read from a file is checked where it is used.
	if got, err := config.Template("{{ env }}").Expand(v); err == nil {
		t.Errorf("{{ env }} expands to %q", got)
	}
}

func FuzzParse(f *testing.F) {
	own, err := os.ReadFile("../../slipway.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(own))
	for _, s := range []string{
		good, head, "", "---\n", "a: &a [*a]\n", good + "---\n" + good, head + "binaries: [{name: tool, main: ., vars: {main.v: '{{ .Version }}'}}]\n",
		good + "images: [{repository: ghcr.io/a/b, files: {/etc/x: x}}]\n", good + "mirrors: {docker.io: a/b}\n", "<<: {}\n", "? []\n: 1\n", "version: !!int 1\n",
		good + "archives: {files: ['[a-', '**', '../*']}\n", "\xff", "version: 1\nproject: &p {name: tool}\nbinaries: *p\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start := time.Now()
		c, err := config.Parse("f.yaml", []byte(s))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s for %d bytes", took, len(s))
		}
		if err != nil {
			checkPositions(t, err)
			return
		}
		if c.Project.Name == "" || c.Version != 1 {
			t.Errorf("accepted without what must be there: %+v", c)
		}
		for i, b := range c.Binaries {
			if b.Name == "" || b.Main == "" || len(b.Platforms()) == 0 {
				t.Errorf("binary %+v", b)
			}
			for _, p := range b.Platforms() {
				if p.OS == "" || p.Arch == "" {
					t.Errorf("platform %+v", p)
				}
			}
			if at := c.At(fmt.Sprintf("binaries[%d].name", i)); !strings.HasPrefix(at, "f.yaml:") {
				t.Errorf("At = %s", at)
			}
		}
	})
}
