package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// pull is a pull request as the API shows it.
type pull struct {
	Number int      `json:"number"`
	State  string   `json:"state"`
	Title  string   `json:"title"`
	Body   string   `json:"body"`
	URL    string   `json:"html_url"`
	Merged *string  `json:"merged_at"`
	Head   pullSide `json:"head"`
	Base   pullSide `json:"base"`

	from *Repo
}

type pullSide struct {
	Label string         `json:"label"`
	Ref   string         `json:"ref"`
	SHA   string         `json:"sha"`
	Repo  map[string]any `json:"repo"`
}

// Pulls are the pull requests to a repository, oldest first, each as "open owner:branch -> base: title".
func (r *Repo) Pulls() []string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	var out []string
	for _, p := range r.pulls {
		out = append(out, fmt.Sprintf("%s %s -> %s: %s", p.State, p.Head.Label, p.Base.Ref, p.Title))
	}
	return out
}

// Merge merges the newest open pull request, as its maintainers do: with a commit that has the head as a parent.
func (r *Repo) Merge() {
	r.end(func(p *pull) {
		base := "refs/heads/" + p.Base.Ref
		head := p.from.refs["refs/heads/"+p.Head.Ref]
		p.from.git.share(r.git)
		files := r.git.copy(r.git.treeOf(r.refs[base]))
		for name, e := range r.git.trees[r.git.treeOf(head)] {
			files[name] = e
		}
		r.refs[base] = r.git.byHand("Merge pull request from "+p.Head.Label, []string{r.refs[base], head}, r.git.tree(files), "2026-01-03T00:00:00Z")
		at := instant
		p.Merged = &at
	})
}

// Close closes the newest open pull request without merging it.
func (r *Repo) Close() { r.end(func(*pull) {}) }

func (r *Repo) end(f func(*pull)) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, p := range slices.Backward(r.pulls) {
		if p.State == "open" {
			f(p)
			p.State = "closed"
			return
		}
	}
}

// servePulls serves pull requests (https://docs.github.com/rest/pulls/pulls).
func (h *Hub) servePulls(q request, rest string) {
	switch {
	case rest == "" && q.Method == http.MethodPost:
		h.openPull(q)
	case rest == "" && q.Method == http.MethodGet:
		query := q.URL.Query()
		all := []pull{}
		for _, p := range slices.Backward(q.repo.pulls) {
			state, head, base := query.Get("state"), query.Get("head"), query.Get("base")
			if state == "" {
				state = "open"
			}
			if (state == "all" || p.State == state) && (head == "" || strings.EqualFold(head, p.Head.Label)) && (base == "" || base == p.Base.Ref) {
				all = append(all, q.showPull(p))
			}
		}
		from, to := q.page(len(all))
		q.say(http.StatusOK, all[from:to])
	case q.Method == http.MethodGet:
		for _, p := range q.repo.pulls {
			if strconv.Itoa(p.Number) == rest {
				q.say(http.StatusOK, q.showPull(p))
				return
			}
		}
		q.notFound()
	default:
		q.notFound()
	}
}

// showPull is a pull request with where its head is now.
func (q request) showPull(p *pull) pull {
	out := *p
	out.URL = fmt.Sprintf("%s/pull/%d", q.site(), p.Number)
	if id := p.from.refs["refs/heads/"+p.Head.Ref]; id != "" && p.State == "open" {
		out.Head.SHA = id
	}
	return out
}

func (h *Hub) openPull(q request) {
	var in struct {
		Title, Body, Head, Base string
		HeadRepo                string `json:"head_repo"`
	}
	if !q.decode(&in) {
		return
	}
	owner, _, _ := strings.Cut(q.repo.name, "/")
	who, branch, other := strings.Cut(in.Head, ":")
	from := q.repo
	if !other {
		who, branch = owner, in.Head
	} else {
		from = h.fork(q.repo, who, in.HeadRepo)
	}
	wrong := func(message string) {
		q.invalid(problem{Resource: "PullRequest", Code: "custom", Message: message})
	}
	label := who + ":" + branch
	head := ""
	if from != nil {
		head = from.refs["refs/heads/"+branch]
	}
	base := q.repo.refs["refs/heads/"+in.Base]
	switch {
	case in.Title == "":
		q.invalid(problem{Resource: "PullRequest", Field: "title", Code: "missing_field"})
	case head == "":
		q.invalid(problem{Resource: "PullRequest", Field: "head", Code: "invalid"})
	case base == "":
		q.invalid(problem{Resource: "PullRequest", Field: "base", Code: "invalid"})
	case slices.ContainsFunc(q.repo.pulls, func(p *pull) bool { return p.State == "open" && p.Head.Label == label && p.Base.Ref == in.Base }):
		wrong("A pull request already exists for " + label + ".")
	case q.repo.git.above(head, base):
		wrong("No commits between " + in.Base + " and " + label)
	default:
		p := &pull{
			Number: len(q.repo.pulls) + 1, State: "open", Title: in.Title, Body: in.Body, from: from,
			Head: pullSide{label, branch, head, map[string]any{"full_name": from.name, "fork": from.parent != nil}},
			Base: pullSide{owner + ":" + in.Base, in.Base, base, map[string]any{"full_name": q.repo.name, "fork": q.repo.parent != nil}},
		}
		q.repo.pulls = append(q.repo.pulls, p)
		q.say(http.StatusCreated, q.showPull(p))
	}
}

// fork is the repository of an owner, with a name where several of them may be, that a pull request can come from.
func (h *Hub) fork(of *Repo, owner, name string) *Repo {
	var found *Repo
	for _, r := range h.repos {
		o, n, _ := strings.Cut(r.name, "/")
		related := r == of || r.parent == of || of.parent == r
		if related && strings.EqualFold(o, owner) && (name == "" || name == n || name == r.name) && (found == nil || r.name < found.name) {
			found = r
		}
	}
	return found
}

// mergeUpstream brings a branch of a fork up to date
// (https://docs.github.com/rest/branches/branches#sync-a-fork-branch-with-the-upstream-repository).
func (h *Hub) mergeUpstream(q request) {
	var in struct{ Branch string }
	if !q.decode(&in) {
		return
	}
	up, ref := q.repo.parent, "refs/heads/"+in.Branch
	switch {
	case q.Method != http.MethodPost:
		q.notFound()
	case up == nil || up.refs[ref] == "" || q.repo.refs[ref] == "":
		q.refuse(http.StatusUnprocessableEntity, "Branch not found or not in a fork")
	case q.repo.git.above(up.refs[ref], q.repo.refs[ref]):
		q.say(http.StatusOK, map[string]string{"message": "This branch is not behind the upstream.", "merge_type": "none", "base_branch": up.name + ":" + in.Branch})
	default:
		up.git.share(q.repo.git)
		if !q.repo.git.above(q.repo.refs[ref], up.refs[ref]) {
			q.refuse(http.StatusConflict, "There are merge conflicts")
			return
		}
		q.repo.refs[ref] = up.refs[ref]
		q.say(http.StatusOK, map[string]string{
			"message": "Successfully fetched and fast-forwarded from upstream.", "merge_type": "fast-forward", "base_branch": up.name + ":" + in.Branch,
		})
	}
}
