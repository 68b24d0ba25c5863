{{/* The daemon's configuration: `config`, and the three sections that the chart owns. */}}

{{/* Not empty when the journal is in PostgreSQL, which replicas can share. */}}
{{- define "rollbackd.sharesJournal" -}}
{{- if .Values.secrets.journalDsn.name }}yes{{ end }}
{{- end }}

{{- define "rollbackd.secretFile" -}}
/etc/rollbackd/secrets/{{ .directory }}/{{ .secret.key }}
{{- end }}

{{/* JSON, which is YAML, too: Helm's YAML writes large numbers as 6.7e+07. */}}
{{- define "rollbackd.configuration" -}}
{{- $config := deepCopy .Values.config }}
{{- $secrets := .Values.secrets }}
{{- $host := .Values.http.host }}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end }}
{{- $http := dict "listen" (printf "%s:%v" $host .Values.http.port) }}
{{- with $secrets.decisionToken }}
{{- if .name }}
{{- $_ := set $http "token_file" (include "rollbackd.secretFile" (dict "directory" "decision-token" "secret" .)) }}
{{- end }}
{{- end }}
{{- range list "proxy" "kubernetes" }}
{{- if kindIs "map" (index $.Values.http .) }}
{{- $_ := set $http . (index $.Values.http .) }}
{{- end }}
{{- end }}
{{- $_ := set $config "http" $http }}
{{- if include "rollbackd.sharesJournal" . }}
{{- $_ := set $config "journal" (dict "dsn_file" (include "rollbackd.secretFile" (dict "directory" "journal-dsn" "secret" $secrets.journalDsn))) }}
{{- $lease := dict "lease_name" (include "rollbackd.fullname" .) }}
{{- if include "rollbackd.followsCluster" . }}{{ $_ := set $lease "lease_namespace" .Release.Namespace }}{{ end }}
{{- $_ := set $lease "address_env" "ROLLBACKD_ADDRESS" }}
{{- $_ := set $config "leadership" $lease }}
{{- else }}
{{- $_ := set $config "journal" (dict "url" "sqlite:////var/lib/rollbackd/rollbackd.db") }}
{{- end }}
{{- $prometheus := $config.source.prometheus }}
{{- with $secrets.prometheusBearerToken }}
{{- if .name }}
{{- if not $prometheus }}{{ fail "secrets.prometheusBearerToken is for config.source.prometheus, which is not there" }}{{ end }}
{{- $_ := set $prometheus "bearer_token_file" (include "rollbackd.secretFile" (dict "directory" "prometheus-bearer-token" "secret" .)) }}
{{- end }}
{{- end }}
{{- with $secrets.prometheusPassword }}
{{- if .name }}
{{- if not ($prometheus).basic_auth }}{{ fail "secrets.prometheusPassword needs config.source.prometheus.basic_auth.username" }}{{ end }}
{{- $_ := set $prometheus.basic_auth "password_file" (include "rollbackd.secretFile" (dict "directory" "prometheus-password" "secret" .)) }}
{{- end }}
{{- end }}
{{- toPrettyJson $config }}
{{- end }}

{{/* The Secrets that are in use: a JSON list of {directory, name, key}. */}}
{{- define "rollbackd.mountedSecrets" -}}
{{- $mounted := list }}
{{- range $value, $directory := dict "journalDsn" "journal-dsn" "decisionToken" "decision-token" "prometheusBearerToken" "prometheus-bearer-token" "prometheusPassword" "prometheus-password" }}
{{- with index $.Values.secrets $value }}
{{- if .name }}
{{- $mounted = append $mounted (dict "directory" $directory "name" .name "key" .key) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $mounted }}
{{- end }}

{{/* The port of the receiver for traces, "" when there is none; listen as 0.0.0.0:4318. */}}
{{- define "rollbackd.receiverPort" -}}
{{- $receiver := ((.Values.config).traces).receiver }}
{{- if $receiver }}
{{- regexFind "[0-9]+$" ($receiver.listen | default "127.0.0.1:4318") }}
{{- end }}
{{- end }}
