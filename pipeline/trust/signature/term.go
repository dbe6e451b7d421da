package signature

import (
	"cmp"
	"fmt"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Term is the time for which the signatures of a key count. The zero value is all of it.
type Term struct {
	From, Until time.Time // days of the releases that it signs, both included; zero is no bound
	Revoked     time.Time // day on which the key was no longer trusted; zero is never
	Reason      string    // of the revocation
}

// ParseTerm reads days as 2006-01-02, in UTC; "" is none.
func ParseTerm(from, until, revoked, reason string) (Term, error) {
	t := Term{Reason: reason}
	for _, d := range []struct {
		text string
		to   *time.Time
	}{{from, &t.From}, {until, &t.Until}, {revoked, &t.Revoked}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.to, err = time.Parse(time.DateOnly, d.text); err != nil {
			return Term{}, fmt.Errorf("%.40q is not a day such as 2006-01-02", d.text)
		}
	}
	return t, nil
}

// Check says why a signature of the key does not count for a release of the time, zero if that is not known. When a signature was made is not known:
// the time is that of the commit, which is what who signs says it is. So a revoked key counts for nothing, since who has
// stolen it would write a time before.
func (t Term) Check(key artifact.Digest, release time.Time) error {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case !t.Revoked.IsZero():
		return fmt.Errorf("key %s was revoked on %s: %s", key, day(t.Revoked), cmp.Or(t.Reason, "no reason is given"))
	case release.IsZero() && !(t.From.IsZero() && t.Until.IsZero()):
		return fmt.Errorf("key %s counts for some time, and nothing tells of which time this is", key)
	case release.Before(t.From):
		return fmt.Errorf("key %s counts from %s on, and the release is of %s", key, day(t.From), day(release))
	case !t.Until.IsZero() && !release.Before(t.Until.AddDate(0, 0, 1)):
		return fmt.Errorf("key %s counted until %s, and the release is of %s", key, day(t.Until), day(release))
	}
	return nil
}
