package notes

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// host makes links into a repository. The zero host makes none.
type host struct {
	root string // URL of the repository, without a slash at its end
	form form
}

// form is how a kind of host writes its links below the repository.
type form struct {
	compare, commit, issue, commits, tree string
	merge                                 string // requests of GitLab's, written !12
}

// The forms that hosts document, and that their web interfaces use.
var (
	github = form{compare: "/compare/%s...%s", commit: "/commit/%s", issue: "/issues/%s", commits: "/commits/%s", tree: "/tree/%s"}
	gitlab = form{
		compare: "/-/compare/%s...%s", commit: "/-/commit/%s", issue: "/-/issues/%s", commits: "/-/commits/%s", tree: "/-/tree/%s",
		merge: "/-/merge_requests/%s",
	}
	gitea = form{compare: "/compare/%s...%s", commit: "/commit/%s", issue: "/issues/%s", commits: "/commits/commit/%s", tree: "/src/commit/%s"}
)

// labels are the first names of hosts whose software is known by it, be it at github.com or at github.example.com.
var labels = map[string]form{"github": github, "gitlab": gitlab, "gitea": gitea, "forgejo": gitea, "codeberg": gitea}

var pathOfRepository = regexp.MustCompile(`^(?:/[A-Za-z0-9_.~-]+){2,}$`)

// newHost knows a host by its name; one that it does not know gets no links.
func newHost(repository string) (host, error) {
	if repository == "" {
		return host{}, nil
	}
	u, err := url.Parse(repository)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return host{}, fmt.Errorf("repository %.80q is not an http or https URL", repository)
	}
	if u.User != nil {
		return host{}, errors.New("the URL of the repository has a user or a password in it: write it without")
	}
	label, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(u.Hostname(), "www.")), ".")
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), ".git")
	f, ok := labels[label]
	if !ok || !pathOfRepository.MatchString(path) || !hostName.MatchString(u.Host) {
		return host{}, nil
	}
	return host{u.Scheme + "://" + u.Host + path, f}, nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9.-]+(?::[0-9]+)?$`)

// url is a form with its values, "" where the host is not known or a value is missing.
func (h host) url(form string, values ...string) string {
	if h.root == "" || form == "" || slices.Contains(values, "") {
		return ""
	}
	args := make([]any, len(values))
	for i, v := range values {
		parts := strings.Split(v, "/")
		for j := range parts {
			parts[j] = url.PathEscape(parts[j])
		}
		args[i] = strings.Join(parts, "/")
	}
	return h.root + fmt.Sprintf(form, args...)
}

func (h host) commit(hash string) string { return h.url(h.form.commit, hash) }

// changes names everything that the release has and the one before has not, and where to see it.
func (h host) changes(o Options) (text, url string) {
	name, ref := o.Tag, o.Tag
	if name == "" {
		name, ref = short(o.Commit), o.Commit
	}
	if name == "" {
		return "", ""
	}
	if o.Since == "" {
		if h.form == gitea { // which tells commits, tags and branches apart
			ref = o.Commit
		}
		return name, h.url(h.form.commits, ref)
	}
	return o.Since + "..." + name, h.url(h.form.compare, o.Since, ref)
}

// tree is where the files of the release are.
func (h host) tree(o Options) string {
	if o.Commit != "" {
		return h.url(h.form.tree, o.Commit)
	}
	if h.form == gitea {
		return ""
	}
	return h.url(h.form.tree, o.Tag)
}

// short is how a commit is written where people read it.
func short(hash string) string { return hash[:min(7, len(hash))] }

// link is Markdown that is there already with a link to url, which has no character that Markdown knows.
func link(markdown, url string) string {
	if url == "" {
		return markdown
	}
	return "[" + markdown + "](" + url + ")"
}
