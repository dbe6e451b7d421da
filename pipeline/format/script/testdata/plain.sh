#!/bin/sh
{ # All that follows is one command: a shell that gets only a part of it runs nothing, and says so by its exit code.

# Installs one release. Run it with --help.
#
# It needs curl or wget, tar and gzip, and one of sha256sum, shasum, sha256 and openssl. It never asks for a password
# and never becomes another user.

set -eu

name='kit'
title='Kit'
version='1.2.3'
newline='
'

usage() {
  cat <<USAGE
Installs ${title} ${version}.

Usage: install.sh [--dir DIR] [--dry-run]
       install.sh --help | --version

  --dir DIR            where the programs go; default: /usr/local/bin where it can be written, else ~/.local/bin
  --dry-run            say what would be done and do nothing
  --version            say which version this script installs

Environment:
  KIT_INSTALL_DIR    as --dir
  KIT_DOWNLOAD_BASE  URL of a folder with the files of this release, to fetch them from there; it may be http

Exit codes: 0 installed, 1 something else failed, 2 usage, 3 no archive for this platform, 4 download failed,
5 checksum or signature is wrong, 6 the folder cannot be written, 7 a tool is missing
USAGE
  printf '\n%s\n' 'https://kit.example.com/'
}

say() { printf '%s\n' "$*" >&2; }

fail() {
  fail_code=$1
  shift
  printf '%s: %s\n' "${name}" "$*" >&2
  exit "${fail_code}"
}

have() { command -v "$1" >/dev/null 2>&1; }

# lookup sets what there is for a platform, and fails where there is nothing.
lookup() {
  case $1 in
    aix/ppc64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_aix_ppc64.tar.gz'
      file='kit_1.2.3_aix_ppc64.tar.gz'
      sum='efc8f874f159339e672897b52d79d97ab3580805486b07253d9719ea2dfe579d'
      size=349
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    darwin/amd64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_darwin_amd64.tar.gz'
      file='kit_1.2.3_darwin_amd64.tar.gz'
      sum='46c83013b8a7fd41af31ef48a4fb3ff24d4ce3ccc1d01228a4d797e9d6a6714c'
      size=348
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    darwin/arm64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_darwin_arm64.tar.gz'
      file='kit_1.2.3_darwin_arm64.tar.gz'
      sum='4f84c29c643cff375332eb0a983480f778f2beea4d83427a0b2ac89f3d183114'
      size=348
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    freebsd/amd64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_freebsd_amd64.tar.gz'
      file='kit_1.2.3_freebsd_amd64.tar.gz'
      sum='dcbb96f325f89d355e09586907ca5c58b02e6fc633723d05e80b12a4d570c74c'
      size=351
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/386)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_386.tar.gz'
      file='kit_1.2.3_linux_386.tar.gz'
      sum='dc6f3b9d51f53be3d19c73cc0958324ac77003616343de626b5541e141f9ffe9'
      size=349
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/amd64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_amd64.tar.gz'
      file='kit_1.2.3_linux_amd64.tar.gz'
      sum='941eac02d3ee799d61776031f7e21648a4041317e45ec4ac8b1a3285e23e800a'
      size=348
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/arm/v6)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_armv6.tar.gz'
      file='kit_1.2.3_linux_armv6.tar.gz'
      sum='5f19aadab39304390532767915d4127a3f6bc8ca7a68bbd5b6f89a95cd088e92'
      size=349
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/arm/v7)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_armv7.tar.gz'
      file='kit_1.2.3_linux_armv7.tar.gz'
      sum='975b60c5b32dd39faf7c1600342db2202428f4699bcd4359ade7e6501d2c6135'
      size=349
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/arm64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_arm64.tar.gz'
      file='kit_1.2.3_linux_arm64.tar.gz'
      sum='0b0887b339abc903a258a9df8fbed3c2bec401d3a0fc41593dd7360da0af9023'
      size=348
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/mipsle)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_mipslesoftfloat.tar.gz'
      file='kit_1.2.3_linux_mipslesoftfloat.tar.gz'
      sum='901cc30c7868cda8b3ba5840e7716e611a02d7299f9f9c66265991c1e02033b8'
      size=355
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    linux/riscv64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_linux_riscv64.tar.gz'
      file='kit_1.2.3_linux_riscv64.tar.gz'
      sum='b9cfafbdafcb22124d3951b2837f61e6da5e5843165cfeeb1568a029442e1e51'
      size=353
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    openbsd/amd64)
      url='https://github.com/example/kit/releases/download/v1.2.3/kit_1.2.3_openbsd_amd64.tar.gz'
      file='kit_1.2.3_openbsd_amd64.tar.gz'
      sum='ee4026d94cace78d35a2251f955c7755e830d9f5d8c2823215fdecdae37af71e'
      size=351
      kind='tar.gz'
      folder='kit_1.2.3'
      programs='kit
