{{/* What the configuration makes the daemon do, and the rights that this takes. */}}

{{/* Not empty when rollouts come from a cluster; `kubernetes: {}` does, too. */}}
{{- define "rollbackd.followsCluster" -}}
{{- if kindIs "map" .Values.config.rollouts.kubernetes }}yes{{ end }}
{{- end }}

{{/* Not empty when RollbackPolicy resources are read. */}}
{{- define "rollbackd.readsPolicies" -}}
{{- if kindIs "map" (.Values.config.rollouts.kubernetes).policy_resources }}yes{{ end }}
{{- end }}

{{/*
What decides about rights: the policies of the configuration, and one that stands for all of the
cluster, which may go as far as policy_resources allows. A JSON list.
*/}}
{{- define "rollbackd.policies" -}}
{{- $policies := .Values.config.policies }}
{{- if include "rollbackd.readsPolicies" . }}
{{- $allowed := .Values.config.rollouts.kubernetes.policy_resources }}
{{- $rollbacks := list }}
{{- range .Values.config.actions }}
{{- if kindIs "map" (index . "kubernetes-rollback") }}{{ $rollbacks = append $rollbacks .name }}{{ end }}
{{- end }}
{{- $policies = append $policies (dict "name" "those of the cluster" "mode" (default "observe" $allowed.mode) "actions" (default $rollbacks $allowed.actions)) }}
{{- end }}
{{- toJson $policies }}
{{- end }}

{{/* The names of the policies that may act in the cluster, as a JSON list. */}}
{{- define "rollbackd.actingPolicies" -}}
{{- $acting := list }}
{{- range include "rollbackd.policies" . | fromJsonArray }}
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

{{/* Not empty when a policy that may act names an action that may delete stuck pods. */}}
{{- define "rollbackd.deletesPods" -}}
{{- range $policy := include "rollbackd.policies" . | fromJsonArray }}
{{- range $.Values.config.actions }}
{{- $rollback := index . "kubernetes-rollback" }}
{{- if and (has $policy.mode (list "approve" "enforce")) (has .name $policy.actions) $rollback $rollback.delete_stuck_pods }}yes{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The plurals of the kinds of workloads that are followed, as a JSON list. */}}
{{- define "rollbackd.workloads" -}}
{{- $kinds := default (list "Deployment" "StatefulSet" "DaemonSet") (.Values.config.rollouts.kubernetes).kinds }}
{{- $plurals := list }}
{{- range without $kinds "Rollout" "Canary" "Service" }}
{{- $plurals = append $plurals (printf "%ss" (lower .)) }}
{{- end }}
{{- toJson (uniq $plurals) }}
{{- end }}

{{/* Not empty when Rollouts of Argo are followed. */}}
{{- define "rollbackd.followsArgo" -}}
{{- if has "Rollout" (default list (.Values.config.rollouts.kubernetes).kinds) }}yes{{ end }}
{{- end }}

{{/* Not empty when Services are followed that are switched between two Deployments. */}}
{{- define "rollbackd.followsServices" -}}
{{- if has "Service" (default list (.Values.config.rollouts.kubernetes).kinds) }}yes{{ end }}
{{- end }}

{{/* Not empty when Canaries of Flagger are followed. */}}
{{- define "rollbackd.followsFlagger" -}}
{{- if has "Canary" (default list (.Values.config.rollouts.kubernetes).kinds) }}yes{{ end }}
{{- end }}

{{/* The plurals of what their revisions are kept in, as a JSON list. */}}
{{- define "rollbackd.revisions" -}}
{{- $workloads := include "rollbackd.workloads" . | fromJsonArray }}
{{- $plurals := list }}
{{- range $workloads }}
{{- $plurals = append $plurals (ternary "replicasets" "controllerrevisions" (eq . "deployments")) }}
{{- end }}
{{- if include "rollbackd.followsArgo" . }}
{{- $plurals = append $plurals "replicasets" }}
{{- end }}
{{- toJson (uniq $plurals) }}
{{- end }}

{{/* Not empty when Events are written on workloads. */}}
{{- define "rollbackd.writesEvents" -}}
{{- if (.Values.config.rollouts.kubernetes).events }}yes{{ end }}
{{- end }}

{{- define "rollbackd.rules" -}}
{{- $proposes := "" }}
{{- $workloads := include "rollbackd.workloads" . | fromJsonArray }}
{{- $revisions := include "rollbackd.revisions" . | fromJsonArray }}
{{- range include "rollbackd.policies" . | fromJsonArray }}
{{- $proposes = printf "%s%s" $proposes (include "rollbackd.usesRollback" (dict "policy" . "config" $.Values.config)) }}
{{- end }}
{{- $gets := or $proposes (include "rollbackd.writesEvents" .) }}
# Following rollouts: caches that are listed and watched.
- apiGroups: [apps]
  resources: [{{ join ", " (concat $workloads $revisions) }}]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- if include "rollbackd.readsPolicies" . }}
