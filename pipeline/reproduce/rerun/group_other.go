//go:build !unix

package rerun

import "os/exec"

// ownGroup and endGroup do nothing: a system of this kind has no groups of processes that end together.
func ownGroup(*exec.Cmd) {}

func endGroup(*exec.Cmd) {}
