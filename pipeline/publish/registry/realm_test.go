package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// TestRealm asks for tokens where a registry says that they are given out: at another host too, and at none that is not https, not even
// where a redirect leads there. A redirect takes user and password to no other host.
func TestRealm(t *testing.T) {
	for _, tt := range []struct {
		host, realm, redirect string
		code                  fault.Code
		says                  string
		shown                 string // the hosts that saw user and password
	}{
		{"registry.example.com", "https://registry.example.com/token", "", 0, "", "registry.example.com"},
		{"registry.example.com", "https://auth.example.com/token", "", 0, "", "auth.example.com"},
		{"registry.example.com", "http://auth.example.com/token", "", fault.Credentials, "registry.example.com asks for credentials at http://auth.example.com/token", ""},
		{"registry.example.com", "http://127.0.0.1/token", "", fault.Credentials, "registry.example.com asks for credentials at http://127.0.0.1/token", ""},
		{"registry.example.com", "https://auth.example.com/token", "https://auth.example.com/other", 0, "", "auth.example.com auth.example.com"},
		{"registry.example.com", "https://auth.example.com/token", "https://far.example.com/token", 0, "", "auth.example.com"},
		{"registry.example.com", "https://auth.example.com/token", "http://auth.example.com/other", fault.Transient, "refusing token-server redirect to \"http://auth.example.com/other\"", "auth.example.com"},
		{"10.1.2.3:5000", "http://10.1.2.3:5000/token", "", fault.Credentials, "10.1.2.3:5000 asks for credentials at http://10.1.2.3:5000/token", ""},
		{"10.1.2.3:5000", "", "", fault.Credentials, "10.1.2.3:5000: credentials are sent to https alone", ""},
	} {
		t.Run(tt.host+" "+tt.realm+" "+tt.redirect, func(t *testing.T) {
			var shown []string
			answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, _, ok := r.BasicAuth(); ok && user == "user" {
					shown = append(shown, r.Host)
				}
				switch {
				case r.URL.Path == "/token" && tt.redirect != "" && !strings.HasPrefix(tt.redirect, "https://"+r.Host+"/token"):
					http.Redirect(w, r, tt.redirect, http.StatusTemporaryRedirect)
				case r.URL.Path == "/v2/" && r.Header.Get("Authorization") == "Bearer good":
				case r.URL.Path != "/v2/":
					fmt.Fprint(w, `{"token":"good"}`)
				case tt.realm == "":
					w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+tt.realm+`",service="registry"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			secure, plain := httptest.NewTLSServer(answer), httptest.NewServer(answer)
			defer secure.Close()
			defer plain.Close()
			base := secure.Client().Transport.(*http.Transport).Clone()
			base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				to := plain.Listener.Addr()
				if strings.HasSuffix(address, ":443") {
					to = secure.Listener.Addr()
				}
				return new(net.Dialer).DialContext(ctx, network, to.String())
			}
			tr := wire.New(wire.Options{Base: base, Attempts: 1})
			c, err := dial(t.Context(), tt.host, &authn.Basic{Username: "user", Password: "canary"}, tr, []string{"repository:x:pull,push"})
			if err == nil {
				_, err = c.found(t.Context(), http.MethodHead, c.url(""))
			}
			if code := fault.CodeOf(err); err != nil && code != tt.code || (err == nil) != (tt.code == 0) || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%d, %v", fault.CodeOf(err), err)
			}
			if got := strings.Join(shown, " "); got != tt.shown {
				t.Errorf("user and password were shown to %q", got)
			}
		})
	}
}
