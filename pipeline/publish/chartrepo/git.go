package chartrepo

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/fault"
)

// clone is a bare repository with the one commit that the branch is at.
type clone struct {
	o    Options
	dir  string
	head string // "" for a branch that is not there yet
}

// gitError is what git has to say.
type gitError struct {
	args   []string
	stderr string
	err    error
}

func (e *gitError) Error() string {
	text := strings.TrimSpace(e.stderr)
	if text == "" {
		text = e.err.Error()
	}
	return fmt.Sprintf("git %s: %s", e.args[0], strings.Join(strings.Fields(text), " "))
}

func (e *gitError) Unwrap() error { return e.err }

// refused is how git says that it is not let in, over HTTP and over SSH.
var refused = regexp.MustCompile(`(?i)authentication failed|could not read username|returned error: (?:401|403)|permission denied|access denied|permission to .* denied|invalid username or password|repository not found|publickey`)

// moved is how git says that a branch is not where it was thought to be.
var moved = regexp.MustCompile(`(?i)non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref|incorrect old value|reference already exists`)

// protected is how servers say that a branch takes no pushes.
var protected = regexp.MustCompile(`(?i)protected branch|hook declined|GH006|GH013`)

// failure gives what git says its exit code.
func failure(err error) error {
	e, ok := err.(*gitError)
	if !ok {
		return err
	}
	switch {
	case refused.MatchString(e.stderr):
		return fault.New(fault.Credentials, err)
	case protected.MatchString(e.stderr):
		return fault.New(fault.Policy, fmt.Errorf("%w; let the token's owner push to it", err))
	}
	return fault.New(fault.Transient, err)
}

// maxOutput bounds what is read of a git command, in bytes.
const maxOutput = 80 << 20

// git runs git in the clone, in an environment of its own: nothing that the machine is configured with changes what is
// written, and nobody is asked for a password.
func (c *clone) git(ctx context.Context, stdin io.Reader, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"--git-dir", c.dir}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = stdin
	cmd.Env = append([]string{
		"PATH=" + c.o.Path, "HOME=" + c.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "GIT_ALLOW_PROTOCOL=https:http:ssh:file",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes",
	}, c.o.Env...)
	cmd.Env = append(append(cmd.Env, c.credentials()...), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out := &bounded{}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &gitError{args, c.hide(stderr.String()), err}
	}
	if out.full {
		return nil, fault.Errorf(fault.Usage, "git %s: more than %d bytes", args[0], maxOutput)
	}
	return out.b.Bytes(), nil
}

type bounded struct {
	b    bytes.Buffer
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.b.Len()+len(p) > maxOutput {
		b.full = true
		return len(p), nil
	}
	return b.b.Write(p)
}

// credentials gives the token to one child process, for the host of the remote alone. In its environment nobody sees it
// who could not read this process's, while everybody on the machine sees arguments.
func (c *clone) credentials() []string {
	token := ""
	if c.o.Token != nil {
		token = c.o.Token()
	}
	if token == "" || !strings.HasPrefix(c.o.Remote, "http") {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	return []string{
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=http." + c.o.Remote + ".extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic " + basic,
		"GIT_CONFIG_KEY_1=http.followRedirects", "GIT_CONFIG_VALUE_1=false",
	}
}

// hide takes the token out of what git says, in case it says it.
func (c *clone) hide(text string) string {
	if c.o.Token == nil || c.o.Token() == "" {
		return text
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + c.o.Token()))
	return strings.NewReplacer(c.o.Token(), "...", basic, "...").Replace(text)
}

