package words_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/words"
)

const obeyed = "a\x1b]0;b\a\x7f\u009b31m\u202ec\u2066d\u200f\ufeff\u2028\r"

func TestShown(t *testing.T) {
	for s, want := range map[string]string{
		"": `""`, "plain name": "plain name", "größe": "größe", "a\nb": `"a\nb"`, "\u202eexe": `"\u202eexe"`, "bad\xff": `"bad\xff"`,
	} {
		if got := words.Quoted(s); got != want {
			t.Errorf("Quoted(%q) = %s", s, got)
		}
	}
	const want = `a\u001b]0;b\u0007\u007f\u009b31m\u202ec\u2066d\u200f\ufeff\u2028\u000d`
	if got := words.Line(obeyed + "\n\t\xff"); got != want+`\n\u0009\xff` {
		t.Errorf("Line: %s", got)
	}
	var b bytes.Buffer
	w := words.Writer(&b)
	io.WriteString(w, "größe\t"+obeyed+"\xff\n")
	if b.String() != "größe\t"+want+`\xff`+"\n" {
		t.Errorf("Writer: %s", b.String())
	}
	if n, err := words.Writer(failing{}).Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("a place that takes nothing: %d, %v", n, err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no") }

// A character may come in pieces, as the output of another program does.
func TestPieces(t *testing.T) {
	const text = "größe \u202e 日本 \U0001f6a2 \xe2\x80x\n"
	var whole, pieces bytes.Buffer
	io.WriteString(words.Writer(&whole), text)
	if _, err := io.Copy(words.Writer(&pieces), iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	if whole.String() != "größe \\u202e 日本 \U0001f6a2 \\xe2\\x80x\n" || pieces.String() != whole.String() {
		t.Errorf("%q in pieces is %q", whole.String(), pieces.String())
	}
}

// A JSON document stays the same document.
func TestJSON(t *testing.T) {
	want := map[string]any{obeyed: obeyed, "x": []any{"\n\t", 1.0}}
	for _, indent := range []string{"", "\t"} {
		var b bytes.Buffer
		enc := json.NewEncoder(words.Writer(&b))
		enc.SetIndent("", indent)
		if err := enc.Encode(want); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q, %v", got, err)
		}
		if strings.ContainsFunc(strings.NewReplacer("\n", "", "\t", "").Replace(b.String()), words.IsObeyed) {
			t.Errorf("%q", b.String())
		}
	}
}

func FuzzWriter(f *testing.F) {
	f.Add([]byte(obeyed), 3)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		var b bytes.Buffer
		w := words.Writer(&b)
		cut = min(max(cut, 0), len(p))
		for _, part := range [][]byte{p[:cut], p[cut:], []byte("\n")} {
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if !utf8.Valid(b.Bytes()) || strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && r != '\t' && words.IsObeyed(r) }) {
			t.Errorf("%q becomes %q", p, b.String())
		}
		if utf8.Valid(p) && !strings.ContainsFunc(string(p), words.IsObeyed) && b.String() != string(p)+"\n" {
			t.Errorf("%q becomes %q", p, b.String())
		}
	})
}
