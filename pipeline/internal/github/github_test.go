package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/githubtest"
	"github.com/slipway-build/slipway/pipeline/internal/github"
)

// client asks a hub with one repository, example/hello. Seen are the requests that were made.
func client(t *testing.T) (c *github.Client, seen *[]string) {
	t.Helper()
	hub := githubtest.New()
	seen = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Accept")+" "+r.Header.Get("X-GitHub-Api-Version"))
		r.Header.Set("Authorization", "Bearer "+githubtest.Token)
		hub.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	hub.Add("example/hello", map[string]string{"README.md": "# Hello\n"})
	c, err := github.New(github.Options{HTTP: server.Client(), API: server.URL, MaxAnswer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return c, seen
}

var hello = github.Repo{Owner: "example", Name: "hello"}

func TestClient(t *testing.T) {
	c, seen := client(t)
	r, err := c.Repository(t.Context(), hello)
	if err != nil || r.FullName != "example/hello" || r.DefaultBranch != "main" {
		t.Errorf("%+v, %v", r, err)
	}
	if want := "GET /repos/example/hello application/vnd.github+json 2022-11-28"; !slices.Equal(*seen, []string{want}) {
		t.Errorf("requests are %q, want %q", *seen, want)
	}
	if ref, found, err := c.Reference(t.Context(), hello, "heads/main"); err != nil || !found || ref.Ref != "refs/heads/main" || ref.Object.Type != "commit" {
		t.Errorf("%+v, %v, %v", ref, found, err)
	}
	if _, found, err := c.Reference(t.Context(), hello, "heads/not there"); err != nil || found {
		t.Errorf("a branch that is not there: %v, %v", found, err)
	}
	if _, err := c.Repository(t.Context(), github.Repo{Owner: "example", Name: "none"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a repository that is not there: %v", err)
	}
	main, _, err := c.Reference(t.Context(), hello, "heads/main")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{"ref": "refs/heads/ne/xt", "sha": main.Object.SHA}
	if err := c.Call(t.Context(), http.MethodPost, "/repos/example/hello/git/refs", in, nil, http.StatusCreated); err != nil {
		t.Error(err)
	}
	if next, found, err := c.Reference(t.Context(), hello, "heads/ne/xt"); err != nil || !found || next.Object != main.Object {
		t.Errorf("what was made is %+v, %v, %v", next, found, err)
	}
}

// One who gives Expect and Fault decides what every failure is.
func TestFailures(t *testing.T) {
	expected, faulty := errors.New("expected"), errors.New("faulty")
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refused":
			w.WriteHeader(http.StatusTeapot)
		case "/cut":
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	c, err := github.New(github.Options{
		HTTP: server.Client(), API: server.URL + "/", MaxAnswer: 10,
		Expect: func(res *http.Response, want ...int) error {
			if slices.Contains(want, res.StatusCode) {
				return nil
			}
			res.Body.Close()
			return expected
		},
		Fault: func(err error) error { return errors.Join(faulty, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for at, tt := range map[string]struct {
		ctx    context.Context
		answer string
		want   error
		says   string
	}{
		"/refused":   {t.Context(), "{}", expected, ""},
		"/not-json":  {t.Context(), "<html>", faulty, "is not what the API says"},
		"/long?x=y":  {t.Context(), `{"a":"12345"}`, faulty, "/long answers with more than 10 bytes"},
		"/cut":       {t.Context(), "{}", faulty, "unexpected EOF"},
		"/cancelled": {cancelled, "{}", faulty, "context canceled"},
	} {
		answer = tt.answer
		var out any
		if err := c.Get(tt.ctx, at, &out); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestPages(t *testing.T) {
	asked := 0
	pages := 3
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Query().Get("page") != fmt.Sprint(asked) {
			t.Errorf("request %d is %s", asked, r.URL)
		}
		if asked < pages {
			w.Header().Set("Link", `<http://example.com/?page=2>; rel="next", <http://example.com/?page=9>; rel="last"`)
		}
		_ = json.NewEncoder(w).Encode([]int{asked, asked})
	}))
	defer server.Close()
	c, err := github.New(github.Options{HTTP: server.Client(), API: server.URL, MaxAnswer: 100})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := github.Pages[int](t.Context(), c, "/list"); err != nil || !slices.Equal(got, []int{1, 1, 2, 2, 3, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	asked, pages = 0, 1000
	if _, err := github.Pages[int](t.Context(), c, "/list"); !errors.As(err, new(github.TooManyError)) || asked != 100 {
		t.Errorf("after %d pages: %v", asked, err)
	}
}

// A body that can be opened again can be sent again, as it has to be where the first connection was a stale one.
func TestUpload(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s %s %d %s", r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.ContentLength, b))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"name":"x"}`)
	}))
	defer server.Close()
	twice := doer(func(req *http.Request) (*http.Response, error) {
		if _, err := server.Client().Do(req); err != nil {
			return nil, err
		}
		again := req.Clone(req.Context())
		var err error
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		return server.Client().Do(again)
	})
	c, err := github.New(github.Options{HTTP: twice, API: "https://api.example.com", Uploads: server.URL + "/up/", MaxAnswer: 100})
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Name string `json:"name"`
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("bytes")), nil }
	err = c.Upload(t.Context(), "/assets?name=x", "text/plain", 5, open, &made)
	want := "POST /up/assets?name=x text/plain 5 bytes"
	if err != nil || made.Name != "x" || !slices.Equal(got, []string{want, want}) {
		t.Errorf("%+v, %v, %q", made, err, got)
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(req *http.Request) (*http.Response, error) { return d(req) }

func TestIsApp(t *testing.T) {
	status := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	c, err := github.New(github.Options{HTTP: server.Client(), API: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		status     int
		app, fails bool
	}{{200, true, false}, {401, false, false}, {403, false, false}, {404, false, false}, {500, false, true}} {
		status = tt.status
		if app, err := c.IsApp(t.Context()); app != tt.app || (err != nil) != tt.fails {
			t.Errorf("%d: %v, %v", tt.status, app, err)
		}
	}
}

func TestNew(t *testing.T) {
	for name, o := range map[string]github.Options{
		"in the open":     {API: "http://github.example.com/api/v3"},
		"a user":          {API: "https://me@github.example.com/"},
		"a query":         {API: "https://github.example.com/?x"},
		"no host":         {API: "/api"},
		"uploads in open": {Uploads: "http://github.example.com/api/v3"},
	} {
		if _, err := github.New(o); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func TestPlaces(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com/o/t":                "o/t https://api.github.com",
		"https://github.com/o/t.git":            "o/t https://api.github.com",
		"https://github.com/o/t/":               "o/t https://api.github.com",
		"https://ghe.example.com/o/t":           "o/t https://ghe.example.com/api/v3",
		"https://github.com/o":                  "",
		"https://github.com/o/t/releases":       "",
		"https://github.com/o/..":               "",
		"o/t":                                   "",
		"https://user:canary@github.com/o/t/x/": "",
	} {
		r, api, err := github.Locate(address)
		if (err != nil) != (want == "") || want != "" && fmt.Sprint(r, " ", api) != want || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %s %s, %v", address, r, api, err)
		}
	}
	for api, want := range map[string]string{
		"": "https://uploads.github.com", "https://api.github.com/": "https://uploads.github.com",
		"https://github.example.com/api/v3": "https://github.example.com/api/uploads", "http://127.0.0.1:8080": "http://127.0.0.1:8080",
	} {
		if got := github.UploadURL(api); got != want {
			t.Errorf("%q takes uploads at %s and not %s", api, got, want)
		}
	}
	for api, want := range map[string][]string{
		"": {"api.github.com", "uploads.github.com"}, "https://github.example.com/api/v3": {"github.example.com"},
		"http://github.example.com": nil,
	} {
		if got := github.Hosts(api); !slices.Equal(got, want) {
			t.Errorf("the token for %q goes to %q and not %q", api, got, want)
		}
	}
}

// A token goes to the API of its own server, and never in the clear.
func TestAPIOf(t *testing.T) {
	for _, tt := range []struct{ page, server, api, want string }{
		{"https://github.com/o/t", "", "", "https://api.github.com true"},
		{"https://ghe.example.com/o/t", "", "", "https://ghe.example.com/api/v3 false"},
		{"http://github.com:80/o/t", "", "", "http://github.com:80/api/v3 false"},
		{"https://ghe.example.com/o/t", "https://ghe.example.com", "", "https://ghe.example.com/api/v3 true"},
		{"https://ghe.example.com/o/t", "https://ghe.example.com", "https://api.ghe.example.com", "https://api.ghe.example.com true"},
		{"http://ghe.example.com/o/t", "http://ghe.example.com", "", "http://ghe.example.com/api/v3 false"},
		{"https://github.com/o/t", "https://ghe.example.com", "https://ghe.example.com/api/v3", "https://api.github.com false"},
		{"https://github.com/o/t", "https://github.com", "https://evil.example.com", "https://api.github.com true"},
		{"http://127.0.0.1:8080/o/t", "http://127.0.0.1:8080", "http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api true"},
	} {
		u, err := url.Parse(tt.page)
		if err != nil {
			t.Fatal(err)
		}
		api, own := github.APIOf(u, func(name string) string {
			return map[string]string{"GITHUB_SERVER_URL": tt.server, "GITHUB_API_URL": tt.api}[name]
		})
		if got := fmt.Sprint(api, " ", own); got != tt.want {
			t.Errorf("%s on %s: %s, want %s", tt.page, tt.server, got, tt.want)
		}
	}
}

func TestEscape(t *testing.T) {
	if got := github.Escape("a b/c?d/é"); got != "a%20b/c%3Fd/%C3%A9" {
		t.Error(got)
	}
}
