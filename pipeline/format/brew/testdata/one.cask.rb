# Made by the release pipeline: the next release overwrites this file.
cask "kit" do
  version "1.2.3"
  sha256 "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99"

  url "https://github.com/example/kit/releases/download/v#{version}/kit_#{version}_darwin_arm64.tar.gz"
  name "Kit"
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"

  livecheck do
    url :url
    strategy :github_latest
  end

  depends_on arch: :arm64
  depends_on :macos

  binary "kit"
  manpage "man/kit.1"
  manpage "man/kit.toml.5"
  bash_completion "completions/kit.bash"
  fish_completion "completions/kit.fish"
  zsh_completion "completions/_kit"
end
