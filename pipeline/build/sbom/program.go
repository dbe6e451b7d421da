package sbom

import (
	"debug/buildinfo"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Program is what a Go binary tells of how it was made.
type Program struct {
	Path     string // in the archive or the image; of a binary, the name of the file
	Digest   artifact.Digest
	Main     string // path of the main package
	Module   string // path of the main module, or ""
	Go       string // version of Go, such as 1.26.8
	Modules  []Module
	Settings []Setting // those of the build that decide what was compiled
}

// Module is a module that a program was linked from.
type Module struct {
	Path     string
	Version  string // or "" for one that has none: a folder of the source
	Sum      string // h1:... of go.sum, or ""
	Replaces string // path and version of the module that it stands in for, or ""
	Folder   string // that replaces it, or ""
}

// Setting is a setting of a build, such as GOOS.
type Setting struct{ Key, Value string }

// ReadProgram reads the build information of a binary of any platform, whose digest the caller knows. Its error says when
// the file is not a Go program.
func ReadProgram(name string, digest artifact.Digest) (Program, error) {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return Program{}, fmt.Errorf("reading build information: %w", err)
	}
	p := programOf(info)
	p.Path, p.Digest = filepath.Base(name), digest
	return p, nil
}

// NewFile is a file with its digest.
func NewFile(name string, content []byte) File {
	return File{Path: name, Digest: artifact.Sum(content)}
}

func programOf(info *debug.BuildInfo) Program {
	p := Program{Main: info.Path, Module: info.Main.Path, Go: strings.TrimPrefix(info.GoVersion, "go")}
	p.Go, _, _ = strings.Cut(p.Go, " ") // experiments are named behind it
	for _, m := range info.Deps {
		out := Module{Path: m.Path, Version: m.Version, Sum: m.Sum}
		switch r := m.Replace; {
		case r == nil:
		case r.Version == "" || r.Version == devel:
			out = Module{Path: m.Path, Folder: r.Path}
		default:
			out = Module{Path: r.Path, Version: r.Version, Sum: r.Sum, Replaces: strings.TrimSuffix(m.Path+"@"+m.Version, "@")}
		}
		if out.Version == devel {
			out.Version = ""
		}
		p.Modules = append(p.Modules, out)
	}
	for _, s := range info.Settings {
		// The linker's flags stay out: they hold whatever a project hands to its programs, and say nothing of parts.
		if s.Key == "-tags" || s.Key == "CGO_ENABLED" || strings.HasPrefix(s.Key, "GO") {
			p.Settings = append(p.Settings, Setting{s.Key, s.Value})
		}
	}
	return p
}

// devel is what Go says of a module that was not fetched.
const devel = "(devel)"

// linked are the standard library and the modules.
func (p Program) linked() []thing {
	var out []thing
	if p.Go != "" {
		out = append(out, thing{
			key: "go/stdlib@" + p.Go, sort: library, name: "stdlib", version: p.Go, license: "BSD-3-Clause",
			purl: golangPURL("stdlib", p.Go, ""),
			// Vulnerabilities of the standard library are filed under this name too.
			cpe: "cpe:2.3:a:golang:go:" + p.Go + ":*:*:*:*:*:*:*",
		})
	}
	for _, m := range p.Modules {
		t := thing{key: "go/" + strings.TrimSuffix(m.Path+"@"+m.Version, "@"), sort: library, name: m.Path, version: m.Version, purl: golangPURL(m.Path, m.Version, "")}
		for _, n := range []note{{"golang:h1", m.Sum}, {"golang:replaces", m.Replaces}, {"golang:folder", m.Folder}} {
			if n.value != "" {
				t.notes = append(t.notes, n)
			}
		}
		out = append(out, t)
	}
	return out
}

// notes are the settings, under the names that CycloneDX has registered for them
// (https://github.com/CycloneDX/cyclonedx-property-taxonomy/blob/main/cdx/gomod.md).
func (p Program) notes() []note {
	var out []note
	for _, s := range p.Settings {
		if s.Key != "-tags" {
			out = append(out, note{"cdx:gomod:build:env:" + s.Key, s.Value})
			continue
		}
		for tag := range strings.SplitSeq(s.Value, ",") {
			out = append(out, note{"cdx:gomod:build:tag", tag})
		}
	}
	slices.SortFunc(out, func(a, b note) int { return strings.Compare(a.name+"\x00"+a.value, b.name+"\x00"+b.value) })
	return out
}

// whole is all for a program that cannot have C in it. Of one that can, the build information does not say.
func (p Program) whole() whole {
	if slices.Contains(p.Settings, Setting{"CGO_ENABLED", "0"}) {
		return all
	}
	return unknown
}

// purl is that of the main package in the release. The build information knows no version of the main module.
func (p Program) purl(version string) string {
	if p.Module == "" {
		return ""
	}
	sub, _ := strings.CutPrefix(p.Main, p.Module)
	return golangPURL(p.Module, "v"+version, strings.TrimPrefix(sub, "/"))
}
