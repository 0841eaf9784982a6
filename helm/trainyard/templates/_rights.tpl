{{/* Rights of the operator, apart by whether they are of the cluster or of namespaces. No wider than what it calls. Most children go with
their owners, which takes no right to delete. */}}

{{/* On what lives in no namespace. */}}
{{- define "trainyard.clusterRules" -}}
# Our own kinds: read; write nothing but their status.
- apiGroups: [trainyard.dev]
  resources: [flavors, queues]
  verbs: [get, list, watch]
- apiGroups: [trainyard.dev]
  resources: [flavors/status, queues/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
{{- if eq .Values.nodeHealth.level "act" }}
# Cordons broken nodes and keeps its record of them in their annotations.
- apiGroups: [""]
  resources: [nodes]
  verbs: [patch]
{{- end }}
# By whose labels queues select.
- apiGroups: [""]
  resources: [namespaces]
  {{- with .Values.operator.namespaces }}
  resourceNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  verbs: [get, list, watch]
# Whether a caller of the endpoint is the pod that it says.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
# Whether a person who asks the endpoint may see, or create, what the question is about.
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}

{{/* In each namespace whose jobs and services are looked after. */}}
{{- define "trainyard.namespacedRules" -}}
- apiGroups: [trainyard.dev]
  resources: [trainingjobs, inferenceservices]
  verbs: [get, list, watch]
- apiGroups: [trainyard.dev]
  resources: [trainingjobs/status, inferenceservices/status]
  verbs: [patch]
# spec.ttlSecondsAfterFinished.
- apiGroups: [trainyard.dev]
  resources: [trainingjobs]
  verbs: [delete]
# Workers and replicas.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
# Results.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create]
# Names of workers and services, whose ports change with spec.gateway, and of TensorBoards, which may be taken back
# before their jobs go.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# Gateways and TensorBoards. To apply is to patch, and to create where there is nothing yet.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create]
{{ include "trainyard.eventRules" . }}
{{- end -}}

{{- define "trainyard.eventRules" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Binds a role of the operator: include "trainyard.binding" (list . KIND NAME NAMESPACE), without NAMESPACE in the whole cluster. */}}
{{- define "trainyard.binding" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $name := index . 2 -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with index . 3 }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "trainyard.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "trainyard.serviceAccount" $root }}
    namespace: {{ $root.Release.Namespace }}
{{- end -}}
