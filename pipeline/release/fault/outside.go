package fault

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// Windows has a number of its own for a disk that is full
// (https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-).
const errorDiskFull = syscall.Errno(112)

// OfSystem is the code of an error of the operating system: Transient for a disk that is full, Credentials for a permission
// that is refused, Usage for a file system that is only read or a path through what is not a folder, Build for any other.
// It is Unclassified for an error that does not come from the system.
func OfSystem(err error) Code {
	_, isPath := errors.AsType[*os.PathError](err)
	_, isLink := errors.AsType[*os.LinkError](err)
	_, isNumber := errors.AsType[syscall.Errno](err)
	switch {
	case !isPath && !isLink && !isNumber:
		return Unclassified
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), runtime.GOOS == "windows" && errors.Is(err, errorDiskFull):
		return Transient
	case errors.Is(err, fs.ErrPermission):
		return Credentials
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return Usage
	}
	return Build
}

// OfStatus is the code for an HTTP status that was not hoped for. A remote that answers with something that it never should
// is taken for one that may be mended by trying again.
func OfStatus(status int) Code {
	switch status {
	case 401, 403:
		return Credentials
	case 409:
		return Conflict
	case 400, 404, 410, 413, 422:
		return Usage
	}
	return Transient
}
