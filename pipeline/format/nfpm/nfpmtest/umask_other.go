//go:build !unix

package nfpmtest

func umask(int) func() { return func() {} }
