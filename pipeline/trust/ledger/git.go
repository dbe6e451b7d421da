package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of what is read of a git command, in bytes.
const (
	maxOutput = 64 << 20
	maxStderr = 64 << 10
)

// oldestMajor and oldestMinor are the oldest git that takes configuration from its environment, GIT_CONFIG_GLOBAL
// included.
const oldestMajor, oldestMinor = 2, 32

// remoteName is what the remote is called in that configuration. Were its URL an argument, everybody on the machine
// could read a password in it.
const remoteName = "slipway-ledger"

// settings keep git from starting programs that nobody named here (for a push see noHooks), from signing, from taking anything else along with a
// push, from cleaning up behind the store's back, and from waiting for ever for a remote that has gone silent.
var settings = []string{
	"-c", "core.attributesFile=" + os.DevNull,
	"-c", "core.quotePath=false",
	"-c", "i18n.commitEncoding=UTF-8",
	"-c", "push.followTags=false", "-c", "push.gpgSign=false", "-c", "push.recurseSubmodules=no",
	"-c", "gc.auto=0", "-c", "maintenance.auto=false",
	"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
}

// noHooks goes with all but a push, which has --no-verify: to a repository on this machine git hands its settings on,
// and the hooks there are for that repository to choose.
var noHooks = []string{"-c", "core.hooksPath=" + os.DevNull}

// keptEnv are the variables of git that stay: where its configuration is, which names the credential helpers, and how
// it talks to a remote. All others go: a hook or `git rebase --exec` around this process sets GIT_DIR, GIT_INDEX_FILE
// and their like, and they would point at another repository.
var keptEnv = []string{
	"GIT_ASKPASS", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_", "GIT_PROXY_", "GIT_EXEC_PATH",
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_",
}

// environment has nobody asked for a password at a terminal, and only the transports that are meant, so that no remote
// leads to ext::, which runs what it names.
func (s *branch) environment() []string {
	var env []string
	count, ssh := 0, false
	for _, kv := range s.o.Environ {
		key, value, _ := strings.Cut(kv, "=")
		key = strings.ToUpper(key)
		keep := !strings.HasPrefix(key, "GIT_") && key != "LC_ALL" && key != "LANGUAGE"
		for _, k := range keptEnv {
			keep = keep || key == k || strings.HasSuffix(k, "_") && strings.HasPrefix(key, k)
		}
		if key == "GIT_CONFIG_COUNT" {
			count, _ = strconv.Atoi(value)
		}
		ssh = ssh || key == "GIT_SSH" || key == "GIT_SSH_COMMAND"
		if keep {
			env = append(env, kv)
		}
	}
	if !ssh {
		env = append(env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4")
	}
	count = max(count, 0)
	return append(
		env,
		"LC_ALL=C", "LANGUAGE=C", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_ALLOW_PROTOCOL=https:http:ssh:file",
		fmt.Sprintf("GIT_CONFIG_COUNT=%d", count+1),
		fmt.Sprintf("GIT_CONFIG_KEY_%d=remote.%s.url", count, remoteName), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count, s.remote),
	)
}

// find looks git up in the PATH of Environ, not in that of this process.
func (s *branch) find() (string, error) {
	for _, kv := range slices.Backward(s.o.Environ) {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.EqualFold(key, "PATH") {
			continue
		}
		for _, dir := range filepath.SplitList(value) {
			if !filepath.IsAbs(dir) {
				continue
			}
			if program, err := exec.LookPath(filepath.Join(dir, "git")); err == nil {
				return program, nil
			}
		}
		break
	}
	return "", fault.Errorf(fault.Git, "git is not in PATH: install git %d.%d or later", oldestMajor, oldestMinor)
}

// gitError is a run of git that did not succeed.
type gitError struct {
	command string
	said    string // by git, and by the remote through it; without a password
	err     error
}

