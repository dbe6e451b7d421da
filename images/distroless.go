package images

// distroless has certificates, time zones and /etc/passwd, and nothing that runs: no shell, no package manager.
var distroless = Distro{
	Name:         "distroless",
	Title:        "distroless static",
	Base:         "gcr.io/distroless/static-debian12:nonroot",
	Platforms:    linux("amd64", "arm64", "arm/v7", "ppc64le", "s390x"),
	User:         nonroot,
	Certificates: "/etc/ssl/certs/ca-certificates.crt",
	Zoneinfo:     "/usr/share/zoneinfo",
}
