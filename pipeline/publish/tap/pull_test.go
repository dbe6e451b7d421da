package tap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/tap"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	upstream = "microsoft/winget-pkgs"
	fork     = "example/winget-pkgs"
	stale    = "stale/winget-pkgs"
	branch   = "slipway/winget-hello-1.2.3"
)

// forked is a rig that proposes to winget's repository.
func forked(t *testing.T) *rig {
	return newRig(t, tap.Options{
		Release: releasetest.Open(t, verifytest.Options{}), Kind: tap.Winget, Owner: "example", Repo: "winget-pkgs",
		PullRequest: true, Upstream: upstream, Body: "Made by hello's release.",
	})
}

func TestPullRequest(t *testing.T) {
	r := forked(t)
	head := r.hub.repos[upstream].Tip("master")
	for _, it := range r.look(publish.Listed) {
		if it.State != publish.Missing || !strings.HasPrefix(it.Name, upstream+"/manifests/e/Example/hello/1.2.3/") {
			t.Errorf("%+v", it)
		}
	}
	r.faults.Forget()
	result := r.run()
	want := []string{
		"POST /repos/" + fork + "/git/trees", "POST /repos/" + fork + "/git/commits", "POST /repos/" + fork + "/git/refs", "POST /repos/" + upstream + "/pulls",
	}
	if got := r.changes(); !slices.Equal(got, want) {
		t.Errorf("changing requests %q, want %q", got, want)
	}
	r.holds(fork, branch, wingetFiles)
	if c := r.hub.commit(fork, branch); !slices.Equal(c.parents(), []string{head}) || c.Message != "hello 1.2.3" {
		t.Errorf("commit %+v", c)
	}
	if r.hub.repos[upstream].Tip("master") != head {
		t.Error("upstream moved")
	}
	pulls := r.hub.repos[upstream].Pulls()
	if want := []string{"open example:" + branch + " -> master: New version: Example.hello version 1.2.3"}; !slices.Equal(pulls, want) {
		t.Errorf("pull requests %q, want %q", pulls, want)
	}
	if !strings.Contains(r.hub.State(), `"Made by hello's release."`) {
		t.Error("the pull request has no body")
	}
	for _, it := range result.Outcomes[0].Items {
		if it.State != publish.Same || !strings.HasPrefix(it.Detail, "proposed in http") || !strings.HasSuffix(it.Detail, it.URL) {
			t.Errorf("%+v", it)
		}
	}

	r.faults.Forget()
	if result := r.run(); result.Changed || len(r.changes()) > 0 {
		t.Errorf("the second run changes %q", r.changes())
	}
	if got := states(r.look(publish.Read)); got != "same same same" {
		t.Errorf("read back: %s", got)
	}

	// Upstream goes on while the moderators take their time.
	r.hub.repos[upstream].Commit("master", map[string]string{"manifests/o/Other/x.yaml": "x"})
	r.faults.Forget()
	if result := r.run(); result.Changed {
		t.Errorf("after upstream moved it changes %q", r.changes())
	}

	r.hub.repos[upstream].Merge()
	r.faults.Forget()
	result = r.run()
	if result.Changed || states(result.Outcomes[0].Items) != "same same same" || result.Outcomes[0].Items[0].Detail != "" {
		t.Errorf("after it was merged: %+v", result)
	}
	// Whatever becomes of it later.
	r.hub.repos[upstream].Commit("master", map[string]string{wingetFiles[0]: "mended"})
	r.faults.Forget()
	result = r.run()
	if it := result.Outcomes[0].Items[0]; result.Changed || it.State != publish.Same || !strings.HasPrefix(it.Detail, "merged with http") {
		t.Errorf("after it was mended: %+v", it)
	}
}

func TestClosed(t *testing.T) {
	r := forked(t)
	r.run()
	r.hub.repos[upstream].Close()
	before := r.hub.State()
	r.faults.Forget()
	_, err := r.publish(t.Context(), false)
	if fault.CodeOf(err) != fault.Policy || !strings.Contains(err.Error(), "was closed and not merged; open it again") {
		t.Error(err)
	}
	if got := r.changes(); len(got) > 0 || r.hub.State() != before {
		t.Errorf("asked for %q", got)
	}
}

