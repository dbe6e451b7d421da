package lifecycle_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// many is a lifecycle of so many releases in lines of ten, with risks and advisories.
func many(releases int) lifecycle.Lifecycle {
	l := lifecycle.Lifecycle{Name: "edge", Serial: 1, AsOf: day("2026-06-01")}
	for i := range releases {
		r := release(fmt.Sprintf("1.%d.%d", i/10, i%10), "2026-01-01", "2026-12-31", "")
		if i%3 == 0 {
			r.From = within(fmt.Sprintf(">=1.%d.0", max(0, i/10-3)))
		}
		l.Releases = append(l.Releases, r)
	}
	for i := range 40 {
		l.Risks = append(l.Risks, lifecycle.Risk{Name: fmt.Sprintf("Risk%03d", i), From: within(fmt.Sprintf("<1.%d.0", i+1)), To: within(fmt.Sprintf("=1.%d.0", i+1)), Message: "x", Since: day("2026-01-01")})
		l.Advisories = append(l.Advisories, lifecycle.Advisory{
			ID: fmt.Sprintf("EDGE-%03d", i), Affected: within(fmt.Sprintf("<1.%d.0", i+1)), Fixed: []version.Version{ver(fmt.Sprintf("1.%d.9", i))}, Published: day("2026-01-01"), Due: day("2026-02-01"),
		})
	}
	return l
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{250, 500, 1000} {
		l := many(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Check(l.AsOf)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	l := many(500)
	file := must(l.Encode())
	b.ReportAllocs()
	for b.Loop() {
		must(lifecycle.Decode(file))
	}
}

// Each release of two thousand takes upgrades from all before it: two million, of which none is kept, and few are named.
func TestMany(t *testing.T) {
	l := many(2000)
	for i := range l.Releases {
		l.Releases[i].From, l.Releases[i].Withdrawn = within(""), "it loses its peers"
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ends := l.Check(l.AsOf)
	runtime.ReadMemStats(&after)
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 32 {
		t.Errorf("%d MiB", mib)
	}
	if n := len(ends[0].Why); len(ends) != 2000 || n != 11 || ends[0].Why[10] != "and 1989 more" {
		t.Errorf("%d ends, %q", len(ends), ends[0].Why)
	}
}