func (e *gitError) Error() string {
	if words := oneLine(e.said); words != "" {
		return fmt.Sprintf("running git %s: %s", e.command, words)
	}
	return fmt.Sprintf("running git %s: %v", e.command, e.err)
}

func (e *gitError) Unwrap() error { return e.err }

// oneLine is git's complaint, as far as a person reads it.
func oneLine(said string) string {
	var lines []string
	for line := range strings.SplitSeq(said, "\n") {
		if line = tidy(strings.TrimPrefix(line, "fatal: "), 300); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return tidy(strings.Join(lines, "; "), 600)
}

// git runs git in the clone. An error is a fault.Git, for what goes on on this machine; see failure for the remote.
func (s *branch) git(ctx context.Context, stdin io.Reader, env []string, args ...string) ([]byte, error) {
	options := slices.Concat(settings, []string{"--git-dir", s.dir})
	if args[0] != "push" {
		options = append(options, noHooks...)
	}
	cmd := exec.CommandContext(ctx, s.program, append(options, args...)...)
	cmd.Dir = s.o.Dir
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = stdin
	cmd.Env = slices.Concat(s.env, env)
	out, stderr := &bounded{max: maxOutput}, &bounded{max: maxStderr}
	cmd.Stdout, cmd.Stderr = out, stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fault.New(fault.Transient, fmt.Errorf("running git %s: %w", args[0], context.Cause(ctx)))
		}
		said := stderr.String()
		if args[0] == "push" { // which says there what became of the branch
			said += out.String()
		}
		return nil, fault.New(fault.Git, &gitError{args[0], s.hide(said), err})
	}
	if out.full {
		return nil, fault.Errorf(fault.Git, "running git %s: it wrote more than %d bytes", args[0], maxOutput)
	}
	return out.Bytes(), nil
}

// id runs a git command that answers with the name of an object.
func (s *branch) id(ctx context.Context, stdin io.Reader, env []string, args ...string) (string, error) {
	out, err := s.git(ctx, stdin, env, args...)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	if !isObject(id) {
		return "", fault.Errorf(fault.Git, "running git %s: it answers %.80q", args[0], id)
	}
	return id, nil
}

func isObject(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

func (s *branch) checkVersion(ctx context.Context) error {
	out, err := s.git(ctx, nil, nil, "version")
	if err != nil {
		return err
	}
	number := strings.TrimSpace(strings.TrimPrefix(string(out), "git version "))
	parts := strings.SplitN(number+"..", ".", 3)
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fault.Errorf(fault.Git, "git is %.60q: install git %d.%d or later", number, oldestMajor, oldestMinor)
	}
	return nil
}

// The ways in which git and the servers of others say no, as in package chartrepo. GitHub tells those who may not read a
// repository that there is none.
var (
	refused = regexp.MustCompile(`(?i)authentication failed|could not read (?:username|password)|returned error: (?:401|403)|permission denied|access denied|` +
		`permission to .* denied|invalid username or password|remote: repository not found|error: repository not found|publickey|marked as read.only|` +
		`not allowed to push code to this project|host key verification failed`)
	moved = regexp.MustCompile(`(?i)non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref|incorrect old value|reference already exists|` +
		`unable to create '.*\.lock'`)
	// https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches
	protected = regexp.MustCompile(`(?i)protected branch|hook declined|GH006|GH013|repository rule violations`)
	absent    = regexp.MustCompile(`(?i)repository '.*' not found|does not appear to be a git repository|returned error: (?:301|302|307|308|404|410)|` +
		`unable to update url base|mismatched algorithms|not valid: is this a git repository|transport '.*' not allowed`)
)

// failure gives what a remote says its exit code.
func failure(err error) error {
	e, ok := errors.AsType[*gitError](err)
	if !ok {
		return err
	}
	switch {
	case refused.MatchString(e.said):
		return fault.New(fault.Credentials, fmt.Errorf("%w; give git credentials that may push to the branch", e))
	case protected.MatchString(e.said):
		return fault.New(fault.Policy, fmt.Errorf("%w; let the token's owner push to the branch", e))
	case absent.MatchString(e.said):
		return fault.New(fault.Usage, fmt.Errorf("%w; name the URL that the repository has now", e))
	}
	return fault.New(fault.Transient, e)
}

