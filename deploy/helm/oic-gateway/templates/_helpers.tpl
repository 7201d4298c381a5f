{{- define "oic-gateway.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 57 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 57 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "oic-gateway.selector" -}}
app.kubernetes.io/name: oic-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "oic-gateway.labels" -}}
{{ include "oic-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "oic-gateway.port" -}}
{{ regexFind "[0-9]+$" . }}
{{- end }}
