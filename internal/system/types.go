package system

import "time"

// System is what one lifeboat.yaml protects, parsed, defaulted and validated.
// It travels as JSON in Temporal payloads, pinned at the start of a run, so it
// holds references to secrets and never a secret.
type System struct {
	Name           string      `json:"name" yaml:"system"`
	Plan           Plan        `json:"plan" yaml:"plan"`
	Objectives     Objectives  `json:"objectives" yaml:"objectives"`
	Stores         []Store     `json:"stores" yaml:"stores"`
	Keys           Keys        `json:"keys" yaml:"keys"`
	Backup         Backup      `json:"backup" yaml:"backup"`
	Databases      []Database  `json:"databases,omitempty" yaml:"databases"`
	Caches         []Cache     `json:"caches,omitempty" yaml:"caches"`
	Files          []FileSet   `json:"files,omitempty" yaml:"files"`
	Configurations []FileSet   `json:"configurations,omitempty" yaml:"configurations"`
	Services       []Service   `json:"services,omitempty" yaml:"services"`
	Migrations     []Migration `json:"migrations,omitempty" yaml:"migrations"`
	Checks         []Check     `json:"checks,omitempty" yaml:"checks"`
	Schedules      []Schedule  `json:"schedules,omitempty" yaml:"schedules"`
	Targets        []Target    `json:"targets,omitempty" yaml:"targets"`
	Contacts       Contacts    `json:"contacts" yaml:"contacts"`
	Limits         Limits      `json:"limits" yaml:"limits"`
	Telemetry      Telemetry   `json:"-" yaml:"telemetry"` // of the process that reads the file; no run is pinned to it
	Temporal       Connection  `json:"-" yaml:"temporal"`  // of the process that reads the file

	// From is the one store that is used, and nothing else, for as long as this
	// copy of the system is: set by Alone.
	From string `json:"from,omitempty" yaml:"-"`
}

// Plan says which disaster recovery plan this file is.
type Plan struct {
	Version    string `json:"version" yaml:"version"`
	LastReview Date   `json:"last_review" yaml:"last_review"`
	NextReview Date   `json:"next_review" yaml:"next_review"`
}

// Objectives are the recovery time and recovery point objectives of the whole
// and of each kind of component. A component may set its own.
type Objectives struct {
	RTO RTO `json:"rto" yaml:"rto"`
	RPO RPO `json:"rpo" yaml:"rpo"`
}

// RTO holds recovery time objectives. Critical is the objective of the
// components marked critical, taken together.
type RTO struct {
	Critical      Duration `json:"critical" yaml:"critical"`
	Database      Duration `json:"database" yaml:"database"`
	Cache         Duration `json:"cache" yaml:"cache"`
	Files         Duration `json:"files" yaml:"files"`
	Configuration Duration `json:"configuration" yaml:"configuration"`
	Application   Duration `json:"application" yaml:"application"`
	System        Duration `json:"system" yaml:"system"`
}

// RPO holds recovery point objectives.
type RPO struct {
	Database      Duration `json:"database" yaml:"database"`
	Cache         Duration `json:"cache" yaml:"cache"`
	Files         Duration `json:"files" yaml:"files"`
	Configuration Duration `json:"configuration" yaml:"configuration"`
}

// Store is an S3 bucket and prefix. Replica names the store in another region
// that holds a copy of everything. The first store that is no replica is the primary.
type Store struct {
	Name      string    `json:"name" yaml:"name"`
	Bucket    string    `json:"bucket" yaml:"bucket"`
	Region    string    `json:"region" yaml:"region"`
	Prefix    string    `json:"prefix,omitempty" yaml:"prefix"`
	Endpoint  string    `json:"endpoint,omitempty" yaml:"endpoint"`     // empty: AWS
	PathStyle bool      `json:"path_style,omitempty" yaml:"path_style"` // for servers without bucket host names
	AccessKey SecretRef `json:"access_key,omitempty" yaml:"access_key"` // empty: the SDK's own chain
	SecretKey SecretRef `json:"secret_key,omitempty" yaml:"secret_key"`
	CACert    string    `json:"ca_cert,omitempty" yaml:"ca_cert"` // PEM file, for a private authority
	Replica   string    `json:"replica,omitempty" yaml:"replica"`

	// Replication says who brings bytes to the replica: "lifeboat" (the default),
	// or "native" when the bucket does and Lifeboat only watches.
	Replication Replication `json:"replication,omitempty" yaml:"replication"`
}

// Replication is the allowed values of Store.Replication.
type Replication string

// Ways to bring bytes to the replica.
const (
	ReplicationLifeboat Replication = "lifeboat"
	ReplicationNative   Replication = "native"
)