// open clones the commit that the branch is at.
func open(ctx context.Context, o Options) (*clone, error) {
	dir, err := os.MkdirTemp(o.Dir, "slipway-charts-")
	if err != nil {
		return nil, err
	}
	c := &clone{o: o, dir: filepath.Join(dir, "git")}
	if err := c.fetch(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *clone) close() { os.RemoveAll(filepath.Dir(c.dir)) }

func (c *clone) fetch(ctx context.Context) error {
	if _, err := os.Stat(c.dir); err != nil {
		if _, err := c.git(ctx, nil, nil, "init", "--quiet", "--bare"); err != nil {
			return failure(err)
		}
	}
	out, err := c.git(ctx, nil, nil, "ls-remote", "--", c.o.Remote, c.ref())
	if err != nil {
		return failure(err)
	}
	c.head = ""
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if ref == c.ref() {
			if !objectID.MatchString(id) {
				return fault.Errorf(fault.Transient, "the git repository says that %s is at %.60q", c.o.Branch, id)
			}
			c.head = id
		}
	}
	if c.head == "" {
		return nil
	}
	// What the branch is at by now, if it moved in between.
	if _, err := c.git(ctx, nil, nil, "fetch", "--quiet", "--depth=1", "--no-tags", "--", c.o.Remote, "+"+c.ref()+":refs/theirs"); err != nil {
		return failure(err)
	}
	if out, err = c.git(ctx, nil, nil, "rev-parse", "--verify", "refs/theirs"); err != nil {
		return failure(err)
	}
	c.head = strings.TrimSpace(string(out))
	return nil
}

func (c *clone) ref() string { return "refs/heads/" + c.o.Branch }

var objectID = regexp.MustCompile(`^[0-9a-f]{40}(?:[0-9a-f]{24})?$`)

// read is a file of the branch; nil where there is none.
func (c *clone) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if c.head == "" {
		return nil, nil
	}
	out, err := c.git(ctx, nil, nil, "ls-tree", "-l", "-z", c.head, "--", name)
	if err != nil {
		return nil, failure(err)
	}
	fields := strings.Fields(strings.TrimRight(string(out), "\x00"))
	if len(fields) < 5 || fields[1] != "blob" {
		return nil, nil
	}
	var size int64
	if _, err := fmt.Sscan(fields[3], &size); err != nil || size > limit {
		return nil, fault.Errorf(fault.Usage, "%s of branch %s has %s bytes, and at most %d are read", name, c.o.Branch, fields[3], limit)
	}
	b, err := c.git(ctx, nil, nil, "cat-file", "blob", fields[2])
	return b, failure(err)
}

// commit makes a commit that adds the files. It is a function of the branch, the files and the release alone.
func (c *clone) commit(ctx context.Context, files map[string][]byte, message string, at time.Time) (string, error) {
	date := fmt.Sprintf("%d +0000", at.Unix())
	env := []string{
		"GIT_INDEX_FILE=" + filepath.Join(filepath.Dir(c.dir), "index"),
		"GIT_AUTHOR_NAME=" + c.o.Committer, "GIT_AUTHOR_EMAIL=" + c.o.Email, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + c.o.Committer, "GIT_COMMITTER_EMAIL=" + c.o.Email, "GIT_COMMITTER_DATE=" + date,
	}
	base := "--empty"
	if c.head != "" {
		base = c.head
	}
	if _, err := c.git(ctx, nil, env, "read-tree", base); err != nil {
		return "", failure(err)
	}
	var lines bytes.Buffer
	for name, content := range files {
		id, err := c.git(ctx, bytes.NewReader(content), nil, "hash-object", "-w", "--stdin")
		if err != nil {
			return "", failure(err)
		}
		fmt.Fprintf(&lines, "100644 %s\t%s\x00", strings.TrimSpace(string(id)), name)
	}
	if _, err := c.git(ctx, &lines, env, "update-index", "-z", "--index-info"); err != nil {
		return "", failure(err)
	}
	tree, err := c.git(ctx, nil, env, "write-tree")
	if err != nil {
		return "", failure(err)
	}
	args := []string{"commit-tree", strings.TrimSpace(string(tree)), "-F", "-"}
	if c.head != "" {
		args = append(args, "-p", c.head)
	}
	id, err := c.git(ctx, strings.NewReader(message+"\n"), env, args...)
	return strings.TrimSpace(string(id)), failure(err)
}

// push moves the branch to a commit that is ahead of it. It tells whether the branch had moved.
func (c *clone) push(ctx context.Context, commit string, dry bool) (behind bool, err error) {
	args := []string{"push", "--quiet"}
	if dry {
		args = append(args, "--dry-run")
	}
	_, err = c.git(ctx, nil, nil, append(args, "--", c.o.Remote, commit+":"+c.ref())...)
	if e, ok := err.(*gitError); ok && moved.MatchString(e.stderr) {
		return true, fault.New(fault.Transient, err)
	}
	return false, failure(err)
}
