package web_test

import (
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
