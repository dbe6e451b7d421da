package canonjson

import (
	"errors"
	"fmt"
	"io"
)

// Reader reads one JSON document from a stream and keeps nothing of it but what it is asked for. It refuses what DecodeOpen does, and
// a text of more than 8 MiB.
type Reader struct {
	lex   lexer
	depth int
	left  bool // the value at this place was not passed yet
}

// NewReader returns a Reader of the document that is all of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{lex: lexer{b: make([]byte, 0, 64<<10), src: r, mark: -1}, left: true}
}

// Document passes the document, which is an object, as Object does, and all that is behind it.
func (r *Reader) Document(member func(key string) error) error {
	if c, err := r.lex.next(); err != nil {
		return err
	} else if c != '{' {
		return errors.New("the document is not an object")
	}
	if err := r.Object(member); err != nil {
		return err
	}
	return r.lex.done()
}

// Object passes an object. member is called with each key, and may pass the value with one method of r; else it is skipped. A null is
// an object without keys.
func (r *Reader) Object(member func(key string) error) error {
	if null, err := r.open('{', "an object"); null || err != nil {
		return err
	}
	defer func() { r.depth-- }()
	return r.lex.object(false, func(key, _ string) error { return r.each(func() error { return member(key) }) })
}

// List passes a list. element is called at each element, and may pass it with one method of r; else it is skipped. A null is an
// empty list.
func (r *Reader) List(element func() error) error {
	if null, err := r.open('[', "a list"); null || err != nil {
		return err
	}
	defer func() { r.depth-- }()
	return r.lex.members(']', func() error { return r.each(element) })
}

// Text passes a text and returns it. A null is an empty text.
func (r *Reader) Text() (string, error) {
	if null, err := r.begin('"', "a text"); null || err != nil {
		return "", err
	}
	return r.lex.text()
}

// Skip passes a value of any kind.
func (r *Reader) Skip() error {
	c, err := r.lex.next()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return r.Object(func(string) error { return nil })
	case '[':
		return r.List(func() error { return nil })
	}
	r.left = false
	if c == '"' {
		_, _, err = r.lex.quoted()
	} else {
		_, err = r.lex.word()
	}
	return err
}

// each has one pass the value at this place, and passes it where one did not.
func (r *Reader) each(one func() error) error {
	if r.depth > maxDepth {
		return errDeep
	}
	r.left = true
	err := one()
	if err == nil && r.left {
		err = r.Skip()
	}
	r.left = false
	return err
}

// begin looks for a value that starts with c, or for null, which it passes.
func (r *Reader) begin(c byte, kind string) (null bool, err error) {
	if !r.left {
		return false, errors.New("canonjson: a value is passed twice")
	}
	r.left = false
	switch got, err := r.lex.next(); {
	case err != nil:
		return false, err
	case got == c:
		return false, nil
	case got != 'n':
		return false, fmt.Errorf("%q at byte %d, where %s is expected", got, r.lex.base+int64(r.lex.at), kind)
	}
	_, err = r.lex.word()
	return true, err
}

func (r *Reader) open(c byte, kind string) (null bool, err error) {
	null, err = r.begin(c, kind)
	if !null && err == nil {
		r.depth++
	}
	return null, err
}
