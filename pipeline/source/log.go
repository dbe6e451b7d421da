package source

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	// maxChanges and maxMessages bound what Read keeps of the log: commits, and bytes of all messages.
	maxChanges  = 5000
	maxMessages = 32 << 20
	// maxMessage bounds what is kept of one commit's message, in bytes: as much as version.ParseCommit reads.
	maxMessage = 256 << 10
)

// Change is one commit as a changelog sees it.
type Change struct {
	Commit  string
	Author  string // name without address, as the .mailmap of the last commit has it; may be empty
	Message string // UTF-8, as it was written, its first 256 KiB; version.ParseCommit reads it
}

// Log lists the commits that to has and from has not, newest first; from "" lists all of them. Both are tags, commits
// or HEAD.
func Log(ctx context.Context, dir, from, to string) ([]Change, error) {
	r, err := openAny(ctx, dir)
	if err != nil {
		return nil, err
	}
	end, err := r.revision(ctx, to)
	if err != nil {
		return nil, err
	}
	start := ""
	if from != "" {
		if start, err = r.revision(ctx, from); err != nil {
			return nil, err
		}
	}
	return r.log(ctx, start, end, 0, 0)
}

// log is Log for commits. Where they are not 0 it ends after so many commits or bytes of messages.
func (r repo) log(ctx context.Context, start, end string, commits, messages int) ([]Change, error) {
	// Git reads the .mailmap of the work tree, which need not be the commit's, and other files that the configuration
	// names. In its own folder it finds none, and the configuration is set to the one that is in the commit.
	own, err := r.gitDir(ctx)
	if err != nil {
		return nil, err
	}
	own.GitDir = "."
	args := []string{
		"log", "-z", "--topo-order", "--no-show-signature", "--no-notes", "--no-color", "--encoding=UTF-8", "--format=%H%n%aN%n%B",
	}
	if commits > 0 {
		args = append(args, "--max-count="+strconv.Itoa(commits))
	}
	args = append(args, end)
	if start != "" {
		args = append(args, "--not", start)
	}
	var changes []Change
	err = own.Set("mailmap.file="+os.DevNull, "mailmap.blob="+end+":.mailmap").Stream(ctx, nil, func(stdout io.Reader) error {
		changes, err = readLog(stdout, messages)
		return err
	}, args...)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return changes, err
}

// gitDir is the repository's own folder.
func (r repo) gitDir(ctx context.Context) (repo, error) {
	dir := filepath.Join(r.Dir, ".git")
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return r.in(dir), nil
	}
	out, err := r.run(ctx, "rev-parse", "--absolute-git-dir")
	return r.in(filepath.FromSlash(strings.TrimSuffix(out, "\n"))), err
}

var errEnough = errors.New("enough")

// readLog parses "<commit>\n<author>\n<message>" records that end with a zero byte. Once there are more bytes of messages
// than limit, which 0 switches off, it ends with errEnough.
func readLog(r io.Reader, limit int) ([]Change, error) {
	var changes []Change
	total := 0
	for br := bufio.NewReaderSize(r, 64<<10); ; {
		record, err := readRecord(br)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fault.Errorf(fault.Git, "reading the log: %w", err)
		}
		if len(record) == 0 && err != nil {
			return changes, nil
		}
		id, rest, _ := strings.Cut(record, "\n")
		author, message, ok := strings.Cut(rest, "\n")
		if !ok || !git.IsObject(id) {
			return nil, fault.Errorf(fault.Git, "reading the log: git answers %.80q", record)
		}
		if total += len(message); limit > 0 && total > limit {
			return changes, errEnough
		}
		message = strings.TrimRight(strings.ToValidUTF8(message, "\uFFFD"), "\n")
		changes = append(changes, Change{id, strings.TrimSpace(strings.ToValidUTF8(author, "\uFFFD")), message})
	}
}

// readRecord reads up to a zero byte and keeps maxMessage bytes of it.
func readRecord(br *bufio.Reader) (string, error) {
	var kept []byte
	for {
		part, err := br.ReadSlice(0)
		kept = append(kept, part[:min(len(part), maxMessage-len(kept))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if n := len(kept); n > 0 && kept[n-1] == 0 {
			kept = kept[:n-1]
		}
		return string(kept), err
	}
}
