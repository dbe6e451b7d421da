package store_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
)

// configured is what people have in their own configuration of git.
const configured = `[core]
	autocrlf = true
	safecrlf = true
	eol = crlf
	ignorecase = true
	precomposeunicode = true
	quotepath = true
	pager = false
	editor = false
	hooksPath = /nonexistent
	abbrev = 4
	logAllRefUpdates = always
	compression = 0
	deltaBaseCacheLimit = 1
	bigFileThreshold = 1
	fsyncMethod = batch
	fsync = all
[commit]
	gpgsign = true
[tag]
	gpgsign = true
[gpg]
	program = false
[push]
	default = nothing
	gpgSign = true
	followTags = true
	useForceIfIncludes = true
	autoSetupRemote = true
[fetch]
	prune = true
	pruneTags = true
	all = true
	fsckObjects = true
	unpackLimit = 1
	parallel = 8
	output = compact
	recurseSubmodules = true
	negotiationAlgorithm = skipping
	writeCommitGraph = true
[transfer]
	fsckObjects = true
	unpackLimit = 1
[receive]
	fsckObjects = true
[init]
	defaultBranch = trunk
	defaultRefFormat = reftable
	defaultObjectFormat = sha256
	templateDir = /nonexistent
[i18n]
	logOutputEncoding = ISO-8859-1
[log]
	showSignature = true
	follow = true
	date = relative
	decorate = full
	diffMerges = first-parent
	mailmap = true
[format]
	pretty = oneline
[color]
	ui = always
[column]
	ui = always
[diff]
	noprefix = true
	external = false
	renames = copies
[merge]
	ff = only
[pack]
	packSizeLimit = 1m
	threads = 1
	window = 0
[repack]
	writeBitmaps = true
[gc]
	auto = 1
[maintenance]
	auto = true
[protocol]
	version = 0
[safe]
	bareRepository = explicit
[advice]
	detachedHead = true
[submodule]
	recurse = true
[user]
	useConfigOnly = true
`

// Whatever a person has configured for themselves, a store is the same.
func TestConfigured(t *testing.T) {
	for _, way := range []string{"path", "http"} {
		t.Run(way, func(t *testing.T) {
			tm, _ := newPulls(t)
			remote := tm.remote
			if way == "http" {
				remote = tm.serve(func(repo *gittest.Repo) http.HandlerFunc { return repo.ServeHTTP })
			}
			config := filepath.Join(t.TempDir(), "config")
			must(t, os.WriteFile(config, []byte(configured), 0o600))
			open := func(dir string) *store.Store {
				s, err := store.Open(store.Options{
					Remote: remote, Environ: environ(t, "GIT_CONFIG_GLOBAL="+config, "GIT_DIR=/nonexistent", "GIT_WORK_TREE=/nonexistent", "GIT_INDEX_FILE=/nonexistent",
						"GIT_OBJECT_DIRECTORY=/nonexistent", "GIT_NAMESPACE=other", "GIT_DEFAULT_HASH=sha256", "GIT_PROTOCOL=version=1", "GIT_REPLACE_REF_BASE=refs/heads/", "GIT_COMMITTER_DATE=1970-01-01T00:00:00Z",
						"GIT_TRACE=1", "GIT_PAGER=false", "GIT_CONFIG_PARAMETERS='core.bare=false'", "GIT_SHALLOW_FILE=/nonexistent", "GIT_ALTERNATE_OBJECT_DIRECTORIES=/nonexistent", "GIT_QUARANTINE_PATH=/nonexistent"),
					Dir: dir, Now: tm.clock,
				})
				must(t, err)
				return s
			}
			dir := t.TempDir()
			s := open(dir)
			ask(t, s, add("snapshot", tm.entry("control", "1.0.0", "b")), 2)
			ask(t, open(t.TempDir()), request(environment.Promote, "control", "1.0.0", "staging"), 3)
			q := request(environment.Promote, "gateway", "1.0.0", "production")
			p, err := s.Propose(t.Context(), q)
			must(t, err)
			tm.on("production", func(work string) {
				do(t, work, "merge", "--quiet", "--squash", "origin/"+p.Branch)
				do(t, work, "commit", "--quiet", "--message", "größer")
				file(t, work, "touched", "x")
			})
			do(t, tm.remote, "update-ref", "refs/heads/production", "production^") // the first of the two commits
			combine(t, s)
			if line := do(t, tm.remote, "cat-file", "blob", "log:log/000000.jsonl"); !strings.Contains(line, `"why":"größer"`) {
				t.Error(line)
			}
			tm.on("staging", func(work string) { must(t, os.RemoveAll(filepath.Join(work, "entries"))) })
			if all, err := open(dir).Repair(t.Context()); err != nil || len(all) != 1 {
				t.Errorf("%+v, %v", all, err)
			}
			n, err := open(t.TempDir()).Check(t.Context())
			if err != nil || n.Lines != 4 || n.Entries != 2 {
				t.Errorf("%+v, %v", n, err)
			}
			do(t, filepath.Join(dir, "store.git"), "fsck", "--strict")
		})
	}
}
