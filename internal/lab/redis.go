package lab

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// RedisOptions say how a Redis server is set up.
type RedisOptions struct {
	Name       string            // default "redis"; names its service, folder and log
	AppendOnly bool              // AOF on, synced every second
	NoPassword bool              // by default it asks for one
	Settings   map[string]string // more directives of redis.conf
}

// Redis is a Redis server of a lab.
type Redis struct {
	*Service
	Address  string // host:port
	Password string
	Dir      string // data directory: dbfilename and appenddirname lie here
	Config   string // configuration file, outside Dir
	Port     int
}

// Redis starts a new, empty Redis server.
func (l *Lab) Redis(ctx context.Context, o RedisOptions) (*Redis, error) {
	if o.Name == "" {
		o.Name = "redis"
	}
	program, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	data, err := l.Folder(o.Name, "data")
	if err != nil {
		return nil, err
	}
	r := &Redis{Address: loopback(port), Dir: data, Config: l.Path(o.Name, "redis.conf"), Port: port}
	if !o.NoPassword {
		r.Password = rand.Text()
	}
	if err := l.Write(r.Config, r.configuration(o), 0o600); err != nil {
		return nil, err
	}
	ready := url.URL{Scheme: "redis", Host: r.Address}
	if r.Password != "" {
		ready.User = url.UserPassword("", r.Password)
	}
	r.Service, err = l.Define(Program{Name: o.Name, Args: []string{program, r.Config}, Dir: filepath.Dir(r.Config), Ready: ready.String()})
	if err != nil {
		return nil, err
	}
	return r, r.Start(ctx)
}

func (r *Redis) configuration(o RedisOptions) []byte {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%s %q\n", name, value) }
	line("bind", "127.0.0.1")
	line("port", fmt.Sprint(r.Port))
	line("dir", r.Dir)
	b.WriteString("save 900 1\n")
	b.WriteString("set-proc-title no\n") // its command line stays as it was started
	if o.AppendOnly {
		b.WriteString("appendonly yes\nappendfsync everysec\n")
	}
	if r.Password != "" {
		line("requirepass", r.Password)
	}
	for name, value := range o.Settings {
		fmt.Fprintf(&b, "%s %s\n", name, value)
	}
	return []byte(b.String())
}
