package branch_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/git/packet"
	"github.com/slipway-build/slipway/pipeline/git/smart"
)

// packed is an answer with a pack, in packets.
func packed(pack []byte) []byte {
	var out bytes.Buffer
	packet.Line(&out, "packfile\n")
	for len(pack) > 0 {
		n := min(len(pack), 60_000)
		packet.Line(&out, "\x01"+string(pack[:n]))
		pack = pack[n:]
	}
	out.WriteString(packet.Flush)
	return out.Bytes()
}

// ended is a pack with its digest at the end.
func ended(pack []byte) []byte {
	sum := sha1.Sum(pack)
	return append(pack, sum[:]...)
}

// A server that answers this program with something else than it was asked for is asked by git, and leaves nothing in the clone that is not
// whole.
func TestLiar(t *testing.T) {
	object := func(kind int, base, content string) []byte {
		var out bytes.Buffer
		out.Write(packet.Pack(1))
		packet.Object(&out, kind, len(content))
		out.WriteString(base)
		packet.Deflate(&out, []byte(content))
		return ended(out.Bytes())
	}
	id := strings.Repeat("1", 40)
	head := strings.Repeat("h", 40) // which the branch is at
	refs := func(names ...string) []byte {
		var out bytes.Buffer
		for _, name := range names {
			packet.Line(&out, head+" "+name+"\n")
		}
		out.WriteString(packet.Flush)
		return out.Bytes()
	}
	bomb := append(packet.Pack(1), bytes.Repeat([]byte{0}, 100<<20)...)
	for name, tt := range map[string]struct {
		to     string // what of it is answered
		answer []byte
	}{
		"no objects":              {"fetch", packed(ended(packet.Pack(0)))},
		"another object":          {"fetch", packed(smart.Pack([]byte("x")))},
		"a difference to nothing": {"fetch", packed(object(packet.Delta, strings.Repeat("1", 20), "\x01\x01\x01x"))},
		"a commit without a tree": {"fetch", packed(object(packet.Commit, "", "tree "+id+"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n"))},
		"more than it says":       {"fetch", packed(ended(append(packet.Pack(1), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)))},
		"a wrong digest":          {"fetch", packed(append(packet.Pack(0), bytes.Repeat([]byte{1}, 20)...))},
		"a bomb":                  {"fetch", packed(bomb)},
		"a branch twice":          {"ls-refs", refs("refs/heads/log", "refs/heads/log")},
		"a newline":               {"ls-refs", refs("refs/heads/log\nrefs/heads/other")},
	} {
		t.Run(name, func(t *testing.T) {
			served := serve(t)
			var lies atomic.Int32
			liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				if r.UserAgent() != "git/slipway" || !bytes.Contains(body, []byte("command="+tt.to+"\n")) {
					served.ServeHTTP(w, r)
					return
				}
				lies.Add(1)
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				z.Write(bytes.ReplaceAll(tt.answer, []byte(head), []byte(served.Head("log"))))
				z.Close()
			}))
			defer liar.Close()
			url := strings.Replace(served.url, served.host, strings.TrimPrefix(liar.URL, "http://"), 1)
			env, err := git.New(git.Remote(environ(t), url), t.TempDir(), branch.Needs)
			must(t, err)
			dir := filepath.Join(t.TempDir(), "git")
			g := branch.Group{Git: env, Dir: dir, Remote: url, Branches: []string{"log"}, Author: "Example", Email: "example@example.com"}
			for _, text := range []string{"1", "2", "3"} {
				served.Commit("log", map[string]string{"a": text})
				g.Watch = []string{"refs/slipway/"}
				g.Want = func(refs map[string]string) (all []string) {
					for ref := range refs {
						all = append(all, ref)
					}
					return all
				}
				must(t, g.Locked(t.Context(), func() error {
					must(t, g.Fetch(t.Context()))
					if b, err := g.File(t.Context(), g.Head("log"), "a", 10); string(b) != text || err != nil || g.Head("log") != served.Head("log") {
						t.Errorf("%q and not %q, %v", b, text, err)
					}
					return nil
				}))
			}
			if lies.Load() == 0 {
				t.Error("it was asked for nothing")
			}
			do(t, dir, "fsck", "--strict", "--no-dangling")
			if got := do(t, dir, "for-each-ref", "--format=%(refname)"); got != "refs/slipway/group/log" {
				t.Errorf("the clone has %s", got)
			}
		})
	}
}
