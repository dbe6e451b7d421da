package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/git/smart"
)

var (
	measured = flag.String("measure", "", "measure ways of moving, comma-separated, of: "+strings.Join(ways, " "))
	writers  = flag.String("writers", "1,8,32", "numbers of processes that are measured")
	moves    = flag.Int("moves", 1000, "moves of each measurement")
	kept     = flag.String("kept", "", "folder that is not there, for the store that size measures")
	limit    = flag.Duration("limit", 20*time.Second, "time after which a measurement begins no further move")
)

// ways are how many processes can move at once: with a clone that they share, with clones of their own, the same with one process that
// combines, sets of 20 with clones of their own, and what people do with git alone. The last one moves nothing: it leaves a file in a ref of
// its own, which is the least that a writer with a clone of its own asks of a git server.
var ways = []string{"shared", "own", "combiner", "sets", "rebase", "push"}

// job has this program be a writer in a process of its own.
const job = "SLIPWAY_TEST_WRITER"

// work is what a writer does: sets of versions, one after the other.
type work struct {
	Way, Remote, Dir string
	Sets             [][]environment.Item
	Until            time.Time
	Kill             int // between the changes of files, at which one, 0 for none
}

// moved is what a writer did.
type moved struct {
	Line  int // 0 where git alone moved it
	Items []environment.Item
	Took  time.Duration
	Peak  int // MiB that the writer has taken so far, itself, where that is known
}

