package source

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxDepth bounds how deep submodules nest.
const maxDepth = 16

// dirty reports whether the work tree differs from the commit. Unless that is allowed it is an error, and so is in any
// case a submodule that is not there: what is missing cannot be built.
func (r repo) dirty(ctx context.Context, commit string, allowed bool) (bool, error) {
	changed, err := r.changes(ctx, commit, "", allowed, 0)
	if err != nil {
		return false, err
	}
	if len(changed) > 0 && !allowed {
		err := fault.Errorf(fault.Git, "the work tree has uncommitted changes (%s): commit them, put them away with "+
			"`git stash -u`, or build them with --dirty", some(changed))
		if aside := r.Aside(); len(aside) > 0 { // without which a file may look changed
			wayOut := "name yours in your own, with `git config --global`"
			if slices.ContainsFunc(aside, func(key string) bool { return strings.HasPrefix(key, "filter.lfs.") }) {
				wayOut = "name Git LFS in slipway.yaml, filters: [lfs], or have it in your own, with `git lfs install`"
			}
			err = fmt.Errorf("%w; programs that only the configuration of this clone names are not run (%s): %s", err, some(aside), wayOut)
		}
		return false, err
	}
	return len(changed) > 0, nil
}

// some names the first few.
func some(paths []string) string {
	const few = 3
	var shown []string
	for _, p := range paths[:min(few, len(paths))] {
		shown = append(shown, words.Quoted(p))
	}
	s := strings.Join(shown, ", ")
	if more := len(paths) - few; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// parseStatus lists the changed paths of git status --porcelain=v2 -z
// (https://git-scm.com/docs/git-status#_porcelain_format_version_2).
func parseStatus(out string) ([]string, error) {
	// The number of fields before the path, by the kind of line. Renames, kind 2, are not asked for.
	before := map[string]int{"1": 8, "u": 10, "?": 1}
	var changed []string
	for record := range strings.SplitSeq(out, "\x00") {
		kind, _, _ := strings.Cut(record, " ")
		if record == "" || kind == "#" {
			continue
		}
		n, known := before[kind]
		fields := strings.SplitN(record, " ", n+1)
		if !known || len(fields) != n+1 {
			return nil, fault.Errorf(fault.Git, "reading git status: git answers %.80q", record)
		}
		changed = append(changed, fields[n])
	}
	return changed, nil
}

// changes are the paths that differ from the commit, those in submodules after those beside them. The submodules of the
// commit are compared with those that are checked out, so that the error can name both commits: git status only says that they
// differ. Each is asked by itself, since a git that looks into them obeys what their configuration names. at is the path of
// r in the outermost repository, with a slash at its end.
func (r repo) changes(ctx context.Context, commit, at string, allowed bool, depth int) ([]string, error) {
	links, err := r.gitlinks(ctx, commit)
	if err != nil {
		return nil, err
	}
	var below []string
	for _, link := range links {
		sub, err := r.submodule(ctx, link, at, depth)
		if err != nil {
			return nil, err
		}
		head, err := sub.resolve(ctx, "HEAD")
		if err != nil {
			return nil, err
		}
		if head != link.id && !allowed {
			return nil, fault.Errorf(fault.Git, "submodule %s is checked out at %s and recorded at %s: check out what is recorded with "+
				"`git submodule update --recursive`, commit what is checked out, or build it with --dirty",
				words.Quoted(at+link.path), orNothing(head), link.id)
		}
		if head == "" {
			continue
		}
		changed, err := sub.changes(ctx, head, at+link.path+"/", allowed, depth+1)
		if err != nil {
			return nil, err
		}
		below = append(below, changed...)
	}
	own, err := r.status(ctx)
	for i := range own {
		own[i] = at + own[i]
	}
	return append(own, below...), err
}

// status are the paths that differ from the commit that is checked out.
func (r repo) status(ctx context.Context) ([]string, error) {
	out, err := r.run(ctx, "status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=dirty", "--no-renames")
	if err != nil {
		return nil, err
	}
	return parseStatus(out)
}

func orNothing(commit string) string {
	if commit == "" {
		return "nothing"
	}
	return commit
}

// submodule is the work tree of the submodule.
func (r repo) submodule(ctx context.Context, link entry, at string, depth int) (repo, error) {
	if depth >= maxDepth {
		return repo{}, fault.Errorf(fault.Git, "submodule %s is nested deeper than %d", words.Quoted(at+link.path), maxDepth)
	}
	if err := checkPath(link.path); err != nil {
		return repo{}, err
	}
	sub := r.in(filepath.Join(r.Dir, filepath.FromSlash(link.path)))
	ok, err := sub.isRoot(ctx)
	if err != nil {
		return repo{}, err
	}
	if !ok {
		return repo{}, fault.Errorf(fault.Git, "submodule %s is not checked out: fetch it with `git submodule update --init --recursive`",
			words.Quoted(at+link.path))
	}
	return sub.distrust(ctx)
}

// gitlinks are the submodules of the commit.
func (r repo) gitlinks(ctx context.Context, commit string) ([]entry, error) {
	var links []entry
	err := r.lsTree(ctx, commit, func(e entry) error {
		if e.mode == modeGitlink {
			links = append(links, e)
		}
		return nil
	})
	return links, err
}
