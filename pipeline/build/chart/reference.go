package chart

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

var (
	// repositoryName is a name without tag and digest: an optional host, with a port or an IPv6 address in brackets, then
	// path components, all in lower case (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
	repositoryName = regexp.MustCompile(`^(?:(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/)?` +
		`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	// releasedTag is a tag that names one release: SemVer with an optional v, a suffix for a prerelease or a distribution,
	// and build metadata behind an underscore, since a tag has no plus sign.
	releasedTag = regexp.MustCompile(`^v?(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)` +
		`(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:_[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$`)
)

// checkReference refuses an image reference that can come to mean other bytes: only a SemVer tag or a digest counts. A
// tag beside a digest is a remark and may be any.
func checkReference(ref string) error {
	name, digest, pinned := strings.Cut(ref, "@")
	tagged := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tagged = name[:i], name[i+1:]
		if !tagName.MatchString(tagged) {
			return fmt.Errorf("image %q has the malformed tag %q", ref, tagged)
		}
	}
	switch _, err := artifact.ParseDigest(digest); {
	case len(name) > 255 || !repositoryName.MatchString(name):
		return fmt.Errorf("image %q is not a reference such as ghcr.io/owner/name:1.2.3", ref)
	case pinned && err != nil:
		return fmt.Errorf("image %q: %w", ref, err)
	case pinned || releasedTag.MatchString(tagged):
		return nil
	case tagged == "":
		return fmt.Errorf("image %q has no tag; give it a release such as %s:1.2.3 or a digest", ref, name)
	}
	return fmt.Errorf("image %q: tag %q is not a release; give it one such as %s:1.2.3 or a digest", ref, tagged, name)
}
