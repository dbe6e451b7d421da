package build

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/writers"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// meta is what every format says of the package.
func (b *builder) meta(p plan.Package) format.Meta {
	pr := b.Plan.Project
	return format.Meta{
		Name: p.Name, Version: b.Plan.Version, Time: b.Plan.Time,
		Title: pr.Title, Summary: p.Summary, Description: p.Description,
		Homepage: pr.Homepage, Repository: b.Plan.Repository, License: pr.License,
		Vendor: pr.Vendor, Maintainer: p.Maintainer,
	}
}

// carrier packs a package that carries its files.
func (b *builder) carrier(ctx context.Context, p plan.Package, c plan.Carrier) error {
	return b.Tracker.Run("pack "+path.Base(c.Path), "pack", func() (string, error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		files, err := b.packageFiles(p, c)
		if err != nil {
			return "", fault.Errorf(fault.Usage, "packages: %s: %w", p.Name, err)
		}
		one := format.Package{
			Meta: b.meta(p), Platform: c.Platform, Files: files, Depends: p.Depends[c.Format],
			Section: p.Section, Changes: b.changes(), Scratch: b.stage.dir,
		}
		one.Name = c.Name
		if p.Snap != nil {
			one.Confine, one.Plugs = p.Snap.Confinement, p.Snap.Plugs
			one.Compression, one.NoServices = p.Snap.Compression, p.Snap.NoServices
		}
		size, err := b.write(c.Path, artifact.Package, func(w io.Writer) error { return writers.Package(w, c.Format, one) })
		if err != nil {
			return "", fmt.Errorf("%s: %w", path.Base(c.Path), err)
		}
		return artifact.FormatSize(size), nil
	})
}

// placed is a file of the tree and where a package puts it.
type placed struct {
	role     format.Role
	to, from string
}

// placement is where the files of the tree go in a package of a format.
func (b *builder) placement(p plan.Package, c plan.Carrier) ([]placed, error) {
	var out []placed
	licenses, err := b.match(b.Plan.Licenses)
	if err != nil {
		return nil, err
	}
	bases := map[string]int{}
	for _, name := range licenses {
		bases[path.Base(name)]++
	}
	for _, name := range licenses {
		to := path.Base(name)
		if bases[to] > 1 { // of several modules, say: each keeps its folder
			to = name
		}
		out = append(out, placed{format.License, "usr/share/doc/" + c.Name + "/" + to, name})
	}
	for _, pattern := range p.Manuals {
		names, err := b.match([]string{pattern})
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("there is no file like %q in the commit", pattern)
		}
		if err != nil {
			return nil, fmt.Errorf("manuals: %w", err)
		}
		for _, name := range names {
			section := strings.TrimPrefix(path.Ext(name), ".")[:1]
			out = append(out, placed{format.Manual, "usr/share/man/man" + section + "/" + path.Base(name), name})
		}
	}
	program := path.Base(c.Binaries[0])
	f, _ := format.Find(c.Format)
	for _, shell := range slices.Sorted(maps.Keys(p.Completions)) {
		var to string
		switch shell {
		case "bash":
			to = "usr/share/bash-completion/completions/" + program
		case "zsh":
			to = cmp.Or(f.Zsh, "usr/share/zsh/site-functions") + "/_" + program
		case "fish":
			to = "usr/share/fish/vendor_completions.d/" + program + ".fish"
		default:
			continue // PowerShell has no folder for them
		}
		out = append(out, placed{format.Completion, to, p.Completions[shell]})
	}
	for _, name := range p.Units {
		out = append(out, placed{format.Unit, "usr/lib/systemd/system/" + path.Base(name), name})
	}
	for _, to := range slices.Sorted(maps.Keys(p.Files)) {
		role := format.Data
		if strings.HasPrefix(to, "/etc/") {
			role = format.Config
		}
		out = append(out, placed{role, strings.TrimPrefix(to, "/"), p.Files[to]})
	}
	paths := make([]string, 0, len(out)+len(c.Binaries))
	for _, f := range out {
		paths = append(paths, f.to)
	}
	for _, name := range c.Binaries {
		paths = append(paths, "usr/bin/"+path.Base(name))
	}
	return out, artifact.CheckPaths(paths)
}

// packageFiles are the files of a package.
func (b *builder) packageFiles(p plan.Package, c plan.Carrier) ([]format.File, error) {
	placement, err := b.placement(p, c)
	if err != nil {
		return nil, err
	}
	var files []format.File
	for _, name := range c.Binaries {
		f, err := archive.Disk("usr/bin/"+path.Base(name), b.stage.path(name))
		if err != nil {
			return nil, err
		}
		files = append(files, format.File{File: f.WithExec(), Role: format.Program})
	}
	for _, pl := range placement {
		f, err := archive.Tree(pl.to, b.root, path.Clean(pl.from))
		if err != nil {
			return nil, err
		}
		if pl.role != format.Data && pl.role != format.Config {
			f.Exec = false
		}
		files = append(files, format.File{File: f, Role: pl.role})
	}
	return files, nil
}

