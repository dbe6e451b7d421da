//go:build unix

package verify_test

import "syscall"

// pipe makes something that is opened only when somebody writes to it.
func pipe(name string) error { return syscall.Mkfifo(name, 0o644) }
