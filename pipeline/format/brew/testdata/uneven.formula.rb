# Made by the release pipeline: the next release overwrites this file.
class Kit < Formula
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"
  version "1.3.0-rc.1"

  on_macos do
    on_arm do
      url "https://dl.example.com/kit/1.3.0-rc.1/kit-1.3.0-rc.1-mac-arm.tgz"
      sha256 "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99"
    end
    on_intel do
      url "https://dl.example.com/kit/1.3.0-rc.1/kit-1.3.0-rc.1-mac-intel.tgz"
      sha256 "31c208c13e4ee4c4d13306e95fbd363fd8d2c4dd9f8cc5cc9d36881c349d798f"
    end
  end

  on_linux do
    depends_on arch: :x86_64

    on_intel do
      url "https://dl.example.com/kit/1.3.0-rc.1/kit-1.3.0-rc.1-linux.tgz"
      sha256 "e947193593314a8fa0e6acafbd0e298bbf12f678fc33efb98bd7e530c9068aa8"
    end
  end

  def install
    bin.install "kit"
    bin.install "kitd" if File.exist?("kitd")
    bash_completion.install "completions/bash" => "kit"
    fish_completion.install "completions/fish" => "kit.fish"
    zsh_completion.install "completions/zsh.sh" => "_kit"
    man1.install "man/kit.1"
    man5.install "man/kit.toml.5"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kit -v 'it'\\''s \"$HOME\" \#{version}'")
  end
end
