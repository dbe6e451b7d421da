package ledger_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/ledger"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry is the n-th verdict.
func entry(n int) ledger.Entry {
	return ledger.Entry{
		Time: time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.FixedZone("", 3600)).AddDate(0, 0, n), Name: "hello", Version: fmt.Sprintf("1.2.%d", n),
		Commit: strings.Repeat("0123456789", 4), Manifest: artifact.Sum([]byte("manifest")), Rebuilt: artifact.Sum([]byte("manifest")),
		Verdict: ledger.Pass, Passed: 12, Skipped: 1,
		Engine: "host", Host: "linux/amd64", Rebuilder: string(artifact.Sum([]byte("key"))), Tool: "slipway 1.2.3",
	}
}

func failed(n int, why string) ledger.Entry {
	e := entry(n)
	e.Verdict, e.Why, e.Passed, e.Failed, e.Rebuilt = ledger.Fail, why, 11, 1, artifact.Sum([]byte("other"))
	return e
}

func build(t testing.TB, entries ...ledger.Entry) ledger.Ledger {
	t.Helper()
	var l ledger.Ledger
	for _, e := range entries {
		var err error
		l, err = l.Append(e)
		must(t, err)
	}
	return l
}

func lines(l ledger.Ledger) []string {
	all := strings.SplitAfter(string(l.Encode()), "\n")
	return all[:len(all)-1]
}

func TestGolden(t *testing.T) {
	skip := ledger.Entry{
		Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Name: "world", Version: "0.1.0-rc.1+b", Commit: strings.Repeat("a", 64),
		Manifest: artifact.Sum(nil), Verdict: ledger.Skip, Why: "the commit is\r\n\tgone \u202efrom \u00a0 the \"repository\" <b>\u2028",
	}
	l := build(t, entry(0), failed(1, strings.Repeat("ü", 1500)), skip)
	file := filepath.Join("testdata", "ledger.jsonl")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, l.Encode(), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(l.Encode(), want) {
		t.Errorf("%s differs; run with -update if that is meant, which it is not once there are ledgers. Got:\n%s", file, l.Encode())
	}
	parsed, err := ledger.Parse(want)
	must(t, err)
	if !reflect.DeepEqual(parsed.Entries, l.Entries) || parsed.Head() != l.Head() || !bytes.Equal(parsed.Encode(), want) {
		t.Errorf("what is read is not what was written: %+v", parsed.Entries)
	}
	if got := parsed.Entries[2].Why; got != `the commit is gone from the "repository" <b>` {
		t.Errorf("why is %q", got)
	}
	if got := parsed.Entries[1].Why; len(got) > 2000 || !strings.HasSuffix(got, "ü...") {
		t.Errorf("why has %d bytes and ends in %q", len(got), got[len(got)-8:])
	}
	if e := parsed.Entries[0]; e.Time != time.Date(2026, 3, 14, 14, 9, 26, 0, time.UTC) || e.Prev != "" || e.Schema != ledger.Schema {
		t.Errorf("%+v", e)
	}
}

