# Made by the release pipeline: the next release overwrites this file.
class KitAT12 < Formula
  desc "Builds a thing on the command-line"
  homepage "https://kit.example.com/"
  license all_of: [
    { any_of: [
      { "GPL-2.0-or-later" => { with: "Classpath-exception-2.0" } },
      "MIT",
    ] },
    :public_domain,
    "BSD-3-Clause",
  ]

  depends_on :macos

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

  def install
    bin.install "kit"
  end

  test do
    assert_predicate bin/"kit", :executable?
  end
end
