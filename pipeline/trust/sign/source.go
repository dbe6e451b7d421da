package sign

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// PassphraseVariable is the environment variable with the passphrase of an encrypted key.
const PassphraseVariable = "SLIPWAY_KEY_PASSPHRASE"

// environment is what a reference to a key in the environment begins with.
const environment = "env:"

// Source says where a private key is and how its passphrase is found.
type Source struct {
	// Key is the path of a PEM file, or env:NAME for the environment variable NAME with the content of one. NAME is in
	// capital letters, digits and _.
	Key string
	// PassphraseFile is the path of a file with the passphrase in its one line; "" for none. It goes before
	// SLIPWAY_KEY_PASSPHRASE, and that before Prompt.
	PassphraseFile string
	// Prompt asks a person; nil where there is none.
	Prompt func() ([]byte, error)
	// LookupEnv reads the environment; nil is os.LookupEnv.
	LookupEnv func(string) (string, bool)
}

// Open reads the key. As ssh does, it refuses a file of the user's own that others can read or write: the key is to be
// taken for known to them. Every error is a fault.Usage or a fault.Credentials.
func (s Source) Open() (signature.Signer, error) {
	if s.LookupEnv == nil {
		s.LookupEnv = os.LookupEnv
	}
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	defer clear(b)
	return Load(b, s.passphrase)
}

func (s Source) read() ([]byte, error) {
	switch {
	case s.Key == "":
		return nil, fault.Errorf(fault.Usage, "there is no key to sign with; name its file, or env:NAME for an environment variable")
	case looksLikeKey(s.Key):
		// It may be the key: it goes into no message.
		return nil, fault.Errorf(fault.Usage, "this is the key itself and not its place; name its file, or env:NAME for an environment variable")
	}
	name, ok := strings.CutPrefix(s.Key, environment)
	if !ok {
		return readSecret("private key", s.Key)
	}
	if !isVariable(name) {
		return nil, fault.Errorf(fault.Usage, "what follows env: is not the name of an environment variable: capital letters, digits and _")
	}
	value, ok := s.LookupEnv(name)
	if !ok || value == "" {
		return nil, fault.Errorf(fault.Credentials, "environment variable %s with the private key is not set", name)
	}
	return []byte(value), nil
}

// looksLikeKey reports whether somebody gave the content of a file for its name: PEM, or its lines of base64 alone. DER
// begins with a sequence, 0x30.
func looksLikeKey(s string) bool {
	if strings.Contains(s, "-----") || strings.ContainsAny(s, "\r\n") {
		return true
	}
	s = strings.TrimPrefix(s, environment)
	return len(s) >= 40 && s[0] == 'M' && strings.Trim(s, letters+"abcdefghijklmnopqrstuvwxyz+/= ") == ""
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// isVariable is strict, because the name goes into messages.
func isVariable(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, letters+"_") == "" && !strings.ContainsAny(s[:1], "0123456789")
}

func (s Source) passphrase() ([]byte, error) {
	if s.PassphraseFile != "" {
		b, err := readSecret("passphrase", s.PassphraseFile)
		if err != nil {
			return nil, err
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r")), nil
	}
	if p, ok := s.LookupEnv(PassphraseVariable); ok {
		return []byte(p), nil
	}
	if s.Prompt == nil {
		return nil, errNoPassphrase
	}
	b, err := s.Prompt()
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase: %w", err)
	}
	return b, nil
}

// readSecret reads a file that no one else may read.
func readSecret(what, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.Credentials, fmt.Errorf("reading %s: %w", what, err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err == nil {
		err = private(info)
	}
	if err != nil {
		return nil, fault.New(fault.Credentials, fmt.Errorf("reading %s: %s: %w", what, name, err))
	}
	b, err := bounded.Read(f, maxKeyFile)
	if err != nil {
		clear(b)
		return nil, fault.New(fault.Credentials, fmt.Errorf("reading %s: %s: %w", what, name, err))
	}
	return b, nil
}
