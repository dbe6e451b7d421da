package githubtest

import (
	"crypto/sha1" // the ids of git
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// objects are those of git, with the ids that git gives them
// (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects). Trees are kept as their files by path.
type objects struct {
	blobs   map[string][]byte
	trees   map[string]map[string]entry
	commits map[string]commit
	tags    map[string]annotated
}

// entry is a file in a tree.
type entry struct{ mode, id string }

type commit struct {
	message   string
	parents   []string
	tree      string
	author    person
	committer person
}

// annotated is an object that a tag points at and that points at a commit.
type annotated struct {
	tag, message, commit string
	tagger               person
}

type person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	Date  string `json:"date"`
}

// line is a person as an object of git has one.
func (p person) line() (string, error) {
	at, err := time.Parse(time.RFC3339, p.Date)
	return fmt.Sprintf("%s <%s> %d %s", p.Name, p.Email, at.Unix(), at.Format("-0700")), err
}

func newObjects() *objects {
	return &objects{blobs: map[string][]byte{}, trees: map[string]map[string]entry{}, commits: map[string]commit{}, tags: map[string]annotated{}}
}

// share gives all objects to other repositories too.
func (o *objects) share(to *objects) {
	maps.Copy(to.blobs, o.blobs)
	maps.Copy(to.trees, o.trees)
	maps.Copy(to.commits, o.commits)
	maps.Copy(to.tags, o.tags)
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

// with is a tree with further files.
func (o *objects) with(tree string, files map[string]string) string {
	all := o.copy(tree)
	for name, content := range files {
		all[name] = entry{"100644", o.blob([]byte(content))}
	}
	return o.tree(all)
}

func (o *objects) copy(tree string) map[string]entry {
	all := map[string]entry{}
	maps.Copy(all, o.trees[tree])
	return all
}

// tree keeps a tree and all that are below it.
func (o *objects) tree(files map[string]entry) string {
	lines := map[string]string{} // by name, in the order of git
	below := map[string]map[string]entry{}
	for name, e := range files {
		if dir, rest, nested := strings.Cut(name, "/"); nested {
			if below[dir] == nil {
				below[dir] = map[string]entry{}
			}
			below[dir][rest] = e
		} else {
			lines[name] = e.mode + " " + name + "\x00" + raw(e.id)
		}
	}
	for dir, inside := range below {
		lines[dir+"/"] = "40000 " + dir + "\x00" + raw(o.tree(inside))
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		b.WriteString(lines[name])
	}
	id := hash("tree", []byte(b.String()))
	o.trees[id] = files
	return id
}

func raw(id string) string {
	b, err := hex.DecodeString(id)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// byHand is a commit that somebody makes elsewhere.
func (o *objects) byHand(message string, parents []string, tree, date string) string {
	p := person{"Somebody", "somebody@example.com", date}
	id, err := o.commit(commit{message, parents, tree, p, p})
	if err != nil {
		panic(err)
	}
	return id
}

func (o *objects) commit(c commit) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", c.tree)
	for _, p := range c.parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	author, err := c.author.line()
	if err != nil {
		return "", err
	}
	committer, err := c.committer.line()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s", author, committer, c.message)
	id := hash("commit", []byte(b.String()))
	o.commits[id] = c
	return id, nil
}

func (o *objects) annotate(t annotated) string {
	tagger, err := t.tagger.line()
	if err != nil {
		panic(err)
	}
	id := hash("tag", []byte(fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger %s\n\n%s", t.commit, t.tag, tagger, t.message)))
	o.tags[id] = t
	return id
}

func (o *objects) treeOf(commit string) string { return o.commits[commit].tree }

func (o *objects) read(tree, name string) ([]byte, bool) {
	e, ok := o.trees[tree][name]
	return o.blobs[e.id], ok
}

// above tells whether a commit is another one or an ancestor of it.
func (o *objects) above(ancestor, id string) bool {
	seen, todo := map[string]bool{}, []string{id}
	for len(todo) > 0 {
		id, todo = todo[0], todo[1:]
		if id == ancestor {
			return true
		}
		if !seen[id] {
			seen[id] = true
			todo = append(todo, o.commits[id].parents...)
		}
	}
	return false
}

// Fork adds a fork of a repository, with its branches as they are.
func (r *Repo) Fork(name string) *Repo {
	f := r.hub.Add(name, nil)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.git.share(f.git)
	f.refs, f.parent, f.branch = maps.Clone(r.refs), r, r.branch
	return f
}

// Branch points a branch at an id, or removes it where that is "".
func (r *Repo) Branch(branch, id string) { r.point("refs/heads/"+branch, id) }

// Tag points a tag at an id, which need not be a commit that the repository has, or removes it where that is "".
func (r *Repo) Tag(tag, id string) { r.point("refs/tags/"+tag, id) }

func (r *Repo) point(ref, id string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if r.refs[ref] = id; id == "" {
		delete(r.refs, ref)
	}
}

// AnnotatedTag points a tag at an object that points at an id.
func (r *Repo) AnnotatedTag(tag, id string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.refs["refs/tags/"+tag] = r.git.annotate(annotated{tag, "Release " + tag + "\n", id, person{"Somebody", "somebody@example.com", instant}})
}

// DefaultBranch makes a branch the default one, under which the former one is no more.
func (r *Repo) DefaultBranch(branch string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if id := r.refs["refs/heads/"+r.branch]; id != "" && branch != r.branch {
		delete(r.refs, "refs/heads/"+r.branch)
		r.refs["refs/heads/"+branch] = id
	}
	r.branch = branch
}

// Commit commits files to a branch, as somebody else would, and returns the commit.
func (r *Repo) Commit(branch string, files map[string]string) string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	var parents []string
	at := r.refs["refs/heads/"+branch]
	if at != "" {
		parents = []string{at}
	}
	id := r.git.byHand("by hand", parents, r.git.with(r.git.treeOf(at), files), "2026-01-02T00:00:00Z")
	r.refs["refs/heads/"+branch] = id
	return id
}

// Protect refuses what is pushed to a branch.
func (r *Repo) Protect(branch string) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.protect[branch] = "Changes must be made through a pull request."
}

// Tip is the commit that a branch is at; "" where there is no such branch.
func (r *Repo) Tip(branch string) string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return r.refs["refs/heads/"+branch]
}

