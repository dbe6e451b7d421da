package resolve

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Lifecycle reads a lifecycle.json, a file or at a URL. Where there are keys, the signature beside it must be by one of them.
func Lifecycle(ctx context.Context, place string, keys []signature.PublicKey) (l lifecycle.Lifecycle, err error) {
	b, err := fetch(ctx, place)
	if err == nil && len(keys) > 0 {
		err = signedBy(ctx, place, b, keys)
	}
	if err != nil {
		return l, err
	}
	l, err = lifecycle.Decode(b)
	return l, unread(place, err)
}

func signedBy(ctx context.Context, place string, b []byte, keys []signature.PublicKey) error {
	signed, err := fetch(ctx, place+signature.Suffix)
	if err != nil {
		return err
	}
	bundle, err := signature.ParseBundle(signed)
	if err != nil {
		return fault.New(fault.Mismatch, fmt.Errorf("%s%s: %w", place, signature.Suffix, err))
	}
	if err := signature.VerifyBlobBy(bundle, b, keys); err != nil {
		return fault.Errorf(fault.Mismatch, "%s: %w", place, err)
	}
	return nil
}

// patience bounds a fetch.
const patience = time.Minute

// fetch is the content of a file or at a URL.
func fetch(ctx context.Context, place string) ([]byte, error) {
	if !verify.IsURL(place) {
		b, err := bounded.File(place, lifecycle.MaxSize)
		return b, fault.New(fault.Usage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	client := verify.NewClient()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return nil, fault.New(fault.Transient, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		code := fault.Transient
		if res.StatusCode == http.StatusNotFound {
			code = fault.Usage
		}
		return nil, fault.Errorf(code, "%s: the server says %s", place, res.Status)
	}
	b, err := bounded.Read(res.Body, lifecycle.MaxSize)
	return b, fault.New(fault.Transient, err)
}
