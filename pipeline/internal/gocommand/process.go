package gocommand

import "os/exec"

// Group gives a program, which was not started yet, a group of its own. When its context ends the group is interrupted, and killed
// after the command's WaitDelay.
func Group(cmd *exec.Cmd) { group(cmd) }

// End kills what is left of the group, at once; nothing where the program was never started.
func End(cmd *exec.Cmd) {
	if cmd.Process != nil {
		end(cmd)
	}
}
