package githubtest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish/publishtest/githubtest"
)

const name = "example/hello"

// caller makes requests to a hub.
type caller struct {
	t     *testing.T
	url   string
	token string
	next  string // of a list
}

func serve(t *testing.T) (*githubtest.Hub, *githubtest.Repo, *caller) {
	t.Helper()
	hub := githubtest.New()
	repo := hub.Add(name, map[string]string{"README.md": "# Hello\n", "docs/a.md": "a\n"})
	s := httptest.NewServer(hub)
	t.Cleanup(s.Close)
	return hub, repo, &caller{t: t, url: s.URL, token: githubtest.Token}
}

func (c *caller) as(token string) *caller { return &caller{t: c.t, url: c.url, token: token} }

// do makes a request and returns the status and the answer.
func (c *caller) do(method, at string, body any, header ...string) (int, string) {
	c.t.Helper()
	var b []byte
	switch v := body.(type) {
	case nil:
	case []byte:
		b = v
	default:
		var err error
		if b, err = json.Marshal(v); err != nil {
			c.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, c.url+at, bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.next = res.Header.Get("Link")
	return res.StatusCode, string(out)
}

// must makes a request that has to be answered with the status, and reads the answer.
func (c *caller) must(status int, method, at string, body any) map[string]any {
	c.t.Helper()
	got, text := c.do(method, at, body)
	if got != status {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, at, got, status, text)
	}
	var out map[string]any
	if text != "" && json.Unmarshal([]byte(text), &out) != nil {
		c.t.Fatalf("%s %s: %s", method, at, text)
	}
	return out
}

// refused makes a request that has to be refused with a status and a word.
func (c *caller) refused(status int, word, method, at string, body any) {
	c.t.Helper()
	if got, text := c.do(method, at, body); got != status || !strings.Contains(text, word) {
		c.t.Errorf("%s %s: %d %s; want %d with %q", method, at, got, text, status, word)
	}
}

type object = map[string]any

const releases = "/repos/" + name + "/releases"

func (c *caller) draft(tag string) string {
	c.t.Helper()
	return fmt.Sprint(int64(c.must(201, "POST", releases, object{"tag_name": tag, "draft": true, "body": "notes"})["id"].(float64)))
}

func (c *caller) upload(id, asset string, content string) (int, string) {
	c.t.Helper()
	return c.do("POST", releases+"/"+id+"/assets?name="+asset, []byte(content), "Content-Type", "text/plain")
}

func TestReleases(t *testing.T) {
	_, repo, c := serve(t)
	repo.Tag("v1.0.0", repo.Tip("main"))
	id := c.draft("v1.0.0")
	if status, text := c.upload(id, "a%20b~c.txt", "hello"); status != 201 || !strings.Contains(text, `"a.b.c.txt"`) {
		t.Fatal(status, text)
	}
	c.upload(id, "x.txt", "hello")
	if status, text := c.upload(id, "x.txt", "other"); status != 422 || !strings.Contains(text, "already_exists") {
		t.Error(status, text)
	}
	// A draft is for those who may write, and not found by its tag.
	for _, who := range []*caller{c.as(""), c.as(githubtest.Reader)} {
		who.refused(404, "Not Found", "GET", releases+"/"+id, nil)
		if _, text := who.do("GET", releases, nil); strings.TrimSpace(text) != "[]" {
			t.Errorf("%s sees %s", who.token, text)
		}
	}
	c.refused(404, "", "GET", releases+"/tags/v1.0.0", nil)
	c.refused(404, "", "GET", releases+"/latest", nil)
	if status, _ := c.as("").do("GET", "/"+name+"/releases/download/v1.0.0/x.txt", nil); status != 404 {
		t.Error("an asset of a draft is public")
	}
	c.must(200, "PATCH", releases+"/"+id, object{"draft": false})
	if status, text := c.as("").do("GET", "/"+name+"/releases/download/v1.0.0/x.txt", nil); status != 200 || text != "hello" {
		t.Error(status, text)
	}
	if repo.Latest() != "v1.0.0" || c.must(200, "GET", releases+"/latest", nil)["tag_name"] != "v1.0.0" {
		t.Error("a release that is out is not the latest")
	}
	c.refused(422, "already_exists", "POST", releases, object{"tag_name": "v1.0.0"})
	c.refused(422, "valid tag", "POST", releases, object{"tag_name": "v3.0.0", "target_commitish": "nowhere"})
	c.refused(422, "125000", "POST", releases, object{"tag_name": "v3.0.0", "body": strings.Repeat("é", 125_001)})
	c.refused(422, "make_latest", "POST", releases, object{"tag_name": "v3.0.0", "prerelease": true, "make_latest": "true"})
	c.refused(404, "category", "POST", releases, object{"tag_name": "v3.0.0", "discussion_category_name": "None"})
	c.must(201, "POST", releases, object{"tag_name": "v0.9.0", "make_latest": "false"})
	if repo.Latest() != "v1.0.0" {
		t.Error("what is not to be the latest is")
	}
	c.as("").refused(401, "", "POST", releases, object{"tag_name": "v9.0.0"})
	c.as("wrong").refused(401, "Bad credentials", "GET", "/repos/"+name, nil)
	c.as(githubtest.Reader).refused(403, "not accessible", "POST", releases, object{"tag_name": "v9.0.0"})
}

func TestImmutable(t *testing.T) {
	_, repo, c := serve(t)
	repo.Set(func(r *githubtest.Repo) { r.Immutable = true })
	id := c.draft("v1.0.0")
	c.upload(id, "x.txt", "hello")
	asset := c.must(200, "PATCH", releases+"/"+id, object{"draft": false})["assets"].([]any)[0].(object)
	if status, text := c.upload(id, "y.txt", "hello"); status != 422 || !strings.Contains(text, "immutable") {
		t.Error(status, text)
	}
	c.refused(422, "immutable", "DELETE", fmt.Sprintf("%s/assets/%v", releases, asset["id"]), nil)
	c.refused(422, "immutable", "PATCH", releases+"/"+id, object{"draft": true})
	c.refused(422, "immutable", "PATCH", releases+"/"+id, object{"tag_name": "v2.0.0"})
	c.refused(422, "immutable", "DELETE", "/repos/"+name+"/git/refs/tags/v1.0.0", nil)
	if got := c.must(200, "PATCH", releases+"/"+id, object{"body": "other notes"}); got["body"] != "other notes" || got["immutable"] != true {
		t.Error(got)
	}
	// Its tag is used up.
	c.must(204, "DELETE", releases+"/"+id, nil)
	c.refused(422, "was used by an immutable release", "POST", releases, object{"tag_name": "v1.0.0", "draft": true})
}

func TestBrokenUploads(t *testing.T) {
	_, repo, c := serve(t)
	id := c.draft("v1.0.0")
	repo.Set(func(r *githubtest.Repo) { r.Break = 1 })
	if status, _ := c.upload(id, "x.txt", "hello"); status != 502 {
		t.Error(status)
	}
	if _, text := c.do("GET", releases+"/"+id+"/assets", nil); !strings.Contains(text, `"state":"starter"`) || !strings.Contains(text, `"digest":null`) {
		t.Error(text)
	}
	if status, text := c.upload(id, "x.txt", "hello"); status != 422 {
		t.Error(status, text)
	}
}

func TestPages(t *testing.T) {
	_, _, c := serve(t)
	for i := range 5 {
		c.draft(fmt.Sprintf("v1.0.%d", i))
	}
	if _, text := c.do("GET", releases+"?per_page=2", nil); !strings.Contains(c.next, `page=2&per_page=2>; rel="next"`) || !strings.Contains(text, "v1.0.4") {
		t.Errorf("%s, then %s", text, c.next)
	}
	if _, text := c.do("GET", releases+"?per_page=2&page=3", nil); c.next != "" || !strings.Contains(text, "v1.0.0") {
		t.Errorf("%s, then %s", text, c.next)
	}
}

// Bytes come from another host than the API, which gets no token.
func TestStorage(t *testing.T) {
	hub, _, c := serve(t)
	id := c.draft("v1.0.0")
	_, text := c.upload(id, "x.txt", "hello")
	var asset struct{ URL string }
	if err := json.Unmarshal([]byte(text), &asset); err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(asset.URL, c.url)
	if status, text := c.do("GET", at, nil, "Accept", "application/octet-stream"); status != 200 || text != "hello" || len(hub.Leaks()) != 0 {
		t.Error(status, text, hub.Leaks())
	}
	if status, _ := c.do("GET", "/storage/2", nil); status != 400 || len(hub.Leaks()) != 1 {
		t.Error("a token for the storage was taken")
	}
}

func TestQuota(t *testing.T) {
	hub, _, c := serve(t)
	hub.Quota(1, 1_700_000_000)
	c.must(200, "GET", "/repos/"+name, nil)
	c.refused(403, "rate limit", "GET", "/repos/"+name, nil)
	hub.NoQuota()
	c.must(200, "GET", "/repos/"+name, nil)
}

func TestRepositories(t *testing.T) {
	hub, repo, c := serve(t)
	hub.Add("example/secret", nil).Set(func(r *githubtest.Repo) { r.Private = true })
	c.as("").refused(404, "", "GET", "/repos/example/secret", nil)
	c.must(200, "GET", "/repos/Example/Secret", nil)
	c.refused(409, "empty", "GET", "/repos/example/secret/git/ref/heads/main", nil)
	push := func(token string) any {
		return c.as(token).must(200, "GET", "/api/v3/repos/"+name, nil)["permissions"].(object)["push"]
	}
	if push(githubtest.Token) != true || push(githubtest.Reader) != false || push(githubtest.App) != false {
		t.Error("wrong permissions")
	}
	c.refused(403, "installation", "GET", "/installation/repositories", nil)
	c.as(githubtest.App).must(200, "GET", "/installation/repositories", nil)
	hub.Move(name, "example/other")
	if got := c.must(200, "GET", "/repos/"+name, nil); got["full_name"] != "example/other" || repo.Name() != "example/other" {
		t.Error(got)
	}
	repo.Set(func(r *githubtest.Repo) { r.Archived = true })
	c.refused(403, "archived", "POST", "/repos/example/other/releases", object{"tag_name": "v1.0.0"})
}

// commit commits a file to main over the API, as a publisher does.
func (c *caller) commit(file, content string) (id string) {
	c.t.Helper()
	at := "/repos/" + name + "/git/"
	parent := c.must(200, "GET", at+"ref/heads/main", nil)["object"].(object)["sha"]
	base := c.must(200, "GET", at+"commits/"+parent.(string), nil)["tree"].(object)["sha"]
	tree := c.must(201, "POST", at+"trees", object{"base_tree": base, "tree": []object{{"path": file, "mode": "100644", "type": "blob", "content": content}}})
	who := object{"name": "Hello", "email": "hello@example.com", "date": "2026-03-14T15:09:26Z"}
	made := c.must(201, "POST", at+"commits", object{"message": "Add " + file, "tree": tree["sha"], "parents": []any{parent}, "author": who, "committer": who})
	return made["sha"].(string)
}

func TestGit(t *testing.T) {
	_, repo, c := serve(t)
	at := "/repos/" + name + "/git/"
	first := repo.Tip("main")
	one, two := c.commit("Formula/a.rb", "a\n"), c.commit("Formula/a.rb", "a\n")
	if one != two {
		t.Error("one commit has two ids")
	}
	c.must(200, "PATCH", at+"refs/heads/main", object{"sha": one})
	c.must(201, "POST", at+"refs", object{"ref": "refs/heads/a/b", "sha": first})
	c.refused(422, "fast forward", "PATCH", at+"refs/heads/main", object{"sha": first})
	c.refused(422, "already exists", "POST", at+"refs", object{"ref": "refs/heads/a/b", "sha": first})
	c.refused(422, "Object does not exist", "POST", at+"refs", object{"ref": "refs/heads/c", "sha": strings.Repeat("0", 40)})
	c.refused(404, "", "POST", at+"trees", object{"base_tree": strings.Repeat("0", 40), "tree": []object{}})
	c.refused(422, "malformed", "POST", at+"trees", object{"tree": []object{{"path": "../x", "mode": "100644", "content": "x"}}})
	if got, ok := repo.File("main", "Formula/a.rb"); !ok || got != "a\n" {
		t.Errorf("%q", got)
	}
	file := c.must(200, "GET", "/repos/"+name+"/contents/Formula/a.rb?ref="+one, nil)
	if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(file["content"].(string))); err != nil || string(b) != "a\n" {
		t.Error(file)
	}
	if status, text := c.do("GET", "/repos/"+name+"/contents/Formula/a.rb", nil, "Accept", "application/vnd.github.raw+json"); status != 200 || text != "a\n" {
		t.Error(status, text)
	}
	if status, text := c.do("GET", "/repos/"+name+"/contents", nil); status != 200 || !strings.Contains(text, `"type":"dir"`) {
		t.Error(status, text)
	}
	repo.AnnotatedTag("v1.0.0", one)
	tag := c.must(200, "GET", at+"ref/tags/v1.0.0", nil)["object"].(object)
	if tag["type"] != "tag" || c.must(200, "GET", at+"tags/"+tag["sha"].(string), nil)["object"].(object)["sha"] != one {
		t.Error(tag)
	}
	repo.Protect("main")
	c.refused(422, "pull request", "PATCH", at+"refs/heads/main", object{"sha": c.commit("b", "b")})
}

