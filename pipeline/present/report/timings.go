package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// TimingsName is the name of the file in dist/ that Timings are written to.
const TimingsName = "timings.json"

// TimingsSchema names the format of that file.
const TimingsSchema = "slipway.timings/v1"

// The states of a step, as package progress names them.
const (
	stateDone    = "done"
	stateCached  = "cached"
	stateFailed  = "failed"
	stateSkipped = "skipped"
)

// Timing is when a step ran, from the beginning of the command on.
type Timing struct {
	Step  string // its id: "compile slipway linux/amd64"
	Group string // the phase
	Start time.Duration
	End   time.Duration
	State string // done, cached, failed or skipped
}

// Timings are the steps of a build.
type Timings []Timing

// sorted orders the steps by start, end and name. A step that ends before it starts takes no time.
func (t Timings) sorted() Timings {
	t = slices.Clone(t)
	for i := range t {
		t[i].Start = max(t[i].Start, 0)
		t[i].End = max(t[i].End, t[i].Start)
	}
	slices.SortStableFunc(t, func(a, b Timing) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Step, b.Step))
	})
	return t
}

// wall is the end of the last step.
func (t Timings) wall() time.Duration {
	var end time.Duration
	for _, step := range t {
		end = max(end, step.End)
	}
	return end
}

// Encode returns timings.json: an object with the fields
//
//	schema           slipway.timings/v1
//	startedOn        when the command began, in UTC and whole seconds; absent where it is not known
//	wallMs           the end of the last step, in milliseconds
//	cpuMs            of the pipeline and the programs that it ran, in milliseconds; 0 where it is not known
//	peakMemoryBytes  of the pipeline alone; 0 where it is not known
//	steps            by start: an array of objects with
//	  step     the step's id
//	  group    the phase
//	  state    done, cached, failed or skipped
//	  startMs  milliseconds from the beginning of the command
//	  endMs    the same, for the end
func (t Timings) Encode(totals Totals) ([]byte, error) {
	type step struct {
		Step    string `json:"step"`
		Group   string `json:"group"`
		State   string `json:"state"`
		StartMS int64  `json:"startMs"`
		EndMS   int64  `json:"endMs"`
	}
	out := struct {
		Schema string `json:"schema"`
		Start  string `json:"startedOn,omitempty"`
		WallMS int64  `json:"wallMs"`
		CPUMS  int64  `json:"cpuMs"`
		Peak   int64  `json:"peakMemoryBytes"`
		Steps  []step `json:"steps"`
	}{TimingsSchema, "", t.wall().Milliseconds(), totals.CPU.Milliseconds(), totals.PeakMemory, make([]step, 0, len(t))}
	if !totals.Start.IsZero() {
		out.Start = totals.Start.UTC().Format(time.RFC3339)
	}
	for _, s := range t.sorted() {
		out.Steps = append(out.Steps, step{s.Step, s.Group, s.State, s.Start.Milliseconds(), s.End.Milliseconds()})
	}
	return canonjson.Indent(out)
}

// RunTimes reads from timings.json when the build began and ended; zero times where it does not say.
func RunTimes(b []byte) (start, end time.Time) {
	var in struct {
		Start  time.Time `json:"startedOn"`
		WallMS int64     `json:"wallMs"`
	}
	if err := canonjson.DecodeOpen(b, &in); err != nil || in.Start.IsZero() || in.WallMS < 0 {
		return time.Time{}, time.Time{}
	}
	return in.Start, in.Start.Add(time.Duration(in.WallMS) * time.Millisecond)
}
