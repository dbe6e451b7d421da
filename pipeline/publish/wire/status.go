package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// maxMessage bounds what is quoted from an answer, in bytes.
const maxMessage = 512

// StatusError is an answer with another status than the ones that were hoped for.
type StatusError struct {
	Method  string
	URL     string // without secrets
	Status  int
	Message string // what the remote says, in one line
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// StatusOf is the status of the answer that an error tells of; 0 for none.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status
	}
	return 0
}

// Expect returns nil if the answer has one of the statuses. Otherwise it reads and closes the body and returns a
// StatusError that carries an exit code; see fault.OfStatus.
func Expect(res *http.Response, want ...int) error {
	if slices.Contains(want, res.StatusCode) {
		return nil
	}
	defer res.Body.Close()
	body, _ := bounded.Head(res.Body, 64<<10)
	e := &StatusError{Status: res.StatusCode, Message: Message(body)}
	if res.Request != nil {
		e.Method, e.URL = res.Request.Method, Redact(res.Request.URL)
	}
	code := fault.OfStatus(res.StatusCode)
	if res.Header.Get("Retry-After") != "" || res.Header.Get("X-RateLimit-Remaining") == "0" {
		code = fault.Transient // there were too many, and waiting mends it
	}
	if res.Request != nil && repeated(res.Request.Context()) {
		// An attempt before this one was perhaps obeyed, so what is refused now may be what it did. Whoever looks knows.
		code = fault.Transient
	}
	return fault.New(code, e)
}

// Fault gives an error of a request the exit code that it should have: its own where it has one, Transient where the
// network or the remote failed.
func Fault(err error) error {
	// net/http has put the URL into it: where a read was redirected to, one that was signed for it, perhaps.
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, parsed := url.Parse(e.URL); parsed == nil {
			e.URL = Redact(u)
		}
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fault.Or(err, fault.Transient)
}

// Message is what an answer says for a person, in one line: the message of a JSON error where it is one.
func Message(body []byte) string {
	var known struct {
		Message string `json:"message"`
		Error   string `json:"error"`
		Errors  []struct {
			Code    string `json:"code"`
			Field   string `json:"field"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	text := string(body)
	if json.Unmarshal(body, &known) == nil {
		parts := []string{}
		for _, p := range []string{known.Message, known.Error} {
			if p != "" {
				parts = append(parts, p)
			}
		}
		for _, e := range known.Errors {
			parts = append(parts, strings.TrimSpace(strings.Join([]string{e.Code, e.Field, e.Message}, " ")))
		}
		if len(parts) > 0 {
			text = strings.Join(parts, "; ")
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// ReadAll reads an answer of at most limit bytes and closes it.
func ReadAll(res *http.Response, limit int64) ([]byte, error) {
	b, err := bounded.Body(res, limit)
	if bounded.IsTooLarge(err) {
		return nil, fault.Errorf(fault.Transient, "reading %s: %w", Redact(res.Request.URL), err)
	}
	if err != nil {
		return nil, Fault(fmt.Errorf("reading %s: %w", Redact(res.Request.URL), err))
	}
	return b, nil
}
