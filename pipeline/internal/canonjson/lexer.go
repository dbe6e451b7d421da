package canonjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Bounds of every document.
const (
	maxDepth = 32      // objects and lists in one another
	maxHeld  = 4 << 20 // bytes of the keys of all objects that are open at a place, since a key may not come twice
	maxText  = 8 << 20 // bytes of one text of a stream; that of a whole document is bounded by the document
	maxWord  = 1024    // bytes of one number
)

// lexer goes over a document once and stops at what has two readings, or is not JSON (RFC 8259).
type lexer struct {
	b    []byte    // a part of the document, the whole of it where there is no src
	at   int       // of the next byte, in b
	src  io.Reader // of what comes after b
	err  error     // of src
	base int64     // of b, in the document
	mark int       // in b: from here on everything stays there; -1 for no such place
	held int       // bytes of keys
}

// more reports whether there is a byte at l.at, which it reads if need be.
func (l *lexer) more() bool {
	for l.at == len(l.b) {
		if l.src == nil || l.err != nil {
			return false
		}
		from := l.at
		if l.mark >= 0 {
			from = l.mark
			l.mark = 0
		}
		if n := copy(l.b[:cap(l.b)], l.b[from:]); n == cap(l.b) {
			l.b = append(l.b[:n], make([]byte, max(n, 64<<10))...)[:n]
		} else {
			l.b = l.b[:n]
		}
		l.base += int64(from)
		l.at -= from
		n, err := l.src.Read(l.b[len(l.b):cap(l.b)])
		l.b, l.err = l.b[:len(l.b)+n], err
	}
	return true
}

// end is the error where a document has to go on.
func (l *lexer) end() error {
	if l.err != nil && l.err != io.EOF {
		return l.err
	}
	return io.ErrUnexpectedEOF
}

func (l *lexer) space() {
	for l.more() && (l.b[l.at] == ' ' || l.b[l.at] == '\t' || l.b[l.at] == '\r' || l.b[l.at] == '\n') {
		l.at++
	}
}

// next is the next byte that is not white space, which stays.
func (l *lexer) next() (byte, error) {
	if l.space(); !l.more() {
		return 0, l.end()
	}
	return l.b[l.at], nil
}

// done is an error where there is something after the document.
func (l *lexer) done() error {
	if l.space(); l.more() {
		return errAfter
	}
	if l.err != nil && l.err != io.EOF {
		return l.err
	}
	return nil
}

// text passes a text, at whose quote the lexer stands, and returns it without its escapes.
func (l *lexer) text() (string, error) {
	raw, escaped, err := l.quoted()
	if err != nil || !escaped {
		return string(raw), err
	}
	var text string
	err = json.Unmarshal(raw, &text)
	return text, err
}

// quoted passes a text and returns what stands between its quotes, which is good until the next call; with its quotes where there
// are escapes in it.
func (l *lexer) quoted() (raw []byte, escaped bool, err error) {
	l.mark = l.at
	defer func() { l.mark = -1 }()
	for l.at++; ; l.at++ {
		if !l.more() {
			return nil, false, l.end()
		}
		c := l.b[l.at]
		if c == '"' {
			break
		}
		if c < ' ' {
			return nil, false, fmt.Errorf("invalid character %q in a text", c)
		}
		if c == '\\' {
			escaped = true
			if l.at++; !l.more() {
				return nil, false, l.end()
			}
		}
		if l.src != nil && l.at-l.mark > maxText {
			return nil, false, fmt.Errorf("the text at byte %d is longer than %d bytes", l.base+int64(l.mark), maxText)
		}
	}
	l.at++
	raw = l.b[l.mark:l.at]
	// What is wrong with a text is told without it: it may be a secret.
	switch {
	case !utf8.Valid(raw):
		return nil, false, fmt.Errorf("the text at byte %d is not UTF-8", l.base+int64(l.mark))
	case !escaped:
		return raw[1 : len(raw)-1], false, nil
	case halfPair(raw):
		return nil, false, fmt.Errorf("half a surrogate pair in the text at byte %d", l.base+int64(l.mark))
	case !json.Valid(raw):
		return nil, false, fmt.Errorf("invalid character in an escape of the text at byte %d", l.base+int64(l.mark))
	}
	return raw, true, nil
}

