package version_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

func TestNext(t *testing.T) {
	const fix, feat, breaking, plain = "fix: a", "feat: b", "feat!: c", "Some words"
	for _, tt := range []struct {
		name, released string
		commits        []string
		o              version.NextOptions
		// candidate, release, patch, minor, major, suggested; - is none
		want, reason string
	}{
		{
			name: "first, a fix", commits: []string{fix},
			want: "0.0.1-rc.1 0.0.1 0.0.1 0.1.0 1.0.0 0.0.1-rc.1", reason: "1 commit in all of history (no feature, nothing breaking) asks for a patch",
		},
		{
			name: "first, a feature", commits: []string{feat},
			want: "0.1.0-rc.1 0.1.0 0.0.1 0.1.0 1.0.0 0.1.0-rc.1", reason: "feature: b",
		},
		{
			name: "first, breaking", commits: []string{breaking},
			want: "0.1.0-rc.1 0.1.0 0.0.1 0.1.0 1.0.0 0.1.0-rc.1", reason: "breaking: c",
		},
		{
			name: "nothing at all",
			want: "0.0.1-rc.1 0.0.1 0.0.1 0.1.0 1.0.0 -", reason: "nothing was committed in all of history",
		},
		{
			name: "nothing since", released: "1.2.3",
			want: "1.2.4-rc.1 1.2.4 1.2.4 1.3.0 2.0.0 -", reason: "nothing was committed since 1.2.3",
		},
		{
			name: "fix", released: "1.2.3 1.2.2", commits: []string{fix, plain},
			want: "1.2.4-rc.1 1.2.4 1.2.4 1.3.0 2.0.0 1.2.4-rc.1", reason: "2 commits since 1.2.3",
		},
		{
			name: "no convention", released: "1.2.3", commits: []string{plain},
			want: "1.2.4-rc.1 1.2.4 1.2.4 1.3.0 2.0.0 1.2.4-rc.1", reason: "asks for a patch version",
		},
		{
			name: "feature", released: "1.2.3", commits: []string{fix, feat, plain},
			want: "1.3.0-rc.1 1.3.0 1.2.4 1.3.0 2.0.0 1.3.0-rc.1", reason: "(feature: b) asks for a minor version",
		},
		{
			name: "breaking", released: "1.2.3", commits: []string{feat, breaking, fix},
			want: "2.0.0-rc.1 2.0.0 1.2.4 1.3.0 2.0.0 2.0.0-rc.1", reason: "(breaking: c) asks for a major version",
		},
		{
			name: "breaking before 1.0.0", released: "0.3.1", commits: []string{breaking},
			want: "0.4.0-rc.1 0.4.0 0.3.2 0.4.0 1.0.0 0.4.0-rc.1", reason: "asks for a minor version",
		},
		{
			name: "feature before 1.0.0", released: "0.0.3", commits: []string{feat},
			want: "0.1.0-rc.1 0.1.0 0.0.4 0.1.0 1.0.0 0.1.0-rc.1", reason: "asks for a minor version",
		},
		{
			name: "feature is patch before 1.0.0", released: "0.0.3", commits: []string{feat},
			o:    version.NextOptions{FeatureIsPatch: true},
			want: "0.0.4-rc.1 0.0.4 0.0.4 0.1.0 1.0.0 0.0.4-rc.1", reason: "(feature: b) asks for a patch version",
		},
		{
			name: "feature is patch: breaking is still minor", released: "0.0.3", commits: []string{feat, breaking},
			o:    version.NextOptions{FeatureIsPatch: true},
			want: "0.1.0-rc.1 0.1.0 0.0.4 0.1.0 1.0.0 0.1.0-rc.1", reason: "asks for a minor version",
		},
		{
			name: "feature is patch: not from 1.0.0 on", released: "1.0.0", commits: []string{feat},
			o:    version.NextOptions{FeatureIsPatch: true},
			want: "1.1.0-rc.1 1.1.0 1.0.1 1.1.0 2.0.0 1.1.0-rc.1", reason: "asks for a minor version",
		},
		{
			name: "promote", released: "0.0.2 0.0.3-rc.1 0.0.3-rc.2", commits: []string{fix},
			o:    version.NextOptions{Unchanged: true},
			want: "0.0.3-rc.3 0.0.3 0.0.3 0.1.0 1.0.0 0.0.3", reason: "nothing changed since 0.0.3-rc.2, which can be released as 0.0.3",
		},
		{
			name: "open series", released: "0.0.2 0.0.3-rc.1 0.0.3-rc.2", commits: []string{fix},
			want: "0.0.3-rc.3 0.0.3 0.0.3 0.1.0 1.0.0 0.0.3-rc.3", reason: "no more than the open candidates of 0.0.3 give",
		},
		{
			name: "open series, ten", released: "1.0.0 1.1.0-rc.9 1.1.0-rc.10", commits: []string{feat},
			want: "1.1.0-rc.11 1.1.0 1.0.1 1.1.0 2.0.0 1.1.0-rc.11", reason: "open candidates",
		},
		{
			name: "open series that gives more", released: "1.2.3 2.0.0-rc.1", commits: []string{fix},
			want: "2.0.0-rc.2 2.0.0 1.2.4 1.3.0 2.0.0 2.0.0-rc.2", reason: "open candidates of 2.0.0",
		},
		{
			name: "open series that gives less", released: "1.2.3 1.2.4-rc.3", commits: []string{fix, feat},
			want: "1.3.0-rc.1 1.3.0 1.2.4 1.3.0 2.0.0 1.3.0-rc.1", reason: "more than 1.2.4-rc.3 gives, so the candidates of 1.3.0 begin",
		},
		{
			name: "a candidate is promoted as it is, whatever led to it", released: "1.2.3 1.2.4-rc.3", commits: []string{feat},
			o:    version.NextOptions{Unchanged: true},
			want: "1.2.4-rc.4 1.2.4 1.2.4 1.3.0 2.0.0 1.2.4", reason: "nothing changed since 1.2.4-rc.3",
		},
		{
			name: "series before any stable version", released: "0.1.0-rc.1", commits: []string{feat},
			want: "0.1.0-rc.2 0.1.0 0.0.1 0.1.0 1.0.0 0.1.0-rc.2", reason: "open candidates of 0.1.0",
		},
		{
			name: "closed series", released: "1.3.0-rc.1 1.3.0 1.2.9-rc.4", commits: []string{fix},
			want: "1.3.1-rc.1 1.3.1 1.3.1 1.4.0 2.0.0 1.3.1-rc.1", reason: "since 1.3.0",
		},
		{
			name: "a snapshot tag opens no series", released: "1.3.0 1.3.1-snapshot.2.gabc", commits: []string{fix},
			want: "1.3.1-rc.1 1.3.1 1.3.1 1.4.0 2.0.0 1.3.1-rc.1", reason: "since 1.3.0",
		},
		{
			name: "beta becomes candidate", released: "1.3.0-beta.4", commits: []string{fix},
			want: "1.3.0-rc.1 1.3.0 0.0.1 0.1.0 1.0.0 1.3.0-rc.1",
		},
		{name: "zeta counts on", released: "1.3.0-zeta.4", commits: []string{fix}, want: "1.3.0-zeta.5 1.3.0 0.0.1 0.1.0 1.0.0 1.3.0-zeta.5"},
		{name: "rc without number", released: "1.3.0-rc", commits: []string{fix}, want: "1.3.0-rc.1 1.3.0 0.0.1 0.1.0 1.0.0 1.3.0-rc.1"},
		{name: "rc2", released: "1.3.0-rc2", commits: []string{fix}, want: "1.3.0-rc3 1.3.0 0.0.1 0.1.0 1.0.0 1.3.0-rc3"},
		{name: "rc9", released: "1.3.0-rc9", commits: []string{fix}, want: "1.3.0-rc9.1 1.3.0 0.0.1 0.1.0 1.0.0 1.3.0-rc9.1"},
		{
			name: "metadata", released: "1.2.3+a 1.3.0-rc.1+b", commits: []string{fix},
			want: "1.3.0-rc.2 1.3.0 1.2.4 1.3.0 2.0.0 1.3.0-rc.2",
		},
		{
			name: "maintenance branch", released: "1.2.8", commits: []string{fix},
			o:    version.NextOptions{Taken: parseAll(t, "1.2.8 1.3.0 2.0.0")},
			want: "1.2.9-rc.1 1.2.9 1.2.9 - - 1.2.9-rc.1", reason: "since 1.2.8",
		},
		{
			name: "feature on a maintenance branch", released: "1.2.8", commits: []string{feat},
			o:    version.NextOptions{Taken: parseAll(t, "0.0.0 1.2.8 1.3.0+x")},
			want: "- - 1.2.9 - 2.0.0 -", reason: "1.3.0-rc.1 cannot follow: 1.3.0+x is tagged outside this history",
		},
		{
			name: "candidate taken elsewhere", released: "1.2.8", commits: []string{fix},
			o:    version.NextOptions{Taken: parseAll(t, "1.2.9-rc.1")},
			want: "- 1.2.9 1.2.9 1.3.0 2.0.0 -", reason: "1.2.9-rc.1 is tagged outside this history",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var commits []version.Commit
			for _, m := range tt.commits {
				commits = append(commits, version.ParseCommit(m))
			}
			p := version.Next(parseAll(t, tt.released), commits, tt.o)
			var got []string
			for _, v := range []version.Version{p.Candidate, p.Release, p.Patch, p.Minor, p.Major, p.Suggested} {
				if v.IsZero() {
					got = append(got, "-")
				} else {
					got = append(got, v.String())
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), tt.want)
			}
			if !strings.Contains(p.Reason, tt.reason) || p.Reason == "" {
				t.Errorf("reason %q does not say %q", p.Reason, tt.reason)
			}
			if p.Of(version.Candidate) != p.Candidate || p.Of(version.Patch) != p.Patch || p.Of(version.Minor) != p.Minor ||
				p.Of(version.Major) != p.Major || p.Of(version.Release) != p.Release {
				t.Error("Of answers another kind")
			}
			if _, err := json.Marshal(p); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReasonIsOneLine(t *testing.T) {
	p := version.Next(nil, []version.Commit{version.ParseCommit("a\n\nBREAKING CHANGE: one\ntwo " + strings.Repeat("ü", 200))}, version.NextOptions{})
	if strings.Contains(p.Reason, "\n") || len(p.Reason) > 300 {
		t.Errorf("reason %q", p.Reason)
	}
}
