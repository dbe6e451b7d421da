package lifecycle_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ver(s string) version.Version { return must(version.Parse(s)) }

func day(s string) lifecycle.Date { return must(lifecycle.ParseDate(s)) }

func within(s string) lifecycle.Range {
	if s == "" {
		return lifecycle.Range{}
	}
	return lifecycle.Range{Range: must(platform.ParseRange(s))}
}

func release(v, date, until, from string, to ...string) lifecycle.Release {
	r := lifecycle.Release{Version: ver(v), Manifest: artifact.Sum([]byte(v)), Date: day(date), Until: day(until), From: within(from)}
	for _, s := range to {
		r.To = append(r.To, ver(s))
	}
	return r
}

// edge is a platform of two years.
func edge() lifecycle.Lifecycle {
	return lifecycle.Lifecycle{
		Name: "edge", Serial: 1, AsOf: day("2026-06-01"),
		Releases: []lifecycle.Release{
			release("2.0.0", "2025-01-10", "2025-10-10", ""),
			release("2.0.1", "2025-03-01", "2025-10-10", ">=2.0.0"),
			release("2.1.0", "2025-06-01", "2026-09-01", ">=2.0.0"),
			release("2.1.4", "2026-03-03", "2026-09-01", ">=2.0.0 <2.2.0", "2.2.1"),
			release("2.2.0", "2026-01-15", "2026-10-15", ">=2.1.0"),
			release("2.2.1", "2026-03-03", "2026-10-15", ">=2.1.0 <2.1.2"),
		},
		Risks: []lifecycle.Risk{{Name: "MulticastSkew", From: within(">=2.1.0 <2.1.1"), To: within(">=2.2.0 <2.2.1"), Message: "Gateways lose their peers.", Since: day("2026-02-01")}},
		Advisories: []lifecycle.Advisory{{
			ID: "EDGE-2026-003", Vulnerabilities: []string{"CVE-2026-12345"}, Affected: within(">=2.1.0 <2.2.1"), Fixed: []version.Version{ver("2.1.4"), ver("2.2.1")},
			Published: day("2026-03-03"), Due: day("2026-03-17"),
		}},
	}
}