// Keys name the keys that wrap data keys. Every backup is wrapped for all of them.
type Keys struct {
	Encryption []SecretRef `json:"encryption" yaml:"encryption"`           // 32 bytes in hex or base64, or a passphrase; the first is BACKUP_ENCRYPTION_KEY's place
	Recipients []string    `json:"recipients,omitempty" yaml:"recipients"` // X25519 public keys that may open, too
}

// Backup holds what applies to every backup.
type Backup struct {
	Enabled     bool        `json:"enabled" yaml:"enabled"`         // DB_BACKUP_ENABLED
	Compression Compression `json:"compression" yaml:"compression"` // DB_BACKUP_COMPRESSION: true is zstd, false is none
	Retention   Duration    `json:"retention" yaml:"retention"`
}

// Compression names a codec: "zstd", "gzip" or "none".
type Compression string

// Names of the codecs.
const (
	CompressionZstd Compression = "zstd"
	CompressionGzip Compression = "gzip"
	CompressionNone Compression = "none"
)

// Database is one PostgreSQL cluster.
type Database struct {
	Name       string     `json:"name" yaml:"name"`
	Critical   bool       `json:"critical" yaml:"critical"`
	RTO        Duration   `json:"rto" yaml:"rto"` // defaulted from Objectives
	RPO        Duration   `json:"rpo" yaml:"rpo"`
	Cluster    string     `json:"cluster" yaml:"cluster"`       // its name in the WAL archive; default: Name
	Connection SecretRef  `json:"connection" yaml:"connection"` // a connection string or URL of a superuser
	Standby    *Standby   `json:"standby,omitempty" yaml:"standby"`
	Database   string     `json:"database" yaml:"database"` // the database inside the cluster; default: Name
	Host       string     `json:"host,omitempty" yaml:"-"`  // replaces the connection's host: set by ForTarget for a sandbox
	Port       int        `json:"port,omitempty" yaml:"-"`  // replaces the connection's port: set by ForTarget for a sandbox
	DataDir    string     `json:"data_dir" yaml:"data_dir"`
	ConfigDir  string     `json:"config_dir,omitempty" yaml:"config_dir"` // where postgresql.conf lies, when not in DataDir (Debian)
	BinDir     string     `json:"bin_dir,omitempty" yaml:"bin_dir"`       // default: found by version
	OSUser     string     `json:"os_user,omitempty" yaml:"os_user"`       // owner of the server; default: the owner of DataDir's parent, or this user
	Service    string     `json:"service" yaml:"service"`                 // the service that starts and stops it
	Socket     string     `json:"-" yaml:"socket"`                        // where the worker takes WAL from wal-push; default: in /run/lifeboat, when it is there
	Heartbeat  *Duration  `json:"-" yaml:"heartbeat"`                     // how often the worker ends an empty transaction, so that the archive of an idle server goes on; default 30s, 0s: never
	Tables     []string   `json:"tables,omitempty" yaml:"tables"`         // counted after a restore, as the seed does
	Verify     []SQLCheck `json:"verify,omitempty" yaml:"verify"`

	// Whether each backup takes down what its source holds, so that it can be proven at L3.
	Compare Compare `json:"compare,omitempty" yaml:"compare"`
}

// Standby is a server that follows a database by streaming replication, and that base
// backups are copied from. One that can't be used is passed over: the backup is
// taken from the primary then, and says so.
type Standby struct {
	Connection SecretRef `json:"connection" yaml:"connection"` // a connection string or URL of a superuser
	Lag        Duration  `json:"lag" yaml:"lag"`               // how long it may take to replay what the primary has when a backup begins; default 1m
}

// SQLCheck is a query that must give one row and one column, true or at least Minimum.
type SQLCheck struct {
	SQL     string `json:"sql" yaml:"sql"`
	Minimum *int64 `json:"minimum,omitempty" yaml:"minimum"`
}

// Cache is one Redis server.
type Cache struct {
	Name     string    `json:"name" yaml:"name"`
	Critical bool      `json:"critical" yaml:"critical"`
	RTO      Duration  `json:"rto" yaml:"rto"`
	RPO      Duration  `json:"rpo" yaml:"rpo"`
	Address  string    `json:"address" yaml:"address"` // host:port
	Username string    `json:"username,omitempty" yaml:"username"`
	Password SecretRef `json:"password,omitempty" yaml:"password"`
	DataDir  string    `json:"data_dir" yaml:"data_dir"` // dbfilename and appenddirname lie here
	Config   string    `json:"config,omitempty" yaml:"config"`
	BinDir   string    `json:"bin_dir,omitempty" yaml:"bin_dir"`
	Service  string    `json:"service" yaml:"service"`
}

