package serve

import "io"

// Limit and HumanSize are tested by themselves.
var (
	Limit     = limit
	HumanSize = humanSize
)

// ReadChart is tested by itself.
func ReadChart(r io.Reader, name string) (metadata, error) {
	m, _, err := readChart(r, name)
	return m, err
}

// Entries sets how many entries of folders are looked through, and returns what sets it back.
func Entries(n int) func() {
	was := maxFolders
	maxFolders = n
	return func() { maxFolders = was }
}
