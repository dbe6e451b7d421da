package environments

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// cursor is where a list goes on. It names the last line of the log when the list was begun, so that it is not taken to another
// store, and the last thing that was listed: what is there all the while is listed once, whatever moves meanwhile.
type cursor struct {
	list   string // releases or moves
	line   int
	digest artifact.Digest // of the line
	last   [2]string       // component and version
}

const maxCursor = 512

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{c.list, strconv.Itoa(c.line), c.digest.Hex(), c.last[0], c.last[1]}, " ")))
}

// parseCursor reads a cursor in no other form than that of String.
func parseCursor(s string) (cursor, error) {
	bad := status{http.StatusBadRequest, "after is not one that this server gave; begin again without it"}
	if len(s) > maxCursor {
		return cursor{}, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	parts := strings.Split(string(b), " ")
	if err != nil || len(parts) != 5 {
		return cursor{}, bad
	}
	c := cursor{list: parts[0], last: [2]string{parts[3], parts[4]}}
	if c.line, err = strconv.Atoi(parts[1]); err != nil || c.line < 0 {
		return cursor{}, bad
	}
	if c.digest, err = artifact.ParseDigest("sha256:" + parts[2]); err != nil && (parts[2] != "" || c.line != 0) {
		return cursor{}, bad
	}
	switch c.list {
	case "moves":
		if c.last != [2]string{} {
			return cursor{}, bad
		}
	case "releases":
		if v, err := version.Parse(c.last[1]); err != nil || v.String() != c.last[1] || environment.CheckName(c.last[0]) != nil {
			return cursor{}, bad
		}
	default:
		return cursor{}, bad
	}
	if c.String() != s {
		return cursor{}, bad
	}
	return c, nil
}

// cursor reads the cursor of a list of this store; the zero one for none.
func (st *state) cursor(list, s string) (cursor, error) {
	if s == "" {
		return cursor{}, nil
	}
	c, err := parseCursor(s)
	switch {
	case err != nil:
		return cursor{}, err
	case c.list != list:
		return cursor{}, status{http.StatusBadRequest, fmt.Sprintf("after is of a list of %s; begin again without it", c.list)}
	case c.line > st.Count:
		// A replica that is behind the one that gave it.
		return cursor{}, status{http.StatusServiceUnavailable, "the store is being read; try again"}
	case st.At(c.line) != c.digest:
		return cursor{}, status{http.StatusBadRequest, "after is of another store; begin again without it"}
	}
	return c, nil
}