// word passes a number, true, false or null, and returns it; it is good until the next call.
func (l *lexer) word() ([]byte, error) {
	l.mark = l.at
	defer func() { l.mark = -1 }()
	for l.more() && bytes.IndexByte([]byte("+-.0123456789Eaeflnrstu"), l.b[l.at]) >= 0 {
		if l.at++; l.src != nil && l.at-l.mark > maxWord {
			return nil, fmt.Errorf("the number at byte %d is longer than %d bytes", l.base+int64(l.mark), maxWord)
		}
	}
	raw := l.b[l.mark:l.at]
	if len(raw) == 0 {
		if !l.more() {
			return nil, l.end()
		}
		r, _ := utf8.DecodeRune(l.b[l.at:])
		return nil, fmt.Errorf("invalid character %q where a value is expected", r)
	}
	if !json.Valid(raw) {
		if !l.more() {
			return nil, l.end()
		}
		return nil, fmt.Errorf("invalid characters %.40q where a value is expected", raw)
	}
	return raw, nil
}

// members passes the members of an object or a list, each with one call, from the bracket that opens it to the one that ends
// it.
func (l *lexer) members(end byte, one func() error) error {
	l.at++
	c, err := l.next()
	if err == nil && c == end {
		l.at++
		return nil
	}
	for err == nil {
		if err = one(); err != nil {
			return err
		}
		if c, err = l.next(); err != nil {
			return err
		}
		if l.at++; c == end {
			return nil
		}
		if c != ',' {
			return fmt.Errorf("invalid character %q where , or %c is expected", c, end)
		}
	}
	return err
}

// object passes an object. one is called for each key, where its value begins; folded is the key in one letter case. The keys of
// an object that is data differ although their letter case alone does.
func (l *lexer) object(data bool, one func(key, folded string) error) error {
	var seen map[string]string
	held := l.held
	err := l.members('}', func() error {
		if c, err := l.next(); err != nil {
			return err
		} else if c != '"' {
			return fmt.Errorf("invalid character %q where a key is expected", c)
		}
		key, err := l.text()
		if err != nil {
			return err
		}
		folded := key
		if !data {
			folded = fold(key)
		}
		switch other, twice := seen[folded]; {
		case twice && other == key:
			return fmt.Errorf("key %.60q comes twice", key)
		case twice:
			return fmt.Errorf("key %.60q comes twice, also as %.60q", other, key)
		case seen == nil:
			seen = map[string]string{}
		}
		if l.held += len(key) + len(folded) + 64; l.held > maxHeld {
			return fmt.Errorf("there are too many keys at byte %d, or they are too long", l.base+int64(l.at))
		}
		seen[folded] = key
		if c, err := l.next(); err != nil {
			return err
		} else if c != ':' {
			return fmt.Errorf("invalid character %q after key %.60q", c, key)
		}
		l.at++
		if _, err := l.next(); err != nil {
			return err
		}
		return one(key, folded)
	})
	l.held = held
	return err
}

// halfPair reports whether a text has the escape of a surrogate without the other half of its pair. Go reads it as U+FFFD,
// and others as a character of its own or as an error (RFC 8259, section 8.2).
func halfPair(raw []byte) bool {
	high := false // the escape before this place was the first half
	for i := 0; i < len(raw); i++ {
		var unit uint64
		size := 1
		if raw[i] == '\\' {
			size = 2
			if i+6 <= len(raw) && raw[i+1] == 'u' {
				size = 6
				unit, _ = strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
			}
		}
		if low := unit>>10 == 0xdc00>>10; low != high {
			return true
		}
		high = unit>>10 == 0xd800>>10
		i += size - 1
	}
	return high
}

// fold is a key in the one letter case of all keys that some reader takes for the same: those that encoding/json does, such
// as K and the Kelvin sign, and those with the same capital or small letter, such as i and the dotless ı.
func fold(key string) string {
	out := []rune(key)
	for i, r := range out {
		out[i] = smallest(unicode.ToLower(unicode.ToUpper(smallest(r))))
	}
	return string(out)
}

// smallest is the first of the characters that are the same under simple folding.
func smallest(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
