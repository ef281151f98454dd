package service

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// longestTail is how much of the end of a log file is searched for its last lines.
const longestTail = 16 << 10

// LogDir is where a worker of this user keeps the output of service commands:
// systemd's LogsDirectory when its unit has one, else a folder in the temporary
// directory. It need not exist.
func LogDir() string {
	if given := os.Getenv("LOGS_DIRECTORY"); given != "" {
		return given
	}
	return filepath.Join(os.TempDir(), "lifeboat-"+strconv.Itoa(os.Geteuid()))
}

// LogTail gives the last lines of the service's log, at most so many, with
// secrets and what looks like one taken out. A log that does not exist has none.
func (c *Control) LogTail(ctx context.Context, s system.Service, lines int, secrets ...string) ([]string, error) {
	d, err := c.driver(s)
	if err != nil {
		return nil, err
	}
	text, err := d.tail(ctx, lines)
	if err != nil {
		return nil, named(s, d, "read log of", err)
	}
	return lastLines(text, lines, secrets), nil
}

// LogPlace is the file, or the command that shows it, in which the service's log lies.
func (c *Control) LogPlace(s system.Service) string {
	d, err := c.driver(s)
	if err != nil {
		return ""
	}
	return d.log()
}

func (d systemd) tail(ctx context.Context, lines int) (string, error) {
	result, err := run(ctx, nil, d.journal, "--unit", d.unit(), "--lines", strconv.Itoa(lines), "--output", "cat", "--no-pager", "--quiet")
	return string(result.Stdout), err
}

func (d compose) tail(ctx context.Context, lines int) (string, error) {
	result, err := d.run(ctx, "logs", "--tail", strconv.Itoa(lines), "--no-color", "--no-log-prefix", d.name())
	return string(result.Stdout), err
}

func (d program) tail(context.Context, int) (string, error) {
	info, err := os.Stat(d.logFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return "", fault.New(fault.PathFailed, "read log", d.logFile, err)
	}
	file, err := os.Open(d.logFile)
	if err != nil {
		return "", fault.New(fault.PathFailed, "read log", d.logFile, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-longestTail), longestTail))
	if err != nil {
		return "", fault.New(fault.PathFailed, "read log", d.logFile, err)
	}
	return string(text), nil
}

// lastLines keeps the end of a log. What could steer a terminal becomes a question mark.
func lastLines(text string, most int, secrets []string) []string {
	var kept []string
	for line := range strings.Lines(text) {
		line = strings.Map(func(r rune) rune {
			if r == '\t' {
				return ' '
			}
			if !strconv.IsPrint(r) {
				return '?'
			}
			return r
		}, strings.TrimSpace(strings.ToValidUTF8(line, "?")))
		if line != "" {
			kept = append(kept, command.Redact(line, secrets...))
		}
	}
	return kept[max(0, len(kept)-most):]
}
