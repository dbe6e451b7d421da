package verify

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

func (d *dist) recipe(r manifest.Recipe, o opened) (string, error) {
	f, ok := format.Find(r.Format)
	if !ok || f.Carries {
		return "", fmt.Errorf("recipes of format %.40q are not opened", r.Format)
	}
	v, err := f.Version(d.rel.Version)
	if err != nil {
		return "", fmt.Errorf("there is no %s of this release: %w", f.Name, err)
	}
	if err := differs("version in "+manifest.FileName, r.Version, v); err != nil {
		return "", err
	}
	fetches := strings.HasSuffix(r.Path, f.Ending)
	if !fetches && !(f.Folder && d.hasInstaller(r, f.Ending)) {
		return "", fmt.Errorf("the file should be called *%s, or there should be one beside it", f.Ending)
	}
	texts, script := map[string]string{}, ""
	if f.Inner != nil {
		script = f.Inner.Script
		texts, err = d.inner(f, r, o)
	} else {
		texts[script], err = o.text(maxText)
		if err == nil && !occurs(texts[script], v) {
			err = fmt.Errorf("the version %s is not in it", v)
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
				return "", fmt.Errorf("%s in it is not the digest of an archive that it is for", strings.TrimSpace(name+" "+string(sum)))
			}
			if name == script {
				found[d.choice(f, p)] = true
			}
		}
	}
	if !fetches {
		return v, nil
	}
	for _, p := range r.Archives {
		if key := d.choice(f, p); key != "" && !found[key] {
			return "", fmt.Errorf("the digest of %s is not in it", path.Base(p))
		}
	}
	if len(found) == 0 {
		return "", errors.New("it fetches no archive of the release")
	}
	return fmt.Sprintf("%s, archives: %d", v, len(found)), nil
}

// hasInstaller reports whether the file of the same recipe is there that names the archives.
func (d *dist) hasInstaller(r manifest.Recipe, ending string) bool {
	return slices.ContainsFunc(d.rel.Recipes, func(o manifest.Recipe) bool {
		return o.Format == r.Format && o.Name == r.Name && path.Dir(o.Path) == path.Dir(r.Path) && strings.HasSuffix(o.Path, ending)
	})
}

// choice names what a recipe fetches one archive for: of several with one name it takes one, and of those with none it
// takes none.
func (d *dist) choice(f format.Format, archive string) string {
	i := slices.IndexFunc(d.rel.Archives, func(a manifest.Archive) bool { return a.Path == archive })
	if i < 0 {
		return archive // which nothing is known of, so the recipe has to have it
	}
	if f.Choose == nil {
		return d.rel.Archives[i].Platform.String()
	}
	return f.Choose(d.rel.Archives[i].Platform)
}

// inner opens a recipe that is an archive and returns the texts in it that people and the package manager take checksums
// from.
func (d *dist) inner(f format.Format, r manifest.Recipe, o opened) (map[string]string, error) {
	if err := named(r.Path, f.Path(format.Names{Project: d.rel.Name, Name: r.Name, Version: r.Version})); err != nil {
		return nil, err
	}
	texts := map[string]string{}
	facts, err := o.inspect(f.Name, inspect.Options{Visit: func(e inspect.Entry, r io.Reader) error {
		if !f.Inner.Sums(e.Name) {
			return nil
		}
		b, err := bounded.Read(r, maxText)
		if bounded.IsTooLarge(err) {
			err = fmt.Errorf("%q in it has %w", e.Name, err)
		}
		texts[e.Name] = string(b)
		return err
	}})
	if err != nil {
		return nil, err
	}
	if texts[f.Inner.Script] == "" {
		return nil, fmt.Errorf("it has no %s", f.Inner.Script)
	}
	return texts, errors.Join(differs("id", facts.Name, r.Name), differs("version", facts.Version, r.Version))
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

// occurs reports whether the version is in the text, and not as a part of another version.
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
