package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/temporal"
)

// codecFlags are those of "codec serve".
type codecFlags struct {
	listen  string
	origins []string
	token   string
}

func (a *app) codecServe() *cobra.Command {
	var f codecFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Let Temporal's Web UI and command read sealed payloads",
		Long: "Let Temporal's Web UI and command read payloads that are sealed under temporal.payload_keys.\n" +
			"Whoever reaches this endpoint reads every history: it listens at this host alone, and\n" +
			"elsewhere only with a token. It speaks HTTP; put a proxy with TLS before it there.",
		Example: "  lifeboat codec serve --origin http://127.0.0.1:8233\n" +
			"  temporal workflow show -w recover/frende --codec-endpoint http://127.0.0.1:8081",
		Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, _ []string) error { return a.serveCodec(ctx, f) }),
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8081", "`ADDRESS` to listen at")
	c.Flags().StringArrayVar(&f.origins, "origin", nil, "`URL` of the Web UI, whose pages may ask; may be given again")
	c.Flags().StringVar(&f.token, "token", "", "`REF` of a token that every request must bring: env:NAME or file:/path")
	return c
}

func (a *app) serveCodec(ctx context.Context, f codecFlags) error {
	payloads, _, err := a.configuredPayloads()
	if err != nil {
		return err
	}
	token, err := system.SecretRef(f.token).Resolve(a.Env, os.ReadFile)
	if err != nil {
		return err
	}
	a.secrets.Add(token)
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return fault.New(fault.InputInvalid, "read", "--listen", err).WithHint("write host:port, as in 127.0.0.1:8081")
	}
	config := temporal.CodecConfig{Payloads: payloads, Origins: f.origins, Token: string(token)}
	if system.Loopback(host) {
		config.Hosts = []string{"127.0.0.1", "::1", "localhost", host}
	} else if len(token) == 0 {
		return fault.Newf(fault.InputInvalid, "listen at", f.listen, "other hosts reach it, and no token is asked for").
			WithHint("listen at 127.0.0.1, or ask for a token with: --token file:/path")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fault.New(fault.InputInvalid, "listen at", f.listen, err).WithHint("choose another address with --listen")
	}
	fmt.Fprintf(a.Stdout, "codec endpoint: http://%s\n", listener.Addr())
	return serveUntil(ctx, listener, temporal.CodecHandler(config))
}

// serveUntil serves until ctx ends; that is its normal end.
func serveUntil(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- server.Close() })
	err := server.Serve(listener)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fault.New(fault.ServerFailed, "serve", listener.Addr().String(), err)
	}
	return <-closed
}

// payloadKey is one line of "codec keys".
type payloadKey struct {
	ID    string           `json:"id"`
	Ref   system.SecretRef `json:"ref"`
	Seals bool             `json:"seals"`
}

func (a *app) codecKeys() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:     "keys",
		Short:   "List the IDs of the keys that payloads are sealed with",
		Example: "  lifeboat codec keys",
		Args:    cobra.NoArgs,
		RunE: a.run(func(context.Context, []string) error {
			payloads, refs, err := a.configuredPayloads()
			if err != nil {
				return err
			}
			var listed []payloadKey
			for i, id := range payloads.KeyIDs() {
				listed = append(listed, payloadKey{ID: id, Ref: refs[i], Seals: i == 0})
			}
			if a.json {
				return a.printJSON(listed)
			}
			table := a.table()
			for _, one := range listed {
				use := "opens"
				if one.Seals {
					use = "seals and opens"
				}
				fmt.Fprintf(table, "%s\t%s\t%s\n", one.ID, one.Ref, use)
			}
			return table.Flush()
		}),
	})
}

// configuredPayloads needs at least one key.
func (a *app) configuredPayloads() (*temporal.Payloads, []system.SecretRef, error) {
	path, err := system.Find(a.config, a.Env)
	if err != nil {
		return nil, nil, err
	}
	configured, err := system.LoadConnection(path, a.Env)
	if err != nil {
		return nil, nil, err
	}
	payloads, err := a.openPayloads(configured)
	if err != nil {
		return nil, nil, err
	}
	if !payloads.Seals() {
		return nil, nil, fault.Newf(fault.ConfigInvalid, "read", path, "no payload key is configured").
			WithHint("write temporal: {payload_key: file:/path} into it; make a key with: openssl rand -hex 32")
	}
	return payloads, configured.Temporal.Keys(), nil
}
