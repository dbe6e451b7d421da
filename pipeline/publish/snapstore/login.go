package snapstore

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of credentials, in bytes.
const (
	maxCredentials = 64 << 10
	maxMacaroon    = 32 << 10
)

// ssoSection is where snapcraft's older configuration has the macaroons of the login host.
const ssoSection = "[login.ubuntu.com]"

// login is what the store knows a publisher by: a macaroon that says what may be done, and one by which the login host
// says whose it is. The second goes stale within a day or two, and the login host renews it
// (https://github.com/canonical/craft-store/blob/main/craft_store/ubuntu_one_store_client.py).
type login struct {
	root, discharge string
	header          string // the value of Authorization
}

// errCredentials never tells what it read.
var errCredentials = fault.Errorf(fault.Credentials,
	"the credentials of the Snap Store are not those that snapcraft export-login writes for Ubuntu One; export them again")

// parseLogin reads what snapcraft export-login writes: base64 of JSON, with or without the type, or the older
// configuration file, as it is or in base64
// (https://github.com/canonical/craft-store/blob/main/craft_store/creds.py,
// https://github.com/canonical/snapcraft/blob/main/snapcraft/store/_legacy_account.py).
func parseLogin(s string) (login, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return login{}, fault.Errorf(fault.Credentials, "the Snap Store requires credentials; give those of snapcraft export-login")
	}
	if len(s) > maxCredentials {
		return login{}, errCredentials
	}
	text := s
	if !strings.HasPrefix(s, "[") {
		b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
		if err != nil {
			return login{}, errCredentials
		}
		text = strings.TrimSpace(string(b))
	}
	var root, discharge string
	if strings.HasPrefix(text, "[") {
		root, discharge = configured(text)
	} else {
		var err error
		if root, discharge, err = exported(text); err != nil {
			return login{}, err
		}
	}
	return newLogin(root, discharge)
}

// exported are the macaroons in JSON.
func exported(text string) (root, discharge string, err error) {
	type pair struct {
		Root      string `json:"r"`
		Discharge string `json:"d"`
	}
	var typed struct {
		pair
		Type  string          `json:"t"`
		Value json.RawMessage `json:"v"`
	}
	if canonjson.DecodeOpen([]byte(text), &typed) != nil {
		return "", "", errCredentials
	}
	p := typed.pair
	switch typed.Type {
	case "":
	case "u1-macaroon":
		p = pair{}
		if canonjson.DecodeOpen(typed.Value, &p) != nil {
			return "", "", errCredentials
		}
	default:
		return "", "", fault.Errorf(fault.Credentials,
			"the credentials of the Snap Store are of type %.40q and not of Ubuntu One; export them again with snapcraft export-login", typed.Type)
	}
	return p.Root, p.Discharge, nil
}

// configured are the macaroons in a configuration file.
func configured(text string) (root, discharge string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, _ := strings.Cut(line, "=")
		if section != ssoSection {
			continue
		}
		switch strings.TrimSpace(key) {
		case "macaroon":
			root = strings.TrimSpace(value)
		case "unbound_discharge":
			discharge = strings.TrimSpace(value)
		}
	}
	return root, discharge
}

// newLogin binds the discharge to the root. The header has the form that craft-store sends.
func newLogin(root, discharge string) (login, error) {
	r, err := parseMacaroon(root)
	if err != nil {
		return login{}, errCredentials
	}
	d, err := parseMacaroon(discharge)
	if err != nil {
		return login{}, errCredentials
	}
	return login{root, discharge, "Macaroon root=" + root + ", discharge=" + d.bind(r).String()}, nil
}

// macaroon is a macaroon of version 1: packets, of which the last is the signature
// (https://github.com/rescrv/libmacaroons/blob/master/doc/format.txt).
type macaroon struct {
	packets   []byte // all but the signature
	signature [sha256.Size]byte
}

// A packet is its length in four hexadecimal digits, the digits included, then a key, a space, a value and a line end.
const (
	lengthDigits    = 4
	signaturePacket = "002fsignature "
)

var errMacaroon = errors.New("it is not a macaroon of version 1")

// parseMacaroon reads a macaroon in base64 for URLs, padded or not.
func parseMacaroon(s string) (macaroon, error) {
	if len(s) > maxMacaroon {
		return macaroon{}, errMacaroon
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder skips
		return macaroon{}, errMacaroon
	}
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < lengthDigits {
			return macaroon{}, errMacaroon
		}
		n, err := strconv.ParseUint(string(rest[:lengthDigits]), 16, 16)
		if err != nil || n <= lengthDigits || n > uint64(len(rest)) || rest[n-1] != '\n' {
			return macaroon{}, errMacaroon
		}
		if value, ok := bytes.CutPrefix(rest[:n-1], []byte(signaturePacket)); ok && len(value) == sha256.Size && int(n) == len(rest) {
			return macaroon{b[:at], [sha256.Size]byte(value)}, nil
		}
		at += int(n)
	}
	return macaroon{}, errMacaroon
}

// bind makes a discharge one that serves beside root alone. Its signature becomes the hash of both, as libmacaroons and
// pymacaroons have it: the HMAC, with a key of zeros, of the HMACs of the root's and of its own.
func (m macaroon) bind(root macaroon) macaroon {
	sum := func(b ...[]byte) []byte {
		h := hmac.New(sha256.New, make([]byte, sha256.Size))
		for _, one := range b {
			h.Write(one)
		}
		return h.Sum(nil)
	}
	return macaroon{m.packets, [sha256.Size]byte(sum(sum(root.signature[:]), sum(m.signature[:])))}
}

func (m macaroon) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(bytes.Clone(m.packets), "%s%s\n", signaturePacket, m.signature[:]))
}
