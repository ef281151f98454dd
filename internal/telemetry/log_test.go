package telemetry_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
)

// The secrets of a small system. Each has characters that one spelling or another changes.
const (
	databasePassword = `tr"0ub4dor&3 ü/@#`
	cachePassword    = `s3ssions'\pw`
	accessKey        = "AKIAIOSFODNN7EXAMPLE"
	secretKey        = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	encryptionKey    = "7d9f4be1c2a05f3360b8a0f1e4c1d2b3a4958677665544332211ffeeddccbbaa"
)

// protected is a configuration with its secrets in files and in the environment.
func protected(t *testing.T) (*system.System, system.Env, string) {
	t.Helper()
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	dsn := (&url.URL{
		Scheme: "postgres", User: url.UserPassword("backup", databasePassword),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(nobody)), Path: "/frende", RawQuery: "sslmode=disable",
	}).String()
	for name, text := range map[string]string{"database": dsn, "redis": cachePassword, "access": accessKey, "secret": secretKey} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
	}
	env := func(name string) (string, bool) { return encryptionKey, name == "KEY" }
	s, err := system.Parse(filepath.Join(dir, "lifeboat.yaml"), []byte(`system: frende
stores: [{name: primary, bucket: frende-db-backups, region: eu-central-1, access_key: file:access, secret_key: file:secret}]
keys: {encryption: ["env:KEY"]}
databases: [{name: frende, connection: file:database, data_dir: /srv/pg, service: postgres}]
caches: [{name: sessions, address: 127.0.0.1:6379, password: file:redis, data_dir: /srv/redis, service: redis}]
services: [{name: postgres, role: server}, {name: redis, role: server}]
telemetry: {log_level: debug}
`), env)
	require.NoError(t, err)
	return s, env, dsn
}

