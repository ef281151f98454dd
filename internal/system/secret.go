package system

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/frende/lifeboat/internal/fault"
)

// Env looks a variable up, as os.LookupEnv does.
type Env func(name string) (value string, set bool)

const (
	envScheme  = "env:"
	fileScheme = "file:"
)

// Resolve reads the secret: the variable's value, or the file's content without
// the newline at its end. It fails with SecretUnavailable, which names the
// reference and never what it holds. An empty reference gives nil.
func (r SecretRef) Resolve(env Env, readFile func(path string) ([]byte, error)) ([]byte, error) {
	const op = "resolve secret"
	if r == "" {
		return nil, nil
	}
	if name, ok := strings.CutPrefix(string(r), envScheme); ok {
		value, set := env(name)
		if !set || value == "" {
			return nil, fault.Newf(fault.SecretUnavailable, op, string(r), "the environment variable is not set").
				WithHint("set %s in the environment of this process", name)
		}
		return []byte(value), nil
	}
	if path, ok := strings.CutPrefix(string(r), fileScheme); ok {
		content, err := readFile(path)
		if err != nil {
			return nil, fault.New(fault.SecretUnavailable, op, string(r), withoutPath(err))
		}
		content = bytes.TrimRight(content, "\r\n")
		if len(content) == 0 {
			return nil, fault.Newf(fault.SecretUnavailable, op, string(r), "the file is empty")
		}
		return content, nil
	}
	return nil, fault.Newf(fault.SecretUnavailable, op, "reference", "a reference begins with env: or file:").
		WithHint("write env:NAME or file:/path; the secret itself never stands in the configuration")
}

// Empty says that no secret is configured.
func (r SecretRef) Empty() bool { return r == "" }

// File gives the path of the file that holds the secret; false when no file does.
func (r SecretRef) File() (path string, ok bool) { return strings.CutPrefix(string(r), fileScheme) }

// check gives what is wrong with the reference on this host, and what to do, or two empty texts.
// It never repeats a text that might be a secret put in the wrong place.
func (r SecretRef) check(env Env) (message, hint string) {
	if r == "" {
		return "", ""
	}
	if name, ok := strings.CutPrefix(string(r), envScheme); ok {
		if name == "" {
			return "the reference names no variable", "write env:NAME"
		}
		if value, set := env(name); !set || value == "" {
			return fmt.Sprintf("environment variable %s is not set", name), "set it in the environment of this process, or use file:/path"
		}
		return "", ""
	}
	path, ok := strings.CutPrefix(string(r), fileScheme)
	if !ok {
		return "is not a reference to a secret", "write env:NAME or file:/path; a secret itself never stands in this file"
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("secret file %s: %v", path, withoutPath(err)), "run this as the user that Lifeboat's worker runs as, or as root"
	case err != nil:
		return fmt.Sprintf("secret file %s: %v", path, withoutPath(err)), "create the file, readable by this user alone"
	case !info.Mode().IsRegular():
		return fmt.Sprintf("secret file %s is not a regular file", path), "name a file that holds the secret and nothing else"
	case info.Mode().Perm()&0o007 != 0:
		return fmt.Sprintf("secret file %s is open to every user of this host (mode %04o)", path, info.Mode().Perm()), "run: chmod o= " + path
	case info.Size() == 0:
		return fmt.Sprintf("secret file %s is empty", path), "write the secret into it"
	}
	return "", ""
}

// withoutPath takes the path out of a file error whose subject says it already.
func withoutPath(err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return failed.Err
	}
	return err
}
