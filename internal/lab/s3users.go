package lab

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/frende/lifeboat/internal/fault"
)

// NewUser adds a user who may do nothing until a bucket's policy says so, and
// gives its secret key. The server must have been started with Users.
func (s *S3) NewUser(ctx context.Context, accessKey string) (secretKey string, err error) {
	secretKey = rand.Text()
	cmd := s.lab.Command(ctx, s.program.Args[0], "admin", "--endpoint-url", s.Endpoint, "--region", s.Region,
		"create-user", "--access", accessKey, "--secret", secretKey, "--role", "user")
	cmd.Env = append(cmd.Env, "ADMIN_ACCESS_KEY_ID="+s.AccessKey, "ADMIN_SECRET_ACCESS_KEY="+s.SecretKey)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fault.Newf(fault.CommandFailed, "add S3 user", accessKey, "%v: %s", err, strings.TrimSpace(string(output)))
	}
	return secretKey, nil
}

// SetPolicy gives a bucket a policy, in place of the one that it has.
func (s *S3) SetPolicy(ctx context.Context, bucket, policy string) error {
	_, err := s.Client().PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: aws.String(policy)})
	if err != nil {
		return fault.New(fault.StorageDenied, "set policy of bucket", bucket, err)
	}
	return nil
}
