package main

import (
	"context"
	"flag"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: run go test ./.ci/plot -update and look at the difference", name)
	}
}

func sample(t *testing.T, name string) results {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	// What is read is written again as it was.
	again, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, name, string(again))
	return r
}

func TestGolden(t *testing.T) {
	r := sample(t, "full.jsonl")
	golden(t, "full.svg", draw(r))
	golden(t, "full.txt", tables(r))
	if draw(sample(t, "full.jsonl")) != draw(r) {
		t.Error("drawn twice it differs")
	}
	// One part alone, of one run: panels say that there is nothing.
	r = sample(t, "little.jsonl")
	golden(t, "little.svg", draw(r))
	golden(t, "little.txt", tables(r))
	if r = (results{Machine: r.Machine}); !strings.Contains(draw(r), "not measured") || strings.Contains(draw(r)+tables(r), "NaN") {
		t.Error("drawn of nothing it says something")
	}
}

func TestFit(t *testing.T) {
	slope, intercept, worst, ok := fit([]float64{1, 2, 4}, []float64{5, 7, 11})
	if !ok || math.Abs(slope-2) > 1e-9 || math.Abs(intercept-3) > 1e-9 || worst > 1e-9 {
		t.Errorf("%v x + %v, %v", slope, intercept, worst)
	}
	slope, intercept, worst, ok = fit([]float64{0, 1, 2}, []float64{1, 0.5, 3}) // by hand: 1 x + 0.5
	if !ok || math.Abs(slope-1) > 1e-9 || math.Abs(intercept-0.5) > 1e-9 || math.Abs(worst-2) > 1e-9 {
		t.Errorf("%v x + %v, %v", slope, intercept, worst)
	}
	for _, x := range [][]float64{nil, {1}, {3, 3}} {
		if _, _, _, ok := fit(x, make([]float64, len(x))); ok {
			t.Errorf("a line through %v", x)
		}
	}
}

func TestAdd(t *testing.T) {
	var r results
	k := key{Part: "lines", Tool: slipway}
	for _, wall := range []float64{3, 1, 4, 2} {
		r.add(k, "", "", "", usage{Wall: wall, Own: int64(10 - wall)})
	}
	r.add(key{Part: "lines", Tool: plain}, "", "", "", usage{Wall: 9})
	m := r.List[0]
	if len(r.List) != 2 || m.Min != (usage{Wall: 1, Own: 6}) || m.Median != (usage{Wall: 2, Own: 7}) {
		t.Errorf("%+v", r)
	}
}

func TestTicks(t *testing.T) {
	for most, want := range map[float64]string{0: "0 0.2 0.4 0.6 0.8 1", 1: "0 0.2 0.4 0.6 0.8 1", 1.01: "0 0.5 1 1.5", 3.4: "0 1 2 3 4", 17: "0 5 10 15 20", 111: "0 50 100 150", 950: "0 200 400 600 800 1000"} {
		var got []string
		for _, x := range ticks(most) {
			got = append(got, number(x))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("up to %v: %s, want %s", most, s, want)
		}
	}
}

// A command is measured with what it ran, kept, and not run a second time.
func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	name, ran := filepath.Join(dir, "r.jsonl"), filepath.Join(dir, "ran")
	args := []string{"-part", "lines", "-tool", "go build", "--", "bash", "-c", `echo >>"$0"; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.3`, ran}
	for range 2 {
		if err := measure(name, false, args); err != nil {
			t.Fatal(err)
		}
	}
	r, err := load(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(ran)
	if err != nil || string(b) != "\n" {
		t.Errorf("ran %d times: %v", len(b), err)
	}
	u, ok := r.get(key{Part: "lines", Tool: "go build"})
	if !ok || u.Wall < 0.3 || u.CPU <= 0 || u.Largest < 1<<20 || u.All < u.Largest {
		t.Errorf("%+v", u)
	}
	if err := measure(name, false, []string{"-part", "x", "--", "bash", "-c", "echo broken; exit 3"}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a command that fails: %v", err)
	}
	if err := drop(name, []string{"lines"}); err != nil {
		t.Fatal(err)
	}
	if r, err = load(name); err != nil || len(r.List) != 0 {
		t.Errorf("after drop: %+v, %v", r, err)
	}
	r.Machine.Cores++
	if err := r.save(name); err != nil {
		t.Fatal(err)
	}
	if err := begin(name); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("results of another machine: %v", err)
	}
}

// The memory of a child is counted with that of its parent.
func TestResident(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	if got := resident(os.Getpid()); got < 1<<20 || got > 1<<36 {
		t.Errorf("this program has %d bytes", got)
	}
}

func TestBase(t *testing.T) {
	s := httptest.NewServer(newBase([]string{"linux/amd64", "linux/arm/v7"}))
	defer s.Close()
	get := func(p string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+p, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.Status + " " + res.Header.Get("Content-Type") + " " + string(b)
	}
	if got := get("/v2/base/manifests/latest"); !strings.HasPrefix(got, "200 OK application/vnd.oci.image.index.v1+json ") || !strings.Contains(got, `"variant":"v7"`) {
		t.Errorf("the index: %s", got)
	}
	if got := get("/v2/base/blobs/sha256:0"); !strings.HasPrefix(got, "404 ") {
		t.Errorf("a blob that is not there: %s", got)
	}
}
