package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
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
