package assemble

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// Random platforms, some of whose components fail, against what has to be: whatever needs something that is not there, directly or not,
// is skipped; all else is done once, behind all that it needs, and never more at once than there may be.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	skips := 0
	for range 400 {
		n, jobs := 1+r.IntN(12), 1+r.IntN(4)
		names, needs, fails := make([]string, n), map[string][]string{}, map[string]bool{}
		for i := range n {
			names[i] = fmt.Sprintf("c%02d", i)
			for j := range i {
				if r.IntN(4) == 0 {
					needs[names[i]] = append(needs[names[i]], names[j])
				}
			}
			fails[names[i]] = r.IntN(6) == 0
		}
		var mu sync.Mutex
		var begun []string
		ended, running := map[string]bool{}, 0
		boom := errors.New("boom")
		failed, skipped := order(t.Context(), names, func(name string) []string { return needs[name] }, jobs, func(_ context.Context, name string) error {
			mu.Lock()
			defer mu.Unlock()
			begun = append(begun, name)
			if running++; running > jobs {
				t.Errorf("%d at once of %d", running, jobs)
			}
			for _, need := range needs[name] {
				if !ended[need] || fails[need] {
					t.Errorf("%s begins, and %s is not there", name, need)
				}
			}
			mu.Unlock()
			for range int(name[2] % 5) { // others get their turn
				runtime.Gosched()
			}
			mu.Lock()
			running--
			ended[name] = true
			if fails[name] {
				return boom
			}
			return nil
		})
		// The model: names are behind what they need, so one pass says what is not there.
		absent := map[string]bool{}
		var want []string
		for _, name := range names {
			if slices.ContainsFunc(needs[name], func(need string) bool { return absent[need] }) {
				absent[name] = true
				if why := skipped[name]; !slices.Contains(needs[name], why) || !absent[why] {
					t.Fatalf("%s is skipped because of %q", name, why)
				}
				skips++
				continue
			}
			absent[name] = fails[name]
			if fails[name] != errors.Is(failed[name], boom) {
				t.Fatalf("%s fails: %v", name, failed[name])
			}
			want = append(want, name)
		}
		if got := slices.Sorted(slices.Values(begun)); !slices.Equal(got, want) || jobs == 1 && !slices.Equal(begun, want) {
			t.Fatalf("begun are %q, want %q", begun, want)
		}
		if len(failed)+len(skipped) > n {
			t.Fatalf("%d of %d fail and %d are skipped", len(failed), n, len(skipped))
		}
	}
	if skips < 100 {
		t.Errorf("%d were skipped: this tests one side alone", skips)
	}
}

// What is interrupted begins nothing more, waits for what runs, and says so of all else.
func TestOrderInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failed, skipped := order(ctx, []string{"a", "b", "c"}, func(name string) []string {
		if name == "c" {
			return []string{"a"}
		}
		return nil
	}, 1, func(_ context.Context, name string) error {
		if name != "a" {
			t.Errorf("%s is begun", name)
		}
		cancel()
		return nil
	})
	if len(skipped) != 0 || failed["a"] != nil || !errors.Is(failed["b"], context.Canceled) || !errors.Is(failed["c"], context.Canceled) {
		t.Errorf("%v, %v", failed, skipped)
	}
}
