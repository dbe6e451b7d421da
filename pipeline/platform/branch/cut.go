package branch

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Made is a branch that is wanted.
type Made struct {
	Branch string
	Commit string // that it begins at
	Tag    string // of that commit, where it was looked for by version
	Was    bool   // it was there, here or where it is pushed
	Pushed bool   // it is at the remote
}

// Proposal is a change of the default branch, as a branch of one commit.
type Proposal struct {
	Made
	Main         string // the default branch
	File         string // that changes, from the top of the repository
	Before, Next version.Version
}

// Cut makes the branch of a line at the commit of its highest stable release, or at from, a revision, and proposes the next minor
// version for the default branch, where that has a VERSION file with a lower one. With push both are pushed. A branch that is there and
// begins elsewhere is a fault.Conflict. There is no proposal where nothing is to be proposed.
func (r *Repo) Cut(ctx context.Context, l Line, from string, push bool) (made Made, p *Proposal, err error) {
	unlock, err := r.begin(ctx, r.Name(l), push)
	if err != nil {
		return made, nil, err
	}
	defer func() { _ = unlock() }()
	name, main, err := r.main(ctx)
	if err != nil {
		return made, nil, err
	}
	made = Made{Branch: r.Name(l)}
	if from != "" {
		made.Commit, err = r.Commit(ctx, from)
	} else {
		made.Tag, made.Commit, err = r.release(ctx, l)
	}
	if err != nil {
		return made, nil, err
	}
	if err := r.ensure(ctx, &made, main, push); err != nil {
		return made, nil, err
	}
	p, err = r.propose(ctx, l, name, main, push)
	return made, p, err
}

// begin locks the branch, and fetches where it will be pushed.
func (r *Repo) begin(ctx context.Context, name string, push bool) (func() error, error) {
	unlock, err := r.lock(ctx, name)
	if err == nil && push {
		if err = r.fetch(ctx); err != nil {
			_ = unlock()
		}
	}
	return unlock, err
}

// release is the highest stable tag of a line.
func (r *Repo) release(ctx context.Context, l Line) (name, commit string, err error) {
	all, err := r.tags(ctx)
	if err != nil {
		return "", "", err
	}
	for _, t := range all {
		if l.has(t.version) && t.version.IsStable() {
			name = t.name
		}
	}
	if name == "" {
		return "", "", fault.Errorf(fault.Git, "there is no release of %s, a tag such as %sv%[1]s.0; tag one, or name the commit with --from", l, r.o.TagPrefix)
	}
	if commit, err = r.resolve(ctx, "refs/tags/"+name); err == nil && commit == "" {
		err = fault.Errorf(fault.Git, "tag %s names no commit", name)
	}
	return name, commit, err
}

// ensure has a branch begin at a commit. main is the default branch's.
func (r *Repo) ensure(ctx context.Context, m *Made, main string, push bool) error {
	for again := false; ; again = true {
		tip, p, err := r.tip(ctx, m.Branch)
		if err != nil {
			return err
		}
		if tip != "" {
			if err := r.begins(ctx, *m, main, tip); err != nil {
				return err
			}
		} else {
			tip = m.Commit
		}
		m.Was, m.Pushed = p.there != "" || p.here != "" && !push, p.there != ""
		switch {
		case m.Was:
			return nil
		case push:
			m.Was, err = r.push(ctx, m.Branch, tip, true)
			m.Pushed = err == nil
		default:
			_, err = r.git.Run(ctx, nil, "update-ref", "-m", "branch: made", "refs/heads/"+m.Branch, tip, strings.Repeat("0", len(tip)))
		}
		// Somebody else may have made it meanwhile.
		if again || err == nil || git.KindOf(err) != git.Moved {
			return err
		}
		if push {
			if err := r.fetch(ctx); err != nil {
				return err
			}
		}
	}
}

// begins holds a branch that is there to what it should be: its commit is the one wanted, or the one wanted is a commit of the branch
// itself, as the newest release of a line is. That it is somewhere in its history is not enough: what the default branch has got since is
// nothing that the line should have.
func (r *Repo) begins(ctx context.Context, m Made, main, tip string) error {
	ok, err := r.ancestor(ctx, m.Commit, tip)
	if err == nil && ok {
		var fork string
		if fork, err = r.fork(ctx, main, tip); err == nil {
			ok, err = r.ancestor(ctx, fork, m.Commit)
		}
	}
	if err != nil || ok {
		return err
	}
	return fault.Errorf(fault.Conflict, "branch %s is there, at commit %.12s, and does not begin at %.12s; see who made it and for what, then delete it or take its commit with --from", m.Branch, tip, m.Commit)
}

// VersionFile is the name of the file with the version that is worked on, beside slipway.yaml.
const VersionFile = "VERSION"

// versionFile is its path from the top of the repository.
func (r *Repo) versionFile() string { return path.Join(r.o.Folder, VersionFile) }

// maxVersionFile bounds it, in bytes.
const maxVersionFile = 4 << 10

