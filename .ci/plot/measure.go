package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measure runs a command and adds what it took to the results, or adds what is given. A measurement that has enough runs
// is left as it is and the command is not run: so a benchmark that was interrupted goes on.
func measure(name string, given bool, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	var k key
	flags.StringVar(&k.Part, "part", "", "what is measured")
	flags.StringVar(&k.Case, "case", "", "what of it")
	flags.StringVar(&k.Tool, "tool", "", "what does it")
	flags.IntVar(&k.Targets, "targets", 0, "number of targets")
	flags.IntVar(&k.Binaries, "binaries", 0, "number of programs")
	flags.IntVar(&k.MB, "mb", 0, "megabytes embedded in the program")
	version := flags.String("version", "", "version of the tool")
	runs := flags.Int("runs", 1, "runs that are enough")
	timings := flags.String("timings", "", "timings.json that the command leaves, with the peak memory of its own process")
	var u usage
	flags.Float64Var(&u.Wall, "wall", 0, "add: seconds")
	flags.IntVar(&u.Requests, "requests", 0, "add: requests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r, err := load(name)
	if err != nil {
		return err
	}
	for _, m := range r.List {
		if m.key == k && len(m.Runs) >= *runs {
			fmt.Printf("  %s: measured already\n", k)
			return nil
		}
	}
	if !given {
		if u, err = spend(flags.Args(), *timings); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	// Others may have written meanwhile.
	if r, err = load(name); err != nil {
		return err
	}
	r.add(k, *version, os.Getenv("COMMIT"), time.Now().UTC().Format(time.DateOnly), u)
	fmt.Printf("  %s: %s\n", k, u)
	return r.save(name)
}

func (k key) String() string {
	s := strings.TrimSpace(k.Part + " " + k.Case)
	for _, n := range []struct {
		n    int
		what string
	}{{k.Targets, "targets"}, {k.Binaries, "binaries"}, {k.MB, "MB"}} {
		if n.n > 0 {
			s += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	return s + ", " + k.Tool
}

func (u usage) String() string {
	s := fmt.Sprintf("%.2f s", u.Wall)
	if u.CPU > 0 {
		s += fmt.Sprintf(", %.2f s CPU", u.CPU)
	}
	for _, m := range []struct {
		n    int64
		what string
	}{{u.Own, "the pipeline"}, {u.Largest, "the largest process"}, {u.All, "all at once"}} {
		if m.n > 0 {
			s += fmt.Sprintf(", %.0f MiB %s", mib(m.n), m.what)
		}
	}
	return s
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// spend runs a command to its end.
func spend(args []string, timings string) (usage, error) {
	if len(args) == 0 {
		return usage{}, errors.New("no command")
	}
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	ended, peak := make(chan struct{}), make(chan int64)
	go watch(cmd.Process.Pid, ended, peak)
	err := cmd.Wait()
	wall := time.Since(start)
	close(ended)
	u := usage{Wall: round(wall.Seconds(), 1000), All: <-peak}
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", args[0], err, out.Bytes())
	}
	s := cmd.ProcessState
	u.CPU = round((s.UserTime() + s.SystemTime()).Seconds(), 100)
	// Of a process and those that it waited for the kernel tells the largest. It counts the memory of whoever started the
	// process as its own, which is this program: some megabytes.
	if rusage, ok := s.SysUsage().(*syscall.Rusage); ok {
		u.Largest = int64(rusage.Maxrss)
		if runtime.GOOS != "darwin" {
			u.Largest *= 1024
		}
	}
	u.All = max(u.All, u.Largest)
	if timings == "" {
		return u, nil
	}
	if info, err := os.Stat(timings); err != nil || info.ModTime().Before(start.Add(-50*time.Millisecond)) { // clocks of file systems lag
		return u, nil // nothing was built, so nothing was written
	}
	b, err := os.ReadFile(timings)
	if err != nil {
		return u, err
	}
	var t struct {
		Peak int64 `json:"peakMemoryBytes"`
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return u, fmt.Errorf("%s: %w", timings, err)
	}
	u.Own = t.Peak
	return u, nil
}

func round(x float64, to float64) float64 { return math.Round(x*to) / to }

// watch adds up the memory of a process and everything below it again and again, and tells the largest sum at the end. It
// is 0 where there is no /proc.
func watch(root int, ended <-chan struct{}, peak chan<- int64) {
	tick := time.NewTicker(200 * time.Millisecond) // a sample costs 1 ms or 2
	defer tick.Stop()
	var most int64
	for {
		most = max(most, resident(root))
		select {
		case <-ended:
			peak <- most
			return
		case <-tick.C:
		}
	}
}

func resident(root int) int64 {
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	parent, pages := map[int]int{}, map[int]int64{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it ended
		}
		// The second field is a name in parentheses and may have anything in it.
		i := bytes.LastIndexByte(b, ')')
		fields := strings.Fields(string(b[i+1:]))
		if i < 0 || len(fields) < 22 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		parent[pid], _ = strconv.Atoi(fields[1])
		pages[pid], _ = strconv.ParseInt(fields[21], 10, 64)
	}
	var sum int64
	for pid := range parent {
		for p, depth := pid, 0; p != 0 && depth < 100; p, depth = parent[p], depth+1 {
			if p == root {
				sum += pages[pid]
				break
			}
		}
	}
	return sum * int64(os.Getpagesize())
}
