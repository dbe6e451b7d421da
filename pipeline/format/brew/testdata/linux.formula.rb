# Made by the release pipeline: the next release overwrites this file.
class KitOnex < Formula
  desc "Kit that builds a thing on the command-line"
  homepage "https://kit.example.com/"
  license "Apache-2.0"

  livecheck do
    url :stable
    strategy :github_latest
  end

  depends_on arch: :arm64
  depends_on :linux

  on_linux do
    on_arm do
      if Hardware::CPU.is_64_bit?
        url "https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_arm64.tar.gz"
        sha256 "c19e1c42d84e6386887c44772e9fb7776a0b23a00cae208fd7cc3fe53d56c544"
      end
    end
  end

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
