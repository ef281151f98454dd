package command

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/frende/lifeboat/internal/fault"
)

// Base is the environment a program needs to behave as usual: where programs
// lie, who runs it, which language and time zone. It holds no secrets.
func Base() []string {
	return Inherit("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
}

// Inherit takes the named variables from the worker's environment, those that
// are set.
func Inherit(names ...string) []string {
	env := []string{}
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// identity finds the credential to run as name, and the environment that goes
// with it. A nil credential means that nothing changes.
func identity(program, name string, env []string) (*syscall.Credential, []string, error) {
	if name == "" {
		return nil, env, nil
	}
	wanted, err := user.Lookup(name)
	if err != nil {
		return nil, nil, fault.New(fault.ConfigInvalid, "run", program, err).
			WithHint("create the user, or correct os_user in lifeboat.yaml")
	}
	uid, uidErr := strconv.ParseUint(wanted.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(wanted.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		return nil, nil, fault.Newf(fault.ConfigInvalid, "run", program, "user %s has no numeric id", name)
	}
	if int(uid) == os.Geteuid() {
		return nil, env, nil
	}
	if os.Geteuid() != 0 {
		return nil, nil, fault.Newf(fault.ConfigInvalid, "run", program, "only root can run it as user %s", name).
			WithHint("run the worker as root or as %s", name)
	}
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := wanted.GroupIds()
	if err != nil {
		return nil, nil, fault.New(fault.ConfigInvalid, "run", program, err)
	}
	for _, group := range groups {
		id, err := strconv.ParseUint(group, 10, 32)
		if err != nil {
			return nil, nil, fault.New(fault.ConfigInvalid, "run", program, err)
		}
		credential.Groups = append(credential.Groups, uint32(id))
	}
	return credential, adopt(env, wanted), nil
}

// adopt replaces the variables that say who runs the program. The temporary
// and runtime directories of the worker's user are not the other user's.
func adopt(env []string, wanted *user.User) []string {
	adopted := make([]string, 0, len(env)+3)
	for _, entry := range env {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR":
		default:
			adopted = append(adopted, entry)
		}
	}
	return append(adopted, "HOME="+wanted.HomeDir, "USER="+wanted.Username, "LOGNAME="+wanted.Username)
}
