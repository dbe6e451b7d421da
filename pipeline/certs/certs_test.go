package certs_test

import (
	"crypto/x509"
	"testing"

	"github.com/slipway-build/slipway/pipeline/certs"
)

func TestBundle(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certs.Bundle()) {
		t.Fatal("the bundle has no certificate that parses")
	}
	// A store of far fewer roots would leave people unable to reach much of the web.
	if n := len(pool.Subjects()); n < 100 { //nolint:staticcheck // the pool holds no system roots
		t.Errorf("the bundle has %d roots, want at least 100", n)
	}
	if certs.Version() == "" {
		t.Skip("the test binary carries no build information")
	}
}
