// Package web says which addresses a secret may be sent to, and a program be taken from: those where no one on the way
// can read or change what goes by.
package web

import (
	"errors"
	"net"
	"net/http"
	"net/url"
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

// Kept makes requests by next, nil for http.DefaultTransport, and refuses with ErrDowngrade those that a redirect sends from https to
// plain http, where anybody on the way may change or watch what comes.
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
	return k.next.RoundTrip(r)
}
