package images

// alpine is small and has a shell and a package manager. Its base carries the ca-certificates-bundle package.
var alpine = Distro{
	Name:         "alpine",
	Title:        "Alpine Linux",
	Base:         "docker.io/library/alpine:3.22",
	Platforms:    linux("amd64", "arm64", "386", "arm/v6", "arm/v7", "ppc64le", "s390x", "riscv64"),
	User:         nonroot,
	Certificates: "/etc/ssl/certs/ca-certificates.crt",
}
