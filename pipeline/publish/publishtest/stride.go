package publishtest

import (
	"flag"
	"testing"
)

var every = flag.Bool("every", false, "try each fault at every request, and not only at some, which takes much longer")

// Stride is how far the requests are apart at which a test tries its faults: as far as usual, further in a short run, and
// not at all with -every.
func Stride(usual int) int {
	switch {
	case *every:
		return 1
	case testing.Short():
		return 4 * usual
	}
	return max(usual, 1)
}
