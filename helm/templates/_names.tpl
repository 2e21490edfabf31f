{{- define "wharf.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's own name where it says enough, else release and chart. 52: a pod adds its number. */}}
{{- define "wharf.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "wharf.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "wharf.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "wharf.selector" -}}
app.kubernetes.io/name: {{ include "wharf.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wharf.labels" -}}
{{ include "wharf.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "wharf.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "wharf.serviceAccount" -}}
{{- default (include "wharf.fullname" .) .Values.serviceAccount.existingName -}}
{{- end -}}

{{- define "wharf.probed" -}}
port: registry
scheme: {{ ternary "HTTPS" "HTTP" (not (empty (include "wharf.tlsSecret" .))) }}
{{- end -}}

{{/* Labels of the pod of `helm test`, which the service must not lead to. */}}
{{- define "wharf.testLabels" -}}
app.kubernetes.io/name: {{ include "wharf.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The secret of the registry's own certificate, if it speaks TLS. */}}
{{- define "wharf.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- include "wharf.fullname" . }}-registry-tls
{{- else -}}
{{- .Values.tls.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* "true" if rows and bytes are both outside the pods, so that a pod holds nothing and there can be many. */}}
{{- define "wharf.external" -}}
{{- if and .Values.database.existingSecret .Values.storage.url -}}
true
{{- end -}}
{{- end -}}

{{/* Refuses values that each are right and do not go together. */}}
{{- define "wharf.verified" -}}
{{- $external := include "wharf.external" . -}}
{{- $needs := "need a database and a storage outside the pods: set database.existingSecret and storage.url" -}}
{{- if and (gt (int .Values.replicas) 1) (not $external) -}}
{{- fail (printf "replicas: %d registries %s" (int .Values.replicas) $needs) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not $external) -}}
{{- fail (printf "autoscaling: several registries %s" $needs) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled .Values.tls.existingSecret -}}
{{- fail "tls: set existingSecret or certManager.enabled, not both" -}}
{{- end -}}
{{- if and .Values.storage.existingSecret (not .Values.storage.url) -}}
{{- fail "storage.existingSecret is for the storage that storage.url names" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled" -}}
{{- end -}}
{{- if and .Values.metrics.enabled (eq (int .Values.metrics.port) 5000) -}}
{{- fail "metrics.port: 5000 is the registry's own" -}}
{{- end -}}
{{- if and $external (lt (int .Values.terminationGracePeriodSeconds) (add 31 (int .Values.stopDelaySeconds) | int)) -}}
{{- fail (printf "terminationGracePeriodSeconds: must be more than stopDelaySeconds and the 30 seconds that running requests have, %d at least" (add 31 (int .Values.stopDelaySeconds))) -}}
{{- end -}}
{{- end -}}
