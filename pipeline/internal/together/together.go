// Package together does many small things at once, as many as there are processors.
package together

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls f with each number below n, and returns when all calls have. They are in no order, and several are under way at a time.
func Each(n int, f func(i int)) {
	var next atomic.Int64
	var g sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		g.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	g.Wait()
}
