package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
)

// Clocks may differ by this much: S3 refuses what was signed with a clock that
// is 15 minutes off, and clean-up refuses above the second.
const (
	clockWarning = time.Minute
	clockProblem = 5 * time.Minute
)

// probeAge is how old a probe is when nobody can be working with it any more.
const probeAge = time.Hour

// storeChecks are the conditions that a store fulfils for others.
type storeChecks struct {
	byName map[string]*question // its bucket is there and lists
	opened map[string]func() store.Store
}

// storeExam examines one store.
type storeExam struct {
	x      *Examination
	config system.Store
	policy string // resource of the bucket in a policy

	mu     sync.Mutex
	store  store.Store
	clock  time.Duration
	listed error
	locked time.Duration // for how long new objects are
	probes []store.Info  // versions that were put
}

func (x *Examination) stores(secrets secretChecks) storeChecks {
	all := storeChecks{byName: map[string]*question{}, opened: map[string]func() store.Store{}}
	for _, config := range x.System.Stores {
		e := &storeExam{x: x, config: config, policy: "arn:aws:s3:::" + config.Bucket}
		all.byName[config.Name] = e.checks(secrets)
		all.opened[config.Name] = e.opened
	}
	return all
}

// checks lists them and gives the one that whatever reads the store needs.
func (e *storeExam) checks(secrets secretChecks) *question {
	add := func(name string, look func(context.Context) answer, needs ...*question) *question {
		return e.x.add(Stores, e.config.Name, name, look, needs...)
	}
	reachable := add("reachable", e.reachable, secrets.needed(e.config.AccessKey, e.config.SecretKey)...)
	add("clock", e.skew, reachable)
	credentials := add("credentials", e.credentials, reachable)
	bucket := add("bucket", e.bucket, credentials)
	list := add("list", e.list, bucket)
	put := add("put", e.put, bucket)
	get := add("get", e.get, put)
	head := add("head", e.head, put)
	once := add("write once", e.once, put)
	gone := add("delete", e.remove, put).then(get, head, once)
	add("versioning", e.versioning, bucket)
	locked := add("object lock", e.lock, bucket)
	add("probes", e.leftovers, list).then(gone, locked)
	return list
}

func (e *storeExam) opened() store.Store {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.store
}

func (e *storeExam) reachable(ctx context.Context) answer {
	const why = "without it nothing is backed up, and nothing can be recovered from it"
	opened, err := e.x.Parts.Store(ctx, e.config)
	if err != nil {
		return failure(err, why)
	}
	inspector, ok := opened.(store.Inspector)
	if !ok {
		return problem("this store can't be inspected", why, "")
	}
	clock, err := inspector.Clock(ctx)
	if err != nil {
		host, port := endpointOf(e.config.Endpoint, e.config.Region)
		what, mend := unreachable(err, host, port)
		return problem(what, why, mend)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.store, e.clock = opened, clock
	return well("%s answers", opened.Name())
}

func (e *storeExam) skew(context.Context) answer {
	const why = "requests signed with a wrong clock are refused, and ages and recovery points are told wrong"
	off := e.clock.Abs()
	direction := "behind"
	if e.clock < 0 {
		direction = "ahead of"
	}
	what := fmt.Sprintf("this host's clock is %s %s the store's", brief(off), direction)
	switch {
	case off > clockProblem:
		return problem(what, why, "timedatectl set-ntp true")
	case off > clockWarning:
		return warning(what, why, "timedatectl set-ntp true")
	}
	return well("the clocks agree within %s", brief(max(off, time.Second)))
}

// credentials lists one object, which tells most of what the next checks tell apart.
func (e *storeExam) credentials(ctx context.Context) answer {
	err := error(nil)
	for _, err = range e.store.List(ctx, store.ProbeFolder, store.ListOptions{}) {
		break
	}
	e.listed = err
	switch {
	case slices.Contains([]string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}, codeOf(err)):
		return failure(err, "the store takes nothing from this host, and gives nothing to it")
	case err != nil && !fault.Has(err, fault.StorageMissing) && !fault.Has(err, fault.StorageDenied):
		return failure(err, "the store answers, and not as it should")
	}
	if e.config.AccessKey.Empty() {
		return well("those of this host are known")
	}
	return well("they are known")
}

