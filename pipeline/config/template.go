package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
)

// Template is text with values of the release in it: {{ .Version }} or {{ lower .Project }}. It is data and nothing
// more: there are no conditions, no environment, no files and no programs to reach from it, so a template can neither
// depend on the machine nor leak from it.
type Template string

// Values are what a template may name. All are strings.
type Values map[string]string

// templateValues are the values that exist, with their meaning, for the check at load time and for the reference.
var templateValues = map[string]string{
	"Project":     "name of the project",
	"Version":     "version without v, as in 1.2.3-rc.1",
	"Tag":         "git tag; of a commit without one, v and the version",
	"Major":       "first number of the version",
	"Minor":       "second number of the version",
	"Patch":       "third number of the version",
	"Prerelease":  "what follows the - of the version",
	"Commit":      "commit, in full",
	"ShortCommit": "first 12 digits of the commit",
	"Date":        "commit time in UTC, as in 2006-01-02T15:04:05Z",
	"Timestamp":   "commit time as seconds since 1970",
	"Binary":      "name of the binary; in vars",
	"Os":          "operating system of the target; in vars and archives",
	"Arch":        "architecture of the target; in vars and archives",
	"Variant":     "variant of the architecture, as in v7, empty for most targets; in vars and archives",
	"Distro":      "distribution of the image; in labels of images",
}

// localValues are those that only some places have.
var localValues = []string{"Binary", "Os", "Arch", "Variant", "Distro"}

var templateFuncs = map[string]func(string) string{
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"title": func(s string) string {
		if s == "" {
			return s
		}
		_, n := utf8.DecodeRuneInString(s)
		return strings.ToUpper(s[:n]) + s[n:]
	},
}

// UnmarshalText reads and checks a template.
func (t *Template) UnmarshalText(b []byte) error {
	*t = Template(b)
	_, err := t.expand(func(string) string { return "" })
	return err
}

// Expand puts in the values. A value that the place of the template does not have is empty.
func (t Template) Expand(v Values) (string, error) {
	return t.expand(func(name string) string { return v[name] })
}

// names are the values that the template names, in its order.
func (t Template) names() []string {
	var names []string
	_, _ = t.expand(func(name string) string {
		names = append(names, name)
		return ""
	})
	return names
}

func (t Template) expand(lookup func(string) string) (string, error) {
	var b strings.Builder
	rest := string(t)
	for {
		text, after, ok := strings.Cut(rest, "{{")
		b.WriteString(text)
		if !ok {
			return b.String(), nil
		}
		action, tail, ok := strings.Cut(after, "}}")
		if !ok {
			return "", fmt.Errorf("template %.60q: {{ without }}", string(t))
		}
		rest = tail
		words := strings.Fields(action)
		if len(words) == 0 || len(words) > 2 {
			return "", fmt.Errorf("template %.60q: {{%.60s}} is neither a value such as {{ .Version }} nor a function of one such as {{ lower .Version }}; conditions and pipes are not supported", string(t), action)
		}
		if len(words) == 2 && templateFuncs[words[0]] == nil {
			return "", fmt.Errorf("template %.60q: there is no function %.60q: templates are data; functions are %s", string(t), words[0], strings.Join(slices.Sorted(maps.Keys(templateFuncs)), " "))
		}
		name, isValue := strings.CutPrefix(words[len(words)-1], ".")
		if _, ok := templateValues[name]; !isValue || !ok {
			names := slices.Sorted(maps.Keys(templateValues))
			if len(words) == 1 && !isValue {
				return "", fmt.Errorf("template %.60q: there is no function %.60q and nothing to call: templates are data; values are .%s", string(t), words[0], strings.Join(names, " ."))
			}
			return "", fmt.Errorf("template %.60q: there is no value %.60q%s; values are .%s", string(t), words[len(words)-1], yamldoc.DidYouMean(name, names), strings.Join(names, " ."))
		}
		value := lookup(name)
		if len(words) == 2 {
			value = templateFuncs[words[0]](value)
		}
		b.WriteString(value)
	}
}
