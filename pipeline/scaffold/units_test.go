package scaffold

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

func TestMatrix(t *testing.T) {
	lists := func(kv ...string) map[string][]string {
		m := map[string][]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = strings.Fields(kv[i+1])
		}
		return m
	}
	tests := []struct {
		name string
		m    matrix
		want string
		err  string
	}{
		{
			"default",
			matrix{},
			"linux/amd64/v1 linux/arm64/v8.0 linux/386/sse2 darwin/amd64/v1 darwin/arm64/v8.0 windows/amd64/v1 windows/arm64/v8.0 windows/386/sse2", "",
		},
		{"unknown pairs are dropped", matrix{lists: lists("goos", "freebsd openbsd darwin", "goarch", "riscv64 s390x 386")}, "freebsd/386/sse2 openbsd/riscv64/rva20u64 openbsd/386/sse2", ""},
		{"arm default", matrix{lists: lists("goos", "linux", "goarch", "arm")}, "linux/arm/6", ""},
		{"levels", matrix{lists: lists("goos", "linux", "goarch", "arm amd64 mips", "goarm", "7 6", "goamd64", "v1 v3", "gomips", "softfloat")}, "linux/arm/7 linux/arm/6 linux/amd64/v1 linux/amd64/v3 linux/mips/softfloat", ""},
		{
			"ignore by system and level",
			matrix{lists: lists("goos", "linux freebsd", "goarch", "arm amd64", "goarm", "6 7"), ignore: []map[string]string{{"goos": "freebsd", "goarch": "arm", "goarm": "6"}, {"goos": "linux", "goarch": "amd64"}}},
			"linux/arm/6 linux/arm/7 freebsd/arm/7 freebsd/amd64/v1", "",
		},
		{
			"ignore of a level of another architecture",
			matrix{lists: lists("goos", "linux", "goarch", "amd64 arm"), ignore: []map[string]string{{"goarm": "6"}}},
			"linux/amd64/v1", "",
		},
		{"an empty rule ignores all", matrix{ignore: []map[string]string{{}}}, "", ""},
		{"unknown system", matrix{lists: lists("goos", "linux beos")}, "", `goos "beos"`},
		{"targets", matrix{targets: []string{"linux_amd64", "linux_arm_7", "linux_arm", "linux_amd64_v3", "freebsd_riscv64"}, lists: lists("goos", "windows"), ignore: []map[string]string{{"goos": "linux"}}}, "linux/amd64/v1 linux/arm/7 linux/arm/6 linux/amd64/v3 freebsd/riscv64/rva20u64", ""},
		{"first class", matrix{targets: []string{"go_first_class", "linux_amd64"}}, "darwin/amd64/v1 darwin/arm64/v8.0 linux/386/sse2 linux/amd64/v1 linux/arm/6 linux/arm64/v8.0 windows/386/sse2 windows/amd64/v1", ""},
		{"bad target", matrix{targets: []string{"linux"}}, "", `target "linux"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all, err := tt.m.expand()
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			var got []string
			for _, p := range all {
				got = append(got, p.String())
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

func TestTargetPlatform(t *testing.T) {
	for in, want := range map[target]string{
		{"linux", "amd64", "v1"}:        "linux/amd64",
		{"linux", "amd64", "v3"}:        "linux/amd64/v3",
		{"linux", "arm", "6"}:           "linux/arm/v6",
		{"linux", "arm", "7"}:           "linux/arm/v7",
		{"linux", "arm", "7,hardfloat"}: "linux/arm/v7",
		{"linux", "arm", "5,softfloat"}: "linux/arm/v5",
		{"linux", "arm", "7,softfloat"}: "",
		{"linux", "arm64", "v8.0"}:      "linux/arm64",
		{"linux", "arm64", "v9.5"}:      "",
		{"linux", "386", "softfloat"}:   "linux/386/softfloat",
		{"linux", "mips", "hardfloat"}:  "linux/mips",
		{"linux", "s390x", ""}:          "linux/s390x",
		{"android", "arm64", "v8.0"}:    "",
		{"js", "wasm", ""}:              "",
		{"solaris", "sparc", ""}:        "",
	} {
		p, err := in.platform()
		if (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("%s is %s, want %q: %v", in, p, want, err)
		}
	}
}

func TestCompact(t *testing.T) {
	platforms := func(s string) []artifact.Platform {
		var all []artifact.Platform
		for f := range strings.FieldsSeq(s) {
			p, err := artifact.ParsePlatform(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		return all
	}
	standard := config.DefaultTargets()
	tests := []struct {
		name                  string
		want                  []artifact.Platform
		targets, add, exclude int
	}{
		{"the default", standard, 0, 0, 0},
		{"one less", standard[1:], 0, 0, 1},
		{"one more, twice", append(platforms("linux/arm/v7 linux/arm/v7"), standard...), 0, 1, 0},
		{"few", platforms("linux/amd64 linux/arm64"), 2, 0, 0},
		{"a variant in place of its base", append(platforms("linux/amd64/v3"), slices.DeleteFunc(slices.Clone(standard), func(p artifact.Platform) bool { return p.String() == "linux/amd64" })...), 18, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := compact(config.Binary{}, tt.want)
			if len(b.Targets) != tt.targets || len(b.Add) != tt.add || len(b.Exclude) != tt.exclude {
				t.Errorf("targets %v, add %v, exclude %v", b.Targets, b.Add, b.Exclude)
			}
			want := slices.Clone(tt.want)
			slices.SortFunc(want, artifact.Platform.Compare)
			if got := b.Platforms(); !slices.Equal(got, slices.Compact(want)) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTranslate(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{"plain", "plain", ""},
		{"", "", ""},
		{"{{.Version}}", "{{ .Version }}", ""},
		{"{{ .FullCommit }}-{{ .CommitDate }}", "{{ .Commit }}-{{ .Date }}", ""},
		{"{{ .RawVersion }}", "{{ .Major }}.{{ .Minor }}.{{ .Patch }}", ""},
		{"{{ .ProjectName }}_{{- title .Os }}", "{{ .Project }}_{{ title .Os }}", ""},
		{"{{ .Os | toupper }}", "{{ upper .Os }}", ""},
		{"{{ tolower .ModulePath }}", "example.com/mod", ""},
		{"{{ .Arch }}{{ if .Arm }}v{{ .Arm }}{{ end }}", "{{ .Arch }}{{ .Variant }}", ""},
		{"{{ .Arch }}{{ with .Arm }}v{{ . }}{{ end }}{{ with .Mips }}_{{ . }}{{ end }}{{ if not (eq .Amd64 \"v1\") }}{{ .Amd64 }}{{ end }}", "{{ .Arch }}{{ .Variant }}", ""},
		{"{{ if ne .Amd64 \"v1\" }}{{ .Amd64 }}{{ end }}", "{{ .Variant }}", ""},
		{"{{ if .Arm }}v{{ .Arm }}{{ else }}x{{ end }}", "", "has no counterpart"},
		{"{{ if .Arm }}{{ .Os }}{{ end }}", "", "conditions"},
		{"{{ if eq .Arch \"386\" }}i386{{ else }}{{ .Arch }}{{ end }}", "{{ .Arch }}", ""},
		{"{{ if eq .Arch \"386\" }}i386{{ end }}", "", "conditions"},
		{"{{ if .IsSnapshot }}x{{ end }}", "", "conditions"},
		{"{{ .Env.HOME }}", "", "environment"},
		{"{{ .Branch }}", "", "{{ .Branch }} has no counterpart"},
		{"{{ .Runtime.Goos }}", "", "no counterpart"},
		{"{{ replace .Version \"a\" \"b\" }}", "", "one function of one value"},
		{"{{ trimprefix .Tag }}", "", "functions are"},
		{"{{ title .RawVersion }}", "", "one value"},
		{"{{ $x := .Version }}", "", "variable"},
		{"{{ range .X }}{{ end }}", "", "no counterpart"},
		{"{{ .Version | tolower | toupper }}", "", "no counterpart"},
		{"{{ (.Version) }}", "", "no counterpart"},
		{"{{ .Version", "", "not a template"},
		{"{{ \"a\" }}", "a", ""},
		{"{{ .Tag }}_v{{ .Tag }}", "{{ .Tag }}_v{{ .Version }}", ""},
		{"a{{/* c */}}b", "ab", ""},
		{strings.Repeat("x", maxTemplate+1), "", "longer"},
	}
	for _, tt := range tests {
		tr := translator{fixed: map[string]string{"ModulePath": "example.com/mod"}, fileNames: true}
		got, err := tr.translate(tt.in)
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.60q: %q, %v; want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
	strict := translator{}
	if _, err := strict.translate("{{ if eq .Os \"a\" }}b{{ else }}c{{ end }}"); err == nil {
		t.Error("a condition in the value of a variable was dropped")
	}
	tr := translator{}
	if _, err := tr.translate("{{ .Date }}{{ .Date }}{{ .CommitDate }}"); err != nil || len(tr.remarks) != 1 {
		t.Errorf("remarks %q: %v", tr.remarks, err)
	}
}

func TestSplitFlags(t *testing.T) {
	for in, want := range map[string][]string{
		"":                                   nil,
		" -s  -w\n":                          {"-s", "-w"},
		"-X a={{ .Version }}":                {"-X", "a={{ .Version }}"},
		`-X 'a=b c' -extldflags "-static x"`: {"-X", "a=b c", "-extldflags", "-static x"},
		`-X "a={{ title "x y" }}"`:           {"-X", `a={{ title "x y" }}`},
		`''`:                                 {""},
		"-X a={{ .Ver":                       {"-X", "a={{ .Ver"},
		"'open":                              {"open"},
	} {
		if got := splitFlags(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestRepositoryURL(t *testing.T) {
	for in, want := range map[string]string{
		"git@github.com:Acme/tool.git":                "https://github.com/Acme/tool",
		"github.com:Acme/tool":                        "https://github.com/Acme/tool",
		"ssh://git@git.example.com:2222/a/b/c.git":    "https://git.example.com/a/b/c",
		"https://github.com/Acme/tool":                "https://github.com/Acme/tool",
		"https://user:s3cret@github.com/Acme/tool/":   "https://github.com/Acme/tool",
		"http://git.example.com:3000/a/b":             "https://git.example.com:3000/a/b",
		"git://github.com/a/b":                        "https://github.com/a/b",
		"":                                            "",
		"/srv/git/tool.git":                           "",
		"../tool":                                     "",
		"file:///srv/git/tool.git":                    "",
		"C:/src/tool":                                 "",
		"https://github.com":                          "",
		"https://github.com/only":                     "",
		"git@github.com:a/../b":                       "",
		"git@github.com:a/b c":                        "",
		"https://github.com/a/b?x=$(id)":              "https://github.com/a/b",
		"ext::sh -c id":                               "",
		"git@-oProxyCommand=x:a/b":                    "",
		"https://github.com/a/b\nproject: {name: bad": "",
		"https://ex\u0430mple.com/a/b":                "",
	} {
		if got := repositoryURL(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"github.com/a/b/v2/cmd": "https://github.com/a/b", "example.com/a/b": "", "github.com/a": "", "glide": "",
	} {
		if got := repositoryOfModule(in); got != want {
			t.Errorf("module %q: %q, want %q", in, got, want)
		}
	}
}

func TestLicences(t *testing.T) {
	for text, want := range map[string]string{
		"                 Apache License\n           Version 2.0, January 2004":                                                                             "Apache-2.0",
		"GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007 ... GNU Affero General Public License version 3 ... GNU Lesser General Public License":         "GPL-3.0-only",
		"GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, 19 November 2007 ... version 3 of the GNU General Public License ... GNU General Public License v 3": "AGPL-3.0-only",
		"GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3 ... GNU General Public License version 3":                                                             "LGPL-3.0-only",
		"GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1, February 1999":                                                                                     "LGPL-2.1-only",
		"GNU GENERAL PUBLIC LICENSE\nVersion 2, June 1991":                                                                                                  "GPL-2.0-only",
		"Mozilla Public License Version 2.0\n====\n means the GNU General Public License, Version 2.0":                                                      "MPL-2.0",
		"Permission is hereby granted, free of charge, to any person obtaining\na copy of this software and associated documentation files (the":            "MIT",
		"Permission to use, copy, modify, and distribute this software for any\npurpose with or without fee is hereby granted, provided that the":           "ISC",
		"Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted.":                           "",
		"Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided that: Neither the name of the":            "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without modification, are permitted":                                                    "BSD-2-Clause",
		"Redistribution and use in source and binary forms, with or without modification, are permitted. All advertising materials mentioning":              "BSD-4-Clause",
		"This is free and unencumbered software released into the public domain.":                                                                           "Unlicense",
		"All rights reserved.": "",
		"":                     "",
	} {
		if got := recogniseLicence(text); got != want {
			t.Errorf("%.50q: %q, want %q", text, got, want)
		}
	}
	if got := joinLicences(map[string]bool{"GPL-3.0-only": true, "LGPL-3.0-only": true}); got != "LGPL-3.0-only" {
		t.Errorf("the GPL beside the LGPL gives %q", got)
	}
	own, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if got := recogniseLicence(string(own)); got != "Apache-2.0" {
		t.Errorf("the licence of this repository is %q", got)
	}
}

func TestFirstSentence(t *testing.T) {
	for readme, want := range map[string]string{
		"# Tool\n\nDoes a thing. And another.":                                   "Does a thing",
		"Tool\n====\n\nDoes\na thing":                                            "Does a thing",
		"<div align=\"center\">\n <h1>Tool: x y</h1>\n</div>\n\n---\n\nIs good.": "Is good",
		"# T\n\n[![a](b)](c)\n![d](e)\n\n**T** is [fast](x) and `small`.":        "T is fast and small",
		"# T\n\nUses e.g. this. Then that.":                                      "Uses e.g. this",
		"# T\n\nIs it good? Yes.":                                                "Is it good?",
		"# T\n\n```\nnot prose here\n```\n\n    nor this code\n\nBut this is.":   "But this is",
		"# T\n\n<!-- a comment\nover lines -->\nReal words here":                 "Real words here",
		"# T\n":        "",
		"":             "",
		"\xff\xfe a b": "",
		"# T\r\n\r\nWindows line\r\nends here.\r\n": "Windows line ends here",
		"# T\n\nVersion 1.2 runs well. Yes":         "Version 1.2 runs well",
	} {
		if got := firstSentence(readme); got != want {
			t.Errorf("%q: %q, want %q", readme, got, want)
		}
	}
}

func TestInstructions(t *testing.T) {
	const text = "# c\nFROM a AS b\nrun x \\\n  # c\n\n  y\nRUN <<-'EOF' cat\nCOPY no\nEOF\n  copy a b\nCMD x \\"
	want := []instruction{{2, "FROM", "a AS b"}, {3, "RUN", "x y"}, {7, "RUN", "<<-'EOF' cat"}, {10, "COPY", "a b"}}
	if got := instructions(text); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for base, want := range map[string]string{
		"alpine": "alpine", "alpine:3.19@sha256:ab": "alpine", "docker.io/library/alpine:3": "alpine", "localhost:5000/alpine": "alpine",
		"ubuntu:22.04": "ubuntu", "debian:12-slim": "ubuntu", "redhat/ubi8-micro:8.9": "ubi", "registry.access.redhat.com/ubi9/ubi-minimal": "ubi",
		"scratch": "distroless", "gcr.io/distroless/base": "distroless", "cgr.dev/chainguard/static": "distroless", "golang:1.26-alpine": "", "node": "",
	} {
		if got := distroOf(base); got != want {
			t.Errorf("%s: %q, want %q", base, got, want)
		}
	}
	for in, want := range map[string]map[string]string{
		`A=1 B="x y" C='z'`: {"A": "1", "B": "x y", "C": "z"},
		"OLD form of it":    {"OLD": "form of it"},
		"ALONE":             {},
		"=x":                {},
	} {
		if got := assignments(in); !maps.Equal(got, want) {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"Glide": "glide", "My Tool!": "my-tool", "a__b": "a-b", "..": "", "a.b-c_d": "a.b-c_d", "ünï": "n", "-x-": "x"} {
		if got := plainName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"https://github.com/EinStack/Glide": "ghcr.io/einstack/glide", "https://gitlab.com/a/b": "registry.gitlab.com/a/b", "https://example.com/a/b": "", "": ""} {
		if got := registryOf(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"": "", "(devel)": "", "1.2.3": "v1.2.3", "v1.2.3": "v1.2.3", "v0.0.0-20260102030405-abcdefabcdef+dirty": "", "1.2.4-snapshot.3.gabc": "", "v1.2.3-rc.1": "v1.2.3-rc.1"} {
		if got, err := released(in); got != want || err != nil {
			t.Errorf("%q: %q, want %q: %v", in, got, want, err)
		}
	}
	if got := oneLine("a\n b " + strings.Repeat("x", 400)); len(got) != 300 || !strings.HasSuffix(got, "...") {
		t.Errorf("%d: %s", len(got), got)
	}
}

// TestHostileNames has folders whose names must not reach the configuration as they are.
func TestHostileNames(t *testing.T) {
	dir := tree(t, map[string]string{
		"go.mod":                     "module example.com/tool\n\ngo 1.26.8\n",
		"cmd/good/main.go":           "package main\n\nfunc main() {}\n",
		"cmd/con/main.go":            "package main\n\nfunc main() {}\n",
		"cmd/a: b/main.go":           "package main\n\nfunc main() {}\n",
		"cmd/x\ny: z/main.go":        "package main\n\nfunc main() {}\n",
		"charts/c*/Chart.yaml":       "name: c\n",
		"charts/ok/Chart.yaml":       "name: c\n",
		"man/good.1":                 ".TH GOOD 1\n",
		"man/g*d.1":                  ".TH GOOD 1\n",
		"man/a: b.1":                 ".TH GOOD 1\n",
		"completions/x\ny/good.fish": "",
		"init/con/good.service":      "[Service]\nExecStart=/usr/bin/good\n",
		"completions/good.bash":      "",
	})
	r, err := Init(t.Context(), Options{Dir: dir, Version: "v1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(dir + "/slipway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("slipway.yaml", b)
	if err != nil || len(c.Binaries) != 1 || c.Binaries[0].Name != "good" || len(c.Charts) != 1 {
		t.Errorf("%v: binaries %v, charts %v", err, c.Binaries, c.Charts)
	}
	if len(c.Packages) != 1 || !slices.Equal(c.Packages[0].Manuals, []string{"man/good.1"}) || len(c.Packages[0].Completions) != 1 || len(c.Packages[0].Units) > 0 {
		t.Errorf("packages %+v", c.Packages)
	}
	if got := strings.Count(lines(r.Notes), "is left out"); got != 4 {
		t.Errorf("%d were noted as left out:\n%s", got, lines(r.Notes))
	}
}
