package lifecycle

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Edge is an upgrade from one release to a later one, by their places in Lifecycle.Releases.
type Edge struct {
	From, To int
	// Why it is none: withdrawn, the name of a risk, or the id of an advisory that it would open again. "" for one that may be taken.
	Why string
}

const withdrawn = "withdrawn"

// set is numbers of risks, of advisories or of releases.
type set []uint64

// setOf is those of n numbers that has is true of.
func setOf(n int, has func(i int) bool) set {
	s := make(set, (n+63)/64)
	for i := range n {
		if has(i) {
			s[i/64] |= 1 << (i % 64)
		}
	}
	return s
}

func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// both is the lowest number that two sets have, -1 for none.
func both(a, b set) int {
	for i := range a {
		if w := a[i] & b[i]; w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// more is the lowest number that a has and b has not, -1 for none.
func more(a, b set) int {
	for i := range a {
		if w := a[i] &^ b[i]; w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// Edges are all upgrades, by rising versions, also those that may not be taken. Of 5,000 releases there may be twelve million.
func (l Lifecycle) Edges() iter.Seq[Edge] { return l.edges }

func (l Lifecycle) edges(yield func(Edge) bool) {
	// What is known of each release by itself is looked up once; there are many more pairs.
	leave, enter, open := make([]set, len(l.Releases)), make([]set, len(l.Releases)), make([]set, len(l.Releases))
	// So are the releases in each range: those of a line have the same one.
	comes, ranges := make([]set, len(l.Releases)), map[string]set{}
	for i, r := range l.Releases {
		from := r.From.String()
		if _, ok := ranges[from]; !ok {
			ranges[from] = setOf(len(l.Releases), func(n int) bool { return r.From.Has(l.Releases[n].Version) })
		}
		comes[i] = ranges[from]
		leave[i] = setOf(len(l.Risks), func(n int) bool { return l.Risks[n].From.Has(r.Version) })
		enter[i] = setOf(len(l.Risks), func(n int) bool { return l.Risks[n].To.Has(r.Version) })
		open[i] = setOf(len(l.Advisories), func(n int) bool { return l.Advisories[n].Open(r.Version) })
	}
	for from := range l.Releases {
		a := &l.Releases[from]
		for to := from + 1; to < len(l.Releases); to++ {
			b := &l.Releases[to]
			if !comes[to].has(from) && (len(a.To) == 0 || !slices.Contains(a.To, b.Version)) {
				continue
			}
			e := Edge{From: from, To: to}
			if b.Withdrawn != "" {
				e.Why = withdrawn
			} else if n := both(leave[from], enter[to]); n >= 0 {
				e.Why = l.Risks[n].Name
			} else if n := more(open[to], open[from]); n >= 0 { // no upgrade gives anybody a vulnerability that they did not have
				e.Why = l.Advisories[n].ID
			}
			if !yield(e) {
				return
			}
		}
	}
}

// newest are the newest releases of the lines that are supported on a day, by line. A withdrawn release is none.
func (l Lifecycle) newest(at Date) map[string]int {
	all := map[string]int{}
	for i, r := range l.Releases {
		if r.Withdrawn == "" && !r.Until.Before(at) {
			all[Line(r.Version)] = i // of rising versions the last one
		}
	}
	return all
}

// maxWhy is how many upgrades a dead end names.
const maxWhy = 10

// DeadEnd is a release from which no upgrade leads on, and which is not the newest one of a supported line.
type DeadEnd struct {
	Version version.Version
	Why     []string // what is in the way of the upgrades that would lead on
}

func (d DeadEnd) String() string {
	if len(d.Why) == 0 {
		return fmt.Sprintf("%s: no later release takes an upgrade from it", d.Version)
	}
	return fmt.Sprintf("%s: %s", d.Version, strings.Join(d.Why, ", "))
}

// Check are the dead ends on a day. Where there are none, whoever takes upgrades ends in the newest release of a supported line, whichever
// they take: each of them rises, so it ends, and it ends nowhere else.
func (l Lifecycle) Check(at Date) []DeadEnd {
	leads := make([]bool, len(l.Releases))
	why, more := make([][]string, len(l.Releases)), make([]int, len(l.Releases))
	for e := range l.Edges() {
		switch {
		case e.Why == "":
			leads[e.From] = true
		case leads[e.From]:
		case len(why[e.From]) < maxWhy:
			why[e.From] = append(why[e.From], fmt.Sprintf("to %s: %s", l.Releases[e.To].Version, e.Why))
		default:
			more[e.From]++
		}
	}
	ends := l.newest(at)
	var all []DeadEnd
	for i, r := range l.Releases {
		if end, ok := ends[Line(r.Version)]; leads[i] || ok && end == i {
			continue
		}
		if more[i] > 0 {
			why[i] = append(why[i], fmt.Sprintf("and %d more", more[i]))
		}
		all = append(all, DeadEnd{r.Version, why[i]})
	}
	return all
}

// Path is the shortest way of upgrades from a version to the newest release that can be reached of a line that is supported on a day, or
// to one version where that is not zero. Of several it is the one by the highest versions. A version that is no release, or that has
// no way there, is an error; a version that needs no upgrade has an empty path.
func (l Lifecycle) Path(from, to version.Version, at Date) ([]version.Version, error) {
	begin := slices.IndexFunc(l.Releases, func(r Release) bool { return r.Version == from })
	if begin < 0 {
		return nil, fmt.Errorf("%s is no release of %s", from, l.Name)
	}
	next := make([][]int32, len(l.Releases))
	for e := range l.Edges() {
		if e.Why == "" {
			next[e.From] = append(next[e.From], int32(e.To))
		}
	}
	came := map[int]int{begin: begin}
	for queue := []int{begin}; len(queue) > 0; queue = queue[1:] {
		for _, place := range slices.Backward(next[queue[0]]) {
			to := int(place)
			if _, ok := came[to]; !ok {
				came[to] = queue[0]
				queue = append(queue, to)
			}
		}
	}
	goal := -1
	for _, end := range l.newest(at) {
		if _, ok := came[end]; ok && end > goal && to.IsZero() {
			goal = end
		}
	}
	if !to.IsZero() {
		goal = slices.IndexFunc(l.Releases, func(r Release) bool { return r.Version == to })
	}
	if _, ok := came[goal]; !ok {
		if to.IsZero() {
			return nil, fmt.Errorf("from %s no upgrade leads to a release that is supported on %s", from, at)
		}
		return nil, fmt.Errorf("from %s no upgrade leads to %s", from, to)
	}
	var path []version.Version
	for at := goal; at != begin; at = came[at] {
		path = append(path, l.Releases[at].Version)
	}
	slices.Reverse(path)
	return path, nil
}
