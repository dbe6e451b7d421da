package scaffold

import (
	"fmt"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/slipway-build/slipway/pipeline/config"
)

// translator turns GoReleaser's templates, which are programs, into Slipway's, which are text with values.
type translator struct {
	fixed     map[string]string // values that are the same in every release, written as text
	fileNames bool              // an if by system or architecture becomes its else: names follow Go's
	remarks   []string          // differences in meaning
}

// values are GoReleaser's values that Slipway has, by name.
var values = map[string]string{
	"ProjectName": "{{ .Project }}", "Version": "{{ .Version }}", "Tag": "{{ .Tag }}", "RawVersion": "{{ .Major }}.{{ .Minor }}.{{ .Patch }}",
	"Major": "{{ .Major }}", "Minor": "{{ .Minor }}", "Patch": "{{ .Patch }}", "Prerelease": "{{ .Prerelease }}",
	"Commit": "{{ .Commit }}", "FullCommit": "{{ .Commit }}", "ShortCommit": "{{ .ShortCommit }}",
	"Date": "{{ .Date }}", "CommitDate": "{{ .Date }}", "Timestamp": "{{ .Timestamp }}", "CommitTimestamp": "{{ .Timestamp }}",
	"Os": "{{ .Os }}", "Arch": "{{ .Arch }}", "Binary": "{{ .Binary }}",
	"Arm": variant, "Mips": variant, "Amd64": variant, "I386": variant, "Arm64": variant, "Ppc64": variant, "Riscv64": variant,
}

const variant = "{{ .Variant }}"

// meanings are what differs on purpose in values of the same use.
var meanings = map[string]string{
	"Date":        "{{ .Date }} is the time of the commit, not of the build, so that a rebuild gives the same bytes",
	"Timestamp":   "{{ .Timestamp }} is the time of the commit, not of the build, so that a rebuild gives the same bytes",
	"ShortCommit": "{{ .ShortCommit }} always has 12 digits; git's own short form grows with the repository",
}

var functions = map[string]string{"tolower": "lower", "lower": "lower", "toupper": "upper", "upper": "upper", "title": "title"}

const maxTemplate = 4 << 10 // bytes

// translate returns the template in Slipway's terms, or what in it has none.
func (t *translator) translate(text string) (config.Template, error) {
	if len(text) > maxTemplate {
		return "", fmt.Errorf("the template is longer than %d bytes", maxTemplate)
	}
	tree := parse.New("template")
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(text, "", "", map[string]*parse.Tree{}); err != nil {
		return "", fmt.Errorf("it is not a template: %w", err)
	}
	if tree.Root == nil {
		return "", nil
	}
	var out []string
	if err := t.nodes(tree.Root, &out); err != nil {
		return "", err
	}
	var b strings.Builder
	last := ""
	for _, piece := range out {
		if piece == variant && last == variant {
			continue
		}
		if piece == "{{ .Tag }}" && strings.HasSuffix(last, "v") {
			piece = "{{ .Version }}"
			t.remark("v{{ .Tag }} became v{{ .Version }}, since the tag of a snapshot begins with v")
		}
		if piece != "" {
			b.WriteString(piece)
			last = piece
		}
	}
	return config.Template(b.String()), nil
}

func (t *translator) nodes(list *parse.ListNode, out *[]string) error {
	if list == nil {
		return nil
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			*out = append(*out, string(n.Text))
		case *parse.ActionNode:
			text, err := t.pipe(n.Pipe)
			if err != nil {
				return err
			}
			*out = append(*out, text)
		case *parse.IfNode:
			if err := t.branch(&n.BranchNode, out); err != nil {
				return err
			}
		case *parse.WithNode:
			if err := t.branch(&n.BranchNode, out); err != nil {
				return err
			}
		case *parse.CommentNode:
		default:
			return fmt.Errorf("%s has no counterpart: templates are text with values", clip(n.String()))
		}
	}
	return nil
}

