package smart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/slipway-build/slipway/pipeline/git/packet"
)

// packets reads packets.
type packets struct{ *bufio.Reader }

// next is the bytes of a packet, without the newline that a text ends with. For one without bytes mark says which that is, and at the end of
// all packets it is an io.EOF.
func (p packets) next() (b []byte, mark string, err error) {
	var digits [4]byte
	if _, err := io.ReadFull(p, digits[:]); err != nil {
		return nil, "", err
	}
	n, err := strconv.ParseUint(string(digits[:]), 16, 16)
	switch {
	case err != nil || n == 3 || n > packet.Max:
		return nil, "", fmt.Errorf("%.4q is not the length of a packet", digits)
	case n < 4:
		return nil, string(digits[:]), nil
	}
	b = make([]byte, n-4)
	if _, err := io.ReadFull(p, b); err != nil {
		return nil, "", noEOF(err)
	}
	return b, "", nil
}

// text is the text of a packet, or the mark of one without bytes. An error that the server reports is a Said.
func (p packets) text() (text, mark string, err error) {
	b, mark, err := p.next()
	if said, is := bytes.CutPrefix(b, []byte("ERR ")); err == nil && is {
		return "", "", Said(bytes.TrimSuffix(said, []byte("\n")))
	}
	return string(bytes.TrimSuffix(b, []byte("\n"))), mark, err
}

// Bands of a stream that has several (https://git-scm.com/docs/protocol-capabilities#_side_band_side_band_64k).
const (
	bandData  = 1
	bandWords = 2
	bandError = 3
)

// bands takes a stream apart that ends with a flush: the data, and what the server says to people, of that at most maxSaid bytes.
func (p packets) bands() (data, said []byte, err error) {
	for {
		b, mark, err := p.next()
		switch {
		case err != nil:
			return nil, nil, noEOF(err)
		case mark == packet.Flush:
			return data, said, nil
		case len(b) == 0:
			return nil, nil, errors.New("a packet belongs to no band")
		}
		switch b[0] {
		case bandData:
			data = append(data, b[1:]...)
		case bandWords:
			said = append(said, b[1:min(len(b), 1+maxSaid-len(said))]...)
		case bandError:
			return nil, nil, Said(bytes.TrimSpace(b[1:]))
		default:
			return nil, nil, fmt.Errorf("a packet belongs to band %d", b[0])
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
