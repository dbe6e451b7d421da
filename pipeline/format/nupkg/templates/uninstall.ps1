$ErrorActionPreference = 'Stop'

{{range .Names -}}
Uninstall-ChocolateyZipPackage -PackageName {{quote $.ID}} -ZipFileName {{quote .}}
{{end -}}
