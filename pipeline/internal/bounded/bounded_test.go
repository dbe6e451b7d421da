package bounded_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	broken := errors.New("broken")
	read := map[string]func(text string, limit int64) ([]byte, error){
		"more than 4 bytes": func(text string, limit int64) ([]byte, error) { return bounded.Read(strings.NewReader(text), limit) },
		name + " has more than 4 bytes": func(text string, limit int64) ([]byte, error) {
			return bounded.File(name, limit)
		},
		"a has more than 4 bytes": func(text string, limit int64) ([]byte, error) { return bounded.FS(os.DirFS(dir), "a", limit) },
		"the answer of example.com has more than 4 bytes": func(text string, limit int64) ([]byte, error) {
			body := &closed{Reader: strings.NewReader(text)}
			b, err := bounded.Body(&http.Response{Body: body, Request: &http.Request{URL: &url.URL{Host: "example.com"}}}, limit)
			if !body.done {
				t.Error("the body is left open")
			}
			return b, err
		},
	}
	for says, f := range read {
		for _, text := range []string{"", "123", "1234", "12345", strings.Repeat("x", 1<<20)} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := f(text, 4)
			if len(text) <= 4 {
				if err != nil || string(b) != text {
					t.Errorf("%s: %q is %q, %v", says, text, b, err)
				}
				continue
			}
			if !bounded.IsTooLarge(err) || err.Error() != says || b != nil {
				t.Errorf("%d bytes: %q, %v; want %q", len(text), b, err, says)
			}
		}
	}
	if _, err := bounded.Read(iotest.ErrReader(broken), 4); !errors.Is(err, broken) || bounded.IsTooLarge(err) {
		t.Errorf("error %v", err)
	}
	if b, err := bounded.Head(strings.NewReader("12345"), 4); string(b) != "1234" || err != nil {
		t.Errorf("the head is %q, %v", b, err)
	}
	for _, err := range []error{func() error { _, err := bounded.File(name+"-", 4); return err }(), func() error { _, err := bounded.FS(os.DirFS(dir), "b", 4); return err }()} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
	if !bounded.IsTooLarge(fmt.Errorf("reading: %w", &bounded.TooLarge{Limit: 1})) || bounded.IsTooLarge(nil) || bounded.IsTooLarge(io.EOF) {
		t.Error("IsTooLarge")
	}
}

type closed struct {
	io.Reader
	done bool
}

func (c *closed) Close() error {
	c.done = true
	return nil
}