// TestTampering changes a ledger in every way that its chain or its form has to show.
func TestTampering(t *testing.T) {
	good := build(t, entry(0), failed(1, "x"), entry(2), entry(3))
	l := lines(good)
	all := strings.Join
	edit := func(n int, old, new string) string {
		changed := slices.Clone(l)
		if !strings.Contains(changed[n], old) {
			t.Fatalf("%s has no %s", changed[n], old)
		}
		changed[n] = strings.Replace(changed[n], old, new, 1)
		return all(changed, "")
	}
	other := lines(build(t, entry(7)))
	for _, tt := range []struct{ name, text, want string }{
		{"changed", edit(1, `"FAIL"`, `"SKIP"`), "ledger.jsonl:3: prev is"},
		{"changed to what cannot be", edit(1, `"FAIL"`, `"PASS"`), "ledger.jsonl:2: verdict is PASS with 1 artifacts that failed"},
		{"removed", l[0] + l[2] + l[3], "ledger.jsonl:2: prev is"},
		{"the first removed", l[1] + l[2], `and the line before is none`},
		{"put in", l[0] + other[0] + l[1] + l[2], `ledger.jsonl:2: prev is "" and the line before is sha256:`},
		{"reordered", l[0] + l[2] + l[1] + l[3], "ledger.jsonl:2: prev is"},
		{"twice", l[0] + l[1] + l[1] + l[2], "ledger.jsonl:3: prev is"},
		{"an empty line", l[0] + "\n" + l[1], "ledger.jsonl:2: reading entry"},
		{"key twice", edit(3, `"passed":12,`, `"passed":12,"passed":12,`), `ledger.jsonl:4: reading entry: key "passed" comes twice`},
		{"key twice, in another case", edit(3, `"passed":12,`, `"passed":12,"PASSED":1,`), `ledger.jsonl:4: reading entry: key "passed" comes twice, also as "PASSED"`},
		{"key in another case", edit(3, `"passed"`, `"Passed"`), `ledger.jsonl:4: reading entry: key "Passed" has to be spelled "passed"`},
		{"unknown key", edit(3, `"passed"`, `"excused":1,"passed"`), `ledger.jsonl:4: reading entry: key "excused" is unknown`},
		{"key of another order", edit(3, `"passed":12,"failed":0`, `"failed":0,"passed":12`), "canonical"},
		{"key left out", edit(3, `"failed":0,`, ``), "canonical"},
		{"empty value", edit(3, `"tool":"slipway 1.2.3"`, `"tool":""`), "canonical"},
		{"null", edit(3, `"failed":0`, `"failed":null`), "canonical"},
		{"a number in another form", edit(3, `"failed":0`, `"failed":-0`), "canonical"},
		{"an escape", edit(3, `"host":"l`, `"host":"\u006c`), "canonical"},
		{"a space", edit(3, `,"name"`, `, "name"`), "canonical"},
		{"a carriage return", strings.ReplaceAll(all(l, ""), "\n", "\r\n"), "ledger.jsonl:1: the entry is not in canonical form"},
		{"not UTF-8", edit(3, `"engine":"host`, "\"engine\":\"h\xff"), "ledger.jsonl:4: reading entry: the JSON document is not UTF-8"},
		{"a direction mark", edit(3, `"engine":"host`, "\"engine\":\"\u202ehost"), "canonical"},
		{"another zone", edit(3, `14:09:26Z`, `15:09:26+01:00`), "canonical"},
		{"fractions", edit(3, `14:09:26Z`, `14:09:26.5Z`), "canonical"},
		{"garbage in the line", edit(3, "}", "}{}"), "something after the JSON document"},
		{"garbage after it", all(l, "") + "\ngarbage\n", "ledger.jsonl:5: reading entry"},
		{"an array", "[]\n", "ledger.jsonl:1: reading entry"},
		{"no end", strings.TrimSuffix(all(l, ""), "\n") + "}", "ledger.jsonl:4: the line has no end"},
		{"cut", all(l, "")[:len(all(l, ""))-9], "ledger.jsonl:4: the line has no end"},
		{"a byte order mark", "\ufeff" + all(l, ""), "ledger.jsonl:1: reading entry"},
		{"other verdict", edit(3, `"PASS"`, `"pass"`), `verdict is "pass"`},
		{"a verdict without a why", edit(3, `"PASS"`, `"SKIP"`), "verdict is SKIP and why is empty"},
		{"a count below none", edit(3, `"passed":12`, `"passed":-12`), "are not counts"},
		{"a version with a v", edit(3, `"version":"1`, `"version":"v1`), `version "v1.2.3" is written as 1.2.3`},
		{"no version", edit(3, `"version":"1`, `"version":"x`), "is not SemVer"},
		{"a name that is a path", edit(3, `"name":"hello`, `"name":"../hello`), "is not the name of a release"},
		{"a short commit", edit(3, `"commit":"0123`, `"commit":"`), "is not the full name of one"},
		{"no manifest", edit(3, `"manifest":"sha256:`, `"manifest":"sha512:`), "sha512:"},
		{"a time before there were any", edit(3, `"2026-`, `"1026-`), "is not between 1970 and 9999"},
		{"a rebuilder in words", edit(3, `"rebuilder":"sha256:`, `"rebuilder":"me and `), "is not the fingerprint of a key"},
		{"a long line", all(l, "") + strings.Repeat("x", 20_000) + "\n", "ledger.jsonl:5: the line has more than 16384 bytes"},
		{"a long file", strings.Repeat("\n", 16<<20+1), "more than 16777216 bytes"},
		{"nesting", strings.Repeat(`[`, 16_000) + "\n", "ledger.jsonl:1: reading entry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ledger.Parse([]byte(tt.text))
			if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want a mismatch that says %q", err, tt.want)
			}
			if len(got.Entries) > 0 {
				t.Error("there are entries all the same")
			}
		})
	}
	// An end that is cut off at a line is for whoever remembers how far the ledger went.
	cut, err := ledger.Parse([]byte(l[0] + l[1]))
	must(t, err)
	if err := cut.Extends(good.Head()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "has 2 entries and had 4") {
		t.Error(err)
	}
	if err := good.Extends(cut.Head()); err != nil {
		t.Error(err)
	}
}

