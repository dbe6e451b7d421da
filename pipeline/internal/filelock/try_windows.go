package filelock

import (
	"errors"
	"os"
	"syscall"
)

// errSharing is ERROR_SHARING_VIOLATION
// (https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-).
const errSharing = syscall.Errno(32)

// try opens the file so that no one else can, unless somebody else has, which is a nil unlock. It is open no longer
// than the process that opened it lives
// (https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew, dwShareMode).
func try(name string) (unlock func() error, err error) {
	p, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(p, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, errSharing):
		return nil, nil
	case err != nil:
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return func() error { return syscall.CloseHandle(h) }, nil
}
