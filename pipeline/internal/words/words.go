// Package words writes counts and times as people read them, and what comes from outside so that a terminal shows it and obeys
// none of it.
package words

import (
	"fmt"
	"strings"
	"time"
)

// Count is a number with what is counted, in the plural where there is not one: "1 file", "3 files", "2 entries".
func Count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if stem, ok := strings.CutSuffix(word, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// Duration writes a duration as short as is useful: 0.2s, 42.1s, 1m02s, 1h02m. One below zero is 0.0s.
func Duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute-50*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour-500*time.Millisecond:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}
