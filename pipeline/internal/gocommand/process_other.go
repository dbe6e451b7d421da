//go:build !unix

package gocommand

import (
	"os"
	"os/exec"
)

// group interrupts the program alone: a system of this kind has no groups of processes that end together.
func group(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
}

func end(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
