package git

import "strings"

// Identity is who commits, where the environment says so and not only git's configuration.
func Identity(environ []string) []string {
	var own []string
	for _, kv := range environ {
		if strings.HasPrefix(kv, "GIT_AUTHOR_") || strings.HasPrefix(kv, "GIT_COMMITTER_") {
			own = append(own, kv)
		}
	}
	return own
}
