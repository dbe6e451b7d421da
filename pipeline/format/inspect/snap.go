package inspect

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// snap reads a snap: a SquashFS with meta/snap.yaml (https://snapcraft.io/docs/snap-format).
func (j *job) snap() error {
	about := j.text()
	err := j.squashfs(j.tree(false, false), func(e *Entry) (io.Writer, func() error) {
		return chosen(e.Type == File && e.Name == "meta/snap.yaml", about), nil
	})
	if err != nil {
		return err
	}
	if !about.seen {
		return errors.New("it has no meta/snap.yaml")
	}
	if err := j.yaml(about.b, "snap."); err != nil {
		return fmt.Errorf("reading meta/snap.yaml: %w", err)
	}
	f := j.facts.Fields
	j.facts.Name, j.facts.Version = f["snap.name"], f["snap.version"]
	var arches []string
	for i := 0; ; i++ {
		arch, ok := f[fmt.Sprintf("snap.architectures.%d", i)]
		if !ok {
			break
		}
		arches = append(arches, arch)
	}
	j.facts.Architecture = strings.Join(arches, " ")
	if j.facts.Name == "" || j.facts.Version == "" || len(arches) == 0 {
		return errors.New("its snap.yaml has no name, no version or no architectures")
	}
	return nil
}
