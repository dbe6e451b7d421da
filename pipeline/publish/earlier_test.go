package publish

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// What an earlier version began to publish, this one goes on with.
func TestEarlier(t *testing.T) {
	dir := filepath.Join(earlier.Unpack(t), "dist")
	rel, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range []func() (*Journal, error){
		func() (*Journal, error) { return ReadJournal(dir, "", rel.Digest) },
		func() (*Journal, error) { return OpenJournal(dir, "", rel.Digest, nil) },
	} {
		j, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if j.Fact("checked") == "" || !j.Verified("registry.example.com", "registry.example.com") || !j.Verified("folder", "/srv/releases") || j.Unanswered() != 0 {
			t.Errorf("facts %q, %d requests open", j.facts, j.Unanswered())
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReceiptsGolden(t *testing.T) {
	v, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	rel := Release{Digest: artifact.Sum([]byte("plan")), Manifest: manifest.Release{Name: "hello", Version: v, Commit: "0123456789abcdef0123456789abcdef01234567"}}
	r := NewReceipts(rel, "staging", Result{Outcomes: []Outcome{
		{Destination: "folder", Items: []Item{{Name: "/srv/releases/hello/1.2.3", Phase: Flip, State: Same}}},
		{Destination: "registry.example.com", Items: []Item{}, Error: "it is down"},
	}})
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "publish", "staging", "receipts.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile("testdata/receipts.json.golden"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: the receipts changed:\n%s", err, got)
	}
}

// Receipts of another version are read as far as they go, and passed on as the same bytes.
func TestReceiptsVersions(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		edit       func(string) string
		unknown    int
		want       string
	}{
		{name: "of 0a03cd7", file: filepath.Join(earlier.Unpack(t), "dist", ReceiptsName)},
		{name: "of this version", file: "testdata/receipts.json.golden"},
		{name: "of a later minor version", file: "testdata/receipts_later.json", unknown: 1},
		{
			name: "of another major version", file: "testdata/receipts_later.json", want: `schema "slipway.receipts/v2" is not "slipway.receipts/v1"`,
			edit: func(s string) string { return strings.Replace(s, "receipts/v1", "receipts/v2", 1) },
		},
		{
			name: "with another key in a destination", file: "testdata/receipts_later.json", want: `key "seen" is unknown`,
			edit: func(s string) string { return strings.Replace(s, `"items":`, `"seen": true, "items":`, 1) },
		},
	} {
		b, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if tt.edit != nil {
			b = []byte(tt.edit(string(b)))
		}
		var r Receipts
		err = receiptsFormat.Decode(b, &r, &r.Unknown)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("receipts %s: %v, want %s", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil || len(r.Destinations) != 2 || r.Version != "1.2.3" || len(r.Unknown) != tt.unknown {
			t.Errorf("receipts %s: %d destinations, unknown %s, %v", tt.name, len(r.Destinations), r.Unknown, err)
		}
		if again, err := canonjson.Indent(r); err != nil || !bytes.Equal(again, b) {
			t.Errorf("receipts %s are passed on as %v\n%s", tt.name, err, again)
		}
	}
}

// What a later minor version wrote into a journal is skipped and stays; a journal that only another version reads is left
// alone.
func TestJournalVersions(t *testing.T) {
	head := fmt.Sprintf(`"release":%q,"time":"2026-03-14T15:09:26Z"`, one)
	lines := `{"id":1,"time":"2026-03-14T15:09:26Z","begin":{"destination":"d","method":"PUT","url":"/","later":1}}
{"pledge":{"to":"d"}}
{"fact":"a","value":"b","by":"me"}
`
	for _, tt := range []struct{ name, text, want string }{
		{name: "without a format", text: "{" + head + "}\n" + lines},
		{name: "of this version", text: `{"schema":"slipway.journal/v1",` + head + "}\n" + lines},
		{name: "of a later minor version", text: `{"schema":"slipway.journal/v1","minor":4,` + head + `,"host":"h"}` + "\n" + lines},
		{name: "of another major version", text: `{"schema":"slipway.journal/v2","about":"x"}` + "\n" + lines, want: `schema "slipway.journal/v2" is not "slipway.journal/v1"`},
		{name: "that requires what is not known", text: `{"schema":"slipway.journal/v1","requires":["pledge"],` + head + "}\n" + lines, want: `it requires "pledge"`},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, JournalName)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(dir, "", one, nil)
		if tt.want != "" {
			if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("a journal %s: exit %d: %v", tt.name, fault.CodeOf(err), err)
			}
		} else if err != nil || j.Fact("a") != "b" || j.Unanswered() != 1 || j.Close() != nil {
			t.Errorf("a journal %s: fact %q, %d requests open, %v", tt.name, j.Fact("a"), j.Unanswered(), err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != tt.text {
			t.Errorf("a journal %s became %v\n%s", tt.name, err, b)
		}
	}
}