// FileSet is a directory of files: uploads, or configuration.
type FileSet struct {
	Name     string   `json:"name" yaml:"name"`
	Critical bool     `json:"critical" yaml:"critical"`
	RTO      Duration `json:"rto" yaml:"rto"`
	RPO      Duration `json:"rpo" yaml:"rpo"`
	Root     string   `json:"root" yaml:"root"`
	Include  []string `json:"include,omitempty" yaml:"include"` // globs of names or relative paths; none: everything
	Exclude  []string `json:"exclude,omitempty" yaml:"exclude"`
}

// Service is a program that is stopped before and started after a recovery, in
// the order of the file. Role "application" stops first and starts last; role
// "server" is a database or cache server, started and stopped by its component alone.
type Service struct {
	Name    string      `json:"name" yaml:"name"`
	Role    ServiceRole `json:"role" yaml:"role"`
	Kind    ServiceKind `json:"kind" yaml:"kind"`
	Unit    string      `json:"unit,omitempty" yaml:"unit"`       // systemd
	Project string      `json:"project,omitempty" yaml:"project"` // compose: directory of the compose file
	Start   []string    `json:"start,omitempty" yaml:"start"`     // command: argument vectors
	Stop    []string    `json:"stop,omitempty" yaml:"stop"`
	Status  []string    `json:"status,omitempty" yaml:"status"` // exit 0 is running, 3 is stopped
	Timeout Duration    `json:"timeout" yaml:"timeout"`
}

// ServiceRole and ServiceKind are the allowed values of Service.
type (
	ServiceRole string
	ServiceKind string
)

// Roles and kinds of services.
const (
	RoleApplication ServiceRole = "application"
	RoleServer      ServiceRole = "server"

	ServiceSystemd ServiceKind = "systemd"
	ServiceCompose ServiceKind = "compose"
	ServiceCommand ServiceKind = "command"
)

// Migration brings a database's schema up to the application that is deployed.
type Migration struct {
	Name     string   `json:"name" yaml:"name"`
	Database string   `json:"database" yaml:"database"`
	Command  []string `json:"command" yaml:"command"`
	Dir      string   `json:"dir,omitempty" yaml:"dir"`
	Timeout  Duration `json:"timeout" yaml:"timeout"`
}

// Check asks whether a part of the running system does its work.
type Check struct {
	Name     string    `json:"name" yaml:"name"`
	Kind     CheckKind `json:"kind" yaml:"kind"`
	URL      string    `json:"url,omitempty" yaml:"url"`           // http
	Expect   int       `json:"expect,omitempty" yaml:"expect"`     // http status; default 200
	Contains string    `json:"contains,omitempty" yaml:"contains"` // http: in the body
	Address  string    `json:"address,omitempty" yaml:"address"`   // tcp: host:port
	Database string    `json:"database,omitempty" yaml:"database"` // sql: name of a database
	SQL      string    `json:"sql,omitempty" yaml:"sql"`           // sql: one row, one column, true
	Cache    string    `json:"cache,omitempty" yaml:"cache"`       // redis: name of a cache
	Command  []string  `json:"command,omitempty" yaml:"command"`   // command: exit 0
	Timeout  Duration  `json:"timeout" yaml:"timeout"`             // of one try
	Within   Duration  `json:"within" yaml:"within"`               // how long it may take to become true after a start
}

// CheckKind is the allowed values of Check.Kind.
type CheckKind string

// Kinds of checks.
const (
	CheckHTTP    CheckKind = "http"
	CheckTCP     CheckKind = "tcp"
	CheckSQL     CheckKind = "sql"
	CheckRedis   CheckKind = "redis"
	CheckCommand CheckKind = "command"
)

// Schedule starts a workflow by itself, in UTC: by one of When, Cron and Every.
type Schedule struct {
	Name      string     `json:"name" yaml:"name"`
	Workflow  string     `json:"workflow" yaml:"workflow"`               // type name: BackupDatabase, …
	Of        string     `json:"of,omitempty" yaml:"of"`                 // component; empty: all of the workflow's kind
	When      string     `json:"when,omitempty" yaml:"when"`             // "first saturday of quarter at 06:00"
	Cron      string     `json:"cron,omitempty" yaml:"cron"`             // five fields; a day of the month and a day of the week exclude each other
	Every     Duration   `json:"every,omitempty" yaml:"every"`           // counted from 1970-01-01T00:00:00Z
	IfChanged bool       `json:"if_changed,omitempty" yaml:"if_changed"` // BackupCache: only when something changed since the newest backup
	Level     *int       `json:"level,omitempty" yaml:"level"`           // VerifyBackup: proof level, 0 to 3; default: 1
	Random    bool       `json:"random,omitempty" yaml:"random"`         // VerifyBackup: one before the newest backup, by chance
	Format    DumpFormat `json:"format,omitempty" yaml:"format"`         // DumpDatabase: "sql.gz" (the default) or "custom"
	Catchup   Duration   `json:"catchup" yaml:"catchup"`                 // how late a missed start is still made up for
	Timeout   Duration   `json:"timeout" yaml:"timeout"`                 // a run that is not done by then is ended, so that the next can start
}