// A branch that is not this release's is neither changed nor proposed.
func TestBranchTaken(t *testing.T) {
	for _, test := range []struct {
		name string
		put  func(r *rig) map[string]string
		want string
	}{
		{"other bytes", func(*rig) map[string]string { return map[string]string{wingetFiles[0]: "other"} }, "has other bytes"},
		{"nothing", func(*rig) map[string]string { return map[string]string{"x": "y"} }, "has other bytes"},
		{"more than the release", func(r *rig) map[string]string {
			all := map[string]string{"evil.yaml": "x"}
			for _, at := range wingetFiles {
				all[at] = r.content(at)
			}
			return all
		}, "a commit that is not this release's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := forked(t)
			r.hub.repos[fork].Branch(branch, r.hub.repos[fork].Tip("master"))
			r.hub.repos[fork].Commit(branch, test.put(r))
			before := r.hub.State()
			_, err := r.publish(t.Context(), false)
			if fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), test.want) {
				t.Error(err)
			}
			if got := r.changes(); len(got) > 0 || r.hub.State() != before {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

// Upstream has the version already, from somebody else.
func TestUpstreamTaken(t *testing.T) {
	r := forked(t)
	r.hub.repos[upstream].Commit("master", map[string]string{wingetFiles[1]: "other"})
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Conflict || len(r.changes()) > 0 {
		t.Errorf("%v, asked for %q", err, r.changes())
	}
}

// A fork that was not brought up to date for long has not the commit to begin at.
func TestStaleFork(t *testing.T) {
	r := forked(t)
	r.o.Owner = "stale"
	r.run()
	if !slices.Contains(r.changes(), "POST /repos/"+stale+"/merge-upstream") {
		t.Errorf("changing requests %q", r.changes())
	}
	r.holds(stale, branch, wingetFiles)
	if c := r.hub.commit(stale, branch); !slices.Equal(c.parents(), []string{r.hub.repos[upstream].Tip("master")}) {
		t.Errorf("commit %+v", c)
	}
}

func TestNoFork(t *testing.T) {
	r := forked(t)
	r.o.Repo = "scoop-bucket"
	_, err := r.publish(t.Context(), false)
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "is not a fork of "+upstream) || len(r.changes()) > 0 {
		t.Error(err)
	}
}

// A tap that is proposed to: an older formula, one that is proposed, one that is merged, and a backport after it.
func TestProposedTap(t *testing.T) {
	r := newRig(t, tap.Options{Release: releasetest.Open(t, verifytest.Options{Version: "1.2.2"})})
	r.run()
	r.o.Release, r.o.PullRequest = releasetest.Open(t, verifytest.Options{}), true
	if got := states(r.look(publish.Listed)); got != "movable movable" {
		t.Error(got)
	}
	r.run()
	want := []string{"open example:slipway/homebrew-hello-1.2.3 -> main: hello 1.2.3"}
	if got := r.hub.repos["example/homebrew-tap"].Pulls(); !slices.Equal(got, want) {
		t.Errorf("pull requests %q, want %q", got, want)
	}
	r.hub.repos["example/homebrew-tap"].Merge()
	r.holds("example/homebrew-tap", "main", homebrewFiles)
	r.o.Release = releasetest.Open(t, verifytest.Options{Version: "1.1.9"})
	r.faults.Forget()
	if result := r.run(); result.Changed || states(result.Outcomes[0].Items) != "kept kept" {
		t.Errorf("%+v", result)
	}
}

// Somebody opens the pull request from the branch before this run does.
func TestOpenedMeanwhile(t *testing.T) {
	r := forked(t)
	other := *r
	r.before("POST", "/pulls", other.flip)
	r.run()
	if got := r.hub.repos[upstream].Pulls(); len(got) != 1 {
		t.Errorf("pull requests %q", got)
	}
}

// GitHub knows the commit of upstream, through what forks share, and lets no branch of the fork begin there before it is
// up to date.
func TestSync(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
	}{{404, `{"message":"Not Found"}`}, {422, `{"message":"Object does not exist"}`}} {
		r := forked(t)
		r.refuse("POST", "/git/refs", test.status, test.body, 1)
		r.run()
		if !slices.Contains(r.changes(), "POST /repos/"+fork+"/merge-upstream") {
			t.Errorf("%d: changing requests %q", test.status, r.changes())
		}
		r.holds(fork, branch, wingetFiles)
	}
	r := forked(t)
	r.o.Owner = "stale"
	r.refuse("POST", "/merge-upstream", 409, `{"message":"There are merge conflicts"}`, -1)
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "sync the fork by hand") {
		t.Error(err)
	}
	r = forked(t)
	r.o.Owner = "stale"
	r.refuse("POST", "/merge-upstream", 422, `{"message":"refusing to allow a Personal Access Token to create or update workflow without workflow scope"}`, -1)
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "scope workflow") {
		t.Error(err)
	}
	r = forked(t)
	r.o.Owner = "stale"
	r.refuse("POST", "/merge-upstream", 404, `{"message":"Not Found"}`, -1)
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "the token may not write to "+stale) {
		t.Error(err)
	}
	// Whatever the fork lacks is said at the first request that needs it.
	for _, request := range []string{"/git/trees", "/git/commits", "/git/refs"} {
		r := forked(t)
		r.refuse("POST", request, 422, `{"message":"Reference update failed"}`, 1)
		r.run()
		r.holds(fork, branch, wingetFiles)
	}
}

