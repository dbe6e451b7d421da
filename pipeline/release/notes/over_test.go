package notes_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/notes"
)

func TestOver(t *testing.T) {
	got := notes.Over("Own words.\n", []notes.Part{
		{"gateway: 1.4.2 -> 1.4.3", "## Fixed\r\n\r\n- A <b>leak</b>; see <https://example.com/1>\n<!-- \n```\nopen\n"},
		{"we*b*: new, 1.0.0", ""},
	}, []string{"proto", "a_b"})
	want := `Own words.

## Components

### gateway: 1.4.2 -\> 1.4.3

> ## Fixed
>
> - A &lt;b>leak&lt;/b>; see <https://example.com/1>
> &lt;!--
> ` + "```" + `
> open

### we\*b\*: new, 1.0.0

The same: proto, a\_b.
`
	if got != want {
		t.Errorf("%s", got)
	}
	if got := notes.Over("Own words.\n", nil, nil); got != "Own words.\n" {
		t.Errorf("%q", got)
	}
}

// However much the parts say, each of them has its say, and all of it fits.
func TestOverBounded(t *testing.T) {
	long := strings.Repeat(strings.Repeat("word ", 20)+"\n", 10_000)
	parts := []notes.Part{{"first", long}, {"second", "short"}, {"third", long}}
	got := notes.Over("Own words.\n", parts, nil)
	if len(got) > notes.MaxLen || len(got) < notes.MaxLen*9/10 {
		t.Errorf("%d bytes", len(got))
	}
	for _, want := range []string{"### first\n\n> word", "### second\n\n> short", "### third\n\n> word", "> …\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q", want)
		}
	}
	for _, line := range strings.Split(got, "\n")[4:] {
		if line != "" && !strings.HasPrefix(line, "> ") && !strings.HasPrefix(line, "### ") {
			t.Fatalf("%q is no quotation", line)
		}
	}
}