// codeOf is the code of S3's answer in err, or "".
func codeOf(err error) string {
	type coded interface {
		error
		ErrorCode() string
	}
	if answered, ok := errors.AsType[coded](err); ok {
		return answered.ErrorCode()
	}
	return ""
}

func (e *storeExam) bucket(context.Context) answer {
	if fault.Has(e.listed, fault.StorageMissing) {
		return failure(e.listed, "there is nowhere to put a backup")
	}
	return well("%s is there", e.config.Bucket)
}

func (e *storeExam) list(context.Context) answer {
	if e.listed != nil {
		return e.denied(e.listed, "s3:ListBucket", e.policy, "without it no backup is found, and a missing object can't be told from a forbidden one")
	}
	return well("allowed")
}

// denied is a problem with the statement that a policy lacks.
func (e *storeExam) denied(err error, actions, resource, why string) answer {
	a := failure(err, why)
	if fault.Has(err, fault.StorageDenied) {
		a.mend = fmt.Sprintf(`allow it in the policy of these credentials: {"Effect": "Allow", "Action": %q, "Resource": %q}`, actions, resource)
	}
	return a
}

func (e *storeExam) objects() string { return e.policy + "/*" }

// body is what a probe holds.
func (e *storeExam) body() []byte { return []byte("a probe of lifeboat doctor; it may be deleted\n") }

func (e *storeExam) put(ctx context.Context) answer {
	key := store.ProbeFolder + rand.Text()
	put, err := e.store.Put(ctx, key, e.body(), store.PutOptions{IfNoneMatch: true})
	if err != nil {
		return e.denied(err, "s3:PutObject", e.objects(), "nothing can be backed up, and no recovery of a database is cut over: its new timeline would have no archive")
	}
	e.keep(put)
	return well("allowed")
}

func (e *storeExam) keep(put store.Info) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probes = append(e.probes, put)
}

func (e *storeExam) probe() store.Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.probes[0]
}

func (e *storeExam) get(ctx context.Context) answer {
	const why = "what can't be read can't be recovered"
	got, err := store.ReadAll(ctx, e.store, e.probe().Key, int64(len(e.body())))
	if err != nil {
		return e.denied(err, "s3:GetObject", e.objects(), why)
	}
	if !bytes.Equal(got, e.body()) {
		return problem("another content came back than was put", why, "something between this host and the store changes what passes: find it before anything else")
	}
	return well("allowed")
}

func (e *storeExam) head(ctx context.Context) answer {
	found, err := e.store.Head(ctx, e.probe().Key)
	if err != nil {
		return e.denied(err, "s3:GetObject", e.objects(), "without it no backup is known to be complete")
	}
	if found.Size != int64(len(e.body())) {
		return problem(fmt.Sprintf("an object of %d bytes is said to have %d", len(e.body()), found.Size), "sizes decide whether a copy is whole", "")
	}
	return well("allowed")
}

// once sees a second put of the same key refused.
func (e *storeExam) once(ctx context.Context) answer {
	again, err := e.store.Put(ctx, e.probe().Key, e.body(), store.PutOptions{IfNoneMatch: true})
	switch {
	case fault.Has(err, fault.ObjectExists):
		return well("an object that exists is not replaced")
	case err != nil:
		return failure(err, "objects must be written once: two writers must never replace each other's")
	}
	e.keep(again)
	return problem("If-None-Match is not honoured: a second put replaced the first", "two writers can replace each other's backups and WAL without anybody noticing",
		"use a server that honours conditional writes: AWS S3 does, and so do recent releases of MinIO, Ceph and versitygw")
}

