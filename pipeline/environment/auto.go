package environment

import (
	"fmt"
	"slices"
	"time"
)

// Promotions are what the rules promote by themselves at a time, into each stage that has auto: of each component the highest version
// that came from a stage before and that every rule allows, if it is higher than all that the stage and those after it have. A version of
// an older line, or one that went back from the stage, is for a person to promote. Entry is that of a version in a stage.
func Promotions(s *State, r Rules, rules string, now time.Time, entry Find) ([]Request, error) {
	var all []Request
	names := r.StageNames()
	for i, stage := range r.Stages {
		if stage.Auto != "promote" {
			continue
		}
		for _, component := range s.Components() {
			if _, ok := r.Components[component]; !ok {
				continue // the rules have it no more
			}
			view := s.View(r, names[0], component) // the highest one first
			for _, v := range view {
				if slices.Index(names, v.Stage) >= i {
					break // and all that follow are lower
				}
				if s.find(component, v.Version).seen[seen{stage.Name, v.Commit, v.Manifest}] {
					continue // it went back from there, and is for a person to promote again
				}
				e, err := entry(v.Held, v.Stage)
				if err != nil {
					return nil, err
				}
				if len(stage.Trusted) > 0 && !among(stage.Trusted, e.Signed) {
					continue
				}
				q := Request{
					Kind: Promote, At: now, Expires: now.Add(time.Minute), To: stage.Name, Why: fmt.Sprintf("every rule of %s allows it", stage.Name),
					Items: []Item{{Component: component, Version: v.Version}},
				}
				a, err := Foresee(s, r, rules, q, now, entry)
				if err != nil {
					return nil, err
				}
				if !a.Nothing && !a.Refused() {
					all = append(all, q)
					break
				}
			}
		}
	}
	return all, nil
}
