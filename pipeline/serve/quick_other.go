//go:build !linux

package serve

import "net"

// quick reads from and writes to a connection.
type quick struct{ net.Conn }

func (q *quick) init(c net.Conn) { q.Conn = c }

// WriteBoth writes two pieces, of which the first has something in it, at once.
func (q *quick) WriteBoth(first, second []byte) (int, error) {
	b := net.Buffers{first, second}
	n, err := b.WriteTo(q.Conn)
	return int(n), err
}

const canShare = false

func (*quick) send(*shared, int64, func() error) (int64, error) { return 0, nil }
