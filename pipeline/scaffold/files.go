package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// pipelineGo is the go line of the pipeline's module: that of Slipway's own go.mod, below which it does not compile.
const pipelineGo = "1.26.1"

// pipelineMain is the source of the pipeline.
func pipelineMain(folder string) string {
	return fmt.Sprintf(`// Command %s is the release pipeline of this repository: go run -C %s . build
package main

import (
	"os"

	"%s/pipeline/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
`, path.Base(folder), folder, modulePath)
}

// folder is where the pipeline goes: ci, or another where ci has Go files of the product's, which a go.mod beside them
// would take out of the product's module.
func (p *proposal) folder(root *os.Root) string {
	for _, folder := range []string{"ci", "slipway-ci"} {
		if !p.occupied(root, folder) {
			if folder != "ci" {
				p.note("ci: it holds Go files of this repository, and a go.mod there would take them out of their module; the pipeline is in %s", folder)
			}
			return folder
		}
	}
	return "slipway-ci"
}

func (p *proposal) occupied(root *os.Root, folder string) bool {
	if b, err := p.survey.read(folder + "/main.go"); err == nil && strings.Contains(string(b), modulePath+"/pipeline/cli") {
		return false
	}
	if p.survey.isFile(folder + "/go.mod") {
		return true
	}
	return slices.ContainsFunc(p.survey.goDirs, func(dir string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") })
}

// pipelinePath is the module path of the pipeline. It is not imported.
func (p *proposal) pipelinePath(folder string) string {
	m := p.survey.main()
	name := m.path
	if m.dir != "." {
		name = strings.TrimPrefix(p.config.Project.Repository, "https://")
	}
	if name = path.Join(name, folder); module.CheckImportPath(name) != nil {
		return folder
	}
	return name
}

// pipelineModule is the go.mod of the pipeline. It has no requirement where the version of Slipway is not known.
func pipelineModule(name, version, replace string) ([]byte, error) {
	f := &modfile.File{Syntax: &modfile.FileSyntax{}}
	if err := f.AddModuleStmt(name); err != nil {
		return nil, fmt.Errorf("writing the pipeline's go.mod: %w", err)
	}
	if err := f.AddGoStmt(pipelineGo); err != nil {
		return nil, fmt.Errorf("writing the pipeline's go.mod: %w", err)
	}
	if version == "" && replace != "" {
		version = "v0.0.0-00010101000000-000000000000" // what the Go command itself gives a replaced module without one
	}
	if version != "" {
		f.AddNewRequire(modulePath, version, false)
	}
	if replace != "" {
		if replace = filepath.ToSlash(replace); !path.IsAbs(replace) && !modfile.IsDirectoryPath(replace) {
			replace = "./" + replace
		}
		if strings.ContainsFunc(replace, func(r rune) bool { return r < ' ' }) {
			return nil, fault.Errorf(fault.Usage, "%q cannot be the path of a replace directive", replace)
		}
		if err := f.AddReplace(modulePath, "", replace, ""); err != nil {
			return nil, fmt.Errorf("writing the pipeline's go.mod: %w", err)
		}
	}
	f.Cleanup()
	return f.Format()
}

//go:embed release.yml.tmpl reproduce.yml.tmpl store.yml.tmpl
var workflows embed.FS

var workflowTemplates = template.Must(template.New("").Delims("[[", "]]").ParseFS(workflows, "*.tmpl"))

var plainPrefix = regexp.MustCompile(`^[A-Za-z0-9._/-]*$`)

// The workflows: one builds each tag twice, compares and publishes, another builds what is published again, and the last is that of a
// release store.
const (
	releaseWorkflow   = "release.yml"
	reproduceWorkflow = "reproduce.yml"
	storeWorkflow     = "store.yml"
)

// settings are what the workflows of a project differ in.
type settings struct {
	Folder, TagPrefix string
	Workspace         bool
	Store             bool   // the project is in a release store
	Version           string // of Slipway
}

// workflow is one of the workflows.
func workflow(name string, o settings) []byte {
	if !plainPrefix.MatchString(o.TagPrefix) {
		o.TagPrefix = "" // patterns would read it as one; see the note on tagPrefix
	}
	var b bytes.Buffer
	if err := workflowTemplates.ExecuteTemplate(&b, name+".tmpl", o); err != nil {
		panic(err) // the template and its data are constants of this package
	}
	return b.Bytes()
}
