package version_test

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

func parse(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func parseAll(t testing.TB, list string) []version.Version {
	t.Helper()
	var out []version.Version
	for _, s := range strings.Fields(list) {
		out = append(out, parse(t, s))
	}
	return out
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"1.2.3", "1.2.3"},
		{"v1.2.3", "1.2.3"},
		{"0.0.0", "0.0.0"},
		{"1.2.3-rc.1", "1.2.3-rc.1"},
		{"v1.2.3-rc.1+build.007", "1.2.3-rc.1+build.007"},
		{"1.2.3+meta", "1.2.3+meta"},
		{"1.2.3--", "1.2.3--"},
		{"1.2.3-0a", "1.2.3-0a"},
		{"9223372036854775807.0.0", "9223372036854775807.0.0"},
		{"1.0.0-" + strings.Repeat("a", 122), "1.0.0-" + strings.Repeat("a", 122)},
	} {
		v, err := version.Parse(tt.in)
		if err != nil || v.String() != tt.want || v.IsZero() {
			t.Errorf("Parse(%q) = %q, %v", tt.in, v, err)
		}
	}
	for _, in := range []string{
		"", "v", "1", "1.2", "1.2.3.4", "vv1.2.3", "V1.2.3", " 1.2.3", "1.2.3 ", "1.2.3\n", "01.2.3", "1.02.3", "1.2.03",
		"1.2.3-", "1.2.3+", "1.2.3-01", "1.2.3-rc..1", "1.2.3-rc_1", "1.2.3+a+b", "-1.2.3", "+1.2.3", "1.-2.3", "1..3", "1.2.x",
		"1.2.3-ü", "١.٢.٣", "9223372036854775808.0.0", "1.0.0-rc.9223372036854775808", "1.0.0-rc.99999999999999999999",
		"1.0.0-" + strings.Repeat("a", 123), "refs/tags/v1.2.3",
	} {
		v, err := version.Parse(in)
		if err == nil {
			t.Errorf("Parse(%q) = %q, want an error", in, v)
		} else if len(in) < 40 && !strings.Contains(err.Error(), strings.Trim(strings.ToValidUTF8(in, ""), " \n")) {
			t.Errorf("Parse(%q): error does not name it: %v", in, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("Parse(%.10q...): error of %d bytes", in, len(err.Error()))
		}
	}
}

func TestParts(t *testing.T) {
	v := parse(t, "v1.2.3-rc.4+b.5")
	if v.Major() != 1 || v.Minor() != 2 || v.Patch() != 3 || v.Prerelease() != "rc.4" || v.Metadata() != "b.5" {
		t.Errorf("parts of %s: %d %d %d %q %q", v, v.Major(), v.Minor(), v.Patch(), v.Prerelease(), v.Metadata())
	}
	if got, want := v.OCITag(), "1.2.3-rc.4_b.5"; got != want {
		t.Errorf("OCITag = %q, want %q", got, want)
	}
	if !v.IsPrerelease() || v.IsSnapshot() || v.IsStable() {
		t.Errorf("%s is not seen as a candidate", v)
	}
	if v != parse(t, "1.2.3-rc.4+b.5") {
		t.Error("a leading v makes versions differ")
	}
	var zero version.Version
	if !zero.IsZero() || zero.String() != "" || zero.IsStable() || zero.IsPrerelease() {
		t.Errorf("zero value: %q", zero)
	}
	if parse(t, "0.0.0").IsZero() {
		t.Error("0.0.0 is taken for the zero value")
	}
}

// The order of https://semver.org/spec/v2.0.0.html#spec-item-11, with metadata as the last tie-break.
const ordered = `0.0.0 0.0.1-rc.1 0.0.1 0.9.9 1.0.0-0 1.0.0-2 1.0.0-11 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta
	1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0-rc.1+a 1.0.0-rc.2 1.0.0-rc.10 1.0.0-rc.9223372036854775807 1.0.0-snapshot.3.gabc
	1.0.0 1.0.0+a 1.0.0+b 1.0.1 1.2.0 1.10.0 2.0.0`