// File is the content of a file at the head of a branch.
func (r *Repo) File(branch, name string) (string, bool) {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	b, ok := r.git.read(r.git.treeOf(r.refs["refs/heads/"+branch]), name)
	return string(b), ok
}

// Log are the messages of the commits of a branch, newest first.
func (r *Repo) Log(branch string) []string {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	var out []string
	for id := r.refs["refs/heads/"+branch]; id != ""; {
		c := r.git.commits[id]
		out = append(out, c.message)
		if id = ""; len(c.parents) > 0 {
			id = c.parents[0]
		}
	}
	return out
}

// serveGit serves git's objects and refs (https://docs.github.com/rest/git).
func (h *Hub) serveGit(q request, rest string) {
	kind, name, _ := strings.Cut(rest, "/")
	method := q.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve := map[string]func(request, string){
		"GET ref": h.getRef, "GET matching-refs": h.matchingRefs, "POST refs": h.createRef, "PATCH refs": h.updateRef, "DELETE refs": h.deleteRef,
		"GET commits": h.getCommit, "POST commits": h.createCommit, "GET tags": h.getTag,
		"GET trees": h.getTree, "POST trees": h.createTree, "GET blobs": h.getBlob, "POST blobs": h.createBlob,
	}[method+" "+kind]
	if serve == nil {
		q.notFound()
		return
	}
	serve(q, name)
}

// showRef is a ref as the API shows it.
func (q request) showRef(ref string) map[string]any {
	id, kind := q.repo.refs[ref], "commit"
	if _, ok := q.repo.git.tags[id]; ok {
		kind = "tag"
	}
	return map[string]any{
		"ref": ref, "url": q.api() + "/git/" + ref, "object": map[string]string{"sha": id, "type": kind, "url": q.api() + "/git/" + kind + "s/" + id},
	}
}

func (h *Hub) getRef(q request, name string) {
	switch {
	case len(q.repo.refs) == 0:
		q.refuse(http.StatusConflict, "Git Repository is empty.")
	case q.repo.refs["refs/"+name] == "":
		q.notFound()
	default:
		q.say(http.StatusOK, q.showRef("refs/"+name))
	}
}

