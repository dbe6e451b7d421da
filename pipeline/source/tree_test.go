package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const someID = "0123456789abcdef0123456789abcdef01234567"

func TestReadTree(t *testing.T) {
	t.Parallel()
	in := "100644 blob " + someID + "\ta b\tc\x00120000 blob " + someID + someID[:24] + "\tü\n\x00160000 commit " + someID + "\ts\x00"
	var got []entry
	err := readTree(iotest.OneByteReader(strings.NewReader(in)), func(e entry) error {
		got = append(got, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{{"100644", someID, "a b\tc"}, {"120000", someID + someID[:24], "ü\n"}, {"160000", someID, "s"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range []string{
		"x", "\x00", "100644 blob " + someID + "\ta", "100644 blob " + someID + "\t\x00", "100644 blob 0123\ta\x00",
		"100644 commit " + someID + "\ta\x00", "160000 blob " + someID + "\ta\x00", "040000 tree " + someID + "\ta\x00",
		"100644  blob " + someID + "\ta\x00", "100644 blob " + someID + " a\x00",
		"100644 blob " + someID + "\t" + strings.Repeat("a", maxPath+1) + "\x00", strings.Repeat("a", 1<<20),
	} {
		if err := readTree(strings.NewReader(bad), func(entry) error { return nil }); fault.CodeOf(err) != fault.Git {
			t.Errorf("%.80q: %v", bad, err)
		}
	}
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{
		"a", "a/b", ".gitignore", ".github/x", "a.git", "..a", "a..", "...", "git", ".gitx", "a b", "ü", "git~2", "a:b",
	} {
		if err := checkPath(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/../b", "./a", ".git", "a/.GIT/b", ".git ", ".git. .", ".GiT...", "GIT~1/x",
		".git:x", "a\x00b", strings.Repeat("a", maxPath+1), ".g\ufeffit",
	} {
		if err := checkPath(bad); fault.CodeOf(err) != fault.Git {
			t.Errorf("%.80q is accepted", bad)
		}
	}
}

func TestLeaves(t *testing.T) {
	t.Parallel()
	targets := map[string]string{
		"file": "a/b", "self": "self", "ping": "pong", "pong": "ping", "here": ".", "up": "..", "a/up": "..", "a/up2": "../..",
		"a/b/top": "../..", "through": "a/b/top/x", "through-up": "a/b/top/..", "deep": "a/b/c/../../../x", "too-deep": "a/../../x",
		"abs": "/a", "win": `C:\x`, "unc": `\\host`, "chain": "chain2/x", "chain2": "chain3", "chain3": "a/up", "chain4": "chain3/../x",
		"slashes": "a//b/./c/", "missing": "a/nothing/../../x", "missing-up": "nothing/../../x", "dots": "...",
		"via-abs": "abs/x",
	}
	out := map[string]bool{
		"up": true, "a/up2": true, "through-up": true, "too-deep": true, "abs": true, "win": true, "unc": true, "chain4": true,
		"missing-up": true, "via-abs": true,
	}
	for p := range targets {
		if got := leaves(targets, p); got != out[p] {
			t.Errorf("leaves(%s -> %s) = %t", p, targets[p], got)
		}
	}
}

func TestBlobSize(t *testing.T) {
	t.Parallel()
	if n, err := blobSize(someID+" blob 12", someID); n != 12 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", someID + " missing", someID + " tree 12", someID + " blob -1", someID + " blob x", someID[1:] + "0 blob 1"} {
		if _, err := blobSize(bad, someID); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// A work tree's file that shrinks while it is read must not pass for whole.
func TestShortFile(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	x := &exporter{root: root, dirs: map[string]bool{}, buf: make([]byte, 8)}
	defer x.leaveFolder()
	if err := x.file("d/f", false, 20, strings.NewReader("shorter")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

func FuzzReadTree(f *testing.F) {
	f.Add([]byte("100644 blob " + someID + "\ta/b\x00"))
	f.Add([]byte("120000 blob " + someID + "\t.git\x00160000 commit " + someID + "\t../x\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var back strings.Builder
		err := readTree(strings.NewReader(string(in)), func(e entry) error {
			kind := "blob"
			if e.mode == modeGitlink {
				kind = "commit"
			}
			fmt.Fprintf(&back, "%s %s %s\t%s\x00", e.mode, kind, e.id, e.path)
			if checkPath(e.path) == nil && (path.Clean(e.path) != e.path || path.IsAbs(e.path) || strings.HasPrefix(e.path, "..") && e.path[:2] == e.path) {
				t.Fatalf("path %q is accepted", e.path)
			}
			return nil
		})
		if err == nil && back.String() != string(in) {
			t.Fatalf("%q reads as %q", in, back.String())
		}
		if err != nil && fault.CodeOf(err) != fault.Git {
			t.Fatal(err)
		}
	})
}

// FuzzLeaves compares the answer with a plain walk that knows no links, which is right where there are none on the way.
func FuzzLeaves(f *testing.F) {
	f.Add("a/b", "../../x", "c", "a")
	f.Add("a", "b/..", "b", "a")
	f.Fuzz(func(t *testing.T, p, target, p2, target2 string) {
		if checkPath(p) != nil || checkPath(p2) != nil {
			return
		}
		leaves(map[string]string{p: target, p2: target2}, p)
		depth, out := strings.Count(p, "/"), isAbsolute(target)
		for name := range strings.SplitSeq(target, "/") {
			switch name {
			case "", ".":
			case "..":
				depth--
			default:
				depth++
			}
			out = out || depth < 0
		}
		if !strings.Contains(target, path.Base(p)) && leaves(map[string]string{p: target}, p) != out {
			t.Fatalf("leaves(%q -> %q) = %t", p, target, !out)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add("1 .M N... 100644 100644 100644 " + someID + " " + someID + " a b\x00? c\x00u UU N... 1 2 3 4 a b c d\x00# branch\x00")
	f.Fuzz(func(t *testing.T, in string) {
		paths, err := parseStatus(in)
		if err != nil && fault.CodeOf(err) != fault.Git {
			t.Fatal(err)
		}
		for _, p := range paths {
			if !strings.Contains(in, p) {
				t.Fatalf("path %q from nowhere", p)
			}
		}
	})
}
