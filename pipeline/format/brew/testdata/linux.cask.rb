# Made by the release pipeline: the next release overwrites this file.
cask "kit-one+" do
  version "1.2.3"
  sha256 "c19e1c42d84e6386887c44772e9fb7776a0b23a00cae208fd7cc3fe53d56c544"

  url "https://github.com/example/kit/releases/download/v#{version}/kit_#{version}_linux_arm64.tar.gz"
  name "Kit"
  desc "Kit that builds a thing on the command-line"
  homepage "https://kit.example.com/"

  livecheck do
    url :url
    strategy :github_latest
  end

  depends_on arch: :arm64
  depends_on :linux

  binary "kit"
  manpage "man/kit.1"
  manpage "man/kit.toml.5"
  bash_completion "completions/kit.bash"
  fish_completion "completions/kit.fish"
  zsh_completion "completions/_kit"
end
