package dagger

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger/engineconn"

	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Names of variables that the SDK reads.
const (
	runnerHost = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
	cliBin     = "_EXPERIMENTAL_DAGGER_CLI_BIN"
)

const (
	answering    = time.Minute      // for an engine that runs already
	provisioning = 5 * time.Minute  // for one whose image is fetched first
	closing      = 5 * time.Minute  // for what an engine keeps of a session
	interrupted  = 10 * time.Second // for what is left of one that nobody waits for
)

// own begin the names of the variables that the program of the SDK reads besides those of a container runtime's client: where its
// engine is, where its traces go, and that nothing about its use may be sent to its makers.
var own = []string{"DAGGER_", "_EXPERIMENTAL_DAGGER_", "OTEL_", "TRACEPARENT", "KUBECONFIG", "XDG_", "DO_NOT_TRACK"}

// seen is what that program sees of an environment.
func seen(environ []string) []string {
	of := gocommand.Runtime(environ)
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		return !slices.Contains(of, kv) && !slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(kv, prefix) })
	})
}

// session is the program of the SDK, between this process and an engine. The SDK would start it itself: with the whole environment, with
// no end to the wait for an engine that never answers, and with nothing that ends it where this process is interrupted meanwhile.
type session struct {
	http.Client
	engineconn.ConnectParams
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan error
}

// open starts the program and waits until it has an engine.
func open(ctx context.Context, o Options) (engineconn.EngineConn, error) {
	if conn, ok, err := engineconn.FromSessionEnv(); ok || err != nil {
		return conn, err // `dagger run` has started it
	}
	program, err := lookup(o.Environ, cliBin), error(nil)
	if program != "" {
		program, err = exec.LookPath(program)
	} else {
		program, err = engineconn.CLIDownloader{Ref: engineconn.CLIVersion, Release: true, LogOutput: o.Log, CleanupOld: true}.Download(ctx)
	}
	if err != nil {
		return nil, err
	}
	s := &session{cmd: exec.CommandContext(ctx, program, "session"), ended: make(chan error, 1)}
	s.cmd.Env, s.cmd.WaitDelay = seen(o.Environ), interrupted
	gocommand.Group(s.cmd)
	out, in := io.Pipe()
	last := &words{}
	s.cmd.Stdout, s.cmd.Stderr = in, io.MultiWriter(o.Log, last)
	if s.stdin, err = s.cmd.StdinPipe(); err != nil { // which ends the program when it closes, however this process ends
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		err := s.cmd.Wait()
		in.Close()
		s.ended <- err
	}()
	ready := make(chan error, 1)
	go func() {
		r := bufio.NewReader(out)
		line, err := r.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &s.ConnectParams)
		}
		ready <- err
		_, _ = io.Copy(io.Discard, r)
	}()
	at := lookup(o.Environ, runnerHost)
	wait := provisioning
	if strings.HasPrefix(at, "tcp://") || strings.HasPrefix(at, "unix://") {
		wait = answering
	}
	wait = cmp.Or(o.Wait, wait)
	select {
	case err = <-ready:
		if err == nil {
			s.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)))
			}}
			return s, nil
		}
		err = cmp.Or(last.err(), err)
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(wait):
		err = fmt.Errorf("it did not answer within %s", wait)
	}
	// While it looks for an engine it obeys neither a signal nor the end of its input.
	gocommand.End(s.cmd)
	<-s.ended
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if at != "" {
		err = fmt.Errorf("%s, which %s names: %w", at, runnerHost, err)
	}
	return nil, err
}

// Host is in the URLs of requests, which all go to the program.
func (s *session) Host() string { return "dagger" }

// Do makes a request.
func (s *session) Do(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth(s.SessionToken, "")
	return s.Client.Do(r)
}

// Close ends the program and what it started.
func (s *session) Close() error {
	defer gocommand.End(s.cmd)
	s.stdin.Close()
	select {
	case err := <-s.ended:
		if exit, ok := errors.AsType[*exec.ExitError](err); errors.Is(err, context.Canceled) || ok && !exit.Exited() {
			return nil // it was interrupted like the rest
		}
		return err
	case <-time.After(closing):
		return fault.Errorf(fault.Transient, "the session did not end within %s", closing)
	}
}

// words keeps what the program says in the end.
type words struct {
	mu sync.Mutex
	b  []byte
}

func (w *words) Write(p []byte) (int, error) {
	const keep = 4 << 10
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	w.b = w.b[max(0, len(w.b)-keep):]
	return len(p), nil
}

func (w *words) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if said := bytes.TrimSpace(w.b); len(said) > 0 {
		return errors.New(string(said))
	}
	return nil
}
