package smart

import (
	"bytes"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/git/packet"
)

// Whatever a server answers, what is read of it is refs with objects, or nothing.
func FuzzAnswers(f *testing.F) {
	id := strings.Repeat("1", 40)
	written := func(texts ...string) []byte {
		var b bytes.Buffer
		for _, text := range texts {
			if text == packet.Flush {
				b.WriteString(text)
			} else {
				packet.Line(&b, text)
			}
		}
		return b.Bytes()
	}
	updates := []Update{{"refs/heads/a", None, id}, {"refs/heads/b", None, id}}
	status := written("unpack ok\n", "ok refs/heads/a\n", "ng refs/heads/b it is not there\n", packet.Flush)
	for _, b := range [][]byte{
		written(id+" refs/heads/a\n", id+" refs/heads/b\n", packet.Flush),
		written("# service=git-receive-pack\n", packet.Flush, id+" refs/heads/a\x00atomic report-status\n", id+" .have\n", packet.Flush),
		written("# service=git-receive-pack\n", packet.Flush, None+" capabilities^{}\x00atomic\n", packet.Flush),
		written("packfile\n", "\x01PACK", "\x02words", "\x01more", packet.Flush),
		written("packfile\n", "\x03no"),
		written("ERR not our ref\n"),
		status,
		written("\x02words\n", "\x01"+string(status), packet.Flush),
		written("unpack no room\n", packet.Flush), []byte("0003"), []byte("fff"), []byte("ffff"), []byte("0004"), nil,
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := func() packets { return reader(bytes.NewReader(b)) }
		hold := func(refs map[string]string, err error) {
			for name, at := range refs {
				if len(at) != 40 || name == "" || err != nil || len(name) > maxName || strings.ContainsAny(name, " :^\n") {
					t.Errorf("%q is at %q, %v", name, at, err)
				}
			}
		}
		hold(readRefs(in()))
		refs, _, err := readWritable(in())
		hold(refs, err)
		if pack, err := readPack(in()); len(pack) > len(b) || err != nil && pack != nil {
			t.Errorf("%d bytes of %d, %v", len(pack), len(b), err)
		}
		for _, banded := range []bool{false, true} {
			pushed, err := readPushed(in(), updates, banded)
			if err == nil && !bytes.Contains(b, []byte("refs/heads/b")) || len(pushed.Said) > maxSaid {
				t.Errorf("%v, %v", pushed, err)
			}
		}
	})
}

// What a server says of a push is read as it is meant, with words for people and without.
func TestPushed(t *testing.T) {
	updates := []Update{{"refs/heads/a", None, None}, {"refs/heads/b", None, None}}
	for in, want := range map[string]string{
		"000eunpack ok\n0014ok refs/heads/a\n001eng refs/heads/b not there\n0000": "not there",
		"000eunpack ok\n0014ok refs/heads/a\n0000":                                "does not say what became of \"refs/heads/b\"",
		"0013unpack no room\n0000":                                                "unpack no room",
		"000eunpack ok\n0014ok refs/heads/a\n0014ng refs/heads/b\n0000":           "ng refs/heads/b",
		"000eunpack ok\n0014ok refs/heads/a\n":                                    "unexpected EOF",
		"000aERR no":                                                              "no",
	} {
		pushed, err := readPushed(reader(strings.NewReader(in)), updates, false)
		got := pushed.Refused["refs/heads/b"]
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q and not %q", in, got, want)
		}
	}
}

// Names that no ref can have are those of no refs: they are written into requests, and git takes some of them for more than a name.
func TestNames(t *testing.T) {
	id := strings.Repeat("1", 40)
	for name, want := range map[string]bool{
		"HEAD": true, "refs/heads/a": true, "refs/heads/-a/b.c+d@e": true, "refs/pull/1/head": true, "refs/heads/\u00e9": true, "refs/heads/" + strings.Repeat("a", 1000): true,
		"": false, "refs/heads/a b": false, "refs/heads/a\nb": false, "refs/x/a:refs/heads/b": false, "refs/heads/*": false, "refs/heads/a^": false, "refs/x/../../config": false,
		"refs/heads/" + strings.Repeat("a", 60_000): false,
	} {
		var b bytes.Buffer
		packet.Line(&b, id+" "+name)
		b.WriteString(packet.Flush)
		if refs, err := readRefs(reader(&b)); (err == nil) != want || refs[name] != "" != want {
			t.Errorf("%.80q: %v, %v", name, refs, err)
		}
	}
}
