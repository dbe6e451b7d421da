package github_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/github"
)

// limits are the ways in which GitHub refuses for a while, and refusals that are none of them.
var limits = []struct {
	name   string
	status int
	header map[string]string
	body   string
	want   string // in the error; "" for no limit
}{
	{"primary", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700003600"}, "", "until 2023-11-14 23:13:20 UTC"},
	{"primary, of the newer kind", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700003600"}, "", "until 2023-11-14 23:13:20 UTC"},
	{"secondary with a time", 403, map[string]string{"Retry-After": "60", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, "", "until 2023-11-14 22:14:20 UTC"},
	{"secondary with a date", 429, map[string]string{"Retry-After": "Tue, 14 Nov 2023 22:13:20 GMT"}, "", "until 2023-11-14 22:13:20 UTC"},
	{"in words alone", 403, nil, `{"message":"API rate limit exceeded for 192.0.2.1. (But here's the good news)"}`, "a minute at least"},
	{"secondary in words alone", 403, map[string]string{"X-RateLimit-Remaining": "7"}, `{"message":"You have exceeded a secondary rate limit."}`, "a minute at least"},
	{"as it was called once", 403, nil, `{"message":"You have triggered an abuse detection mechanism."}`, "a minute at least"},
	{"nonsense", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, "", "a minute at least"},
	{"forbidden", 403, map[string]string{"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1700003600"}, `{"message":"Resource not accessible"}`, ""},
	{"credentials", 401, map[string]string{"X-RateLimit-Remaining": "0"}, "", ""},
	{"fine", 200, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700003600"}, "", ""},
}

func TestRateLimited(t *testing.T) {
	for _, tt := range limits {
		res := &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tt.body))}
		for name, value := range tt.header {
			res.Header.Set(name, value)
		}
		switch err := github.RateLimited(res); {
		case err == nil && tt.want != "":
			t.Errorf("%s is no limit", tt.name)
		case err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "GITHUB_TOKEN")):
			t.Errorf("%s: %v", tt.name, err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != tt.body {
			t.Errorf("%s: the body is %q afterwards, %v", tt.name, b, err)
		}
	}
}

// A limit is an error of its own, also where the status is one that is wanted.
func TestLimitIsNoAnswer(t *testing.T) {
	c, err := github.New(github.Options{MaxAnswer: 1 << 10, HTTP: doer(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 403, Body: io.NopCloser(strings.NewReader(`{"message":"API rate limit exceeded"}`))}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	app, err := c.IsApp(t.Context())
	if _, limit := errors.AsType[*github.RateLimitError](err); app || !limit {
		t.Errorf("%v, %v", app, err)
	}
}
