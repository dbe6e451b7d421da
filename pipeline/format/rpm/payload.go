package rpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/slipway-build/slipway/pipeline/format/archive"
)

// leadSize is how long the lead is, which begins an rpm and which nobody reads.
const leadSize = 96

// repack writes an rpm anew that the library made, with what rpmbuild does and the library does not:
//
//   - Files in the payload have a dot in front. Without it, whoever unpacks the payload by rpm2cpio and cpio, as rpmlint
//     does, overwrites the files of the machine. They have their time there, too.
//   - The size of the payload is the archive's, which rpm2cpio compares.
//   - The package asks for the features of rpm and for the shell that it needs.
//
// The payload is compressed here; it comes uncompressed in the library's gzip.
func repack(plain []byte, t time.Time, needs []requirement) ([]byte, error) {
	if len(plain) < leadSize {
		return nil, errors.New("the library wrote no rpm")
	}
	signature, rest, err := readHeader(plain[leadSize:], regionSignature)
	if err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	rest = rest[min(len(rest), padding(len(plain)-len(rest))):]
	main, payload, err := readHeader(rest, regionMain)
	if err != nil {
		return nil, err
	}
	zr, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("reading the payload: %w", err)
	}
	files, err := io.ReadAll(zr)
	if err != nil {
		return nil, fmt.Errorf("reading the payload: %w", err)
	}
	if files, err = prefix(files, t); err != nil {
		return nil, err
	}
	var compressed bytes.Buffer
	zw := archive.Gzip(&compressed)
	if _, err := zw.Write(files); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}

	if main, err = require(main, needs); err != nil {
		return nil, err
	}
	main = set(main, texts(tagPayloadDigest, typeStringArray, sum(compressed.Bytes())))
	main = set(main, texts(tagPayloadDigestAlt, typeStringArray, sum(files)))
	header := writeHeader(main, regionMain)

	signature = set(signature, texts(sigSHA256, typeString, sum(header)))
	signature = set(signature, numbers(sigSize, uint32(len(header)+compressed.Len()))) //nolint:gosec // bounded by the builder
	signature = set(signature, numbers(sigPayloadSize, uint32(len(files))))            //nolint:gosec // bounded by the builder

	out := append(plain[:leadSize:leadSize], writeHeader(signature, regionSignature)...)
	out = append(out, make([]byte, padding(len(out)))...)
	return append(append(out, header...), compressed.Bytes()...), nil
}

// padding is how many bytes are missing to a multiple of eight.
func padding(n int) int { return -n & 7 }

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// A header of cpio's new format is of 13 numbers in 8 hexadecimal digits behind a magic
// (https://manpages.debian.org/cpio.5).
const (
	cpioMagic  = "070701"
	cpioHeader = len(cpioMagic) + 13*8
	cpioEnd    = "TRAILER!!!"
	cpioTime   = 5
	cpioSize   = 6
	cpioName   = 11
)

// prefix writes a cpio archive anew, with a dot in front of all names and a time.
func prefix(b []byte, t time.Time) ([]byte, error) {
	broken := errors.New("the library wrote no cpio archive")
	out := bytes.NewBuffer(make([]byte, 0, len(b)+1024))
	for {
		if len(b) < cpioHeader || string(b[:len(cpioMagic)]) != cpioMagic {
			return nil, broken
		}
		field := func(i int) []byte { return b[len(cpioMagic)+8*i:][:8] }
		size, err := strconv.ParseInt(string(field(cpioSize)), 16, 64)
		length, err2 := strconv.ParseInt(string(field(cpioName)), 16, 64)
		if err != nil || err2 != nil {
			return nil, broken
		}
		// A name ends in a zero; it and the contents are padded to a multiple of four.
		start := (int64(cpioHeader) + length + 3) &^ 3
		end := start + (size+3)&^3
		if length < 2 || end > int64(len(b)) {
			return nil, broken
		}
		name := string(b[cpioHeader : int64(cpioHeader)+length-1])
		if name == cpioEnd {
			out.Write(b[:end])
			return out.Bytes(), nil
		}
		name = "." + name
		header := bytes.Clone(b[:cpioHeader])
		copy(header[len(cpioMagic)+8*cpioTime:], fmt.Sprintf("%08X", uint32(t.Unix()))) //nolint:gosec // before 2106
		copy(header[len(cpioMagic)+8*cpioName:], fmt.Sprintf("%08X", len(name)+1))
		out.Write(header)
		out.WriteString(name)
		out.Write(make([]byte, 1+(-(cpioHeader+len(name)+1)&3)))
		out.Write(b[start:end])
		b = b[end:]
	}
}