// branch knows the conditions that only ask whether there is a variant: {{ if .Arm }}v{{ .Arm }}{{ end }},
// {{ with .Mips }}_{{ . }}{{ end }}, {{ if not (eq .Amd64 "v1") }}{{ .Amd64 }}{{ end }}.
func (t *translator) branch(n *parse.BranchNode, out *[]string) error {
	var asked []string
	collectFields(n.Pipe, &asked)
	isVariant := len(asked) == 1 && values[asked[0]] == variant
	if isVariant && (n.ElseList == nil || len(n.ElseList.Nodes) == 0) && onlyVariant(n.List, asked[0]) {
		*out = append(*out, variant)
		return nil
	}
	if t.fileNames && len(asked) == 1 && (asked[0] == "Os" || asked[0] == "Arch") && n.ElseList != nil {
		t.remark("names follow Go's own systems and architectures, such as darwin and amd64; the condition on ." + asked[0] + " is left out")
		return t.nodes(n.ElseList, out)
	}
	return fmt.Errorf("the condition {{ if %s }} has no counterpart: templates have no conditions", clip(n.Pipe.String()))
}

func (t *translator) remark(s string) {
	if !slices.Contains(t.remarks, s) {
		t.remarks = append(t.remarks, s)
	}
}

// onlyVariant reports whether the list writes the value, with nothing but a v or a separator before it.
func onlyVariant(list *parse.ListNode, name string) bool {
	seen := false
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			if strings.Trim(string(n.Text), " \t\r\n_-v") != "" {
				return false
			}
		case *parse.ActionNode:
			s := strings.Trim(n.String(), "{} ")
			if s != "."+name && s != "." {
				return false
			}
			seen = true
		default:
			return false
		}
	}
	return seen
}

// collectFields lists the values that a pipeline names.
func collectFields(n parse.Node, into *[]string) {
	switch n := n.(type) {
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			collectFields(c, into)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			collectFields(a, into)
		}
	case *parse.FieldNode:
		if name := strings.Join(n.Ident, "."); !slices.Contains(*into, name) {
			*into = append(*into, name)
		}
	}
}

// pipe translates a value, a function of one, or a value piped into a function.
func (t *translator) pipe(p *parse.PipeNode) (string, error) {
	bad := func(why string) (string, error) { return "", fmt.Errorf("{{ %s }} %s", clip(p.String()), why) }
	var args []parse.Node
	switch {
	case len(p.Decl) > 0:
		return bad("sets a variable; templates have none")
	case len(p.Cmds) == 1:
		args = p.Cmds[0].Args
	case len(p.Cmds) == 2 && len(p.Cmds[0].Args) == 1 && len(p.Cmds[1].Args) == 1:
		args = []parse.Node{p.Cmds[1].Args[0], p.Cmds[0].Args[0]}
	default:
		return bad("has no counterpart: a template takes one function of one value")
	}
	function := ""
	if len(args) == 2 {
		name, ok := args[0].(*parse.IdentifierNode)
		if !ok || functions[name.Ident] == "" {
			return bad("has no counterpart: functions are lower, upper and title")
		}
		function = functions[name.Ident]
	}
	if s, ok := args[len(args)-1].(*parse.StringNode); ok && len(args) == 1 {
		return s.Text, nil
	}
	field, ok := args[len(args)-1].(*parse.FieldNode)
	if len(args) > 2 || !ok {
		return bad("has no counterpart: a template takes one function of one value")
	}
	if field.Ident[0] == "Env" {
		return bad("reads the environment, which no template of Slipway can")
	}
	name := strings.Join(field.Ident, ".")
	if text, ok := t.fixed[name]; ok {
		switch function {
		case "lower":
			text = strings.ToLower(text)
		case "upper":
			text = strings.ToUpper(text)
		}
		return text, nil
	}
	value, ok := values[name]
	if !ok {
		return bad("has no counterpart")
	}
	if m := meanings[name]; m != "" {
		t.remark(m)
	}
	if function != "" {
		if strings.Count(value, "{{") > 1 {
			return bad("has no counterpart: a function takes one value")
		}
		value = strings.Replace(value, "{{ ", "{{ "+function+" ", 1)
	}
	return value, nil
}

// clip shortens text from outside for a message.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > 80 {
		s = string(runes[:77]) + "..."
	}
	return s
}
