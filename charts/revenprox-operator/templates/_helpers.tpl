{{/* The name of everything: that of the release, with the chart's unless it is in it already. */}}
{{- define "revenprox-operator.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "revenprox-operator.selector" -}}
app.kubernetes.io/name: revenprox-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "revenprox-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "revenprox-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: revenprox
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "revenprox-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "revenprox-operator.name" .) -}}
{{- end -}}

{{- define "revenprox-operator.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}

{{/* What the operator may do in a namespace that it watches. docs/operator.md says what each rule is for. */}}
{{- define "revenprox-operator.rules" -}}
- apiGroups: [revenprox.io]
  resources: [revenproxclusters]
  verbs: [get, list, watch]
- apiGroups: [revenprox.io]
  resources: [revenproxclusters/status, revenproxclusters/scale]
  verbs: [get, patch]
- apiGroups: [revenprox.io]
  resources: [revenproxclusters/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
