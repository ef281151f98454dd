package temporal_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/temporal"
)

var older, newer = keys.NewSecret([]byte(strings.Repeat("5a", 32))), keys.NewSecret([]byte(strings.Repeat("c3", 32)))

func payloadsOf(t *testing.T, secrets ...keys.Secret) *temporal.Payloads {
	t.Helper()
	p, err := temporal.NewPayloads(secrets)
	require.NoError(t, err)
	return p
}

func store(t *testing.T, p *temporal.Payloads, value any) *common.Payloads {
	t.Helper()
	stored, err := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), p.Codec()).ToPayloads(value)
	require.NoError(t, err)
	return stored
}

func TestKeysOfPayloadsCanBeChanged(t *testing.T) {
	sealed := store(t, payloadsOf(t, older), map[string]string{"root": "/srv/frende/uploads"})
	require.NotContains(t, sealed.String(), "uploads")
	clear := store(t, payloadsOf(t), "in the clear")
	require.Contains(t, clear.String(), "in the clear", "off without a key")

	both := payloadsOf(t, newer, older)
	var value map[string]string
	require.NoError(t, both.Value(sealed, &value))
	require.Equal(t, "/srv/frende/uploads", value["root"])
	var text string
	require.NoError(t, both.Value(clear, &text), "what is older than the key can be read")
	require.Equal(t, payloadsOf(t, newer).KeyIDs()[0], string(store(t, both, 1).GetPayloads()[0].GetMetadata()["encryption-key-id"]), "the first key seals")

	for name, p := range map[string]*temporal.Payloads{"another key": payloadsOf(t, newer), "no key": payloadsOf(t)} {
		err := p.Value(sealed, &value)
		require.True(t, fault.Has(err, fault.KeyUnavailable), "%s: %v", name, err)
		require.ErrorContains(t, err, payloadsOf(t, older).KeyIDs()[0])
		require.Contains(t, fault.HintOf(err), "temporal.payload_keys")
		require.Contains(t, fault.HintOf(err), "lifeboat codec keys")
	}
	sealed.Payloads[0].Data[20] ^= 1
	require.True(t, fault.Has(both.Value(sealed, &value), fault.IntegrityError))
}

func TestFailuresAreSealedWithTheirText(t *testing.T) {
	p := payloadsOf(t, older)
	failures := temporal.FailureConverter(p)
	stored := failures.ErrorToFailure(errors.New("restore /srv/frende/uploads: no space\nHINT: make room"))
	require.NotContains(t, stored.String(), "uploads")
	require.Equal(t, "restore /srv/frende/uploads: no space", p.Message(stored))
	require.Equal(t, "Encoded failure", payloadsOf(t, newer).Message(stored))
	require.Empty(t, p.Message(nil))
	require.Equal(t, "plain", payloadsOf(t).Message(temporal.FailureConverter(payloadsOf(t)).ErrorToFailure(errors.New("plain\nmore"))))
}

func TestACodecEndpointAnswersOnlyWhomItShould(t *testing.T) {
	p := payloadsOf(t, older)
	handler := temporal.CodecHandler(temporal.CodecConfig{Payloads: p, Origins: []string{"http://127.0.0.1:8233"}, Token: "s3cret", Hosts: []string{"127.0.0.1"}})
	sealed := store(t, p, "frende")
	const body = `{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"ImZyZW5kZSI="}]}`
	ask := func(method, path, host string, header map[string]string) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Host = host
		for name, value := range header {
			r.Header.Set(name, value)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		return answer.Result()
	}
	const here = "127.0.0.1:8081"
	token := map[string]string{"Authorization": "Bearer s3cret"}
	for name, c := range map[string]struct {
		method, host string
		header       map[string]string
		status       int
	}{
		"with the token":     {http.MethodPost, here, token, http.StatusOK},
		"without the token":  {http.MethodPost, here, nil, http.StatusUnauthorized},
		"with another token": {http.MethodPost, here, map[string]string{"Authorization": "Bearer s3cre"}, http.StatusUnauthorized},
		"from the Web UI":    {http.MethodPost, here, map[string]string{"Authorization": "Bearer s3cret", "Origin": "http://127.0.0.1:8233"}, http.StatusOK},
		"before the Web UI asks": {http.MethodOptions, here, map[string]string{
			"Origin": "http://127.0.0.1:8233", "Access-Control-Request-Method": "POST",
		}, http.StatusNoContent},
		"from another page":      {http.MethodPost, here, map[string]string{"Authorization": "Bearer s3cret", "Origin": "https://evil.example"}, http.StatusForbidden},
		"by another name":        {http.MethodPost, "evil.example:8081", token, http.StatusMisdirectedRequest},
		"in another way":         {http.MethodGet, here, token, http.StatusNotFound},
		"before another page is": {http.MethodOptions, here, map[string]string{"Origin": "https://evil.example"}, http.StatusForbidden},
	} {
		answer := ask(c.method, "/encode", c.host, c.header)
		require.Equal(t, c.status, answer.StatusCode, name)
		if origin := c.header["Origin"]; c.status < 300 && origin != "" {
			require.Equal(t, origin, answer.Header.Get("Access-Control-Allow-Origin"), name)
			if c.method == http.MethodOptions {
				require.Contains(t, answer.Header.Get("Access-Control-Allow-Headers"), "X-Namespace")
			}
		} else {
			require.Empty(t, answer.Header.Get("Access-Control-Allow-Origin"), name)
		}
	}

	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	remote := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), converter.NewRemotePayloadCodec(converter.RemotePayloadCodecOptions{
		Endpoint: server.URL, ModifyRequest: func(r *http.Request) error {
			r.Header.Set("Authorization", "Bearer s3cret")
			return nil
		},
	}))
	var text string
	require.NoError(t, remote.FromPayloads(sealed, &text))
	require.Equal(t, "frende", text)

	foreign := store(t, payloadsOf(t, newer), "frende")
	err := remote.FromPayloads(foreign, &text)
	require.ErrorContains(t, err, "no configured key opens it", "the page says which key is missing")
	answer := ask(http.MethodPost, "/decode", here, token)
	said, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Contains(t, string(said), "ImZyZW5kZSI=", "what is in the clear stays")
}
