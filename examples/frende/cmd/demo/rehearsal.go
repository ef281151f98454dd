package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/frende/lifeboat/examples/frende/site"
	"github.com/frende/lifeboat/internal/lab"
)

// replicaLag is what the second region may be behind the first.
const replicaLag = 10 * time.Second

// rehearsal is where a drill plays.
type rehearsal struct {
	root     string // of the sandbox
	config   string // the application's configuration there
	port     int    // of the sandbox's PostgreSQL; Redis has the next
	backend  string // host:port
	frontend string // host:port
}

// plan chooses the sandbox's places.
func (d *demo) plan() (err error) {
	d.sandbox.root = d.lab.Path("sandbox", "frende")
	if _, err := d.lab.Folder("sandbox"); err != nil {
		return err
	}
	if d.sandbox.config, err = d.lab.Folder("frende", "rehearsal"); err != nil {
		return err
	}
	if d.sandbox.port, err = lab.FreePorts(2); err != nil {
		return err
	}
	for _, address := range []*string{&d.sandbox.backend, &d.sandbox.frontend} {
		port, err := lab.FreePort()
		if err != nil {
			return err
		}
		*address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return nil
}

// prepareRehearsal writes how Frende is configured in the sandbox, and defines
// its services there. Nothing is started.
func (d *demo) prepareRehearsal(production url.URL) error {
	production.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.sandbox.port))
	redis := net.JoinHostPort("127.0.0.1", strconv.Itoa(d.sandbox.port+1))
	for name, value := range map[string]any{
		site.StorageFile: site.Storage{
			Database: production.String(), Redis: site.Redis{Address: redis, Password: d.redis.Password}, Photos: filepath.Join(d.sandbox.root, d.photos),
		},
		site.NetworkFile: site.Network{Frontend: d.sandbox.frontend, Backends: map[string]string{"sandbox": d.sandbox.backend}},
		site.LookFile:    site.Look{Title: "Frende", Welcome: "This is a rehearsal."},
	} {
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		if err := d.lab.Write(filepath.Join(d.sandbox.config, name), text, 0o600); err != nil {
			return err
		}
	}
	for _, p := range []lab.Program{
		{Name: "sandbox-backend", Args: []string{d.program("app"), "backend", "--config", d.sandbox.config, "--name", "sandbox"}, Ready: "http://" + d.sandbox.backend + "/readyz"},
		{Name: "sandbox-frontend", Args: []string{d.program("app"), "frontend", "--config", d.sandbox.config}, Ready: "http://" + d.sandbox.frontend + "/healthz"},
	} {
		if _, err := d.lab.Define(p); err != nil {
			return err
		}
	}
	return nil
}

// rehearse runs a drill while the oracle goes on writing through the living
// application, and asks the oracle whether it noticed. It gives the last line.
func (d *demo) rehearse(ctx context.Context) (string, error) {
	d.say("rehearse the disaster: lifeboat drill run")
	cmd := d.lifeboat(ctx, "drill", "run")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = io.MultiWriter(d.out, &said), d.out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the drill failed: %w", err)
	}
	line := lastLine(said.String())
	if !strings.HasPrefix(line, "REHEARSED frende in ") {
		return "", fmt.Errorf("the drill ended with %q", line)
	}
	d.say("did production notice?")
	running, err := d.oracle.Running()
	if err != nil || !running {
		return "", errors.Join(err, errors.New("the oracle could not go on writing"))
	}
	if err := d.oracle.Stop(ctx); err != nil {
		return "", err
	}
	now := time.Now().Format(time.RFC3339Nano)
	answer, err := d.ask(ctx, "FFFFFFFF/FFFFFFFF", now+","+now, now+","+now)
	if err != nil {
		return "", err
	}
	if !answer.Agreed {
		return "", fmt.Errorf("the drill disturbed production: %s", strings.Join(answer.Problems, "; "))
	}
	if err := d.servesAgain(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; production holds all %d writes that it acknowledged", line, answer.Required), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// followReplica has what is new copied to the second region within seconds.
func (d *demo) followReplica(ctx context.Context) error {
	cmd := d.lab.Command(ctx, d.temporal.Binary, "workflow", "start", "--address", d.temporal.Address, "--task-queue", "lifeboat",
		"--type", "ReplicateStore", "--workflow-id", "replicate/frende/primary", "--input", `{"follow":"30m"}`)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("start ReplicateStore: %w: %s", err, output)
	}
	d.note("ReplicateStore brings what is new to the second region, within seconds")
	return nil
}

// loseRegion ends the primary region's store and deletes all that it kept.
func (d *demo) loseRegion(ctx context.Context) error {
	done, err := d.wreck(ctx, "host", "--kill", d.regions[0].Name(), "--remove", d.regions[0].Dir)
	if err != nil {
		return err
	}
	d.note("the primary region is gone: kill -9 of %s, deleted %s", strings.Join(done.Killed, ", "), strings.Join(done.Removed, ", "))
	return nil
}

// left is lifeboat with what the disaster has left of the stores.
func (d *demo) left(ctx context.Context, args ...string) *exec.Cmd {
	if d.disaster == disasterRegion {
		args = append([]string{"--from", "dr"}, args...)
	}
	return d.lifeboat(ctx, args...)
}

func (d *demo) fromFlag() string {
	if d.disaster == disasterRegion {
		return "--from dr "
	}
	return ""
}

// mostLost is how much older than the disaster the database may come back.
func (d *demo) mostLost() time.Duration {
	most := d.archive + grace
	if d.disaster == disasterRegion {
		most += replicaLag
	}
	return most
}
