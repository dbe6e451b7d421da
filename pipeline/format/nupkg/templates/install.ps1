$ErrorActionPreference = 'Stop'

$toolsDir = Split-Path -Parent $MyInvocation.MyCommand.Definition

$packageArgs = @{
  packageName    = {{quote .ID}}
  unzipLocation  = $toolsDir
{{- with .Zip32}}
  url            = {{quote .URL}}
  checksum       = {{quote .Hex}}
  checksumType   = 'sha256'
{{- end}}
{{- with .Zip64}}
  url64bit       = {{quote .URL}}
  checksum64     = {{quote .Hex}}
  checksumType64 = 'sha256'
{{- end}}
}

Install-ChocolateyZipPackage @packageArgs
