// Command slipway is for those who receive releases: it serves a folder of them, checks one against its manifest, and
// builds one again from its commit to compare every byte.
//
// It is compiled for every platform that a release is made for, so it stays small: nothing of the pipeline that builds
// and publishes is in it. To build a release again it runs the pipeline of the release's own commit.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Set with -ldflags -X by a release; else they come from what the Go command recorded.
var version, commit string

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	stdout, stderr = cmdline.Output(stdout), cmdline.Output(stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	root := newRoot()
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !started && fault.CodeOf(err) == fault.Unclassified { // the command line itself was refused
		hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		if elsewhere := cmdline.Elsewhere(root, args[0]); elsewhere != "" {
			hint = elsewhere
		}
		err = fault.Errorf(fault.Usage, "%w; %s", err, hint)
	}
	if err != nil {
		cmdline.Fail(stderr, err)
	}
	return fault.Exit(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "slipway",
		Short: "Serve, verify, reproduce and promote releases",
		Long: `slipway serves, verifies and reproduces releases that a slipway pipeline made, and moves them through environments.

Exit codes: 0 done, 1 a bug, 2 usage, 5 a release or a store is not what it says or not what its commit builds, 6 may work
later, 7 other bytes are there, 8 credentials are refused, 9 the rules refuse it.`,
		Example:       "  slipway serve --root dist\n  slipway verify dist\n  slipway reproduce v1.2.3",
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableSuggestions:         true, // they would take several lines; run adds them
		SuggestionsMinimumDistance: 2,
	}
	info, _ := debug.ReadBuildInfo()
	cmdline.Version(root, thisBuild(info).String())
	root.AddCommand(newInit(), newServe(), newVerify(), newReproduce(), newPlatform(), newSupport(), newUpgrade(), newVersion())
	root.AddCommand(newEnvironmentCommands()...)
	return root
}

// build is what this program is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

func (b build) String() string { return fmt.Sprintf("%s (%s, %s)", b.Version, b.Commit, b.Go) }

// thisBuild prefers what a release set, then what `go install` and a build in a clone record.
func thisBuild(info *debug.BuildInfo) build {
	b := build{version, commit, "unknown Go"}
	if info != nil {
		b.Go = info.GoVersion
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = strings.TrimPrefix(info.Main.Version, "v")
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && b.Commit == "" {
				b.Commit = s.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	if b.Commit == "" {
		b.Commit = "unknown commit"
	}
	return b
}
