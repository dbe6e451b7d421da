package source

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/git"
)

func TestReadLogBounds(t *testing.T) {
	id := strings.Repeat("a", 40)
	record := func(message string) string { return id + "\nAda Example\n" + message + "\x00" }

	long := strings.Repeat("x", 2*maxMessage)
	changes, err := readLog(strings.NewReader(record(long)+record("next\n")), 0)
	if err != nil || len(changes) != 2 || changes[1].Message != "next" {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	if n := len(changes[0].Message); n < maxMessage-100 || n > maxMessage {
		t.Errorf("%d bytes are kept of a long message", n)
	}

	changes, err = readLog(strings.NewReader(strings.Repeat(record("12345"), 10)), 20)
	if !errors.Is(err, errEnough) || len(changes) != 4 {
		t.Errorf("%d changes, %v", len(changes), err)
	}
	if changes, err = readLog(strings.NewReader(""), 20); changes != nil || err != nil {
		t.Errorf("%v, %v", changes, err)
	}
	for _, bad := range []string{"x", "\x00", "abc\nAda\ntext\x00", id + "\x00", id + "\nAda\x00"} {
		if changes, err := readLog(strings.NewReader(bad), 0); err == nil {
			t.Errorf("%q is read as %q", bad, changes)
		}
	}
}

func FuzzReadLog(f *testing.F) {
	id := strings.Repeat("a", 40)
	f.Add(id+"\nAda\nfeat: x\n\nbody\n\x00"+id+"\n\n\x00", 0)
	f.Add(id+"\n\xff\n\xff\x00x", 3)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		changes, _ := readLog(strings.NewReader(in), limit)
		for _, c := range changes {
			if !git.IsObject(c.Commit) || strings.ContainsAny(c.Author, "\n\x00") || len(c.Message) > 3*maxMessage {
				t.Errorf("%q", c)
			}
		}
	})
}

// TestBounded ends git's log early and takes that for no error.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=Test", "-c", "user.email=test@example.com"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	git("init", "--quiet")
	const size = 100 << 10 // more than a pipe holds, so that git has to wait, and to be ended
	for _, message := range []string{"one", "two", "three"} {
		file := filepath.Join(t.TempDir(), "message")
		if err := os.WriteFile(file, []byte(message+"\n\n"+strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		git("commit", "--quiet", "--allow-empty", "--file", file)
	}
	r, err := open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	head, err := r.resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ commits, messages, want int }{{0, 0, 3}, {2, 0, 2}, {9, 0, 3}, {0, 2*size + size/2, 2}, {0, 1, 0}} {
		got, err := r.log(t.Context(), "", head, tt.commits, tt.messages)
		if err != nil || len(got) != tt.want {
			t.Errorf("%+v: %d changes, %v", tt, len(got), err)
		}
		if len(got) > 0 && !strings.HasPrefix(got[0].Message, "three") {
			t.Errorf("%+v: the first is not the newest", tt)
		}
	}
}
