package snap

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format"
)

// about is what snap.yaml says (https://snapcraft.io/docs/snap-format).
type about struct {
	name, version, title, summary, description string
	license, website, source                   string
	grade, confinement, arch                   string
	plugs                                      []string
	apps                                       []app
}

// Bounds of texts, in characters. The summary's is snapcraft's; the store's is larger.
const (
	maxTitle       = 40
	maxSummary     = 78
	maxDescription = 4096
)

func describe(p format.Package, o Options) (about, error) {
	a := about{
		name: p.Name, title: p.Title, summary: p.Summary, description: strings.TrimSpace(p.Description),
		license: p.License, confinement: p.Confine, plugs: p.Plugs,
	}
	if err := checkName(a.name); err != nil {
		return about{}, err
	}
	var err error
	if a.version, err = format.Snap.Version(p.Version); err != nil {
		return about{}, err
	}
	var ok bool
	if a.arch, ok = format.Snap.Arch(p.Platform); !ok {
		return about{}, fmt.Errorf("snapd has no name for the platform %s", p.Platform)
	}
	for _, t := range []struct {
		what, text string
		most       int
		required   bool
	}{
		{"title", a.title, maxTitle, false},
		{"summary", a.summary, maxSummary, true},
		{"description", a.description, maxDescription, true},
		{"license", a.license, maxDescription, false},
	} {
		if err := checkText(t.text, t.most, t.required, t.what == "description"); err != nil {
			return about{}, fmt.Errorf("%s of the snap: %w", t.what, err)
		}
	}
	if strings.Contains(a.license, "LicenseRef-") {
		a.license = "" // snapd knows the list of SPDX alone, and refuses a snap with any other
	}
	if a.website, err = link(p.Homepage); err != nil {
		return about{}, fmt.Errorf("homepage: %w", err)
	}
	if a.source, err = link(p.Repository); err != nil {
		return about{}, fmt.Errorf("repository: %w", err)
	}
	switch a.confinement {
	case "":
		a.confinement = "strict"
	case "strict", "devmode":
	case "classic":
		if len(a.plugs) > 0 {
			return about{}, fmt.Errorf("a classic snap is not confined and has no plugs; remove %s", strings.Join(a.plugs, ", "))
		}
	default:
		return about{}, fmt.Errorf("confinement %.40q is not strict, classic or devmode", a.confinement)
	}
	for i, plug := range a.plugs {
		if !interfaces.MatchString(plug) {
			return about{}, fmt.Errorf("plug %.60q is not lower-case letters, digits and single hyphens between, a letter first", plug)
		}
		if slices.Contains(a.plugs[:i], plug) {
			return about{}, fmt.Errorf("plug %s is named twice", plug)
		}
	}
	// The channels candidate and stable take neither a snap of grade devel nor one in devmode.
	a.grade = "devel"
	if p.Version.IsStable() && a.confinement != "devmode" {
		a.grade = "stable"
	}
	a.apps, err = appsOf(p, o)
	return a, err
}

// checkText refuses what snapd, its store or YAML does not take.
func checkText(s string, most int, required, lines bool) error {
	switch {
	case s == "" && required:
		return errors.New("it is empty")
	case !utf8.ValidString(s):
		return errors.New("it is not UTF-8")
	case utf8.RuneCountInString(s) > most:
		return fmt.Errorf("it is longer than %d characters", most)
	}
	for _, r := range s {
		if unicode.Is(unicode.Cc, r) && (!lines || r != '\n' && r != '\t') {
			return fmt.Errorf("it has the control character %U", r)
		}
	}
	return nil
}

// link is a URL as the store's review takes it, which knows no ~ in one.
func link(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || checkText(s, 2048, true, false) != nil {
		return "", fmt.Errorf("%.200q is not the URL of a page", s)
	}
	return strings.ReplaceAll(s, "~", "%7E"), nil
}

// yaml is snap.yaml. Texts are quoted, whatever is in them.
func (a about) yaml() []byte {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	text := func(key, value string) {
		if value != "" {
			line(key, quote(value))
		}
	}
	text("name", a.name)
	text("version", a.version)
	text("title", a.title)
	text("summary", a.summary)
	line("description", block(a.description))
	text("license", a.license)
	if a.website != "" || a.source != "" {
		b.WriteString("links:\n")
		list(&b, "  source-code", nonempty(a.source))
		list(&b, "  website", nonempty(a.website))
	}
	list(&b, "architectures", []string{a.arch})
	text("base", bare)
	line("grade", a.grade)
	line("confinement", a.confinement)
	b.WriteString("apps:\n")
	for _, app := range a.apps {
		fmt.Fprintf(&b, "  %s:\n", quote(app.name))
		text("    command", app.command)
		if app.daemon != "" {
			line("    daemon", app.daemon)
			line("    install-mode", "disable") // a service that its confinement stops would make installing fail
		}
		list(&b, "    plugs", a.plugs)
	}
	return []byte(b.String())
}

func nonempty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func list(b *strings.Builder, key string, values []string) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(b, "%s:\n", key)
	indent := key[:len(key)-len(strings.TrimLeft(key, " "))]
	for _, v := range values {
		fmt.Fprintf(b, "%s  - %s\n", indent, quote(v))
	}
}

// special are the characters that YAML does not have as themselves, or breaks lines at, besides the controls
// (https://yaml.org/spec/1.2.2/#51-character-set).
func special(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}

// quote is a text between double quotes.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case special(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// block is a text of several lines as it is, where YAML can have it so, and otherwise between quotes. It has no blanks
// at its ends.
func block(s string) string {
	if !strings.Contains(s, "\n") || strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && special(r) }) {
		return quote(s)
	}
	var b strings.Builder
	b.WriteString("|-")
	for l := range strings.SplitSeq(s, "\n") {
		b.WriteByte('\n')
		if l != "" {
			b.WriteString("  " + l)
		}
	}
	return b.String()
}
