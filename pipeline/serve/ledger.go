package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

// maxLedger bounds a ledger, in bytes: what package ledger reads.
const maxLedger = 16 << 20

// maxVerdicts is how many of the newest verdicts stand on the page of a release. The ledger has the others.
const maxVerdicts = 200

// history is the ledger that lies beside the releases, as it was last seen. It is never changed.
type history struct {
	seen     state                     // the zero state for one that could not be read
	document document                  // the file, also one that is broken; empty for one that cannot be had
	entries  map[string][]ledger.Entry // by the key of the release, the oldest first
	head     ledger.Head
	problem  string // for which nothing of it is believed
}

// readHistory reads the ledger; nil where there is none. What has not changed since last is taken from there.
func readHistory(root *os.Root, last *history) *history {
	info, err := root.Lstat(ledger.FileName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &history{problem: err.Error()}
	}
	if last != nil && last.seen == stateOf(info) {
		return last
	}
	if info.Size() > maxLedger { // not to read it each time
		return &history{problem: fmt.Sprintf("%s is larger than %d bytes", ledger.FileName, maxLedger)}
	}
	b, err := read(root, ledger.FileName, maxLedger)
	if err != nil {
		return &history{problem: err.Error()} // without seen: what kept it from being read may end
	}
	// A line that is being written is not there yet.
	b = ledger.Whole(b)
	h := &history{seen: stateOf(info), document: newDocument("text/plain; charset=utf-8", b), entries: map[string][]ledger.Entry{}}
	l, err := ledger.Parse(b)
	if err != nil {
		h.problem = err.Error()
		return h
	}
	h.head = l.Head()
	for _, e := range l.Entries {
		key := e.Name + "/" + e.Version
		h.entries[key] = append(h.entries[key], e)
	}
	return h
}

// standing is what the ledger says of a release.
type standing struct {
	Last    *ledger.Entry // the last verdict over this very release.json; nil for none
	Another bool          // the last verdict over this version is over another release.json
}

// standing is nil where no ledger can be read. A verdict only counts for the release.json that it is over: one that is
// served under the same version and is another was never looked at.
func (h *history) standing(r *release) *standing {
	if h == nil || h.problem != "" {
		return nil
	}
	var s standing
	about := h.entries[r.key()]
	for i, e := range slices.Backward(about) {
		if e.Manifest == r.digest {
			s.Last = &about[i]
			break
		}
		s.Another = s.Another || i == len(about)-1
	}
	return &s
}

// judgement is a verdict on the page of a release.
type judgement struct {
	ledger.Entry
	Another bool // it is over another release.json
}

// Circumstances are those under which the release was rebuilt.
func (j judgement) Circumstances() string {
	return strings.Join(slices.DeleteFunc([]string{j.Engine, j.Host, j.Tool}, func(s string) bool { return s == "" }), ", ")
}

// Signer is enough of the key's fingerprint for a person to know it by.
func (j judgement) Signer() string { return artifact.Digest(j.Rebuilder).Short() }

// judgements are the verdicts over a release, the newest first, and how many more there are.
func (h *history) judgements(r *release) (shown []judgement, more int) {
	if h == nil || h.problem != "" {
		return nil, 0
	}
	about := h.entries[r.key()]
	for _, e := range slices.Backward(about) {
		if len(shown) == maxVerdicts {
			break
		}
		shown = append(shown, judgement{e, e.Manifest != r.digest})
	}
	return shown, len(about) - len(shown)
}

// shownLedger is what is shown of the ledger itself.
type shownLedger struct {
	ledger.Head
	Error  string `json:"error,omitempty"`
	Served bool   `json:"-"`
}

func (h *history) shown() *shownLedger {
	if h == nil {
		return nil
	}
	return &shownLedger{h.head, h.problem, h.document.kind != ""}
}

// verdict is a standing for programs. Without a verdict, those in the ledger are over another release.json.
type verdict struct {
	Verdict   ledger.Verdict `json:"verdict,omitempty"`
	Time      time.Time      `json:"time,omitzero"`
	Passed    int            `json:"passed"`
	Failed    int            `json:"failed"`
	Skipped   int            `json:"skipped"`
	Engine    string         `json:"engine,omitempty"`
	Host      string         `json:"host,omitempty"`
	Rebuilder string         `json:"rebuilder,omitempty"`
	Tool      string         `json:"tool,omitempty"`
	Why       string         `json:"why,omitempty"`
	Another   bool           `json:"another,omitempty"` // the last entry about this version is over another release.json
}

func (s *standing) verdict() *verdict {
	if s == nil || s.Last == nil && !s.Another {
		return nil
	}
	if s.Last == nil {
		return &verdict{Why: "another release.json was rebuilt", Another: true}
	}
	e := s.Last
	return &verdict{e.Verdict, e.Time, e.Passed, e.Failed, e.Skipped, e.Engine, e.Host, e.Rebuilder, e.Tool, e.Why, s.Another}
}
