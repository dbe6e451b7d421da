package tap_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/githubtest"
)

// hub is a GitHub with a tap, a bucket, an empty repository, winget's, and forks of that: example's, which is up to date,
// stale's, which is not, and one of the same owner.
type hub struct {
	*githubtest.Hub
	t     *testing.T
	repos map[string]*githubtest.Repo
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{Hub: githubtest.New(), t: t, repos: map[string]*githubtest.Repo{}}
	for _, name := range []string{"example/homebrew-tap", "example/scoop-bucket", upstream} {
		h.repos[name] = h.Add(name, map[string]string{"README.md": "# Here\n"})
	}
	h.repos["example/empty"] = h.Add("example/empty", nil)
	winget := h.repos[upstream]
	winget.DefaultBranch("master")
	h.repos[stale] = winget.Fork(stale)
	winget.Commit("master", map[string]string{"manifests/o/Other/y.yaml": "y"})
	h.repos[fork] = winget.Fork(fork)
	h.repos["microsoft/fork-pkgs"] = winget.Fork("microsoft/fork-pkgs")
	return h
}

// made is a commit as the API tells of it.
type made struct {
	Message           string
	Author, Committer struct{ Name, Email, Date string }
	Parents           []struct{ SHA string }
}

// parents are the ids of its parents.
func (m made) parents() []string {
	var all []string
	for _, p := range m.Parents {
		all = append(all, p.SHA)
	}
	return all
}

// commit is the one that a branch is at.
func (h *hub) commit(name, branch string) made {
	h.t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/repos/"+name+"/git/commits/"+h.repos[name].Tip(branch), nil))
	var m made
	if err := json.Unmarshal(rec.Body.Bytes(), &m); err != nil || rec.Code != 200 {
		h.t.Fatalf("commit of %s in %s: %d, %v", branch, name, rec.Code, err)
	}
	return m
}