func TestNoLineOfTheLogHoldsASecret(t *testing.T) {
	s, env, dsn := protected(t)
	var written bytes.Buffer
	secrets := telemetry.NewSecrets()
	logger, err := telemetry.NewLogger(telemetry.LogConfig{To: &written, Level: s.Telemetry.LogLevel, Format: s.Telemetry.LogFormat, Secrets: secrets})
	require.NoError(t, err)
	early := logger.With(zap.String("connection", dsn), zap.Any("nested", map[string]any{"list": []string{secretKey}}))

	parts := assembly.New(assembly.Config{Env: env, OnSecret: secrets.Add})
	for _, ref := range []system.SecretRef{s.Databases[0].Connection, s.Caches[0].Password, s.Stores[0].AccessKey, s.Stores[0].SecretKey, s.Keys.Encryption[0]} {
		_, err := parts.Secret(ref)
		require.NoError(t, err)
	}

	_, refused := pgx.Connect(t.Context(), dsn)
	require.Error(t, refused)
	_, unparsed := pgx.ParseConfig("postgres://backup:" + databasePassword + "@127.0.0.1:port/frende")
	require.Error(t, unparsed)
	_, address := url.Parse(fmt.Sprintf("redis://:%s\x7f@127.0.0.1:6379", cachePassword))
	require.Error(t, address)
	_, option := redis.ParseURL("redis://:" + url.QueryEscape(cachePassword) + "@127.0.0.1:6379/0?db=none")
	require.Error(t, option)
	chain := fault.New(fault.ServerUnavailable, "connect to", "127.0.0.1", fmt.Errorf("dial %s: %w", dsn, errors.Join(refused, unparsed, errors.New("password="+databasePassword))))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1/", nil)
	require.NoError(t, err)
	request.SetBasicAuth("backup", databasePassword)
	request.Header.Set("X-Amz-Security-Token", secretKey)

	for _, err := range []error{refused, unparsed, address, option, chain} {
		early.Error("connect: "+err.Error(), zap.Error(err), zap.NamedError("cause", errors.Unwrap(err)), zap.Errors("all", []error{err, chain}))
		logger.Sugar().Errorf("could not connect to %s: %+v", dsn, err)
	}
	logger.Info("spelt otherwise", zap.String("query", url.QueryEscape(databasePassword)), zap.String("path", url.PathEscape(secretKey)), zap.String("quoted", strconv.Quote(databasePassword)),
		zap.ByteString("bytes", []byte(secretKey)), zap.Binary("binary", []byte(encryptionKey)), zap.Any("config", struct{ DSN, Key string }{dsn, encryptionKey}),
		zap.Stringers("urls", []*url.URL{{Scheme: "redis", User: url.UserPassword("", cachePassword), Host: "127.0.0.1"}}), zap.Any("header", request.Header))
	func() {
		defer func() { logger.Error(fmt.Sprintf("panic: %v", recover()), zap.Stack("stack")) }()
		panic("no answer from " + dsn)
	}()

	text := written.String()
	require.Equal(t, 12, strings.Count(text, "\n"), text)
	for _, secret := range []string{databasePassword, cachePassword, accessKey, secretKey, encryptionKey, dsn} {
		quoted, err := json.Marshal(secret)
		require.NoError(t, err)
		twice, err := json.Marshal(strconv.Quote(secret))
		require.NoError(t, err)
		for _, spelling := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("", secret).String()[1:], string(quoted[1 : len(quoted)-1]),
			strings.Trim(string(twice), `"\`), base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("backup:" + secret)),
		} {
			require.NotContains(t, text, spelling)
		}
	}
	for line := range strings.Lines(text) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	require.Contains(t, text, "[redacted]")
	require.Contains(t, text, "server can't be reached", "what is no secret can be read")
	require.Contains(t, text, "log_test.go", "the caller is named")
	require.Contains(t, text, "TestNoLineOfTheLogHoldsASecret", "a stack stays a stack")
}

func TestSecretsOfOthersAreKnownByTheirShape(t *testing.T) {
	secrets := telemetry.NewSecrets()
	for text, want := range map[string]string{
		"GET https://backup:hunter2@example.com/x":                                   "GET https://[redacted]@example.com/x",
		"postgres://u:p/w@d@db/frende":                                               "postgres://[redacted]@db/frende",
		"host=db user=u password='it\\'s secret' dbname=x":                           "host=db user=u password=[redacted] dbname=x",
		"host=db password=hunter2":                                                   "host=db password=[redacted]",
		`{"password":"hunter2","host":"db"}`:                                         `{"password":[redacted],"host":"db"}`,
		`body {\"secret_key\":\"hunter2\",\"host\":\"db\"}`:                          `body {\"secret_key\":[redacted],\"host\":\"db\"}`,
		"AKIAIOSFODNN7EXAMPLE is disabled":                                           "[redacted] is disabled",
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/2024":                       "Authorization: [redacted]",
		"map[Authorization:[Basic dTpw] Accept:[*/*]]":                               "map[Authorization:[[redacted]] Accept:[*/*]]",
		"bearer eyJhbGciOiJIUzI1NiJ9.e30.x":                                          "bearer [redacted]",
		"/frende?X-Amz-Signature=0f1e2d&x=1":                                         "/frende?X-Amz-Signature=[redacted]&x=1",
		"-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\nnext": "-----BEGIN EC PRIVATE KEY-----[redacted]\nnext",
	} {
		require.Equal(t, want, secrets.Redact(text))
	}
	for _, harmless := range []string{
		"resolve secret file:/etc/lifeboat/key: secret can't be resolved: the file is empty",
		"secret_key: env:S3_SECRET", "open key 20240115-c608b884259d975d: no configured key opens it",
		"recover/frende@01a20929-1f1a-7873-9275-189ece35e8d2", "http://127.0.0.1:8233/namespaces/default", "password authentication failed for user \"backup\"",
		"mail dba@frende.com", "s3://frende-db-backups/wal in us-east-1",
	} {
		require.Equal(t, harmless, secrets.Redact(harmless))
	}
}

func TestAShortSecretHidesOnlyWhereItStandsAsOne(t *testing.T) {
	var written bytes.Buffer
	secrets := telemetry.NewSecrets()
	secrets.Add([]byte("abc"))
	secrets.Add([]byte(" \n"))
	logger, err := telemetry.NewLogger(telemetry.LogConfig{To: &written, Secrets: secrets})
	require.NoError(t, err)
	logger.Info("the abc of backups", zap.String("value", "abc"), zap.String("text", "host=db password=abc"), zap.String("word", "abcde"), zap.String("db_password", "xy"))
	var line map[string]string
	require.NoError(t, json.Unmarshal(written.Bytes(), &line))
	require.Equal(t, "the abc of backups", line["msg"])
	require.Equal(t, "[redacted]", line["value"])
	require.Equal(t, "host=db password=[redacted]", line["text"])
	require.Equal(t, "abcde", line["word"])
	require.Equal(t, "[redacted]", line["db_password"])
}

func TestTheConfigurationSaysWhatIsLoggedAndHow(t *testing.T) {
	var written bytes.Buffer
	logger, err := telemetry.NewLogger(telemetry.LogConfig{To: &written, Level: system.LogWarn, Format: system.LogConsole, Secrets: telemetry.NewSecrets()})
	require.NoError(t, err)
	logger.Info("too little to be told")
	logger.With(zap.Namespace("of"), zap.Int("n", 1)).Warn("worth a word", zap.Duration("took", 1500000000))
	require.NotContains(t, written.String(), "too little")
	require.Contains(t, written.String(), "WARN")
	require.Contains(t, written.String(), `{"of": {"n": 1, "took": "1.5s"}}`)
}
