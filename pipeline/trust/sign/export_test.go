package sign

// Kinds are all kinds of keys, the one that cosign makes first.
func Kinds() []Kind { return []Kind{ECDSA, Ed25519, RSA} }
