package brew

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
)

// cask is the data of the template.
type cask struct {
	about
	Title    string
	Arch, OS string   // arguments of these stanzas; "" for none
	Sums     string   // argument of sha256; "" where each archive has its own
	URL      string   // Ruby; "" where each archive has its own
	Systems  []inCask // what differs between systems and processors
	Stanzas  []string // what is installed, where that is the same everywhere
}

// inCask is what a cask says of one system only.
type inCask struct {
	Name     string
	Arch     string // the processor that it needs; "" where there is no other
	Archives []archiveInCask
}

type archiveInCask struct {
	Processor, Sum, URL string   // the latter Ruby
	Stanzas             []string // what is installed, where that differs between archives
}

// Cask is the cask <token>.rb of a release. The error has fault.Usage where the recipe lacks what Homebrew needs.
//
// Where the URLs are the same but for the version, the system (darwin, linux) and the processor (arm64, amd64), the
// cask has one URL with these put in; else one for each archive. The same goes for the paths of what is installed,
// which in a cask are from the top of the archive. There is no stanza for completions of PowerShell, so they stay out.
func Cask(r format.Recipe) ([]byte, error) {
	all, err := targets(r.Downloads)
	if err != nil {
		return nil, err
	}
	c := cask{Title: oneLine(cmp.Or(r.Title, r.Name))}
	if c.about, err = describe(r, all, caskKind); err != nil {
		return nil, err
	}
	installs, err := installed(r, all)
	if err != nil {
		return nil, err
	}
	words, url, shared := common(all, c.Version)
	if shared {
		c.Arch, c.OS = words.stanzas()
		c.URL = url
		c.Sums = sums(all)
	}
	stanzas, plain := make([][]string, len(all)), make([][]string, len(all))
	for i, t := range all {
		for _, in := range installs[i] {
			stanzas[i] = append(stanzas[i], in.ruby(words.of(t), c.Version))
			plain[i] = append(plain[i], in.ruby(word{}, c.Version))
		}
	}
	if allSame(plain) {
		stanzas = plain
	}
	same := allSame(stanzas)
	if same {
		c.Stanzas = stanzas[0]
	}
	c.Systems = blocks(all, stanzas, shared, same, c.Version)
	return render("cask.rb.tmpl", c)
}

func allSame(of [][]string) bool {
	return !slices.ContainsFunc(of, func(s []string) bool { return !slices.Equal(s, of[0]) })
}

