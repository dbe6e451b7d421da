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

// send sends n bytes of a file from its place on, and has extend give the client more time whenever it took some. The kernel may
// have to read them from a disk, so that the scheduler is told.
func (q *quick) send(f *shared, n int64, extend func() error) (int64, error) {
	if q.raw == nil {
		return io.CopyN(q.conn, f, n)
	}
	from, waited := f.at, f.at
	var failed error
	err := q.raw.Write(func(fd uintptr) bool {
		for f.at-from < n {
			sent, err := syscall.Sendfile(int(fd), int(f.file.Fd()), &f.at, int(n-(f.at-from)))
			switch {
			case err == syscall.EAGAIN:
				if f.at > waited {
					waited, failed = f.at, extend()
				}
				return failed != nil
			case err == syscall.EINTR:
			case err != nil:
				failed = err
				return true
			case sent == 0:
				return true // the file has become shorter
			}
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return f.at - from, err
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
