// Package fault gives an error the exit code that the command line ends with.
//
// The codes are part of the product's contract: a script that runs the pipeline branches on them, so a code never
// changes its meaning. An error without a code is a bug in Slipway.
package fault

import (
	"errors"
	"fmt"
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

// New gives err the exit code. A nil err stays nil.
func New(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &coded{code, err}
}

// Errorf is fmt.Errorf with an exit code.
func Errorf(code Code, format string, args ...any) error {
	return &coded{code, fmt.Errorf(format, args...)}
}

// CodeOf returns the code of the outermost coded error in err's chain: OK for nil, Bug where no error carries one.
// Of joined errors the most serious decides: a mismatch is never reported as something that a retry would mend.
func CodeOf(err error) Code {
	for err != nil {
		if c, ok := err.(*coded); ok {
			return c.code
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			worst := OK
			for _, e := range joined.Unwrap() {
				if code := CodeOf(e); severity(code) > severity(worst) {
					worst = code
				}
			}
			return worst
		}
		if err = errors.Unwrap(err); err == nil {
			return Bug
		}
	}
	return OK
}

// severity orders the codes for joined errors: what a retry mends is the least serious, a bug the most.
func severity(c Code) int {
	order := []Code{OK, Transient, Credentials, Usage, Git, Build, Policy, Conflict, Mismatch, Bug}
	for i, o := range order {
		if o == c {
			return i
		}
	}
	return len(order)
}
