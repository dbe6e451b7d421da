package environments

import "github.com/slipway-build/slipway/pipeline/environment"

// What is tested by itself.
var RegistryOf = registryOf

// ParseRegistry takes an address of a registry apart.
func ParseRegistry(p string) (name, what, ref string) {
	r := parseRegistry(p)
	return r.name, r.what, r.ref
}

// Cursor reads a cursor and writes it again.
func Cursor(s string) (string, error) {
	c, err := parseCursor(s)
	return c.String(), err
}

// Elsewhere is where an entry with a place has a file.
func Elsewhere(place, name string, flat bool) string {
	to, _ := elsewhere(&environment.Entry{Places: []string{place}}, name, flat)
	return to
}
