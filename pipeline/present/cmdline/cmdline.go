// Package cmdline is what the two command lines, ci and slipway, have in common, so that they speak one vocabulary: values that are
// checked before anything is done and that a shell completes, the version that each says of itself, which command is whose, and how
// what they print reaches a terminal.
package cmdline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Output is where a command prints: nothing that a terminal would obey passes, and what cannot be written is an error with an exit
// code, beside which a verdict keeps its own.
func Output(w io.Writer) io.Writer { return output{words.Writer(w)} }

type output struct{ io.Writer }

func (o output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	return n, fault.Or(err, fault.Transient) // whatever takes it the next time
}

// Fail prints an error.
func Fail(w io.Writer, err error) {
	for _, line := range fault.Lines(err) {
		fmt.Fprintf(w, "slipway: %s\n", line)
	}
}

// Count is a number with what is counted; see words.Count.
func Count(n int, word string) string { return words.Count(n, word) }

// Line is a text with something from outside as one line; see words.Line.
func Line(s string) string { return words.Line(s) }

// Pipeline and Tool are the commands of `go run ./ci` and of the small tool slipway.
var (
	Pipeline = []string{"bases", "branch", "build", "check", "doctor", "init", "keygen", "lock", "plan", "platform", "publish", "reconcile", "sign", "test", "vendor", "verify", "version"}
	Tool     = []string{"add", "approve", "combine", "current", "demote", "environments", "freeze", "hold", "init", "platform", "promote", "record", "reproduce", "restore", "rollback", "serve", "store", "support", "upgrade", "verify", "version", "why", "withdraw"}
)

// Elsewhere says how a command is run that the program of root does not have and the other one has; "" for one that neither has.
func Elsewhere(root *cobra.Command, name string) string {
	own, other, run := Pipeline, Tool, "slipway"
	if root.Name() == "slipway" {
		own, other, run = Tool, Pipeline, "go run ./ci"
	}
	if slices.Contains(own, name) || !slices.Contains(other, name) {
		return ""
	}
	return fmt.Sprintf("it is a command of the other program: %s %s", run, name)
}

// Version gives a program the flag --version, which prints what it is in one line.
func Version(root *cobra.Command, version string) {
	root.Version = version
	root.SetVersionTemplate("slipway {{.Version}}\n")
}

// Choice adds a flag that has one of some values. Another one is refused while the flags are read, and shells complete it.
func Choice(cmd *cobra.Command, to *string, name string, values []string, usage string) {
	add(cmd, name, &choice{to: to, values: values}, usage)
}

// Choices adds a flag that has some of a list of values, separated by commas, or one of the values that stand alone.
func Choices(cmd *cobra.Command, to *string, name string, alone, values []string, usage string) {
	add(cmd, name, &choice{to, alone, values}, usage)
}

func add(cmd *cobra.Command, name string, c *choice, usage string) {
	flags := cmd.Flags()
	if !cmd.HasParent() && cmd.HasPersistentFlags() {
		flags = cmd.PersistentFlags()
	}
	flags.Var(c, name, usage)
	all := slices.Concat(c.values, c.some)
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added just now
	}
}

// choice is the value of a flag that is one of values, or some of some.
type choice struct {
	to           *string
	values, some []string
}

func (c *choice) String() string {
	if c.to == nil { // the zero value, which pflag compares with
		return ""
	}
	return *c.to
}

func (c *choice) Type() string { return "string" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.values, s) {
		for part := range strings.SplitSeq(s, ",") {
			if !slices.Contains(c.some, part) {
				return fmt.Errorf("want %s", c.wanted())
			}
		}
	}
	*c.to = s
	return nil
}

// wanted are the values as a sentence has them.
func (c *choice) wanted() string {
	all := slices.Clone(c.values)
	if len(c.some) > 0 {
		all = append(all, "some of "+strings.Join(c.some, ","))
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}
