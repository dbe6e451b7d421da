package pull_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment/pull"
	"github.com/slipway-build/slipway/pipeline/fixture/githubtest"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func TestPage(t *testing.T) {
	for remote, want := range map[string]string{
		"https://github.com/acme/releases.git":        "https://github.com/acme/releases",
		"https://github.com/acme/releases/":           "https://github.com/acme/releases",
		"https://x:secret@github.com/acme/releases":   "https://github.com/acme/releases",
		"git@github.com:acme/releases.git":            "https://github.com/acme/releases",
		"ssh://git@github.com:22/acme/releases":       "https://github.com/acme/releases",
		"http://127.0.0.1:1234/acme/releases.git?x=y": "http://127.0.0.1:1234/acme/releases",
		"/srv/releases.git":                           "",
		"file:///srv/releases.git":                    "",
		`C:\releases.git`:                             "",
		"\x00":                                        "",
	} {
		got := ""
		if page := pull.Page(remote); page != nil {
			got = page.String()
		}
		if got != want {
			t.Errorf("%s is at %q and not %q", remote, got, want)
		}
	}
}

// A server that sends on elsewhere does not take the token there.
func TestOpenElsewhere(t *testing.T) {
	shown := ""
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown += r.Header.Get("Authorization")
		io.WriteString(w, "[]")
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	environ := map[string]string{"GITHUB_SERVER_URL": server.URL, "GITHUB_API_URL": server.URL, "GITHUB_TOKEN": githubtest.Token}
	pull.Open(t.Context(), server.URL+"/acme/releases.git", pull.Request{Branch: "a", Into: "b"}, func(name string) string { return environ[name] })
	if shown != "" {
		t.Errorf("another host was shown %q", shown)
	}
}

func TestOpen(t *testing.T) {
	hub := githubtest.New()
	repo := hub.Add("acme/releases", map[string]string{"x": "x"})
	server := httptest.NewServer(hub)
	defer server.Close()
	repo.Commit("promote/production/gateway-1.0.0", map[string]string{"y": "y"})
	environ := map[string]string{"GITHUB_SERVER_URL": server.URL, "GITHUB_API_URL": server.URL, "GITHUB_TOKEN": githubtest.Token}
	open := func(remote string) (string, error) {
		return pull.Open(t.Context(), remote, pull.Request{
			Branch: "promote/production/gateway-1.0.0", Into: "main", Title: "promote gateway 1.0.0 to production", Body: "fixes the reconnect storm",
		}, func(name string) string { return environ[name] })
	}
	for range 2 { // one that is open is not opened again
		page, err := open(server.URL + "/acme/releases.git")
		if err != nil || !strings.HasSuffix(page, "/acme/releases/pull/1") {
			t.Fatalf("%q, %v", page, err)
		}
	}
	if got := repo.Pulls(); !slices.Equal(got, []string{"open acme:promote/production/gateway-1.0.0 -> main: promote gateway 1.0.0 to production"}) {
		t.Errorf("%q", got)
	}
	// What was merged is not what the branch has by now.
	repo.Merge()
	repo.Commit("promote/production/gateway-1.0.0", map[string]string{"y": "z"})
	if page, err := open(server.URL + "/acme/releases.git"); err != nil || !strings.HasSuffix(page, "/acme/releases/pull/2") {
		t.Errorf("%q, %v", page, err)
	}
	repo.Close()
	if page, err := open(server.URL + "/acme/releases.git"); err != nil || !strings.HasSuffix(page, "/acme/releases/pull/2") {
		t.Errorf("closed: %q, %v", page, err)
	}
	// A token goes to no other host, and without one a person opens it.
	for _, remote := range []string{"/srv/releases.git", "https://elsewhere.example.com/acme/releases"} {
		if page, err := open(remote); page != "" || err != nil {
			t.Errorf("%s: %q, %v", remote, page, err)
		}
	}
	if _, err := open(server.URL + "/acme/none"); fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "GITHUB_TOKEN") {
		t.Error(err)
	}
	environ["GITHUB_TOKEN"] = "wrong"
	if _, err := open(server.URL + "/acme/releases"); fault.CodeOf(err) != fault.Credentials {
		t.Error(err)
	}
	environ["GITHUB_TOKEN"] = ""
	if page, err := open(server.URL + "/acme/releases"); page != "" || err != nil {
		t.Errorf("%q, %v", page, err)
	}
	environ["GITHUB_TOKEN"] = githubtest.Token
	server.Close()
	if _, err := open(server.URL + "/acme/releases"); fault.CodeOf(err) != fault.Transient {
		t.Error(err)
	}
}

// GitLab is told with the push, and what it answers is the page; another host is told nothing, and names no page of others.
func TestGitLab(t *testing.T) {
	r := pull.Request{Title: "promote gateway 1.0.0 to production", Body: "it is good"}
	for remote, want := range map[string]int{
		"https://gitlab.com/acme/releases.git": 4, "git@gitlab.acme.example:acme/releases.git": 4, "https://code.acme.example/acme/releases": 4,
		"https://github.com/acme/releases": 0, "https://notgitlab.com/acme/releases": 0, "/srv/gitlab.com/releases.git": 0,
	} {
		environ := map[string]string{"GITLAB_CI": "true", "CI_SERVER_HOST": "code.acme.example"}
		all := r.Options(remote, "promote/production/gateway-1.0.0", "production", func(name string) string { return environ[name] })
		if len(all) != want || want > 0 && !slices.Equal(all, []string{
			"merge_request.create", "merge_request.target=production", "merge_request.title=promote gateway 1.0.0 to production", "merge_request.description=it is good",
		}) {
			t.Errorf("%s: %q", remote, all)
		}
	}
	for said, want := range map[string]string{
		"remote: View merge request for promote/x:\nremote:   https://gitlab.com/acme/releases/-/merge_requests/7\n":         "https://gitlab.com/acme/releases/-/merge_requests/7",
		"remote:   https://gitlab.com/acme/releases/-/merge_requests/new?merge_request%5Bsource_branch%5D=promote%2Fx":       "https://gitlab.com/acme/releases/-/merge_requests/new?merge_request%5Bsource_branch%5D=promote%2Fx&merge_request%5Btarget_branch%5D=production",
		"https://elsewhere.example.com/acme/releases/-/merge_requests/7 https://gitlab.com/acme/releases/-/merge_requests/8": "https://gitlab.com/acme/releases/-/merge_requests/8",
		"https://x:y@gitlab.com/acme/releases/-/merge_requests/7 https://gitlab.com/merge_requests/\x1b[2J":                  "",
		"": "",
	} {
		r.Said, r.Into = said, "production"
		if page, err := pull.Open(t.Context(), "https://gitlab.com/acme/releases.git", r, func(string) string { return "" }); err != nil || page != want {
			t.Errorf("%q: %q, %v", said, page, err)
		}
	}
	r.Title = strings.Repeat("ü", 200)
	if all := r.Options("https://gitlab.com/x/y", "a", "b", func(string) string { return "" }); len(all[2]) > len("merge_request.title=")+255 || !strings.HasSuffix(all[2], "ü…") {
		t.Errorf("%q", all)
	}
}
