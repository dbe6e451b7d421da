package packet_test

import (
	"bytes"
	"crypto/sha1"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/git/packet"
)

// A real git finds in a pack what was put there, of sizes around those where one more byte is needed to say them.
func TestPack(t *testing.T) {
	sizes := []int{0, 1, 15, 16, 2047, 2048, 1<<18 - 1, 1 << 18, 1 << 25}
	var out bytes.Buffer
	out.Write(packet.Pack(len(sizes)))
	for _, n := range sizes {
		packet.Object(&out, packet.Blob, n)
		packet.Deflate(&out, make([]byte, n))
	}
	sum := sha1.Sum(out.Bytes())
	out.Write(sum[:])
	dir := gittest.Bare(t)
	gittest.GitIn(t, dir, out.String(), "index-pack", "--stdin", "--strict")
	got := gittest.Git(t, dir, "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectsize)")
	if want := "0\n1\n15\n16\n2047\n2048\n262143\n262144\n33554432"; got != want {
		t.Errorf("%s", strings.ReplaceAll(got, "\n", " "))
	}
}

func TestLine(t *testing.T) {
	var out bytes.Buffer
	packet.Line(&out, "")
	packet.Line(&out, strings.Repeat("x", packet.Max-4))
	if got := out.String(); !strings.HasPrefix(got, "0004fff0xxx") || out.Len() != 4+packet.Max {
		t.Errorf("%.20q, %d bytes", got, out.Len())
	}
}
