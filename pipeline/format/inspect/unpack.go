package inspect

import (
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// unpack reads what c has through a decompressor: gz, xz, zst or none at all. What the compressor's header says is kept
// in fields that begin with prefix. The reader fails on anything behind the end of the data, and counts what it unpacks.
// The caller calls the function when it is done.
func (j *job) unpack(compression string, c *cursor, prefix string) (io.Reader, func(), error) {
	var r io.Reader
	done := func() {}
	var err error
	switch compression {
	case "":
		r = c
	case "gz":
		r, err = j.gunzip(c, prefix)
	case "xz":
		r, err = newXZ(c, maxDict)
	case "zst":
		r, done, err = j.unzstd(c, prefix)
	default:
		err = fmt.Errorf("compression by %.20q is not read; use gz, xz or zst", compression)
	}
	if err != nil {
		return nil, nil, ends(err)
	}
	return metered{j, r}, done, nil
}

// gunzip reads gzip members up to the end of c. The fields of the first member's header are kept
// (https://www.rfc-editor.org/rfc/rfc1952#section-2.3).
func (j *job) gunzip(c *cursor, prefix string) (*members, error) {
	head, err := c.Peek(10)
	if err != nil {
		return nil, ends(err)
	}
	xfl := head[8]
	gz, err := gzip.NewReader(c)
	if err != nil {
		return nil, err
	}
	gz.Multistream(false)
	var mtime int64
	if !gz.ModTime.IsZero() {
		mtime = gz.ModTime.Unix()
	}
	for _, f := range []Field{
		{"mtime", strconv.FormatInt(mtime, 10)},
		{"os", strconv.Itoa(int(gz.OS))},
		{"flags", strconv.Itoa(int(xfl))},
		{"name", gz.Name},
		{"comment", gz.Comment},
		{"extra", hex.EncodeToString(gz.Extra)},
	} {
		if f.Value == "" {
			continue
		}
		if err := j.field(prefix+"gzip."+f.Key, f.Value); err != nil {
			return nil, err
		}
	}
	return &members{c: c, gz: gz}, nil
}

// members reads gzip members one after the other.
type members struct {
	c    *cursor
	gz   *gzip.Reader
	one  bool // ends with the first member
	done error
}

func (m *members) Read(b []byte) (int, error) {
	for {
		if m.done != nil {
			return 0, m.done
		}
		n, err := m.gz.Read(b)
		if err != io.EOF {
			return n, err
		}
		if _, err := m.c.Peek(1); err == io.EOF || m.one {
			m.done = io.EOF
		} else if err := m.gz.Reset(m.c); err != nil {
			m.done = fmt.Errorf("behind the end of the gzip data: %w", ends(err))
		}
		m.gz.Multistream(false)
		if n > 0 {
			return n, nil
		}
	}
}

// unzstd reads zstd frames up to the end of c (https://www.rfc-editor.org/rfc/rfc8878).
func (j *job) unzstd(c *cursor, prefix string) (io.Reader, func(), error) {
	head, err := c.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return nil, nil, err
	}
	if h.Skippable || h.DictionaryID != 0 {
		return nil, nil, errors.New("zstd data that begins with a skippable frame or needs a dictionary")
	}
	fields := []Field{{"window", strconv.FormatUint(h.WindowSize, 10)}, {"checksum", strconv.FormatBool(h.HasCheckSum)}}
	if h.HasFCS {
		fields = append(fields, Field{"size", strconv.FormatUint(h.FrameContentSize, 10)})
	}
	for _, f := range fields {
		if err := j.field(prefix+"zstd."+f.Key, f.Value); err != nil {
			return nil, nil, err
		}
	}
	dec, err := zstd.NewReader(c, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxDict))
	if err != nil {
		return nil, nil, err
	}
	return dec, dec.Close, nil
}
