// Command ci is the release pipeline of this repository: go run ./ci build.
package main

import (
	"os"

	"github.com/slipway-build/slipway/pipeline/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