kit daemon'
      ;;
    *) return 1 ;;
  esac
  platform=$1
}

# processor sets arches, what the machine can run, the best first.
processor() {
  machine=$1
  case ${machine} in
    arm | evbarm | aarch64eb | mips | mipsel | powerpc | riscv | loongarch) machine=$(uname -p 2>/dev/null || echo "$1") ;;
    *) ;;
  esac
  case ${machine} in
    unknown | '') machine=$1 ;;
    *) ;;
  esac
  case ${machine} in
    x86_64 | amd64 | x64 | i86pc) arches=amd64 ;;
    i386 | i486 | i586 | i686 | x86) arches=386 ;;
    aarch64 | arm64) arches=arm64 ;;
    arm*b | earm*eb) arches= ;; # the other order of bytes; Go has no port to it
    armv7* | earmv7* | armv8*) arches='arm/v7 arm/v6 arm/v5' ;;
    armv6* | earmv6*) arches='arm/v6 arm/v5' ;;
    arm* | earm*) arches=arm/v5 ;;
    ppc64le | powerpc64le) arches=ppc64le ;;
    ppc64 | powerpc64) arches=ppc64 ;;
    riscv64) arches=riscv64 ;;
    s390x) arches=s390x ;;
    loongarch64 | loong64) arches=loong64 ;;
    mips64el) arches=mips64le ;;
    mipsel) arches=mipsle ;;
    mips | mips64)
      # Linux says the same in both orders of bytes.
      arches=${machine}
      case $(printf '\001\000' | od -An -tx2 || :) in
        *0001*) arches=${machine}le ;;
        *) ;;
      esac
      ;;
    *) arches= ;;
  esac
}

# detect chooses the archive for this machine.
detect() {
  kernel=$(uname -s) || fail 7 'uname does not work, so the platform is not known'
  machine=$(uname -m) || fail 7 'uname does not work, so the platform is not known'
  case ${kernel} in
    Linux) system=linux ;;
    Darwin) system=darwin ;;
    FreeBSD) system=freebsd ;;
    OpenBSD) system=openbsd ;;
    NetBSD) system=netbsd ;;
    DragonFly) system=dragonfly ;;
    AIX) system=aix ;;
    SunOS)
      system=solaris
      case $(uname -o 2>/dev/null || :) in
        illumos) system=illumos ;;
        *) ;;
      esac
      ;;
    MINGW* | MSYS* | CYGWIN* | Windows*)
      fail 3 'this script is not for Windows; install with scoop or winget, or unpack the .zip of the release'
      ;;
    *) fail 3 "there is no archive for ${kernel}; there are: aix/ppc64 darwin/amd64 darwin/arm64 freebsd/amd64 linux/386 linux/amd64 linux/arm/v6 linux/arm/v7 linux/arm64 linux/mipsle linux/riscv64 openbsd/amd64" ;;
  esac
  case ${system} in
    aix) arches=ppc64 ;;
    *) processor "${machine}" ;;
  esac
  case ${system}/${arches} in
    darwin/amd64)
      # A shell that Rosetta translates sees an Intel processor.
      case $(sysctl -n sysctl.proc_translated 2>/dev/null || :) in
        1) arches='arm64 amd64' ;;
        *) ;;
      esac
      ;;
    darwin/arm64) arches='arm64 amd64' ;;
    linux/amd64) arches='amd64 386' ;;
    *) ;;
  esac
  for arch in ${arches}; do
    if lookup "${system}/${arch}"; then
      return
    fi
  done
  fail 3 "there is no archive for ${system} on ${machine}; there are: aix/ppc64 darwin/amd64 darwin/arm64 freebsd/amd64 linux/386 linux/amd64 linux/arm/v6 linux/arm/v7 linux/arm64 linux/mipsle linux/riscv64 openbsd/amd64"
}

