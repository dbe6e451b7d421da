package version

import (
	"fmt"
	"strconv"
	"strings"
)

// Bump is a kind of next version.
type Bump int

// The kinds of next version; see Proposal.
const (
	Candidate Bump = iota
	Patch
	Minor
	Major
	Release
)

func (b Bump) String() string {
	return [...]string{"candidate", "patch", "minor", "major", "release"}[b]
}

// Proposal is every version that may come next. A version that is taken already is zero.
type Proposal struct {
	Candidate Version `json:"candidate,omitzero"` // the next release candidate
	Release   Version `json:"release,omitzero"`   // the stable version that Candidate leads to
	Patch     Version `json:"patch,omitzero"`     // counted from the highest stable version, like Minor and Major
	Minor     Version `json:"minor,omitzero"`
	Major     Version `json:"major,omitzero"`
	Suggested Version `json:"suggested,omitzero"` // one of the above; zero where nothing calls for a release
	Reason    string  `json:"reason"`             // one sentence: why Suggested, or why none
}

// Of is the proposal of the given kind.
func (p Proposal) Of(b Bump) Version {
	return [...]Version{Candidate: p.Candidate, Patch: p.Patch, Minor: p.Minor, Major: p.Major, Release: p.Release}[b]
}

// NextOptions says what Next cannot see in versions and messages.
type NextOptions struct {
	// Unchanged: the commit carries the highest version of released already. An open candidate is then ripe for
	// release, not for another candidate.
	Unchanged bool
	// FeatureIsPatch: before 1.0.0 a feature asks for a patch instead of a minor version, as projects do that
	// raise the minor version for breaking changes only.
	FeatureIsPatch bool
	// Taken are all versions of the repository, those outside the commit's history included. None is proposed.
	Taken []Version
}

// Next proposes versions for a commit. released are the versions in the commit's history: on a maintenance branch the
// versions of that branch, not of the whole repository. commits are those since the highest stable version, or all
// of them where there is none.
//
// The largest change decides, by Conventional Commits: breaking is major, feat is minor, anything else is patch, so
// that a project without the convention gets patches. Before 1.0.0 everything moves one place down, as a major version
// zero promises nothing (https://semver.org/spec/v2.0.0.html#spec-item-4): breaking is minor and so is feat, unless
// FeatureIsPatch; 1.0.0 is never suggested. The first version is counted from 0.0.0.
//
// A candidate comes first: 1.3.0-rc.1 before 1.3.0. While a series is open, that is while the highest version is a
// prerelease above the highest stable one, the next candidate is the next of the series (rc.2 after rc.1) and the
// release is what the series announces, unless commits ask for more than the series gives: then a new series begins. The
// commit that carries the highest candidate is promoted as it is. Snapshots open no series.
func Next(released []Version, commits []Commit, o NextOptions) Proposal {
	stable := highestStable(released)
	var series Version
	for _, v := range released {
		if v.IsPrerelease() && !v.IsSnapshot() && v.Compare(stable) > 0 && v.Compare(series) > 0 {
			series = v
		}
	}

	p := Proposal{Patch: raise(stable, Patch), Minor: raise(stable, Minor), Major: raise(stable, Major)}
	bump, cause := asked(commits, stable, o)
	target := p.Of(bump)
	// A commit that is a candidate already can be promoted, whatever the commits before it were called.
	open := !series.IsZero() && (o.Unchanged || series.core().Compare(target) >= 0)
	if open {
		p.Candidate, p.Release = nextCandidate(series), series.core()
	} else if !target.IsZero() { // it is zero after the highest number that a version may have
		p.Candidate, p.Release = of(target.Major(), target.Minor(), target.Patch(), "rc.1"), target
	}

	since := "since " + stable.String()
	if stable.IsZero() {
		since = "in all of history"
	}
	largest := fmt.Sprintf("the largest change of %s %s (%s)", count(commits), since, cause)
	switch {
	case len(commits) == 0 && series.IsZero():
		p.Reason = "nothing was committed " + since
	case open && (o.Unchanged || len(commits) == 0):
		p.Suggested = p.Release
		p.Reason = fmt.Sprintf("nothing changed since %s, which can be released as %s", series, p.Release)
	case open:
		p.Suggested = p.Candidate
		p.Reason = fmt.Sprintf("%s asks for no more than the open candidates of %s give", largest, p.Release)
	case !series.IsZero():
		p.Suggested = p.Candidate
		p.Reason = fmt.Sprintf("%s asks for a %s version, more than %s gives, so the candidates of %s begin",
			largest, bump, series, p.Release)
	default:
		p.Suggested = p.Candidate
		p.Reason = fmt.Sprintf("%s asks for a %s version, and a candidate comes first", largest, bump)
	}
	return p.without(o.Taken)
}

