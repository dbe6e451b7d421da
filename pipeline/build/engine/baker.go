package engine

import "context"

// Baker runs programs in the file system of an image, as root of that and with a network. Only an engine that has containers is one.
type Baker interface {
	// Bake runs the steps of b, one after the other, and writes the image that they leave to the file out: an OCI archive that has the
	// layers of the first image and, above them, what the steps changed. Where out is "" nothing is written. A step that does not
	// succeed, and one that the engine cannot run on that platform, is a *Failure; nothing is written then.
	Bake(ctx context.Context, b Bake, out string) error
	// Name is what the engine calls itself, with its version.
	Name() string
}

// Bake is what is to be run in an image.
type Bake struct {
	Image    string // OCI archive of one platform
	Platform string // linux/amd64
	Steps    []Step
}

// Step is one program of a bake.
type Step struct {
	Name   string   // what errors call it
	Args   []string // run as they are, without a shell
	User   string   // "" for the image's own
	Unique bool     // its result depends on more than the image, so it is never taken from a cache
}
