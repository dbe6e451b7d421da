package inspect

import (
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Digests are all SHA-256 digests in a text, in their order and as often as they stand there: 64 digits of base 16 in
// either letter case, with no letter or digit beside them.
func Digests(b []byte) []artifact.Digest {
	const digits = 64
	var out []artifact.Digest
	for i := 0; i < len(b); {
		if !word(b[i]) {
			i++
			continue
		}
		start, hex := i, true
		for ; i < len(b) && word(b[i]); i++ {
			hex = hex && strings.IndexByte("0123456789abcdefABCDEF", b[i]) >= 0
		}
		if hex && i-start == digits {
			out = append(out, artifact.Digest("sha256:"+strings.ToLower(string(b[start:i]))))
		}
	}
	return out
}

// word tells whether a byte is a letter or a digit, or a part of one beyond ASCII.
func word(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// URLs are all URLs with http or https in a text, in their order and as often as they stand there. A URL ends at white
// space, a quote, an angle bracket, a backslash, a bar or a control character; a mark or a bracket at its end that was
// not opened in it belongs to the text around it.
func URLs(b []byte) []string {
	s := string(b)
	var out []string
	for {
		i := strings.Index(s, "http")
		if i < 0 {
			return out
		}
		inside := i > 0 && word(s[i-1]) // xhttp is no scheme
		s = s[i:]
		scheme := "http://"
		if strings.HasPrefix(s, "https://") {
			scheme = "https://"
		}
		if inside || !strings.HasPrefix(s, scheme) {
			s = s[len("http"):]
			continue
		}
		n := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'`<>\\|^", r) })
		if n < 0 {
			n = len(s)
		}
		if u := trimURL(s[:n]); len(u) > len(scheme) {
			out = append(out, u)
		}
		s = s[n:]
	}
}

func trimURL(u string) string {
	opened := map[byte]int{}
	for i := range len(u) {
		switch u[i] {
		case '(':
			opened[')']++
		case '[':
			opened[']']++
		case '{':
			opened['}']++
		case ')', ']', '}':
			opened[u[i]]--
		}
	}
	for u != "" {
		switch last := u[len(u)-1]; {
		case strings.IndexByte(".,;:!?*", last) >= 0:
		case strings.IndexByte(")]}", last) >= 0 && opened[last] < 0:
			opened[last]++
		default:
			return u
		}
		u = u[:len(u)-1]
	}
	return u
}
