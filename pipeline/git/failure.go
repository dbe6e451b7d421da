package git

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Kind is why git did not succeed, as far as its words tell.
type Kind int

// The kinds that callers tell apart, and Other.
const (
	Other        Kind = iota
	NoRepository      // there is none in the folder
	NotBare           // the folder is in a bare repository, or in .git
	NoRef             // the remote does not have, or does not give, what was asked for
	Moved             // the branch is not where it was thought to be
	Refused           // the remote does not let this caller in
	Protected         // the remote does not allow pushes there
	Absent            // there is no repository at the remote, or none that git can talk to
)

// kinds are the words of git, and of the servers of others, by the kind that they mean; the first that fits counts. GitHub tells
// those who may not read a repository that there is none.
var kinds = []struct {
	kind  Kind
	words *regexp.Regexp
}{
	{NoRepository, regexp.MustCompile(`not a git repository`)},
	{NotBare, regexp.MustCompile(`must be run in a work tree`)},
	{NoRef, regexp.MustCompile(`not our ref|couldn't find remote ref|unadvertised object|no such remote ref`)},
	{Refused, regexp.MustCompile(`(?i)authentication failed|could not read (?:username|password)|returned error: (?:401|403)|permission denied|access denied|` +
		`permission to .* denied|invalid username or password|remote: repository not found|error: repository not found|publickey|marked as read.only|` +
		`not allowed to push code to this project|host key verification failed`)},
	// https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches
	{Protected, regexp.MustCompile(`(?i)protected branch|hook declined|GH006|GH013|repository rule violations`)},
	{Absent, regexp.MustCompile(`(?i)repository '.*' not found|does not appear to be a git repository|returned error: (?:301|302|307|308|404|410)|` +
		`unable to update url base|mismatched algorithms|not valid: is this a git repository|transport '.*' not allowed`)},
	{Moved, regexp.MustCompile(`(?i)non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref|incorrect old value|reference already exists|` +
		`unable to create '.*\.lock'`)},
}

// Error is a run of git that did not succeed.
type Error struct {
	Command string // the subcommand
	Said    string // by git, and by a remote through it; without what is secret
	Err     error
}

func (e *Error) Error() string {
	if words := oneLine(e.Said); words != "" {
		return fmt.Sprintf("running git %s: %s", e.Command, words)
	}
	return fmt.Sprintf("running git %s: %v", e.Command, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// failure is why git did not succeed. The exit code is that of git on this machine; see OfRemote.
func (g Git) failure(ctx context.Context, command, said string, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Transient, fmt.Errorf("running git %s: %w", command, context.Cause(ctx)))
	}
	if g.Hide != nil {
		said = g.Hide(said)
	}
	return fault.New(fault.Git, &Error{command, said, err})
}

// KindOf is why git did not succeed; Other where err is of something else.
func KindOf(err error) Kind {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return Other
	}
	for _, k := range kinds {
		if k.words.MatchString(e.Said) {
			return k.kind
		}
	}
	return Other
}

// No reports whether git failed and said nothing, its way of answering no.
func No(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Said != "" {
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](e.Err)
	return ok && exit.ExitCode() == 1
}

// OfRemote gives the error of a git that spoke to a remote the exit code that the remote's answer has, with the way out. What
// nothing is known of may pass: it is a fault.Transient, as is a network that is down.
func OfRemote(err error) error {
	if _, ok := errors.AsType[*Error](err); !ok {
		return err
	}
	switch KindOf(err) {
	case Refused:
		return fault.New(fault.Credentials, fmt.Errorf("%w; give git credentials for it", err))
	case Protected:
		return fault.New(fault.Policy, fmt.Errorf("%w; let the token's owner push to the branch", err))
	case Absent:
		return fault.New(fault.Usage, fmt.Errorf("%w; name the URL that the repository has now", err))
	}
	return fault.New(fault.Transient, err)
}

// oneLine is git's complaint with its way out, which may stand some lines further down, as far as a person reads it. What a
// terminal would obey, in the name of a file for one, is not in it.
func oneLine(said string) string {
	var lines []string
	for line := range strings.SplitSeq(said, "\n") {
		line = strings.Map(func(r rune) rune {
			if !unicode.IsGraphic(r) {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(line, "?"))
		if line = strings.TrimSpace(strings.TrimPrefix(line, "fatal: ")); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	s := strings.Join(lines, "; ")
	const limit = 600
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}
