package hubtest

import (
	"crypto/sha1" //nolint:gosec // the ids of git
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// objects are those of git, with the ids that git gives them
// (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects). Trees are kept as their files by path.
type objects struct {
	blobs   map[string][]byte
	trees   map[string]map[string]string // files by path: the id of a blob
	commits map[string]commit
}

type commit struct {
	message   string
	parents   []string
	tree      string
	author    person
	committer person
}

type person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Date  string `json:"date"`
}

func newObjects() *objects {
	return &objects{blobs: map[string][]byte{}, trees: map[string]map[string]string{}, commits: map[string]commit{}}
}

func hash(kind string, b []byte) string {
	sum := sha1.Sum(append([]byte(fmt.Sprintf("%s %d\x00", kind, len(b))), b...))
	return hex.EncodeToString(sum[:])
}

func (o *objects) blob(b []byte) string {
	id := hash("blob", b)
	o.blobs[id] = b
	return id
}

func (o *objects) files(files map[string]string) string { return o.with("", files) }

// with is a tree with further files.
func (o *objects) with(tree string, files map[string]string) string {
	all := maps.Clone(o.trees[tree])
	if all == nil {
		all = map[string]string{}
	}
	for path, content := range files {
		all[path] = o.blob([]byte(content))
	}
	return o.tree(all)
}

func (o *objects) tree(files map[string]string) string {
	id := treeID(files)
	o.trees[id] = files
	return id
}

// treeID is the id of a tree with all that is below it.
func treeID(files map[string]string) string {
	entries := map[string]string{} // name in the order of git: line
	below := map[string]map[string]string{}
	for path, id := range files {
		if dir, rest, nested := strings.Cut(path, "/"); nested {
			if below[dir] == nil {
				below[dir] = map[string]string{}
			}
			below[dir][rest] = id
		} else {
			entries[path] = "100644 " + path + "\x00" + raw(id)
		}
	}
	for dir, inside := range below {
		entries[dir+"/"] = "40000 " + dir + "\x00" + raw(treeID(inside))
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		b.WriteString(entries[name])
	}
	return hash("tree", []byte(b.String()))
}

func raw(id string) string {
	b, err := hex.DecodeString(id)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (o *objects) commit(message string, parents []string, tree, date string) string {
	p := person{"Somebody", "somebody@example.com", date}
	id, err := o.add(commit{message, parents, tree, p, p})
	if err != nil {
		panic(err)
	}
	return id
}

// add adds a commit.
func (o *objects) add(c commit) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", c.tree)
	for _, p := range c.parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	for _, who := range []struct {
		role string
		p    person
	}{{"author", c.author}, {"committer", c.committer}} {
		at, err := time.Parse(time.RFC3339, who.p.Date)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %s <%s> %d +0000\n", who.role, who.p.Name, who.p.Email, at.Unix())
	}
	fmt.Fprintf(&b, "\n%s", c.message)
	id := hash("commit", []byte(b.String()))
	o.commits[id] = c
	return id, nil
}

func (o *objects) treeOf(commit string) string { return o.commits[commit].tree }

func (o *objects) read(tree, path string) ([]byte, bool) {
	id, ok := o.trees[tree][path]
	return o.blobs[id], ok
}

// above tells whether a commit is another one or an ancestor of it.
func (o *objects) above(ancestor, id string) bool {
	return id == ancestor || slices.ContainsFunc(o.commits[id].parents, func(p string) bool { return o.above(ancestor, p) })
}

