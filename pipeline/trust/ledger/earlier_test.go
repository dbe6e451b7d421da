package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

// A ledger of an earlier version is read, goes on, and keeps its lines.
func TestEarlier(t *testing.T) {
	dir := earlier.Unpack(t)
	b, err := os.ReadFile(filepath.Join(dir, ledger.FileName))
	must(t, err)
	l, err := ledger.Parse(b)
	must(t, err)
	sum, _, err := artifact.SumFile(filepath.Join(dir, "dist", "release.json"))
	must(t, err)
	if e, ok := l.Last("hello", "1.2.3", sum); !ok || e.Verdict != ledger.Pass || e.Rebuilt != sum || l.Head().Count != 3 {
		t.Errorf("%d entries, the last of the release is %+v", l.Head().Count, e)
	}
	more, err := l.Append(entry(4))
	must(t, err)
	if got := more.Encode(); !bytes.HasPrefix(got, b) || more.Extends(l.Head()) != nil {
		t.Errorf("with one more entry it is\n%s", got)
	}
	again, err := ledger.Parse(more.Encode())
	must(t, err)
	if again.Head() != more.Head() {
		t.Errorf("it goes as far as %+v, and %+v was written", again.Head(), more.Head())
	}
}

// A line of a later minor version is a link of the chain like every other, whatever it says, and its verdict counts. One that
// a reader has to know more of is not read, and neither is anything else: its verdict may be taken back by what is not known.
func TestLater(t *testing.T) {
	b, err := os.ReadFile("testdata/later.jsonl") // an entry of this version, two of minor version 2, an entry of this version
	must(t, err)
	l, err := ledger.Parse(b)
	must(t, err)
	if !bytes.Equal(l.Encode(), b) || l.Head().Count != 4 || l.Head().Digest != artifact.Sum(b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:len(b)-1]) {
		t.Errorf("it is passed on as %s", l.Encode())
	}
	later := l.Entries[2]
	if later.Minor != 2 || later.Verdict != ledger.Fail || len(later.Unknown) != 2 || later.Unknown[0].Key != "shards" || string(later.Unknown[0].Value) != `[{"of":4,"by":"a<b"}]` {
		t.Errorf("the later entry is %+v", later)
	}
	if e, ok := l.Last("hello", "1.2.1", ""); !ok || e.Verdict != ledger.Fail {
		t.Errorf("the verdict over 1.2.1 is %q", e.Verdict)
	}
	more, err := l.Append(later) // an entry that was read is written as one of this version
	must(t, err)
	again, err := ledger.Parse(more.Encode())
	must(t, err)
	if e := again.Entries[4]; e.Minor != 0 || e.Unknown != nil || e.Prev != l.Head().Digest {
		t.Errorf("appended %+v", e)
	}
	text := string(b)
	for _, tt := range []struct {
		name, text, want string
		code             fault.Code
	}{
		{"an unknown value changed", strings.Replace(text, `"of":4`, `"of":5`, 1), "ledger.jsonl:4: prev is", fault.Mismatch},
		{"an unknown key taken away", strings.Replace(text, `,"retention":"long"`, ``, 1), "ledger.jsonl:4: prev is", fault.Mismatch},
		{"a space in an unknown value", strings.Replace(text, `"of":4,"by"`, `"of":4, "by"`, 1), "ledger.jsonl:3: the entry is not in canonical form", fault.Mismatch},
		{"two unknown keys that are one", strings.Replace(text, `"retention"`, `"Shards"`, 1), `also as "Shards"`, fault.Mismatch},
		{"an unknown key without a later version", strings.Replace(text, `"minor":2,"prev":"`+string(l.Entries[2].Prev), `"prev":"`+string(l.Entries[2].Prev), 1), `ledger.jsonl:3: reading entry: key "shards" is unknown`, fault.Mismatch},
		{"something required", strings.Replace(text, `"minor":2,`, `"minor":2,"requires":["wings"],`, 1), `ledger.jsonl:2: reading entry: it requires "wings", which this version does not know; read it with a newer slipway`, fault.Usage},
		{"another schema", strings.Replace(text, "slipway.reproduced/v1", "slipway.reproduced/v2", 1), `ledger.jsonl:1: reading entry: schema "slipway.reproduced/v2" is not "slipway.reproduced/v1"`, fault.Usage},
	} {
		if tt.text == text {
			t.Errorf("%s: nothing was changed", tt.name)
		}
		if _, err := ledger.Parse([]byte(tt.text)); fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: exit %d: %v, want %d: %s", tt.name, fault.CodeOf(err), err, tt.code, tt.want)
		}
	}
}
