package plan

import (
	"fmt"

	"github.com/slipway-build/slipway/pipeline/release/artifacthub"
	"github.com/slipway-build/slipway/pipeline/release/notes"
)

// hubFacts are what Artifact Hub shows about every chart.
func (p planner) hubFacts(out Plan, news notes.Notes) artifacthub.Facts {
	hub := p.cfg.Hub
	f := artifacthub.Facts{
		Version: p.src.Version, License: out.Project.License, Changes: news.Changes, Security: news.Security,
		Category: hub.Category, RepositoryID: hub.ID,
	}
	for _, im := range out.Images {
		image := artifacthub.Image{Repository: im.Repository, Distro: im.Distro}
		for _, pl := range im.Platforms {
			image.Platforms = append(image.Platforms, pl.Platform)
		}
		f.Images = append(f.Images, image)
	}
	if home := p.cfg.Project.Homepage; home != "" {
		f.Links = append(f.Links, notes.Link{Name: "Homepage", URL: home})
	}
	if repository := p.cfg.Project.Repository; repository != "" {
		f.Links = append(f.Links, notes.Link{Name: "Source", URL: repository})
	}
	for _, l := range hub.Links {
		f.Links = append(f.Links, notes.Link{Name: l.Name, URL: l.URL})
	}
	for _, o := range hub.Owners {
		f.Owners = append(f.Owners, artifacthub.Owner{Name: o.Name, Email: o.Email})
	}
	return f
}

// hub is the file by which Artifact Hub knows whose the charts are; nil where there is nothing to say in it.
func (p planner) hub(f artifacthub.Facts) (*Hub, error) {
	text, err := artifacthub.Repository(f)
	if err != nil {
		return nil, fmt.Errorf("%s: artifactHub: %w", p.cfg.At("artifactHub"), err)
	}
	if text == nil {
		return nil, nil
	}
	return &Hub{Path: "charts/" + artifacthub.RepositoryFile, Text: string(text)}, nil
}
