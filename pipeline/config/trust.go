package config

import (
	"fmt"
	"path"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// TrustedKey is a key with the days for which it counts.
type TrustedKey struct {
	Key     string `yaml:"key" required:"true" doc:"Public key as PEM, a path in the repository." example:"keys/2025.pub"`
	From    string `yaml:"from" empty:"false" doc:"First day, in UTC. Releases whose commit is older do not count. Default: no bound." example:"2026-01-31"`
	Until   string `yaml:"until" empty:"false" doc:"Last day, in UTC, of a key that another has followed. Releases whose commit is later do not count. Default: no bound." example:"2026-12-31"`
	Revoked string `yaml:"revoked" empty:"false" doc:"Day on which the key was no longer trusted. No signature of it counts, whatever day the release is of." example:"2026-03-01"`
	Reason  string `yaml:"reason" doc:"Why it was revoked. Whoever verifies a release that was signed with it reads this." example:"the laptop with the key was stolen"`
}

// maxTrusted bounds the keys under trust, each of which is a file to read and a key to try.
const maxTrusted = 100

func (v *validator) trust(all []TrustedKey) {
	if len(all) > maxTrusted {
		v.At("trust", "%d keys; at most %d are read", len(all), maxTrusted)
		return
	}
	seen := map[string]int{}
	for i, k := range all {
		key := fmt.Sprintf("trust[%d]", i)
		v.local(key+".key", k.Key)
		if j, ok := seen[path.Clean(k.Key)]; ok {
			v.At(key+".key", "%q is that of trust[%d] too", k.Key, j)
		}
		seen[path.Clean(k.Key)] = i
		v.day(key+".from", k.From)
		v.day(key+".until", k.Until)
		v.day(key+".revoked", k.Revoked)
		v.line(key+".reason", k.Reason)
		switch {
		case k.From != "" && k.Until != "" && k.Until < k.From:
			v.At(key+".until", "it is before from")
		case k.Revoked != "" && k.Reason == "":
			v.At(key+".revoked", "say why under reason")
		case k.Revoked == "" && k.Reason != "":
			v.At(key+".reason", "it is the reason of a revocation; say since when under revoked")
		}
	}
}

// day checks a date.
func (v *validator) day(key, value string) {
	if _, err := time.Parse(time.DateOnly, value); value != "" && err != nil {
		v.At(key, "%.40q is not a day such as 2006-01-02", value)
	}
}

// Keys reads the public keys whose signatures count, the one that signs first, and for how long those under trust do, by
// their fingerprints. Read returns a file of the repository.
func (c Config) Keys(read func(name string) ([]byte, error)) ([]signature.PublicKey, map[artifact.Digest]signature.Term, error) {
	var keys []signature.PublicKey
	parse := func(key, name string) (artifact.Digest, error) {
		b, err := read(name)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", c.At(key), key, err)
		}
		k, err := signature.ParsePublicKey(b)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %s: %w", c.At(key), key, name, err)
		}
		keys = append(keys, k)
		return k.Fingerprint(), nil
	}
	if c.Signing.Key != "" {
		if _, err := parse("signing.key", c.Signing.Key); err != nil {
			return nil, nil, err
		}
	}
	terms := map[artifact.Digest]signature.Term{}
	for i, k := range c.Trust {
		key := fmt.Sprintf("trust[%d].key", i)
		fingerprint, err := parse(key, k.Key)
		if err != nil {
			return nil, nil, err
		}
		if _, ok := terms[fingerprint]; ok {
			return nil, nil, fmt.Errorf("%s: %s: key %s stands under trust twice", c.At(key), key, fingerprint)
		}
		if terms[fingerprint], err = signature.ParseTerm(k.From, k.Until, k.Revoked, k.Reason); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.At(key), err)
		}
	}
	return keys, terms, nil
}
