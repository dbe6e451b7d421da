package serve

import "bytes"

// maxPlain bounds a request that is plain, in bytes.
const maxPlain = 4 << 10

// plainRequest is what a plain request asks for.
type plainRequest struct {
	target []byte
	match  []byte // the value of If-None-Match; nil for none
	agent  []byte
	host   []byte
	packed bool // it takes an answer that is compressed
	size   int  // bytes of the request
}

// What is known of a request from its first bytes.
type plainness int

const (
	more  plainness = iota // its header has not ended
	whole                  // it is plain
	odd                    // it is not
)

// parsePlain reads a request that asks for a document and nothing else: GET and HTTP/1.1, lines that end as they should, one
// Host, a connection that stays, no body, and no condition but that of having it already. It is stricter than the grammar
// (https://www.rfc-editor.org/rfc/rfc9112): what anybody could read in two ways is odd.
func parsePlain(b []byte) (r plainRequest, _ plainness) {
	hosts, accepts := 0, false
	for at := 0; ; {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			return r, more
		}
		if end == 0 || b[at+end-1] != '\r' {
			return r, odd
		}
		line := b[at : at+end-1]
		first := at == 0
		at += end + 1
		switch {
		case first:
			target, ok := bytes.CutPrefix(line, []byte("GET "))
			target, ok2 := bytes.CutSuffix(target, []byte(" HTTP/1.1"))
			if !ok || !ok2 || len(target) == 0 || target[0] != '/' || !only(target, &visible) {
				return r, odd
			}
			r.target = target
			continue
		case len(line) == 0:
			if hosts != 1 {
				return r, odd
			}
			r.size = at
			return r, whole
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		value = bytes.Trim(value, " \t")
		if !ok || len(name) == 0 || !only(name, &token) || !only(value, &text8) {
			return r, odd
		}
		switch field := fieldOf(name); field {
		case fieldOther:
		case fieldHost:
			if hosts++; len(value) == 0 || !only(value, &hostname) {
				return r, odd
			}
			r.host = value
		case fieldConnection:
			if !bytes.EqualFold(value, []byte("keep-alive")) {
				return r, odd
			}
		case fieldMatch:
			if r.match != nil || len(value) == 0 {
				return r, odd
			}
			r.match = value
		case fieldAccepts:
			if accepts {
				return r, odd
			}
			accepts, r.packed = true, takesGzip(string(value))
		case fieldAgent:
			if r.agent == nil {
				r.agent = value
			}
		default:
			return r, odd
		}
	}
}

// field is a header field that says more of a request than that it is one.
type field int

const (
	fieldOther field = iota
	fieldHost
	fieldConnection
	fieldMatch
	fieldAgent
	fieldAccepts
	fieldOdd // of a body, a part, another condition or another protocol
)

var fields = map[string]field{
	"host": fieldHost, "connection": fieldConnection, "if-none-match": fieldMatch, "user-agent": fieldAgent, "accept-encoding": fieldAccepts,
	"content-length": fieldOdd, "transfer-encoding": fieldOdd, "trailer": fieldOdd, "te": fieldOdd, "expect": fieldOdd,
	"upgrade": fieldOdd, "http2-settings": fieldOdd, "proxy-connection": fieldOdd, "keep-alive": fieldOdd,
	"range": fieldOdd, "if-range": fieldOdd, "if-match": fieldOdd, "if-modified-since": fieldOdd, "if-unmodified-since": fieldOdd,
}

func fieldOf(name []byte) field {
	var lower [20]byte
	if len(name) > len(lower) {
		return fieldOther
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return fields[string(lower[:len(name)])]
}

// class are the bytes that may stand somewhere.
type class [256]bool

func classOf(f func(c byte) bool) (all class) {
	for c := range all {
		all[c] = f(byte(c))
	}
	return all
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

var (
	visible  = classOf(func(c byte) bool { return c > ' ' && c < 0x7f })
	token    = classOf(func(c byte) bool { return alphanumeric(c) || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0 })
	hostname = classOf(func(c byte) bool { return alphanumeric(c) || bytes.IndexByte([]byte("-._:[]"), c) >= 0 })
	text8    = classOf(func(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f })
)

func only(b []byte, of *class) bool {
	for _, c := range b {
		if !of[c] {
			return false
		}
	}
	return true
}
