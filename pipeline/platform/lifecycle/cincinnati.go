package lifecycle

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Graph is the graph of upgrades as clients of Cincinnati read it
// (https://github.com/openshift/cincinnati/blob/master/docs/design/cincinnati.md#graph-api and policy-engine-openapi.yaml beside it).
type Graph struct {
	Version          int                `json:"version"`
	Nodes            []Node             `json:"nodes"`
	Edges            [][2]int           `json:"edges"` // places in Nodes
	ConditionalEdges []ConditionalEdges `json:"conditionalEdges"`
}

// Node is a release. Its payload is the digest of its manifest.
type Node struct {
	Version  string            `json:"version"`
	Payload  string            `json:"payload"`
	Metadata map[string]string `json:"metadata"`
}

// ConditionalEdges are upgrades that carry the same risk.
type ConditionalEdges struct {
	Edges []Conditional     `json:"edges"`
	Risks []ConditionalRisk `json:"risks"`
}

// Conditional is one of them.
type Conditional struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// ConditionalRisk is a risk. It is met always: nothing here knows how to ask a client.
type ConditionalRisk struct {
	URL           string              `json:"url"`
	Name          string              `json:"name"`
	Message       string              `json:"message"`
	MatchingRules []map[string]string `json:"matchingRules"`
}

var channels = regexp.MustCompile(`^stable(?:-((?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,8})))?$`)

// Graph is the graph of a channel: stable has all releases, and stable-2.1 those of line 2.1 and of the lines before it, from which one may
// come. A channel of a line that there is not is empty. Upgrades to what is withdrawn, or that would bring a vulnerability, are not in it.
func (l Lifecycle) Graph(channel string) (Graph, error) {
	m := channels.FindStringSubmatch(channel)
	if m == nil {
		return Graph{}, fmt.Errorf("channel %.60q is neither stable nor one of a line, such as stable-2.1", channel)
	}
	g := Graph{Version: 1, Nodes: []Node{}, Edges: [][2]int{}, ConditionalEdges: []ConditionalEdges{}}
	last, _ := version.Parse(m[1] + ".0") // the zero version for all lines
	there := false
	place := map[int]int{}
	for i, r := range l.Releases {
		if m[1] != "" && (r.Version.Major() > last.Major() || r.Version.Major() == last.Major() && r.Version.Minor() > last.Minor()) {
			continue
		}
		there = there || m[1] == "" || Line(r.Version) == m[1]
		place[i] = len(g.Nodes)
		metadata := map[string]string{"line": Line(r.Version), "until": r.Until.String()}
		if r.Withdrawn != "" {
			metadata["withdrawn"] = r.Withdrawn
		}
		if open := l.open(r.Version); len(open) > 0 {
			var ids []string
			for _, a := range open {
				ids = append(ids, a.ID)
			}
			metadata["advisories"] = strings.Join(ids, ",")
		}
		g.Nodes = append(g.Nodes, Node{r.Version.String(), string(r.Manifest), metadata})
	}
	if !there {
		g.Nodes = []Node{}
		return g, nil
	}
	risky := map[string][]Conditional{}
	for e := range l.Edges() {
		from, ok := place[e.From]
		to, okTo := place[e.To]
		switch {
		case !ok || !okTo:
		case e.Why == "":
			g.Edges = append(g.Edges, [2]int{from, to})
		default:
			risky[e.Why] = append(risky[e.Why], Conditional{g.Nodes[from].Version, g.Nodes[to].Version})
		}
	}
	for _, r := range l.Risks {
		if edges := risky[r.Name]; len(edges) > 0 {
			g.ConditionalEdges = append(g.ConditionalEdges, ConditionalEdges{edges, []ConditionalRisk{{r.URL, r.Name, r.Message, []map[string]string{{"type": "Always"}}}}})
		}
	}
	return g, nil
}