// The ids are those of git.
func TestIDs(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git")
	}
	_, repo, c := serve(t)
	id := c.commit("Formula/a.rb", "a\n")
	dir := t.TempDir()
	git := func(env []string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}, env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	identity := func(name, email, date string) []string {
		return []string{
			"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + email, "GIT_AUTHOR_DATE=" + date,
			"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + email, "GIT_COMMITTER_DATE=" + date,
		}
	}
	put := func(name, content string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The API writes messages as they come, and git commit ends them with a newline.
	commit := func(env []string, message, parent string) string {
		t.Helper()
		args := []string{"commit-tree", git(nil, "write-tree")}
		if parent != "" {
			args = append(args, "-p", parent)
		}
		raw := git(nil, "cat-file", "commit", git(env, append(args, "-m", message)...))
		put("../commit", raw[:strings.LastIndex(raw, message)]+message)
		return git(nil, "hash-object", "-t", "commit", "-w", "../commit")
	}
	git(nil, "init", "-q")
	put("README.md", "# Hello\n")
	put("docs/a.md", "a\n")
	git(nil, "add", "-A")
	first := commit(identity("Somebody", "somebody@example.com", "2026-01-01T00:00:00Z"), "begin", "")
	if first != repo.Tip("main") {
		t.Errorf("the first commit is %s and not %s", repo.Tip("main"), first)
	}
	put("Formula/a.rb", "a\n")
	git(nil, "add", "-A")
	if want := commit(identity("Hello", "hello@example.com", "2026-03-14T15:09:26Z"), "Add Formula/a.rb", first); want != id {
		t.Errorf("the second commit is %s and not %s", id, want)
	}
}