// userinfo is what may be a user with a password, or a token, in a URL.
var userinfo = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/\s'"<>]*@`)

// hide takes passwords out of what git says.
func (s *branch) hide(said string) string {
	said = userinfo.ReplaceAllString(said, "$1")
	for _, secret := range s.secrets {
		said = strings.ReplaceAll(said, secret, "...")
	}
	return said
}

var (
	// scp is user@host:path. A part before the colon that has a slash is the beginning of a path, as for git.
	scp = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^\s:-][^\s]*$`)
	// branches are the names of branches (https://git-scm.com/docs/git-check-ref-format), without those that need
	// quoting somewhere.
	branches = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)
	authors  = regexp.MustCompile(`^([^<>\x00-\x1f]*[^<>\x00-\x20]) <([^<>\x00-\x20]+)>$`)
)

// check tells what in the options cannot be meant, and takes them apart. It never says a URL that it cannot take apart:
// nobody knows where the password is in it.
func (s *branch) check() error {
	o := s.o
	if o.Dir == "" {
		return fault.Errorf(fault.Usage, "the ledger's branch needs a folder to work in")
	}
	if !branches.MatchString(o.Branch) || strings.Contains(o.Branch, "..") || strings.HasSuffix(o.Branch, ".") ||
		slices.ContainsFunc(strings.Split(o.Branch, "/"), func(part string) bool { return strings.HasSuffix(part, ".lock") }) {
		return fault.Errorf(fault.Usage, "%.80q is not the name of a branch", o.Branch)
	}
	author := authors.FindStringSubmatch(o.Author)
	if author == nil {
		return fault.Errorf(fault.Usage, "%.80q is not an author; write `name <address>`", o.Author)
	}
	s.author, s.email = author[1], author[2]
	s.remote, s.shown = o.Remote, o.Remote
	switch {
	case strings.ContainsFunc(o.Remote, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(o.Remote) > 2048 || o.Remote == "" ||
		strings.HasPrefix(o.Remote, "-"):
		return fault.Errorf(fault.Usage, "the ledger's remote is not the URL or the path of a git repository")
	case strings.Contains(o.Remote, "://"):
		u, err := url.Parse(o.Remote)
		if err != nil {
			return fault.Errorf(fault.Usage, "the ledger's remote is not a URL that can be read; escape what in its user and password needs it")
		}
		if !slices.Contains([]string{"https", "http", "ssh", "file"}, u.Scheme) {
			return fault.Errorf(fault.Usage, "the ledger's remote begins with %.20q; write https://host/path, ssh://host/path or user@host:path", u.Scheme+"://")
		}
		if u.Scheme == "http" && !web.Loopback(u.Host) {
			return fault.Errorf(fault.Usage, "the ledger's remote on %s is not https: others could read the credentials and write the answers", u.Host)
		}
		if password, ok := u.User.Password(); ok && password != "" {
			s.secrets = append(s.secrets, password, url.QueryEscape(password), url.PathEscape(password))
		}
		if u.RawQuery != "" {
			s.secrets = append(s.secrets, u.RawQuery)
		}
		u.User = nil
		u.RawQuery, u.Fragment = "", ""
		s.shown = u.String()
	case filepath.IsAbs(o.Remote):
	case strings.Contains(o.Remote, "::"):
		return fault.Errorf(fault.Usage, "the ledger's remote begins with the name of a transport that runs a program; write a URL or a path")
	case scp.MatchString(o.Remote):
	default: // git does not run where this process does
		abs, err := filepath.Abs(o.Remote)
		if err != nil {
			return fault.New(fault.Usage, err)
		}
		s.remote = abs
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	s.o.Dir = dir
	return nil
}