// recipes writes what package managers read that fetch the archives, once these are there.
func (b *builder) recipes(ctx context.Context) ([]manifest.Recipe, error) {
	var out []manifest.Recipe
	for _, p := range b.Plan.Packages {
		for _, r := range p.Recipes {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			err := b.Tracker.Run("write "+r.Format+" "+r.Name, "pack", func() (string, error) {
				value, err := b.recipe(p, r)
				if err != nil {
					return "", fmt.Errorf("packages: %s: %s: %w", p.Name, r.Format, err)
				}
				files, err := writers.Recipe(r.Format, r.Path, value)
				if err != nil {
					return "", fmt.Errorf("packages: %s: %s: %w", p.Name, r.Format, err)
				}
				var total int64
				for _, name := range slices.Sorted(maps.Keys(files)) {
					size, err := b.write(name, artifact.Recipe, func(w io.Writer) error {
						_, err := w.Write(files[name])
						return err
					})
					if err != nil {
						return "", err
					}
					total += size
					out = append(out, manifest.Recipe{Format: r.Format, Name: r.Name, Version: r.Version, Path: name, Archives: r.Archives})
				}
				return artifact.FormatSize(total), nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// changes are what is new, a point in each line.
func (b *builder) changes() string {
	var lines []string
	for _, c := range b.Plan.Notes.Changes {
		lines = append(lines, "- "+c)
	}
	return strings.Join(lines, "\n")
}

// github is the page of the repository on GitHub; "" where it is elsewhere.
func (b *builder) github() string {
	if !strings.HasPrefix(b.Plan.Repository, "https://github.com/") {
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(b.Plan.Repository, "/"), ".git")
}

// pages are what GitHub shows of a repository: the licence at the release, and the issues. They are "" elsewhere.
func (b *builder) pages() (license, issues string) {
	repository := b.github()
	if repository == "" {
		return "", ""
	}
	if names, err := b.match(b.Plan.Licenses); err == nil && len(names) > 0 {
		license = repository + "/blob/" + b.Plan.Commit + "/" + names[0]
	}
	return license, repository + "/issues"
}

// signatures are where the install script finds what signs the release.
func (b *builder) signatures() format.Signatures {
	s := b.Plan.Signing
	if s == nil {
		return format.Signatures{}
	}
	sums := strings.TrimSuffix(b.Plan.Download, "/") + "/" + manifest.ChecksumsName
	return format.Signatures{
		Checksums: sums, Bundle: sums + signature.Suffix, PublicKey: s.PublicKey, Identity: s.Identity, Issuer: s.Issuer,
	}
}

// recipe is what a recipe says, with the digests of the archives.
func (b *builder) recipe(p plan.Package, r plan.Recipe) (format.Recipe, error) {
	value := format.Recipe{
		Meta: b.meta(p), Completions: p.Completions, Test: p.Test, ID: r.Name, Tags: p.Tags,
		Notes: b.Plan.Notes.Markdown, Changes: b.changes(), Signatures: b.signatures(),
	}
	value.LicenseURL, value.IssuesURL = b.pages()
	if tag, repository := b.Plan.Tag, b.github(); tag != "" && repository != "" {
		value.ReleaseURL = repository + "/releases/tag/" + tag
		value.NotesURL = value.ReleaseURL
	}
	var err error
	if value.LicenseText, err = b.licenseText(); err != nil {
		return format.Recipe{}, err
	}
	if value.Manuals, err = b.match(p.Manuals); err != nil {
		return format.Recipe{}, fault.New(fault.Usage, err)
	}
	for _, a := range b.Plan.Archives {
		if !slices.Contains(r.Archives, a.Path) {
			continue
		}
		f, ok := b.file(a.Path)
		if !ok {
			return format.Recipe{}, fmt.Errorf("%s is not there", a.Path)
		}
		d := format.Download{
			Platform: a.Platform, URL: strings.TrimSuffix(b.Plan.Download, "/") + "/" + path.Base(a.Path),
			Digest: f.Digest, Size: f.Size, Folder: a.Folder,
		}
		for _, name := range a.Binaries {
			d.Programs = append(d.Programs, path.Base(name))
		}
		if d.Files, err = b.match(a.Files); err != nil {
			return format.Recipe{}, fault.New(fault.Usage, err)
		}
		value.Downloads = append(value.Downloads, d)
	}
	return value, nil
}

// licenseText is the text of the first licence file; nil where there is none.
func (b *builder) licenseText() ([]byte, error) {
	names, err := b.match(b.Plan.Licenses)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return b.root.ReadFile(names[0])
}

// file is a finished file of dist/.
func (b *builder) file(name string) (artifact.File, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.files, func(f artifact.File) bool { return f.Path == name })
	if i < 0 {
		return artifact.File{}, false
	}
	return b.files[i], true
}
