package upload_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/git/upload"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var mustGit = gittest.Git

// serve serves a repository as a server does it, and counts the bytes of packs.
func serve(t testing.TB, r *upload.Repository, sent *int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		version := upload.Version(q.Header.Get("Git-Protocol"))
		switch q.URL.Path {
		case "/tap.git/info/refs":
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = w.Write(r.Advertise(version, "test"))
		case "/tap.git/git-upload-pack":
			var in io.Reader = q.Body
			if q.Header.Get("Content-Encoding") == "gzip" {
				in, _ = gzip.NewReader(q.Body)
			}
			b, err := io.ReadAll(io.LimitReader(in, upload.MaxRequest))
			answer, answerErr := r.Answer(version, b)
			if err != nil || answerErr != nil {
				http.Error(w, fmt.Sprint(err, answerErr), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			var out bytes.Buffer
			must(t, answer(&out))
			*sent = out.Len()
			_, _ = w.Write(out.Bytes())
		default:
			http.NotFound(w, q)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/tap.git"
}

// history is a repository with what is in it after each commit.
type history struct {
	t     testing.TB
	r     *upload.Repository
	trees []map[string]string
}

func (h *history) add(files map[string][]byte) {
	h.t.Helper()
	now := map[string]string{}
	if n := len(h.trees); n > 0 {
		maps.Copy(now, h.trees[n-1])
	}
	for name, b := range files {
		if b == nil {
			delete(now, name)
			continue
		}
		now[name] = string(b)
	}
	n := len(h.trees)
	must(h.t, h.r.Add(upload.Commit{
		Author: "slip<way>\n", Email: "slipway@localhost", Time: time.Date(2026, 3, 2, 10, 0, n, 0, time.UTC), Message: fmt.Sprintf("change %d\n\nof a test\n", n), Files: files,
	}))
	h.trees = append(h.trees, now)
}

// some has the given number of commits: of many recipes in two folders, of which some go and come back as they were.
func some(t testing.TB, n int) *history {
	h := &history{t: t, r: upload.New()}
	for i := range n {
		name := fmt.Sprintf("Formula/tool-%d.rb", i*7%40)
		b := []byte(fmt.Sprintf("class Tool < Formula\n  version \"%d\"\nend\n", i%90))
		if i%11 == 10 {
			b = nil
		}
		files := map[string][]byte{name: b}
		if i%5 == 0 {
			files["Casks/tool.rb"] = []byte(fmt.Sprint("cask ", i))
		}
		h.add(files)
	}
	return h
}

func (h *history) checks(dir string, n int) {
	h.t.Helper()
	mustGit(h.t, dir, "fsck", "--strict")
	if got := mustGit(h.t, dir, "rev-list", "--count", "HEAD"); got != fmt.Sprint(n) {
		h.t.Errorf("%s commits, want %d", got, n)
	}
	have := map[string]string{}
	for _, name := range strings.Fields(mustGit(h.t, dir, "ls-files")) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(h.t, err)
		have[name] = string(b)
	}
	if !maps.Equal(have, h.trees[n-1]) {
		h.t.Errorf("it has %q, want %q", have, h.trees[n-1])
	}
}

// TestGit clones and fetches with git, in all versions of its protocol.
func TestGit(t *testing.T) {
	const before, after = 130, 7
	for version := range 3 {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			h := some(t, before)
			var sent int
			url := serve(t, h.r, &sent)
			dir := filepath.Join(t.TempDir(), "clone")
			v := []string{"-c", fmt.Sprintf("protocol.version=%d", version)}
			mustGit(t, ".", append(v, "clone", "--quiet", url, dir)...)
			h.checks(dir, before)
			if got := mustGit(t, dir, "log", "-1", "--format=%an|%ae|%aI|%cI|%B"); got != "slipway|slipway@localhost|2026-03-02T10:02:09+00:00|2026-03-02T10:02:09+00:00|change 129\n\nof a test" {
				t.Errorf("%q", got)
			}
			if got := mustGit(t, dir, "symbolic-ref", "HEAD"); got != "refs/heads/main" {
				t.Error(got)
			}
			// What each commit has is what it was given.
			for _, n := range []int{1, 60, 100} {
				old := strings.Fields(mustGit(t, dir, "ls-tree", "-r", "--name-only", fmt.Sprintf("HEAD~%d", before-n)))
				if want := slices.Sorted(maps.Keys(h.trees[n-1])); !slices.Equal(old, want) {
					t.Errorf("%d: %q, want %q", n, old, want)
				}
			}
			all := sent
			for i := range after {
				h.add(map[string][]byte{"Formula/fresh.rb": []byte(fmt.Sprint("fresh", i))})
			}
			mustGit(t, dir, append(v, "pull", "--quiet", "--ff-only")...)
			h.checks(dir, before+after)
			if sent*5 > all {
				t.Errorf("%d bytes for %d commits, and %d for all", sent, after, all)
			}
			mustGit(t, dir, append(v, "fetch", "--quiet")...)
			// Who has commits of their own, and more than go into one request, finds what is in common.
			for i := range 20 {
				mustGit(t, dir, "commit", "--quiet", "--allow-empty", "-m", fmt.Sprint("mine", i))
			}
			h.add(map[string][]byte{"Formula/fresh.rb": []byte("last")})
			mustGit(t, dir, append(v, "pull", "--quiet", "--rebase")...)
			if b, err := os.ReadFile(filepath.Join(dir, "Formula/fresh.rb")); string(b) != "last" || err != nil || sent*5 > all {
				t.Errorf("%q, %v, %d bytes", b, err, sent)
			}
			// Who has another history gets the whole of this one.
			other := filepath.Join(t.TempDir(), "other")
			mustGit(t, ".", "init", "--quiet", other)
			mustGit(t, other, "commit", "--quiet", "--allow-empty", "-m", "mine")
			mustGit(t, other, append(v, "fetch", "--quiet", url, "main")...)
			mustGit(t, other, "checkout", "--quiet", "FETCH_HEAD")
			h.checks(other, before+after+1)

			for _, args := range [][]string{{"--depth", "1"}, {"--filter=blob:none"}} {
				out, err := gittest.Try(t, ".", "", slices.Concat(v, []string{"clone", "--quiet"}, args, []string{url, filepath.Join(t.TempDir(), "part")})...)
				if args[0] == "--depth" && (err == nil || !strings.Contains(out, "oes not support shallow")) {
					t.Errorf("%q: %v %s", args, err, out)
				}
				if args[0] != "--depth" && err != nil { // which git leaves out where nobody has it
					t.Errorf("%q: %v %s", args, err, out)
				}
			}
			if out, err := gittest.Try(t, dir, "", append(v, "push", "--quiet", "origin", "HEAD:main")...); err == nil {
				t.Errorf("a push goes: %s", out)
			}
		})
	}
}

