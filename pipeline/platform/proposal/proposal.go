// Package proposal changes files of another repository: as a branch of one commit for people to look at, pushed there or written as a
// patch. Nothing of that repository is checked out or run.
package proposal

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

var needs = git.Version{Major: 2, Minor: 31}

// maxFile bounds a file that is changed, in bytes.
const maxFile = 4 << 20

// Change is what is proposed.
type Change struct {
	Remote  string // URL of the repository, or its folder
	Onto    string // branch that it is for; "" for the default branch
	Branch  string // that has it
	Title   string // first line of the commit
	Environ []string
	Pass    []string // names of variables that a credential helper reads; see git.Remote

	// Edit returns the files that change, with what else there is to say of them. It reads what is there, which for a file that is
	// not is an fs.ErrNotExist. Without files nothing is proposed.
	Edit func(read func(name string) ([]byte, error)) (files map[string][]byte, body string, err error)
}

// Result is what came of a change.
type Result struct {
	Onto   string // branch that it is for
	Commit string // "" where nothing is to be changed
	Body   string
	Was    bool   // a branch of that name is there already, and stays as it is
	Said   string // by the host, as the branch was pushed
}

// Proposal is a change as a commit in a clone.
type Proposal struct {
	Result
	c      Change
	local  git.Git
	remote git.Git
	url    string
}

// Make makes the commit in a clone in dir, an empty folder.
func Make(ctx context.Context, dir string, c Change) (*Proposal, error) {
	url := c.Remote
	protocols := "https:http:ssh:git"
	if _, err := os.Stat(url); err == nil { // git would take a name with a colon in it for a host
		if url, err = filepath.Abs(url); err != nil {
			return nil, err
		}
		protocols += ":file"
	}
	if strings.HasPrefix(url, "-") || strings.HasPrefix(c.Onto, "-") {
		return nil, fault.Errorf(fault.Usage, "repository %.200q or branch %.80q begins with a -", url, c.Onto)
	}
	p := &Proposal{c: c, url: url}
	var err error
	if p.remote, err = git.New(git.Unattended(git.Remote(c.Environ, url, c.Pass...)), dir, needs); err != nil {
		return nil, err
	}
	p.remote.Protocols = protocols
	p.remote = p.remote.Set("transfer.fsckObjects=true") // what is fetched is not trusted
	args := []string{"clone", "--quiet", "--bare", "--single-branch", "--no-tags"}
	if c.Onto != "" {
		args = append(args, "--branch="+c.Onto)
	}
	clone := filepath.Join(dir, "clone.git")
	if _, err := p.remote.Run(ctx, nil, append(args, "--", url, clone)...); err != nil {
		return nil, git.OfRemote(fmt.Errorf("cloning %s: %w", source.HideUser(url), err))
	}
	there, err := p.remote.Run(ctx, nil, "ls-remote", "--", url, "refs/heads/"+c.Branch)
	if err != nil {
		return nil, git.OfRemote(fmt.Errorf("asking %s for branch %s: %w", source.HideUser(url), c.Branch, err))
	}
	p.Was = len(there) > 0
	if p.local, err = git.New(git.Local(c.Environ), dir, needs); err != nil {
		return nil, err
	}
	p.local.GitDir, p.remote.GitDir = clone, clone
	p.local = p.local.With(git.Identity(c.Environ)...)
	head, err := p.local.Run(ctx, nil, "symbolic-ref", "--short", "HEAD")
	if err != nil {
		return nil, err
	}
	p.Onto = strings.TrimSpace(string(head))
	files, body, err := c.Edit(func(name string) ([]byte, error) { return p.read(ctx, name) })
	if err != nil || len(files) == 0 {
		return p, err
	}
	p.Body = body
	p.Commit, err = p.commit(ctx, filepath.Join(dir, "index"), files)
	return p, err
}

// read is a file of the branch.
func (p *Proposal) read(ctx context.Context, name string) ([]byte, error) {
	out, err := p.local.Run(ctx, nil, "--literal-pathspecs", "ls-tree", "-z", "HEAD", "--", name)
	if err != nil {
		return nil, err
	}
	entry, _, ok := strings.Cut(string(out), "\t")
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	f := strings.Fields(entry)
	if len(f) != 3 || f[1] != "blob" || f[0] != "100644" {
		return nil, fault.Errorf(fault.Git, "%s of %s is not an ordinary file", name, source.HideUser(p.url))
	}
	g := p.local
	g.Max = maxFile
	return g.Run(ctx, nil, "cat-file", "blob", f[2])
}

// commit makes a commit with the files, in an index of its own.
func (p *Proposal) commit(ctx context.Context, index string, files map[string][]byte) (string, error) {
	g := p.local.With("GIT_INDEX_FILE=" + index)
	if _, err := g.Run(ctx, nil, "read-tree", "HEAD"); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		blob, err := g.ID(ctx, bytes.NewReader(files[name]), "hash-object", "-w", "--stdin")
		if err != nil {
			return "", err
		}
		if _, err := g.Run(ctx, nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+name); err != nil {
			return "", err
		}
	}
	tree, err := g.ID(ctx, nil, "write-tree")
	if err != nil {
		return "", err
	}
	return g.ID(ctx, strings.NewReader(p.c.Title+"\n\n"+p.Body+"\n"), "commit-tree", tree, "-p", "HEAD")
}

// Patch is the change as a mail that git am takes.
func (p *Proposal) Patch(ctx context.Context) ([]byte, error) {
	return p.local.Run(ctx, nil, "format-patch", "--stdout", "--no-signature", "-1", p.Commit)
}

// Push pushes the branch, unless one of that name is there: what people have made of it stays. Options are given to the host.
func (p *Proposal) Push(ctx context.Context, options ...string) error {
	if p.Was {
		return nil
	}
	ref := "refs/heads/" + p.c.Branch
	args := []string{"push", "--porcelain", "--force-with-lease=" + ref + ":"}
	for _, o := range options {
		args = append(args, "--push-option="+o)
	}
	g := p.remote
	g.Said = func(said string) { p.Said += said }
	if _, err := g.Run(ctx, nil, append(args, "--", p.url, p.Commit+":"+ref)...); err != nil {
		return git.OfRemote(fmt.Errorf("pushing %s to %s: %w", p.c.Branch, source.HideUser(p.url), err))
	}
	return nil
}