# download fetches $1 to $2, of which there are at most $3 bytes.
download() {
  from=$1
  to=$2
  most=$3
  if [ -n "${base}" ]; then
    from=${base%/}/${1##*/}
  fi
  case ${from} in
    https://*) protocols='=https' ;;
    *) protocols='=http,https' ;;
  esac
  say "Downloading ${from}"
  if have curl; then
    set -- curl --proto "${protocols}" --tlsv1.2 --fail --silent --show-error --location --max-redirs 10 --retry 3 --retry-max-time 3600
    set -- "$@" --connect-timeout 60 --speed-limit 512 --speed-time 60 --max-time 3600 --max-filesize "${most}" --output "${to}" "${from}"
  elif have wget; then
    set -- wget -q -T 60 -O "${to}" "${from}"
  elif have fetch; then
    set -- fetch -q -T 60 -o "${to}" "${from}"
  elif [ "${system}" = openbsd ]; then
    set -- ftp -MV -w 60 -o "${to}" "${from}"
  else
    fail 7 'curl and wget are missing; install one of them'
  fi
  # The limit is on what is written, whatever the server announces. It is in blocks of 512 bytes, or in larger ones.
  (
    ulimit -f "$((most / 512 + 1))" 2>/dev/null || :
    exec "$@"
  ) || fail 4 "downloading ${from} did not work"
}

# digest prints the SHA-256 of a file.
digest() {
  if have sha256sum; then
    hashed=$(sha256sum <"$1")
  elif have shasum; then
    hashed=$(shasum -a 256 <"$1")
  elif have sha256; then
    hashed=$(sha256 -q <"$1")
  elif have openssl; then
    hashed=$(openssl dgst -sha256 -r <"$1")
  else
    fail 7 'sha256sum, shasum, sha256 and openssl are missing; install one of them'
  fi
  printf '%s\n' "${hashed%% *}"
}

# unpack unpacks the archive to the folder unpacked.
unpack() {
  mkdir "${work}/unpacked"
  case ${kind} in
    tar.gz)
      if ! have gzip || ! have tar; then
        fail 7 'tar and gzip are needed to unpack the archive; install them'
      fi
      gzip -dc <"${work}/archive" >"${work}/tar" || fail 1 "unpacking ${file} did not work"
      (cd "${work}/unpacked" && tar -xof ../tar) || fail 1 "unpacking ${file} did not work"
      ;;
    *)
      have unzip || fail 7 'unzip is needed to unpack the archive; install it'
      unzip -q "${work}/archive" -d "${work}/unpacked" || fail 1 "unpacking ${file} did not work"
      ;;
  esac
}

# put stages $1 with the mode $2 beside $3 and renames it, so that $3 is the old file or the new one at any time.
put() {
  if [ -d "$3" ]; then
    fail 6 "$3 is a folder; remove it or choose another with --dir"
  fi
  if ! cp "$1" "${stage}/new" || ! chmod "$2" "${stage}/new" || ! mv -f "${stage}/new" "$3"; then
    fail 6 "writing $3 did not work"
  fi
}

# scratch makes a folder for this user alone, whose name begins with $1, and prints its name.
scratch() {
  mktemp -d "$1.XXXXXXXX" 2>/dev/null || {
    mkdir -m 700 "$1.$$" 2>/dev/null && printf '%s\n' "$1.$$"
  }
}