// TestEmpty clones what has no commit yet, and fetches the first one.
func TestEmpty(t *testing.T) {
	for version := range 3 {
		h := &history{t: t, r: upload.New()}
		var sent int
		url, dir := serve(t, h.r, &sent), filepath.Join(t.TempDir(), "clone")
		v := []string{"-c", fmt.Sprintf("protocol.version=%d", version)}
		mustGit(t, ".", append(v, "clone", "--quiet", url, dir)...)
		h.add(nil)
		h.add(map[string][]byte{"a/b/c": []byte("d"), "a/b.c": []byte("e"), "a/b": nil})
		h.add(map[string][]byte{"a/b/c": nil, "a/b.c": nil})
		h.add(map[string][]byte{"e": {}})
		mustGit(t, dir, append(v, "fetch", "--quiet")...)
		mustGit(t, dir, "reset", "--quiet", "--hard", "origin/main")
		h.checks(dir, 4)
	}
}

// TestSame has two who make the same history make the same commits, of known names.
func TestSame(t *testing.T) {
	a, b := some(t, 20), some(t, 20)
	if a.r.Tip() != b.r.Tip() || a.r.Tip() != "75d86032df027bff14f0a3c7182d0ea59b6d15cc" {
		t.Errorf("%s and %s", a.r.Tip(), b.r.Tip())
	}
}