// versionAt reads the version file of a commit; zero where it has none, or where what is called so is no file or begins with no version.
func (r *Repo) versionAt(ctx context.Context, commit string) (version.Version, error) {
	name := r.versionFile()
	out, err := r.git.Run(ctx, nil, "ls-tree", "-z", "--full-tree", commit, "--", ":(literal)"+name)
	if err != nil || len(out) == 0 {
		return version.Version{}, err
	}
	f := strings.Fields(strings.SplitN(string(out), "\t", 2)[0])
	if len(f) != 3 || f[1] != "blob" || f[0] == "120000" {
		return version.Version{}, nil
	}
	b, err := r.git.Run(ctx, nil, "cat-file", "blob", f[2])
	if err != nil || !IsVersionFile(b) {
		return version.Version{}, err
	}
	v, err := ParseVersionFile(name, b)
	if err != nil {
		return v, fmt.Errorf("commit %.12s: %w", commit, err)
	}
	return v, nil
}

// ParseVersionFile reads a version file: one version in one line. An error is a fault.Git with the way out.
func ParseVersionFile(name string, b []byte) (version.Version, error) {
	const way = "; write one version such as 1.2.3 or 1.2.4-dev into it, and nothing else"
	line := strings.TrimSuffix(string(b), "\n")
	v, err := version.Parse(line)
	switch {
	case len(b) > maxVersionFile:
		err = fmt.Errorf("%s has %d bytes", name, len(b))
	case bytes.ContainsRune(b, '\r'):
		err = fmt.Errorf("%s has a carriage return at the end of a line", name)
	case strings.Contains(line, "\n"):
		err = fmt.Errorf("%s has more than one line", name)
	case err == nil && v.String() != line:
		err = fmt.Errorf("%s says %q, and the v belongs to the tag alone", name, line)
	case err == nil && v.Metadata() != "":
		err = fmt.Errorf("%s says %s, and build metadata is not part of what is worked on", name, v)
	case err != nil:
		err = fmt.Errorf("%s: %w", name, err)
	}
	if err != nil {
		return version.Version{}, fault.New(fault.Git, fmt.Errorf("%w%s", err, way))
	}
	return v, nil
}

// propose makes the branch with the next minor version in the version file of the default branch.
func (r *Repo) propose(ctx context.Context, l Line, main, at string, push bool) (*Proposal, error) {
	before, err := r.versionAt(ctx, at)
	if err != nil || before.IsZero() || before.Major() > l.Major || before.Major() == l.Major && before.Minor() > l.Minor {
		return nil, err
	}
	next, err := version.Parse(fmt.Sprintf("%d.%d.0-dev", l.Major, l.Minor+1))
	if err != nil {
		return nil, fault.New(fault.Git, err)
	}
	name := r.o.Project + "-" + next.String()
	p := &Proposal{Made: Made{Branch: name}, Main: main, File: r.versionFile(), Before: before, Next: next}
	for again := false; ; again = true {
		is, _, err := r.tip(ctx, name)
		if err != nil {
			return nil, err
		}
		if is == "" {
			is, err = r.commitVersion(ctx, at, next, fmt.Sprintf("%s: %s, since %s has a branch of its own\n", p.File, next, l))
		} else if v, err := r.versionAt(ctx, is); err != nil || v != next {
			return nil, fault.Errorf(fault.Conflict, "branch %s is there, at commit %.12s, and its %s is not %s; delete it, or bring %s to that version yourself", name, is, p.File, next, main)
		}
		if err != nil {
			return nil, err
		}
		p.Commit = is
		// Two who propose the same at once make two commits, and the one that came first will do.
		if err = r.ensure(ctx, &p.Made, at, push); again || fault.CodeOf(err) != fault.Conflict {
			return p, err
		}
	}
}

// commitVersion makes a commit that changes the version file alone, in an index of its own.
func (r *Repo) commitVersion(ctx context.Context, parent string, v version.Version, message string) (string, error) {
	index := filepath.Join(r.own, v.String()+".index")
	for _, name := range []string{index, index + ".lock"} { // which a killed run has left
		if err := os.RemoveAll(name); err != nil {
			return "", fault.New(fault.Git, err)
		}
	}
	defer os.Remove(index)
	g := r.git.With("GIT_INDEX_FILE=" + index)
	blob, err := g.ID(ctx, strings.NewReader(v.String()+"\n"), "hash-object", "-w", "--stdin")
	if err != nil {
		return "", err
	}
	if _, err := g.Run(ctx, nil, "read-tree", parent); err != nil {
		return "", err
	}
	if _, err := g.Run(ctx, nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+r.versionFile()); err != nil {
		return "", err
	}
	tree, err := g.ID(ctx, nil, "write-tree")
	if err != nil {
		return "", err
	}
	return g.ID(ctx, strings.NewReader(message), "commit-tree", tree, "-p", parent)
}

// IsVersionFile reports whether a file begins with a version, well written or not, and so is one that ParseVersionFile is for.
func IsVersionFile(b []byte) bool {
	line, _, _ := strings.Cut(string(b[:min(len(b), maxVersionFile)]), "\n")
	_, err := version.Parse(strings.TrimSpace(line))
	return err == nil
}