// blocks are the on_macos and on_linux of a cask, without those that have nothing to say.
func blocks(all []target, stanzas [][]string, shared, same bool, version string) []inCask {
	var out []inCask
	i := 0
	for _, s := range bySystem(all) {
		b := inCask{Name: s.Name, Arch: s.Arch}
		for _, t := range s.Targets {
			a := archiveInCask{Processor: t.Processor}
			if !shared {
				a.Sum, a.URL = t.Sum(), insert(t.URL, word{}, version)
			}
			if !same {
				a.Stanzas = stanzas[i]
			}
			if !shared || !same {
				b.Archives = append(b.Archives, a)
			}
			i++
		}
		if b.Arch != "" || len(b.Archives) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// install is a file of an archive that a cask installs.
type install struct {
	stanza string
	path   string // in the archive
	target string // its name where it is installed; "" for the one that Homebrew gives it
}

func (in install) ruby(w word, version string) string {
	s := in.stanza + " " + insert(in.path, w, version)
	if in.target != "" {
		s += ", target: " + quote(in.target)
	}
	return s
}

// installed are the files that the cask installs, for each archive.
func installed(r format.Recipe, all []target) ([][]install, error) {
	completions, err := completions(r, all)
	if err != nil {
		return nil, err
	}
	manuals, err := manuals(r, all)
	if err != nil {
		return nil, err
	}
	out := make([][]install, len(all))
	for i, t := range all {
		for _, p := range slices.Sorted(slices.Values(t.Programs)) {
			out[i] = append(out[i], install{"binary", path.Join(t.Folder, p), ""})
		}
		for _, m := range manuals {
			out[i] = append(out[i], install{"manpage", path.Join(t.Folder, m.Path), ""})
		}
		for _, c := range completions {
			if c.Shell == "pwsh" {
				continue
			}
			in := install{c.Shell + "_completion", path.Join(t.Folder, c.Path), c.Target}
			if c.Target == byItself(c) {
				in.target = ""
			}
			out[i] = append(out[i], in)
		}
	}
	return out, nil
}

// byItself is the name under which a cask installs a completion by itself.
func byItself(c completion) string {
	base := path.Base(c.Path)
	stem := strings.TrimSuffix(base, path.Ext(base))
	switch {
	case c.Shell == "zsh" && !strings.HasPrefix(base, "_"):
		return "_" + stem
	case c.Shell == "fish" && !strings.HasSuffix(base, ".fish"):
		return stem + ".fish"
	case c.Shell == "bash":
		return stem
	}
	return base
}

// word is what a project calls a system and a processor in the names of its archives. Empty ones are not looked for.
type word struct{ os, arch string }

// wording is what a project calls all of them.
type wording struct{ macos, linux, arm, intel string }

func (w wording) of(t target) word {
	return word{map[string]string{"macos": w.macos, "linux": w.linux}[t.System], map[string]string{"arm": w.arm, "intel": w.intel}[t.Processor]}
}

// stanzas are the arguments of the os and arch stanzas.
func (w wording) stanzas() (arch, os string) {
	if w.arm != "" {
		arch = "arm: " + quote(w.arm) + ", intel: " + quote(w.intel)
	}
	if w.macos != "" {
		os = "macos: " + quote(w.macos) + ", linux: " + quote(w.linux)
	}
	return arch, os
}

// The words that projects use.
var (
	wordsOfMacOS = []string{"darwin", "Darwin", "macos", "macOS", "osx"}
	wordsOfLinux = []string{"linux", "Linux"}
	wordsOfARM   = []string{"arm64", "aarch64"}
	wordsOfIntel = []string{"amd64", "x86_64", "x64"}
)

// common looks for the words by which all URLs become one. It is false where there are none.
func common(all []target, version string) (wording, string, bool) {
	if len(all) == 1 {
		return wording{}, insert(all[0].URL, word{}, version), true
	}
	osWords, archWords := [][2]string{{}}, [][2]string{{}}
	if !one(all, func(t target) string { return t.System }) {
		osWords = pairs(wordsOfMacOS, wordsOfLinux)
	}
	if !one(all, func(t target) string { return t.Symbol }) {
		archWords = pairs(wordsOfARM, wordsOfIntel)
	}
	for _, o := range osWords {
		for _, a := range archWords {
			w := wording{o[0], o[1], a[0], a[1]}
			first := insert(all[0].URL, w.of(all[0]), version)
			if !slices.ContainsFunc(all, func(t target) bool { return insert(t.URL, w.of(t), version) != first }) {
				return w, first, true
			}
		}
	}
	return wording{}, "", false
}

func pairs(a, b []string) [][2]string {
	var out [][2]string
	for _, x := range a {
		for _, y := range b {
			out = append(out, [2]string{x, y})
		}
	}
	return out
}

// insert is s as a Ruby string in which the version and the last occurrences of the words are put in by Ruby.
func insert(s string, w word, version string) string {
	const mark = "\x00" // which is in no path and no URL
	swap := func(s, from, to string) string {
		i := -1
		if from != "" {
			i = strings.LastIndex(s, from)
		}
		if i < 0 {
			return s
		}
		return s[:i] + mark + to + mark + s[i+len(from):]
	}
	s = swap(swap(s, w.os, "os"), w.arch, "arch")
	s = strings.ReplaceAll(s, version, mark+"version"+mark)
	var b strings.Builder
	b.WriteByte('"')
	for i, part := range strings.Split(s, mark) {
		if i%2 == 0 {
			b.WriteString(escape(part))
		} else {
			b.WriteString("#{" + part + "}")
		}
	}
	b.WriteByte('"')
	return b.String()
}

// sums is the argument of sha256.
func sums(all []target) string {
	if len(all) == 1 {
		return quote(all[0].Sum())
	}
	keys := make([]string, len(all))
	width := 0
	for i, t := range all {
		keys[i] = t.Processor + ":"
		if t.System == "linux" {
			keys[i] = t.Symbol + "_linux:"
		}
		width = max(width, len(keys[i]))
	}
	var b strings.Builder
	for i, t := range all {
		if i > 0 {
			b.WriteString(",\n         ")
		}
		b.WriteString(keys[i] + strings.Repeat(" ", width-len(keys[i])+1) + quote(t.Sum()))
	}
	return b.String()
}
