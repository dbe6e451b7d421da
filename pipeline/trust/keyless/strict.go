package keyless

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth bounds the nesting of a JSON document from outside.
const maxDepth = 32

// decode reads a JSON document that has one reading: unknown keys are refused, and keys that come twice in any letter
// case, of which encoding/json would take the last.
func decode(b []byte, v any) error {
	if err := unique(json.NewDecoder(bytes.NewReader(b)), 0); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON document")
	}
	return nil
}

func unique(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			token, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			if folded := strings.ToLower(strings.ToUpper(name)); seen[folded] {
				return fmt.Errorf("key %.60q comes twice", name)
			} else {
				seen[folded] = true
			}
		}
		if err := unique(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// canonical is the JSON of v as logs write it (https://www.rfc-editor.org/rfc/rfc8785), for values of which each struct
// has its keys in order and each string is ASCII.
func canonical(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only strings and numbers are ever in v
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
