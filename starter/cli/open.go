package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	programs "github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/report"
)

// browserTime is how long a browser is watched for failing at once: one that
// still runs then is taken to show the page, and may be what shows it.
const browserTime = 3 * time.Second

// openReport writes the page of a run where only this user can read it, and shows
// it in a browser. Where there is none, the file is named: that is no failure.
func (a *app) openReport(ctx context.Context, run *report.Run) error {
	path, err := a.keepPage(run)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, path)
	var why error
	for _, argv := range a.browsers((&url.URL{Scheme: "file", Path: path}).String()) {
		if why = show(ctx, argv, filepath.Join(filepath.Dir(path), "browser.log")); why == nil {
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if why != nil {
		fmt.Fprintf(a.Stderr, "lifeboat: the report is in this file, but no browser showed it: %v\n", why)
	} else {
		fmt.Fprintln(a.Stderr, "lifeboat: the report is in this file; there is no browser here that could show it")
	}
	fmt.Fprintf(a.Stderr, "HINT: copy the file to where one is, or read the report here: lifeboat report %s\n", run.ID)
	return nil
}

// keepPage writes the page into a fresh directory under the user's cache directory.
func (a *app) keepPage(run *report.Run) (path string, err error) {
	const op = "write report"
	cache, err := a.cacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fault.New(fault.PathFailed, op, cache, err)
	}
	dir, err := os.MkdirTemp(cache, "report-")
	if err != nil {
		return "", fault.New(fault.PathFailed, op, cache, err)
	}
	path = filepath.Join(dir, fileName(run.ID))
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fault.New(fault.PathFailed, op, path, err)
	}
	if err := report.HTML(file, run, a.Now()); err != nil {
		file.Close()
		return "", err
	}
	if err := file.Close(); err != nil {
		return "", fault.New(fault.PathFailed, op, path, err)
	}
	return path, nil
}

// cacheDir is where this user's disposable files lie, by the XDG base directory specification.
func (a *app) cacheDir() (string, error) {
	if dir, _ := a.Env("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "lifeboat"), nil
	}
	if home, _ := a.Env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "lifeboat"), nil
	}
	return "", fault.Newf(fault.PathFailed, "find cache directory", "", "neither XDG_CACHE_HOME nor HOME names one").
		WithHint("set one of them, or print the page: lifeboat report ID --html > report.html")
}

// fileName makes a run's ID the name of a file.
func fileName(id string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, id)
	return name[:min(len(name), 100)] + ".html"
}

// browsers gives what to try: $BROWSER, a list separated by colons in which %s
// stands for the address, or else what the desktop says, when there is one.
func (a *app) browsers(address string) [][]string {
	if named, _ := a.Env("BROWSER"); named != "" {
		var all [][]string
		for one := range strings.SplitSeq(named, ":") {
			argv := strings.Fields(one)
			if len(argv) == 0 {
				continue
			}
			if !strings.Contains(one, "%s") {
				argv = append(argv, "%s")
			}
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "%s", address)
			}
			all = append(all, argv)
		}
		return all
	}
	for _, display := range []string{"WAYLAND_DISPLAY", "DISPLAY"} {
		if on, _ := a.Env(display); on != "" {
			return [][]string{{"xdg-open", address}}
		}
	}
	return nil
}

// show starts a browser and leaves it running.
func show(ctx context.Context, argv []string, log string) error {
	browser, err := programs.New(programs.Config{
		Argv: argv, Daemon: true, Log: log,
		Env: append(programs.Base(), programs.Inherit("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS",
			"XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE", "DESKTOP_SESSION", "XDG_DATA_DIRS", "XDG_DATA_HOME", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME")...),
	})
	if err != nil {
		return err
	}
	process, err := browser.Start(context.WithoutCancel(ctx)) // it stays when this command ends
	if err != nil {
		return err
	}
	patience := time.NewTimer(browserTime)
	defer patience.Stop()
	select {
	case <-process.Done():
		_, err := process.Wait()
		return err
	case <-patience.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
