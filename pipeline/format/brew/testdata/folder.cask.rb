# Made by the release pipeline: the next release overwrites this file.
cask "kit" do
  arch arm: "arm64", intel: "amd64"
  os macos: "darwin", linux: "linux"

  version "1.2.3"
  sha256 arm:          "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99",
         intel:        "31c208c13e4ee4c4d13306e95fbd363fd8d2c4dd9f8cc5cc9d36881c349d798f",
         arm64_linux:  "c19e1c42d84e6386887c44772e9fb7776a0b23a00cae208fd7cc3fe53d56c544",
         x86_64_linux: "e947193593314a8fa0e6acafbd0e298bbf12f678fc33efb98bd7e530c9068aa8"

  url "https://github.com/example/kit/releases/download/v#{version}/kit_#{version}_#{os}_#{arch}.tar.gz"
  name "Kit"
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"

  livecheck do
    url :url
    strategy :github_latest
  end

  binary "kit_#{version}_#{os}_#{arch}/kit"
  binary "kit_#{version}_#{os}_#{arch}/kitd"
  manpage "kit_#{version}_#{os}_#{arch}/man/kit.1"
  manpage "kit_#{version}_#{os}_#{arch}/man/kit.toml.5"
  bash_completion "kit_#{version}_#{os}_#{arch}/completions/kit.bash"
  fish_completion "kit_#{version}_#{os}_#{arch}/completions/kit.fish"
  zsh_completion "kit_#{version}_#{os}_#{arch}/completions/_kit"
end
