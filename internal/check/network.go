package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// longestBody is how much of an answer is searched for Check.Contains.
const longestBody = 1 << 20

func probeHTTP(c system.Check) probe {
	expect := c.Expect
	if expect == 0 {
		expect = http.StatusOK
	}
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
		if err != nil {
			return "", fault.New(fault.ConfigInvalid, "check", c.Name, reason(err))
		}
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		if expect >= 300 && expect < 400 {
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}
		response, err := client.Do(request)
		if err != nil {
			return "", withoutURL(err)
		}
		defer response.Body.Close()
		if response.StatusCode != expect {
			return "", fmt.Errorf("status %d, not %d", response.StatusCode, expect)
		}
		if c.Contains == "" {
			return fmt.Sprintf("status %d", expect), nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, longestBody))
		if err != nil {
			return "", reason(err)
		}
		if !strings.Contains(string(body), c.Contains) {
			return "", fmt.Errorf("status %d, but the body does not contain %q", expect, c.Contains)
		}
		return fmt.Sprintf("status %d, contains %q", expect, c.Contains), nil
	}
}

// withoutURL keeps the reason of a request's failure, not its address: a URL
// may hold a user and a password.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

func probeTCP(c system.Check) probe {
	return func(ctx context.Context) (string, error) {
		started := time.Now()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Address)
		if err != nil {
			return "", err
		}
		if err := conn.Close(); err != nil {
			return "", err
		}
		return fmt.Sprintf("connected in %s", time.Since(started).Round(time.Millisecond)), nil
	}
}
