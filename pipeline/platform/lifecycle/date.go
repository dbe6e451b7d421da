package lifecycle

import (
	"fmt"
	"time"
)

// Date is a day in UTC. The zero value is none.
type Date struct{ t time.Time }

const layout = "2006-01-02"

// ParseDate reads a day such as 2026-03-17.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(layout, s)
	if err != nil || t.Year() < 1 || t.IsZero() {
		return Date{}, fmt.Errorf("%.40q is not a day such as 2026-03-17", s)
	}
	return Date{t}, nil
}

// DateOf is the day of a time.
func DateOf(t time.Time) Date {
	if t.IsZero() {
		return Date{}
	}
	y, m, d := t.UTC().Date()
	return Date{time.Date(y, m, d, 0, 0, 0, 0, time.UTC)}
}

// IsZero reports whether it is no day.
func (d Date) IsZero() bool { return d.t.IsZero() }

// String is the day as ParseDate reads it, "" for none.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.t.Format(layout)
}

// Compare is the order of two days; none is before all.
func (d Date) Compare(o Date) int { return d.t.Compare(o.t) }

// Before reports whether a day is before another one.
func (d Date) Before(o Date) bool { return d.Compare(o) < 0 }

// Days is how many days there are from a day to a later one.
func (d Date) Days(to Date) int { return int(to.t.Sub(d.t) / (24 * time.Hour)) }

// AddDays is so many days later.
func (d Date) AddDays(n int) Date { return Date{d.t.AddDate(0, 0, n)} }

// AddMonths is so many months later: the same day of that month, or its last one where it has none such, and never behind the last day
// that can be written.
func (d Date) AddMonths(n int) Date {
	y, m, day := d.t.Date()
	last := time.Date(y, m+time.Month(n)+1, 0, 0, 0, 0, 0, time.UTC)
	if last.Year() > 9999 {
		return Date{time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)}
	}
	return Date{time.Date(last.Year(), last.Month(), min(day, last.Day()), 0, 0, 0, 0, time.UTC)}
}

// MarshalText is String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDate.
func (d *Date) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDate(string(b))
	return err
}

// Later is the later one of two days.
func Later(a, b Date) Date {
	if a.Before(b) {
		return b
	}
	return a
}
