package images

// ubuntu is the LTS release, with glibc and apt. Its base has neither certificates nor time zones.
var ubuntu = Distro{
	Name:              "ubuntu",
	Title:             "Ubuntu LTS",
	Base:              "docker.io/library/ubuntu:24.04",
	Platforms:         linux("amd64", "arm64", "arm/v7", "ppc64le", "s390x", "riscv64"),
	User:              nonroot,
	Certificates:      "/etc/ssl/certs/ca-certificates.crt",
	NeedsCertificates: true,
}
