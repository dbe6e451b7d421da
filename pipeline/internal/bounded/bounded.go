// Package bounded reads what comes from outside, as far as the caller says and no further.
package bounded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
)

// TooLarge is the error of a content that goes beyond its bound.
type TooLarge struct {
	Name  string // of what was read; "" where only the caller knows it
	Limit int64  // in bytes
}

func (e *TooLarge) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("more than %d bytes", e.Limit)
	}
	return fmt.Sprintf("%s has more than %d bytes", e.Name, e.Limit)
}

// IsTooLarge reports whether a content went beyond its bound.
func IsTooLarge(err error) bool {
	_, ok := errors.AsType[*TooLarge](err)
	return ok
}

// Read returns all that is in r, of at most limit bytes; more is a TooLarge. The error of r is returned as it is.
func Read(r io.Reader, limit int64) ([]byte, error) {
	b, err := Head(r, limit+1)
	if err == nil && int64(len(b)) > limit {
		return nil, &TooLarge{Limit: limit}
	}
	return b, err
}

// Head returns the first limit bytes of r. It is for words that may be cut and for what its reader refuses when it is cut.
func Head(r io.Reader, limit int64) ([]byte, error) { return io.ReadAll(io.LimitReader(r, limit)) }

// File returns the content of a file, of at most limit bytes.
func File(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return readFile(f, name, limit)
}

// FS returns the content of a file below fsys, of at most limit bytes.
func FS(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return readFile(f, name, limit)
}

func readFile(f fs.File, name string, limit int64) ([]byte, error) {
	defer f.Close()
	b, err := Read(f, limit)
	return b, named(err, name)
}

// Body returns the body of an answer, of at most limit bytes, and closes it.
func Body(res *http.Response, limit int64) ([]byte, error) {
	defer res.Body.Close()
	b, err := Read(res.Body, limit)
	name := "the answer"
	if res.Request != nil {
		name += " of " + res.Request.URL.Host
	}
	return b, named(err, name)
}

func named(err error, name string) error {
	if e, ok := errors.AsType[*TooLarge](err); ok {
		return &TooLarge{name, e.Limit}
	}
	return err
}
