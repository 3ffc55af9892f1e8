{{/* The name of all objects: the release's, with the chart's where the release does not say it. */}}
{{- define "ringway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* The labels by which objects find each other. */}}
{{- define "ringway.labels" -}}
{ app.kubernetes.io/name: {{ .Chart.Name }}, app.kubernetes.io/instance: {{ .Release.Name | quote }} }
{{- end -}}

{{/* Fails where the configuration does not listen on a port that the objects name. */}}
{{- define "ringway.checkPort" -}}
{{- if not (contains (printf ":%d\"" (int .port)) .config) -}}
{{- fail (printf "ports.%s is %d, and no address in values.config has that port" .name (int .port)) -}}
{{- end -}}
{{- end -}}
