package compare

import (
	"bytes"
	"fmt"
	"strings"
)

// text compares lines. What is not text in both is compared as bytes.
func (c *comparer) text(f file, a, b Source, s span) error {
	ok, err := c.both(a, b, maxInner, func(x, y []byte) error {
		if !printable(x, false) || !printable(y, false) {
			c.bytes(f.where, s)
			return nil
		}
		c.add(f.where, "%s", lines(string(x), string(y)))
		return nil
	})
	if err == nil && !ok {
		c.bytes(f.where, s)
	}
	return err
}

// lines names the first line that is not the same in two texts that are not the same, and how many are not.
func lines(a, b string) string {
	n := 0
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '\n' {
			n = i + 1
		}
	}
	number := strings.Count(a[:n], "\n") + 1
	a, b = a[n:], b[n:]
	tail := 0
	for i := 1; i <= len(a) && i <= len(b) && a[len(a)-i] == b[len(b)-i]; i++ {
		// The line behind this line feed is the same in both, if it begins there in both.
		if at := func(s string) bool { return len(s) == i || s[len(s)-i-1] == '\n' }; at(a) && at(b) {
			tail = i
		}
	}
	a, b = a[:len(a)-tail], b[:len(b)-tail]
	first := func(s string) string {
		line, _, _ := strings.Cut(s, "\n")
		return line
	}
	x, y := lineCount(a), lineCount(b)
	switch {
	case b == "":
		return fmt.Sprintf("line %s only in the published: %s%s", comma(int64(number)), quote(first(a)), more(x))
	case a == "":
		return fmt.Sprintf("line %s only in the rebuilt: %s%s", comma(int64(number)), quote(first(b)), more(y))
	case first(a) == first(b):
		// The first of two lines that are the same but for the line feed is the last one of its text.
		which := "published"
		if strings.HasPrefix(a, b) {
			which = "rebuilt"
		}
		return fmt.Sprintf("line %s has no line feed in the %s: %s%s", comma(int64(number)), which, quote(first(a)), more(max(x, y)))
	}
	differ := max(x, y)
	if x == y {
		differ = 0
		p, q := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
		for i := range min(len(p), len(q)) {
			if p[i] != q[i] {
				differ++
			}
		}
	}
	return fmt.Sprintf("line %s: %s%s", comma(int64(number)), instead(first(a), first(b)), more(differ))
}

func more(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s lines differ)", comma(int64(n)))
}

func lineCount(s string) int {
	n := strings.Count(s, "\n")
	if s != "" && !strings.HasSuffix(s, "\n") {
		n++
	}
	return n
}

// firstLine is the number of the first line that differs.
func firstLine(a, b []byte) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return bytes.Count(a[:i], []byte("\n")) + 1
}
