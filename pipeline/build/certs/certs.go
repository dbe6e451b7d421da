// Package certs has the CA certificates that go into images whose base has none: the roots of the Mozilla program as
// the Go project packages them, at the version that go.mod pins.
package certs

import (
	"bytes"
	"encoding/pem"
	"runtime/debug"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Module is the Go module that the certificates come from.
const Module = "golang.org/x/crypto/x509roots/fallback"

// Bundle returns the certificates as PEM, in the order of the module. A root that is trusted only under a condition,
// such as for certificates issued before a date, is left out: PEM cannot carry the condition.
var Bundle = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		// Writing to a buffer cannot fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
	}
	return b.Bytes()
})

// Version is the version of Module that this program was built with; empty where the program does not know.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == Module {
			return dep.Version
		}
	}
	return ""
}
