package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// probeTimeout bounds one question to a server.
const probeTimeout = 2 * time.Second

// probe asks a server whether it is ready; nil says yes. An empty URL is ready.
func probe(ctx context.Context, target string) error {
	if target == "" {
		return nil
	}
	at, err := url.Parse(target)
	if err != nil {
		return errors.New("the address of its readiness is no URL") // it may hold a password
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	switch at.Scheme {
	case "tcp":
		return probeTCP(ctx, at.Host)
	case "http":
		return probeHTTP(ctx, target)
	case "postgres":
		return probePostgres(ctx, target)
	case "redis":
		return probeRedis(ctx, at)
	case "temporal":
		return probeTemporal(ctx, at.Host)
	}
	return fmt.Errorf("readiness of kind %q is unknown", at.Scheme)
}

func probeTCP(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func probeHTTP(ctx context.Context, target string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answers %s", response.Status)
	}
	return nil
}

// probePostgres takes every answer but "cannot connect now" (57P03) for ready,
// as pg_isready does: who may log in is another question.
func probePostgres(ctx context.Context, dsn string) error {
	conn, err := pgconn.Connect(ctx, dsn)
	if err == nil {
		return conn.Close(ctx)
	}
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok && answer.Code != "57P03" {
		return nil
	}
	return err
}

func probeRedis(ctx context.Context, at *url.URL) error {
	password, _ := at.User.Password()
	db := redis.NewClient(&redis.Options{Addr: at.Host, Password: password, MaxRetries: -1})
	return errors.Join(db.Ping(ctx).Err(), db.Close())
}

func probeTemporal(ctx context.Context, address string) error {
	c, err := client.DialContext(ctx, client.Options{HostPort: address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.CheckHealth(ctx, &client.CheckHealthRequest{})
	return err
}
