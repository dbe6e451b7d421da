package tap

// ReadRecipe is read in words.
func ReadRecipe(format string, b []byte) (id, version string, err error) {
	r, err := read(format, b)
	return r.id, r.version.String(), err
}

// ReadContents is decode in words.
func ReadContents(b []byte) (there bool, content []byte, odd string, err error) {
	c, err := decode("file", b)
	return c.there, c.content, c.odd, err
}

// ValidBranch is validBranch.
var ValidBranch = validBranch