func TestCompare(t *testing.T) {
	vs := append([]version.Version{{}}, parseAll(t, ordered)...)
	for i, a := range vs {
		for j, b := range vs {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%q.Compare(%q) = %d, want %d", a, b, got, want)
			}
		}
	}
	shuffled := slices.Clone(vs)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(vs), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if top, ok := version.Highest(shuffled); !ok || top != vs[len(vs)-1] {
		t.Errorf("Highest = %q, %t", top, ok)
	}
	slices.SortFunc(shuffled, version.Version.Compare)
	if !slices.Equal(shuffled, vs) {
		t.Errorf("sorted: %v", shuffled)
	}
	if top, ok := version.Highest(nil); ok || !top.IsZero() {
		t.Errorf("Highest(nil) = %q, %t", top, ok)
	}
}

func TestText(t *testing.T) {
	type doc struct {
		V version.Version `json:"v"`
		O version.Version `json:"o,omitzero"`
	}
	b, err := json.Marshal(doc{V: parse(t, "v1.2.3")})
	if err != nil || string(b) != `{"v":"1.2.3"}` {
		t.Errorf("Marshal = %s, %v", b, err)
	}
	var d doc
	if err := json.Unmarshal([]byte(`{"v":"v1.2.3","o":"2.0.0-rc.1"}`), &d); err != nil {
		t.Fatal(err)
	}
	if d.V != parse(t, "1.2.3") || d.O != parse(t, "2.0.0-rc.1") {
		t.Errorf("Unmarshal = %v", d)
	}
	for _, bad := range []string{`{"v":""}`, `{"v":"1.2"}`} {
		if err := json.Unmarshal([]byte(bad), &doc{}); err == nil {
			t.Errorf("Unmarshal(%s) is accepted", bad)
		}
	}
	if _, err := json.Marshal(doc{}); err == nil {
		t.Error("the zero value marshals")
	}
}

func TestSnapshot(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, tt := range []struct{ name, last, commit, want string }{
		{"no tag", "", commit, "0.0.1-snapshot.7.g0123456789ab"},
		{"after stable", "1.2.3", commit, "1.2.4-snapshot.7.g0123456789ab"},
		{"metadata is dropped", "1.2.3+meta", commit, "1.2.4-snapshot.7.g0123456789ab"},
		{"after a candidate", "1.3.0-rc.1", commit, "1.3.0-snapshot.7.g0123456789ab"},
		{"after a prerelease that sorts above", "1.3.0-zeta.1", commit, "1.3.1-snapshot.7.g0123456789ab"},
		{"after an earlier snapshot", "1.3.0-snapshot.2.gffff", commit, "1.3.0-snapshot.7.g0123456789ab"},
		{"after a later snapshot", "1.3.0-snapshot.9.gffff", commit, "1.3.1-snapshot.7.g0123456789ab"},
		{"digits only", "1.2.3", "000000000000" + commit, "1.2.4-snapshot.7.g000000000000"},
		{"short commit", "1.2.3", "abc", "1.2.4-snapshot.7.gabc"},
		{"no commit", "1.2.3", "", ""},
		{"no object name", "1.2.3", "HEAD", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var last version.Version
			if tt.last != "" {
				last = parse(t, tt.last)
			}
			got := version.Snapshot(last, 7, tt.commit)
			if got.String() != tt.want {
				t.Errorf("Snapshot = %q, want %q", got, tt.want)
			}
			if tt.want != "" && (!got.IsSnapshot() || got.Compare(last) <= 0) {
				t.Errorf("%s is no snapshot above %s", got, last)
			}
		})
	}
}

func TestFloating(t *testing.T) {
	for _, tt := range []struct {
		v         string
		isDefault bool
		want      string
	}{
		{"1.2.3", true, "latest-alpine latest 1 1.2"},
		{"1.2.3+meta", true, "latest-alpine latest 1 1.2"},
		{"1.2.3", false, "latest-alpine"},
		{"1.2.3-rc.1", true, ""},
		{"1.2.4-snapshot.1.gabc", false, ""},
	} {
		if got := strings.Join(version.Floating(parse(t, tt.v), "alpine", tt.isDefault), " "); got != tt.want {
			t.Errorf("Floating(%s, %t) = %q, want %q", tt.v, tt.isDefault, got, tt.want)
		}
	}
	if got := version.Floating(version.Version{}, "alpine", true); got != nil {
		t.Errorf("Floating of the zero value = %v", got)
	}
}

