# Made by the release pipeline: the next release overwrites this file.
cask "kit" do
  version "1.3.0-rc.1"

  on_macos do
    on_arm do
      sha256 "bbe0b767f6f71858bc14854c2e7331c70353f5c22bb0aed6b1925066688ecb99"

      url "https://dl.example.com/kit/#{version}/kit-#{version}-mac-arm.tgz"

      binary "kit-#{version}-mac-arm/kit"
      binary "kit-#{version}-mac-arm/kitd"
      manpage "kit-#{version}-mac-arm/man/kit.1"
      manpage "kit-#{version}-mac-arm/man/kit.toml.5"
      bash_completion "kit-#{version}-mac-arm/completions/bash", target: "kit"
      fish_completion "kit-#{version}-mac-arm/completions/fish", target: "kit.fish"
      zsh_completion "kit-#{version}-mac-arm/completions/zsh.sh", target: "_kit"
    end
    on_intel do
      sha256 "31c208c13e4ee4c4d13306e95fbd363fd8d2c4dd9f8cc5cc9d36881c349d798f"

      url "https://dl.example.com/kit/#{version}/kit-#{version}-mac-intel.tgz"

      binary "kit-#{version}-mac-intel/kit"
      manpage "kit-#{version}-mac-intel/man/kit.1"
      manpage "kit-#{version}-mac-intel/man/kit.toml.5"
      bash_completion "kit-#{version}-mac-intel/completions/bash", target: "kit"
      fish_completion "kit-#{version}-mac-intel/completions/fish", target: "kit.fish"
      zsh_completion "kit-#{version}-mac-intel/completions/zsh.sh", target: "_kit"
    end
  end
  on_linux do
    on_intel do
      sha256 "e947193593314a8fa0e6acafbd0e298bbf12f678fc33efb98bd7e530c9068aa8"

      url "https://dl.example.com/kit/#{version}/kit-#{version}-linux.tgz"

      binary "kit-#{version}-linux/kit"
      binary "kit-#{version}-linux/kitd"
      manpage "kit-#{version}-linux/man/kit.1"
      manpage "kit-#{version}-linux/man/kit.toml.5"
      bash_completion "kit-#{version}-linux/completions/bash", target: "kit"
      fish_completion "kit-#{version}-linux/completions/fish", target: "kit.fish"
      zsh_completion "kit-#{version}-linux/completions/zsh.sh", target: "_kit"
    end

    depends_on arch: :x86_64
  end

  name "Kit"
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"
end
