package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/slipway-build/slipway/pipeline/build/certs"
)

func TestBundle(t *testing.T) {
	var unconditional int
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			unconditional++
		}
	}
	seen := map[string]bool{}
	for rest := certs.Bundle(); len(rest) > 0; {
		block, after := pem.Decode(rest)
		if block == nil {
			t.Fatalf("after %d certificates, something else follows: %.80q", len(seen), rest)
		}
		rest = after
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 || !root.IsCA {
			t.Errorf("%s: a block of type %s with %v", root.Subject, block.Type, block.Headers)
		}
		if seen[string(root.Raw)] {
			t.Errorf("%s is there twice", root.Subject)
		}
		seen[string(root.Raw)] = true
	}
	// A store of far fewer roots would leave people unable to reach much of the web.
	if len(seen) != unconditional || len(seen) < 100 {
		t.Errorf("the bundle has %d of %d roots, want all and at least 100", len(seen), unconditional)
	}
	if !bytes.Equal(certs.Bundle(), certs.Bundle()) {
		t.Error("the bundle changes")
	}
}

// The version names the module in a release, where the program knows it: a test may not.
func TestVersion(t *testing.T) {
	if v := certs.Version(); v != "" && v[0] != 'v' {
		t.Errorf("version %q", v)
	}
}
