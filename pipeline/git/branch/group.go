package branch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Group is a bare repository of our own that has several branches of one remote. They move together or not at all, and never
// other than forward.
type Group struct {
	Git      git.Git // as that of a Clone
	Dir      string  // where the clone is; it stays, and is used again
	Remote   string  // URL or absolute path
	Branches []string

	Author, Email string // of commits, also as the committer

	heads map[string]string
}

func (g *Group) clone() *Clone { return &Clone{Git: g.Git, Dir: g.Dir, Remote: g.Remote} }

// Locked runs f while no other process works in the clone, which is made where it is not there yet.
func (g *Group) Locked(ctx context.Context, f func() error) (err error) {
	if err := interrupted(ctx); err != nil {
		return err
	}
	unlock, err := g.clone().lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(filepath.Join(g.Dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		if err := g.clone().Git.CheckVersion(ctx); err != nil {
			return err
		}
		if err := g.clone().Init(ctx); err != nil {
			return err
		}
	} else if err != nil {
		return fault.New(fault.Usage, err)
	}
	if err := f(); err != nil {
		return err
	}
	g.tidy(ctx)
	return nil
}

// maxPacks is how many packs the clone has before they become few: every commit and every fetch leaves one, and git looks for an
// object in each of them.
const maxPacks = 50

// tidy puts packs together. Where it fails nothing is lost, and whoever comes next tries again.
func (g *Group) tidy(ctx context.Context) {
	packs, err := filepath.Glob(filepath.Join(g.Dir, "objects", "pack", "*.pack"))
	if err == nil && len(packs) > maxPacks {
		g.clone().git().Run(ctx, nil, "repack", "-d", "-q", "--geometric=2")
	}
}

// grouped are the branches in the clone.
const grouped = "refs/slipway/group/"

// Fetch has Head be what the branches are at now. It asks once, and fetches where something has moved.
func (g *Group) Fetch(ctx context.Context) error {
	args := []string{"ls-remote", "--", remoteName}
	for _, b := range g.Branches {
		args = append(args, "refs/heads/"+b)
	}
	out, err := g.clone().git().Run(ctx, nil, args...)
	if err != nil {
		return git.OfRemote(err)
	}
	var specs []string
	heads, moved := map[string]string{}, false
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		name, ok := strings.CutPrefix(ref, "refs/heads/")
		if !ok || !slices.Contains(g.Branches, name) {
			continue // one that ends like it
		}
		if !git.IsObject(id) {
			return fault.Errorf(fault.Transient, "the git repository says that %s is at %.60q", name, id)
		}
		heads[name], moved = id, moved || g.heads[name] != id
		specs = append(specs, "+"+ref+":"+grouped+name)
	}
	if !moved {
		g.heads = heads
		return nil
	}
	if _, err := g.clone().git().Set("fetch.unpackLimit=1").Run(ctx, nil, append([]string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", remoteName}, specs...)...); err != nil {
		return git.OfRemote(err)
	}
	// What they are at by now, if they moved in between.
	if out, err = g.clone().git().Run(ctx, nil, "for-each-ref", "--format=%(objectname) %(refname)", "--", grouped); err != nil {
		return err
	}
	now := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name := strings.TrimPrefix(ref, grouped); heads[name] != "" {
			now[name] = id
		}
	}
	g.heads = now
	return nil
}

// Head is the commit that a branch was at when it was last asked for, "" for a branch that was not there.
func (g *Group) Head(branch string) string { return g.heads[branch] }

// Commit makes commits. It pushes nothing.
func (g *Group) Commit(ctx context.Context, all []Commit) ([]string, error) {
	return commits(ctx, g.clone().git(), g.Author, g.Email, all)
}

// File is a file of a commit, nil where there is none; see Clone.File.
func (g *Group) File(ctx context.Context, commit, name string, limit int64) ([]byte, error) {
	c := g.clone()
	c.head, c.Branch = commit, commit
	return c.File(ctx, name, limit)
}

// Blob is a file of a commit by its path.
type Blob struct {
	Path string
	ID   string // of git, which is a function of the bytes
	Size int64
}