# staging makes a folder beside the files that go to $1, on the same file system.
staging() {
  mkdir -p "$1" 2>/dev/null || fail 6 "making $1 did not work; choose another folder with --dir, or run this as a user who may"
  if [ -n "${stage}" ]; then
    rm -rf "${stage}"
  fi
  stage=$(scratch "$1/.${name}") || {
    stage=
    fail 6 "$1 cannot be written; choose another folder with --dir, or run this as a user who may"
  }
}

# absolute sets path to $1 as an absolute path, which begins with no hyphen and ends in no slash.
absolute() {
  path=$1
  case ${path} in
    /*) ;;
    *) path=$(pwd)/${path} ;;
  esac
  while [ "${path}" != / ] && [ "${path%/}" != "${path}" ]; do
    path=${path%/}
  done
}

cleanup() {
  if [ -n "${work}" ]; then
    rm -rf "${work}"
  fi
  if [ -n "${stage}" ]; then
    rm -rf "${stage}"
  fi
}

stop() {
  trap - EXIT
  cleanup
  exit "$1"
}

default_dir() {
  user=$(id -u) || user=
  if [ "${user}" = 0 ] || { [ -d /usr/local/bin ] && [ -w /usr/local/bin ]; }; then
    dir=/usr/local/bin
  elif [ -n "${HOME:-}" ]; then
    dir=${HOME}/.local/bin
  else
    fail 2 'HOME is not set, so there is no default for --dir'
  fi
}

main() {
  dir=${KIT_INSTALL_DIR:-}
  base=${KIT_DOWNLOAD_BASE:-}
  dry=no
  while [ $# -gt 0 ]; do
    case $1 in
      --dir)
        [ $# -gt 1 ] || fail 2 '--dir needs a folder'
        dir=$2
        shift
        ;;
      --dir=*) dir=${1#--dir=} ;;
      --dry-run) dry=yes ;;
      --version)
        printf '%s %s\n' "${name}" "${version}"
        return
        ;;
      -h | --help)
        usage
        return
        ;;
      *) fail 2 "what is $1? --help tells what there is" ;;
    esac
    shift
  done
  case ${base} in
    '' | https://* | http://*) ;;
    *) fail 2 'KIT_DOWNLOAD_BASE is not a URL that begins with https:// or http://' ;;
  esac
  detect
  if [ -z "${dir}" ]; then
    default_dir
  fi
  absolute "${dir}"
  dir=${path}
  if [ "${dry}" = yes ]; then
    say "Would install ${title} ${version} for ${platform} to ${dir}"
    if [ -n "${base}" ]; then
      url=${base%/}/${file}
    fi
    say "from ${url}"
    say "with the SHA-256 ${sum}"
    return
  fi

  work=
  stage=
  trap cleanup EXIT
  trap 'stop 129' HUP
  trap 'stop 130' INT
  trap 'stop 143' TERM
  umask 022
  absolute "${TMPDIR:-/tmp}"
  work=$(scratch "${path}/${name}") || {
    work=
    fail 6 "making a temporary folder in ${path} did not work; set TMPDIR to another folder"
  }
  # Whether the folder can be written is known before anything is downloaded.
  staging "${dir}"
  download "${url}" "${work}/archive" "${size}"
  actual=$(digest "${work}/archive")
  case ${actual} in
    "${sum}") ;;
    *) fail 5 "${file} has the SHA-256 ${actual} and not ${sum}; nothing was installed" ;;
  esac
  unpack
  from_dir=${work}/unpacked${folder:+/${folder}}
  IFS=${newline}
  set -f
  for program in ${programs}; do
    [ -f "${from_dir}/${program}" ] || fail 1 "${file} has no ${program}; nothing was installed"
    if [ -d "${dir}/${program##*/}" ]; then
      fail 6 "${dir}/${program##*/} is a folder; remove it or choose another with --dir"
    fi
  done
  for program in ${programs}; do
    put "${from_dir}/${program}" 755 "${dir}/${program##*/}"
    say "Installed ${dir}/${program##*/} (${version})"
  done
  case :${PATH}: in
    *:"${dir}":*) ;;
    *) say "${dir} is not in your PATH; add it to run what is in there by its name" ;;
  esac
}

main "$@" </dev/null
}
