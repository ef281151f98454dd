package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/ledger"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/s3"
	"github.com/frende/lifeboat/internal/torture"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/vault/replicate"
)

const (
	primaryBucket = "lifeboat"
	replicaBucket = "lifeboat-replica"
)

// notHere are the statements that versitygw can't hold to: it does not know their condition.
func notHere() []string { return []string{"NeverOverAnObject", "NothingIsWrittenOverAnObject"} }

// guarded is an S3 server with a user for each policy of contrib/s3-policies.
type guarded struct {
	*lab.S3
	secrets map[string]string // by user, who is named like the policy
	ring    *keys.Ring
}

func guard(t *testing.T) *guarded {
	t.Helper()
	server, err := lab.New(t).S3(t.Context(), lab.S3Options{Users: true})
	require.NoError(t, err)
	ring, err := keys.NewRing(keys.Config{System: "frende", Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("00", 32)))}})
	require.NoError(t, err)
	g := &guarded{S3: server, secrets: map[string]string{}, ring: ring}
	policies := map[string][]any{primaryBucket: nil, replicaBucket: nil}
	for _, user := range []string{"writer", "restorer", "replicator", "retention", "auditor"} {
		g.secrets[user], err = server.NewUser(t.Context(), user)
		require.NoError(t, err)
		for bucket := range policies {
			policies[bucket] = append(policies[bucket], statements(t, user, bucket)...)
		}
	}
	for bucket, all := range policies {
		server.NewBucket(t, bucket)
		text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
		require.NoError(t, err)
		require.NoError(t, server.SetPolicy(t.Context(), bucket, string(text)))
	}
	return g
}

// statements are those of an IAM policy that concern the bucket, as a bucket's policy has them.
func statements(t *testing.T, user, bucket string) []any {
	t.Helper()
	raw, err := os.ReadFile("../../contrib/s3-policies/" + user + ".json")
	require.NoError(t, err)
	text := strings.NewReplacer(":::BUCKET", ":::"+primaryBucket, ":::REPLICA", ":::"+replicaBucket).Replace(string(raw))
	var policy struct{ Statement []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(text), &policy))
	var all []any
	for _, one := range policy.Statement {
		if slices.Contains(notHere(), one["Sid"].(string)) {
			continue
		}
		resources, several := one["Resource"].([]any)
		if !several {
			resources = []any{one["Resource"]}
		}
		resources = slices.DeleteFunc(resources, func(resource any) bool {
			name, _, _ := strings.Cut(strings.TrimPrefix(resource.(string), "arn:aws:s3:::"), "/")
			return name != bucket
		})
		if len(resources) > 0 {
			one["Resource"], one["Principal"] = resources, map[string]any{"AWS": []string{user}}
			all = append(all, one)
		}
	}
	return all
}

// as gives a bucket as a user sees it.
func (g *guarded) as(t *testing.T, user, bucket string) store.Store {
	t.Helper()
	opened, err := s3.New(t.Context(), s3.Config{
		Name: user, Bucket: bucket, Region: g.Region, Endpoint: g.Endpoint, PathStyle: true, AccessKey: user, SecretKey: g.secrets[user],
	})
	require.NoError(t, err)
	t.Cleanup(opened.Close)
	return opened
}

// vault is the primary bucket's as a user sees it, with the replica's behind it if that user may read it.
func (g *guarded) vault(t *testing.T, user string, replica store.Store) *vault.Vault {
	t.Helper()
	v, err := vault.New(vault.Config{
		System: "frende", Store: g.as(t, user, primaryBucket), Replica: replica, Keys: g.ring, Budget: vault.NewBudget(16 << 20), ChunkSize: 32 << 10, FrameSize: 8 << 10,
	})
	require.NoError(t, err)
	return v
}

// thief is the SDK with a user's credentials.
func (g *guarded) thief(user string) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(g.Endpoint), Region: g.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(user, g.secrets[user], ""),
	})
}

// backUpAs makes the nth backup.
func backUpAs(ctx context.Context, v *vault.Vault, n int, data []byte) (*vault.Manifest, error) {
	return backUpOf(ctx, v, fmt.Sprint("backup/", n), 1, n, data)
}

