// Package source reads a release's source from git, once: the commit, its time, its tag and the version that follows
// from them. Nothing later asks git, the clock or the environment.
//
// It runs the git command in a fixed environment, with hooks and file system monitors off and replace refs ignored,
// and never a shell. What it exports are the blobs of the commit as they are recorded, untouched by attributes,
// filters and line end conversion, which depend on the machine. The one exception is Git LFS, whose pointers name
// contents by digest; see Export.
//
// Every error that git, the repository or a name in it causes has the exit code fault.Git and names the way out.
package source

import (
	"context"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Options says what to read.
type Options struct {
	// Dir is any folder of the work tree; "" is the current one.
	Dir string
	// Commit is what to read, a commit, a tag or a branch; "" is what is checked out. Where it is named, the work tree is not
	// looked at: nothing is dirty, and the repository may be a bare one.
	Commit string
	// Ref is what the run was started for, refs/tags/v1.2.3 or v1.2.3, and chooses between several tags on one
	// commit. A tag that is not on the commit is an error, and so is one that names no version. What is not a tag
	// (refs/heads/main, main) is ignored, and so is the version of another project, such as api/v1.2.3.
	Ref string
	// AllowDirty accepts changes that are in no commit, submodules at other commits included.
	AllowDirty bool
	// Since is the tag that the release notes start from; "" for the release before in the commit's history. Who builds
	// a release again names the one of its manifest, since a tag may have come into the history later.
	Since string
	// Filters are those that the clone's own configuration may name; see git.Git.
	Filters []string
	// TagPrefix is what version tags begin with, such as cli/ where one repository releases several products.
	TagPrefix string
}

// Tag is a tag that names a version.
type Tag struct {
	Name    string // without refs/tags/, with the prefix
	Version version.Version
	Commit  string
}

// Source is one commit and the version that it is.
type Source struct {
	Root    string          `json:"-"` // absolute path of the work tree; of the repository where Options.Commit names a commit of a bare one
	Commit  string          `json:"commit"`
	Tree    string          `json:"tree"`
	Time    time.Time       `json:"time"`          // committer time, UTC, whole seconds
	Tag     string          `json:"tag,omitempty"` // "" for a snapshot
	Version version.Version `json:"version"`
	Why     string          `json:"-"` // one sentence: why this version
	// Last is the highest version tag in the commit's history, Tag itself where there is one; "" where there is none.
	Last    string `json:"-"`
	Commits int    `json:"-"` // commits since Last, all commits where there is none
	// Released are all versions tagged in the repository and History the tags in the commit's history, both lowest
	// first. They change while the commit does not, so no more of them is part of what is built than Since.
	Released []version.Version `json:"-"`
	History  []Tag             `json:"-"`
	Dirty    bool              `json:"dirty,omitempty"` // the work tree has changes, and Export takes them

	// Since is the tag that the notes of this release start from: for a stable version the highest lower stable one
	// in the commit's history, for a prerelease or a snapshot the highest lower one of any kind; "" where there is
	// none. Versions that differ in build metadata alone are ordered by it.
	Since string `json:"-"`
	// Changes are the commits that this one has and Since has not, itself included, in the order of Log. Of more than
	// 5000, or than 32 MiB of messages, the first stay, which are the newest.
	Changes []Change `json:"-"`

	repo repo // at Root
}

// git is the repository of the source.
func (s Source) git(ctx context.Context) (repo, error) {
	if s.repo.Dir == "" {
		return open(ctx, s.Root)
	}
	return s.repo, nil
}

// Stable is the highest stable version tag in the commit's history, "" where there is none: what Log starts from to
// tell version.Next the commits that count.
func (s Source) Stable() string {
	for _, t := range slices.Backward(s.History) {
		if t.Version.IsStable() {
			return t.Name
		}
	}
	return ""
}

// Find reads what a commit is, and none of what tags and the history say of it: there is no version. Its files can be read. rev is
// as Options.Commit.
func Find(ctx context.Context, dir, rev string) (Source, error) {
	r, err := openAny(ctx, dir)
	if err != nil {
		return Source{}, err
	}
	s := Source{Root: r.Dir, repo: r}
	if s.Commit, err = r.revision(ctx, rev); err != nil {
		return Source{}, err
	}
	s.Tree, s.Time, err = r.commit(ctx, s.Commit)
	return s, err
}

// head is Find for what is checked out.
func head(ctx context.Context, dir string, filters []string) (Source, error) {
	r, err := open(ctx, dir, filters...)
	if err != nil {
		return Source{}, err
	}
	s := Source{Root: r.Dir, repo: r}
	if s.Commit, err = r.resolve(ctx, "HEAD"); err != nil {
		return Source{}, err
	}
	if s.Commit == "" {
		return Source{}, fault.Errorf(fault.Git, "%s has no commits yet: make one with `git commit`", r.Dir)
	}
	s.Tree, s.Time, err = r.commit(ctx, s.Commit)
	return s, err
}

// Read reads a commit: the one that is checked out, unless another is named.
//
// Tags of the form v1.2.3 and 1.2.3, prereleases and build metadata included, name versions; others are ignored. Of
// several on the commit Options.Ref decides, else the highest, and of two that name the same version the one with v.
// A commit without such a tag is a snapshot of what follows the highest version tag in its history; see
// version.Snapshot.
//
// Read refuses a shallow clone, submodules that are not checked out as recorded, and changes that are in no commit,
// untracked files included.
func Read(ctx context.Context, o Options) (Source, error) {
	if err := checkName("tag prefix", o.TagPrefix); err != nil {
		return Source{}, err
	}
	wanted, err := o.wanted()
	if err != nil {
		return Source{}, err
	}
	var s Source
	if o.Commit == "" {
		s, err = head(ctx, o.Dir, o.Filters)
	} else {
		s, err = Find(ctx, o.Dir, o.Commit)
	}
	if err != nil {
		return Source{}, err
	}
	if err := s.readTags(ctx, s.repo, o.TagPrefix, wanted); err != nil {
		return Source{}, err
	}
	if o.Commit == "" {
		if s.Dirty, err = s.repo.dirty(ctx, s.Commit, o.AllowDirty); err != nil {
			return Source{}, err
		}
	}
	if s.Dirty {
		s.Why += ", with uncommitted changes"
	}
	since := s.since()
	if o.Since != "" {
		i := slices.IndexFunc(s.History, func(t Tag) bool { return t.Name == o.Since && t.Commit != s.Commit })
		if i < 0 {
			return Source{}, fault.Errorf(fault.Git, "%s is not a version tag in the history of this commit, and the notes cannot start from it", words.Quoted(o.Since))
		}
		since = s.History[i]
	}
	s.Since = since.Name
	s.Changes, err = s.repo.log(ctx, since.Commit, s.Commit, maxChanges, maxMessages)
	return s, err
}

// since is the tag that the notes start from, the zero one for none.
func (s Source) since() Tag {
	for _, t := range slices.Backward(s.History) {
		if t.Version.Compare(s.Version) < 0 && (t.Version.IsStable() || s.Version.IsPrerelease()) {
			return t
		}
	}
	return Tag{}
}

// wanted is the tag that Ref names, "" where it names none.
func (o Options) wanted() (string, error) {
	if err := checkName("ref", o.Ref); err != nil {
		return "", err
	}
	if tag, ok := strings.CutPrefix(o.Ref, tagRefs); ok {
		return tag, checkName("tag", tag)
	}
	if _, ok := ParseTag(o.Ref, o.TagPrefix); ok {
		return o.Ref, nil
	}
	return "", nil
}

// maxTime is the last second of the year 9999, the last that RFC 3339 can write.
const maxTime = 253402300799

// commit reads tree and committer time from the commit object itself, since git log shows times that it cannot read
// as others.
func (r repo) commit(ctx context.Context, id string) (tree string, when time.Time, err error) {
	out, err := r.run(ctx, "cat-file", "commit", id)
	if err != nil {
		return "", time.Time{}, err
	}
	header, _, _ := strings.Cut(out, "\n\n")
	seconds := int64(math.MinInt64)
	for line := range strings.SplitSeq(header, "\n") {
		if rest, ok := strings.CutPrefix(line, "tree "); ok {
			tree = rest
		}
		if rest, ok := strings.CutPrefix(line, "committer "); ok {
			if fields := strings.Fields(rest[strings.LastIndexByte(rest, '>')+1:]); len(fields) > 0 {
				if n, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
					seconds = n
				}
			}
		}
	}
	if !git.IsObject(tree) {
		return "", time.Time{}, fault.Errorf(fault.Git, "commit %s names no tree: check the repository with `git fsck`", id)
	}
	if seconds < 0 || seconds > maxTime {
		return "", time.Time{}, fault.Errorf(fault.Git, "commit %s has no time between 1970 and 9999, and every time in a release is "+
			"the commit's: make the commit again with `git commit --amend --no-edit`", id)
	}
	return tree, time.Unix(seconds, 0).UTC(), nil
}

