package deb

import (
	"fmt"
	"io"
	"time"
)

// container writes an ar archive: a line, and members of which each has a header of 60 bytes and begins at an even offset
// (https://manpages.debian.org/deb.5). After its first error it writes nothing.
type container struct {
	w    io.Writer
	time time.Time
	err  error
}

func newContainer(w io.Writer, t time.Time) *container {
	c := &container{w: w, time: t}
	c.write("!<arch>\n")
	return c
}

func (c *container) write(s string) {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, s)
	}
}

// member writes a member of the given size, whose contents are in from.
func (c *container) member(name string, size int64, from io.WriterTo) {
	c.write(fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, c.time.Unix(), 0, 0, "100644", size))
	if c.err == nil {
		_, c.err = from.WriteTo(c.w)
	}
	if size%2 == 1 {
		c.write("\n")
	}
}
