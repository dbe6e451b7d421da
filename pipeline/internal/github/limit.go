package github

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
)

// maxRefusal bounds what is read of a refusal to see whether it is one of those that pass, in bytes.
const maxRefusal = 64 << 10

// RateLimitError is GitHub's refusal to answer any more for a while. It says so with the status of what is forbidden, and in
// more ways than one (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
type RateLimitError struct {
	Until time.Time // zero where GitHub does not say
}

func (e *RateLimitError) Error() string {
	until := "for now, which is a minute at least"
	if !e.Until.IsZero() {
		until = "until " + e.Until.UTC().Format(time.DateTime) + " UTC"
	}
	return fmt.Sprintf("GitHub takes no more requests %s: the rate limit is exceeded; run the same command again then, with a token in GITHUB_TOKEN, of which GitHub takes more", until)
}

// RateLimited is what an answer says of a rate limit; nil where it says nothing of one. The body can be read as before.
func RateLimited(res *http.Response) *RateLimitError {
	if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	e := &RateLimitError{}
	used := res.Header.Get("X-RateLimit-Remaining") == "0"
	if at, err := strconv.ParseInt(res.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && used {
		e.Until = time.Unix(at, 0)
	}
	after := res.Header.Get("Retry-After")
	if at, err := http.ParseTime(after); err == nil {
		e.Until = at
	} else if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
		if now, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			e.Until = now.Add(time.Duration(seconds) * time.Second)
		}
	}
	if used || after != "" || res.StatusCode == http.StatusTooManyRequests {
		return e
	}
	said, _ := bounded.Head(res.Body, maxRefusal)
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(said), res.Body), res.Body}
	said = bytes.ToLower(said)
	if slices.ContainsFunc([]string{"rate limit", "abuse detection"}, func(words string) bool { return strings.Contains(string(said), words) }) {
		return e
	}
	return nil
}
