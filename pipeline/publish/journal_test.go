package publish

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

var one, other = artifact.Sum([]byte("one")), artifact.Sum([]byte("other"))

func open(t *testing.T, dir string, release artifact.Digest) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, "", release, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func begin(t *testing.T, j *Journal, url string) func(string) {
	t.Helper()
	end, err := j.Begin(wire.Request{Method: "PUT", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, one)
	begin(t, j, "/answered")("201")
	begin(t, j, "/lost")
	if err := j.SetFact("announced", "yes"); err != nil {
		t.Fatal(err)
	}
	if err := j.SetVerified("registry", "here"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	again := open(t, dir, one)
	if again.Unanswered() != 1 || again.Fact("announced") != "yes" || !again.Verified("registry", "here") || again.Verified("registry", "there") || again.Verified("tap", "here") {
		t.Errorf("%d open, facts %v", again.Unanswered(), again.facts)
	}
	// Numbers go on, so that an end is never taken for that of an earlier request.
	begin(t, again, "/next")
	if again.next != 3 {
		t.Errorf("the next request has the number %d", again.next)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	// Another release knows nothing of it, and it is set aside.
	if j := open(t, dir, other); j.Unanswered() != 0 || j.Fact("announced") != "" {
		t.Error("another release has facts of this one")
	}
	if _, err := os.Stat(filepath.Join(dir, JournalName+".old")); err != nil {
		t.Error(err)
	}
}

// A journal that was cut anywhere is read up to the last whole line, and goes on from there.
func TestJournalThatWasCut(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, one)
	begin(t, j, "/first")("201")
	begin(t, j, "/second")
	if err := j.SetFact("announced", "yes"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, JournalName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		if err := os.WriteFile(name, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		j := open(t, dir, one)
		lines := bytes.Count(whole[:n], []byte("\n"))
		if want := map[bool]string{true: "yes"}[lines == 5]; j.Fact("announced") != want {
			t.Fatalf("cut after %d bytes, which are %d lines: the fact is %q", n, lines, j.Fact("announced"))
		}
		if err := j.SetFact("more", "yes"); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if open(t, dir, one).Fact("more") != "yes" {
			t.Fatalf("cut after %d bytes: what came later is lost", n)
		}
	}
}

// A line that is damaged takes none of those behind it along.
func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, one)
	begin(t, j, "/first")("201")
	if err := j.SetFact("announced", "yes"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, JournalName)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	lines[1] = []byte("{\x00\n")
	if err := os.WriteFile(name, bytes.Join(lines, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if open(t, dir, one).Fact("announced") != "yes" {
		t.Error("what stands behind a damaged line is lost")
	}
}

func TestJournalOfMany(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, one)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			end, err := j.Begin(wire.Request{URL: fmt.Sprint(i)})
			if err != nil {
				t.Error(err)
				return
			}
			// What Begin returned for is on disk by then.
			b, err := os.ReadFile(filepath.Join(dir, JournalName))
			if err != nil || !strings.Contains(string(b), fmt.Sprintf(`"url":"%d"`, i)) {
				t.Errorf("request %d went out before it was in the journal (%v)", i, err)
			}
			end("200")
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n := open(t, dir, one).Unanswered(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

// A journal that cannot be written lets nothing out.
func TestJournalThatFails(t *testing.T) {
	j := open(t, t.TempDir(), one)
	j.f.Close()
	if _, err := j.Begin(wire.Request{}); err == nil || !strings.Contains(err.Error(), "without which nothing is sent") {
		t.Error(err)
	}
}

func TestNoJournal(t *testing.T) {
	var j *Journal
	end, err := j.Begin(wire.Request{})
	if err != nil {
		t.Fatal(err)
	}
	end("200")
	if err := j.SetFact("a", "b"); err != nil || j.Fact("a") != "" || j.Unanswered() != 0 || j.Close() != nil {
		t.Error("a journal that is none keeps something")
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"release":"` + string(one) + `"}` + "\n" + `{"id":1,"begin":{"method":"PUT","url":"/"}}` + "\n" + `{"id":1,"end":"201"}` + "\n" + `{"fact":"a","value":"b"}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j := &Journal{open: map[int]wire.Request{}, facts: map[string]string{}}
		kept, err := j.parse(b, one)
		if err != nil {
			return
		}
		if kept < 0 || kept > int64(len(b)) || kept > 0 && b[kept-1] != '\n' {
			t.Errorf("%d of %d bytes are kept", kept, len(b))
		}
	})
}
