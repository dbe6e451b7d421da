package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/slipway-build/slipway/pipeline/format/archive"
)

// A deb is an ar archive: a line, and members of which each has a header of 60 bytes and begins at an even offset
// (https://manpages.debian.org/deb.5).
const (
	magic      = "!<arch>\n"
	headerSize = 60
)

// repack writes a deb anew that the library made, with the two tars compressed by the pinned compressor. The size that
// the package takes when it is installed is in KiB.
func repack(plain []byte, t time.Time, installed int64) ([]byte, error) {
	rest, ok := bytes.CutPrefix(plain, []byte(magic))
	if !ok {
		return nil, errors.New("the library wrote no ar archive")
	}
	out := bytes.NewBufferString(magic)
	var names []string
	for len(rest) > 0 {
		if len(rest) < headerSize {
			return nil, errors.New("the library wrote half a header of ar")
		}
		h := string(rest[:headerSize])
		rest = rest[headerSize:]
		size, err := strconv.Atoi(strings.TrimSpace(h[48:58]))
		if err != nil || size < 0 || size > len(rest) {
			return nil, fmt.Errorf("the library wrote a member of ar of %q bytes", h[48:58])
		}
		name, content := strings.TrimRight(h[:16], " /"), rest[:size]
		rest = rest[min(len(rest), size+size%2):]
		switch name {
		case "control.tar.gz":
			content, err = control(content, installed)
		case "data.tar":
			name = "data.tar.gz"
			content, err = compress(content)
		}
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		names = append(names, name)
		fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, t.Unix(), 0, 0, "100644", len(content))
		out.Write(content)
		if len(content)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	if got, want := strings.Join(names, " "), "debian-binary control.tar.gz data.tar.gz"; got != want {
		return nil, fmt.Errorf("the library wrote the members %s, not %s", got, want)
	}
	return out.Bytes(), nil
}

var (
	installedSize = regexp.MustCompile(`(?m)^Installed-Size: .*$`)
	reservedLine  = regexp.MustCompile(`(?m)^ (\..)`)
)

// control is the library's control.tar.gz, with what it does not do by the policy: a size that is rounded up, and no
// lines of the description that begin with a dot and are not empty, which are reserved
// (https://www.debian.org/doc/debian-policy/ch-controlfields.html#description).
func control(b []byte, installed int64) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		if h.Name == "./control" {
			content = installedSize.ReplaceAll(content, fmt.Appendf(nil, "Installed-Size: %d", installed))
			content = reservedLine.ReplaceAll(content, []byte("  $1"))
			h.Size = int64(len(content))
		}
		if err := tw.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := tw.Write(content); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return compress(out.Bytes())
}

func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := archive.Gzip(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}
