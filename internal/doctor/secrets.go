package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
)

// secretChecks are the checks of every reference, by the reference.
type secretChecks struct {
	present map[system.SecretRef]*question
	keys    []keyCheck // in the order of keys.encryption
}

// keyCheck is a key that wraps data keys, and that it works.
type keyCheck struct {
	ref   system.SecretRef
	works *question
}

// needed are the conditions of whatever needs these secrets.
func (s secretChecks) needed(refs ...system.SecretRef) []*question {
	var needs []*question
	for _, ref := range refs {
		if c := s.present[ref]; c != nil {
			needs = append(needs, c)
		}
	}
	return needs
}

// working are the conditions of whatever opens a vault.
func (s secretChecks) working() []*question {
	var needs []*question
	for _, key := range s.keys {
		needs = append(needs, key.works)
	}
	return needs
}

// secrets asks whether each secret is there, for nobody else, and whether each key works.
func (x *Examination) secrets() secretChecks {
	found := secretChecks{present: map[system.SecretRef]*question{}}
	for path, ref := range x.System.Secrets() {
		if found.present[ref] != nil {
			continue
		}
		found.present[ref] = x.add(Keys, shown(ref), "present", func(context.Context) answer {
			secret, err := x.Parts.Secret(ref)
			if err != nil {
				return failure(err, path+" names it: nothing that needs it works, in a recovery neither")
			}
			x.learn(string(secret))
			return well("it can be read")
		})
		if file, ok := ref.File(); ok {
			x.add(Keys, shown(ref), "permissions", func(context.Context) answer { return x.permissions(file) }, found.present[ref])
		}
	}
	if len(x.System.Keys.Encryption) == 0 {
		missing := x.add(Keys, "keys.encryption", "round trip", func(context.Context) answer {
			return problem("no key is configured", "nothing can be backed up, and no backup can be opened", "set "+system.EnvEncryptionKey+", or name a key under keys.encryption in "+x.File)
		})
		found.keys = append(found.keys, keyCheck{works: missing})
	}
	for _, ref := range x.System.Keys.Encryption {
		works := x.add(Keys, shown(ref), "round trip", func(ctx context.Context) answer { return x.roundTrip(ctx, ref) }, found.present[ref])
		found.keys = append(found.keys, keyCheck{ref: ref, works: works})
	}
	return found
}

// shown is a reference as a finding names it. A text that is none may be a
// secret in the wrong place.
func shown(ref system.SecretRef) string {
	if _, ok := ref.File(); ok || strings.HasPrefix(string(ref), "env:") {
		return string(ref)
	}
	return "a text that is no reference"
}

// permissions says who else may read or change the file of a secret. The account
// that PostgreSQL runs as may read it through its group: archive_command does.
func (x *Examination) permissions(file string) answer {
	info, err := os.Stat(file)
	if err != nil {
		return failure(pathError(err), "what can't be looked at can't be called safe")
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return well("the file system tells no owner")
	}
	mode, euid := info.Mode().Perm(), os.Geteuid()
	allowed := os.FileMode(0o600)
	if x.archives(int(stat.Gid)) {
		allowed = 0o640
	}
	if mode&^allowed&0o077 != 0 {
		run := fmt.Sprintf("chmod %o %s", mode&allowed|0o400, file)
		a := problem(fmt.Sprintf("its mode is %04o", mode), "whoever reads it opens the backups or the servers, and whoever changes it locks you out", run)
		if int(stat.Uid) != euid && euid != 0 {
			return a
		}
		return a.mended(run, func(context.Context) error { return os.Chmod(file, mode&allowed|0o400) })
	}
	if uid := int(stat.Uid); uid != euid && uid != 0 && euid != 0 && !x.serverAccount(uid) {
		return problem("it belongs to the account "+accountName(stat.Uid), "that account can change it", fmt.Sprintf("chown %d %s", euid, file))
	}
	return well("mode %04o", mode)
}

// archives says whether a group is that of an account which a PostgreSQL server
// of the system runs as.
func (x *Examination) archives(gid int) bool {
	return x.anyAccount(func(a postgres.Account) bool { return a.GID == gid })
}

func (x *Examination) serverAccount(uid int) bool {
	return x.anyAccount(func(a postgres.Account) bool { return a.UID == uid })
}

func (x *Examination) anyAccount(is func(postgres.Account) bool) bool {
	for _, d := range x.System.Databases {
		if account, err := postgres.OwnerOf(d.DataDir, d.OSUser); err == nil && is(account) {
			return true
		}
	}
	return false
}

func accountName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if found, err := user.LookupId(id); err == nil {
		return found.Username
	}
	return id
}

// roundTrip wraps a new data key for this key alone, opens it again, and seals
// and opens a text with it.
func (x *Examination) roundTrip(ctx context.Context, ref system.SecretRef) answer {
	const why = "with a key that does not work no backup can be made or opened"
	secret, err := x.Parts.Secret(ref)
	if err != nil {
		return failure(err, why)
	}
	ring, err := keys.NewRing(keys.Config{System: x.System.Name, Secrets: []keys.Secret{keys.NewSecret(secret)}})
	if err != nil {
		return failure(err, why)
	}
	slots := &memorySlots{}
	made, err := ring.Create(ctx, slots, "doctor")
	if err != nil {
		return failure(err, why)
	}
	opened, err := ring.Open(ctx, slots, "doctor")
	if err != nil {
		return failure(err, why)
	}
	text, salt := []byte("lifeboat"), bytes.Repeat([]byte{1}, 32)
	sealer, err := made.AEAD(salt)
	if err != nil {
		return failure(err, why)
	}
	opener, err := opened.AEAD(salt)
	if err != nil {
		return failure(err, why)
	}
	nonce := make([]byte, sealer.NonceSize()) // under a key of this one text
	plain, err := opener.Open(nil, nonce, sealer.Seal(nil, nonce, text, nil), nil)
	if err != nil || !bytes.Equal(plain, text) {
		return problem("what it sealed did not open again", why, "run it again; when it stays, suspect this host's memory")
	}
	return well("it seals and opens")
}

// memorySlots keeps the slots of one data key in memory.
type memorySlots struct {
	mu    sync.Mutex
	slots []keys.Slot
}

var _ keys.Slots = (*memorySlots)(nil)

func (m *memorySlots) PutSlot(_ context.Context, _, slot string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slots = append(m.slots, keys.Slot{Name: slot, Body: bytes.Clone(body)})
	return nil
}

func (m *memorySlots) GetSlot(_ context.Context, keyID, slot string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.slots {
		if one.Name == slot {
			return one.Body, nil
		}
	}
	return nil, fault.New(fault.ObjectMissing, "read slot", keyID+"/"+slot, nil)
}

// all are the checks after which every secret that can be read is known.
func (s secretChecks) all() []*question { return slices.Collect(maps.Values(s.present)) }

// learn remembers a secret in every form in which a log might hold it.
func (x *Examination) learn(secret string) {
	forms := []string{secret}
	if connection, err := pgconn.ParseConfig(secret); err == nil && connection.Password != "" {
		forms = append(forms, connection.Password, url.QueryEscape(connection.Password), url.PathEscape(connection.Password))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known = append(x.known, forms...)
}

// secretValues are the secrets that were learned.
func (x *Examination) secretValues() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.known)
}

// pathError drops the path that the finding names already.
func pathError(err error) error {
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return failed.Err
	}
	return err
}
