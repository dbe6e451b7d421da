package progress

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// screen is a terminal as far as TTY needs one: it wraps, scrolls, and wraps anew when it is resized. It fails the test
// on anything that a TTY has no business writing.
type screen struct {
	t             *testing.T
	width, height int
	rows          []row // all that was ever shown; the last height of them are on the screen
	x, y          int   // y counts from the first of rows
	hidden        bool  // the cursor
}

type row struct {
	cells   []rune // 0 is the second column of a wide character
	wrapped bool   // the next row continues this one
}

var control = regexp.MustCompile("^\x1b\\[(\\??)([0-9;]*)([A-Za-z])")

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: make([]row, 1)}
}

func (s *screen) Write(b []byte) (int, error) {
	text := string(b)
	for text != "" {
		if m := control.FindStringSubmatch(text); m != nil {
			s.control(m[1]+m[3], m[2])
			text = text[len(m[0]):]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch {
		case r == '\n': // as a terminal's driver sends it: with a carriage return
			s.x = 0
			s.down()
		case r == '\r':
			s.x = 0
		case r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0:
			s.t.Errorf("the terminal got the control character %U", r)
		default:
			s.put(r)
		}
	}
	return len(b), nil
}

func (s *screen) control(name, arg string) {
	switch name {
	case "A":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			s.t.Errorf("cursor up by %q", arg)
		}
		s.y = max(s.y-n, len(s.rows)-s.height, 0)
	case "J", "K":
		if arg != "" {
			s.t.Errorf("erasing with %q", arg)
		}
		s.rows[s.y].cells = s.rows[s.y].cells[:min(s.x, len(s.rows[s.y].cells))]
		s.rows[s.y].wrapped = false
		if name == "J" {
			for i := s.y + 1; i < len(s.rows); i++ {
				s.rows[i] = row{}
			}
		}
	case "m":
	case "?l", "?h":
		if arg != "25" {
			s.t.Errorf("mode %q", arg)
		}
		s.hidden = name == "?l"
	default:
		s.t.Errorf("the terminal got the sequence %q %q", name, arg)
	}
}

func (s *screen) down() {
	if s.y++; s.y == len(s.rows) {
		s.rows = append(s.rows, row{})
	}
}

func (s *screen) put(r rune) {
	n := runeWidth(r)
	if n == 0 {
		return
	}
	if s.x+n > s.width {
		s.rows[s.y].wrapped = true
		s.x = 0
		s.down()
		s.rows[s.y] = row{}
	}
	c := &s.rows[s.y].cells
	for len(*c) < s.x+n {
		*c = append(*c, ' ')
	}
	(*c)[s.x] = r
	if n == 2 {
		(*c)[s.x+1] = 0
	}
	s.x += n
}

// resize wraps all lines anew, as most terminals do, and keeps the cursor on its line.
func (s *screen) resize(width, height int) {
	old, y := s.rows, s.y
	s.width, s.height, s.rows, s.y, s.x = width, height, make([]row, 1), 0, 0
	cursor := 0
	for i := range old {
		if i == y {
			cursor = s.y
		}
		for _, r := range old[i].cells {
			if r != 0 {
				s.put(r)
			}
		}
		if !old[i].wrapped && i < len(old)-1 {
			s.x = 0
			s.down()
		}
	}
	s.x, s.y = 0, cursor
}

// all is everything that was shown, scrolled away or not.
func (s *screen) all() string { return join(s.rows) }

// visible is what is on the screen.
func (s *screen) visible() string { return join(s.rows[max(0, len(s.rows)-s.height):]) }

func join(rows []row) string {
	var b strings.Builder
	for _, r := range rows {
		text := strings.ReplaceAll(string(r.cells), "\x00", "")
		b.WriteString(strings.TrimRight(text, " "))
		if r.wrapped {
			b.WriteString("↩") // so that a test sees it
		}
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func TestScreen(t *testing.T) {
	s := newScreen(t, 5, 3)
	fmt.Fprint(s, "abcdefg\n1\n2\n\x1b[1Ax\x1b[K\n3")
	if got, want := s.all(), "abcde↩\nfg\n1\nx\n3\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := s.visible(), "1\nx\n3\n"; got != want {
		t.Errorf("visible: got %q, want %q", got, want)
	}
	s.resize(10, 3)
	if got, want := s.all(), "abcdefg\n1\nx\n3\n"; got != want {
		t.Errorf("resized: got %q, want %q", got, want)
	}
	s.resize(3, 3)
	if got, want := s.all(), "abc↩\ndef↩\ng\n1\nx\n3\n"; got != want {
		t.Errorf("resized: got %q, want %q", got, want)
	}
}
