//go:build !unix

package cli

import "github.com/slipway-build/slipway/pipeline/present/report"

// usage is unknown where the system does not tell it in the usual form.
func usage() report.Totals { return report.Totals{} }
