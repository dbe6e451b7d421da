package plan

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// goSplit splits a list of arguments as the Go command documents it for -ldflags: at spaces, and a part that begins
// with a single or double quote goes to the next one of its kind, without escapes
// (https://pkg.go.dev/cmd/go#hdr-Compile_packages_and_dependencies).
func goSplit(s string) ([]string, error) {
	const space = " \t\r\n"
	var out []string
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		if s[0] == '\'' || s[0] == '"' {
			word, rest, ok := strings.Cut(s[1:], s[:1])
			if !ok {
				return nil, errors.New("a quote is not closed")
			}
			out, s = append(out, word), rest
			continue
		}
		end := strings.IndexAny(s, space)
		if end < 0 {
			end = len(s)
		}
		out, s = append(out, s[:end]), s[end:]
	}
	return out, nil
}

// Whatever a value holds, the linker gets it as one argument or the plan is refused.
func TestLinkerWord(t *testing.T) {
	try := func(value string) {
		t.Helper()
		arg := "main.v=" + value
		word, err := linkerWord(arg)
		if err != nil {
			if !strings.Contains(value, "'") || !strings.Contains(value, `"`) {
				t.Errorf("%q is refused: %v", value, err)
			}
			return
		}
		// Among others, where a word that ran over would swallow its neighbours.
		got, err := goSplit("-s -X " + word + " -X " + word + " -w")
		if want := []string{"-s", "-X", arg, "-X", arg, "-w"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%q becomes %s, and the Go command reads %q, %v", value, word, got, err)
		}
	}
	for _, v := range []string{
		"", " ", "plain", "two words", "tab\there", "line\nbreak", "\r\n", `"`, "'", `"quoted"`, "it's", "it's here", `say "x y"`, `both ' and "`, `'"`,
		"-extld=/tmp/x", "x -extld=/tmp/x", "' -extld=/tmp/x '", `" -extld=/tmp/x "`, `\`, `\'`, `\" x`, "$(id)", "`id`", "é ü", "\u00a0", "\v\f", "a=b=c",
	} {
		try(v)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 200_000 {
		b := make([]byte, r.IntN(8))
		for i := range b {
			b[i] = "ab-=' \"\t\n\r\\$\v"[r.IntN(13)]
		}
		try(string(b))
	}
}

func FuzzLinkerWord(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", `"x"`, "a\nb", `'"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		word, err := linkerWord("main.v=" + value)
		if err != nil {
			return
		}
		got, err := goSplit("-w -X " + word + " -s")
		if want := []string{"-w", "-X", "main.v=" + value, "-s"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%q becomes %s, which splits into %q, %v", value, word, got, err)
		}
	})
}