func TestBranchRefused(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		code   fault.Code
	}{
		{422, `{"message":"Reference update failed"}`, fault.Transient},
		{422, `{"message":"Repository rule violations found"}`, fault.Policy},
		{403, `{"message":"Resource not accessible by personal access token"}`, fault.Credentials},
	} {
		r := forked(t)
		r.refuse("POST", "/git/refs", test.status, test.body, -1)
		if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != test.code {
			t.Errorf("%d %s: %v", test.status, test.body, err)
		}
		if got := r.hub.repos[upstream].Pulls(); len(got) > 0 {
			t.Errorf("%d %s: pull requests %q", test.status, test.body, got)
		}
	}
}

// Another run creates the branch before this one does: at the same commit it is this one's too, at another it is looked
// at again.
func TestCreatedMeanwhile(t *testing.T) {
	r := forked(t)
	other := *r
	r.before("POST", "/git/refs", other.flip)
	r.run()
	if got := r.hub.repos[upstream].Pulls(); len(got) != 1 {
		t.Errorf("pull requests %q", got)
	}

	r = forked(t)
	r.before("POST", "/git/refs", func() { r.hub.repos[fork].Branch(branch, r.hub.repos[fork].Tip("master")) })
	if _, err := r.publish(t.Context(), false); fault.CodeOf(err) != fault.Conflict {
		t.Error(err)
	}
}

func (r *rig) flip() {
	if err := r.destination(false).Flip(r.t.Context()); err != nil {
		r.t.Error(err)
	}
}

func TestPackage(t *testing.T) {
	r := forked(t)
	r.o.Package = "Example.hello"
	r.run()
	r.holds(fork, "slipway/winget-Example.hello-1.2.3", wingetFiles)
	r.o.Package = "Example.other"
	if items := r.look(publish.Listed); len(items) > 0 {
		t.Errorf("%+v", items)
	}
}

// One owner may have both repositories.
func TestForkOfOneOwner(t *testing.T) {
	r := forked(t)
	r.o.Owner, r.o.Repo = "Microsoft", "fork-pkgs"
	r.run()
	r.holds("microsoft/fork-pkgs", branch, wingetFiles)
	if got := r.hub.repos[upstream].Pulls(); len(got) != 1 || !strings.HasPrefix(got[0], "open microsoft:"+branch) {
		t.Errorf("pull requests %q", got)
	}
}