func TestFile(t *testing.T) {
	b, err := edge().Encode()
	if err != nil {
		t.Fatal(err)
	}
	again := must(lifecycle.Decode(b))
	if b2 := must(again.Encode()); string(b2) != string(b) {
		t.Errorf("%s\nis written as\n%s", b, b2)
	}
	for _, tt := range []struct {
		want string
		edit func(l *lifecycle.Lifecycle)
	}{
		{"not the name", func(l *lifecycle.Lifecycle) { l.Name = "" }},
		{"the first one", func(l *lifecycle.Lifecycle) { l.Serial = 2 }},
		{"the first one", func(l *lifecycle.Lifecycle) { l.Prev = artifact.Sum(nil) }},
		{"which day", func(l *lifecycle.Lifecycle) { l.AsOf = lifecycle.Date{} }},
		{"stands behind", func(l *lifecycle.Lifecycle) { slices.Reverse(l.Releases) }},
		{"not a full version", func(l *lifecycle.Lifecycle) { l.Releases[4].Version = ver("2.2.0-rc.1") }},
		{"supported until", func(l *lifecycle.Lifecycle) { l.Releases[0].Until = day("2024-01-01") }},
		{"not a later release", func(l *lifecycle.Lifecycle) { l.Releases[3].To = []version.Version{ver("2.1.0")} }},
		{"which is no release", func(l *lifecycle.Lifecycle) { l.Releases[3].To = []version.Version{ver("2.3.0")} }},
		{"one line", func(l *lifecycle.Lifecycle) { l.Releases[3].Withdrawn = "a\nb" }},
		{"such as MulticastSkew", func(l *lifecycle.Lifecycle) { l.Risks[0].Name = "skew" }},
		{"nothing to people", func(l *lifecycle.Lifecycle) { l.Risks[0].Message = "" }},
		{"not a URL", func(l *lifecycle.Lifecycle) { l.Risks[0].URL = "javascript:alert(1)" }},
		{"no range", func(l *lifecycle.Lifecycle) { l.Risks[0].To = within("") }},
		{"due on", func(l *lifecycle.Lifecycle) { l.Advisories[0].Due = day("2026-03-02") }},
		{"stands behind", func(l *lifecycle.Lifecycle) { slices.Reverse(l.Advisories[0].Fixed) }},
		{"give it another id", func(l *lifecycle.Lifecycle) { l.Advisories[0].ID = "MulticastSkew" }},
		{"give it another id", func(l *lifecycle.Lifecycle) { l.Advisories[0].ID = "withdrawn" }},
		{"at most 100 may be named", func(l *lifecycle.Lifecycle) { l.Advisories[0].Fixed = make([]version.Version, 101) }},
		{"the id of a vulnerability", func(l *lifecycle.Lifecycle) { l.Advisories[0].Vulnerabilities[0] = "\x1b[2J" }},
	} {
		l := edge()
		tt.edit(&l)
		if _, err := l.Encode(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

func TestMonths(t *testing.T) {
	for _, tt := range []struct {
		from, want string
		months     int
	}{
		{"2026-03-03", "2026-12-03", 9},
		{"2026-01-31", "2026-02-28", 1},
		{"2024-01-31", "2024-02-29", 1},
		{"2024-02-29", "2025-02-28", 12},
		{"9999-12-30", "9999-12-31", 600}, // later there is no day that can be written
		{"2026-08-31", "2027-06-30", 10},
		{"2026-12-15", "2027-01-15", 1},
	} {
		if got := day(tt.from).AddMonths(tt.months).String(); got != tt.want {
			t.Errorf("%s and %d months: %s, want %s", tt.from, tt.months, got, tt.want)
		}
	}
}

func TestEdges(t *testing.T) {
	l := edge()
	var got []string
	for e := range l.Edges() {
		line := fmt.Sprintf("%s-%s", l.Releases[e.From].Version, l.Releases[e.To].Version)
		if e.Why != "" {
			line += " " + e.Why
		}
		got = append(got, line)
	}
	want := []string{
		"2.0.0-2.0.1", "2.0.0-2.1.0 EDGE-2026-003", "2.0.0-2.1.4", "2.0.1-2.1.0 EDGE-2026-003", "2.0.1-2.1.4",
		"2.1.0-2.1.4", "2.1.0-2.2.0 MulticastSkew", "2.1.0-2.2.1", "2.1.4-2.2.0 EDGE-2026-003", "2.1.4-2.2.1", "2.2.0-2.2.1 no",
	}
	want = want[:len(want)-1] // 2.2.1 takes none from 2.2.0
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	ends := l.Check(day("2026-06-01"))
	if len(ends) != 1 || ends[0].String() != "2.2.0: no later release takes an upgrade from it" {
		t.Errorf("%v", ends)
	}
	l.Releases[5].From = within(">=2.1.0")
	if ends := l.Check(day("2026-06-01")); len(ends) > 0 {
		t.Errorf("%v", ends)
	}
	// Both lines have ended in a year, so that wherever one ends it is nowhere.
	if ends := l.Check(day("2027-06-01")); len(ends) != 1 || ends[0].Version != ver("2.2.1") {
		t.Errorf("%v", ends)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"2.0.0", "", "2.1.4 2.2.1"},
		{"2.1.0", "", "2.2.1"},
		{"2.2.1", "", ""},
		{"2.0.0", "2.0.1", "2.0.1"},
		{"2.2.1", "2.0.0", "from 2.2.1 no upgrade leads to 2.0.0"},
		{"2.0.0", "2.2.0", "from 2.0.0 no upgrade leads to 2.2.0"},
		{"1.0.0", "", "1.0.0 is no release of edge"},
	} {
		var to version.Version
		if tt.to != "" {
			to = ver(tt.to)
		}
		path, err := l.Path(ver(tt.from), to, day("2026-06-01"))
		got := strings.Trim(fmt.Sprint(path), "[]")
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("from %s to %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestStanding(t *testing.T) {
	l := edge()
	l.Releases[4].Withdrawn = "it loses its peers"
	for _, tt := range []struct {
		version, at, want string
		fresh             int
	}{
		{"2.1.0", "2026-03-17", "due", 0},
		{"2.1.0", "2026-03-18", "overdue", 0},
		{"2.1.0", "2026-09-02", "ended", 0},
		{"2.1.4", "2026-09-01", "current", 0},
		{"2.1.4", "2026-06-15", "current", 14},
		{"2.1.4", "2026-06-16", "unknown", 14},
		{"2.1.0", "2026-06-16", "overdue", 14},
		{"2.0.1", "2025-10-10", "current", 0},
		{"2.0.1", "2025-10-11", "ended", 0},
	} {
		s, err := l.Of(ver(tt.version), day(tt.at), tt.fresh)
		if err != nil || s.State.String() != tt.want {
			t.Errorf("%s on %s: %s, %v, want %s", tt.version, tt.at, s.State, err, tt.want)
		}
	}
	s := must(l.Of(ver("2.1.0"), day("2026-03-18"), 0))
	if s.Newest != "2.1.4" || s.Due.String() != "2026-03-17" || !slices.Equal(s.Advisories, []string{"EDGE-2026-003"}) || s.Until != day("2026-09-01") {
		t.Errorf("%+v", s)
	}
	if _, err := l.Of(ver("9.9.9"), day("2026-03-18"), 0); err == nil {
		t.Error("9.9.9 is a release")
	}
	var lines []string
	for _, s := range l.Lines(day("2026-06-01"), 0) {
		lines = append(lines, s.Version.String()+" "+s.State.String())
	}
	if want := []string{"2.2.1 current", "2.1.4 current", "2.0.1 ended"}; !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}

// random is a lifecycle of a few releases, with whatever they may have.
func random(r *rand.Rand) lifecycle.Lifecycle {
	l := lifecycle.Lifecycle{Name: "edge", Serial: 1, AsOf: day("2026-01-01")}
	for minor := range 1 + r.IntN(3) {
		for patch := range 1 + r.IntN(3) {
			rel := release(fmt.Sprintf("1.%d.%d", minor, patch), "2025-01-01", "2026-01-01", "")
			rel.Until = day("2026-01-01").AddDays(r.IntN(100) - 50)
			if r.IntN(2) == 0 {
				rel.From = within(fmt.Sprintf(">=1.%d.%d", r.IntN(minor+1), r.IntN(3)))
			}
			if r.IntN(6) == 0 {
				rel.Withdrawn = "a reason"
			}
			l.Releases = append(l.Releases, rel)
		}
	}
	for i := range l.Releases {
		if r.IntN(4) == 0 && i+1 < len(l.Releases) {
			l.Releases[i].To = []version.Version{l.Releases[i+1+r.IntN(len(l.Releases)-i-1)].Version}
		}
	}
	pick := func() string { return l.Releases[r.IntN(len(l.Releases))].Version.String() }
	for i := range r.IntN(3) {
		l.Risks = append(l.Risks, lifecycle.Risk{Name: fmt.Sprint("Risk", i), From: within("<=" + pick()), To: within(">=" + pick()), Message: "x", Since: day("2026-01-01")})
	}
	for i := range r.IntN(3) {
		a := lifecycle.Advisory{ID: fmt.Sprint("A-0", i), Affected: within("<=" + pick()), Published: day("2026-01-01"), Due: day("2026-01-01").AddDays(r.IntN(50))}
		if r.IntN(2) == 0 {
			a.Fixed = []version.Version{ver(pick())}
		}
		l.Advisories = append(l.Advisories, a)
	}
	return l
}

// TestWalks holds the check to what it promises: without dead ends every walk, whichever upgrades are taken, ends in the newest release of
// a line that is supported, and no walk gives anybody a vulnerability. A dead end is one that some walk ends in.
func TestWalks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	good, bad := 0, 0
	for range 1000 {
		l := random(r)
		b, err := l.Encode()
		if err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		if again, err := lifecycle.Decode(b); err != nil || string(must(again.Encode())) != string(b) {
			t.Fatalf("%s is read as %+v, %v", b, again, err)
		}
		at := day("2026-01-01")
		// The model knows lines and edges by the words of the rule alone.
		opens := func(i int) map[string]bool {
			all := map[string]bool{}
			for _, a := range l.Advisories {
				if a.Open(l.Releases[i].Version) {
					all[a.ID] = true
				}
			}
			return all
		}
		may := func(i, j int) bool {
			a, b := l.Releases[i], l.Releases[j]
			if j <= i || b.Withdrawn != "" || !b.From.Has(a.Version) && !slices.Contains(a.To, b.Version) {
				return false
			}
			for _, risk := range l.Risks {
				if risk.From.Has(a.Version) && risk.To.Has(b.Version) {
					return false
				}
			}
			for id := range opens(j) {
				if !opens(i)[id] {
					return false
				}
			}
			return true
		}
		supported := func(i int) bool {
			for j := i + 1; j < len(l.Releases); j++ {
				if lifecycle.Line(l.Releases[j].Version) == lifecycle.Line(l.Releases[i].Version) && l.Releases[j].Withdrawn == "" && l.Releases[j].Until.Compare(at) >= 0 {
					return false
				}
			}
			return l.Releases[i].Withdrawn == "" && l.Releases[i].Until.Compare(at) >= 0
		}
		ends := map[int]bool{}
		var walk func(i int)
		walk = func(i int) {
			on := false
			for j := range l.Releases {
				if may(i, j) {
					on = true
					walk(j)
				}
			}
			if !on && !supported(i) {
				ends[i] = true
			}
		}
		for i := range l.Releases {
			walk(i)
		}
		var want, got []string
		for i := range l.Releases {
			if ends[i] {
				want = append(want, l.Releases[i].Version.String())
			}
		}
		for _, d := range l.Check(at) {
			got = append(got, d.Version.String())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("dead ends %q, and by walking %q of %+v", got, want, l)
		}
		if len(want) == 0 {
			good++
			for i := range l.Releases { // then there is a way for everybody
				if _, err := l.Path(l.Releases[i].Version, version.Version{}, at); err != nil {
					t.Fatalf("%v of %+v", err, l)
				}
			}
		} else {
			bad++
		}
		for e := range l.Edges() {
			if (e.Why == "") != may(e.From, e.To) {
				t.Fatalf("%+v of %+v", e, l)
			}
		}
		// Time alone makes no release stand better.
		for _, rel := range l.Releases {
			last := lifecycle.Current
			for d := range 12 {
				s := must(l.Of(rel.Version, at.AddDays(5*d), 14))
				if s.State < last {
					t.Fatalf("%s is %s after %s", rel.Version, s.State, last)
				}
				last = s.State
			}
		}
	}
	if good < 50 || bad < 50 {
		t.Errorf("%d without dead ends and %d with: this tests one side alone", good, bad)
	}
}

const platformFile = `version: 1
name: edge
support: {minor: 9, major: 24, extended: {"2.1": "2026-12-31"}}
withdrawn: {2.2.0: it loses its peers}
components: {gateway: {repository: r, releases: r, key: k}}
`

func TestNext(t *testing.T) {
	p := must(platform.Parse("platform.yaml", []byte(platformFile)))
	var releases []lifecycle.Release
	for _, r := range slices.Backward(edge().Releases) {
		r.Until = lifecycle.Date{}
		releases = append(releases, r)
	}
	f := lifecycle.Facts{Platform: p, AsOf: day("2026-06-01"), Releases: releases, Risks: edge().Risks, Advisories: edge().Advisories}
	first, news, err := lifecycle.Next(nil, "", f)
	if err != nil || !news || first.Serial != 1 {
		t.Fatalf("%+v, %t, %v", first, news, err)
	}
	var got []string
	for _, r := range first.Releases {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Version, r.Until, r.Withdrawn)))
	}
	want := []string{"2.0.0 2025-10-10", "2.0.1 2025-10-10", "2.1.0 2026-12-31", "2.1.4 2026-12-31", "2.2.0 2026-10-15 it loses its peers", "2.2.1 2026-10-15"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	digest := artifact.Sum(must(first.Encode()))

	// What a release names besides releases, or twice, or in another order, stands in its platform.json for ever.
	named := f
	named.Releases = slices.Clone(f.Releases)
	i := slices.IndexFunc(named.Releases, func(r lifecycle.Release) bool { return r.Version == ver("2.1.4") })
	named.Releases[i].To = []version.Version{ver("2.2.1"), ver("2.2.0"), ver("9.9.9"), ver("2.2.1"), ver("2.0.0")}
	l, _, err := lifecycle.Next(nil, "", named)
	if r, _ := l.Release(ver("2.1.4")); err != nil || !slices.Equal(r.To, []version.Version{ver("2.2.0"), ver("2.2.1")}) {
		t.Errorf("%v, %v", r.To, err)
	}

	if same, news, err := lifecycle.Next(&first, digest, f); err != nil || news || same.Serial != 1 {
		t.Errorf("nothing is new: %+v, %t, %v", same, news, err)
	}
	f.AsOf = day("2026-06-02")
	if later, news, err := lifecycle.Next(&first, digest, f); err != nil || news || later.AsOf != f.AsOf || later.Serial != 2 || later.Prev != digest {
		t.Errorf("nothing is new on a later day: %+v, %t, %v", later, news, err)
	}
	f.Releases = append(f.Releases, release("2.3.0", "2026-06-02", "2026-06-02", ">=2.2.0"))
	second, news, err := lifecycle.Next(&first, digest, f)
	if err != nil || !news || second.Serial != 2 || second.Prev != digest {
		t.Errorf("%+v, %t, %v", second, news, err)
	}
	for _, tt := range []struct {
		what, want string
		code       fault.Code
		edit       func(f *lifecycle.Facts)
	}{
		{"gone", "release 2.2.1 is gone", fault.Mismatch, func(f *lifecycle.Facts) { f.Releases = f.Releases[1:] }},
		{"another", "release 2.2.1 was ", fault.Mismatch, func(f *lifecycle.Facts) { f.Releases[0].Manifest = artifact.Sum(nil) }},
		{"earlier", "take a later one", fault.Git, func(f *lifecycle.Facts) { f.AsOf = day("2026-05-31") }},
		{"shorter", "a promise is not taken back; extend line 2.1", fault.Policy, func(f *lifecycle.Facts) { f.Platform.Support.Extended = nil }},
		{"another platform", "that of edge, and this is core", fault.Usage, func(f *lifecycle.Facts) { f.Platform.Name = "core" }},
		{"withdrawn", "9.9.9 is withdrawn, and is no release", fault.Usage, func(f *lifecycle.Facts) { f.Platform.Withdrawn = map[string]string{"9.9.9": "x"} }},
		{"two of one version", "stands behind", fault.Usage, func(f *lifecycle.Facts) { f.Releases = append(f.Releases, f.Releases[0]) }},
	} {
		g := f
		g.Releases = slices.Clone(f.Releases)
		tt.edit(&g)
		if _, _, err := lifecycle.Next(&first, digest, g); err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %d, %v, want %d, %q", tt.what, fault.CodeOf(err), err, tt.code, tt.want)
		}
	}
}

