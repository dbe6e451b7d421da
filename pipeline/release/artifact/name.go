package artifact

import (
	"regexp"
	"strings"
)

// names are those of components, platforms and stages: what is a path, a tag, a part of a host name and a name on every file system.
var names = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$`)

// IsName reports whether a component, a platform or a stage of a release store may be called so: by up to 40 lower-case letters, digits
// and -.
func IsName(s string) bool { return names.MatchString(s) }

// IsCommit reports whether that is the full name of a commit, or of another object of git, in one of its two formats.
func IsCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}
