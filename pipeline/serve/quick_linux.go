package serve

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// quick reads from and writes to a connection by system calls that the scheduler is not told of. It expects any system call to take
// long, and telling it, and its looking after those that did, took as long as the call of a socket that never waits.
type quick struct {
	raw     syscall.RawConn // nil where there is none
	conn    net.Conn
	read    func(fd uintptr) bool
	write   func(fd uintptr) bool
	into    []byte
	vectors [2]syscall.Iovec
	left    []syscall.Iovec // of vectors
	n       int
	err     error
}

func (q *quick) init(c net.Conn) {
	q.conn, q.read, q.write = c, q.tryRead, q.tryWrite
	if sc, ok := c.(syscall.Conn); ok {
		q.raw, _ = sc.SyscallConn()
	}
}

// Read is that of the connection.
func (q *quick) Read(b []byte) (int, error) {
	if q.raw == nil {
		return q.conn.Read(b)
	}
	q.into, q.n, q.err = b, 0, nil
	err := q.raw.Read(q.read)
	q.into = nil
	switch {
	case err != nil:
		return 0, err
	case q.err != nil:
		return 0, q.err
	case q.n == 0:
		return 0, io.EOF
	}
	return q.n, nil
}

func (q *quick) tryRead(fd uintptr) bool {
	n, errno := call(syscall.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(q.into)), len(q.into))
	if errno == syscall.EAGAIN {
		return false
	}
	if errno != 0 {
		q.err = errno
	}
	q.n = n
	return true
}

// WriteBoth writes two pieces, of which the first has something in it, at once.
func (q *quick) WriteBoth(first, second []byte) (int, error) {
	if q.raw == nil {
		b := net.Buffers{first, second}
		n, err := b.WriteTo(q.conn)
		return int(n), err
	}
	q.n, q.err, q.left = 0, nil, q.vectors[:0]
	for _, b := range [2][]byte{first, second} {
		if len(b) > 0 {
			v := syscall.Iovec{Base: unsafe.SliceData(b)}
			v.SetLen(len(b))
			q.left = append(q.left, v)
		}
	}
	err := q.raw.Write(q.write)
	q.vectors = [2]syscall.Iovec{}
	if err == nil {
		err = q.err
	}
	return q.n, err
}

func (q *quick) tryWrite(fd uintptr) bool {
	for len(q.left) > 0 {
		n, errno := call(syscall.SYS_WRITEV, fd, unsafe.Pointer(unsafe.SliceData(q.left)), len(q.left))
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			q.err = errno
			return true
		}
		q.n += n
		for len(q.left) > 0 && uint64(n) >= uint64(q.left[0].Len) {
			n -= int(q.left[0].Len)
			q.left = q.left[1:]
		}
		if n > 0 {
			q.left[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(q.left[0].Base), n))
			q.left[0].SetLen(int(q.left[0].Len) - n)
		}
	}
	return true
}

// canShare says that one file can be sent from several places at a time.
const canShare = true

// sendPiece is how many bytes of a file are sent at once at most, between which it shows that the connection was closed. A system
// of 32 bits can be told of no more than 2 GiB.
const sendPiece = 4 << 20

// send sends n bytes of a file from its place on, and has extend give the client more time whenever it took some. The kernel may
// have to read them from a disk, so that the scheduler is told. It sends less where the file has become shorter, and nothing where
// the system cannot send from this file or to this connection by itself.
func (q *quick) send(f *shared, n int64, extend func() error) (int64, error) {
	if q.raw == nil {
		return 0, nil
	}
	from, end := f.at, f.at+n
	var failed error
	try := func(fd uintptr) bool {
		for {
			_, failed = syscall.Sendfile(int(fd), int(f.file.Fd()), &f.at, int(min(sendPiece, end-f.at)))
			if failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	}
	for f.at < end {
		at := f.at
		err := q.raw.Write(try)
		switch {
		case err != nil:
			return f.at - from, err
		case f.at == from && (failed == syscall.EINVAL || failed == syscall.ENOSYS || failed == syscall.EOPNOTSUPP):
			return 0, nil
		case failed != nil:
			return f.at - from, failed
		case f.at == at:
			return f.at - from, nil
		}
		if err := extend(); err != nil {
			return f.at - from, err
		}
	}
	return f.at - from, nil
}

// call makes a system call, again where a signal came between.
func call(number, fd uintptr, at unsafe.Pointer, size int) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(at), uintptr(size))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}