func TestFacts(t *testing.T) {
	const risk = "version: 1\nname: MulticastSkew\nfrom: \">=2.1.0 <2.2.0\"\nto: \">=2.2.2 <2.2.3\"\nmessage: Gateways lose their peers until all nodes run 2.2.\nurl: https://acme.example/risks/MulticastSkew\nsince: 2026-05-04\n"
	const advisory = "version: 1\nid: EDGE-2026-003\nvulnerabilities: [CVE-2026-12345]\naffected: \">=2.0.0 <2.1.4\"\nfixed: [2.1.4, 2.0.2]\npublished: 2026-03-03\ndue: 2026-03-17\n"
	r, err := lifecycle.ParseRisk("risks/MulticastSkew.yaml", []byte(risk))
	if err != nil || r.From.String() != ">=2.1.0 <2.2.0" || r.Since != day("2026-05-04") {
		t.Errorf("%+v, %v", r, err)
	}
	a, err := lifecycle.ParseAdvisory("advisories/a.yaml", []byte(advisory))
	if err != nil || fmt.Sprint(a.Fixed) != "[2.0.2 2.1.4]" || a.Due != day("2026-03-17") {
		t.Errorf("%+v, %v", a, err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"MulticastSkew\n", "skew\n", "risks/x.yaml:1:1: its name is not one such as MulticastSkew"},
		{"since: 2026-05-04", "since: 0001-01-01", "risks/x.yaml:7:8: since: \"0001-01-01\" is not a day"},
		{"since: 2026-05-04", "since: yesterday", "risks/x.yaml:7:8: since: \"yesterday\" is not a day"},
		{"to: \">=2.2.2 <2.2.3\"\n", "", "to is missing"},
		{"https://acme", "ftp://acme", "is not a URL"},
		{"url:", "uri:", "unknown key \"uri\""},
	} {
		if _, err := lifecycle.ParseRisk("risks/x.yaml", []byte(strings.Replace(risk, tt.old, tt.new, 1))); err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v, want %q", tt.new, err, tt.want)
		}
	}
	for _, tt := range []struct{ old, new, want string }{
		{"due: 2026-03-17", "due: 2026-03-02", "it is of 2026-03-03 and due on 2026-03-02"},
		{"2.1.4, 2.0.2", "2.1", "is not SemVer"},
		{"2.1.4, 2.0.2", "2.1.4, 2.1.4", "stands behind"},
		{"EDGE-2026-003", "../x", "its id is not one"},
	} {
		if _, err := lifecycle.ParseAdvisory("advisories/x.yaml", []byte(strings.Replace(advisory, tt.old, tt.new, 1))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.new, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(must(edge().Encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := lifecycle.Decode(b)
		if err != nil {
			return
		}
		if l.Minor == 0 && len(l.Requires) == 0 {
			if again, err := l.Encode(); err != nil || string(again) != string(b) {
				t.Errorf("%q is written as %q, %v", b, again, err)
			}
		}
		if len(l.Releases) < 100 {
			l.Check(l.AsOf)
			l.Lines(l.AsOf, 14)
		}
	})
}

// TestGraph holds the graph to the edges, as clients of Cincinnati find what they may go to.
func TestGraph(t *testing.T) {
	l := edge()
	l.Releases[1].Withdrawn = "it was built wrongly"
	for channel, want := range map[string][]string{
		"stable":     {"2.0.0: 2.1.4", "2.0.1: 2.1.4", "2.1.0: 2.1.4 2.2.1", "2.1.4: 2.2.1", "2.2.0:", "2.2.1:"},
		"stable-2.1": {"2.0.0: 2.1.4", "2.0.1: 2.1.4", "2.1.0: 2.1.4", "2.1.4:"},
		"stable-2.0": {"2.0.0:", "2.0.1:"},
		"stable-3.0": nil,
	} {
		g, err := l.Graph(channel)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, n := range g.Nodes {
			line := n.Version + ":"
			for _, e := range g.Edges {
				if e[0] == i {
					line += " " + g.Nodes[e[1]].Version
				}
			}
			got = append(got, line)
			if n.Payload != string(artifact.Sum([]byte(n.Version))) {
				t.Errorf("%s has the payload %s", n.Version, n.Payload)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", channel, got, want)
		}
		// Risks are of upgrades between nodes that are there.
		risks := 0
		for _, c := range g.ConditionalEdges {
			risks += len(c.Edges)
		}
		if channel == "stable" && (risks != 1 || g.ConditionalEdges[0].Risks[0].Name != "MulticastSkew" || g.ConditionalEdges[0].Risks[0].MatchingRules[0]["type"] != "Always") ||
			channel != "stable" && risks != 0 {
			t.Errorf("%s: %+v", channel, g.ConditionalEdges)
		}
	}
	g, _ := l.Graph("stable")
	if g.Nodes[1].Metadata["withdrawn"] != "it was built wrongly" || g.Nodes[2].Metadata["advisories"] != "EDGE-2026-003" || g.Nodes[3].Metadata["until"] != "2026-09-01" {
		t.Errorf("%+v", g.Nodes)
	}
	for _, channel := range []string{"", "fast", "stable-", "stable-2", "stable-2.1.0", "stable-02.1", "stable-2.1 ", "stable-99999999999.0"} {
		if _, err := l.Graph(channel); err == nil {
			t.Errorf("%q is a channel", channel)
		}
	}
}
