//go:build !unix

package source_test

func setUmask(int) int { return 0 }
