package wire

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
)

// Form is a file as the one field of a form that is sent (https://www.rfc-editor.org/rfc/rfc7578).
type Form struct {
	Field string // its name
	Name  string // of the file, as the remote is told it
	Path  string // where it is on this machine
	Size  int64  // in bytes
	// Boundary is what the file does not contain, such as a part of its own digest.
	Boundary string
}

// Request is a request with the form. Its body is read from the file and can be sent again; the same file gives the same
// body.
func (f Form) Request(ctx context.Context, method, url string) (*http.Request, error) {
	head := "--" + f.Boundary + "\r\n" +
		`Content-Disposition: form-data; name="` + f.Field + `"; filename="` + f.Name + `"` + "\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n"
	tail := "\r\n--" + f.Boundary + "--\r\n"
	body := func() (io.ReadCloser, error) {
		file, err := os.Open(f.Path)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(strings.NewReader(head), file, strings.NewReader(tail)), file}, nil
	}
	first, err := body()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, first)
	if err != nil {
		first.Close()
		return nil, err
	}
	req.GetBody = body
	req.ContentLength = int64(len(head)) + f.Size + int64(len(tail))
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+f.Boundary)
	return req, nil
}
