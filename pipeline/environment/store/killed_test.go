package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
)

// A promotion and a combine are killed before and after each git that they run. Whoever comes next ends with what one run that nobody
// kills ends with: the move is in one line, and nothing waits.
func TestKilled(t *testing.T) {
	fixture.SkipRace(t)
	if runtime.GOOS == "windows" {
		t.Skip("the git that kills is a script")
	}
	real, err := exec.LookPath("git")
	must(t, err)
	for _, way := range []string{"own", "once"} {
		points := 0
		for _, when := range []string{"before", "after"} {
			for at, ended := 1, false; !ended; at++ {
				if !fixture.Full && at > 1 && at%2 == 0 {
					continue
				}
				tm := newTeams(t)
				tm.now = time.Now().UTC()
				dir := t.TempDir()
				ask(t, tm.open(dir), add("snapshot", tm.entry("gateway", "1.0.0", "a")), 1)
				if way == "once" {
					id := tm.wait(dir, request(environment.Promote, "gateway", "1.0.0", "staging"))
					tm.queue(dir, id)
				}
				bin := t.TempDir()
				script := fmt.Sprintf("#!/bin/sh\nn=$(cat '%[1]s/n' 2>/dev/null || echo 0); n=$((n+1)); echo $n > '%[1]s/n'\n"+
					"[ $n != %[2]d ] || [ %[3]s != before ] || { kill -9 $PPID; exit 1; }\n'%[4]s' \"$@\"; r=$?\n"+
					"[ $n != %[2]d ] || [ %[3]s != after ] || kill -9 $PPID\nexit $r\n", bin, at, when, real)
				must(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
				text, err := json.Marshal(work{Way: way, Remote: tm.remote, Dir: dir, Until: time.Now().Add(time.Hour), Sets: [][]environment.Item{{{Component: "gateway", Version: "1.0.0"}}}})
				must(t, err)
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(environ(t), job+"="+string(text), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
				out, err := cmd.CombinedOutput()
				if ended = err == nil; !ended {
					if cmd.ProcessState.ExitCode() != -1 {
						t.Fatalf("%s, %s git %d: %v\n%s", way, when, at, err, out)
					}
					points++
				}
				combine(t, tm.open(dir))
				n, err := tm.open(t.TempDir()).Check(t.Context())
				if err != nil || n.Lines != 2 || n.Entries != 1 || len(tm.queued()) > 0 || tm.left(dir, "outbox") > 0 {
					t.Errorf("%s, killed %s git %d: %+v, %v, queue %v, %d in the outbox", way, when, at, n, err, tm.queued(), tm.left(dir, "outbox"))
				}
				must(t, tm.open(dir).Read(t.Context(), func(v store.View) error {
					if _, ok := v.State.Held("staging", "gateway", "1.0.0"); !ok {
						t.Errorf("%s, killed %s git %d: it was not promoted", way, when, at)
					}
					return nil
				}))
			}
		}
		if points < 4 {
			t.Errorf("%s was killed at %d points", way, points)
		}
		t.Logf("%s was killed at %d points", strings.ReplaceAll(way, "own", "promote"), points)
	}
}

// The same between the changes of files that they make: the request that is written down, what is remembered, answers and what is taken
// away. Who asks again gets what was asked for, once, and what was left lying about is swept.
func TestKilledAtFiles(t *testing.T) {
	fixture.SkipRace(t)
	tm := newTeams(t)
	tm.rules("keep: 20", "keep: 1000")
	dir, seeds := t.TempDir(), t.TempDir()
	const versions = 260
	seed := tm.open(seeds)
	for i := range versions {
		tm.wait(seeds, add("snapshot", tm.entry("gateway", fmt.Sprintf("1.0.%d", i), "a")))
	}
	combine(t, seed)
	lines, points := versions, map[string]int{}
	for _, way := range []string{"own", "once", "lead"} {
		for at, ended := 1, false; !ended; at++ {
			if !fixture.Full && at > 1 && at%7 != 0 {
				continue
			}
			tm.now = time.Now().UTC()
			q := request(environment.Promote, "gateway", fmt.Sprintf("1.0.%d", lines-versions), "staging")
			if way != "own" {
				tm.wait(dir, q)
			}
			text, err := json.Marshal(work{Way: way, Remote: tm.remote, Dir: dir, Until: time.Now().Add(time.Hour), Sets: [][]environment.Item{q.Items}, Kill: at})
			must(t, err)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(environ(t), job+"="+string(text))
			out, err := cmd.CombinedOutput()
			if ended = err == nil; !ended {
				if runtime.GOOS != "windows" && cmd.ProcessState.ExitCode() != -1 {
					t.Fatalf("%s, at %d: %v\n%s", way, at, err, out)
				}
				points[way]++
			}
			if way == "lead" { // whose lease nobody renews
				do(t, tm.remote, "update-ref", "-d", "refs/slipway/lease")
			}
			r, err := tm.open(dir).Ask(t.Context(), q, nil)
			if lines++; err != nil || r.Refused() || r.Line != lines && !r.Nothing {
				t.Errorf("%s, killed at %d: %+v, %v", way, at, r, err)
			}
			if wait, err := filepath.Glob(filepath.Join(dir, "outbox", "[0-9a-f]*")); err != nil || len(wait) > 0 {
				t.Errorf("%s, killed at %d: %q wait, %v", way, at, wait, err)
			}
		}
	}
	s := tm.open(dir)
	must(t, s.Read(t.Context(), func(v store.View) error {
		if n := len(v.State.In("staging")); v.State.Count != lines || n != lines-versions {
			t.Errorf("%d lines and %d versions in staging, and not %d and %d", v.State.Count, n, lines, lines-versions)
		}
		return nil
	}))
	tm.check(fmt.Sprint(lines, versions, 0))
	tm.now = time.Now().Add(25 * time.Hour)
	combine(t, s)
	for _, folder := range []string{".", "outbox", "answers"} {
		list, err := os.ReadDir(filepath.Join(dir, folder))
		must(t, err)
		for _, e := range list {
			if folder != "." || strings.HasPrefix(e.Name(), ".new-") {
				t.Errorf("%s/%s is left", folder, e.Name())
			}
		}
	}
	t.Logf("killed at %v", points)
	for _, way := range []string{"own", "once", "lead"} {
		if points[way] < 3 {
			t.Errorf("%s was killed at %d points", way, points[way])
		}
	}
}
