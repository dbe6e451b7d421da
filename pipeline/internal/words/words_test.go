package words_test

import (
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

func TestWords(t *testing.T) {
	for n, want := range map[int]string{0: "0 files", 1: "1 file", 2: "2 files", 1000: "1000 files"} {
		if got := words.Count(n, "file"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	if got := words.Count(0, "entry") + ", " + words.Count(1, "entry"); got != "0 entries, 1 entry" {
		t.Error(got)
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 0: "0.0s", 240 * time.Millisecond: "0.2s", 42100 * time.Millisecond: "42.1s",
		59949 * time.Millisecond: "59.9s", 59950 * time.Millisecond: "1m00s", 62 * time.Second: "1m02s",
		time.Hour - 501*time.Millisecond: "59m59s", time.Hour - 500*time.Millisecond: "1h00m", 62 * time.Minute: "1h02m",
	} {
		if got := words.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}
