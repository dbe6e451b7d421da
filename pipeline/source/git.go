package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	// oldestMajor and oldestMinor are the oldest git that has every option used here.
	oldestMajor, oldestMinor = 2, 25
	// maxOutput bounds what is kept of one answer of git's, in bytes.
	maxOutput = 64 << 20
	// maxStderr bounds what is kept of git's complaints, in bytes.
	maxStderr = 16 << 10
)

// keptEnv are the variables of git that stay. All others go: a hook or `git rebase --exec` around this process sets
// GIT_DIR, GIT_INDEX_FILE and their like, and they would point at another repository. These say where the
// configuration is, and the configuration says which folders are safe (safe.directory) and, on Windows, how line ends
// are kept; that is also why GIT_CONFIG_NOSYSTEM is not set here.
var keptEnv = []string{
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_",
	"GIT_CONFIG_VALUE_", "GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
}

// setEnv makes git's words those that are looked for here, its objects the real ones, and keeps it from asking
// questions and from writing.
var setEnv = []string{
	"LC_ALL=C", "LANGUAGE=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_ATTR_NOSYSTEM=1",
}

// setConfig keeps git from starting programs that the repository's configuration names, has it write names as they
// are, and bounds its memory.
var setConfig = []string{
	"-c", "core.fsmonitor=false",
	"-c", "core.hooksPath=" + os.DevNull,
	"-c", "core.attributesFile=" + os.DevNull,
	"-c", "core.quotePath=false",
	"-c", "protocol.ext.allow=never",
	// Above this size git streams a blob instead of holding it in memory.
	"-c", "core.bigFileThreshold=16m",
}

func environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		keep := !strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "LC_ALL=") && !strings.HasPrefix(kv, "LANGUAGE=")
		for _, k := range keptEnv {
			keep = keep || strings.HasPrefix(kv, k)
		}
		if keep {
			env = append(env, kv)
		}
	}
	return append(env, setEnv...)
}

// repo is a work tree, by its root or any folder in it.
type repo struct{ dir string }

func (r repo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(setConfig[:len(setConfig):len(setConfig)], args...)...)
	cmd.Dir = r.dir
	cmd.Env = environ()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run is what git writes for args, the subcommand first.
func (r repo) run(ctx context.Context, args ...string) (string, error) {
	return r.ask(ctx, "", args...)
}

// ask is run with something on git's standard input.
func (r repo) ask(ctx context.Context, in string, args ...string) (string, error) {
	cmd := r.command(ctx, args...)
	cmd.Stdin = strings.NewReader(in)
	stdout, stderr := &capped{max: maxOutput}, &capped{max: maxStderr, drop: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), failure(ctx, args, stderr.String(), err)
	}
	return stdout.String(), nil
}

// stream runs git and has read read what it writes. Where read fails git is ended; where read fails because git has
// ended too early, git's own complaint is the error.
func (r repo) stream(ctx context.Context, in io.Reader, read func(stdout io.Reader) error, args ...string) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := r.command(inner, args...)
	stderr := &capped{max: maxStderr, drop: true}
	cmd.Stdin, cmd.Stderr = in, stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return failure(ctx, args, "", err)
	}
	readErr := read(stdout)
	tooEarly := errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF)
	if readErr != nil && !tooEarly {
		cancel()
	}
	if err := cmd.Wait(); err != nil && (readErr == nil || tooEarly) {
		return failure(ctx, args, stderr.String(), err)
	}
	return readErr
}

// gitError is a run of git that did not succeed.
type gitError struct {
	command string
	stderr  string
	err     error
}

func (e *gitError) Error() string {
	if words := oneLine(e.stderr); words != "" {
		return fmt.Sprintf("running git %s: %s", e.command, words)
	}
	return fmt.Sprintf("running git %s: %v", e.command, e.err)
}

func (e *gitError) Unwrap() error { return e.err }

// failure gives git's failure the exit code and, where git cannot be run at all, the way out.
func failure(ctx context.Context, args []string, stderr string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("running git %s: %w", subcommand(args), context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound):
		return fault.Errorf(fault.Git, "git is not in PATH: install git %d.%d or later", oldestMajor, oldestMinor)
	case errors.Is(err, errTooMuch):
		return fault.Errorf(fault.Git, "running git %s: it wrote more than %d MiB", subcommand(args), maxOutput>>20)
	}
	return fault.New(fault.Git, &gitError{subcommand(args), stderr, err})
}

// says reports whether git failed with these words.
func says(err error, words string) bool {
	e, ok := errors.AsType[*gitError](err)
	return ok && strings.Contains(e.stderr, words)
}

// quiet reports whether git failed and said nothing, its way of answering no.
func quiet(err error) bool {
	e, ok := errors.AsType[*gitError](err)
	if !ok || e.stderr != "" {
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](e.err)
	return ok && exit.ExitCode() == 1
}

