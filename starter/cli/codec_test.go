package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
)

// codecRun runs a command line under a configuration of payload keys alone: all
// else that is wrong with it is not asked for.
func codecRun(ctx context.Context, t *testing.T, config string, out *buffer, args ...string) (code int, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	env := map[string]string{"PAYLOAD": strings.Repeat("5a", 32), "TOKEN": "t0ken-of-the-codec", "WORD": "correct horse battery"}
	var problems bytes.Buffer
	code = Run(ctx, Process{
		Args: append(args, "--config", path), Stdout: out, Stderr: &problems, Now: time.Now, Screen: func() (width, height int) { return 0, 0 },
		Env: func(name string) (string, bool) { value, ok := env[name]; return value, ok },
	})
	return code, problems.String()
}

func TestACodecEndpointForOthersNeedsAToken(t *testing.T) {
	const keyed = "temporal: {payload_key: env:PAYLOAD}\n"
	for name, c := range map[string]struct {
		config, want, hint string
		args               []string
		code               int
	}{
		"everybody reaches it":    {keyed, "other hosts reach it, and no token is asked for", "--token", []string{"codec", "serve", "--listen", "0.0.0.0:8081"}, fault.ExitUsage},
		"no port":                 {keyed, "read --listen: input is not valid", "host:port", []string{"codec", "serve", "--listen", "127.0.0.1"}, fault.ExitUsage},
		"a token that is not set": {keyed, "resolve secret env:NOWHERE", "NOWHERE", []string{"codec", "serve", "--token", "env:NOWHERE"}, fault.ExitUsage},
		"a token on the line":     {keyed, "a reference begins with env: or file:", "env:NAME", []string{"codec", "serve", "--token", "t0ken-of-the-codec"}, fault.ExitUsage},
		"no key":                  {"", "no payload key is configured", "openssl rand -hex 32", []string{"codec", "keys"}, fault.ExitUsage},
		"a key that is none":      {"temporal: {payload_key: env:WORD}\n", "key 1 is not 32 bytes in hex or base64", "openssl rand -hex 32", []string{"codec", "keys"}, fault.ExitUsage},
		"a key that is not there": {"temporal: {payload_keys: [env:NOWHERE]}\n", "environment variable NOWHERE is not set", "set it", []string{"codec", "keys"}, fault.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			code, stderr := codecRun(t.Context(), t, c.config, &buffer{}, c.args...)
			require.Equal(t, c.code, code, stderr)
			require.Contains(t, stderr, c.want)
			require.Contains(t, stderr, "HINT: ")
			require.Contains(t, stderr, c.hint)
			require.NotContains(t, stderr, "horse")
			require.NotContains(t, stderr, "t0ken")
		})
	}
}

func TestConfigCheckFindsAPayloadKeyThatIsNone(t *testing.T) {
	s := openShop(t)
	text, err := os.ReadFile(s.config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.config, append(text, "temporal: {payload_key: env:WORD}\n"...), 0o600))
	s.env["WORD"] = "correct horse battery"
	code, _, stderr := s.run(t, "config", "check")
	require.Equal(t, fault.ExitUsage, code)
	require.Contains(t, stderr, "key 1 is not 32 bytes in hex or base64")
	s.env["WORD"] = strings.Repeat("5a", 32)
	code, stdout, stderr := s.run(t, "config", "check")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "is valid")
}

func TestACodecEndpointServesUntilItIsInterrupted(t *testing.T) {
	port, err := lab.FreePort()
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	ctx, interrupt := context.WithCancel(t.Context())
	out := &buffer{}
	type end struct {
		code   int
		stderr string
	}
	ended := make(chan end, 1)
	go func() {
		code, stderr := codecRun(ctx, t, "temporal: {payload_key: env:PAYLOAD}\n", out, "codec", "serve", "--listen", address, "--token", "env:TOKEN")
		ended <- end{code, stderr}
	}()
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "codec endpoint: http://"+address) }, time.Minute, 10*time.Millisecond)
	remote := converter.NewRemotePayloadCodec(converter.RemotePayloadCodecOptions{Endpoint: "http://" + address, ModifyRequest: func(r *http.Request) error {
		r.Header.Set("Authorization", "Bearer t0ken-of-the-codec")
		return nil
	}})
	clear := []*common.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"frende"`)}}
	sealed, err := remote.Encode(clear)
	require.NoError(t, err)
	require.NotContains(t, sealed[0].String(), "frende")
	opened, err := remote.Decode(sealed)
	require.NoError(t, err)
	require.Equal(t, `"frende"`, string(opened[0].GetData()))
	interrupt()
	require.Equal(t, end{}, <-ended)

	listed := &buffer{}
	code, stderr := codecRun(t.Context(), t, "temporal: {payload_key: env:PAYLOAD}\n", listed, "codec", "keys", "--json")
	require.Zero(t, code, stderr)
	var keys []payloadKey
	require.NoError(t, json.Unmarshal([]byte(listed.String()), &keys))
	require.Equal(t, []payloadKey{{ID: string(sealed[0].GetMetadata()["encryption-key-id"]), Ref: "env:PAYLOAD", Seals: true}}, keys)
}
