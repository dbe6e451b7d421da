package cli

import (
	"context"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/platform/assemble"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
)

// No workflow publishes what did not come about, so that nobody waits for it, and the exit code is that of the failure.
func TestNobodyWaitsForWhatFailed(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
	defer stop()
	c := buildChoices{wait: time.Hour}
	if err := c.await(ctx, resolve.Options{}, []assemble.Component{{Name: "agent", State: assemble.Failed}, {Name: "server", State: assemble.Skipped}}); err != nil {
		t.Error(err)
	}
}
