package system

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// maxFile bounds a configuration; a pinned one travels in Temporal payloads of at most 2 MB.
const maxFile = 1 << 20

// Variables that Lifeboat reads besides those that the configuration names.
const (
	EnvConfig        = "LIFEBOAT_CONFIG"
	EnvEnabled       = "DB_BACKUP_ENABLED"
	EnvBucket        = "DB_BACKUP_S3_BUCKET"
	EnvRegion        = "DB_BACKUP_S3_REGION"
	EnvCompression   = "DB_BACKUP_COMPRESSION"
	EnvEncryptionKey = "BACKUP_ENCRYPTION_KEY"
)

// Places lists where a configuration is looked for when neither --config nor LIFEBOAT_CONFIG names one.
func Places() []string { return []string{"lifeboat.yaml", "/etc/lifeboat/lifeboat.yaml"} }

// Find gives the path of the configuration: the one asked for, else
// LIFEBOAT_CONFIG, else the first of Places that exists. It fails with ConfigInvalid.
func Find(asked string, env Env) (string, error) {
	if asked != "" {
		return asked, nil
	}
	if path, set := env(EnvConfig); set && path != "" {
		return path, nil
	}
	for _, path := range Places() {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fault.Newf(fault.ConfigInvalid, "find configuration", "", "there is none at %s", strings.Join(Places(), " or ")).
		WithHint("name it with --config FILE or %s", EnvConfig)
}

// Load reads, parses, defaults and validates the file at path. See Parse.
func Load(path string, env Env) (*System, error) {
	return load(path, env, func(Finding) bool { return true })
}

// LoadStorage is Load for whoever only reaches the stores: what is wrong
// elsewhere does not fail it. PostgreSQL archives and fetches WAL through it,
// under an account that need not see every secret, and while someone may be
// half-way through an edit of a schedule.
func LoadStorage(path string, env Env) (*System, error) {
	return load(path, env, func(found Finding) bool {
		return found.Line == 0 || slices.Contains([]string{"", "system", "stores", "keys", "backup", "limits"}, found.top())
	})
}

// Inspect reads the file at path as far as it can be read, and gives what is
// wrong with it beside it instead of refusing it. Secrets are not looked at. It
// is for whoever examines a system that may be broken: nothing is done with it.
func Inspect(path string, env Env) (*System, Findings, error) {
	text, err := readText(path)
	if err != nil {
		return nil, nil, err
	}
	return read(path, text, env, false)
}

// LoadConnection is Load for whoever only reaches Temporal, as an operator does
// who watches, approves or aborts: nothing that is wrong elsewhere may keep them
// from it, not even a file that is no YAML.
func LoadConnection(path string, env Env) (*System, error) {
	return load(path, env, func(found Finding) bool { return found.top() == "temporal" })
}

func load(path string, env Env, matters func(Finding) bool) (*System, error) {
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	return parse(path, text, env, matters)
}

func readText(path string) ([]byte, error) {
	const op = "read configuration"
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, op, path, withoutPath(err)).WithHint("name it with --config FILE or %s", EnvConfig)
	}
	if info.IsDir() {
		return nil, fault.Newf(fault.ConfigInvalid, op, path, "it is a directory").WithHint("name the file: --config %s", filepath.Join(path, "lifeboat.yaml"))
	}
	if info.Size() > maxFile {
		return nil, fault.Newf(fault.ConfigInvalid, op, path, "it has %d bytes; at most %d are read", info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, op, path, withoutPath(err)).WithHint("make it readable by this user")
	}
	return text, nil
}

// Parse reads the text of a configuration. name stands in findings, and its
// directory is what relative paths start from. The seed's environment variables
// override the text. The error is a ConfigInvalid whose cause is Findings: all
// of them, not the first.
func Parse(name string, text []byte, env Env) (*System, error) {
	return parse(name, text, env, func(Finding) bool { return true })
}

