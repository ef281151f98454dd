package postgres_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/postgres"
)

// TestProgramsLogInByTheirEnvironmentAlone runs a program that tells how it was called.
func TestProgramsLogInByTheirEnvironmentAlone(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "pg_dumpall"), []byte("#!/bin/sh\nprintf 'argument %s\\n' \"$@\"\nenv\n"), 0o755))
	authority := filepath.Join(t.TempDir(), "it's our own.pem")
	require.NoError(t, os.WriteFile(authority, certificate(t), 0o600))
	for _, dsn := range []string{
		"postgres://dba:open%20sesame@db.example.com:5433/frende?sslmode=verify-full&sslrootcert=" + strings.ReplaceAll(authority, " ", "%20"),
		"host=db.example.com port = 5433 user=dba password='open sesame' dbname=frende sslmode=verify-full sslrootcert='" + strings.ReplaceAll(authority, "'", `\'`) + "'",
	} {
		login, err := postgres.NewLogin(dsn, postgres.LoginOptions{})
		require.NoError(t, err)
		var told bytes.Buffer
		require.NoError(t, postgres.DumpGlobals(t.Context(), login, "it's", bin, &told))
		var arguments []string
		for line := range strings.Lines(told.String()) {
			if argument, ok := strings.CutPrefix(line, "argument "); ok {
				arguments = append(arguments, strings.TrimSpace(argument))
			}
		}
		require.Equal(t, []string{"--globals-only", "--no-password", `--dbname=dbname='it\'s'`}, arguments, "everybody on the host can read arguments")
		for _, variable := range []string{
			"PGHOST=db.example.com", "PGPORT=5433", "PGUSER=dba", "PGPASSWORD=open sesame", "PGSSLMODE=verify-full", "PGSSLROOTCERT=" + authority,
		} {
			require.Contains(t, told.String(), variable+"\n")
		}
	}
}

// certificate is an authority's, as PEM.
func certificate(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	made := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(nil, made, made, public, private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}
