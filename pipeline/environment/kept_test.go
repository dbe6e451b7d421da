package environment_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
)

// everything is a log in which each kind of thing is that a state can have.
func everything(t testing.TB) *world {
	w := newWorld(t, "")
	for i := range 3 {
		w.add("snapshot", entry("gateway", fmt.Sprintf("1.0.%d", i), "a"))
	}
	w.add("production", entry("control", "1.0.0", "b"))
	w.do(environment.Promote, "gateway", "1.0.0", "production")
	w.do(environment.Rollback, "gateway", "1.0.0", "snapshot")
	w.do(environment.Withdraw, "gateway", "1.0.1", "")
	w.do(environment.Hold, "gateway", "", "staging", func(q *environment.Request) { q.Until = w.now.AddDate(1, 0, 0) })
	w.change(environment.Request{Kind: environment.Freeze, To: "staging", Why: "holidays"})
	bytes := entry("gateway", "1.0.0", "a").Manifest
	for _, q := range []environment.Request{
		{Kind: environment.Approve, To: "production", By: lead},
		{Kind: environment.Approve, To: "production", By: environment.Identity{Identity: "https://example.com/workflow", Issuer: "https://example.com"}},
		{Kind: environment.Evidence, Report: &environment.Report{Kind: "tests", Good: true}},
	} {
		q.Items = []environment.Item{{Component: "gateway", Version: "1.0.0", Manifest: bytes}}
		w.change(q)
	}
	return w
}

// A state that was kept says what the one says that it was kept of, and goes on like it.
func TestKept(t *testing.T) {
	w := everything(t)
	var folded environment.State
	if err := folded.Fold(w.log, nil); err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(w.log, []byte("\n"))
	for n := range len(lines) {
		var s environment.State
		if err := s.Fold(bytes.Join(lines[:n], nil), nil); err != nil {
			t.Fatal(err)
		}
		kept, of, err := environment.Kept(s.Keep([]byte("of this")))
		if err != nil || string(of) != "of this" {
			t.Fatalf("%q, %v", of, err)
		}
		if err := kept.Fold(bytes.Join(lines[n:], nil), nil); err != nil {
			t.Fatal(err)
		}
		if got, want := environment.Dump(kept), environment.Dump(&folded); got != want {
			t.Fatalf("kept after %d lines it comes to\n%s\nand not to\n%s", n, got, want)
		}
		for i := range len(lines) + 1 {
			if kept.At(i) != folded.At(i) {
				t.Errorf("line %d is %q and not %q", i, kept.At(i), folded.At(i))
			}
		}
		for i, line := range lines[:len(lines)-1] {
			id := string(line[bytes.Index(line, []byte(`"request":"`))+11:][:32])
			if kept.Request(id) != i+1 {
				t.Errorf("request %s is line %d and not %d", id, kept.Request(id), i+1)
			}
		}
		if err := kept.Fold(lines[0], nil); err == nil {
			t.Error("the first line is folded again")
		}
	}
	// What a state can have and this one has not would be lost without a test that says so.
	if missing := environment.Unset(&folded); len(missing) > 0 {
		t.Errorf("nothing here has %v", missing)
	}
}

// A state of another form, or one that was damaged, is none.
func TestKeptDamaged(t *testing.T) {
	good := everything(t).s.Keep(nil)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, _, err := environment.Kept(bad); err == nil {
			t.Fatalf("byte %d of %d is another one", i, len(good))
		}
		if _, _, err := environment.Kept(good[:i]); err == nil {
			t.Fatalf("%d of %d bytes", i, len(good))
		}
	}
	if _, _, err := environment.Kept(append(good, 0)); err == nil {
		t.Error("a byte more")
	}
}

func FuzzKept(f *testing.F) {
	good := everything(f).s.Keep(nil)
	f.Add(good[:len(good)-sha256.Size])
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b)
		s, _, err := environment.Kept(append(b, sum[:]...))
		if err != nil {
			return
		}
		s.Components()
		s.At(s.Count)
		s.Request("0123456789abcdef0123456789abcdef")
		if _, _, err := environment.Kept(s.Keep(nil)); err != nil {
			t.Error(err)
		}
	})
}
