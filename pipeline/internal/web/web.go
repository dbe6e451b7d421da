// Package web says which addresses a secret may be sent to, and a program be taken from: those where no one on the way
// can read or change what goes by.
package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Private reports whether a URL is of such an address: https, or http on this machine.
func Private(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Host))
}

// Loopback reports whether a host, with or without a port, is this machine.
func Loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// ErrDowngrade says that a server sends on from https to plain http.
var ErrDowngrade = errors.New("it redirects from https to http, which is not followed")

// ErrClear says that credentials would go where anybody on the way can read them.
var ErrClear = errors.New("credentials are sent to https alone")

// Covered refuses, with ErrClear, a request with credentials that is not Private: with a header for them, or with the form that a token is
// exchanged for.
func Covered(r *http.Request) error {
	if Private(r.URL) || r.Header.Get("Authorization") == "" && r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return nil
	}
	return fmt.Errorf("%s: %w", r.URL.Host, ErrClear)
}

// realm is the place, in plain http, to which credentials are to be sent in exchange for a token
// (https://distribution.github.io/distribution/spec/auth/token/).
var realm = regexp.MustCompile(`(?i)\bbearer .*?\brealm="(http://[^"]*)"`)

// Challenge refuses, with ErrClear, an answer that asks for a token from a place that is not https. Which host that is is for the
// server to say, as long as nobody on the way could have said it instead.
func Challenge(r *http.Request, res *http.Response) error {
	for _, asked := range res.Header.Values("WWW-Authenticate") {
		m := realm.FindStringSubmatch(asked)
		if m == nil {
			continue
		}
		if u, err := url.Parse(m[1]); err != nil || r.URL.Scheme == "https" || !Private(u) {
			return fmt.Errorf("%s asks for credentials at %.200s: %w", r.URL.Host, m[1], ErrClear)
		}
	}
	return nil
}

// Kept makes requests by next, nil for http.DefaultTransport, and refuses with ErrDowngrade those that a redirect sends from https to
// plain http, where anybody on the way may change or watch what comes, and with ErrClear those that would show credentials there.
func Kept(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return kept{next}
}

type kept struct{ next http.RoundTripper }

func (k kept) RoundTrip(r *http.Request) (*http.Response, error) {
	if from := r.Response; from != nil && from.Request != nil && from.Request.URL.Scheme == "https" && r.URL.Scheme != "https" {
		return nil, ErrDowngrade
	}
	if err := Covered(r); err != nil {
		return nil, err
	}
	res, err := k.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if err := Challenge(r, res); err != nil {
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

// Next is the URL of the page that follows one that was asked for, by the headers of its answer; "" for none, and for one elsewhere,
// which nobody asked (https://www.rfc-editor.org/rfc/rfc8288).
func Next(answer http.Header, asked string) string {
	link := answer.Get("Link")
	target, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.HasPrefix(link, "<") || !strings.Contains(strings.ReplaceAll(rest, `"`, ""), "rel=next") {
		return ""
	}
	base, err := url.Parse(asked)
	if err != nil {
		return ""
	}
	u, err := base.Parse(target)
	if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || u.String() == asked {
		return ""
	}
	return u.String()
}