func backUpOf(ctx context.Context, v *vault.Vault, run string, attempt int32, n int, data []byte) (*vault.Manifest, error) {
	w, err := v.Begin(ctx, vault.Intent{
		Folder: "database-backups", Kind: "base", System: "frende", Component: "frende", RunID: run, Attempt: attempt,
		At: time.Date(2024, 1, 15, 2, 0, n, 0, time.UTC), Codec: "zstd",
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Close() }() // its error is that of what failed before
	if made := w.Committed(); made != nil {
		return made, nil
	}
	s, err := w.Create(ctx, "base.tar")
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(data); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return w.Commit(ctx, nil)
}

func restore(ctx context.Context, v *vault.Vault, key string) ([]byte, error) {
	b, err := v.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	r, err := b.Open(ctx, "base.tar")
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return data, err
}

func bytesOf(random *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func isDenied(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "AccessDenied")
}

func TestEachPolicyAllowsItsTaskAndNothingElse(t *testing.T) {
	g := guard(t)
	data := bytesOf(rand.New(rand.NewPCG(1, 1)), 100_000)
	made, err := backUpAs(t.Context(), g.vault(t, "writer", nil), 0, data)
	require.NoError(t, err)
	records, err := ledger.New(ledger.Config{Store: g.as(t, "writer", primaryBucket), Writer: "host-db1", Keys: g.ring})
	require.NoError(t, err)
	_, err = records.Append(t.Context(), ledger.Record{ID: "1", Kind: "backup", Subject: made.Key, Body: "made"})
	require.NoError(t, err)

	got, err := restore(t.Context(), g.vault(t, "restorer", nil), made.Key)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	_, err = backUpAs(t.Context(), g.vault(t, "restorer", nil), 1, data)
	require.True(t, fault.Has(err, fault.StorageDenied), "%v", err)

	copied, err := replicate.Run(t.Context(), replicate.Config{
		From: g.as(t, "replicator", primaryBucket), To: g.as(t, "replicator", replicaBucket), Memory: vault.NewBudget(1 << 20),
	})
	require.NoError(t, err)
	require.Positive(t, copied.Objects)
	_, err = g.as(t, "replicator", primaryBucket).Put(t.Context(), "mine", nil, store.PutOptions{IfNoneMatch: true})
	require.True(t, fault.Has(err, fault.StorageDenied), "%v", err)
	_, err = g.as(t, "writer", replicaBucket).Put(t.Context(), "mine", nil, store.PutOptions{IfNoneMatch: true})
	require.True(t, fault.Has(err, fault.StorageDenied), "the writer reaches one region alone: %v", err)

	read, err := ledger.New(ledger.Config{Store: g.as(t, "auditor", primaryBucket), Writer: "auditor", Keys: g.ring})
	require.NoError(t, err)
	entries := 0
	for entry, err := range read.Read(t.Context(), ledger.Filter{}) {
		require.NoError(t, err)
		require.Equal(t, made.Key, entry.Subject)
		entries++
	}
	require.Equal(t, 1, entries)
	_, err = restore(t.Context(), g.vault(t, "auditor", nil), made.Key)
	require.True(t, fault.Has(err, fault.StorageDenied), "%v", err)

	// Retention deletes versions of backups, and neither records nor keys.
	retention := g.as(t, "retention", primaryBucket)
	for _, kept := range []string{"format.json", "ledger/host-db1/000000000001"} {
		info, err := retention.Head(t.Context(), kept)
		require.NoError(t, err)
		require.True(t, fault.Has(retention.Delete(t.Context(), kept, info.Version), fault.StorageDenied), kept)
	}
	require.True(t, fault.Has(retention.Delete(t.Context(), made.Key+"/manifest", ""), fault.StorageDenied), "it removes versions and hides nothing")
	v := g.vault(t, "retention", nil)
	require.NoError(t, v.MarkExpired(t.Context(), made.Key, "retention"))
	require.NoError(t, v.RemoveManifest(t.Context(), made.Key))
	left, err := v.RemoveRemains(t.Context(), made.Key, func(string) bool { return false }, nil)
	require.NoError(t, err)
	require.Greater(t, left.Objects, int64(4))
	require.Empty(t, under(t, retention, made.Key))
	versions, err := g.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: aws.String(primaryBucket), Prefix: aws.String(made.Key)})
	require.NoError(t, err)
	require.Empty(t, versions.Versions, "no version is left")
	require.Empty(t, versions.DeleteMarkers)
	written, err := ledger.New(ledger.Config{Store: retention, Writer: "host-away", Keys: g.ring})
	require.NoError(t, err)
	_, err = written.Append(t.Context(), ledger.Record{ID: "1", Kind: "retention", Subject: "retention/frende", Body: "removed"})
	require.NoError(t, err)
}