func TestPaths(t *testing.T) {
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "a/..", "..", ".git/config", "a/.GIT", `a\b`, "a\x00", "there/below", "folder"} {
		r := upload.New()
		must(t, r.Add(upload.Commit{Files: map[string][]byte{"there": {}, "folder/there": {}}}))
		if err := r.Add(upload.Commit{Files: map[string][]byte{name: []byte("x")}}); err == nil {
			t.Errorf("%q is a path", name)
		}
	}
}

func line(text string) string { return fmt.Sprintf("%04x%s\n", len(text)+5, text) }

// TestRequests asks for what git does not ask for.
func TestRequests(t *testing.T) {
	r := some(t, 3).r
	tip := r.Tip()
	for _, tt := range []struct {
		version       int
		request, want string
	}{
		{0, "", ""},
		{0, "0000", ""},
		{0, "x", "none"},
		{0, "0003", "none"},
		{0, "00ff", "none"},
		{0, "0009done0000", "none"},
		{0, line("want " + tip), "none"},
		{0, line("want "+tip) + "0000" + line("want "+tip), "none"},
		{0, line("want "+strings.Repeat("0", 40)) + "0000" + line("done"), "ERR upload-pack: not our ref"},
		{0, line("want "+tip+tip) + "0000" + line("done"), "ERR upload-pack: not our ref"},
		{0, line("want ../x") + "0000" + line("done"), "ERR upload-pack: not our ref"},
		{0, line("want "+tip) + line("deepen 1") + "0000" + line("done"), "ERR this repository is small"},
		{0, line("want "+tip) + "0000" + line("done"), "0008NAK\nPACK"},
		{0, line("want "+tip+" side-band-64k") + "0000" + line("done"), "0008NAK\n"},
		{0, line("want "+tip) + "0000" + line("have "+tip) + "0000", "0031ACK " + tip + "\n"},
		{0, line("want "+tip) + "0000" + line("have "+strings.Repeat("a", 40)) + "0000", "0008NAK\n"},
		{0, line("want "+tip+" multi_ack_detailed") + "0000" + line("have "+tip) + "0000", "0038ACK " + tip + " common\n0037ACK " + tip + " ready\n0008NAK\n"},
		{0, line("want "+tip+" thin-pack multi_ack_detailed no-done") + "0000" + line("have "+tip) + "0000", "0038ACK " + tip + " common\n0037ACK " + tip + " ready\n0008NAK\n0031ACK " + tip + "\nPACK\x00\x00\x00\x02\x00\x00\x00\x00"},
		{2, "", ""},
		{2, "0000", ""},
		{2, "0001", "none"},
		{2, line("command=push") + "0000", "none"},
		{2, line("command=fetch"), "none"},
		{2, line("command=fetch") + "0000", "0000"},
		{2, line("command=fetch") + line("object-format=sha256") + "0000", "ERR the names"},
		{2, line("command=fetch") + "0001" + line("want x") + "0000", "ERR upload-pack: not our ref"},
		{2, line("command=fetch") + "0001" + line("want "+tip) + line("filter blob:none") + "0000", "ERR this repository is small"},
		{2, line("command=fetch") + "0001" + line("want "+tip) + line("elsewhere") + "0000", `ERR it does not know "elsewhere"`},
		{2, line("command=fetch") + "0001" + line("want "+tip) + "0000", "000dpackfile\n"},
		{2, line("command=fetch") + "0001" + line("want "+tip) + line("have "+tip) + "0000", "0014acknowledgments\n0031ACK " + tip + "\n000aready\n0001000dpackfile\n"},
		{2, line("command=ls-refs") + "0000", "0032" + tip + " HEAD\n003d" + tip + " refs/heads/main\n0000"},
		{2, line("command=ls-refs") + "0001" + line("symrefs") + line("ref-prefix HEAD") + "0000", "0050" + tip + " HEAD symref-target:refs/heads/main\n0000"},
		{2, line("command=ls-refs") + "0001" + line("ref-prefix refs/tags/") + "0000", "0000"},
	} {
		answer, err := r.Answer(tt.version, []byte(tt.request))
		if tt.want == "none" {
			if !errors.Is(err, upload.ErrRequest) {
				t.Errorf("%d %q: %v", tt.version, tt.request, err)
			}
			continue
		}
		var out strings.Builder
		if err == nil {
			err = answer(&out)
		}
		got := out.String()
		if strings.HasPrefix(tt.want, "ERR") {
			got = strings.TrimPrefix(got, got[:min(4, len(got))])
		}
		if err != nil || !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%d %q: %q, %v, want %q", tt.version, tt.request, got[:min(300, len(got))], err, tt.want)
		}
	}
	for header, want := range map[string]int{"": 0, "version=2": 2, "version=1": 1, "version=3": 0, "version=1:version=2": 2, "a=b:version=2": 2, "version=22": 0} {
		if got := upload.Version(header); got != want {
			t.Errorf("%q: %d", header, got)
		}
	}
}

