# Made by the release pipeline: the next release overwrites this file.
class Kit < Formula
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"
  url "https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_darwin_arm64.tar.gz"
  sha256 "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99"
  license any_of: ["MIT", "Apache-2.0"]

  livecheck do
    url :stable
    strategy :github_latest
  end

  depends_on arch: :arm64
  depends_on :macos

  def install
    bin.install "kit"
    bash_completion.install "completions/kit.bash" => "kit"
    fish_completion.install "completions/kit.fish"
    pwsh_completion.install "completions/kit.ps1" => "_kit.ps1"
    zsh_completion.install "completions/_kit"
    man1.install "man/kit.1"
    man5.install "man/kit.toml.5"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kit --version")
  end
end
