package config

import (
	"fmt"
	"regexp"
)

// Environment is the release store that a project is in.
type Environment struct {
	Store  string `yaml:"store" doc:"URL of the store's git repository." example:"https://github.com/owner/releases.git"`
	Enter  string `yaml:"enter" doc:"Environment that a release enters when it is published. Default: none, unless the publish command names one with --environment." example:"snapshot"`
	Public string `yaml:"public" doc:"Environment whose versions are for everybody: the chart repository, the tap and the bucket of Scoop have its current version, and winget, Chocolatey, the Snap Store and announcements wait until it has the version. Default: the last one of the store." example:"production"`
	URL    string `yaml:"url" doc:"URL below which the folder of releases is served, where the store finds a release. Default: the release on GitHub, else the url of the bucket, else the folder on this machine." example:"https://releases.example.com/releases"`
	Key    string `yaml:"key" doc:"Environment variable with the private key that signs what the store is asked for. Default: it is not signed." example:"STORE_KEY"`
}

var stageName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$`)

func (v *validator) environment(e Environment) {
	if e != (Environment{}) && e.Store == "" {
		v.At("environment", "store is missing: URL of the store's git repository")
	}
	v.match("environment.store", e.Store, gitURL, "the URL of a git repository")
	v.match("environment.enter", e.Enter, stageName, "the name of an environment")
	v.match("environment.public", e.Public, stageName, "the name of an environment")
	v.web("environment.url", e.URL)
	v.variable("environment.key", e.Key)
}

// CheckStore refuses what is not the URL of a store; "" is none.
func CheckStore(url string) error {
	if url != "" && !gitURL.MatchString(url) {
		return fmt.Errorf("%.80q is not the URL of a git repository, such as https://github.com/owner/releases.git", url)
	}
	return nil
}
