package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// machine is where everything was measured: times of two machines are not put side by side.
type machine struct {
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
}

// usage is what one run of a command took, or the least or the median of several.
type usage struct {
	Wall     float64 `json:"wall"`               // seconds
	CPU      float64 `json:"cpu,omitempty"`      // seconds of the command and all that it ran
	Own      int64   `json:"own,omitempty"`      // bytes: peak of the pipeline's own process
	Largest  int64   `json:"largest,omitempty"`  // bytes: peak of the largest process
	All      int64   `json:"all,omitempty"`      // bytes: peak of all processes at a time, as sampled; shared pages count for each
	Requests int     `json:"requests,omitempty"` // of a publishing
}

// key says what was measured.
type key struct {
	Part     string `json:"part"`
	Case     string `json:"case,omitempty"`
	Tool     string `json:"tool"`
	Targets  int    `json:"targets,omitempty"`
	Binaries int    `json:"binaries,omitempty"`
	MB       int    `json:"mb,omitempty"` // embedded in the program
}

type measurement struct {
	key
	Version string  `json:"version,omitempty"` // of a tool of others
	Commit  string  `json:"commit,omitempty"`
	Date    string  `json:"date"`
	Runs    []usage `json:"runs"`
	Min     usage   `json:"min"`
	Median  usage   `json:"median"`
}

type results struct {
	Machine machine
	List    []measurement
}

// add keeps a run.
func (r *results) add(k key, version, commit, date string, u usage) *measurement {
	i := slices.IndexFunc(r.List, func(m measurement) bool { return m.key == k })
	if i < 0 {
		i = len(r.List)
		r.List = append(r.List, measurement{key: k})
	}
	m := &r.List[i]
	m.Version, m.Commit, m.Date = version, commit, date
	m.Runs = append(m.Runs, u)
	m.Min = over(m.Runs, func(sorted []float64) float64 { return sorted[0] })
	// Of an even number the lower one, so that it is always one that was measured.
	m.Median = over(m.Runs, func(sorted []float64) float64 { return sorted[(len(sorted)-1)/2] })
	return m
}

func over(runs []usage, choose func(sorted []float64) float64) usage {
	field := func(f func(usage) float64) float64 {
		list := make([]float64, len(runs))
		for i, u := range runs {
			list[i] = f(u)
		}
		slices.Sort(list)
		return choose(list)
	}
	return usage{
		Wall:     field(func(u usage) float64 { return u.Wall }),
		CPU:      field(func(u usage) float64 { return u.CPU }),
		Own:      int64(field(func(u usage) float64 { return float64(u.Own) })),
		Largest:  int64(field(func(u usage) float64 { return float64(u.Largest) })),
		All:      int64(field(func(u usage) float64 { return float64(u.All) })),
		Requests: int(field(func(u usage) float64 { return float64(u.Requests) })),
	}
}

// get returns the median of what was measured.
func (r results) get(k key) (usage, bool) {
	for _, m := range r.List {
		if m.key == k && len(m.Runs) > 0 {
			return m.Median, true
		}
	}
	return usage{}, false
}

// of returns what a part measured, in the order of the file.
func (r results) of(part string) []measurement {
	return slices.DeleteFunc(slices.Clone(r.List), func(m measurement) bool { return m.Part != part })
}

func decode(b []byte) (results, error) {
	var r results
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r.Machine); err != nil {
		return r, fmt.Errorf("reading the machine: %w", err)
	}
	for {
		var m measurement
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return r, nil
		case err != nil:
			return r, fmt.Errorf("reading measurement %d: %w", len(r.List)+1, err)
		}
		r.List = append(r.List, m)
	}
}

func (r results) encode() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r.Machine); err != nil {
		return nil, err
	}
	for _, m := range r.List {
		if err := enc.Encode(m); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func thisMachine() machine {
	return machine{runtime.NumCPU(), strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH}
}

// load reads the results that this machine adds to.
func load(name string) (results, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return results{Machine: thisMachine()}, nil
	}
	if err != nil {
		return results{}, err
	}
	r, err := decode(b)
	if err != nil {
		return r, fmt.Errorf("%s: %w; remove it to begin again", name, err)
	}
	if here := thisMachine(); r.Machine != here {
		return r, fmt.Errorf("%s is of another machine: %+v, and this is %+v; remove it, or name another file with RESULTS", name, r.Machine, here)
	}
	return r, nil
}

// save replaces the file at once, so that whoever is killed loses one run and not all.
func (r results) save(name string) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func begin(name string) error {
	r, err := load(name)
	if err != nil {
		return err
	}
	return r.save(name)
}

func drop(name string, parts []string) error {
	r, err := load(name)
	if err != nil {
		return err
	}
	r.List = slices.DeleteFunc(r.List, func(m measurement) bool { return slices.Contains(parts, m.Part) })
	return r.save(name)
}

// fit returns slope and intercept of the line through points with the least squares of distances, and the largest distance
// as a share of what was measured. It is false where the points are on one vertical or fewer than two.
func fit(x, y []float64) (slope, intercept, worst float64, ok bool) {
	var n, sx, sy, sxx, sxy float64
	for i := range x {
		n, sx, sy, sxx, sxy = n+1, sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	d := n*sxx - sx*sx
	if n < 2 || d < 1e-9 {
		return 0, 0, 0, false
	}
	slope = (n*sxy - sx*sy) / d
	intercept = (sy - slope*sx) / n
	for i := range x {
		worst = max(worst, math.Abs(slope*x[i]+intercept-y[i])/y[i])
	}
	return slope, intercept, worst, true
}
