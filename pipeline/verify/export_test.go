package verify

import (
	"io/fs"
	"time"
)

// CheckFS checks a release that need not be on a disk.
var CheckFS = verdict

// Occurs tells whether a version is in a text.
var Occurs = occurs

// MaxDownload is how large a release may be that is fetched, in bytes.
const MaxDownload = maxDownload

var _ fs.FS = regular{}

func init() { firstPause = 10 * time.Millisecond }
