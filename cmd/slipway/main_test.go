package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-build/slipway/pipeline/fault"
	"github.com/slipway-build/slipway/pipeline/verify/verifytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"slipway": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// dist writes a release: dist DIR [VERSION [WHY-UNPUBLISHABLE]].
			"dist": func(ts *testscript.TestScript, _ bool, args []string) {
				var o verifytest.Options
				if len(args) > 1 {
					o.Version = args[1]
				}
				o.Unpublishable = args[min(2, len(args)):]
				_, err := verifytest.Write(ts.MkAbs(args[0]), o)
				ts.Check(err)
			},
			// exits runs a program and wants its exit code: exits CODE PROGRAM ARG...
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				var exit *exec.ExitError
				if err != nil {
					if !asExit(err, &exit) {
						ts.Fatalf("%v", err)
					}
					code = exit.ExitCode()
				}
				if fmt.Sprint(code) != args[0] {
					ts.Fatalf("exit %d, want %s", code, args[0])
				}
			},
		},
	})
}
