package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
)

// serve has a real git server serve the store of a team, by way of a handler, and returns its URL.
func (tm *team) serve(handler func(repo *gittest.Repo) http.HandlerFunc) string {
	tm.t.Helper()
	repo := gittest.New(tm.t)
	must(tm.t, os.RemoveAll(repo.Dir))
	must(tm.t, os.Rename(tm.remote, repo.Dir))
	tm.remote = repo.Dir
	do(tm.t, tm.remote, "config", "http.receivepack", "true")
	server := httptest.NewServer(handler(repo))
	tm.t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http://", "http://writer:"+gittest.Token+"@", 1) + "/repo.git"
}

// A promotion and a combine are killed, or their connection is cut, before and after the server has done each of their requests. Whoever
// comes next, or goes on, ends with what one run that nothing happens to ends with.
func TestCut(t *testing.T) {
	fixture.SkipRace(t)
	tm := newTeams(t)
	tm.now = time.Now().UTC()
	var at, asked atomic.Int32
	var kill, after atomic.Bool
	var child atomic.Pointer[os.Process]
	url := tm.serve(func(repo *gittest.Repo) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) != at.Load() {
				repo.ServeHTTP(w, r)
				return
			}
			if after.Load() {
				repo.ServeHTTP(httptest.NewRecorder(), r)
			}
			for p := child.Load(); kill.Load(); p = child.Load() {
				if p != nil {
					p.Kill()
					break
				}
				time.Sleep(time.Millisecond)
			}
			panic(http.ErrAbortHandler)
		}
	})
	before, dir := filepath.Join(t.TempDir(), "before"), t.TempDir()
	ask(t, tm.open(dir), add("snapshot", tm.entry("gateway", "1.0.0", "a")), 1)
	must(t, os.CopyFS(filepath.Join(before, "remote"), os.DirFS(tm.remote)))
	must(t, os.CopyFS(filepath.Join(before, "dir"), os.DirFS(dir)))
	points := 0
	for _, way := range []string{"own", "queue", "once"} {
		for i, fault := range []string{"killed after", "cut after", "killed before", "cut before"} {
			if !fixture.Full && i > 1 {
				continue
			}
			kill.Store(strings.HasPrefix(fault, "killed"))
			after.Store(strings.HasSuffix(fault, "after"))
			if way == "queue" && !kill.Load() {
				continue // nobody does what waits
			}
			for n, ended := 1, false; !ended && (way != "queue" || n <= 3); n++ {
				for from, to := range map[string]string{"remote": tm.remote, "dir": dir} {
					must(t, os.RemoveAll(to))
					must(t, os.CopyFS(to, os.DirFS(filepath.Join(before, from))))
				}
				switch way {
				case "queue":
					tm.put("refs/slipway/lease", "somebody")
				case "once":
					id := tm.wait(dir, request(environment.Promote, "gateway", "1.0.0", "staging"))
					tm.queue(dir, id)
				}
				asked.Store(0)
				at.Store(int32(n))
				child.Store(nil)
				text, err := json.Marshal(work{Way: strings.Replace(way, "queue", "own", 1), Remote: url, Dir: dir, Until: time.Now().Add(time.Hour), Sets: [][]environment.Item{{{Component: "gateway", Version: "1.0.0"}}}})
				must(t, err)
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(environ(t), job+"="+string(text))
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				must(t, cmd.Start())
				child.Store(cmd.Process)
				err = cmd.Wait()
				ended = asked.Load() < int32(n)
				if !ended {
					points++
				}
				if err != nil && !kill.Load() {
					t.Errorf("%s, %s request %d: %v: %s", way, fault, n, err, out.String())
				}
				at.Store(0)
				combine(t, tm.open(dir))
				done, err := tm.open(t.TempDir()).Check(t.Context())
				if err != nil || done.Lines != 2 || done.Entries != 1 || len(tm.queued()) > 0 || tm.left(dir, "outbox") > 0 {
					t.Errorf("%s, %s request %d: %+v, %v, queue %v, %d in the outbox: %s", way, fault, n, done, err, tm.queued(), tm.left(dir, "outbox"), out.String())
				}
				if got := tm.files("staging"); got != "entries/gateway/1.0.0.json" {
					t.Errorf("%s, %s request %d: staging has %q", way, fault, n, got)
				}
			}
		}
	}
	if points < 10 {
		t.Errorf("%d points", points)
	}
	t.Logf("%d points", points)
}

// queue moves a request from the outbox of a folder into the queue.
func (tm *team) queue(dir, id string) {
	tm.t.Helper()
	name := filepath.Join(dir, "outbox", id)
	b, err := os.ReadFile(name)
	must(tm.t, err)
	var w map[string]string
	must(tm.t, canonjson.Decode(b, &w))
	b, err = canonjson.Encode(w)
	must(tm.t, err)
	tm.put(fmt.Sprintf("refs/slipway/requests/%013d-%s", tm.now.UnixMilli(), id), string(b))
	must(tm.t, os.Remove(name))
}

// A server does not list all refs at one time. Whoever misses a request in the queue, and does not find it in the log, looks again before
// it is put there again.
func TestTorn(t *testing.T) {
	tm := newTeams(t)
	var torn, pushes atomic.Int32
	url := tm.serve(func(repo *gittest.Repo) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
				pushes.Add(1)
			}
			if !bytes.Contains(body, []byte("command=ls-refs")) || !bytes.Contains(body, []byte("ref-prefix refs/slipway/requests/")) || torn.Add(1) > 1 {
				repo.ServeHTTP(w, r)
				return
			}
			// That the log had moved by then is what this answer does not say.
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			for _, line := range strings.Split(do(t, repo.Dir, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/", "refs/slipway/lease"), "\n") {
				fmt.Fprintf(w, "%04x%s\n", len(line)+5, line)
			}
			io.WriteString(w, "0000")
		}
	})
	tm.put("refs/slipway/lease", "somebody")
	s, err := store.Open(store.Options{Remote: url, Environ: environ(t), Dir: t.TempDir(), Now: tm.clock})
	must(t, err)
	answer := make(chan asked, 1)
	go func() {
		r, err := s.Ask(t.Context(), add("staging", tm.entry("gateway", "1.0.0", "a")), nil)
		answer <- asked{r, err}
	}()
	for torn.Load() < 2 {
		select {
		case a := <-answer:
			t.Fatalf("%+v", a)
		case <-time.After(5 * time.Millisecond):
		}
	}
	combine(t, tm.open(t.TempDir()))
	if a := <-answer; a.err != nil || a.Line != 1 {
		t.Errorf("%+v", a)
	}
	if pushes.Load() != 1 || len(tm.queued()) > 0 {
		t.Errorf("%d pushes, and the queue has %v", pushes.Load(), tm.queued())
	}
}
