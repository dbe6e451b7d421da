package chart

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	helmchart "helm.sh/helm/v3/pkg/chart"
)

// The media types of a chart in a registry (https://helm.sh/docs/topics/registries/#helm-chart-manifest).
const (
	ConfigType  = "application/vnd.cncf.helm.config.v1+json"
	ContentType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// OCI is what a registry's manifest says of a chart besides its content.
type OCI struct {
	Config      []byte // Chart.yaml as JSON
	Annotations map[string]string
}

// ociOf is what Helm's own push would write, but for the time: that is the commit's instead of the clock's.
func ociOf(meta *helmchart.Metadata, t time.Time) (OCI, error) {
	config, err := json.Marshal(meta)
	if err != nil {
		return OCI{}, fmt.Errorf("%s: %w", chartFile, err)
	}
	const prefix = "org.opencontainers.image."
	annotations := map[string]string{}
	for key, value := range map[string]string{
		prefix + "description": meta.Description,
		prefix + "url":         meta.Home,
		prefix + "created":     t.UTC().Format(time.RFC3339),
		prefix + "authors":     authors(meta.Maintainers),
	} {
		if strings.TrimSpace(value) != "" {
			annotations[key] = value
		}
	}
	if len(meta.Sources) > 0 {
		annotations[prefix+"source"] = meta.Sources[0]
	}
	for key, value := range meta.Annotations {
		annotations[key] = value
	}
	// These two say which chart it is, so no annotation of the chart takes their place.
	annotations[prefix+"title"], annotations[prefix+"version"] = meta.Name, meta.Version
	return OCI{Config: config, Annotations: annotations}, nil
}

func authors(all []*helmchart.Maintainer) string {
	var names []string
	for _, m := range all {
		name := m.Name
		if m.Email != "" {
			name += " (" + m.Email + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
