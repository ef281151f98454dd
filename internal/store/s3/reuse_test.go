package s3

import (
	"bytes"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAConnectionIsKeptForTheNextRequest reads parts of an object just as far as they go,
// as the reader of a sealed object does: a handshake for each would cost more than the part.
func TestAConnectionIsKeptForTheNextRequest(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(content))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	s, err := New(t.Context(), Config{
		Name: "primary", Bucket: "b", Region: "us-east-1", Endpoint: server.URL, PathStyle: true, AccessKey: "a", SecretKey: "s", CACert: authority,
	})
	require.NoError(t, err)
	defer s.Close()
	for i := range int64(20) {
		body, err := s.GetRange(t.Context(), "key", i*100, 300)
		require.NoError(t, err)
		part := make([]byte, 300)
		for _, some := range [][]byte{part[:10], part[10:]} {
			_, err = io.ReadFull(body, some)
			require.NoError(t, err)
		}
		require.Equal(t, content[i*100:i*100+300], part)
		require.NoError(t, body.Close())
	}
	require.EqualValues(t, 1, connections.Load())
}
