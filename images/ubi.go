package images

// ubi is Red Hat's Universal Base Image without a package manager. Its base has no certificates. The labels are those
// that Red Hat's certification asks of every image
// (https://docs.redhat.com/en/documentation/red_hat_software_certification).
var ubi = Distro{
	Name:              "ubi",
	Title:             "Red Hat UBI",
	Base:              "registry.access.redhat.com/ubi9/ubi-micro:9.8",
	Platforms:         linux("amd64", "arm64", "ppc64le", "s390x"),
	User:              nonroot,
	Certificates:      "/etc/pki/tls/certs/ca-bundle.crt",
	NeedsCertificates: true,
	Labels: func(f Facts) map[string]string {
		return map[string]string{
			"name":        f.Name,
			"vendor":      f.Vendor,
			"maintainer":  f.Maintainer,
			"version":     f.Version,
			"release":     f.Release,
			"summary":     f.Summary,
			"description": f.Description,
		}
	},
}