// gitData serves git's objects and refs (https://docs.github.com/rest/git).
func (h *Hub) gitData(q request, rest string) {
	o := q.repo.git
	kind, name, _ := strings.Cut(rest, "/")
	shown := func(ref string) map[string]any {
		return map[string]any{"ref": ref, "object": map[string]string{"sha": q.repo.refs[ref], "type": "commit"}}
	}
	switch {
	case kind == "ref" && q.Method == http.MethodGet:
		ref := "refs/" + name
		switch {
		case len(q.repo.refs) == 0:
			q.refuse(http.StatusConflict, "Git Repository is empty.")
		case q.repo.refs[ref] == "":
			q.notFound()
		default:
			q.say(http.StatusOK, shown(ref))
		}
	case kind == "refs" && q.Method == http.MethodPost:
		var in struct{ Ref, SHA string }
		if !q.decode(&in) {
			return
		}
		switch {
		case q.repo.refs[in.Ref] != "":
			q.refuse(http.StatusUnprocessableEntity, "Reference already exists")
		case !strings.HasPrefix(in.Ref, "refs/") || o.commits[in.SHA].tree == "":
			q.refuse(http.StatusUnprocessableEntity, "Object does not exist")
		default:
			q.repo.refs[in.Ref] = in.SHA
			q.say(http.StatusCreated, shown(in.Ref))
		}
	case kind == "refs" && q.Method == http.MethodPatch:
		var in struct {
			SHA   string
			Force bool
		}
		if !q.decode(&in) {
			return
		}
		ref := "refs/" + name
		switch {
		case q.repo.refs[ref] == "" || o.commits[in.SHA].tree == "":
			q.refuse(http.StatusUnprocessableEntity, "Object does not exist")
		case q.repo.protect[strings.TrimPrefix(name, "heads/")]:
			q.refuse(http.StatusUnprocessableEntity, "Changes must be made through a pull request.")
		case !in.Force && !o.above(q.repo.refs[ref], in.SHA):
			q.refuse(http.StatusUnprocessableEntity, "Update is not a fast forward")
		default:
			q.repo.refs[ref] = in.SHA
			q.say(http.StatusOK, shown(ref))
		}
	case kind == "commits" && q.Method == http.MethodGet:
		c, ok := o.commits[name]
		if !ok {
			q.notFound()
			return
		}
		parents := []map[string]string{}
		for _, p := range c.parents {
			parents = append(parents, map[string]string{"sha": p})
		}
		q.say(http.StatusOK, map[string]any{
			"sha": name, "message": c.message, "tree": map[string]string{"sha": c.tree}, "parents": parents, "author": c.author, "committer": c.committer,
		})
	case kind == "commits" && q.Method == http.MethodPost:
		var in struct {
			Message           string
			Tree              string
			Parents           []string
			Author, Committer person
		}
		if !q.decode(&in) {
			return
		}
		if o.trees[in.Tree] == nil {
			q.refuse(http.StatusUnprocessableEntity, "Tree SHA does not exist")
			return
		}
		id, err := o.add(commit{in.Message, in.Parents, in.Tree, in.Author, in.Committer})
		if err != nil {
			q.refuse(http.StatusUnprocessableEntity, err.Error())
			return
		}
		q.say(http.StatusCreated, map[string]string{"sha": id})
	case kind == "trees" && q.Method == http.MethodPost:
		var in struct {
			Base string `json:"base_tree"`
			Tree []struct{ Path, Mode, Type, SHA, Content string }
		}
		if !q.decode(&in) {
			return
		}
		base := in.Base
		if c, ok := o.commits[base]; ok {
			base = c.tree
		}
		if base != "" && o.trees[base] == nil {
			q.notFound()
			return
		}
		all := maps.Clone(o.trees[base])
		if all == nil {
			all = map[string]string{}
		}
		for _, e := range in.Tree {
			if e.SHA == "" {
				e.SHA = o.blob([]byte(e.Content))
			}
			all[e.Path] = e.SHA
		}
		q.say(http.StatusCreated, map[string]string{"sha": o.tree(all)})
	default:
		q.notFound()
	}
}

// contents serves a file (https://docs.github.com/rest/repos/contents#get-repository-content).
func (h *Hub) contents(q request, path string) {
	o := q.repo.git
	at := q.URL.Query().Get("ref")
	if at == "" {
		at = q.repo.branch
	}
	if id := q.repo.refs["refs/heads/"+at]; id != "" {
		at = id
	}
	files := o.trees[o.treeOf(at)]
	b, ok := o.read(o.treeOf(at), path)
	switch {
	case ok && strings.Contains(q.Header.Get("Accept"), "raw"):
		_, _ = io.WriteString(q.w, string(b))
	case ok:
		q.say(http.StatusOK, map[string]any{
			"type": "file", "encoding": "base64", "size": len(b), "path": path, "sha": files[path], "content": base64.StdEncoding.EncodeToString(b) + "\n",
		})
	case slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(f string) bool { return strings.HasPrefix(f, path+"/") }):
		q.say(http.StatusOK, []any{})
	default:
		q.notFound()
	}
}

