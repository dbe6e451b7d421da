//go:build unix

package cli_test

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// limitFileSize makes every write beyond the size in SLIPWAY_TEST_FILE_LIMIT fail, as a full disk does.
func limitFileSize() {
	n, err := strconv.ParseUint(os.Getenv("SLIPWAY_TEST_FILE_LIMIT"), 10, 64)
	if err != nil {
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		panic(err)
	}
}
