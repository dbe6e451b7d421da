# Made by the release pipeline: the next release overwrites this file.
cask "kit@1.2" do
  arch arm: "arm64", intel: "amd64"

  version "1.2.3"
  sha256 arm:   "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99",
         intel: "31c208c13e4ee4c4d13306e95fbd363fd8d2c4dd9f8cc5cc9d36881c349d798f"

  url "https://github.com/example/kit/releases/download/v#{version}/kit_#{version}_darwin_#{arch}.tar.gz"
  name "Kit"
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"

  depends_on :macos

  binary "kit"
end
