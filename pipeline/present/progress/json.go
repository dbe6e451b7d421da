package progress

import (
	"encoding/json"
	"sync"
	"time"
)

// record is one line of the JSON display. The fields are a contract: none is renamed or removed.
type record struct {
	// Type is "step", "note", "total" or "end".
	Type string `json:"type"`
	// Time is when it happened, in UTC with milliseconds (RFC 3339).
	Time string `json:"time"`

	// Of a step: its id, its phase and one of started, done, cached, failed, skipped.
	Step  string `json:"step,omitempty"`
	Group string `json:"group,omitempty"`
	State string `json:"state,omitempty"`
	// ElapsedMS is how long the step, or in "end" the command, took, in milliseconds.
	ElapsedMS *int64 `json:"elapsedMs,omitempty"`
	// Detail is a short remark on a step, or the text of a note.
	Detail string `json:"detail,omitempty"`
	// Error and Output are of a failed step: why it failed, and all that it wrote, unchanged but for bytes that are not
	// UTF-8.
	Error  string `json:"error,omitempty"`
	Output string `json:"output,omitempty"`

	// Total is how many steps there will be, in "total".
	Total *int `json:"total,omitempty"`
	// Counts is how many steps ended in each state, in "end".
	Counts map[string]int `json:"counts,omitempty"`
}

// JSON is the display for programs: an object a line. The fields are
//
//	type       step, note, total or end
//	time       RFC 3339, UTC, milliseconds
//	step       the step's id
//	group      the step's phase
//	state      started, done, cached, failed or skipped
//	elapsedMs  of a step that ended, and in "end" of the whole, in milliseconds
//	detail     a short remark, or the note's text
//	error      why the step failed
//	output     all that the failed step wrote
//	total      in "total": how many steps there will be
//	counts     in "end": how many steps ended in each state
//
// More fields and types may come; a reader passes over those that it does not know.
type JSON struct {
	o Options

	mu     sync.Mutex
	out    printer
	board  board
	closed bool
}

// NewJSON returns a JSON that writes to o.W.
func NewJSON(o Options) *JSON {
	o = o.withDefaults()
	return &JSON{o: o, out: printer{w: o.W}}
}

func (j *JSON) write(r record, now time.Time) {
	r.Time = now.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // a record has nothing that cannot be encoded
	}
	j.out.print(string(b) + "\n")
}

// SetTotal writes an object of type "total".
func (j *JSON) SetTotal(steps int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.write(record{Type: "total", Total: &steps}, j.o.Now())
	}
}

// Event writes an object of type "step" or "note".
func (j *JSON) Event(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	now := j.o.Now()
	output := e.Output
	e = j.board.apply(e, now)
	r := record{Type: "step", Step: e.Step, Group: e.Group, State: e.State.String(), Detail: e.Detail}
	switch {
	case e.State == Note:
		r = record{Type: "note", Detail: e.Detail}
	case e.State.ended():
		ms := e.Elapsed.Milliseconds()
		r.ElapsedMS = &ms
	}
	if e.State == Failed {
		r.Output = output
		if e.Err != nil {
			r.Error = e.Err.Error()
		}
	}
	j.write(r, now)
}

// Close writes an object of type "end".
func (j *JSON) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.closed = true
		now, ms := j.o.Now(), int64(0)
		if !j.board.start.IsZero() {
			ms = now.Sub(j.board.start).Milliseconds()
		}
		counts := map[string]int{}
		for s := Done; s <= Skipped; s++ {
			counts[s.String()] = j.board.counts[s]
		}
		j.write(record{Type: "end", ElapsedMS: &ms, Counts: counts}, now)
	}
	return j.out.err
}
