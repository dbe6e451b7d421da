package branch

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// State is how a commit of one side of a fork stands to the other side.
type State string

// The states of commits. All are worked out of the history; a trailer alone proves nothing.
const (
	Picked    State = "picked"    // a trailer on the branch names it, and both make the same change
	Same      State = "same"      // no trailer names it, and a commit of the branch makes the same change
	Edited    State = "edited"    // a trailer names it, and the changes differ
	Unfounded State = "unfounded" // the trailer names no commit of the default branch
	Missing   State = "missing"   // nothing on the branch is of it
	Own       State = "own"       // a commit of the branch alone, without a trailer
	Empty     State = "empty"     // it changes nothing, or the version file alone
)

// Commit is a commit of one side, or what both have of it.
type Commit struct {
	State   State  `json:"state"`
	Commit  string `json:"commit,omitempty"` // on the default branch; what the trailer says where that is unfounded
	Branch  string `json:"branch,omitempty"` // on the branch of the line
	Subject string `json:"subject"`
}

// Status is what two sides of a fork have of each other.
type Status struct {
	Branch  string   `json:"branch"`
	Main    string   `json:"main"`
	Fork    string   `json:"fork"`
	Commits []Commit `json:"commits"` // those of the default branch, then those of the branch alone, each oldest first
}

// Count is how many commits have a state.
func (s Status) Count(state State) int {
	n := 0
	for _, c := range s.Commits {
		if c.State == state {
			n++
		}
	}
	return n
}

// trailers of a commit that was picked: git's own, which cherry-pick -x writes too, and the id of the change that was picked. The last
// of each counts, since what is picked may have been picked itself.
var (
	pickedFrom = regexp.MustCompile(`(?m)^\(cherry picked from commit ([0-9a-f]{40}|[0-9a-f]{64})\)$`)
	patchOf    = regexp.MustCompile(`(?m)^` + patchKey + `: ([0-9a-f]{40}|[0-9a-f]{64})$`)
)

const patchKey = "Slipway-Patch-Id"

