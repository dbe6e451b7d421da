package cli_test

import (
	"io"
	"log"
	"math/rand"
)

var discard = log.New(io.Discard, "", 0)

func randSource(seed int64) rand.Source { return rand.NewSource(seed) }