func TestMain(m *testing.M) {
	text := os.Getenv(job)
	if text == "" {
		os.Exit(m.Run())
	}
	var w work
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		panic(err)
	}
	if err := w.do(context.Background(), json.NewEncoder(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (w work) do(ctx context.Context, out *json.Encoder) error {
	open := func() (*store.Store, error) {
		return store.Open(store.Options{Remote: w.Remote, Environ: os.Environ(), Dir: w.Dir, Now: time.Now})
	}
	if w.Way == "combine" {
		s, err := open()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		go func() {
			io.Copy(io.Discard, os.Stdin) // until whoever started this closes it
			cancel()
		}()
		return s.Lead(ctx, func(store.Combined) error { return nil })
	}
	if w.Kill > 0 {
		n := 0
		store.SetStep(func() {
			if n++; n == w.Kill {
				p, err := os.FindProcess(os.Getpid())
				if err == nil {
					err = p.Kill()
				}
				if err != nil {
					panic(err)
				}
				select {}
			}
		})
	}
	if w.Way == "lead" { // until it has done something
		s, err := open()
		if err != nil {
			return err
		}
		done := errors.New("done")
		if err = s.Lead(ctx, func(store.Combined) error { return done }); errors.Is(err, done) {
			return nil
		}
		return err
	}
	if w.Way == "once" {
		s, err := open()
		if err == nil {
			_, err = s.Combine(ctx)
		}
		return err
	}
	for _, set := range w.Sets {
		began := time.Now()
		if began.After(w.Until) {
			break
		}
		m := moved{Items: set}
		if w.Way == "rebase" || w.Way == "push" {
			alone := w.rebase
			if w.Way == "push" {
				alone = func(it environment.Item) error { return w.push(ctx, it) }
			}
			if err := alone(set[0]); err != nil {
				return err
			}
		} else {
			s, err := open() // as a command does
			if err != nil {
				return err
			}
			r, err := s.Ask(ctx, environment.Request{Kind: environment.Promote, To: "staging", Items: set}, nil)
			if err != nil || r.Line == 0 {
				return fmt.Errorf("%v: line %d, %+v: %w", set, r.Line, r.Outcomes, err)
			}
			m.Line = r.Line
		}
		m.Took, m.Peak = time.Since(began), peak()
		if err := out.Encode(m); err != nil {
			return err
		}
	}
	return nil
}

// rebase is a move with git alone: a rename on a branch, which is tried again on what others have pushed.
func (w work) rebase(it environment.Item) error {
	git := func(args ...string) error {
		cmd := exec.Command("git", append([]string{"-c", "gc.auto=0", "-c", "user.name=Example", "-c", "user.email=example@example.com"}, args...)...)
		cmd.Dir = w.Dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	name := environment.Path(it.Component, it.Version)
	to := filepath.Join("environments", "staging", name)
	if err := os.MkdirAll(filepath.Join(w.Dir, filepath.Dir(to)), 0o755); err != nil {
		return err
	}
	if err := git("mv", filepath.Join("environments", "snapshot", name), to); err != nil {
		return err
	}
	if err := git("commit", "--quiet", "--message", "move"); err != nil {
		return err
	}
	for try := 1; git("push", "--quiet", "origin", "HEAD:log") != nil; try++ {
		time.Sleep(time.Duration(rand.Int64N(int64(min(try, 10)) * int64(50*time.Millisecond))))
		if err := git("pull", "--quiet", "--rebase", "origin", "log"); err != nil {
			return err
		}
	}
	return nil
}

// push leaves a file as large as a request in a ref of its own.
func (w work) push(ctx context.Context, it environment.Item) error {
	r, ok := smart.New(w.Remote)
	if !ok {
		return fmt.Errorf("%s is not spoken to over HTTP", w.Remote)
	}
	file := []byte(strings.Repeat(it.Component+" "+it.Version+"\n", 20))
	name := "refs/slipway/measured/" + it.Component + "-" + it.Version
	pushed, err := r.Push(ctx, []smart.Update{{Name: name, From: smart.None, To: branch.BlobID(file)}}, smart.Pack(file), nil)
	if err == nil && len(pushed.Refused) > 0 {
		err = fmt.Errorf("%v", pushed.Refused)
	}
	return err
}

// crowd is a store that a real git server has, with versions of many components in its first stage.
type crowd struct {
	*team
	repo *gittest.Repo
	sets [][]environment.Item
	used time.Duration // CPU time of the moves, of the server and the writers
}

const crowdComponents = 50

func newCrowd(t *testing.T, moves, each int) *crowd {
	t.Helper()
	repo := gittest.New(t)
	server := httptest.NewServer(repo)
	t.Cleanup(server.Close)
	c := &crowd{team: newTeams(t), repo: repo}
	c.remote = strings.Replace(server.URL, "http://", "http://writer:"+gittest.Token+"@", 1) + "/repo.git"
	rules := strings.Replace(string(environment.Default), "keep: 20", "keep: 1000", 1) + "\ncomponents:\n"
	for i := range crowdComponents {
		rules += fmt.Sprintf("  c%02d: {key: keys/lead.pub}\n", i)
	}
	dir := t.TempDir()
	s, err := store.Open(store.Options{Remote: c.remote, Environ: environ(t), Dir: dir, Now: time.Now})
	must(t, err)
	must(t, s.Init(t.Context(), []byte(rules), map[string][]byte{"lead.pub": c.key.Public().PEM()}))
	for i := range moves {
		e := c.entry(fmt.Sprintf("c%02d", i%crowdComponents), fmt.Sprintf("1.0.%d", i/crowdComponents), "x")
		c.now = time.Now().UTC().Truncate(time.Second)
		c.wait(dir, add("snapshot", e))
		if i%each == 0 {
			c.sets = append(c.sets, nil)
		}
		c.sets[len(c.sets)-1] = append(c.sets[len(c.sets)-1], environment.Item{Component: e.Component, Version: e.Version})
		if i%250 == 249 || i == moves-1 {
			combine(t, s)
		}
	}
	return c
}

// start starts a writer, which is ended with the test.
func (c *crowd) start(w work) (cmd *exec.Cmd, stdin io.Closer, out *bytes.Buffer) {
	c.t.Helper()
	text, err := json.Marshal(w)
	must(c.t, err)
	cmd = exec.CommandContext(c.t.Context(), os.Args[0])
	cmd.Env = append(environ(c.t), job+"="+string(text))
	out = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	in, err := cmd.StdinPipe()
	must(c.t, err)
	must(c.t, cmd.Start())
	return cmd, in, out
}

// move has processes move all sets, as far as the time allows.
func (c *crowd) move(way string, processes int, until time.Duration) (all []moved, took time.Duration) {
	c.t.Helper()
	shared := c.t.TempDir()
	if way == "combiner" {
		cmd, in, _ := c.start(work{Way: "combine", Remote: c.remote, Dir: c.t.TempDir()})
		defer func() {
			in.Close()
			must(c.t, cmd.Wait())
		}()
		for do(c.t, c.repo.Dir, "for-each-ref", "refs/slipway/lease") == "" {
			time.Sleep(10 * time.Millisecond)
		}
	}
	jobs := make([]work, processes)
	for i := range jobs {
		jobs[i] = work{Way: way, Remote: c.remote, Dir: shared}
		switch way {
		case "rebase":
			jobs[i].Dir = filepath.Join(c.t.TempDir(), "work")
			do(c.t, ".", "clone", "--quiet", "--branch", "log", c.remote, jobs[i].Dir)
		case "shared":
		default:
			jobs[i].Dir = c.t.TempDir()
		}
		if way != "rebase" { // as one who was here before
			must(c.t, c.open(jobs[i].Dir).Read(c.t.Context(), func(store.View) error { return nil }))
		}
	}
	for i, set := range c.sets {
		jobs[i%processes].Sets = append(jobs[i%processes].Sets, set)
	}
	began, before := time.Now(), cpu()
	outs := make([]*bytes.Buffer, processes)
	var wg sync.WaitGroup
	for i, w := range jobs {
		w.Until = began.Add(until)
		cmd, _, out := c.start(w)
		outs[i] = out
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				c.t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	took, c.used = time.Since(began), cpu()-before
	for _, out := range outs {
		for d := json.NewDecoder(out); ; {
			var m moved
			if err := d.Decode(&m); err != nil {
				break
			}
			all = append(all, m)
		}
	}
	return all, took
}

// holds holds the store to what the writers say that they moved: each of it is there, in a line of its own, and nothing else.
func (c *crowd) holds(all []moved) {
	c.t.Helper()
	want := map[string]string{}
	lines := map[int]int{}
	for _, set := range c.sets {
		for _, it := range set {
			want[it.Component+" "+it.Version] = "snapshot"
		}
	}
	for _, m := range all {
		lines[m.Line]++
		for _, it := range m.Items {
			want[it.Component+" "+it.Version] = "staging"
		}
	}
	s := c.open(c.t.TempDir())
	n, err := s.Check(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	seeds := len(want)
	if n.Lines != seeds+len(all) || len(lines) != len(all) {
		c.t.Errorf("%d lines for %d versions and %d moves, which were told of %d lines", n.Lines, seeds, len(all), len(lines))
	}
	must(c.t, s.Read(c.t.Context(), func(v store.View) error {
		for _, stage := range v.Rules.StageNames() {
			for _, h := range v.State.In(stage) {
				if name := h.Component + " " + h.Version; want[name] != stage {
					c.t.Errorf("%s is in %s and not in %q", name, stage, want[name])
				}
				seeds--
			}
		}
		return nil
	}))
	if seeds != 0 {
		c.t.Errorf("%d versions are in no stage or in two", seeds)
	}
	for _, on := range []string{"log", "snapshot", "staging"} {
		if merges := do(c.t, c.repo.Dir, "rev-list", "--merges", on); merges != "" {
			c.t.Errorf("the history of %s is not a line: %s", on, merges)
		}
	}
	if left := do(c.t, c.repo.Dir, "for-each-ref", "refs/slipway/"); left != "" {
		c.t.Errorf("left behind: %s", left)
	}
}

// Writers in processes of their own, on a real server: no move is lost, none is made twice, and nothing is left behind.
func TestWriters(t *testing.T) {
	fixture.SkipRace(t)
	processes, each := 4, 2
	if fixture.Full {
		processes, each = 8, 4
	}
	for way, size := range map[string]int{"shared": 1, "own": 1, "combiner": 1, "sets": 5} {
		t.Run(way, func(t *testing.T) {
			c := newCrowd(t, processes*each*size, size)
			all, _ := c.move(way, processes, time.Hour)
			if len(all) != processes*each {
				t.Errorf("%d moves", len(all))
			}
			c.holds(all)
		})
	}
}

// cpu is what this process and those that it waited for have used of the CPUs, as far as that is known: Linux counts in hundredths of a
// second (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func cpu() (used time.Duration) {
	stat, _ := os.ReadFile("/proc/self/stat")
	_, after, _ := strings.Cut(string(stat), ") ")
	for i, field := range strings.Fields(after) {
		if ticks, err := strconv.Atoi(field); err == nil && 11 <= i && i <= 14 {
			used += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return used
}

// peak is how much memory this process has taken (https://man7.org/linux/man-pages/man5/proc_pid_status.5.html).
func peak() (mib int) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
		fmt.Sscan(after, &mib) // KiB
	}
	return mib >> 10
}

// TestMeasure measures how many moves a second there are, and how long one takes, for .ci/bench.
func TestMeasure(t *testing.T) {
	if *measured == "" {
		t.Skip("nothing is to be measured: -measure")
	}
	for way := range strings.SplitSeq(*measured, ",") {
		if way == "size" {
			continue
		}
		for count := range strings.SplitSeq(*writers, ",") {
			var n int
			_, err := fmt.Sscan(count, &n)
			must(t, err)
			t.Run(way+" "+count, func(t *testing.T) {
				size := 1
				if way == "sets" {
					size = 20
				}
				c := newCrowd(t, *moves, size)
				all, took := c.move(way, n, *limit)
				var times []time.Duration
				for _, m := range all {
					times = append(times, m.Took)
				}
				slices.Sort(times)
				if len(times) == 0 {
					t.Fatal("nothing was moved")
				}
				at := func(percent int) string {
					return fmt.Sprintf("%.2f", times[min(len(times)*percent/100, len(times)-1)].Seconds())
				}
				load, _ := os.ReadFile("/proc/loadavg")
				fmt.Printf("measured: %-8s %2d writers: %4d moves in %5.1f s, %6.1f a second, p50 %s p90 %s p99 %s s, %.3f CPU s each, load %.14s\n",
					way, n, len(all)*size, took.Seconds(), float64(len(all)*size)/took.Seconds(), at(50), at(90), at(99), c.used.Seconds()/float64(len(all)*size), load)
				if way != "rebase" && way != "push" {
					c.holds(all)
				}
			})
		}
	}
}

// TestMeasureSize measures commands on a store of 10,000 releases and 100,000 lines.
func TestMeasureSize(t *testing.T) {
	if !slices.Contains(strings.Split(*measured, ","), "size") {
		t.Skip("nothing is to be measured: -measure size")
	}
	const releases, each = 10_000, 10
	tm := newTeams(t)
	rules := do(t, tm.remote, "rev-parse", "main")
	r, err := environment.ParseRules(environment.RulesFile, []byte(strings.Replace(do(t, tm.remote, "cat-file", "blob", "main:environment.yaml"), "keys/lead.pub", string(tm.key.Public().Fingerprint()), 2)))
	must(t, err)
	var state environment.State
	var log, in bytes.Buffer
	file := func(name string, b []byte) { fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(b), b) }
	var entries []func(folder string)
	decide := func(q environment.Request, n int) {
		q.At = tm.clock()
		q.Expires = q.At.Add(time.Minute)
		a, err := environment.Decide(&state, r, rules, fmt.Sprintf("%032x", n), q, q.At)
		must(t, err)
		if a.Refused() || a.Nothing {
			t.Fatalf("%+v", a)
		}
		line, err := state.Append(a.Line)
		must(t, err)
		log.Write(line)
	}
	for i := range releases {
		e := tm.entry([]string{"gateway", "control"}[i%2], fmt.Sprintf("1.%d.%d", i/100, i%100), fmt.Sprint(i))
		e.Charts = []environment.Chart{{Repository: "registry.example.com/charts/" + e.Component, Name: e.Component, Version: e.Version, Digest: e.Manifest}}
		decide(add("staging", e), i*each)
		for j := range each - 1 {
			decide(request([]environment.Kind{environment.Hold, environment.Release}[j%2], e.Component, e.Version, "production"), i*each+j+1)
		}
		b, err := e.Encode()
		must(t, err)
		entries = append(entries, func(folder string) { file(folder+environment.Path(e.Component, e.Version), b) })
	}
	for _, on := range []string{"log", "staging"} {
		fmt.Fprintf(&in, "commit refs/heads/%s\ncommitter Example <example@example.com> 1790000000 +0000\ndata 1\nx\nfrom refs/heads/%[1]s^0\n", on)
		folder := map[string]string{"log": "environments/staging/"}[on]
		for _, e := range entries {
			e(folder)
		}
		if on == "log" {
			lines := bytes.SplitAfter(log.Bytes(), []byte("\n"))
			for i := 0; i*256 < state.Count; i++ {
				file(fmt.Sprintf("log/%06d.jsonl", i), bytes.Join(lines[i*256:min((i+1)*256, state.Count)], nil))
			}
		}
	}
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = tm.remote, environ(t), &in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if *kept != "" {
		must(t, os.CopyFS(*kept, os.DirFS(tm.remote)))
	}
	dir := t.TempDir()
	measure := func(what string, f func(s *store.Store)) {
		s := tm.open(dir)
		began := time.Now()
		f(s)
		took := time.Since(began)
		load, _ := os.ReadFile("/proc/loadavg")
		fmt.Printf("measured: %d releases, %d lines: %s %.3f s, load %.14s\n", releases, state.Count, what, took.Seconds(), load)
	}
	read := func(s *store.Store) {
		must(t, s.Read(t.Context(), func(v store.View) error {
			q := request(environment.Promote, "gateway", "1.0.0", "staging")
			_, err := environment.Decide(v.State, v.Rules, v.RulesCommit, strings.Repeat("0", 32), q, tm.now)
			return err
		}))
	}
	measure("why, the first time", read)
	for range 3 {
		measure("why", read)
	}
	measure("hold", func(s *store.Store) {
		if _, err := s.Ask(t.Context(), request(environment.Hold, "control", "", "production"), nil); err != nil {
			t.Error(err)
		}
	})
	last := tm.entry("gateway", "9.9.9", "last")
	measure("add", func(s *store.Store) {
		if _, err := s.Ask(t.Context(), add("snapshot", last), nil); err != nil {
			t.Error(err)
		}
	})
	c := &crowd{team: tm}
	cmd, _, out := c.start(work{Way: "own", Remote: tm.remote, Dir: dir, Until: time.Now().Add(time.Hour), Sets: [][]environment.Item{{{Component: "gateway", Version: "9.9.9"}}}})
	must(t, cmd.Wait())
	tm.now = time.Now().UTC() // which is that of the writer
	var m moved
	must(t, json.Unmarshal(out.Bytes(), &m))
	fmt.Printf("measured: %d releases, %d lines: promote %.3f s, %d MiB\n", releases, state.Count, m.Took.Seconds(), m.Peak)
	measure("check", func(s *store.Store) {
		_, err := s.Check(t.Context())
		must(t, err)
	})
	info, err := os.Stat(filepath.Join(dir, "state"))
	must(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "state"))
	must(t, err)
	began := time.Now()
	_, _, err = environment.Kept(b)
	must(t, err)
	fmt.Printf("measured: the state that is kept has %.1f MB and is read in %.3f s\n", float64(info.Size())/1e6, time.Since(began).Seconds())
}
