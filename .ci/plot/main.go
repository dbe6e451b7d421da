// Command plot measures commands, keeps what it measured as JSON lines and draws it. It serves .ci/bench, and uses the
// standard library alone, so that it adds nothing to go.mod.
//
//	plot begin                 check that the results are of this machine, or make them
//	plot drop PART...          forget parts, to measure them again
//	plot run ... -- COMMAND    measure a command
//	plot add ...               keep what a command has measured itself
//	plot print                 tables for people
//	plot draw SVG              the picture
//	plot bytes N               N bytes that look random and are always the same
//	plot base FILE PLATFORM... serve an image for platforms on loopback, with its name in a file, until it is killed
//
// The results are in the file that RESULTS names, by default docs/performance.jsonl.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("which command? See the comment at the top of .ci/plot/main.go")
	}
	name := cmp.Or(os.Getenv("RESULTS"), "docs/performance.jsonl")
	command, args := args[0], args[1:]
	switch command {
	case "begin":
		return begin(name)
	case "drop":
		return drop(name, args)
	case "run", "add":
		return measure(name, command == "add", args)
	case "print", "draw":
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		r, err := decode(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if command == "print" {
			_, err := io.WriteString(os.Stdout, tables(r))
			return err
		}
		if len(args) != 1 {
			return errors.New("draw: name the file to write")
		}
		return os.WriteFile(args[0], []byte(draw(r)), 0o644)
	case "bytes":
		if len(args) != 1 {
			return errors.New("bytes: how many?")
		}
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(os.Stdout, 1<<20)
		if _, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), n); err != nil {
			return err
		}
		return w.Flush()
	case "base":
		if len(args) < 2 {
			return errors.New("base: name a file and platforms")
		}
		return serveBase(args[0], args[1:])
	}
	return fmt.Errorf("there is no command %s", command)
}
