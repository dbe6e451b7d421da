package web_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/web"
)

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1:5000": true, "[::1]:5000": true, "::1": true, "127.9.9.9": true, "localhost:80": true,
		"example.com": false, "127.0.0.1.example.com": false, "10.0.0.1": false, "": false, "localhost.example.com:80": false,
	} {
		if web.Loopback(host) != want {
			t.Errorf("%q is loopback: %v", host, !want)
		}
	}
}

func TestPrivate(t *testing.T) {
	for address, want := range map[string]bool{
		"https://example.com/x": true, "http://127.0.0.1:5000": true, "http://localhost/x": true,
		"http://example.com": false, "ftp://127.0.0.1": false, "//127.0.0.1": false, "https:///x": false, "": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if web.Private(u) != want {
			t.Errorf("%q is private: %v", address, !want)
		}
	}
}

// TestKept follows a redirect from http to http, and none from https to http.
func TestKept(t *testing.T) {
	end := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }))
	defer end.Close()
	hop := http.RedirectHandler(end.URL, http.StatusFound)
	plain, secure := httptest.NewServer(hop), httptest.NewTLSServer(hop)
	defer plain.Close()
	defer secure.Close()
	twice := httptest.NewTLSServer(http.RedirectHandler(secure.URL, http.StatusFound))
	defer twice.Close()
	for _, s := range []*httptest.Server{plain, secure, twice} {
		client := secure.Client() // both have the same certificate
		client.Transport = web.Kept(client.Transport)
		res, err := client.Get(s.URL)
		if refused := errors.Is(err, web.ErrDowngrade); refused != (s != plain) || err != nil && !refused {
			t.Errorf("%s: %v", s.URL, err)
		}
		if err == nil {
			res.Body.Close()
		}
	}
	res, err := (&http.Client{Transport: web.Kept(nil)}).Get(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// TestClear shows no credentials to anybody on the way, and follows nobody who asks for them there.
func TestClear(t *testing.T) {
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	key := http.Header{"Authorization": {"Basic eDp5"}}
	for _, tt := range []struct {
		address string
		header  http.Header
		realm   string
		refused string
	}{
		{"http://registry.example.com/v2/", nil, `Bearer realm="https://auth.example.com/token",service="x"`, ""},
		{"http://registry.example.com/v2/", nil, `Basic realm="http://anything"`, ""},
		{"http://10.0.0.1:5000/v2/", key, "", "10.0.0.1:5000: credentials are sent to https alone"},
		{"http://registry.example.com/token", form, "", "registry.example.com: credentials are sent to https alone"},
		{"http://127.0.0.1:5000/v2/", key, `Bearer realm="http://127.0.0.1:5000/token"`, ""},
		{"http://127.0.0.1:5000/v2/", nil, `Bearer realm="http://10.0.0.1/token"`, "127.0.0.1:5000 asks for credentials at http://10.0.0.1/token: credentials are sent to https alone"},
		{"https://registry.example.com/v2/", key, `Bearer realm="https://auth.example.org/token"`, ""},
		{"https://registry.example.com/v2/", key, `Bearer service="x", realm="http://auth.example.com/token"`, "registry.example.com asks for credentials at http://auth.example.com/token: credentials are sent to https alone"},
		{"https://registry.example.com/v2/", nil, `bearer realm="http://127.0.0.1/token"`, "registry.example.com asks for credentials at http://127.0.0.1/token: credentials are sent to https alone"},
	} {
		rt := web.Kept(roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {tt.realm}}, Body: http.NoBody}, nil
		}))
		req := httptest.NewRequest("POST", tt.address, nil)
		req.Header = tt.header
		res, err := rt.RoundTrip(req)
		if (err != nil) != (tt.refused != "") || err != nil && (err.Error() != tt.refused || !errors.Is(err, web.ErrClear)) {
			t.Errorf("%s that asks for %s: %v", tt.address, tt.realm, err)
		}
		if err == nil {
			res.Body.Close()
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
