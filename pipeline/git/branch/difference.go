package branch

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Folder is a folder of a commit; a commit of "" has none.
type Folder struct {
	Commit, Path string
}

// Difference is a path that two folders do not have alike.
type Difference struct {
	Path string // below the folders
	ID   string // of what the second one has there, if that is a plain file
	Gone bool   // the second one has nothing there
}

// emptyTree is the name of a folder with nothing in it, which git knows without having it.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// Differences are what the second of two folders has otherwise than the first, by path. What is not there, or is no folder, is empty.
func (g *Group) Differences(ctx context.Context, a, b Folder) ([]Difference, error) {
	var ids [2]string
	for i, f := range [2]Folder{a, b} {
		if ids[i] = emptyTree; f.Commit == "" {
			continue
		}
		obj, _, err := g.get(ctx, f.Commit+":"+strings.TrimSuffix(f.Path, "/"), 0)
		if err != nil {
			return nil, err
		}
		if obj.kind == "tree" {
			ids[i] = obj.id
		}
	}
	if ids[0] == ids[1] {
		return nil, nil
	}
	out, err := g.clone().git().Run(ctx, nil, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", ids[0], ids[1], "--")
	if err != nil {
		return nil, err
	}
	var all []Difference
	for len(out) > 0 { // :100644 100644 ID ID M NUL path NUL, https://git-scm.com/docs/diff-format
		head, rest, ok := bytes.Cut(out, []byte{0})
		path, rest, ended := bytes.Cut(rest, []byte{0})
		fields := strings.Fields(string(head))
		if !ok || !ended || len(fields) != 5 {
			return nil, fault.Errorf(fault.Git, "running git diff-tree: it answers %.100q", head)
		}
		d := Difference{Path: string(path), Gone: fields[4] == "D"}
		if fields[1] == "100644" {
			d.ID = fields[3]
		}
		all, out = append(all, d), rest
	}
	return all, nil
}

// Blob is the content of a plain file that Differences found. One of more than limit bytes is an ErrUnfit.
func (g *Group) Blob(ctx context.Context, id string, limit int64) ([]byte, error) {
	obj, b, err := g.get(ctx, id, limit)
	if err == nil && obj.size > limit {
		err = unfit("a file has %d bytes, and at most %d are read", obj.size, limit)
	}
	return b, err
}

// Touched is the last commit, of those that led to one, that changed a file, and the first line of what it says; "" for none.
func (g *Group) Touched(ctx context.Context, commit, path string) (id, subject string, err error) {
	out, err := g.clone().git().Run(ctx, nil, "log", "-1", "--no-show-signature", "--format=%H%n%s", commit, "--", ":(literal)"+path)
	if err != nil {
		return "", "", err
	}
	id, subject, _ = strings.Cut(strings.TrimSuffix(string(out), "\n"), "\n")
	if id != "" && !git.IsObject(id) {
		return "", "", fault.Errorf(fault.Git, "running git log: it answers %.80q", id)
	}
	return id, subject, nil
}

// proposed is a ref of the remote in the clone that is not one of the branches.
const proposed = "refs/slipway/proposed"

// Other is the commit that another branch of the remote is at, or another ref below refs/; "" where there is none.
func (g *Group) Other(ctx context.Context, ref string) (string, error) {
	name, full := strings.CutPrefix(ref, "refs/")
	if err := CheckName(name); err != nil {
		return "", err
	}
	if !full {
		ref = "refs/heads/" + ref
	}
	out, err := g.clone().git().Run(ctx, nil, "ls-remote", "--", remoteName, ref)
	if err != nil {
		return "", git.OfRemote(err)
	}
	there := false
	for line := range strings.Lines(string(out)) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		there = there || name == ref
	}
	if !there {
		return "", nil
	}
	if _, err := g.clone().git().Set("fetch.unpackLimit=1").Run(ctx, nil, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", remoteName, "+"+ref+":"+proposed); err != nil {
		return "", git.OfRemote(err)
	}
	return g.clone().git().ID(ctx, nil, "rev-parse", "--verify", proposed+"^{commit}")
}

// Base is the last commit that two have in common, "" where there is none.
func (g *Group) Base(ctx context.Context, a, b string) (string, error) {
	id, err := g.clone().git().ID(ctx, nil, "merge-base", a, b)
	if git.No(err) {
		return "", nil
	}
	return id, err
}

// maxVersions is how many commits History finds.
const maxVersions = 100

// History are the commits that changed a file, of those that led to one, the last one first.
func (g *Group) History(ctx context.Context, commit, path string) ([]string, error) {
	out, err := g.clone().git().Run(ctx, nil, "rev-list", fmt.Sprintf("--max-count=%d", maxVersions), commit, "--", ":(literal)"+path)
	return strings.Fields(string(out)), err
}