// TestManyPackets has a request of the size that is read be of packets of no size, which is little memory, and of as many commits as a client may
// have, which is an answer.
func TestManyPackets(t *testing.T) {
	r := some(t, 3).r
	for _, packet := range []string{"0000", "0001", "0004", "0005x"} {
		request := []byte(strings.Repeat(packet, upload.MaxRequest/len(packet)))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := r.Answer(2, request)
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) >> 10; !errors.Is(err, upload.ErrRequest) || used > 4<<10 {
			t.Errorf("%s: %d KiB, %v", packet, used, err)
		}
	}
	request := line("command=fetch") + "0001" + line("want "+r.Tip()) + strings.Repeat(line("have "+strings.Repeat("a", 40)), 20_000) + "0000"
	if answer, err := r.Answer(2, []byte(request)); err != nil || answer(io.Discard) != nil {
		t.Error(err)
	}
}

func FuzzAnswer(f *testing.F) {
	r := some(f, 5).r
	tip := r.Tip()
	for _, s := range []string{
		"", "0000", line("want "+tip+" side-band-64k") + "0000" + line("have "+tip) + line("done"),
		line("command=fetch") + "0001" + line("want "+tip) + line("have "+tip) + "0000", line("command=ls-refs") + "0001" + line("symrefs") + "0000",
	} {
		for v := range 3 {
			f.Add(v, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, version int, b []byte) {
		answer, err := r.Answer(version, b)
		if err != nil {
			if !errors.Is(err, upload.ErrRequest) {
				t.Error(err)
			}
			return
		}
		must(t, answer(io.Discard))
	})
}

// TestWhileItGrows asks while commits are added: whoever was told of a commit gets it with all before.
func TestWhileItGrows(t *testing.T) {
	h := some(t, 5)
	done := make(chan struct{})
	var g sync.WaitGroup
	for version := range 3 {
		g.Go(func() {
			for {
				tip := h.r.Tip()
				request := line("want "+tip+" side-band-64k") + "0000" + line("done")
				if version == 2 {
					request = line("command=fetch") + "0001" + line("want "+tip) + line("done") + "0000"
				}
				h.r.Advertise(version, "test")
				answer, err := h.r.Answer(version, []byte(request))
				if err == nil {
					err = answer(io.Discard)
				}
				if err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 200 {
		h.add(map[string][]byte{"Formula/fresh.rb": fmt.Append(nil, i)})
	}
	close(done)
	g.Wait()
}