// oneLine is git's complaint with its way out, which may stand some lines further down.
func oneLine(stderr string) string {
	var lines []string
	for line := range strings.SplitSeq(stderr, "\n") {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "fatal: ")); line != "" {
			lines = append(lines, line)
		}
	}
	s := strings.ToValidUTF8(strings.Join(lines, "; "), "?")
	const limit = 600
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

var errTooMuch = errors.New("too much output")

// capped keeps up to max bytes and then either drops the rest or fails.
type capped struct {
	bytes.Buffer
	max  int
	drop bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.max - c.Len(); len(p) > room {
		if !c.drop {
			return 0, errTooMuch
		}
		c.Buffer.Write(p[:room])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// ReadFrom hides the buffer's own, which knows no limit.
func (c *capped) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// open finds the work tree that dir is in.
func open(ctx context.Context, dir string) (repo, error) {
	if dir == "" {
		dir = "."
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return repo{}, fault.Errorf(fault.Git, "finding %s: %w", dir, err)
	}
	if info, err := os.Stat(abs); err != nil {
		return repo{}, fault.Errorf(fault.Git, "finding the repository: %w", err)
	} else if !info.IsDir() {
		return repo{}, fault.Errorf(fault.Git, "finding the repository: %s is not a folder", dir)
	}
	r := repo{abs}
	if err := r.checkGit(ctx); err != nil {
		return repo{}, err
	}
	out, err := r.run(ctx, "rev-parse", "--is-shallow-repository", "--show-toplevel")
	switch {
	case says(err, "not a git repository"):
		return repo{}, fault.Errorf(fault.Git,
			"%s is in no git repository: run this in a clone of one, or begin one with `git init` and `git commit`", abs)
	case says(err, "must be run in a work tree"):
		return repo{}, fault.Errorf(fault.Git, "%s is in no work tree: run this in a clone that is not bare, outside .git", abs)
	case err != nil:
		return repo{}, err
	}
	shallow, root, _ := strings.Cut(out, "\n")
	if shallow == "true" {
		return repo{}, fault.Errorf(fault.Git, "%s is a shallow clone, so its history and tags are not all there: "+
			"complete it with `git fetch --unshallow --tags`", abs)
	}
	return repo{filepath.FromSlash(strings.TrimSuffix(root, "\n"))}, nil
}

// checkGit refuses a git that lacks what is used here.
func (r repo) checkGit(ctx context.Context) error {
	out, err := r.run(ctx, "version")
	if err != nil {
		return err
	}
	number := strings.TrimSpace(strings.TrimPrefix(out, "git version "))
	parts := strings.SplitN(number+"..", ".", 3)
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fault.Errorf(fault.Git, "git is %.60q: install git %d.%d or later", number, oldestMajor, oldestMinor)
	}
	return nil
}

// isRoot reports whether r.dir is the root of a work tree, and not a folder in that of another repository, which is
// what git takes an empty submodule for.
func (r repo) isRoot(ctx context.Context) (bool, error) {
	if _, err := os.Lstat(filepath.Join(r.dir, ".git")); err != nil {
		return false, nil
	}
	prefix, err := r.run(ctx, "rev-parse", "--show-prefix")
	if says(err, "not a git repository") {
		return false, nil
	}
	return err == nil && strings.TrimSuffix(prefix, "\n") == "", err
}

// resolve is the commit that rev names, "" where there is none. rev must have passed checkName or be ours: --verify
// takes one argument that does not begin with -, and git before 2.30 has no other way to say so.
func (r repo) resolve(ctx context.Context, rev string) (string, error) {
	out, err := r.run(ctx, "rev-parse", "--verify", "--quiet", rev+"^{commit}")
	if quiet(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(out, "\n")
	if !isObjectName(id) {
		return "", fault.Errorf(fault.Git, "resolving %q: git answers %.80q", rev, id)
	}
	return id, nil
}

// isObjectName reports whether s is a full SHA-1 or SHA-256 object name.
func isObjectName(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// checkName refuses names from outside that git could take for an option or for a transport that runs a program. Any
// other name is data: it is never given to a shell.
func checkName(what, s string) error {
	switch {
	case len(s) > 1024:
		return fault.Errorf(fault.Git, "%s %.40q... is longer than 1024 bytes", what, s)
	case strings.HasPrefix(s, "-"):
		return fault.Errorf(fault.Git, "%s %q begins with a hyphen, as an option of git's would: rename it", what, s)
	case strings.Contains(s, "ext::"):
		return fault.Errorf(fault.Git, "%s %q contains ext::, the name of a transport that runs a program: rename it", what, s)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fault.Errorf(fault.Git, "%s %q contains control characters: rename it", what, s)
	}
	return nil
}
