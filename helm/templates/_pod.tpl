{{/* The pod, the same in the StatefulSet and in the Deployment but for where its data folder is. */}}
{{- define "wharf.pod" -}}
{{- $external := include "wharf.external" . -}}
{{- $tls := include "wharf.tlsSecret" . -}}
metadata:
  labels:
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "wharf.labels" . | nindent 4 }}
  annotations:
    # A changed configuration starts a new pod.
    wharf/config: {{ sha256sum .Values.config }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "wharf.serviceAccount" . }}
  automountServiceAccountToken: false
  # Kubernetes would set WHARF_REGISTRY_PORT, which is a key of ours.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: registry
      image: {{ include "wharf.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - serve
        - --listen=0.0.0.0:5000
        - --data-dir=/var/lib/wharf-registry
        {{- if .Values.config }}
        - --config=/etc/wharf-registry/config.toml
        {{- end }}
        - --admin-password-file=/run/secrets/admin/{{ .Values.admin.key }}
        {{- if $tls }}
        - --tls-cert=/run/secrets/tls/tls.crt
        - --tls-key=/run/secrets/tls/tls.key
        {{- end }}
      {{- with include "wharf.env" . | trim }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with .Values.storage.existingSecret }}
      envFrom:
        - secretRef:
            name: {{ . }}
      {{- end }}
      ports:
        - name: registry
          containerPort: 5000
        {{- if .Values.metrics.enabled }}
        - name: metrics
          containerPort: {{ .Values.metrics.port }}
        {{- end }}
      startupProbe:
        httpGet:
          path: /healthz
          {{- include "wharf.probed" . | nindent 10 }}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /healthz
          {{- include "wharf.probed" . | nindent 10 }}
        periodSeconds: 10
        failureThreshold: 3
      readinessProbe:
        httpGet:
          path: /readyz
          {{- include "wharf.probed" . | nindent 10 }}
        periodSeconds: 5
        failureThreshold: 2
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /var/lib/wharf-registry
        - name: tmp
          mountPath: /tmp
        {{- if .Values.config }}
        - name: config
          mountPath: /etc/wharf-registry
          readOnly: true
        {{- end }}
        - name: admin
          mountPath: /run/secrets/admin
          readOnly: true
        {{- if $tls }}
        - name: tls
          mountPath: /run/secrets/tls
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if .Values.config }}
    - name: config
      configMap:
        name: {{ include "wharf.fullname" . }}
    {{- end }}
    - name: admin
      secret:
        secretName: {{ required "admin.existingSecret must name a secret that holds the admin's password" .Values.admin.existingSecret }}
        defaultMode: 0440
    {{- with $tls }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- if $external }}
    # Nothing that must last is in it.
    - name: data
      emptyDir: {}
    {{- else if .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "wharf.affinity" . }}
  affinity:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "wharf.topologySpread" . }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* What is neither in the command line nor in the configuration file. */}}
{{- define "wharf.env" -}}
{{- with .Values.database.existingSecret }}
- name: WHARF_REGISTRY_DATABASE
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.database.key }}
{{- end }}
{{- with .Values.storage.url }}
- name: WHARF_REGISTRY_STORAGE
  value: {{ . | quote }}
{{- end }}
{{- if .Values.metrics.enabled }}
- name: WHARF_REGISTRY_METRICS_LISTEN
  value: "0.0.0.0:{{ .Values.metrics.port }}"
{{- end }}
{{- if include "wharf.external" . }}
- name: WHARF_REGISTRY_STOP_DELAY
  value: "{{ .Values.stopDelaySeconds }}s"
{{- end }}
{{- if include "wharf.publicUrl" . }}
- name: WHARF_REGISTRY_PUBLIC_URL
  value: {{ include "wharf.publicUrl" . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where clients get their tokens: an ingress that ends TLS hides that they speak it. A configuration that says it
     itself is left alone. */}}
{{- define "wharf.publicUrl" -}}
{{- if and .Values.ingress.enabled .Values.ingress.tlsSecret (not (contains "public_url" .Values.config)) -}}
https://{{ .Values.ingress.host }}
{{- end -}}
{{- end -}}

{{/* The affinity of the values; replicas keep off each other's nodes unless it says how. */}}
{{- define "wharf.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if and (include "wharf.external" .) (ne .Values.spread.nodes "none") (not (hasKey $affinity "podAntiAffinity")) -}}
{{- $others := dict "labelSelector" (dict "matchLabels" (include "wharf.selector" . | fromYaml)) "topologyKey" "kubernetes.io/hostname" -}}
{{- if eq .Values.spread.nodes "required" -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $others)) -}}
{{- else -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $others))) -}}
{{- end -}}
{{- end -}}
{{- with $affinity }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "wharf.topologySpread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{ toYaml .Values.topologySpreadConstraints }}
{{- else if and (include "wharf.external" .) (ne .Values.spread.zones "none") -}}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: {{ ternary "DoNotSchedule" "ScheduleAnyway" (eq .Values.spread.zones "required") }}
  labelSelector:
    matchLabels:
      {{- include "wharf.selector" . | nindent 6 }}
{{- end -}}
{{- end -}}
