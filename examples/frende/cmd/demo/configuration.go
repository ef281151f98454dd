package main

import (
	"bytes"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// lifeboatTemplate is the plan of this Frende. Everything that can is left at
// its default.
const lifeboatTemplate = `# Written by the demo.
system: frende
plan: {version: "1.0", last_review: {{.Reviewed}}, next_review: {{.Review}}}

objectives:
  rto: {critical: 30m, database: 15m, application: 10m, system: 1h}
  rpo: {database: 1h, files: 24h, configuration: 1h}

stores:
  - name: primary
    bucket: {{.PrimaryBucket}}
    region: us-east-1
    endpoint: {{.Primary}}
    path_style: true
    access_key: {{ref "primary-access"}}
    secret_key: {{ref "primary-secret"}}
    replica: dr
  - name: dr
    bucket: {{.ReplicaBucket}}
    region: eu-west-1
    endpoint: {{.Replica}}
    path_style: true
    access_key: {{ref "replica-access"}}
    secret_key: {{ref "replica-secret"}}

keys:
  encryption: [{{ref "encryption"}}]

databases:
  - name: frende
    critical: true
    connection: {{ref "database"}}
    data_dir: {{quote .DataDir}}
    bin_dir: {{quote .BinDir}}
    service: postgres
    tables: [users, matches, messages]
    verify:
      - {sql: SELECT count(*) FROM users, minimum: 1}

caches:
  - name: sessions
    critical: true
    address: {{.Redis}}
    password: {{ref "redis"}}
    data_dir: {{quote .RedisDir}}
    config: {{quote .RedisConfig}}
    service: redis

files:
  - name: uploads
    root: {{quote .Photos}}
    include: ["*.jpg", "*.png", "*.pdf"]
    exclude: ["*.tmp", "*.log"]

configurations:
  - name: frende
    root: {{quote .Config}}

services:
  - {name: postgres, role: server, kind: command, {{service "postgres"}}}
  - {name: redis, role: server, kind: command, {{service "redis"}}}
  - {name: backend-1, kind: command, {{service "backend-1"}}}
  - {name: backend-2, kind: command, {{service "backend-2"}}}
  - {name: frontend, kind: command, {{service "frontend"}}}

migrations:
  - name: frende
    database: frende
    command: [{{quote .App}}, migrate, --config, {{quote .Config}}]

checks:
  - {name: database, kind: sql, database: frende, sql: SELECT count(*) > 0 FROM users}
  - {name: cache, kind: redis, cache: sessions}
{{- range $name, $address := .Backends}}
  - {name: {{$name}}, kind: http, url: "http://{{$address}}/readyz", within: 1m}
{{- end}}
  - {name: frontend, kind: http, url: "http://{{.Frontend}}/", contains: Frende, within: 1m}

targets:
  - name: sandbox
    kind: sandbox
    root: {{quote .Sandbox}}
    port_base: {{.SandboxPort}}
    services:
      - {name: backend, {{service "sandbox-backend"}}}
      - {name: frontend, {{service "sandbox-frontend"}}}
    migrations:
      - name: frende
        database: frende
        command: [{{quote .App}}, migrate, --config, {{quote .SandboxConfig}}]
    checks:
      - {name: page, kind: http, url: "http://{{.SandboxFrontend}}/", contains: Frende, within: 1m}
      - {name: journey, kind: command, command: [{{quote .Journey}}, --app, "http://{{.SandboxFrontend}}"], timeout: 40s, within: 2m}

contacts:
  primary:
    - {role: System Administrator, email: admin@frende.com}
    - {role: Database Administrator, email: dba@frende.com}
{{- if .RestoreRate}}

limits:
  restore_rate: {{.RestoreRate}}
  parallel: 2
{{- end}}
`

func (d *demo) lifeboatConfiguration() ([]byte, error) {
	parsed, err := template.New("lifeboat.yaml").Funcs(template.FuncMap{
		"quote": strconv.Quote,
		"ref":   func(name string) string { return strconv.Quote("file:" + d.secret(name)) },
		"service": func(name string) string {
			var verbs []string
			for _, verb := range []string{"start", "stop", "status"} {
				verbs = append(verbs, verb+": ["+strconv.Quote(d.program("service"))+", --lab, "+strconv.Quote(d.lab.Dir)+", "+verb+", "+name+"]")
			}
			return strings.Join(verbs, ", ")
		},
	}).Parse(lifeboatTemplate)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	today := d.started.UTC() // the plan of a Frende that lives today was reviewed today
	err = parsed.Execute(&text, map[string]any{
		"Reviewed": today.Format(time.DateOnly), "Review": today.AddDate(0, 0, 31).Format(time.DateOnly),
		"PrimaryBucket": primaryBucket, "Primary": d.regions[0].Endpoint,
		"ReplicaBucket": replicaBucket, "Replica": d.regions[1].Endpoint,
		"DataDir": d.lab.Path("postgres", "data"), "BinDir": d.postgresBin,
		"Redis": d.redis.Address, "RedisDir": d.redis.Dir, "RedisConfig": d.redis.Config,
		"Photos": d.photos, "Config": d.config, "App": d.program("app"),
		"Sandbox": d.sandbox.root, "SandboxPort": d.sandbox.port, "SandboxConfig": d.sandbox.config, "SandboxFrontend": d.sandbox.frontend,
		"Journey":  d.program("journey"),
		"Frontend": d.frontend, "Backends": d.backends, "RestoreRate": d.restoreRate,
	})
	return text.Bytes(), err
}