func TestPulls(t *testing.T) {
	hub, up, c := serve(t)
	fork := up.Fork("somebody/hello")
	fork.Commit("add", map[string]string{"new": "new"})
	at := "/repos/" + name + "/pulls"
	in := object{"title": "Add new", "head": "somebody:add", "base": "main"}
	c.must(201, "POST", at, in)
	c.refused(422, "already exists for somebody:add", "POST", at, in)
	c.refused(422, "No commits between", "POST", at, object{"title": "x", "head": "somebody:main", "base": "main"})
	c.refused(422, "head", "POST", at, object{"title": "x", "head": "nobody:main", "base": "main"})
	if _, text := c.do("GET", at+"?head=somebody:add&state=all", nil); !strings.Contains(text, `"full_name":"somebody/hello"`) || !strings.Contains(text, `"merged_at":null`) {
		t.Error(text)
	}
	up.Merge()
	if got, _ := up.File("main", "new"); got != "new" || strings.Join(up.Pulls(), ";") != "closed somebody:add -> main: Add new" {
		t.Errorf("%q, %q", got, up.Pulls())
	}
	if got := c.must(200, "POST", "/repos/somebody/hello/merge-upstream", object{"branch": "main"}); got["merge_type"] != "fast-forward" || fork.Tip("main") != up.Tip("main") {
		t.Error(got)
	}
	fork.Commit("main", map[string]string{"x": "1"})
	up.Commit("main", map[string]string{"x": "2"})
	c.refused(409, "conflicts", "POST", "/repos/somebody/hello/merge-upstream", object{"branch": "main"})
	if about := c.must(200, "GET", "/repos/somebody/hello", nil); about["parent"].(object)["full_name"] != name {
		t.Error(about)
	}
	if state := hub.State(); !strings.Contains(state, "example/hello pull somebody:add -> main closed merged=true") {
		t.Error(state)
	}
}
