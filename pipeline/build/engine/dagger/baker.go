package dagger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"dagger.io/dagger"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Baker is a session with a Dagger engine that changes images. It knows no toolchain and gets no secret.
type Baker struct {
	client *dagger.Client
	name   string
}

// NewBaker connects to an engine as New does; of the options it reads the environment, the log and the time to wait. End it with Close.
func NewBaker(ctx context.Context, o Options) (*Baker, error) {
	client, err := connect(ctx, o, "start one, or a container runtime in which it can be started")
	if err != nil {
		return nil, err
	}
	v, err := client.Version(ctx)
	if err != nil {
		return nil, errors.Join(fault.Errorf(fault.Transient, "asking the Dagger engine for its version: %w", err), client.Close())
	}
	return &Baker{client, "dagger " + v}, nil
}

// Name is what the engine calls itself.
func (b *Baker) Name() string { return b.name }

// Close ends the session.
func (b *Baker) Close() error { return b.client.Close() }

// Bake runs steps in an image; see engine.Baker.
func (b *Baker) Bake(ctx context.Context, job engine.Bake, out string) error {
	dir, name := filepath.Split(job.Image)
	image := b.client.Host().Directory(dir, dagger.HostDirectoryOpts{Include: []string{name}}).File(name)
	c, err := b.client.Container(dagger.ContainerOpts{Platform: dagger.Platform(job.Platform)}).Import(image).Sync(ctx)
	if err != nil {
		return failure(ctx, "taking the image", err)
	}
	own, err := c.User(ctx)
	if err != nil {
		return failure(ctx, "taking the image", err)
	}
	for _, s := range job.Steps {
		run := c.WithUser(own)
		if s.User != "" {
			run = c.WithUser(s.User)
		}
		if s.Unique {
			run = run.WithEnvVariable("SLIPWAY_BAKE", rand.Text())
		}
		if c, err = run.WithExec(s.Args).Sync(ctx); err != nil {
			if foreign(err) {
				err = fmt.Errorf("the engine runs no programs of %s; use one on such a machine, or one with an emulator (QEMU) for it", job.Platform)
				return fault.New(fault.Build, &engine.Failure{Step: s.Name, Err: err})
			}
			err = failure(ctx, s.Name, err)
			if f := (*engine.Failure)(nil); errors.As(err, &f) { // whatever it printed of a network, the packages are what it is about
				return fault.New(fault.Build, f)
			}
			return err
		}
	}
	if out == "" {
		return nil
	}
	if _, err := c.Export(ctx, out, dagger.ContainerExportOpts{MediaTypes: dagger.ImageMediaTypesOcimediaTypes}); err != nil {
		return failure(ctx, "bringing the image back", err)
	}
	return nil
}

// foreign reports whether a program is of another machine, in the words of the kernel as what starts programs has them last.
func foreign(err error) bool {
	var exec *dagger.ExecError
	return errors.As(err, &exec) && strings.HasSuffix(strings.TrimSpace(exec.Stderr), "exec format error")
}
