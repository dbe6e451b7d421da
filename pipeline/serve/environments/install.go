package environments

import (
	"bytes"
	_ "embed"
	"net/http"
	"strings"
	"text/template"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

//go:embed install.sh.tmpl
var installScript string

var installer = template.Must(template.New("install.sh").Parse(installScript))

// baseHere stands in a script that is kept for the URL of the environment, which is not the same for all who ask.
const baseHere = "\x00"

// script is the install script of the current version of a component.
type script struct{ Name, Version, File, Sum string }

// scripts are those whose bytes are here.
func (s *Site) scripts(v *view) []script {
	var all []script
	for _, c := range v.components {
		if c.Current == nil {
			continue
		}
		here := s.shelf.Find(c.Name, c.Current.Version, c.Current.Manifest)
		if here == nil {
			continue
		}
		if file, sum := here.Script(); file != "" {
			all = append(all, script{c.Name, quote(c.Current.Version), quote(escape(file)), sum.Hex()})
		}
	}
	return all
}

// scripted are the names of the components that can be installed with a script.
func (s *Site) scripted(v *view) []string {
	var all []string
	for _, is := range s.scripts(v) {
		all = append(all, is.Name)
	}
	return all
}

// install answers with a script that installs the current version of a component: it fetches the script of that release, holds it to
// the digest that the release lists, and runs it. Which version that is stands in the script, so that it installs what whoever
// read it saw.
func (s *Site) install(v *view, r Request) (Answer, error) {
	if r.Base == "" {
		return Answer{}, status{http.StatusBadRequest, "the host that was asked for has no name that can stand in a script"}
	}
	a, err := s.once(v.state, "install/"+v.stage.Name, func() (Answer, error) {
		all, only := s.scripts(v), ""
		if len(all) == 0 {
			return Answer{}, status{http.StatusNotFound, "no current version of " + v.stage.Name + " is here with an install script"}
		}
		var names []string
		for _, is := range all {
			names = append(names, is.Name)
		}
		if len(all) == 1 {
			only = names[0]
		}
		var b bytes.Buffer
		err := installer.Execute(&b, map[string]any{
			"Environment": v.stage.Name, "Base": baseHere, "Only": quote(only), "Components": all, "Names": strings.Join(names, ", "),
		})
		return Answer{Kind: "text/x-shellscript; charset=utf-8", Body: b.Bytes()}, err
	})
	if err != nil {
		return Answer{}, err
	}
	a.Body = bytes.ReplaceAll(a.Body, []byte(baseHere), []byte(quote(r.Base)))
	a.ETag = `"` + string(artifact.Sum(a.Body)) + `"`
	return a, nil
}

// quote makes one word of a text for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
