package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// chocolateyInstall is the script in a nupkg that fetches.
const chocolateyInstall = "tools/chocolateyinstall.ps1"

// recipeFormats are the formats of recipes, with the ending of the file that names the archives.
var recipeFormats = map[string]string{
	format.Nupkg.Name: ".nupkg",
	"formula":         ".rb",
	"cask":            ".rb",
	"scoop":           ".json",
	"winget":          ".installer.yaml", // the two beside it say whose and what it is
	"script":          ".sh",
}

func (d *dist) recipe(r manifest.Recipe, o opened) (string, error) {
	ending, ok := recipeFormats[r.Format]
	if !ok {
		return "", fmt.Errorf("no recipe of format %.40q is opened", r.Format)
	}
	v := d.rel.Version.String()
	if r.Format == format.Nupkg.Name {
		var err error
		if v, err = format.Nupkg.Version(d.rel.Version); err != nil {
			return "", fmt.Errorf("there is no nupkg of this release: %w", err)
		}
	}
	if err := differs("version in "+manifest.FileName, r.Version, v); err != nil {
		return "", err
	}
	fetches := strings.HasSuffix(r.Path, ending)
	if !fetches && !d.hasInstaller(r, ending) {
		return "", fmt.Errorf("the file should be called *%s, or there should be one beside it", ending)
	}
	texts := map[string]string{}
	var err error
	if r.Format == format.Nupkg.Name {
		texts, err = d.nupkg(r, v, o)
	} else {
		texts[""], err = o.text(maxText)
		if err == nil && !occurs(texts[""], v) {
			err = fmt.Errorf("the version %s is nowhere in it", v)
		}
	}
	if err != nil {
		return "", err
	}
	digests := map[artifact.Digest]string{} // of the archives that it may fetch
	for _, p := range r.Archives {
		digests[d.listed[p].Digest] = p
	}
	found := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		for _, sum := range checksums(texts[name]) {
			p, ok := digests[sum]
			if !ok {
				return "", fmt.Errorf("%s in it is the digest of no archive that it is for", strings.TrimSpace(name+" "+string(sum)))
			}
			if name == "" || name == chocolateyInstall {
				found[d.choice(r.Format, p)] = true
			}
		}
	}
	if !fetches {
		return v, nil
	}
	for _, p := range r.Archives {
		if key := d.choice(r.Format, p); key != "" && !found[key] {
			return "", fmt.Errorf("the digest of %s is not in it", path.Base(p))
		}
	}
	if len(found) == 0 {
		return "", errors.New("it fetches no archive of the release")
	}
	return fmt.Sprintf("%s, archives: %d", v, len(found)), nil
}

// hasInstaller tells whether the file of the same recipe is there that names the archives.
func (d *dist) hasInstaller(r manifest.Recipe, ending string) bool {
	return r.Format == "winget" && slices.ContainsFunc(d.rel.Recipes, func(o manifest.Recipe) bool {
		return o.Format == r.Format && o.Name == r.Name && path.Dir(o.Path) == path.Dir(r.Path) && strings.HasSuffix(o.Path, ending)
	})
}

// choice names what a recipe fetches one archive for: of several with one name it takes one, and of those with none it
// takes none.
func (d *dist) choice(name, archive string) string {
	i := slices.IndexFunc(d.rel.Archives, func(a manifest.Archive) bool { return a.Path == archive })
	if i < 0 {
		return archive // which nothing is known of, so the recipe has to have it
	}
	p := d.rel.Archives[i].Platform
	switch name {
	case format.Nupkg.Name:
		if _, ok := format.Nupkg.Arch(p); !ok {
			return ""
		}
	case "script":
		if p.Arch == "arm" {
			p.Variant = cmp.Or(p.Variant, "v6")
		}
	}
	return p.String()
}

// nupkg opens the package and returns the texts in it that people and Chocolatey take checksums from.
func (d *dist) nupkg(r manifest.Recipe, v string, o opened) (map[string]string, error) {
	if err := named(r.Path, format.Nupkg.File(r.Name, v, "")); err != nil {
		return nil, err
	}
	texts := map[string]string{}
	facts, err := o.inspect(inspect.Nupkg, inspect.Options{Visit: func(e inspect.Entry, r io.Reader) error {
		if ext := strings.ToLower(path.Ext(e.Name)); ext != ".ps1" && ext != ".psm1" && path.Base(e.Name) != "VERIFICATION.txt" {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(r, maxText+1))
		if err == nil && len(b) > maxText {
			err = fmt.Errorf("%q in it has more than %d bytes", e.Name, maxText)
		}
		texts[e.Name] = string(b)
		return err
	}})
	if err != nil {
		return nil, err
	}
	if texts[chocolateyInstall] == "" {
		return nil, fmt.Errorf("it has no %s", chocolateyInstall)
	}
	return texts, errors.Join(differs("id", facts.Name, r.Name), differs("version", facts.Version, v))
}

// checksums are the SHA-256 sums in a text: its words of 64 hex digits, in either letter case.
func checksums(text string) []artifact.Digest {
	var out []artifact.Digest
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		if d, err := artifact.ParseDigest("sha256:" + strings.ToLower(word)); err == nil {
			out = append(out, d)
		}
	}
	return out
}

// occurs tells whether the version is in the text, and not as a part of another version.
func occurs(text, version string) bool {
	for i := 0; ; i++ {
		at := strings.Index(text[i:], version)
		if at < 0 {
			return false
		}
		i += at
		before, after := text[:i], text[i+len(version):]
		longer := before != "" && strings.ContainsAny(before[len(before)-1:], "0123456789.") ||
			after != "" && strings.ContainsAny(after[:1], "0123456789-+") ||
			len(after) > 1 && after[0] == '.' && after[1] >= '0' && after[1] <= '9'
		if !longer {
			return true
		}
	}
}
