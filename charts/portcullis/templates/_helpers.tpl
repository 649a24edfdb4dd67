{{/*
The name of every object. It is fixed, so that a second release is refused because of the objects that are not in a namespace: two
operators must not run against one cluster.
*/}}
{{- define "portcullis.name" -}}
portcullis-operator
{{- end }}

{{- define "portcullis.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: portcullis
{{- end }}

{{/* The labels that select the pod of the operator, and no pod of a hook. */}}
{{- define "portcullis.selector" -}}
app.kubernetes.io/name: {{ include "portcullis.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portcullis.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "portcullis.name" .) }}
{{- else }}
{{- required "serviceAccount.name is required because serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The name of an image: (dict "image" .Values.image "chart" .Chart) */}}
{{- define "portcullis.image" -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The rules of a role, as the operator prints them: (dict "role" "cluster" "files" .Files) */}}
{{- define "portcullis.rules" -}}
{{ get (.files.Get "files/rules.yaml" | fromYaml) .role | toYaml }}
{{- end }}

{{/* What all pods have in common: restricted Pod Security, and where they run. */}}
{{- define "portcullis.pod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What all containers have in common. */}}
{{- define "portcullis.container" -}}
image: {{ include "portcullis.image" (dict "image" .Values.image "chart" .Chart) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
