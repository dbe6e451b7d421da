package branch

import (
	"context"
	"fmt"
	"maps"
	"slices"
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

// Differences are what the second of two folders has otherwise than the first, by name, and no more than the first so many of them: a folder
// of little size may have any number of files, where all that it has is the same folder. What is not there, or is no folder, is empty. A folder
// below them in which there is nothing, as git makes none, is a difference too: of these there may be as many.
func (g *Group) Differences(ctx context.Context, a, b Folder, limit int) ([]Difference, error) {
	var ids [2]string
	for i, f := range [2]Folder{a, b} {
		if f.Commit == "" {
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
	var all []Difference
	return all, g.differ(ctx, ids, "", limit, &all)
}

// differ adds the differences of two folders, by their names in git, "" for none.
func (g *Group) differ(ctx context.Context, ids [2]string, at string, limit int, all *[]Difference) error {
	if ids[0] == ids[1] || len(*all) >= limit {
		return nil
	}
	if strings.Count(at, "/") > maxDepth {
		return fault.Errorf(fault.Mismatch, "%.200q: there are more than %d folders in each other", at, maxDepth)
	}
	var has [2]map[string]row
	names := map[string]bool{}
	for i, id := range ids {
		has[i] = map[string]row{}
		if id == "" {
			continue
		}
		rows, err := g.rows(ctx, id, at)
		if err != nil {
			return err
		}
		for _, r := range rows {
			has[i][r.name], names[r.name] = r, true
		}
		if len(rows) == 0 && at != "" {
			*all = append(*all, Difference{Path: strings.TrimSuffix(at, "/"), Gone: ids[1] == ""})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var folders [2]string
		var file [2]row // or whatever else is not a folder
		for i := range has {
			if r := has[i][name]; r.mode == modeFolder {
				folders[i] = r.id
			} else {
				file[i] = r
			}
		}
		if file[0] != file[1] && len(*all) < limit {
			d := Difference{Path: at + name, Gone: file[1].id == ""}
			if file[1].mode == modeFile {
				d.ID = file[1].id
			}
			*all = append(*all, d)
		}
		if err := g.differ(ctx, folders, at+name+"/", limit, all); err != nil {
			return err
		}
	}
	return nil
}

// Blob is the content of a plain file that Differences found. One of more than limit bytes is an ErrUnfit.
func (g *Group) Blob(ctx context.Context, id string, limit int64) ([]byte, error) {
	obj, b, err := g.get(ctx, id, limit)
	if err == nil && obj.size > limit {
		err = unfit("a file has %d bytes, and at most %d are read", obj.size, limit)
	}
	return b, err
}

// maxName is how long a name may be, in bytes, as a part of a path. git takes longer ones from others, and makes no other commit of what has them.
const maxName = 4096

// Sound reports whether a commit can be gone on from: nothing at its top has a name that is no path.
func (g *Group) Sound(ctx context.Context, commit string) (bool, error) {
	if commit == "" {
		return true, nil
	}
	rows, err := g.rows(ctx, commit+":", "")
	return !slices.ContainsFunc(rows, func(r row) bool { return len(r.name) > maxName }), err
}

// maxSubject bounds what Touched returns of a message, in columns.
const maxSubject = 2000

// Touched is the last commit, of those that led to one, that changed a file, and the first line of what it says; "" for none.
func (g *Group) Touched(ctx context.Context, commit, path string) (id, subject string, err error) {
	format := fmt.Sprintf("--format=%%H%%n%%<(%d,trunc)%%s", maxSubject)
	out, err := g.clone().git().Set("log.follow=false").Run(ctx, nil, "log", "-1", "--no-show-signature", "--encoding=UTF-8", format, commit, "--", ":(literal)"+path)
	if err != nil {
		return "", "", err
	}
	id, subject, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
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
	obj, _, err := g.get(ctx, proposed+"^{commit}", 0)
	if err == nil && obj.id == "" {
		err = fault.Errorf(fault.Mismatch, "%s is not a commit", ref)
	}
	return obj.id, err
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
