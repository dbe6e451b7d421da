package main

import "syscall"

// hideEnvironment keeps other processes of the user from reading this one's environment and memory, where a key may be: the
// build that it starts is a program of others. It does not keep root from it
// (https://man7.org/linux/man-pages/man2/prctl.2.html, PR_SET_DUMPABLE).
func hideEnvironment() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0)
}