func TestHolder(t *testing.T) {
	for _, tt := range []struct{ name, v, released, want string }{
		{"first", "1.2.3", "", "latest-alpine latest 1 1.2"},
		{"itself among the released", "1.2.3", "1.2.3 1.2.2", "latest-alpine latest 1 1.2"},
		{"backport to the newest minor of an old major", "1.2.9", "1.2.8 2.0.0", "1 1.2"},
		{"backport to an old minor", "1.2.9", "1.2.8 1.3.0 2.0.0", "1.2"},
		{"older than its minor", "1.2.8", "1.2.9 2.0.0", ""},
		{"candidates of others do not count", "1.2.3", "1.3.0-rc.1 2.0.0-rc.1", "latest-alpine latest 1 1.2"},
		{"candidate", "2.0.0-rc.1", "1.0.0", ""},
		{"metadata breaks the tie", "1.2.3+a", "1.2.3+b", ""},
		{"metadata wins the tie", "1.2.3+b", "1.2.3+a 1.2.3", "latest-alpine latest 1 1.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := parse(t, tt.v)
			var got []string
			for _, name := range version.Floating(v, "alpine", true) {
				if version.Holder(name, v, parseAll(t, tt.released), "alpine", true) == v {
					got = append(got, name)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("it holds %q, want %q", got, tt.want)
			}
		})
	}
	released := parseAll(t, "1.2.8 1.3.0 1.4.0-rc.1 2.0.0 2.1.0-rc.1")
	for name, want := range map[string]string{"latest": "2.0.0", "latest-alpine": "2.0.0", "1": "1.3.0", "1.2": "1.2.9"} {
		if got := version.Holder(name, parse(t, "1.2.9"), released, "alpine", true); got.String() != want {
			t.Errorf("%s stands for %s, want %s", name, got, want)
		}
	}
}

// grammar is that of SemVer 2.0.0 (https://semver.org/spec/v2.0.0.html#backusnaur-form-grammar-for-valid-semver-versions).
var grammar = func() *regexp.Regexp {
	const (
		number = `(?:0|[1-9][0-9]*)`
		pre    = `(?:` + number + `|[0-9]*[A-Za-z-][0-9A-Za-z-]*)`
		build  = `[0-9A-Za-z-]+`
	)
	return regexp.MustCompile(`\Av?` + number + `\.` + number + `\.` + number +
		`(?:-` + pre + `(?:\.` + pre + `)*)?(?:\+` + build + `(?:\.` + build + `)*)?\z`)
}()

func FuzzParse(f *testing.F) {
	for s := range strings.FieldsSeq(ordered + " v1 1.2 01.2.3 1.2.3-01 1.2.3+ 9223372036854775808.0.0 1.0.0-99999999999999999999") {
		f.Add(s)
	}
	tooBig := regexp.MustCompile(`[0-9]{19}`)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := version.Parse(s)
		if err != nil {
			if grammar.MatchString(s) && len(s) <= version.MaxLen && !tooBig.MatchString(s) {
				t.Fatalf("Parse(%q): %v", s, err)
			}
			return
		}
		if !grammar.MatchString(s) || len(s) > version.MaxLen {
			t.Fatalf("Parse accepts %q", s)
		}
		if again, err := version.Parse(v.String()); err != nil || again != v || v.String() != strings.TrimPrefix(s, "v") {
			t.Fatalf("%q reads back as %q, %v", s, again, err)
		}
		if snap := version.Snapshot(v, 3, "abcdef"); len(snap.String()) > 0 && snap.Compare(v) <= 0 {
			t.Fatalf("snapshot %s is not above %s", snap, v)
		}
		next := version.Next([]version.Version{v}, nil, version.NextOptions{}).Candidate
		if !v.IsSnapshot() && !next.IsZero() && next.Compare(v) <= 0 {
			t.Fatalf("candidate %s is not above %s", next, v)
		}
	})
}
