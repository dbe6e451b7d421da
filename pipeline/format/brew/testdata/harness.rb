# Reads a formula or a cask the way Homebrew does, for one system and processor, and prints what comes out as JSON.
#
#   ruby harness.rb formula|cask FILE macos|linux arm|intel|arm32 [UNPACKED PREFIX]
#
# With a folder, it is installed from there to the prefix.
require "fileutils"
require "json"
require "pathname"

KIND, FILE, SYSTEM, PROCESSOR, UNPACKED, PREFIX = ARGV
OUT = { requires: [], installed: [], other: {} }

class Pathname
  def install(*sources)
    mkpath
    sources.each do |s|
      (s.is_a?(Hash) ? s : { s => File.basename(s) }).each do |from, to|
        raise "no #{from}" unless File.file?(from)
        FileUtils.cp(from, self/to)
        (self/to).chmod(0o555) if basename.to_s == "bin"
        OUT[:installed] << (self/to).relative_path_from(Pathname(PREFIX)).to_s
      end
    end
  end
end

module OS
  def self.mac? = SYSTEM == "macos"
  def self.linux? = SYSTEM == "linux"
end

module Hardware
  module CPU
    def self.is_64_bit? = PROCESSOR != "arm32"
  end
end

module Both
  def on_macos = (yield if OS.mac?)
  def on_linux = (yield if OS.linux?)
  def on_arm = (yield if PROCESSOR.start_with?("arm"))
  def on_intel = (yield if PROCESSOR == "intel")
  def depends_on(what) = OUT[:requires] << (what.is_a?(Hash) ? what.map { |k, v| "#{k} #{v}" } : what.to_s)

  def livecheck
    old, @checking = @checking, {}
    yield
    OUT[:livecheck] = @checking
    @checking = old
  end

  def strategy(value) = @checking[:strategy] = value

  %i[url version sha256 desc homepage license].each do |stanza|
    define_method(stanza) do |value = nil|
      next OUT[stanza] if value.nil?
      next @checking[stanza] = value if @checking
      raise "#{stanza} twice" if OUT.key?(stanza)
      OUT[stanza] = value
    end
  end
end

class Formula
  class << self
    include Both
    def inherited(c) = OUT[:class] = c.name
    def test(&b) = @@test = b
  end

  def version = OUT[:version] || "from the URL"

  def initialize
    dir = Pathname(PREFIX)
    @dirs = { bin: "bin", bash_completion: "etc/bash_completion.d", zsh_completion: "share/zsh/site-functions",
              fish_completion: "share/fish/vendor_completions.d", pwsh_completion: "share/pwsh/completions" }
    (1..8).each { |i| @dirs[:"man#{i}"] = "share/man/man#{i}" }
    @dirs.each { |k, v| define_singleton_method(k) { dir/v } }
  end

  def run_test = instance_eval(&@@test)
  def shell_output(command) = OUT[:output] = IO.popen(["/bin/sh", "-c", command], &:read)
  def assert_match(want, got) = (got.include?(want.to_s) or raise "no #{want} in #{got}")
  def assert_predicate(path, predicate) = (path.public_send(predicate) or raise "#{path} is not #{predicate}")
end

class Cask
  include Both

  def pick(arm, intel) = PROCESSOR == "intel" ? intel : arm

  def sha256(value = nil, arm: nil, intel: nil, arm64_linux: nil, x86_64_linux: nil)
    raise "sha256 twice" if OUT.key?(:sha256)
    OUT[:sha256] = value || (OS.mac? ? pick(arm, intel) : pick(arm64_linux, x86_64_linux))
  end

  def arch(arm: nil, intel: nil) = arm || intel ? @arch = pick(arm, intel) : @arch
  def os(macos: nil, linux: nil) = macos || linux ? @os = (OS.mac? ? macos : linux) : @os
  def name(value) = OUT[:name] = value

  %i[binary manpage bash_completion zsh_completion fish_completion].each do |stanza|
    define_method(stanza) do |path, target: nil|
      OUT[:installed] << [stanza, path, target].compact.join(" ")
      raise "no #{path}" if UNPACKED && !File.file?(File.join(UNPACKED, path))
    end
  end
end

def cask(token, &block)
  OUT[:token] = token
  Cask.new.instance_eval(&block)
end

load File.expand_path(FILE)
if KIND == "formula" && UNPACKED
  formula = Object.const_get(OUT[:class]).new
  Dir.chdir(UNPACKED)
  top = Dir["*"]
  Dir.chdir(top.first) if top.length == 1 && File.directory?(top.first)
  formula.install
  formula.run_test
end
puts JSON.generate(OUT)
