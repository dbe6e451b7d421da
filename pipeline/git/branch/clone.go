// Package branch works on a branch of a git repository elsewhere as on a thing that only grows: what is added goes on top of what
// is there by then, in one commit that is pushed and never forced, so that of two writers at once neither loses what the other
// wrote. A Clone has the steps, for callers that decide themselves when to go on; a Log has them in order, and holds the branch to
// its history.
package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Needs is the oldest git that has what is used here: it takes configuration from its environment, GIT_CONFIG_GLOBAL included.
var Needs = git.Version{Major: 2, Minor: 32}

// remoteName is what the remote is called in git's configuration. Were its URL an argument, everybody on the machine could read a
// password in it.
const remoteName = "slipway"

// theirs is the branch in the clone, and below made are the commits that were made last.
const (
	theirs = "refs/slipway/theirs"
	made   = "refs/slipway/made/"
)

// ErrUnfit says that what has the name of a file on the branch is not one, or is larger than was to be read.
var ErrUnfit = errors.New("not a file of that size")

type unfitError struct{ error }

func (unfitError) Is(target error) bool { return target == ErrUnfit }

func unfit(format string, args ...any) error {
	return fault.New(fault.Usage, unfitError{fmt.Errorf(format, args...)})
}

// Clone is a bare repository of our own that has the commits of one branch.
type Clone struct {
	// Git runs with the clone for its repository. Its Private configuration is kept, and gains the remote.
	Git     git.Git
	Dir     string // where the clone is
	Remote  string // URL or absolute path of the repository that has the branch
	Branch  string
	Shallow bool // only what the branch is at is fetched, and not how it came about

	Author, Email string // of commits, also as the committer

	head string
}

// Change is what a commit does.
type Change struct {
	Files   map[string][]byte // to be there with these bytes, by slash-separated path; all others stay
	Gone    []string          // not to be there any more
	Message string            // without a newline at its end
	Time    time.Time
	Over    bool // what is at the top under a name that is no path is gone too; see Group.Sound

	stays []row // at the top, where Over
}

// Init makes the clone, which is not there yet.
func (c *Clone) Init(ctx context.Context) error {
	// No template, which could have hooks.
	_, err := c.git().Run(ctx, nil, "init", "--quiet", "--bare", "--template=", "--object-format=sha1")
	return err
}

// lock keeps other processes out of the clone until it is unlocked.
func (c *Clone) lock(ctx context.Context) (unlock func() error, err error) {
	unlock, err = filelock.Lock(ctx, c.Dir+".lock", patience)
	if ctx.Err() != nil || errors.Is(err, filelock.ErrHeld) {
		return unlock, fault.New(fault.Transient, err)
	}
	return unlock, fault.New(fault.Usage, err)
}

func (c *Clone) git() git.Git {
	g := c.Git
	g.Dir, g.GitDir, g.Protocols = filepath.Dir(c.Dir), c.Dir, "https:http:ssh:file"
	more := g.Private
	g.Private = func() []git.Setting {
		settings := []git.Setting{{Key: "remote." + remoteName + ".url", Value: c.Remote}}
		if more != nil {
			settings = append(settings, more()...)
		}
		return settings
	}
	return g
}

// Head is the commit that the branch was at when it was last asked for, "" for a branch that was not there.
func (c *Clone) Head() string { return c.head }

func (c *Clone) ref() string { return "refs/heads/" + c.Branch }

// Look asks what the branch is at, and fetches nothing. Another branch that git would take for it is a fault.Usage: a push would
// go there.
func (c *Clone) Look(ctx context.Context) (commit string, err error) {
	out, err := c.git().Run(ctx, nil, "ls-remote", "--", remoteName, c.ref())
	if err != nil {
		return "", git.OfRemote(err)
	}
	other := ""
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		switch {
		case ref != c.ref():
			other = ref
		case !git.IsObject(id):
			return "", fault.Errorf(fault.Transient, "the git repository says that %s is at %.60q", c.Branch, id)
		default:
			commit = id
		}
	}
	if commit == "" && other != "" {
		return "", fault.Errorf(fault.Usage, "there is no branch %s, and git takes %.80q for it; make the branch first", c.Branch, other)
	}
	return commit, nil
}

// Fetch has Head be what the branch is at now.
func (c *Clone) Fetch(ctx context.Context) error {
	at, err := c.Look(ctx)
	if err != nil || at == "" {
		c.head = ""
		return err
	}
	args := []string{"fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"}
	if c.Shallow {
		args = append(args, "--depth=1")
	}
	if _, err := c.git().Run(ctx, nil, append(args, "--", remoteName, "+"+c.ref()+":"+theirs)...); err != nil {
		return git.OfRemote(err)
	}
	// What the branch is at by now, if it moved in between.
	c.head, err = c.git().ID(ctx, nil, "rev-parse", "--verify", theirs+"^{commit}")
	return err
}

// File is a file at Head, nil where there is none. One of more than limit bytes, and what is not a file, is an ErrUnfit.
func (c *Clone) File(ctx context.Context, name string, limit int64) ([]byte, error) {
	if c.head == "" {
		return nil, nil
	}
	out, err := c.git().Run(ctx, nil, "ls-tree", "-l", "-z", c.head, "--", name)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	var mode, kind, id string
	var size int64
	if _, err := fmt.Sscan(string(out), &mode, &kind, &id, &size); err != nil || kind != "blob" || !strings.HasPrefix(mode, "100") {
		return nil, unfit("%s of branch %s is not a file; move it away", name, c.Branch)
	}
	if size > limit {
		return nil, unfit("%s of branch %s has %d bytes, and at most %d are read", name, c.Branch, size, limit)
	}
	g := c.git()
	g.Max = int(limit) + 1
	b, err := g.Run(ctx, nil, "cat-file", "blob", id)
	return append([]byte{}, b...), err // an empty file is one
}