type pull struct {
	Number int      `json:"number"`
	State  string   `json:"state"`
	Title  string   `json:"title"`
	Body   string   `json:"body"`
	URL    string   `json:"html_url"`
	Merged *string  `json:"merged_at"`
	Head   pullSide `json:"head"`
	Base   pullSide `json:"base"`
}

type pullSide struct {
	Label string            `json:"label"`
	Ref   string            `json:"ref"`
	SHA   string            `json:"sha"`
	Repo  map[string]string `json:"repo"`
}

func (p *pull) head() string { return p.Head.Label }

// pullRequests serves pull requests (https://docs.github.com/rest/pulls/pulls).
func (h *Hub) pullRequests(q request, rest string) {
	owner, _, _ := strings.Cut(q.repo.name, "/")
	switch {
	case rest == "" && q.Method == http.MethodGet:
		query := q.URL.Query()
		all := []*pull{}
		for _, p := range q.repo.pulls {
			state := query.Get("state")
			if (state == "all" || p.State == state || state == "" && p.State == "open") &&
				(query.Get("head") == "" || query.Get("head") == p.Head.Label) && (query.Get("base") == "" || query.Get("base") == p.Base.Ref) {
				all = append(all, p)
			}
		}
		from, to := q.page(len(all))
		q.say(http.StatusOK, all[from:to])
	case rest == "" && q.Method == http.MethodPost:
		var in struct {
			Title, Body, Head, Base string
		}
		if !q.decode(&in) {
			return
		}
		who, branch, other := strings.Cut(in.Head, ":")
		from := q.repo
		if !other {
			who, branch = owner, in.Head
		} else {
			for _, r := range h.repos {
				if o, _, _ := strings.Cut(r.name, "/"); o == who && (r.parent == q.repo.name || r == q.repo) {
					from = r
				}
			}
		}
		label := who + ":" + branch
		id := from.refs["refs/heads/"+branch]
		switch {
		case id == "" || q.repo.refs["refs/heads/"+in.Base] == "":
			q.invalid("PullRequest", "head", "invalid")
		case slices.ContainsFunc(q.repo.pulls, func(p *pull) bool { return p.State == "open" && p.Head.Label == label && p.Base.Ref == in.Base }):
			q.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for " + label + "."})
		case id == q.repo.refs["refs/heads/"+in.Base]:
			q.refuse(http.StatusUnprocessableEntity, "Validation Failed", map[string]string{"resource": "PullRequest", "code": "custom", "message": "No commits between " + in.Base + " and " + label})
		default:
			p := &pull{
				Number: len(q.repo.pulls) + 1, State: "open", Title: in.Title, Body: in.Body,
				Head: pullSide{Label: label, Ref: branch, SHA: id, Repo: map[string]string{"full_name": from.name}},
				Base: pullSide{Label: owner + ":" + in.Base, Ref: in.Base, SHA: q.repo.refs["refs/heads/"+in.Base], Repo: map[string]string{"full_name": q.repo.name}},
			}
			p.URL = fmt.Sprintf("%s/%s/pull/%d", q.base, q.repo.name, p.Number)
			q.repo.pulls = append(q.repo.pulls, p)
			q.say(http.StatusCreated, p)
		}
	default:
		q.notFound()
	}
}

// mergeUpstream brings a branch of a fork up to date
// (https://docs.github.com/rest/branches/branches#sync-a-fork-branch-with-the-upstream-repository).
func (h *Hub) mergeUpstream(q request) {
	var in struct{ Branch string }
	if !q.decode(&in) {
		return
	}
	up := h.repos[q.repo.parent]
	if up == nil {
		q.refuse(http.StatusUnprocessableEntity, "This repository is not a fork")
		return
	}
	ref := "refs/heads/" + in.Branch
	if !q.repo.git.above(q.repo.refs[ref], up.refs[ref]) {
		q.refuse(http.StatusConflict, "There are merge conflicts")
		return
	}
	q.repo.refs[ref] = up.refs[ref]
	q.say(http.StatusOK, map[string]string{"merge_type": "fast-forward", "base_branch": in.Branch})
}