func (h *Hub) matchingRefs(q request, name string) {
	all := []any{}
	for _, ref := range slices.Sorted(maps.Keys(q.repo.refs)) {
		if strings.HasPrefix(ref, "refs/"+name) {
			all = append(all, q.showRef(ref))
		}
	}
	q.say(http.StatusOK, all)
}

var refName = regexp.MustCompile(`^refs/[^/]+/.`)

func (h *Hub) createRef(q request, name string) {
	var in struct{ Ref, SHA string }
	if name != "" {
		q.notFound()
		return
	}
	if !q.decode(&in) {
		return
	}
	_, isCommit := q.repo.git.commits[in.SHA]
	_, isTag := q.repo.git.tags[in.SHA]
	switch {
	case len(q.repo.refs) == 0:
		q.refuse(http.StatusConflict, "Git Repository is empty.")
	case !refName.MatchString(in.Ref):
		q.refuse(http.StatusUnprocessableEntity, "Reference name must start with 'refs/' and contain at least two slashes")
	case q.repo.refs[in.Ref] != "":
		q.refuse(http.StatusUnprocessableEntity, "Reference already exists")
	case q.repo.burned[strings.TrimPrefix(in.Ref, "refs/tags/")]:
		q.refuse(http.StatusUnprocessableEntity, "Repository rule violations found")
	case !isCommit && !isTag:
		q.refuse(http.StatusUnprocessableEntity, "Object does not exist")
	default:
		q.repo.refs[in.Ref] = in.SHA
		q.say(http.StatusCreated, q.showRef(in.Ref))
	}
}

func (h *Hub) updateRef(q request, name string) {
	var in struct {
		SHA   string
		Force bool
	}
	if !q.decode(&in) {
		return
	}
	ref := "refs/" + name
	said := q.repo.protect[strings.TrimPrefix(name, "heads/")]
	if q.repo.locked(ref) {
		said = "Cannot update this tag because it is associated with an immutable release."
	}
	switch _, ok := q.repo.git.commits[in.SHA]; {
	case q.repo.refs[ref] == "":
		q.refuse(http.StatusUnprocessableEntity, "Reference does not exist")
	case !ok:
		q.refuse(http.StatusUnprocessableEntity, "Object does not exist")
	case said != "":
		q.refuse(http.StatusUnprocessableEntity, said)
	case !in.Force && !q.repo.git.above(q.repo.refs[ref], in.SHA):
		q.refuse(http.StatusUnprocessableEntity, "Update is not a fast forward")
	default:
		q.repo.refs[ref] = in.SHA
		q.say(http.StatusOK, q.showRef(ref))
	}
}

func (h *Hub) deleteRef(q request, name string) {
	ref := "refs/" + name
	switch {
	case q.repo.refs[ref] == "":
		q.refuse(http.StatusUnprocessableEntity, "Reference does not exist")
	case q.repo.locked(ref):
		q.refuse(http.StatusUnprocessableEntity, "Cannot delete this tag because it is associated with an immutable release.")
	default:
		delete(q.repo.refs, ref)
		q.say(http.StatusNoContent, nil)
	}
}

// locked tells whether a ref is the tag of an immutable release.
func (r *Repo) locked(ref string) bool {
	return slices.ContainsFunc(r.releases, func(rel *release) bool { return rel.immutable && "refs/tags/"+rel.tag == ref })
}

func (q request) showCommit(id string) map[string]any {
	c := q.repo.git.commits[id]
	parents := []map[string]string{}
	for _, p := range c.parents {
		parents = append(parents, map[string]string{"sha": p})
	}
	return map[string]any{
		"sha": id, "message": c.message, "tree": map[string]string{"sha": c.tree}, "parents": parents, "author": c.author, "committer": c.committer,
	}
}

func (h *Hub) getCommit(q request, id string) {
	if _, ok := q.repo.git.commits[id]; !ok {
		q.notFound()
		return
	}
	q.say(http.StatusOK, q.showCommit(id))
}

