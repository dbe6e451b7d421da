# Made by the release pipeline: the next release overwrites this file.
class Kit < Formula
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"
  license "Apache-2.0"

  livecheck do
    url :stable
    strategy :github_latest
  end

  on_macos do
    on_arm do
      url "https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_darwin_arm64.tar.gz"
      sha256 "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99"
    end
    on_intel do
      url "https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_darwin_amd64.tar.gz"
      sha256 "31c208c13e4ee4c4d13306e95fbd363fd8d2c4dd9f8cc5cc9d36881c349d798f"
    end
  end

  on_linux do
    on_arm do
      if Hardware::CPU.is_64_bit?
        url "https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_arm64.tar.gz"
        sha256 "c19e1c42d84e6386887c44772e9fb7776a0b23a00cae208fd7cc3fe53d56c544"
      end
    end
    on_intel do
      url "https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_amd64.tar.gz"
      sha256 "e947193593314a8fa0e6acafbd0e298bbf12f678fc33efb98bd7e530c9068aa8"
    end
  end

  def install
    bin.install "kit", "kitd"
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