func TestExtends(t *testing.T) {
	var none ledger.Ledger
	one, other := build(t, entry(0)), build(t, entry(1))
	three := build(t, entry(0), entry(1), entry(2))
	for _, tt := range []struct {
		l    ledger.Ledger
		h    ledger.Head
		good bool
	}{
		{none, ledger.Head{}, true},
		{one, ledger.Head{}, true},
		{one, one.Head(), true},
		{three, one.Head(), true},
		{three, three.Head(), true},
		{one, three.Head(), false},
		{three, other.Head(), false},
		{one, other.Head(), false},
		{none, one.Head(), false},
		{one, ledger.Head{Count: -1}, false},
	} {
		if err := tt.l.Extends(tt.h); (err == nil) != tt.good || err != nil && fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%d entries after %+v: %v", len(tt.l.Entries), tt.h, err)
		}
	}
	if h := none.Head(); h != (ledger.Head{}) || len(none.Encode()) != 0 {
		t.Errorf("an empty ledger has the head %+v", h)
	}
	line, _, _ := strings.Cut(string(one.Encode()), "\n")
	if h := one.Head(); h.Count != 1 || h.Digest != artifact.Sum([]byte(line)) {
		t.Errorf("the head is %+v", h)
	}
}

func TestAppendRefuses(t *testing.T) {
	for name, edit := range map[string]func(*ledger.Entry){
		"no name":       func(e *ledger.Entry) { e.Name = "" },
		"no version":    func(e *ledger.Entry) { e.Version = "" },
		"a v":           func(e *ledger.Entry) { e.Version = "v1.0.0" },
		"no commit":     func(e *ledger.Entry) { e.Commit = "HEAD" },
		"no manifest":   func(e *ledger.Entry) { e.Manifest = "" },
		"other rebuilt": func(e *ledger.Entry) { e.Rebuilt = "sha256:0" },
		"no time":       func(e *ledger.Entry) { e.Time = time.Time{} },
		"no verdict":    func(e *ledger.Entry) { e.Verdict = "" },
		"no why":        func(e *ledger.Entry) { e.Verdict, e.Why = ledger.Fail, " \n" },
		"failures":      func(e *ledger.Entry) { e.Failed = 1 },
		"rebuilder":     func(e *ledger.Entry) { e.Rebuilder = "a\nb" },
	} {
		e := entry(0)
		edit(&e)
		if _, err := new(ledger.Ledger).Append(e); fault.CodeOf(err) != fault.Usage || !strings.HasPrefix(err.Error(), "adding ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A ledger that is held by two is not changed for one by what the other adds.
func TestAppendLeavesOthers(t *testing.T) {
	l := build(t, entry(0), entry(1), entry(2))
	a, err := l.Append(entry(3))
	must(t, err)
	b, err := l.Append(entry(4))
	must(t, err)
	for _, l := range []ledger.Ledger{l, a, b} {
		if parsed, err := ledger.Parse(l.Encode()); err != nil || !reflect.DeepEqual(parsed.Entries, l.Entries) {
			t.Errorf("%v", err)
		}
	}
	if a.Entries[3].Version != "1.2.3" || b.Entries[3].Version != "1.2.4" || len(l.Entries) != 3 {
		t.Error("they share entries")
	}
}

func TestLatest(t *testing.T) {
	of := func(name, version string, verdict ledger.Verdict, manifest string) ledger.Entry {
		e := entry(0)
		e.Name, e.Version, e.Verdict, e.Why, e.Manifest = name, version, verdict, "because", artifact.Sum([]byte(manifest))
		return e
	}
	l := build(
		t, of("b", "1.9.0", ledger.Pass, "x"), of("a", "1.10.0", ledger.Fail, "x"), of("a", "1.9.0", ledger.Pass, "x"), of("a", "1.10.0", ledger.Pass, "y"),
		of("a", "1.10.0-rc.1", ledger.Skip, "x"), of("b", "1.9.0", ledger.Fail, "x"),
	)
	var got []string
	for _, e := range l.Latest() {
		got = append(got, fmt.Sprint(e.Name, " ", e.Version, " ", e.Verdict))
	}
	if want := []string{"a 1.10.0 PASS", "a 1.10.0-rc.1 SKIP", "a 1.9.0 PASS", "b 1.9.0 FAIL"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, tt := range []struct {
		version, manifest string
		want              ledger.Verdict
	}{{"1.10.0", "x", ledger.Fail}, {"1.10.0", "y", ledger.Pass}, {"1.10.0", "", ledger.Pass}, {"1.10.0", "z", ""}, {"2.0.0", "", ""}} {
		var manifest artifact.Digest
		if tt.manifest != "" {
			manifest = artifact.Sum([]byte(tt.manifest))
		}
		if e, ok := l.Last("a", tt.version, manifest); ok != (tt.want != "") || e.Verdict != tt.want {
			t.Errorf("%+v: %v %v", tt, e.Verdict, ok)
		}
	}
}

func TestWhole(t *testing.T) {
	l := build(t, entry(0), entry(1))
	text, next := string(l.Encode()), strings.TrimSuffix(lines(build(t, entry(2)))[0], "\n")
	for _, tt := range []struct {
		name, torn string
		kept       bool // for Parse to refuse
	}{
		{"nothing", "", false},
		{"a byte", "{", false},
		{"half an entry", next[:len(next)/2], false},
		{"all but the newline", next, false},
		{"room that was not written", strings.Repeat("\x00", 700), false},
		{"a part that was not written", next[:100] + strings.Repeat("\x00", 600), false},
		{"something else", "# notes", true},
		{"another format", `{"schema":"slipway.release/v1","name`, true},
		{"too much", next + strings.Repeat(" ", 20_000), true},
	} {
		want := text
		if tt.kept {
			want += tt.torn
		}
		if got := string(ledger.Whole([]byte(text + tt.torn))); got != want {
			t.Errorf("%s: %q", tt.name, got[len(text):])
		}
	}
}

func FuzzParse(f *testing.F) {
	good := build(f, entry(0), failed(1, "x <&> \\ \" ü"), entry(2)).Encode()
	for _, b := range [][]byte{
		nil, good, good[:len(good)-1], good[1:], []byte("\n"), []byte("{}\n"), []byte("null\n"), bytes.ToUpper(good),
		bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), bytes.ReplaceAll(good, []byte("host"), []byte("\xff")),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := ledger.Whole(b)
		if !bytes.HasPrefix(b, whole) {
			t.Fatal("Whole adds something")
		}
		l, err := ledger.Parse(b)
		if err != nil {
			if code := fault.CodeOf(err); code != fault.Mismatch && code != fault.Usage || len(l.Entries) > 0 {
				t.Fatalf("%v with %d entries", err, len(l.Entries))
			}
			return
		}
		if !bytes.Equal(l.Encode(), b) || !bytes.Equal(whole, b) || l.Head().Count != bytes.Count(b, []byte("\n")) {
			t.Fatal("what is read is not what is written")
		}
		// The same entries, written anew, are the same bytes.
		var again ledger.Ledger
		for _, e := range l.Entries {
			if again, err = again.Append(e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.Encode(), b) || again.Head() != l.Head() {
			t.Fatalf("written anew it is\n%q, not\n%q", again.Encode(), b)
		}
		l.Latest()
	})
}
