package store_test

import (
	"context"
	"errors"
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
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// put has a ref of the store point at bytes.
func (tm *team) put(ref, content string) {
	tm.t.Helper()
	name := filepath.Join(tm.t.TempDir(), "blob")
	must(tm.t, os.WriteFile(name, []byte(content), 0o600))
	do(tm.t, tm.remote, "update-ref", ref, do(tm.t, tm.remote, "hash-object", "-w", "--", name))
}

// queued are the refs of the queue.
func (tm *team) queued() []string {
	tm.t.Helper()
	return strings.Fields(do(tm.t, tm.remote, "for-each-ref", "--format=%(refname)", "refs/slipway/requests/"))
}

// inQueue waits until so many requests are in the queue.
func (tm *team) inQueue(n int) {
	tm.t.Helper()
	for len(tm.queued()) != n {
		select {
		case <-tm.t.Context().Done():
			tm.t.Fatalf("the queue has %v and not %d", tm.queued(), n)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// asked is an answer that is waited for.
type asked struct {
	store.Result
	err error
}

func (tm *team) asks(ctx context.Context, dir string, q environment.Request) <-chan asked {
	tm.t.Helper()
	s, answer := tm.open(dir), make(chan asked, 1)
	go func() {
		r, err := s.Ask(ctx, q, nil)
		answer <- asked{r, err}
	}()
	return answer
}

// A lease that nobody has and nobody can take, since a ref of another name is in its way, keeps nobody waiting.
func TestLeaseInTheWay(t *testing.T) {
	tm := newTeams(t)
	tm.put("refs/slipway/lease/x", "somebody")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // else it would be as long as a request is good
	defer cancel()
	var answers []<-chan asked
	for i := range 6 {
		answers = append(answers, tm.asks(ctx, t.TempDir(), add("staging", tm.entry("gateway", fmt.Sprintf("1.0.%d", i), "a"))))
	}
	for _, a := range answers {
		if r := <-a; r.err != nil {
			t.Error(r.err)
		}
	}
	tm.check("6 6 0")
}

// While somebody has the lease, others leave their requests in the queue. Each learns from the log what became of it.
func TestQueue(t *testing.T) {
	tm := newTeams(t)
	tm.put("refs/slipway/lease", "somebody")
	var answers []<-chan asked
	for i, q := range []environment.Request{add("staging", tm.entry("gateway", "1.0.0", "a")), add("production", tm.entry("control", "1.0.0", "a")), add("production", tm.entry("control", "1.0.0", "b"))} {
		answers = append(answers, tm.asks(t.Context(), t.TempDir(), q))
		tm.inQueue(i + 1)
	}
	did, err := tm.open(t.TempDir()).Combine(t.Context())
	if err != nil || did.Lines != 3 || len(did.Removed) > 0 {
		t.Errorf("%+v, %v", did, err)
	}
	for i, want := range []string{"1 staging add 0", "2 production add 0", "3 production refused 7"} {
		a := <-answers[i]
		if a.err != nil {
			t.Error(a.err)
			continue
		}
		l := a.Result.Answer.Line
		if got := fmt.Sprintf("%d %s %s %d", a.Line, l.Moves[0].To, l.Kind, a.Code); got != want {
			t.Errorf("%s and not %s: %+v", got, want, a.Outcomes)
		}
	}
	if left := tm.queued(); len(left) > 0 {
		t.Errorf("the queue has %v", left)
	}
	tm.check("3 2 0")
	// What is refused already, and what is so already, does not wait.
	if a := <-tm.asks(t.Context(), t.TempDir(), add("production", tm.entry("control", "1.0.0", "b"))); a.err != nil || a.Code != fault.Conflict {
		t.Errorf("%+v", a)
	}
	if a := <-tm.asks(t.Context(), t.TempDir(), add("production", tm.entry("control", "1.0.0", "a"))); a.err != nil || !a.Nothing {
		t.Errorf("%+v", a)
	}
}

// That many waited is known for a short time, also where the clock was set back since.
func TestCrowded(t *testing.T) {
	tm := newTeam(t)
	dir := t.TempDir()
	s, name := tm.open(dir), filepath.Join(dir, "crowded")
	must(t, os.WriteFile(name, []byte("1s"), 0o600))
	for age, want := range map[time.Duration]bool{time.Second: true, time.Minute: false, -time.Hour: false} {
		must(t, os.Chtimes(name, time.Time{}, time.Now().Add(-age)))
		if s.Crowded() != want {
			t.Errorf("%s ago: %v", age, !want)
		}
	}
}

// A lease that nobody renews holds nobody up for ever, and whoever took it for one request gives it back.
func TestDeadLease(t *testing.T) {
	store.SetDead(t, 50*time.Millisecond)
	tm := newTeams(t)
	tm.put("refs/slipway/lease", "somebody")
	if a := <-tm.asks(t.Context(), t.TempDir(), add("staging", tm.entry("gateway", "1.0.0", "a"))); a.err != nil || a.Line != 1 {
		t.Errorf("%+v", a)
	}
	if left := do(t, tm.remote, "for-each-ref", "refs/slipway/"); left != "" && !strings.HasSuffix(left, "refs/slipway/lease") {
		t.Error(left)
	}
	tm.check("1 1 0")
}

// A lease that somebody renews for ever, and who does nothing, keeps nobody out.
func TestLeaseWithoutWork(t *testing.T) {
	store.SetDead(t, time.Hour)
	store.SetUnanswered(t, 50*time.Millisecond)
	tm := newTeams(t)
	tm.put("refs/slipway/lease", "somebody")
	if a := <-tm.asks(t.Context(), t.TempDir(), add("staging", tm.entry("gateway", "1.0.0", "a"))); a.err != nil || a.Line != 1 {
		t.Errorf("%+v", a)
	}
	if left := do(t, tm.remote, "for-each-ref", "refs/slipway/requests/"); left != "" {
		t.Error(left)
	}
	tm.check("1 1 0")
}

// Whoever gives up takes the request out of the queue: nobody does later what was said to have failed.
func TestGivesUp(t *testing.T) {
	tm := newTeams(t)
	tm.put("refs/slipway/lease", "somebody")
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	answer := tm.asks(ctx, dir, add("staging", tm.entry("gateway", "1.0.0", "a")))
	tm.inQueue(1)
	cancel()
	if a := <-answer; fault.CodeOf(a.err) != fault.Transient || !errors.Is(a.err, context.Canceled) {
		t.Errorf("%+v", a)
	}
	tm.inQueue(0)
	if n := tm.left(dir, "outbox"); n > 0 {
		t.Errorf("%d requests wait", n)
	}
	tm.check("0 0 0")
}

// What is no request is taken out of the queue and named, and holds nobody up. Nothing of it comes into the log.
func TestQueueHostile(t *testing.T) {
	tm := newTeams(t)
	s := tm.open(t.TempDir())
	good := func(v string, change func(q *environment.Request)) (id, file string) {
		q := add("staging", tm.entry("gateway", v, "a"))
		q.At = tm.clock()
		q.Expires = q.At.Add(10 * time.Minute)
		if change != nil {
			change(&q)
		}
		b, err := q.Encode()
		must(t, err)
		return environment.ID(b), string(b)
	}
	wrap := func(request, bundle string) string {
		b, err := canonjson.Encode(map[string]string{"bundle": bundle, "request": request})
		must(t, err)
		return string(b)
	}
	put := func(name, id, content string) {
		t.Helper()
		tm.put("refs/slipway/requests/"+name+id, content)
	}
	id, file := good("1.0.0", nil)
	put("1700000000000-", id, wrap(file, ""))
	put("1700000000001-", id, wrap(file, "")) // once more
	other, otherFile := good("2.0.0", nil)
	put("1700000000002-", strings.Repeat("0", 32), wrap(otherFile, ""))
	put("short-", other, wrap(otherFile, ""))
	put("1700000000003-", strings.Repeat("1", 32), "{")
	put("1700000000004-", strings.Repeat("2", 32), strings.Repeat("x", 1<<20+1))
	do(t, tm.remote, "update-ref", "refs/slipway/requests/1700000000005-"+strings.Repeat("3", 32), "main")
	late, lateFile := good("3.0.0", func(q *environment.Request) {
		q.At, q.Expires = q.At.Add(-2*time.Hour), q.At.Add(-time.Hour)
	})
	put("1700000000006-", late, wrap(lateFile, ""))
	early, earlyFile := good("3.0.0", func(q *environment.Request) {
		q.At, q.Expires = q.At.Add(2*time.Hour), q.At.Add(3*time.Hour)
	})
	put("1700000000007-", early, wrap(earlyFile, ""))
	lead, leadFile := good("4.0.0", func(q *environment.Request) { q.By = tm.entry("gateway", "1.0.0", "a").Signed })
	put("1700000000008-", lead, wrap(leadFile, ""))
	put("1700000000009-", lead, wrap(leadFile, "{}"))
	// A request that cannot be meant was still one: its writer is to know.
	strange, strangeFile := good("5.0.0", func(q *environment.Request) {
		q.Items[0].Component, q.Entries[0].Component = "gatway", "gatway"
	})
	put("1700000000010-", strange, wrap(strangeFile, ""))
	did, err := s.Combine(t.Context())
	if err != nil || did.Lines != 2 {
		t.Fatalf("%+v, %v", did, err)
	}
	removed := strings.Join(did.Removed, "\n")
	for _, want := range []string{"000002-" + strings.Repeat("0", 32) + ": it is not the request that its name says", "short-" + other + ": it has no name of a request", "000003-", "000004-" + strings.Repeat("2", 32) + ": it has 1048577 bytes, and at most 1048576 are read", "000005-" + strings.Repeat("3", 32) + ": it is a commit", "000006-" + late + ": it was good from", "000007-" + early + ": it was good from", "000008-" + lead, "000009-" + lead} {
		if !strings.Contains(removed, want) {
			t.Errorf("not removed: %s", want)
		}
	}
	if len(did.Removed) != 9 || len(tm.queued()) > 0 {
		t.Errorf("%d are removed, and %v left:\n%s", len(did.Removed), tm.queued(), removed)
	}
	must(t, s.Read(t.Context(), func(v store.View) error {
		if v.State.Request(id) != 1 || v.State.Request(strange) != 2 {
			t.Errorf("lines %d and %d", v.State.Request(id), v.State.Request(strange))
		}
		return nil
	}))
	tm.check("2 1 0")
}

// A writer who fills the queue, with what is no request or with requests that can be done, keeps nobody from moving: not those who push
// themselves, and not those who would wait there.
func TestQueueFlood(t *testing.T) {
	size := 300
	if fixture.Full {
		size = 10_000
	}
	store.SetMaxQueue(t, size)
	tm := newTeams(t)
	dir := t.TempDir()
	flood := func(n int, content func(i int) string) {
		t.Helper()
		var in, refs strings.Builder
		for i := range n {
			b := content(i)
			fmt.Fprintf(&in, "blob\nmark :%d\ndata %d\n%s\nget-mark :%[1]d\n", i+1, len(b), b)
		}
		cmd := exec.Command("git", "fast-import", "--quiet")
		cmd.Dir, cmd.Env, cmd.Stdin = tm.remote, environ(t), strings.NewReader(in.String())
		out, err := cmd.Output()
		must(t, err)
		for i, blob := range strings.Fields(string(out)) {
			b, _, _ := strings.Cut(strings.TrimPrefix(content(i), `{"request":"`), `"}`)
			fmt.Fprintf(&refs, "create refs/slipway/requests/1700000000000-%s %s\n", environment.ID([]byte(strings.ReplaceAll(b, `\"`, `"`))), blob)
		}
		cmd = exec.Command("git", "update-ref", "--stdin")
		cmd.Dir, cmd.Env, cmd.Stdin = tm.remote, environ(t), strings.NewReader(refs.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	line := 0
	moves := func(what string, most int) {
		t.Helper()
		began := time.Now()
		line++
		a := <-tm.asks(t.Context(), dir, add("staging", tm.entry("gateway", fmt.Sprintf("6.0.%d", line), "a")))
		if a.err != nil || a.Line == 0 || a.Line > most {
			t.Errorf("%s: %+v", what, a)
		}
		took := time.Since(began)
		if t.Logf("%s: %.1f s", what, took.Seconds()); took > 2*time.Minute {
			t.Errorf("%s: it took %s", what, took)
		}
	}
	flood(size, func(i int) string { return fmt.Sprintf("{%d", i) })
	moves("who pushes", 1)
	tm.put("refs/slipway/lease", "somebody")
	flood(500, func(i int) string { return fmt.Sprintf("[%d", i) })
	moves("who finds no room", 2)
	if n := len(tm.queued()); n != size+2 {
		t.Errorf("%d requests are left", n)
	}
	do(t, tm.remote, "update-ref", "-d", "refs/slipway/lease")
	for _, name := range tm.queued()[:size-100] {
		must(t, os.Remove(filepath.Join(tm.remote, filepath.FromSlash(name))))
	}
	// Those that can be done come after what is our own.
	q := request(environment.Hold, "gateway", "", "production")
	q.At = tm.clock()
	q.Expires = q.At.Add(10 * time.Minute)
	flood(size/2, func(i int) string {
		q.Nonce = fmt.Sprint(i)
		b, err := q.Encode()
		must(t, err)
		w, err := canonjson.Encode(map[string]string{"request": string(b)})
		must(t, err)
		return string(w)
	})
	moves("beside others", 253)
}

// A host that takes no other refs than branches gets pushes of branches alone.
func TestNoQueue(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that comes second is a script")
	}
	tm := newTeams(t)
	do(t, tm.remote, "config", "receive.hideRefs", "refs/slipway")
	real, err := exec.LookPath("git")
	must(t, err)
	bin, dir := t.TempDir(), t.TempDir()
	script := "#!/bin/sh\ncase \" $* \" in *' push '*' --atomic '*) n=$(cat '" + bin + "/n' 2>/dev/null || echo 0); echo $((n+1)) > '" + bin + "/n'\n" +
		"[ \"$n\" -ge 4 ] || { echo '! [rejected] (non-fast-forward)' >&2; exit 1; };; esac\nexec '" + real + "' \"$@\"\n"
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	env := append(environ(t), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	s, err := store.Open(store.Options{Remote: tm.remote, Environ: env, Dir: dir, Now: tm.clock})
	must(t, err)
	ask(t, s, add("staging", tm.entry("gateway", "1.0.0", "a")), 1)
	if left := do(t, tm.remote, "for-each-ref", "refs/slipway/"); left != "" {
		t.Error(left)
	}
	if n, err := os.ReadFile(filepath.Join(bin, "n")); err != nil || strings.TrimSpace(string(n)) != "5" {
		t.Errorf("%s pushes of branches, %v", n, err)
	}
}

// Whoever leads does what others leave in the queue, until it is ended, and leaves no lease behind.
func TestLead(t *testing.T) {
	tm := newTeams(t)
	ctx, cancel := context.WithCancel(t.Context())
	lines, ended, dir := make(chan int, 100), make(chan error, 1), t.TempDir()
	leader := tm.open(dir)
	go func() {
		ended <- leader.Lead(ctx, func(did store.Combined) error {
			lines <- did.Lines
			return nil
		})
	}()
	for do(t, tm.remote, "for-each-ref", "refs/slipway/lease") == "" {
		time.Sleep(10 * time.Millisecond)
	}
	// One who has the same folder needs no queue, and one who has another waits for the leader.
	for i, dir := range []string{dir, t.TempDir()} {
		if a := <-tm.asks(t.Context(), dir, add("staging", tm.entry("gateway", fmt.Sprintf("1.0.%d", i), "a"))); a.err != nil || a.Line != i+1 {
			t.Errorf("%+v", a)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := do(t, tm.remote, "for-each-ref", "refs/slipway/"); left != "" {
		t.Error(left)
	}
	tm.check("2 2 0")
}