// Commit makes a commit on Head, which is a function of the two and of the author. It pushes nothing.
func (c *Clone) Commit(ctx context.Context, change Change) (string, error) {
	all, err := commits(ctx, c.git(), c.Author, c.Email, []Commit{{c.head, change}})
	if err != nil {
		return "", err
	}
	return all[0], c.onlyAdds(ctx, all[0], change.Files)
}

// Commit is one to make: a change of what another commit has, or of nothing.
type Commit struct {
	Onto string
	Change
}

// commits makes commits and returns their names. One process makes all of their objects (https://git-scm.com/docs/git-fast-import),
// where git's other commands take one for each file and four more for each commit.
func commits(ctx context.Context, g git.Git, author, email string, all []Commit) ([]string, error) {
	var in bytes.Buffer
	data := func(b []byte) { fmt.Fprintf(&in, "data %d\n%s\n", len(b), b) }
	for i, c := range all {
		if c.Over { // for a commit that begins with nothing, and has another one as its parent all the same
			fmt.Fprintf(&in, "reset %s%d\n", made, i+1)
		}
		fmt.Fprintf(&in, "commit %s%d\nmark :%[2]d\n", made, i+1)
		for _, who := range []string{"author", "committer"} {
			fmt.Fprintf(&in, "%s %s <%s> %d +0000\n", who, identity(author), identity(email), c.Time.Unix())
		}
		data([]byte(c.Message + "\n"))
		if c.Onto != "" {
			fmt.Fprintf(&in, "%s %s\n", map[bool]string{false: "from", true: "merge"}[c.Over], c.Onto)
		}
		if c.Over {
			for _, r := range c.stays {
				fmt.Fprintf(&in, "M %s %s %s\n", r.mode, r.id, quote(r.name))
			}
		}
		for _, name := range c.Gone {
			fmt.Fprintf(&in, "D %s\n", quote(name))
		}
		for _, name := range slices.Sorted(maps.Keys(c.Files)) {
			fmt.Fprintf(&in, "M 100644 inline %s\n", quote(name))
			data(c.Files[name])
		}
		fmt.Fprintf(&in, "get-mark :%d\n", i+1)
	}
	return fastImport(ctx, g, &in, len(all))
}

// fastImport makes objects and returns the names of those that are asked for, so many.
func fastImport(ctx context.Context, g git.Git, in *bytes.Buffer, n int) ([]string, error) {
	in.WriteString("done\n")
	// The refs may be at other commits from before. A pack is kept as it is: to unpack it would be a process more.
	out, err := g.Set("fastimport.unpackLimit=0").Run(ctx, in, "fast-import", "--quiet", "--force", "--done")
	if err != nil {
		return nil, err
	}
	ids := strings.Fields(string(out))
	if len(ids) != n || n > 0 && !git.IsObject(ids[0]) {
		return nil, fault.Errorf(fault.Git, "running git fast-import: it answers %.80q", out)
	}
	return ids, nil
}

// identity is a name or an address as git puts it into a commit: without what ends either, and without what git takes off its ends.
func identity(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '<' || r == '>' || r == '\n' || r == 0 {
			return -1
		}
		return r
	}, s)
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`.,:;"\'`, r) })
}

// quote writes a path for fast-import, which reads it as C does.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}

// onlyAdds says why a commit has another difference to the branch than the files: one of them is in the place of a
// folder, or below what is a file, and git makes room.
func (c *Clone) onlyAdds(ctx context.Context, commit string, files map[string][]byte) error {
	if c.head == "" {
		return nil
	}
	out, err := c.git().Run(ctx, nil, "diff-tree", "-r", "-z", "--no-renames", "--name-only", c.head, commit, "--")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, ours := files[name]; !ours && name != "" {
			return fault.Errorf(fault.Usage, "%.200q of branch %s is in the way of what is to be written there; move it away", name, c.Branch)
		}
	}
	return nil
}

// Push moves the branch to a commit of Commit, or with dry asks whether it could. It reports whether the branch had moved, or has
// that very commit from somebody else: then Fetch, and make another one on what is there.
func (c *Clone) Push(ctx context.Context, commit string, dry bool) (behind bool, err error) {
	args := []string{"push", "--porcelain"}
	if dry {
		args = append(args, "--dry-run")
	}
	out, err := c.git().Run(ctx, nil, append(args, "--", remoteName, commit+":"+c.ref())...)
	switch {
	case git.KindOf(err) == git.Moved:
		return true, fault.New(fault.Transient, fmt.Errorf("%w; others push to %s too, or something holds it: try again", err, c.Branch))
	case err != nil:
		return false, git.OfRemote(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "=\t") {
			return true, fault.Errorf(fault.Transient, "others push the same commit to %s: try again", c.Branch)
		}
	}
	return false, nil
}

// names are the names of branches (https://git-scm.com/docs/git-check-ref-format), without those that need quoting somewhere.
var names = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)

// CheckName refuses what is not the name of a branch.
func CheckName(name string) error {
	if !names.MatchString(name) || strings.Contains(name, "..") || strings.HasSuffix(name, ".") ||
		slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return strings.HasSuffix(part, ".lock") }) {
		return fault.Errorf(fault.Usage, "%.80q is not the name of a branch", name)
	}
	return nil
}
