{{/* What the configuration makes the daemon do, and the rights that this takes. */}}

{{/* Not empty when rollouts come from a cluster; `kubernetes: {}` does, too. */}}
{{- define "rollbackd.followsCluster" -}}
{{- if kindIs "map" .Values.config.rollouts.kubernetes }}yes{{ end }}
{{- end }}

{{/* The names of the policies that may act in the cluster, as a JSON list. */}}
{{- define "rollbackd.actingPolicies" -}}
{{- $acting := list }}
{{- range .Values.config.policies }}
{{- if and (has .mode (list "approve" "enforce")) (include "rollbackd.usesRollback" (dict "policy" . "config" $.Values.config)) }}
{{- $acting = append $acting .name }}
{{- end }}
{{- end }}
{{- toJson $acting }}
{{- end }}

{{/* Not empty when a policy names an action of the kind kubernetes-rollback. */}}
{{- define "rollbackd.usesRollback" -}}
{{- range .config.actions }}
{{- if and (kindIs "map" (index . "kubernetes-rollback")) (has .name $.policy.actions) }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "rollbackd.rules" -}}
{{- $proposes := "" }}
{{- range .Values.config.policies }}
{{- $proposes = printf "%s%s" $proposes (include "rollbackd.usesRollback" (dict "policy" . "config" $.Values.config)) }}
{{- end }}
# Following rollouts: caches that are listed and watched.
- apiGroups: [apps]
  resources: [deployments, replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- if $proposes }}
# Planning a rollback, in mode observe, too: the Deployment as it is now.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get]
# Would the revision to go back to fit: what limits how many pods there may be.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list]
{{- end }}
{{- end }}

{{- define "rollbackd.actingRules" -}}
# Rolling back, in modes approve and enforce: the Deployment's template.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [patch]
{{- end }}

{{- define "rollbackd.leadingRules" -}}
# Electing a leader: its Lease, which a right to create cannot name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "rollbackd.fullname" . }}]
  verbs: [get, patch]
{{- end }}

{{/* Not empty when a policy that acts stops the sync of GitOps owners. */}}
{{- define "rollbackd.holdsOwners" -}}
{{- $acting := include "rollbackd.actingPolicies" . | fromJsonArray }}
{{- $common := dig "guards" "gitops" "refuse" (toJson .Values.config | fromJson) }}
{{- range .Values.config.policies }}
{{- if and (has .name $acting) (eq (dig "guards" "gitops" $common (toJson . | fromJson)) "hold") }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "rollbackd.ownerRules" -}}
{{- $verbs := ternary "[get, patch]" "[get]" (not (empty (include "rollbackd.holdsOwners" .))) }}
# Would a GitOps owner put back what was rolled back; and stopping its sync, where it is held.
{{- if has "argocd" .Values.rbac.gitops }}
- apiGroups: [argoproj.io]
  resources: [applications]
  verbs: {{ $verbs }}
{{- end }}
{{- if has "flux" .Values.rbac.gitops }}
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: {{ $verbs }}
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: {{ $verbs }}
{{- end }}
{{- end }}

{{/* The namespaces that are followed, as a JSON list; empty: all. */}}
{{- define "rollbackd.namespaces" -}}
{{- toJson (default list (.Values.config.rollouts.kubernetes).namespaces) }}
{{- end }}

{{/* Refuses what contradicts itself, before anything is installed. */}}
{{- define "rollbackd.refusals" -}}
{{- $acting := include "rollbackd.actingPolicies" . | fromJsonArray }}
{{- if and (gt (int .Values.replicaCount) 1) (not (include "rollbackd.sharesJournal" .)) }}
{{- fail (printf "replicaCount is %d, but the journal is an SQLite file, which has one writer. Name a Secret with the address of a PostgreSQL database in secrets.journalDsn, or use one replica." (int .Values.replicaCount)) }}
{{- end }}
{{- if and $acting (not .Values.persistence.enabled) (not (include "rollbackd.sharesJournal" .)) }}
{{- fail (printf "persistence.enabled is false, but policies may act (%s): a restart would forget steps half done and cool-downs. Enable it, or use mode observe." (join ", " $acting)) }}
{{- end }}
{{- $namespaces := include "rollbackd.namespaces" . | fromJsonArray }}
{{- range .Values.rbac.actionNamespaces }}
{{- if and $namespaces (not (has . $namespaces)) }}
{{- fail (printf "rbac.actionNamespaces: %s is not among config.rollouts.kubernetes.namespaces" .) }}
{{- end }}
{{- end }}
{{- if gt (int .Values.podDisruptionBudget.maxUnavailable) (max 1 (sub (int .Values.replicaCount) 1)) }}
{{- fail "podDisruptionBudget.maxUnavailable must be less than replicaCount; with one replica, 0 or 1" }}
{{- end }}
{{- end }}
