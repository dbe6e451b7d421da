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
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// clone is a bare repository with the one commit that the branch is at.
type clone struct {
	o       Options
	program string // git
	dir     string
	head    string // "" for a branch that is not there yet
}

// gitError is what git has to say, and what the remote says through it.
type gitError struct {
	command string
	stderr  string
	err     error
}

func (e *gitError) Error() string {
	if text := wire.Message([]byte(e.stderr)); text != "" {
		return fmt.Sprintf("running git %s: %s", e.command, text)
	}
	return fmt.Sprintf("running git %s: %v", e.command, e.err)
}

func (e *gitError) Unwrap() error { return e.err }

// refused is how git says that it is not let in, over HTTP and over SSH. GitHub tells those who may not read a
// repository that there is none.
var refused = regexp.MustCompile(`(?i)authentication failed|could not read username|returned error: (?:401|403)|permission denied|access denied|` +
	`permission to .* denied|invalid username or password|remote: repository not found|error: repository not found|publickey|marked as read.only|` +
	`not allowed to push code to this project|host key verification failed`)

// moved is how git says that a branch is not where it was thought to be.
var moved = regexp.MustCompile(`(?i)non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref|incorrect old value|reference already exists`)

// protected is how servers say that a branch takes no pushes
// (https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches).
var protected = regexp.MustCompile(`(?i)protected branch|hook declined|GH006|GH013|repository rule violations`)

// absent is how git says that no repository is at the URL, or none that it can talk to.
var absent = regexp.MustCompile(`(?i)repository '.*' not found|does not appear to be a git repository|returned error: (?:301|302|307|308|404|410)|` +
	`unable to update url base|mismatched algorithms|not valid: is this a git repository`)

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
		return fault.New(fault.Policy, fmt.Errorf("%w; let the token's owner push to the branch", err))
	case absent.MatchString(e.stderr):
		return fault.New(fault.Usage, fmt.Errorf("%w; name the URL that the repository has now", err))
	}
	return fault.New(fault.Transient, err)
}

// Bounds of what is read of a git command, in bytes.
const (
	maxOutput = 80 << 20
	maxStderr = 64 << 10
)

// settings keep git from starting programs that nobody named here, from leaving work behind in a folder that is about
// to be removed, and from waiting for ever for a remote that has gone silent.
var settings = []string{
	"-c", "core.hooksPath=" + os.DevNull,
	"-c", "core.attributesFile=" + os.DevNull,
	"-c", "gc.auto=0", "-c", "maintenance.auto=false",
	"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
	// Above this size git streams a blob instead of holding it in memory.
	"-c", "core.bigFileThreshold=16m",
}

// environment is all that git is told by the machine. No configuration but that of the repository is read, so nothing
// changes what is written; nobody is asked for a password; and only the transports that are meant are there, so that no
// remote leads to ext::, which runs what it names. GIT_CONFIG_GLOBAL keeps a HOME that Env may have from being one with
// a configuration.
func (c *clone) environment() []string {
	return append([]string{
		"PATH=" + c.o.Path, "HOME=" + c.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1", "LC_ALL=C", "GIT_ALLOW_PROTOCOL=https:http:ssh:file",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4",
	}, c.o.Env...)
}

// git runs git in the clone. What it is asked to do comes first in args; whatever is from outside comes after a --.
func (c *clone) git(ctx context.Context, stdin io.Reader, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.program, slices.Concat(settings, []string{"--git-dir", c.dir}, args)...)
	cmd.Dir = filepath.Dir(c.dir)
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = stdin
	cmd.Env = slices.Concat(c.environment(), c.credentials(), env)
	out, stderr := &bounded{max: maxOutput}, &bounded{max: maxStderr}
	cmd.Stdout, cmd.Stderr = out, stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &gitError{args[0], c.hide(stderr.b.String()), err}
	}
	if out.full {
		return nil, fault.Errorf(fault.Usage, "running git %s: it wrote more than %d bytes", args[0], maxOutput)
	}
	return out.b.Bytes(), nil
}

// bounded keeps the first bytes and drops the others.
type bounded struct {
	b    bytes.Buffer
	max  int
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := b.max - b.b.Len(); n > room {
		b.full, p = true, p[:room]
	}
	b.b.Write(p)
	return n, nil
}

// find looks git up, where the options say and not where this process would.
func find(path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if program, err := exec.LookPath(filepath.Join(dir, "git")); err == nil {
			return program, nil
		}
	}
	return "", fault.Errorf(fault.Git, "git is not in PATH: install git 2.32 or later")
}