// remove deletes the probe, every version of it. A writer need not be allowed
// to, and better is not.
func (e *storeExam) remove(ctx context.Context) answer {
	e.mu.Lock()
	probes := slices.Clone(e.probes)
	e.mu.Unlock()
	for _, put := range probes {
		err := e.store.Delete(ctx, put.Key, put.Version)
		if fault.Has(err, fault.StorageDenied) {
			return well("not allowed, as a writer need not be, or the object is locked; the probe %s stays", put.Key)
		}
		if err != nil {
			return failure(err, "clean-up deletes what its retention has left behind")
		}
	}
	return well("allowed")
}

// leftovers finds probes that an earlier examination could not remove, and that
// no lock keeps any more.
func (e *storeExam) leftovers(ctx context.Context) answer {
	e.mu.Lock()
	age := probeAge + e.locked
	e.mu.Unlock()
	var old []string
	for info, err := range e.store.List(ctx, store.ProbeFolder, store.ListOptions{}) {
		if err != nil {
			return failure(err, "what can't be listed can't be cleaned up")
		}
		if e.x.Now().Add(e.clock).Sub(info.Modified) > age {
			old = append(old, info.Key)
		}
	}
	if len(old) == 0 {
		return well("none are left")
	}
	what := fmt.Sprintf("%d probes of earlier examinations are left under %s", len(old), store.ProbeFolder)
	return warning(what, "they do no harm", "lifeboat doctor --fix, with credentials that may delete").
		mended(fmt.Sprintf("delete %d old probes under %s of %s", len(old), store.ProbeFolder, e.config.Name), func(ctx context.Context) error {
			for _, key := range old {
				found, err := e.store.Head(ctx, key)
				if err != nil {
					return err
				}
				if err := e.store.Delete(ctx, key, found.Version); err != nil {
					return err
				}
			}
			return nil
		})
}

func (e *storeExam) versioning(ctx context.Context) answer {
	const why = "without versions, one wrong or hostile deletion is for ever"
	on, err := e.store.(store.Inspector).Versioning(ctx)
	if fault.Has(err, fault.StorageDenied) {
		return warning("these credentials may not ask whether versioning is on", why,
			fmt.Sprintf(`allow it: {"Effect": "Allow", "Action": "s3:GetBucketVersioning", "Resource": %q}`, e.policy))
	}
	if err != nil {
		return failure(err, why)
	}
	if !on {
		return problem("the bucket keeps no versions", why, e.aws("put-bucket-versioning --bucket %s --versioning-configuration Status=Enabled"))
	}
	return well("on")
}

func (e *storeExam) lock(ctx context.Context) answer {
	const why = "against others' deletions only Object Lock helps: whoever steals these credentials can delete every backup"
	mend := e.aws(fmt.Sprintf(`put-object-lock-configuration --bucket %%s --object-lock-configuration 'ObjectLockEnabled=Enabled,Rule={DefaultRetention={Mode=COMPLIANCE,Days=%d}}'`,
		int(e.x.System.Backup.Retention.Std()/day)))
	found, err := e.store.(store.Inspector).ObjectLock(ctx)
	switch {
	case fault.Has(err, fault.StorageDenied):
		return warning("these credentials may not ask whether Object Lock is on", why,
			fmt.Sprintf(`allow it: {"Effect": "Allow", "Action": "s3:GetBucketObjectLockConfiguration", "Resource": %q}`, e.policy))
	case err != nil:
		return failure(err, why)
	case !found.Enabled:
		return warning("Object Lock is off", why, mend)
	case found.Retention == 0:
		return warning("Object Lock is on, and locks nothing by itself: there is no default retention", why, mend)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.locked = found.Retention
	return well("new objects are locked for %s (%s)", brief(found.Retention), found.Mode)
}

// aws is a command of AWS's own CLI about the bucket.
func (e *storeExam) aws(format string) string {
	endpoint := ""
	if parsed, err := url.Parse(e.config.Endpoint); err == nil && e.config.Endpoint != "" {
		parsed.User = nil // refused in a configuration, and still no reason to show it
		endpoint = " --endpoint-url " + parsed.String()
	}
	return "aws s3api" + endpoint + " --region " + e.config.Region + " " + fmt.Sprintf(format, e.config.Bucket)
}
