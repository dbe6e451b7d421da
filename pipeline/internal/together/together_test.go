package together_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/together"
)

// Each number is had once, whoever has it.
func TestEach(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 2, 1000} {
		var mu sync.Mutex
		var got, want []int
		together.Each(n, func(i int) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, i)
		})
		for i := range n {
			want = append(want, i)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%d: %d calls", n, len(got))
		}
	}
}