func (h *Hub) createCommit(q request, _ string) {
	var in struct {
		Message           string
		Tree              string
		Parents           []string
		Author, Committer *person
	}
	if !q.decode(&in) {
		return
	}
	somebody := &person{"Somebody", "somebody@example.com", instant}
	if in.Author == nil {
		in.Author = somebody
	}
	if in.Committer == nil {
		in.Committer = in.Author
	}
	for _, p := range []*person{in.Author, in.Committer} {
		if p.Date == "" {
			p.Date = instant
		}
	}
	switch {
	case in.Message == "":
		q.refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n\"message\" wasn't supplied.")
		return
	case q.repo.git.trees[in.Tree] == nil:
		q.refuse(http.StatusUnprocessableEntity, "Tree SHA does not exist")
		return
	case slices.ContainsFunc(in.Parents, func(id string) bool { _, ok := q.repo.git.commits[id]; return !ok }):
		q.refuse(http.StatusUnprocessableEntity, "Parent SHA does not exist or is not a commit object")
		return
	}
	id, err := q.repo.git.commit(commit{in.Message, in.Parents, in.Tree, *in.Author, *in.Committer})
	if err != nil {
		q.refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+err.Error())
		return
	}
	q.say(http.StatusCreated, q.showCommit(id))
}

// getTag tells of an annotated tag (https://docs.github.com/rest/git/tags#get-a-tag).
func (h *Hub) getTag(q request, id string) {
	t, ok := q.repo.git.tags[id]
	if !ok {
		q.notFound()
		return
	}
	q.say(http.StatusOK, map[string]any{
		"sha": id, "tag": t.tag, "message": t.message, "tagger": t.tagger, "object": map[string]string{"sha": t.commit, "type": "commit"},
	})
}

func (h *Hub) getTree(q request, name string) {
	files, ok := q.repo.git.trees[q.repo.treeAt(name)]
	if !ok {
		q.notFound()
		return
	}
	q.say(http.StatusOK, map[string]any{"sha": q.repo.treeAt(name), "tree": q.listed(files, q.URL.Query().Get("recursive") != ""), "truncated": false})
}

// treeAt is the tree that an id, a branch or a tag leads to.
func (r *Repo) treeAt(name string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
		if id := r.refs[prefix+name]; id != "" {
			name = id
		}
	}
	if t, ok := r.git.tags[name]; ok {
		name = t.commit
	}
	if c, ok := r.git.commits[name]; ok {
		name = c.tree
	}
	return name
}

// listed are the entries of a tree.
func (q request) listed(files map[string]entry, recursive bool) []map[string]any {
	out := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		e := files[name]
		if dir, _, nested := strings.Cut(name, "/"); nested && !recursive {
			if len(out) > 0 && out[len(out)-1]["path"] == dir {
				continue
			}
			out = append(out, map[string]any{"path": dir, "mode": "040000", "type": "tree", "sha": q.repo.git.tree(below(files, dir))})
			continue
		}
		out = append(out, map[string]any{"path": name, "mode": e.mode, "type": "blob", "sha": e.id, "size": len(q.repo.git.blobs[e.id])})
	}
	return out
}

// below are the files in a folder.
func below(files map[string]entry, dir string) map[string]entry {
	out := map[string]entry{}
	for name, e := range files {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			out[rest] = e
		}
	}
	return out
}

// createTree makes a tree: on another one, with inline contents or ids of blobs. An entry whose id is null goes
// (https://docs.github.com/rest/git/trees#create-a-tree).
func (h *Hub) createTree(q request, _ string) {
	var in struct {
		Base string `json:"base_tree"`
		Tree []struct {
			Path, Mode, Type string
			SHA              json.RawMessage
			Content          *string
		}
	}
	if !q.decode(&in) {
		return
	}
	o := q.repo.git
	base := in.Base
	if c, ok := o.commits[base]; ok {
		base = c.tree
	}
	if base != "" && o.trees[base] == nil {
		q.notFound()
		return
	}
	all := o.copy(base)
	for _, e := range in.Tree {
		var id string
		switch given := e.SHA != nil && json.Unmarshal(e.SHA, &id) == nil && string(e.SHA) != "null"; {
		case e.Path == "" || path.Clean(e.Path) != e.Path || strings.HasPrefix(e.Path, "/") || strings.HasPrefix(e.Path, "../"):
			q.refuse(http.StatusUnprocessableEntity, "tree.path contains a malformed path component")
			return
		case given == (e.Content != nil) && string(e.SHA) != "null":
			q.refuse(http.StatusUnprocessableEntity, "Must supply either tree.sha or tree.content, but not both")
			return
		case string(e.SHA) == "null":
			maps.DeleteFunc(all, func(name string, _ entry) bool { return name == e.Path || strings.HasPrefix(name, e.Path+"/") })
			continue
		case !slices.Contains([]string{"100644", "100755", "120000"}, e.Mode):
			q.refuse(http.StatusUnprocessableEntity, "Must supply a valid tree.mode")
			return
		case e.Content != nil:
			id = o.blob([]byte(*e.Content))
		case o.blobs[id] == nil:
			q.refuse(http.StatusUnprocessableEntity, "tree.sha "+id+" is not a valid blob")
			return
		}
		// What was a folder, or has one of its folders as a file, makes way.
		maps.DeleteFunc(all, func(name string, _ entry) bool {
			return strings.HasPrefix(name, e.Path+"/") || strings.HasPrefix(e.Path, name+"/")
		})
		all[e.Path] = entry{e.Mode, id}
	}
	id := o.tree(all)
	q.say(http.StatusCreated, map[string]any{"sha": id, "tree": q.listed(all, false), "truncated": false})
}

