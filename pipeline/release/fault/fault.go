// Package fault gives an error the exit code that the command line ends with.
//
// The codes are part of the product's contract: a script that runs the pipeline branches on them, so a code never
// changes its meaning. The code that knows what an error means classifies it; an error that reaches the
// command line without a code is a bug in Slipway.
package fault

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Code is a process exit code.
type Code int

// The exit codes of every command.
const (
	OK          Code = 0 // done, or nothing to do
	Bug         Code = 1 // a bug in Slipway
	Usage       Code = 2 // usage or configuration
	Git         Code = 3 // git or version
	Build       Code = 4 // a target, a test or a packer failed
	Mismatch    Code = 5 // bytes are not the ones that were promised
	Transient   Code = 6 // the same command may succeed later, and resumes
	Conflict    Code = 7 // the remote holds different bytes under that name
	Credentials Code = 8 // credentials are missing, wrong or expired
	Policy      Code = 9 // policy or promotion refused
)

type coded struct {
	code Code
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// Unclassified is the code of an error that carries none. A process never exits with it; see Exit.
const Unclassified Code = -1

// New gives err the exit code. A nil err stays nil, and Unclassified leaves err as it is.
func New(code Code, err error) error {
	if err == nil || code == Unclassified {
		return err
	}
	return &coded{code, err}
}

// Or gives err the exit code where it is Unclassified.
func Or(err error, code Code) error {
	if CodeOf(err) != Unclassified {
		return err
	}
	return New(code, err)
}

// Errorf is fmt.Errorf with an exit code.
func Errorf(code Code, format string, args ...any) error {
	return New(code, fmt.Errorf(format, args...))
}

// Exit is the number that a process ends with: that of CodeOf, and Bug where it is Unclassified.
func Exit(err error) int {
	if code := CodeOf(err); code != Unclassified {
		return int(code)
	}
	return int(Bug)
}

// Lines are what a command line says of an error: a line for each of joined errors. Further lines of one message are indented:
// they may have come out of a name from outside, and none is to be taken for a message of its own.
func Lines(err error) []string {
	text := err.Error()
	for inner := err; inner != nil && inner.Error() == text; inner = errors.Unwrap(inner) {
		joined, ok := inner.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		var lines, texts []string
		for _, e := range joined.Unwrap() {
			lines, texts = append(lines, Lines(e)...), append(texts, e.Error())
		}
		if strings.Join(texts, "\n") == text {
			return lines
		}
		break
	}
	lines := strings.Split(text, "\n")
	for i := range lines[1:] {
		lines[i+1] = "  " + lines[i+1]
	}
	return lines
}

// CodeOf returns the code of the outermost coded error in err's chain: OK for nil, Unclassified where no error carries one.
// Of joined errors the most serious decides: a mismatch is never reported as something that a retry would mend. A Bug and an
// error of the Go runtime are Bugs whatever stands around them: that a build or an upload met one does not make it a failed
// build or something to try again.
func CodeOf(err error) Code {
	if isBug(err) {
		return Bug
	}
	for err != nil {
		if c, ok := err.(*coded); ok {
			return c.code
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			if len(joined.Unwrap()) == 0 {
				return Unclassified // an error all the same
			}
			worst := OK
			for _, e := range joined.Unwrap() {
				if code := CodeOf(e); severity(code) > severity(worst) {
					worst = code
				}
			}
			return worst
		}
		if err = errors.Unwrap(err); err == nil {
			return Unclassified
		}
	}
	return OK
}

func isBug(err error) bool {
	if _, ok := errors.AsType[runtime.Error](err); ok {
		return true
	}
	for err != nil {
		if c, ok := err.(*coded); ok && c.code == Bug {
			return true
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			return slices.ContainsFunc(joined.Unwrap(), isBug)
		}
		err = errors.Unwrap(err)
	}
	return false
}

// severity orders the codes for joined errors: what a retry mends is the least serious, a bug the most.
func severity(c Code) int {
	order := []Code{OK, Transient, Credentials, Usage, Git, Build, Policy, Conflict, Mismatch, Unclassified, Bug}
	for i, o := range order {
		if o == c {
			return i
		}
	}
	return len(order)
}