func last(re *regexp.Regexp, message string) string {
	all := re.FindAllStringSubmatch(message, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

// logged is a commit as a walk sees it.
type logged struct {
	id      string
	parents []string
	message string
}

func (c logged) subject() string {
	s, _, _ := strings.Cut(c.message, "\n")
	return s
}

// log are the commits that to has and from has not, oldest first, with a message in the format: %s for the subject, %B for all of it.
func (r *Repo) log(ctx context.Context, from, to, format string) ([]logged, error) {
	out, err := r.git.Run(ctx, nil, "log", "-z", "--topo-order", "--reverse", "--no-show-signature", "--no-color", "--format=%H%x00%P%x00"+format, from+".."+to, "--")
	if err != nil || len(out) == 0 {
		return nil, err
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	var all []logged
	for f := range slices.Chunk(fields, 3) {
		if len(f) != 3 {
			return nil, fault.Errorf(fault.Git, "running git log: it answers with %d fields", len(fields))
		}
		all = append(all, logged{f[0], strings.Fields(f[1]), f[2]})
	}
	return all, nil
}

// patchIDs are what git patch-id --stable says of commits, without what they change in the version file: lines of that are each side's own.
// A merge has none, nor has a commit that changes nothing.
func (r *Repo) patchIDs(ctx context.Context, commits []string) (map[string]string, error) {
	newer, err := git.New(git.Local(r.o.Environ), r.git.Dir, needsPatch)
	if err == nil {
		err = newer.CheckVersion(ctx)
	}
	if err != nil {
		return nil, err
	}
	var out []byte
	// A blank line of context is a space and a blank line: patch-id counts on that.
	err = r.git.Set("diff.suppressBlankEmpty=false").Stream(ctx, strings.NewReader(strings.Join(commits, "\n")+"\n"), func(diffs io.Reader) (err error) {
		out, err = r.git.Run(ctx, diffs, "patch-id", "--stable")
		return err
	}, "diff-tree", "--stdin", "--root", "-r", "-p", "-U3", "--inter-hunk-context=0", "--diff-algorithm=myers", "--indent-heuristic", "--full-index",
		"--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/", "--",
		":(top,exclude,literal)"+r.versionFile())
	ids := map[string]string{}
	for line := range bytes.Lines(out) {
		if f := strings.Fields(string(line)); len(f) == 2 {
			ids[f[1]] = f[0]
		}
	}
	return ids, err
}

// Status compares the branch of a line with the default branch, as far as either has changed since the fork. It asks no remote. A
// trailer that names no commit of the default branch is a fault.Policy, with the whole status.
func (r *Repo) Status(ctx context.Context, l Line) (Status, error) {
	branch, tip, _, err := r.line(ctx, l)
	if err != nil {
		return Status{}, err
	}
	name, main, err := r.main(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{Branch: branch, Main: name, Commits: []Commit{}}
	if s.Fork, err = r.fork(ctx, main, tip); err != nil {
		return s, err
	}
	left, err := r.log(ctx, s.Fork, main, "%s")
	if err != nil {
		return s, err
	}
	right, err := r.log(ctx, s.Fork, tip, "%B")
	if err != nil {
		return s, err
	}
	sides, err := r.compare(ctx, main, left, right)
	if err != nil {
		return s, err
	}
	s.Commits = sides
	if n := s.Count(Unfounded); n > 0 {
		i := slices.IndexFunc(sides, func(c Commit) bool { return c.State == Unfounded })
		err = fault.Errorf(fault.Policy, "%d of branch %s say that they were picked from what is not on %s: commit %.12s names %.12s; bring the fix to %[3]s, or take the line out of the message",
			n, branch, name, sides[i].Branch, sides[i].Commit)
	}
	return s, err
}

// compare finds for each commit of one side what the other side has of it.
func (r *Repo) compare(ctx context.Context, main string, left, right []logged) ([]Commit, error) {
	onLeft, onRight := map[string]bool{}, map[string]bool{}
	var ids []string
	for _, c := range left {
		onLeft[c.id] = true
		ids = append(ids, c.id)
	}
	for _, c := range right {
		if onRight[c.id] = true; !onLeft[c.id] {
			ids = append(ids, c.id)
		}
		// A trailer may name a commit of before the fork: one that was reverted there, say.
		if from := last(pickedFrom, c.message); from != "" && !onLeft[from] {
			if at, err := r.resolve(ctx, from); err != nil {
				return nil, err
			} else if at != from {
				continue
			}
			founded, err := r.ancestor(ctx, from, main)
			if err != nil {
				return nil, err
			}
			if founded {
				onLeft[from] = true
				ids = append(ids, from)
			}
		}
	}
	patch, err := r.patchIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	of := map[string]Commit{}        // what is known of a commit of the default branch
	unnamed := map[string][]logged{} // commits of the branch without a trailer, by their change
	var alone []Commit               // on the branch
	for _, c := range right {
		from, says := last(pickedFrom, c.message), last(patchOf, c.message)
		switch {
		case len(c.parents) > 1:
		case from == "" && onLeft[c.id]: // it came by a merge
		case from == "":
			if id := patch[c.id]; id != "" {
				unnamed[id] = append(unnamed[id], c)
			} else {
				alone = append(alone, Commit{Own, "", c.id, c.subject()})
			}
		case !onLeft[from]:
			alone = append(alone, Commit{Unfounded, from, c.id, c.subject()})
		default:
			state := Picked
			if patch[c.id] != patch[from] || says != "" && says != patch[from] {
				state = Edited
			}
			// Of several picks of one commit one that makes its change is enough.
			if was, ok := of[from]; !ok || was.State == Edited {
				of[from] = Commit{state, from, c.id, c.subject()}
			}
		}
	}
	var all []Commit
	for _, c := range left {
		is, named := of[c.id]
		id := patch[c.id]
		delete(of, c.id)
		switch {
		case named:
			all = append(all, is)
		case len(c.parents) > 1 || onRight[c.id]:
		case id == "":
			all = append(all, Commit{Empty, c.id, "", c.subject()})
		case len(unnamed[id]) > 0:
			all = append(all, Commit{Same, c.id, unnamed[id][0].id, c.subject()})
			unnamed[id] = unnamed[id][1:]
		default:
			all = append(all, Commit{Missing, c.id, "", c.subject()})
		}
	}
	for _, c := range right {
		if is := of[last(pickedFrom, c.message)]; is.Branch == c.id { // of a commit of before the fork
			alone = append(alone, is)
		}
		if slices.ContainsFunc(unnamed[patch[c.id]], func(u logged) bool { return u.id == c.id }) {
			alone = append(alone, Commit{Own, "", c.id, c.subject()})
		}
	}
	order := map[string]int{}
	for i, c := range right {
		order[c.id] = i
	}
	slices.SortFunc(alone, func(a, b Commit) int { return order[a.Branch] - order[b.Branch] })
	return append(all, alone...), nil
}
