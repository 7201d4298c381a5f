# The image for amd64 and arm64, with provenance and a list of its packages (SBOM), pushed to a registry:
#   REGISTRY_IMAGE=registry.example.com/oic-gateway VERSION=0.1.0 docker buildx bake -f deploy/image/docker-bake.hcl
# It needs a builder that can build both: docker buildx create --use, and QEMU for the machine type that is not yours.
variable "REGISTRY_IMAGE" { default = "oic-gateway" }
variable "VERSION" { default = "0" }
variable "REVISION" { default = "" }
variable "SOURCE" { default = "" }

group "default" { targets = ["release"] }

# Build for both machine types, and keep nothing.
target "check" {
  platforms = ["linux/amd64", "linux/arm64"]
  output    = ["type=cacheonly"]
}

target "release" {
  inherits = ["check"]
  output   = ["type=registry"]
  tags     = ["${REGISTRY_IMAGE}:${VERSION}", "${REGISTRY_IMAGE}:latest"]
  attest   = ["type=provenance,mode=max", "type=sbom"]
  labels = {
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.source"   = SOURCE
  }
}
