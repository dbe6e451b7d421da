package source

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxDepth bounds how deep submodules nest.
const maxDepth = 16

// dirty reports whether the work tree differs from the commit. Unless that is allowed it is an error, and so is in any
// case a submodule that is not there: what is missing cannot be built.
func (r repo) dirty(ctx context.Context, commit string, allowed bool) (bool, error) {
	if err := r.checkSubmodules(ctx, commit, "", allowed, 0); err != nil {
		return false, err
	}
	out, err := r.run(ctx, "status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=none", "--no-renames")
	if err != nil {
		return false, err
	}
	changed, err := parseStatus(out)
	if err != nil {
		return false, err
	}
	if len(changed) > 0 && !allowed {
		return false, fault.Errorf(fault.Git, "the work tree has changes that are in no commit (%s): commit them, put them away with "+
			"`git stash -u`, or build them with --dirty", some(changed))
	}
	return len(changed) > 0, nil
}

// some names the first few.
func some(paths []string) string {
	const few = 3
	var shown []string
	for _, p := range paths[:min(few, len(paths))] {
		shown = append(shown, show(p))
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

// checkSubmodules compares the submodules of the commit with those that are checked out, so that the error can name
// both commits: git status only says that they differ. at is the path of r in the outermost repository, with a slash
// at its end.
func (r repo) checkSubmodules(ctx context.Context, commit, at string, allowed bool, depth int) error {
	links, err := r.gitlinks(ctx, commit)
	if err != nil {
		return err
	}
	for _, link := range links {
		sub, err := r.submodule(ctx, link, at, depth)
		if err != nil {
			return err
		}
		head, err := sub.resolve(ctx, "HEAD")
		if err != nil {
			return err
		}
		if head != link.id && !allowed {
			return fault.Errorf(fault.Git, "submodule %s is checked out at %s and recorded at %s: check out what is recorded with "+
				"`git submodule update --recursive`, commit what is checked out, or build it with --dirty",
				show(at+link.path), orNothing(head), link.id)
		}
		if head == "" {
			continue
		}
		if err := sub.checkSubmodules(ctx, head, at+link.path+"/", allowed, depth+1); err != nil {
			return err
		}
	}
	return nil
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
		return repo{}, fault.Errorf(fault.Git, "submodule %s is nested deeper than %d", show(at+link.path), maxDepth)
	}
	if err := checkPath(link.path); err != nil {
		return repo{}, err
	}
	sub := repo{filepath.Join(r.dir, filepath.FromSlash(link.path))}
	ok, err := sub.isRoot(ctx)
	if err != nil {
		return repo{}, err
	}
	if !ok {
		return repo{}, fault.Errorf(fault.Git, "submodule %s is not checked out: fetch it with `git submodule update --init --recursive`",
			show(at+link.path))
	}
	return sub, nil
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
