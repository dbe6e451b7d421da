package branch

import (
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Address is where a repository is.
type Address struct {
	Remote string // for git: a URL, user@host:path or an absolute path
	Shown  string // for people: without a password

	secrets []string
}

// userinfo is what may be a user with a password, or a token, in a URL.
var userinfo = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]*://)[^/\s'"<>]*@`)

// Hide takes passwords out of what git says.
func (a Address) Hide(said string) string {
	said = userinfo.ReplaceAllString(said, "$1")
	for _, secret := range a.secrets {
		said = strings.ReplaceAll(said, secret, "...")
	}
	return said
}

// scp is user@host:path. A part before the colon that has a slash is the beginning of a path, as for git.
var scp = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:[^\s:-][^\s]*$`)

// ParseAddress reads the URL or the path of a repository. Its error, a fault.Usage, never says a URL that it cannot take apart: it is
// not known where the password is in it.
func ParseAddress(remote string) (Address, error) {
	a := Address{Remote: remote, Shown: remote}
	switch {
	case strings.ContainsFunc(remote, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(remote) > 2048 || remote == "" ||
		strings.HasPrefix(remote, "-"):
		return Address{}, fault.Errorf(fault.Usage, "its remote is not the URL or the path of a git repository")
	case strings.Contains(remote, "://"):
		u, err := url.Parse(remote)
		if err != nil {
			return Address{}, fault.Errorf(fault.Usage, "its remote is not a URL that can be read; escape what in its user and password needs it")
		}
		if !slices.Contains([]string{"https", "http", "ssh", "file"}, u.Scheme) {
			return Address{}, fault.Errorf(fault.Usage, "its remote begins with %.20q; write https://host/path, ssh://host/path or user@host:path", u.Scheme+"://")
		}
		if u.Scheme == "http" && !web.Loopback(u.Host) {
			return Address{}, fault.Errorf(fault.Usage, "its remote on %s is not https: others could read the credentials and write the answers", u.Host)
		}
		if password, ok := u.User.Password(); ok && password != "" {
			a.secrets = append(a.secrets, password, url.QueryEscape(password), url.PathEscape(password))
		}
		if u.RawQuery != "" {
			a.secrets = append(a.secrets, u.RawQuery)
		}
		u.User = nil
		u.RawQuery, u.Fragment = "", ""
		a.Shown = u.String()
	case filepath.IsAbs(remote):
	case strings.Contains(remote, "::"):
		return Address{}, fault.Errorf(fault.Usage, "its remote begins with the name of a transport that runs a program; write a URL or a path")
	case scp.MatchString(remote):
	default: // git does not run where this process does
		abs, err := filepath.Abs(remote)
		if err != nil {
			return Address{}, fault.New(fault.Usage, err)
		}
		a.Remote = abs
	}
	return a, nil
}
