package serve

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// buckets are the upper bounds of the latency histogram, in seconds. The upper half is for downloads.
var buckets = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120}

// metrics are counted here and written in the text format of Prometheus
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format). No label comes from a client.
type metrics struct {
	version, commit string
	inFlight        atomic.Int64
	plain           atomic.Int64 // requests that net/http did not see
	checked         atomic.Int64 // bytes that were read to find what is damaged
	rounds          atomic.Int64

	mu     sync.Mutex
	routes map[route]*counts
}

type counts struct {
	codes   map[int]int64
	bytes   int64
	buckets []int64 // not cumulative; the last one is for what is above all bounds
	seconds float64
}

func newMetrics(version, commit string) *metrics {
	return &metrics{version: version, commit: commit, routes: map[route]*counts{}}
}

func (m *metrics) observe(name route, code int, sent int64, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.routes[name]
	if !ok {
		c = &counts{codes: map[int]int64{}, buckets: make([]int64, len(buckets)+1)}
		m.routes[name] = c
	}
	c.codes[code]++
	c.bytes += sent
	i, _ := slices.BinarySearch(buckets, took.Seconds())
	c.buckets[i]++
	c.seconds += took.Seconds()
}

func family(b *bytes.Buffer, name, kind, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (m *metrics) write(b *bytes.Buffer) {
	family(b, "slipway_build_info", "gauge", "The program that serves; always 1.")
	fmt.Fprintf(b, "slipway_build_info{version=%s,commit=%s,goversion=%s} 1\n", label(m.version), label(m.commit), label(runtime.Version()))
	family(b, "slipway_http_requests_in_flight", "gauge", "Requests that are being answered.")
	fmt.Fprintf(b, "slipway_http_requests_in_flight %d\n", m.inFlight.Load())

	family(b, "slipway_http_plain_requests_total", "counter", "Requests that were answered by what lies ready, without net/http.")
	fmt.Fprintf(b, "slipway_http_plain_requests_total %d\n", m.plain.Load())

	family(b, "slipway_check_bytes_total", "counter", "Bytes that were read in the background to find what is damaged.")
	fmt.Fprintf(b, "slipway_check_bytes_total %d\n", m.checked.Load())
	family(b, "slipway_check_rounds_total", "counter", "Times that all files were read in the background.")
	fmt.Fprintf(b, "slipway_check_rounds_total %d\n", m.rounds.Load())

	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.routes))
	family(b, "slipway_http_requests_total", "counter", "Requests that were answered.")
	for _, name := range names {
		for _, code := range slices.Sorted(maps.Keys(m.routes[name].codes)) {
			fmt.Fprintf(b, "slipway_http_requests_total{route=%q,code=\"%d\"} %d\n", name, code, m.routes[name].codes[code])
		}
	}
	family(b, "slipway_http_response_bytes_total", "counter", "Bytes of the bodies of answers.")
	for _, name := range names {
		fmt.Fprintf(b, "slipway_http_response_bytes_total{route=%q} %d\n", name, m.routes[name].bytes)
	}
	family(b, "slipway_http_request_duration_seconds", "histogram", "Time from the request's header to the end of the answer.")
	for _, name := range names {
		c, total := m.routes[name], int64(0)
		for i, n := range c.buckets {
			total += n
			bound := "+Inf"
			if i < len(buckets) {
				bound = strconv.FormatFloat(buckets[i], 'g', -1, 64)
			}
			fmt.Fprintf(b, "slipway_http_request_duration_seconds_bucket{route=%q,le=%q} %d\n", name, bound, total)
		}
		fmt.Fprintf(b, "slipway_http_request_duration_seconds_sum{route=%q} %g\n", name, c.seconds)
		fmt.Fprintf(b, "slipway_http_request_duration_seconds_count{route=%q} %d\n", name, total)
	}
}

func (l *library) writeMetrics(b *bytes.Buffer) {
	var releases, broken, damaged int
	if s := l.shelf.Load(); s != nil {
		releases, broken = len(s.releases), len(s.broken)
		for _, r := range s.releases {
			damaged += len(r.condition.broken())
		}
	}
	family(b, "slipway_releases", "gauge", "Releases that are served.")
	fmt.Fprintf(b, "slipway_releases %d\n", releases)
	family(b, "slipway_broken_releases", "gauge", "Folders that look like releases and cannot be served.")
	fmt.Fprintf(b, "slipway_broken_releases %d\n", broken)
	family(b, "slipway_damaged_files", "gauge", "Files that are not what their release lists, as far as they were read, and are not served.")
	fmt.Fprintf(b, "slipway_damaged_files %d\n", damaged)
	family(b, "slipway_scans_total", "counter", "Times that the folder of releases was read.")
	failures := l.failures.Load()
	fmt.Fprintf(b, "slipway_scans_total{result=\"ok\"} %d\n", l.scans.Load()-failures)
	fmt.Fprintf(b, "slipway_scans_total{result=\"error\"} %d\n", failures)
}

// label quotes a value as the format has it: only the backslash, the quote and the newline are escaped.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