func parse(name string, text []byte, env Env, matters func(Finding) bool) (*System, error) {
	const op = "read configuration"
	s, findings, err := read(name, text, env, true)
	if err != nil {
		return nil, err
	}
	findings = slices.DeleteFunc(findings, func(found Finding) bool { return !matters(found) })
	if len(findings) > 0 {
		refused := fault.New(fault.ConfigInvalid, op, name, findings)
		if findings[0].Hint != "" {
			refused = refused.WithHint("%s", findings[0].Hint)
		}
		return nil, refused
	}
	return s, nil
}

// read gives what the text says, as far as it can be read, and what is wrong with it.
func read(name string, text []byte, env Env, secrets bool) (*System, Findings, error) {
	absolute, err := filepath.Abs(name)
	if err != nil {
		return nil, nil, fault.New(fault.ConfigInvalid, "read configuration", name, err)
	}
	blank := blank()
	s := &blank
	source := &source{file: name, at: map[string]position{}, moved: map[string]string{}}
	source.decode(text, s)

	override(s, env, source)
	s.makeAbsolute(filepath.Dir(absolute))
	s.applyDefaults()

	// A wrong type leaves a zero behind; what Validate says of that is the same fault twice.
	wrong := s.Validate()
	if secrets {
		wrong = append(wrong, s.checkSecrets(env)...)
	}
	for _, found := range wrong {
		if path, ok := source.moved[found.Path]; ok {
			found.Path = path
		}
		if !source.spoiled(found.Path) {
			source.report(found)
		}
	}
	return s, source.findings.sorted(), nil
}

// blank is a system of which nothing is said. What is true unless the file says
// otherwise has to stand before it is read.
func blank() System { return System{Backup: Backup{Enabled: true}} }

// override applies the seed's environment variables.
func override(s *System, env Env, from *source) {
	set := func(name string) (string, bool) {
		value, ok := env(name)
		return value, ok && value != ""
	}
	refuse := func(name, message, hint string) {
		from.findings = append(from.findings, Finding{File: "environment", Path: name, Message: message, Hint: hint})
	}
	if value, ok := set(EnvEnabled); ok {
		enabled, err := strconv.ParseBool(value)
		if err != nil {
			refuse(EnvEnabled, "is neither true nor false", "write true or false, or unset it")
		}
		s.Backup.Enabled = enabled
	}
	if value, ok := set(EnvCompression); ok {
		if err := s.Backup.Compression.UnmarshalText([]byte(value)); err != nil {
			refuse(EnvCompression, "is no compression", "write true, false, zstd, gzip or none, or unset it")
		}
	}
	bucket, hasBucket := set(EnvBucket)
	region, hasRegion := set(EnvRegion)
	if hasBucket || hasRegion {
		if len(s.Stores) == 0 {
			s.Stores = []Store{{Name: "primary"}}
		}
		primary := primaryIndex(s.Stores)
		if hasBucket {
			s.Stores[primary].Bucket = bucket
		}
		if hasRegion {
			s.Stores[primary].Region = region
		}
	}
	if _, ok := set(EnvEncryptionKey); ok {
		ref := SecretRef(envScheme + EnvEncryptionKey)
		keys := []SecretRef{ref}
		for i, other := range s.Keys.Encryption {
			if other != ref {
				from.moved[encryptionPath(len(keys))] = encryptionPath(i)
				keys = append(keys, other)
			}
		}
		s.Keys.Encryption = keys
	}
}

func encryptionPath(i int) string { return fmt.Sprintf("keys.encryption[%d]", i) }

// primaryIndex is where the primary store lies; 0 when every store is a replica, which Validate refuses.
func primaryIndex(stores []Store) int {
	return max(0, slices.IndexFunc(stores, func(candidate Store) bool {
		return !slices.ContainsFunc(stores, func(v Store) bool { return v.Replica == candidate.Name })
	}))
}
