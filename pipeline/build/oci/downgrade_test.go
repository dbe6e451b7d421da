package oci

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDowngrade takes no base from a registry that sends on from https to plain http.
func TestDowngrade(t *testing.T) {
	asked := false
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, "http://example.org"+r.URL.Path, http.StatusTemporaryRedirect)
		}
	}))
	defer secure.Close()
	client := secure.Client().Transport.(*http.Transport).Clone()
	client.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		at := map[string]net.Addr{"example.com:443": secure.Listener.Addr(), "example.org:80": plain.Listener.Addr()}[address] // whose certificate it has
		return new(net.Dialer).DialContext(ctx, network, at.String())
	}
	s := &Store{Dir: t.TempDir(), Client: client}
	if _, _, err := s.Resolve(t.Context(), "example.com/base:1"); err == nil || !strings.Contains(err.Error(), "redirects from https to http") || asked {
		t.Errorf("%v, and the other place was asked: %v", err, asked)
	}
}