// Row 17 of the reliability table: whoever stole the writer's credentials
// deletes, unlocks and overwrites. What is not denied is harmless: it is seen,
// and the other region gives what was written.
func TestStolenCredentialsOfAWriterDestroyNothing(t *testing.T) {
	g := guard(t)
	thief := g.thief("writer")
	torture.Row(t, 17, 3, 40, func(t *testing.T, n int, random *rand.Rand) {
		data := bytesOf(random, 1+random.IntN(200_000))
		made, err := backUpAs(t.Context(), g.vault(t, "writer", nil), n, data)
		require.NoError(t, err)
		_, err = replicate.Run(t.Context(), replicate.Config{
			From: g.as(t, "replicator", primaryBucket), To: g.as(t, "replicator", replicaBucket), Memory: vault.NewBudget(1 << 20),
		})
		require.NoError(t, err)

		bucket := aws.String(primaryBucket)
		keys := []string{made.Key + "/manifest", made.Objects[random.IntN(len(made.Objects))].Key}
		for _, key := range keys {
			info, err := g.as(t, "writer", primaryBucket).Head(t.Context(), key)
			require.NoError(t, err)
			_, err = thief.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: bucket, Key: aws.String(key)})
			isDenied(t, err)
			_, err = thief.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: bucket, Key: aws.String(key), VersionId: aws.String(info.Version)})
			isDenied(t, err)
		}
		_, err = thief.PutBucketVersioning(t.Context(), &sdk.PutBucketVersioningInput{
			Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
		})
		isDenied(t, err)
		_, err = thief.DeleteBucketPolicy(t.Context(), &sdk.DeleteBucketPolicyInput{Bucket: bucket})
		isDenied(t, err)
		_, err = thief.DeleteBucket(t.Context(), &sdk.DeleteBucketInput{Bucket: bucket})
		isDenied(t, err)

		// This server knows no condition for If-None-Match, so the thief may write over objects here.
		struck := keys[random.IntN(len(keys))]
		_, err = thief.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: bucket, Key: aws.String(struck), Body: bytes.NewReader(bytesOf(random, 1000))})
		require.NoError(t, err)
		_, err = restore(t.Context(), g.vault(t, "restorer", nil), made.Key)
		require.True(t, fault.Has(err, fault.IntegrityError), "%v", err)
		require.ErrorContains(t, err, struck)
		got, err := restore(t.Context(), g.vault(t, "restorer", g.as(t, "replicator", replicaBucket)), made.Key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))

		versions, err := g.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: bucket, Prefix: aws.String(struck)})
		require.NoError(t, err)
		require.Len(t, versions.Versions, 2, "the version that was written first is still there")
		forged := versions.Versions[slices.IndexFunc(versions.Versions, func(v types.ObjectVersion) bool { return aws.ToBool(v.IsLatest) })]
		_, err = g.Client().DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: bucket, Key: forged.Key, VersionId: forged.VersionId})
		require.NoError(t, err)
		got, err = restore(t.Context(), g.vault(t, "restorer", nil), made.Key)
		require.NoError(t, err, "and is what is read when the bucket's owner has removed the thief's")
		require.True(t, bytes.Equal(data, got))
	})
}
