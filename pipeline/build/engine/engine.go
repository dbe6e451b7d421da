// Package engine is how the pipeline runs programs: the compiler and the project's tests. Everything else that it does
// is a pure function written in Go.
//
// What it runs is other people's code, so no credential is near it: modules are fetched in a step of its own, by the Go command alone,
// and compilers and tests see neither the home of the user nor the network's secrets.
//
// There are two engines with one result. Dagger runs the pinned toolchain in a container, the host engine runs it in a
// scrubbed environment on this machine; a test holds the binaries of the two against each other.
package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Engine compiles and tests a clean tree. Its methods may be called concurrently.
type Engine interface {
	// Compile builds one binary from the tree and writes it to the file out. A binary that does not compile is a
	// *Failure.
	Compile(ctx context.Context, tree string, b plan.Binary, out string) error
	// Test runs the project's tests and writes what they print to w, as it comes where the engine can. Failing tests are
	// a *Failure.
	Test(ctx context.Context, tree string, t plan.Test, w io.Writer) error
	// Info describes the engine.
	Info() Info
}

// Info describes an engine. None of it has an influence on what is built.
type Info struct {
	Name string // dagger or host
	Host string // what the toolchain runs on, such as linux/amd64
	Go   string // release of the toolchain
	Jobs int    // compiles that it is worth running at once
}

// Failure is a step that the engine ran and that did not succeed.
type Failure struct {
	Step    string // what was run
	Printed string // all that it wrote
	Err     error
}

// Output is all that the step wrote.
func (f *Failure) Output() string { return f.Printed }

func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Step, f.Err) }
func (f *Failure) Unwrap() error { return f.Err }

// unreachable recognises that a module could not be fetched for a reason that may pass: the words of the Go command
// and of the network below it. A checksum that does not match, or a proxy's answer that there is no such module, is
// final and not among them.
var unreachable = regexp.MustCompile(`(?m)dial tcp|TLS handshake timeout|no such host|server misbehaving|network is unreachable|` +
	offline + `|` +
	`(?:Get "|reading https?://|read tcp|lookup )[^\n]*(?:unexpected EOF|EOF$|i/o timeout|connection re(?:fused|set)|: 5[0-9][0-9] |: 429 )`)

// offline is what the Go command says of a module that it may not fetch.
const offline = "module lookup disabled by GOPROXY=off"

// Offline is the environment of a compile, which fetches nothing: neither from a proxy nor, where the user's settings have a module
// come from its repository, from there.
func Offline() []string { return []string{"GOPROXY=off", "GONOPROXY=none"} }

// LacksModule reports whether a compile, which fetches nothing, found a module missing.
func LacksModule(output string) bool { return strings.Contains(output, offline) }

// Fetch are the arguments with which the Go command fetches the modules of a binary: it looks for its packages and runs nothing
// of them, so it may see what opens a private module.
func Fetch(b plan.Binary) []string {
	return append(append([]string{"list", "-deps", `-f={{""}}`}, b.Flags...), b.Package)
}

// LookForTests are the arguments with which the Go command says whether what is here is enough for tests. Their root may require
// what only another platform needs, which then cannot be fetched and need not be.
func LookForTests(t plan.Test) []string {
	return append([]string{"list", "-deps", "-test", `-f={{""}}`}, t.Packages...)
}

// IsVendored reports whether the tests of a tree have their modules in it.
func IsVendored(tree string) bool {
	_, err := os.Stat(filepath.Join(tree, "vendor", "modules.txt"))
	return err == nil
}

// final recognises the answers that no retry changes, whatever else is in the output.
var final = regexp.MustCompile(`(?m)SECURITY ERROR|checksum mismatch|missing go\.sum entry`)

// NewFailure is the failure of a step with the exit code that its output asks for: Transient where a module could not
// be fetched for a reason that may pass, Build otherwise.
func NewFailure(step, output string, err error) error {
	code := fault.Build
	if unreachable.MatchString(output) && !final.MatchString(output) {
		code = fault.Transient
	}
	return fault.New(code, &Failure{Step: step, Printed: output, Err: err})
}

// TestEnv is the environment of the tests besides FixedEnv: with cgo where the builder image has a C compiler.
func TestEnv(t plan.Test) []string {
	if t.Builder != "" {
		return []string{"CGO_ENABLED=1"}
	}
	return []string{"CGO_ENABLED=0"}
}

// NewTestFailure is the failure of tests, whatever they printed: a test may well speak of refused connections.
func NewTestFailure(output string, err error) error {
	return fault.New(fault.Build, &Failure{Step: "test", Printed: output, Err: err})
}

// FixedEnv is the environment of every compile and test besides the plan's own, each with the reason for its value.
func FixedEnv() []string {
	return []string{
		"GOENV=off",      // no settings of a user
		"GOFLAGS=",       // no flags but the plan's
		"GOWORK=off",     // no workspace around the tree
		"GOEXPERIMENT=",  // the release's own experiments
		"GO111MODULE=on", // modules, whatever the folder
		"LC_ALL=C",       // messages in one language
		"TZ=UTC",
	}
}