// DumpFormat is the allowed values of Schedule.Format.
type DumpFormat string

// Formats of dumps.
const (
	DumpSQL    DumpFormat = "sql.gz" // SQL as text, for psql
	DumpCustom DumpFormat = "custom" // for pg_restore, which restores it in parallel
)

// Target is where a recovery goes.
type Target struct {
	Name     string     `json:"name" yaml:"name"`
	Kind     TargetKind `json:"kind" yaml:"kind"`
	Root     string     `json:"root,omitempty" yaml:"root"`           // sandbox: everything lies under it
	PortBase int        `json:"port_base,omitempty" yaml:"port_base"` // sandbox: servers listen from here on
	Undo     Duration   `json:"undo" yaml:"undo"`                     // production: how long the old directories are kept

	// What a drill runs in the sandbox, each on the sandbox's own ports and paths:
	// applications, the migrations before them, and the checks that decide.
	Services   []Service   `json:"services,omitempty" yaml:"services"` // of kind command
	Migrations []Migration `json:"migrations,omitempty" yaml:"migrations"`
	Checks     []Check     `json:"checks,omitempty" yaml:"checks"`
	Compare    Compare     `json:"compare,omitempty" yaml:"compare"` // sandbox: how a drill compares databases with production
}

// Compare is the allowed values of Target.Compare and Database.Compare.
type Compare string

// Ways to compare a restored database with the one it was taken from.
const (
	CompareFull Compare = "full" // every table's rows and digest, at one position of the WAL (the default)
	CompareNone Compare = "none" // not at all: production is not read
)

// TargetKind is the allowed values of Target.Kind.
type TargetKind string

// Kinds of targets.
const (
	TargetProduction TargetKind = "production"
	TargetSandbox    TargetKind = "sandbox"
)

// Contacts are the people of the plan.
type Contacts struct {
	Primary    []Contact  `json:"primary,omitempty" yaml:"primary"`
	Escalation []Contact  `json:"escalation,omitempty" yaml:"escalation"`
	External   []External `json:"external,omitempty" yaml:"external"`
}

// Contact is a person with a role.
type Contact struct {
	Role  string `json:"role" yaml:"role"`
	Email string `json:"email" yaml:"email"`
	Phone string `json:"phone,omitempty" yaml:"phone"`
}

// External is a provider with the plan under which it gives support.
type External struct {
	Name        string `json:"name" yaml:"name"`
	SupportPlan string `json:"support_plan,omitempty" yaml:"support_plan"`
}

// Limits bound what Lifeboat takes of the host.
type Limits struct {
	Memory      Bytes `json:"memory" yaml:"memory"`                       // of buffers, per worker; default 192MiB
	Parallel    int   `json:"parallel" yaml:"parallel"`                   // transfers at once; default: cores × 2
	RestoreRate Bytes `json:"restore_rate,omitempty" yaml:"restore_rate"` // bytes per second per restore; 0: unlimited
}

// Telemetry says what a worker tells of itself, and to whom.
type Telemetry struct {
	LogLevel  LogLevel  `yaml:"log_level"`  // least severe line that is written; default info
	LogFormat LogFormat `yaml:"log_format"` // default: console on a terminal, else json

	Metrics       string `yaml:"metrics"`        // host:port where Prometheus reads; empty: nowhere
	MetricsRemote bool   `yaml:"metrics_remote"` // whether that may be reached from other hosts

	Traces string `yaml:"traces"` // URL that takes OTLP over HTTP; empty: none, unless OTEL_EXPORTER_OTLP_ENDPOINT is set
}

// LogLevel and LogFormat are the allowed values of Telemetry.
type (
	LogLevel  string
	LogFormat string
)

// Connection is what is configured of the connection to Temporal. Address,
// namespace, TLS and API key are those of the TEMPORAL_* variables.
type Connection struct {
	PayloadKey  SecretRef   `yaml:"payload_key"`  // 32 bytes in hex or base64; empty: payloads are stored as they are
	PayloadKeys []SecretRef `yaml:"payload_keys"` // instead, while keys change: the first seals, all of them open
}

// Date is a calendar day in UTC, written 2024-01-31.
type Date struct{ time.Time }

// Duration is a time.Duration that reads and writes "1h30m" in YAML and JSON; "30d" is allowed, too.
type Duration time.Duration

// Bytes is a size that reads "192MiB" or a number.
type Bytes int64

// SecretRef says where a secret lies: "env:NAME" or "file:/path". The secret
// itself is read on the host that needs it and never stored.
type SecretRef string
