package brew

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// formula is the data of the template.
type formula struct {
	about
	Class       string
	License     string   // Ruby
	Only        *target  // where there is one archive
	Systems     []system // else
	Always      []string // programs that every archive has
	Sometimes   []string // programs that some have
	Completions []completion
	Manuals     []manual
	Program     string // that the test is about
	Command     string // of the test, a string in Ruby; "" for none
}

// system is a system and the archives for it.
type system struct {
	Name    string
	Targets []target
	Arch    string // the processor that it needs; "" where there is no other
}

// Formula is the formula <name>.rb of a release. The error has fault.Usage where the recipe lacks what Homebrew needs.
//
// The version is only written where Homebrew does not read it from the URLs, which it does for stable releases on
// GitHub. Homebrew unpacks an archive and goes into its folder by itself where there is only one; paths are from
// there. A program that some archives lack is installed where it is.
func Formula(r format.Recipe) ([]byte, error) {
	all, err := targets(r.Downloads)
	if err != nil {
		return nil, err
	}
	f := formula{Class: class(r.Name), License: license(r.License), Program: program(r, all)}
	if f.about, err = describe(r, all, formulaKind); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(t target) bool { return !versionInURL(t.URL, f.Version) }) {
		f.Version = ""
	}
	if len(all) == 1 && !all[0].Guarded() {
		f.Only = &all[0]
	} else {
		f.Systems = bySystem(all)
	}
	if f.Completions, err = completions(r, all); err != nil {
		return nil, err
	}
	if f.Manuals, err = manuals(r, all); err != nil {
		return nil, err
	}
	inside, err := root(all)
	if err != nil {
		return nil, err
	}
	for i := range f.Completions {
		f.Completions[i].Path = inside(f.Completions[i].Path)
	}
	for i := range f.Manuals {
		f.Manuals[i].Path = inside(f.Manuals[i].Path)
	}
	have := map[string]int{}
	for _, t := range all {
		for _, p := range t.Programs {
			have[inside(p)]++
		}
	}
	for p, n := range have {
		if n == len(all) {
			f.Always = append(f.Always, p)
		} else {
			f.Sometimes = append(f.Sometimes, p)
		}
	}
	slices.Sort(f.Always)
	slices.Sort(f.Sometimes)
	if len(r.Test) > 0 {
		f.Command = command(f.Program, r.Test)
	}
	return render("formula.rb.tmpl", f)
}

func bySystem(all []target) []system {
	var out []system
	for _, t := range all {
		if len(out) == 0 || out[len(out)-1].Name != t.System {
			out = append(out, system{Name: t.System})
		}
		last := &out[len(out)-1]
		last.Targets = append(last.Targets, t)
	}
	if one(all, func(t target) string { return t.Symbol }) {
		return out // which is said of the whole
	}
	for i, s := range out {
		if len(s.Targets) == 1 {
			out[i].Arch = s.Targets[0].Symbol
		}
	}
	return out
}

// root returns how a path below an archive's folder reads from where Homebrew installs: the folder that is alone at
// the top of the archive, or the top. It must be the same in all archives.
func root(all []target) (func(string) string, error) {
	var first func(string) string
	for i, t := range all {
		entries := slices.Concat(t.Programs, t.Files)
		for j, p := range entries {
			entries[j] = path.Join(t.Folder, p)
		}
		alone := ""
		if top, _, ok := strings.Cut(entries[0], "/"); ok && !slices.ContainsFunc(entries, func(p string) bool { return !strings.HasPrefix(p, top+"/") }) {
			alone = top + "/"
		}
		inside := func(p string) string { return strings.TrimPrefix(path.Join(t.Folder, p), alone) }
		if i == 0 {
			first = inside
		} else if first("x") != inside("x") {
			return nil, fault.Errorf(fault.Usage, "the archives for %s and %s have their files in different folders (%q, %q) of more than one level, which one formula cannot install; use one folder",
				all[0].Platform, t.Platform, all[0].Folder, t.Folder)
		}
	}
	return first, nil
}

var plainArgument = regexp.MustCompile(`^[A-Za-z0-9%+,./:=@^_-]+$`)

// command is the shell's command for the program as a string in Ruby, in which only #{bin} is put in.
func command(program string, args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = shellWord(a)
	}
	return `"#{bin}/` + escape(shellWord(program)) + " " + escape(strings.Join(words, " ")) + `"`
}

func shellWord(s string) string {
	if plainArgument.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