func (h *Hub) getBlob(q request, id string) {
	b, ok := q.repo.git.blobs[id]
	if !ok {
		q.notFound()
		return
	}
	q.say(http.StatusOK, map[string]any{"sha": id, "size": len(b), "encoding": "base64", "content": encode(b)})
}

func (h *Hub) createBlob(q request, _ string) {
	var in struct{ Content, Encoding string }
	if !q.decode(&in) {
		return
	}
	b := []byte(in.Content)
	if in.Encoding == "base64" {
		var err error
		if b, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(in.Content, "\n", "")); err != nil {
			q.refuse(http.StatusUnprocessableEntity, "content is not valid Base64")
			return
		}
	}
	q.say(http.StatusCreated, map[string]string{"sha": q.repo.git.blob(b)})
}

// encode is base64 in lines, as GitHub has it.
func encode(b []byte) string {
	const width = 60
	text := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(text) > 0 {
		n := min(width, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return out.String()
}

// maxInline is how large a file is whose contents are told as JSON, in bytes.
const maxInline = 1 << 20

// serveContents serves a file or a folder (https://docs.github.com/rest/repos/contents#get-repository-content).
func (h *Hub) serveContents(q request, name string) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		q.notFound()
		return
	}
	at := q.URL.Query().Get("ref")
	if at == "" {
		at = q.repo.branch
	}
	name = strings.Trim(name, "/")
	files, ok := q.repo.git.trees[q.repo.treeAt(at)]
	if !ok {
		q.refuse(http.StatusNotFound, "No commit found for the ref "+at)
		return
	}
	e, ok := files[name]
	inside := below(files, name)
	if name == "" {
		inside = files
	}
	b := q.repo.git.blobs[e.id]
	about := map[string]any{"type": "file", "name": path.Base(name), "path": name, "sha": e.id, "size": len(b), "url": q.api() + "/contents/" + name}
	switch {
	case ok && strings.Contains(q.Header.Get("Accept"), ".raw"):
		q.w.Header().Set("Content-Type", "application/vnd.github.raw+json; charset=utf-8")
		_, _ = q.w.Write(b)
	case ok && len(b) > maxInline:
		about["encoding"], about["content"] = "none", ""
		q.say(http.StatusOK, about)
	case ok:
		about["encoding"], about["content"] = "base64", encode(b)
		q.say(http.StatusOK, about)
	case len(inside) > 0:
		list := []map[string]any{}
		for _, l := range q.listed(inside, false) {
			kind := map[any]string{"blob": "file", "tree": "dir"}[l["type"]]
			full := path.Join(name, l["path"].(string))
			list = append(list, map[string]any{"type": kind, "name": l["path"], "path": full, "sha": l["sha"], "size": l["size"]})
		}
		q.say(http.StatusOK, list)
	default:
		q.notFound()
	}
}

// serveTags lists tags (https://docs.github.com/rest/repos/repos#list-repository-tags).
func (h *Hub) serveTags(q request) {
	all := []any{}
	for _, ref := range slices.Backward(slices.Sorted(maps.Keys(q.repo.refs))) {
		if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
			id := q.repo.refs[ref]
			if t, ok := q.repo.git.tags[id]; ok {
				id = t.commit
			}
			all = append(all, map[string]any{"name": tag, "commit": map[string]string{"sha": id}})
		}
	}
	from, to := q.page(len(all))
	q.say(http.StatusOK, all[from:to])
}
