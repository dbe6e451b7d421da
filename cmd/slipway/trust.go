package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// trustUsage is what the flag --trust is for.
const trustUsage = "slipway.yaml `file` of the project whose keys count, each for the days that it says; a revoked one never"

// believe adds the keys that a slipway.yaml names, beside which they lie, if one is given.
func believe(o *verify.Options, project string) error {
	switch {
	case project == "":
		return nil
	case o.AllowUnsigned:
		return fault.Errorf(fault.Usage, "--trust and --allow-unsigned cannot be used together: signatures are either checked or ignored")
	}
	b, err := readFile(project)
	if err != nil {
		return fault.New(fault.Usage, fmt.Errorf("reading --trust: %w", err))
	}
	cfg, err := config.Parse(project, b)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	trusted, terms, err := cfg.Keys(func(name string) ([]byte, error) {
		return readFile(filepath.Join(filepath.Dir(project), filepath.FromSlash(name)))
	})
	if err == nil && len(trusted) == 0 {
		err = fmt.Errorf("%s: it names no key, neither under signing.key nor under trust", project)
	}
	o.Keys, o.Terms = append(o.Keys, trusted...), terms
	return fault.New(fault.Usage, err)
}

// readFile reads a file that a person named, to its bound: what comes behind is a mistake that the parser tells of.
func readFile(name string) ([]byte, error) {
	const maxFile = 1 << 20 // bytes
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}