# Policies of the cluster: they are read, and their status is written.
- apiGroups: [rollbackd.io]
  resources: [rollbackpolicies]
  verbs: [list, watch]
- apiGroups: [rollbackd.io]
  resources: [rollbackpolicies/status]
  verbs: [patch]
{{- end }}
{{- if $proposes }}
# Planning a rollback, in mode observe, too: the workload as it is now, and its revisions.
{{- if has "controllerrevisions" $revisions }}
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get]
{{- end }}
{{- if $workloads }}
# Would the revision to go back to fit: what limits how many pods there may be.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list]
{{- end }}
{{- end }}
{{- if and $gets $workloads }}
- apiGroups: [apps]
  resources: [{{ join ", " $workloads }}]
  verbs: [get]
{{- end }}
{{- if include "rollbackd.writesEvents" . }}
# events: what happens to a watch, on the workload.
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- if include "rollbackd.followsArgo" . }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [list, watch{{ if $gets }}, get{{ end }}]
{{- end }}
{{- if include "rollbackd.followsServices" . }}
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch{{ if $gets }}, get{{ end }}]
{{- end }}
{{- if include "rollbackd.followsFlagger" . }}
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [list, watch{{ if $gets }}, get{{ end }}]
{{- end }}
{{- end }}

{{- define "rollbackd.actingRules" -}}
# Rolling back, in modes approve and enforce: the workload's template.
{{- with include "rollbackd.workloads" . | fromJsonArray }}
- apiGroups: [apps]
  resources: [{{ join ", " . }}]
  verbs: [patch]
{{- end }}
{{- if include "rollbackd.followsArgo" . }}
- apiGroups: [argoproj.io]
  resources: [rollouts/status]
  verbs: [patch]
{{- end }}
{{- if include "rollbackd.followsServices" . }}
# Blue/green: the Service's selector, and whether traffic follows it.
- apiGroups: [""]
  resources: [services]
  verbs: [patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
{{- end }}
{{- if include "rollbackd.followsFlagger" . }}
# Flagger: an annotation that answers its question whether to roll back.
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [patch]
{{- end }}
{{- if include "rollbackd.deletesPods" . }}
# delete_stuck_pods: pods that keep a StatefulSet from going back.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
{{- end }}
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

{{/* Not empty when people sign in with tokens of the cluster; `kubernetes: {}` does, too. */}}
{{- define "rollbackd.reviewsPeople" -}}
{{- if kindIs "map" .Values.http.kubernetes }}yes{{ end }}
{{- end }}

{{- define "rollbackd.peopleRules" -}}
# Who has this token, and what may they do: reviews, which are kept nowhere.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}

{{/* What ExternalDNS carries out for regions: objects, each once, as a JSON list. */}}
{{- define "rollbackd.dnsObjects" -}}
{{- $found := list }}
{{- $regions := default dict .Values.config.regions }}
{{- range $regions.dns }}
{{- with .external_dns }}
{{- $namespace := .namespace }}
{{- with .endpoint }}
{{- $found = append $found (dict "namespace" $namespace "group" "externaldns.k8s.io" "resource" "dnsendpoints" "name" . "suffix" (printf "-dns-%s" .)) }}
{{- end }}
{{- range .services }}
{{- $found = append $found (dict "namespace" $namespace "group" "" "resource" "services" "name" . "suffix" (printf "-dns-service-%s" .)) }}
{{- end }}
{{- range .ingresses }}
{{- $found = append $found (dict "namespace" $namespace "group" "networking.k8s.io" "resource" "ingresses" "name" . "suffix" (printf "-dns-ingress-%s" .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson (uniq $found) }}
{{- end }}

{{- define "rollbackd.dnsRules" -}}
{{- $writes := has (default "observe" .regions.mode) (list "approve" "enforce") }}
# Regions: the object that ExternalDNS carries to its DNS provider.
- apiGroups: [{{ .object.group | default "\"\"" }}]
  resources: [{{ .object.resource }}]
  resourceNames: [{{ .object.name }}]
  verbs: [get{{ if $writes }}, patch{{ end }}]
{{- end }}

{{/* Not empty when a policy that acts stops the sync of GitOps owners. */}}
{{- define "rollbackd.holdsOwners" -}}
{{- $acting := include "rollbackd.actingPolicies" . | fromJsonArray }}
{{- $common := dig "guards" "gitops" "refuse" (toJson .Values.config | fromJson) }}
{{- range include "rollbackd.policies" . | fromJsonArray }}
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
