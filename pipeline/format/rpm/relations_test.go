package rpm

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		want relation
		ok   bool
	}{
		{"git", relation{name: "git"}, true},
		{" git ", relation{name: "git"}, true},
		{"/bin/sh", relation{name: "/bin/sh"}, true},
		{"git  >=  2.30", relation{"git", "2.30", 12}, true},
		{"git <= 1:2", relation{"git", "1:2", 10}, true},
		{"git < 2", relation{"git", "2", 2}, true},
		{"git > 2", relation{"git", "2", 4}, true},
		{"git = 2", relation{"git", "2", 8}, true},
		{"(a or b >= 2)", relation{name: "(a or b >= 2)"}, true},
		{"git>=2", relation{}, false},
		{"git >= ", relation{}, false},
		{"git == 2", relation{}, false},
		{"git >= 2 3", relation{}, false},
		{"(a or b) c", relation{}, false},
		{"", relation{}, false},
	} {
		if got, ok := parse(tt.text); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q is %+v, %t, want %+v, %t", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

// What is taken has a name without blanks, unless it is an expression, and a version where it has a comparison.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"git", "git >= 2", "(a or b)", " ", "a\u00a0=\u00a01", "<", "( )"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parse(text)
		if !ok {
			return
		}
		if r.name == "" || !rich(text) && len(strings.Fields(r.name)) != 1 || (r.sense == 0) != (r.version == "") {
			t.Errorf("%q is %+v", text, r)
		}
	})
}