// without is p without what taken versions rule out: those versions, and candidates of those that are stable.
func (p Proposal) without(taken []Version) Proposal {
	for _, t := range taken {
		rulesOut := func(v Version) bool {
			return !v.IsZero() && t.core() == v.core() && (t.IsStable() || t.Prerelease() == v.Prerelease())
		}
		if t.IsZero() {
			continue
		}
		if rulesOut(p.Suggested) {
			p.Reason = fmt.Sprintf("%s cannot follow: %s is tagged outside this history", p.Suggested, t)
		}
		for _, v := range []*Version{&p.Candidate, &p.Release, &p.Patch, &p.Minor, &p.Major, &p.Suggested} {
			if rulesOut(*v) {
				*v = Version{}
			}
		}
	}
	return p
}

// raise is v with one number raised and those after it 0. A zero v counts as 0.0.0.
func raise(v Version, b Bump) Version {
	switch b {
	case Major:
		return of(v.Major()+1, 0, 0, "")
	case Minor:
		return of(v.Major(), v.Minor()+1, 0, "")
	default:
		return of(v.Major(), v.Minor(), v.Patch()+1, "")
	}
}

// asked is the bump that the largest change asks for, and that change in words.
func asked(commits []Commit, stable Version, o NextOptions) (Bump, string) {
	bump, cause := Patch, "no feature, nothing breaking"
	for _, c := range commits {
		b, why := Patch, ""
		switch {
		case c.Breaking:
			b, why = Major, "breaking: "+clip(c.Note)
		case c.Type == "feat":
			b, why = Minor, "feature: "+clip(c.Description)
		}
		if b > bump {
			bump, cause = b, why
		}
	}
	if stable.Major() == 0 {
		switch {
		case bump == Major:
			bump = Minor
		case bump == Minor && o.FeatureIsPatch:
			bump = Patch
		}
	}
	return bump, cause
}

func count(commits []Commit) string {
	if len(commits) == 1 {
		return "1 commit"
	}
	return strconv.Itoa(len(commits)) + " commits"
}

// clip shortens a commit's words to one line of a sentence.
func clip(s string) string {
	const limit = 60
	words := strings.Join(strings.Fields(s), " ")
	if runes := []rune(words); len(runes) > limit {
		return string(runes[:limit-3]) + "..."
	}
	return words
}

// nextCandidate is the prerelease after v, with the same three numbers and above v in every case: rc.3 after rc.2,
// rc.1 after beta.4 or rc, rc3 after rc2, and a further .1 where counting on would sort below (rc9, rc10).
func nextCandidate(v Version) Version {
	pre := v.Prerelease()
	ways := []string{"rc.1", counted(pre), pre + ".1"}
	if strings.HasPrefix(pre, "rc.") {
		ways = ways[1:]
	}
	for _, way := range ways {
		if next := of(v.Major(), v.Minor(), v.Patch(), way); next.Compare(v) > 0 {
			return next
		}
	}
	return Version{}
}

// counted is s with the number at its end raised; s itself where there is none.
func counted(s string) string {
	head := strings.TrimRight(s, "0123456789")
	n, err := strconv.ParseInt(s[len(head):], 10, 64)
	if err != nil {
		return s
	}
	return head + strconv.FormatUint(uint64(n)+1, 10)
}