// credentials gives the token to one child process, as a header for the URL of the remote alone. In its environment
// nobody sees it who could not read this process's, while everybody on the machine sees arguments. A credential helper
// or GIT_ASKPASS would be a program on disk that has to be written, found and trusted, and that git asks only after the
// remote has refused it once. The header is not sent where the remote redirects to.
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
	program, err := find(o.Path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.Dir, "slipway-charts-")
	if err != nil {
		return nil, fault.New(fault.Usage, fmt.Errorf("making a folder to work in: %w", err))
	}
	c := &clone{o: o, program: program, dir: filepath.Join(dir, "git")}
	// No template, which could have hooks.
	_, err = c.git(ctx, nil, nil, "init", "--quiet", "--bare", "--template=", "--object-format=sha1")
	if err = failure(err); err == nil {
		err = c.fetch(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *clone) close() { os.RemoveAll(filepath.Dir(c.dir)) }

// fetch has head be what the branch is at now.
func (c *clone) fetch(ctx context.Context) error {
	out, err := c.git(ctx, nil, nil, "ls-remote", "--", c.o.Remote, c.ref())
	if err != nil {
		return failure(err)
	}
	c.head = ""
	other := ""
	for line := range strings.Lines(string(out)) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		switch {
		case ref != c.ref():
			other = ref
		case !objectID.MatchString(id):
			return fault.Errorf(fault.Transient, "the git repository says that %s is at %.60q", c.o.Branch, id)
		default:
			c.head = id
		}
	}
	if c.head == "" && other != "" { // a push would be to that one
		return fault.Errorf(fault.Usage, "there is no branch %s, and git takes %.80q for it; make the branch first", c.o.Branch, other)
	}
	if c.head == "" {
		return nil
	}
	// What the branch is at by now, if it moved in between.
	if _, err := c.git(ctx, nil, nil, "fetch", "--quiet", "--depth=1", "--no-tags", "--", c.o.Remote, "+"+c.ref()+":"+theirs); err != nil {
		return failure(err)
	}
	if out, err = c.git(ctx, nil, nil, "rev-parse", "--verify", theirs); err != nil {
		return failure(err)
	}
	c.head = strings.TrimSpace(string(out))
	return nil
}

// theirs is the branch in the clone.
const theirs = "refs/theirs"

func (c *clone) ref() string { return "refs/heads/" + c.o.Branch }

var objectID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// read is a file of the branch; nil where there is none.
func (c *clone) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if c.head == "" {
		return nil, nil
	}
	out, err := c.git(ctx, nil, nil, "ls-tree", "-l", "-z", c.head, "--", name)
	if err != nil {
		return nil, failure(err)
	}
	if len(out) == 0 {
		return nil, nil
	}
	var mode, kind, id string
	var size int64
	if _, err := fmt.Sscan(string(out), &mode, &kind, &id, &size); err != nil || kind != "blob" || mode == symlink {
		return nil, fault.Errorf(fault.Usage, "%s of branch %s is no file; move it away", name, c.o.Branch)
	}
	if size > limit {
		return nil, fault.Errorf(fault.Usage, "%s of branch %s has %d bytes, and at most %d are read", name, c.o.Branch, size, limit)
	}
	b, err := c.git(ctx, nil, nil, "cat-file", "blob", id)
	if err != nil {
		return nil, failure(err)
	}
	return append([]byte{}, b...), nil // an empty file is one
}

// symlink is the mode of a symbolic link in a tree.
const symlink = "120000"

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
	if err := c.onlyAdds(ctx, strings.TrimSpace(string(tree)), files); err != nil {
		return "", err
	}
	args := []string{"commit-tree", strings.TrimSpace(string(tree)), "-F", "-"}
	if c.head != "" {
		args = append(args, "-p", c.head)
	}
	id, err := c.git(ctx, strings.NewReader(message+"\n"), env, args...)
	return strings.TrimSpace(string(id)), failure(err)
}

// onlyAdds tells why a tree has another difference to the branch than the files: one of them is in the place of a
// folder, or below what is a file, and git makes room.
func (c *clone) onlyAdds(ctx context.Context, tree string, files map[string][]byte) error {
	if c.head == "" {
		return nil
	}
	out, err := c.git(ctx, nil, nil, "diff-tree", "-r", "-z", "--no-renames", "--name-only", c.head, tree, "--")
	if err != nil {
		return failure(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, ours := files[name]; !ours && name != "" {
			return fault.Errorf(fault.Usage, "%.200q of branch %s is in the way of a file of the chart repository; move it away", name, c.o.Branch)
		}
	}
	return nil
}

// push moves the branch to a commit that is ahead of it. It tells whether the branch had moved.
func (c *clone) push(ctx context.Context, commit string, dry bool) (behind bool, err error) {
	args := []string{"push", "--quiet"}
	if dry {
		args = append(args, "--dry-run")
	}
	_, err = c.git(ctx, nil, nil, append(args, "--", c.o.Remote, commit+":"+c.ref())...)
	if e, ok := err.(*gitError); ok && moved.MatchString(e.stderr) {
		return true, fault.New(fault.Transient, fmt.Errorf("%w; somebody else pushed to %s", err, c.o.Branch))
	}
	return false, failure(err)
}