var listed = regexp.MustCompile(`^([0-9]{6}) ([a-z]+) ([0-9a-f]{40,64}) +([0-9]+|-)\t(.*)$`)

// Files are the files of a commit below a folder, by path. Whatever is not a plain file, such as a link, a submodule or a program, is
// a fault.Mismatch.
func (g *Group) Files(ctx context.Context, commit, folder string) ([]Blob, error) {
	var all []Blob
	err := g.clone().git().Stream(ctx, nil, func(r io.Reader) error {
		records := bufio.NewScanner(r)
		records.Buffer(nil, 64<<10)
		records.Split(func(b []byte, atEnd bool) (int, []byte, error) {
			if i := bytes.IndexByte(b, 0); i >= 0 {
				return i + 1, b[:i], nil
			}
			return 0, nil, nil
		})
		for records.Scan() {
			line := records.Text()
			m := listed.FindStringSubmatch(line)
			if m == nil || m[1] != "100644" || m[2] != "blob" {
				return fault.Errorf(fault.Mismatch, "%.200q is not a plain file", line)
			}
			var size int64
			if _, err := fmt.Sscan(m[4], &size); err != nil {
				return fault.Errorf(fault.Mismatch, "%.200q has no size", line)
			}
			all = append(all, Blob{Path: m[5], ID: m[3], Size: size})
		}
		return fault.New(fault.Mismatch, records.Err())
	}, "ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", folder)
	return all, err
}

// Read gives the bytes of blobs of Files to f, in their order. One of more than limit bytes is a fault.Mismatch.
func (g *Group) Read(ctx context.Context, blobs []Blob, limit int64, f func(Blob, []byte) error) error {
	if len(blobs) == 0 {
		return nil
	}
	var ids strings.Builder
	for _, b := range blobs {
		if b.Size > limit {
			return fault.Errorf(fault.Mismatch, "%s has %d bytes, and at most %d are read", b.Path, b.Size, limit)
		}
		ids.WriteString(b.ID + "\n")
	}
	return g.clone().git().Stream(ctx, strings.NewReader(ids.String()), func(r io.Reader) error {
		in := bufio.NewReader(r)
		for _, b := range blobs {
			header, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			if want := fmt.Sprintf("%s blob %d\n", b.ID, b.Size); header != want {
				return fault.Errorf(fault.Git, "running git cat-file: it answers %.100q for %s", header, b.Path)
			}
			content := make([]byte, b.Size+1)
			if _, err := io.ReadFull(in, content); err != nil {
				return err
			}
			if err := f(b, content[:b.Size]); err != nil {
				return err
			}
		}
		return nil
	}, "cat-file", "--batch", "--buffer")
}

// Push moves branches to commits, all or none. It reports whether one of them had moved: then Fetch, and make other commits on
// what is there.
func (g *Group) Push(ctx context.Context, to map[string]string) (behind bool, err error) {
	args := []string{"push", "--porcelain", "--atomic", "--", remoteName}
	for _, b := range g.Branches {
		if id := to[b]; id != "" {
			args = append(args, id+":refs/heads/"+b)
		}
	}
	_, err = g.clone().git().Run(ctx, nil, args...)
	switch {
	case err == nil:
		for b, id := range to {
			g.heads[b] = id
		}
		return false, nil
	case git.KindOf(err) == git.Moved:
		return true, fault.New(fault.Transient, fmt.Errorf("%w; others push too: try again", err))
	case strings.Contains(err.Error(), "does not support --atomic"):
		return false, fault.New(fault.Usage, fmt.Errorf("%w: use a git server that moves several branches at once", err))
	}
	return false, git.OfRemote(err)
}

// Has reports whether a branch has a commit.
func (g *Group) Has(ctx context.Context, branch, commit string) (bool, error) {
	if g.heads[branch] == "" {
		return false, nil
	}
	return g.Contains(ctx, g.heads[branch], commit)
}

// Contains reports whether a commit has another one in its history.
func (g *Group) Contains(ctx context.Context, commit, earlier string) (bool, error) {
	_, err := g.clone().git().Run(ctx, nil, "merge-base", "--is-ancestor", earlier, commit)
	if git.No(err) {
		return false, nil
	}
	return err == nil, err
}
