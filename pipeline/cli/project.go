package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/source"
)

// distName is the folder of a release that has no other name.
const distName = "dist"

// pipelineFolders are where init puts the pipeline, beside slipway.yaml.
var pipelineFolders = []string{"ci", "slipway-ci"}

// configFile finds slipway.yaml: the named one, else that of the nearest folder above, as far as the top of the repository.
func (a *app) configFile() (string, error) {
	if a.config != "" {
		return filepath.Abs(a.config)
	}
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		name := filepath.Join(dir, config.FileName)
		if err := regular(name); err == nil {
			a.takes(name, start)
			return name, nil
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return "", err
		}
		// A folder in a work tree has .git or is below one that has; in submodules and further work trees it is a file.
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil || dir == filepath.Dir(dir) {
			return "", fault.New(fault.Usage, &noProject{start, configsBelow(start)})
		}
	}
}

// takes says, once, which project a command is about where that is not plain from the folder it is run in.
func (a *app) takes(file, start string) {
	at, err := filepath.Rel(filepath.Dir(file), start)
	if err != nil || at == "." || slices.Contains(pipelineFolders, at) || a.took || a.progress == "json" {
		return
	}
	a.took = true
	fmt.Fprintf(a.stderr, "slipway: taking %s\n", file)
}

// noProject is that no slipway.yaml applies to a folder.
type noProject struct {
	dir   string
	below []string // configurations in folders below, relative to dir
}

func (e *noProject) Error() string {
	text := fmt.Sprintf("there is no %s in %s or above; the init command writes one", config.FileName, e.dir)
	if len(e.below) > 0 {
		text += ", or run this in a folder that has one (--config names it from anywhere): " + strings.Join(e.below, ", ")
	}
	return text
}

// configsBelow are the configurations in the folders below dir, for an error that names them.
func configsBelow(dir string) []string {
	const deepest, most = 5, 20
	var found []string
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(dir, name)
		switch {
		case err != nil || relErr != nil: // what cannot be read is not a project of ours
			return fs.SkipDir
		case e.IsDir() && rel != "." && (strings.HasPrefix(e.Name(), ".") || slices.Contains([]string{"node_modules", "testdata", "vendor"}, e.Name()) ||
			strings.Count(rel, string(filepath.Separator)) >= deepest):
			return fs.SkipDir
		case e.Name() == config.FileName && !e.IsDir():
			if found = append(found, filepath.ToSlash(rel)); len(found) == most {
				return fs.SkipAll
			}
		}
		return nil
	})
	return found
}

// loadAt is load for another commit than the one that is checked out: its own slipway.yaml and slipway.lock say what is released. A
// configuration that is named is one of the commit, by its path from the top of the repository.
func (a *app) loadAt(ctx context.Context, commit string) (p project, err error) {
	if a.dirty {
		return p, fault.Errorf(fault.Usage, "a commit has no changes that are in no commit; leave out --dirty or --commit")
	}
	at, err := source.Find(ctx, ".", commit)
	if err != nil {
		return p, err
	}
	var b []byte
	if p.file, b, err = a.configAt(ctx, at); err != nil {
		return p, err
	}
	if p.config, err = config.Parse(p.file, b); err != nil {
		return p, fault.New(fault.Usage, err)
	}
	lock := path.Join(path.Dir(p.file), config.LockFileName)
	if b, err = at.Blob(ctx, lock, maxConfig); err != nil {
		return p, err
	}
	if b == nil {
		return p, fault.Errorf(fault.Usage, "commit %s has no %s; plan a commit that has one", at.Commit, lock)
	}
	if p.lock, err = config.ParseLock(lock, b); err != nil {
		return p, fault.New(fault.Usage, err)
	}
	// What CI was started for is what is checked out. Of several versions on the commit its name says which is meant.
	ref := commit
	if a.tag != "" {
		ref = a.ref()
	}
	p.source, err = a.read(ctx, source.Options{Dir: ".", Commit: at.Commit, Ref: ref, TagPrefix: p.config.Project.TagPrefix, Since: a.since})
	return p, err
}

// maxConfig bounds a configuration and a lock of a commit, in bytes: a little more than they may have, so that the parser says what
// is wrong with a larger one.
const maxConfig = 2 << 20

// configAt is the slipway.yaml of a commit: the named one, else the nearest to this folder.
func (a *app) configAt(ctx context.Context, at source.Source) (name string, b []byte, err error) {
	names := []string{path.Clean(filepath.ToSlash(a.config))}
	if a.config == "" {
		here, err := os.Getwd()
		if err != nil {
			return "", nil, err
		}
		names = nil
		for dir := cmp.Or(inTree(at.Root, here), "."); ; dir = path.Dir(dir) {
			if names = append(names, path.Join(dir, config.FileName)); dir == "." {
				break
			}
		}
	}
	for _, name := range names {
		if b, err := at.Blob(ctx, name, maxConfig); err != nil || b != nil {
			return name, b, err
		}
	}
	return "", nil, fault.Errorf(fault.Usage, "commit %s has no %s", at.Commit, strings.Join(names, " or "))
}

