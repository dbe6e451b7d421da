package environment

import "maps"

// Snapshot is the state as it is now, for several goroutines to read while the state itself goes on. Nothing can be appended to it,
// and it knows no requests.
func (s *State) Snapshot() *State {
	c := &State{
		Count: s.Count, Digest: s.Digest, Time: s.Time, frozen: maps.Clone(s.frozen),
		digests:    s.digests, // to which the state appends, and which it does not change
		stages:     make(map[string]map[string]map[string]Held, len(s.stages)),
		components: make(map[string]*component, len(s.components)),
	}
	for stage, all := range s.stages {
		in := make(map[string]map[string]Held, len(all))
		for name, versions := range all {
			in[name] = maps.Clone(versions)
		}
		c.stages[stage] = in
	}
	for name, of := range s.components {
		all := &component{versions: make(map[string]*history, len(of.versions)), pinned: maps.Clone(of.pinned), held: maps.Clone(of.held)}
		for v, h := range of.versions {
			all.versions[v] = h.clone()
		}
		c.components[name] = all
	}
	return c
}

func (h *history) clone() *history {
	return &history{
		version: h.version, seen: maps.Clone(h.seen), withdrawn: h.withdrawn, approvals: maps.Clone(h.approvals), reports: maps.Clone(h.reports),
	}
}
