package folder

import "io"

// SetWriter puts something in front of every file that is written, for disks that are full.
func (d *Destination) SetWriter(w func(io.Writer) io.Writer) { d.writer = w }
