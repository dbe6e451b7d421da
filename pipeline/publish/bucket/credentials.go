package bucket

import (
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// provider asks for credentials for each request, so that one that is renewed meanwhile is taken.
type provider struct{ access, secret, session func() string }

func (s service) credentials() *credentials.Credentials {
	if s.o.AccessKey == nil && s.o.SecretKey == nil {
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous)
	}
	return credentials.New(provider{s.o.AccessKey, s.o.SecretKey, s.o.SessionToken})
}

// Retrieve returns the credentials of the moment.
func (p provider) Retrieve() (credentials.Value, error) {
	v := credentials.Value{SignerType: credentials.SignatureV4}
	for _, part := range []struct {
		to   *string
		from func() string
	}{{&v.AccessKeyID, p.access}, {&v.SecretAccessKey, p.secret}, {&v.SessionToken, p.session}} {
		if part.from != nil {
			*part.to = part.from()
		}
	}
	if v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return credentials.Value{}, fault.Errorf(fault.Credentials, "the bucket's access key or its secret is missing; set both")
	}
	return v, nil
}

// RetrieveWithCredContext is Retrieve: no request is made for credentials.
func (p provider) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return p.Retrieve()
}

// IsExpired has the credentials asked for again.
func (p provider) IsExpired() bool { return true }
