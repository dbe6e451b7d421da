// Package web says which addresses a secret may be sent to, and a program be taken from: those where no one on the way
// can read or change what goes by.
package web

import (
	"net"
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