// root is the folder that all paths of a configuration are relative to: the top of the repository that it is in or,
// where --config names one that may be anywhere, of the repository that this folder is in.
func (a *app) root(ctx context.Context, configFile string) string {
	dir := filepath.Dir(configFile)
	if a.config != "" {
		dir = "."
	}
	if top, err := source.Root(ctx, dir); err == nil {
		return top
	}
	return dir // whoever needs the repository says that there is none
}

// inTree is where a file lies in the tree below root, with slashes; "" where it lies elsewhere. A path over a link is the
// same file.
func inTree(root, file string) string {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return ""
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return ""
	}
	if root, err = filepath.Abs(root); err != nil {
		return ""
	}
	rel, err := filepath.Rel(root, file)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// distOf is the folder of a project's release: dist/ beside its slipway.yaml, where its lock is, too, so that of several
// projects in one repository none replaces or publishes what another one built. What is made by a file from elsewhere is
// at the root.
func distOf(root, configFile string) string {
	if inTree(root, filepath.Dir(configFile)) == "" {
		return filepath.Join(root, distName)
	}
	return filepath.Join(filepath.Dir(configFile), distName)
}

// finished is a release that was built, with the project here that it is to be of.
type finished struct {
	dir   string // dist/, or its URL
	named bool   // by the user
	file  string // slipway.yaml, absolute; "" where there is none
	root  string // of the project; "" where there is none
}

// finished is the release that the first argument names, else that of the project here. Without any project it is dist/ in
// this folder.
func (a *app) finished(ctx context.Context, args []string) (finished, error) {
	f := finished{dir: distName, named: len(args) > 0}
	if f.named {
		f.dir = args[0]
	}
	file, err := a.configFile()
	if none := (*noProject)(nil); errors.As(err, &none) && (f.named || len(none.below) == 0) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.file, f.root = file, a.root(ctx, file)
	if !f.named {
		f.dir = distOf(f.root, file)
	}
	return f, nil
}

// manifest reads release.json.
func (f finished) manifest() (manifest.Release, error) {
	return manifest.Load(filepath.Join(f.dir, manifest.FileName))
}

// belongs refuses a release of another project than the one here. Where the user did not name the folder it is also to be
// of the commit that is checked out: what lies there from an earlier commit is not what this slipway.yaml speaks of. A
// manifest that cannot be read is left to the reader of the release.
func (a *app) belongs(ctx context.Context, f finished) error {
	if f.file == "" {
		return nil
	}
	cfg, _, err := a.readConfig()
	if err != nil {
		return err
	}
	rel, err := f.manifest()
	if errors.Is(err, fs.ErrNotExist) && !f.named {
		return f.elsewhere(cfg.Project)
	}
	if err != nil {
		return nil
	}
	if err := f.of(rel, cfg.Project); err != nil || f.named {
		return err
	}
	head, err := source.Head(ctx, f.root)
	if err != nil {
		return fmt.Errorf("comparing the release with the commit here: %w; name the folder to leave that out", err)
	}
	if head == "" || head == rel.Commit { // without a commit there is none to be of
		return nil
	}
	return fault.Errorf(fault.Git, "%s has %s %s of commit %.12s, and this is commit %.12s; build this one, or name the folder to take what is in it",
		display(f.dir), rel.Name, rel.Version, rel.Commit, head)
}

// of refuses a release that is not of the project.
func (f finished) of(rel manifest.Release, p config.Project) error {
	has, wants := rel.Name, p.Name
	_, ours := source.ParseTag(rel.Tag, p.TagPrefix)
	switch {
	case rel.Name != p.Name:
	case rel.Repository != "" && p.Repository != "" && page(rel.Repository) != page(p.Repository):
		has, wants = has+" of "+rel.Repository, wants+" of "+p.Repository
	case rel.Tag != "" && !ours:
		has, wants = has+" with the tag "+rel.Tag, wants+" with tags such as "+p.TagPrefix+"v1.2.3"
	default:
		return nil
	}
	return fault.Errorf(fault.Usage, "%s has %s, version %s, and %s is of %s; run this in the folder of that project, or name its %s with --config",
		display(f.dir), has, rel.Version, display(f.file), wants, config.FileName)
}

// page is the URL of a repository in a form in which two ways to write it are the same.
func page(repository string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(repository, "/"), ".git"))
}

// elsewhere names a release of the project at the root of the repository, where all projects of one had their dist/ once.
// It is nil where none is there.
func (f finished) elsewhere(p config.Project) error {
	old := finished{dir: filepath.Join(f.root, distName), file: f.file}
	rel, err := old.manifest()
	if old.dir == f.dir || err != nil || old.of(rel, p) != nil {
		return nil
	}
	return fault.Errorf(fault.Usage, "%s has no release, and %s has %s %s, from when all projects of a repository had one folder; build again, or name that folder",
		display(f.dir), display(old.dir), rel.Name, rel.Version)
}
