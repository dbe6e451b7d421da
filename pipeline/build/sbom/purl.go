package sbom

import (
	"path"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/slipway-build/slipway/pipeline/build/sbom/osdb"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// golangPURL keeps the letter case of a module's path. The type's definition asks for lower case and calls itself older
// than modules: two modules may differ in case alone, and the databases of vulnerabilities have their true names. A
// reader that folds the case folds it here as well (https://github.com/package-url/purl-spec/issues/308).
func golangPURL(module, version, sub string) string {
	namespace, name := path.Split(module)
	return packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(namespace, "/"), name, version, nil, sub).ToString()
}

// imagePURL follows https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md.
func imagePURL(image string, digest artifact.Digest, arch string) string {
	repository, tag := splitImage(image)
	return packageurl.NewPackageURL(packageurl.TypeOCI, "", strings.ToLower(path.Base(repository)), string(digest), qualifiers(
		"arch", arch, "repository_url", repository, "tag", tag), "").ToString()
}

// packagePURL is the name by which scanners look a package up: the namespace is the vendor, distro tells which of its
// releases, and upstream the source package, under whose name most advisories are.
func packagePURL(p osdb.Package, d osdb.Distribution) string {
	namespace, version, epoch, upstream := d.ID, p.Version, "", ""
	if p.Source != "" && p.Source != p.Name {
		upstream = p.Source
	}
	switch p.Type {
	case packageurl.TypeDebian:
		if p.Source != "" && p.SourceVersion != p.Version {
			upstream = p.Source + "@" + p.SourceVersion
		}
	case packageurl.TypeRPM:
		if namespace == "rhel" {
			namespace = "redhat"
		}
		if e, rest, ok := strings.Cut(version, ":"); ok {
			epoch, version = e, rest
		}
		if p.Source != "" {
			upstream = p.Source + "-" + p.SourceVersion + ".src.rpm"
		}
	}
	distro := d.ID
	if d.Version != "" {
		distro += "-" + d.Version
	}
	u := packageurl.NewPackageURL(p.Type, namespace, p.Name, version, qualifiers("arch", p.Arch, "distro", distro, "epoch", epoch, "upstream", upstream), "")
	if err := u.Normalize(); err != nil {
		return "" // a name that no purl can have
	}
	return u.ToString()
}

func qualifiers(pairs ...string) packageurl.Qualifiers {
	var out packageurl.Qualifiers
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, packageurl.Qualifier{Key: pairs[i], Value: pairs[i+1]})
		}
	}
	return out
}