const tagRefs = "refs/tags/"

// ParseTag is the version that a tag names, and whether it names one of the project whose tags begin with prefix.
func ParseTag(name, prefix string) (version.Version, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return version.Version{}, false
	}
	v, err := version.Parse(rest)
	return v, err == nil
}

// readTags fills in everything that tags decide.
func (s *Source) readTags(ctx context.Context, r repo, prefix, wanted string) error {
	commits, err := r.tags(ctx)
	if err != nil {
		return err
	}
	var all []Tag
	for name, commit := range commits {
		if v, ok := ParseTag(name, prefix); ok {
			all = append(all, Tag{name, v, commit})
		}
	}
	// Of two names for one version the one with v comes last, as the highest does: Go's module tags have it.
	slices.SortFunc(all, func(a, b Tag) int {
		if c := a.Version.Compare(b.Version); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	var here []Tag
	for _, t := range all {
		s.Released = append(s.Released, t.Version)
		if t.Commit == s.Commit {
			here = append(here, t)
		}
	}
	s.Released = slices.Compact(s.Released)
	if len(all) > 0 {
		merged, err := r.mergedTags(ctx, s.Commit)
		if err != nil {
			return err
		}
		s.History = slices.DeleteFunc(all, func(t Tag) bool { return !merged[t.Name] })
	}

	if wanted != "" {
		if err := checkTag(wanted, commits[wanted], s.Commit, "the run was started for"); err != nil {
			return err
		}
		if i := slices.IndexFunc(here, func(t Tag) bool { return t.Name == wanted }); i >= 0 {
			s.tagged(here[i], fmt.Sprintf("tag %s is on this commit and is what the run was started for", wanted))
			return nil
		}
		if _, ok := ParseTag(path.Base(wanted), ""); !ok {
			return fault.Errorf(fault.Git, "tag %s, which the run was started for, names no version: a version is tagged %sv1.2.3", words.Quoted(wanted), prefix)
		}
	}
	switch n := len(here); n {
	case 0:
		return s.snapshot(ctx, r)
	case 1:
		s.tagged(here[0], fmt.Sprintf("tag %s is on this commit", here[0].Name))
	default:
		s.tagged(here[n-1], fmt.Sprintf("tag %s is the highest of %d version tags on this commit", here[n-1].Name, n))
	}
	return nil
}

func (s *Source) tagged(t Tag, why string) {
	s.Tag, s.Last, s.Version, s.Why = t.Name, t.Name, t.Version, why
}

func (s *Source) snapshot(ctx context.Context, r repo) error {
	var last Tag
	if n := len(s.History); n > 0 {
		last = s.History[n-1]
	}
	args := []string{"rev-list", "--count", s.Commit}
	if last.Commit != "" {
		args = append(args, "--not", last.Commit)
	}
	out, err := r.run(ctx, args...)
	if err != nil {
		return err
	}
	if s.Commits, err = strconv.Atoi(strings.TrimSpace(out)); err != nil {
		return fault.Errorf(fault.Git, "counting commits: %w", err)
	}
	s.Last = last.Name
	s.Version = version.Snapshot(last.Version, s.Commits, s.Commit)
	if s.Version.IsZero() {
		return fault.Errorf(fault.Git, "no version can follow tag %s: delete it with `git tag -d`", last.Name)
	}
	commits := "1 commit"
	if s.Commits != 1 {
		commits = fmt.Sprintf("%d commits", s.Commits)
	}
	if s.Last == "" {
		s.Why = fmt.Sprintf("no version tag is in the history of this commit, which has %s", commits)
	} else {
		s.Why = fmt.Sprintf("no version tag is on this commit, which is %s after %s", commits, s.Last)
	}
	return nil
}

// tags maps every tag to the object that it names in the end, through tags of tags.
func (r repo) tags(ctx context.Context) (map[string]string, error) {
	out, err := r.run(ctx, "show-ref", "--tags", "--dereference")
	if git.No(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for line := range strings.Lines(out) {
		id, ref, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, isTag := strings.CutPrefix(ref, tagRefs)
		if !ok || !isTag || !git.IsObject(id) {
			return nil, fault.Errorf(fault.Git, "reading tags: git answers %.80q", line)
		}
		// A peeled tag follows the tag itself. No name can contain ^.
		tags[strings.TrimSuffix(name, "^{}")] = id
	}
	return tags, nil
}

// mergedTags are the tags in the history of the commit.
func (r repo) mergedTags(ctx context.Context, commit string) (map[string]bool, error) {
	out, err := r.run(ctx, "for-each-ref", "--merged="+commit, "--format=%(refname)", tagRefs)
	if err != nil {
		return nil, err
	}
	merged := map[string]bool{}
	for line := range strings.Lines(out) {
		merged[strings.TrimPrefix(strings.TrimSuffix(line, "\n"), tagRefs)] = true
	}
	return merged, nil
}

// checkTag holds the tag to the commit. got is the tag's commit, "" where there is no such tag.
func checkTag(tag, got, want, who string) error {
	switch got {
	case want:
		return nil
	case "":
		return fault.Errorf(fault.Git, "tag %s, which %s, is not in this clone: fetch it with `git fetch --tags`", words.Quoted(tag), who)
	}
	return fault.Errorf(fault.Git, "tag %s, which %s, is on commit %s and not on %s: check out the tag, or move it back",
		words.Quoted(tag), who, got, want)
}

// VerifyTag holds a tag to the commit that was recorded for it: a tag that moved since is an error that names both.
func VerifyTag(ctx context.Context, dir, tag, commit string) error {
	tag = strings.TrimPrefix(tag, tagRefs)
	if err := checkName("tag", tag); err != nil {
		return err
	}
	if !git.IsObject(commit) {
		return fault.Errorf(fault.Git, "commit %.80q of tag %s is not a full object name", commit, words.Quoted(tag))
	}
	r, err := open(ctx, dir)
	if err != nil {
		return err
	}
	got, err := r.resolve(ctx, tagRefs+tag)
	if err != nil {
		return err
	}
	return checkTag(tag, got, commit, "was recorded")
}

// Root is the top folder of the work tree that dir is in.
func Root(ctx context.Context, dir string) (string, error) {
	r, err := at(dir)
	if err != nil {
		return "", err
	}
	root, err := r.run(ctx, "rev-parse", "--show-toplevel")
	return filepath.FromSlash(strings.TrimSuffix(root, "\n")), err
}

// Head is the commit that is checked out in the work tree that dir is in, also in a shallow clone; "" where there is none
// yet, or no repository.
func Head(ctx context.Context, dir string) (string, error) {
	r, err := at(dir)
	if err != nil {
		return "", err
	}
	if _, err := r.run(ctx, "rev-parse", "--git-dir"); git.KindOf(err) == git.NoRepository {
		return "", nil
	} else if err != nil {
		return "", err
	}
	if r, err = r.distrust(ctx); err != nil {
		return "", err
	}
	return r.resolve(ctx, "HEAD")
}

// Has reports whether the repository has a commit.
func Has(ctx context.Context, dir, commit string) (bool, error) {
	if !git.IsObject(commit) {
		return false, nil
	}
	r, err := open(ctx, dir)
	if err != nil {
		return false, err
	}
	got, err := r.resolve(ctx, commit)
	return got != "", err
}

// revision resolves a tag, a commit or HEAD. Git takes a tag before a branch of the same name.
func (r repo) revision(ctx context.Context, rev string) (string, error) {
	if err := checkName("revision", rev); err != nil {
		return "", err
	}
	id, err := r.resolve(ctx, rev)
	if err == nil && id == "" {
		err = fault.Errorf(fault.Git, "revision %s is not in this clone: fetch it with `git fetch --tags`", words.Quoted(rev))
	}
	return id, err
}
