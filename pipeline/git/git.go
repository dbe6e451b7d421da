// Package git runs the git command, for every room that needs it and in one way: never through a shell, with one fixed
// configuration, with the few variables of the environment that it needs, without asking anybody for anything, with bounded
// answers, and ended with its context. What went wrong is read out of git's words here and nowhere else.
//
// A repository is not trusted. Programs that its own configuration names are not run (see Git.Distrust), nor are its hooks, its
// file system monitor or a transport that runs what it is told; replace refs are not followed.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	// maxOutput bounds one answer of git's that is kept, in bytes, where the caller gives no bound.
	maxOutput = 64 << 20
	// maxStderr bounds what is kept of git's complaints, in bytes.
	maxStderr = 64 << 10
	// patience is how long a git that was interrupted may take to end.
	patience = 5 * time.Second
)

// settings are all that git is configured with besides what a caller adds, whatever the machine and the repository say. They keep
// git from starting programs, have it write names as they are, bound its memory, and keep it from taking anything along
// with a push, from cleaning up behind anybody's back, and from waiting for ever for a remote that has gone silent.
var settings = []string{
	"core.fsmonitor=false",
	"core.attributesFile=" + os.DevNull,
	"core.quotePath=false",
	// Above this size git streams a blob instead of holding it in memory.
	"core.bigFileThreshold=16m",
	"i18n.commitEncoding=UTF-8",
	"push.followTags=false", "push.gpgSign=false", "push.recurseSubmodules=no",
	"gc.auto=0", "maintenance.auto=false",
	"http.lowSpeedLimit=1", "http.lowSpeedTime=60",
}

// noHooks goes with every command. It is no setting of the repository that a push goes to, on this machine either: the hooks there
// are for that repository to choose.
const noHooks = "core.hooksPath=" + os.DevNull

// Git is git in a folder. It is a value: the methods that change something return another one.
type Git struct {
	// Dir is where git runs, and GitDir the repository; "" for the one that Dir is in.
	Dir, GitDir string
	// Protocols are the transports that git may use, colon-separated; "" for https, http, ssh, git and file.
	Protocols string
	// Filters are the filters that Distrust leaves in the repository's own configuration, where they are there as they install
	// themselves: lfs is the one that is known here.
	Filters []string
	// Private is configuration that no argument shows: everybody on a machine sees those. It is asked for each time git is
	// started, and needs git 2.31.
	Private func() []Setting
	// Hide takes what is secret out of what git says; nil takes nothing.
	Hide func(string) string
	// Said is called with what git, and a remote through it, says where Run succeeds; nil for nobody.
	Said func(string)
	// Max bounds an answer that is kept, in bytes; 0 for 64 MiB.
	Max int

	program string
	needs   Version
	environ []string
	set     []string // key=value, after settings
	aside   []string // keys
}

// Setting is a key of git's configuration with its value.
type Setting struct{ Key, Value string }

// Version is a release of git.
type Version struct{ Major, Minor int }

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// New is the git that is in the PATH of environ, which is Local, Remote or made for it: it is all that git sees of the machine.
// Needs is the oldest release that has what the caller uses; CheckVersion holds git to it.
func New(environ []string, dir string, needs Version) (Git, error) {
	program, err := find(environ)
	if err != nil {
		return Git{}, fault.Errorf(fault.Git, "git is not in PATH: install git %s or later", needs)
	}
	return Git{Dir: dir, program: program, environ: environ, needs: needs}, nil
}

// CheckVersion refuses a git that is older than the caller needs.
func (g Git) CheckVersion(ctx context.Context) error {
	out, err := g.Run(ctx, nil, "version")
	if err != nil {
		return err
	}
	number := strings.TrimSpace(strings.TrimPrefix(string(out), "git version "))
	parts := strings.SplitN(number+"..", ".", 3)
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < g.needs.Major || major == g.needs.Major && minor < g.needs.Minor {
		return fault.Errorf(fault.Git, "git is %.60q: install git %s or later", number, g.needs)
	}
	return nil
}

// In is git in another folder.
func (g Git) In(dir string) Git {
	g.Dir = dir
	return g
}

// With is git with more variables in its environment, as of os.Environ.
func (g Git) With(environ ...string) Git {
	g.environ = slices.Concat(g.environ, environ)
	return g
}

// Set is git with more configuration, each as key=value.
func (g Git) Set(config ...string) Git {
	g.set = slices.Concat(g.set, config)
	return g
}

// command is git with its subcommand and what belongs to it. Whatever comes from outside stands behind a -- in args, or has been
// checked not to begin with a hyphen.
func (g Git) command(ctx context.Context, args []string) *exec.Cmd {
	var options []string
	for _, s := range append(slices.Concat(settings, g.set), noHooks) {
		options = append(options, "-c", s)
	}
	if g.GitDir != "" {
		options = append(options, "--git-dir", g.GitDir)
	}
	cmd := exec.CommandContext(ctx, g.program, append(options, args...)...)
	cmd.Dir = g.Dir
	cmd.Env = g.environment()
	cmd.WaitDelay = patience
	// A git that is interrupted removes a clone or a lock that it began.
	cmd.Cancel = func() error {
		if cmd.Process.Signal(os.Interrupt) != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
	return cmd
}

// Run is what git writes for args, the subcommand first. stdin may be nil.
func (g Git) Run(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	limit := g.Max
	if limit == 0 {
		limit = maxOutput
	}
	cmd := g.command(ctx, args)
	stdout, stderr := &capped{max: limit}, &capped{max: maxStderr, drop: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := cmd.Run()
	switch {
	case err == nil:
		if g.Said != nil {
			g.Said(stderr.String())
		}
		return stdout.Bytes(), nil
	case stdout.full:
		return nil, fault.Errorf(fault.Git, "running git %s: it wrote more than %d MiB", args[0], limit>>20)
	}
	said := stderr.String()
	if args[0] == "push" { // which says there what became of the branch
		said += stdout.String()
	}
	return stdout.Bytes(), g.failure(ctx, args[0], said, err)
}

// ID is Run for a command that answers with the name of an object.
func (g Git) ID(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	out, err := g.Run(ctx, stdin, args...)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	if !IsObject(id) {
		return "", fault.Errorf(fault.Git, "running git %s: it answers %.80q", args[0], id)
	}
	return id, nil
}

// IsObject reports whether s is the full SHA-1 or SHA-256 name of an object.
func IsObject(s string) bool {
	return artifact.IsCommit(s)
}

// Stream runs git and has read read what it writes, of any length. Where read fails git is ended; where read fails because git
// has ended too early, git's own complaint is the error.
func (g Git) Stream(ctx context.Context, stdin io.Reader, read func(stdout io.Reader) error, args ...string) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := g.command(inner, args)
	stderr := &capped{max: maxStderr, drop: true}
	cmd.Stdin, cmd.Stderr = stdin, stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return g.failure(ctx, args[0], "", err)
	}
	readErr := read(stdout)
	tooEarly := errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF)
	if readErr != nil && !tooEarly {
		cancel()
	}
	if err := cmd.Wait(); err != nil && (readErr == nil || tooEarly) {
		return g.failure(ctx, args[0], stderr.String(), err)
	}
	return readErr
}

// capped keeps up to max bytes and then either drops the rest or fails.
type capped struct {
	bytes.Buffer
	max        int
	drop, full bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.max - c.Len(); len(p) > room {
		c.full = true
		if !c.drop {
			return 0, errors.New("too much output")
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
