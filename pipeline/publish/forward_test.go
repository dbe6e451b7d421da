package publish_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// register is a remote with one name that moves, and no way to write it only where it is what one saw.
type register struct {
	known []int
	at    int
}

var errKilled = errors.New("killed")

// names are those of a publisher of a version, which waits for its turn at every request, and is killed before request kill.
func (r *register) names(version int, turn func() error) publish.Names[int] {
	return publish.Names[int]{
		Look: func(context.Context) ([]publish.Moving[int], error) {
			if err := turn(); err != nil {
				return nil, err
			}
			highest := max(version, slices.Max(append(r.known, 0)))
			if err := turn(); err != nil {
				return nil, err
			}
			return []publish.Moving[int]{{At: r.at, Mine: version, Highest: highest}}, nil
		},
		Move: func(_ context.Context, to map[int]int) error {
			err := turn()
			if err == nil {
				r.at = to[0]
			}
			return err
		},
	}
}

func (r *register) publish(version int, turn func() error) error {
	if err := turn(); err != nil {
		return err
	}
	r.known = append(r.known, version)
	return r.names(version, turn).Forward(context.Background())
}

// race has publishers take turns as choose says, of which each time one of n may go on. Kill ends the first of them before its
// request of that number.
func race(t *testing.T, versions []int, kill int, choose func(n int) int) {
	t.Helper()
	r := &register{at: 1}
	type publisher struct {
		ready, go_ chan struct{}
		ended      chan error
	}
	var all []*publisher
	for i, v := range versions {
		p := &publisher{make(chan struct{}), make(chan struct{}), make(chan error, 1)}
		n := 0
		go func() {
			p.ended <- r.publish(v, func() error {
				if n++; i == 0 && n == kill {
					return errKilled
				}
				p.ready <- struct{}{}
				<-p.go_
				return nil
			})
			close(p.ready)
		}()
		all = append(all, p)
	}
	var order []string
	killed := false
	waiting := map[int]bool{}
	for left := len(all); left > 0; {
		for i, p := range all {
			if p == nil || waiting[i] {
				continue
			}
			if _, waits := <-p.ready; waits {
				waiting[i] = true
				continue
			}
			if err := <-p.ended; errors.Is(err, errKilled) {
				killed = true
			} else if err != nil {
				t.Fatalf("%v: publisher of %d: %v", order, versions[i], err)
			}
			all[i] = nil
			left--
		}
		if left == 0 {
			break
		}
		var may []int
		for i := range all {
			if waiting[i] {
				may = append(may, i)
			}
		}
		next := may[choose(len(may))]
		order = append(order, string(rune('a'+next)))
		delete(waiting, next)
		all[next].go_ <- struct{}{}
	}
	if killed { // the same command, run again
		if err := r.publish(versions[0], func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if r.at != slices.Max(versions) {
		t.Fatalf("%v, killed %t: the name stands for %d of %v", strings.Join(order, ""), killed, r.at, versions)
	}
}

// every calls f once for each sequence of choices that it asks for.
func every(f func(choose func(n int) int)) (n int) {
	var made, of []int
	for {
		n++
		at := 0
		f(func(n int) int {
			if at == len(made) {
				made, of = append(made, 0), append(of, n)
			}
			at++
			return made[at-1]
		})
		for len(made) > 0 && made[len(made)-1] == of[len(of)-1]-1 {
			made, of = made[:len(made)-1], of[:len(of)-1]
		}
		if len(made) == 0 {
			return n
		}
		made[len(made)-1]++
	}
}

// In whatever order two publishers ask and write, and wherever the older is killed and run again, the name stands for the higher
// version in the end. Of the orders of three, some are tried.
func TestForward(t *testing.T) {
	fixture.SkipRace(t)
	for _, versions := range [][]int{{2, 3}, {3, 2}} {
		n := every(func(choose func(int) int) { race(t, versions, 0, choose) })
		t.Logf("%v: %d orders", versions, n)
	}
	for kill := 2; kill <= 7; kill++ {
		every(func(choose func(int) int) { race(t, []int{2, 3}, kill, choose) })
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 / fixture.Stride(5) {
		versions := []int{2, 3, 4}
		random.Shuffle(3, func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
		race(t, versions, 0, random.IntN)
	}
}

// A name that others move without end is given up for now; what a person moved stays.
func TestForwardGivesUp(t *testing.T) {
	r := &register{at: 1, known: []int{2}}
	n := r.names(2, func() error { return nil })
	look := n.Look
	n.Look = func(ctx context.Context) ([]publish.Moving[int], error) {
		r.at = 1
		return look(ctx)
	}
	if err := n.Forward(t.Context()); fault.CodeOf(err) != fault.Transient {
		t.Error(err)
	}
	r = &register{at: 1, known: []int{2, 3}}
	if err := r.names(2, func() error { return nil }).Forward(t.Context()); err != nil || r.at != 1 {
		t.Errorf("%d, %v", r.at, err)
	}
}

func TestMovingState(t *testing.T) {
	for m, want := range map[publish.Moving[string]]publish.State{
		{At: "", Mine: "b", Highest: "b"}:  publish.Missing,
		{At: "a", Mine: "b", Highest: "b"}: publish.Movable,
		{At: "b", Mine: "b", Highest: "b"}: publish.Same,
		{At: "c", Mine: "b", Highest: "c"}: publish.Kept,
		{At: "a", Mine: "b", Highest: "c"}: publish.Kept,
		{At: "", Mine: "b", Highest: "c"}:  publish.Kept,
		{At: "b", Mine: "b", Highest: "c"}: publish.Movable, // left behind
	} {
		if got := m.State(); got != want {
			t.Errorf("%+v is %s, want %s", m, got, want)
		}
	}
}
